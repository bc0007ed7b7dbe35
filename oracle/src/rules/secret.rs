//! Secret memory (memfd_secret): pages that the kernel itself does not map. Processes load and store as ever; what the kernel
//! would do on their behalf it cannot.

use super::errno::{EAGAIN, EBADF, EPERM};
use super::registry::Rule;
use super::{hit, merge, mlock, Ctx};
use crate::judge::Class;
use crate::program::{File, FileKind, Prot};
use crate::space::{Locked, Vma};

pub const MISSING: Rule = Rule {
    name: "secret/missing-is-ebadf",
    text: "A kernel without memfd_secret makes no such file (ENOSYS): whatever is done with the descriptor then is EBADF, before \
           anything else is looked at.",
    source: "mm/secretmem.c; memfd_secret(2)",
    since: "before 5.14, and where it is not built or not switched on",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const MAPS: Rule = Rule {
    name: "secret/maps",
    text: "A mapping of secret memory is left out of core dumps (`dd`), until DODUMP, and can never be executed: no `me`, EPERM \
           for mmap with PROT_EXEC, EACCES for mprotect to it.",
    source: "mm/secretmem.c secretmem_mmap, secretmem_init: MNT_NOEXEC; mm/mmap.c do_mmap: path_noexec",
    since: "5.14",
    about: &[Class::VmFlags, Class::Errno, Class::Vma],
};

pub const LOCKED: Rule = Rule {
    name: "secret/is-locked",
    text: "On these kernels a mapping of secret memory is locked (`lo`), so that it refuses guards, DONTNEED and their like, and one \
           that exceeds the limit is EAGAIN, after MAP_FIXED has removed what was there, whose locks still count then. Others count \
           pages as they come.",
    source: "mm/secretmem.c secretmem_mmap: VM_LOCKED, mlock_future_ok",
    since: "some; the row secret_is_locked",
    about: &[Class::VmFlags, Class::Errno, Class::Vma],
};

pub const ALONE: Rule = Rule {
    name: "secret/faulted-in-alone",
    text: "Each page of secret memory is faulted in by its own access: there is no fault-around.",
    source: "mm/secretmem.c secretmem_vm_ops has no map_pages",
    since: "5.14",
    about: &[Class::PageState, Class::Residency],
};

pub const OUT_OF_REACH: Rule = Rule {
    name: "secret/out-of-the-kernels-reach",
    text: "The kernel brings no secret memory in on its own: POPULATE_READ and POPULATE_WRITE are EINVAL, mlock is ENOMEM, \
           MAP_POPULATE, MAP_LOCKED and mlockall leave it empty. process_vm_readv and its like, /proc/PID/mem and vmsplice end \
           there as at a hole, also where its pages are present; read(2) and write(2) of a buffer in it work.",
    source: "mm/gup.c check_vma_flags: vma_is_secretmem, gup_fast_folio_allowed",
    since: "5.14",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const LOCK_STAYS: Rule = Rule {
    name: "secret/lock-stays",
    text: "mlock and its kin leave the flags of secret memory alone: what is locked from the start stays so, the rest is never.",
    source: "mm/mlock.c mlock_fixup",
    since: "5.14",
    about: &[Class::VmFlags, Class::Vma],
};

pub const LENGTH_STAYS: Rule = Rule {
    name: "secret/length-is-set-once",
    text: "ftruncate of secret memory that has a length is EINVAL, even to the same.",
    source: "mm/secretmem.c secretmem_setattr; memfd_secret(2)",
    since: "5.14",
    about: &[Class::Errno, Class::PageState],
};

pub const MERGES: Rule = Rule {
    name: "secret/merges-late",
    text: "Secret memory gets its flags (`dd`) only when it has been mapped. Older kernels look for neighbours to merge with before \
           that, in vain, and again behind it, if any mapping of the process lies below; in the guests nothing does but what the \
           program has mapped itself. So secret memory that is mapped lowest of all stays apart from the same above it.",
    source: "6.12 mm/mmap.c __mmap_region: vm_flags != vma->vm_flags && vmg.prev",
    since: "5.14; not on 6.16 and later, where it merges at once: the row secret_merges_late",
    about: &[Class::Vma],
};

/// Adds a new mapping of secret memory.
///
/// # Errors
/// That of [`merge::add`].
pub(super) fn add(ctx: &mut Ctx, new: Vma) -> Result<(), i32> {
    let lowest = ctx
        .mm
        .vmas
        .first()
        .is_none_or(|first| first.start >= new.start);
    let apart = ctx.world.profile.secret_merges_late && lowest;
    if apart {
        hit!(ctx, MERGES);
    }
    merge::add_beside(ctx, new, merge::Origin::Mapped, (!apart, !apart))
}

/// Whether a file is one that this kernel does not have.
pub(super) fn missing(ctx: &mut Ctx, file: File) -> Option<i32> {
    if file.kind() != FileKind::Secret || ctx.world.profile.secret_memory {
        return None;
    }
    hit!(ctx, MISSING);
    Some(EBADF)
}

/// Whether a VMA maps secret memory.
pub(crate) fn is(ctx: &Ctx, vma: &Vma) -> bool {
    let kind = vma.object.map(|id| ctx.world.object(id).kind);
    kind == Some(FileKind::Secret)
}

/// Why mmap refuses secret memory before it unmaps anything.
pub(super) fn denied(ctx: &mut Ctx, prot: Prot) -> Option<i32> {
    hit!(ctx, MAPS);
    prot.exec.then_some(EPERM)
}

/// How a new mapping is locked, which would be `locked` otherwise. `pages`: how many there are, and how many locked ones it
/// replaces, which the kernel subtracts only when the new mapping is made (mm/vma.c vms_complete_munmap_vmas).
///
/// # Errors
/// EAGAIN where it would exceed the limit.
pub(super) fn of_new(ctx: &mut Ctx, locked: Locked, pages: u32) -> Result<Locked, i32> {
    if !ctx.world.profile.secret_is_locked {
        return Ok(locked);
    }
    hit!(ctx, LOCKED);
    if mlock::over_limit(ctx, pages.into()) {
        return Err(EAGAIN);
    }
    Ok(match locked {
        Locked::No => Locked::All,
        locked => locked,
    })
}
