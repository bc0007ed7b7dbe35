//! Virtual memory areas.

use super::object::ObjectId;
use crate::program::Prot;
use serde::{Deserialize, Serialize};

/// Which huge-page advice a VMA was given last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HugeAdvice {
    #[default]
    None,
    /// MADV_HUGEPAGE.
    Huge,
    /// MADV_NOHUGEPAGE.
    NoHuge,
}

/// What madvise has said about a VMA, huge pages apart: flags that change no page by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hints {
    /// VM_RAND_READ (`rr`).
    pub random: bool,
    /// VM_SEQ_READ (`sr`).
    pub sequential: bool,
    /// VM_DONTCOPY (`dc`): a child does not get the VMA.
    pub dont_fork: bool,
    /// VM_WIPEONFORK (`wf`): a child gets it empty.
    pub wipe_on_fork: bool,
    /// VM_DONTDUMP (`dd`).
    pub dont_dump: bool,
    /// VM_MERGEABLE (`mg`): KSM may look at it.
    pub mergeable: bool,
}

/// Whether pages are to stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Locked {
    #[default]
    No,
    /// VM_LOCKED (`lo`): all of them.
    All,
    /// VM_LOCKED and VM_LOCKONFAULT (`lo lf`): those that were touched.
    OnFault,
}

/// What a VMA is registered for with the userfaultfd of its process; by default it is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uffd {
    /// VM_UFFD_MISSING (`um`): faults that would bring a new page.
    pub missing: bool,
    /// VM_UFFD_WP (`uw`): stores to pages that are write-protected through it.
    pub wp: bool,
}

/// The protection key of a VMA: whether the rights that go with it permit data accesses, on top of the VMA's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Key {
    /// Key 0.
    #[default]
    Default,
    /// One that permits everything.
    Open,
    /// One that forbids stores.
    NoWrite,
    /// One that forbids loads and stores.
    NoAccess,
    /// The one that the kernel keeps for memory that is PROT_EXEC alone. Forbids loads and stores.
    ExecuteOnly,
}

impl Key {
    /// Whether it permits loads, or stores.
    pub fn permits(self, write: bool) -> bool {
        match self {
            Key::Default | Key::Open => true,
            Key::NoWrite => !write,
            Key::NoAccess | Key::ExecuteOnly => false,
        }
    }
}

/// The anon_vma of a VMA, which links anonymous pages back to the VMAs that map them. User space sees it in what merges
/// and in what fork copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnonVma {
    /// Equal ids are one anon_vma.
    pub id: u32,
    /// The VMA's chain has more than one link: it stems from a fork.
    pub forked: bool,
}

/// A virtual memory area. Page numbers count from the arena's start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vma {
    /// First page.
    pub start: u32,
    /// Page after the last.
    pub end: u32,
    pub prot: Prot,
    pub key: Key,
    /// brk has marked it in a way that mmap does not mark what it makes (VM_MTE_ALLOWED).
    pub of_heap: bool,
    /// MAP_SHARED.
    pub shared: bool,
    /// VM_ACCOUNT (`ac`): its pages are charged against the commit limit.
    pub account: bool,
    /// VM_NORESERVE (`nr`): they never are.
    pub noreserve: bool,
    /// VM_DROPPABLE (`dp`): the kernel may take its pages whenever it wants.
    pub droppable: bool,
    /// VM_HUGETLB (`ht`): of huge pages from a pool, which is empty. `de` as well.
    pub hugetlb: bool,
    /// VM_HUGEPAGE (`hg`) or VM_NOHUGEPAGE (`nh`).
    pub advice: HugeAdvice,
    pub hints: Hints,
    pub locked: Locked,
    /// VM_SEALED (`sl`): it stays as it is.
    pub sealed: bool,
    pub uffd: Uffd,
    /// VM_MAYBE_GUARD (`gu`).
    pub maybe_guard: bool,
    /// VM_SOFTDIRTY (`sd`): all of it counts as stored to.
    pub soft_dirty: bool,
    /// VM_MAYWRITE (`mw`): mprotect may make it writable.
    pub may_write: bool,
    pub anon_vma: Option<AnonVma>,
    /// The file that it maps, one of shared memory perhaps; `None`: private anonymous memory.
    pub(crate) object: Option<ObjectId>,
    /// Through a descriptor of its own, which cannot write: another `struct file` than others of the same file.
    pub(crate) readonly: bool,
    /// Page offset of `start` in the object; for anonymous memory the page number where it was mapped.
    pub(crate) pgoff: u32,
    /// The page number at which `start` was mapped when it got its anon_vma: the offset of its anonymous pages, which an
    /// mremap does not change. The same as `pgoff` for anonymous memory.
    pub(crate) anon_pgoff: u32,
}

impl Vma {
    /// Whether a page lies in it.
    pub fn contains(&self, page: u32) -> bool {
        self.start <= page && page < self.end
    }

    /// Private anonymous memory, as opposed to shared memory and files.
    pub fn is_anon(&self) -> bool {
        self.object.is_none()
    }

    /// VM_SHARED (`sh`): stores go to the file. The kernel takes it from a shared mapping through a descriptor that
    /// cannot write, which keeps VM_MAYSHARE (`ms`).
    pub(crate) fn stores_are_shared(&self) -> bool {
        self.shared && !self.readonly
    }

    /// Whether two VMAs map the same open file, or both none.
    pub(crate) fn same_file(&self, other: &Vma) -> bool {
        (self.object, self.readonly) == (other.object, other.readonly)
    }

    /// Lets it start somewhere else, with its offsets.
    pub(crate) fn set_start(&mut self, start: u32) {
        let by = start.wrapping_sub(self.start);
        self.start = start;
        self.pgoff = self.pgoff.wrapping_add(by);
        self.anon_pgoff = self.anon_pgoff.wrapping_add(by);
    }

    /// The object's page that `page` maps.
    pub(crate) fn index(&self, page: u32) -> u32 {
        page - self.start + self.pgoff
    }

    /// The page that maps `index` of the object (`index` must be mapped).
    pub(crate) fn page_of(&self, index: u32) -> u32 {
        index - self.pgoff + self.start
    }
}
