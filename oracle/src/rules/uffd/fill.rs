//! Pages and markers that are filled in by hand: UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_POISON.

use super::{poison, protect};
use crate::geometry::Range;
use crate::judge::{Class, Moved, Outcome};
use crate::rules::errno::{EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM};
use crate::rules::registry::Rule;
use crate::rules::{anon_vma, droppable, hit, hugetlb, limits, Ctx};
use crate::space::mm::{by_block, Table};
use crate::space::slots::Slot;
use crate::space::{Content, Uffd, Vma};

pub const ONE_VMA: Rule = Rule {
    name: "uffd/fill/one-vma",
    text: "UFFDIO_COPY and UFFDIO_ZEROPAGE fill a range that lies in one registered VMA; otherwise ENOENT.",
    source: "mm/userfaultfd.c validate_dst_vma (before 6.9 find_dst_vma)",
    since: "all",
    about: &[Class::Errno],
};

pub const PREPARES_FIRST: Rule = Rule {
    name: "uffd/fill/anon-vma-first",
    text: "The VMA where the range starts gets an anon_vma if stores to it are not shared: from 6.9 on before it is looked at, so also \
           if it is not registered or too small, and even if it could never have a private page. So does the VMA where UFFDIO_MOVE puts its \
           pages.",
    source: "mm/userfaultfd.c find_vma_and_prepare_anon; 6.9, userfaultfd: use per-vma locks in userfaultfd operations",
    since: "6.9; before: only where the range is filled",
    about: &[Class::Vma],
};

pub const COPIES: Rule = Rule {
    name: "uffd/copy",
    text: "UFFDIO_COPY puts a new page with the caller's contents into each empty slot: anonymous and mapped exclusively in private \
           memory, of a file too; in shared memory a page of the file, which must not be in the page cache yet. Protection does not \
           matter. Page tables are made, guards are not looked behind.",
    source: "mm/userfaultfd.c mfill_atomic_pte_copy, mfill_atomic_install_pte",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency, Class::Errno],
};

pub const ZEROES: Rule = Rule {
    name: "uffd/zeropage",
    text: "UFFDIO_ZEROPAGE maps the shared zero page into each empty slot of private memory, of a file too, and puts pages of zeros into \
           shared memory.",
    source: "mm/userfaultfd.c mfill_atomic_pte_zeropage",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency, Class::Errno],
};

