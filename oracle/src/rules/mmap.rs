//! mmap: private and shared anonymous memory and files, at a fixed place or at a hint.

use super::access::{touch, OnError, Purpose};
use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EACCES, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM};
use super::registry::Rule;
use super::{
    args, droppable, file, hit, hugetlb, merge, mlock, munmap, pkey, seal, secret, soft_dirty, Ctx,
};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::{Backing, FileKind, MapFlags, Place, Prot};
use crate::space::object::{Object, ObjectId};
use crate::space::{Branch, Hints, HugeAdvice, Key, Locked, Uffd, Vma};
use std::sync::Arc;

pub const MAPS: Rule = Rule {
    name: "mmap/maps",
    text: "mmap makes a VMA over the whole range, lengths rounded up to pages, with the protection and sharing asked for.",
    source: "mm/mmap.c do_mmap, mm/vma.c mmap_region",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const NEW_IS_EMPTY: Rule = Rule {
    name: "mmap/new-is-empty",
    text: "A new mapping has nothing in its page table: no page is present, nothing is resident, no guard is left.",
    source: "mm/vma.c __mmap_region",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const FIXED_REPLACES: Rule = Rule {
    name: "mmap/fixed/replaces",
    text: "MAP_FIXED removes whatever the range holds as munmap does, guards included, before the new VMA stands there.",
    source: "mm/vma.c __mmap_setup, vms_gather_munmap_vmas",
    since: "all",
    about: &[Class::PageState, Class::Vma, Class::Residency],
};

pub const HINT_FREE: Rule = Rule {
    name: "mmap/hint/taken-when-free",
    text: "Without MAP_FIXED an address is taken when nothing is mapped in the range.",
    source: "mm/mmap.c generic_get_unmapped_area_topdown",
    since: "all",
    about: &[Class::Errno],
};

pub const HINT_TAKEN: Rule = Rule {
    name: "mmap/hint/elsewhere-when-used",
    text: "Without MAP_FIXED a range that is in use even in part stays as it is; the mapping lands elsewhere. Where it is faulted in \
           there, what it maps of a file is in the page cache from then on.",
    source: "mm/mmap.c generic_get_unmapped_area_topdown; do_mmap: populate",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState, Class::Residency],
};

pub const HINT_ROUNDS_DOWN: Rule = Rule {
    name: "mmap/hint/rounds-down",
    text: "A hint that is not page aligned is rounded down. The guest sees another address than it asked for and unmaps it \
           again; VMAs that the mapping joined in between are split again, but keep a common anon_vma.",
    source: "mm/mmap.c round_hint_to_min",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const ACCOUNTS: Rule = Rule {
    name: "mmap/accounts-private-writable",
    text: "A private writable mapping is charged against the commit limit and shows `ac`; others do not.",
    source: "mm/vma.c accountable_mapping",
    since: "all",
    about: &[Class::VmFlags],
};

pub const SHARED_OBJECT: Rule = Rule {
    name: "mmap/shared/own-object",
    text: "Each shared anonymous mapping is a shared-memory file of its own, from its page 0 on: it never merges with a \
           neighbour when it is made.",
    source: "mm/shmem.c shmem_zero_setup",
    since: "all",
    about: &[Class::Vma],
};

pub const NO_REPLACE: Rule = Rule {
    name: "mmap/noreplace/only-where-free",
    text: "MAP_FIXED_NOREPLACE maps at the address or fails with EEXIST when anything is mapped in the range, guarded or not.",
    source: "mm/mmap.c do_mmap; mmap(2)",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const NO_RESERVE: Rule = Rule {
    name: "mmap/noreserve/is-not-charged",
    text: "MAP_NORESERVE shows `nr`, and a private writable mapping with it is not charged (no `ac`), not even when mprotect makes \
           it writable later. With vm.overcommit_memory at 2, which it is not here, the flag is ignored.",
    source: "mm/mmap.c do_mmap, mm/vma.c accountable_mapping, mm/mprotect.c mprotect_fixup",
    since: "all",
    about: &[Class::VmFlags],
};

pub const STACK: Rule = Rule {
    name: "mmap/stack/no-huge-pages",
    text: "MAP_STACK makes memory without huge pages, as NOHUGEPAGE would (`nh`), from 6.7 on; before it does nothing.",
    source: "6.7, mm: mmap: map MAP_STACK to VM_NOHUGEPAGE",
    since: "all",
    about: &[Class::VmFlags, Class::PageState, Class::Vma],
};

pub const POPULATES: Rule = Rule {
    name: "mmap/populate/faults-in",
    text: "MAP_POPULATE faults the new pages in: private writable memory as stores would, other memory as loads would, execute-only \
           and write-only memory too (not where a protection key forbids it). PROT_NONE is left alone; what stops it, such as the end of a file, is not \
           told.",
    source: "mm/gup.c __mm_populate, populate_vma_page_range; mmap(2)",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Vma],
};

pub const FILE: Rule = Rule {
    name: "mmap/file/maps",
    text: "A file is mapped from any page of it on, also where it has ended already. Mappings through the same open file that lie \
           side by side in memory as in the file become one VMA, private ones too.",
    source: "mm/mmap.c do_mmap, mm/vma.c is_mergeable_vma: vm_file and vm_pgoff; mmap(2)",
    since: "all",
    about: &[Class::Vma, Class::Errno],
};

pub const FILE_DENIED: Rule = Rule {
    name: "mmap/file/readonly-is-eacces",
    text: "A shared writable mapping through a descriptor that cannot write is EACCES, and MAP_FIXED leaves what is there. It is \
           found out after the address (EINVAL, EEXIST) and the limit of locked memory (EAGAIN).",
    source: "mm/mmap.c do_mmap; mmap(2), EACCES",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

/// mmap(2).
pub(crate) fn mmap(
    mut ctx: Ctx,
    range: Range,
    prot: Prot,
    backing: Backing,
    place: Place,
    flags: MapFlags,
) -> Vec<Branch> {
    let span = match backing {
        Backing::Hugetlb { .. } => hugetlb::span(&mut ctx, range),
        _ => args::Span::new(range, ctx.geometry()),
    };
    let locked = match make(&mut ctx, span, prot, backing, place, flags) {
        Ok(locked) => locked,
        Err(outcome) => return vec![ctx.finish(outcome)],
    };
    if flags.populate {
        hit!(ctx, POPULATES);
    }
    let actor = ctx.actor;
    let branches = if flags.populate || locked != Locked::No {
        let purpose = Purpose::FaultIn(OnError::NextVma);
        touch(ctx, span.start, span.end, purpose)
    } else {
        vec![ctx.finish(Outcome::Ok)]
    };
    if span.aligned {
        return branches;
    }
    let again = branches.into_iter();
    again
        .map(|branch| not_there(Ctx::resume(branch, actor), span))
        .collect()
}

/// The mapping is not where it was asked for: the guest unmaps it.
fn not_there(mut ctx: Ctx, span: Span) -> Branch {
    hit!(ctx, HINT_ROUNDS_DOWN);
    let (start, end, _) = span.clip(ctx.geometry());
    // What was just mapped is not sealed.
    let _ = munmap::unmap(&mut ctx, start, end);
    ctx.finish(Outcome::Elsewhere)
}

/// Makes the mapping, pages apart.
fn make(
    ctx: &mut Ctx,
    span: Span,
    prot: Prot,
    backing: Backing,
    place: Place,
    flags: MapFlags,
) -> Result<Locked, Outcome> {
    let g = ctx.geometry();
    let file = match backing {
        Backing::File(map) => Some(map.file),
        _ => None,
    };
    if let Some(errno) = file.and_then(|file| secret::missing(ctx, file)) {
        return Err(Outcome::Errno(errno));
    }
    let hugetlb = matches!(backing, Backing::Hugetlb { .. });
    if hugetlb && !ctx.world.profile.hugetlb {
        return Err(Outcome::Errno(EINVAL));
    }
    if let Some(errno) = refused(ctx, span, place) {
        return Err(Outcome::Errno(errno));
    }
    let (start, end, outside) = span.clip(g);
    // Programs map inside the arena only; what a hint reaches outside of it is not the oracle's business.
    let used = outside || ctx.mm.is_mapped_in(start, end);
    if place == Place::NoReplace {
        hit!(ctx, NO_REPLACE);
        if ctx.mm.is_mapped_in(start, end) {
            return Err(Outcome::Errno(EEXIST));
        }
    }
    let locked = mlock::of_new(ctx, flags.locked, span.end - span.start).map_err(Outcome::Errno)?;
    if backing == Backing::Droppable {
        if let Some(errno) = droppable::denied(ctx, flags) {
            return Err(Outcome::Errno(errno));
        }
    }
    if let Some(errno) = denied(ctx, backing, prot) {
        return Err(Outcome::Errno(errno));
    }
    let locked_before = ctx.mm.locked_vm();
    let is_secret = file.is_some_and(|file| file.kind() == FileKind::Secret);
    match place {
        // A hint inside a huge page is rounded up: wherever the mapping is then, it is not where it was asked for.
        Place::Hint if hugetlb && (used || !span.aligned) => {
            hit!(ctx, HINT_TAKEN);
            hugetlb::reserve(ctx, flags).map_err(Outcome::Errno)?;
            return Err(Outcome::Elsewhere);
        }
        Place::Hint if used => {
            hit!(ctx, HINT_TAKEN);
            ctx.allocate().map_err(Outcome::Errno)?;
            let pages = u32::try_from(span.end - span.start).unwrap_or(u32::MAX);
            if is_secret {
                // It is made elsewhere, and asks about the limit there.
                secret::of_new(ctx, locked, pages).map_err(Outcome::Errno)?;
            } else if let Backing::File(map) = backing {
                // MAP_POPULATE goes with MAP_FIXED in programs.
                if locked == Locked::All
                    && prot != Prot::NONE
                    && pkey::of_new(ctx, prot) == Key::Default
                {
                    file::brought_in(ctx, map, pages);
                }
            }
            return Err(Outcome::Elsewhere);
        }
        Place::Hint => hit!(ctx, HINT_FREE),
        Place::Fixed if used => {
            hit!(ctx, FIXED_REPLACES);
            make_room(ctx, start, end).map_err(Outcome::Errno)?;
        }
        Place::Fixed | Place::NoReplace => {}
    }
    if hugetlb {
        hugetlb::reserve(ctx, flags).map_err(Outcome::Errno)?;
    }
    let droppable = backing == Backing::Droppable;
    let stays_locked = match backing {
        _ if is_secret => {
            let replaced = locked_before - ctx.mm.locked_vm();
            secret::of_new(ctx, locked, end - start + replaced).map_err(Outcome::Errno)?
        }
        Backing::Droppable => droppable::of_new(ctx, locked),
        Backing::Hugetlb { .. } => hugetlb::of_new(ctx, locked),
        _ => locked,
    };
    hit!(ctx, MAPS);
    if ctx.world.profile.soft_dirty {
        hit!(ctx, soft_dirty::NEW);
    }
    hit!(ctx, NEW_IS_EMPTY);
    hit!(ctx, ACCOUNTS);
    let (object, pgoff) = match backing {
        Backing::PrivateAnon | Backing::Droppable => (None, start),
        Backing::SharedAnon => {
            hit!(ctx, SHARED_OBJECT);
            new_inode(ctx)?;
            let id = ObjectId(ctx.world.objects.len() as u32);
            let object = Object::shared_memory(end - start);
            ctx.world.objects.push(Arc::new(object));
            (Some(id), 0)
        }
        Backing::Hugetlb { .. } => {
            new_inode(ctx)?;
            let id = ObjectId(ctx.world.objects.len() as u32);
            ctx.world.objects.push(Arc::new(Object::shared_memory(0)));
            (Some(id), 0)
        }
        Backing::File(map) => {
            hit!(ctx, FILE);
            (Some(ObjectId::of(map.file)), map.page.into())
        }
    };
    let readonly = matches!(backing, Backing::File(map) if map.readonly);
    if flags.noreserve {
        hit!(ctx, NO_RESERVE);
    }
    let mut advice = HugeAdvice::None;
    if flags.stack {
        hit!(ctx, STACK);
        if ctx.world.profile.stack_no_huge {
            advice = HugeAdvice::NoHuge;
        }
    }
    let forbidden = matches!(backing, Backing::File(map) if seal::forbids(ctx, map));
    let new = Vma {
        start,
        end,
        prot,
        key: pkey::of_new(ctx, prot),
        of_heap: false,
        shared: backing.is_shared(),
        account: !backing.is_shared() && prot.write && !flags.noreserve && !droppable,
        hugetlb,
        noreserve: flags.noreserve || droppable,
        droppable,
        advice,
        hints: Hints {
            dont_dump: is_secret || droppable,
            wipe_on_fork: droppable,
            ..Hints::default()
        },
        locked: stays_locked,
        sealed: false,
        uffd: Uffd::default(),
        maybe_guard: false,
        soft_dirty: ctx.world.profile.soft_dirty,
        may_write: !(readonly && backing.is_shared()) && (!forbidden || prot.write),
        anon_vma: None,
        object,
        readonly,
        pgoff,
        anon_pgoff: start,
    };
    let made = if forbidden && prot.write {
        seal::map_late(ctx, new)
    } else if is_secret {
        secret::add(ctx, new)
    } else if droppable {
        droppable::add(ctx, new, locked)
    } else {
        merge::add(ctx, new, merge::Origin::Mapped)
    };
    made.map(|()| locked).map_err(Outcome::Errno)
}

/// Memory that is a file of the kernel's own has an inode of its own. Where there is none left, the kernel says what it would of a disk.
///
/// # Errors
/// ENOSPC.
fn new_inode(ctx: &mut Ctx) -> Result<(), Outcome> {
    ctx.allocate().map_err(|_| Outcome::Errno(ENOSPC))
}

/// Removes what MAP_FIXED replaces.
fn make_room(ctx: &mut Ctx, start: u32, end: u32) -> Result<(), i32> {
    let unmapped = munmap::unmap(ctx, start, end);
    if unmapped == Err(EINVAL) && ctx.world.profile.mmap_cut_is_enomem {
        hit!(ctx, hugetlb::CUT_BY_MMAP);
        return Err(ENOMEM);
    }
    unmapped
}

/// Why a file cannot be mapped so, whatever the address.
fn denied(ctx: &mut Ctx, backing: Backing, prot: Prot) -> Option<i32> {
    let Backing::File(map) = backing else {
        return None;
    };
    if map.file.kind() == FileKind::Secret {
        return secret::denied(ctx, prot);
    }
    if map.shared && map.readonly && prot.write {
        hit!(ctx, FILE_DENIED);
        return Some(EACCES);
    }
    (prot.write && seal::forbids(ctx, map) && seal::checked_first(ctx, map)).then_some(EPERM)
}

/// What mmap refuses, in the kernel's order: length, then address.
fn refused(ctx: &mut Ctx, span: Span, place: Place) -> Option<i32> {
    if span.empty {
        hit!(ctx, EMPTY);
        return Some(EINVAL);
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Some(ENOMEM);
    }
    if place != Place::Hint && !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Some(EINVAL);
    }
    None
}
