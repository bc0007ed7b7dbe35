//! mseal: memory whose mapping cannot be changed any more. What it refuses stands where it is refused: in munmap, mmap,
//! mprotect, mremap and madvise.

use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EINVAL, ENOMEM, ENOSYS, EPERM};
use super::registry::Rule;
use super::{hit, merge, munmap, pkey, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::Advice;

pub const SEALS: Rule = Rule {
    name: "mseal/seals",
    text: "mseal sets `sl` on every VMA of the range, in ascending order, splitting at the range's ends and merging with like \
           neighbours. Nothing takes it away again; a child inherits it. No page changes.",
    source: "mm/mseal.c; mseal(2)",
    since: "6.10",
    about: &[Class::VmFlags, Class::Vma, Class::Errno],
};

pub const MISSING: Rule = Rule {
    name: "mseal/missing",
    text: "Before 6.10 there is no mseal: ENOSYS, whatever the arguments.",
    source: "6.10, mseal: wire up mseal syscall",
    since: "before 6.10",
    about: &[Class::Errno],
};

pub const UNKNOWN_FLAG: Rule = Rule {
    name: "mseal/unknown-flag",
    text: "Any flag is EINVAL, before the range is looked at.",
    source: "mm/mseal.c; mseal(2)",
    since: "6.10",
    about: &[Class::Errno],
};

pub const HOLE: Rule = Rule {
    name: "mseal/hole-seals-nothing",
    text: "A hole anywhere in the range is ENOMEM, and then nothing is sealed.",
    source: "mm/mseal.c range_contains_unmapped (before 6.17 check_mm_seal); mseal(2)",
    since: "6.10",
    about: &[Class::Errno, Class::VmFlags, Class::Vma],
};

pub const UNMAP: Rule = Rule {
    name: "mseal/munmap-is-eperm",
    text: "munmap, and MAP_FIXED, of a range that reaches into a sealed VMA is EPERM and unmaps nothing. A VMA that is not sealed \
           and begins before the range has been split at the range's start by then, and stays so.",
    source: "mm/vma.c vms_gather_munmap_vmas; mseal(2)",
    since: "6.12",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const PROTECT: Rule = Rule {
    name: "mseal/mprotect-is-eperm",
    text: "mprotect stops at a sealed VMA with EPERM, even if it has the protection already; VMAs before it are changed.",
    source: "mm/mprotect.c mprotect_fixup; mseal(2)",
    since: "6.12",
    about: &[Class::Errno, Class::Vma],
};

pub const DISCARD: Rule = Rule {
    name: "mseal/discard-is-eperm",
    text: "Advice that discards (DONTNEED, DONTNEED_LOCKED, FREE, REMOVE, guard install; DONTFORK and WIPEONFORK count as such) stops \
           with EPERM at a sealed VMA of private anonymous memory that is not writable, before it looks for anything else against \
           it. Writable and shared memory may be discarded, guards may be removed.",
    source: "mm/madvise.c can_madvise_modify (before 6.17 mm/mseal.c can_modify_vma_madv); mseal(2)",
    since: "6.10",
    about: &[Class::Errno, Class::PageState, Class::VmFlags],
};

pub const REMAP: Rule = Rule {
    name: "mseal/mremap-is-eperm",
    text: "mremap that starts in a sealed VMA is EPERM before anything else is looked at but the form of the call, be it to the same \
           length. When several VMAs move, those before the sealed one have moved. A sealed VMA at the target of MREMAP_FIXED, or \
           in what is cut off, refuses as it does munmap, and the target is gone before shrinking is refused.",
    source: "mm/mremap.c check_prep_vma, mremap_to; 6.12: mm/mremap.c SYSCALL_DEFINE5(mremap) can_modify_vma; mseal(2)",
    since: "6.12",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const STALE_START: Rule = Rule {
    name: "mseal/stale-start",
    text: "When a VMA joins a sealed one behind it, older kernels take the next VMA of the range to start where the first ended \
           before: it is sealed, but does not join what lies before it.",
    source: "6.17, mm/mseal: rework mseal apply logic; mended by mm/mseal: update VMA end correctly on merge (7.3 mm/mseal.c \
             mseal_apply computes curr_start anew)",
    since: "6.17 and 6.18: the row mseal_stale_start",
    about: &[Class::Vma],
};

/// mseal(2).
pub(crate) fn mseal(ctx: &mut Ctx, range: Range, unknown_flag: bool) -> Outcome {
    if !ctx.world.profile.mseal {
        hit!(ctx, MISSING);
        return Outcome::Errno(ENOSYS);
    }
    if unknown_flag {
        hit!(ctx, UNKNOWN_FLAG);
        return Outcome::Errno(EINVAL);
    }
    let span = Span::new(range, ctx.geometry());
    if !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Outcome::Errno(EINVAL);
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Outcome::Errno(EINVAL);
    }
    if span.empty {
        hit!(ctx, EMPTY);
        return Outcome::Ok;
    }
    let (start, end, outside) = span.clip(ctx.geometry());
    if outside || !munmap::covered(ctx, start, end) {
        hit!(ctx, HOLE);
        return Outcome::Errno(ENOMEM);
    }
    hit!(ctx, SEALS);
    let mut at = start;
    // The kernel goes on where the last VMA ended before it was merged with the one behind it.
    let mut stale = false;
    while let Some(i) = ctx.mm.vma_index(at).filter(|_| at < end) {
        let vma = &ctx.mm.vmas[i];
        let to = vma.end.min(end);
        if vma.sealed {
            (at, stale) = (to, false);
            continue;
        }
        if stale {
            hit!(ctx, STALE_START);
            if let Err(errno) = merge::split(ctx, to) {
                return Outcome::Errno(errno);
            }
            ctx.mm.vmas[i].sealed = true;
            (at, stale) = (to, false);
            continue;
        }
        let mut new = vma.clone();
        new.sealed = true;
        at = match merge::modify(ctx, i, at, to, new) {
            Ok(at) => at,
            Err(errno) => return Outcome::Errno(errno),
        };
        stale = at > to && ctx.world.profile.mseal_stale_start;
    }
    Outcome::Ok
}

/// Unmaps for mremap.
pub(super) fn unmap(ctx: &mut Ctx, start: u32, end: u32) -> Result<(), i32> {
    let unmapped = munmap::unmap(ctx, start, end);
    if unmapped == Err(EPERM) {
        hit!(ctx, REMAP);
    }
    unmapped
}

/// Whether mremap may touch the VMA that holds a page.
pub(super) fn stays(ctx: &mut Ctx, page: u32) -> Result<(), i32> {
    let i = ctx.mm.vma_index(page);
    if i.is_some_and(|i| ctx.mm.vmas[i].sealed) {
        hit!(ctx, REMAP);
        return Err(EPERM);
    }
    Ok(())
}

/// Whether VMA `i` refuses an advice for its seal.
pub(crate) fn refuses(ctx: &mut Ctx, i: usize, advice: Advice) -> Result<(), i32> {
    let discards = matches!(
        advice,
        Advice::DontNeed
            | Advice::DontNeedLocked
            | Advice::Free
            | Advice::Remove
            | Advice::GuardInstall
            | Advice::DontFork
            | Advice::WipeOnFork
    );
    let vma = &ctx.mm.vmas[i];
    let forbidden = vma.prot.write && pkey::forbids(vma, true);
    if discards && vma.sealed && vma.is_anon() && (!vma.prot.write || forbidden) {
        if forbidden {
            hit!(ctx, pkey::SEALED);
        }
        hit!(ctx, DISCARD);
        return Err(EPERM);
    }
    Ok(())
}
