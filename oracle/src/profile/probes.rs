//! Programs that tell whether a kernel has a behaviour, and how to read what was seen after each of their steps.

use crate::judge::{Event, Observation, Outcome, PageKind, PageRun, SpaceSeen, VmFlag, VmaSeen};
use crate::rules::errno::{EINVAL, ENOMEM, EPERM};

/// How a running kernel tells whether it has a behaviour.
#[derive(Debug)]
pub struct Probe {
    /// A program in the text form; it runs like any other.
    pub program: &'static str,
    /// Reads the answer from the observations after each step, all taken with VmFlags; `None`: cannot tell.
    pub read: fn(&[Observation]) -> Option<bool>,
}

/// Whether the last step succeeded.
fn succeeded(seen: &[Observation]) -> Option<bool> {
    match &seen.last()?.outcome {
        Outcome::Ok | Outcome::Moved(_) => Some(true),
        Outcome::Errno(_) => Some(false),
        _ => None,
    }
}

/// An actor's arena after the last step.
fn space(seen: &[Observation], actor: u8) -> Option<&SpaceSeen> {
    let (_, space) = seen.last()?.spaces.iter().find(|(a, _)| *a == actor)?;
    Some(space)
}

/// An actor's VMAs after the last step.
fn vmas(seen: &[Observation], actor: u8) -> Option<&[VmaSeen]> {
    Some(&space(seen, actor)?.vmas)
}

/// The page run of actor 0 that holds `page` after the last step.
fn page(seen: &[Observation], page: u32) -> Option<PageRun> {
    let (_, space) = seen.last()?.spaces.iter().find(|(a, _)| *a == 0)?;
    space
        .pages
        .iter()
        .find(|r| r.start <= page && page - r.start < r.len)
        .copied()
}

fn has_flag(seen: &[Observation], flag: &[u8; 2]) -> Option<bool> {
    let vma = vmas(seen, 0)?.first()?;
    Some(vma.flags.as_ref()?.contains(&VmFlag(*flag)))
}

fn fault_code(seen: &[Observation]) -> Option<i32> {
    match &seen.last()?.outcome {
        Outcome::Access(access) => Some(access.fault.map_or(0, |f| f.code)),
        _ => None,
    }
}

pub const GUARDS: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nguard-install 0+0..0+1\n",
    read: succeeded,
};

pub const GUARDS_SHARED: Probe = Probe {
    program: "mmap 0+0..0+1 rw shared fixed\nguard-install 0+0..0+1\n",
    read: succeeded,
};

pub const PAGEMAP_GUARD: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nguard-install 0+0..0+1\n",
    read: |seen| Some(page(seen, 0).is_some_and(|r| r.page.kind == PageKind::Guard)),
};

pub const PAGEMAP_SCAN: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nwrite 0+0..0+1 tag 1\n",
    read: |seen| Some(page(seen, 0)?.page.huge.is_some()),
};

pub const MAYBE_GUARD: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nguard-install 0+0..0+1\n",
    read: |seen| has_flag(seen, b"gu"),
};

/// After DONTNEED has emptied a block that held a small page, is a huge page possible again?
pub const PT_RECLAIM: Probe = Probe {
    program:
        "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nhugepage 0+0..1+0\n\
              dontneed 0+0..1+0\nwrite 0+0..0+1 tag 2\n",
    read: |seen| Some(page(seen, 0)?.len > 1 || page(seen, 1).is_some()),
};

pub const HUGE_ZERO_PAGE: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 r private fixed\nhugepage 0+0..1+0\nread 0+1..0+2\n",
    // A page beside the one that was read is there only if the kernel mapped a huge page of either kind.
    read: |seen| Some(page(seen, 0)?.page.kind == PageKind::Zero),
};

pub const HUGE_ZERO_WRITE: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nread 0+1..0+2\nwrite 0+0..0+1 tag 1\n",
    read: |seen| {
        let (_, before) = seen.split_last()?;
        if page(before, 0)?.page.kind != PageKind::Zero {
            return None;
        }
        Some(page(seen, 1)?.page.kind == PageKind::Anon)
    },
};

