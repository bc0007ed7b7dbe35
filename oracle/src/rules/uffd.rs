//! userfaultfd: which memory can be registered, what then becomes of faults, and pages that are filled in by hand. An actor has
//! one descriptor, made with UFFD_FEATURE_SIGBUS: a fault that would wait for a handler is a SIGBUS.

pub(crate) mod poison;

use super::args::Span;
use super::errno::{EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSYS, EPERM};
use super::registry::Rule;
use super::{anon_vma, droppable, hit, merge, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Moved, Outcome};
use crate::program::{FileKind, UffdCall};
use crate::space::mm::{block_of, by_block, Table};
use crate::space::slots::Slot;
use crate::space::{Content, Uffd, Vma};

pub const MISSING_CALL: Rule = Rule {
    name: "uffd/not-built-in",
    text: "A kernel without CONFIG_USERFAULTFD has no userfaultfd: ENOSYS.",
    source: "mm/Kconfig USERFAULTFD",
    since: "all",
    about: &[Class::Errno],
};

pub const RANGE: Rule = Rule {
    name: "uffd/range",
    text: "Every call refuses a range with EINVAL whose start or length is not page aligned, that is empty, wraps or leaves the \
           address space: nothing is rounded.",
    source: "mm/userfaultfd.c (before 7.0 fs/userfaultfd.c) validate_range",
    since: "all",
    about: &[Class::Errno],
};

pub const REGISTERS: Rule = Rule {
    name: "uffd/register",
    text: "UFFDIO_REGISTER marks the memory of the range (`um` for missing pages): each VMA is split at the range's ends and merged with \
           like neighbours. Registered memory merges with nothing else. Holes are passed over, but something must be \
           mapped (EINVAL). No page and no guard changes; nothing happens where the mark is there already.",
    source: "userfaultfd_register, userfaultfd_register_range; ioctl_userfaultfd(2)",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const INSIDE_APART: Rule = Rule {
    name: "uffd/register/inside-stays-apart",
    text: "Where the part that is registered or unregistered starts inside a VMA, 6.1 gives the merge the offset of the VMA's start: the \
           part does not join the like neighbour behind it.",
    source: "fs/userfaultfd.c before 6.4, mm/uffd: allow vma to merge as much as possible; found by a divergence on 6.1",
    since: "before 6.4",
    about: &[Class::Vma],
};

pub const KINDS: Rule = Rule {
    name: "uffd/register/kinds",
    text: "Anonymous and shared memory can be registered, memfds mapped private as well; any other memory in the range is EINVAL, \
           and nothing is registered. To unregister asks the same of all memory in the range, registered or not.",
    source: "vma_can_userfault",
    since: "all",
    about: &[Class::Errno],
};

pub const DROPPABLE: Rule = Rule {
    name: "uffd/register/droppable",
    text: "Droppable memory cannot be registered. Before, the kernel looked for its flag where it had masked it out, and \
           registered it like any anonymous memory.",
    source: "vma_can_userfault: VM_DROPPABLE, tested after vm_flags &= __VM_UFFD_FLAGS in 6.12",
    since: "6.11; see the row uffd_takes_droppable",
    about: &[Class::Errno, Class::VmFlags, Class::Vma],
};

pub const MAY_WRITE: Rule = Rule {
    name: "uffd/register/may-write",
    text: "Memory that can never be made writable cannot be registered: EPERM, after the look at its kind.",
    source: "userfaultfd_register: VM_MAYWRITE",
    since: "all",
    about: &[Class::Errno],
};

pub const UNREGISTERS: Rule = Rule {
    name: "uffd/unregister",
    text: "UFFDIO_UNREGISTER takes the marks of the range away, splitting and merging as to register does; pages and guards stay.",
    source: "userfaultfd_unregister, userfaultfd_clear_vma",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const MISSING: Rule = Rule {
    name: "uffd/missing",
    text: "An access that would bring a new page into memory registered for missing pages raises SIGBUS with BUS_ADRERR, and the \
           slot stays empty; the kernel's own accesses get EFAULT, and mlock ENOMEM. A store gives the VMA its anon_vma all the \
           same. The block gets a page table, unless a huge page was what the kernel looked for: then the anon_vma only. A guard \
           is a guard: SIGSEGV.",
    source: "mm/memory.c do_anonymous_page, mm/huge_memory.c do_huge_pmd_anonymous_page: handle_userfault with \
             UFFD_FEATURE_SIGBUS",
    since: "all",
    about: &[Class::Signal, Class::Errno, Class::PageState, Class::Vma],
};

pub const MISSING_SHARED: Rule = Rule {
    name: "uffd/missing/page-cache",
    text: "In a mapping of shared memory or of a memfd a page is missing when the page cache does not have it; what it has is \
           mapped as ever, and a read fault maps what is cached around it before it fails.",
    source: "mm/shmem.c shmem_get_folio_gfp",
    since: "all",
    about: &[Class::Signal, Class::Errno, Class::PageState, Class::Residency],
};

pub const ONE_VMA: Rule = Rule {
    name: "uffd/fill/one-vma",
    text: "UFFDIO_COPY and UFFDIO_ZEROPAGE fill a range that lies in one registered VMA; otherwise ENOENT.",
    source: "mm/userfaultfd.c validate_dst_vma (before 6.9 find_dst_vma)",
    since: "all",
    about: &[Class::Errno],
};

pub const PREPARES_FIRST: Rule = Rule {
    name: "uffd/fill/anon-vma-first",
    text: "The VMA where the range starts gets an anon_vma if stores to it are not shared: from 6.9 on before it is looked at, so also \
           if it is not registered or too small, and even if it could never have a private page.",
    source: "mm/userfaultfd.c find_vma_and_prepare_anon; 6.9, userfaultfd: use per-vma locks in userfaultfd operations",
    since: "6.9; before: only where the range is filled",
    about: &[Class::Vma],
};

pub const COPIES: Rule = Rule {
    name: "uffd/copy",
    text: "UFFDIO_COPY puts a new page with the caller's contents into each empty slot: anonymous and mapped exclusively in private \
           memory, of a file too; in shared memory a page of the file, which must not be in the page cache yet. Protection does not \
           matter. Page tables are made, guards are not looked behind.",
    source: "mm/userfaultfd.c mfill_atomic_pte_copy, mfill_atomic_install_pte",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency, Class::Errno],
};

pub const ZEROES: Rule = Rule {
    name: "uffd/zeropage",
    text: "UFFDIO_ZEROPAGE maps the shared zero page into each empty slot of private memory, of a file too, and puts pages of zeros into \
           shared memory.",
    source: "mm/userfaultfd.c mfill_atomic_pte_zeropage",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency, Class::Errno],
};

