//! UFFDIO_MOVE: anonymous pages are taken out of one place and put into empty slots of another, without a copy. It works on page tables
//! alone: no VMA moves, splits or merges.

use super::{fill, protect};
use crate::geometry::{Pos, Range};
use crate::judge::{Class, Moved, Outcome};
use crate::rules::errno::{EBUSY, EEXIST, EFAULT, EINVAL, ENOENT};
use crate::rules::registry::Rule;
use crate::rules::{anon_vma, folio, hit, limits, thp, Ctx};
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::slots::{PageId, Run, Slot};
use crate::space::{Locked, Uffd};

pub const UNKNOWN: Rule = Rule {
    name: "uffd/move/unknown",
    text: "Kernels before 6.8 do not know UFFDIO_MOVE: EINVAL.",
    source: "6.8, userfaultfd: UFFDIO_MOVE uABI",
    since: "before 6.8; see the row uffd_move",
    about: &[Class::Errno],
};

pub const MOVES: Rule = Rule {
    name: "uffd/move",
    text: "UFFDIO_MOVE takes each page of the range out of its slot and puts it into an empty slot of registered memory, with its \
           contents: there it can be stored to at once and has the soft-dirty bit. The zero page moves as the zero page, without the \
           bit. What is left is an empty slot, where a page may be missing again. VMAs stay as they are. A call that \
           comes to a page that it cannot move counts what it has moved before.",
    source: "mm/userfaultfd.c move_pages, move_present_ptes (before 6.18 move_present_pte), move_zeropage_pte; \
             ioctl_userfaultfd(2), UFFDIO_MOVE",
    since: "6.8",
    about: &[Class::PageState, Class::Value, Class::Residency, Class::Errno],
};

pub const AREAS: Rule = Rule {
    name: "uffd/move/areas",
    text: "Both places start in a VMA (ENOENT) and lie in it as a whole, both are private anonymous memory, protected alike \
           (with one protection key) and writable, locked both or neither (with MLOCK_ONFAULT or without), and the new place is \
           registered, no matter for what; else EINVAL. The old place need not be registered. Seals do not matter.",
    source: "mm/userfaultfd.c move_pages, validate_move_areas: vm_page_prot has the key",
    since: "6.8",
    about: &[Class::Errno],
};

pub const OCCUPIED: Rule = Rule {
    name: "uffd/move/occupied",
    text: "A slot at the new place that is in use ends it with EEXIST, before the old place is looked at: a page, a guard, \
           poison, a huge page. What is there stays.",
    source: "mm/userfaultfd.c move_pages_ptes: pte_none of the destination; move_pages: pmd_trans_huge",
    since: "6.8",
    about: &[Class::Errno, Class::PageState],
};

pub const HOLES: Rule = Rule {
    name: "uffd/move/holes",
    text: "An empty slot at the old place ends it with ENOENT; with UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES it counts as moved, and what is \
           at the new place stays empty. Both blocks get page tables, the old place only with that flag.",
    source: "mm/userfaultfd.c move_pages, move_pages_ptes; ioctl_userfaultfd(2), UFFDIO_MOVE",
    since: "6.8",
    about: &[Class::Errno, Class::PageState],
};

pub const MARKERS: Rule = Rule {
    name: "uffd/move/markers",
    text: "A guard or poison at the old place ends it with EFAULT: it stays, and nothing comes to the new place.",
    source: "mm/userfaultfd.c move_pages_ptes: what is neither present nor swapped out nor migrating",
    since: "6.8",
    about: &[Class::Errno, Class::PageState],
};

pub const NOT_EXCLUSIVE: Rule = Rule {
    name: "uffd/move/not-exclusive",
    text: "A page that a fork has shared is EBUSY until somebody stores to it, even if the other process is gone by then.",
    source: "mm/userfaultfd.c move_pages, move_pages_ptes: PageAnonExclusive; mm/huge_memory.c move_pages_huge_pmd",
    since: "6.8",
    about: &[Class::Errno, Class::PageState],
};

pub const HUGE: Rule = Rule {
    name: "uffd/move/huge",
    text: "A huge page, the huge zero page too, moves as one where the rest of the range holds all of it, the new place is aligned \
           and has no page table. It is dirty then: lazily freed no more. Nothing is left in the old PMD entry.",
    source: "mm/userfaultfd.c move_splits_huge_pmd; mm/huge_memory.c move_pages_huge_pmd",
    since: "6.8",
    about: &[Class::PageState, Class::Value],
};

pub const HUGE_ZERO_BIT: Rule = Rule {
    name: "uffd/move/huge-zero-is-soft-dirty",
    text: "The huge zero page has the soft-dirty bit at its new place as other pages have, though small zero pages do not.",
    source: "mm/huge_memory.c move_pages_huge_pmd: move_soft_dirty_pmd; 6.12.117 makes the entry without",
    since: "6.19; see the row uffd_moved_huge_zero_is_soft_dirty; not on arm64",
    about: &[Class::PageState],
};