pub const MERGE_FAULTED: Probe = Probe {
    program:
        "thp madvise\n\nmmap 0+0..0+4 rw private fixed\nnohugepage 0+2..0+4\nwrite 0+0..0+1 tag 1\n\
              nohugepage 0+0..0+2\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 1),
};

pub const MERGE_RIGHT_FIRST: Probe = Probe {
    program:
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+0..0+1 tag 1\n\
              write 0+4..0+5 tag 2\nmmap 0+2..0+4 rw private fixed\n",
    read: |seen| Some(vmas(seen, 0)?.first()?.end == 2),
};

pub const UNACCOUNTS: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nmprotect 0+0..0+1 r\n",
    read: |seen| has_flag(seen, b"ac").map(|ac| !ac),
};

/// The child splits its mapping of the huge page and copies the second page: the parent is the only one to map that.
pub const HUGE_EXCLUSIVE: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nfork 1\n\
              1: write 0+1..0+2 tag 2\n",
    read: |seen| {
        let first = page(seen, 0)?.page;
        let second = page(seen, 1)?.page;
        (first.huge != Some(false)).then_some(!second.exclusive)
    },
};

/// Nothing is mapped at the start, and the new address lies inside a page: which of the two comes first?
pub const MREMAP_TARGET_EARLY: Probe = Probe {
    program: "mremap 0+0..0+2 0+4.8..0+6.8 fixed\n",
    read: |seen| match &seen.last()?.outcome {
        Outcome::Errno(errno) => Some(*errno == EINVAL),
        _ => None,
    },
};

/// The range crosses the VMA's end: is the target gone?
pub const MREMAP_CHECKS_FIRST: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+8 rw private fixed\nmremap 0+0..0+3 0+4..0+8 fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const MREMAP_MOVES_MANY: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nmremap 0+0..0+4 0+8..0+12 fixed\n",
    read: succeeded,
};

/// Is a huge page possible in the block whose pages moved, all but the first ones, where nothing was mapped? Memory that is not
/// charged, since what 6.15 and 6.16 leave of charged memory merges with nothing.
pub const MREMAP_REALIGNS: Probe = Probe {
    program: "thp madvise\n\nmmap 0+4..1+0 rw private fixed noreserve\nwrite 0+4..0+5 tag 1\n\
              mremap 0+4..1+0 1+4..2+0 fixed-dontunmap\nmmap 0+0..0+4 rw private fixed noreserve\nhugepage 0+0..1+0\n\
              write 0+0..0+1 tag 2\n",
    read: |seen| Some(page(seen, 1).is_some()),
};

/// A child moves inherited memory away and, once it has something new beside it, back.
pub const MREMAP_JOINS_FORKED: Probe = Probe {
    program: "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n\
              1: mremap 0+0..0+2 0+8..0+10 fixed\n1: mmap 0+2..0+4 rw private fixed\n1: mremap 0+8..0+10 0+0..0+2 fixed\n",
    read: |seen| Some(vmas(seen, 1)?.len() == 1),
};

/// The same without the fork, which comes then: what does the child have?
pub const MREMAP_LOSES_ANON_VMA: Probe = Probe {
    program: "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
              mmap 0+2..0+4 rw private fixed\nmremap 0+8..0+10 0+0..0+2 fixed\nfork 1\n",
    read: |seen| Some(space(seen, 1)?.pages.is_empty()),
};

