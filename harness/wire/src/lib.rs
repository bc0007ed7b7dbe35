//! Messages between host and guest. Everything that arrives from a guest is untrusted: it is decoded with limits and
//! decoding can fail, never panic.
//!
//! The guest is deliberately dumb: the host resolves positions to bytes before it sends a program, and interprets what
//! comes back. Addresses are bytes from the arena's start, page numbers count from it.

pub mod bounded;
pub mod frames;
pub mod layout;
pub mod ring;
pub mod scan;

use serde::{Deserialize, Serialize};

/// Where the arena stands in every actor's address space: 64 GiB, aligned to every PMD size (2, 32, 512 MiB) and
/// to a PUD, far below what the kernel picks by itself.
pub const ARENA_BASE: u64 = 0x10_0000_0000;

/// PMD blocks of memory that an ordinary user may lock (RLIMIT_MEMLOCK).
pub const MEMLOCK_BLOCKS: u8 = 2;

/// Version of these messages; both sides refuse another.
pub const VERSION: u32 = 19;

/// What the guest found out about its kernel at boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// uname release.
    pub release: String,
    /// uname version (build string).
    pub build: String,
    /// uname machine.
    pub machine: String,
    /// Bytes per page.
    pub page_size: u32,
    /// Bytes per PMD entry (transparent_hugepage/hpage_pmd_size); 0 without transparent huge pages.
    pub pmd_size: u64,
    pub cpus: u32,
    /// MemTotal, bytes.
    pub memory: u64,
    /// PROCMAP_QUERY works.
    pub procmap_query: bool,
    /// PAGEMAP_SCAN works.
    pub pagemap_scan: bool,
    /// PAGEMAP_SCAN knows PAGE_IS_GUARD.
    pub scan_guard: bool,
    /// pagemap bit 58 stands for a guard: seen on a page where a guard was installed.
    pub pagemap_guard: bool,
    /// The kernel handles broken memory (CONFIG_MEMORY_FAILURE): it has a setting for it, vm.memory_failure_early_kill.
    pub memory_failure: bool,
    /// There can be swap space: the kernel has brd, built in or as a module of the initramfs, and swapping.
    pub swap: bool,
    /// Allocations can be made to fail: the kernel has /proc/PID/fail-nth, and debugfs.
    pub fail_nth: bool,
    /// Knob files that are missing, with the CONFIG option each needs.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_NAMES }>")]
    pub missing: Vec<String>,
}

/// Settings of the whole guest that a program runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Knobs {
    /// transparent_hugepage/enabled: 0 never, 1 madvise, 2 always.
    pub thp: u8,
    /// transparent_hugepage/shmem_enabled: 0 never, 1 advise, 2 always.
    pub shmem_thp: u8,
    pub khugepaged: bool,
    pub ksm: bool,
    /// There is swap space, where [`Hello::swap`] says that there can be.
    pub swap: bool,
    /// Actors run as root.
    pub root: bool,
    /// Userfaultfds are made with UFFD_FEATURE_EVENT_FORK, _REMAP, _REMOVE and _UNMAP.
    pub uffd_events: bool,
}

