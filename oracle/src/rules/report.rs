//! How the kernel shows an address space: pagemap and PAGEMAP_SCAN, mincore, VmFlags of smaps.
//!
//! Every VmFlag is compared, also those that no modelled op changes; what smaps adds up is in `sizes`. Page frame numbers
//! are not looked at.

use super::registry::Rule;
use super::{hit, sizes, Ctx};
use crate::geometry::{Pos, Range};
use crate::judge::{Class, Outcome, PageKind, PageRun, PageSeen, SpaceSeen, VmFlag, VmaSeen};
use crate::program::{ActorId, FileKind};
use crate::space::mm::{block_pages, by_block, Mm, Table};
use crate::space::slots::{Run, Slot};
use crate::space::{Content, HugeAdvice, Locked, Vma, World};

pub const UNTOUCHED: Rule = Rule {
    name: "space/untouched",
    text: "An op changes nothing but what its rules say: other pages, other VMAs and other actors stay as they were.",
    source: "by definition",
    since: "all",
    about: &[
        Class::Errno,
        Class::Signal,
        Class::Value,
        Class::PageState,
        Class::Vma,
        Class::VmFlags,
        Class::Residency,
    ],
};

pub const VM_FLAGS: Rule = Rule {
    name: "report/vm-flags",
    text: "smaps shows rd wr ex as protected, mr always, me but for what may never be executed, mw but for what may never be written, ms for shared mappings, sh too if \
           they may be written, ac, nr, dp, hg, nh, rr, sr, \
           dc, wf, dd, mg, lo, lf, sl, sd, um, uw and gu as set. Old kernels have no name for lf: they \
           show `??`.",
    source: "fs/proc/task_mmu.c show_smap_vma_flags",
    since: "all; gu from 6.19 (and late 6.18.y)",
    about: &[Class::VmFlags],
};

pub const RESIDENT: Rule = Rule {
    name: "report/mincore",
    text: "mincore calls a page resident when it is present in the page table, the zero page too. An empty or guarded slot of \
           shared memory or of a file is resident when the page cache has the page: a guard is transparent to mincore.",
    source: "mm/mincore.c mincore_pte_range, __mincore_unmapped_range",
    since: "all",
    about: &[Class::Residency],
};

pub const EXCLUSIVE: Rule = Rule {
    name: "report/exclusive",
    text: "pagemap bit 56 is set on a present page that is mapped exactly once, anonymous or of a file; never on the zero page. \
           Two mappings of a page of a file in one address space count as two.",
    source: "fs/proc/task_mmu.c pte_to_pagemap_entry",
    since: "all",
    about: &[Class::PageState],
};

pub const HUGE_EXCLUSIVE_HEAD: Rule = Rule {
    name: "report/huge-exclusive-by-head",
    text: "For a page mapped by a PMD, these kernels show bit 56 of the block's first page on all pages of the block, though \
           some of them may be mapped elsewhere and others not.",
    source: "fs/proc/task_mmu.c pagemap_pmd_range: page_mapcount of the head before 6.11, \
             __folio_page_mapped_exclusively(folio, page) without the page's index later",
    since: "before 6.11, and from 6.15",
    about: &[Class::PageState],
};

pub const GUARD_AS_SWAP: Rule = Rule {
    name: "report/guard-as-swap",
    text: "6.13 and 6.14 show a guard as a swap entry only.",
    source: "6.15, fs/proc/task_mmu: add guard region bit to pagemap",
    since: "6.13 and 6.14",
    about: &[Class::PageState],
};

pub const LOOK: Rule = Rule {
    name: "report/guard-implies-flag",
    text: "Guard install marks the VMA with VM_MAYBE_GUARD before it puts the first marker anywhere, and nothing takes the mark away: \
           whoever sees a guard in pagemap and then reads smaps finds `gu`, whatever else runs. Kernels without the flag show none.",
    source: "mm/madvise.c madvise_guard_install: vma_set_atomic_flag before the walk; 6.19, mm: set the VM_MAYBE_GUARD flag on guard \
             region install",
    since: "6.19 (and late 6.18.y), with pagemap bit 58 from 6.15 on",
    about: &[Class::Errno],
};

