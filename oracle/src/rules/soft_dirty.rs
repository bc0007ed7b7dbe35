//! Soft-dirty bits: what was stored to since 4 was written to clear_refs.

use super::registry::Rule;
use super::{hit, Ctx};
use crate::judge::{Class, Outcome};
use crate::space::mm::{by_block, HugeBits, Mm, Table};
use crate::space::slots::{PageId, Slot};

pub const NEW: Rule = Rule {
    name: "soft-dirty/new-is-dirty",
    text: "A new mapping counts as stored to as a whole (`sd`), whatever its pages are; where it joins a neighbour, all of both does.",
    source: "mm/vma.c __mmap_complete (before 6.12 mm/mmap.c mmap_region): VM_SOFTDIRTY",
    since: "all, with CONFIG_MEM_SOFT_DIRTY: not on arm64",
    about: &[Class::VmFlags, Class::PageState],
};

pub const CLEARS: Rule = Rule {
    name: "soft-dirty/clears",
    text: "Writing 4 to clear_refs takes the mark from every mapping of the process and the bit from every entry of its page \
           tables. Guards stay what they are. The entries become read-only, so that the next store faults and is noted; \
           nothing else shows that. Without soft-dirty bits it changes nothing and succeeds.",
    source: "fs/proc/task_mmu.c clear_refs_write, clear_soft_dirty",
    since: "all",
    about: &[Class::Errno, Class::VmFlags],
};

pub const SHOWN: Rule = Rule {
    name: "soft-dirty/store-sets",
    text: "pagemap bit 55 and PAGE_IS_SOFT_DIRTY are set for all pages of a mapping with `sd`, and elsewhere for pages that were \
           stored to, or faulted in for a store, since clear_refs was written; a store to a huge page counts for all of it, and \
           so do the fault that allocates one and COLLAPSE. Pages that were only read, zero pages, guards and empty slots do not have it; \
           one that is discarded loses it. A child inherits it page by page, but for guards (mm/memory.c copy_nonpresent_pte makes new markers). \
           mremap sets it for what it moves, guards and zero pages too, except where it moves a page table as a whole.",
    source: "fs/proc/task_mmu.c pte_to_pagemap_entry; arch/x86/include/asm/pgtable.h pte_mkdirty",
    since: "all, with CONFIG_MEM_SOFT_DIRTY: not on arm64",
    about: &[Class::PageState],
};

pub const SPLIT: Rule = Rule {
    name: "soft-dirty/split-sets",
    text: "When the mapping of an anonymous huge page is split, by a store after a fork, by a border between VMAs or by discarding \
           a part, every page of it gets the bit, stored to since clear_refs or not: the entries take over that the page is \
           dirty, and on x86-64 that sets both bits. A lazily freed huge page is not dirty. Splitting the page itself keeps \
           the bits as they are (6.1 sets them then).",
    source: "mm/huge_memory.c __split_huge_pmd_locked: `this may set soft-dirty too on some archs`; read in 6.12.117 and 7.3, not in \
             6.1.192",
    since: "after 6.1, with CONFIG_MEM_SOFT_DIRTY",
    about: &[Class::PageState],
};

pub const MERGES: Rule = Rule {
    name: "soft-dirty/merges",
    text: "When a mapping is changed and merges with neighbours of which only some have `sd`, all of it has it. Before 6.19 it \
           was as the changed mapping, so that the neighbours' could be lost (after mseal and mremap: as the VMA that remains).",
    source: "6.19, mm: propagate VM_SOFTDIRTY on merge; before, mm/mprotect.c mprotect_fixup and its kin: vm_flags_reset after \
             vma_modify_flags, mm/mseal.c vm_flags_set",
    since: "all, with CONFIG_MEM_SOFT_DIRTY: not on arm64",
    about: &[Class::VmFlags],
};

pub const PROTECT: Rule = Rule {
    name: "soft-dirty/mprotect-sets",
    text: "mprotect changes the entries of a large folio that is mapped page by page in batches: those that follow each other and \
           are alike in the soft-dirty bit. A batch takes over that any of its pages but the first is dirty, and on x86-64 that \
           sets both bits: pages to which nothing was stored since clear_refs have the bit then, all of the batch. A page \
           alone, and lazily freed ones, do not.",
    source: "include/linux/pgtable.h modify_prot_start_ptes calls pte_mkdirty; 6.17, mm: optimize mprotect() by PTE batching",
    since: "6.17, with CONFIG_MEM_SOFT_DIRTY: not on arm64",
    about: &[Class::PageState],
};

