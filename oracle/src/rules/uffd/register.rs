//! Which memory can be registered, and what becomes of its VMAs.

use super::protect;
use crate::judge::{Class, Outcome};
use crate::program::FileKind;
use crate::rules::args::Span;
use crate::rules::errno::{EBUSY, EINVAL, EPERM};
use crate::rules::registry::Rule;
use crate::rules::{hit, hugetlb, merge, Ctx};
use crate::space::Uffd;

pub const REGISTERS: Rule = Rule {
    name: "uffd/register",
    text: "UFFDIO_REGISTER marks the memory of the range (`um` for missing pages, `uw` for write protection): each VMA is split at the range's ends and merged with \
           like neighbours. Registered memory merges with nothing else. Holes are passed over, but something must be \
           mapped (EINVAL). No page and no guard changes; nothing happens where all marks asked for are there already; else \
           these replace those that are.",
    source: "userfaultfd_register, userfaultfd_register_range; ioctl_userfaultfd(2)",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const INSIDE_APART: Rule = Rule {
    name: "uffd/register/inside-stays-apart",
    text: "Where the part that is registered or unregistered starts inside a VMA, 6.1 gives the merge the offset of the VMA's start: the \
           part does not join the like neighbour behind it.",
    source: "fs/userfaultfd.c before 6.4, mm/uffd: allow vma to merge as much as possible; found by a divergence on 6.1",
    since: "before 6.4",
    about: &[Class::Vma],
};

pub const KINDS: Rule = Rule {
    name: "uffd/register/kinds",
    text: "Anonymous and shared memory can be registered, memfds mapped private as well; any other memory in the range is EINVAL, \
           and nothing is registered. To unregister asks the same of all memory in the range, registered or not.",
    source: "vma_can_userfault",
    since: "all",
    about: &[Class::Errno],
};

pub const DROPPABLE: Rule = Rule {
    name: "uffd/register/droppable",
    text: "Droppable memory cannot be registered. Before, the kernel looked for its flag where it had masked it out, and \
           registered it like any anonymous memory.",
    source: "vma_can_userfault: VM_DROPPABLE, tested after vm_flags &= __VM_UFFD_FLAGS in 6.12",
    since: "6.11; see the row uffd_takes_droppable",
    about: &[Class::Errno, Class::VmFlags, Class::Vma],
};

pub const MAY_WRITE: Rule = Rule {
    name: "uffd/register/may-write",
    text: "Memory that can never be made writable cannot be registered: EPERM, after the look at its kind.",
    source: "userfaultfd_register: VM_MAYWRITE",
    since: "all",
    about: &[Class::Errno],
};

pub const UNREGISTERS: Rule = Rule {
    name: "uffd/unregister",
    text: "UFFDIO_UNREGISTER takes the marks of the range away, splitting and merging as to register does; pages and guards stay.",
    source: "userfaultfd_unregister, userfaultfd_clear_vma",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

/// Registers the memory of a range, or, with nothing to register for, unregisters it.
pub(super) fn register(ctx: &mut Ctx, span: Span, uffd: Uffd) -> Outcome {
    match change(ctx, span, uffd) {
        Ok(()) => Outcome::Ok,
        Err(errno) => Outcome::Errno(errno),
    }
}

fn change(ctx: &mut Ctx, span: Span, uffd: Uffd) -> Result<(), i32> {
    let on = uffd != Uffd::default();
    if uffd.wp && !ctx.world.profile.uffd_wp {
        hit!(ctx, protect::UNKNOWN);
        return Err(EINVAL);
    }
    if on {
        hit!(ctx, REGISTERS);
    } else {
        hit!(ctx, UNREGISTERS);
    }
    let (start, end, _) = span.clip(ctx.geometry());
    let first = ctx.mm.first_vma_after(start);
    let last = ctx.mm.vmas.partition_point(|v| v.start < end);
    if first >= last {
        return Err(EINVAL);
    }
    if ctx.mm.vmas[first].hugetlb && !hugetlb::is_border(ctx, span.start) {
        hit!(ctx, hugetlb::UFFD_RANGE);
        return Err(EINVAL);
    }
    for i in first..last {
        if !possible(ctx, i) {
            return Err(EINVAL);
        }
        if on && !ctx.mm.vmas[i].may_write {
            hit!(ctx, MAY_WRITE);
            return Err(EPERM);
        }
        // As it was given: behind the arena there is nothing, but it may end there.
        let vma = &ctx.mm.vmas[i];
        let ends_here = span.end > vma.start.into() && span.end <= vma.end.into();
        if on && ends_here && ctx.mm.vmas[i].hugetlb && !hugetlb::is_border(ctx, span.end) {
            hit!(ctx, hugetlb::UFFD_RANGE);
            return Err(EINVAL);
        }
        let drops = ctx.mm.vmas[i].uffd.wp && on && !uffd.wp;
        if drops && ctx.world.profile.uffd_wp_switch_refused {
            hit!(ctx, protect::SWITCH);
            return Err(EBUSY);
        }
    }
    let mut at = start;
    while at < end {
        let i = ctx.mm.first_vma_after(at);
        let Some(vma) = ctx.mm.vmas.get(i).filter(|v| v.start < end) else {
            break;
        };
        let (from, to) = (vma.start.max(at), vma.end.min(end));
        // Whoever is registered for more stays so.
        let is = vma.uffd;
        if is == uffd || on && is.missing >= uffd.missing && is.wp >= uffd.wp {
            at = to;
            continue;
        }
        if !on && is.wp {
            protect::change(ctx, i, (from, to), false);
        }
        let vma = &ctx.mm.vmas[i];
        if from > vma.start && ctx.world.profile.uffd_inside_stays_apart {
            hit!(ctx, INSIDE_APART);
            merge::split(ctx, from)?;
            merge::split(ctx, to)?;
            if let Some(i) = ctx.mm.vma_index(from) {
                ctx.mm.vmas[i].uffd = uffd;
            }
            at = to;
            continue;
        }
        let mut new = vma.clone();
        new.uffd = uffd;
        at = merge::modify(ctx, i, from, to, new)?;
    }
    Ok(())
}

/// Whether a VMA is of a kind that can be registered.
fn possible(ctx: &mut Ctx, i: usize) -> bool {
    let vma = &ctx.mm.vmas[i];
    let droppable = vma.droppable;
    let kind = vma.object.map(|id| ctx.world.object(id).kind);
    if droppable {
        hit!(ctx, DROPPABLE);
        return ctx.world.profile.uffd_takes_droppable;
    }
    let possible = kind.is_none_or(|kind| kind == FileKind::Memfd);
    if !possible {
        hit!(ctx, KINDS);
    }
    possible
}