/// `look`: whether pagemap shows a guard in a VMA that is not marked.
pub(super) fn look(ctx: &mut Ctx, range: Range) -> Outcome {
    hit!(ctx, LOOK);
    let g = ctx.world.geometry();
    let limit = i64::from(g.arena_pages());
    let page = |pos: Pos| u32::try_from(pos.page_index(g).clamp(0, limit)).unwrap_or(0);
    let profile = ctx.world.profile();
    let shown = profile.pagemap_guard;
    let unflagged = (page(range.start)..page(range.end)).any(|page| {
        let vma = ctx.mm.vma_index(page).map(|i| &ctx.mm.vmas[i]);
        vma.is_some_and(|vma| !(vma.maybe_guard && profile.maybe_guard))
            && ctx.mm.slots.get(page) == Some(Slot::Guard)
    });
    match shown && unflagged {
        true => Outcome::Unflagged,
        false => Outcome::Ok,
    }
}

/// Which contents to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Those in VMAs with PROT_READ.
    Readable,
    /// Those of all present pages.
    All,
}

/// How much of smaps to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Smaps {
    Nothing,
    /// VmFlags.
    Flags,
    /// VmFlags and what it adds up.
    Sizes,
}

/// Everything a kernel shows of an actor's arena; of smaps what is asked for.
pub(crate) fn seen(world: &World, actor: ActorId, contents: Contents, smaps: Smaps) -> SpaceSeen {
    let Some(mm) = world.mm(actor) else {
        return SpaceSeen::default();
    };
    let mut pages = Pages::default();
    let mut resident = Resident::default();
    for vma in &mm.vmas {
        show_pages(world, actor, mm, vma, contents, &mut pages);
        show_resident(world, mm, vma, &mut resident);
    }
    SpaceSeen {
        vmas: mm
            .vmas
            .iter()
            .map(|v| VmaSeen {
                flags: (smaps >= Smaps::Flags).then(|| vm_flags(world, v)),
                sizes: (smaps == Smaps::Sizes).then(|| sizes::of(world, actor, mm, v)),
                ..show_vma(v)
            })
            .collect(),
        pages: pages.0,
        resident: Some(resident.0),
    }
}

fn show_vma(vma: &Vma) -> VmaSeen {
    VmaSeen {
        start: vma.start,
        end: vma.end,
        prot: vma.prot,
        shared: vma.shared,
        file_page: vma.object.map(|_| vma.pgoff),
        flags: None,
        sizes: None,
    }
}

/// The VmFlags of a VMA, sorted.
fn vm_flags(world: &World, vma: &Vma) -> Vec<VmFlag> {
    let named = world.profile.lock_on_fault_named;
    let on_fault = vma.locked == Locked::OnFault;
    let kind = vma.object.map(|id| world.object(id).kind);
    let secret = kind == Some(FileKind::Secret);
    let names = [
        (b"??", on_fault && !named),
        (b"ac", vma.account),
        (b"dc", vma.hints.dont_fork),
        (b"dd", vma.hints.dont_dump),
        (b"de", vma.hugetlb),
        (b"dp", vma.droppable),
        (b"ex", vma.prot.exec),
        (b"gu", vma.maybe_guard),
        (b"hg", vma.advice == HugeAdvice::Huge),
        (b"ht", vma.hugetlb),
        (b"lf", on_fault && named),
        (b"lo", vma.locked != Locked::No),
        (b"me", !secret),
        (b"mg", vma.hints.mergeable),
        (b"mr", true),
        (b"ms", vma.shared),
        (b"mw", vma.may_write),
        (b"nh", vma.advice == HugeAdvice::NoHuge),
        (b"nr", vma.noreserve),
        (b"rd", vma.prot.read),
        (b"rr", vma.hints.random),
        (b"sd", vma.soft_dirty),
        (b"sh", vma.stores_are_shared()),
        (b"sl", vma.sealed),
        (b"sr", vma.hints.sequential),
        (b"um", vma.uffd.missing),
        (b"uw", vma.uffd.wp),
        (b"wf", vma.hints.wipe_on_fork),
        (b"wr", vma.prot.write),
    ];
    let mut flags = Vec::with_capacity(names.len());
    let set = names.into_iter().filter(|(_, set)| *set);
    flags.extend(set.map(|(name, _)| VmFlag(*name)));
    debug_assert!(flags.is_sorted());
    flags
}

