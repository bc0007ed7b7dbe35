//! Programs: what is run. Plain data, a text form that people write by hand, and a generator.
//!
//! | file | subject |
//! | --- | --- |
//! | `text` | printing and parsing the text form (`.prog` files; docs/program-format.md) |
//! | `file` | the files that programs map |
//! | `remap` | how mremap is called |
//! | `check` | what a program must satisfy beyond its grammar |
//! | `fail` | allocations that fail within a call |
//! | `key` | protection keys |
//! | `lane` | threads that run at once |
//! | `lock` | what is said to mlock and its kin |
//! | `transfer` | memory that the kernel reads and writes for a caller |
//! | `uffd` | what is asked of userfaultfd |
//! | `generate` | `Arbitrary`-based generation, aware of the model |
//! | `mutate` | programs made from other programs |
//! | `stats` | what a set of programs exercises |

mod check;
mod fail;
mod file;
pub mod generate;
mod huge;
mod key;
mod lane;
mod lock;
pub mod mutate;
mod remap;
pub mod stats;
pub(crate) mod text;
mod transfer;
mod uffd;

pub use check::{CheckError, MAX_ACCESS_PAGES, MAX_COPY_PAGES, MAX_TRANSFER_PAGES};
pub use fail::MAX_FAIL;
pub use file::{File, FileKind, FileStart, Seals};
pub use huge::HugeSwitch;
pub use key::KeyGiven;
pub use lane::{Lane, MAX_LANES, MAX_LANE_OPS};
pub use lock::{LockAll, LockCall};
pub use remap::Remap;
pub use text::{ParseError, MAX_TEXT_BYTES};
pub use transfer::{Transfer, Vectors, Whose, MAX_VECTORS};
pub use uffd::UffdCall;

use crate::geometry::{Pos, Range};
use crate::judge::VmFlag;
use serde::{Deserialize, Serialize};

/// Number of an actor: 0 is the process that a program starts with, `fork` names the others.
pub type ActorId = u8;

/// Most actors a program may have, forked ones and exited ones included.
pub const MAX_ACTORS: u8 = 4;

/// Where the heap of every actor begins.
pub const HEAP: Pos = Pos::new(2, 0);

/// Most ops a program may have.
pub const MAX_STEPS: usize = 64;

/// Page protection as given to mmap and mprotect. All false is PROT_NONE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Prot {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

impl Prot {
    pub const NONE: Prot = Prot::new(false, false, false);
    pub const R: Prot = Prot::new(true, false, false);
    pub const RW: Prot = Prot::new(true, true, false);

    pub const fn new(read: bool, write: bool, exec: bool) -> Prot {
        Prot { read, write, exec }
    }
}

/// What backs a new mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backing {
    /// MAP_PRIVATE | MAP_ANONYMOUS.
    PrivateAnon,
    /// MAP_DROPPABLE | MAP_ANONYMOUS: private memory that the kernel may take whenever it wants.
    Droppable,
    /// MAP_SHARED | MAP_ANONYMOUS: a shared-memory file of its own, starting at offset 0.
    SharedAnon,
    /// MAP_HUGETLB | MAP_ANONYMOUS: huge pages from a pool, which is empty.
    Hugetlb { shared: bool },
    /// A file.
    File(FileMap),
}

impl Backing {
    /// MAP_SHARED.
    pub fn is_shared(self) -> bool {
        match self {
            Backing::PrivateAnon | Backing::Droppable => false,
            Backing::SharedAnon => true,
            Backing::Hugetlb { shared } => shared,
            Backing::File(map) => map.shared,
        }
    }
}

/// How a file is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileMap {
    pub file: File,
    /// Page of the file that the mapping starts with, up to [`MAX_FILE_PAGE`].
    pub page: u16,
    /// MAP_SHARED instead of MAP_PRIVATE.
    pub shared: bool,
    /// Through the descriptor that was opened for reading only.
    pub readonly: bool,
}

