//! Allocations that fail within a call: what it may leave.
//!
//! The rules of each call are written as the kernel's steps, and where a step allocates they ask [`Ctx::allocate`]. A step of a program
//! that says `fail N` is played once as usual, because the kernel can do without some of what it allocates, and once for each
//! allocation that the model knows of, which fails then and ends the call there. The kernel makes more allocations than the model
//! knows; which one the Nth is does not matter, since two between which nothing changes leave the same.

use super::errno::{EAGAIN, ENOMEM};
use super::registry::{index_of, Rule};
use super::{perform, Ctx, RuleSet};
use crate::judge::Class;
use crate::program::{Advice, Op, Step};
use crate::space::{Branch, World};

pub const OPTIONAL: Rule = Rule {
    name: "failing/optional",
    text: "The kernel can do without some allocations (batches of pages to free, what it tells khugepaged, larger slabs, what a debugging \
           aid notes): when one of them fails, the call does what it does otherwise.",
    source: "mm/mmu_gather.c tlb_next_batch, mm/khugepaged.c __khugepaged_enter, mm/slub.c allocate_slab",
    since: "all",
    about: &[Class::Errno],
};

pub const INSTALL: Rule = Rule {
    name: "failing/guard-install",
    text: "Guard install marks the VMA (`gu`), gets it an anon_vma if it is anonymous and has none, and only then walks, with a page \
           table for each block that has none. Whichever allocation fails: ENOMEM, what was guarded before stays guarded, what had to be \
           zapped on the way is empty, never half a page; without an anon_vma there is no new marker; nothing outside the range \
           changes.",
    source: "mm/madvise.c madvise_guard_install: anon_vma_prepare before the walk; mm/pagewalk.c walk_pmd_range: __pte_alloc",
    since: "6.13",
    about: &[
        Class::Errno,
        Class::PageState,
        Class::Value,
        Class::Residency,
        Class::Vma,
        Class::VmFlags,
    ],
};

pub const REMOVE: Rule = Rule {
    name: "failing/guard-remove",
    text: "Guard remove allocates nothing that it needs: it cannot fail for want of memory.",
    source: "mm/madvise.c madvise_guard_remove: the walk has no install_pte",
    since: "6.13",
    about: &[Class::Errno, Class::PageState],
};

