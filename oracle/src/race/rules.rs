//! The steps of ops that run at once, as rules.

use crate::judge::Class;
use crate::rules::Rule;

const ANY: &[Class] = &[Class::Errno, Class::Signal, Class::Value, Class::PageState];

pub const FAULT_THEN_ACCESS: Rule = Rule {
    name: "race/access/fault-then-try-again",
    text: "An access whose page cannot be used as it is takes a fault, which fills the page-table entry and nothing else; then the \
           processor tries again. What another thread does in between counts: the second try may fault once more. A page of a file is \
           brought into the page cache first; where the entry has become a guard by then it stays there, not mapped. A fault \
           waits for calls that hold the mmap lock for writing, an access that needs none waits for nobody.",
    source: "mm/memory.c handle_pte_fault, vmf_pte_changed, do_read_fault and finish_fault; arch/x86/mm/fault.c do_user_addr_fault",
    since: "all",
    about: ANY,
};

pub const INSTALL_ROUNDS: Rule = Rule {
    name: "race/guard-install/rounds",
    text: "Guard install puts markers into one page table's part of the range after the other, each part in one piece. At an entry \
           in use, or a huge page, it stops, zaps all of the VMA's part of the range, page table by page table, and walks again, \
           three times at most. Accesses by others fit between any two of these steps.",
    source: "mm/madvise.c madvise_guard_install, guard_install_pte_entry, guard_install_pmd_entry; MAX_MADVISE_GUARD_RETRIES",
    since: "6.13",
    about: ANY,
};

pub const INSTALL_RESTARTS: Rule = Rule {
    name: "race/guard-install/restarts",
    text: "After three rounds guard install lets go of the lock and begins the whole call again, without the caller's seeing it: \
           no EAGAIN and no EINTR. It ends once nobody fills the range any more.",
    source: "mm/madvise.c madvise_guard_install: restart_syscall, ERESTARTNOINTR",
    since: "6.13",
    about: ANY,
};

pub const INSTALL_GIVES_UP: Rule = Rule {
    name: "race/guard-install/gives-up",
    text: "In the patch of 2024 guard install walks twice; when an entry is in use again after the zap, it returns EAGAIN, with the \
           range emptied and the markers before that entry in place.",
    source: "[PATCH RFC 3/4] mm: madvise: implement lightweight guard page mechanism",
    since: "profile rfc-2024 only",
    about: ANY,
};

pub const TABLE_BY_TABLE: Rule = Rule {
    name: "race/advice/table-by-table",
    text: "Advice about pages is carried out one page table's part of a VMA after the other, each in one piece under the page-table \
           lock; accesses by others fit in between. The mmap lock is held for reading, so VMAs stay as they are.",
    source: "mm/madvise.c madvise_lock, mm/pagewalk.c, mm/memory.c zap_pte_range",
    since: "all",
    about: ANY,
};

pub const PAGEOUT_LEAVES: Rule = Rule {
    name: "race/pageout/may-leave",
    text: "Where there are several processors PAGEOUT may leave a page: one that another processor has faulted in stands in that one's batch of \
           new pages and on no list that reclaim could take it from, and PAGEOUT empties the batches of its own processor only.",
    source: "mm/madvise.c madvise_pageout: lru_add_drain; mm/vmscan.c folio_isolate_lru",
    since: "all",
    about: &[Class::PageState, Class::Residency],
};

pub const COLLAPSE_MEETS_NEW: Rule = Rule {
    name: "race/collapse/meets-a-new-page",
    text: "COLLAPSE leaves a block as it is, and returns EAGAIN if it has found nothing worse behind it, where another processor has faulted a \
           page in or moves one to another list meanwhile: the page stands in that one's batch, which holds it.",
    source: "mm/khugepaged.c hpage_collapse_scan_pmd: SCAN_PAGE_LRU, SCAN_PAGE_COUNT; madvise_collapse: lru_add_drain_all before, \
             madvise_collapse_errno; madvise(2)",
    since: "6.1",
    about: &[Class::Errno, Class::PageState],
};

pub const RANGE_BY_RANGE: Rule = Rule {
    name: "race/process-madvise/range-by-range",
    text: "process_madvise does one of its ranges after the other, and others fit in between. Guard install that starts over begins its \
           range again, not those before, and the call returns all of their bytes: no EAGAIN, no EINTR, nothing done twice that \
           others could see. Calls that want the mmap lock for writing fit in between, too, where it is enough to lock the VMA. Where the \
           mmap lock is kept from range to range (COLD and PAGEOUT of 7.3) they do not; here they are allowed on all kernels, which \
           is more than the kernel does.",
    source: "mm/madvise.c vector_madvise: ERESTARTNOINTR, get_lock_mode of 7.3",
    since: "all",
    about: ANY,
};

pub const EXCLUSIVE: Rule = Rule {
    name: "race/exclusive",
    text: "mmap, mprotect, mremap, mlock, mseal, fork, COLLAPSE of anonymous memory and advice that changes VMAs hold the mmap lock \
           for writing and keep faults out: whoever faults meanwhile waits, and finds all of it done. COLLAPSE has every processor forget \
           its translations before it copies, so that no store is lost.",
    source: "mm/mmap_lock.c vma_start_write, mm/mprotect.c, mm/mremap.c, mm/mmap.c dup_mmap, mm/khugepaged.c collapse_huge_page: \
             pmdp_collapse_flush",
    since: "all",
    about: ANY,
};

