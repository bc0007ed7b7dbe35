//! Kernels to run programs on.
//!
//! | file | subject |
//! | --- | --- |
//! | `console` | kernel reports on the console: oops, panic, WARNING, lockups, ... |
//! | `convert` | programs to wire messages; what a guest reports (untrusted) to observations |
//! | `probe` | which behaviours a booted kernel has: its profile |
//! | `judge_by` | by whose rules a kernel is judged |
//! | `machine` | kernels in VMs |
//! | `simulated` | the model itself as a kernel, with deliberate faults |
//! | `vm` | kernels in QEMU |

pub mod console;
pub mod convert;
pub mod host;
mod judge_by;
pub mod machine;
pub mod probe;
pub mod simulated;
pub mod vm;

pub use judge_by::JudgeBy;

use crate::triage::Parting;
use oracle::geometry::Geometry;
use oracle::judge::Observation;
use oracle::profile::Profile;
use oracle::program::{AdviceReach, Op, Program};
use std::sync::Arc;

/// What is known about a running kernel.
#[derive(Debug, Clone)]
pub struct KernelInfo {
    /// How the user names it: a series (`7.3`), a lock entry, or the path of an image.
    pub label: String,
    /// uname release.
    pub release: String,
    /// uname version (build string).
    pub build: String,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// Page size and pages per PMD.
    pub geometry: Geometry,
    /// Transparent huge pages are built in.
    pub thp: bool,
    /// Allocations can be made to fail.
    pub fail_nth: bool,
    /// `tcg`, `kvm`, or `none` for the simulated kernel.
    pub accel: String,
    /// Seconds from the start of QEMU until the guest answered.
    pub boot_seconds: f64,
}

/// After which ops of a program smaps is read (VmFlags and sizes), the costliest view. All other views are had after every op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smaps {
    /// Of everybody after a fork, a section of threads and the last op; of the acting actor after every op that can change a flag. Counters of the
    /// processes and page frames after the last op of a program that locks memory.
    Changes,
    /// Of everybody after every op; residency is asked for every page, too, and the counters of the processes and the page frames are read.
    Every,
}

impl Smaps {
    /// What is looked at after step `index` of `program`.
    pub fn look(self, program: &Program, index: usize) -> wire::Look {
        let op = &program.steps[index].op;
        let last = index + 1 == program.steps.len();
        let locks = |op: &Op| matches!(op, Op::Mlock { .. } | Op::Mlockall { .. });
        if self == Smaps::Every || last && program.steps.iter().any(|s| locks(&s.op)) {
            wire::Look::Whole
        } else if last || matches!(op, Op::Fork { .. }) || program.steps[index].lane.is_some() {
            wire::Look::Full
        } else if can_change_flags(op) {
            wire::Look::Flags
        } else {
            wire::Look::Cheap
        }
    }
}

/// Whether an op can change the VmFlags of a VMA that it leaves in place, or make a VMA.
fn can_change_flags(op: &Op) -> bool {
    match op {
        Op::Mmap { .. }
        | Op::Brk { .. }
        | Op::Mprotect { .. }
        | Op::PkeyMprotect { .. }
        | Op::Mremap { .. }
        | Op::Mlock { .. }
        | Op::Mlockall { .. }
        | Op::Munlockall
        | Op::ClearSoftDirty
        | Op::Mseal { .. }
        | Op::Fork { .. } => true,
        Op::Uffd { call, .. } => !call.fills(),
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
            advice.reach() >= AdviceReach::Flags
        }
        Op::Munmap { .. }
        | Op::Look { .. }
        | Op::Signal { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Transfer { .. }
        | Op::Truncate { .. }
        | Op::PunchHole { .. }
        | Op::Seal { .. }
        | Op::SwitchHuge(_)
        | Op::Exit => false,
    }
}

/// A program that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Comes back in the execution.
    pub id: u64,
    pub program: Arc<Program>,
    pub smaps: Smaps,
    /// A deliberate fault of the guest, to show that it is noticed.
    pub fault: Option<wire::GuestFault>,
}

