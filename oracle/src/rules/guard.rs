//! Guard regions: madvise GUARD_INSTALL and GUARD_REMOVE, written as the kernel's steps.
//!
//! A guard is a marker in a page-table slot. It belongs to no page and to no VMA: it counts for nothing, does not
//! nest, and an access to it is a SIGSEGV. Install walks the range and puts a marker into each empty slot; when it
//! meets a slot in use it stops, zaps the whole part, and walks again. Another thread may fill a slot again between zap and
//! walk, which is why the kernel tries several times; alone, the second walk always succeeds.

use super::errno::{EAGAIN, EINVAL};
use super::registry::Rule;
use super::{anon_vma, hit, tables, thp, uffd, Ctx};
use crate::judge::Class;
use crate::space::mm::{by_block, Table};
use crate::space::slots::Slot;

pub const INSTALL_FILLS: Rule = Rule {
    name: "guard/install/fills",
    text: "After guard install every page of the range is a guard, whatever stood there.",
    source: "mm/madvise.c madvise_guard_install",
    since: "6.13",
    about: &[
        Class::PageState,
        Class::Residency,
        Class::Errno,
        Class::Value,
    ],
};

pub const INSTALL_IDEMPOTENT: Rule = Rule {
    name: "guard/install/idempotent",
    text: "Guards do not nest: a slot that holds one already is counted and left alone.",
    source: "mm/madvise.c guard_install_pte_entry",
    since: "6.13",
    about: &[Class::PageState],
};

pub const INSTALL_ALLOCATES_TABLES: Rule = Rule {
    name: "guard/install/allocates-tables",
    text: "A marker needs a slot: install allocates page tables over the whole range, so later faults in these blocks get small \
           pages.",
    source: "mm/madvise.c guard_install_set_pte, mm/pagewalk.c",
    since: "6.13",
    about: &[Class::PageState],
};

pub const INSTALL_MAYBE_GUARD: Rule = Rule {
    name: "guard/install/maybe-guard",
    text: "Install marks the whole VMA VM_MAYBE_GUARD (`gu`), even when only one of its pages is guarded, and before it walks. \
           Nothing but the end of the VMA clears it.",
    source: "mm/madvise.c madvise_guard_install; 6.19, mm: introduce VM_MAYBE_GUARD and make visible in /proc/$pid/smaps",
    since: "6.19, late 6.18.y",
    about: &[Class::VmFlags],
};

pub const INSTALL_ANON_VMA: Rule = Rule {
    name: "guard/install/anon-vma",
    text: "Anonymous memory gets an anon_vma before the walk, though no page was ever written: fork then copies the markers, \
           and the VMA merges as one that was written to.",
    source: "mm/madvise.c madvise_guard_install",
    since: "6.13",
    about: &[Class::Vma],
};

pub const INSTALL_FILE_ANON_VMA: Rule = Rule {
    name: "guard/install/shared-anon-vma",
    text: "Before VM_MAYBE_GUARD, shared memory got an anon_vma as well: it made fork copy the markers.",
    source: "6.15, mm/madvise: allow guard page install/remove under file-backed mappings; gone in 6.19",
    since: "6.15 to 6.18",
    about: &[Class::Vma],
};

pub const INSTALL_ANON_ONLY: Rule = Rule {
    name: "guard/install/anonymous-only",
    text: "In 6.13 and 6.14 guard install and remove refuse everything but anonymous memory with EINVAL.",
    source: "6.13, mm: madvise: implement lightweight guard page mechanism",
    since: "6.13 and 6.14",
    about: &[Class::Errno, Class::PageState],
};

