//! Seals of memfds: what they forbid from then on.

use super::errno::{EBUSY, EINVAL, EPERM};
use super::registry::Rule;
use super::{hit, merge, munmap, secret, Ctx};
use crate::judge::{Class, Outcome};
use crate::program::{File, FileKind, FileMap, Seals};
use crate::space::object::ObjectId;
use crate::space::Vma;

pub const ADDS: Rule = Rule {
    name: "seal/adds",
    text: "F_ADD_SEALS adds seals to a memfd, for all who have it, and changes no mapping. EINVAL for files that are none, EPERM once \
           the seals themselves are sealed.",
    source: "mm/memfd.c memfd_add_seals; fcntl(2), F_ADD_SEALS",
    since: "all",
    about: &[Class::Errno],
};

pub const BUSY: Rule = Rule {
    name: "seal/write-is-busy",
    text: "F_SEAL_WRITE is EBUSY while anybody has a shared mapping that is or may become writable. F_SEAL_FUTURE_WRITE leaves \
           those alone.",
    source: "mm/memfd.c memfd_add_seals: mapping_deny_writable; fcntl(2), F_SEAL_WRITE",
    since: "all",
    about: &[Class::Errno],
};

pub const NO_WRITERS: Rule = Rule {
    name: "seal/no-writable-mapping",
    text: "A memfd sealed against writing, now or in future, cannot be mapped shared and writable: EPERM, and MAP_FIXED leaves what \
           is there. A shared mapping that cannot be written loses `mw`, so that mprotect is EACCES. Private mappings are as ever, \
           guards too.",
    source: "mm/memfd.c memfd_check_seals_mmap; fcntl(2), F_SEAL_WRITE, F_SEAL_FUTURE_WRITE",
    since: "all",
    about: &[Class::Errno, Class::VmFlags, Class::Vma],
};

pub const LATE: Rule = Rule {
    name: "seal/future-write-checked-late",
    text: "These kernels ask about F_SEAL_FUTURE_WRITE last: MAP_FIXED has removed what was there when EPERM comes, and a mapping that \
           joins a writable neighbour is not asked about at all.",
    source: "6.1 mm/mmap.c mmap_region, mm/shmem.c shmem_mmap: seal_check_write",
    since: "before 6.12",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const KEEPS_LENGTH: Rule = Rule {
    name: "seal/keeps-length",
    text: "F_SEAL_SHRINK makes ftruncate to less EPERM, F_SEAL_GROW ftruncate to more. The same length is no change.",
    source: "mm/shmem.c shmem_setattr; fcntl(2), F_SEAL_SHRINK, F_SEAL_GROW",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const KEEPS_CONTENTS: Rule = Rule {
    name: "seal/keeps-contents",
    text: "A hole in a memfd sealed against writing is EPERM, by fallocate as by madvise REMOVE.",
    source: "mm/shmem.c shmem_fallocate",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

/// fcntl(2) with F_ADD_SEALS.
pub(crate) fn add(ctx: &mut Ctx, file: File, seals: Seals) -> Outcome {
    if let Some(errno) = secret::missing(ctx, file) {
        return Outcome::Errno(errno);
    }
    hit!(ctx, ADDS);
    if file.kind() != FileKind::Memfd {
        return Outcome::Errno(EINVAL);
    }
    let id = ObjectId::of(file);
    let old = ctx.world.object(id).seals;
    if old.seal {
        return Outcome::Errno(EPERM);
    }
    if seals.write && !old.write {
        let others = ctx.world.actors.iter().flatten();
        let mut vmas = others.flat_map(|mm| &mm.vmas).chain(&ctx.mm.vmas);
        if vmas.any(|v| v.object == Some(id) && v.stores_are_shared() && v.may_write) {
            hit!(ctx, BUSY);
            return Outcome::Errno(EBUSY);
        }
    }
    ctx.world.object_mut(id).seals = old.and(seals);
    Outcome::Ok
}

/// Whether the seals of a file refuse a mapping, or only that it may be written.
pub(crate) fn forbids(ctx: &mut Ctx, map: FileMap) -> bool {
    let sealed = ctx.world.object(ObjectId::of(map.file)).seals;
    let forbids = map.shared && !map.readonly && sealed.forbid_writes();
    if forbids {
        hit!(ctx, NO_WRITERS);
    }
    forbids
}

/// Whether a writable shared mapping of a sealed file is refused before anything is unmapped.
pub(crate) fn checked_first(ctx: &Ctx, map: FileMap) -> bool {
    let seals = ctx.world.object(ObjectId::of(map.file)).seals;
    ctx.world.profile.future_seal_first || seals.write
}

/// A writable shared mapping of a sealed file on a kernel that asks late: it is refused unless it joins a neighbour.
pub(crate) fn map_late(ctx: &mut Ctx, new: Vma) -> Result<(), i32> {
    hit!(ctx, LATE);
    let (start, end, vmas) = (new.start, new.end, ctx.mm.vmas.len());
    merge::add(ctx, new, merge::Origin::Mapped)?;
    if ctx.mm.vmas.len() > vmas {
        munmap::unmap(ctx, start, end)?;
        return Err(EPERM);
    }
    Ok(())
}
