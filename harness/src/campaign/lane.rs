//! One VM's loop: keep batches in flight, judge what comes back, replace what dies.

use super::confirm::{Confirm, Subject};
use super::judge::{judge, Judged, ProgramVerdict};
use super::row::Row;
use super::run::Context;
use super::story::{crash_story, Kind, Story};
use super::{differences, Tally};
use crate::kernel::{Event, Execution, Kernel, KernelError, KernelInfo, Prepared};
use oracle::judge::{ByOp, Class};
use oracle::profile::Profile;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Batches in flight: one runs, one waits behind it, so the guest never waits for the host.
const DEPTH: usize = 3;

/// A lane gives up after so many dead VMs: each costs a boot.
const MOST_DEATHS: usize = 20;

/// Reports of the same bucket on one kernel; further ones are counted, not re-run.
const EXAMPLES: u64 = 3;

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
    pub origin: Origin,
    /// VMs that were lost, for no known reason, while it ran.
    pub losses: u32,
}

/// A batch in flight.
struct Flight {
    works: VecDeque<Work>,
    /// The block it belongs to; `None` for re-runs and what is run again after a crash.
    block: Option<String>,
    tally: Tally,
}

/// A batch that waits.
pub struct Batch {
    pub works: VecDeque<Work>,
    pub block: Option<String>,
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
    flights: VecDeque<Flight>,
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
        while self.kernel.is_some() {
            while self.flights.len() < DEPTH {
                let Some(batch) = self.next_batch() else {
                    break;
                };
                let prepared: Vec<Prepared> =
                    batch.works.iter().map(|w| w.prepared.clone()).collect();
                self.flights.push_back(Flight {
                    works: batch.works,
                    block: batch.block,
                    tally: Tally::default(),
                });
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
        let Some(work) = self
            .flights
            .front_mut()
            .and_then(|flight| flight.works.pop_front())
        else {
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
                flight.works.push_front(work);
            }
            return self.died(strange(what));
        }
        let judged = self.ctx.judging.charge(|| {
            judge(
                &work.prepared.program,
                &execution,
                &self.profile,
                self.info.geometry,
            )
        });
        if matches!(judged.verdict, ProgramVerdict::Fine) && matches!(work.origin, Origin::Planned)
        {
            self.compare(&work, &execution);
        }
        self.judged(work, judged);
    }

    /// Books what an execution that the rules explain shows of the kernel before this one.
    fn compare(&self, work: &Work, execution: &Execution) {
        let Some(before) = &self.before else {
            return;
        };
        let program = &work.prepared.program;
        let found = self.ctx.judging.charge(|| {
            differences(
                program,
                execution,
                before,
                &self.profile,
                self.info.geometry,
            )
        });
        if !found.is_empty() {
            self.row.differs(found, &work.name);
        }
    }

    /// Books what became of a program.
    fn judged(&mut self, work: Work, judged: Judged) {
        if let Origin::Rerun(suspect) = work.origin {
            return self.rerun_done(suspect, judged.verdict);
        }
        let mut tally = judged.tally;
        self.row.exercised(&judged);
        match judged.verdict {
            ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
            ProgramVerdict::Infra(why) => {
                tally.infra_errors += 1;
                self.row.error(self.ctx, format!("{}: {why}", work.name));
            }
            ProgramVerdict::Suspect(story) => self.suspect(work, *story, &mut tally),
        }
        match self.flights.front_mut() {
            Some(flight) => flight.tally += tally,
            None => self.row.add(self.ctx, None, tally),
        }
    }

