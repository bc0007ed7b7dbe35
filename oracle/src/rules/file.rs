//! Faults on files: memfds, files on ramfs, and the shared-memory file behind each shared anonymous mapping. The pages
//! belong to the file; a slot only says whether this address space maps one, until a store through a private mapping
//! puts a copy there.

use super::access::New;
use super::registry::Rule;
use super::{anon_vma, hit, secret, uffd, Ctx};
use crate::judge::Class;
use crate::program::{FileKind, FileMap};
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::object::{CacheRun, Object, ObjectId};
use crate::space::slots::Slot;
use crate::space::HugeAdvice;

pub const FAULT: Rule = Rule {
    name: "file/fault",
    text: "A fault maps the file's page, which a read as well as a write puts into the page cache, zero if nobody wrote it. From \
           then on mincore calls it resident in every mapping of the file.",
    source: "mm/shmem.c shmem_fault, mm/filemap.c filemap_fault, mm/memory.c do_read_fault, do_shared_fault",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const STORE: Rule = Rule {
    name: "file/store",
    text: "A store to a shared mapping is seen by every address space that maps the file, and in every mapping of it, private ones \
           included where they have no copy yet.",
    source: "mm/memory.c do_shared_fault, wp_page_shared; mmap(2), MAP_SHARED",
    since: "all",
    about: &[Class::Value],
};

pub const FAULT_AROUND: Rule = Rule {
    name: "file/fault-around",
    text: "A read fault also maps those pages of the aligned 64 KiB around it that are in the page cache, within the VMA and the \
           page table, into empty slots only: never over a guard, never over a private copy. The window starts no earlier than \
           the VMA and is then moved, not shortened. It comes first: a read behind the end of the file does it too.",
    source: "mm/memory.c do_read_fault, do_fault_around, mm/filemap.c filemap_map_pages",
    since: "all",
    about: &[Class::PageState],
};

pub const LAST_PAGE: Rule = Rule {
    name: "file/fault-around/last-page",
    text: "Where the first page that fault-around finds in the page cache is the last of the file, it does not put a page table in that \
           is missing, and so maps nothing; the fault itself maps its own page. Shared memory apart. A fault that has read its own page \
           in looks around again and finds that one first: this shows behind the end of the file, and through /proc/PID/mem, which \
           takes no fault again.",
    source: "6.18, mm/memory: do not populate page table entries beyond i_size: mm/filemap.c filemap_map_pages",
    since: "6.18, and late 6.12.y and 6.17.y",
    about: &[Class::PageState],
};

pub const TAKEN_AGAIN: Rule = Rule {
    name: "file/fault-taken-again",
    text: "A fault that reads a page from the file system lets go of the lock for it and is taken again, and so looks around a second \
           time. Not one for /proc/PID/mem, which maps its own page then, and not one on shared memory, which reads nothing.",
    source: "mm/filemap.c filemap_fault, maybe_unlock_mmap_for_io: VM_FAULT_RETRY; mm/memory.c __access_remote_vm: no FAULT_FLAG_ALLOW_RETRY",
    since: "all",
    about: &[Class::PageState],
};

pub const BEYOND_END: Rule = Rule {
    name: "file/beyond-end",
    text: "An access that the VMA permits to a page behind the end of the file raises SIGBUS with BUS_ADRERR; the slot stays \
           empty. A guard there is a guard: SIGSEGV with SEGV_MAPERR. A call that populates gets EFAULT.",
    source: "mm/filemap.c filemap_fault, mm/shmem.c shmem_get_folio_gfp: index against i_size; mmap(2), SIGBUS",
    since: "all",
    about: &[Class::Signal, Class::PageState, Class::Errno],
};

pub const COPY: Rule = Rule {
    name: "file/private-copy",
    text: "A store through a private mapping puts an anonymous page into the slot, with what the file's page held but for what is \
           stored. The file does not change, and what is stored to it later is not seen here. The file's page is in the \
           cache from then on.",
    source: "mm/memory.c do_cow_fault, wp_page_copy; mmap(2), MAP_PRIVATE",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const COPY_ANON_VMA: Rule = Rule {
    name: "file/private-copy/anon-vma",
    text: "A private mapping of a file gets its anon_vma before the page is looked for, so also by a store that then ends in \
           SIGBUS. Loads give it none.",
    source: "mm/memory.c do_cow_fault, vmf_anon_prepare",
    since: "all",
    about: &[Class::Vma],
};

pub const HUGE_READAHEAD: Rule = Rule {
    name: "file/huge-readahead",
    text: "A fault that misses the page cache of a file on ramfs, through a mapping with `hg`, reads in all of the file's huge-page \
           sized block up to its end, though the file system reads nothing ahead. Shared memory does not, and newer kernels do \
           so only where the file system has large folios, which ramfs has not.",
    source: "mm/filemap.c do_sync_mmap_readahead: VM_HUGEPAGE; 5.18, mm/filemap: Support VM_HUGEPAGE for file mappings",
    since: "5.18 to 7.1",
    about: &[Class::Residency, Class::PageState],
};

/// Bytes that fault-around looks at (debugfs fault_around_bytes, by default).
const FAULT_AROUND_BYTES: u32 = 65536;

/// A read fault at `page`, whose slot is empty, in the file VMA `i`, of reads up to `end` (in one block); `again` says that the fault may
/// be taken again. Whether the page is mapped now; else it lies behind the end of the file, or is missing.
pub(crate) fn read_fault(ctx: &mut Ctx, i: usize, page: u32, end: u32, again: bool) -> bool {
    let mapped = read_one(ctx, i, page, again);
    if mapped {
        read_uncached(ctx, i, page + 1, end);
    }
    mapped
}

/// Read faults go on from `start`, the page behind the last one, through empty slots whose pages are not in the cache: what is around each
/// of them came with the pages before it, but for what is around the last.
fn read_uncached(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    let vma = &ctx.mm.vmas[i];
    let reads_ahead = vma.advice == HugeAdvice::Huge && ctx.world.profile.huge_readahead;
    if reads_ahead || vma.uffd.missing || start >= end {
        return;
    }
    let end = within(ctx, i, start, end);
    let cached = cached(ctx, i, start, end).first().map(|run| run.start);
    let end = cached.map_or(end, |index| ctx.mm.vmas[i].page_of(index));
    let (end, slot) = ctx.mm.slots.stretch(start, end);
    if start < end && slot.is_none() {
        map(ctx, i, start, end);
        fault_around(ctx, i, end - 1);
    }
}

fn read_one(ctx: &mut Ctx, i: usize, page: u32, again: bool) -> bool {
    fault_around(ctx, i, page);
    if ctx.mm.slots.get(page).is_some() {
        hit!(ctx, FAULT);
        return true;
    }
    if within(ctx, i, page, page + 1) == page {
        hit!(ctx, BEYOND_END);
        return false;
    }
    if uffd::missing::present(ctx, i, page, page + 1) == page {
        return false;
    }
    if cache(ctx, i, page, page + 1) && again {
        hit!(ctx, TAKEN_AGAIN);
        fault_around(ctx, i, page);
    }
    map(ctx, i, page, page + 1);
    true
}

/// The end of the part of `[start, end)` that lies within the file.
pub(crate) fn within(ctx: &Ctx, i: usize, start: u32, end: u32) -> u32 {
    ctx.world.end_in_file(&ctx.mm.vmas[i]).clamp(start, end)
}

/// Faults on `[start, end)`, whose slots are empty, lie in one block and within the file, that map each page alone.
pub(crate) fn map(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    cache(ctx, i, start, end);
    set(ctx, start, end, Slot::File);
}

/// Faults on `[start, end)`, counted as pages of VMA `i` although they may lie behind its end, in another place: what is left of
/// them is in the page cache.
pub(crate) fn read(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    let Some(id) = ctx.mm.vmas[i].object else {
        return;
    };
    let pages = ctx.world.object(id).pages;
    for page in start..end {
        if ctx.mm.vmas[i].index(page) < pages {
            cache(ctx, i, page, page + 1);
        }
    }
}

/// Faults on all of a mapping of `pages` pages that lies where nobody looks: what is left of them is in the page cache.
pub(crate) fn brought_in(ctx: &mut Ctx, map: FileMap, pages: u32) {
    hit!(ctx, FAULT);
    let object = ctx.world.object_mut(ObjectId::of(map.file));
    let first = u32::from(map.page);
    let last = first.saturating_add(pages).min(object.pages);
    if first < last {
        object.fill(first, last);
    }
}

/// A store to `[start, end)` of a private mapping, whose slots are empty or map the file: copies of the file's contents with
/// what is `new`. Returns where the file ends, if it does before `end` (slots that map the file lie within it).
pub(crate) fn copy(ctx: &mut Ctx, i: usize, start: u32, end: u32, new: New) -> u32 {
    hit!(ctx, COPY_ANON_VMA);
    anon_vma::prepare(ctx, i);
    let end = within(ctx, i, start, end);
    if end == start {
        hit!(ctx, BEYOND_END);
        return end;
    }
    let end = uffd::missing::present(ctx, i, start, end);
    if end == start {
        return end;
    }
    hit!(ctx, COPY);
    cache(ctx, i, start, end);
    for run in cached(ctx, i, start, end) {
        let vma = &ctx.mm.vmas[i];
        let (from, to) = (vma.page_of(run.start), vma.page_of(run.end - 1) + 1);
        let content = new.over(from - start, run.content);
        let id = ctx.world.new_pages(to - from);
        set(ctx, from, to, Slot::Anon { id, content });
    }
    end
}

/// What the page cache has of `[start, end)`.
pub(crate) fn cached(ctx: &Ctx, i: usize, start: u32, end: u32) -> Vec<CacheRun> {
    let vma = &ctx.mm.vmas[i];
    vma.object.map_or_else(Vec::new, |id| {
        let object = ctx.world.object(id);
        object.runs_in(vma.index(start), vma.index(end)).collect()
    })
}

/// What the page cache has of `[start, end)` in memory.
fn resident(ctx: &Ctx, i: usize, start: u32, end: u32) -> Vec<CacheRun> {
    let vma = &ctx.mm.vmas[i];
    vma.object.map_or_else(Vec::new, |id| {
        let object = ctx.world.object(id);
        object.resident_in(vma.index(start), vma.index(end))
    })
}

/// Puts the file's pages into the page cache. Whether the file system was read for it.
fn cache(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> bool {
    hit!(ctx, FAULT);
    let vma = &ctx.mm.vmas[i];
    let (first, last) = (vma.index(start), vma.index(end));
    let huge = vma.advice == HugeAdvice::Huge && ctx.world.profile.huge_readahead;
    let Some(id) = vma.object else {
        return false;
    };
    let per = ctx.geometry().pages_per_pmd;
    let object = ctx.world.object_mut(id);
    let missing = (first..last).find(|&index| object.get(index).is_none());
    object.fill(first, last);
    let Some(index) = missing.filter(|_| object.kind == FileKind::Ramfs) else {
        return false;
    };
    if huge {
        let from = index - index % per;
        object.fill(from, (from + per).min(object.pages));
        hit!(ctx, HUGE_READAHEAD);
    }
    true
}

fn set(ctx: &mut Ctx, start: u32, end: u32, slot: Slot) {
    ctx.mm.slots.set(start, end, slot);
    let block = block_of(start, ctx.geometry());
    if ctx.mm.tables[block] == Table::None {
        ctx.mm.tables[block] = Table::Pte;
    }
}

/// Maps what is in the page cache around a read fault.
fn fault_around(ctx: &mut Ctx, i: usize, page: u32) {
    if secret::is(ctx, &ctx.mm.vmas[i]) {
        hit!(ctx, secret::ALONE);
        return;
    }
    if ctx.mm.vmas[i].uffd.wp {
        hit!(ctx, uffd::protect::ALONE);
        return;
    }
    let g = ctx.geometry();
    let window = FAULT_AROUND_BYTES / g.page_size;
    if window <= 1 {
        return;
    }
    let vma = &ctx.mm.vmas[i];
    let (block_start, block_end) = block_pages(block_of(page, g), g);
    let aligned = page - page % window;
    let from = aligned.max(vma.start).max(block_start);
    let to = (from + window).min(block_end).min(vma.end);
    let resident = resident(ctx, i, from, to);
    if resident
        .first()
        .is_some_and(|run| is_left_out(ctx, i, page, run.start))
    {
        hit!(ctx, LAST_PAGE);
        return;
    }
    let vma = &ctx.mm.vmas[i];
    let mut found = Vec::new();
    for run in resident {
        let (mut at, last) = (vma.page_of(run.start), vma.page_of(run.end - 1) + 1);
        while at < last {
            let (next, slot) = ctx.mm.slots.stretch(at, last);
            if slot.is_none() {
                found.push((at, next));
            }
            at = next;
        }
    }
    for (from, to) in found {
        hit!(ctx, FAULT_AROUND);
        set(ctx, from, to, Slot::File);
    }
}

/// Whether fault-around gives up at the first page that it has found, `index` of the file.
fn is_left_out(ctx: &Ctx, i: usize, page: u32, index: u32) -> bool {
    let object = ctx.mm.vmas[i].object.map(|id| ctx.world.object(id));
    let is_last = |object: &Object| object.kind == FileKind::Ramfs && index + 1 == object.pages;
    let table = ctx.mm.tables[block_of(page, ctx.geometry())];
    ctx.world.profile.last_page_needs_table && table == Table::None && object.is_some_and(is_last)
}