/// Last page of a file that a mapping may start with, and most pages that a file may have.
pub const MAX_FILE_PAGE: u16 = 255;

/// How mmap finds its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// MAP_FIXED: replaces what is there.
    Fixed,
    /// Address as a hint only: taken when the range is free, otherwise the mapping lands outside the arena
    /// (where the guest unmaps it at once; the result then reads "elsewhere").
    Hint,
    /// MAP_FIXED_NOREPLACE: there or not at all.
    NoReplace,
}

/// Flags of mmap that may be there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct MapFlags {
    /// MAP_POPULATE; not with [`Place::Hint`].
    pub populate: bool,
    /// MAP_NORESERVE.
    pub noreserve: bool,
    /// MAP_STACK.
    pub stack: bool,
    /// MAP_LOCKED; not with [`Place::Hint`].
    pub locked: bool,
}

/// madvise behaviours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Advice {
    GuardInstall,
    GuardRemove,
    DontNeed,
    DontNeedLocked,
    Free,
    Cold,
    PageOut,
    HugePage,
    NoHugePage,
    Normal,
    Random,
    Sequential,
    WillNeed,
    PopulateRead,
    PopulateWrite,
    Collapse,
    Remove,
    DontFork,
    DoFork,
    WipeOnFork,
    KeepOnFork,
    DontDump,
    DoDump,
    Mergeable,
    Unmergeable,
    /// A number that no kernel knows.
    Unknown,
}

impl Advice {
    /// Every advice, in the order of the reference page.
    pub const ALL: [Advice; 26] = [
        Advice::GuardInstall,
        Advice::GuardRemove,
        Advice::DontNeed,
        Advice::DontNeedLocked,
        Advice::Free,
        Advice::Cold,
        Advice::PageOut,
        Advice::HugePage,
        Advice::NoHugePage,
        Advice::Normal,
        Advice::Random,
        Advice::Sequential,
        Advice::WillNeed,
        Advice::PopulateRead,
        Advice::PopulateWrite,
        Advice::Collapse,
        Advice::Remove,
        Advice::DontFork,
        Advice::DoFork,
        Advice::WipeOnFork,
        Advice::KeepOnFork,
        Advice::DontDump,
        Advice::DoDump,
        Advice::Mergeable,
        Advice::Unmergeable,
        Advice::Unknown,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Advice::GuardInstall => "guard-install",
            Advice::GuardRemove => "guard-remove",
            Advice::DontNeed => "dontneed",
            Advice::DontNeedLocked => "dontneed-locked",
            Advice::Free => "free",
            Advice::Cold => "cold",
            Advice::PageOut => "pageout",
            Advice::HugePage => "hugepage",
            Advice::NoHugePage => "nohugepage",
            Advice::Normal => "normal",
            Advice::Random => "random",
            Advice::Sequential => "sequential",
            Advice::WillNeed => "willneed",
            Advice::PopulateRead => "populate-read",
            Advice::PopulateWrite => "populate-write",
            Advice::Collapse => "collapse",
            Advice::Remove => "remove",
            Advice::DontFork => "dontfork",
            Advice::DoFork => "dofork",
            Advice::WipeOnFork => "wipeonfork",
            Advice::KeepOnFork => "keeponfork",
            Advice::DontDump => "dontdump",
            Advice::DoDump => "dodump",
            Advice::Mergeable => "mergeable",
            Advice::Unmergeable => "unmergeable",
            Advice::Unknown => "unknown-advice",
        }
    }

    /// What it may change of a VMA.
    pub fn reach(self) -> AdviceReach {
        match self {
            Advice::GuardRemove
            | Advice::DontNeed
            | Advice::DontNeedLocked
            | Advice::Free
            | Advice::Cold
            | Advice::PageOut
            | Advice::WillNeed
            | Advice::PopulateRead
            | Advice::PopulateWrite
            | Advice::Collapse
            | Advice::Remove
            | Advice::Unknown => AdviceReach::Pages,
            Advice::GuardInstall => AdviceReach::Flags,
            _ => AdviceReach::Vmas,
        }
    }
}

