//! The list of all rules, and sets of them.
//!
//! A rule is a constant beside the code that implements it. [`ALL`] lists them, from general to special within a
//! family: where several rules of a step speak about the same thing, the later one is the more special.

use super::{
    access, anon_vma, args, brk, collapse, droppable, failing, file, folio, fork, free, guard,
    hints, hugetlb, limits, madvise, merge, mlock, mmap, moves, mprotect, mremap, mseal, munmap,
    pkey, populate, process_madvise, reclaim, report, resize, seal, secret, sizes, soft_dirty,
    swap, tables, thp, thp_disable, transfer, uffd,
};
use crate::judge::Class;
use crate::race::rules as race;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A named piece of the oracle's semantics.
#[derive(Debug)]
pub struct Rule {
    /// `family/subject/behaviour`, such as `guard/install/zaps-populated`.
    pub name: &'static str,
    /// What it says, in one paragraph.
    pub text: &'static str,
    /// Where it is known from.
    pub source: &'static str,
    /// The kernels it holds for.
    pub since: &'static str,
    /// What it speaks about: a difference of another class is not this rule's.
    pub about: &'static [Class],
}

impl Rule {
    /// Whether, of a VMA, it says where it begins and ends, not what it is.
    pub(crate) fn places_borders(&self) -> bool {
        self.name.starts_with("merge/")
            || self.name.contains("anon-vma")
            || self.name.ends_with("stays-apart")
    }
}

/// The name of a rule: cheap to copy, prints as the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub &'static str);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0)
    }
}

