//! madvise COLD and PAGEOUT: hints about which pages to reclaim first, and the order to do it now. Without swap space anonymous
//! memory has nowhere to go; `swap` tells what happens with it.

use super::folio::{self, Aim, Piece};
use super::registry::Rule;
use super::uffd::protect;
use super::{free, hit, swap, Ctx};
use crate::judge::Class;
use crate::program::FileKind;
use crate::space::slots::Slot;

pub const COLD: Rule = Rule {
    name: "madvise/cold/changes-nothing",
    text: "COLD moves pages to where reclaim looks first, on any memory, guarded or not; nothing shows it but huge pages of which \
           it was given a part.",
    source: "mm/madvise.c madvise_cold; madvise(2), MADV_COLD",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const PAGEOUT_NO_SWAP: Rule = Rule {
    name: "madvise/pageout/no-swap",
    text: "Without swap space PAGEOUT leaves small anonymous pages where they are. Guards and zero pages stay.",
    source: "mm/vmscan.c shrink_folio_list: folio_alloc_swap fails; madvise(2), MADV_PAGEOUT",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const PAGEOUT_TAKES: Rule = Rule {
    name: "madvise/pageout/takes-lazily-freed",
    text: "PAGEOUT takes pages that were lazily freed and not stored to since: their slots are empty and read as zero. A huge \
           page goes as one, from 6.11 on with its page table.",
    source: "mm/vmscan.c shrink_folio_list, mm/rmap.c try_to_unmap_one, mm/huge_memory.c unmap_huge_pmd_locked",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const PAGEOUT_SPLITS: Rule = Rule {
    name: "madvise/pageout/splits-huge",
    text: "A huge page of which PAGEOUT was given all is split, to be swapped out in pieces; without swap space that is all that \
           happens.",
    source: "mm/vmscan.c shrink_folio_list: split_folio_to_list when folio_alloc_swap fails",
    since: "all",
    about: &[Class::PageState],
};

pub const PAGEOUT_SHARED: Rule = Rule {
    name: "madvise/pageout/unmaps-shared-memory",
    text: "PAGEOUT unmaps pages of shared memory and memfds that no other mapping maps. One that was written stays in the page cache, for want \
           of swap space; one that was only read is dropped from it, and reads as zero again. Here the caller always \
           owns the memory; it would be left alone if he could not write to it.",
    source: "mm/vmscan.c shrink_folio_list, mm/shmem.c shmem_writeout; mm/madvise.c can_do_file_pageout",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const PAGEOUT_RAMFS: Rule = Rule {
    name: "madvise/pageout/ramfs-stays",
    text: "PAGEOUT leaves pages of a file on ramfs mapped, and those of secret memory: such memory cannot be reclaimed.",
    source: "fs/ramfs/inode.c ramfs_get_inode, mm/secretmem.c secretmem_file_create: mapping_set_unevictable",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const PAGEOUT_SKIPS_SHARED: Rule = Rule {
    name: "madvise/pageout/mapped-elsewhere-stays",
    text: "PAGEOUT leaves pages alone that another address space maps too, anonymous ones and those of shared memory.",
    source: "mm/madvise.c madvise_cold_or_pageout_pte_range: do not interfere with other mappings of this folio",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

/// COLD on the part `[start, end)` of a VMA. Returns where the walk over VMAs goes on.
pub(super) fn cold(ctx: &mut Ctx, start: u32, end: u32) -> u32 {
    hit!(ctx, COLD);
    folio::walk(ctx, start, end, Aim::Cold, |_, _| {});
    end
}

/// PAGEOUT, likewise.
pub(super) fn pageout(ctx: &mut Ctx, start: u32, end: u32) -> u32 {
    if !ctx.world.swaps() {
        hit!(ctx, PAGEOUT_NO_SWAP);
    }
    folio::walk(ctx, start, end, Aim::PageOut, out);
    end
}

fn out(ctx: &mut Ctx, piece: Piece) {
    let Some(slot) = ctx.mm.slots.get(piece.from) else {
        return;
    };
    let parts = ctx.sharing(piece.from, piece.to, slot);
    if parts.iter().any(|p| p.2) {
        hit!(ctx, PAGEOUT_SKIPS_SHARED);
        if piece.whole.is_some() {
            return;
        }
    }
    if let (Some(large), Slot::Anon { id, .. }) = (piece.whole, slot) {
        let (first, last) = large.ids();
        let partly_lazy = ctx.mm.lazy.meets(first, last);
        if ctx.mm.all_lazy(id, large.pages) {
            hit!(ctx, PAGEOUT_TAKES);
            free::take(ctx, piece.from, piece.to);
        } else if !partly_lazy && ctx.world.swaps() {
            swap::out_whole(ctx, large, piece.from, piece.to);
        } else if !partly_lazy {
            hit!(ctx, PAGEOUT_SPLITS);
            folio::split(ctx, large);
        }
        return;
    }
    for (from, to, _) in parts.into_iter().filter(|p| !p.2) {
        match slot.plus(from - piece.from) {
            Slot::Anon { id, .. } => {
                let last = id.0 + u64::from(to - from);
                let lazy: Vec<(u64, u64)> = ctx.mm.lazy.within(id.0, last).collect();
                for (a, b) in lazy {
                    hit!(ctx, PAGEOUT_TAKES);
                    let start = from + (a - id.0) as u32;
                    free::take(ctx, start, start + (b - a) as u32);
                }
                if ctx.world.swaps() {
                    swap::out(ctx, from, to);
                }
            }
            Slot::File => unmap(ctx, from, to),
            Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::Zero | Slot::Swap { .. } => {}
        }
    }
}

/// Pages of a file that only this slot maps.
fn unmap(ctx: &mut Ctx, from: u32, to: u32) {
    let Some(vma) = ctx.mm.vma_index(from).map(|i| &ctx.mm.vmas[i]) else {
        return;
    };
    let (first, last) = (vma.index(from), vma.index(from) + (to - from));
    let Some(id) = vma.object else {
        return;
    };
    if ctx.world.object(id).kind != FileKind::Memfd {
        hit!(ctx, PAGEOUT_RAMFS);
        return;
    }
    hit!(ctx, PAGEOUT_SHARED);
    protect::clear_leaving_markers(&mut ctx.mm, from, to);
    ctx.world.object_mut(id).drop_clean(first, last);
    if ctx.world.swaps() {
        swap::memfd_out(ctx, id, first, last);
    }
}
