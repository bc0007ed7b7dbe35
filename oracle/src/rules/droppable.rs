//! Droppable memory (MAP_DROPPABLE): private memory whose pages the kernel may take whenever it wants, stored to or not.

use super::errno::EINVAL;
use super::registry::Rule;
use super::{hit, merge, Ctx};
use crate::judge::Class;
use crate::program::MapFlags;
use crate::space::slots::PageId;
use crate::space::{Locked, Vma};

pub const MAPS: Rule = Rule {
    name: "droppable/maps",
    text: "MAP_DROPPABLE makes private anonymous memory that is never charged (`nr`), wiped on fork (`wf`), left out of dumps (`dd`) \
           and marked `dp`. It may have guards. EINVAL with MAP_LOCKED, and on kernels that do not know it: after the address and \
           the limit of locked memory, before MAP_FIXED removes anything.",
    source: "6.11, mm: add MAP_DROPPABLE for designating always lazily freeable mappings; mm/mmap.c do_mmap; mmap(2)",
    since: "6.11",
    about: &[Class::VmFlags, Class::Vma, Class::Errno, Class::PageState],
};

pub const ADVICE: Rule = Rule {
    name: "droppable/stays-so",
    text: "Advice cannot make droppable memory survive: KEEPONFORK and DODUMP are EINVAL. MERGEABLE passes it over without an error.",
    source: "mm/madvise.c madvise_vma_behavior, mm/ksm.c vma_ksm_compatible",
    since: "6.11",
    about: &[Class::Errno, Class::VmFlags, Class::Vma],
};

pub const ALWAYS_FREE: Rule = Rule {
    name: "droppable/always-free-to-take",
    text: "Pages of droppable memory are as if lazily freed from the start, and no store changes that: the kernel may take them at any \
           time, and PAGEOUT does.",
    source: "mm/rmap.c folio_add_new_anon_rmap: not swapbacked; try_to_unmap_one: dirty or not",
    since: "6.11",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const NOT_LOCKED: Rule = Rule {
    name: "droppable/not-locked",
    text: "mlock and its kin succeed on droppable memory and bring its pages in, with MLOCK_ONFAULT too, but lock nothing: no `lo`. \
           Nor do they unlock any.",
    source: "mm/mlock.c mlock_fixup: vma_supports_mlock; seen on 6.12 to 7.3",
    since: "6.11",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

pub const NEW_IS_LOCKED: Rule = Rule {
    name: "droppable/new-is-locked-or-not",
    text: "After mlockall(MCL_FUTURE) new droppable memory is brought in like other memory. It has `lo` on some kernels, for good: \
           munlock passes it over. On others it has not, and with MCL_ONFAULT it is brought in all the same; as it loses `lo` only \
           when it is there, it stays apart from droppable neighbours that never had it.",
    source: "mm/vma.c __mmap_complete, mm/mmap.c mmap_region: VM_LOCKED is kept, or cleared where vma_supports_mlock says no, after \
             vma_merge_new_range has compared it",
    since: "6.11; the row droppable_future_locks",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

/// Why the kernel refuses to map it.
pub(super) fn denied(ctx: &mut Ctx, flags: MapFlags) -> Option<i32> {
    hit!(ctx, MAPS);
    (flags.locked || !ctx.world.profile.droppable).then_some(EINVAL)
}

/// How a new mapping is locked, which would be `locked` otherwise.
pub(super) fn of_new(ctx: &mut Ctx, locked: Locked) -> Locked {
    if locked == Locked::No {
        return locked;
    }
    hit!(ctx, NEW_IS_LOCKED);
    match ctx.world.profile.droppable_future_locks {
        true => locked,
        false => Locked::No,
    }
}

/// Puts a new mapping in its place that was to be locked as `asked`: its neighbours are compared with that.
///
/// # Errors
/// That of [`merge::add`].
pub(super) fn add(ctx: &mut Ctx, new: Vma, asked: Locked) -> Result<(), i32> {
    let (start, stays) = (new.start, new.locked);
    let locked = asked;
    merge::add(ctx, Vma { locked, ..new }, merge::Origin::Mapped)?;
    if stays != asked {
        // Nothing that it could have joined has ever been locked, so it stands alone.
        let made = ctx.mm.vmas.iter_mut().find(|vma| vma.start == start);
        made.into_iter().for_each(|vma| vma.locked = stays);
    }
    Ok(())
}

/// Whether the flags of mlock pass a VMA over.
pub(super) fn is_never_locked(ctx: &mut Ctx, vma: &Vma) -> bool {
    if vma.droppable {
        hit!(ctx, NOT_LOCKED);
    }
    vma.droppable
}

/// New anonymous pages in VMA `i`.
pub(super) fn made(ctx: &mut Ctx, i: usize, id: PageId, pages: u32) {
    if ctx.mm.vmas[i].droppable {
        hit!(ctx, ALWAYS_FREE);
        ctx.mm.lazy.insert(id.0, id.0 + u64::from(pages));
    }
}
