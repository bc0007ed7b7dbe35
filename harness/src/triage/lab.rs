//! Runs candidates in batches on a kernel that may die.

use super::{Ended, Limits, Listener, Progress, Settings};
use crate::campaign::{death_story, judge, ProgramVerdict};
use crate::kernel::{
    probe, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Prepared, Repeat, Smaps,
};
use crate::race::judge_raced;
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Programs in a batch.
pub const BATCH: usize = 32;

/// Batches in flight: while one is judged, the next one runs. Batches of one program run one after the other.
const DEPTH: usize = 2;

/// What to do after a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    /// The rest need not run.
    Enough,
}

/// A kernel, booted anew when it died, and the counts.
pub struct Lab<'a, 'l> {
    source: &'a dyn KernelSource,
    settings: &'a Settings,
    stop: &'a AtomicBool,
    pub listener: &'a mut Listener<'l>,
    kernel: Option<Box<dyn Kernel>>,
    pub info: KernelInfo,
    pub profile: Profile,
    next_id: u64,
    pub executions: u64,
    pub boots: u32,
    started: Instant,
    booting: Duration,
    /// Limits do not count any more.
    unlimited: bool,
}

/// A program on its way: its place in the caller's list, and how often a VM vanished while it ran.
struct Waiting {
    index: usize,
    prepared: Prepared,
    losses: u32,
}

impl<'a, 'l> Lab<'a, 'l> {
    /// Boots a kernel and finds its profile.
    ///
    /// # Errors
    /// The text of what failed.
    pub fn open(
        source: &'a dyn KernelSource,
        settings: &'a Settings,
        stop: &'a AtomicBool,
        listener: &'a mut Listener<'l>,
    ) -> Result<Lab<'a, 'l>, String> {
        let started = Instant::now();
        let mut kernel = source.boot("minimize-1").map_err(|e| e.to_string())?;
        let info = kernel.info().clone();
        let profile = probe::profile(kernel.as_mut(), &settings.by)
            .map_err(|e| format!("while probing: {e}"))?;
        Ok(Lab {
            source,
            settings,
            stop,
            listener,
            kernel: Some(kernel),
            info,
            profile,
            next_id: 1,
            executions: 0,
            boots: 1,
            started,
            booting: started.elapsed(),
            unlimited: false,
        })
    }

    /// Seconds since the start, boots apart.
    pub fn seconds(&self) -> f64 {
        self.started
            .elapsed()
            .saturating_sub(self.booting)
            .as_secs_f64()
    }

    /// What was run until now does not count as time.
    pub fn start_clock(&mut self) {
        self.started = Instant::now();
        self.booting = Duration::ZERO;
    }

    /// Why nothing more may be run.
    fn over(&self) -> Option<Ended> {
        let Limits {
            executions, time, ..
        } = self.settings.limits;
        if self.stop.load(Ordering::Relaxed) {
            Some(Ended::Interrupted)
        } else if self.unlimited {
            None
        } else if self.executions >= executions {
            Some(Ended::Executions)
        } else if self.seconds() >= time.as_secs_f64() {
            Some(Ended::Time)
        } else {
            None
        }
    }

