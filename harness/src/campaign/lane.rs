//! One VM's loop: keep batches in flight, judge what comes back, replace what dies.

use super::confirm::{Confirm, Subject};
use super::judge::{judge, outlived, Judged, ProgramVerdict};
use super::row::Row;
use super::run::{Context, Notice};
use super::story::{death_story, Story};
use super::{differences, needs, Block, BlockResult, Difference, Met, Place, Tally};
use crate::kernel::{Event, Execution, Kernel, KernelError, KernelInfo, Prepared};
use oracle::judge::ByOp;
use oracle::profile::Profile;
use oracle::rules::RuleSet;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Batches in flight: one runs, one waits behind it, so the guest never waits for the host.
const DEPTH: usize = 3;

/// A lane gives up after so many dead VMs: each costs a boot.
const MOST_DEATHS: usize = 30;

/// VMs that may be lost while one program runs, for no known reason, until it is set aside: two may be accidents of a machine that has
/// many, and a third costs one more boot.
const LOSSES: u32 = 3;

/// Why a program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From the corpus or generated; counted.
    Planned,
    /// A re-run for the suspect of this number.
    Rerun(u64),
}

/// A program on its way through a lane.
#[derive(Debug, Clone)]
pub struct Work {
    pub prepared: Prepared,
    /// File name or `seed/block/index`.
    pub name: String,
    pub place: Place,
    pub origin: Origin,
    /// VMs that were lost, for no known reason, while it ran.
    pub losses: u32,
}

/// A batch that waits.
pub struct Batch {
    pub works: VecDeque<Work>,
    /// The block that begins with it; `None` for re-runs and what is run again after a crash.
    pub begun: Option<(Block, BlockResult)>,
}

/// A block that is not through.
struct Open {
    result: BlockResult,
    /// Programs that have not come to a verdict, and suspects that are being re-run.
    left: usize,
    /// Programs that have.
    through: u64,
}

/// One VM after another, for one kernel.
pub struct Lane<'a> {
    ctx: &'a Context<'a>,
    row: &'a Row<'a>,
    name: String,
    kernel: Option<Box<dyn Kernel>>,
    info: KernelInfo,
    profile: Profile,
    /// The profile of the kernel that this one is compared with.
    before: Option<Profile>,
    queue: VecDeque<Batch>,
    /// Batches in flight.
    flights: VecDeque<VecDeque<Work>>,
    open: BTreeMap<Block, Open>,
    /// When the last block was through: the time since then is the next one's.
    since: Instant,
    confirms: BTreeMap<u64, Confirm>,
    next_suspect: u64,
    boots: usize,
    deadline: Option<Instant>,
}

