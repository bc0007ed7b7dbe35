//! A whole campaign: rows (kernels), lanes (VMs side by side), and who does what.

use super::feed::{program_seed, CorpusProgram, Feed, BLOCK};
use super::lane::Lane;
use super::probed::Probed;
use super::results::{Listener, RowResult, Sink, Summary};
use super::row::Row;
use super::{CpuAccount, Earlier, Known, Shard};
use crate::kernel::{JudgeBy, Kernel, KernelSource};
use oracle::profile::Release;
use oracle::program::Program;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many generated programs each kernel runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    Programs(u64),
    /// As many as fit into this time, all kernels together.
    Time(Duration),
}

/// What a campaign notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notice {
    /// Whatever no rule allows.
    #[default]
    All,
    /// Only what a fuzzer without an oracle sees: reports on the console, and what does not come back.
    Crashes,
}

/// Blocks that take about as long as a boot.
const BLOCKS_PER_BOOT: u64 = 12;

/// What a campaign does.
pub struct Settings {
    pub seed: u64,
    pub amount: Amount,
    pub corpus: Vec<CorpusProgram>,
    /// VMs side by side.
    pub jobs: usize,
    /// By whose rules.
    pub by: JudgeBy,
    /// Programs to run over and over in place of generated ones (the bench's frozen mix).
    pub mix: Option<Vec<Arc<Program>>>,
    /// Re-runs of each suspect; crashes get at most two, each costs a boot.
    pub reruns: u32,
    pub known: Known,
    /// End a kernel's row at its first new suspect.
    pub stop_at_first: bool,
    pub notice: Notice,
    pub part: Part,
}

/// Which part of a campaign is to be run. The default is all of it.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// This machine's share.
    pub shard: Option<Shard>,
    /// What is through from before, by the kernel's label and architecture.
    pub earlier: BTreeMap<(String, String), Earlier>,
}

/// Why a campaign ended early.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// Results cannot be written.
    #[error("the results cannot be written: {0}; what was written so far is kept")]
    Sink(io::Error),
    #[error("no worker threads: {0}")]
    Threads(String),
}

/// What all lanes share.
pub struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) feed: Feed,
    pub(super) sink: &'a dyn Sink,
    pub(super) listener: &'a dyn Listener,
    stop: &'a AtomicBool,
    failed: Mutex<Option<io::Error>>,
    next_id: AtomicU64,
    /// CPU time of judging.
    pub judging: CpuAccount,
    pub(super) results: Mutex<BTreeMap<usize, RowResult>>,
    pub(super) probed: Probed,
}

impl Context<'_> {
    /// Whether the user or a full disk has stopped the campaign.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || lock(&self.failed).is_some()
    }

    /// A program id that was not used before.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Re-runs of a suspect; fewer when it killed its kernel.
    pub fn reruns(&self, kernel: &Option<Box<dyn Kernel>>) -> u32 {
        match kernel {
            Some(_) => self.settings.reruns,
            None => self.settings.reruns.min(2),
        }
    }

    /// Keeps the first error of the sink; it ends the campaign.
    pub(super) fn wrote(&self, result: io::Result<()>) {
        if let Err(error) = result {
            lock(&self.failed).get_or_insert(error);
        }
    }
}

