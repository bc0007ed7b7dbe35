//! Accesses by the kernel: through the page tables of the process that runs, or to pages that it looks up.

use super::{denied, COPY_ON_WRITE};
use crate::program::Prot;
use crate::rules::{folio, hit, pkey, secret, thp, transfer, Ctx};
use crate::space::mm::{block_of, Table};
use crate::space::slots::Slot;
use crate::space::Content;

/// An access by the kernel for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub gate: Gate,
    /// What it stores, if it does.
    pub stores: Option<Stores>,
}

/// What may be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// What the process itself may (copy_to_user and its kin).
    Process,
    /// get_user_pages, which looks at VMAs; with `force` (FOLL_FORCE) not at what they permit.
    Pages { force: bool },
    /// pin_user_pages.
    Pinned,
    /// get_user_pages_fast, which looks at page tables first.
    Fast,
}

/// Part of the first eight bytes of each page: those from `from` up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stores {
    pub tag: u16,
    pub from: u8,
    pub to: u8,
}

/// What becomes of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum New {
    /// They stay.
    Keep,
    /// The first page's are these, the others' follow.
    Whole(Content),
    /// Some bytes of one page's are those of another.
    Part { bytes: Content, mask: u64 },
}

impl New {
    /// What is there afterwards, `ahead` pages behind the first, where it was `old`.
    pub fn over(self, ahead: u32, old: Content) -> Content {
        match self {
            New::Keep => old,
            New::Whole(first) => first.plus(ahead),
            New::Part { bytes, mask } => Content(old.0 & !mask | bytes.0 & mask),
        }
    }
}

impl Kernel {
    pub(super) fn content(self, page: u32) -> New {
        match self.stores {
            None => New::Keep,
            Some(Stores { from, to, .. }) if from >= to => New::Keep,
            Some(Stores {
                tag,
                from: 0,
                to: 8,
            }) => New::Whole(Content::written(tag, page)),
            Some(Stores { tag, from, to }) => New::Part {
                bytes: Content::written(tag, page),
                mask: mask(from, to),
            },
        }
    }
}

/// The bits of the bytes from `from` up to `to`, of eight in the order of memory.
pub(crate) fn mask(from: u8, to: u8) -> u64 {
    (from..to.min(8)).fold(0, |mask, byte| mask | 0xff << (u32::from(byte) * 8))
}

/// Whether the VMA, or what stands at the page, forbids the access.
pub(super) fn refused(ctx: &mut Ctx, i: usize, page: u32, kernel: Kernel) -> bool {
    let write = kernel.stores.is_some();
    let vma = &ctx.mm.vmas[i];
    let permitted = if write { vma.prot.write } else { vma.prot.read };
    match kernel.gate {
        Gate::Process => {
            let refused = denied(ctx, i, write).is_some();
            if refused {
                hit!(ctx, transfer::DENIED);
                if pkey::forbids(&ctx.mm.vmas[i], write) {
                    hit!(ctx, pkey::KERNEL);
                }
            }
            refused
        }
        _ if secret::is(ctx, vma) => {
            hit!(ctx, secret::OUT_OF_REACH);
            true
        }
        Gate::Fast if permitted && pkey::forbids(vma, write) => {
            hit!(ctx, pkey::KERNEL);
            true
        }
        _ if permitted => {
            if pkey::forbids(vma, write) {
                hit!(ctx, pkey::KERNEL);
            }
            false
        }
        Gate::Pages { force: true } => {
            let refused = write && vma.shared;
            if refused {
                hit!(ctx, transfer::FORCE_NOT_SHARED);
            } else {
                hit!(ctx, transfer::FORCES);
                // The entry stays unwritable, also when the VMA becomes writable later.
                ctx.mm.may_be_write_protected |= write;
            }
            refused
        }
        Gate::Fast if fast(ctx, i, page) => {
            hit!(ctx, transfer::FAST);
            false
        }
        Gate::Pages { .. } | Gate::Pinned | Gate::Fast => {
            hit!(ctx, transfer::VMA_FORBIDS);
            true
        }
    }
}

/// Whether a page that its VMA does not permit to read can be had from the page table alone.
fn fast(ctx: &Ctx, i: usize, page: u32) -> bool {
    let (vma, profile) = (&ctx.mm.vmas[i], &ctx.world.profile);
    let entry_permits = match vma.prot {
        _ if pkey::forbids(vma, false) => false,
        Prot { write: true, .. } => true,
        Prot { exec: true, .. } => !profile.exec_only_unreadable,
        _ => false,
    };
    let huge = ctx.mm.tables[block_of(page, ctx.geometry())] == Table::Huge;
    let ordinary = match ctx.mm.slots.get(page) {
        Some(Slot::Anon { .. } | Slot::File) => true,
        Some(Slot::Zero) => huge && !profile.huge_zero_special,
        Some(Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::Swap { .. }) | None => false,
    };
    entry_permits && ordinary
}

/// Before anonymous pages `[start, end)` are pinned: those that another address space maps too are copied. Whether something
/// changed.
pub(super) fn unshare(ctx: &mut Ctx, start: u32, end: u32, slot: Slot) -> bool {
    let Slot::Anon { id, content } = slot else {
        return false;
    };
    if ctx.mm.tables[block_of(start, ctx.geometry())] == Table::Huge {
        // Shared in any of its pages, it is split first.
        let unshared = thp::write_protected(ctx, start);
        if let Some(large) = ctx.world.folios.of(id).filter(|_| unshared) {
            let (first, last) = large.ids();
            ctx.world.folios.forked.remove(first, last);
        }
        return !unshared;
    }
    let parts = folio::by_store(ctx, start, end, slot);
    for (from, to, _) in parts.iter().filter(|part| !part.2) {
        let first = id.plus(from - start).0;
        let last = first + u64::from(to - from);
        ctx.world.folios.forked.remove(first, last);
    }
    if !parts.iter().any(|part| part.2) {
        return false;
    }
    hit!(ctx, transfer::PIN_UNSHARES);
    hit!(ctx, COPY_ON_WRITE);
    for (from, to, _) in parts.into_iter().filter(|part| part.2) {
        let skip = from - start;
        let id = ctx.world.new_pages(to - from);
        let content = content.plus(skip);
        ctx.mm.slots.turn(from, to, Slot::Anon { id, content });
    }
    true
}