pub const OCCUPIED: Rule = Rule {
    name: "uffd/fill/occupied",
    text: "A slot that is in use stops both calls, and so does a huge page, or a page of shared memory that is in the page cache though \
           not mapped: EEXIST if it is the first, otherwise what was filled before counts. A guard is in use: it stays.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte, mfill_establish_pmd",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const OVERWRITES_GUARDS: Rule = Rule {
    name: "uffd/copy/overwrites-guards",
    text: "Kernels that take any marker for an empty slot let UFFDIO_COPY replace guards by pages, though GUARD_INSTALL has promised \
           that accesses fail until GUARD_REMOVE, and UFFDIO_ZEROPAGE in shared memory. In private memory UFFDIO_ZEROPAGE respects \
           them.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte: pte_none_mostly; a finding, docs/findings.md",
    since: "6.13 to 6.18",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const BEYOND_END: Rule = Rule {
    name: "uffd/fill/beyond-end",
    text: "Behind the end of the file nothing is filled in: EFAULT, in private mappings too, and at a guard as well.",
    source: "mm/userfaultfd.c mfill_file_over_size",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const BEYOND_END_ENOMEM: Rule = Rule {
    name: "uffd/fill/beyond-end-is-enomem",
    text: "A bug of 7.2 and 7.3: behind the end of a file in shared memory both calls fail with ENOMEM, though memory is not short.",
    source: "mm/shmem.c shmem_mfill_folio_alloc returns no folio there, and mm/userfaultfd.c __mfill_atomic_pte takes that for a \
             lack of memory; a finding, docs/findings.md",
    since: "7.2",
    about: &[Class::Errno, Class::PageState],
};

pub const FORK: Rule = Rule {
    name: "uffd/fork",
    text: "A child's memory is not registered (without UFFD_FEATURE_EVENT_FORK).",
    source: "dup_userfaultfd",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Signal],
};

pub const MOVED: Rule = Rule {
    name: "uffd/mremap",
    text: "What mremap moves is not registered at its new place (without UFFD_FEATURE_EVENT_REMAP), and its page tables move slot by \
           slot; what MREMAP_DONTUNMAP leaves stays registered, and what is added in place is.",
    source: "mremap_userfaultfd_prep, mm/mremap.c uffd_supports_page_table_move",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

pub const MOVED_APART: Rule = Rule {
    name: "uffd/mremap/stays-apart",
    text: "It merges with nothing at its new place. Before, it merges with what is registered, and all of that is registered no \
           more.",
    source: "mm/vma.c vma_merge_copied_range of 7.3",
    since: "7.3",
    about: &[Class::VmFlags, Class::Vma],
};

pub const MOVED_ALONE: Rule = Rule {
    name: "uffd/mremap/alone",
    text: "Where mremap moves several VMAs, a registered one moves alone only: EFAULT as for files whose file system looks for \
           addresses itself.",
    source: "mm/mremap.c vma_multi_allowed",
    since: "6.17",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const COLLAPSE: Rule = Rule {
    name: "uffd/collapse",
    text: "In registered memory COLLAPSE brings no page that is missing: a block with an empty slot or a zero page ends it with \
           EBUSY.",
    source: "mm/khugepaged.c hpage_collapse_scan_pmd: userfaultfd_armed, SCAN_EXCEED_NONE_PTE",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

/// A call through userfaultfd.
pub(crate) fn call(ctx: &mut Ctx, range: Range, call: UffdCall) -> Outcome {
    if !ctx.world.profile.userfaultfd {
        hit!(ctx, MISSING_CALL);
        return Outcome::Errno(ENOSYS);
    }
    let g = ctx.geometry();
    let span = Span::new(range, g);
    if !span.aligned || span.wraps || span.empty || !range.end.is_page_aligned() {
        hit!(ctx, RANGE);
        return Outcome::Errno(EINVAL);
    }
    if call == UffdCall::Poison && !ctx.world.profile.uffd_poison {
        hit!(ctx, poison::UNKNOWN);
        return Outcome::Errno(EINVAL);
    }
    match call {
        UffdCall::RegisterMissing => register(ctx, span, Uffd { missing: true }),
        UffdCall::Unregister => register(ctx, span, Uffd::default()),
        UffdCall::Copy { tag } => fill(ctx, range, Filling::Copy(tag)),
        UffdCall::ZeroPage => fill(ctx, range, Filling::Zero),
        UffdCall::Poison => fill(ctx, range, Filling::Poison),
    }
}

/// Registers the memory of a range, or, with nothing to register for, unregisters it.
fn register(ctx: &mut Ctx, span: Span, uffd: Uffd) -> Outcome {
    let on = uffd != Uffd::default();
    if on {
        hit!(ctx, REGISTERS);
    } else {
        hit!(ctx, UNREGISTERS);
    }
    let (start, end, _) = span.clip(ctx.geometry());
    let first = ctx.mm.first_vma_after(start);
    let last = ctx.mm.vmas.partition_point(|v| v.start < end);
    if first >= last {
        return Outcome::Errno(EINVAL);
    }
    for i in first..last {
        if !possible(ctx, i) {
            return Outcome::Errno(EINVAL);
        }
        if on && !ctx.mm.vmas[i].may_write {
            hit!(ctx, MAY_WRITE);
            return Outcome::Errno(EPERM);
        }
    }
    let mut at = start;
    while at < end {
        let i = ctx.mm.first_vma_after(at);
        let Some(vma) = ctx.mm.vmas.get(i).filter(|v| v.start < end) else {
            break;
        };
        let (from, to) = (vma.start.max(at), vma.end.min(end));
        if vma.uffd == uffd {
            at = to;
            continue;
        }
        if from > vma.start && ctx.world.profile.uffd_inside_stays_apart {
            hit!(ctx, INSIDE_APART);
            merge::split(ctx, from);
            merge::split(ctx, to);
            if let Some(i) = ctx.mm.vma_index(from) {
                ctx.mm.vmas[i].uffd = uffd;
            }
            at = to;
            continue;
        }
        let mut new = vma.clone();
        new.uffd = uffd;
        at = merge::modify(ctx, i, from, to, new);
    }
    Outcome::Ok
}

/// Whether a VMA is of a kind that can be registered.
fn possible(ctx: &mut Ctx, i: usize) -> bool {
    let vma = &ctx.mm.vmas[i];
    let droppable = vma.droppable;
    let kind = vma.object.map(|id| ctx.world.object(id).kind);
    if droppable {
        hit!(ctx, DROPPABLE);
        return ctx.world.profile.uffd_takes_droppable;
    }
    let possible = kind.is_none_or(|kind| kind == FileKind::Memfd);
    if !possible {
        hit!(ctx, KINDS);
    }
    possible
}

/// What a call puts into empty slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// New pages with this tag.
    Copy(u16),
    Zero,
    Poison,
}

/// UFFDIO_COPY, UFFDIO_ZEROPAGE or UFFDIO_POISON.
fn fill(ctx: &mut Ctx, range: Range, with: Filling) -> Outcome {
    let g = ctx.geometry();
    let (first, last) = (range.start.page_index(g), range.end.page_index(g));
    let at = u32::try_from(first).ok();
    let Some(i) = at.and_then(|page| ctx.mm.vma_index(page)) else {
        hit!(ctx, ONE_VMA);
        return Outcome::Errno(ENOENT);
    };
    let (start, end) = (first as u32, last as u32);
    let prepares = |vma: &Vma| !vma.stores_are_shared();
    if ctx.world.profile.uffd_prepares_first && prepares(&ctx.mm.vmas[i]) {
        hit!(ctx, PREPARES_FIRST);
        anon_vma::prepare(ctx, i);
    }
    let vma = &ctx.mm.vmas[i];
    if vma.uffd == Uffd::default() || last > i64::from(vma.end) {
        hit!(ctx, ONE_VMA);
        return Outcome::Errno(ENOENT);
    }
    if prepares(vma) {
        anon_vma::prepare(ctx, i);
    }
    match with {
        Filling::Copy(_) => hit!(ctx, COPIES),
        Filling::Zero => hit!(ctx, ZEROES),
        Filling::Poison => hit!(ctx, poison::MARKS),
    }
    let (done, errno) = fill_slots(ctx, i, (start, end), with);
    match errno {
        Some(errno) if done == start => Outcome::Errno(errno),
        _ => {
            let bytes = u64::from(done - start) * u64::from(g.page_size);
            Outcome::Moved(Moved::of(range.into(), bytes, Vec::new(), 0, g))
        }
    }
}

/// Fills slots of VMA `i` up to the first that stops it: where that is, and why.
fn fill_slots(
    ctx: &mut Ctx,
    i: usize,
    (start, end): (u32, u32),
    with: Filling,
) -> (u32, Option<i32>) {
    let mut done = start;
    for (block, from, to) in by_block(start, end, ctx.geometry()) {
        if ctx.mm.tables[block] == Table::Huge {
            hit!(ctx, OCCUPIED);
            return (from, Some(EEXIST));
        }
        ctx.mm.tables[block] = Table::Pte;
        done = from;
        while done < to {
            let (mut next, slot) = ctx.mm.slots.stretch(done, to);
            next = next.min(ctx.world.end_in_file(&ctx.mm.vmas[i]).max(done));
            if next == done {
                let shared = ctx.mm.vmas[i].stores_are_shared() && with != Filling::Poison;
                if shared && ctx.world.profile.uffd_beyond_end_is_enomem {
                    hit!(ctx, BEYOND_END_ENOMEM);
                    return (done, Some(ENOMEM));
                }
                hit!(ctx, BEYOND_END);
                return (done, Some(EFAULT));
            }
            let shared = ctx.mm.vmas[i].stores_are_shared();
            let new_page = match with {
                Filling::Copy(_) => true,
                Filling::Zero => shared,
                Filling::Poison => false,
            };
            let guards = ctx.world.profile.uffd_copies_over_guards && new_page;
            match slot {
                None => {}
                Some(Slot::Guard) if guards => hit!(ctx, OVERWRITES_GUARDS),
                Some(Slot::Poison) if new_page => hit!(ctx, poison::REPLACED),
                Some(_) => {
                    hit!(ctx, OCCUPIED);
                    return (done, Some(EEXIST));
                }
            }
            if shared && new_page {
                next = uncached(ctx, i, done, next);
                if next == done {
                    hit!(ctx, OCCUPIED);
                    return (done, Some(EEXIST));
                }
            }
            put(ctx, i, (done, next), with);
            done = next;
        }
    }
    (done, None)
}

/// Where the pages from `start` on that the page cache does not have end.
fn uncached(ctx: &Ctx, i: usize, start: u32, end: u32) -> u32 {
    let vma = &ctx.mm.vmas[i];
    let Some(id) = vma.object else {
        return end;
    };
    let mut cached = ctx
        .world
        .object(id)
        .runs_in(vma.index(start), vma.index(end));
    cached.next().map_or(end, |run| vma.page_of(run.start))
}

/// Fills slots that nothing stands in the way of.
fn put(ctx: &mut Ctx, i: usize, (start, end): (u32, u32), with: Filling) {
    let vma = &ctx.mm.vmas[i];
    let content = match with {
        Filling::Copy(tag) => Content::written(tag, start),
        Filling::Zero | Filling::Poison => Content::ZERO,
    };
    match (vma.object.filter(|_| vma.stores_are_shared()), with) {
        (_, Filling::Poison) => ctx.mm.slots.set(start, end, Slot::Poison),
        (Some(id), _) => {
            let (first, last) = (vma.index(start), vma.index(end));
            let object = ctx.world.object_mut(id);
            object.store(first, last, content);
            object.mark_dirty(first, last);
            ctx.mm.slots.set(start, end, Slot::File);
            ctx.mm.set_soft_dirty(start, end);
        }
        (None, Filling::Zero) => ctx.mm.slots.set(start, end, Slot::Zero),
        (None, Filling::Copy(_)) => {
            let id = ctx.world.new_pages(end - start);
            droppable::made(ctx, i, id, end - start);
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            ctx.mm.set_soft_dirty(start, end);
        }
    }
}

/// Whether a fault at `page` of VMA `i`, where nothing is and no huge page can come, is userfaultfd's. What it leaves behind.
pub(crate) fn missing(ctx: &mut Ctx, i: usize, page: u32, write: bool) -> bool {
    if !ctx.mm.vmas[i].uffd.missing {
        return false;
    }
    hit!(ctx, MISSING);
    let block = block_of(page, ctx.geometry());
    if ctx.mm.tables[block] == Table::None {
        ctx.mm.tables[block] = Table::Pte;
    }
    if write {
        anon_vma::prepare(ctx, i);
    }
    true
}

/// The end of the part of `[start, end)`, empty slots of a mapping of a file, at which faults are not userfaultfd's.
pub(crate) fn present(ctx: &mut Ctx, i: usize, start: u32, end: u32) -> u32 {
    let vma = &ctx.mm.vmas[i];
    let Some(id) = vma.object.filter(|_| vma.uffd.missing) else {
        return end;
    };
    let (first, last) = (vma.index(start), vma.index(end));
    let mut at = first;
    for run in ctx.world.object(id).runs_in(first, last) {
        if run.start > at {
            break;
        }
        at = run.end;
    }
    let to = start + (at - first);
    if to < end {
        hit!(ctx, MISSING_SHARED);
    }
    to
}

/// mremap has moved memory to a place that `page` is of: it is not registered there.
pub(crate) fn moved(ctx: &mut Ctx, page: u32) {
    let Some(i) = ctx.mm.vma_index(page) else {
        return;
    };
    if ctx.mm.vmas[i].uffd != Uffd::default() {
        hit!(ctx, MOVED);
        ctx.mm.vmas[i].uffd = Uffd::default();
    }
}
