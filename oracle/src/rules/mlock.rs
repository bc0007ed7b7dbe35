//! mlock, mlock2, munlock, mlockall and munlockall, and what mmap does with MAP_LOCKED.
//!
//! Locking sets a flag of VMAs and then faults their pages in. The flag stays whatever becomes of the pages: guards, which
//! cannot be faulted in, and PROT_NONE memory are locked like any other.

use super::access::{touch, OnError, Purpose};
use super::args::Span;
use super::errno::{EAGAIN, EINVAL, ENOMEM};
use super::registry::Rule;
use super::{droppable, hit, hugetlb, merge, pkey, secret, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::{Advice, LockAll, LockCall, Prot};
use crate::space::{Branch, Locked};

pub const FLAGS: Rule = Rule {
    name: "mlock/flags",
    text: "mlock sets `lo`, mlock2 with MLOCK_ONFAULT `lo lf`, munlock clears both, on any memory and in ascending order. VMAs are \
           split at the range's ends and merged with like neighbours. Guards stay.",
    source: "mm/mlock.c apply_vma_lock_flags, mlock_fixup; mlock(2)",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno],
};

pub const RANGE: Rule = Rule {
    name: "mlock/range",
    text: "The start is rounded down to its page, and the length reaches from there to the end, rounded up: no address is \
           misaligned. A length of zero is success, and so is an end less than a page before that page; an end further \
           before it is EINVAL, where a limit holds ENOMEM for mlock.",
    source: "mm/mlock.c do_mlock, munlock: PAGE_ALIGN of a length that wraps is 0",
    since: "all",
    about: &[Class::Errno, Class::VmFlags],
};

pub const UNKNOWN_FLAG: Rule = Rule {
    name: "mlock/unknown-flag",
    text: "mlock2 with a flag that it does not know is EINVAL before anything else is looked at.",
    source: "mm/mlock.c mlock2",
    since: "all",
    about: &[Class::Errno],
};

pub const FIRST_UNMAPPED: Rule = Rule {
    name: "mlock/first-unmapped",
    text: "A range whose first page is not mapped is ENOMEM, and nothing changes.",
    source: "mm/mlock.c apply_vma_lock_flags",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags],
};

pub const HOLE: Rule = Rule {
    name: "mlock/hole",
    text: "A hole ends the call with ENOMEM: what lies before it has the new flags, what lies behind has not, and no page is \
           faulted in.",
    source: "mm/mlock.c apply_vma_lock_flags, do_mlock",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const FAULTS_IN: Rule = Rule {
    name: "mlock/faults-in",
    text: "mlock, mlockall(MCL_CURRENT) and mmap of locked memory fault the pages in: those of private writable memory as stores \
           would, copies for copy-on-write included, others as loads would, though the memory be write-only or execute-only. \
           Contents stay.",
    source: "mm/gup.c __mm_populate, populate_vma_page_range; mlock(2)",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Vma],
};

pub const ON_FAULT: Rule = Rule {
    name: "mlock/on-fault/faults-nothing-in",
    text: "No page of an `lf` VMA is faulted in by locking, nor by MAP_POPULATE when MCL_ONFAULT has made the new mapping one.",
    source: "mm/gup.c populate_vma_page_range",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Errno],
};

