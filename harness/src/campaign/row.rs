//! One kernel's part of a campaign: what its lanes share.

use super::confirm::Confirm;
use super::feed::{Programs, BLOCK};
use super::lane::{Batch, Origin, Work};
use super::results::{Progress, Reported, RowResult};
use super::run::{lock, Amount, Context, Settings};
use super::{
    divergence_id, needs, smaps, Block, BlockResult, Booted, Bucket, Earlier, Finding, Place,
    Standing, Story, Suspect,
};
use crate::kernel::{probe, BootError, Kernel, KernelInfo, KernelSource, Prepared};
use oracle::geometry::Geometry;
use oracle::profile::{Profile, Release};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What one kernel's lanes share.
pub struct Row<'a> {
    index: usize,
    source: &'a dyn KernelSource,
    next_block: AtomicU64,
    /// Corpus blocks, then generated ones.
    corpus_blocks: u64,
    blocks: Option<u64>,
    /// Programs of the whole row, where that is known.
    total: Option<u64>,
    /// Blocks that are through from before, and the seconds that they took.
    done: BTreeSet<Block>,
    earlier_seconds: f64,
    lanes: usize,
    lanes_left: AtomicUsize,
    state: Mutex<State>,
    /// Set when the row is to end early.
    full: AtomicBool,
    /// The row of the kernel that this one is compared with.
    before: Option<usize>,
}

struct State {
    /// What is not the sum of blocks.
    result: RowResult,
    standing: Standing,
    booted: Option<Booted>,
    started: Option<Instant>,
    ended: Option<Instant>,
    profile: Option<Profile>,
    /// Known findings that the sink has heard of.
    shown: BTreeSet<String>,
}

impl State {
    fn result(&self, earlier: f64) -> RowResult {
        let mut result = self.result.clone();
        self.standing.fill(&mut result);
        result.seconds = earlier;
        if let (Some(started), Some(ended)) = (self.started, self.ended) {
            result.seconds += ended.saturating_duration_since(started).as_secs_f64();
        }
        result
    }
}