/// What an advice may change of a VMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdviceReach {
    /// Nothing: pages at most.
    Pages,
    /// VmFlags, but no border.
    Flags,
    /// VmFlags of a part of it: it is split and merged.
    Vmas,
}

/// One system call or memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    Mmap {
        range: Range,
        prot: Prot,
        backing: Backing,
        place: Place,
        flags: MapFlags,
    },
    Munmap {
        range: Range,
    },
    /// brk: the program break is at `to` then, and the heap reaches from [`HEAP`] up to it.
    Brk {
        to: Pos,
    },
    Mprotect {
        range: Range,
        prot: Prot,
    },
    /// pkey_mprotect.
    PkeyMprotect {
        range: Range,
        prot: Prot,
        key: KeyGiven,
    },
    Madvise {
        range: Range,
        advice: Advice,
    },
    /// mlock, mlock2 or munlock.
    Mlock {
        range: Range,
        call: LockCall,
    },
    Mlockall {
        flags: LockAll,
    },
    Munlockall,
    /// 4 is written to the actor's own /proc/PID/clear_refs: from then on soft-dirty bits tell what is stored to.
    ClearSoftDirty,
    /// prctl(PR_SET_THP_DISABLE) of the actor itself.
    SwitchHuge(HugeSwitch),
    /// mseal, with flags 0 or with one that no kernel knows.
    Mseal {
        range: Range,
        unknown_flag: bool,
    },
    /// `to` gives the new length and, where `how` looks at it, the new address; elsewhere it starts where `range` does.
    Mremap {
        range: Range,
        to: Range,
        how: Remap,
    },
    /// Loads eight bytes from the start of every page in the range, in ascending order; stops at the first fault.
    Read {
        range: Range,
    },
    /// Stores eight bytes, `tag` and the page's number in the arena (see [`crate::space::Content`]), at the start of every
    /// page in the range, in ascending order; stops at the first fault.
    Write {
        range: Range,
        tag: u16,
    },
    /// Reads pagemap of the range, then smaps, then pagemap again: whether a page that is a guard both times lies in a VMA that smaps
    /// does not mark with `gu`. For a thread, while others are at work; between steps the guest looks at everything anyway.
    Look {
        range: Range,
    },
    /// Sends another thread of the section a signal, and waits until its handler has run there or the thread has ended. `to` is its
    /// number ([`Lane::number`]).
    Signal {
        to: u8,
    },
    /// The kernel reads or writes memory for the caller. What is stored: `tag` and the page's number in the first eight bytes of
    /// every page, as far as they lie in the ranges, and zeros elsewhere. 0 where nothing is stored.
    Transfer {
        way: Transfer,
        vectors: Vectors,
        whose: Whose,
        tag: u16,
    },
    /// process_madvise, with flags 0 or with one that no kernel knows.
    ProcessMadvise {
        advice: Advice,
        vectors: Vectors,
        whose: Whose,
        unknown_flag: bool,
    },
    /// A call through the actor's userfaultfd, which is made at its first one, with UFFD_USER_MODE_ONLY and UFFD_FEATURE_SIGBUS.
    Uffd {
        range: Range,
        call: UffdCall,
    },
    /// ftruncate: the file has `pages` pages then.
    Truncate {
        file: File,
        pages: u16,
    },
    /// fallocate with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from page `from` up to page `to` of the file.
    PunchHole {
        file: File,
        from: u16,
        to: u16,
    },
    /// fcntl with F_ADD_SEALS.
    Seal {
        file: File,
        seals: Seals,
    },
    /// The actor forks; the child is actor `child`.
    Fork {
        child: ActorId,
    },
    /// The actor ends (`_exit`).
    Exit,
}