    /// Counts a suspect and has it re-run, unless a known finding explains it or there are examples enough.
    fn suspect(&mut self, work: Work, story: Story, tally: &mut Tally) {
        let bucket = story.bucket.clone();
        if let Some(finding) = self.row.known(self.ctx, &bucket, &self.profile) {
            tally.known += 1;
            self.row.met(&finding);
            return;
        }
        match story.kind {
            Kind::Divergence => tally.divergences += 1,
            Kind::Hang => tally.hangs += 1,
            Kind::Crash => tally.crashes += 1,
        }
        if self.row.examples(self.ctx, &bucket, &work.name) > EXAMPLES {
            return;
        }
        let number = self.next_suspect;
        self.next_suspect += 1;
        let confirm = Confirm::new(Subject { work, story }, self.ctx.reruns(&self.kernel));
        let works = confirm.works(number, self.ctx);
        if works.is_empty() {
            self.report(confirm);
            return;
        }
        self.confirms.insert(number, confirm);
        self.queue.push_front(Batch { works, block: None });
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

    fn report(&self, confirm: Confirm) {
        self.row.report(self.ctx, &self.info, &confirm);
    }

    fn batch_done(&mut self) {
        let Some(flight) = self.flights.pop_front() else {
            return self.died(strange("a batch ended that was never begun".into()));
        };
        if let Some(work) = flight.works.front() {
            let what = format!(
                "the batch ended, but program {:#x} never came back",
                work.prepared.id
            );
            self.flights.push_front(flight);
            return self.died(strange(what));
        }
        self.row
            .add(self.ctx, flight.block.as_deref(), flight.tally);
    }

    /// The kernel is dead: says which program did it, boots another, and runs again what had not come back.
    fn died(&mut self, error: KernelError) {
        self.kernel = None;
        if self.ctx.stopped() {
            // Ctrl-C reaches QEMU, too.
            return;
        }
        let mut pending: VecDeque<Work> = VecDeque::new();
        for flight in std::mem::take(&mut self.flights) {
            pending.extend(flight.works);
            self.row.add(self.ctx, None, flight.tally);
        }
        let (class, at, what, console) = match &error {
            KernelError::Crash { kind, excerpt, at } => {
                (Some(Class::Crash), *at, kind.clone(), excerpt.clone())
            }
            KernelError::LockedUp { at, why, console } => {
                (Some(Class::Hang), Some(*at), why.clone(), console.clone())
            }
            KernelError::Lost { console, .. } => (None, None, String::new(), console.clone()),
        };
        // What the guest was running when it died; without word of it, what it should have answered next.
        let culprit = at
            .and_then(|(id, _)| pending.iter().position(|w| w.prepared.id == id))
            .unwrap_or(0);
        match (class, pending.remove(culprit)) {
            (Some(class), Some(work)) => {
                let at = at.map_or(0, |(_, step)| step as usize);
                let at = at.min(work.prepared.program.steps.len().saturating_sub(1));
                let story = crash_story(
                    &work.prepared.program,
                    at,
                    &self.profile,
                    self.info.geometry,
                    class,
                    &what,
                    console,
                );
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
                        rules: oracle::rules::RuleSet::EMPTY,
                        by_op,
                        verdict,
                    },
                );
            }
            (_, work) => {
                self.row.error(self.ctx, format!("{}: {error}", self.name));
                let mut tally = Tally {
                    infra_errors: 1,
                    ..Tally::default()
                };
                if let Some(mut work) = work {
                    work.losses += 1;
                    // Once may be an accident; a program that loses its VM twice is set aside.
                    if work.losses < 2 {
                        pending.insert(culprit.min(pending.len()), work);
                    } else if let Origin::Rerun(suspect) = work.origin {
                        self.rerun_done(suspect, ProgramVerdict::Infra(error.to_string()));
                    } else {
                        tally.programs += 1;
                        tally.infra_errors += 1;
                    }
                }
                self.row.add(self.ctx, None, tally);
            }
        }
        if !pending.is_empty() {
            self.queue.push_front(Batch {
                works: pending,
                block: None,
            });
        }
        if self.boots > MOST_DEATHS {
            self.row.error(
                self.ctx,
                format!("{}: gave up after {} dead VMs", self.name, self.boots),
            );
            return;
        }
        self.boot();
    }

    /// What was in flight when the lane ended is not counted; suspects whose re-runs are not through are reported with
    /// the runs that they had.
    fn finish(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.row.add(self.ctx, None, flight.tally);
        }
        for (_, confirm) in std::mem::take(&mut self.confirms) {
            self.row.report(self.ctx, &self.info, &confirm);
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
