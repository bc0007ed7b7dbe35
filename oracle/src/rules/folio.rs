//! Folios of anonymous memory: when a huge page is split for good, and the walk over folios that FREE, COLD and PAGEOUT share.
//!
//! Splitting the *mapping* of a huge page (rules/tables, rules/thp) leaves one large folio whose pages are mapped one by one.
//! Splitting the *folio* makes small pages of it, and there the kernel looks for pages that hold nothing but zeros.

use super::registry::Rule;
use super::{hit, swap, Ctx};
use crate::geometry::Geometry;
use crate::judge::Class;
use crate::space::folio::Large;
use crate::space::mm::{block_of, block_pages, by_block, Mm, Table};
use crate::space::slots::{PageId, Slot};
use crate::space::{Content, Locked};
use std::sync::Arc;

pub const SPLIT: Rule = Rule {
    name: "folio/split",
    text: "FREE, COLD and PAGEOUT of a part of a huge page split it: all its pages are mapped one by one, those outside the \
           range too, and keep their contents.",
    source: "mm/madvise.c madvise_free_pte_range, madvise_cold_or_pageout_pte_range; mm/huge_memory.c madvise_free_huge_pmd, \
             split_folio",
    since: "all",
    about: &[Class::PageState],
};

pub const SPLIT_FINDS_ZEROS: Rule = Rule {
    name: "folio/split-finds-zeros",
    text: "When a huge page is split into small ones, those of its pages that hold nothing but zeros are given up and the shared \
           zero page is mapped in their place, outside the range too, but not in locked memory.",
    source: "mm/migrate.c try_to_map_unused_to_zeropage; 6.12, mm: remap unused subpages to shared zeropage when splitting \
             isolated thp",
    since: "6.12",
    about: &[Class::PageState],
};

pub const SHARED_IS_LEFT: Rule = Rule {
    name: "folio/shared-is-left-alone",
    text: "FREE, COLD and PAGEOUT leave a huge page alone that other address spaces map too, whole or in part. Before 6.15 one \
           that is mapped page by page here and there counts as shared when it is mapped more often than it has pages, or \
           when its first page is mapped twice. 6.1 goes no further in the block when the page it is at (for FREE, the folio's \
           first page) is not mapped exactly once, and that may be because it is not mapped at all.",
    source: "include/linux/mm.h folio_maybe_mapped_shared (6.15), folio_likely_mapped_shared, folio_estimated_sharers",
    since: "all",
    about: &[Class::PageState],
};

pub const SHARING_IS_ESTIMATED: Rule = Rule {
    name: "folio/sharing-is-estimated",
    text: "A large folio has room to remember two address spaces that map it. Once three have, the kernel may take it for shared \
           though only one of them still maps pages of it, and leave it alone.",
    source: "include/linux/rmap.h folio_sub_return_large_mapcount: FOLIO_MM_IDS_SHARED_BIT",
    since: "6.15",
    about: &[Class::PageState],
};

pub const STORE_COPIES: Rule = Rule {
    name: "folio/store-copies",
    text: "Where a huge page is mapped page by page, a store to a page of it that a fork has shared makes a copy, though nobody else maps \
           this page: before 6.15 if more than this page of it is mapped at all, later if another address space maps any. \
           From then on it is a small page.",
    source: "mm/memory.c wp_can_reuse_anon_folio, __wp_can_reuse_large_anon_folio; 6.15, mm: Copy-on-Write (COW) reuse support \
             for PTE-mapped THP",
    since: "all",
    about: &[Class::PageState],
};

/// The pages `[start, end)`, mapped one by one, which hold `slot` and what follows it, by whether a store copies them: (start, end,
/// copied). They are copied if another address space maps them too, and some that nobody else maps.
pub(super) fn by_store(ctx: &mut Ctx, start: u32, end: u32, slot: Slot) -> Vec<(u32, u32, bool)> {
    let Slot::Anon { id, .. } = slot else {
        return ctx.sharing(start, end, slot);
    };
    let sharing = ctx.sharing_or_swapped(start, end, slot);
    if ctx.world.swaps() && sharing != ctx.sharing(start, end, slot) {
        hit!(ctx, swap::STORE_COPIES);
    }
    let last = id.0 + u64::from(end - start);
    if !ctx.world.folios.forked.meets(id.0, last) || ctx.world.folios.end() == 0 {
        return sharing;
    }
    let mut parts: Vec<(u32, u32, bool)> = Vec::new();
    // Pages of the large folio that were copied just now.
    let mut gone = (PageId(0), 0);
    for (page, shared) in sharing
        .iter()
        .flat_map(|s| (s.0..s.1).map(|page| (page, s.2)))
    {
        let id = id.plus(page - start);
        let exclusive = ctx.world.folios.exclusive_stretch(id.0, id.0 + 1).1;
        let large = ctx.world.folios.of(id).filter(|_| !exclusive);
        let copied = large.map_or(shared, |large| {
            if gone.0 != large.first {
                gone = (large.first, 0);
            }
            let copied = shared || store_copies(ctx, large, gone.1);
            if copied && !shared {
                hit!(ctx, STORE_COPIES);
            }
            gone.1 += u32::from(copied);
            copied
        });
        match parts.last_mut() {
            Some(part) if part.2 == copied => part.1 = page + 1,
            _ => parts.push((page, page + 1, copied)),
        }
    }
    parts
}