/// Every rule, family by family.
pub(crate) const ALL: &[&Rule] = &[
    &report::UNTOUCHED,
    &limits::OUT_OF_MEMORY,
    &limits::KNOBS,
    &limits::COLLAPSE_OF_FILES,
    &limits::HUGETLB_MARKERS,
    &limits::MOVES_SWAPPED,
    &limits::SECTION_TOO_LARGE,
    &tables::ZAP,
    &tables::ZAP_WHOLE_HUGE,
    &tables::ZAP_SPLITS_HUGE,
    &anon_vma::FRESH,
    &anon_vma::REUSED,
    &args::ALIGNMENT,
    &args::EMPTY,
    &args::WRAPS,
    &munmap::REMOVES,
    &munmap::HOLES,
    &munmap::FREES_TABLES,
    &brk::GROWS,
    &brk::SHRINKS,
    &brk::SAME_PAGE,
    &brk::REFUSED,
    &brk::LOCKED,
    &mmap::MAPS,
    &mmap::NEW_IS_EMPTY,
    &mmap::FIXED_REPLACES,
    &mmap::HINT_FREE,
    &mmap::HINT_TAKEN,
    &mmap::HINT_ROUNDS_DOWN,
    &mmap::ACCOUNTS,
    &mmap::SHARED_OBJECT,
    &mmap::FILE,
    &mmap::FILE_DENIED,
    &mmap::NO_REPLACE,
    &mmap::NO_RESERVE,
    &mmap::STACK,
    &mmap::POPULATES,
    &mremap::FLAGS,
    &mremap::NEW_LENGTH,
    &mremap::OVERLAP,
    &mremap::DONTUNMAP_LENGTH,
    &mremap::UNMAPPED,
    &mremap::TARGET_LATE,
    &mremap::CROSSES,
    &mremap::SAME,
    &mremap::SHRINKS,
    &mremap::GROWS,
    &mremap::NO_ROOM,
    &mremap::ELSEWHERE,
    &mremap::FIXED_REPLACES,
    &mremap::CHECKS_LATE,
    &moves::COPIES_VMA,
    &moves::KEEPS_PAGES,
    &moves::OFFSET,
    &moves::TABLE,
    &moves::REALIGNED,
    &moves::HUGE,
    &moves::SPLITS_HUGE,
    &mremap::DUPLICATES,
    &mremap::MANY,
    &mremap::MANY_REFUSED,
    &mremap::HINT,
    &moves::TABLE_ELSEWHERE,
    &moves::LEAVES_VMA,
    &moves::UNLOCKS,
    &moves::UNLOCKS_ALL,
    &mseal::REMAP,
    &mseal::STALE_START,
    &mlock::REMAP_LIMIT,
    &mlock::GROWS,
    &moves::UNLINKS,
    &moves::UNACCOUNTS,
    &moves::NO_SELF_MERGE,
    &mprotect::KEEPS_PAGES,
    &mprotect::CHANGES,
    &mprotect::SAME,
    &mprotect::MAY_WRITE,
    &mprotect::FIRST_UNMAPPED,
    &mprotect::HOLE,
    &mprotect::ACCOUNTS,
    &mprotect::UNACCOUNTS,
    &mlock::RANGE,
    &mlock::FLAGS,
    &mlock::UNKNOWN_FLAG,
    &mlock::FIRST_UNMAPPED,
    &mlock::HOLE,
    &mlock::FAULTS_IN,
    &mlock::ON_FAULT,
    &mlock::IMPOSSIBLE,
    &mlock::PASSED_OVER,
    &mlock::LIMIT,
    &mlock::MMAP_LIMIT,
    &mlock::ALL_FLAGS,
    &mlock::ALL_CURRENT,
    &mlock::ALL_LIMIT,
    &mlock::FUTURE,
    &mlock::UNLOCK_ALL,
    &mlock::MPROTECT,
    &mseal::SEALS,
    &mseal::MISSING,
    &mseal::UNKNOWN_FLAG,
    &mseal::HOLE,
    &mseal::UNMAP,
    &mseal::PROTECT,
    &folio::SPLIT,
    &folio::SPLIT_FINDS_ZEROS,
    &folio::SHARED_IS_LEFT,
    &folio::STORE_COPIES,
    &folio::SHARING_IS_ESTIMATED,
    &madvise::UNKNOWN,
    &madvise::WALK,
    &madvise::HOLE,
    &madvise::HUGE_FLAGS,
    &hints::READ_AHEAD,
    &hints::DUMP,
    &hints::FORK,
    &hints::WIPE,
    &hints::KSM,
    &hints::WILLNEED,
    &madvise::DONTNEED,
    &madvise::DONTNEED_SHARED,
    &madvise::DONTNEED_PRIVATE_FILE,
    &madvise::DONTNEED_KEEPS_GUARDS,
    &madvise::DONTNEED_FREES_TABLE,
    &free::FREES,
    &free::SHARED,
    &free::LOCKED_ELSEWHERE,
    &free::MAY_TAKE,
    &reclaim::COLD,
    &reclaim::PAGEOUT_NO_SWAP,
    &reclaim::PAGEOUT_SHARED,
    &reclaim::PAGEOUT_RAMFS,
    &reclaim::PAGEOUT_SKIPS_SHARED,
    &reclaim::PAGEOUT_SPLITS,
    &reclaim::PAGEOUT_TAKES,
    &swap::OUT,
    &swap::MEMFD_OUT,
    &swap::OUT_HUGE,
    &swap::MAY_STAY,
    &swap::READ_AHEAD,
    &swap::FREE_KEEPS,
    &swap::GONE,
    &swap::FORK,
    &collapse::WHOLE_BLOCKS,
    &collapse::MAKES_HUGE,
    &collapse::NOT_ELIGIBLE,
    &collapse::EMPTY,
    &collapse::NEEDS_WRITABLE,
    &collapse::WRITABLE_UNKNOWN,
    &collapse::GUARD,
    &collapse::MAY_FAIL,
    &mlock::REFUSES,
    &mseal::DISCARD,
    &guard::INSTALL_ALLOCATES_TABLES,
    &guard::INSTALL_FILLS,
    &guard::INSTALL_IDEMPOTENT,
    &guard::INSTALL_MAYBE_GUARD,
    &guard::INSTALL_ANON_VMA,
    &guard::INSTALL_ANON_VMA_AFTER,
    &guard::INSTALL_FILE_ANON_VMA,
    &guard::INSTALL_ANON_ONLY,
    &guard::INSTALL_ZAPS,
    &guard::REMOVE_KEEPS_TABLES,
    &guard::REMOVE_SPLITS,
    &guard::REMOVE_EMPTIES,
    &guard::REMOVE_LEAVES_OTHERS,
    &access::VALUE,
    &access::UNMAPPED,
    &access::DENIED,
    &access::PKEY,
    &pkey::SETS,
    &pkey::INHERITED,
    &pkey::UNALLOCATED,
    &pkey::MISSING,
    &pkey::DENIED,
    &pkey::FAULTS_NOTHING_IN,
    &pkey::KERNEL,
    &pkey::SEALED,
    &access::EXEC_ONLY,
    &access::GUARD,
    &access::STOPS,
    &access::ZERO_PAGE,
    &access::NEW_PAGE,
    &access::IN_PLACE,
    &access::COPY_ON_WRITE,
    &swap::IN,
    &swap::STORE_COPIES,
    &transfer::FAULTS_IN,
    &transfer::UNMAPPED,
    &transfer::TO_THE_BYTE,
    &transfer::WHOLE_CHUNKS,
    &transfer::DENIED,
    &transfer::VMA_FORBIDS,
    &transfer::FAST,
    &transfer::FORCES,
    &transfer::FORCE_NOT_SHARED,
    &transfer::GUARD,
    &transfer::PIN_UNSHARES,
    &populate::LIKE_ACCESS,
    &populate::HOLE,
    &populate::OVER_HOLES,
    &populate::DENIED,
    &populate::GUARD,
    &file::FAULT,
    &file::STORE,
    &file::FAULT_AROUND,
    &file::COPY_ANON_VMA,
    &file::COPY,
    &file::HUGE_READAHEAD,
    &file::LAST_PAGE,
    &file::TAKEN_AGAIN,
    &file::BEYOND_END,
    &resize::GROW,
    &resize::SHRINK,
    &resize::HOLE,
    &resize::REMOVE,
    &resize::NO_HOLES,
    &resize::KEEPS_GUARDS,
    &seal::ADDS,
    &seal::BUSY,
    &seal::NO_WRITERS,
    &seal::LATE,
    &seal::KEEPS_LENGTH,
    &seal::KEEPS_CONTENTS,
    &hugetlb::MAPS,
    &hugetlb::RESERVES,
    &hugetlb::NEVER_LOCKED,
    &hugetlb::REFUSES,
    &hugetlb::DONTNEED,
    &hugetlb::DOFORK,
    &hugetlb::SPLIT,
    &hugetlb::CUT_BY_MMAP,
    &hugetlb::MREMAP,
    &hugetlb::UFFD_RANGE,
    &hugetlb::UFFD_FILL,
    &hugetlb::NO_PAGE,
    &droppable::MAPS,
    &droppable::ADVICE,
    &droppable::ALWAYS_FREE,
    &droppable::NOT_LOCKED,
    &droppable::NEW_IS_LOCKED,
    &secret::MAPS,
    &secret::LOCKED,
    &secret::ALONE,
    &secret::OUT_OF_REACH,
    &secret::LOCK_STAYS,
    &secret::LENGTH_STAYS,
    &secret::MERGES,
    &secret::MISSING,
    &thp::FAULT,
    &thp::MAY_FAIL,
    &thp::HUGE_ZERO,
    &thp::READ_WITHOUT_ZERO,
    &thp::ZERO_WRITE_SPLITS,
    &thp::ZERO_WRITE_ALLOCATES,
    &thp::WRITE_REUSES,
    &thp::WRITE_SPLITS,
    &thp::VMA_SPLIT,
    &thp_disable::OFF,
    &thp_disable::EXCEPT_ADVISED,
    &thp_disable::FLAGS,
    &thp_disable::INHERITED,
    &process_madvise::VECTOR,
    &process_madvise::STOPS,
    &process_madvise::EMPTY,
    &process_madvise::FLAGS,
    &process_madvise::FEW,
    &process_madvise::NICE,
    &process_madvise::NICE_FOR_ALL,
    &fork::COPIES_VMAS,
    &fork::SHARES_PAGES,
    &fork::COPIES_GUARDS,
    &fork::SKIPS_SHARED,
    &fork::COPIES_SHARED_GUARDS,
    &fork::SHARES_HUGE,
    &fork::NEW_ANON_VMA,
    &fork::LEAVES_OUT,
    &fork::WIPES,
    &mlock::FORK_UNLOCKS,
    &fork::EXIT,
    &soft_dirty::NEW,
    &soft_dirty::CLEARS,
    &soft_dirty::SHOWN,
    &soft_dirty::SPLIT,
    &soft_dirty::MERGES,
    &soft_dirty::PROTECT,
    &soft_dirty::CLEANS,
    &uffd::MISSING_CALL,
    &uffd::RANGE,
    &uffd::register::REGISTERS,
    &uffd::register::INSIDE_APART,
    &uffd::register::KINDS,
    &uffd::register::DROPPABLE,
    &uffd::register::MAY_WRITE,
    &uffd::register::UNREGISTERS,
    &uffd::missing::MISSING,
    &uffd::missing::MISSING_SHARED,
    &uffd::fill::PREPARES_FIRST,
    &uffd::fill::ONE_VMA,
    &uffd::fill::COPIES,
    &uffd::fill::ZEROES,
    &uffd::fill::OCCUPIED,
    &uffd::fill::OVERWRITES_GUARDS,
    &uffd::fill::BEYOND_END,
    &uffd::fill::BEYOND_END_ENOMEM,
    &uffd::lost::FORK,
    &uffd::lost::MOVED,
    &uffd::lost::MOVED_APART,
    &uffd::lost::MOVED_ALONE,
    &uffd::lost::FORK_KEPT,
    &uffd::lost::FORK_TABLES,
    &uffd::lost::MOVED_ALONG,
    &uffd::events::FORK,
    &uffd::events::REMAP,
    &uffd::events::REMAP_OLD_LENGTH,
    &uffd::events::REMOVE,
    &uffd::events::UNMAP,
    &uffd::events::UNMAP_REFUSED,
    &uffd::missing::COLLAPSE,
    &uffd::poison::UNKNOWN,
    &uffd::poison::MARKS,
    &uffd::poison::ACCESS,
    &uffd::poison::REPLACED,
    &uffd::poison::GOES,
    &uffd::poison::FORK,
    &uffd::protect::UNKNOWN,
    &uffd::protect::PROTECTS,
    &uffd::protect::UNPROTECTS,
    &uffd::protect::REGISTERED,
    &uffd::protect::ONE_VMA,
    &uffd::protect::STORE,
    &uffd::protect::MARKER,
    &uffd::protect::ALONE,
    &uffd::protect::LEAVES_MARKERS,
    &uffd::protect::GUARD,
    &uffd::protect::REPLACED,
    &uffd::protect::COPY,
    &uffd::protect::FORK,
    &uffd::protect::MOVED,
    &uffd::protect::SURVIVES,
    &uffd::protect::FORK_KEPT,
    &uffd::protect::MOVED_ALONG,
    &uffd::protect::STALE,
    &uffd::protect::SWITCH,
    &uffd::protect::COLLAPSE,
    &uffd::protect::SHOWN,
    &uffd::moving::UNKNOWN,
    &uffd::moving::AREAS,
    &uffd::moving::MOVES,
    &uffd::moving::OCCUPIED,
    &uffd::moving::HOLES,
    &uffd::moving::MARKERS,
    &uffd::moving::NOT_EXCLUSIVE,
    &uffd::moving::HUGE,
    &uffd::moving::HUGE_ZERO_BIT,
    &uffd::moving::SPLITS_HUGE,
    &uffd::moving::UNPROTECTS,
    &uffd::moving::LEAVES_DROPPABLE,
    &merge::SPLIT,
    &merge::NEW_LEFT,
    &merge::NEW_RIGHT,
    &merge::NEW_BOTH,
    &merge::GROWN,
    &merge::MOVED,
    &merge::MOVED_FORKED,
    &merge::MOVED_LOSES_ANON_VMA,
    &merge::EXISTING,
    &merge::STICKY,
    &merge::ANON_VMA_BLOCKS,
    &merge::PRIVATE_FILE_OFFSETS,
    &report::VM_FLAGS,
    &report::RESIDENT,
    &report::EXCLUSIVE,
    &report::HUGE_EXCLUSIVE_HEAD,
    &report::GUARD_AS_SWAP,
    &report::LOOK,
    &sizes::ADDS_UP,
    &sizes::LAZY_FREE,
    &swap::SIZES,
    &sizes::COUNTERS,
    &sizes::FRAMES,
    &race::FAULT_THEN_ACCESS,
    &race::INSTALL_ROUNDS,
    &race::INSTALL_RESTARTS,
    &race::INSTALL_GIVES_UP,
    &race::TABLE_BY_TABLE,
    &race::PAGEOUT_LEAVES,
    &race::OWN_LOCKS,
    &race::STORES_TO_COPY,
    &race::TOLD_BY_ANOTHER,
    &race::INSTALL_SKIPS_FLUSH,
    &race::COLLAPSE_MEETS_NEW,
    &race::RANGE_BY_RANGE,
    &race::EXCLUSIVE,
    &race::FLAGS_READ_EARLY,
    &race::MUNMAP_DOWNGRADES,
    &race::UFFD,
    &race::SIGNAL,
    &race::STALE,
    &failing::OPTIONAL,
    &failing::INSTALL,
    &failing::REMOVE,
    &failing::VMAS,
    &failing::UNMAP,
    &failing::MAP,
    &failing::REMAP,
    &failing::FORK,
    &failing::UNMERGED,
    &failing::KEEPS_SOURCE,
];

