//! Huge TLB memory (MAP_HUGETLB): a file of huge pages from a pool of its own. In the guests the pool is empty and stays so: such
//! memory is mapped, refused, cut and moved, and never holds a page. What programs can see of it is where it says no, and to guards
//! it always does.

use super::args::Span;
use super::errno::{EINVAL, ENOMEM};
use super::registry::Rule;
use super::{hit, Ctx};
use crate::geometry::Range;
use crate::judge::Class;
use crate::program::{Advice, MapFlags};
use crate::space::Locked;

pub const MAPS: Rule = Rule {
    name: "hugetlb/maps",
    text: "MAP_HUGETLB maps whole blocks (huge pages of the default size, what one PMD entry maps): the length is rounded up to them. With \
           MAP_FIXED a start inside a block is EINVAL; a hint is rounded up to one. The mapping shows `ht` and `de`, never `ac`, and \
           never merges with another. Where there are no huge pages it is EINVAL.",
    source: "mm/mmap.c ksys_mmap_pgoff, fs/hugetlbfs/inode.c hugetlbfs_file_mmap, hugetlb_get_unmapped_area; mm/vma.h VM_SPECIAL; \
             mmap(2), MAP_HUGETLB",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags],
};

pub const RESERVES: Rule = Rule {
    name: "hugetlb/reserves-at-mmap",
    text: "Without MAP_NORESERVE the pages are set aside when they are mapped, and from an empty pool that is ENOMEM: after the address \
           and the limit of locked memory, and when MAP_FIXED has removed what was there.",
    source: "fs/hugetlbfs/inode.c hugetlbfs_file_mmap: hugetlb_reserve_pages; Documentation/admin-guide/mm/hugetlbpage.rst",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const NO_PAGE: Rule = Rule {
    name: "hugetlb/empty-pool-is-sigbus",
    text: "An access that the VMA permits finds no huge page: SIGBUS with BUS_ADRERR, registered with userfaultfd or not, and the page \
           stays empty. The kernel's own accesses end there, POPULATE_READ and POPULATE_WRITE are EFAULT, mlock is ENOMEM; MAP_POPULATE \
           and mlockall pass it over.",
    source: "mm/hugetlb.c hugetlb_no_page, alloc_hugetlb_folio: ENOSPC; mmap(2), SIGBUS",
    since: "all",
    about: &[Class::Signal, Class::Errno, Class::PageState],
};

pub const SPLIT: Rule = Rule {
    name: "hugetlb/splits-between-huge-pages",
    text: "A huge TLB mapping is split between huge pages only. Whatever would split it elsewhere (munmap, MAP_FIXED, mprotect, mseal, \
           mremap, advice that changes flags) is EINVAL; what was done before stays done, the split at the range's start too.",
    source: "mm/hugetlb.c hugetlb_vm_op_split; mm/vma.c __split_vma; mmap(2), Huge page (Huge TLB) mappings",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags, Class::PageState],
};

pub const CUT_BY_MMAP: Rule = Rule {
    name: "hugetlb/cut-by-mmap-is-enomem",
    text: "Older kernels say ENOMEM when MAP_FIXED would cut a huge page in two.",
    source: "6.1 mm/mmap.c mmap_region: ENOMEM for any failure to unmap",
    since: "before 6.12; the row mmap_cut_is_enomem",
    about: &[Class::Errno],
};

pub const REFUSES: Rule = Rule {
    name: "hugetlb/refuses-advice",
    text: "Huge TLB memory refuses guards, to be installed and to be removed, and FREE, COLD, PAGEOUT, COLLAPSE and WIPEONFORK with EINVAL. \
           MERGEABLE passes it over without an error. HUGEPAGE and the other advice that changes flags does what it does elsewhere.",
    source: "mm/madvise.c is_valid_guard_vma, madvise_dontneed_free_valid_vma, can_madv_lru_vma; mm/khugepaged.c madvise_collapse; mm/ksm.c \
             vma_ksm_compatible: VM_SPECIAL, VM_HUGETLB",
    since: "all; guards: 6.13",
    about: &[Class::Errno, Class::VmFlags, Class::PageState],
};

pub const DONTNEED: Rule = Rule {
    name: "hugetlb/dontneed-wants-whole-pages",
    text: "DONTNEED and DONTNEED_LOCKED of huge TLB memory want a start between huge pages (EINVAL) and leave a huge page alone of which \
           the end of the range is a part.",
    source: "mm/madvise.c madvise_dontneed_free_valid_vma; 5.18, mm: enable MADV_DONTNEED for hugetlb mappings; madvise(2)",
    since: "5.18",
    about: &[Class::Errno, Class::PageState],
};

pub const DOFORK: Rule = Rule {
    name: "hugetlb/dofork-is-einval",
    text: "DOFORK of huge TLB memory is EINVAL on these kernels, so that DONTFORK cannot be taken back there. On the others it works.",
    source: "mm/madvise.c madvise_vma_behavior: MADV_DOFORK looks for VM_SPECIAL, before only for VM_IO",
    since: "7.0; the row dofork_refuses_special",
    about: &[Class::Errno, Class::VmFlags],
};

