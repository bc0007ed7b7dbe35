//! prctl(PR_SET_THP_DISABLE): an address space without huge pages.

use super::errno::EINVAL;
use super::registry::Rule;
use super::{hit, Ctx};
use crate::judge::{Class, Outcome};
use crate::program::HugeSwitch;
use crate::space::{HugeAdvice, Vma};

pub const OFF: Rule = Rule {
    name: "thp-disable/off",
    text: "After prctl(PR_SET_THP_DISABLE, 1) no fault in this address space maps a huge page, whatever the VMA's flags, and COLLAPSE is \
           EINVAL. Huge pages that are there stay; the VMAs' flags stay too, and count again once it is switched on.",
    source: "man 2 prctl PR_SET_THP_DISABLE; include/linux/huge_mm.h vma_thp_disabled, mm/khugepaged.c madvise_collapse",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const EXCEPT_ADVISED: Rule = Rule {
    name: "thp-disable/except-advised",
    text: "With PR_THP_DISABLE_EXCEPT_ADVISED huge pages come only in VMAs with `hg`, even where the mode is always; COLLAPSE counts as \
           advice and works on, `nh` apart.",
    source: "include/linux/huge_mm.h vma_thp_disabled; 6.18, prctl: extend PR_SET_THP_DISABLE to optionally exclude VM_HUGEPAGE",
    since: "6.18",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const FLAGS: Rule = Rule {
    name: "thp-disable/flags",
    text: "Flags of PR_SET_THP_DISABLE that the kernel does not know are EINVAL, and nothing changes. Before 6.18 none is known.",
    source: "kernel/sys.c prctl_set_thp_disable",
    since: "all",
    about: &[Class::Errno],
};

pub const INHERITED: Rule = Rule {
    name: "thp-disable/inherited",
    text: "A child has what prctl(PR_SET_THP_DISABLE) said to its parent.",
    source: "man 2 prctl PR_SET_THP_DISABLE; include/linux/mm_types.h MMF_INIT_LEGACY_MASK",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

/// prctl(PR_SET_THP_DISABLE) with each of its arguments.
pub(crate) fn set(ctx: &mut Ctx, how: HugeSwitch) -> Outcome {
    match how {
        HugeSwitch::On => {}
        HugeSwitch::Off => hit!(ctx, OFF),
        HugeSwitch::OffUnlessAdvised if ctx.world.profile.thp_disable_except_advised => {
            hit!(ctx, EXCEPT_ADVISED);
        }
        HugeSwitch::OffUnlessAdvised | HugeSwitch::UnknownFlag => {
            hit!(ctx, FLAGS);
            return Outcome::Errno(EINVAL);
        }
    }
    ctx.mm.huge_switch = how;
    Outcome::Ok
}

/// Whether the address space keeps huge pages from a fault in the VMA, or from `collapse`.
pub(crate) fn forbids(ctx: &mut Ctx, vma: usize, collapse: bool) -> bool {
    let Vma { advice, .. } = ctx.mm.vmas[vma];
    match ctx.mm.huge_switch {
        HugeSwitch::Off => {
            hit!(ctx, OFF);
            true
        }
        HugeSwitch::OffUnlessAdvised => {
            hit!(ctx, EXCEPT_ADVISED);
            !collapse && advice != HugeAdvice::Huge
        }
        HugeSwitch::On | HugeSwitch::UnknownFlag => false,
    }
}