pub const SPLITS_HUGE: Rule = Rule {
    name: "uffd/move/splits-huge",
    text: "Elsewhere its mapping is split, whether the new place is empty or not, and, where a page of it can move, the huge page \
           itself: that is when pages of zeros give way to the zero page.",
    source: "mm/userfaultfd.c move_pages: split_huge_pmd; move_pages_ptes: split_folio",
    since: "6.8",
    about: &[Class::PageState],
};

pub const UNPROTECTS: Rule = Rule {
    name: "uffd/move/unprotects",
    text: "Write protection by userfaultfd does not move along: a protected page moves all the same and is not protected at its new \
           place.",
    source: "mm/userfaultfd.c move_present_ptes: the entry is made anew; mm/huge_memory.c move_pages_huge_pmd",
    since: "6.8",
    about: &[Class::PageState, Class::Signal],
};

pub const LEAVES_DROPPABLE: Rule = Rule {
    name: "uffd/move/leaves-droppable",
    text: "A page that leaves droppable memory is still not backed by swap. It may be taken at its new place as a lazily freed one, if it \
           was freed before and not stored to since: the model does not tell these from others in droppable memory, and \
           permits both.",
    source: "mm/rmap.c try_to_unmap_one: VM_DROPPABLE is asked of the VMA",
    since: "6.11",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

/// Two places of as many pages.
#[derive(Clone, Copy)]
struct Places {
    from: u32,
    to: u32,
    pages: u32,
}

/// UFFDIO_MOVE of `range` to `to`, which is page aligned.
pub(super) fn move_pages(ctx: &mut Ctx, range: Range, to: Pos, holes: bool) -> Outcome {
    let g = ctx.geometry();
    let first = range.start.page_index(g);
    let pages = range.end.page_index(g) - first;
    hit!(ctx, AREAS);
    let vma_at = |ctx: &Ctx, page: i64| {
        let page = u32::try_from(page).ok()?;
        Some((ctx.mm.vma_index(page)?, page))
    };
    let Some((new, to)) = vma_at(ctx, to.page_index(g)) else {
        return Outcome::Errno(ENOENT);
    };
    let prepares = !ctx.mm.vmas[new].stores_are_shared();
    if ctx.world.profile.uffd_prepares_first && prepares {
        hit!(ctx, fill::PREPARES_FIRST);
        anon_vma::prepare(ctx, new);
    }
    let Some((old, from)) = vma_at(ctx, first) else {
        return Outcome::Errno(ENOENT);
    };
    let reach = |start: u32| i64::from(start) + pages;
    let (source, target) = (&ctx.mm.vmas[old], &ctx.mm.vmas[new]);
    let fit = reach(from) <= source.end.into() && reach(to) <= target.end.into();
    let alike = source.prot == target.prot
        && source.key == target.key
        && (source.locked == Locked::No) == (target.locked == Locked::No);
    let anon = source.is_anon() && target.is_anon();
    let registered = target.uffd != Uffd::default();
    if !(fit && alike && source.prot.write && anon && registered) {
        return Outcome::Errno(EINVAL);
    }
    anon_vma::prepare(ctx, new);
    let places = Places {
        from,
        to,
        pages: pages as u32,
    };
    hit!(ctx, MOVES);
    let mut done = 0;
    while done < places.pages {
        match step(ctx, (old, new), places, done, holes) {
            Ok(pages) => done += pages,
            Err(errno) if done == 0 => return Outcome::Errno(errno),
            Err(_) => break,
        }
    }
    let bytes = u64::from(done) * u64::from(g.page_size);
    Outcome::Moved(Moved::of(range.into(), bytes, Vec::new(), 0, g))
}

/// The next pages that are alike, `done` pages into the places: how many, 0 where something was prepared first.
fn step(
    ctx: &mut Ctx,
    vmas: (usize, usize),
    places: Places,
    done: u32,
    holes: bool,
) -> Result<u32, i32> {
    let g = ctx.geometry();
    let (from, to) = (places.from + done, places.to + done);
    let left = places.pages - done;
    let (old_block, new_block) = (block_of(from, g), block_of(to, g));
    if ctx.mm.tables[new_block] == Table::Huge {
        hit!(ctx, OCCUPIED);
        return Err(EEXIST);
    }
    if ctx.mm.tables[old_block] == Table::Huge {
        let (start, end) = block_pages(old_block, g);
        if let Some(Slot::Anon { id, .. }) = ctx.mm.slots.get(start) {
            if !ctx.world.folios.exclusive_stretch(id.0, id.0 + 1).1 {
                hit!(ctx, NOT_EXCLUSIVE);
                return Err(EBUSY);
            }
        }
        let aligned = from == start && to == block_pages(new_block, g).0;
        if aligned && left >= end - start && ctx.mm.tables[new_block] == Table::None {
            move_huge(ctx, vmas.1, old_block, new_block);
            return Ok(end - start);
        }
        hit!(ctx, SPLITS_HUGE);
        thp::split_pmd(ctx, old_block);
    }
    if ctx.mm.tables[old_block] == Table::None {
        hit!(ctx, HOLES);
        if !holes {
            return Err(ENOENT);
        }
        ctx.mm.tables[old_block] = Table::Pte;
    }
    ctx.mm.tables[new_block] = Table::Pte;
    let end_of = |at: u32, block| (at + left).min(block_pages(block, g).1);
    let (to_end, in_the_way) = ctx.mm.slots.stretch(to, end_of(to, new_block));
    if in_the_way.is_some() {
        hit!(ctx, OCCUPIED);
        return Err(EEXIST);
    }
    let (from_end, slot) = ctx.mm.slots.stretch(from, end_of(from, old_block));
    let pages = (to_end - to).min(from_end - from);
    match slot {
        None => {
            hit!(ctx, HOLES);
            if holes {
                Ok(pages)
            } else {
                Err(ENOENT)
            }
        }
        Some(Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::File) => {
            hit!(ctx, MARKERS);
            Err(EFAULT)
        }
        Some(Slot::Swap { .. }) => {
            hit!(ctx, limits::MOVES_SWAPPED);
            Err(EBUSY)
        }
        Some(Slot::Zero) => {
            unprotects(ctx, from, pages);
            ctx.mm.slots.clear(from, from + pages);
            ctx.mm.slots.set(to, to + pages, Slot::Zero);
            Ok(pages)
        }
        Some(slot @ Slot::Anon { id, .. }) => {
            let last = id.0 + u64::from(pages);
            let (end, exclusive) = ctx.world.folios.exclusive_stretch(id.0, last);
            if !exclusive {
                if ctx.world.swap.cached.meets(id.0, end) {
                    hit!(ctx, limits::MOVES_SWAPPED);
                }
                hit!(ctx, NOT_EXCLUSIVE);
                return Err(EBUSY);
            }
            if let Some(large) = ctx.world.folios.of(id) {
                hit!(ctx, SPLITS_HUGE);
                folio::split(ctx, large);
                return Ok(0);
            }
            // As far as the next large folio.
            let ids = (id.0..end).take_while(|id| ctx.world.folios.of(PageId(*id)).is_none());
            let pages = ids.count() as u32;
            move_small(ctx, vmas, (from, to), slot, pages);
            Ok(pages)
        }
    }
}

/// Pages that are mapped one by one and belong to no large folio.
fn move_small(ctx: &mut Ctx, vmas: (usize, usize), (from, to): (u32, u32), slot: Slot, pages: u32) {
    unprotects(ctx, from, pages);
    let clean = ctx.mm.slots.clean_in(from, from + pages);
    ctx.mm.slots.clear(from, from + pages);
    ctx.mm.slots.set(to, to + pages, slot);
    ctx.mm.set_soft_dirty(to, to + pages);
    for (start, end) in clean {
        ctx.mm.slots.set_clean(start - from + to, end - from + to);
    }
    if let Slot::Anon { id, .. } = slot {
        leaves_droppable(ctx, vmas, id, pages);
    }
}

/// A huge page as one, to VMA `i`.
fn move_huge(ctx: &mut Ctx, i: usize, old: usize, new: usize) {
    hit!(ctx, HUGE);
    let g = ctx.geometry();
    let ((from, from_end), (to, _)) = (block_pages(old, g), block_pages(new, g));
    let pages = from_end - from;
    unprotects(ctx, from, pages);
    let runs: Vec<Run> = ctx.mm.slots.runs_in(from, from_end).collect();
    let first = ctx.mm.slots.get(from);
    ctx.mm.slots.clear(from, from_end);
    for run in runs {
        let at = run.start - from + to;
        ctx.mm.slots.set(at, at + (run.end - run.start), run.slot);
    }
    ctx.mm.tables[old] = Table::None;
    ctx.mm.tables[new] = Table::Huge;
    match first {
        Some(Slot::Anon { id, .. }) => {
            thp::stored(ctx, i, new, id);
            ctx.mm.set_soft_dirty(to, to + pages);
        }
        _ if ctx.world.profile.uffd_moved_huge_zero_is_soft_dirty => {
            hit!(ctx, HUGE_ZERO_BIT);
            ctx.mm.set_soft_dirty(to, to + pages);
        }
        _ => {}
    }
}

/// What is about to move may be write-protected.
fn unprotects(ctx: &mut Ctx, from: u32, pages: u32) {
    if !ctx.mm.slots.uffd_wp_in(from, from + pages).is_empty() {
        hit!(ctx, UNPROTECTS);
        hit!(ctx, protect::SHOWN);
    }
}

/// Pages that were lazily freed stay so, but for those that the model only takes for lazily freed since they were droppable.
fn leaves_droppable(ctx: &mut Ctx, (old, new): (usize, usize), id: PageId, pages: u32) {
    if !ctx.mm.vmas[old].droppable || ctx.mm.vmas[new].droppable {
        return;
    }
    hit!(ctx, LEAVES_DROPPABLE);
    if !ctx.otherwise() {
        ctx.mm.stored(id, pages);
    }
}