pub const NEVER_LOCKED: Rule = Rule {
    name: "hugetlb/never-locked",
    text: "mlock and its kin leave the flags of huge TLB memory alone and split nothing; MAP_LOCKED and MCL_FUTURE do not lock it (no `lo`), \
           though they ask about the limit.",
    source: "mm/mlock.c mlock_fixup, mm/vma.c __mmap_complete: is_vm_hugetlb_page",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Errno],
};

pub const MREMAP: Rule = Rule {
    name: "hugetlb/mremap",
    text: "mremap of huge TLB memory rounds both lengths up to huge pages, after the form of the call was looked at. It moves and shrinks as \
           other memory; a start or a new address inside a huge page is EINVAL, and so is growing, an old length of nothing included, \
           and MREMAP_DONTUNMAP.",
    source: "mm/mremap.c align_hugetlb, check_prep_vma: VM_DONTEXPAND (before 6.17 mremap, vma_to_resize)",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const UFFD_RANGE: Rule = Rule {
    name: "hugetlb/uffd-wants-whole-pages",
    text: "Where the range of UFFDIO_REGISTER or UFFDIO_UNREGISTER begins or ends inside a huge page it is EINVAL; the start counts if the \
           first VMA of the range is of huge TLB memory, be it before that VMA. To unregister ends there only when it comes to the end. \
           UFFDIO_WRITEPROTECT wants a start and a length of whole huge pages where it comes to such a VMA.",
    source: "userfaultfd_register, userfaultfd_unregister, mm/userfaultfd.c mwriteprotect_range",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::VmFlags],
};

pub const UFFD_FILL: Rule = Rule {
    name: "hugetlb/uffd-fills-whole-pages",
    text: "UFFDIO_COPY and UFFDIO_POISON of less than whole huge pages are EINVAL, once the VMA was found to be registered, and \
           UFFDIO_ZEROPAGE is EINVAL in any case.",
    source: "mm/userfaultfd.c mfill_atomic_hugetlb",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

/// The range of an mmap with MAP_HUGETLB, whose length the kernel rounds up.
pub(super) fn span(ctx: &mut Ctx, range: Range) -> Span {
    hit!(ctx, MAPS);
    let g = ctx.geometry();
    let (page, block) = (i64::from(g.page_size), i64::from(g.pages_per_pmd));
    let exact = Span::new(range, g);
    let bytes = range.end.byte_offset(g) - range.start.byte_offset(g);
    let pages = (bytes + block * page - 1).div_euclid(block * page) * block;
    Span {
        aligned: exact.aligned && exact.start.rem_euclid(block) == 0,
        empty: pages == 0,
        wraps: pages < 0,
        start: exact.start,
        end: exact.start + pages,
    }
}

/// Whether the kernel refuses to map it, once there is room.
///
/// # Errors
/// ENOMEM for want of huge pages.
pub(super) fn reserve(ctx: &mut Ctx, flags: MapFlags) -> Result<(), i32> {
    hit!(ctx, RESERVES);
    match flags.noreserve {
        true => Ok(()),
        false => Err(ENOMEM),
    }
}

/// How a new mapping is locked, which would be `locked` otherwise.
pub(super) fn of_new(ctx: &mut Ctx, locked: Locked) -> Locked {
    if locked != Locked::No {
        hit!(ctx, NEVER_LOCKED);
    }
    Locked::No
}

/// Whether the VMA that holds `page` may be split there.
pub(super) fn may_split(ctx: &mut Ctx, i: usize, page: u32) -> Result<(), i32> {
    if !ctx.mm.vmas[i].hugetlb {
        return Ok(());
    }
    hit!(ctx, SPLIT);
    match page.is_multiple_of(ctx.geometry().pages_per_pmd) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Whether VMA `i` refuses an advice for `[start, ..)` because it is of huge TLB memory.
pub(crate) fn refuses(ctx: &mut Ctx, i: usize, start: u32, advice: Advice) -> Result<(), i32> {
    if !ctx.mm.vmas[i].hugetlb {
        return Ok(());
    }
    let refused = match advice {
        Advice::GuardInstall
        | Advice::GuardRemove
        | Advice::Free
        | Advice::Cold
        | Advice::PageOut
        | Advice::Collapse
        | Advice::WipeOnFork => {
            hit!(ctx, REFUSES);
            true
        }
        Advice::DontNeed | Advice::DontNeedLocked => {
            hit!(ctx, DONTNEED);
            !start.is_multiple_of(ctx.geometry().pages_per_pmd)
        }
        Advice::DoFork if ctx.world.profile.dofork_refuses_special => {
            hit!(ctx, DOFORK);
            true
        }
        _ => false,
    };
    match refused {
        true => Err(EINVAL),
        false => Ok(()),
    }
}

/// Whether `page` lies between huge pages.
pub(super) fn is_border(ctx: &Ctx, page: i64) -> bool {
    page.rem_euclid(ctx.geometry().pages_per_pmd.into()) == 0
}
