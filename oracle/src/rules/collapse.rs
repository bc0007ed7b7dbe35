//! madvise COLLAPSE: a huge page now, whatever the settings say, made of what a block holds.

use super::errno::{EBUSY, EINVAL, ENOMEM};
use super::registry::Rule;
use super::{droppable, hit, limits, swap, thp, thp_disable, uffd, Ctx};
use crate::judge::Class;
use crate::program::FileKind;
use crate::space::mm::{block_of, block_pages, by_block, Table};
use crate::space::slots::{Run, Slot};
use crate::space::{Content, HugeAdvice, Uffd};

pub const MAKES_HUGE: Rule = Rule {
    name: "collapse/makes-huge",
    text: "COLLAPSE copies what a block holds into a huge page of its own and maps that by the PMD, whatever the THP mode and the \
           protection: contents stay, what was empty or the zero page is a page of zeros, lazily freed pages are safe again. Pages \
           that another address space maps too are copied like others, and stay with it. A block that a huge page maps already, \
           the huge zero page too, stays as it is and counts as done.",
    source: "mm/khugepaged.c collapse_huge_page, find_pmd_or_thp_or_none; 6.1, mm/madvise: introduce MADV_COLLAPSE; madvise(2)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const NOT_ELIGIBLE: Rule = Rule {
    name: "collapse/not-eligible-is-einval",
    text: "COLLAPSE is EINVAL for a VMA that cannot have huge pages: one with `nh`, one that holds no whole block, private anonymous \
           memory without an anon_vma, a file on ramfs, secret memory, and shared memory whose offset does not fit the blocks.",
    source: "mm/huge_memory.c __thp_vma_allowable_orders (6.1: hugepage_vma_check)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

pub const WHOLE_BLOCKS: Rule = Rule {
    name: "collapse/whole-blocks-only",
    text: "COLLAPSE takes the whole blocks of each VMA's part of the range, one after the other. Where there is none it succeeds and \
           does nothing; older kernels say EINVAL when the part lies inside one block and touches neither end of it.",
    source: "mm/khugepaged.c madvise_collapse: hstart and hend; the difference of the two as an unsigned number",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

pub const EMPTY: Rule = Rule {
    name: "collapse/no-table-is-einval",
    text: "A block without a page table has nothing to collapse: the call ends with EINVAL. The blocks behind it are collapsed all \
           the same; older kernels stop there. A page table with nothing in it will do.",
    source: "mm/khugepaged.c madvise_collapse, SCAN_NO_PTE_TABLE (before: SCAN_PMD_NONE)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

pub const GUARD: Rule = Rule {
    name: "collapse/guard-is-einval",
    text: "A guard in a block ends COLLAPSE with EINVAL: the block stays as it is, guards and pages, and nothing behind it is \
           collapsed; what lies before it is. Entries are gone through from the block's start on, so pages before the first guard that \
           were swapped out have been brought back by then.",
    source: "mm/khugepaged.c __collapse_huge_page_swapin: a marker is no swap entry, do_swap_page fails",
    since: "6.13",
    about: &[Class::Errno, Class::PageState],
};

pub const NEEDS_WRITABLE: Rule = Rule {
    name: "collapse/needs-a-writable-page",
    text: "Older kernels collapse a block only if a page-table entry of it is writable; otherwise the call ends with EINVAL, and \
           goes on behind it. There is none in memory without PROT_WRITE, where only the zero page is mapped, nor of pages that a \
           fork has made and no store has taken back since: only a page that is exclusive is ever mapped writable.",
    source: "mm/khugepaged.c hpage_collapse_scan_pmd: SCAN_PAGE_RO",
    since: "before 6.18",
    about: &[Class::Errno, Class::PageState],
};

pub const WRITABLE_UNKNOWN: Rule = Rule {
    name: "collapse/writable-or-not",
    text: "An mprotect that takes PROT_WRITE away, clear_refs, userfaultfd and a fork leave entries of exclusive pages that are not writable \
           until a store makes them so; which ones is not followed. On a kernel that wants a writable one COLLAPSE may then do either.",
    source: "mm/khugepaged.c hpage_collapse_scan_pmd: SCAN_PAGE_RO",
    since: "before 6.18",
    about: &[Class::Errno, Class::PageState],
};

pub const MAY_FAIL: Rule = Rule {
    name: "collapse/allocation-may-fail",
    text: "Where memory is short and the kernel finds no huge page to allocate, COLLAPSE ends with ENOMEM: this block and those \
           behind it stay as they are. thp/allocation-may-fail says when memory is not short.",
    source: "mm/khugepaged.c alloc_charge_folio, madvise_collapse_errno; madvise(2)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

/// COLLAPSE on the part `[start, end)` of VMA `i`. Returns where the walk over VMAs goes on.
///
/// # Errors
/// EINVAL where something cannot be collapsed, ENOMEM where no huge page was to be had.
pub(super) fn collapse(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> Result<u32, i32> {
    if !eligible(ctx, i) {
        hit!(ctx, NOT_ELIGIBLE);
        return Err(EINVAL);
    }
    let g = ctx.geometry();
    hit!(ctx, WHOLE_BLOCKS);
    let whole: Vec<(usize, u32, u32)> = by_block(start, end, g)
        .filter(|&(block, from, to)| (from, to) == block_pages(block, g))
        .collect();
    if whole.is_empty() {
        let border = start.is_multiple_of(g.pages_per_pmd) || end.is_multiple_of(g.pages_per_pmd);
        let across = block_of(start, g) != block_of(end, g);
        if border || across || !ctx.world.profile.collapse_within_block_fails {
            return Ok(end);
        }
        return Err(EINVAL);
    }
    if !ctx.mm.vmas[i].is_anon() {
        hit!(ctx, limits::COLLAPSE_OF_FILES);
        return Ok(end);
    }
    let mut failed = false;
    for (block, from, to) in whole {
        failed |= !one(ctx, i, block, from, to)?;
    }
    if failed {
        return Err(EINVAL);
    }
    Ok(end)
}

/// Whether the VMA can have huge pages at all.
fn eligible(ctx: &mut Ctx, i: usize) -> bool {
    let per = ctx.geometry().pages_per_pmd;
    let vma = &ctx.mm.vmas[i];
    let holds_block = vma.start.next_multiple_of(per) + per <= vma.end;
    let fits = match vma.object {
        None => vma.anon_vma.is_some(),
        Some(id) => {
            ctx.world.object(id).kind == FileKind::Memfd && vma.start % per == vma.pgoff % per
        }
    };
    holds_block && fits && vma.advice != HugeAdvice::NoHuge && !thp_disable::forbids(ctx, i, true)
}

/// One block. Whether it is a huge page then; if not, the call goes on and fails at the end.
fn one(ctx: &mut Ctx, i: usize, block: usize, from: u32, to: u32) -> Result<bool, i32> {
    match ctx.mm.tables[block] {
        Table::Huge => {
            hit!(ctx, MAKES_HUGE);
            return Ok(true);
        }
        Table::None => {
            hit!(ctx, EMPTY);
            if ctx.world.profile.collapse_stops_at_empty {
                return Err(EINVAL);
            }
            return Ok(false);
        }
        Table::Pte => {}
    }
    let vacant = (ctx.mm.vmas[i].uffd != Uffd::default())
        .then(|| first_vacant(ctx, from, to))
        .flatten();
    let protected = first_protected(ctx, from, to);
    match (vacant, protected) {
        (Some(vacant), protected) if protected.is_none_or(|at| vacant < at) => {
            hit!(ctx, uffd::missing::COLLAPSE);
            return Err(EBUSY);
        }
        (_, Some(_)) => {
            hit!(ctx, uffd::protect::COLLAPSE);
            return Ok(false);
        }
        _ => {}
    }
    if ctx.world.profile.collapse_needs_writable {
        hit!(ctx, NEEDS_WRITABLE);
        if !(ctx.mm.vmas[i].prot.write && has_exclusive(ctx, from, to)) {
            return Ok(false);
        }
    }
    if ctx.world.may_be_short() && ctx.otherwise() {
        hit!(ctx, MAY_FAIL);
        return Err(ENOMEM);
    }
    let unsure = ctx.world.profile.collapse_needs_writable && ctx.mm.may_be_write_protected;
    if unsure && ctx.otherwise() {
        hit!(ctx, WRITABLE_UNKNOWN);
        return Ok(false);
    }
    if let Some(marker) = ctx.mm.slots.first_marker_in(from, to) {
        hit!(ctx, GUARD);
        for run in swap::swapped(&ctx.mm, from, marker) {
            swap::bring_back(ctx, run.start, run.end, run.slot);
        }
        return Err(EINVAL);
    }
    hit!(ctx, MAKES_HUGE);
    copy(ctx, i, from, to);
    ctx.mm.tables[block] = Table::Huge;
    ctx.mm.huge[block] = thp::new_bits(&ctx.mm.vmas[i]);
    Ok(true)
}

/// Whether a page of `[from, to)` is an anonymous one that is exclusive.
fn has_exclusive(ctx: &Ctx, from: u32, to: u32) -> bool {
    let mut runs = ctx.mm.slots.runs_in(from, to);
    runs.any(|run| {
        let Slot::Anon { id, .. } = run.slot else {
            return false;
        };
        let last = id.0 + u64::from(run.end - run.start);
        let (end, exclusive) = ctx.world.folios.exclusive_stretch(id.0, last);
        exclusive || end < last
    })
}

/// The first page of `[from, to)` without one of its own.
fn first_vacant(ctx: &Ctx, from: u32, to: u32) -> Option<u32> {
    let mut at = from;
    while at < to {
        let (next, slot) = ctx.mm.slots.stretch(at, to);
        if slot.is_none_or(|slot| slot == Slot::Zero) {
            return Some(at);
        }
        at = next;
    }
    None
}

/// The first page of `[from, to)` of its own that is write-protected by userfaultfd.
fn first_protected(ctx: &Ctx, from: u32, to: u32) -> Option<u32> {
    let parts = ctx.mm.slots.uffd_wp_in(from, to).into_iter();
    parts
        .flat_map(|(from, to)| ctx.mm.slots.runs_in(from, to))
        .find(|run| run.slot.anon().is_some())
        .map(|run| run.start)
}

/// The contents of a block move into a huge page.
fn copy(ctx: &mut Ctx, i: usize, from: u32, to: u32) {
    let id = ctx.world.new_pages(to - from);
    droppable::made(ctx, i, id, to - from);
    let runs: Vec<Run> = ctx.mm.slots.runs_in(from, to).collect();
    let content = Content::ZERO;
    ctx.mm.slots.set(from, to, Slot::Anon { id, content });
    for run in runs {
        let (Slot::Anon { content, .. } | Slot::Swap { content, .. }) = run.slot else {
            continue;
        };
        if let Slot::Swap { id, .. } = run.slot {
            hit!(ctx, swap::IN);
            // Who else has entries of these pages finds them in the swap cache.
            let last = id.0 + u64::from(run.end - run.start);
            ctx.world.swap.read(id.0, last);
        }
        let id = id.plus(run.start - from);
        ctx.mm
            .slots
            .set(run.start, run.end, Slot::Anon { id, content });
    }
    ctx.world.folios.add(ctx.actor, id, to - from);
    ctx.mm.set_soft_dirty(from, to);
}
