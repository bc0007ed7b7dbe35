//! Write protection page by page: UFFDIO_WRITEPROTECT, and where its bits and markers go.
//!
//! A present page carries a bit. A slot of a mapping of a file that has no page carries a marker, since the page may be in the
//! page cache all the same; an empty slot of anonymous memory carries nothing (without UFFD_FEATURE_WP_UNPOPULATED). The marker
//! is the third kind that a slot can hold, and meets guards wherever slots are filled, zapped and copied.

use crate::judge::{Class, Outcome};
use crate::rules::args::Span;
use crate::rules::errno::{EINVAL, ENOENT};
use crate::rules::registry::Rule;
use crate::rules::{hit, hugetlb, limits, soft_dirty, thp, Ctx};
use crate::space::mm::{block_pages, by_block, Mm, Table};
use crate::space::slots::Slot;

pub const UNKNOWN: Rule = Rule {
    name: "uffd/wp/unknown",
    text: "Where the architecture has no bit for it, memory cannot be registered for write protection: EINVAL.",
    source: "userfaultfd_register: CONFIG_HAVE_ARCH_USERFAULTFD_WP; 6.10, arm64/mm: Add uffd write-protect support",
    since: "x86-64: never; arm64: before 6.10",
    about: &[Class::Errno],
};

pub const PROTECTS: Rule = Rule {
    name: "uffd/wp/protect",
    text: "UFFDIO_WRITEPROTECT write-protects each present page of the range, the zero page too, and, in mappings of files, puts a \
           marker into each empty slot, for which page tables are made. Empty slots of anonymous memory stay empty. Guards and \
           poison stay what they are. A huge page of anonymous memory is protected as one if all of it is, else split; one of \
           shared memory is unmapped for markers.",
    source: "mm/mprotect.c change_pte_range, change_softleaf_pte, pgtable_split_needed; ioctl_userfaultfd(2), UFFDIO_WRITEPROTECT",
    since: "5.7; of shared memory 5.19",
    about: &[Class::PageState, Class::Errno, Class::Residency],
};

pub const UNPROTECTS: Rule = Rule {
    name: "uffd/wp/unprotect",
    text: "Without the flag it takes protection and markers away again, and so does UFFDIO_UNREGISTER where memory is registered for \
           write protection. Guards and poison stay.",
    source: "mm/mprotect.c change_pte_range, change_softleaf_pte: MM_CP_UFFD_WP_RESOLVE; userfaultfd_clear_vma",
    since: "5.7",
    about: &[Class::PageState, Class::Errno],
};

pub const REGISTERED: Rule = Rule {
    name: "uffd/wp/registered",
    text: "UFFDIO_WRITEPROTECT goes from VMA to VMA, over holes, up to the first that is not registered for write protection: ENOENT, \
           as where there is no VMA at all. What lies before it is done.",
    source: "mm/userfaultfd.c mwriteprotect_range",
    since: "6.3; see the row uffd_wp_many_vmas",
    about: &[Class::Errno, Class::PageState],
};

pub const ONE_VMA: Rule = Rule {
    name: "uffd/wp/one-vma",
    text: "Before, the range had to lie in one VMA that is registered for it: ENOENT, and nothing is done.",
    source: "mm/userfaultfd.c mwriteprotect_range: find_dst_vma; 6.3, mm/userfaultfd: support WP on multiple VMAs",
    since: "before 6.3",
    about: &[Class::Errno, Class::PageState],
};

pub const STORE: Rule = Rule {
    name: "uffd/wp/store",
    text: "A store that the VMA permits to a write-protected page, the zero page and huge ones included, raises SIGBUS with BUS_ADRERR \
           and changes nothing, not even who shares the page. The kernel's own stores get EFAULT, POPULATE_WRITE as well, mlock of \
           private writable memory ENOMEM. Loads pass.",
    source: "mm/memory.c do_wp_page, wp_huge_pmd: handle_userfault with UFFD_FEATURE_SIGBUS",
    since: "5.7",
    about: &[Class::Signal, Class::Errno, Class::PageState, Class::Value],
};