/// What happened to one program.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub id: u64,
    /// Pages that were free, in stretches of at least a huge page, when the program began; 0 where the kernel does not say.
    pub free_pages: u64,
    /// One for each op that returned and whose views made sense.
    pub seen: Vec<Observation>,
    pub end: End,
}

/// How an execution ended. Except for `Done`, the step it speaks of is the one after the last in
/// [`Execution::seen`].
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Every op returned.
    Done,
    /// The op did not return within its limit. The kernel stack of the stuck task, where there is one.
    Hang { stack: String },
    /// An actor died although no op told it to; its wait status.
    Died { status: i32 },
    /// Two views of the kernel contradict each other.
    ViewsDisagree { what: Disagreement },
    /// Another kernel, with which this one is compared, did otherwise.
    Parted(Parting),
    /// The guest could not run the program for a reason of its own.
    Failed { why: String },
    /// What the guest sent makes no sense.
    Garbage { what: String },
}

/// Two kernel views that contradict each other about a run of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    pub actor: u8,
    /// First page and number of pages.
    pub pages: (u32, u32),
    /// The two views: `pagemap/scan`, `pagemap/vmas`, `pagemap/pagemap`, `smaps/pagemap`,
    /// `status/smaps`, `scan/scan`, `kpageflags/pagemap`.
    pub views: &'static str,
    /// What the first says.
    pub left: String,
    /// What the second says.
    pub right: String,
    /// Numbers, which tell causes apart for people only.
    pub note: Option<String>,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} disagree about actor {}, pages {}..{}: {} against {}",
            self.views,
            self.actor,
            self.pages.0,
            self.pages.0 + self.pages.1,
            self.left,
            self.right
        )?;
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// What [`Kernel::next`] reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// A program is through.
    Execution(Execution),
    /// The oldest batch in flight is through.
    BatchDone {
        /// Guest time it took, nanoseconds.
        nanos: u64,
    },
}

/// How often a program in which threads run at once is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Repetitions that were made before: the delays between threads go on from there.
    pub first: u32,
    pub times: u32,
    /// Count how often the kernel walks page tables for each guard install in a section.
    pub walks: bool,
}

impl Repeat {
    /// So many times, from the first delays on, without counting anything.
    pub fn times(times: u32) -> Repeat {
        Repeat {
            first: 0,
            times,
            walks: false,
        }
    }
}

/// What came of the repetitions of a program in which threads run at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Raced {
    /// Executions that differ from each other, and how often each was seen.
    pub executions: Vec<(Execution, u32)>,
    /// Executions of which nothing is known but their number, because there were too many kinds before.
    pub unkept: u32,
    pub meetings: Meetings,
    /// Guard installs in sections by how often the kernel walked page tables for them, and in the last place, as often or more. All
    /// zero where it was not counted.
    pub walks: Vec<u32>,
    /// Why walks were not counted although that was asked for.
    pub no_walks: Option<String>,
    /// Where khugepaged scans: the huge pages that it made while the program ran, and of these, those that it made while threads ran at
    /// once.
    pub collapses: Option<(u32, u32)>,
}

/// How the threads of a section met, over all repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meetings {
    /// Repetitions in which ops of two threads were under way at the same time.
    pub overlapped: u32,
    /// Repetitions by how far apart the first two threads began: less than 1 ns, 2 ns, 4 ns, ...
    pub apart: Vec<u32>,
    /// Repetitions by the thread that began first.
    pub first: Vec<u32>,
}

impl Meetings {
    /// Repetitions in which the first two threads began less than so many nanoseconds, a power of two, apart.
    pub fn within(&self, nanos: u64) -> u32 {
        let bins = nanos.ilog2() as usize + 1;
        self.apart.iter().take(bins).sum()
    }
}