/// Whether a store copies a page of a large folio that nobody else maps, `gone` of its pages having been copied before.
fn store_copies(ctx: &Ctx, large: Large, gone: u32) -> bool {
    let others = ctx.world.actors.iter().flatten();
    let others: u32 = others.map(|mm| mapped(ctx, mm, large).pages).sum();
    match ctx.world.profile.folio_sharing_is_known {
        true => others > 0,
        false => others + mapped(ctx, &ctx.mm, large).pages > gone + 1,
    }
}

/// What a walk over folios is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Free,
    Cold,
    PageOut,
}

/// What a walk comes to: pages `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub from: u32,
    pub to: u32,
    /// All pages of this large folio, in order; otherwise small pages that follow each other.
    pub whole: Option<Large>,
}

/// Takes the folios of `[start, end)`, a part of one VMA, one after the other to `treat`. Large ones that lie in the range only
/// in part are split first, unless they are shared.
pub(super) fn walk(ctx: &mut Ctx, start: u32, end: u32, aim: Aim, treat: impl Fn(&mut Ctx, Piece)) {
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        walk_block(ctx, block, from, to, aim, &treat);
    }
}

fn walk_block(
    ctx: &mut Ctx,
    block: usize,
    from: u32,
    to: u32,
    aim: Aim,
    treat: &impl Fn(&mut Ctx, Piece),
) {
    let g = ctx.geometry();
    match ctx.mm.tables[block] {
        Table::None => return,
        Table::Huge => {
            // The huge zero page is nobody's.
            let Some(large) = large_at(ctx, block_pages(block, g).0) else {
                return;
            };
            if shared(ctx, large, large.first, aim) {
                return;
            }
            if (from, to) == block_pages(block, g) {
                let whole = Some(large);
                return treat(ctx, Piece { from, to, whole });
            }
            split(ctx, large);
        }
        Table::Pte => {}
    }
    let mut at = from;
    while at < to {
        let (next, slot) = ctx.mm.slots.stretch(at, to);
        let small = Piece {
            from: at,
            to: next,
            whole: None,
        };
        let Some(Slot::Anon { id, .. }) = slot else {
            if slot == Some(Slot::File) {
                treat(ctx, small);
            }
            at = next;
            continue;
        };
        let Some(large) = ctx.world.folios.of(id) else {
            treat(ctx, small);
            at = next;
            continue;
        };
        let batch = batch(ctx, large, id, at, to);
        let all = id == large.first && batch - at == large.pages;
        if all && ctx.world.profile.advice_keeps_whole_folios {
            let whole = Some(large);
            treat(
                ctx,
                Piece {
                    from: at,
                    to: batch,
                    whole,
                },
            );
            at = batch;
        } else if shared(ctx, large, id, aim) {
            if !ctx.world.profile.advice_keeps_whole_folios {
                return;
            }
            at = batch;
        } else {
            split(ctx, large);
        }
    }
}

/// The large folio whose page a slot maps.
fn large_at(ctx: &Ctx, page: u32) -> Option<Large> {
    match ctx.mm.slots.get(page) {
        Some(Slot::Anon { id, .. }) => ctx.world.folios.of(id),
        _ => None,
    }
}

/// The page after the last that maps what follows `id` in the folio.
fn batch(ctx: &Ctx, large: Large, id: PageId, at: u32, to: u32) -> u32 {
    let limit = to.min(at + (large.ids().1 - id.0) as u32);
    let mut end = at;
    while end < limit {
        let (next, slot) = ctx.mm.slots.stretch(end, limit);
        let follows = PageId(id.0 + u64::from(end - at));
        match slot {
            Some(Slot::Anon { id, .. }) if id == follows => end = next,
            _ => break,
        }
    }
    end
}

/// How many address spaces map a page.
fn maps_of(ctx: &Ctx, id: PageId) -> usize {
    let maps = |mm: &Mm| {
        mm.slots.runs_in(0, u32::MAX).any(|run| match run.slot {
            Slot::Anon { id: first, .. } => {
                first <= id && id.0 - first.0 < u64::from(run.end - run.start)
            }
            _ => false,
        })
    };
    let others = ctx.world.actors.iter().flatten();
    usize::from(maps(&ctx.mm)) + others.filter(|mm| maps(mm)).count()
}

/// How an address space maps a large folio.
struct Mapped {
    pages: u32,
    huge: bool,
}

fn mapped(ctx: &Ctx, mm: &Mm, large: Large) -> Mapped {
    let mut mapped = Mapped {
        pages: 0,
        huge: false,
    };
    for (page, pages, _) in slots_of(mm, large) {
        mapped.pages += pages;
        mapped.huge |= mm.tables[block_of(page, ctx.geometry())] == Table::Huge;
    }
    mapped
}