impl<'a> Lane<'a> {
    /// A lane that takes no more new programs after `deadline`.
    pub fn new(
        ctx: &'a Context<'a>,
        row: &'a Row<'a>,
        name: String,
        deadline: Option<Instant>,
    ) -> Lane<'a> {
        Lane {
            ctx,
            row,
            name,
            kernel: None,
            info: row.expected_info(),
            profile: Profile::newest(),
            before: None,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            open: BTreeMap::new(),
            since: Instant::now(),
            confirms: BTreeMap::new(),
            next_suspect: 0,
            boots: 0,
            deadline,
        }
    }

    /// Runs until the row has no more work, time is up, or the user stops the campaign.
    pub fn run(&mut self) {
        if !self.boot() {
            return;
        }
        self.row.start();
        self.since = Instant::now();
        while self.kernel.is_some() {
            while self.flights.len() < DEPTH {
                let Some(batch) = self.next_batch() else {
                    break;
                };
                let prepared: Vec<Prepared> =
                    batch.works.iter().map(|w| w.prepared.clone()).collect();
                if let Some((block, result)) = batch.begun {
                    let open = Open {
                        result,
                        left: batch.works.len(),
                        through: 0,
                    };
                    self.open.insert(block, open);
                }
                self.flights.push_back(batch.works);
                let submitted = self.kernel.as_mut().map(|k| k.submit(&prepared));
                if let Some(Err(error)) = submitted {
                    self.died(error);
                    break;
                }
            }
            let Some(kernel) = self.kernel.as_mut() else {
                break;
            };
            if self.flights.is_empty() {
                if self.queue.is_empty() {
                    break;
                }
                continue;
            }
            match kernel.next() {
                Ok(Event::Execution(execution)) => self.execution(execution),
                Ok(Event::BatchDone { .. }) => self.batch_done(),
                Err(error) => self.died(error),
            }
            if self.ctx.stopped() || (self.row.is_full() && self.confirms.is_empty()) {
                break;
            }
        }
        self.row.stop();
        self.finish();
    }

    /// The next batch to submit: what waits, else a new block of the row.
    fn next_batch(&mut self) -> Option<Batch> {
        if self.ctx.stopped() {
            return None;
        }
        if let Some(batch) = self.queue.pop_front() {
            return Some(batch);
        }
        loop {
            let batch = self
                .row
                .next_block(self.ctx, self.deadline, &self.profile, &self.info)?;
            if !batch.works.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Boots a kernel; on failure says so in the row and returns false.
    fn boot(&mut self) -> bool {
        self.boots += 1;
        let name = format!("{}-{}", self.name, self.boots);
        match self.row.boot(self.ctx, &name) {
            Some((kernel, profile)) => {
                self.info = kernel.info().clone();
                self.profile = profile;
                self.before = self.row.before(self.ctx, &self.info);
                self.kernel = Some(kernel);
                true
            }
            None => {
                self.kernel = None;
                false
            }
        }
    }

    fn execution(&mut self, execution: Execution) {
        let Some(work) = self.flights.front_mut().and_then(VecDeque::pop_front) else {
            return self.died(strange(format!(
                "program {:#x} came back, but nothing is in flight",
                execution.id
            )));
        };
        if work.prepared.id != execution.id {
            let what = format!(
                "program {:#x} came back instead of {:#x}",
                execution.id, work.prepared.id
            );
            if let Some(flight) = self.flights.front_mut() {
                flight.push_front(work);
            }
            return self.died(strange(what));
        }
        let judge = match self.ctx.settings.notice {
            Notice::All => judge,
            Notice::Crashes => outlived,
        };
        let judged = self.ctx.judging.charge(|| {
            judge(
                &work.prepared.program,
                &execution,
                &self.profile,
                self.info.geometry,
            )
        });
        if work.origin == Origin::Planned {
            let differs = match judged.verdict {
                ProgramVerdict::Fine => self.compare(&work, &execution),
                _ => Vec::new(),
            };
            if let Some(open) = self.open.get_mut(&work.place.block) {
                open.result.observed(work.place.index, &execution);
                for change in differs {
                    let met = Met::once(work.place, &work.name);
                    open.result.differs(change, met);
                }
            }
        }
        self.judged(work, judged);
    }

    /// What an execution that the rules explain shows of the kernel before this one.
    fn compare(&self, work: &Work, execution: &Execution) -> Vec<Difference> {
        let Some(before) = &self.before else {
            return Vec::new();
        };
        let program = &work.prepared.program;
        let (profile, geometry) = (&self.profile, self.info.geometry);
        self.ctx
            .judging
            .charge(|| differences(program, execution, before, profile, geometry))
    }

    /// Books what became of a program.
    fn judged(&mut self, work: Work, judged: Judged) {
        if let Origin::Rerun(suspect) = work.origin {
            return self.rerun_done(suspect, judged.verdict);
        }
        let block = work.place.block;
        let Some(open) = self.open.get_mut(&block) else {
            return;
        };
        open.through += 1;
        let through = self.row.programs_before(self.ctx, block) + open.through;
        let result = &mut open.result;
        result.tally += judged.tally;
        result.rules.merge(&judged.rules);
        result.by_op += &judged.by_op;
        match judged.verdict {
            ProgramVerdict::Fine => {
                let program = &work.prepared.program;
                let is_whole = || needs::lacks(program, &self.profile, &self.info).is_none();
                if matches!(block, Block::Corpus(_)) && is_whole() {
                    for finding in self.ctx.settings.known.shown_by(program) {
                        result.held(&finding.id);
                    }
                }
            }
            ProgramVerdict::Poisoned => {}
            ProgramVerdict::Infra(why) => {
                let why = format!("{}: {why}", work.name);
                self.row.error(self.ctx, &why);
                result.infra(why);
            }
            ProgramVerdict::Suspect(story) => {
                let known = self.row.known(self.ctx, &story.bucket, &self.profile);
                match known {
                    Some(finding) => {
                        result.known(&finding.id);
                        self.row
                            .known_met(self.ctx, &self.info, &finding, &work, &story);
                    }
                    None => {
                        result.suspect(story.kind, &story.bucket, work.place, &work.name, through);
                        self.suspect(work, *story);
                    }
                }
            }
        }
        self.less_to_do(block);
    }

    /// Has a suspect re-run, unless there are examples enough.
    fn suspect(&mut self, work: Work, story: Story) {
        let (bucket, place) = (&story.bucket, work.place);
        if !self.row.is_example(self.ctx, bucket, place) {
            return;
        }
        let number = self.next_suspect;
        self.next_suspect += 1;
        let confirm = Confirm::new(Subject { work, story }, self.ctx.reruns(&self.kernel));
        let works = confirm.works(number, self.ctx);
        if let Some(open) = self.open.get_mut(&place.block) {
            open.left += 1;
        }
        if works.is_empty() {
            self.report(confirm);
            return;
        }
        self.confirms.insert(number, confirm);
        self.queue.push_front(Batch { works, begun: None });
    }

    /// A program or a suspect of a block is through.
    fn less_to_do(&mut self, block: Block) {
        let Some(open) = self.open.get_mut(&block) else {
            return;
        };
        open.left -= 1;
        if open.left > 0 {
            return;
        }
        if let Some(mut open) = self.open.remove(&block) {
            open.result.seconds = self.since.elapsed().as_secs_f64() / self.row.lanes() as f64;
            self.since = Instant::now();
            self.row.done(self.ctx, block, &open.result);
        }
    }

    fn rerun_done(&mut self, suspect: u64, verdict: ProgramVerdict) {
        let Some(confirm) = self.confirms.get_mut(&suspect) else {
            return;
        };
        confirm.add(verdict);
        if confirm.is_done() {
            if let Some(confirm) = self.confirms.remove(&suspect) {
                self.report(confirm);
            }
        }
    }

    fn report(&mut self, confirm: Confirm) {
        let suspect = self.row.report(self.ctx, &self.info, &confirm);
        let block = suspect.place.block;
        if let Some(open) = self.open.get_mut(&block) {
            open.result.suspects.push(suspect);
        }
        self.less_to_do(block);
    }

    fn batch_done(&mut self) {
        let Some(flight) = self.flights.pop_front() else {
            return self.died(strange("a batch ended that was never begun".into()));
        };
        if let Some(work) = flight.front() {
            let what = format!(
                "the batch ended, but program {:#x} never came back",
                work.prepared.id
            );
            self.flights.push_front(flight);
            self.died(strange(what));
        }
    }

    /// The kernel is dead: says which program did it, boots another, and runs again what had not come back.
    fn died(&mut self, error: KernelError) {
        self.kernel = None;
        if self.ctx.stopped() {
            // Ctrl-C reaches QEMU, too.
            return;
        }
        let flights = std::mem::take(&mut self.flights);
        let mut pending: VecDeque<Work> = flights.into_iter().flatten().collect();
        let at = match &error {
            KernelError::Crash { at, .. } => *at,
            KernelError::LockedUp { at, .. } => Some(*at),
            KernelError::Lost { .. } => None,
        };
        // What the guest was running when it died; without word of it, what it should have answered next.
        let culprit = at
            .and_then(|(id, _)| pending.iter().position(|w| w.prepared.id == id))
            .unwrap_or(0);
        let is_lost = matches!(error, KernelError::Lost { .. });
        match (is_lost, pending.remove(culprit)) {
            (false, Some(work)) => {
                let program = &work.prepared.program;
                let story = death_story(&error, program, &self.profile, self.info.geometry);
                let verdict = match story {
                    Some(story) => ProgramVerdict::Suspect(Box::new(story)),
                    None => ProgramVerdict::Infra(error.to_string()),
                };
                let mut by_op = ByOp::default();
                by_op.add_unseen(&work.prepared.program.steps, 1);
                let tally = Tally {
                    programs: 1,
                    tightness: by_op.total(),
                    ..Tally::default()
                };
                self.judged(
                    work,
                    Judged {
                        tally,
                        rules: RuleSet::EMPTY,
                        by_op,
                        verdict,
                    },
                );
            }
            (_, work) => {
                self.row.lost(self.ctx, format!("{}: {error}", self.name));
                if let Some(mut work) = work {
                    work.losses += 1;
                    if work.losses < LOSSES {
                        pending.insert(culprit.min(pending.len()), work);
                    } else {
                        self.set_aside(work, error.to_string());
                    }
                }
            }
        }
        if !pending.is_empty() {
            self.queue.push_front(Batch {
                works: pending,
                begun: None,
            });
        }
        if self.boots > MOST_DEATHS {
            let text = format!("{}: gave up after {} dead VMs", self.name, self.boots);
            return self.row.gave_up(self.ctx, text);
        }
        self.boot();
    }

    /// Gives up on a program that nothing can be told of.
    fn set_aside(&mut self, work: Work, why: String) {
        let tally = Tally {
            programs: 1,
            ..Tally::default()
        };
        let judged = Judged {
            tally,
            rules: RuleSet::EMPTY,
            by_op: ByOp::default(),
            verdict: ProgramVerdict::Infra(why),
        };
        self.judged(work, judged);
    }

    /// What was in flight when the lane ended is not counted; suspects whose re-runs are not through are reported with
    /// the runs that they had. The record of a block is written only when all of it is through.
    fn finish(&mut self) {
        for (_, confirm) in std::mem::take(&mut self.confirms) {
            let suspect = self.row.report(self.ctx, &self.info, &confirm);
            if let Some(open) = self.open.get_mut(&suspect.place.block) {
                open.result.suspects.push(suspect);
            }
        }
        for open in std::mem::take(&mut self.open).into_values() {
            self.row.cut_off(&open.result);
        }
        self.kernel = None;
    }
}

fn strange(why: String) -> KernelError {
    KernelError::Lost {
        why,
        console: String::new(),
    }
}
