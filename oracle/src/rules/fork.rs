//! fork and exit.

use super::registry::Rule;
use super::{hit, mlock, swap, thp_disable, uffd, Ctx};
use crate::judge::{Class, Outcome};
use crate::program::{ActorId, HugeSwitch};
use crate::space::mm::{by_block, Mm, Table};
use crate::space::slots::Slot;
use crate::space::{AnonVma, Branch, Locked, Uffd};
use std::sync::Arc;

pub const COPIES_VMAS: Rule = Rule {
    name: "fork/copies-vmas",
    text: "The child has the parent's VMAs with the same protection and flags, VM_MAYBE_GUARD included.",
    source: "kernel/fork.c dup_mmap",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags],
};

pub const SHARES_PAGES: Rule = Rule {
    name: "fork/shares-pages",
    text: "A VMA that has an anon_vma is copied slot by slot: parent and child share each anonymous page until one of them writes \
           it, and neither maps it exclusively; zero pages, pages of a file and empty slots are copied as they are.",
    source: "mm/memory.c copy_page_range, copy_present_ptes",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const COPIES_GUARDS: Rule = Rule {
    name: "fork/copies-guards",
    text: "The child has the parent's guards as its own: what either does to them later does not concern the other.",
    source: "mm/memory.c copy_nonpresent_pte, copy_pte_marker",
    since: "6.13",
    about: &[Class::PageState],
};

pub const SKIPS_SHARED: Rule = Rule {
    name: "fork/skips-unneeded",
    text: "A VMA without an anon_vma (and without VM_MAYBE_GUARD) is not copied slot by slot: the child starts with an empty page \
           table there and finds shared contents again by faults.",
    source: "mm/memory.c vma_needs_copy",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const COPIES_SHARED_GUARDS: Rule = Rule {
    name: "fork/copies-shared-guards",
    text: "Shared memory that was ever guarded is copied slot by slot, guards and mapped pages alike, though a fault could \
           find the pages again: VM_MAYBE_GUARD (before 6.19 the anon_vma) asks for it.",
    source: "6.19, mm: set the VM_MAYBE_GUARD flag on guard region install: VM_COPY_ON_FORK",
    since: "6.15",
    about: &[Class::PageState],
};

pub const SHARES_HUGE: Rule = Rule {
    name: "fork/shares-huge",
    text: "A huge anonymous page, the huge zero page too, is mapped huge in the child; a huge page of shared memory is not \
           copied, the child faults it in again.",
    source: "mm/huge_memory.c copy_huge_pmd",
    since: "all",
    about: &[Class::PageState],
};

pub const NEW_ANON_VMA: Rule = Rule {
    name: "fork/new-anon-vma",
    text: "Each VMA of the child whose original has an anon_vma gets one of its own, chained to the parent's: such VMAs never \
           merge with others but those split from themselves.",
    source: "mm/rmap.c anon_vma_fork; mm/vma.c vma_is_fork_child",
    since: "all",
    about: &[Class::Vma],
};

pub const LEAVES_OUT: Rule = Rule {
    name: "fork/leaves-out-dontfork",
    text: "A VMA with `dc` (DONTFORK) is not there in the child: a hole, guards and all.",
    source: "mm/mmap.c dup_mmap (before 6.16 kernel/fork.c): VM_DONTCOPY",
    since: "all",
    about: &[Class::Vma, Class::PageState, Class::Residency],
};

pub const WIPES: Rule = Rule {
    name: "fork/wipes",
    text: "A VMA with `wf` (WIPEONFORK) is there in the child with its flags, `gu` included, but without an anon_vma and with \
           nothing in it: guards are gone like any content.",
    source: "mm/mmap.c dup_mmap (before 6.16 kernel/fork.c): VM_WIPEONFORK; madvise(2)",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Vma],
};

pub const EXIT: Rule = Rule {
    name: "exit/drops-everything",
    text: "An exit drops the address space: pages that only one other actor maps are mapped exclusively again.",
    source: "mm/mmap.c exit_mmap",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

/// fork(2).
pub(crate) fn fork(ctx: &mut Ctx, child: ActorId) -> Outcome {
    hit!(ctx, COPIES_VMAS);
    let g = ctx.geometry();
    if let Err(errno) = ctx.allocate() {
        return Outcome::Errno(errno);
    }
    let mut mm = Mm {
        vmas: ctx.mm.vmas.clone(),
        lazy: ctx.mm.lazy.clone(),
        may_be_write_protected: true,
        tells_soft_dirty: ctx.mm.tells_soft_dirty,
        huge_switch: ctx.mm.huge_switch,
        program_break: ctx.mm.program_break,
        ..Mm::default()
    };
    if ctx.mm.huge_switch != HugeSwitch::On {
        hit!(ctx, thp_disable::INHERITED);
    }
    ctx.mm.may_be_write_protected = true;
    let all = mm.vmas.len();
    mm.vmas.retain(|vma| !vma.hints.dont_fork);
    if mm.vmas.len() < all {
        hit!(ctx, LEAVES_OUT);
    }
    if ctx.mm.new_are_locked != Locked::No {
        hit!(ctx, mlock::FORK_UNLOCKS);
    }
    for vma in &mut mm.vmas {
        if let Err(errno) = ctx.allocate() {
            return Outcome::Errno(errno);
        }
        if vma.locked != Locked::No {
            hit!(ctx, mlock::FORK_UNLOCKS);
            vma.locked = Locked::No;
        }
        if vma.uffd != Uffd::default() {
            if ctx.world.knobs.uffd_events {
                hit!(ctx, uffd::lost::FORK_KEPT);
            } else {
                hit!(ctx, uffd::lost::FORK);
                vma.uffd = Uffd::default();
            }
        }
        if vma.hints.wipe_on_fork {
            hit!(ctx, WIPES);
            vma.anon_vma = None;
            continue;
        }
        let guarded = vma.maybe_guard;
        let protects = vma.uffd.wp;
        if protects {
            hit!(ctx, uffd::lost::FORK_TABLES);
        }
        let copy = guarded || protects || vma.anon_vma.is_some();
        if vma.anon_vma.is_some() {
            hit!(ctx, NEW_ANON_VMA);
            vma.anon_vma = Some(AnonVma {
                id: ctx.world.new_anon_vma(),
                forked: true,
            });
        }
        if !copy {
            hit!(ctx, SKIPS_SHARED);
            continue;
        }
        hit!(ctx, SHARES_PAGES);
        if !vma.is_anon() && (guarded || vma.shared && !protects) {
            hit!(ctx, COPIES_SHARED_GUARDS);
        }
        for (block, start, end) in by_block(vma.start, vma.end, g) {
            if let Err(errno) = ctx.allocate() {
                return Outcome::Errno(errno);
            }
            match ctx.mm.tables[block] {
                Table::None => continue,
                Table::Huge => {
                    hit!(ctx, SHARES_HUGE);
                    if !vma.is_anon() {
                        continue;
                    }
                    mm.tables[block] = Table::Huge;
                    ctx.mm.huge[block].write = false;
                    ctx.mm.huge[block].exclusive = false;
                    mm.huge[block] = ctx.mm.huge[block];
                }
                Table::Pte => mm.tables[block] = Table::Pte,
            }
            for run in ctx.mm.slots.runs_in(start, end) {
                if run.slot == Slot::UffdWp && !protects {
                    hit!(ctx, uffd::protect::FORK);
                    continue;
                }
                mm.slots.set(run.start, run.end, run.slot);
                if let Some(id) = run.slot.anon() {
                    if !run.slot.is_present() {
                        hit!(ctx, swap::FORK);
                    }
                    let last = id.0 + u64::from(run.end - run.start);
                    ctx.world.folios.forked.insert(id.0, last);
                }
                for (from, to) in ctx.mm.slots.uffd_wp_in(run.start, run.end) {
                    if protects {
                        hit!(ctx, uffd::protect::FORK_KEPT);
                        mm.slots.set_uffd_wp(from, to);
                    } else {
                        hit!(ctx, uffd::protect::FORK);
                    }
                }
                if run.slot.is_marker() {
                    match run.slot {
                        Slot::Guard => hit!(ctx, COPIES_GUARDS),
                        Slot::UffdWp => hit!(ctx, uffd::protect::FORK_KEPT),
                        _ => hit!(ctx, uffd::poison::FORK),
                    }
                    // The child's marker is a new one, without the parent's soft-dirty bit.
                    continue;
                }
                let parts = ctx.mm.slots.by_soft_dirty(run.start, run.end);
                for (from, to, _) in parts.into_iter().filter(|part| part.2) {
                    mm.slots.set_soft_dirty(from, to);
                }
                for (from, to) in ctx.mm.slots.clean_in(run.start, run.end) {
                    mm.slots.set_clean(from, to);
                }
            }
        }
    }
    if let Err(errno) = ctx.allocate() {
        return Outcome::Errno(errno);
    }
    uffd::events::forked(ctx, &mm.vmas);
    ctx.world.folios.inherited(ctx.actor, child);
    if let Some(slot) = ctx.world.actors.get_mut(usize::from(child)) {
        *slot = Some(Arc::new(mm));
    }
    Outcome::Ok
}

/// _exit(2).
pub(crate) fn exit(mut ctx: Ctx) -> Branch {
    hit!(ctx, EXIT);
    Branch {
        world: ctx.world,
        outcome: Outcome::Ok,
        rules: ctx.rules,
    }
}