/// The runs of slots that map pages of a folio: first page, pages, id of the first.
fn slots_of(mm: &Mm, large: Large) -> Vec<(u32, u32, PageId)> {
    let (first, last) = large.ids();
    let part = |run: crate::space::slots::Run| {
        let Slot::Anon { id, .. } = run.slot else {
            return None;
        };
        let from = id.0.max(first);
        let to = (id.0 + u64::from(run.end - run.start)).min(last);
        (from < to).then(|| {
            let page = run.start + (from - id.0) as u32;
            (page, (to - from) as u32, PageId(from))
        })
    };
    mm.slots.runs_in(0, u32::MAX).filter_map(part).collect()
}

/// Whether the kernel takes a large folio for shared, having come to it by its page `id`.
fn shared(ctx: &mut Ctx, large: Large, id: PageId, aim: Aim) -> bool {
    let ours = mapped(ctx, &ctx.mm, large);
    let theirs: Vec<Mapped> = ctx
        .world
        .actors
        .iter()
        .flatten()
        .map(|mm| mapped(ctx, mm, large))
        .filter(|m| m.pages > 0)
        .collect();
    let profile = &ctx.world.profile;
    let any = !theirs.is_empty();
    let shared = if profile.folio_sharing_is_known {
        let forgotten = !any && !ours.huge && large.mapped_by.count_ones() > 2;
        if forgotten && ctx.otherwise() {
            hit!(ctx, SHARING_IS_ESTIMATED);
            return true;
        }
        any
    } else if profile.advice_keeps_whole_folios {
        let huge = ours.huge || theirs.iter().any(|m| m.huge);
        let pages: u32 = ours.pages + theirs.iter().map(|m| m.pages).sum::<u32>();
        any && (huge || pages > large.pages || maps_of(ctx, large.first) > 1)
    } else {
        match aim {
            Aim::Free if ours.huge => any,
            Aim::Free => maps_of(ctx, large.first) != 1,
            Aim::Cold | Aim::PageOut => maps_of(ctx, id) != 1,
        }
    };
    if shared {
        hit!(ctx, SHARED_IS_LEFT);
    }
    shared
}

/// Splits a large folio into small ones, in every address space that maps it.
pub(super) fn split(ctx: &mut Ctx, large: Large) {
    hit!(ctx, SPLIT);
    let zeros = ctx.world.profile.folio_split_finds_zeros;
    let g = ctx.geometry();
    let bits = Bits {
        zeros_keep: ctx.world.profile.split_zeros_keep_soft_dirty,
        dirty_sets: ctx.world.profile.folio_split_sets_soft_dirty,
    };
    let mut found = split_in(&mut ctx.mm, large, zeros, bits, g);
    for mm in ctx.world.actors.iter_mut().flatten() {
        found |= split_in(Arc::make_mut(mm), large, zeros, bits, g);
    }
    if found {
        hit!(ctx, SPLIT_FINDS_ZEROS);
    }
    ctx.world.folios.split(large);
}

/// What becomes of soft-dirty bits.
#[derive(Clone, Copy)]
struct Bits {
    /// The zero page takes over that of the page it replaces.
    zeros_keep: bool,
    /// Pages that are dirty get it.
    dirty_sets: bool,
}

/// Whether any page gave way to the zero page.
fn split_in(mm: &mut Mm, large: Large, zeros: bool, bits: Bits, g: Geometry) -> bool {
    let mut found = false;
    for (page, pages, id) in slots_of(mm, large) {
        let block = block_of(page, g);
        mm.tables[block] = Table::Pte;
        if bits.dirty_sets {
            let lazy = |n: u32| mm.all_lazy(PageId(id.0 + u64::from(n)), 1);
            let dirty = |n: &u32| !lazy(*n) && !mm.slots.is_clean(page + n);
            for n in (0..pages).filter(dirty).collect::<Vec<_>>() {
                mm.set_soft_dirty(page + n, page + n + 1);
            }
        }
        let empty =
            |slot| matches!(slot, Some(Slot::Anon { content, .. }) if content == Content::ZERO);
        if !zeros || !empty(mm.slots.get(page)) {
            continue;
        }
        let end = page + pages;
        let open = mm.vmas.iter().filter(|v| v.locked == Locked::No);
        let parts: Vec<(u32, u32)> = open.map(|v| (v.start.max(page), v.end.min(end))).collect();
        for (from, to) in parts.into_iter().filter(|(from, to)| from < to) {
            let was = mm.slots.by_soft_dirty(from, to);
            let protected = mm.slots.uffd_wp_in(from, to);
            mm.slots.set(from, to, Slot::Zero);
            for (from, to) in protected.into_iter().filter(|_| bits.zeros_keep) {
                mm.slots.set_uffd_wp(from, to);
            }
            for (from, to, _) in was.into_iter().filter(|part| part.2 && bits.zeros_keep) {
                mm.set_soft_dirty(from, to);
            }
            found = true;
        }
    }
    found
}