pub const MARKER: Rule = Rule {
    name: "uffd/wp/marker",
    text: "An access to a marker brings the page as to an empty slot, but write-protected: a load maps the file's page, a store through \
           a private mapping makes its copy first and then raises SIGBUS. Where the page is missing or behind the end of the file \
           the marker stays.",
    source: "mm/memory.c pte_marker_handle_uffd_wp, do_cow_fault, set_pte_range: vmf_orig_pte_uffd_wp",
    since: "5.19",
    about: &[Class::PageState, Class::Signal, Class::Value, Class::Residency],
};

pub const ALONE: Rule = Rule {
    name: "uffd/wp/no-fault-around",
    text: "In memory registered for write protection a read fault maps its own page only.",
    source: "include/linux/userfaultfd_k.h uffd_disable_fault_around",
    since: "5.13; for write protection 5.19",
    about: &[Class::PageState],
};

pub const LEAVES_MARKERS: Rule = Rule {
    name: "uffd/wp/zap-leaves-markers",
    text: "Where write-protected pages of a mapping of a file are zapped but the mapping stays, markers take their place, of private copies \
           too: DONTNEED, PAGEOUT, holes and truncation. Markers that are there stay. They keep a page table from being freed. In \
           anonymous memory protection goes with the page.",
    source: "mm/memory.c cond_install_uffd_wp_ptes (before pte_install_uffd_wp_if_needed), zap_nonpresent_ptes",
    since: "5.19",
    about: &[Class::PageState],
};

pub const GUARD: Rule = Rule {
    name: "uffd/wp/guard-replaces",
    text: "GUARD_INSTALL replaces write-protected pages and markers by guards, as it does whatever is mapped there.",
    source: "madvise(2), MADV_GUARD_INSTALL. In mappings of files no kernel gets there: a finding, docs/findings.md",
    since: "6.13",
    about: &[Class::PageState],
};