/// Every rule, family by family.
pub static RULES: &[&Rule] = ALL;

/// Position of a rule in [`ALL`]. Evaluated at compile time: a rule that is used but not listed does not compile.
pub(crate) const fn index_of(rule: &Rule) -> usize {
    let mut i = 0;
    while i < ALL.len() {
        if same(ALL[i].name, rule.name) {
            return i;
        }
        i += 1;
    }
    panic!("a rule is missing in rules::registry::ALL")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const WORDS: usize = 7;
const _: () = assert!(ALL.len() <= WORDS * 64, "RuleSet needs another word");

/// A set of rules: those that a step exercised. Written down it is a bit for each line of [`RULES`], which means something to this
/// version of the oracle alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleSet {
    bits: [u64; WORDS],
}

impl RuleSet {
    pub const EMPTY: RuleSet = RuleSet { bits: [0; WORDS] };

    /// Adds the rule at `index` of [`RULES`].
    pub(crate) fn insert_index(&mut self, index: usize) {
        self.bits[index / 64] |= 1 << (index % 64);
    }

    /// Whether the rule of this name is in the set.
    pub fn contains(&self, rule: RuleId) -> bool {
        self.iter().any(|r| r == rule)
    }

    /// Whether the rule at `index` of [`RULES`] is in the set.
    pub(crate) fn contains_index(&self, index: usize) -> bool {
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }

    /// Indices in [`RULES`], ascending.
    fn indices(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let words = self.bits.iter().enumerate();
        words.flat_map(|(word, &bits)| Ones(bits).map(move |bit| word * 64 + bit))
    }

    /// The rules, in the order of [`RULES`].
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = RuleId> + '_ {
        self.indices().map(|i| RuleId(ALL[i].name))
    }

    /// The most special rule of the set that speaks about `class`, of those that may be `meant`.
    pub(crate) fn about(&self, class: Class, meant: impl Fn(&Rule) -> bool) -> Option<RuleId> {
        let mut rules = self.indices().rev().map(|i| ALL[i]);
        rules
            .find(|rule| rule.about.contains(&class) && meant(rule))
            .map(|rule| RuleId(rule.name))
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &RuleSet) {
        for (a, b) in self.bits.iter_mut().zip(other.bits) {
            *a |= b;
        }
    }

    /// What is in this set and not in the other.
    pub fn minus(&self, other: &RuleSet) -> RuleSet {
        let mut bits = self.bits;
        for (a, b) in bits.iter_mut().zip(other.bits) {
            *a &= !b;
        }
        RuleSet { bits }
    }
}

/// The places of the bits that are set in a word, ascending.
struct Ones(u64);

impl Iterator for Ones {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    }
}

impl DoubleEndedIterator for Ones {
    fn next_back(&mut self) -> Option<usize> {
        let bit = self.0.checked_ilog2()?;
        self.0 ^= 1 << bit;
        Some(bit as usize)
    }
}
