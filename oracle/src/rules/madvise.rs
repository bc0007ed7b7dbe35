//! madvise: the walk over VMAs that all advice shares, DONTNEED, and the huge-page flags.

use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EINVAL, ENOMEM};
use super::registry::Rule;
use super::{
    collapse, failing, free, guard, hints, hit, hugetlb, merge, mlock, mseal, reclaim, resize,
    swap, tables, uffd, Ctx,
};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::Advice;
use crate::space::HugeAdvice;

pub const UNKNOWN: Rule = Rule {
    name: "madvise/unknown-advice",
    text: "Advice that the kernel does not know is EINVAL before anything else is looked at. Guard install and remove are \
           known from 6.13 on; MERGEABLE and UNMERGEABLE with CONFIG_KSM.",
    source: "mm/madvise.c madvise_behavior_valid",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const WALK: Rule = Rule {
    name: "madvise/walks-vmas",
    text: "madvise treats the VMAs of the range one by one in ascending order; the first that refuses ends the call with its \
           errno, and what was done before stays done.",
    source: "mm/madvise.c madvise_walk_vmas",
    since: "all",
    about: &[Class::Errno],
};

pub const HOLE: Rule = Rule {
    name: "madvise/holes",
    text: "Holes in the range do not stop madvise: every VMA is treated, then the call returns ENOMEM.",
    source: "mm/madvise.c madvise_walk_vmas",
    since: "all",
    about: &[Class::Errno],
};

pub const HUGE_FLAGS: Rule = Rule {
    name: "madvise/hugepage/flags",
    text: "HUGEPAGE sets `hg` and clears `nh`, NOHUGEPAGE the other way round, on shared memory too. The VMA is split at the \
           range's ends and merged with like neighbours; no page changes. Nothing happens where the flag is set already.",
    source: "mm/khugepaged.c hugepage_madvise, mm/madvise.c madvise_update_vma",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const DONTNEED: Rule = Rule {
    name: "madvise/dontneed/discards",
    text: "DONTNEED empties the slots of private anonymous memory; the next read finds zeros. Protection does not matter. \
           DONTNEED_LOCKED does the same, in locked memory too.",
    source: "mm/madvise.c madvise_dontneed_single_vma; DONTNEED_LOCKED: 5.18",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Errno],
};

pub const DONTNEED_SHARED: Rule = Rule {
    name: "madvise/dontneed/shared-keeps-content",
    text: "On shared memory DONTNEED only unmaps: the content stays in the object and mincore still calls it resident.",
    source: "mm/memory.c zap_pte_range",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const DONTNEED_PRIVATE_FILE: Rule = Rule {
    name: "madvise/dontneed/private-file-loses-copies",
    text: "On a private mapping of a file DONTNEED drops the copies that stores have made: the next read finds what the file \
           holds. Pages of the file are unmapped and stay in the page cache.",
    source: "mm/memory.c zap_pte_range; madvise(2), MADV_DONTNEED",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const DONTNEED_KEEPS_GUARDS: Rule = Rule {
    name: "madvise/dontneed/keeps-guards",
    text: "DONTNEED leaves guards where they are.",
    source: "mm/memory.c zap_nonpresent_ptes: markers go only with ZAP_FLAG_DROP_MARKER",
    since: "6.13",
    about: &[Class::PageState],
};

pub const DONTNEED_FREES_TABLE: Rule = Rule {
    name: "madvise/dontneed/frees-empty-table",
    text: "With CONFIG_PT_RECLAIM, DONTNEED over a whole PMD-sized block within one VMA frees the block's page table if no \
           guard keeps it, so that the next fault may choose a huge page.",
    source: "mm/memory.c zap_pte_range, pte_table_reclaim_possible; 6.14, mm: pgtable: reclaim empty PTE page in madvise(MADV_DONTNEED)",
    since: "6.14 (x86-64), 7.2 (arm64)",
    about: &[Class::PageState],
};

/// madvise(2).
pub(crate) fn madvise(ctx: &mut Ctx, range: Range, advice: Advice) -> Outcome {
    if !known(ctx, advice) {
        return Outcome::Errno(EINVAL);
    }
    let span = match span(ctx, range) {
        Ok(span) => span,
        Err(outcome) => return outcome,
    };
    walk(ctx, span, |ctx, i, start, end| {
        may(ctx, i, start, advice)?;
        treat(ctx, advice, i, start, end)
    })
}

/// Whether VMA `i` takes an advice at all, for a part of it that begins at `start`.
///
/// # Errors
/// What the call returns where it does not.
pub(crate) fn may(ctx: &mut Ctx, i: usize, start: u32, advice: Advice) -> Result<(), i32> {
    mseal::refuses(ctx, i, advice)?;
    mlock::refuses(ctx, i, advice)?;
    hugetlb::refuses(ctx, i, start, advice)
}

/// An advice for `[start, end)`, a part of VMA `i`. Returns where the walk over VMAs goes on.
///
/// # Errors
/// What the call returns when it ends here.
pub(crate) fn treat(
    ctx: &mut Ctx,
    advice: Advice,
    i: usize,
    start: u32,
    end: u32,
) -> Result<u32, i32> {
    if let Advice::DontNeed | Advice::DontNeedLocked | Advice::Free = advice {
        uffd::events::removes(ctx, i, start, end);
    }
    match advice {
        Advice::GuardInstall => guard::install(ctx, i, start, end),
        Advice::GuardRemove => guard::remove(ctx, i, start, end),
        Advice::DontNeed | Advice::DontNeedLocked => Ok(dontneed(ctx, i, start, end)),
        Advice::Free => free::free(ctx, i, start, end),
        Advice::Cold => Ok(reclaim::cold(ctx, start, end)),
        Advice::PageOut => Ok(reclaim::pageout(ctx, start, end)),
        Advice::Collapse => collapse::collapse(ctx, i, start, end),
        Advice::Remove => resize::remove(ctx, i, start, end),
        Advice::WillNeed => {
            hit!(ctx, hints::WILLNEED);
            swap::will_need(ctx, i, start, end);
            Ok(end)
        }
        Advice::HugePage => set_advice(ctx, i, start, end, HugeAdvice::Huge),
        Advice::NoHugePage => set_advice(ctx, i, start, end, HugeAdvice::NoHuge),
        _ => hints::set(ctx, i, start, end, advice).map_err(failing::of_advice),
    }
}

/// Whether the kernel knows an advice.
pub(crate) fn known(ctx: &mut Ctx, advice: Advice) -> bool {
    let profile = &ctx.world.profile;
    let known = match advice {
        Advice::GuardInstall | Advice::GuardRemove => profile.guards,
        Advice::Mergeable | Advice::Unmergeable => profile.ksm,
        Advice::Unknown => false,
        _ => true,
    };
    if !known {
        hit!(ctx, UNKNOWN);
    }
    known
}

/// The range of any advice, or how the call ends for its form.
pub(crate) fn span(ctx: &mut Ctx, range: Range) -> Result<Span, Outcome> {
    let span = Span::new(range, ctx.geometry());
    if !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Err(Outcome::Errno(EINVAL));
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Err(Outcome::Errno(EINVAL));
    }
    if span.empty {
        hit!(ctx, EMPTY);
        return Err(Outcome::Ok);
    }
    Ok(span)
}

/// Calls `treat` with each VMA's part of the range: its index, first page, page after the last. `treat` returns
/// where to go on: the end of the part, or of what it was merged into.
fn walk(
    ctx: &mut Ctx,
    span: Span,
    treat: impl Fn(&mut Ctx, usize, u32, u32) -> Result<u32, i32>,
) -> Outcome {
    hit!(ctx, WALK);
    let (start, end, outside) = span.clip(ctx.geometry());
    let mut hole = outside;
    let mut at = start;
    while at < end {
        let i = ctx.mm.first_vma_after(at);
        let Some(vma) = ctx.mm.vmas.get(i).filter(|v| v.start < end) else {
            hole = true;
            break;
        };
        if at < vma.start {
            hole = true;
            at = vma.start;
        }
        let to = vma.end.min(end);
        match treat(ctx, i, at, to) {
            Ok(next) => at = next,
            Err(errno) => return Outcome::Errno(errno),
        }
    }
    if hole {
        hit!(ctx, HOLE);
        return Outcome::Errno(ENOMEM);
    }
    Outcome::Ok
}

fn dontneed(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> u32 {
    hit!(ctx, DONTNEED);
    let vma = &ctx.mm.vmas[i];
    match (vma.is_anon(), vma.shared) {
        (true, _) => {}
        (false, true) => hit!(ctx, DONTNEED_SHARED),
        (false, false) => hit!(ctx, DONTNEED_PRIVATE_FILE),
    }
    if ctx.mm.slots.has_guard_in(start, end) {
        hit!(ctx, DONTNEED_KEEPS_GUARDS);
    }
    uffd::poison::goes(ctx, start, end);
    tables::zap(ctx, start, end, tables::Zap::DontNeed);
    end
}

fn set_advice(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    end: u32,
    advice: HugeAdvice,
) -> Result<u32, i32> {
    hit!(ctx, HUGE_FLAGS);
    let vma = &ctx.mm.vmas[i];
    if vma.advice == advice {
        return Ok(end);
    }
    let mut new = vma.clone();
    new.advice = advice;
    merge::modify(ctx, i, start, end, new).map_err(failing::of_advice)
}