/// Where the ranges of an op stand, for a shared reference and for one that may write alike. No array of them is made: each would be copied
/// with the op.
macro_rules! places {
    ($op:expr) => {{
        let (mut first, mut second, mut more) = (None, None, None);
        match $op {
            Op::Mmap { range, .. }
            | Op::Munmap { range }
            | Op::Mprotect { range, .. }
            | Op::PkeyMprotect { range, .. }
            | Op::Madvise { range, .. }
            | Op::Mlock { range, .. }
            | Op::Mseal { range, .. }
            | Op::Uffd { range, .. }
            | Op::Look { range }
            | Op::Read { range }
            | Op::Write { range, .. } => first = Some(range),
            Op::Mremap { range, to, .. } => {
                first = Some(range);
                second = Some(to);
            }
            Op::Transfer { vectors, .. } | Op::ProcessMadvise { vectors, .. } => {
                let Vectors {
                    first: one,
                    more: others,
                } = vectors;
                first = Some(one);
                more = Some(others);
            }
            Op::Truncate { .. }
            | Op::PunchHole { .. }
            | Op::Seal { .. }
            | Op::Mlockall { .. }
            | Op::Munlockall
            | Op::Signal { .. }
            | Op::ClearSoftDirty
            | Op::SwitchHuge(_)
            | Op::Brk { .. }
            | Op::Fork { .. }
            | Op::Exit => {}
        }
        let more = more.into_iter().flatten().flatten();
        first.into_iter().chain(second).chain(more)
    }};
}

impl Op {
    /// What a madvise or process_madvise advises.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => Some(*advice),
            _ => None,
        }
    }

    /// The op's name in the text form, in statistics and in buckets: `mmap`, `madvise-guard-install`, ...
    pub fn name(&self) -> &'static str {
        match self {
            Op::Mmap { .. } => "mmap",
            Op::Munmap { .. } => "munmap",
            Op::Brk { .. } => "brk",
            Op::Mprotect { .. } => "mprotect",
            Op::PkeyMprotect { .. } => "pkey-mprotect",
            Op::Madvise { advice, .. } => advice.name(),
            Op::Mlock { call, .. } => call.name(),
            Op::Mlockall { .. } => "mlockall",
            Op::Munlockall => "munlockall",
            Op::ClearSoftDirty => "clear-soft-dirty",
            Op::SwitchHuge(how) => how.name(),
            Op::Mseal {
                unknown_flag: false,
                ..
            } => "mseal",
            Op::Mseal { .. } => "mseal-unknown-flag",
            Op::Mremap { .. } => "mremap",
            Op::Look { .. } => "look",
            Op::Signal { .. } => "signal",
            Op::Read { .. } => "read",
            Op::Write { .. } => "write",
            Op::Transfer { way, .. } => way.name(),
            Op::ProcessMadvise {
                unknown_flag: false,
                ..
            } => "process-madvise",
            Op::ProcessMadvise { .. } => "process-madvise-unknown-flag",
            Op::Uffd { call, .. } => call.name(),
            Op::Truncate { .. } => "truncate",
            Op::PunchHole { .. } => "punch-hole",
            Op::Seal { .. } => "seal",
            Op::Fork { .. } => "fork",
            Op::Exit => "exit",
        }
    }

    /// The file that it names.
    pub fn file(&self) -> Option<File> {
        match self {
            Op::Mmap {
                backing: Backing::File(map),
                ..
            } => Some(map.file),
            Op::Truncate { file, .. } | Op::PunchHole { file, .. } | Op::Seal { file, .. } => {
                Some(*file)
            }
            _ => None,
        }
    }

    /// The other actor that it names, whose memory it is about.
    pub fn other(&self) -> Whose {
        match self {
            Op::Transfer { whose, .. } | Op::ProcessMadvise { whose, .. } => *whose,
            _ => None,
        }
    }

    /// The range the op is given, if it has one; of an mremap the old one, of several the first.
    pub fn range(&self) -> Option<Range> {
        self.ranges().next()
    }

    /// All ranges the op is given: that of [`Op::range`], the new one of an mremap, where UFFDIO_MOVE puts its pages.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        places!(self).copied().chain(self.destination())
    }

    /// The op with every range changed, in the order of [`Op::ranges`]. Where UFFDIO_MOVE puts its pages is as long as where it
    /// takes them from.
    pub fn with_ranges(mut self, mut change: impl FnMut(Range) -> Range) -> Op {
        let destination = self.destination();
        for range in places!(&mut self) {
            *range = change(*range);
        }
        if let (
            Op::Uffd {
                call: UffdCall::Move { to, .. },
                ..
            },
            Some(destination),
        ) = (&mut self, destination)
        {
            *to = change(destination).start;
        }
        self
    }

    /// Where UFFDIO_MOVE puts its pages.
    fn destination(&self) -> Option<Range> {
        match self {
            Op::Uffd { range, call } => call.destination(*range),
            _ => None,
        }
    }
}