pub const OCCUPIED: Rule = Rule {
    name: "uffd/fill/occupied",
    text: "A slot that is in use stops both calls, and so does a huge page, or a page of shared memory that is in the page cache though \
           not mapped: EEXIST if it is the first, otherwise what was filled before counts. A guard is in use: it stays.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte, mfill_establish_pmd",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const OVERWRITES_GUARDS: Rule = Rule {
    name: "uffd/copy/overwrites-guards",
    text: "Kernels that take any marker for an empty slot let UFFDIO_COPY replace guards by pages, though GUARD_INSTALL has promised \
           that accesses fail until GUARD_REMOVE, and UFFDIO_ZEROPAGE in shared memory. In private memory UFFDIO_ZEROPAGE respects \
           them.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte: pte_none_mostly; a finding, docs/findings.md",
    since: "6.13 to 6.18",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const BEYOND_END: Rule = Rule {
    name: "uffd/fill/beyond-end",
    text: "Behind the end of the file nothing is filled in: EFAULT, in private mappings too, and at a guard as well.",
    source: "mm/userfaultfd.c mfill_file_over_size",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const BEYOND_END_ENOMEM: Rule = Rule {
    name: "uffd/fill/beyond-end-is-enomem",
    text: "A bug of 7.2 and 7.3: behind the end of a file in shared memory both calls fail with ENOMEM, though memory is not short.",
    source: "mm/shmem.c shmem_mfill_folio_alloc returns no folio there, and mm/userfaultfd.c __mfill_atomic_pte takes that for a \
             lack of memory; a finding, docs/findings.md",
    since: "7.2",
    about: &[Class::Errno, Class::PageState],
};

/// What a call puts into empty slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// New pages with this tag.
    Copy {
        tag: u16,
        /// They are write-protected.
        protect: bool,
    },
    Zero,
    Poison,
}

/// UFFDIO_COPY, UFFDIO_ZEROPAGE or UFFDIO_POISON.
pub(super) fn fill(ctx: &mut Ctx, range: Range, with: Filling) -> Outcome {
    let g = ctx.geometry();
    let (first, last) = (range.start.page_index(g), range.end.page_index(g));
    let at = u32::try_from(first).ok();
    let Some(i) = at.and_then(|page| ctx.mm.vma_index(page)) else {
        hit!(ctx, ONE_VMA);
        return Outcome::Errno(ENOENT);
    };
    let (start, end) = (first as u32, last as u32);
    let prepares = |vma: &Vma| !vma.stores_are_shared();
    if ctx.world.profile.uffd_prepares_first && prepares(&ctx.mm.vmas[i]) {
        hit!(ctx, PREPARES_FIRST);
        anon_vma::prepare(ctx, i);
    }
    let vma = &ctx.mm.vmas[i];
    if vma.uffd == Uffd::default() || last > i64::from(vma.end) {
        hit!(ctx, ONE_VMA);
        return Outcome::Errno(ENOENT);
    }
    if let Filling::Copy { protect: true, .. } = with {
        let registered = vma.uffd.wp;
        hit!(ctx, protect::COPY);
        if !registered {
            return Outcome::Errno(EINVAL);
        }
    }
    if ctx.mm.vmas[i].hugetlb {
        return hugetlb(ctx, range, with);
    }
    if prepares(&ctx.mm.vmas[i]) {
        anon_vma::prepare(ctx, i);
    }
    match with {
        Filling::Copy { .. } => hit!(ctx, COPIES),
        Filling::Zero => hit!(ctx, ZEROES),
        Filling::Poison => hit!(ctx, poison::MARKS),
    }
    let (done, errno) = fill_slots(ctx, i, (start, end), with);
    match errno {
        Some(errno) if done == start => Outcome::Errno(errno),
        _ => {
            let bytes = u64::from(done - start) * u64::from(g.page_size);
            Outcome::Moved(Moved::of(range.into(), bytes, Vec::new(), 0, g))
        }
    }
}

/// The same in registered huge TLB memory.
fn hugetlb(ctx: &mut Ctx, range: Range, with: Filling) -> Outcome {
    let g = ctx.geometry();
    let (start, end) = (range.start.page_index(g), range.end.page_index(g));
    let whole = hugetlb::is_border(ctx, start) && hugetlb::is_border(ctx, end);
    if with != Filling::Poison || !whole {
        hit!(ctx, hugetlb::UFFD_FILL);
        return Outcome::Errno(EINVAL);
    }
    hit!(ctx, limits::HUGETLB_MARKERS);
    Outcome::Moved(Moved::of(range.into(), range.byte_len(g), Vec::new(), 0, g))
}

/// Fills slots of VMA `i` up to the first that stops it: where that is, and why.
fn fill_slots(
    ctx: &mut Ctx,
    i: usize,
    (start, end): (u32, u32),
    with: Filling,
) -> (u32, Option<i32>) {
    let mut done = start;
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        if ctx.mm.tables[block] == Table::Huge {
            hit!(ctx, OCCUPIED);
            return (from, Some(EEXIST));
        }
        ctx.mm.tables[block] = Table::Pte;
        done = from;
        while done < to {
            let (mut next, slot) = ctx.mm.slots.stretch(done, to);
            next = next.min(ctx.world.end_in_file(&ctx.mm.vmas[i]).max(done));
            if next == done {
                let shared = ctx.mm.vmas[i].stores_are_shared() && with != Filling::Poison;
                if shared && ctx.world.profile.uffd_beyond_end_is_enomem {
                    hit!(ctx, BEYOND_END_ENOMEM);
                    return (done, Some(ENOMEM));
                }
                hit!(ctx, BEYOND_END);
                return (done, Some(EFAULT));
            }
            let shared = ctx.mm.vmas[i].stores_are_shared();
            let new_page = match with {
                Filling::Copy { .. } => true,
                Filling::Zero => shared,
                Filling::Poison => false,
            };
            let guards = ctx.world.profile.uffd_copies_over_guards && new_page;
            match slot {
                None => {}
                Some(Slot::Guard) if guards => hit!(ctx, OVERWRITES_GUARDS),
                Some(Slot::Poison) if new_page => hit!(ctx, poison::REPLACED),
                Some(Slot::UffdWp) if new_page => hit!(ctx, protect::REPLACED),
                Some(_) => {
                    hit!(ctx, OCCUPIED);
                    return (done, Some(EEXIST));
                }
            }
            if shared && new_page {
                next = uncached(ctx, i, done, next);
                if next == done {
                    hit!(ctx, OCCUPIED);
                    return (done, Some(EEXIST));
                }
            }
            put(ctx, i, (done, next), with);
            done = next;
        }
    }
    (done, None)
}

/// Where the pages from `start` on that the page cache does not have end.
fn uncached(ctx: &Ctx, i: usize, start: u32, end: u32) -> u32 {
    let vma = &ctx.mm.vmas[i];
    let Some(id) = vma.object else {
        return end;
    };
    let mut cached = ctx
        .world
        .object(id)
        .runs_in(vma.index(start), vma.index(end));
    cached.next().map_or(end, |run| vma.page_of(run.start))
}

/// Fills slots that nothing stands in the way of.
fn put(ctx: &mut Ctx, i: usize, (start, end): (u32, u32), with: Filling) {
    let vma = &ctx.mm.vmas[i];
    let content = match with {
        Filling::Copy { tag, .. } => Content::written(tag, start),
        Filling::Zero | Filling::Poison => Content::ZERO,
    };
    match (vma.object.filter(|_| vma.stores_are_shared()), with) {
        (_, Filling::Poison) => ctx.mm.slots.set(start, end, Slot::Poison),
        (Some(id), _) => {
            let (first, last) = (vma.index(start), vma.index(end));
            let object = ctx.world.object_mut(id);
            object.store(first, last, content);
            object.mark_dirty(first, last);
            ctx.mm.slots.set(start, end, Slot::File);
            ctx.mm.set_soft_dirty(start, end);
        }
        (None, Filling::Zero) => ctx.mm.slots.set(start, end, Slot::Zero),
        (None, Filling::Copy { .. }) => {
            let id = ctx.world.new_pages(end - start);
            droppable::made(ctx, i, id, end - start);
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            ctx.mm.set_soft_dirty(start, end);
        }
    }
    if let Filling::Copy { protect: true, .. } = with {
        ctx.mm.slots.set_uffd_wp(start, end);
    }
}
