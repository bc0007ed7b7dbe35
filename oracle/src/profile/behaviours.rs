//! The table of behaviours that differ between kernels, and the flags made from it.

use super::probes::{self, Probe};
use super::{Arch, Release};
use serde::{Deserialize, Serialize};

/// Releases of some architectures: from the first up to, but without, the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub archs: &'static [Arch],
    pub from: Release,
    pub until: Release,
}

/// One behaviour that some kernels have and others do not.
#[derive(Debug)]
pub struct Behaviour {
    /// The name of its flag in [`Profile`].
    pub name: &'static str,
    /// What a kernel with the behaviour does.
    pub what: &'static str,
    /// Where this is known from: commit subject, file of the kernel tree, or a run.
    pub source: &'static str,
    /// The releases that have it. A stable backport is a span of its own.
    pub spans: &'static [Span],
    /// A program that tells, where there is one.
    pub probe: Option<Probe>,
    get: fn(&Profile) -> bool,
    set: fn(&mut Profile, bool),
}

impl PartialEq for Behaviour {
    fn eq(&self, other: &Behaviour) -> bool {
        // Names are unique.
        self.name == other.name
    }
}

impl Eq for Behaviour {}

/// Rows that are faults which the newest kernel has: what it does there is no measure for others.
const FAULTS: [&str; 2] = ["flags_read_early", "install_skips_flush"];

impl Behaviour {
    /// Whether it is a fault that the newest kernel has.
    pub fn is_fault(&self) -> bool {
        FAULTS.contains(&self.name)
    }

    /// What is expected of a kernel as long as nothing else is known: what the newest one does, but for its faults.
    pub fn expected(&self, arch: Arch) -> bool {
        !self.is_fault() && self.holds_at(Release::NEWEST, arch)
    }

    /// Whether the table says that this release has it.
    pub fn holds_at(&self, release: Release, arch: Arch) -> bool {
        self.spans
            .iter()
            .any(|s| s.archs.contains(&arch) && s.from <= release && release < s.until)
    }

    /// The flag in a profile.
    pub fn get(&self, profile: &Profile) -> bool {
        (self.get)(profile)
    }

    /// Sets the flag in a profile.
    pub fn set(&self, profile: &mut Profile, on: bool) {
        (self.set)(profile, on)
    }
}

const EVER: Release = Release(0, 0, 0);
const NEVER_ENDED: Release = Release(u16::MAX, 0, 0);
const X86: &[Arch] = &[Arch::X86_64];
const ARM: &[Arch] = &[Arch::Aarch64];
const BOTH: &[Arch] = &[Arch::X86_64, Arch::Aarch64];

const fn span(archs: &'static [Arch], from: Release, until: Release) -> Span {
    Span { archs, from, until }
}

const fn since(major: u16, minor: u16) -> Span {
    span(BOTH, Release(major, minor, 0), NEVER_ENDED)
}

const fn before(major: u16, minor: u16) -> Span {
    span(BOTH, EVER, Release(major, minor, 0))
}