/// A private mapping that was written to moves; what follows it in the file is mapped behind it.
pub const PRIVATE_FILE_OFFSETS: Probe = Probe {
    program: "thp never\n\nmmap 0+0..0+2 rw private memfd0 fixed\nwrite 0+0..0+1 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
              mmap 0+10..0+12 rw private memfd0+2 fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const DONTUNMAP_STAYS_APART: Probe = Probe {
    program: "mmap 0+0..0+2 r private fixed\nmremap 0+0..0+2 0+2..0+4 dontunmap\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

/// Memory away from home loses its pages: does it merge with what is mapped beside it?
pub const DONTUNMAP_RESETS_OFFSET: Probe = Probe {
    program: "thp never\n\nmmap 0+0..0+2 rw private fixed noreserve\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
              mremap 0+8..0+10 1+0..1+2 dontunmap\nmmap 0+10..0+12 rw private fixed noreserve\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const DONTUNMAP_UNACCOUNTS: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nmremap 0+0..0+2 1+0..1+2 dontunmap\n",
    read: |seen| has_flag(seen, b"ac").map(|ac| !ac),
};

/// Is the other page a VMA of its own, locked as it was?
pub const DONTUNMAP_UNLOCKS_ALL: Probe = Probe {
    program:
        "mmap 0+0..0+2 rw private fixed\nmlock 0+0..0+2\nmremap 0+0..0+1 1+0..1+1 fixed-dontunmap\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

/// Something else on the other side: does it join that, at least?
pub const DONTUNMAP_BESIDE: Probe = Probe {
    program: "mmap 0+0..0+2 r private fixed\nmmap 0+4..0+6 r private fixed\nmremap 0+0..0+2 0+2..0+4 dontunmap\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 3),
};

pub const SOFT_DIRTY: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\n",
    read: |seen| has_flag(seen, b"sd"),
};

/// The mapping that is changed is not marked any more, the new one beside it is.
pub const SOFT_DIRTY_STICKY: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nclear-soft-dirty\nmmap 0+2..0+4 rwx private fixed\nmprotect 0+0..0+2 rwx\n",
    read: |seen| match vmas(seen, 0)?.len() {
        1 => has_flag(seen, b"sd"),
        _ => None,
    },
};

/// A border between VMAs splits a huge page that nothing was stored to since clear_refs.
pub const SPLIT_SETS_SOFT_DIRTY: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\n\
              nohugepage 0+0..0+8\n",
    read: |seen| Some(page(seen, 1)?.page.soft_dirty),
};

/// A huge page that a border between VMAs has split, before clear_refs; then both of its first pages become unreadable.
pub const MPROTECT_SETS_SOFT_DIRTY: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\ndontfork 0+0..0+2\n\
              clear-soft-dirty\nmprotect 0+0..0+2 r\n",
    read: |seen| Some(page(seen, 0)?.page.soft_dirty),
};

/// One of two huge pages becomes unreadable before clear_refs; discarding the first page of each then splits their mappings.
pub const MPROTECT_CLEANS_HUGE: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..2+0 rw private fixed\nhugepage 0+0..2+0\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\n\
              mprotect 0+0..1+0 none\nclear-soft-dirty\ndontneed 0+0..0+1\ndontneed 1+0..1+1\n",
    read: |seen| {
        let bit = |at: u32| page(seen, at).map(|run| run.page.soft_dirty);
        Some(bit(512 + 1)? && !bit(1)?)
    },
};

/// The same as two before, by splitting the huge page itself.
pub const FOLIO_SPLIT_SETS_SOFT_DIRTY: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\n\
              cold 0+0..0+1\n",
    read: |seen| page(seen, 1).and(page(seen, 0)).map(|run| run.page.soft_dirty),
};

/// A huge page that came after clear_refs has the bit; a part of it that is given as COLD splits it.
pub const SPLIT_ZEROS_SOFT_DIRTY: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nclear-soft-dirty\nwrite 0+0..0+1 tag 1\n\
              cold 0+0..0+1\n",
    read: |seen| {
        let zero = page(seen, 5)?.page;
        (zero.kind == PageKind::Zero).then_some(zero.soft_dirty)
    },
};

pub const POPULATE_HOLE: Probe = Probe {
    program:
        "thp never\n\nmmap 0+0..0+1 rw private fixed\nmmap 0+2..0+3 rw private fixed\npopulate-write 0+0..0+3\n",
    read: |seen| page(seen, 0).map(|_| page(seen, 2).is_none()),
};

pub const HUGE_READAHEAD: Probe = Probe {
    program: "mmap 0+0..0+4 r shared ramfs0+16 fixed\nhugepage 0+0..0+4\nread 0+0..0+1\n",
    read: |seen| page(seen, 0).map(|run| run.len > 1),
};

/// A child brings the last page of a file into the page cache, so the parent has no page table there when it looks around.
pub const LAST_PAGE_NEEDS_TABLE: Probe = Probe {
    program:
        "mmap 0+0..0+2 rw private ramfs0+23 fixed\nfork 1\n1: write 0+0..0+1 tag 1\nread 0+1..0+2\n",
    read: |seen| Some(page(seen, 0).is_none()),
};