pub const CLEANS: Rule = Rule {
    name: "soft-dirty/mprotect-cleans-huge",
    text: "A bug of these kernels: mprotect of a huge page to which stores need no fault forgets that its entry is dirty. When its \
           mapping is split then, the pages do not get the soft-dirty bit. A store makes it dirty again.",
    source: "arch/x86/include/asm/pgtable.h pmd_modify masks _PAGE_DIRTY before pmd_mksaveddirty looks for it; not in 6.12.117 \
             nor 7.2",
    since: "6.6 to 7.1; not on arm64",
    about: &[Class::PageState],
};

/// mprotect, or write protection by userfaultfd, has changed the entries of `[start, end)`, a part of VMA `i`, and its protection.
pub(crate) fn protected(ctx: &mut Ctx, start: u32, end: u32) {
    protected_huge(ctx, start, end);
    if !ctx.world.profile.mprotect_sets_soft_dirty || !ctx.mm.tells_soft_dirty {
        return;
    }
    // Droppable pages are free to take from the start, though their entries are dirty until FREE.
    let vma = ctx.mm.vma_index(start).map(|i| &ctx.mm.vmas[i]);
    let droppable = vma.is_some_and(|vma| vma.droppable);
    for (from, to, id) in batches(ctx, start, end) {
        let dirty = |mm: &Mm, page: u32| {
            let lazy = !droppable && mm.all_lazy(id.plus(page - from), 1);
            !mm.slots.is_clean(page) && !lazy
        };
        if (from + 1..to).any(|page| dirty(&ctx.mm, page)) {
            hit!(ctx, PROTECT);
            ctx.mm.set_soft_dirty(from, to);
            ctx.mm.slots.set_dirty(from, to);
        } else if dirty(&ctx.mm, from) {
            // The others become what the first is, but nothing makes them soft-dirty.
            ctx.mm.slots.set_dirty(from, to);
        }
    }
}

/// The same for anonymous huge pages: who may store now, and whether the entry is dirty still.
fn protected_huge(ctx: &mut Ctx, start: u32, end: u32) {
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        if ctx.mm.tables[block] != Table::Huge {
            continue;
        }
        let Some(vma) = ctx.mm.vma_index(from).map(|i| &ctx.mm.vmas[i]) else {
            continue;
        };
        let bits = ctx.mm.huge[block];
        let waits_for_store = ctx.mm.tells_soft_dirty
            && !vma.soft_dirty
            && ctx.mm.slots.by_soft_dirty(from, to).iter().any(|p| !p.2);
        let protected = vma.uffd.wp && ctx.mm.slots.uffd_wp_stretch(from, to).1;
        let write = vma.prot.write && bits.exclusive && !waits_for_store && !protected;
        let dirty = bits.dirty && !(bits.write && ctx.world.profile.mprotect_cleans_huge);
        if bits.dirty && !dirty {
            hit!(ctx, CLEANS);
        }
        ctx.mm.huge[block] = HugeBits {
            write,
            dirty,
            ..bits
        };
    }
}

/// Pages of one large folio that follow each other, are mapped page by page and have no soft-dirty bit: (start, end, first page).
fn batches(ctx: &Ctx, start: u32, end: u32) -> Vec<(u32, u32, PageId)> {
    let mut batches: Vec<(u32, u32, PageId)> = Vec::new();
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        if ctx.mm.tables[block] != Table::Pte {
            continue;
        }
        let first = batches.len();
        for run in ctx.mm.slots.runs_in(from, to) {
            let Slot::Anon { id, .. } = run.slot else {
                continue;
            };
            let parts = ctx.mm.slots.by_soft_dirty(run.start, run.end).into_iter();
            for (from, to, _) in parts.filter(|part| !part.2) {
                for page in from..to {
                    let id = id.plus(page - run.start);
                    let Some(large) = ctx.world.folios.of(id) else {
                        continue;
                    };
                    match batches[first..].last_mut() {
                        Some(last)
                            if last.1 == page
                                && last.2 .0 + u64::from(page - last.0) == id.0
                                && last.2 .0 >= large.first.0 =>
                        {
                            last.1 = page + 1;
                        }
                        _ => batches.push((page, page + 1, id)),
                    }
                }
            }
        }
    }
    batches
}

/// 4 is written to the actor's clear_refs.
pub(crate) fn clear(ctx: &mut Ctx) -> Outcome {
    hit!(ctx, CLEARS);
    for vma in &mut ctx.mm.vmas {
        vma.soft_dirty = false;
    }
    ctx.mm.slots.clear_soft_dirty();
    if ctx.world.profile.soft_dirty {
        for bits in &mut ctx.mm.huge {
            bits.write = false;
        }
    }
    ctx.mm.tells_soft_dirty = ctx.world.profile.soft_dirty;
    ctx.mm.may_be_write_protected |= ctx.world.profile.soft_dirty;
    Outcome::Ok
}
