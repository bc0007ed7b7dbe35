//! Swap space: what PAGEOUT does with it, and what a page that lies there is to everything else. The header line `swap on` asks for it.
//!
//! An anonymous page that is swapped out is an entry in the page table, as a marker is, but one that stands for the page: it is copied
//! by fork, moved by mremap and freed by whatever discards memory, and a fault brings the page back.

use super::folio;
use super::registry::Rule;
use super::{hit, Ctx};
use crate::judge::{Class, PageKind, SpaceSeen};
use crate::program::ActorId;
use crate::space::folio::Large;
use crate::space::mm::{block_of, Mm};
use crate::space::object::ObjectId;
use crate::space::ranges::Ranges;
use crate::space::slots::{PageId, Run, Slot};
use crate::space::{Vma, World};
use std::sync::Arc;

pub const OUT: Rule = Rule {
    name: "swap/pageout/takes",
    text: "With swap space PAGEOUT swaps out anonymous pages that no other address space maps: pagemap shows a swap entry, mincore \
           nothing, and what was written stays. Their soft-dirty bits and userfaultfd's stay too.",
    source: "mm/vmscan.c shrink_folio_list, mm/rmap.c try_to_unmap_one; madvise(2), MADV_PAGEOUT",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const MAY_STAY: Rule = Rule {
    name: "swap/pageout/may-stay",
    text: "Reclaim may leave any page where it is that PAGEOUT hands it: a page that somebody holds, one that was lazily freed and stored \
           to again, one for which no swap space is left. Where memory is short, it may also take any page unasked.",
    source: "mm/vmscan.c shrink_folio_list: keep_locked, activate_locked; madvise(2): MADV_PAGEOUT",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const OUT_HUGE: Rule = Rule {
    name: "swap/pageout/huge",
    text: "A huge page of which PAGEOUT was given all is swapped out as one where swap space has room for it in one piece, and its pages \
           are entries one by one afterwards; otherwise it is split first, by the rule for that, and its pages follow.",
    source: "mm/vmscan.c shrink_folio_list: folio_alloc_swap, split_folio_to_list; CONFIG_THP_SWAP",
    since: "all",
    about: &[Class::PageState],
};

pub const IN: Rule = Rule {
    name: "swap/fault/brings-back",
    text: "A load, a store, or any call that faults pages in brings the page back with what it held. Its soft-dirty bit is as it was until it \
           is stored to.",
    source: "mm/memory.c do_swap_page",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const STORE_COPIES: Rule = Rule {
    name: "swap/store/copies",
    text: "Address spaces that a fork has given entries of one page in swap space share the page: who stores gets a copy, the others' \
           entries keep what it held.",
    source: "mm/memory.c do_swap_page, do_wp_page, wp_can_reuse_anon_folio: folio_free_swap fails while an entry is left",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const FORK: Rule = Rule {
    name: "swap/fork/shares",
    text: "Fork copies swap entries: both sides hold the page, and nothing is read in.",
    source: "mm/memory.c copy_nonpresent_pte",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const GONE: Rule = Rule {
    name: "swap/discarded",
    text: "Guard install, DONTNEED, FREE, munmap and whatever else discards anonymous memory frees swap entries at once, without reading \
           them. Where a guard stood in their place and is removed, memory is empty.",
    source: "mm/memory.c zap_nonpresent_ptes, mm/madvise.c madvise_free_pte_range: free_swap_and_cache",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const FREE_KEEPS: Rule = Rule {
    name: "swap/free-keeps-shared",
    text: "FREE leaves a page alone whose copy in swap space another address space still has an entry of.",
    source: "mm/madvise.c madvise_free_pte_range: folio_free_swap",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const MEMFD_OUT: Rule = Rule {
    name: "swap/pageout/shared-memory",
    text: "With swap space PAGEOUT takes written pages of shared memory and memfds out of the page cache: slots are empty, mincore says \
           nothing is there, and the next fault, in whichever mapping, brings the page back. Fault-around passes such pages by.",
    source: "mm/shmem.c shmem_writeout (before 6.16 shmem_writepage), shmem_swapin_folio; mm/filemap.c next_uptodate_folio: xa_is_value",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const READ_AHEAD: Rule = Rule {
    name: "swap/willneed/reads",
    text: "WILLNEED reads what is swapped out into the swap cache. Entries stay as they are; mincore calls a page resident that is in the \
           cache, and so it does where another address space has brought the page back that an entry stands for. When it leaves \
           the cache is the kernel's affair: mincore may say either. Of shared memory 6.1 reads one page more.",
    source: "mm/madvise.c swapin_walk_pmd_entry, shmem_swapin_range; mm/mincore.c mincore_pte_range: swap_address_space",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const SIZES: Rule = Rule {
    name: "report/swap",
    text: "smaps counts swap entries in Swap, not in Rss or Anonymous. Of shared memory it counts what is swapped out of the part of the file \
           that is mapped, in private writable mappings only where the slot is empty.",
    source: "fs/proc/task_mmu.c smaps_pte_entry, smap_gather_stats: shmem_swap_usage",
    since: "all",
    about: &[Class::Sizes],
};

/// Anonymous pages `[from, to)`, mapped one by one, which hold what follows the slot of the first: out. Those that were lazily freed
/// stay.
pub(super) fn out(ctx: &mut Ctx, from: u32, to: u32) {
    let runs: Vec<Run> = ctx.mm.slots.runs_in(from, to).collect();
    for run in runs {
        let Slot::Anon { id, content } = run.slot else {
            continue;
        };
        hit!(ctx, OUT);
        leave(&mut ctx.mm, run, id, content);
        let last = id.0 + u64::from(run.end - run.start);
        ctx.world.swap.out(id.0, last);
    }
}

fn leave(mm: &mut Mm, run: Run, id: PageId, content: crate::space::Content) {
    mm.slots
        .turn(run.start, run.end, Slot::Swap { id, content });
}

/// All pages of a large folio that only this address space maps, at `[from, to)`: out, as one or in pieces.
pub(super) fn out_whole(ctx: &mut Ctx, large: Large, from: u32, to: u32) {
    hit!(ctx, OUT_HUGE);
    if ctx.otherwise() {
        folio::split(ctx, large);
    } else {
        let block = block_of(from, ctx.geometry());
        super::thp::split_pmd(ctx, block);
        ctx.world.folios.split(large);
    }
    out(ctx, from, to);
}

/// A fault at `[start, end)`, which hold `slot`, a swapped out page, and what follows it.
pub(super) fn bring_back(ctx: &mut Ctx, start: u32, end: u32, slot: Slot) {
    let Slot::Swap { id, content } = slot else {
        return;
    };
    hit!(ctx, IN);
    ctx.mm.slots.turn(start, end, Slot::Anon { id, content });
    let last = id.0 + u64::from(end - start);
    ctx.world.swap.read(id.0, last);
    // Whether the new entry is writable is not followed.
    ctx.mm.may_be_write_protected = true;
}

/// Notes that `[start, end)` is about to be discarded.
pub(super) fn goes(ctx: &mut Ctx, start: u32, end: u32) {
    let mut runs = ctx.mm.slots.runs_in(start, end);
    if runs.any(|run| matches!(run.slot, Slot::Swap { .. })) {
        hit!(ctx, GONE);
    }
}

/// Pages `[first, last)` of a file of shared memory that nobody maps any more: out, those that were written.
pub(super) fn memfd_out(ctx: &mut Ctx, id: ObjectId, first: u32, last: u32) {
    hit!(ctx, MEMFD_OUT);
    ctx.world.object_mut(id).swap_out(first, last);
}

/// WILLNEED on the part `[start, end)` of VMA `i`.
pub(super) fn will_need(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    let vma = &ctx.mm.vmas[i];
    if let Some(id) = vma.object {
        let more = u32::from(ctx.world.profile.willneed_reads_one_more);
        let (first, last) = (vma.index(start), vma.index(end) + more);
        if !ctx.world.object(id).swapped_in(first, last).is_empty() {
            hit!(ctx, READ_AHEAD);
            ctx.world.object_mut(id).read_ahead(first, last);
        }
        return;
    }
    for run in swapped(&ctx.mm, start, end) {
        let Some(id) = run.slot.anon() else { continue };
        hit!(ctx, READ_AHEAD);
        let last = id.0 + u64::from(run.end - run.start);
        ctx.world.swap.cached.insert(id.0, last);
    }
}

/// Runs of swapped out pages.
pub(super) fn swapped(mm: &Mm, start: u32, end: u32) -> Vec<Run> {
    let runs = mm.slots.runs_in(start, end);
    runs.filter(|run| matches!(run.slot, Slot::Swap { .. }))
        .collect()
}

/// Pages of which mincore may say either: (start, end), ascending.
pub(crate) fn open_residency(world: &World, actor: ActorId) -> Vec<(u32, u32)> {
    let Some(mm) = world.mm(actor).filter(|_| world.swaps()) else {
        return Vec::new();
    };
    let mut open = Vec::new();
    for run in swapped(mm, 0, u32::MAX) {
        let Some(id) = run.slot.anon() else { continue };
        let last = id.0 + u64::from(run.end - run.start);
        let cached = world.swap.cached.within(id.0, last);
        open.extend(cached.map(|(a, b)| {
            let at = |page: u64| run.start + (page - id.0) as u32;
            (at(a), at(b))
        }));
    }
    for vma in &mm.vmas {
        let Some(id) = vma.object else { continue };
        let (first, last) = (vma.pgoff, vma.index(vma.end));
        for (a, b) in world.object(id).read_ahead_in(first, last) {
            open.push((vma.page_of(a), vma.page_of(b - 1) + 1));
        }
    }
    open.sort_unstable();
    open
}

/// Stretches of pages that the last step has swapped out: reclaim may have left each where it was.
pub(crate) fn open(world: &World) -> u64 {
    world.swap.leaving.within(0, u64::MAX).count() as u64
}

/// Pages of shared memory that smaps counts in Swap of a VMA.
pub(crate) fn counted(world: &World, mm: &Mm, vma: &Vma) -> u32 {
    let Some(id) = vma.object else {
        return 0;
    };
    let everywhere = vma.stores_are_shared() || !vma.prot.write;
    let swapped = world.object(id).swapped_in(vma.pgoff, vma.index(vma.end));
    let pages = swapped.into_iter().map(|(a, b)| {
        let (from, to) = (vma.page_of(a), vma.page_of(b - 1) + 1);
        let filled: u32 = match everywhere {
            true => 0,
            false => mm.slots.runs_in(from, to).map(|r| r.end - r.start).sum(),
        };
        to - from - filled
    });
    pages.sum()
}

/// The world in which reclaim has left pages where they are seen to be that the last step has swapped out, or, where memory is short,
/// has taken those that are seen to be gone; `None` where there are none.
pub(crate) fn otherwise(world: &World, seen: &[(ActorId, SpaceSeen)]) -> Option<World> {
    if !world.swaps() {
        return None;
    }
    let mut changed = world.clone();
    let mut any = false;
    for (actor, space) in seen {
        let Some(mm) = world.mm(*actor) else { continue };
        let kind_at = |page: u32| {
            let i = space.pages.partition_point(|r| r.start + r.len <= page);
            let run = space.pages.get(i).filter(|r| r.start <= page);
            run.map(|run| run.page.kind)
        };
        for run in mm.slots.runs_in(0, u32::MAX) {
            for page in run.start..run.end {
                let now = match (run.slot.plus(page - run.start), kind_at(page)) {
                    (Slot::Swap { id, content }, Some(PageKind::Anon))
                        if world.swap.leaving.meets(id.0, id.0 + 1) =>
                    {
                        Slot::Anon { id, content }
                    }
                    (Slot::Anon { id, content }, Some(PageKind::Swap)) if world.may_be_short() => {
                        Slot::Swap { id, content }
                    }
                    _ => continue,
                };
                any = true;
                let mm = changed.actors[usize::from(*actor)].as_mut();
                if let Some(mm) = mm {
                    Arc::make_mut(mm).slots.turn(page, page + 1, now);
                }
            }
        }
    }
    any.then_some(changed)
}

/// What is expected of mincore, with what was seen where it may say either.
pub(crate) fn settle(expected: &mut Vec<(u32, u32)>, seen: &[(u32, u32)], open: &[(u32, u32)]) {
    if open.is_empty() {
        return;
    }
    let mut pages = Ranges::default();
    for (start, len) in expected.iter() {
        pages.insert((*start).into(), u64::from(start + len));
    }
    for (from, to) in open {
        pages.remove((*from).into(), (*to).into());
        for (start, len) in seen {
            let (a, b) = ((*start).max(*from), (start + len).min(*to));
            if a < b {
                pages.insert(a.into(), b.into());
            }
        }
    }
    let settled = pages.within(0, u64::MAX);
    *expected = settled.map(|(a, b)| (a as u32, (b - a) as u32)).collect();
}
