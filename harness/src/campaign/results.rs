//! What a campaign comes to, where it goes, and who looks on.

use super::story::Story;
use super::{Block, BlockResult, Booted, Bucket, Change, Finding, Place, Suspect, Tally};
use crate::kernel::{JudgeBy, KernelInfo};
use oracle::judge::ByOp;
use oracle::program::Program;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A suspect that was confirmed, ready to be written down.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The same on every machine: made from bucket and program.
    pub id: String,
    pub kernel: KernelInfo,
    /// How a command names it; see [`KernelSource::options`](crate::kernel::KernelSource::options).
    pub options: Vec<String>,
    /// By whose rules it is one.
    pub by: JudgeBy,
    /// File name or `seed/block/index`.
    pub program_name: String,
    pub place: Place,
    pub program: Arc<Program>,
    pub story: Story,
    /// Re-runs that showed it again.
    pub hits: u32,
    pub runs: u32,
}

impl Reported {
    /// What stays of it in the record of its block.
    pub fn suspect(&self) -> Suspect {
        Suspect {
            id: self.id.clone(),
            place: self.place,
            program: self.program_name.clone(),
            bucket: self.story.bucket.clone(),
            class: self.story.class,
            step: self.story.step,
            hits: self.hits,
            runs: self.runs,
            release: self.kernel.release.clone(),
        }
    }
}

/// Everything about one kernel's part of a campaign.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RowResult {
    /// How the user names the kernel.
    pub kernel: String,
    pub arch: String,
    pub release: String,
    pub build: String,
    pub page_size: u32,
    pub accel: String,
    pub boot_seconds: f64,
    /// Wall-clock seconds, boots apart.
    pub seconds: f64,
    #[serde(flatten)]
    pub tally: Tally,
    /// New buckets, with the number of programs in each.
    pub buckets: Vec<(Bucket, u64)>,
    /// The first program of each new bucket.
    #[serde(skip)]
    pub first_programs: BTreeMap<Bucket, String>,
    /// uname release of the kernel before it in the order of versions, on the same architecture, where the campaign has one.
    pub before: Option<String>,
    /// How it differs from that one, as programs showed it.
    pub changes: Vec<Change>,
    /// Known findings that were met, with the number of programs.
    pub known_met: BTreeMap<String, u64>,
    /// Runs of known findings' own programs in which nothing went wrong, by the finding.
    #[serde(default)]
    pub held: BTreeMap<String, u64>,
    /// Known findings that are said to be on the kernel and were found not to be, where somebody has asked ([`Known::gone`](super::Known::gone)).
    #[serde(default)]
    pub fixed: Vec<String>,
    /// Why the kernel was not run at all.
    pub skipped_because: Option<String>,
    /// Tightness op by op.
    pub by_op: ByOp,
    /// Infrastructure errors, first to last.
    pub errors: Vec<String>,
    /// Rules that were exercised.
    pub rules: Vec<String>,
    /// Behaviours that the kernel was found to have.
    pub behaviours: Vec<String>,
    /// Programs of the campaign up to the first new suspect, that one included.
    pub first_suspect: Option<u64>,
    /// The bucket of that suspect.
    pub first_bucket: Option<Bucket>,
}

impl RowResult {
    /// Takes over what was found out when the kernel booted.
    pub fn set_booted(&mut self, booted: &Booted) {
        self.release.clone_from(&booted.release);
        self.build.clone_from(&booted.build);
        self.page_size = booted.page_size;
        self.accel.clone_from(&booted.accel);
        self.boot_seconds = booted.boot_seconds;
        self.behaviours.clone_from(&booted.behaviours);
    }

    /// Programs per second of running.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.tally.programs as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// What a campaign came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub rows: Vec<RowResult>,
    /// CPU seconds spent generating and judging.
    pub generating: f64,
    pub judging: f64,
    /// The user stopped it.
    pub interrupted: bool,
}

impl Summary {
    /// Programs that are new divergences, hangs or crashes.
    pub fn new_suspects(&self) -> u64 {
        let new = |t: &Tally| t.divergences + t.hangs + t.crashes;
        self.rows.iter().map(|row| new(&row.tally)).sum()
    }

    /// Infrastructure errors over all rows.
    pub fn infra_errors(&self) -> u64 {
        self.rows.iter().map(|row| row.tally.infra_errors).sum()
    }

    /// Programs that ran.
    pub fn programs(&self) -> u64 {
        self.rows.iter().map(|row| row.tally.programs).sum()
    }
}

/// Where results go as they come. An error ends the campaign; what was written stays.
pub trait Sink: Sync {
    /// A kernel has booted and was probed, for the first time.
    fn booted(&self, _row: &RowResult, _booted: &Booted) -> io::Result<()> {
        Ok(())
    }

    /// A block is through on a kernel, the re-runs of its suspects included: the terminal record of a work item.
    fn block(&self, row: &RowResult, block: Block, result: &BlockResult) -> io::Result<()>;

    /// The infrastructure failed, and no program is at fault.
    fn lost(&self, _row: &RowResult, _why: &str) -> io::Result<()> {
        Ok(())
    }

    /// A known finding was met, for the first time on this kernel.
    fn known(&self, _finding: &Finding, _met: &Reported) -> io::Result<()> {
        Ok(())
    }

    /// A suspect was confirmed.
    fn reported(&self, reported: &Reported) -> io::Result<()>;
    /// A kernel is through: `row`. `rows` are all rows so far, that one among them, in the order of the matrix.
    fn row(&self, row: &RowResult, rows: &[RowResult]) -> io::Result<()>;
}

/// A sink that keeps nothing.
pub struct Discard;

impl Sink for Discard {
    fn block(&self, _: &RowResult, _: Block, _: &BlockResult) -> io::Result<()> {
        Ok(())
    }

    fn reported(&self, _: &Reported) -> io::Result<()> {
        Ok(())
    }

    fn row(&self, _: &RowResult, _: &[RowResult]) -> io::Result<()> {
        Ok(())
    }
}

/// What happens, for those who look on.
#[derive(Debug)]
pub enum Progress<'a> {
    Booting {
        row: usize,
    },
    Booted {
        row: usize,
        info: &'a KernelInfo,
    },
    /// Some more programs are through. `total` is known unless time limits the campaign.
    Programs {
        row: usize,
        tally: &'a Tally,
        total: Option<u64>,
    },
    Reported(&'a Reported),
    /// Something went wrong in the infrastructure.
    Error {
        row: usize,
        text: &'a str,
    },
    Done {
        row: usize,
        result: &'a RowResult,
    },
}

/// Looks on; called from many threads.
pub trait Listener: Sync {
    fn event(&self, event: &Progress<'_>);
}

/// A listener that does not care.
pub struct Quiet;

impl Listener for Quiet {
    fn event(&self, _: &Progress<'_>) {}
}