/// Page runs, joined where they are alike.
#[derive(Default)]
struct Pages(Vec<PageRun>);

impl Pages {
    fn push(&mut self, start: u32, end: u32, page: PageSeen) {
        if start >= end {
            return;
        }
        let len = end - start;
        if let Some(last) = self.0.last_mut() {
            let follows = match (last.page.content, page.content) {
                (Some(a), Some(b)) => a.is_followed_by(b, last.len),
                (None, None) => true,
                _ => false,
            };
            let like = PageSeen {
                content: page.content,
                ..last.page
            };
            if last.start + last.len == start && follows && like == page {
                last.len += len;
                return;
            }
        }
        self.0.push(PageRun { start, len, page });
    }
}

fn show_pages(
    world: &World,
    actor: ActorId,
    mm: &Mm,
    vma: &Vma,
    contents: Contents,
    pages: &mut Pages,
) {
    let readable = contents == Contents::All || vma.prot.read;
    for (block, start, end) in by_block(vma.start, vma.end, world.geometry) {
        let huge = mm.tables[block] == Table::Huge;
        for run in mm.slots.runs_in(start, end) {
            by_bits(mm, vma, run, |run, bits| match run.slot {
                Slot::Guard => {
                    let kind = if world.profile.pagemap_guard {
                        PageKind::Guard
                    } else {
                        PageKind::Swap
                    };
                    pages.push(run.start, run.end, page(world, kind, false, bits));
                }
                // As any entry that is not present and no guard.
                Slot::Poison | Slot::UffdWp | Slot::Swap { .. } => {
                    let seen = page(world, PageKind::Swap, false, bits);
                    pages.push(run.start, run.end, seen);
                }
                Slot::Zero => {
                    let seen = PageSeen {
                        content: readable.then_some(Content::ZERO),
                        ..page(world, PageKind::Zero, huge, bits)
                    };
                    pages.push(run.start, run.end, seen);
                }
                Slot::Anon { .. } | Slot::File => {
                    show_mapped(
                        world,
                        actor,
                        mm,
                        vma,
                        run,
                        huge.then_some(block),
                        bits,
                        readable,
                        pages,
                    );
                }
            });
        }
    }
}

/// Bits of an entry that say what becomes of the page, not which it is.
#[derive(Clone, Copy)]
struct Bits {
    soft_dirty: bool,
    uffd_wp: bool,
}

/// Hands out the parts of a run that are alike in these bits, and which show on them.
fn by_bits(mm: &Mm, vma: &Vma, run: Run, mut show: impl FnMut(Run, Bits)) {
    by_soft_dirty(mm, vma, run, |run, soft_dirty| {
        let mut at = run.start;
        while at < run.end {
            let (end, bit) = mm.slots.uffd_wp_stretch(at, run.end);
            let slot = run.slot.plus(at - run.start);
            let uffd_wp = bit || run.slot == Slot::UffdWp;
            let bits = Bits {
                soft_dirty,
                uffd_wp,
            };
            let start = at;
            show(Run { start, end, slot }, bits);
            at = end;
        }
    });
}