/// The part of a huge page that is given as COLD splits it.
pub const SPLIT_FINDS_ZEROS: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\ncold 0+0..0+1\n",
    read: |seen| Some(page(seen, 5)?.page.kind == PageKind::Zero),
};

/// The child maps one page of the parent's large folio, not the first; is it split? Block 1 tells whether a split shows.
pub const SHARING_IS_KNOWN: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..2+0 rw private fixed\nhugepage 0+0..2+0\nwrite 0+0..0+1 tag 1\n\
              write 1+0..1+1 tag 2\ncold 1+0..1+1\nfork 1\n1: munmap 0+0..0+5\n1: munmap 0+6..2+0\ndontneed 0+8..0+16\n\
              cold 0+0..0+1\n",
    read: |seen| {
        let shows = page(seen, 512 + 5)?.page.kind == PageKind::Zero;
        shows.then(|| page(seen, 1).is_some_and(|r| r.page.kind == PageKind::Anon))
    },
};

/// Does a fault choose a huge page where PAGEOUT has taken a lazily freed one?
pub const LAZYFREE_HUGE: Probe = Probe {
    program: "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nfree 0+0..1+0\n\
              pageout 0+0..1+0\nwrite 0+0..0+1 tag 2\n",
    read: |seen| Some(page(seen, 0)?.len > 1 || page(seen, 1).is_some()),
};

pub const FUTURE_SEAL: Probe = Probe {
    program: "mmap 0+0..0+1 r private fixed\nseal memfd0 future-write\nmmap 0+0..0+1 rw shared memfd0 fixed\n",
    read: |seen| vmas(seen, 0).map(|vmas| !vmas.is_empty()),
};

pub const COLLAPSE_WITHIN_BLOCK: Probe = Probe {
    program:
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\ncollapse 0+1..0+3\n",
    read: |seen| succeeded(seen).map(|ok| !ok),
};

/// Of two blocks the second has a page; does it become part of a huge page?
pub const COLLAPSE_EMPTY: Probe = Probe {
    program:
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 1+0..1+1 tag 1\ncollapse 0+0..2+0\n",
    read: |seen| {
        let (_, space) = seen.last()?.spaces.first()?;
        Some(space.pages.iter().all(|run| run.len == 1))
    },
};

/// Nothing is asked of a kernel that cannot collapse at all.
pub const COLLAPSE_READ_ONLY: Probe = Probe {
    program: "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\ncollapse 1+0..2+0\n\
              mprotect 0+0..1+0 r\ncollapse 0+0..1+0\n",
    read: |seen| {
        let (last, before) = seen.split_last()?;
        let (_, before) = before.split_last()?;
        succeeded(before)?.then_some(last.outcome != Outcome::Ok)
    },
};

pub const HUGETLB: Probe = Probe {
    program: "mmap 0+0..1+0 rw private hugetlb fixed noreserve\n",
    read: succeeded,
};

/// Nothing is asked of a kernel without MAP_HUGETLB.
pub const MMAP_CUT: Probe = Probe {
    program: "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nmmap 0+4..0+8 rw private fixed\n",
    read: |seen| {
        let (last, before) = seen.split_last()?;
        succeeded(before)?.then_some(last.outcome == Outcome::Errno(ENOMEM))
    },
};

/// The same.
pub const DOFORK_SPECIAL: Probe = Probe {
    program: "mmap 0+0..1+0 rw private hugetlb fixed noreserve\ndofork 0+0..1+0\n",
    read: |seen| {
        let (last, before) = seen.split_last()?;
        succeeded(before)?.then_some(last.outcome == Outcome::Errno(EINVAL))
    },
};

pub const DROPPABLE: Probe = Probe {
    program: "mmap 0+0..0+1 rw droppable fixed\n",
    read: succeeded,
};

pub const DROPPABLE_FUTURE: Probe = Probe {
    program: "mlockall future\nmmap 0+0..0+1 rw droppable fixed\n",
    read: |seen| has_flag(seen, b"lo"),
};

pub const THP_DISABLE_EXCEPT_ADVISED: Probe = Probe {
    program: "thp-disable-except-advised\n",
    read: succeeded,
};

pub const SECRET_MEMORY: Probe = Probe {
    program: "mmap 0+0..0+1 rw shared secret0 fixed\n",
    read: succeeded,
};

