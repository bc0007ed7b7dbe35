//! A whole campaign: rows (kernels), lanes (VMs side by side), and who does what.

use super::confirm::Confirm;
use super::feed::{program_seed, CorpusProgram, Feed, BLOCK};
use super::lane::{Batch, Lane, Origin, Work};
use super::story::Story;
use super::{divergence_id, needs, smaps, Bucket, CpuAccount, Finding, Known, Tally};
use crate::kernel::{probe, BootError, Kernel, KernelInfo, KernelSource, Prepared};
use oracle::geometry::Geometry;
use oracle::profile::{Profile, Release};
use oracle::program::Program;
use oracle::rules::RuleSet;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// Blocks that take about as long as a boot.
const BLOCKS_PER_BOOT: u64 = 12;

/// What a campaign does.
pub struct Settings {
    pub seed: u64,
    pub amount: Amount,
    pub corpus: Vec<CorpusProgram>,
    /// VMs side by side.
    pub jobs: usize,
    /// Judge every kernel by this release's profile instead of its own.
    pub profile: Option<Release>,
    /// Programs to run over and over in place of generated ones (the bench's frozen mix).
    pub mix: Option<Vec<Arc<Program>>>,
    /// Re-runs of each suspect; crashes get at most two, each costs a boot.
    pub reruns: u32,
    pub known: Known,
    /// End a kernel's row at its first new suspect.
    pub stop_at_first: bool,
}

/// A suspect that was confirmed, ready to be written down.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The same on every machine: made from bucket and program.
    pub id: String,
    pub kernel: KernelInfo,
    /// File name or `seed/block/index`.
    pub program_name: String,
    pub program: Arc<Program>,
    pub story: Story,
    /// Re-runs that showed it again.
    pub hits: u32,
    pub runs: u32,
}

/// Everything about one kernel's part of a campaign.
#[derive(Debug, Clone, Default, Serialize)]
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
    /// Known findings that were met, with the number of programs.
    pub known_met: BTreeMap<String, u64>,
    /// Why the kernel was not run at all.
    pub skipped_because: Option<String>,
    /// Infrastructure errors, first to last.
    pub errors: Vec<String>,
    /// Rules that were exercised.
    pub rules: Vec<String>,
    /// Behaviours that the kernel was found to have.
    pub behaviours: Vec<String>,
    /// Programs run when the first new suspect was met, that one included.
    pub first_suspect: Option<u64>,
}

impl RowResult {
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
    /// A block is through on a kernel.
    fn block(&self, row: &RowResult, block: &str, tally: &Tally) -> io::Result<()>;
    /// A suspect was confirmed.
    fn reported(&self, reported: &Reported) -> io::Result<()>;
    /// A kernel is through. `rows` are all rows so far.
    fn row(&self, rows: &[RowResult]) -> io::Result<()>;
}

/// A sink that keeps nothing.
pub struct Discard;

impl Sink for Discard {
    fn block(&self, _: &RowResult, _: &str, _: &Tally) -> io::Result<()> {
        Ok(())
    }

    fn reported(&self, _: &Reported) -> io::Result<()> {
        Ok(())
    }