/// Transparent huge page mode of anonymous memory (`transparent_hugepage/enabled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Thp {
    Never,
    Madvise,
    Always,
}

/// Huge page mode of shared memory (`transparent_hugepage/shmem_enabled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ShmemThp {
    Never,
    Advise,
    Always,
}

/// System-wide settings that a program runs under. Everything not named here is kept quiet by the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Knobs {
    pub thp: Thp,
    pub shmem_thp: ShmemThp,
    /// khugepaged scanning: off unless a program asks for it.
    pub khugepaged: bool,
    /// KSM scanning: off unless a program asks for it.
    pub ksm: bool,
    /// There is swap space, on a RAM disk, where the kernel can have it ([`Need::Swap`]).
    pub swap: bool,
    /// Actors run as root instead of as an ordinary user.
    pub root: bool,
    /// The actors' userfaultfds tell of fork, mremap, munmap and advice that discards.
    pub uffd_events: bool,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            thp: Thp::Madvise,
            shmem_thp: ShmemThp::Never,
            khugepaged: false,
            ksm: false,
            swap: false,
            root: false,
            uffd_events: false,
        }
    }
}

/// What a program needs of a kernel; without it the program is skipped there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Need {
    /// madvise guard install and remove on private anonymous memory.
    Guards,
    /// madvise guard install and remove on shared memory.
    GuardsShared,
    /// Transparent huge pages.
    Thp,
    /// 4 KiB pages.
    Page4K,
    /// mseal.
    Mseal,
    /// mremap of several VMAs at once.
    MremapMany,
    /// memfd_secret.
    Secret,
    /// MAP_DROPPABLE.
    Droppable,
    /// smaps shows `gu` for mappings that may have guards.
    GuardFlag,
    /// Soft-dirty bits.
    SoftDirty,
    /// userfaultfd.
    Uffd,
    /// Write protection by userfaultfd.
    UffdWp,
    /// UFFDIO_MOVE.
    UffdMove,
    /// MAP_HUGETLB.
    Hugetlb,
    /// A swap device.
    Swap,
    /// Allocations can be made to fail, through /proc/PID/fail-nth.
    FailNth,
    /// Protection keys.
    Pkeys,
}

/// One line of a program: an actor performs an op.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    pub actor: ActorId,
    /// The thread that performs it, in a section where several threads of the actor run at once; `None`: the actor alone.
    pub lane: Option<Lane>,
    pub op: Op,
    /// Which of the kernel's allocations within the op's system call fails, from 1 on; `None`: none.
    pub fail: Option<u16>,
    /// What the author expects to see after it, on every kernel that has what the program needs.
    pub expect: Vec<Expect>,
    /// Comment lines that stand before it, without the `#`.
    pub comments: Vec<String>,
}

impl Step {
    /// A step without expectations or comments.
    pub fn new(actor: ActorId, op: Op) -> Step {
        Step {
            actor,
            lane: None,
            op,
            fail: None,
            expect: Vec::new(),
            comments: Vec::new(),
        }
    }
}