/// Why a kernel can run no more programs. The kernel is dead afterwards: the campaign boots another.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KernelError {
    /// The kernel's console reports an oops, a BUG, a lockup, ...
    #[error("the kernel crashed: {kind}")]
    Crash {
        /// What kind of report it was.
        kind: String,
        /// The report as the console shows it.
        excerpt: String,
        /// The program and the op that ran.
        at: Option<(u64, u32)>,
    },
    /// The whole guest stopped answering while an op ran.
    #[error("the guest stopped answering during op {} of program {:#x}: {why}", at.1, at.0)]
    LockedUp {
        at: (u64, u32),
        why: String,
        console: String,
    },
    /// The VM is gone or unusable, and no kernel report says why.
    #[error("{why}")]
    Lost { why: String, console: String },
}

/// Why a kernel could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BootError {
    /// It is no longer to be had anywhere: its row says skipped, which is no error.
    #[error("skipped: {0}")]
    Skipped(String),
    /// The infrastructure or the image is at fault; what the console showed last.
    #[error("{why}{}", tail(console))]
    Failed { why: String, console: String },
}

/// The console's last lines, indented, for an error message.
fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(8);
    lines[from..]
        .iter()
        .map(|l| format!("\n    | {l}"))
        .collect()
}

/// Where kernels of one kind come from: boots as many as the campaign wants.
pub trait KernelSource: Send + Sync {
    /// How the user names the kernel.
    fn label(&self) -> &str;

    /// `x86_64` or `aarch64`.
    fn arch(&self) -> &str;

    /// Its uname release, where that is known before it boots.
    fn release(&self) -> Option<&str> {
        None
    }

    /// The options of a command that name this kernel, booted likewise: words, an option and its value in turn.
    fn options(&self) -> Vec<String> {
        ["--kernels", self.label(), "--arch", self.arch()]
            .map(String::from)
            .to_vec()
    }

    /// What it is told when it boots, where it is told anything.
    fn command_line(&self) -> Option<String> {
        None
    }

    /// The configuration that it was built with, where that is to be had.
    fn build_config(&self) -> Option<String> {
        None
    }

    /// A deliberate fault of the guest in every program that is not a probe.
    fn guest_fault(&self) -> Option<wire::GuestFault> {
        None
    }

    /// Boots one. `name` is unique among the kernels of a run: console logs are named after it.
    ///
    /// # Errors
    /// See [`BootError`].
    fn boot(&self, name: &str) -> Result<Box<dyn Kernel>, BootError>;
}

/// A kernel that runs programs. Batches are pipelined: several may be submitted before their executions are taken, so
/// that the kernel never waits for the judge.
pub trait Kernel: Send {
    /// What is known about it.
    fn info(&self) -> &KernelInfo;

    /// Whether it handles broken memory (CONFIG_MEMORY_FAILURE), as all distributions' kernels do.
    fn handles_memory_failure(&self) -> bool {
        true
    }

    /// Whether programs can have swap space.
    fn has_swap(&self) -> bool {
        true
    }

    /// From now on its executions are judged by this profile: what the profile knows of the kernel's views decides which
    /// of them must agree. Before, it is the profile of the kernel's release.
    fn judged_by(&mut self, profile: &Profile);

    /// Hands over a batch; returns at once. Executions come back in order.
    fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError>;

    /// Waits for the next execution or the end of a batch.
    fn next(&mut self) -> Result<Event, KernelError>;

    /// Runs a program with a section again and again, its threads starting at other moments each time. Only for use with nothing
    /// in flight.
    ///
    /// # Errors
    /// As [`Kernel::next`]; a kind of kernel that has no threads.
    fn race(&mut self, prepared: &Prepared, repeat: Repeat) -> Result<Raced, KernelError> {
        let _ = (prepared, repeat);
        Err(KernelError::Lost {
            why: format!("{} has no threads to run at once", self.info().label),
            console: String::new(),
        })
    }

    /// Runs one batch to its end: submit, then collect. Only for use with nothing in flight.
    fn run(&mut self, batch: &[Prepared]) -> Result<Vec<Execution>, KernelError> {
        self.submit(batch)?;
        let mut executions = Vec::with_capacity(batch.len());
        loop {
            match self.next()? {
                Event::Execution(execution) => executions.push(execution),
                Event::BatchDone { .. } => return Ok(executions),
            }
        }
    }
}
