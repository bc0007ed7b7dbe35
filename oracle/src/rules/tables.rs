//! Zapping: emptying slots, and what becomes of huge pages and page tables then.

use super::registry::Rule;
use super::uffd::protect;
use super::{hit, madvise, swap, thp, Ctx};
use crate::judge::Class;
use crate::space::mm::{block_pages, by_block, Table};
use crate::space::slots::Slot;

pub const ZAP: Rule = Rule {
    name: "tables/zap",
    text: "Zapping empties the slots of a range in this address space only; other address spaces keep their view of the same \
           pages. Markers stay unless the mapping itself goes.",
    source: "mm/memory.c zap_pte_range",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const ZAP_WHOLE_HUGE: Rule = Rule {
    name: "tables/zap-whole-huge",
    text: "A huge page that lies wholly in the range goes as one; nothing is left in the PMD entry, so a later fault may \
           choose a huge page again.",
    source: "mm/huge_memory.c zap_huge_pmd",
    since: "all",
    about: &[Class::PageState],
};

pub const ZAP_SPLITS_HUGE: Rule = Rule {
    name: "tables/zap-splits-huge",
    text: "A huge page that lies partly in the range is split in this address space first: anonymous pages outside the range stay \
           where they are, mapped one by one; a huge page of shared memory is unmapped whole.",
    source: "mm/memory.c zap_pmd_range, mm/huge_memory.c __split_huge_pmd_locked",
    since: "all",
    about: &[Class::PageState],
};

/// Why slots are zapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zap {
    /// The mapping goes: markers too.
    Unmap,
    /// MADV_DONTNEED: markers stay; empty tables may be freed.
    DontNeed,
    /// Between the walks of guard install: markers stay, and so do tables.
    Guard,
}

/// Empties the slots of `[start, end)`, a part of one VMA.
pub(crate) fn zap(ctx: &mut Ctx, start: u32, end: u32, why: Zap) {
    let g = ctx.geometry();
    for (block, from, to) in by_block(start, end, g) {
        let whole = (from, to) == block_pages(block, g);
        match ctx.mm.tables[block] {
            Table::None => continue,
            Table::Huge if whole => {
                hit!(ctx, ZAP_WHOLE_HUGE);
                ctx.mm.slots.clear(from, to);
                ctx.mm.tables[block] = Table::None;
                continue;
            }
            Table::Huge => {
                hit!(ctx, ZAP_SPLITS_HUGE);
                thp::split_pmd(ctx, block);
            }
            Table::Pte => {}
        }
        hit!(ctx, ZAP);
        swap::goes(ctx, from, to);
        if why == Zap::Unmap {
            ctx.mm.slots.clear(from, to);
        } else {
            discard(ctx, from, to, why);
        }
        if why == Zap::DontNeed
            && whole
            && ctx.world.profile.pt_reclaim
            && ctx.mm.tables[block] == Table::Pte
            && ctx.mm.slots.is_empty_in(from, to)
        {
            hit!(ctx, madvise::DONTNEED_FREES_TABLE);
            ctx.mm.tables[block] = Table::None;
        }
    }
}

/// Empties slots as what stands for no page in them allows.
fn discard(ctx: &mut Ctx, from: u32, to: u32, why: Zap) {
    let marked = match ctx.mm.vma_index(from) {
        Some(i) if ctx.mm.vmas[i].is_anon() => Vec::new(),
        _ => protect::markers_left(&ctx.mm, from, to),
    };
    ctx.mm.slots.clear_but_guards(from, to);
    if why == Zap::Guard || marked.is_empty() {
        return;
    }
    hit!(ctx, protect::LEAVES_MARKERS);
    for (from, to) in marked {
        ctx.mm.slots.set(from, to, Slot::UffdWp);
    }
}