impl<'a> Row<'a> {
    /// A row whose work are `corpus_blocks` blocks of the corpus and then generated ones, `blocks` in all (`None`: until
    /// time is up), done by so many `lanes`, apart from what is through from before. `before`: row and uname release of the
    /// kernel that it is compared with.
    pub fn new(
        ctx: &Context<'_>,
        index: usize,
        source: &'a dyn KernelSource,
        corpus_blocks: u64,
        blocks: Option<u64>,
        lanes: usize,
        before: Option<(usize, &str)>,
    ) -> Row<'a> {
        let name = (source.label().to_string(), source.arch().to_string());
        let earlier = ctx.settings.part.earlier.get(&name);
        let Earlier {
            booted,
            done,
            standing,
        } = earlier.cloned().unwrap_or_default();
        let mut result = RowResult {
            kernel: name.0,
            arch: name.1,
            before: before.map(|(_, release)| release.to_string()),
            ..RowResult::default()
        };
        let profile = booted.as_ref().map(|booted| {
            result.set_booted(booted);
            probe::of_names(&booted.behaviours)
        });
        if let Some(profile) = &profile {
            ctx.probed.found(index, profile);
        }
        let mut row = Row {
            index,
            source,
            next_block: AtomicU64::new(0),
            corpus_blocks,
            blocks,
            total: None,
            done,
            earlier_seconds: standing.seconds,
            lanes,
            lanes_left: AtomicUsize::new(lanes),
            state: Mutex::new(State {
                result,
                standing,
                booted,
                started: None,
                ended: None,
                profile,
                shown: BTreeSet::new(),
            }),
            full: AtomicBool::new(false),
            before: before.map(|(row, _)| row),
        };
        row.total = blocks.map(|blocks| {
            let all = (0..blocks).map(|n| row.block(n));
            let mine = all.filter(|block| row.is_mine(ctx.settings, *block));
            mine.map(|block| count(ctx.settings, block)).sum()
        });
        row
    }

    /// Block number `n` of the row.
    fn block(&self, n: u64) -> Block {
        match n.checked_sub(self.corpus_blocks) {
            None => Block::Corpus(n),
            Some(generated) => Block::Generated(generated),
        }
    }

    /// Whether a block is in this machine's share.
    fn is_mine(&self, settings: &Settings, block: Block) -> bool {
        let (label, arch) = (self.source.label(), self.source.arch());
        let has = |shard: super::Shard| shard.has(label, arch, block, settings.seed);
        settings.part.shard.is_none_or(has)
    }

    /// Whether anything is left to run.
    pub fn has_work(&self, settings: &Settings) -> bool {
        let left = |n| {
            let block = self.block(n);
            self.is_mine(settings, block) && !self.done.contains(&block)
        };
        self.blocks.is_none_or(|blocks| (0..blocks).any(left))
    }

    /// Whether the kernel's profile is known without booting it.
    pub fn is_probed(&self) -> bool {
        lock(&self.state).profile.is_some()
    }

    /// The row of the kernel that this one waits for to compare itself with.
    pub fn waits_for(&self) -> Option<usize> {
        self.before.filter(|&row| row < self.index)
    }

    /// Lanes that work on it.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Gives it so many lanes, before any of them runs.
    pub fn set_lanes(&mut self, lanes: usize) {
        self.lanes = lanes;
        self.lanes_left = AtomicUsize::new(lanes);
    }

    /// Time that it has used up before, as far as its blocks say.
    pub fn spent(&self) -> Duration {
        Duration::try_from_secs_f64(self.earlier_seconds).unwrap_or_default()
    }

    /// Label and architecture, for the names of consoles.
    pub fn name(&self) -> String {
        format!("{}-{}", self.source.label(), self.source.arch())
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
            fail_nth: false,
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
                self.lost(ctx, error.to_string());
                return None;
            }
        };
        let profile = match self.profile(ctx, kernel.as_mut()) {
            Ok(profile) => profile,
            Err(why) => {
                self.lost(ctx, why);
                return None;
            }
        };
        let info = kernel.info().clone();
        let mut state = lock(&self.state);
        if state.booted.is_none() {
            let booted = Booted {
                release: info.release.clone(),
                build: info.build.clone(),
                page_size: info.geometry.page_size,
                accel: info.accel.clone(),
                boot_seconds: info.boot_seconds,
                behaviours: probe::names(&profile),
            };
            state.result.set_booted(&booted);
            ctx.wrote(ctx.sink.booted(&state.result, &booted));
            state.booted = Some(booted);
        }
        drop(state);
        ctx.listener.event(&Progress::Booted {
            row: self.index,
            info: &info,
        });
        Some((kernel, profile))
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
        loop {
            if self.full.load(Ordering::Relaxed) {
                return None;
            }
            let n = self.next_block.fetch_add(1, Ordering::Relaxed);
            if self.blocks.is_some_and(|blocks| n >= blocks) {
                return None;
            }
            let block = self.block(n);
            if self.done.contains(&block) || !self.is_mine(ctx.settings, block) {
                continue;
            }
            return match block {
                Block::Corpus(n) => Some(self.corpus_block(ctx, n, profile, info)),
                // Before the programs are made: the deadline is over for good.
                Block::Generated(_) if deadline.is_some_and(|at| Instant::now() >= at) => None,
                Block::Generated(n) => Some(self.generated_block(ctx, n)),
            };
        }
    }

    fn generated_block(&self, ctx: &Context<'_>, n: u64) -> Batch {
        let block = Block::Generated(n);
        let programs = ctx.feed.block(n);
        let mut works: Vec<Work> = (0..count(ctx.settings, block))
            .map(|index| Work {
                prepared: Prepared {
                    id: ctx.next_id(),
                    program: programs[index as usize].clone(),
                    smaps: smaps::GENERATED,
                    fault: self.source.guest_fault(),
                },
                name: format!("{}/{n}/{index}", ctx.settings.seed),
                place: Place { block, index },
                origin: Origin::Planned,
                losses: 0,
            })
            .collect();
        // Changing a system-wide setting costs more than a program; programs of a block do not depend on each other.
        works.sort_by_key(|work| work.prepared.program.knobs);
        Batch {
            works: works.into(),
            begun: Some((
                block,
                BlockResult {
                    programs_digest: programs.digest.clone(),
                    ..BlockResult::default()
                },
            )),
        }
    }

    fn corpus_block(
        &self,
        ctx: &Context<'_>,
        n: u64,
        profile: &Profile,
        info: &KernelInfo,
    ) -> Batch {
        let block = Block::Corpus(n);
        let from = (n * BLOCK) as usize;
        let entries = &ctx.settings.corpus[from..from + count(ctx.settings, block) as usize];
        let mut works = VecDeque::new();
        let mut result = BlockResult {
            programs_digest: Programs::digest_of(entries.iter().map(|entry| &entry.program)),
            ..BlockResult::default()
        };
        for (index, entry) in (0..).zip(entries) {
            let (program, lacking) = needs::suited(&entry.program, profile, info);
            result.tally.skipped += u64::from(lacking.is_some());
            works.push_back(Work {
                prepared: Prepared {
                    id: ctx.next_id(),
                    program,
                    smaps: smaps::CORPUS,
                    fault: self.source.guest_fault(),
                },
                name: entry.name.clone(),
                place: Place { block, index },
                origin: Origin::Planned,
                losses: 0,
            });
        }
        Batch {
            works,
            begun: Some((block, result)),
        }
    }

    /// Books a block whose programs and re-runs are all through; its record goes to the sink.
    pub fn done(&self, ctx: &Context<'_>, block: Block, result: &BlockResult) {
        let mut state = lock(&self.state);
        state.standing.add(result);
        state.ended = Some(Instant::now());
        let wrote = ctx.sink.block(&state.result, block, result);
        let total = *state.standing.tally();
        drop(state);
        ctx.wrote(wrote);
        ctx.listener.event(&Progress::Programs {
            row: self.index,
            tally: &total,
            total: self.total,
        });
    }

    /// Books what a block that is not through came to so far: it counts for this run's tables. It has no record, so that it is
    /// run again when the campaign is resumed.
    pub fn cut_off(&self, result: &BlockResult) {
        lock(&self.state).standing.add(result);
    }

    /// Programs of the campaign before those of a block.
    pub fn programs_before(&self, ctx: &Context<'_>, block: Block) -> u64 {
        match block {
            Block::Corpus(n) => n * BLOCK,
            Block::Generated(n) => ctx.settings.corpus.len() as u64 + n * BLOCK,
        }
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

    /// Books a failure of the infrastructure that is no program's.
    pub fn lost(&self, ctx: &Context<'_>, why: String) {
        ctx.listener.event(&Progress::Error {
            row: self.index,
            text: &why,
        });
        let mut state = lock(&self.state);
        ctx.wrote(ctx.sink.lost(&state.result, &why));
        state.standing.lost(why);
    }

    /// Tells those who look on that the infrastructure failed a program; it is booked with its block.
    pub fn error(&self, ctx: &Context<'_>, text: &str) {
        ctx.listener.event(&Progress::Error {
            row: self.index,
            text,
        });
    }

    /// Says that the row cannot go on.
    pub fn gave_up(&self, ctx: &Context<'_>, text: String) {
        self.error(ctx, &text);
        lock(&self.state).standing.error(text);
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

    /// Whether a program with a new suspect is to be re-run: it is one of the first examples of its bucket.
    pub fn is_example(&self, ctx: &Context<'_>, bucket: &Bucket, place: Place) -> bool {
        if ctx.settings.stop_at_first {
            self.full.store(true, Ordering::Relaxed);
        }
        lock(&self.state).standing.example(bucket, place)
    }

    /// Whether the row ends early: it has met a suspect, and one is all that is wanted.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Hands a suspect with its re-runs to the sink; what its block keeps of it.
    pub fn report(&self, ctx: &Context<'_>, info: &KernelInfo, confirm: &Confirm) -> Suspect {
        let (story, hits) = confirm.story();
        let work = &confirm.subject.work;
        let reported = self.reported(ctx, info, work, story, (hits, confirm.runs));
        ctx.wrote(ctx.sink.reported(&reported));
        ctx.listener.event(&Progress::Reported(&reported));
        reported.suspect()
    }

    /// Hands a known finding that was met to the sink, the first time.
    pub fn known_met(
        &self,
        ctx: &Context<'_>,
        info: &KernelInfo,
        finding: &Finding,
        work: &Work,
        story: &Story,
    ) {
        if !lock(&self.state).shown.insert(finding.id.clone()) {
            return;
        }
        let met = self.reported(ctx, info, work, story, (1, 1));
        ctx.wrote(ctx.sink.known(finding, &met));
    }

    fn reported(
        &self,
        ctx: &Context<'_>,
        info: &KernelInfo,
        work: &Work,
        story: &Story,
        (hits, runs): (u32, u32),
    ) -> Reported {
        let program = &work.prepared.program;
        Reported {
            id: divergence_id(&story.bucket, &program.to_string()),
            kernel: info.clone(),
            options: self.source.options(),
            by: ctx.settings.by.clone(),
            program_name: work.name.clone(),
            place: work.place,
            program: program.clone(),
            story: story.clone(),
            hits,
            runs,
        }
    }

    /// Called by each lane at its end; the last one closes the row.
    pub fn lane_done(&self, ctx: &Context<'_>) {
        if self.lanes_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close(ctx);
        }
    }

    /// Writes down what the row came to.
    pub fn close(&self, ctx: &Context<'_>) {
        ctx.probed.over(self.index);
        let result = lock(&self.state).result(self.earlier_seconds);
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
}

/// Programs of a block.
fn count(settings: &Settings, block: Block) -> u64 {
    let left = |programs: u64, n: u64| programs.saturating_sub(n * BLOCK).min(BLOCK);
    match (block, settings.amount) {
        (Block::Corpus(n), _) => left(settings.corpus.len() as u64, n),
        (Block::Generated(n), Amount::Programs(programs)) => left(programs, n),
        (Block::Generated(_), Amount::Time(_)) => BLOCK,
    }
}