/// Hands out the parts of a run that are alike in the soft-dirty bit, and whether it shows on them.
fn by_soft_dirty(mm: &Mm, vma: &Vma, run: Run, mut show: impl FnMut(Run, bool)) {
    if vma.soft_dirty || !mm.tells_soft_dirty {
        return show(run, vma.soft_dirty);
    }
    for (start, end, bit) in mm.slots.by_soft_dirty(run.start, run.end) {
        let slot = run.slot.plus(start - run.start);
        show(Run { start, end, slot }, bit);
    }
}

/// A page that is not exclusive and has no content, as this kernel shows it.
fn page(world: &World, kind: PageKind, huge: bool, bits: Bits) -> PageSeen {
    PageSeen {
        kind,
        huge: world.profile.pagemap_scan.then_some(huge),
        exclusive: false,
        soft_dirty: bits.soft_dirty,
        uffd_wp: bits.uffd_wp,
        content: None,
    }
}

/// Anonymous pages and pages of shared memory: parts that differ in sharing, then in content.
#[allow(clippy::too_many_arguments)]
fn show_mapped(
    world: &World,
    actor: ActorId,
    mm: &Mm,
    vma: &Vma,
    run: Run,
    huge: Option<usize>,
    bits: Bits,
    readable: bool,
    pages: &mut Pages,
) {
    let kind = match run.slot {
        Slot::File => PageKind::File,
        _ => PageKind::Anon,
    };
    let parts = match huge {
        Some(block) if world.profile.huge_exclusive_by_head => {
            let head = block_pages(block, world.geometry).0;
            let slot = mm.slots.get(head).unwrap_or(run.slot);
            let shared = world.sharing(actor, head, head + 1, slot)[0].2;
            vec![(run.start, run.end, shared)]
        }
        _ => world.sharing(actor, run.start, run.end, run.slot),
    };
    for (start, end, shared) in parts {
        let seen = PageSeen {
            exclusive: !shared,
            ..page(world, kind, huge.is_some(), bits)
        };
        let mut show = |start: u32, end: u32, content: Content| {
            let content = readable.then_some(content);
            pages.push(start, end, PageSeen { content, ..seen });
        };
        match (run.slot.plus(start - run.start), vma.object) {
            (Slot::Anon { content, .. }, _) => show(start, end, content),
            (_, Some(id)) => {
                for cached in world.object(id).runs_in(vma.index(start), vma.index(end)) {
                    let from = vma.page_of(cached.start);
                    show(from, from + (cached.end - cached.start), cached.content);
                }
            }
            (_, None) => {}
        }
    }
}

/// Resident runs, joined.
#[derive(Default)]
struct Resident(Vec<(u32, u32)>);

impl Resident {
    fn push(&mut self, start: u32, end: u32) {
        match self.0.last_mut() {
            Some(last) if last.0 + last.1 >= start => last.1 = last.1.max(end - last.0),
            _ => self.0.push((start, end - start)),
        }
    }
}

fn show_resident(world: &World, mm: &Mm, vma: &Vma, resident: &mut Resident) {
    let mut at = vma.start;
    while at < vma.end {
        let (end, slot) = mm.slots.stretch(at, vma.end);
        match (slot, vma.object) {
            (Some(slot), _) if slot.is_present() => resident.push(at, end),
            // mincore looks at the entry, not at the file that it hides.
            (Some(Slot::Swap { id, .. }), _) => {
                let last = id.0 + u64::from(end - at);
                for (from, to) in world.swap.cached.within(id.0, last) {
                    let page = |n: u64| at + (n - id.0) as u32;
                    resident.push(page(from), page(to));
                }
            }
            (_, Some(id)) => {
                for cached in world.object(id).shown_in(vma.index(at), vma.index(end)) {
                    let from = vma.page_of(cached.start);
                    resident.push(from, from + (cached.end - cached.start));
                }
            }
            _ => {}
        }
        at = end;
    }
}
