//! Faults on shared anonymous memory. Its pages belong to an object; a slot only says whether this address space maps
//! one.

use super::registry::Rule;
use super::{hit, Ctx};
use crate::judge::Class;
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::slots::Slot;

pub const FAULT: Rule = Rule {
    name: "shmem/fault",
    text: "A fault on shared memory maps the object's page, which a read as well as a write puts into the page cache, zero if \
           nobody wrote it. From then on mincore calls it resident in every mapping.",
    source: "mm/shmem.c shmem_fault, mm/memory.c do_read_fault, do_shared_fault",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const STORE: Rule = Rule {
    name: "shmem/store",
    text: "A store to shared memory is seen by every address space that maps the object.",
    source: "mm/shmem.c",
    since: "all",
    about: &[Class::Value],
};

pub const FAULT_AROUND: Rule = Rule {
    name: "shmem/fault-around",
    text: "A read fault also maps those pages of the aligned 64 KiB around it that are in the page cache, within the VMA and the \
           page table, into empty slots only: never over a guard. The window starts no earlier than the VMA and is \
           then moved, not shortened.",
    source: "mm/memory.c do_fault_around, mm/filemap.c filemap_map_pages",
    since: "all",
    about: &[Class::PageState],
};

/// Bytes that fault-around looks at (debugfs fault_around_bytes, by default).
const FAULT_AROUND_BYTES: u32 = 65536;

/// A read fault at `page`, whose slot is empty, in the shared VMA `i`.
pub(crate) fn read_fault(ctx: &mut Ctx, i: usize, page: u32) {
    hit!(ctx, FAULT);
    fault_around(ctx, i, page);
    if ctx.mm.slots.get(page).is_none() {
        map(ctx, i, page, page + 1);
    }
}

/// Faults on `[start, end)`, whose slots are empty and lie in one block, that map each page alone.
pub(crate) fn map(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    hit!(ctx, FAULT);
    let vma = &ctx.mm.vmas[i];
    let (first, last) = (vma.index(start), vma.index(end));
    if let Some(id) = vma.object {
        ctx.world.object_mut(id).fill(first, last);
    }
    ctx.mm.slots.set(start, end, Slot::File);
    let block = block_of(start, ctx.geometry());
    if ctx.mm.tables[block] == Table::None {
        ctx.mm.tables[block] = Table::Pte;
    }
}

/// Maps what is in the page cache around a read fault.
fn fault_around(ctx: &mut Ctx, i: usize, page: u32) {
    let g = ctx.geometry();
    let window = FAULT_AROUND_BYTES / g.page_size;
    if window <= 1 {
        return;
    }
    let vma = &ctx.mm.vmas[i];
    let Some(object) = vma.object.map(|id| ctx.world.object(id)) else {
        return;
    };
    let block = block_of(page, g);
    let (block_start, block_end) = block_pages(block, g);
    let aligned = page - page % window;
    let from = aligned.max(vma.start).max(block_start);
    let to = (from + window).min(block_end).min(vma.end);
    let mut found = Vec::new();
    for run in object.runs_in(vma.index(from), vma.index(to)) {
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
        ctx.mm.slots.set(from, to, Slot::File);
        ctx.mm.tables[block] = Table::Pte;
    }
}
