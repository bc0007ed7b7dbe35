//! Protection keys: rights of a thread that stand beside those of the VMA. They are looked at before anything else about an access,
//! so before the guard that may be there.

use super::errno::{EINVAL, ENOSYS};
use super::registry::Rule;
use super::{hit, Ctx};
use crate::judge::Class;
use crate::program::{KeyGiven, Prot};
use crate::space::{Key, Vma};

pub const SETS: Rule = Rule {
    name: "pkey/mprotect",
    text: "pkey_mprotect does what mprotect does, and gives the VMAs a key, splitting and merging: VMAs with different keys do not merge, \
           and do not share an anon_vma. With key -1 it is mprotect. No page changes, no guard either.",
    source: "mm/mprotect.c do_mprotect_pkey: vma_pkey in vm_flags; pkey_mprotect(2)",
    since: "4.9, where the processor has them",
    about: &[Class::Vma, Class::Errno, Class::PageState],
};

pub const INHERITED: Rule = Rule {
    name: "pkey/stays",
    text: "mprotect leaves the key of a VMA as it is, unless it comes to or from PROT_EXEC alone; a child's VMAs have their parent's \
           keys, what mremap moves keeps its key, and what mmap makes has key 0, or that of execute-only memory.",
    source: "arch/x86/mm/pkeys.c __arch_override_mprotect_pkey; mm/mmap.c do_mmap: execute_only_pkey",
    since: "4.9, where the processor has them",
    about: &[Class::Signal, Class::Vma],
};

pub const UNALLOCATED: Rule = Rule {
    name: "pkey/unallocated-is-einval",
    text: "A key that is not allocated is EINVAL: after the form of the range, before anything that is mapped is looked at. Where the \
           processor has no keys only key 0 counts as allocated.",
    source: "mm/mprotect.c do_mprotect_pkey: mm_pkey_is_allocated; pkey_mprotect(2)",
    since: "4.9",
    about: &[Class::Errno, Class::Vma],
};

pub const MISSING: Rule = Rule {
    name: "pkey/no-such-call",
    text: "A kernel for an architecture without protection keys has no pkey_mprotect: ENOSYS.",
    source: "mm/mprotect.c: CONFIG_ARCH_HAS_PKEYS; 6.12, arm64: add Permission Overlay Extension Kconfig",
    since: "arm64: before 6.12",
    about: &[Class::Errno],
};

pub const DENIED: Rule = Rule {
    name: "pkey/denied",
    text: "An access that the key does not permit raises SIGSEGV with SEGV_PKUERR and the key in si_pkey, whatever the VMA permits, and \
           whether a page, a guard or nothing is there: nothing is brought in.",
    source: "arch/x86/mm/fault.c access_error, bad_area_access_from_pkeys: arch_vma_access_permitted; pkeys(7)",
    since: "4.9, where the processor has them",
    about: &[Class::Signal, Class::PageState],
};

pub const FAULTS_NOTHING_IN: Rule = Rule {
    name: "pkey/nothing-is-faulted-in",
    text: "What the key forbids is not faulted in either: POPULATE_READ and POPULATE_WRITE are EINVAL, mlock is ENOMEM, and MAP_POPULATE and \
           its like pass it over.",
    source: "mm/gup.c check_vma_flags: arch_vma_access_permitted",
    since: "4.9, where the processor has them",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const KERNEL: Rule = Rule {
    name: "pkey/kernel-side",
    text: "The kernel's accesses for a caller's own buffers, and vmsplice, end where his key forbids them. process_vm_readv, \
           process_vm_writev and /proc/PID/mem do not look at keys, not even in the caller's own memory.",
    source: "mm/gup.c check_vma_flags: FOLL_REMOTE is foreign; arch/x86/include/asm/mmu_context.h arch_vma_access_permitted",
    since: "4.9, where the processor has them",
    about: &[Class::Errno, Class::Value, Class::PageState],
};

pub const SEALED: Rule = Rule {
    name: "pkey/sealed-counts-as-read-only",
    text: "Sealed anonymous memory that may be written, but whose key forbids it, refuses to be discarded as sealed read-only memory does.",
    source: "mm/madvise.c can_madvise_modify (before 6.17 mm/mseal.c is_ro_anon): arch_vma_access_permitted; mseal(2)",
    since: "6.10, where the processor has them",
    about: &[Class::Errno, Class::PageState, Class::VmFlags],
};

/// The key of new memory with this protection.
pub(super) fn of_new(ctx: &Ctx, prot: Prot) -> Key {
    let execute_only = prot == Prot::new(false, false, true) && ctx.world.profile.exec_only_pkey;
    match execute_only {
        true => Key::ExecuteOnly,
        false => Key::Default,
    }
}

/// The key that a VMA gets with a protection.
pub(super) fn after(ctx: &mut Ctx, i: usize, prot: Prot, given: KeyGiven) -> Key {
    let old = ctx.mm.vmas[i].key;
    match given {
        KeyGiven::Open => Key::Open,
        KeyGiven::NoWrite => Key::NoWrite,
        KeyGiven::NoAccess => Key::NoAccess,
        KeyGiven::Default | KeyGiven::Unknown => Key::Default,
        KeyGiven::AsIs => match of_new(ctx, prot) {
            Key::ExecuteOnly => Key::ExecuteOnly,
            _ if old == Key::ExecuteOnly => Key::Default,
            _ => {
                if old != Key::Default {
                    hit!(ctx, INHERITED);
                }
                old
            }
        },
    }
}

/// Whether the kernel knows the call and the key.
///
/// # Errors
/// ENOSYS, or EINVAL once the form of the range is found to be right.
pub(super) fn allocated(ctx: &mut Ctx, given: KeyGiven) -> Result<(), i32> {
    let known = match given {
        KeyGiven::AsIs | KeyGiven::Default => true,
        KeyGiven::Open | KeyGiven::NoWrite | KeyGiven::NoAccess => ctx.world.profile.pkeys,
        KeyGiven::Unknown => false,
    };
    if !known {
        hit!(ctx, UNALLOCATED);
        return Err(EINVAL);
    }
    Ok(())
}

/// Whether the kernel has the call.
pub(super) fn has_call(ctx: &mut Ctx) -> Result<(), i32> {
    if ctx.world.profile.pkey_mprotect {
        return Ok(());
    }
    hit!(ctx, MISSING);
    Err(ENOSYS)
}

/// Whether the key of a VMA forbids loads, or stores.
pub(super) fn forbids(vma: &Vma, write: bool) -> bool {
    !vma.key.permits(write)
}
