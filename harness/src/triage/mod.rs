//! Triage: from a program in which something went wrong to one in which nothing can be left out.
//!
//! | file | subject |
//! | --- | --- |
//! | `minimize` | the search: candidates out, answers in, the smallest that still goes wrong stays |
//! | `simpler` | candidates: ops, actors, ranges and words left out or made simpler |
//! | `weight` | which of two programs is the simpler one |
//! | `target` | what must stay the same at every step: the bucket |
//! | `trust` | how many runs decide about a candidate, and how sure that is |
//! | `standing` | which kernels have a bucket, which have not, and of which it cannot be told |
//! | `verdict` | whether a program goes wrong on a kernel, or cannot be told |
//! | `padded` | longer programs to minimize |
//! | `against` | two kernels as one, which goes wrong where they part |
//! | `lab` | runs candidates in batches on a kernel that may die |

mod against;
#[cfg(test)]
mod cause_tests;
mod lab;
mod minimize;
mod padded;
mod simpler;
mod standing;
mod target;
#[cfg(test)]
mod tests;
mod trust;
mod verdict;
mod weight;

pub use against::{Against, Parting};
pub use minimize::minimize;
pub use padded::padded;
pub use standing::{Reference, Standing};
pub use trust::{Reliability, Trust};
pub use verdict::{verdict, verdicts, verdicts_each, Answer, Told, VerdictSettings};
pub use weight::Weight;

use crate::campaign::{Bucket, Story};
use crate::kernel::{JudgeBy, KernelInfo};
use oracle::program::{CheckError, Program};
use std::time::Duration;

/// When to stop although more could be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Programs run.
    pub executions: u64,
    /// Time on the clock, boots apart.
    pub time: Duration,
    /// Kernels booted: each crash costs one.
    pub boots: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            executions: 50_000,
            time: Duration::from_secs(60),
            boots: 40,
        }
    }
}

/// How to minimize.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bucket to keep. `None`: the one that the program ends in most often.
    pub bucket: Option<Bucket>,
    /// By whose rules.
    pub by: JudgeBy,
    pub limits: Limits,
    /// Where threads run at once: most repetitions that are spent on finding out how often it goes wrong.
    pub repetitions: u32,
}

/// Repetitions after which something that goes wrong once in a thousand times was met with a chance of 99 %.
pub const REPETITIONS: u32 = 5000;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bucket: None,
            by: JudgeBy::default(),
            limits: Limits::default(),
            repetitions: REPETITIONS,
        }
    }
}

/// Why a minimization ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nothing more can be left out or made simpler.
    Minimal,
    /// [`Limits::time`] is up.
    Time,
    /// [`Limits::executions`] are used up.
    Executions,
    /// [`Limits::boots`] are used up.
    Boots,
    /// The user stopped it.
    Interrupted,
    /// No kernel could be had any more.
    Kernel(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Ended::Minimal => "nothing more can be left out or made simpler",
            Ended::Time => "stopped: time is up",
            Ended::Executions => "stopped: as many programs were run as allowed",
            Ended::Boots => "stopped: as many kernels were booted as allowed",
            Ended::Interrupted => "stopped by the user",
            Ended::Kernel(why) => return write!(f, "stopped: no kernel: {why}"),
        })
    }
}

/// What a minimization came to.
#[derive(Debug, Clone)]
pub struct Minimized {
    /// The simplest program found that still ends in the bucket.
    pub program: Program,
    /// What goes wrong in it.
    pub story: Story,
    pub kernel: KernelInfo,
    /// Runs of the original that ended in the bucket, before anything was left out.
    pub before: Reliability,
    /// The same of the result, at the end.
    pub after: Reliability,
    /// How a candidate was decided about.
    pub trust: Trust,
    pub ended: Ended,
    /// Programs run in all.
    pub executions: u64,
    /// Candidates that took the place of the program.
    pub accepted: u32,
    /// Seconds on the clock, boots apart.
    pub seconds: f64,
    /// Kernels booted.
    pub boots: u32,
    /// Buckets that candidates ended in instead, with the number of runs, most first: other things that go wrong nearby.
    pub others: Vec<(Bucket, u64)>,
}

/// What happens, for those who look on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The original was run.
    Measured {
        story: &'a Story,
        reliability: Reliability,
        trust: &'a Trust,
    },
    /// A simpler program took the place of the one before.
    Simpler {
        program: &'a Program,
        executions: u64,
        seconds: f64,
    },
    /// A kernel died and another is booted.
    Boot { number: u32 },
    /// Nothing simpler was found; everything is tried again with more runs for each candidate.
    Again { runs: u32 },
}

/// Why there is nothing to minimize.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    #[error("the program cannot be run: {0}")]
    Program(#[from] CheckError),
    /// It does not go wrong (any more).
    #[error("the program does not diverge on {kernel}: {runs} runs, none {}{}", wanted(.bucket), instead(.others))]
    NotReproduced {
        kernel: String,
        runs: u32,
        /// The bucket that was asked for.
        bucket: Option<Box<Bucket>>,
        /// Buckets that were met instead.
        others: Vec<(Bucket, u64)>,
    },
    /// No kernel, or it ran nothing.
    #[error("{0}")]
    Kernel(String),
    /// The user stopped it before anything was found out.
    #[error("stopped by the user")]
    Interrupted,
}

fn wanted(bucket: &Option<Box<Bucket>>) -> String {
    match bucket {
        Some(bucket) => format!("ended in `{bucket}`"),
        None => "showed a divergence, a hang or a crash".into(),
    }
}

fn instead(others: &[(Bucket, u64)]) -> String {
    others
        .iter()
        .map(|(bucket, n)| format!("; {n} ended in `{bucket}`"))
        .collect()
}

/// Looks on.
pub type Listener<'a> = dyn FnMut(&Progress<'_>) + 'a;