/// One system call or access, ready to perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `flags` are MAP_* bits, `prot` PROT_* bits. A result elsewhere than `at` is unmapped at once.
    Mmap {
        at: i64,
        len: u64,
        prot: u32,
        flags: u32,
        file: Option<FileMap>,
    },
    Munmap {
        at: i64,
        len: u64,
    },
    /// brk to `to`, in a heap that begins at `heap`, which is the same in all of a program.
    Brk {
        heap: i64,
        to: i64,
    },
    Mprotect {
        at: i64,
        len: u64,
        prot: u32,
    },
    PkeyMprotect {
        at: i64,
        len: u64,
        prot: u32,
        key: Key,
    },
    Madvise {
        at: i64,
        len: u64,
        advice: i32,
    },
    /// mlock; with flags mlock2.
    Mlock {
        at: i64,
        len: u64,
        flags: u32,
    },
    Munlock {
        at: i64,
        len: u64,
    },
    /// `flags` are MCL_* bits.
    Mlockall {
        flags: u32,
    },
    Munlockall,
    /// 4 is written to /proc/self/clear_refs.
    ClearSoftDirty,
    /// prctl(PR_SET_THP_DISABLE): `disable` is 0 or 1, `flags` are PR_THP_DISABLE_* bits.
    ThpDisable {
        disable: u32,
        flags: u32,
    },
    Mseal {
        at: i64,
        len: u64,
        flags: u32,
    },
    /// `flags` are MREMAP_* bits. A result elsewhere than at `to`, or, without MREMAP_FIXED and MREMAP_DONTUNMAP, than at `at`,
    /// is unmapped at once.
    Mremap {
        at: i64,
        len: u64,
        to: i64,
        new_len: u64,
        flags: u32,
    },
    /// pagemap of `pages` pages from `at` on, 64 at most, again until it shows a guard but not for long, smaps, and pagemap once more: [`OpResult::Ret`] with 1 if a page that was a guard
    /// both times lies in a VMA without `gu`, else 0.
    Look {
        at: i64,
        pages: u32,
    },
    /// SIGUSR1 to a thread of the section, and a wait until its handler has run there or the thread has ended.
    Signal {
        lane: u8,
    },
    /// Eight-byte loads at `at`, `at + page size`, ...: `pages` of them, up to the first fault.
    Read {
        at: i64,
        pages: u32,
    },
    /// Eight-byte stores likewise; each stores `((tag << 16) | page number) + 1`.
    Write {
        at: i64,
        pages: u32,
        tag: u16,
    },
    /// The kernel reads or writes the ranges for a caller, in the memory of `actor`. What is stored: the same values as by
    /// [`Op::Write`] in the first eight bytes of every page, as far as they lie in the ranges, and zeros elsewhere.
    Transfer {
        way: Way,
        ranges: Ranges,
        actor: u8,
        tag: u16,
    },
    /// process_madvise, of the process of `actor`.
    ProcessMadvise {
        ranges: Ranges,
        actor: u8,
        advice: i32,
        flags: u32,
    },
    /// A call through the actor's userfaultfd.
    Uffd {
        at: i64,
        len: u64,
        call: UffdCall,
    },
    /// ftruncate. `file` is an index in [`Program::files`] here and below.
    Truncate {
        file: u8,
        len: u64,
    },
    /// fallocate with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
    PunchHole {
        file: u8,
        offset: u64,
        len: u64,
    },
    /// fcntl with F_ADD_SEALS; F_SEAL_* bits.
    Seal {
        file: u8,
        seals: u32,
    },
    Fork {
        child: u8,
    },
    Exit,
}

/// What userfaultfd is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UffdCall {
    /// UFFDIO_REGISTER; UFFDIO_REGISTER_MODE_* bits.
    Register { mode: u64 },
    /// UFFDIO_UNREGISTER.
    Unregister,
    /// UFFDIO_COPY of pages as [`Op::Write`] with this tag leaves them; `protect`: with UFFDIO_COPY_MODE_WP.
    Copy { tag: u16, protect: bool },
    /// UFFDIO_ZEROPAGE.
    ZeroPage,
    /// UFFDIO_POISON.
    Poison,
    /// UFFDIO_WRITEPROTECT, with UFFDIO_WRITEPROTECT_MODE_WP if `on`.
    Protect { on: bool },
    /// UFFDIO_MOVE to `to`, bytes from the arena's start, with UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES if `holes`.
    Move { to: i64, holes: bool },
}

/// How the kernel gets at memory for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// write(2) to an empty pipe.
    PipeWrite,
    /// read(2) from a pipe that holds as much.
    PipeRead,
    /// pwrite(2) at the start of an empty memfd.
    MemfdWrite,
    /// pread(2) at the start of a memfd of this length.
    MemfdRead,
    /// process_vm_readv(2).
    VmRead,
    /// process_vm_writev(2).
    VmWrite,
    /// pread(2) of /proc/PID/mem.
    MemRead,
    /// pwrite(2) of /proc/PID/mem.
    MemWrite,
    /// vmsplice(2) into an empty pipe.
    Vmsplice,
}

impl Way {
    /// Whether the kernel writes to the ranges.
    pub fn stores(self) -> bool {
        matches!(
            self,
            Way::PipeRead | Way::MemfdRead | Way::VmWrite | Way::MemWrite
        )
    }
}

/// Up to [`MAX_RANGES`] ranges: of each its start, in bytes from the arena's start, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// How many there are.
    pub count: u8,
    pub list: [(i64, u64); MAX_RANGES],
}

/// Most ranges of one call.
pub const MAX_RANGES: usize = 6;

