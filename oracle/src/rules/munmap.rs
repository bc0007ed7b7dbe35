//! munmap, and the unmapping that MAP_FIXED does.

use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EINVAL, EPERM};
use super::registry::Rule;
use super::{hit, merge, mseal, tables, uffd, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::Vma;

pub const REMOVES: Rule = Rule {
    name: "munmap/removes",
    text: "munmap removes every page of the range: VMAs are split at both ends and dropped, and with them pages, guards and \
           VMA flags.",
    source: "mm/vma.c do_vmi_align_munmap",
    since: "all",
    about: &[Class::Vma, Class::PageState, Class::Residency, Class::Errno],
};

pub const HOLES: Rule = Rule {
    name: "munmap/holes-are-fine",
    text: "munmap succeeds over holes, and where nothing is mapped at all.",
    source: "mm/vma.c do_vmi_munmap",
    since: "all",
    about: &[Class::Errno],
};

pub const FREES_TABLES: Rule = Rule {
    name: "munmap/frees-tables",
    text: "A page table goes when munmap (or MAP_FIXED) leaves no VMA in its PMD-sized block; while any VMA reaches into the \
           block it stays, and with it small pages.",
    source: "mm/memory.c free_pgtables with the neighbours as floor and ceiling",
    since: "all",
    about: &[Class::PageState],
};

/// munmap(2).
pub(crate) fn munmap(ctx: &mut Ctx, range: Range) -> Outcome {
    let span = Span::new(range, ctx.geometry());
    if !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Outcome::Errno(EINVAL);
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Outcome::Errno(EINVAL);
    }
    if span.empty {
        hit!(ctx, EMPTY);
        return Outcome::Errno(EINVAL);
    }
    let (start, end, outside) = span.clip(ctx.geometry());
    if outside || !covered(ctx, start, end) {
        hit!(ctx, HOLES);
    }
    match unmap(ctx, start, end) {
        Ok(()) => Outcome::Ok,
        Err(errno) => Outcome::Errno(errno),
    }
}

/// Whether every page of a range is mapped.
pub(crate) fn covered(ctx: &Ctx, start: u32, end: u32) -> bool {
    let mut at = start;
    for vma in &ctx.mm.vmas[ctx.mm.first_vma_after(start)..] {
        if at >= end || vma.start > at {
            break;
        }
        at = vma.end;
    }
    at >= end
}

/// Removes VMAs, slots and page tables of `[start, end)`.
///
/// # Errors
/// EPERM when something there is sealed, that of [`merge::split`], or ENOMEM. The VMAs at `start` and `end` may be split then.
pub(crate) fn unmap(ctx: &mut Ctx, start: u32, end: u32) -> Result<(), i32> {
    if !ctx.mm.is_mapped_in(start, end) {
        return Ok(());
    }
    hit!(ctx, REMOVES);
    let sealed = |vma: &&Vma| vma.sealed && vma.start < end && start < vma.end;
    if let Some(vma) = ctx.mm.vmas.iter().find(sealed) {
        let at = vma.start;
        hit!(ctx, mseal::UNMAP);
        if at >= start {
            merge::split(ctx, start)?;
            uffd::events::unmaps(ctx, (start, end), Some(at));
        }
        return Err(EPERM);
    }
    merge::split(ctx, start)?;
    merge::split(ctx, end)?;
    // The VMAs are put aside, in a tree of their own.
    ctx.allocate()?;
    uffd::events::unmaps(ctx, (start, end), None);
    let first = ctx.mm.first_vma_after(start);
    let last = first
        + ctx.mm.vmas[first..]
            .iter()
            .take_while(|v| v.start < end)
            .count();
    let removed: Vec<_> = ctx.mm.vmas.drain(first..last).collect();
    let g = ctx.geometry();
    for vma in &removed {
        tables::zap(ctx, vma.start, vma.end, tables::Zap::Unmap);
    }
    for vma in &removed {
        for block in block_of(vma.start, g)..=block_of(vma.end - 1, g) {
            let (from, to) = block_pages(block, g);
            if ctx.mm.tables[block] == Table::Pte && !ctx.mm.is_mapped_in(from, to) {
                hit!(ctx, FREES_TABLES);
                ctx.mm.tables[block] = Table::None;
            }
        }
    }
    Ok(())
}
