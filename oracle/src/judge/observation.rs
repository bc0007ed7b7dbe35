//! What a run saw after an op, in the oracle's terms. The harness makes it from what the guest reports; the simulated
//! kernel makes it from the model.

use super::Event;
use crate::geometry::Geometry;
use crate::program::{ActorId, Prot, Vectors};
use crate::space::{Content, Key};
use serde::{Deserialize, Serialize};

/// Everything seen after one op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What the op itself returned.
    pub outcome: Outcome,
    /// The arena of every living actor, ascending by actor.
    pub spaces: Vec<(ActorId, SpaceSeen)>,
    /// What the actors' userfaultfds have told during the op, in order: whose, and what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<(ActorId, Event)>,
    /// Of a step in which an allocation was to fail: whether it came to that. `None` where nothing was to, or the kernel cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

/// What became of the allocation that was to fail within a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failing {
    /// It failed.
    Failed,
    /// The call made fewer: so many.
    Fewer(u16),
}

/// What an op returned to its actor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The system call succeeded. For mmap: at the address asked for.
    Ok,
    /// mmap with a hint succeeded outside the arena.
    Elsewhere,
    /// `look` has found a guard in a VMA that smaps does not mark.
    Unflagged,
    /// The system call failed with this errno (its Linux number).
    Errno(i32),
    /// A call that moves bytes, or counts them: how many, and which. It did something, or had nothing to do.
    Moved(Moved),
    /// An access op: how far it came, what it read, and the fault that stopped it.
    Access(Access),
    /// Of a thread that repeats its op: those outcomes that differ from the one before, in order. Never of an actor alone.
    Each(Vec<Outcome>),
    /// Of a section, what each of its steps returned. Never of a step alone.
    Together(Vec<Outcome>),
}

/// Result of a `read` or `write` op.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Access {
    /// Pages accessed before the fault, or all.
    pub pages: u32,
    /// What the loads returned, as runs of pages with like content (see [`Content::is_followed_by`]); empty for writes.
    pub values: Vec<ValueRun>,
    /// The fault that stopped it.
    pub fault: Option<Fault>,
}

/// What a call did that may do a part of what it is asked to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Moved {
    /// Bytes that the call returned.
    pub bytes: u64,
    /// Whether that is all that was asked for.
    pub all: bool,
    /// Where it stopped, in bytes from the arena's start.
    pub end: i64,
    /// What the kernel read: the first eight bytes of each page, as far as they were moved (zero where they were not), of the pages
    /// of which any of these bytes was. Empty where the kernel wrote.
    pub values: Vec<ValueRun>,
    /// Bytes moved behind the first eight of their pages that were not zero.
    pub stray: u64,
}

impl Moved {
    /// What a call with these ranges did that returned `bytes`.
    pub fn of(
        vectors: Vectors,
        bytes: u64,
        values: Vec<ValueRun>,
        stray: u64,
        g: Geometry,
    ) -> Moved {
        Moved {
            bytes,
            all: bytes == vectors.bytes(g),
            end: vectors.place_after(bytes, g),
            values,
            stray,
        }
    }
}

/// `len` pages whose contents follow each other, starting with `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueRun {
    pub len: u32,
    pub first: Content,
}

/// A signal that an access raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// SIGSEGV (11) or SIGBUS (7).
    pub signo: i32,
    /// si_code: SEGV_MAPERR 1, SEGV_ACCERR 2, SEGV_PKUERR 4, BUS_ADRERR 2, ...
    pub code: i32,
    /// si_addr, in bytes from the arena's start.
    pub addr: i64,
    /// si_pkey, of SEGV_PKUERR.
    pub key: Option<Key>,
}

/// The arena of one actor. Page numbers count from the arena's start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpaceSeen {
    /// VMAs in ascending order.
    pub vmas: Vec<VmaSeen>,
    /// Maximal runs of pages whose pagemap entry is not empty, ascending; pages between them are empty (or unmapped).
    pub pages: Vec<PageRun>,
    /// Runs of pages that mincore calls resident, ascending: (first page, pages). `None` when it was not taken.
    pub resident: Option<Vec<(u32, u32)>>,
}

/// One VMA as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VmaSeen {
    /// First page.
    pub start: u32,
    /// Page after the last.
    pub end: u32,
    pub prot: Prot,
    pub shared: bool,
    /// The page of its file that it starts with, in maps the offset; `None` without a file.
    pub file_page: Option<u32>,
    /// VmFlags of smaps, the two-letter names sorted; `None` when smaps was not read after this op.
    pub flags: Option<Vec<VmFlag>>,
    /// What smaps adds up over its pages; `None` when smaps was not read after this op.
    pub sizes: Option<Sizes>,
}

/// Sizes of a VMA as smaps prints them, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Sizes {
    /// Rss: present pages, the zero page apart.
    pub rss: u64,
    /// Pss: the same, each page divided by how often it is mapped, rounded down.
    pub pss: u64,
    /// Private_Clean and Private_Dirty: pages that are mapped once.
    pub private: u64,
    /// Anonymous.
    pub anonymous: u64,
    /// LazyFree.
    pub lazy_free: u64,
    /// AnonHugePages: anonymous pages that are mapped by a PMD.
    pub anon_huge: u64,
    /// ShmemPmdMapped and FilePmdMapped.
    pub file_huge: u64,
    /// Swap.
    pub swap: u64,
    /// Locked: Pss of memory that is locked.
    pub locked: u64,
}

/// A two-letter VmFlags name of smaps, such as `gu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VmFlag(pub [u8; 2]);

/// `len` pages from `start` on that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRun {
    pub start: u32,
    pub len: u32,
    pub page: PageSeen,
}

/// One page as pagemap and PAGEMAP_SCAN show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageSeen {
    pub kind: PageKind,
    /// Mapped by a PMD (PAGE_IS_HUGE). `None`: this kernel has no way to tell.
    pub huge: Option<bool>,
    /// pagemap bit 56: mapped exactly once. Meaningful for `Anon` and `File`.
    pub exclusive: bool,
    /// pagemap bit 55: stored to since clear_refs was written, or in a VMA that counts as such as a whole.
    pub soft_dirty: bool,
    /// pagemap bit 57: write-protected by userfaultfd.
    pub uffd_wp: bool,
    /// Content of the first page of the run, read through a readable present mapping; the following pages' contents
    /// follow it. `None`: not read (no read permission, or not present).
    pub content: Option<Content>,
}

/// What stands in a page-table slot that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PageKind {
    /// A guard marker (pagemap bit 58).
    Guard,
    /// A swap-like entry that is not known to be a guard (kernels before 6.15 show guards so).
    Swap,
    /// Present, the shared zero page. On kernels that cannot tell it from anonymous memory the guest recognises the
    /// zero page by its PFN.
    Zero,
    /// Present, anonymous.
    Anon,
    /// Present, of a file or of shared memory.
    File,
}