impl Ranges {
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.list.iter().take(self.count.into()).copied()
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.iter().fold(0, |sum, (_, len)| sum.saturating_add(len))
    }

    /// Where the last of them ends.
    fn end(&self) -> i64 {
        let ends = self.iter().map(|(at, len)| at.saturating_add_unsigned(len));
        ends.max().unwrap_or(0)
    }
}

/// A protection key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// Its number, or -1 for none.
    Number(i8),
    /// One of those that every actor has allocated: without restrictions, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS.
    Own(u8),
}

/// What mmap is given of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMap {
    /// Index in [`Program::files`].
    pub file: u8,
    /// Through the descriptor that was opened for reading only.
    pub readonly: bool,
    /// Bytes.
    pub offset: u64,
}

/// A file that a program finds when it starts. It is made for the program and goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub kind: FileKind,
    pub pages: u32,
    /// Pages from the first on that are written before, each as [`Op::Write`] does with this tag; their numbers are those of
    /// the file.
    pub written: u32,
    pub tag: u16,
}

/// What backs a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// memfd_create(2).
    Memfd,
    /// A file on ramfs.
    Ramfs,
    /// memfd_secret(2). Where the kernel has none, calls get a descriptor that is none: EBADF.
    Secret,
}

/// Most threads of one section.
pub const MAX_LANES: usize = 4;
/// Most steps that one thread of a section has.
pub const MAX_LANE_STEPS: usize = 4;

/// A thread of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Below [`MAX_LANES`].
    pub number: u8,
    /// It performs its one step again and again, at least once, until the threads that do not have ended.
    pub repeats: bool,
}

/// One op by one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub actor: u8,
    /// Steps that follow each other and have a lane are one section: its threads, each of one actor, start together. Only after the
    /// last step of a section is anything looked at.
    pub lane: Option<Lane>,
    pub op: Op,
    /// The allocation within the op's system call that is made to fail, from 1 on, where [`Hello::fail_nth`] says that this can be.
    pub fail: Option<u16>,
    /// What is looked at after it.
    pub look: Look,
}

/// How much is looked at after an op, in every living actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Look {
    /// VMAs, page-table entries, contents of present pages, residency of all pages but private ones that are empty.
    Cheap,
    /// The same, and smaps (VmFlags and sizes) of the actor whose op it was, as far as the op's range goes.
    Flags,
    /// All of the arena: VmFlags of all VMAs, residency of all pages.
    Full,
    /// The same, the counters of each process, PAGEMAP_SCAN asked in other ways, and the page frames behind present pages.
    Whole,
}

impl Op {
    /// Where the op's ranges end, in bytes from the arena's start; for those without a range, the arena's.
    pub fn end(&self, page: u64) -> i64 {
        let (at, len) = match *self {
            Op::Mmap { at, len, .. }
            | Op::Munmap { at, len }
            | Op::Mprotect { at, len, .. }
            | Op::PkeyMprotect { at, len, .. }
            | Op::Madvise { at, len, .. }
            | Op::Mlock { at, len, .. }
            | Op::Munlock { at, len }
            | Op::Mseal { at, len, .. } => (at, len),
            Op::Uffd { at, len, call } => match call {
                UffdCall::Move { to, .. } => (at.max(to), len),
                _ => (at, len),
            },
            Op::Mremap {
                at,
                len,
                to,
                new_len,
                ..
            } => {
                let end = at.saturating_add_unsigned(len);
                return end.max(to.saturating_add_unsigned(new_len));
            }
            Op::Look { at, pages } | Op::Read { at, pages } | Op::Write { at, pages, .. } => {
                (at, u64::from(pages) * page)
            }
            Op::Transfer { ranges, .. } | Op::ProcessMadvise { ranges, .. } => return ranges.end(),
            Op::Mlockall { .. }
            | Op::Munlockall
            | Op::ClearSoftDirty
            | Op::Signal { .. }
            | Op::ThpDisable { .. }
            | Op::Truncate { .. }
            | Op::PunchHole { .. }
            | Op::Seal { .. }
            | Op::Brk { .. }
            | Op::Fork { .. }
            | Op::Exit => return i64::MAX,
        };
        at.saturating_add_unsigned(len)
    }
}