    /// Runs each program once, in order, `batch` at a time, and hands each verdict to `take`.
    ///
    /// # Errors
    /// Why not all were run: a limit, the user, or no kernel.
    pub fn run(
        &mut self,
        programs: &[Arc<Program>],
        batch: usize,
        take: &mut dyn FnMut(usize, ProgramVerdict) -> Go,
    ) -> Result<(), Ended> {
        let mut queue: VecDeque<Waiting> = programs
            .iter()
            .enumerate()
            .map(|(index, program)| Waiting {
                index,
                prepared: self.prepare(program),
                losses: 0,
            })
            .collect();
        let mut flights: VecDeque<VecDeque<Waiting>> = VecDeque::new();
        let depth = if batch > 1 { DEPTH } else { 1 };
        let mut go = Go::On;
        let mut over = None;
        loop {
            while flights.len() < depth && !queue.is_empty() && go == Go::On && over.is_none() {
                over = self.over();
                if over.is_some() {
                    break;
                }
                if let Err(ended) = self.boot() {
                    over = Some(ended);
                    break;
                }
                let flight: VecDeque<Waiting> = queue.drain(..batch.min(queue.len())).collect();
                let prepared: Vec<Prepared> = flight.iter().map(|w| w.prepared.clone()).collect();
                flights.push_back(flight);
                let submitted = self.kernel.as_mut().map(|kernel| kernel.submit(&prepared));
                if let Some(Err(error)) = submitted {
                    self.died(&error, &mut flights, &mut queue, &mut |i, v| {
                        go = merge(go, take(i, v));
                    });
                }
            }
            if flights.is_empty() {
                return match over {
                    Some(ended) => Err(ended),
                    None if go == Go::Enough || queue.is_empty() => Ok(()),
                    None => continue,
                };
            }
            let Some(kernel) = self.kernel.as_mut() else {
                flights.clear();
                continue;
            };
            let error = match kernel.next() {
                Ok(Event::Execution(execution)) => {
                    match front(&mut flights, &execution) {
                        Some(waiting) => {
                            self.executions += 1;
                            let judged = judge(
                                &waiting.prepared.program,
                                &execution,
                                &self.profile,
                                self.info.geometry,
                            );
                            // What comes back after enough was found is of no use: it was in flight already.
                            if go == Go::On {
                                go = take(waiting.index, judged.verdict);
                            }
                            continue;
                        }
                        None => strange("a program came back that was not in flight"),
                    }
                }
                Ok(Event::BatchDone { .. }) => {
                    if flights.front().is_some_and(VecDeque::is_empty) {
                        flights.pop_front();
                        continue;
                    }
                    strange("a batch ended before all its programs had come back")
                }
                Err(error) => error,
            };
            self.died(&error, &mut flights, &mut queue, &mut |i, v| {
                if go == Go::On {
                    go = take(i, v);
                }
            });
        }
    }

    /// Runs each program, in which threads run at once, the given number of times, and hands over each verdict as often as it was met.
    /// Another kernel is booted when one dies.
    ///
    /// # Errors
    /// As [`Lab::run`].
    pub fn race(
        &mut self,
        programs: &[(Arc<Program>, Repeat)],
        take: &mut dyn FnMut(usize, &ProgramVerdict, u32) -> Go,
    ) -> Result<(), Ended> {
        for (index, (program, repeat)) in programs.iter().enumerate() {
            if let Some(ended) = self.over() {
                return Err(ended);
            }
            if self.race_one(program, *repeat, &mut |verdict, times| {
                take(index, verdict, times)
            })? == Go::Enough
            {
                break;
            }
        }
        Ok(())
    }

    fn race_one(
        &mut self,
        program: &Arc<Program>,
        repeat: Repeat,
        take: &mut dyn FnMut(&ProgramVerdict, u32) -> Go,
    ) -> Result<Go, Ended> {
        // A VM that vanishes once may be an accident.
        for _ in 0..2 {
            self.boot()?;
            let mut prepared = self.prepare(program);
            // As `cargo xtask races` looks.
            prepared.smaps = Smaps::Changes;
            let Some(kernel) = self.kernel.as_mut() else {
                break;
            };
            let error = match kernel.race(&prepared, repeat) {
                Ok(raced) => {
                    let g = self.info.geometry;
                    let judged = judge_raced(program, &raced, &self.profile, g);
                    let mut go = Go::On;
                    for kind in &judged.kinds {
                        self.executions += u64::from(kind.count);
                        go = merge(go, take(&kind.verdict(), kind.count));
                    }
                    self.executions += u64::from(raced.unkept);
                    if raced.unkept > 0 {
                        go = merge(go, take(&ProgramVerdict::Poisoned, raced.unkept));
                    }
                    return Ok(go);
                }
                Err(error) => error,
            };
            self.kernel = None;
            if let Some(story) = death_story(&error, program, &self.profile, self.info.geometry) {
                self.executions += 1;
                return Ok(take(&ProgramVerdict::Suspect(Box::new(story)), 1));
            }
        }
        self.executions += 1;
        let why = "the VM was lost twice".to_owned();
        Ok(take(&ProgramVerdict::Infra(why), 1))
    }

