//! madvise FREE: memory that the kernel may take when it likes. Until a store says that it is wanted again, each page holds
//! what it held or nothing, and which of the two shows only when somebody looks.

use super::errno::EINVAL;
use super::folio::{self, Aim, Piece};
use super::registry::Rule;
use super::{hit, swap, uffd, Ctx};
use crate::judge::{Class, PageKind, SpaceSeen};
use crate::space::mm::{block_of, block_pages, Mm, Table};
use crate::space::slots::{Run, Slot};
use crate::space::{Locked, World};
use std::sync::Arc;

pub const FREES: Rule = Rule {
    name: "madvise/free/keeps-for-now",
    text: "FREE marks private anonymous pages as free to take. Nothing shows it: they stay present, resident and readable with \
           what they held. A store, or faulting in for one, takes a page back. Guards, zero pages and empty slots stay.",
    source: "mm/madvise.c madvise_free_pte_range, mm/huge_memory.c madvise_free_huge_pmd; madvise(2), MADV_FREE",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const MAY_TAKE: Rule = Rule {
    name: "madvise/free/may-take",
    text: "At any time after FREE and before the next store the kernel may take a page, and one of droppable memory at any time: its \
           slot is empty then and reads as zero. While memory is not short (thp/allocation-may-fail says when) nothing is \
           reclaimed, and it does so when PAGEOUT asks for it only.",
    source: "madvise(2), MADV_FREE; mm/rmap.c try_to_unmap_one: a clean folio that is not swapbacked is discarded",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const LOCKED_ELSEWHERE: Rule = Rule {
    name: "madvise/free/locked-elsewhere-stays",
    text: "A page that another address space has locked is not marked by FREE: when the other lets go of it, PAGEOUT does not \
           take it.",
    source: "mm/folio.c folio_mark_lazyfree (before 7.3 mm/swap.c): folio_test_unevictable",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const SHARED: Rule = Rule {
    name: "madvise/free/private-anonymous-only",
    text: "FREE of shared memory or a file is EINVAL.",
    source: "mm/madvise.c madvise_free_single_vma; madvise(2), MADV_FREE",
    since: "all",
    about: &[Class::Errno],
};

/// FREE on the part `[start, end)` of VMA `i`. Returns where the walk over VMAs goes on.
///
/// # Errors
/// EINVAL for anything but private anonymous memory.
pub(super) fn free(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> Result<u32, i32> {
    if !ctx.mm.vmas[i].is_anon() {
        hit!(ctx, SHARED);
        return Err(EINVAL);
    }
    hit!(ctx, FREES);
    let poison = |slot| slot == Slot::Poison;
    if ctx.mm.slots.clear_those(start, end, poison) {
        hit!(ctx, uffd::poison::GOES);
    }
    swap::goes(ctx, start, end);
    let swapped = |slot| matches!(slot, Slot::Swap { .. });
    ctx.mm.slots.clear_those(start, end, swapped);
    folio::walk(ctx, start, end, Aim::Free, free_piece);
    Ok(end)
}

fn free_piece(ctx: &mut Ctx, piece: Piece) {
    let slot = ctx.mm.slots.get(piece.from);
    let Some(Slot::Anon { id, .. }) = slot else {
        return;
    };
    let pages = piece.to - piece.from;
    let parts = ctx.sharing(
        piece.from,
        piece.to,
        Slot::Anon {
            id,
            content: crate::space::Content::ZERO,
        },
    );
    let all_or_nothing = piece.whole.is_some() && parts.iter().any(|p| p.2);
    for (from, to, shared) in parts {
        let first = id.0 + u64::from(from - piece.from);
        let last = first + u64::from(to - from);
        let dirty = &mut ctx.world.folios.dirty;
        if !shared && !all_or_nothing {
            let kept = swapped_elsewhere(ctx, from, to);
            let dirty = &mut ctx.world.folios.dirty;
            dirty.remove(first, last);
            ctx.mm.lazy.insert(first, last);
            for (a, b) in kept {
                hit!(ctx, swap::FREE_KEEPS);
                ctx.mm
                    .lazy
                    .remove(id.plus(a - piece.from).0, id.plus(b - piece.from).0);
            }
        } else if all_or_nothing {
            // A large folio is marked as a whole, by its first page.
            if !dirty.meets(id.0, id.0 + u64::from(pages)) {
                mark(ctx, first, last);
            }
        } else {
            // A folio that is marked dirty keeps the mark while others map it; one that is not has none to lose.
            let marked: Vec<(u64, u64)> = dirty.within(first, last).collect();
            mark(ctx, first, last);
            for (from, to) in marked {
                ctx.mm.lazy.remove(from, to);
            }
        }
    }
    // Droppable pages count as lazily freed from the start, though their entries are dirty.
    let block = block_of(piece.from, ctx.geometry());
    let freed = !all_or_nothing || ctx.mm.all_lazy(id, pages);
    if ctx.mm.tables[block] == Table::Huge {
        if freed {
            ctx.mm.huge[block].dirty = false;
        }
        return;
    }
    let vma = ctx.mm.vma_index(piece.from).map(|i| &ctx.mm.vmas[i]);
    if vma.is_some_and(|vma| vma.droppable) {
        ctx.mm.slots.set_clean(piece.from, piece.to);
    }
}

/// Parts of `[from, to)`, pages that follow each other, which another address space holds swapped out.
fn swapped_elsewhere(ctx: &Ctx, from: u32, to: u32) -> Vec<(u32, u32)> {
    let Some(slot) = ctx.mm.slots.get(from).filter(|_| ctx.world.swaps()) else {
        return Vec::new();
    };
    let parts = ctx.sharing_or_swapped(from, to, slot).into_iter();
    parts.filter(|p| p.2).map(|p| (p.0, p.1)).collect()
}

/// Marks pages that others map too as lazily freed, but for those that are locked there: their folios stay what they are.
fn mark(ctx: &mut Ctx, first: u64, last: u64) {
    let mut held: Vec<(u64, u64)> = Vec::new();
    for mm in ctx.world.actors.iter().flatten() {
        for vma in mm.vmas.iter().filter(|v| v.locked != Locked::No) {
            for run in mm.slots.runs_in(vma.start, vma.end) {
                if let Slot::Anon { id, .. } = run.slot {
                    held.push((id.0, id.0 + u64::from(run.end - run.start)));
                }
            }
        }
    }
    if held.is_empty() {
        return ctx.mm.lazy.insert(first, last);
    }
    hit!(ctx, LOCKED_ELSEWHERE);
    for id in first..last {
        if !held.iter().any(|(from, to)| (*from..*to).contains(&id)) {
            ctx.mm.lazy.insert(id, id + 1);
        }
    }
}

/// Empties `[from, to)`, lazily freed pages of one block, which the kernel takes.
pub(super) fn take(ctx: &mut Ctx, from: u32, to: u32) {
    let g = ctx.geometry();
    let gone = ctx.world.profile.lazyfree_huge_drops_table;
    take_in(&mut ctx.mm, from, to, g, gone);
}

fn take_in(mm: &mut Mm, from: u32, to: u32, g: crate::geometry::Geometry, drops_table: bool) {
    let block = block_of(from, g);
    if mm.tables[block] == Table::Huge {
        let whole = (from, to) == block_pages(block, g);
        mm.tables[block] = if whole && drops_table {
            Table::None
        } else {
            Table::Pte
        };
    }
    mm.slots.clear(from, to);
}

/// Runs of slots whose pages the kernel may take.
fn lazy_runs(mm: &Mm) -> Vec<Run> {
    let mut runs = Vec::new();
    if mm.lazy.is_empty() {
        return runs;
    }
    for run in mm.slots.runs_in(0, u32::MAX) {
        let Slot::Anon { id, .. } = run.slot else {
            continue;
        };
        let last = id.0 + u64::from(run.end - run.start);
        for (from, to) in mm.lazy.within(id.0, last) {
            let skip = (from - id.0) as u32;
            runs.push(Run {
                start: run.start + skip,
                end: run.start + (to - id.0) as u32,
                slot: run.slot.plus(skip),
            });
        }
    }
    runs
}

/// How many runs of pages the kernel may take when memory is short: what they hold is open.
pub(crate) fn open(world: &World) -> u64 {
    if !world.may_be_short() {
        return 0;
    }
    let runs = world.actors.iter().flatten();
    runs.map(|mm| lazy_runs(mm).len() as u64).sum()
}

/// The world in which the kernel has taken those lazily freed pages that are seen to be gone; `None` where none is.
pub(crate) fn taken(world: &World, seen: &[(crate::program::ActorId, SpaceSeen)]) -> Option<World> {
    let mut changed = world.clone();
    let mut any = false;
    let g = world.geometry;
    for (actor, space) in seen {
        let Some(mm) = changed
            .actors
            .get_mut(usize::from(*actor))
            .and_then(Option::as_mut)
        else {
            continue;
        };
        for run in lazy_runs(mm) {
            for (from, to) in gone(space, run) {
                any = true;
                let drops = world.profile.lazyfree_huge_drops_table;
                take_in(Arc::make_mut(mm), from, to, g, drops);
            }
        }
    }
    any.then_some(changed)
}

/// The parts of a lazily freed run where something else is seen than what it held.
fn gone(space: &SpaceSeen, run: Run) -> Vec<(u32, u32)> {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for page in run.start..run.end {
        let held = match run.slot.plus(page - run.start) {
            Slot::Anon { content, .. } => content,
            _ => continue,
        };
        let there = space.pages.iter().any(|seen| {
            seen.start <= page
                && page - seen.start < seen.len
                && seen.page.kind == PageKind::Anon
                && seen
                    .page
                    .content
                    .is_none_or(|c| c.plus(page - seen.start) == held)
        });
        if there {
            continue;
        }
        match parts.last_mut() {
            Some(last) if last.1 == page => last.1 += 1,
            _ => parts.push((page, page + 1)),
        }
    }
    parts
}