/// Locks, whatever a panic elsewhere left behind: counts are whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a campaign over `sources`, one row each. `stop` ends it early: what runs is dropped, what is known is written.
///
/// # Errors
/// Results cannot be written, or no threads can be had.
pub fn run(
    settings: &Settings,
    sources: &[Arc<dyn KernelSource>],
    sink: &dyn Sink,
    listener: &dyn Listener,
    stop: &AtomicBool,
) -> Result<Summary, CampaignError> {
    let corpus_blocks = (settings.corpus.len() as u64).div_ceil(BLOCK);
    let blocks = match settings.amount {
        Amount::Programs(n) => Some(corpus_blocks + n.div_ceil(BLOCK)),
        Amount::Time(_) => None,
    };
    let jobs = settings.jobs.max(1);
    // More VMs per kernel only when there are fewer kernels than jobs, and work enough to be worth another boot.
    let lanes_per_row = (jobs / sources.len().max(1))
        .min(blocks.map_or(jobs, |b| (b / BLOCKS_PER_BOOT) as usize))
        .max(1);
    let ctx = Context {
        settings,
        feed: match &settings.mix {
            Some(mix) => Feed::fixed(mix.clone()),
            None => Feed::new(settings.seed),
        },
        sink,
        listener,
        stop,
        failed: Mutex::new(None),
        next_id: AtomicU64::new(1),
        judging: CpuAccount::default(),
        results: Mutex::new(BTreeMap::new()),
        probed: Probed::default(),
    };
    let mut rows: Vec<Row<'_>> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let before = before(&settings.by, sources, index);
            Row::new(
                &ctx,
                index,
                source.as_ref(),
                corpus_blocks,
                blocks,
                lanes_per_row,
                before,
            )
        })
        .collect();
    for index in 0..rows.len() {
        if !rows[index].has_work(settings) {
            let asked = is_asked(&rows, index, settings);
            rows[index].set_lanes(usize::from(asked));
        }
    }
    let slice = match settings.amount {
        Amount::Time(time) => {
            let waves = (rows.len() * lanes_per_row).div_ceil(jobs).max(1);
            Some(time / waves as u32)
        }
        Amount::Programs(_) => None,
    };
    let lanes: Vec<(usize, usize)> = (0..rows.len())
        .flat_map(|row| (0..rows[row].lanes()).map(move |lane| (row, lane)))
        .collect();
    rows.iter()
        .filter(|row| row.lanes() == 0)
        .for_each(|row| row.close(&ctx));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .build()
        .map_err(|e| CampaignError::Threads(e.to_string()))?;
    let next = AtomicUsize::new(0);
    pool.install(|| {
        // Each worker takes the next lane, so rows run in the order of the matrix.
        (0..jobs).into_par_iter().with_max_len(1).for_each(|_| {
            while let Some(&(row, lane)) = lanes.get(next.fetch_add(1, Ordering::Relaxed)) {
                let row = &rows[row];
                if !ctx.stopped() {
                    let left = slice.map(|slice| slice.saturating_sub(row.spent()));
                    let deadline = left.map(|left| Instant::now() + left);
                    let name = format!("{}-{lane}", row.name());
                    Lane::new(&ctx, row, name, deadline).run();
                }
                row.lane_done(&ctx);
            }
        });
    });
    if let Some(error) = lock(&ctx.failed).take() {
        return Err(CampaignError::Sink(error));
    }
    let results = std::mem::take(&mut *lock(&ctx.results));
    Ok(Summary {
        rows: results.into_values().collect(),
        generating: ctx.feed.cpu.seconds(),
        judging: ctx.judging.seconds(),
        interrupted: stop.load(Ordering::Relaxed),
    })
}

/// Whether a row with work waits for what this one's kernel is found to have.
fn is_asked(rows: &[Row<'_>], index: usize, settings: &Settings) -> bool {
    let asks = |row: &Row<'_>| row.waits_for() == Some(index) && row.has_work(settings);
    !rows[index].is_probed() && rows.iter().any(asks)
}

/// The kernel before one in the order of versions, of the same architecture: its row, and its uname release. Kernels that are not
/// judged by their own rules are not compared.
pub fn before<'s>(
    by: &JudgeBy,
    sources: &'s [Arc<dyn KernelSource>],
    index: usize,
) -> Option<(usize, &'s str)> {
    if !by.is_own() {
        return None;
    }
    let own = Release::parse(sources[index].release()?)?;
    let others = sources
        .iter()
        .enumerate()
        .filter(|(_, other)| other.arch() == sources[index].arch());
    others
        .filter_map(|(row, other)| Some((Release::parse(other.release()?)?, row, other.release()?)))
        .filter(|(release, _, _)| *release < own)
        .max_by_key(|(release, _, _)| *release)
        .map(|(_, row, name)| (row, name))
}

/// The seed of the program named `seed/block/index`.
pub fn seed_of(name: &str) -> Option<u64> {
    let mut parts = name.split('/').map(|part| part.parse::<u64>().ok());
    let (seed, block, index) = (parts.next()??, parts.next()??, parts.next()??);
    parts
        .next()
        .is_none()
        .then(|| program_seed(seed, block, index))
}