/// A deliberate fault of the guest, to show that the host notices it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestFault {
    /// madvise(GUARD_INSTALL) is not called but reported as 0.
    SkipGuardInstall,
    /// madvise(GUARD_REMOVE) is not called but reported as 0.
    SkipGuardRemove,
    /// munmap is not called but reported as 0.
    SkipMunmap,
    /// EINVAL is reported as ENOMEM.
    WrongErrno,
    /// si_code is reported as SEGV_ACCERR where it was SEGV_MAPERR.
    WrongSiCode,
    /// The observation after an op is that of the op before.
    StaleObservation,
    /// Guard install works one page further on.
    WrongPage,
    /// Writes store another tag.
    WrongTag,
    /// mremap with MREMAP_DONTUNMAP is called without it.
    UnmapAnyway,
    /// mprotect gets PROT_READ in place of PROT_NONE.
    WrongProt,
    /// fork's child drops its guards (GUARD_REMOVE over the arena) before it is looked at.
    ForkLosesGuards,
    /// The last op never returns: [`End::Hang`].
    Hang,
    /// The actor of the last op kills itself instead: [`End::Died`].
    Die,
    /// The kernel is made to panic (sysrq) instead of the last op.
    Panic,
    /// The console shows a WARNING, as the kernel's macro prints it, before the last op.
    Warn,
}

/// One program, ready to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Chosen by the host; comes back in the execution.
    pub id: u64,
    pub knobs: Knobs,
    /// Those that the program's ops name.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_FILES }>")]
    pub files: Vec<File>,
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_STEPS }>")]
    pub steps: Vec<Step>,
    pub fault: Option<GuestFault>,
}

/// How a batch is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Observe after every op and report.
    Judged,
    /// The same calls with the same isolation, without observation: what the kernel and the isolation alone cost. The
    /// whole batch is run `rounds` times.
    Bare { rounds: u32 },
    /// Run each program so many times, with its threads starting at other moments each time. An execution that has not been seen
    /// before is reported as in [`Mode::Judged`]; after a program's last one, [`Response::Raced`] counts them.
    Raced {
        /// Repetitions before these that the delays are to go on from.
        first: u32,
        repetitions: u32,
        /// Count how often the kernel walks page tables for each guard install in a section.
        walks: bool,
    },
}

/// Host to guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    Batch {
        seq: u64,
        mode: Mode,
        /// Pages in the arena.
        arena_pages: u32,
        /// Milliseconds an op may take before it counts as hanging.
        op_limit_ms: u32,
        #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PROGRAMS }>")]
        programs: Vec<Program>,
    },
    PowerOff,
}

/// A [`Request`] as the guest takes it.
#[derive(Debug)]
pub enum Asked<'a> {
    Batch(Batch<'a>),
    PowerOff,
}

/// A batch whose programs are still bytes.
#[derive(Debug)]
pub struct Batch<'a> {
    pub seq: u64,
    pub mode: Mode,
    /// Pages in the arena.
    pub arena_pages: u32,
    /// Milliseconds an op may take before it counts as hanging.
    pub op_limit_ms: u32,
    programs: usize,
    bytes: &'a [u8],
}

/// [`Request`] up to the first program: a sequence begins with its length.
#[derive(Deserialize)]
enum Head {
    Batch {
        seq: u64,
        mode: Mode,
        arena_pages: u32,
        op_limit_ms: u32,
        programs: usize,
    },
    PowerOff,
}

impl<'a> Asked<'a> {
    /// Decodes an encoded [`Request`] up to its programs.
    ///
    /// # Errors
    /// The bytes do not begin like a request, or go on where it ends.
    pub fn decode(bytes: &'a [u8]) -> Result<Asked<'a>, postcard::Error> {
        let (head, bytes) = postcard::take_from_bytes(bytes)?;
        match head {
            Head::Batch {
                seq,
                mode,
                arena_pages,
                op_limit_ms,
                programs,
            } => Ok(Asked::Batch(Batch {
                seq,
                mode,
                arena_pages,
                op_limit_ms,
                programs,
                bytes,
            })),
            Head::PowerOff if bytes.is_empty() => Ok(Asked::PowerOff),
            Head::PowerOff => Err(postcard::Error::DeserializeBadEncoding),
        }
    }
}

impl<'a> Batch<'a> {
    /// Decodes the programs, each when it is asked for. An error is the last thing that comes.
    pub fn programs(&self) -> impl Iterator<Item = Result<Program, postcard::Error>> + 'a {
        let (mut left, mut bytes) = (self.programs, self.bytes);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let next = postcard::take_from_bytes(bytes).and_then(|(program, rest)| {
                bytes = rest;
                match left == 0 && !rest.is_empty() {
                    true => Err(postcard::Error::DeserializeBadEncoding),
                    false => Ok(program),
                }
            });
            if next.is_err() {
                left = 0;
            }
            Some(next)
        })
    }
}