pub const VMAS: Rule = Rule {
    name: "failing/changes-of-vmas",
    text: "mprotect, mlock and munlock return ENOMEM, and advice that sets flags EAGAIN, at the VMA for which an allocation fails: those \
           before it are changed, it and those behind it are not. It may stay split at the start of the range, where the split at \
           the end was what failed. No page changes, but a huge page that the split cut.",
    source: "mm/vma.c vma_modify, vma_merge_existing_range, __split_vma; mm/madvise.c madvise_vma_behavior; mm/mlock.c mlock_fixup",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const UNMAP: Rule = Rule {
    name: "failing/munmap",
    text: "munmap that lacks memory returns ENOMEM and unmaps nothing; VMAs may stay split at the ends of the range.",
    source: "mm/vma.c vms_gather_munmap_vmas, reattach_vmas; munmap(2), ENOMEM",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const MAP: Rule = Rule {
    name: "failing/mmap",
    text: "mmap that lacks memory returns ENOMEM, or ENOSPC where it is the inode of new shared or huge TLB memory. What MAP_FIXED was \
           to replace is either all there, its VMAs perhaps split at the ends of the range, or all gone, so that a hole is left.",
    source: "mm/vma.c __mmap_region, vms_clean_up_area, vms_abort_munmap_vmas; mm/shmem.c __shmem_get_inode, fs/hugetlbfs/inode.c \
             hugetlb_file_setup: ENOSPC",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const UNMERGED: Rule = Rule {
    name: "failing/not-merged",
    text: "A new mapping, or one that mremap moves, that cannot be merged with a neighbour for want of memory becomes a VMA of its own: \
           the call succeeds.",
    source: "mm/vma.c vma_merge_new_range, __mmap_region, copy_vma",
    since: "all",
    about: &[Class::Vma],
};

pub const REMAP: Rule = Rule {
    name: "failing/mremap",
    text: "mremap that lacks memory returns ENOMEM and nothing has moved, but MREMAP_FIXED has unmapped its target by then, a smaller \
           length what is behind it, and of several VMAs the first ones have moved. VMAs may stay split where they were to be \
           cut.",
    source: "mm/mremap.c mremap_to, move_vma, copy_vma_and_data",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const KEEPS_SOURCE: Rule = Rule {
    name: "failing/mremap-keeps-source",
    text: "When all has moved and the old place cannot be unmapped for want of memory, mremap succeeds nevertheless: the old VMA stays, \
           with nothing in the range, perhaps split at its ends, and all of it has lost `ac`.",
    source: "mm/mremap.c unmap_source_vma: \"OOM: unable to split vma, just get accounts right\", which returns before VM_ACCOUNT comes back",
    since: "all",
    about: &[Class::Vma, Class::VmFlags],
};

pub const FORK: Rule = Rule {
    name: "failing/fork",
    text: "A fork that lacks memory returns ENOMEM, and there is no child. The parent sees nothing of it; its pages may have lost the right \
           to be stored to without a fault.",
    source: "kernel/fork.c copy_process, mm/mmap.c dup_mmap (before 6.16 kernel/fork.c); fork(2), ENOMEM",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState, Class::VmFlags],
};

/// What the branches exercise in which an allocation fails; the most special first.
pub(crate) const FAILED: [usize; 8] = [
    index_of(&KEEPS_SOURCE),
    index_of(&UNMERGED),
    index_of(&INSTALL),
    index_of(&VMAS),
    index_of(&UNMAP),
    index_of(&MAP),
    index_of(&REMAP),
    index_of(&FORK),
];

/// Which of the allocations that the model knows of fails.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failing {
    /// Allocations up to the one that fails; 0: none does.
    left: u16,
    /// The rule that is exercised then.
    rule: usize,
}

impl Ctx {
    /// The kernel allocates something here without which the call cannot go on.
    ///
    /// # Errors
    /// ENOMEM when it is this allocation that fails.
    pub fn allocate(&mut self) -> Result<(), i32> {
        match self.failing.left {
            0 => Ok(()),
            1 => {
                self.failing.left = 0;
                self.rules.insert_index(self.failing.rule);
                Err(ENOMEM)
            }
            _ => {
                self.failing.left -= 1;
                Ok(())
            }
        }
    }
}

/// What advice that sets flags of VMAs returns when it lacks memory.
pub(crate) fn of_advice(errno: i32) -> i32 {
    match errno {
        ENOMEM => EAGAIN,
        other => other,
    }
}

/// Whether an allocation has failed on the way to a branch with these rules.
pub(crate) fn has_failed(rules: &RuleSet) -> bool {
    FAILED.iter().any(|rule| rules.contains_index(*rule))
}

/// The rule that speaks about an op when an allocation in it fails.
fn rule_of(op: &Op) -> &'static Rule {
    match op {
        Op::Madvise {
            advice: Advice::GuardInstall,
            ..
        } => &INSTALL,
        Op::Munmap { .. } => &UNMAP,
        Op::Mmap { .. } => &MAP,
        Op::Mremap { .. } => &REMAP,
        Op::Fork { .. } => &FORK,
        _ => &VMAS,
    }
}

/// The ways of a step in which the model's `nth` allocation fails, from 1 on; none when the call makes fewer.
pub(crate) fn nth(world: &World, step: &Step, nth: u16) -> Vec<Branch> {
    let failing = Failing {
        left: nth,
        rule: index_of(rule_of(&step.op)),
    };
    let mut branches = perform(world, step, failing);
    branches.retain(|branch| has_failed(&branch.rules));
    branches
}

/// The ways of a step in which any one of its allocations fails, each once.
pub(crate) fn any(world: &World, step: &Step) -> Vec<Branch> {
    let mut ways: Vec<Branch> = Vec::new();
    for number in 1.. {
        let failed = nth(world, step, number);
        if failed.is_empty() {
            break;
        }
        for way in failed {
            let same = |other: &Branch| other.outcome == way.outcome && other.world == way.world;
            if !ways.iter().any(same) {
                ways.push(way);
            }
        }
    }
    ways
}
