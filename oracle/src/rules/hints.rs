//! madvise that only sets flags of VMAs: what to read ahead, what fork and core dumps leave out, what KSM may merge. The
//! flags decide which VMAs are alike, and two of them what a child gets: there they meet guards.

use super::errno::EINVAL;
use super::registry::Rule;
use super::{droppable, hit, hugetlb, merge, Ctx};
use crate::judge::Class;
use crate::program::Advice;
use crate::space::Hints;

pub const READ_AHEAD: Rule = Rule {
    name: "madvise/hints/read-ahead",
    text: "RANDOM sets `rr` and clears `sr`, SEQUENTIAL the other way round, NORMAL clears both, on any memory. The VMA is \
           split at the range's ends and merged with like neighbours; no page changes, guards neither.",
    source: "mm/madvise.c madvise_vma_behavior, madvise_update_vma",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const DUMP: Rule = Rule {
    name: "madvise/hints/dump",
    text: "DONTDUMP sets `dd`, DODUMP clears it (EINVAL only on special mappings, which are none here).",
    source: "mm/madvise.c madvise_vma_behavior",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const FORK: Rule = Rule {
    name: "madvise/hints/fork",
    text: "DONTFORK sets `dc`, DOFORK clears it, on any memory.",
    source: "mm/madvise.c madvise_vma_behavior",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const WIPE: Rule = Rule {
    name: "madvise/hints/wipe-on-fork",
    text: "WIPEONFORK sets `wf`, KEEPONFORK clears it. WIPEONFORK of a shared mapping or of a file is EINVAL; VMAs before it have \
           their flag then. Guards stay.",
    source: "mm/madvise.c madvise_vma_behavior; madvise(2), MADV_WIPEONFORK",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const KSM: Rule = Rule {
    name: "madvise/hints/ksm",
    text: "MERGEABLE sets `mg`, UNMERGEABLE clears it. Shared mappings are passed over without an error. Without CONFIG_KSM both \
           are unknown advice.",
    source: "mm/ksm.c ksm_madvise, vma_ksm_compatible",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const WILLNEED: Rule = Rule {
    name: "madvise/willneed/reads-swap-only",
    text: "WILLNEED brings back what has been swapped out; other memory, guarded or not, stays as it is.",
    source: "mm/madvise.c madvise_willneed",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

/// Sets the flag that `advice` is about on `[start, end)` of VMA `i`. Returns where the walk goes on.
pub(crate) fn set(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    end: u32,
    advice: Advice,
) -> Result<u32, i32> {
    let vma = &ctx.mm.vmas[i];
    let (old, shared, anon) = (vma.hints, vma.shared, vma.is_anon());
    let (droppable, hugetlb) = (vma.droppable, vma.hugetlb);
    if droppable {
        hit!(ctx, droppable::ADVICE);
        if matches!(advice, Advice::KeepOnFork | Advice::DoDump) {
            return Err(EINVAL);
        }
    }
    let mut new = old;
    match advice {
        Advice::Normal | Advice::Random | Advice::Sequential => {
            hit!(ctx, READ_AHEAD);
            new.random = advice == Advice::Random;
            new.sequential = advice == Advice::Sequential;
        }
        Advice::DontDump | Advice::DoDump => {
            hit!(ctx, DUMP);
            new.dont_dump = advice == Advice::DontDump;
        }
        Advice::DontFork | Advice::DoFork => {
            hit!(ctx, FORK);
            new.dont_fork = advice == Advice::DontFork;
        }
        Advice::WipeOnFork | Advice::KeepOnFork => {
            hit!(ctx, WIPE);
            if advice == Advice::WipeOnFork && !anon {
                return Err(EINVAL);
            }
            new.wipe_on_fork = advice == Advice::WipeOnFork;
        }
        Advice::Mergeable | Advice::Unmergeable => {
            hit!(ctx, KSM);
            if hugetlb {
                hit!(ctx, hugetlb::REFUSES);
            }
            let possible = !(shared || droppable || hugetlb);
            new.mergeable = advice == Advice::Mergeable && possible;
        }
        _ => {}
    }
    change(ctx, i, (start, end), old, new)
}

fn change(
    ctx: &mut Ctx,
    i: usize,
    (start, end): (u32, u32),
    old: Hints,
    new: Hints,
) -> Result<u32, i32> {
    if old == new {
        return Ok(end);
    }
    let mut changed = ctx.mm.vmas[i].clone();
    changed.hints = new;
    merge::modify(ctx, i, start, end, changed)
}