/// Guest to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    Hello(Hello),
    Execution(Execution),
    BatchDone {
        seq: u64,
        /// Guest time the batch took, nanoseconds.
        nanos: u64,
    },
    /// What the kernel logged while `program` ran, read after the op of `step`; comes before the program's execution.
    Log {
        program: u64,
        step: u32,
        text: String,
    },
    /// A program of a batch in [`Mode::Raced`] is through.
    Raced(Raced),
    /// The guest cannot do what was asked; the text says why.
    Error(String),
}

/// What came of the repetitions of one program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Raced {
    pub id: u64,
    /// How often each of the executions that were reported was seen, in their order.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_KEPT }>")]
    pub counts: Vec<u32>,
    /// Executions that were not reported: they were seen when [`bounded::MAX_KEPT`] others had been.
    pub unkept: u32,
    /// Repetitions in which ops of two threads were under way at the same time.
    pub overlapped: u32,
    /// Repetitions by how far apart the first two threads began: less than 1 ns, 2 ns, 4 ns, ...
    #[serde(deserialize_with = "bounded::vec::<_, _, 32>")]
    pub apart: Vec<u32>,
    /// Repetitions by the thread that began first.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_LANES>")]
    pub first: Vec<u32>,
    /// Guard installs in sections by how often the kernel walked page tables for them: once for each round, more than three times
    /// when the call was restarted; in the last place, as often or more. All zero when it was not counted.
    #[serde(deserialize_with = "bounded::vec::<_, _, 32>")]
    pub walks: Vec<u32>,
    /// Why walks were not counted although that was asked for.
    pub no_walks: Option<String>,
    /// Where khugepaged scans: the huge pages that it made while the program ran, and of these, those that it made while threads ran at
    /// once.
    pub collapses: Option<(u32, u32)>,
}

/// What happened to one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    pub id: u64,
    /// Pages that were free, in stretches of at least a huge page, when the program began (/proc/buddyinfo); 0: not known.
    pub free_pages: u64,
    pub end: End,
    /// One entry for each op that returned.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_STEPS }>")]
    pub steps: Vec<StepSeen>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Done,
    /// Op `step` did not return within its limit; the kernel stack of the stuck task where /proc gives it.
    Hang {
        step: u32,
        stack: String,
    },
    /// An actor died although no op told it to: wait status and the op that was running.
    Died {
        step: u32,
        status: i32,
    },
    /// The guest could not run it for a reason of its own (a limit of the guest, not of the kernel).
    Failed {
        step: u32,
        why: String,
    },
}

/// What was seen after one op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSeen {
    pub result: OpResult,
    /// Of a thread that repeats its op: the results after the first that differ from the one before.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_MORE }>")]
    pub more: Vec<OpResult>,
    /// What /proc/PID/fail-nth said after the call in which the allocation [`Step::fail`] was to fail: 0, it did; otherwise how many more
    /// there would have had to be, so that 1 means that one more would have failed. `None` where nothing was to fail.
    pub fail_left: Option<u32>,
    /// What userfaultfds have told during the op, in order: whose, and what.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_EVENTS }>")]
    pub events: Vec<(u8, Event)>,
    /// One per living actor, in the order in which they looked.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_ACTORS }>")]
    pub actors: Vec<(u8, View)>,
}

/// What a userfaultfd tells; places in bytes from the arena's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// UFFD_EVENT_FORK.
    Fork,
    /// UFFD_EVENT_REMAP: `len` bytes have moved.
    Remap { from: i64, to: i64, len: u64 },
    /// UFFD_EVENT_REMOVE.
    Remove { start: i64, end: i64 },
    /// UFFD_EVENT_UNMAP.
    Unmap { start: i64, end: i64 },
}

/// What the op returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResult {
    /// System call: 0, or minus errno. Look: 1 if it found a guard in a VMA without the flag. mmap and mremap: 0 where it was asked to be.
    Ret(i64),
    /// mmap or mremap succeeded at another address.
    Elsewhere,
    /// A call that returned how many bytes it did.
    Moved {
        bytes: u64,
        /// What the kernel read: the first eight bytes of each page of which any was moved, zero where not, in runs as in
        /// [`OpResult::Access`].
        #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
        values: Vec<(u32, u64)>,
        /// Bytes moved behind the first eight of their pages that were not zero.
        stray: u64,
    },
    Access {
        pages: u32,
        /// Runs of loaded values: (pages, first value); a non-zero value grows by one from page to page.
        #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
        values: Vec<(u32, u64)>,
        fault: Option<Fault>,
    },
}