pub const INSTALL_ZAPS: Rule = Rule {
    name: "guard/install/zaps-populated",
    text: "If any slot of the VMA's part of the range is in use, all of the part is zapped and its contents are lost: anonymous \
           memory as by DONTNEED; shared memory is unmapped and keeps its content in the object. Pages outside the \
           range keep their values, even when a huge page had to be split.",
    source: "mm/madvise.c madvise_guard_install",
    since: "6.13",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const REMOVE_EMPTIES: Rule = Rule {
    name: "guard/remove/empties",
    text: "Guard remove turns each marker of the range into an empty slot. It succeeds where there is none.",
    source: "mm/madvise.c guard_remove_pte_entry",
    since: "6.13",
    about: &[Class::PageState, Class::Errno],
};

pub const REMOVE_LEAVES_OTHERS: Rule = Rule {
    name: "guard/remove/leaves-others",
    text: "Guard remove touches nothing but markers: pages keep their contents and their sharing, huge pages are skipped \
           unsplit, VM_MAYBE_GUARD and the anon_vma stay.",
    source: "mm/madvise.c guard_remove_pmd_entry, guard_remove_pte_entry",
    since: "6.13",
    about: &[Class::PageState, Class::Value, Class::VmFlags, Class::Vma],
};

pub const REMOVE_SPLITS: Rule = Rule {
    name: "guard/remove/splits-huge",
    text: "In the patch of 2024 guard remove splits each huge page of its range, though none can hold a marker: values stay, the PMD \
           mapping is lost.",
    source: "[PATCH RFC 3/4] mm: madvise: implement lightweight guard page mechanism, and Jann Horn's answer to it",
    since: "profile rfc-2024 only",
    about: &[Class::PageState],
};

pub const INSTALL_ANON_VMA_AFTER: Rule = Rule {
    name: "guard/install/anon-vma-after",
    text: "In the patch of 2024 anonymous memory gets its anon_vma after the walk, if the walk put a marker into an empty slot.",
    source: "[PATCH RFC 3/4] mm: madvise: implement lightweight guard page mechanism, and Jann Horn's answer to it",
    since: "profile rfc-2024 only",
    about: &[Class::Vma],
};

pub const REMOVE_KEEPS_TABLES: Rule = Rule {
    name: "guard/remove/keeps-tables",
    text: "Guard remove neither makes nor frees page tables: where a guard stood, later faults get small pages until the table \
           goes; where there was no table, a huge page is still possible.",
    source: "mm/madvise.c madvise_guard_remove: the walk has no install_pte",
    since: "6.13",
    about: &[Class::PageState],
};

/// How often install walks and zaps before it would return to user space and start over.
const ROUNDS: u32 = 3;

/// How often the patch of 2024 walked, with a zap in between, before it gave up.
const RFC_ROUNDS: u32 = 2;

/// What a walk of guard install came to.
#[derive(Default)]
pub(crate) struct Walk {
    /// Every slot of the part holds a guard; otherwise a slot or a huge page was in use, and what lies before it is
    /// guarded.
    pub complete: bool,
    /// It put a marker into a slot.
    pub installed: bool,
}

/// GUARD_INSTALL on the part `[start, end)` of a VMA. Returns where the walk over VMAs goes on.
///
/// # Errors
/// EINVAL where this kind of memory cannot have guards, ENOMEM.
pub(crate) fn install(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> Result<u32, i32> {
    prepare(ctx, i)?;
    let late = ctx.world.profile.rfc_anon_vma_after;
    let mut installed = false;
    for _ in 0..rounds(ctx) {
        let walk = install_walk(ctx, start, end)?;
        installed |= walk.installed;
        if walk.complete {
            if late && installed {
                hit!(ctx, INSTALL_ANON_VMA_AFTER);
                give_anon_vma(ctx, i)?;
            }
            return Ok(end);
        }
        hit!(ctx, INSTALL_ZAPS);
        zap(ctx, start, end);
    }
    // Nobody fills a slot between zap and walk when the op is alone: the second walk is complete. What happens otherwise
    // is told in `race`.
    if ctx.world.profile.rfc_gives_up {
        return Err(EAGAIN);
    }
    Ok(end)
}

/// How often install walks before it gives up this call of the inner function.
pub(crate) fn rounds(ctx: &Ctx) -> u32 {
    if ctx.world.profile.rfc_gives_up {
        RFC_ROUNDS
    } else {
        ROUNDS
    }
}

/// Empties what install found in use, guards apart.
pub(crate) fn zap(ctx: &mut Ctx, start: u32, end: u32) {
    uffd::poison::goes(ctx, start, end);
    let protected = !ctx.mm.slots.uffd_wp_in(start, end).is_empty();
    if protected || uffd::protect::never_ends(&ctx.mm, start, end) {
        hit!(ctx, uffd::protect::GUARD);
    }
    tables::zap(ctx, start, end, tables::Zap::Guard);
}

/// What install does to the VMA before it looks at page tables.
///
/// # Errors
/// EINVAL where this kind of memory cannot have guards, ENOMEM.
pub(crate) fn prepare(ctx: &mut Ctx, i: usize) -> Result<(), i32> {
    valid_vma(ctx, i)?;
    hit!(ctx, INSTALL_FILLS);
    if ctx.world.profile.maybe_guard {
        hit!(ctx, INSTALL_MAYBE_GUARD);
        ctx.mm.vmas[i].maybe_guard = true;
    }
    let late = ctx.world.profile.rfc_anon_vma_after;
    if ctx.mm.vmas[i].is_anon() && !late {
        hit!(ctx, INSTALL_ANON_VMA);
        give_anon_vma(ctx, i)?;
    } else if !late && !ctx.world.profile.maybe_guard {
        hit!(ctx, INSTALL_FILE_ANON_VMA);
        give_anon_vma(ctx, i)?;
    }
    Ok(())
}

/// Gives a VMA an anon_vma if it has none.
///
/// # Errors
/// ENOMEM: even one that is reused needs a link to it.
fn give_anon_vma(ctx: &mut Ctx, i: usize) -> Result<(), i32> {
    if ctx.mm.vmas[i].anon_vma.is_none() {
        ctx.allocate()?;
    }
    anon_vma::prepare(ctx, i);
    Ok(())
}

/// One walk: a marker into each empty slot, up to the first slot in use.
///
/// # Errors
/// ENOMEM when a page table cannot be allocated.
pub(crate) fn install_walk(ctx: &mut Ctx, start: u32, end: u32) -> Result<Walk, i32> {
    let mut walk = Walk {
        complete: false,
        installed: false,
    };
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        match ctx.mm.tables[block] {
            Table::Huge => return Ok(walk),
            Table::None => {
                hit!(ctx, INSTALL_ALLOCATES_TABLES);
                ctx.allocate()?;
                ctx.mm.tables[block] = Table::Pte;
            }
            Table::Pte => {}
        }
        let mut at = from;
        while at < to {
            let (next, slot) = ctx.mm.slots.stretch(at, to);
            match slot {
                None => {
                    ctx.mm.slots.set(at, next, Slot::Guard);
                    walk.installed = true;
                }
                Some(Slot::Guard) => hit!(ctx, INSTALL_IDEMPOTENT),
                Some(_) => return Ok(walk),
            }
            at = next;
        }
    }
    walk.complete = true;
    Ok(walk)
}

/// GUARD_REMOVE on the part `[start, end)` of a VMA. Returns where the walk over VMAs goes on.
///
/// # Errors
/// EINVAL where this kind of memory cannot have guards.
pub(crate) fn remove(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> Result<u32, i32> {
    valid_vma(ctx, i)?;
    hit!(ctx, REMOVE_EMPTIES);
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        match ctx.mm.tables[block] {
            Table::None => hit!(ctx, REMOVE_KEEPS_TABLES),
            Table::Huge if ctx.world.profile.rfc_remove_splits => {
                hit!(ctx, REMOVE_SPLITS);
                thp::split_pmd(ctx, block);
            }
            Table::Huge => hit!(ctx, REMOVE_LEAVES_OTHERS),
            Table::Pte => {
                hit!(ctx, REMOVE_KEEPS_TABLES);
                let mut at = from;
                while at < to {
                    let (next, slot) = ctx.mm.slots.stretch(at, to);
                    match slot {
                        Some(Slot::Guard) => ctx.mm.slots.clear(at, next),
                        Some(_) => hit!(ctx, REMOVE_LEAVES_OTHERS),
                        None => {}
                    }
                    at = next;
                }
            }
        }
    }
    Ok(end)
}

/// Whether a VMA may have guards.
fn valid_vma(ctx: &mut Ctx, i: usize) -> Result<(), i32> {
    if !ctx.mm.vmas[i].is_anon() && !ctx.world.profile.guards_shared {
        hit!(ctx, INSTALL_ANON_ONLY);
        return Err(EINVAL);
    }
    Ok(())
}