    /// From now on only the user and a lack of kernels end a run.
    pub fn lift_limits(&mut self) {
        self.unlimited = true;
    }

    fn prepare(&mut self, program: &Arc<Program>) -> Prepared {
        let id = self.next_id;
        self.next_id += 1;
        Prepared {
            id,
            program: program.clone(),
            smaps: Smaps::Every,
            fault: self.source.guest_fault(),
        }
    }

    /// Makes sure that there is a kernel.
    fn boot(&mut self) -> Result<(), Ended> {
        if self.kernel.is_some() {
            return Ok(());
        }
        if self.boots >= self.settings.limits.boots {
            return Err(Ended::Boots);
        }
        self.boots += 1;
        (self.listener)(&Progress::Boot { number: self.boots });
        let from = Instant::now();
        let booted = self.source.boot(&format!("minimize-{}", self.boots));
        self.booting += from.elapsed();
        match booted {
            Ok(mut kernel) => {
                kernel.judged_by(&self.profile);
                self.kernel = Some(kernel);
                Ok(())
            }
            Err(error) => Err(Ended::Kernel(error.to_string())),
        }
    }

    /// The kernel is dead: tells the verdict on the program that did it and queues again what had not come back.
    fn died(
        &mut self,
        error: &KernelError,
        flights: &mut VecDeque<VecDeque<Waiting>>,
        queue: &mut VecDeque<Waiting>,
        take: &mut dyn FnMut(usize, ProgramVerdict),
    ) {
        self.kernel = None;
        let mut pending: VecDeque<Waiting> =
            std::mem::take(flights).into_iter().flatten().collect();
        let at = match error {
            KernelError::Crash { at, .. } => *at,
            KernelError::LockedUp { at, .. } => Some(*at),
            KernelError::Lost { .. } => None,
        };
        // What ran when it died; without word of it, what should have answered next.
        let culprit = at
            .and_then(|(id, _)| pending.iter().position(|w| w.prepared.id == id))
            .unwrap_or(0);
        if let Some(mut waiting) = pending.remove(culprit) {
            let program = &waiting.prepared.program;
            let story = death_story(error, program, &self.profile, self.info.geometry);
            waiting.losses += 1;
            if let Some(story) = story {
                self.executions += 1;
                take(waiting.index, ProgramVerdict::Suspect(Box::new(story)));
            } else if waiting.losses < 2 {
                // Once may be an accident.
                pending.insert(culprit.min(pending.len()), waiting);
            } else {
                self.executions += 1;
                take(waiting.index, ProgramVerdict::Infra(error.to_string()));
            }
        }
        while let Some(waiting) = pending.pop_back() {
            queue.push_front(waiting);
        }
    }
}

fn merge(a: Go, b: Go) -> Go {
    if a == Go::Enough {
        a
    } else {
        b
    }
}

/// The program that an execution belongs to: the first in flight, or else the guest has lost count.
fn front(flights: &mut VecDeque<VecDeque<Waiting>>, execution: &Execution) -> Option<Waiting> {
    let flight = flights.front_mut()?;
    if flight.front()?.prepared.id == execution.id {
        flight.pop_front()
    } else {
        None
    }
}

fn strange(why: &str) -> KernelError {
    KernelError::Lost {
        why: why.to_string(),
        console: String::new(),
    }
}