pub const FLAGS_READ_EARLY: Rule = Rule {
    name: "race/exclusive/reads-flags-early",
    text: "A call that changes the flags of a VMA, or splits it, takes them from the VMA before it locks it for writing. Guard install \
           needs no more than the VMA locked for reading, and sets VM_MAYBE_GUARD (`gu`) meanwhile; the call writes back what it \
           has read, and the mark is lost while the guards are there. Fork then does not copy the page tables of shared memory: the \
           child has no guards. A fault of these kernels (docs/findings.md).",
    source: "mm/mprotect.c mprotect_fixup, mm/mlock.c apply_vma_lock_flags, mm/madvise.c madvise_update_vma, mm/vma.c __split_vma: \
             vm_area_dup before vma_start_write; against mm/madvise.c try_vma_read_lock, madvise_guard_install",
    since: "6.19",
    about: &[Class::VmFlags, Class::PageState, Class::Value, Class::Signal],
};

pub const MUNMAP_DOWNGRADES: Rule = Rule {
    name: "race/munmap/downgrades",
    text: "munmap takes the VMAs out first and then empties page tables with the lock held for reading: an access may still find \
           one of its pages after another access has found no VMA.",
    source: "mm/vma.c vms_complete_munmap_vmas: mmap_write_downgrade",
    since: "all",
    about: ANY,
};

pub const UFFD: Rule = Rule {
    name: "race/userfaultfd/one-table",
    text: "UFFDIO_COPY, ZEROPAGE and POISON of a page, and UFFDIO_WRITEPROTECT of pages of one page table, find the page table as it is \
           and change it in one piece, with the VMA or the mmap lock held for reading: either a guard is there by then, and they do with it \
           what they do with guards, or it comes to what they have left. WRITEPROTECT returns once every processor has been told.",
    source: "mm/userfaultfd.c mfill_atomic_install_pte, mfill_atomic_pte_poison, mwriteprotect_range",
    since: "all",
    about: ANY,
};

pub const SIGNAL: Rule = Rule {
    name: "race/signal/handled",
    text: "A signal that has a handler ends no call of these and is seen in none of their results: its handler runs, and the call goes \
           on, or begins again without the caller's seeing it. Guard install that starts over does so without EINTR, whether or not the \
           handler was installed with SA_RESTART.",
    source: "mm/madvise.c madvise_guard_install: restart_syscall, ERESTARTNOINTR; mm/memory.c: fault_signal_pending; signal(7)",
    since: "all",
    about: ANY,
};

pub const STALE: Rule = Rule {
    name: "race/stale-translation",
    text: "Until a call that takes pages or permissions away has told the other processors, they may go on with the translation \
           that they remember: a load finds what the page holds, a store reaches the page that was mapped. Not after that, nor once they have looked the page \
           up again.",
    source: "mm/mmu_gather.c tlb_finish_mmu; Documentation/core-api/cachetlb.rst",
    since: "all",
    about: ANY,
};

pub const STORES_TO_COPY: Rule = Rule {
    name: "race/stale-translation/holds-the-page",
    text: "A page that one process lets go of is held until the processors have been told. A store by another process that it was shared \
           with since fork goes to a copy meanwhile: whoever reaches the page the old way does not see it.",
    source: "mm/memory.c wp_can_reuse_anon_folio: folio_ref_count; mm/mmu_gather.c __tlb_remove_folio_pages",
    since: "all",
    about: &[Class::Value],
};

pub const OWN_LOCKS: Rule = Rule {
    name: "race/processes/own-locks",
    text: "Each process has an mmap lock, VMAs, page tables and translations of its own: its threads wait for those of another only where \
           an op of one is about the memory of the other, as process_madvise is. What processes share is what a page holds, the page \
           cache, and the length of files.",
    source: "include/linux/mm_types.h mm_struct; mm/madvise.c process_madvise",
    since: "all",
    about: ANY,
};

pub const TOLD_BY_ANOTHER: Rule = Rule {
    name: "race/stale-translation/told-by-another",
    text: "DONTNEED, FREE, COLD, PAGEOUT and the zap of guard install count themselves while they take pages away in batches. One that ends and \
           sees another at work tells the other processors to forget everything, also where it found nothing to take away itself. Each \
           of them begins a page table by telling of what reclaim has taken and not told of.",
    source: "mm/mmu_gather.c tlb_finish_mmu: mm_tlb_flush_nested; mm/memory.c zap_pte_range, mm/madvise.c madvise_free_pte_range, \
             madvise_cold_or_pageout_pte_range: flush_tlb_batched_pending",
    since: "all",
    about: ANY,
};

pub const INSTALL_SKIPS_FLUSH: Rule = Rule {
    name: "race/guard-install/skips-flush",
    text: "Guard install that finds entries empty puts its markers there and returns, also where they are empty because another call, or reclaim, \
           has just emptied them and has not told the other processors yet. An access by one of those goes on through the translation that it \
           remembers, past the guard, even after the install of its own thread. A fault of these kernels (docs/findings.md).",
    source: "mm/madvise.c madvise_guard_install: no mm_tlb_flush_pending, no flush_tlb_batched_pending; against tlb_finish_mmu, zap_pte_range, \
             change_pte_range, which have one",
    since: "6.13",
    about: &[Class::Value, Class::Signal, Class::PageState],
};