macro_rules! behaviours {
    ($( $name:ident { what: $what:literal, source: $source:literal, spans: $spans:expr, probe: $probe:expr $(,)? } )*) => {
        /// The behaviours of one kernel, one flag for each row of [`BEHAVIOURS`].
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Profile { $( #[doc = $what] pub $name: bool, )* }

        impl Profile {
            /// The profile that the table gives a release on an architecture.
            pub fn at_release(release: Release, arch: Arch) -> Profile {
                let mut profile = Profile { $( $name: false, )* };
                for behaviour in BEHAVIOURS {
                    behaviour.set(&mut profile, behaviour.holds_at(release, arch));
                }
                profile
            }
        }

        /// Every behaviour that differs between kernels.
        pub static BEHAVIOURS: &[Behaviour] = &[ $( Behaviour {
            name: stringify!($name), what: $what, source: $source, spans: $spans, probe: $probe,
            get: |p| p.$name, set: |p, on| p.$name = on,
        }, )* ];
    };
}

impl Profile {
    /// The newest kernel that the table knows, on x86-64: what the generator's own model runs on.
    pub fn newest() -> Profile {
        Profile::at_release(Release::NEWEST, Arch::X86_64)
    }
}

behaviours! {
    guards {
        what: "madvise knows GUARD_INSTALL and GUARD_REMOVE on private anonymous memory",
        source: "6.13, mm: madvise: implement lightweight guard page mechanism",
        spans: &[since(6, 13)],
        probe: Some(probes::GUARDS),
    }
    guards_shared {
        what: "guard install and remove work on shared and file memory too",
        source: "6.15, mm/madvise: allow guard page install/remove under file-backed mappings",
        spans: &[since(6, 15)],
        probe: Some(probes::GUARDS_SHARED),
    }
    pagemap_guard {
        what: "pagemap shows a guard by bit 58",
        source: "6.15, fs/proc/task_mmu: add guard region bit to pagemap",
        spans: &[since(6, 15)],
        probe: Some(probes::PAGEMAP_GUARD),
    }
    pagemap_scan {
        what: "the pagemap file has PAGEMAP_SCAN, which tells huge pages and the huge zero page",
        source: "6.7, fs/proc/task_mmu: implement IOCTL to get and optionally clear info about PTEs",
        spans: &[since(6, 7)],
        probe: Some(probes::PAGEMAP_SCAN),
    }
    maybe_guard {
        what: "guard install marks the VMA VM_MAYBE_GUARD (`gu`): sticky, ignored by merging, copied by fork; shared memory \
               gets no anon_vma for it",
        source: "6.19, mm: introduce VM_MAYBE_GUARD and make visible in /proc/$pid/smaps; backported between 6.18.16 and 6.18.44",
        spans: &[since(6, 19), span(BOTH, Release(6, 18, 44), Release(6, 19, 0))],
        probe: Some(probes::MAYBE_GUARD),
    }
    flags_read_early {
        what: "calls that change the flags of a VMA, or split it, read them before they lock the VMA for writing, and write all of them \
               back: the mark that guard install sets meanwhile, with the VMA locked for reading, is lost",
        source: "6.19, mm/madvise: allow guard page install/remove under VMA lock; mm/mprotect.c mprotect_fixup, mm/mlock.c \
                 apply_vma_lock_flags, mm/madvise.c madvise_update_vma, mm/vma.c __split_vma of 7.3; seen on 7.3. No probe: a race",
        spans: &[since(6, 19)],
        probe: None,
    }
    install_skips_flush {
        what: "guard install that finds entries empty does not see to translations which another zap, or reclaim, has not told the other \
               processors to forget yet: an access goes past the guard after install has returned",
        source: "6.13, mm: madvise: implement lightweight guard page mechanism; mm/madvise.c madvise_guard_install to 7.3; seen on 6.16 to \
                 7.3. No probe: a race",
        spans: &[since(6, 13)],
        probe: None,
    }
    pt_reclaim {
        what: "MADV_DONTNEED over a whole block frees its empty page table (CONFIG_PT_RECLAIM)",
        source: "6.14, mm: pgtable: reclaim empty PTE page in madvise(MADV_DONTNEED); on arm64 seen from 7.0 on, not on 6.19",
        spans: &[
            span(X86, Release(6, 14, 0), NEVER_ENDED),
            span(ARM, Release(7, 0, 0), NEVER_ENDED),
        ],
        probe: Some(probes::PT_RECLAIM),
    }
    huge_zero_page {
        what: "a read fault may map the huge zero page (transparent_hugepage/use_zero_page)",
        source: "mm/huge_memory.c hugepage_init; off at boot on machines with less than 512 MiB",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: Some(probes::HUGE_ZERO_PAGE),
    }
    huge_zero_write_allocates {
        what: "a write to the huge zero page allocates a huge page instead of splitting",
        source: "6.13, mm: Allocate THP on hugezeropage wp-fault",
        spans: &[since(6, 13)],
        probe: Some(probes::HUGE_ZERO_WRITE),
    }
    merge_faulted_into_unfaulted {
        what: "a changed part of a VMA that has an anon_vma joins a neighbour that has none",
        source: "6.16, mm/vma: fix incorrectly disallowed anonymous VMA merges",
        spans: &[since(6, 16)],
        probe: Some(probes::MERGE_FAULTED),
    }
    mmap_merges_right_first {
        what: "a new mapping between neighbours with different anon_vmas joins the right one",
        source: "before 6.12, mm/mmap.c mmap_region; then mm/vma.c vma_merge_new_range",
        spans: &[before(6, 12)],
        probe: Some(probes::MERGE_RIGHT_FIRST),
    }
    mprotect_unaccounts {
        what: "private memory without an anon_vma loses `ac` when mprotect makes it unwritable",
        source: "6.3, mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()",
        spans: &[since(6, 3)],
        probe: Some(probes::UNACCOUNTS),
    }
    huge_exclusive_by_head {
        what: "pagemap bit 56 of a page mapped by a PMD is that of the block's first page",
        source: "fs/proc/task_mmu.c pagemap_pmd_range; per page from 6.11 (fs/proc/task_mmu: properly detect PM_MMAP_EXCLUSIVE \
                 per page of PMD-mapped THPs) until 6.15 dropped the page index again",
        spans: &[before(6, 11), since(6, 15)],
        probe: Some(probes::HUGE_EXCLUSIVE),
    }
    huge_zero_as_file {
        what: "pagemap calls the huge zero page a file page (bit 61) where PAGEMAP_SCAN says that it is none",
        source: "fs/proc/task_mmu.c pagemap_pmd_range: !PageAnon of the huge zero page; seen on 6.12 to 7.2, not on 7.3. No \
                 probe: the harness must know before it can compare the two views of anything",
        spans: &[before(7, 3)],
        probe: None,
    }
    mremap_target_early {
        what: "mremap looks at the new address's alignment before it looks for the VMA, and for the VMA again once the target is unmapped",
        source: "6.15, mm/mremap: refactor mremap() system call implementation",
        spans: &[since(6, 15)],
        probe: Some(probes::MREMAP_TARGET_EARLY),
    }
    mremap_checks_first {
        what: "mremap checks lengths, overlap and the VMA before it unmaps the target of MREMAP_FIXED",
        source: "6.17, mm/mremap: refactor initial parameter sanity checks; mm/mremap: check remap conditions earlier",
        spans: &[since(6, 17)],
        probe: Some(probes::MREMAP_CHECKS_FIRST),
    }
    mremap_moves_many {
        what: "mremap with MREMAP_FIXED and no new length moves several VMAs",
        source: "6.17, mm/mremap: permit mremap() move of multiple VMAs",
        spans: &[since(6, 17)],
        probe: Some(probes::MREMAP_MOVES_MANY),
    }
    mremap_realigns {
        what: "mremap moves a block's page table as a whole when the range starts inside the block and nothing is before it",
        source: "6.7, mm/mremap: optimize the start addresses in move_page_tables()",
        spans: &[since(6, 7)],
        probe: Some(probes::MREMAP_REALIGNS),
    }
    mremap_joins_forked {
        what: "what stems from a fork joins a neighbour without an anon_vma when mremap moves it there",
        source: "6.16, mm/vma: fix incorrectly disallowed anonymous VMA merges; until 6.19, mm/vma: enforce VMA fork limit on \
                 unfaulted,faulted mremap merge too; backported to 6.18.y",
        spans: &[span(BOTH, Release(6, 16, 0), Release(6, 18, 7))],
        probe: Some(probes::MREMAP_JOINS_FORKED),
    }
    mremap_loses_anon_vma {
        what: "a VMA without an anon_vma that mremap joins memory to does not take over its anon_vma: fork does not copy it",
        source: "6.16, mm/vma: fix incorrectly disallowed anonymous VMA merges; until 6.19, mm/vma: fix anon_vma UAF on mremap() \
                 faulted, unfaulted merge; backported to 6.18.y",
        spans: &[span(BOTH, Release(6, 16, 0), Release(6, 18, 7))],
        probe: Some(probes::MREMAP_LOSES_ANON_VMA),
    }
    private_file_offsets {
        what: "private mappings of a file merge only where the offsets of their private copies fit",
        source: "mm/vma.c needs_adjacent_anon_pgoff of 7.3; not in 7.2.13",
        spans: &[since(7, 3)],
        probe: Some(probes::PRIVATE_FILE_OFFSETS),
    }
    dontunmap_stays_apart {
        what: "MREMAP_DONTUNMAP of memory without an anon_vma to a place beside it does not join the two",
        source: "mm/vma.c copy_vma of 7.2, keep_source; backported to 6.1.y and 6.12.y; seen not to be so on 6.16.12 to 7.1.13",
        spans: &[before(6, 13), since(7, 2)],
        probe: Some(probes::DONTUNMAP_STAYS_APART),
    }
    dontunmap_resets_offset {
        what: "a whole VMA whose pages MREMAP_DONTUNMAP has moved takes the offset of its place",
        source: "mm/mremap.c dontunmap_complete of 7.2, pgoff_unfaulted; backported to 6.1.y and 6.12.y; seen not to be so on \
                 6.16.12 to 7.1.13",
        spans: &[before(6, 13), since(7, 2)],
        probe: Some(probes::DONTUNMAP_RESETS_OFFSET),
    }
    dontunmap_unaccounts {
        what: "the VMA that MREMAP_DONTUNMAP leaves loses `ac`",
        source: "seen on 6.16.12, not on 6.12.117 and 6.17.13; 6.15, mm/mremap: refactor mremap() system call implementation",
        spans: &[span(BOTH, Release(6, 15, 0), Release(6, 17, 0))],
        probe: Some(probes::DONTUNMAP_UNACCOUNTS),
    }
    dontunmap_unlocks_all {
        what: "MREMAP_DONTUNMAP of a part of a locked VMA unlocks all of it, and what it was counts as locked for ever",
        source: "until mm/mremap.c needs_pre_split of 7.2, which 6.1.y and 6.12.y have too",
        spans: &[span(BOTH, Release(6, 13, 0), Release(7, 2, 0))],
        probe: Some(probes::DONTUNMAP_UNLOCKS_ALL),
    }
    dontunmap_beside_never_merges {
        what: "MREMAP_DONTUNMAP to a place beside the VMA joins no neighbour at all",
        source: "mm/mmap.c copy_vma of 6.1; mm/vma.c copy_vma of 6.12",
        spans: &[before(6, 12)],
        probe: Some(probes::DONTUNMAP_BESIDE),
    }
    smaps_skips_protnone_huge {
        what: "smaps counts no page of a huge page that is mapped without any access (PROT_NONE)",
        source: "6.6, smaps: use vm_normal_page_pmd() instead of follow_trans_huge_pmd(), which takes it for a NUMA hint; a run \
                 of 6.1. No probe: the harness must know before it can compare the two views of anything",
        spans: &[before(6, 6)],
        probe: None,
    }
    exact_counters {
        what: "/proc/PID/status adds up RssAnon, RssFile, RssShmem and VmSwap over all processors instead of showing a near value",
        source: "mm: fix the inaccurate memory statistics issue for users (get_mm_counter_sum in fs/proc/task_mmu.c task_mem): not in \
                 6.1.192, in 6.12.117; seen from 6.16 on. No probe: the harness must know before it can compare the two views of \
                 anything",
        spans: &[since(6, 16), span(BOTH, Release(6, 12, 117), Release(6, 13, 0))],
        probe: None,
    }
    soft_dirty {
        what: "new mappings show `sd` (CONFIG_MEM_SOFT_DIRTY)",
        source: "arch/x86/Kconfig HAVE_ARCH_SOFT_DIRTY",
        spans: &[span(X86, EVER, NEVER_ENDED)],
        probe: Some(probes::SOFT_DIRTY),
    }
    soft_dirty_sticky {
        what: "a merge of VMAs of which some are marked soft-dirty is marked (`sd`), whichever of them is changed",
        source: "6.19, mm: propagate VM_SOFTDIRTY on merge; backported between 6.18.16 and 6.18.44",
        spans: &[
            span(X86, Release(6, 19, 0), NEVER_ENDED),
            span(X86, Release(6, 18, 44), Release(6, 19, 0)),
        ],
        probe: Some(probes::SOFT_DIRTY_STICKY),
    }
    split_sets_soft_dirty {
        what: "splitting the mapping of a dirty huge page makes all its pages soft-dirty",
        source: "mm/huge_memory.c __split_huge_pmd_locked calls pte_mkdirty: not in 6.1.192 (`we don't do pte_mkdirty when \
                 dirty==true`), in 6.12.117",
        spans: &[span(X86, Release(6, 4, 0), NEVER_ENDED)],
        probe: Some(probes::SPLIT_SETS_SOFT_DIRTY),
    }
    mprotect_sets_soft_dirty {
        what: "mprotect of several pages of a large folio that is mapped page by page makes them soft-dirty",
        source: "6.17, mm: optimize mprotect() by PTE batching (include/linux/pgtable.h modify_prot_start_ptes calls pte_mkdirty)",
        spans: &[span(X86, Release(6, 17, 0), NEVER_ENDED)],
        probe: Some(probes::MPROTECT_SETS_SOFT_DIRTY),
    }
    mprotect_cleans_huge {
        what: "mprotect of a huge page that can be stored to without a fault forgets that its entry is dirty",
        source: "6.6, x86/mm: Introduce _PAGE_SAVED_DIRTY (pmd_modify masks _PAGE_DIRTY); not in 6.12.117, 7.2 and 7.3, seen on \
                 6.16 to 7.1",
        spans: &[
            span(X86, Release(6, 13, 0), Release(7, 2, 0)),
            span(X86, Release(6, 6, 0), Release(6, 12, 117)),
        ],
        probe: Some(probes::MPROTECT_CLEANS_HUGE),
    }
    folio_split_sets_soft_dirty {
        what: "splitting a large folio makes its dirty pages soft-dirty",
        source: "mm/migrate.c remove_migration_pte calls pte_mkdirty: in 6.1.192; 6.12.117 takes the bit away again",
        spans: &[span(X86, EVER, Release(6, 12, 0))],
        probe: Some(probes::FOLIO_SPLIT_SETS_SOFT_DIRTY),
    }
    split_zeros_keep_soft_dirty {
        what: "where the split of a huge page finds zeros, the zero page takes over the soft-dirty bit",
        source: "6.18, mm/rmap: fix soft-dirty and uffd-wp bit loss when remapping zero-filled mTHP subpage to shared zeropage; \
                 read in 6.12.117 too",
        spans: &[
            span(X86, Release(6, 18, 0), NEVER_ENDED),
            span(X86, Release(6, 17, 13), Release(6, 18, 0)),
            span(X86, Release(6, 12, 117), Release(6, 13, 0)),
        ],
        probe: Some(probes::SPLIT_ZEROS_SOFT_DIRTY),
    }
    populate_stops_at_hole {
        what: "MADV_POPULATE_READ and MADV_POPULATE_WRITE end at the first hole",
        source: "6.9, mm/madvise: make MADV_POPULATE_(READ|WRITE) handle VM_FAULT_RETRY properly",
        spans: &[since(6, 9)],
        probe: Some(probes::POPULATE_HOLE),
    }
    huge_readahead {
        what: "a fault that misses the page cache through a mapping with `hg` reads in a huge page's worth of any file",
        source: "5.18, mm/filemap: Support VM_HUGEPAGE for file mappings; 7.2 asks for large folios of the mapping first \
                 (mm/filemap.c do_sync_mmap_readahead), 7.1 does not (a run)",
        spans: &[before(7, 2)],
        probe: Some(probes::HUGE_READAHEAD),
    }
    last_page_needs_table {
        what: "fault-around maps nothing where it finds the last page of a file first and there is no page table yet; shared memory apart",
        source: "6.18, mm/memory: do not populate page table entries beyond i_size: mm/filemap.c filemap_map_pages leaves out \
                 filemap_map_pmd there, which puts the page table in. 6.12.117 and 6.17.13 too, 6.16.12 not (a run)",
        spans: &[
            since(6, 18),
            span(BOTH, Release(6, 17, 13), Release(6, 18, 0)),
            span(BOTH, Release(6, 12, 117), Release(6, 13, 0)),
        ],
        probe: Some(probes::LAST_PAGE_NEEDS_TABLE),
    }
    folio_split_finds_zeros {
        what: "splitting a huge page maps the shared zero page where it holds nothing but zeros",
        source: "6.12, mm: remap unused subpages to shared zeropage when splitting isolated thp",
        spans: &[since(6, 12)],
        probe: Some(probes::SPLIT_FINDS_ZEROS),
    }
    folio_sharing_is_known {
        what: "FREE, COLD and PAGEOUT know which address spaces map a large folio, instead of guessing by its first page",
        source: "6.15, mm: convert folio_likely_mapped_shared() to folio_maybe_mapped_shared()",
        spans: &[since(6, 15)],
        probe: Some(probes::SHARING_IS_KNOWN),
    }
    advice_keeps_whole_folios {
        what: "FREE, COLD and PAGEOUT go on behind a shared large folio, and take one that is mapped page by page as a whole if \
               all of it lies in the range",
        source: "6.10, mm/madvise: optimize lazyfreeing with mTHP in madvise_free, and mm: madvise: avoid split during \
                 MADV_PAGEOUT and MADV_COLD. No probe: before 6.12 nothing shows that a folio is split whose mapping is",
        spans: &[since(6, 10)],
        probe: None,
    }
    lazyfree_huge_drops_table {
        what: "a lazily freed huge page is taken with its page table: the next fault may map a huge page",
        source: "6.11, mm/vmscan: avoid split lazyfree THP during shrink_folio_list()",
        spans: &[since(6, 11)],
        probe: Some(probes::LAZYFREE_HUGE),
    }
    future_seal_first {
        what: "mmap asks about F_SEAL_FUTURE_WRITE before it unmaps anything",
        source: "mm/mmap.c do_mmap calls memfd_check_seals_mmap: read in 6.12.117 and 7.3; 6.1.192 asks in mm/shmem.c shmem_mmap",
        spans: &[since(6, 12)],
        probe: Some(probes::FUTURE_SEAL),
    }
    collapse_within_block_fails {
        what: "COLLAPSE of a range that touches neither end of the block it lies in is EINVAL",
        source: "mm/khugepaged.c madvise_collapse: read in 6.1.192 and 6.12.117; 7.2 and 7.3 return at once when no block is left; 7.1 does not (a run)",
        spans: &[before(7, 2)],
        probe: Some(probes::COLLAPSE_WITHIN_BLOCK),
    }
    collapse_stops_at_empty {
        what: "COLLAPSE ends at a block without a page table instead of going on behind it",
        source: "mm/khugepaged.c madvise_collapse: SCAN_PMD_NONE is not among the results that it goes on after (6.1.192, 6.12.117); \
                 SCAN_NO_PTE_TABLE is (7.2, 7.3); 6.19 goes on, 6.18 does not (runs)",
        spans: &[before(6, 19)],
        probe: Some(probes::COLLAPSE_EMPTY),
    }
    collapse_needs_writable {
        what: "COLLAPSE wants a writable page-table entry in a block",
        source: "mm/khugepaged.c hpage_collapse_scan_pmd, SCAN_PAGE_RO: in 6.1.192 and 6.12.117, not in 7.2; 6.17 wants one, 6.18 does not (runs)",
        spans: &[before(6, 18)],
        probe: Some(probes::COLLAPSE_READ_ONLY),
    }
    droppable {
        what: "mmap knows MAP_DROPPABLE",
        source: "6.11, mm: add MAP_DROPPABLE for designating always lazily freeable mappings",
        spans: &[since(6, 11)],
        probe: Some(probes::DROPPABLE),
    }
    droppable_future_locks {
        what: "mlockall(MCL_FUTURE) locks new droppable memory (`lo`)",
        source: "mm/vma.c __mmap_complete: seen on 6.16 to 6.19, not on 6.12.117, 7.0 and later",
        spans: &[span(BOTH, Release(6, 13, 0), Release(7, 0, 0))],
        probe: Some(probes::DROPPABLE_FUTURE),
    }
    hugetlb {
        what: "mmap knows MAP_HUGETLB",
        source: "CONFIG_HUGETLBFS, on in all kernels of the matrix",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: Some(probes::HUGETLB),
    }
    mmap_cut_is_enomem {
        what: "MAP_FIXED that would cut a huge TLB page in two is ENOMEM, not EINVAL",
        source: "6.1 mm/mmap.c mmap_region; 6.12 mm/mmap.c mmap_region: vms_gather_munmap_vmas",
        spans: &[before(6, 12)],
        probe: Some(probes::MMAP_CUT),
    }
    dofork_refuses_special {
        what: "DOFORK of huge TLB memory is EINVAL",
        source: "mm/madvise.c madvise_vma_behavior: VM_SPECIAL in 7.3, VM_IO in 6.12; 7.0 refuses, 6.19 does not (runs)",
        spans: &[since(7, 0)],
        probe: Some(probes::DOFORK_SPECIAL),
    }
    secret_memory {
        what: "there is memfd_secret",
        source: "5.14, mm: introduce memfd_secret system call; before 6.5 with secretmem.enable=1 only, which the machines are given",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: Some(probes::SECRET_MEMORY),
    }
    secret_is_locked {
        what: "secret memory is locked (`lo`) by being mapped",
        source: "mm/secretmem.c secretmem_mmap: not in 6.1.192, 6.12.117, 7.2 and 7.3, which count pages as they are faulted in; 6.16 to \
                 7.1 lock (runs)",
        spans: &[span(BOTH, Release(6, 13, 0), Release(7, 2, 0))],
        probe: Some(probes::SECRET_IS_LOCKED),
    }
    secret_merges_late {
        what: "secret memory that is mapped below all else stays apart from the same above it",
        source: "6.12 mm/mmap.c __mmap_region looks for a merge again only if there is a VMA below; seen on 6.1 and 6.12, not on 6.16 \
                 (where between is not known)",
        spans: &[span(BOTH, EVER, Release(6, 13, 0))],
        probe: Some(probes::SECRET_MERGES_LATE),
    }
    stack_no_huge {
        what: "MAP_STACK makes memory without huge pages (`nh`)",
        source: "6.7, mm: mmap: map MAP_STACK to VM_NOHUGEPAGE; later only with CONFIG_TRANSPARENT_HUGEPAGE",
        spans: &[since(6, 7)],
        probe: Some(probes::STACK_NO_HUGE),
    }
    thp_disable_except_advised {
        what: "prctl(PR_SET_THP_DISABLE) knows PR_THP_DISABLE_EXCEPT_ADVISED",
        source: "6.18, prctl: extend PR_SET_THP_DISABLE to optionally exclude VM_HUGEPAGE",
        spans: &[since(6, 18)],
        probe: Some(probes::THP_DISABLE_EXCEPT_ADVISED),
    }
    mseal {
        what: "there is mseal",
        source: "6.10, mseal: wire up mseal syscall. 6.10 and 6.11 look at all VMAs of a range before they refuse anything, and \
                 are not modelled",
        spans: &[since(6, 10)],
        probe: Some(probes::MSEAL),
    }
    mseal_stale_start {
        what: "mseal does not merge the VMA behind one that has joined a sealed neighbour",
        source: "6.17, mm/mseal: rework mseal apply logic; mended by mm/mseal: update VMA end correctly on merge, which 6.19.14 has and \
                 6.18.15 has not (runs)",
        spans: &[span(BOTH, Release(6, 17, 0), Release(6, 19, 0))],
        probe: Some(probes::MSEAL_STALE_START),
    }
    lock_on_fault_named {
        what: "VmFlags have a name for memory that is locked on fault (`lf`); others call it `??`",
        source: "fs/proc/task_mmu.c show_smap_vma_flags: not in 6.1, in 6.12",
        spans: &[since(6, 12)],
        probe: Some(probes::LOCK_ON_FAULT_NAMED),
    }
    ksm {
        what: "madvise knows MERGEABLE and UNMERGEABLE (CONFIG_KSM)",
        source: "mm/madvise.c madvise_behavior_valid",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: Some(probes::KSM),
    }
    proc_mem_forces {
        what: "/proc/PID/mem gets at private memory whatever its protection",
        source: "fs/proc/base.c mem_rw, FOLL_FORCE; 6.12, proc: add config & param to block forcing mem writes (a matter of \
                 configuration: the distribution's kernels force up to 7.0 and do not from 7.1 on, as runs say)",
        spans: &[before(7, 1)],
        probe: Some(probes::PROC_MEM_FORCES),
    }
    process_madvise_self_any {
        what: "process_madvise on oneself takes any advice",
        source: "6.13, mm/madvise: allow process_madvise() to perform any operation on self; before that those that are allowed \
                 on others: mm/madvise.c process_madvise_behavior_valid",
        spans: &[since(6, 13)],
        probe: Some(probes::PROCESS_MADVISE_ANY),
    }
    process_madvise_needs_nice {
        what: "process_madvise wants CAP_SYS_NICE on oneself, too",
        source: "mm/madvise.c process_madvise: 6.1 asks in any case, 6.12 for other processes only",
        spans: &[before(6, 12)],
        probe: Some(probes::PROCESS_MADVISE_NICE),
    }
    huge_zero_special {
        what: "the entry of the huge zero page is a special one, which get_user_pages_fast does not take",
        source: "mm/gup.c gup_fast_pmd_leaf: pmd_special; 6.18, mm/huge_memory: mark PMD mappings of the huge zero folio special",
        spans: &[since(6, 18)],
        probe: Some(probes::HUGE_ZERO_SPECIAL),
    }
    userfaultfd {
        what: "there is userfaultfd",
        source: "mm/Kconfig USERFAULTFD",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: Some(probes::USERFAULTFD),
    }
    uffd_takes_droppable {
        what: "droppable memory can be registered with userfaultfd",
        source: "include/linux/userfaultfd_k.h vma_can_userfault of 6.12 looks for VM_DROPPABLE after masking it out",
        spans: &[span(BOTH, Release(6, 11, 0), Release(6, 17, 0))],
        probe: Some(probes::UFFD_TAKES_DROPPABLE),
    }
    uffd_inside_stays_apart {
        what: "a part of a VMA that is registered or unregistered with userfaultfd and starts inside it joins nothing behind it",
        source: "fs/userfaultfd.c before 6.4, mm/uffd: allow vma to merge as much as possible",
        spans: &[before(6, 4)],
        probe: Some(probes::UFFD_INSIDE_STAYS_APART),
    }
    uffd_prepares_first {
        what: "UFFDIO_COPY and its kin give the VMA an anon_vma before they look whether it is registered",
        source: "6.9, userfaultfd: use per-vma locks in userfaultfd operations",
        spans: &[since(6, 9)],
        probe: Some(probes::UFFD_PREPARES_FIRST),
    }
    uffd_copies_over_guards {
        what: "UFFDIO_COPY replaces guards",
        source: "mm/userfaultfd.c mfill_atomic_install_pte: pte_none_mostly holds for every marker; pte_is_uffd_marker in 7.2",
        spans: &[span(BOTH, Release(6, 13, 0), Release(6, 19, 0))],
        probe: Some(probes::UFFD_COPIES_OVER_GUARDS),
    }
    uffd_beyond_end_is_enomem {
        what: "UFFDIO_COPY and UFFDIO_ZEROPAGE fail with ENOMEM instead of EFAULT behind the end of shared memory",
        source: "mm/shmem.c shmem_mfill_folio_alloc of 7.2; 6.12 checks the size in shmem_mfill_atomic_pte and says EFAULT",
        spans: &[since(7, 2)],
        probe: Some(probes::UFFD_BEYOND_END_IS_ENOMEM),
    }
    uffd_poison {
        what: "userfaultfd knows UFFDIO_POISON",
        source: "6.6, mm: userfaultfd: add new UFFDIO_POISON ioctl",
        spans: &[since(6, 6)],
        probe: Some(probes::UFFD_POISON),
    }
    uffd_move {
        what: "userfaultfd knows UFFDIO_MOVE",
        source: "6.8, userfaultfd: UFFDIO_MOVE uABI",
        spans: &[since(6, 8)],
        probe: Some(probes::UFFD_MOVE),
    }
    uffd_moved_huge_zero_is_soft_dirty {
        what: "the huge zero page has the soft-dirty bit where UFFDIO_MOVE has put it",
        source: "mm/huge_memory.c move_pages_huge_pmd of 7.3: move_soft_dirty_pmd; 6.12.117 makes the entry without, 6.19.14 to 7.2.12 have \
                 it (run). No probe: 6.16 to 6.18 crash at such a move, see docs/findings.md",
        spans: &[span(X86, Release(6, 19, 0), NEVER_ENDED)],
        probe: None,
    }
    poison_told_by_signal {
        what: "the signal of an access to poison says BUS_MCEERR_AR; on x86-64 without CONFIG_MEMORY_FAILURE BUS_ADRERR",
        source: "arch/x86/mm/fault.c do_sigbus; distributions have CONFIG_MEMORY_FAILURE, 6.18 of Firecracker has not (run). No probe \
                 program: a kernel that has it and mistakes the code would answer as one that has not, so the guest looks for \
                 vm.memory_failure_early_kill",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: None,
    }
    swap_device {
        what: "a program that asks for swap space has some",
        source: "CONFIG_SWAP, and brd, built in or as a module that the guest loads: it says whether it has both. No probe program: \
                 a kernel that never swaps a page out would answer as one without",
        spans: &[span(BOTH, EVER, NEVER_ENDED)],
        probe: None,
    }
    willneed_reads_one_more {
        what: "WILLNEED of shared memory also reads in the page behind its range",
        source: "mm/madvise.c force_shm_swapin_readahead of 6.1: end_index = linear_page_index(vma, end + PAGE_SIZE - 1); 6.1.192 does, \
                 6.12.117 does not (run)",
        spans: &[before(6, 12)],
        probe: Some(probes::WILLNEED_READS_ONE_MORE),
    }
    uffd_wp {
        what: "memory can be registered for write protection with userfaultfd",
        source: "CONFIG_HAVE_ARCH_USERFAULTFD_WP; 6.10, arm64/mm: Add uffd write-protect support",
        spans: &[span(X86, EVER, NEVER_ENDED), span(ARM, Release(6, 10, 0), NEVER_ENDED)],
        probe: Some(probes::UFFD_WP),
    }
    uffd_wp_many_vmas {
        what: "UFFDIO_WRITEPROTECT may cover several VMAs",
        source: "6.3, mm/userfaultfd: support WP on multiple VMAs",
        spans: &[since(6, 3)],
        probe: Some(probes::UFFD_WP_MANY_VMAS),
    }
    uffd_wp_survives_mremap {
        what: "what mremap moves stays write-protected by userfaultfd, though it is registered no more",
        source: "6.13, mm: clear uffd-wp PTE/PMD state on mremap(); 6.12.117 has it (run)",
        spans: &[before(6, 12)],
        probe: Some(probes::UFFD_WP_SURVIVES_MREMAP),
    }
    uffd_wp_switch_refused {
        what: "memory that is registered for write protection cannot be registered for less",
        source: "userfaultfd_register of 7.3: `Mode switches that drop VM_UFFD_WP`; not in 7.2.12 (run)",
        spans: &[since(7, 3)],
        probe: Some(probes::UFFD_WP_SWITCH_REFUSED),
    }
    uffd_moved_stays_apart {
        what: "what mremap moves from registered memory merges with nothing at its new place",
        source: "mm/vma.c vma_merge_copied_range of 7.3; not in 7.2.13",
        spans: &[since(7, 3)],
        probe: Some(probes::UFFD_MOVED_STAYS_APART),
    }
    uffd_tells_refused_unmap {
        what: "userfaultfd tells of unmapping that was refused for a seal",
        source: "mm/vma.c vms_gather_munmap_vmas: userfaultfd_unmap_prep goes along with the look at seals; 6.10 and 6.11 looked at all of \
                 them first",
        spans: &[since(6, 12)],
        probe: Some(probes::UFFD_TELLS_REFUSED_UNMAP),
    }
    uffd_remap_tells_old_length {
        what: "UFFD_EVENT_REMAP tells the whole old length where mremap moves and shrinks",
        source: "mm/mremap.c of 6.1: mremap_userfaultfd_complete gets old_len as the caller gave it; 6.15, mm/mremap: refactor mremap() \
                 system call implementation",
        spans: &[before(6, 15)],
        probe: Some(probes::UFFD_REMAP_TELLS_OLD_LENGTH),
    }
    rfc_anon_vma_after {
        what: "guard install prepares the anon_vma after its walk, and only where it put a marker into an empty slot",
        source: "[PATCH RFC 3/4] mm: madvise: implement lightweight guard page mechanism (October 2024); as merged in 6.13, before \
                 the walk and always. No probe: a kernel that does this today has a mistake",
        spans: &[],
        probe: None,
    }
    rfc_gives_up {
        what: "guard install fails with EAGAIN when a second walk still meets a slot in use",
        source: "[PATCH RFC 3/4]; as merged in 6.13, it starts over unseen after three. No probe: a kernel that does this today has \
                 a mistake",
        spans: &[],
        probe: None,
    }
    rfc_remove_splits {
        what: "guard remove splits every huge page that it meets",
        source: "[PATCH RFC 3/4]; as merged in 6.13, it skips them. No probe: a kernel that does this today has a mistake",
        spans: &[],
        probe: None,
    }
    pkey_mprotect {
        what: "there is pkey_mprotect",
        source: "CONFIG_ARCH_HAS_PKEYS: x86 from 4.9 on; 6.12, arm64: add Permission Overlay Extension Kconfig",
        spans: &[span(X86, EVER, NEVER_ENDED), span(ARM, Release(6, 12, 0), NEVER_ENDED)],
        probe: Some(probes::PKEY_MPROTECT),
    }
    pkeys {
        what: "protection keys can be allocated",
        source: "pkey_alloc(2); needs a processor with protection keys, as QEMU's max is for x86-64; none that it has for arm64 here",
        spans: &[span(X86, EVER, NEVER_ENDED)],
        probe: Some(probes::PKEYS),
    }
    brk_marks {
        what: "brk marks its memory VM_MTE_ALLOWED, which mmap does on processors with MTE only: the two are never alike",
        source: "arch/arm64/include/asm/page.h VM_DATA_DEFAULT_FLAGS, arch/arm64/include/asm/mman.h arch_calc_vm_flag_bits; 5.10",
        spans: &[span(ARM, Release(5, 10, 0), NEVER_ENDED)],
        probe: Some(probes::BRK_MARKS),
    }
    exec_only_pkey {
        what: "PROT_EXEC alone is guarded by a protection key: data accesses raise SEGV_PKUERR",
        source: "arch/x86/mm/pkeys.c; needs a processor with protection keys, as QEMU's max is",
        spans: &[span(X86, EVER, NEVER_ENDED)],
        probe: Some(probes::EXEC_ONLY_PKEY),
    }
    exec_only_unreadable {
        what: "PROT_EXEC alone cannot be read: loads raise SEGV_ACCERR",
        source: "arch/arm64/mm/fault.c; needs a processor with EPAN",
        spans: &[],
        probe: Some(probes::EXEC_ONLY_UNREADABLE),
    }
}
