//! userfaultfd: which memory can be registered, what then becomes of faults, and pages that are filled in by hand. An actor has
//! one descriptor, made with UFFD_FEATURE_SIGBUS: a fault that would wait for a handler is a SIGBUS. If the program asks for it, it tells
//! events, too.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `register` | which memory can be registered |
//! | `missing` | faults that would bring a new page |
//! | `fill` | pages filled in by hand |
//! | `poison` | poison markers |
//! | `protect` | write protection page by page |
//! | `moving` | pages that are taken from one place to another |
//! | `lost` | fork and mremap, which leave it behind or take it along |
//! | `events` | what is told of fork, mremap, discarding and unmapping |

pub(crate) mod events;
pub(crate) mod fill;
pub(crate) mod lost;
pub(crate) mod missing;
pub(crate) mod moving;
pub(crate) mod poison;
pub(crate) mod protect;
pub(crate) mod register;

use super::args::Span;
use super::errno::{EINVAL, ENOSYS};
use super::registry::Rule;
use super::{hit, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::UffdCall;
use crate::space::Uffd;
use fill::Filling;

pub const MISSING_CALL: Rule = Rule {
    name: "uffd/not-built-in",
    text: "A kernel without CONFIG_USERFAULTFD has no userfaultfd: ENOSYS.",
    source: "mm/Kconfig USERFAULTFD",
    since: "all",
    about: &[Class::Errno],
};

pub const RANGE: Rule = Rule {
    name: "uffd/range",
    text: "Every call refuses a range with EINVAL whose start or length is not page aligned, that is empty, wraps or leaves the \
           address space: nothing is rounded.",
    source: "mm/userfaultfd.c (before 7.0 fs/userfaultfd.c) validate_range",
    since: "all",
    about: &[Class::Errno],
};

/// A call through userfaultfd.
pub(crate) fn call(ctx: &mut Ctx, range: Range, call: UffdCall) -> Outcome {
    if !ctx.world.profile.userfaultfd {
        hit!(ctx, MISSING_CALL);
        return Outcome::Errno(ENOSYS);
    }
    let g = ctx.geometry();
    let span = Span::new(range, g);
    if !span.aligned || span.wraps || span.empty || !range.end.is_page_aligned() {
        hit!(ctx, RANGE);
        return Outcome::Errno(EINVAL);
    }
    if call == UffdCall::Poison && !ctx.world.profile.uffd_poison {
        hit!(ctx, poison::UNKNOWN);
        return Outcome::Errno(EINVAL);
    }
    if let UffdCall::Move { to, .. } = call {
        if !ctx.world.profile.uffd_move {
            hit!(ctx, moving::UNKNOWN);
            return Outcome::Errno(EINVAL);
        }
        if !to.is_page_aligned() {
            hit!(ctx, RANGE);
            return Outcome::Errno(EINVAL);
        }
    }
    let on = |missing, wp| Uffd { missing, wp };
    match call {
        UffdCall::RegisterMissing => register::register(ctx, span, on(true, false)),
        UffdCall::RegisterWp => register::register(ctx, span, on(false, true)),
        UffdCall::RegisterBoth => register::register(ctx, span, on(true, true)),
        UffdCall::Unregister => register::register(ctx, span, Uffd::default()),
        UffdCall::Copy { tag, protect } => fill::fill(ctx, range, Filling::Copy { tag, protect }),
        UffdCall::ZeroPage => fill::fill(ctx, range, Filling::Zero),
        UffdCall::Poison => fill::fill(ctx, range, Filling::Poison),
        UffdCall::Protect => protect::protect(ctx, span, true),
        UffdCall::Unprotect => protect::protect(ctx, span, false),
        UffdCall::Move { to, holes } => moving::move_pages(ctx, range, to, holes),
    }
}