    fn row(&self, _: &[RowResult]) -> io::Result<()> {
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
    settings: &'a Settings,
    feed: Feed,
    sink: &'a dyn Sink,
    listener: &'a dyn Listener,
    stop: &'a AtomicBool,
    failed: Mutex<Option<io::Error>>,
    next_id: AtomicU64,
    /// CPU time of judging.
    pub judging: CpuAccount,
    results: Mutex<BTreeMap<usize, RowResult>>,
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

    fn wrote(&self, result: io::Result<()>) {
        if let Err(error) = result {
            lock(&self.failed).get_or_insert(error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one kernel's lanes share.
pub struct Row<'a> {
    index: usize,
    source: &'a dyn KernelSource,
    next_block: AtomicU64,
    /// Corpus blocks, then generated ones.
    corpus_blocks: u64,
    blocks: Option<u64>,
    lanes_left: AtomicUsize,
    state: Mutex<State>,
    /// Set when the row is to end early.
    full: AtomicBool,
}

#[derive(Default)]
struct State {
    result: RowResult,
    buckets: BTreeMap<Bucket, u64>,
    rules: RuleSet,
    started: Option<Instant>,
    ended: Option<Instant>,
    /// Programs that came through, counted before their block is.
    through: u64,
    profile: Option<Profile>,
}

impl Row<'_> {
    /// Programs of the whole row, where that is known.
    fn total(&self, settings: &Settings) -> Option<u64> {
        match settings.amount {
            Amount::Programs(n) => Some(n + settings.corpus.len() as u64),
            Amount::Time(_) => None,
        }
    }

    /// What is known of the kernel before it is booted.
    pub fn expected_info(&self) -> KernelInfo {
        KernelInfo {
            label: self.source.label().to_string(),
            release: String::new(),
            build: String::new(),
            arch: self.source.arch().to_string(),
            geometry: Geometry::K4,
            thp: true,
            accel: String::new(),
            boot_seconds: 0.0,
        }
    }

    /// The clock of the row runs from its first program to its last.
    pub fn start(&self) {
        lock(&self.state).started.get_or_insert_with(Instant::now);
    }

    /// See [`Row::start`].
    pub fn stop(&self) {
        lock(&self.state).ended = Some(Instant::now());
    }

    /// Boots a kernel and finds its profile; on failure books it and returns `None`.
    pub fn boot(&self, ctx: &Context<'_>, name: &str) -> Option<(Box<dyn Kernel>, Profile)> {
        ctx.listener.event(&Progress::Booting { row: self.index });
        let mut kernel = match self.source.boot(name) {
            Ok(kernel) => kernel,
            Err(BootError::Skipped(why)) => {
                lock(&self.state).result.skipped_because = Some(why);
                return None;
            }
            Err(error) => {
                self.boot_failed(ctx, error.to_string());
                return None;
            }
        };
        let profile = match self.profile(ctx, kernel.as_mut()) {
            Ok(profile) => profile,
            Err(why) => {
                self.boot_failed(ctx, why);
                return None;
            }
        };
        let info = kernel.info().clone();
        let mut state = lock(&self.state);
        if state.result.release.is_empty() {
            state.result.release = info.release.clone();
            state.result.build = info.build.clone();
            state.result.page_size = info.geometry.page_size;
            state.result.accel = info.accel.clone();
            state.result.boot_seconds = info.boot_seconds;
            state.result.behaviours = probe::names(&profile);
        }
        drop(state);
        ctx.listener.event(&Progress::Booted {
            row: self.index,
            info: &info,
        });
        Some((kernel, profile))
    }

    fn boot_failed(&self, ctx: &Context<'_>, why: String) {
        self.error(ctx, why);
        self.add(
            ctx,
            None,
            Tally {
                infra_errors: 1,
                ..Tally::default()
            },
        );
    }

    /// The profile to judge by: the one asked for, the one found by an earlier boot, or what probing finds.
    fn profile(&self, ctx: &Context<'_>, kernel: &mut dyn Kernel) -> Result<Profile, String> {
        if let Some(release) = ctx.settings.profile {
            return Ok(Profile::at_release(release, probe::arch(kernel.info())));
        }
        if let Some(profile) = lock(&self.state).profile.clone() {
            return Ok(profile);
        }
        let profile = probe::probe(kernel).map_err(|e| format!("while probing: {e}"))?;
        lock(&self.state).profile = Some(profile.clone());
        Ok(profile)
    }

    /// The next block of programs, without those that the kernel lacks something for; `None` when there is no more.
    pub fn next_block(
        &self,
        ctx: &Context<'_>,
        deadline: Option<Instant>,
        profile: &Profile,
        info: &KernelInfo,
    ) -> Option<Batch> {
        if self.full.load(Ordering::Relaxed) {
            return None;
        }
        let n = self.next_block.fetch_add(1, Ordering::Relaxed);
        let settings = ctx.settings;
        if self.blocks.is_some_and(|blocks| n >= blocks) {
            return None;
        }
        let Some(generated) = n.checked_sub(self.corpus_blocks) else {
            return Some(self.corpus_block(ctx, n, profile, info));
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        let mut count = BLOCK;
        if let Amount::Programs(programs) = settings.amount {
            count = count.min(programs - generated * BLOCK);
        }
        let block = ctx.feed.block(generated);
        let mut works: Vec<Work> = (0..count)
            .map(|i| Work {
                prepared: Prepared {
                    id: ctx.next_id(),
                    program: block[i as usize].clone(),
                    smaps: smaps::generated(generated * BLOCK + i),
                    fault: self.source.guest_fault(),
                },
                name: format!("{}/{generated}/{i}", settings.seed),
                origin: Origin::Planned,
                losses: 0,
            })
            .collect();
        // Changing a system-wide setting costs more than a program; programs of a block do not depend on each other.
        works.sort_by_key(|work| work.prepared.program.knobs);
        Some(Batch {
            works: works.into(),
            block: Some(format!("generated/{generated}")),
        })
    }

    fn corpus_block(
        &self,
        ctx: &Context<'_>,
        n: u64,
        profile: &Profile,
        info: &KernelInfo,
    ) -> Batch {
        let from = (n * BLOCK) as usize;
        let to = (from + BLOCK as usize).min(ctx.settings.corpus.len());
        let mut works = VecDeque::new();
        let mut tally = Tally::default();
        for entry in &ctx.settings.corpus[from..to] {
            if needs::lacks(&entry.program, profile, info).is_some() {
                tally.skipped += 1;
                tally.tightness.values += entry.program.steps.len() as u64;
                continue;
            }
            works.push_back(Work {
                prepared: Prepared {
                    id: ctx.next_id(),
                    program: entry.program.clone(),
                    smaps: smaps::CORPUS,
                    fault: self.source.guest_fault(),
                },
                name: entry.name.clone(),
                origin: Origin::Planned,
                losses: 0,
            });
        }
        self.add(ctx, None, tally);
        Batch {
            works,
            block: Some(format!("corpus/{n}")),
        }
    }

    /// Adds counts; a block that is through goes to the sink.
    pub fn add(&self, ctx: &Context<'_>, block: Option<&str>, tally: Tally) {
        if tally == Tally::default() {
            return;
        }
        let mut state = lock(&self.state);
        state.result.tally += tally;
        state.ended = Some(Instant::now());
        let wrote = ctx
            .sink
            .block(&state.result, block.unwrap_or("again"), &tally);
        let total = state.result.tally;
        drop(state);
        ctx.wrote(wrote);
        ctx.listener.event(&Progress::Programs {
            row: self.index,
            tally: &total,
            total: self.total(ctx.settings),
        });
    }

    /// Books that a program came through, and the rules that it exercised.
    pub fn exercised(&self, rules: &RuleSet) {
        let mut state = lock(&self.state);
        state.rules.merge(rules);
        state.through += 1;
    }

    /// Books an infrastructure error's text; its count comes with a tally.
    pub fn error(&self, ctx: &Context<'_>, text: String) {
        ctx.listener.event(&Progress::Error {
            row: self.index,
            text: &text,
        });
        let mut state = lock(&self.state);
        if state.result.errors.len() < 20 {
            state.result.errors.push(text);
        }
    }

    /// The known finding that explains this bucket on this kernel.
    pub fn known(&self, ctx: &Context<'_>, bucket: &Bucket) -> Option<Finding> {
        let state = lock(&self.state);
        ctx.settings
            .known
            .explains(bucket, &state.result.arch, &state.result.release)
            .cloned()
    }

    /// Books that a known finding was met.
    pub fn met(&self, finding: &Finding) {
        let mut state = lock(&self.state);
        *state
            .result
            .known_met
            .entry(finding.id.clone())
            .or_default() += 1;
    }

    /// Books one more program of a new bucket; says how many there are now.
    pub fn examples(&self, ctx: &Context<'_>, bucket: &Bucket) -> u64 {
        let mut state = lock(&self.state);
        let through = state.through;
        state.result.first_suspect.get_or_insert(through);
        if ctx.settings.stop_at_first {
            self.full.store(true, Ordering::Relaxed);
        }
        let count = state.buckets.entry(bucket.clone()).or_default();
        *count += 1;
        *count
    }

    /// Hands a suspect with its re-runs to the sink.
    pub fn report(&self, ctx: &Context<'_>, info: &KernelInfo, confirm: &Confirm) {
        let (story, hits) = confirm.story();
        let prepared = &confirm.subject.work.prepared;
        let reported = Reported {
            id: divergence_id(&story.bucket, &prepared.program.to_string()),
            kernel: info.clone(),
            program_name: confirm.subject.work.name.clone(),
            program: prepared.program.clone(),
            story: story.clone(),
            hits,
            runs: confirm.runs,
        };
        ctx.wrote(ctx.sink.reported(&reported));
        ctx.listener.event(&Progress::Reported(&reported));
    }

    /// Called by each lane at its end; the last one closes the row.
    fn lane_done(&self, ctx: &Context<'_>) {
        if self.lanes_left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let result = self.result();
        let rows: Vec<RowResult> = {
            let mut results = lock(&ctx.results);
            results.insert(self.index, result.clone());
            results.values().cloned().collect()
        };
        ctx.wrote(ctx.sink.row(&rows));
        ctx.listener.event(&Progress::Done {
            row: self.index,
            result: &result,
        });
    }

    fn result(&self) -> RowResult {
        let state = lock(&self.state);
        let mut result = state.result.clone();
        if let (Some(started), Some(ended)) = (state.started, state.ended) {
            result.seconds = ended.saturating_duration_since(started).as_secs_f64();
        }
        result.buckets = state.buckets.iter().map(|(b, n)| (b.clone(), *n)).collect();
        let rules: BTreeSet<String> = state.rules.iter().map(|rule| rule.to_string()).collect();
        result.rules = rules.into_iter().collect();
        result
    }
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
    };
    let rows: Vec<Row<'_>> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| Row {
            index,
            source: source.as_ref(),
            next_block: AtomicU64::new(0),
            corpus_blocks,
            blocks,
            lanes_left: AtomicUsize::new(lanes_per_row),
            state: Mutex::new(State {
                result: RowResult {
                    kernel: source.label().to_string(),
                    arch: source.arch().to_string(),
                    ..RowResult::default()
                },
                ..State::default()
            }),
            full: AtomicBool::new(false),
        })
        .collect();
    let slice = match settings.amount {
        Amount::Time(time) => {
            let waves = (rows.len() * lanes_per_row).div_ceil(jobs).max(1);
            Some(time / waves as u32)
        }
        Amount::Programs(_) => None,
    };
    let lanes: Vec<(usize, usize)> = (0..rows.len())
        .flat_map(|row| (0..lanes_per_row).map(move |lane| (row, lane)))
        .collect();
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
                    let deadline = slice.map(|slice| Instant::now() + slice);
                    let name = format!("{}-{}-{lane}", row.source.label(), row.source.arch());
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

/// The seed of the program named `seed/block/index`.
pub fn seed_of(name: &str) -> Option<u64> {
    let mut parts = name.split('/').map(|part| part.parse::<u64>().ok());
    let (seed, block, index) = (parts.next()??, parts.next()??, parts.next()??);
    parts
        .next()
        .is_none()
        .then(|| program_seed(seed, block, index))
}