pub const REPLACED: Rule = Rule {
    name: "uffd/wp/marker/replaced",
    text: "UFFDIO_COPY replaces a marker by a page, write-protected if asked for, and so does UFFDIO_ZEROPAGE in shared memory. In a \
           private mapping UFFDIO_ZEROPAGE, and UFFDIO_POISON anywhere, finds the slot in use.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte: pte_is_uffd_marker, before pte_none_mostly; mfill_atomic_pte_zeropage, \
             mfill_atomic_pte_poison",
    since: "5.19",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const COPY: Rule = Rule {
    name: "uffd/wp/copy",
    text: "UFFDIO_COPY with UFFDIO_COPY_MODE_WP write-protects the new pages. EINVAL in memory that is not registered for that, after \
           the look for the VMA.",
    source: "mm/userfaultfd.c mfill_get_vma, mfill_atomic_install_pte: MFILL_ATOMIC_WP",
    since: "5.7",
    about: &[Class::Errno, Class::PageState],
};

pub const FORK: Rule = Rule {
    name: "uffd/wp/fork",
    text: "A child's pages are not write-protected by userfaultfd, and markers are not copied; the parent keeps both (without \
           UFFD_FEATURE_EVENT_FORK).",
    source: "mm/memory.c __copy_present_ptes, copy_pte_marker; mm/huge_memory.c copy_huge_pmd",
    since: "5.7",
    about: &[Class::PageState, Class::Signal],
};

pub const MOVED: Rule = Rule {
    name: "uffd/wp/mremap",
    text: "What mremap moves is not write-protected at its new place, and markers are gone (without UFFD_FEATURE_EVENT_REMAP).",
    source: "mm/mremap.c move_ptes: need_clear_uffd_wp; 6.13, mm: clear uffd-wp PTE/PMD state on mremap()",
    since: "6.13, and 6.12.y",
    about: &[Class::PageState, Class::Signal],
};

pub const FORK_KEPT: Rule = Rule {
    name: "uffd/wp/fork/stays",
    text: "With UFFD_FEATURE_EVENT_FORK a child's pages are write-protected by userfaultfd as its parent's are, huge ones too, and markers \
           are copied.",
    source: "mm/memory.c __copy_present_ptes, copy_pte_marker; mm/huge_memory.c copy_huge_pmd: userfaultfd_wp(dst_vma)",
    since: "5.19",
    about: &[Class::PageState, Class::Signal],
};

pub const MOVED_ALONG: Rule = Rule {
    name: "uffd/wp/mremap/stays",
    text: "With UFFD_FEATURE_EVENT_REMAP bits and markers move along with mremap, and protect at the new place.",
    source: "mm/mremap.c move_ptes, vma_has_uffd_without_event_remap",
    since: "5.7",
    about: &[Class::PageState, Class::Signal],
};

pub const SURVIVES: Rule = Rule {
    name: "uffd/wp/mremap/survives",
    text: "Before, bits and markers moved along into memory that is not registered; there they forbid nothing. So do those \
           that a change of modes leaves behind.",
    source: "mm/mremap.c move_ptes before 6.13, mm: clear uffd-wp PTE/PMD state on mremap()",
    since: "before 6.13; see the row uffd_wp_survives_mremap",
    about: &[Class::PageState],
};

pub const STALE: Rule = Rule {
    name: "uffd/wp/stale",
    text: "A marker in memory that is not registered for write protection goes at the first access, which then finds an empty slot.",
    source: "mm/memory.c pte_marker_handle_uffd_wp, pte_marker_clear",
    since: "5.19",
    about: &[Class::PageState],
};

pub const SWITCH: Rule = Rule {
    name: "uffd/wp/switch-refused",
    text: "To register memory for less than write protection, where it is registered for that, is EBUSY. Before, write protection \
           ended so, and left its bits and markers behind.",
    source: "userfaultfd_register of 7.3: `Mode switches that drop VM_UFFD_WP`; not in 7.2.12 (run)",
    since: "7.3",
    about: &[Class::Errno, Class::VmFlags],
};

pub const COLLAPSE: Rule = Rule {
    name: "uffd/wp/collapse",
    text: "COLLAPSE leaves a block alone in which it comes to a write-protected page: it goes on and ends with EINVAL.",
    source: "mm/khugepaged.c collapse_scan_pmd, madvise_collapse: SCAN_PTE_UFFD (before SCAN_PTE_UFFD_WP)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

pub const SHOWN: Rule = Rule {
    name: "uffd/wp/shown",
    text: "pagemap bit 57 is set on pages that are write-protected by userfaultfd and on markers, which look like swap entries.",
    source: "fs/proc/task_mmu.c pte_to_pagemap_entry, pagemap_pmd_range_thp; Documentation/admin-guide/mm/pagemap.rst",
    since: "5.14; markers 5.19",
    about: &[Class::PageState],
};

/// UFFDIO_WRITEPROTECT: protection `on` or off.
pub(super) fn protect(ctx: &mut Ctx, span: Span, on: bool) -> Outcome {
    let (start, end, _) = span.clip(ctx.geometry());
    let first = ctx.mm.first_vma_after(start);
    let last = ctx.mm.vmas.partition_point(|v| v.start < end);
    if !ctx.world.profile.uffd_wp_many_vmas {
        hit!(ctx, ONE_VMA);
        let holds =
            |i: usize| i < last && ctx.mm.vmas[i].start <= start && end <= ctx.mm.vmas[i].end;
        if span.start < 0 || !holds(first) {
            return Outcome::Errno(ENOENT);
        }
    }
    hit!(ctx, REGISTERED);
    if first >= last {
        return Outcome::Errno(ENOENT);
    }
    for i in first..last {
        let vma = &ctx.mm.vmas[i];
        if !vma.uffd.wp {
            return Outcome::Errno(ENOENT);
        }
        if vma.hugetlb {
            if !(hugetlb::is_border(ctx, span.start) && hugetlb::is_border(ctx, span.end)) {
                hit!(ctx, hugetlb::UFFD_RANGE);
                return Outcome::Errno(EINVAL);
            }
            if on {
                hit!(ctx, limits::HUGETLB_MARKERS);
            }
            continue;
        }
        let (from, to) = (vma.start.max(start), vma.end.min(end));
        change(ctx, i, (from, to), on);
    }
    Outcome::Ok
}

/// Protects pages of VMA `i`, or does so no more.
pub(super) fn change(ctx: &mut Ctx, i: usize, (start, end): (u32, u32), on: bool) {
    if on {
        hit!(ctx, PROTECTS);
        hit!(ctx, SHOWN);
        ctx.mm.may_be_write_protected = true;
    } else {
        hit!(ctx, UNPROTECTS);
    }
    let g = ctx.geometry();
    let anon = ctx.mm.vmas[i].is_anon();
    let markers = on && !anon;
    for (block, from, to) in by_block(start, end, g) {
        let whole = (from, to) == block_pages(block, g);
        if ctx.mm.tables[block] == Table::Huge && (!whole || markers) {
            thp::split_pmd(ctx, block);
        }
        if ctx.mm.tables[block] == Table::None {
            if !markers {
                continue;
            }
            ctx.mm.tables[block] = Table::Pte;
        }
        if on {
            ctx.mm.slots.set_uffd_wp(from, to);
        } else {
            ctx.mm.slots.clear_uffd_wp(from, to);
            ctx.mm
                .slots
                .clear_those(from, to, |slot| slot == Slot::UffdWp);
        }
        if markers {
            mark(&mut ctx.mm, from, to);
        }
    }
    soft_dirty::protected(ctx, start, end);
}

/// A marker into each empty slot.
fn mark(mm: &mut Mm, start: u32, end: u32) {
    let mut at = start;
    while at < end {
        let (next, slot) = mm.slots.stretch(at, end);
        if slot.is_none() {
            mm.slots.set(at, next, Slot::UffdWp);
        }
        at = next;
    }
}

/// Which of the slots `[start, end)` of a mapping of a file hold markers once they are zapped.
pub(crate) fn markers_left(mm: &Mm, start: u32, end: u32) -> Vec<(u32, u32)> {
    let registered = |page: u32| mm.vma_index(page).is_some_and(|i| mm.vmas[i].uffd.wp);
    let mut left: Vec<(u32, u32)> = Vec::new();
    if registered(start) {
        left.extend(mm.slots.uffd_wp_in(start, end));
    }
    let markers = mm.slots.runs_in(start, end);
    left.extend(
        markers
            .filter(|run| run.slot == Slot::UffdWp)
            .map(|run| (run.start, run.end)),
    );
    left
}

/// Empties the slots `[start, end)` of a mapping of a file, but for the markers that take the place of protected pages.
pub(crate) fn clear_leaving_markers(mm: &mut Mm, start: u32, end: u32) {
    let left = markers_left(mm, start, end);
    mm.slots.clear(start, end);
    for (from, to) in left {
        mm.slots.set(from, to, Slot::UffdWp);
    }
}

/// Whether the kernel would come to no end if guards were installed at `[start, end)`: it zaps what it finds, which leaves
/// markers, finds them and zaps.
pub(crate) fn never_ends(mm: &Mm, start: u32, end: u32) -> bool {
    let from = mm.first_vma_after(start);
    let vmas = mm.vmas[from..].iter().take_while(|vma| vma.start < end);
    vmas.filter(|vma| !vma.is_anon()).any(|vma| {
        let (from, to) = (vma.start.max(start), vma.end.min(end));
        !markers_left(mm, from, to).is_empty()
    })
}
