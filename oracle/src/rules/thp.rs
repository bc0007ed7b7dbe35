//! Transparent huge pages of anonymous memory: when one comes, when one is split. Whether one can be allocated is
//! the kernel's business; observation tells which way it went.

use super::registry::Rule;
use super::{anon_vma, droppable, hit, soft_dirty, thp_disable, Ctx};
use crate::judge::Class;
use crate::program::Thp;
use crate::space::mm::{block_of, block_pages, HugeBits, Table};
use crate::space::slots::{PageId, Slot};
use crate::space::{Content, HugeAdvice, Vma};

pub const FAULT: Rule = Rule {
    name: "thp/fault",
    text: "A write fault on anonymous memory maps a huge page, zero but for what is written, if huge pages are on for the VMA \
           (always, or madvise and `hg`; never with `nh`), the VMA holds the whole PMD-sized block, and the block has no page \
           table: one small page, guard or leftover table in it forces small pages.",
    source: "mm/memory.c __handle_mm_fault, mm/huge_memory.c do_huge_pmd_anonymous_page",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const MAY_FAIL: Rule = Rule {
    name: "thp/allocation-may-fail",
    text: "Where a fault could map a huge page and memory is short, the kernel may find none to allocate and map a small page \
           instead. The VMA gets its anon_vma all the same. Memory is not short, and the huge page comes for certain, while all that \
           the program has made so far, a huge page more and 32 MiB stay below what /proc/buddyinfo called free in stretches of at \
           least a huge page when the program began.",
    source: "mm/huge_memory.c vma_alloc_anon_folio_pmd",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const HUGE_ZERO: Rule = Rule {
    name: "thp/huge-zero",
    text: "Where a write fault would map a huge page, a read fault maps the huge zero page over the whole block \
           (transparent_hugepage/use_zero_page), and the VMA gets an anon_vma though nothing was written.",
    source: "mm/huge_memory.c do_huge_pmd_anonymous_page",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const READ_WITHOUT_ZERO: Rule = Rule {
    name: "thp/read-without-huge-zero",
    text: "With transparent_hugepage/use_zero_page off, a read fault maps a huge page of zeros of its own where a write fault \
           would. Kernels switch it off at boot on machines with less than 512 MiB.",
    source: "mm/huge_memory.c do_huge_pmd_anonymous_page, hugepage_init",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const ZERO_WRITE_SPLITS: Rule = Rule {
    name: "thp/huge-zero/write-splits",
    text: "A write to the huge zero page splits it into small zero pages and copies the one that is written.",
    source: "mm/huge_memory.c do_huge_pmd_wp_page",
    since: "before 6.13; later when no huge page can be allocated",
    about: &[Class::PageState],
};

pub const ZERO_WRITE_ALLOCATES: Rule = Rule {
    name: "thp/huge-zero/write-allocates",
    text: "A write to the huge zero page replaces it by a huge page of zeros.",
    source: "mm/huge_memory.c do_huge_zero_wp_pmd; 6.13, mm: Allocate THP on hugezeropage wp-fault",
    since: "6.13",
    about: &[Class::PageState],
};

pub const WRITE_REUSES: Rule = Rule {
    name: "thp/write-reuses",
    text: "A write to a huge page of which no other address space maps a page happens in place, even after a fork.",
    source: "mm/huge_memory.c do_huge_pmd_wp_page",
    since: "all",
    about: &[Class::PageState],
};

pub const WRITE_SPLITS: Rule = Rule {
    name: "thp/write-splits-shared",
    text: "A write to a huge page that another address space maps, whole or in part, splits the writer's mapping of it and copies \
           the one page that is written; the other address space keeps its mapping.",
    source: "mm/huge_memory.c do_huge_pmd_wp_page",
    since: "all",
    about: &[Class::PageState],
};

pub const VMA_SPLIT: Rule = Rule {
    name: "thp/split-with-vma",
    text: "A VMA border inside a huge page splits its mapping: anonymous pages stay, mapped one by one; a huge page of shared \
           memory is unmapped.",
    source: "mm/huge_memory.c vma_adjust_trans_huge",
    since: "all",
    about: &[Class::PageState],
};

/// Whether a fault at `page` in the anonymous VMA `i` looks for a huge page.
pub(crate) fn possible(ctx: &mut Ctx, i: usize, page: u32) -> bool {
    let g = ctx.geometry();
    let vma = &ctx.mm.vmas[i];
    let block = block_of(page, g);
    let (start, end) = block_pages(block, g);
    let enabled = match ctx.world.knobs.thp {
        Thp::Never => false,
        Thp::Madvise => vma.advice == HugeAdvice::Huge,
        Thp::Always => vma.advice != HugeAdvice::NoHuge,
    };
    enabled
        && vma.is_anon()
        && ctx.mm.tables[block] == Table::None
        && vma.start <= start
        && end <= vma.end
        && !thp_disable::forbids(ctx, i, false)
}

/// A write fault maps a huge page of zeros.
pub(crate) fn map_huge(ctx: &mut Ctx, i: usize, page: u32) {
    hit!(ctx, FAULT);
    anon_vma::prepare(ctx, i);
    fill(ctx, i, page);
}

/// A huge page of zeros in the block of `page`.
fn fill(ctx: &mut Ctx, i: usize, page: u32) {
    let g = ctx.geometry();
    let block = block_of(page, g);
    let (start, end) = block_pages(block, g);
    let id = ctx.world.new_pages(end - start);
    droppable::made(ctx, i, id, end - start);
    let content = Content::ZERO;
    ctx.mm.slots.set(start, end, Slot::Anon { id, content });
    ctx.world.folios.add(ctx.actor, id, end - start);
    // Mapped dirty, for a load too.
    ctx.mm.set_soft_dirty(start, end);
    ctx.mm.tables[block] = Table::Huge;
    ctx.mm.huge[block] = new_bits(&ctx.mm.vmas[i]);
}

/// What the entry of a new huge page in a VMA says.
pub(super) fn new_bits(vma: &Vma) -> HugeBits {
    HugeBits {
        write: vma.prot.write,
        ..HugeBits::STORED
    }
}

/// A read fault maps the huge zero page, or a huge page of zeros.
pub(crate) fn map_huge_for_read(ctx: &mut Ctx, i: usize, page: u32) {
    anon_vma::prepare(ctx, i);
    if !ctx.world.profile.huge_zero_page {
        hit!(ctx, READ_WITHOUT_ZERO);
        return fill(ctx, i, page);
    }
    hit!(ctx, HUGE_ZERO);
    let g = ctx.geometry();
    let block = block_of(page, g);
    let (start, end) = block_pages(block, g);
    ctx.mm.slots.set(start, end, Slot::Zero);
    ctx.mm.tables[block] = Table::Huge;
}

/// No huge page was to be had: the block gets a page table.
pub(crate) fn fall_back(ctx: &mut Ctx, i: usize, page: u32) {
    hit!(ctx, MAY_FAIL);
    anon_vma::prepare(ctx, i);
    let block = block_of(page, ctx.geometry());
    ctx.mm.tables[block] = Table::Pte;
}

/// A write to the huge zero page replaces it.
pub(crate) fn replace_zero(ctx: &mut Ctx, i: usize, page: u32) {
    hit!(ctx, ZERO_WRITE_ALLOCATES);
    fill(ctx, i, page);
}

/// A write to the huge zero page splits it.
pub(crate) fn split_zero(ctx: &mut Ctx, page: u32) {
    hit!(ctx, ZERO_WRITE_SPLITS);
    let g = ctx.geometry();
    split_pmd(ctx, block_of(page, g));
}

/// Before a write to an anonymous huge page: splits it if anybody else maps a page of it. Whether it is still huge.
pub(crate) fn write_protected(ctx: &mut Ctx, page: u32) -> bool {
    let g = ctx.geometry();
    let block = block_of(page, g);
    let (start, end) = block_pages(block, g);
    // Contents differ within the huge page, but its ids follow each other from the first page on.
    let shared = ctx
        .mm
        .slots
        .get(start)
        .is_some_and(|slot| ctx.sharing(start, end, slot).iter().any(|s| s.2));
    if shared {
        hit!(ctx, WRITE_SPLITS);
        split_pmd(ctx, block);
    } else {
        hit!(ctx, WRITE_REUSES);
    }
    !shared
}

/// A store to the huge page that `id` is a page of: all of it is dirty again, and no longer lazily freed.
pub(crate) fn stored(ctx: &mut Ctx, i: usize, block: usize, id: PageId) {
    ctx.mm.huge[block] = HugeBits::STORED;
    let Some(large) = ctx.world.folios.of(id) else {
        return;
    };
    let (first, last) = large.ids();
    if !ctx.mm.vmas[i].droppable {
        ctx.mm.stored(large.first, large.pages);
    }
    ctx.world.folios.dirty.insert(first, last);
    ctx.world.folios.forked.remove(first, last);
}

/// The huge mapping of a block, if there is one, becomes one page by page.
pub(crate) fn split_pmd(ctx: &mut Ctx, block: usize) {
    let g = ctx.geometry();
    if ctx.mm.tables[block] != Table::Huge {
        return;
    }
    ctx.mm.split_pmd(block, g);
    let (start, end) = block_pages(block, g);
    if !matches!(ctx.mm.slots.get(start), Some(Slot::Anon { .. })) {
        return;
    }
    if !ctx.world.profile.split_sets_soft_dirty {
        // The entries forget that they were dirty, which nothing but soft-dirty bits can show.
        if ctx.world.profile.soft_dirty {
            ctx.mm.slots.set_clean(start, end);
        }
    } else if ctx.mm.tells_soft_dirty && ctx.mm.huge[block].dirty {
        hit!(ctx, soft_dirty::SPLIT);
        ctx.mm.set_soft_dirty(start, end);
    }
}

/// A VMA border came to lie inside a block.
pub(crate) fn vma_split(ctx: &mut Ctx, block: usize) {
    if ctx.mm.tables[block] == Table::Huge {
        hit!(ctx, VMA_SPLIT);
        split_pmd(ctx, block);
    }
}
