//! How mremap moves: the copied VMA, then the page tables, as large a piece at a time as both places allow, then what is left
//! at the old place.

use super::registry::Rule;
use super::{failing, hit, merge, munmap, thp, uffd, Ctx};
use crate::judge::Class;
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::slots::{Run, Slot};
use crate::space::{Locked, Uffd, Vma};

pub const COPIES_VMA: Rule = Rule {
    name: "mremap/moves/vma",
    text: "The memory at the new place has the protection and all flags of the VMA that it comes from, `gu` included, and its \
           anon_vma. What the VMA has on both sides of the range stays where it is, with `ac` if it had it.",
    source: "mm/vma.c copy_vma, mm/mremap.c move_vma, unmap_source_vma",
    since: "all",
    about: &[Class::Vma, Class::VmFlags, Class::Errno],
};

pub const KEEPS_PAGES: Rule = Rule {
    name: "mremap/moves/pages",
    text: "Every slot moves with what it holds: pages with their contents and their sharing, zero pages, guards; empty ones stay \
           empty. The old place is unmapped, and what is added at the end is empty.",
    source: "mm/mremap.c move_page_tables, move_ptes",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const OFFSET: Rule = Rule {
    name: "mremap/moves/offset",
    text: "Anonymous memory that has an anon_vma keeps the offset of where it was mapped, and so merges only with what came along or \
           stayed behind; without one it takes the offset of its new place, and merges with what is mapped there, even with \
           the VMA that it was cut from. Shared memory keeps the offset in its object.",
    source: "mm/vma.c copy_vma",
    since: "all",
    about: &[Class::Vma],
};

pub const TABLE: Rule = Rule {
    name: "mremap/moves/table",
    text: "Where a whole PMD-sized block goes to a place that is aligned as well, its page table moves as one, and nothing is left \
           in the old PMD entry; otherwise slots move one by one, and the old table stays until the block is unmapped.",
    source: "mm/mremap.c move_normal_pmd, get_extent",
    since: "all",
    about: &[Class::PageState],
};

pub const REALIGNED: Rule = Rule {
    name: "mremap/moves/table-of-a-part",
    text: "A range that starts inside a block, at the start of its VMA and as far inside the block as its new place, and that \
           reaches the block's end, moves with the block's page table if nothing is mapped in front of it in either block.",
    source: "mm/mremap.c try_realign_addr; 6.7, mm/mremap: optimize the start addresses in move_page_tables()",
    since: "6.7",
    about: &[Class::PageState],
};

pub const HUGE: Rule = Rule {
    name: "mremap/moves/huge",
    text: "A huge page, the huge zero page too, moves as one when its whole block goes to an aligned place.",
    source: "mm/huge_memory.c move_huge_pmd",
    since: "all",
    about: &[Class::PageState],
};

pub const SPLITS_HUGE: Rule = Rule {
    name: "mremap/moves/splits-huge",
    text: "A huge page of which a part moves, or that goes to a place that is not aligned, is split: its pages, moved and left, are \
           mapped one by one.",
    source: "mm/mremap.c move_page_tables: split_huge_pmd",
    since: "all",
    about: &[Class::PageState],
};

pub const LEAVES_VMA: Rule = Rule {
    name: "mremap/dontunmap/leaves-vma",
    text: "MREMAP_DONTUNMAP leaves the VMA with nothing in the range: pages and guards are at the new place only, and a page that is \
           read at the old one is zero (or found in the shared object again). The VMA keeps its flags, `gu` too, except its lock; \
           it is split only where the lock of a part goes.",
    source: "mm/mremap.c move_vma, dontunmap_complete; mremap(2)",
    since: "5.7; shared memory 5.13",
    about: &[Class::Vma, Class::VmFlags, Class::PageState, Class::Value, Class::Residency],
};

pub const UNLOCKS: Rule = Rule {
    name: "mremap/dontunmap/unlocks",
    text: "Locked memory is locked at its new place, as `lf` if it was. What MREMAP_DONTUNMAP leaves is locked no more: the VMA is \
           split at the range's ends first, and the rest stays locked.",
    source: "mm/mremap.c prep_move_vma needs_pre_split, dontunmap_complete",
    since: "7.2, and 6.1.y and 6.12.y",
    about: &[Class::VmFlags, Class::Vma],
};

pub const UNLOCKS_ALL: Rule = Rule {
    name: "mremap/dontunmap/unlocks-all-of-the-vma",
    text: "Where MREMAP_DONTUNMAP does not split a locked VMA, all of it is locked no more, even if only a part was moved, and yet goes \
           on counting against the limit.",
    source: "7.2, mm/mremap.c needs_pre_split is not in earlier releases; move_vma accounts before dontunmap_complete unlocks",
    since: "6.13 to 7.1",
    about: &[Class::VmFlags, Class::Vma, Class::Errno],
};

pub const UNLINKS: Rule = Rule {
    name: "mremap/dontunmap/unlinks-anon-vma",
    text: "If MREMAP_DONTUNMAP moved the pages of a whole VMA, the VMA has no anon_vma then and the offset of its own place: it is as \
           if nothing had been written to it. Otherwise it keeps its anon_vma. From 6.16 to 7.1 it keeps the offset.",
    source: "mm/mremap.c dontunmap_complete",
    since: "all",
    about: &[Class::Vma],
};

pub const UNACCOUNTS: Rule = Rule {
    name: "mremap/dontunmap/unaccounts",
    text: "A bug of 6.15 and 6.16: the VMA that MREMAP_DONTUNMAP leaves has lost `ac`, all of it even if only a part was moved, \
           though it was charged and is not given back.",
    source: "seen on 6.16.12; 6.15, mm/mremap: refactor mremap() system call implementation; a finding, docs/findings.md",
    since: "6.15 and 6.16",
    about: &[Class::VmFlags, Class::Vma],
};

pub const NO_SELF_MERGE: Rule = Rule {
    name: "mremap/dontunmap/stays-apart",
    text: "MREMAP_DONTUNMAP to a place beside the VMA does not join the two. In 6.1 it then does not join the neighbour on the other \
           side either. From 6.16 to 7.1 it does join them, where nothing was written.",
    source: "mm/vma.c copy_vma; 6.1: mm/mmap.c copy_vma; found by a divergence on 6.17",
    since: "7.2, and 6.1.y and 6.12.y",
    about: &[Class::Vma],
};

pub const TABLE_ELSEWHERE: Rule = Rule {
    name: "mremap/dontunmap/table-elsewhere",
    text: "Where the kernel chooses the place, its alignment decides whether the old page tables go or stay; both are allowed.",
    source: "mm/mremap.c get_extent, try_realign_addr",
    since: "all",
    about: &[Class::PageState],
};

/// Moves the pages `start..end`, which lie in one VMA, to `to..to_end`, where nothing is mapped. The new place may be longer; an
/// empty `start..end` duplicates.
///
/// # Errors
/// ENOMEM, and nothing has moved; but the VMA may be split.
pub(super) fn relocate(
    ctx: &mut Ctx,
    (start, end): (u32, u32),
    (to, to_end): (u32, u32),
    keep_source: bool,
) -> Result<(), i32> {
    pre_split(ctx, (start, end), keep_source)?;
    let Some(i) = ctx.mm.vma_index(start) else {
        return Ok(());
    };
    hit!(ctx, COPIES_VMA);
    hit!(ctx, OFFSET);
    let vma = &ctx.mm.vmas[i];
    let unfaulted = vma.is_anon() && vma.anon_vma.is_none();
    let copy = Vma {
        start: to,
        end: to_end,
        pgoff: if unfaulted { to } else { vma.index(start) },
        anon_pgoff: match vma.anon_vma {
            None => to,
            Some(_) => vma.anon_pgoff.wrapping_add(start - vma.start),
        },
        ..vma.clone()
    };
    let source = (vma.start, vma.end);
    let registered = vma.uffd != Uffd::default();
    let (touches_left, touches_right) = (vma.end == to, vma.start == to_end);
    let mut look_at = (true, true);
    let apart = ctx.world.profile.dontunmap_stays_apart;
    if apart && unfaulted && keep_source && (touches_left || touches_right) {
        hit!(ctx, NO_SELF_MERGE);
        look_at = if ctx.world.profile.dontunmap_beside_never_merges {
            (false, false)
        } else {
            (!touches_left, !touches_right)
        };
    }
    let drops = registered && !ctx.world.knobs.uffd_events;
    if drops && ctx.world.profile.uffd_moved_stays_apart {
        hit!(ctx, uffd::lost::MOVED_APART);
        look_at = (false, false);
    }
    merge::add_beside(ctx, copy, merge::Origin::Moved, look_at)?;
    if start == end {
        uffd::lost::moved(ctx, to);
        uffd::events::moves(ctx, start, Some(to), 0);
        return Ok(());
    }
    hit!(ctx, KEEPS_PAGES);
    move_tables(ctx, (start, end), to);
    uffd::lost::moved(ctx, to);
    uffd::events::moves(ctx, start, Some(to), end - start);
    if keep_source {
        complete(ctx, start, end);
    } else if munmap::unmap(ctx, start, end).is_err() {
        // What is sealed does not move: it was memory that was wanting.
        hit!(ctx, failing::KEEPS_SOURCE);
        let left = ctx.mm.vmas.iter_mut();
        left.filter(|vma| source.0 <= vma.start && vma.end <= source.1)
            .for_each(|vma| vma.account = false);
    }
    Ok(())
}

/// Cuts `start..end` out of a locked VMA that MREMAP_DONTUNMAP is going to unlock.
///
/// # Errors
/// ENOMEM. Memory that refuses to be split is never locked.
fn pre_split(ctx: &mut Ctx, (start, end): (u32, u32), keep_source: bool) -> Result<(), i32> {
    let vma = ctx.mm.vma_index(start).map(|i| &ctx.mm.vmas[i]);
    let locked = vma.is_some_and(|v| v.locked != Locked::No);
    if keep_source && locked && !ctx.world.profile.dontunmap_unlocks_all {
        hit!(ctx, UNLOCKS);
        merge::split(ctx, start)?;
        merge::split(ctx, end)?;
    }
    Ok(())
}

/// MREMAP_DONTUNMAP is done with `start..end`.
fn complete(ctx: &mut Ctx, start: u32, end: u32) {
    hit!(ctx, LEAVES_VMA);
    let Some(i) = ctx.mm.vma_index(start) else {
        return;
    };
    let resets = ctx.world.profile.dontunmap_resets_offset;
    if ctx.world.profile.dontunmap_unaccounts && ctx.mm.vmas[i].account {
        hit!(ctx, UNACCOUNTS);
        ctx.mm.vmas[i].account = false;
    }
    let vma = &mut ctx.mm.vmas[i];
    if vma.locked != Locked::No {
        vma.locked = Locked::No;
        if ctx.world.profile.dontunmap_unlocks_all {
            hit!(ctx, UNLOCKS_ALL);
            let vma = &ctx.mm.vmas[i];
            ctx.mm.locked_lost += vma.end - vma.start;
        }
    }
    let vma = &mut ctx.mm.vmas[i];
    if (vma.start, vma.end) == (start, end) {
        vma.anon_vma = None;
        if resets {
            vma.anon_pgoff = start;
            if vma.is_anon() {
                vma.pgoff = start;
            }
        }
        hit!(ctx, UNLINKS);
    }
}

/// Moves page tables, piece by piece: no piece reaches across a block border at either place.
fn move_tables(ctx: &mut Ctx, (start, end): (u32, u32), to: u32) {
    let g = ctx.geometry();
    let (mut from, mut to) = (start, to);
    if realigns(ctx, (start, end), to) {
        hit!(ctx, REALIGNED);
        from = block_pages(block_of(start, g), g).0;
        to = block_pages(block_of(to, g), g).0;
    }
    while from < end {
        let room = |page: u32| block_pages(block_of(page, g), g).1 - page;
        let len = room(from).min(room(to)).min(end - from);
        move_piece(ctx, from, to, len);
        from += len;
        to += len;
    }
}

/// Whether the first block's table moves as a whole though the range starts inside the block.
fn realigns(ctx: &Ctx, (start, end): (u32, u32), to: u32) -> bool {
    let g = ctx.geometry();
    let inside = start % g.pages_per_pmd;
    let starts_alone = |page: u32| {
        let first = block_pages(block_of(page, g), g).0;
        let starts = ctx
            .mm
            .vma_index(page)
            .is_some_and(|i| ctx.mm.vmas[i].start == page);
        starts && !ctx.mm.is_mapped_in(first, page)
    };
    ctx.world.profile.mremap_realigns
        && inside != 0
        && inside == to % g.pages_per_pmd
        && end - start >= g.pages_per_pmd - inside
        && starts_alone(start)
        && starts_alone(to)
}

/// Moves `len` pages of one block to one block.
fn move_piece(ctx: &mut Ctx, from: u32, to: u32, len: u32) {
    let g = ctx.geometry();
    let (block, new_block) = (block_of(from, g), block_of(to, g));
    let events = ctx.world.knobs.uffd_events;
    let registered = |vma: usize| ctx.mm.vmas[vma].uffd != Uffd::default() && !events;
    let slot_by_slot = ctx.mm.tables[block] == Table::Pte
        && ctx.mm.vma_index(to + len - 1).is_some_and(registered);
    let free = ctx.mm.tables[new_block] == Table::None;
    let whole = len == g.pages_per_pmd && free && !slot_by_slot;
    match ctx.mm.tables[block] {
        Table::None => return,
        table if whole => {
            if table == Table::Huge {
                hit!(ctx, HUGE);
            } else {
                hit!(ctx, TABLE);
            }
            ctx.mm.tables[new_block] = table;
            ctx.mm.huge[new_block] = ctx.mm.huge[block];
            ctx.mm.tables[block] = Table::None;
        }
        table => {
            if table == Table::Huge {
                hit!(ctx, SPLITS_HUGE);
                thp::split_pmd(ctx, block);
            }
            if ctx.mm.tables[block] == Table::None {
                return;
            }
            hit!(ctx, TABLE);
            ctx.mm.tables[new_block] = Table::Pte;
        }
    }
    // A page table that moves as a whole keeps its bits; entries that are moved one by one get the bit, and so does a huge one.
    let bits = match ctx.mm.tables[new_block] {
        Table::Pte if whole => ctx.mm.slots.by_soft_dirty(from, from + len),
        _ => Vec::new(),
    };
    let clean = ctx.mm.slots.clean_in(from, from + len);
    let one_by_one = bits.is_empty();
    let new_is_registered = ctx
        .mm
        .vma_index(to)
        .is_some_and(|i| ctx.mm.vmas[i].uffd != Uffd::default());
    let along = new_is_registered && events;
    let keeps = !new_is_registered || along || ctx.world.profile.uffd_wp_survives_mremap;
    let protected = ctx.mm.slots.uffd_wp_in(from, from + len);
    let runs: Vec<Run> = ctx.mm.slots.runs_in(from, from + len).collect();
    ctx.mm.slots.clear(from, from + len);
    for run in runs {
        let at = run.start - from + to;
        let end = at + (run.end - run.start);
        if run.slot == Slot::UffdWp {
            if !keeps {
                hit!(ctx, uffd::protect::MOVED);
                continue;
            }
            survives(ctx, along);
        }
        ctx.mm.slots.set(at, end, run.slot);
        if one_by_one {
            ctx.mm.set_soft_dirty(at, end);
        }
    }
    for (start, end, _) in bits.into_iter().filter(|part| part.2) {
        ctx.mm.set_soft_dirty(start - from + to, end - from + to);
    }
    for (start, end) in clean {
        ctx.mm.slots.set_clean(start - from + to, end - from + to);
    }
    for (start, end) in protected {
        if keeps {
            survives(ctx, along);
            ctx.mm.slots.set_uffd_wp(start - from + to, end - from + to);
        } else {
            hit!(ctx, uffd::protect::MOVED);
        }
    }
}

/// Write protection has moved: along with what it protects, or into memory that is not registered.
fn survives(ctx: &mut Ctx, along: bool) {
    if along {
        hit!(ctx, uffd::protect::MOVED_ALONG);
    } else {
        hit!(ctx, uffd::protect::SURVIVES);
    }
}

/// MREMAP_DONTUNMAP has taken the pages `start..end` out of the arena: every way that the tables may be left.
pub(super) fn pages_elsewhere(mut ctx: Ctx, start: u32, end: u32) -> Vec<Ctx> {
    hit!(ctx, TABLE_ELSEWHERE);
    let g = ctx.geometry();
    let first = block_pages(block_of(start, g), g).0;
    let part_may_realign = realigns_to_itself(&ctx, (start, end));
    // An allocation that fails here is not followed: where the pages are then nobody sees.
    let _ = pre_split(&mut ctx, (start, end), true);
    uffd::events::moves(&mut ctx, start, None, end - start);
    uffd::events::leaves(&mut ctx, end - start);
    complete(&mut ctx, start, end);
    let mut whole = Vec::new();
    for (block, from, to) in crate::space::mm::by_block(start, end, g) {
        let all = (from, to) == block_pages(block, g);
        if ctx.mm.tables[block] == Table::None {
            continue;
        }
        if all {
            whole.push(block);
        } else if ctx.mm.tables[block] == Table::Huge {
            hit!(ctx, SPLITS_HUGE);
        }
        thp::split_pmd(&mut ctx, block);
    }
    ctx.mm.slots.clear(start, end);
    let mut ways = vec![ctx.clone()];
    let mut without = |blocks: &[usize]| {
        let mut way = ctx.clone();
        for block in blocks {
            way.mm.tables[*block] = Table::None;
        }
        if ways.iter().all(|w| w.mm != way.mm) {
            ways.push(way);
        }
    };
    without(&whole);
    if part_may_realign {
        whole.push(block_of(first, g));
        without(&whole);
    }
    ways
}

/// Whether the first block's table would move as a whole to a place like this one.
fn realigns_to_itself(ctx: &Ctx, (start, end): (u32, u32)) -> bool {
    realigns(ctx, (start, end), start)
}
