//! mprotect.

use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EACCES, EINVAL, ENOMEM};
use super::registry::Rule;
use super::{hit, merge, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::Prot;

pub const KEEPS_PAGES: Rule = Rule {
    name: "mprotect/keeps-pages",
    text: "mprotect touches no page: contents, sharing, guards and empty slots stay as they are; so do huge pages, unless \
           the VMA is split inside one.",
    source: "mm/mprotect.c change_protection",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const CHANGES: Rule = Rule {
    name: "mprotect/changes",
    text: "mprotect changes the protection of every VMA of the range in ascending order, splitting at the ends and \
           merging each part with its neighbours.",
    source: "mm/mprotect.c do_mprotect_pkey, mprotect_fixup",
    since: "all",
    about: &[Class::Vma, Class::Errno],
};

pub const SAME: Rule = Rule {
    name: "mprotect/same-is-nothing",
    text: "A VMA that has the protection already is left alone: no split, no merge, no change of accounting.",
    source: "mm/mprotect.c mprotect_fixup",
    since: "all",
    about: &[Class::Vma, Class::VmFlags],
};

pub const FIRST_UNMAPPED: Rule = Rule {
    name: "mprotect/first-unmapped",
    text: "A range whose first page is not mapped is ENOMEM, and nothing changes.",
    source: "mm/mprotect.c do_mprotect_pkey",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const HOLE: Rule = Rule {
    name: "mprotect/hole",
    text: "At a hole mprotect stops with ENOMEM; what lies before the hole is changed, what lies behind is not.",
    source: "mm/mprotect.c do_mprotect_pkey",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const ACCOUNTS: Rule = Rule {
    name: "mprotect/accounts-when-writable",
    text: "Private memory that becomes writable is charged (`ac`) if it was not before, and stays so when it becomes \
           read-only again.",
    source: "mm/mprotect.c mprotect_fixup",
    since: "all",
    about: &[Class::VmFlags],
};

pub const UNACCOUNTS: Rule = Rule {
    name: "mprotect/unaccounts-without-anon-vma",
    text: "Private anonymous memory that has no anon_vma yet loses `ac` when it becomes unwritable. An anon_vma, which a write \
           or a guard install brings, prevents that.",
    source: "mm/mprotect.c mprotect_fixup; 6.3, mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()",
    since: "6.3",
    about: &[Class::VmFlags, Class::Vma],
};

pub const MAY_WRITE: Rule = Rule {
    name: "mprotect/may-write",
    text: "A shared mapping through a descriptor that cannot write (no `mw`) never becomes writable: EACCES at that VMA, whatever \
           its protection; VMAs before it are changed. A private mapping of the same descriptor may.",
    source: "mm/mprotect.c do_mprotect_pkey: VM_MAYWRITE; mmap(2), EACCES",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

/// mprotect(2).
pub(crate) fn mprotect(ctx: &mut Ctx, range: Range, prot: Prot) -> Outcome {
    let g = ctx.geometry();
    let span = Span::new(range, g);
    if !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Outcome::Errno(EINVAL);
    }
    if span.empty {
        hit!(ctx, EMPTY);
        return Outcome::Ok;
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Outcome::Errno(ENOMEM);
    }
    let (start, end, outside) = span.clip(g);
    if span.start < 0 || ctx.mm.vma_index(start).is_none() {
        hit!(ctx, FIRST_UNMAPPED);
        return Outcome::Errno(ENOMEM);
    }
    let mut at = start;
    while at < end {
        let Some(i) = ctx.mm.vma_index(at) else {
            break;
        };
        if prot.write && !ctx.mm.vmas[i].may_write {
            hit!(ctx, MAY_WRITE);
            return Outcome::Errno(EACCES);
        }
        at = fixup(ctx, i, at, end, prot);
    }
    if at < end || outside {
        hit!(ctx, HOLE);
        return Outcome::Errno(ENOMEM);
    }
    Outcome::Ok
}

/// Changes one VMA from `start` up to `end` or its own end. Returns where to go on.
fn fixup(ctx: &mut Ctx, i: usize, start: u32, end: u32, prot: Prot) -> u32 {
    let vma = &ctx.mm.vmas[i];
    let to = vma.end.min(end);
    if vma.prot == prot {
        hit!(ctx, SAME);
        return to;
    }
    let mut new = vma.clone();
    new.prot = prot;
    if prot.write {
        if !vma.account && !vma.prot.write && !vma.shared && !vma.noreserve {
            hit!(ctx, ACCOUNTS);
            new.account = true;
        }
    } else if vma.account && vma.is_anon() {
        if vma.anon_vma.is_none() && ctx.world.profile.mprotect_unaccounts {
            hit!(ctx, UNACCOUNTS);
            new.account = false;
        } else {
            hit!(ctx, ACCOUNTS);
        }
    }
    hit!(ctx, CHANGES);
    hit!(ctx, KEEPS_PAGES);
    merge::modify(ctx, i, start, to, new)
}