/// What an author expects after a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    /// `=> ok`: the call succeeds (mmap: where it was asked to), the access completes.
    Ok,
    /// `=> elsewhere`: mmap with a hint succeeds outside the arena.
    Elsewhere,
    /// `=> unflagged`: `look` finds a guard in a VMA that smaps does not mark.
    Unflagged,
    /// `=> EINVAL`: the call fails with this errno (Linux number).
    Errno(i32),
    /// `=> SIGSEGV MAPERR 0+2`: the access is stopped by this signal; the code, and the faulting address, where the
    /// author gives them.
    Signal {
        signo: i32,
        code: Option<i32>,
        at: Option<Pos>,
    },
    /// `=> up-to 0+2`: the call does a part of what it was asked to, which ends there.
    UpTo(Pos),
    /// `=> events unmap 0+0..0+2`: what userfaultfds tell during the op, all of it and in this order; `=> events none`.
    Events(Vec<EventExpected>),
    /// `=> reads 7*2 0`: the loads return what writes with these tags stored, up to the first fault.
    Values(Vec<ValueTags>),
    /// `=> 0+2 |aa.GG|`: the pages of an actor from a position on look like this ([`crate::judge::strip`] has the letters).
    Strip {
        actor: ActorId,
        at: Pos,
        strip: String,
    },
    /// `=> 0+2 VmFlags gu !lo`: what smaps says of the VMA of an actor that holds this page. Of other flags it says nothing.
    Flags {
        actor: ActorId,
        at: Pos,
        flags: Vec<FlagExpected>,
    },
}

impl Expect {
    /// The actor whose memory it is about, where it is about what is seen there and not about what the op returns.
    pub fn view_of(&self) -> Option<ActorId> {
        match self {
            Expect::Strip { actor, .. } | Expect::Flags { actor, .. } => Some(*actor),
            Expect::Ok
            | Expect::Elsewhere
            | Expect::Unflagged
            | Expect::Errno(_)
            | Expect::Signal { .. }
            | Expect::UpTo(_)
            | Expect::Events(_)
            | Expect::Values(_) => None,
        }
    }

    /// The same for renaming actors.
    pub fn view_of_mut(&mut self) -> Option<&mut ActorId> {
        match self {
            Expect::Strip { actor, .. } | Expect::Flags { actor, .. } => Some(actor),
            Expect::Ok
            | Expect::Elsewhere
            | Expect::Unflagged
            | Expect::Errno(_)
            | Expect::Signal { .. }
            | Expect::UpTo(_)
            | Expect::Events(_)
            | Expect::Values(_) => None,
        }
    }
}

/// An event of userfaultfd that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventExpected {
    /// `fork`
    Fork,
    /// `remap 0+0..0+2 to 1+0`, or `to elsewhere`: outside of the arena.
    Remap { range: Range, to: Option<Pos> },
    /// `remove 0+0..0+2`
    Remove(Range),
    /// `unmap 0+0..0+2`, or `unmap elsewhere`.
    Unmap(Option<Range>),
}

/// One flag of a VMA that is there (`gu`), or is not (`!gu`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlagExpected {
    pub flag: VmFlag,
    pub set: bool,
}

/// `pages` loaded values in a row with the same tag; tag 0 is a page never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueTags {
    pub tag: u16,
    pub pages: u32,
}

/// A whole program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Program {
    /// Comment lines at the top, without the `#`: what the program is about.
    pub about: Vec<String>,
    pub needs: Vec<Need>,
    pub knobs: Knobs,
    pub steps: Vec<Step>,
    /// Comment lines after the last step.
    pub trailer: Vec<String>,
}

impl Program {
    /// The same ops, with nothing that their author expects of them.
    pub fn without_expectations(&self) -> Program {
        let mut bare = self.clone();
        bare.steps.iter_mut().for_each(|step| step.expect.clear());
        bare
    }
}
