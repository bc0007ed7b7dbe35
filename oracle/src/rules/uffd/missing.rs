//! Faults on registered memory that would bring a new page.

use crate::judge::Class;
use crate::rules::registry::Rule;
use crate::rules::{anon_vma, hit, Ctx};
use crate::space::mm::{block_of, Table};

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

pub const COLLAPSE: Rule = Rule {
    name: "uffd/collapse",
    text: "In registered memory COLLAPSE brings no page that is missing: a block with an empty slot or a zero page ends it with \
           EBUSY.",
    source: "mm/khugepaged.c hpage_collapse_scan_pmd: userfaultfd_armed, SCAN_EXCEED_NONE_PTE",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

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
