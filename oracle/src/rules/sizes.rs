//! What smaps adds up over the pages of a mapping.

use super::registry::Rule;
use crate::judge::{Class, Sizes};
use crate::program::{ActorId, Prot};
use crate::space::mm::{by_block, Mm, Table};
use crate::space::slots::Slot;
use crate::space::{Locked, Vma, World};

pub const ADDS_UP: Rule = Rule {
    name: "report/sizes",
    text: "smaps counts what is in the page table: Rss every present page but the zero page, Anonymous those that are no file's, \
           AnonHugePages and ShmemPmdMapped what a PMD maps, Private_Clean and Private_Dirty pages that are mapped once, Pss each \
           page divided by how often it is mapped, all actors and all mappings of a file counted, Locked the Pss of locked \
           memory. Guards and empty slots count for nothing, in Swap neither. Before 6.6 a huge page that is mapped without any \
           access counts for nothing either.",
    source: "fs/proc/task_mmu.c smaps_account, smaps_pte_entry, __show_smap",
    since: "all",
    about: &[Class::Sizes],
};

pub const LAZY_FREE: Rule = Rule {
    name: "report/lazy-free",
    text: "smaps counts as LazyFree at most the pages that were lazily freed and not stored to since: a page gets its mark when \
           the list that it waits on is worked off, or not if it was on no list yet.",
    source: "fs/proc/task_mmu.c smaps_account: not swapbacked and clean; mm/swap.c folio_mark_lazyfree, lru_lazyfree (batched)",
    since: "all",
    about: &[Class::Sizes],
};

pub const COUNTERS: Rule = Rule {
    name: "report/process-counters",
    text: "VmLck of /proc/PID/status is the size of all locked mappings, touched or not, always exactly. RssAnon, RssFile, RssShmem \
           and VmSwap are what smaps_rollup adds up over the page tables, guards and zero pages apart, where the kernel sums \
           its counters up to show them; elsewhere they may lag behind by the batches in which each processor or task counts, \
           and nothing can be said of them. Where mlockall has locked the guest's own memory, VmLck says nothing of the arena, \
           and where MREMAP_DONTUNMAP was given locked memory some kernels have lost count: there it is not compared.",
    source: "fs/proc/task_mmu.c task_mem; include/linux/mm.h get_mm_counter_sum; the harness compares them",
    since: "VmLck: all; the others: 6.16 and 6.12.117",
    about: &[Class::ViewsDisagree],
};

pub const FRAMES: Rule = Rule {
    name: "report/frames",
    text: "The frame behind a present page is what its entry says: the zero page, anonymous, or of a file; mapped, unless it is the zero \
           page; of a large folio where a PMD maps anonymous memory. It is never free, a page table, the kernel's own, broken or taken out.",
    source: "fs/proc/page.c stable_page_flags against fs/proc/task_mmu.c pte_to_pagemap_entry; the harness compares them",
    since: "all",
    about: &[Class::ViewsDisagree],
};

/// Bits that the kernel keeps of a part of a page (PSS_SHIFT).
const PSS_SHIFT: u32 = 12;

/// What smaps says of a VMA of `actor`, whose address space is `mm`.
pub(crate) fn of(world: &World, actor: ActorId, mm: &Mm, vma: &Vma) -> Sizes {
    let page = u64::from(world.geometry.page_size);
    let kib = page / 1024;
    let mut sizes = Sizes::default();
    let mut pss = 0;
    for (block, start, end) in by_block(vma.start, vma.end, world.geometry) {
        let huge = mm.tables[block] == Table::Huge;
        for run in mm.slots.runs_in(start, end) {
            let size = u64::from(run.end - run.start) * kib;
            if huge && vma.prot == Prot::NONE && world.profile.smaps_skips_protnone_huge {
                continue;
            }
            let file = match run.slot {
                Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::Zero => continue,
                Slot::Swap { .. } => {
                    sizes.swap += size;
                    continue;
                }
                Slot::Anon { .. } => false,
                Slot::File => true,
            };
            sizes.rss += size;
            match (file, huge) {
                (true, true) => sizes.file_huge += size,
                (true, false) => {}
                (false, _) => sizes.anonymous += size,
            }
            if let Slot::Anon { id, .. } = run.slot {
                sizes.anon_huge += if huge { size } else { 0 };
                let last = id.0 + u64::from(run.end - run.start);
                let lazy = mm.lazy.within(id.0, last).map(|(from, to)| to - from);
                sizes.lazy_free += lazy.sum::<u64>() * kib;
            }
            for (from, to, others) in world.mappers(actor, run.start, run.end, run.slot) {
                let pages = u64::from(to - from);
                pss += pages * ((page << PSS_SHIFT) / (u64::from(others) + 1));
                if others == 0 {
                    sizes.private += pages * kib;
                }
            }
        }
    }
    sizes.swap += u64::from(super::swap::counted(world, mm, vma)) * kib;
    sizes.pss = pss >> PSS_SHIFT >> 10;
    if vma.locked != Locked::No {
        sizes.locked = sizes.pss;
    }
    sizes
}