/// A signal taken by an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub signo: i32,
    pub code: i32,
    /// si_addr minus the arena's base.
    pub addr: i64,
    /// si_pkey, where si_code is SEGV_PKUERR.
    pub key: Option<Key>,
}

/// One actor's arena.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// Same as this actor's last view in this program.
    Unchanged,
    Full(Space),
}

/// One actor's arena in full.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Space {
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
    pub vmas: Vec<Vma>,
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
    pub pages: Vec<PageRun>,
    /// Runs of resident pages by mincore: (first page, pages).
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
    pub resident: Vec<(u32, u32)>,
    /// When asked for.
    pub counters: Option<Counters>,
    /// Answers to those of [`scan::QUERIES`] that this kernel can be asked, when asked for.
    #[serde(deserialize_with = "bounded::vec::<_, _, { scan::QUERIES.len() }>")]
    pub scans: Vec<scan::ScanSeen>,
    /// Frames behind present pages, when asked for and the kernel has /proc/kpageflags.
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
    pub frames: Vec<FrameRun>,
}

/// A run of present pages whose frames are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRun {
    pub start: u32,
    pub len: u32,
    /// Of the bits of /proc/kpageflags, those of [`frames::TOLD`].
    pub flags: u32,
}

/// What /proc/PID/status and /proc/PID/smaps_rollup say of the whole process, the guest's own memory included; KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// VmLck; `None` when mlockall has locked what the guest itself had mapped, or the kernel may have lost count.
    pub locked: Option<u64>,
    /// RssAnon.
    pub rss_anon: u64,
    /// RssFile.
    pub rss_file: u64,
    /// RssShmem.
    pub rss_shmem: u64,
    /// VmSwap.
    pub swap: u64,
    /// Rss of smaps_rollup.
    pub rollup_rss: u64,
    /// Anonymous of smaps_rollup.
    pub rollup_anonymous: u64,
    /// Swap of smaps_rollup.
    pub rollup_swap: u64,
}

/// One VMA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vma {
    /// First page.
    pub start: u32,
    /// Page after the last.
    pub end: u32,
    /// PROT_* bits.
    pub prot: u8,
    pub shared: bool,
    /// Offset in its file, in pages; `None` without a file.
    pub file_page: Option<u32>,
    /// VmFlags as smaps prints them, when asked for.
    pub flags: Option<String>,
    /// What smaps adds up, when asked for.
    pub sizes: Option<Sizes>,
}

/// Lines of a record of smaps, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sizes {
    pub rss: u64,
    pub pss: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub anonymous: u64,
    pub lazy_free: u64,
    pub anon_huge_pages: u64,
    pub shmem_pmd_mapped: u64,
    pub file_pmd_mapped: u64,
    pub swap: u64,
    pub locked: u64,
}

/// A run of pages whose entries are alike and not empty. An entry is empty when nothing but soft-dirty (pagemap bit 55,
/// PAGE_IS_SOFT_DIRTY) and PAGE_IS_WRITTEN is set in it: those come with the VMA and say nothing about the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRun {
    pub start: u32,
    pub len: u32,
    /// Bits 55 to 63 of the pagemap entry, shifted down by 55.
    pub pagemap: u16,
    /// PAGEMAP_SCAN categories (PAGE_IS_*), `None` when the kernel has no PAGEMAP_SCAN.
    pub scan: Option<u16>,
    /// The PFN is that of the zero page (only looked up where PAGEMAP_SCAN is missing).
    pub zero_pfn: bool,
    /// First eight bytes of the first page; later pages follow as in [`OpResult::Access`]. `None`: not readable.
    pub value: Option<u64>,
}

/// Encodes a message.
///
/// # Errors
/// It does not fit a frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, postcard::Error> {
    let bytes = postcard::to_stdvec(message)?;
    if bytes.len() > layout::MAX_PAYLOAD {
        return Err(postcard::Error::SerializeBufferFull);
    }
    Ok(bytes)
}

/// Decodes a message; nothing may be left over.
///
/// # Errors
/// The bytes are not exactly one message within the limits of [`bounded`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(postcard::Error::DeserializeBadEncoding)
    }
}

/// A length as postcard writes it, for those who put a message together from parts.
pub fn length_prefix(len: usize, into: &mut Vec<u8>) {
    let mut rest = len;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}
