//! What takes pages away from a file for everybody: ftruncate, fallocate's holes, madvise REMOVE. Guards are no pages of the
//! file and stay.

use super::errno::{EACCES, EINVAL, EOPNOTSUPP, EPERM};
use super::registry::Rule;
use super::uffd::protect;
use super::{hit, secret, Ctx};
use crate::judge::{Class, Outcome};
use crate::program::{File, FileKind};
use crate::space::mm::Mm;
use crate::space::object::ObjectId;
use crate::space::slots::Slot;
use std::sync::Arc;

pub const SHRINK: Rule = Rule {
    name: "file/truncate/shrinks",
    text: "Behind its new end the file's pages are gone: unmapped in every address space, out of the page cache, their contents \
           lost. Private copies of them go as well.",
    source: "mm/shmem.c shmem_setattr, mm/truncate.c truncate_pagecache: unmap_mapping_range with even_cows",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Errno],
};

pub const GROW: Rule = Rule {
    name: "file/truncate/grows",
    text: "A file that grows has zeros behind its old end, of which nothing is in the page cache. No page table changes; where an \
           access raised SIGBUS it finds a page now.",
    source: "mm/shmem.c shmem_setattr, mm/truncate.c truncate_setsize; ftruncate(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const HOLE: Rule = Rule {
    name: "file/hole/drops-pages",
    text: "A hole in a file reads as zeros: its pages are unmapped in every address space and out of the page cache. Private copies \
           stay, and so does the length of the file. An empty hole is EINVAL, one behind the end nothing.",
    source: "mm/shmem.c shmem_fallocate: unmap_mapping_range without even_cows; fs/open.c vfs_fallocate; fallocate(2)",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Errno],
};

pub const NO_HOLES: Rule = Rule {
    name: "file/hole/not-on-ramfs",
    text: "A file system that cannot punch holes says EOPNOTSUPP: ramfs cannot, nor can secret memory.",
    source: "fs/open.c vfs_fallocate, fs/ramfs/file-mmu.c; fallocate(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const KEEPS_GUARDS: Rule = Rule {
    name: "file/hole/keeps-guards",
    text: "Guards stay where a file loses its pages, to a hole or to a new end; remove them and the file as it is now is found \
           there.",
    source: "mm/memory.c zap_nonpresent_ptes: markers go only with ZAP_FLAG_DROP_MARKER; selftests/mm/guard-regions.c hole_punch, truncation",
    since: "6.15",
    about: &[Class::PageState],
};

pub const REMOVE: Rule = Rule {
    name: "madvise/remove/punches",
    text: "REMOVE punches a hole into the file that is mapped there, shared anonymous memory too, for everybody who maps it. EINVAL \
           for private anonymous memory, EACCES for mappings that are private or may never be written; then what punching says.",
    source: "mm/madvise.c madvise_remove; madvise(2), MADV_REMOVE",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Errno],
};

/// ftruncate(2).
pub(crate) fn truncate(ctx: &mut Ctx, file: File, pages: u32) -> Outcome {
    if let Some(errno) = secret::missing(ctx, file) {
        return Outcome::Errno(errno);
    }
    if file.kind() == FileKind::Secret {
        hit!(ctx, secret::LENGTH_STAYS);
        return Outcome::Errno(EINVAL);
    }
    let id = ObjectId::of(file);
    let object = ctx.world.object(id);
    let (old, seals) = (object.pages, object.seals);
    if pages < old && seals.shrink || pages > old && seals.grow {
        hit!(ctx, super::seal::KEEPS_LENGTH);
        return Outcome::Errno(EPERM);
    }
    if pages < old {
        hit!(ctx, SHRINK);
        unmap_everywhere(ctx, id, pages, old, true);
        ctx.world.object_mut(id).drop_pages(pages, old);
    } else {
        hit!(ctx, GROW);
    }
    ctx.world.object_mut(id).pages = pages;
    Outcome::Ok
}

/// fallocate(2) with FALLOC_FL_PUNCH_HOLE.
pub(crate) fn punch_hole(ctx: &mut Ctx, file: File, from: u32, to: u32) -> Outcome {
    if let Some(errno) = secret::missing(ctx, file) {
        return Outcome::Errno(errno);
    }
    if from == to {
        hit!(ctx, HOLE);
        return Outcome::Errno(EINVAL);
    }
    match punch(ctx, ObjectId::of(file), from, to) {
        Ok(()) => Outcome::Ok,
        Err(errno) => Outcome::Errno(errno),
    }
}

/// REMOVE on the part `[start, end)` of VMA `i`. Returns where the walk over VMAs goes on.
pub(crate) fn remove(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> Result<u32, i32> {
    hit!(ctx, REMOVE);
    let vma = &ctx.mm.vmas[i];
    let Some(id) = vma.object else {
        return Err(EINVAL);
    };
    if !vma.stores_are_shared() || !vma.may_write {
        return Err(EACCES);
    }
    let (from, to) = (vma.index(start), vma.index(end));
    super::uffd::events::removes(ctx, i, start, end);
    punch(ctx, id, from, to)?;
    Ok(end)
}

fn punch(ctx: &mut Ctx, id: ObjectId, from: u32, to: u32) -> Result<(), i32> {
    let object = ctx.world.object(id);
    if object.kind != FileKind::Memfd {
        hit!(ctx, NO_HOLES);
        return Err(EOPNOTSUPP);
    }
    if object.seals.forbid_writes() {
        hit!(ctx, super::seal::KEEPS_CONTENTS);
        return Err(EPERM);
    }
    hit!(ctx, HOLE);
    unmap_everywhere(ctx, id, from, to, false);
    ctx.world.object_mut(id).drop_pages(from, to);
    Ok(())
}

/// Unmaps the file's pages `[from, to)` in every address space, with `copies` private copies too.
fn unmap_everywhere(ctx: &mut Ctx, id: ObjectId, from: u32, to: u32, copies: bool) {
    let mut guards = unmap(&mut ctx.mm, id, from, to, copies);
    for mm in ctx.world.actors.iter_mut().flatten() {
        if mm.vmas.iter().any(|vma| vma.object == Some(id)) {
            guards |= unmap(Arc::make_mut(mm), id, from, to, copies);
        }
    }
    if guards {
        hit!(ctx, KEEPS_GUARDS);
    }
}

/// The same in one address space. Whether a guard was met.
fn unmap(mm: &mut Mm, id: ObjectId, from: u32, to: u32, copies: bool) -> bool {
    let mut guards = false;
    let mut unmapped = Vec::new();
    for vma in mm.vmas.iter().filter(|vma| vma.object == Some(id)) {
        let first = from.max(vma.pgoff);
        let last = to.min(vma.index(vma.end));
        if first >= last {
            continue;
        }
        let (start, end) = (vma.page_of(first), vma.page_of(last - 1) + 1);
        unmapped.push((start, end));
    }
    for (start, end) in unmapped {
        guards |= mm.slots.has_guard_in(start, end);
        let marked = protect::markers_left(mm, start, end);
        let goes = |slot| match slot {
            // The zero page is nobody's copy.
            Slot::File | Slot::Zero => true,
            Slot::Guard | Slot::UffdWp => false,
            Slot::Anon { .. } | Slot::Swap { .. } | Slot::Poison => copies,
        };
        mm.slots.clear_those(start, end, goes);
        for (from, to) in marked {
            let mut at = from;
            while at < to {
                let (next, slot) = mm.slots.stretch(at, to);
                if slot.is_none() {
                    mm.slots.set(at, next, Slot::UffdWp);
                }
                at = next;
            }
        }
    }
    guards
}
