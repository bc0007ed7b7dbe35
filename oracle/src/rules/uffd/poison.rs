//! UFFDIO_POISON: markers that make accesses fail as accesses to broken memory do. They are the other marker that a page-table slot can
//! hold, and meet guards wherever slots are filled, zapped and copied.

use crate::judge::Class;
use crate::rules::registry::Rule;
use crate::rules::{hit, Ctx};
use crate::space::slots::Slot;

pub const UNKNOWN: Rule = Rule {
    name: "uffd/poison/unknown",
    text: "Kernels before 6.6 do not know UFFDIO_POISON: EINVAL.",
    source: "6.6, mm: userfaultfd: add new UFFDIO_POISON ioctl",
    since: "before 6.6; see the row uffd_poison",
    about: &[Class::Errno],
};

pub const MARKS: Rule = Rule {
    name: "uffd/poison",
    text: "UFFDIO_POISON puts a poison marker into each empty slot of registered memory, whatever the page cache holds there. Whatever \
           stands in a slot stops it, another marker too: EEXIST if it is the first. A guard stays a guard.",
    source: "mm/userfaultfd.c mfill_atomic_pte_poison; ioctl_userfaultfd(2), UFFDIO_POISON",
    since: "6.6",
    about: &[Class::PageState, Class::Errno, Class::Residency],
};

pub const ACCESS: Rule = Rule {
    name: "uffd/poison/access",
    text: "An access that the VMA permits to a poisoned page raises SIGBUS with BUS_MCEERR_AR, registered or not; on x86-64 without \
           CONFIG_MEMORY_FAILURE with BUS_ADRERR. The kernel's own accesses get EFAULT, POPULATE_READ and POPULATE_WRITE end with EHWPOISON, mlock with ENOMEM. The marker stays.",
    source: "mm/memory.c handle_pte_marker: VM_FAULT_HWPOISON; arch/x86/mm/fault.c do_sigbus; mm/gup.c vm_fault_to_errno; mm/madvise.c madvise_populate",
    since: "6.6",
    about: &[Class::Signal, Class::Errno, Class::PageState],
};

pub const REPLACED: Rule = Rule {
    name: "uffd/poison/replaced",
    text: "UFFDIO_COPY replaces poison by a page, and so does UFFDIO_ZEROPAGE in shared memory. In private memory UFFDIO_ZEROPAGE finds \
           the slot in use.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte: pte_none_mostly, from 7.2 on pte_is_uffd_marker; mfill_atomic_pte_zeropage",
    since: "6.6",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const GOES: Rule = Rule {
    name: "uffd/poison/goes",
    text: "Poison goes as a page goes: by DONTNEED, FREE and truncation, and GUARD_INSTALL zaps it to put its own marker there. \
           GUARD_REMOVE leaves it, and so does a punched hole, since no page of the file stands there.",
    source: "mm/memory.c zap_nonpresent_ptes: should_zap_cows; mm/madvise.c madvise_free_pte_range, guard_install_pte_entry, \
             guard_remove_pte_entry",
    since: "6.6",
    about: &[Class::PageState, Class::Signal, Class::Value],
};

pub const FORK: Rule = Rule {
    name: "uffd/poison/fork",
    text: "Where fork copies slot by slot the child has the parent's poison as its own. In shared memory that was never guarded it does \
           not: the child finds the page that its parent must not touch.",
    source: "mm/memory.c copy_pte_marker, vma_needs_copy",
    since: "6.6",
    about: &[Class::PageState, Class::Signal],
};

/// What is about to be zapped in `[start, end)` may be poison.
pub(crate) fn goes(ctx: &mut Ctx, start: u32, end: u32) {
    if ctx
        .mm
        .slots
        .runs_in(start, end)
        .any(|r| r.slot == Slot::Poison)
    {
        hit!(ctx, GOES);
    }
}