pub const IMPOSSIBLE: Rule = Rule {
    name: "mlock/guard-or-none-is-enomem",
    text: "A page that cannot be faulted in ends mlock with ENOMEM: a guard, PROT_NONE memory, execute-only memory with a \
           protection key, a page behind the end of its file. The pages before it are there, and all of the range stays locked.",
    source: "mm/gup.c populate_vma_page_range; mm/mlock.c __mlock_posix_error_return",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const PASSED_OVER: Rule = Rule {
    name: "mlock/errors-passed-over",
    text: "mmap and mlockall do not tell what could not be faulted in: they go on at the next VMA.",
    source: "mm/gup.c __mm_populate with ignore_errors",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const LIMIT: Rule = Rule {
    name: "mlock/limit",
    text: "An ordinary user may have RLIMIT_MEMLOCK of locked memory, two blocks here, whether it is there or not: one page more and \
           mlock is ENOMEM, before it looks at anything. What of the range is locked already does not count twice. Root has \
           no limit.",
    source: "mm/mlock.c do_mlock, count_mm_mlocked_page_nr",
    since: "all",
    about: &[Class::Errno, Class::VmFlags, Class::PageState],
};

pub const MMAP_LIMIT: Rule = Rule {
    name: "mlock/limit/mmap",
    text: "A mapping that would be locked and exceed the limit is EAGAIN; what it would replace counts as well. A hint that is \
           taken does not matter here, MAP_FIXED_NOREPLACE over a mapping is EEXIST first.",
    source: "mm/mmap.c do_mmap, mlock_future_ok",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const ALL_FLAGS: Rule = Rule {
    name: "mlock/all/flags",
    text: "mlockall of no flag, or of MCL_ONFAULT alone, is EINVAL.",
    source: "mm/mlock.c mlockall",
    since: "all",
    about: &[Class::Errno],
};

pub const ALL_CURRENT: Rule = Rule {
    name: "mlock/all/current",
    text: "MCL_CURRENT locks every VMA, with MCL_ONFAULT as `lf`, and merges those that are alike then. Without MCL_FUTURE new \
           mappings are no longer locked.",
    source: "mm/mlock.c apply_mlockall_flags",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

pub const ALL_LIMIT: Rule = Rule {
    name: "mlock/all/current-exceeds-limit",
    text: "MCL_CURRENT is ENOMEM for an ordinary user whose address space as a whole is larger than the limit, and that is so for \
           every actor: the guest sees to it. MCL_FUTURE alone has no limit.",
    source: "mm/mlock.c mlockall: total_vm",
    since: "all",
    about: &[Class::Errno, Class::VmFlags],
};

pub const FUTURE: Rule = Rule {
    name: "mlock/all/future",
    text: "After MCL_FUTURE new mappings are locked, with MCL_ONFAULT as `lf`, and faulted in; without MCL_CURRENT those that are \
           there stay as they are.",
    source: "mm/mlock.c apply_mlockall_flags, mm/mmap.c do_mmap",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::PageState, Class::Residency],
};

pub const UNLOCK_ALL: Rule = Rule {
    name: "mlock/all/unlock",
    text: "munlockall unlocks every VMA, merges those that are alike then, and ends MCL_FUTURE.",
    source: "mm/mlock.c munlockall",
    since: "all",
    about: &[Class::VmFlags, Class::Vma],
};

pub const FORK_UNLOCKS: Rule = Rule {
    name: "mlock/fork-unlocks",
    text: "A child's memory is not locked, and neither is what it maps: fork drops `lo` and `lf` of its VMAs, which stay apart, and \
           MCL_FUTURE.",
    source: "mm/mmap.c dup_mmap (before 6.16 kernel/fork.c), kernel/fork.c mm_init; mlockall(2)",
    since: "all",
    about: &[Class::VmFlags, Class::Vma],
};

pub const MPROTECT: Rule = Rule {
    name: "mlock/mprotect-faults-in",
    text: "Locked private memory that mprotect makes writable is faulted in as stores would, up to the first guard; nobody is told.",
    source: "mm/mprotect.c mprotect_fixup: populate_vma_page_range",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Vma],
};

pub const REFUSES: Rule = Rule {
    name: "mlock/refuses-advice",
    text: "A locked VMA refuses DONTNEED, FREE, COLD, PAGEOUT and guard install with EINVAL; VMAs before it are treated. DONTNEED_LOCKED and guard remove \
           work.",
    source: "mm/madvise.c madvise_dontneed_free_valid_vma, can_madv_lru_vma, is_valid_guard_vma",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const REMAP_LIMIT: Rule = Rule {
    name: "mlock/limit/mremap",
    text: "Locked memory that would grow over the limit is EAGAIN, whether it would grow in place, move or be duplicated; before 6.17 \
           MREMAP_FIXED has unmapped its target by then. Memory that is not locked may grow, MCL_FUTURE or not.",
    source: "mm/mremap.c check_prep_vma (before 6.17 vma_to_resize): mlock_future_ok of the VMA's flags",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const GROWS: Rule = Rule {
    name: "mlock/mremap-faults-in",
    text: "What mremap adds to locked memory is locked too, and faulted in unless the VMA is `lf`; what cannot be is passed over.",
    source: "mm/mremap.c do_mremap: mm_populate",
    since: "all",
    about: &[Class::VmFlags, Class::PageState, Class::Residency],
};

/// mlock(2), mlock2(2), munlock(2).
pub(crate) fn mlock(mut ctx: Ctx, range: Range, call: LockCall) -> Vec<Branch> {
    let new = match call {
        LockCall::Lock => Locked::All,
        LockCall::LockOnFault => Locked::OnFault,
        LockCall::Unlock => Locked::No,
        LockCall::UnknownFlag => {
            hit!(ctx, UNKNOWN_FLAG);
            return vec![ctx.finish(Outcome::Errno(EINVAL))];
        }
    };
    let span = Span::whole_pages(range, ctx.geometry());
    if let Err(errno) = set(&mut ctx, span, new) {
        return vec![ctx.finish(Outcome::Errno(errno))];
    }
    if new == Locked::No {
        return vec![ctx.finish(Outcome::Ok)];
    }
    touch(ctx, span.start, span.end, Purpose::FaultIn(OnError::Tell))
}

/// Gives the VMAs of a range their flags.
fn set(ctx: &mut Ctx, span: Span, new: Locked) -> Result<(), i32> {
    hit!(ctx, RANGE);
    let (start, end, outside) = span.clip(ctx.geometry());
    if new != Locked::No && (span.wraps || exceeds(ctx, span, start, end)) && !ctx.world.knobs.root
    {
        hit!(ctx, LIMIT);
        return Err(ENOMEM);
    }
    if span.wraps {
        return Err(EINVAL);
    }
    if span.empty {
        return Ok(());
    }
    if span.start < 0 || ctx.mm.vma_index(start).is_none() {
        hit!(ctx, FIRST_UNMAPPED);
        return Err(ENOMEM);
    }
    hit!(ctx, FLAGS);
    let mut at = start;
    while let Some(i) = ctx.mm.vma_index(at).filter(|_| at < end) {
        at = fixup(ctx, i, at, end, new)?;
    }
    if at < end || outside {
        hit!(ctx, HOLE);
        return Err(ENOMEM);
    }
    Ok(())
}

/// Whether more would be locked than an ordinary user may have.
fn exceeds(ctx: &Ctx, span: Span, start: u32, end: u32) -> bool {
    let before = ctx.mm.locked_vm() - ctx.mm.locked_pages(start, end);
    i64::from(before) + (span.end - span.start) > i64::from(ctx.geometry().memlock_pages())
}

/// Changes one VMA from `start` up to `end` or its own end. Returns where to go on.
///
/// # Errors
/// That of [`merge::modify`].
fn fixup(ctx: &mut Ctx, i: usize, start: u32, end: u32, locked: Locked) -> Result<u32, i32> {
    let vma = &ctx.mm.vmas[i];
    let to = vma.end.min(end);
    if vma.locked == locked {
        return Ok(to);
    }
    if secret::is(ctx, vma) {
        hit!(ctx, secret::LOCK_STAYS);
        return Ok(to);
    }
    if vma.hugetlb {
        hit!(ctx, hugetlb::NEVER_LOCKED);
        return Ok(to);
    }
    let vma = vma.clone();
    if droppable::is_never_locked(ctx, &vma) {
        return Ok(to);
    }
    let mut new = vma;
    new.locked = locked;
    merge::modify(ctx, i, start, to, new)
}

/// mlockall(2).
pub(crate) fn mlockall(mut ctx: Ctx, flags: LockAll) -> Vec<Branch> {
    if !flags.current && !flags.future {
        hit!(ctx, ALL_FLAGS);
        return vec![ctx.finish(Outcome::Errno(EINVAL))];
    }
    if flags.current && !ctx.world.knobs.root {
        hit!(ctx, ALL_LIMIT);
        return vec![ctx.finish(Outcome::Errno(ENOMEM))];
    }
    let locked = if flags.on_fault {
        Locked::OnFault
    } else {
        Locked::All
    };
    ctx.mm.new_are_locked = Locked::No;
    if flags.future {
        hit!(ctx, FUTURE);
        ctx.mm.new_are_locked = locked;
    }
    if !flags.current {
        return vec![ctx.finish(Outcome::Ok)];
    }
    hit!(ctx, ALL_CURRENT);
    set_all(&mut ctx, locked);
    let arena = ctx.geometry().arena_pages();
    touch(ctx, 0, arena.into(), Purpose::FaultIn(OnError::NextVma))
}

/// munlockall(2).
pub(crate) fn munlockall(ctx: &mut Ctx) -> Outcome {
    hit!(ctx, UNLOCK_ALL);
    ctx.mm.new_are_locked = Locked::No;
    set_all(ctx, Locked::No);
    Outcome::Ok
}

/// Gives every VMA its flags, ascending.
fn set_all(ctx: &mut Ctx, locked: Locked) {
    let mut at = 0;
    while let Some(vma) = ctx.mm.vmas.get(ctx.mm.first_vma_after(at)) {
        let (start, end) = (vma.start, vma.end);
        // The kernel does not tell what it could not change.
        at = fixup(ctx, ctx.mm.first_vma_after(at), start, end, locked).unwrap_or(end);
    }
}

/// What a new mapping is, with or without MAP_LOCKED.
///
/// # Errors
/// EAGAIN where `pages` more would exceed the limit.
pub(crate) fn of_new(ctx: &mut Ctx, map_locked: bool, pages: i64) -> Result<Locked, i32> {
    let locked = match ctx.mm.new_are_locked {
        Locked::No if map_locked => Locked::All,
        Locked::No => return Ok(Locked::No),
        future => {
            hit!(ctx, FUTURE);
            future
        }
    };
    if over_limit(ctx, pages) {
        hit!(ctx, MMAP_LIMIT);
        return Err(EAGAIN);
    }
    Ok(locked)
}

/// Whether `pages` more are too many for an ordinary user.
pub(super) fn over_limit(ctx: &Ctx, pages: i64) -> bool {
    let all = i64::from(ctx.mm.locked_vm()).saturating_add(pages);
    all > i64::from(ctx.geometry().memlock_pages()) && !ctx.world.knobs.root
}

/// Whether mremap may add `pages` to VMA `i`.
pub(super) fn may_grow(ctx: &mut Ctx, i: usize, pages: u64) -> Result<(), i32> {
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    if pages > 0 && ctx.mm.vmas[i].locked != Locked::No && over_limit(ctx, pages) {
        hit!(ctx, REMAP_LIMIT);
        return Err(EAGAIN);
    }
    Ok(())
}

/// Whether what mremap has added at a page is locked.
pub(super) fn grows_locked(ctx: &mut Ctx, page: u32) -> bool {
    let i = ctx.mm.vma_index(page);
    let locked = i.is_some_and(|i| ctx.mm.vmas[i].locked != Locked::No);
    if locked {
        hit!(ctx, GROWS);
    }
    locked
}

/// Whether pages can be faulted in for their VMA's sake.
pub(crate) enum FaultIn {
    /// They are to be.
    Wanted,
    /// Nothing is to be done.
    Nothing,
    /// The VMA does not let it.
    Impossible,
}

/// What faulting in comes to in VMA `i`.
pub(crate) fn fault_in(ctx: &mut Ctx, i: usize) -> FaultIn {
    let vma = &ctx.mm.vmas[i];
    let prot = vma.prot;
    if vma.locked == Locked::OnFault {
        hit!(ctx, ON_FAULT);
        return FaultIn::Nothing;
    }
    if secret::is(ctx, vma) {
        hit!(ctx, secret::OUT_OF_REACH);
        return FaultIn::Impossible;
    }
    let keyed = pkey::forbids(vma, prot.write && !vma.shared);
    if keyed {
        hit!(ctx, pkey::FAULTS_NOTHING_IN);
    }
    if prot == Prot::NONE || keyed {
        return FaultIn::Impossible;
    }
    if vma.locked == Locked::All {
        hit!(ctx, FAULTS_IN);
    }
    FaultIn::Wanted
}

/// Whether VMA `i` refuses an advice because it is locked.
pub(crate) fn refuses(ctx: &mut Ctx, i: usize, advice: Advice) -> Result<(), i32> {
    let moves = matches!(
        advice,
        Advice::DontNeed
            | Advice::Free
            | Advice::Cold
            | Advice::PageOut
            | Advice::Remove
            | Advice::GuardInstall
    );
    if moves && ctx.mm.vmas[i].locked != Locked::No {
        hit!(ctx, REFUSES);
        return Err(EINVAL);
    }
    Ok(())
}
