//! Where the model ends: limits that it does not count.

use super::registry::Rule;
use crate::judge::Class;
use crate::program::{Knobs, ShmemThp};

pub const OUT_OF_MEMORY: Rule = Rule {
    name: "limits/out-of-memory",
    text: "Any call that allocates may fail with ENOMEM (fork and advice also with EAGAIN, mlock and its kin with nothing else) when the \
           machine is out of memory or at a limit. It leaves each page of its range as it was, as the call would have left it, or \
           empty (what it unmaps, unmapped), VMAs likewise, and perhaps split at the ends of the range; outside nothing changes. Where \
           an allocation was made to fail, that is said of mremap, and where memory is locked. The rest of the program cannot be \
           judged.",
    source: "man-pages: mmap(2), madvise(2), fork(2)",
    since: "all",
    about: &[
        Class::Errno,
        Class::PageState,
        Class::Value,
        Class::Vma,
        Class::VmFlags,
        Class::Residency,
    ],
};

pub const KNOBS: Rule = Rule {
    name: "limits/knobs-not-modelled",
    text: "Programs that turn on khugepaged, KSM or huge pages of shared memory run, but are not judged: these change page states \
           at times and in ways that the model does not know yet.",
    source: "mm/khugepaged.c, mm/ksm.c, mm/shmem.c shmem_allowable_huge_orders",
    since: "all",
    about: &[Class::PageState],
};

pub const COLLAPSE_OF_FILES: Rule = Rule {
    name: "limits/collapse-of-shared-memory",
    text: "COLLAPSE of a whole block of shared memory puts a huge page into the page cache, and the model does not know yet who maps \
           it how from then on: the rest of the program is not judged. Where COLLAPSE refuses, it is.",
    source: "mm/khugepaged.c collapse_file, try_collapse_pte_mapped_thp",
    since: "6.1",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const HUGETLB_MARKERS: Rule = Rule {
    name: "limits/hugetlb-markers",
    text: "UFFDIO_POISON and UFFDIO_WRITEPROTECT of whole huge pages leave a marker in huge TLB memory, of which pagemap tells other things \
           than of markers elsewhere: the rest of the program is not judged. Where they refuse, it is.",
    source: "mm/userfaultfd.c mfill_atomic_hugetlb, mm/hugetlb.c hugetlb_change_protection; fs/proc/task_mmu.c pagemap_hugetlb_range",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const MOVES_SWAPPED: Rule = Rule {
    name: "limits/moving-swapped-pages",
    text: "UFFDIO_MOVE of a page that is swapped out, or of one that was and may have become exclusive again when it came back, is not \
           modelled: the rest of the program is not judged.",
    source: "mm/userfaultfd.c move_swap_pte; mm/memory.c do_swap_page: RMAP_EXCLUSIVE",
    since: "6.8",
    about: &[Class::Errno, Class::PageState],
};

pub const SECTION_TOO_LARGE: Rule = Rule {
    name: "limits/section-too-large",
    text: "A section whose threads can meet in more states than are kept (60,000) runs, but is not judged, nor what follows it.",
    source: "a bound of the model",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

/// Whether the model knows what happens under these settings.
pub(crate) fn modelled(knobs: &Knobs) -> bool {
    !knobs.khugepaged && !knobs.ksm && knobs.shmem_thp == ShmemThp::Never
}