pub const SECRET_IS_LOCKED: Probe = Probe {
    program: "mmap 0+0..0+1 rw shared secret0 fixed\n",
    read: |seen| has_flag(seen, b"lo"),
};

pub const SECRET_MERGES_LATE: Probe = Probe {
    program: "mmap 0+1..0+2 rw shared secret0+1 fixed\nmmap 0+0..0+1 rw shared secret0 fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() > 1),
};

pub const STACK_NO_HUGE: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed stack\n",
    read: |seen| has_flag(seen, b"nh"),
};

/// Of nothing, so that nothing is sealed.
pub const MSEAL: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nmseal 0+0..0+0\n",
    read: succeeded,
};

pub const MSEAL_STALE_START: Probe = Probe {
    program: "mmap 0+0..0+4 rw private fixed\nmseal 0+1..0+2\nmseal 0+0..0+4\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const LOCK_ON_FAULT_NAMED: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nmlock-onfault 0+0..0+1\n",
    read: |seen| has_flag(seen, b"lf"),
};

pub const KSM: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nmergeable 0+0..0+1\n",
    read: succeeded,
};

pub const PROC_MEM_FORCES: Probe = Probe {
    program: "mmap 0+0..0+1 none private fixed\nmem-read 0+0..0+1\n",
    read: succeeded,
};

/// By root, who has every right.
pub const PROCESS_MADVISE_ANY: Probe = Probe {
    program: "user root\n\nmmap 0+0..0+1 rw private fixed\nprocess-madvise dontneed 0+0..0+1\n",
    read: succeeded,
};

pub const PROCESS_MADVISE_NICE: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nprocess-madvise cold 0+0..0+1\n",
    read: |seen| succeeded(seen).map(|taken| !taken),
};

/// Of memory that can be read by the processor, but not according to its VMA.
pub const HUGE_ZERO_SPECIAL: Probe = Probe {
    program:
        "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nread 0+0..0+1\nmprotect 0+0..1+0 w\n\
              vmsplice 0+0..0+1\n",
    read: |seen| {
        let there = page(seen, 1)?.page;
        let huge = there.kind == PageKind::Zero && there.huge != Some(false);
        huge.then_some(()).and(succeeded(seen)).map(|taken| !taken)
    },
};

pub const PKEY_MPROTECT: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\npkey-mprotect 0+0..0+1 r as-is\n",
    read: succeeded,
};

pub const BRK_MARKS: Probe = Probe {
    program: "brk 2+1\nmmap 2+1..2+2 rw private fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const PKEYS: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\npkey-mprotect 0+0..0+1 r no-write\n",
    read: succeeded,
};

pub const EXEC_ONLY_PKEY: Probe = Probe {
    program: "mmap 0+0..0+1 x private fixed\nread 0+0..0+1\n",
    read: |seen| Some(fault_code(seen)? == 4),
};

pub const EXEC_ONLY_UNREADABLE: Probe = Probe {
    program: "mmap 0+0..0+1 x private fixed\nread 0+0..0+1\n",
    read: |seen| Some(fault_code(seen)? == 2),
};

pub const USERFAULTFD: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nuffd-register-missing 0+0..0+1\n",
    read: succeeded,
};

pub const UFFD_TAKES_DROPPABLE: Probe = Probe {
    program: "mmap 0+0..0+1 rw droppable fixed\nuffd-register-missing 0+0..0+1\n",
    read: succeeded,
};

pub const UFFD_INSIDE_STAYS_APART: Probe = Probe {
    program: "mmap 0+0..0+4 rw private fixed\nuffd-register-missing 0+2..0+4\nuffd-register-missing 0+1..0+2\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 3),
};

/// A VMA without an anon_vma takes the offset of its new place in mremap, and merges there.
pub const UFFD_PREPARES_FIRST: Probe = Probe {
    program:
        "mmap 0+0..0+2 rw private fixed\nuffd-zeropage 0+0..0+1\nmmap 0+4..0+6 rw private fixed\n\
              mremap 0+0..0+2 0+2..0+4 fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const UFFD_COPIES_OVER_GUARDS: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nuffd-register-missing 0+0..0+1\nguard-install 0+0..0+1\nuffd-copy 0+0..0+1 tag 1\n",
    read: |seen| {
        let guarded = seen.iter().rev().nth(1)?.outcome == Outcome::Ok;
        guarded.then(|| succeeded(seen))?
    },
};

