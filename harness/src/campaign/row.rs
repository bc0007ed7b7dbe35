//! One kernel's part of a campaign: what its lanes share.

use super::confirm::Confirm;
use super::feed::BLOCK;
use super::lane::{Batch, Origin, Work};
use super::results::{Progress, Reported, RowResult};
use super::run::{lock, Amount, Context, Settings};
use super::{divergence_id, needs, smaps, Bucket, Change, Difference, Finding, Judged, Tally};
use crate::kernel::{probe, BootError, Kernel, KernelInfo, KernelSource, Prepared};
use oracle::geometry::Geometry;
use oracle::profile::{Profile, Release};
use oracle::rules::RuleSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Instant;

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
    /// The row of the kernel that this one is compared with.
    before: Option<usize>,
}

#[derive(Default)]
struct State {
    result: RowResult,
    buckets: BTreeMap<Bucket, u64>,
    /// By what they are and what explains them: the first program, and how many there were.
    changes: BTreeMap<(Bucket, Vec<&'static str>), (String, u64)>,
    rules: RuleSet,
    started: Option<Instant>,
    ended: Option<Instant>,
    /// Programs that came through, counted before their block is.
    through: u64,
    profile: Option<Profile>,
}

impl<'a> Row<'a> {
    /// A row whose work are `corpus_blocks` blocks of the corpus and then generated ones, `blocks` in all (`None`: until
    /// time is up), done by so many `lanes`. `before`: row and uname release of the kernel that it is compared with.
    pub fn new(
        index: usize,
        source: &'a dyn KernelSource,
        corpus_blocks: u64,
        blocks: Option<u64>,
        lanes: usize,
        before: Option<(usize, &str)>,
    ) -> Row<'a> {
        Row {
            index,
            source,
            next_block: AtomicU64::new(0),
            corpus_blocks,
            blocks,
            lanes_left: AtomicUsize::new(lanes),
            state: Mutex::new(State {
                result: RowResult {
                    kernel: source.label().to_string(),
                    arch: source.arch().to_string(),
                    before: before.map(|(_, release)| release.to_string()),
                    ..RowResult::default()
                },
                ..State::default()
            }),
            full: AtomicBool::new(false),
            before: before.map(|(row, _)| row),
        }
    }

    /// Label and architecture, for the names of consoles.
    pub fn name(&self) -> String {
        format!("{}-{}", self.source.label(), self.source.arch())
    }

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
        if let Some(profile) = lock(&self.state).profile.clone() {
            kernel.judged_by(&profile);
            return Ok(profile);
        }
        let profile =
            probe::profile(kernel, &ctx.settings.by).map_err(|e| format!("while probing: {e}"))?;
        lock(&self.state).profile = Some(profile.clone());
        ctx.probed.found(self.index, &profile);
        Ok(profile)
    }

    /// The next block of programs; `None` when there is no more.
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
                    smaps: smaps::GENERATED,
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
            let (program, lacking) = needs::suited(&entry.program, profile, info);
            tally.skipped += u64::from(lacking.is_some());
            works.push_back(Work {
                prepared: Prepared {
                    id: ctx.next_id(),
                    program,
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

    /// Books that a program came through, the rules that it exercised, and how tight they were op by op.
    pub fn exercised(&self, judged: &Judged) {
        let mut state = lock(&self.state);
        state.rules.merge(&judged.rules);
        state.result.by_op += &judged.by_op;
        state.through += 1;
    }

    /// The profile of the kernel before it in the order of versions: what it was found to have, or what the table says where it
    /// could not be probed.
    pub fn before(&self, ctx: &Context<'_>, info: &KernelInfo) -> Option<Profile> {
        // Rows are begun in their order: one that comes later may wait for this one's lanes to end.
        let earlier = self.before.filter(|&row| row < self.index);
        if let Some(found) = earlier.and_then(|row| ctx.probed.wait(row, &|| ctx.stopped())) {
            return Some(found);
        }
        let state = lock(&self.state);
        let release = Release::parse(state.result.before.as_deref()?)?;
        Some(Profile::at_release(release, probe::arch(info)))
    }

    /// Books how a program showed the kernel to differ from the one before it.
    pub fn differs(&self, differences: Vec<Difference>, program: &str) {
        let mut state = lock(&self.state);
        for difference in differences {
            let key = (difference.bucket, difference.rows);
            let first = || (program.to_string(), 0);
            state.changes.entry(key).or_insert_with(first).1 += 1;
        }
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

    /// The known finding that explains this bucket on this kernel, judged by this profile.
    pub fn known(&self, ctx: &Context<'_>, bucket: &Bucket, profile: &Profile) -> Option<Finding> {
        let state = lock(&self.state);
        ctx.settings
            .known
            .explains(bucket, &state.result.arch, &state.result.release, profile)
            // Without the row that models it, it is as little known as the row.
            .filter(|finding| {
                let row = finding.behaviour.as_deref();
                !row.is_some_and(|row| ctx.settings.by.is_forgotten(row))
            })
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
    pub fn examples(&self, ctx: &Context<'_>, bucket: &Bucket, program: &str) -> u64 {
        let mut state = lock(&self.state);
        if !state.buckets.contains_key(bucket) {
            let first = program.to_string();
            state.result.first_programs.insert(bucket.clone(), first);
        }
        let through = state.through;
        if state.result.first_suspect.is_none() {
            state.result.first_suspect = Some(through);
            state.result.first_bucket = Some(bucket.clone());
        }
        if ctx.settings.stop_at_first {
            self.full.store(true, Ordering::Relaxed);
        }
        let count = state.buckets.entry(bucket.clone()).or_default();
        *count += 1;
        *count
    }

    /// Whether the row ends early: it has met a suspect, and one is all that is wanted.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Hands a suspect with its re-runs to the sink.
    pub fn report(&self, ctx: &Context<'_>, info: &KernelInfo, confirm: &Confirm) {
        let (story, hits) = confirm.story();
        let prepared = &confirm.subject.work.prepared;
        let reported = Reported {
            id: divergence_id(&story.bucket, &prepared.program.to_string()),
            kernel: info.clone(),
            by: ctx.settings.by.clone(),
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
    pub fn lane_done(&self, ctx: &Context<'_>) {
        if self.lanes_left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        ctx.probed.over(self.index);
        let result = self.result();
        let rows: Vec<RowResult> = {
            let mut results = lock(&ctx.results);
            results.insert(self.index, result.clone());
            results.values().cloned().collect()
        };
        ctx.wrote(ctx.sink.row(&result, &rows));
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
        let change =
            |((bucket, rows), (first_program, programs)): (&(Bucket, Vec<_>), &(String, u64))| {
                Change {
                    bucket: bucket.clone(),
                    rows: rows.clone(),
                    first_program: first_program.clone(),
                    programs: *programs,
                }
            };
        result.changes = state.changes.iter().map(change).collect();
        let rules: BTreeSet<String> = state.rules.iter().map(|rule| rule.to_string()).collect();
        result.rules = rules.into_iter().collect();
        result
    }
}