pub const UFFD_BEYOND_END_IS_ENOMEM: Probe = Probe {
    program: "mmap 0+0..0+1 rw shared memfd0+30 fixed\nuffd-register-missing 0+0..0+1\nuffd-copy 0+0..0+1 tag 1\n",
    read: |seen| Some(seen.last()?.outcome == Outcome::Errno(ENOMEM)),
};

pub const UFFD_POISON: Probe = Probe {
    program:
        "mmap 0+0..0+1 rw private fixed\nuffd-register-missing 0+0..0+1\nuffd-poison 0+0..0+1\n",
    read: succeeded,
};

pub const UFFD_MOVE: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+1\nread 0+1..0+2\nuffd-move 0+1..0+2 to 0+0\n",
    read: succeeded,
};

pub const UFFD_MOVED_STAYS_APART: Probe = Probe {
    program: "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+5 rw private fixed\nuffd-register-missing 0+0..0+5\n\
              mremap 0+4..0+5 0+2..0+3 fixed\n",
    read: |seen| Some(vmas(seen, 0)?.len() == 2),
};

pub const WILLNEED_READS_ONE_MORE: Probe = Probe {
    program: "swap on\n\nmmap 0+0..0+2 rw shared fixed\nwrite 0+0..0+2 tag 1\npageout 0+0..0+2\nwillneed 0+0..0+1\n",
    read: |seen| {
        let resident = |step: &Observation| step.spaces.first()?.1.resident.clone();
        let out = resident(seen.iter().rev().nth(1)?)?.is_empty();
        let back = resident(seen.last()?)?;
        (out && !back.is_empty()).then_some(back == [(0, 2)])
    },
};

pub const UFFD_WP: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nuffd-register-wp 0+0..0+1\n",
    read: succeeded,
};

pub const UFFD_WP_MANY_VMAS: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nmmap 0+1..0+2 r private fixed\nuffd-register-wp 0+0..0+2\nuffd-protect 0+0..0+2\n",
    read: |seen| {
        let registered = seen.iter().rev().nth(1)?.outcome == Outcome::Ok;
        registered.then(|| succeeded(seen))?
    },
};

pub const UFFD_WP_SURVIVES_MREMAP: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nuffd-register-wp 0+0..0+1\nwrite 0+0..0+1 tag 1\nuffd-protect 0+0..0+1\n\
              mremap 0+0..0+1 0+4..0+5 fixed\n",
    read: |seen| {
        let protected = seen.iter().rev().nth(1)?.outcome == Outcome::Ok;
        protected.then(|| Some(page(seen, 4)?.page.uffd_wp))?
    },
};

pub const UFFD_WP_SWITCH_REFUSED: Probe = Probe {
    program: "mmap 0+0..0+1 rw private fixed\nuffd-register-wp 0+0..0+1\nuffd-register-missing 0+0..0+1\n",
    read: |seen| {
        let registered = seen.iter().rev().nth(1)?.outcome == Outcome::Ok;
        registered.then(|| succeeded(seen).map(|taken| !taken))?
    },
};

pub const UFFD_TELLS_REFUSED_UNMAP: Probe = Probe {
    program: "uffd-events on\n\nmmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+1\nmseal 0+1..0+2\nmunmap 0+0..0+2\n",
    read: |seen| {
        let set_up = seen.iter().rev().skip(1).all(|s| s.outcome == Outcome::Ok);
        let refused = seen.last()?.outcome == Outcome::Errno(EPERM);
        (set_up && refused).then(|| Some(!seen.last()?.events.is_empty()))?
    },
};

pub const UFFD_REMAP_TELLS_OLD_LENGTH: Probe = Probe {
    program: "uffd-events on\n\nmmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+2\nmremap 0+0..0+2 0+4..0+5 fixed\n",
    read: |seen| {
        let mut told = seen.last()?.events.iter();
        told.find_map(|(_, event)| match event {
            Event::Remap { pages, .. } => Some(*pages == 2),
            _ => None,
        })
    },
};
