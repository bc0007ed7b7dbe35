//! The search: candidates out, answers in, the simplest that still goes wrong stays.

use super::lab::{Go, Lab, BATCH};
use super::simpler::{candidates, without, Candidate, Scene, PASSES};
use super::target::Target;
use super::{Ended, Listener, Minimized, Progress, Reliability, Settings, TriageError, Trust};
use crate::campaign::{suited, Bucket, Kind, ProgramVerdict, Story};
use crate::kernel::{KernelSource, Repeat};
use oracle::program::Program;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

/// Runs of the original before anything is left out, and of the result at the end.
const MEASURE: u32 = 10;

/// Runs of an original that did not always go wrong.
const MEASURE_FLAKY: u32 = 30;

/// Runs of an original whose hits cost a boot or a time limit each.
const MEASURE_COSTLY: u32 = 2;

/// Programs in a batch when each hit costs a boot or a time limit: what would run behind a hit is not worth the wait.
const COSTLY_BATCH: usize = 1;

/// Candidates that are looked at together in that case; the first hit of them is taken.
const COSTLY_TRIALS: usize = 8;

/// Screening runs of all candidates of a batch are made so many at a time.
const ROUND: u32 = 4;

/// Hits after which it is known how often threads go wrong.
const MEASURE_RACED: u32 = 30;

/// Repetitions of a program of threads that are asked for at a time.
const PORTION: u32 = 250;

/// Candidates of threads that are looked at together.
const RACED_TRIALS: usize = 6;

/// Screening of threads, and making sure, goes in so many portions.
const PORTIONS: u32 = 4;

/// Unions of left-out steps that are tried at once.
const UNIONS: usize = 8;

/// Minimizes `program` on a kernel of `source`: the simplest program found that ends in the same bucket. The same answers of
/// the kernel give the same result. When a limit is met, or `stop` is set, the best so far is handed back.
///
/// # Errors
/// See [`TriageError`]; once the original has been seen to go wrong there is always a result.
pub fn minimize<'l>(
    source: &dyn KernelSource,
    program: &Program,
    settings: &Settings,
    stop: &AtomicBool,
    listener: &mut Listener<'l>,
) -> Result<Minimized, TriageError> {
    program.check_concurrent()?;
    let lab = Lab::open(source, settings, stop, listener).map_err(TriageError::Kernel)?;
    let (program, _) = suited(&Arc::new(program.clone()), &lab.profile, &lab.info);
    let mut search = Search::begin(lab, &program, settings)?;
    let ended = match search.descend() {
        Ok(()) => Ended::Minimal,
        Err(ended) => ended,
    };
    Ok(search.finish(ended))
}

/// A candidate that is being decided about.
struct Trial {
    candidate: Candidate,
    hits: u32,
    runs: u32,
    /// All repetitions of its threads.
    raced: u32,
    story: Option<Box<Story>>,
}

impl Trial {
    fn new(candidate: Candidate) -> Trial {
        Trial {
            candidate,
            hits: 0,
            runs: 0,
            raced: 0,
            story: None,
        }
    }
}

struct Search<'a, 'l> {
    lab: Lab<'a, 'l>,
    /// Threads run at once in the program: runs are repetitions.
    racing: bool,
    /// Most repetitions that are spent on how often it goes wrong.
    repetitions: u32,
    target: Target,
    original: Reliability,
    trust: Trust,
    program: Arc<Program>,
    story: Box<Story>,
    /// Candidates that were decided against.
    refused: HashSet<Program>,
    accepted: u32,
    others: BTreeMap<Bucket, u64>,
}

impl<'a, 'l> Search<'a, 'l> {
    /// Runs the original until it is known what goes wrong in it and how often.
    fn begin(
        mut lab: Lab<'a, 'l>,
        program: &Program,
        settings: &Settings,
    ) -> Result<Search<'a, 'l>, TriageError> {
        let program = Arc::new(program.clone());
        let racing = program.is_concurrent();
        let mut met = Met::default();
        let ended = match racing {
            true => met.race(&mut lab, &program, settings),
            false => met.run(&mut lab, &program),
        };
        match ended {
            Err(Ended::Interrupted) => return Err(TriageError::Interrupted),
            Err(Ended::Kernel(why)) => return Err(TriageError::Kernel(why)),
            // What ran before a limit was met counts.
            Err(_) | Ok(()) => {}
        }
        let Some((story, hits)) = met.chosen(settings.bucket.as_ref()) else {
            return Err(match met.failed {
                Some(why) if met.stories.is_empty() => TriageError::Kernel(why),
                _ => TriageError::NotReproduced {
                    kernel: lab.info.label.clone(),
                    runs: met.runs,
                    bucket: settings.bucket.clone().map(Box::new),
                    others: met.counts().into_iter().collect(),
                },
            });
        };
        // How often threads go wrong may take long to find out.
        lab.start_clock();
        let target = Target::of(&story, &program, &lab.profile, lab.info.geometry);
        let original = Reliability {
            hits,
            runs: met.runs,
        };
        let trust = match (racing, target.costly) {
            (true, costly) => Trust::rare(original, costly),
            (false, true) => Trust::costly(original),
            (false, false) => Trust::from(original),
        };
        (lab.listener)(&Progress::Measured {
            story: &story,
            reliability: original,
            trust: &trust,
        });
        let mut others = met.counts();
        others.remove(&story.bucket);
        Ok(Search {
            lab,
            racing,
            repetitions: settings.repetitions,
            target,
            original,
            trust,
            program,
            story,
            refused: HashSet::new(),
            accepted: 0,
            others,
        })
    }

    /// Goes from program to simpler program until no pass finds one, then once more with more runs for each candidate.
    fn descend(&mut self) -> Result<(), Ended> {
        self.rounds()?;
        if self.target.costly {
            return Ok(());
        }
        self.trust = self.trust.thorough(self.original);
        self.refused.clear();
        (self.lab.listener)(&Progress::Again {
            runs: self.trust.screen,
        });
        self.rounds()
    }

    fn rounds(&mut self) -> Result<(), Ended> {
        loop {
            let before = self.accepted;
            for (_, pass) in PASSES {
                loop {
                    let scene = self.scene();
                    let tries = candidates(*pass, &self.program, &scene, &self.refused);
                    if !self.improve(tries)? {
                        break;
                    }
                }
            }
            if self.accepted == before {
                return Ok(());
            }
        }
    }

    fn scene(&self) -> Scene {
        Scene {
            geometry: self.lab.info.geometry,
            step: self.story.step,
            expectation: self.target.is_expectation(),
        }
    }

    /// Tries candidates, the lightest first; takes the lightest of the first batch in which one still goes wrong.
    fn improve(&mut self, tries: Vec<Candidate>) -> Result<bool, Ended> {
        let size = match (self.racing, self.target.costly) {
            (true, _) => RACED_TRIALS,
            (false, true) => COSTLY_TRIALS,
            (false, false) => BATCH,
        };
        let mut tries = tries.into_iter().peekable();
        while tries.peek().is_some() {
            let batch: Vec<Trial> = tries.by_ref().take(size).map(Trial::new).collect();
            let mut promising = self.screen(batch)?;
            let unions = self.unions(&promising);
            if !unions.is_empty() {
                let mut better = self.screen(unions)?;
                better.append(&mut promising);
                promising = better;
                promising.sort_by_key(|trial| trial.candidate.weight);
            }
            for trial in promising {
                if self.confirm(trial)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn batch(&self) -> usize {
        if self.target.costly {
            COSTLY_BATCH
        } else {
            BATCH
        }
    }

    /// What can be left out one by one can often be left out together: the left-out steps of the first two, three, ...
    /// candidates.
    fn unions(&self, promising: &[Trial]) -> Vec<Trial> {
        let mut together: BTreeSet<usize> = BTreeSet::new();
        let mut unions: Vec<Candidate> = Vec::new();
        for trial in promising {
            let before = together.len();
            together.extend(&trial.candidate.dropped);
            if before > 0 && together.len() > before {
                let scene = self.scene();
                unions.extend(without(&self.program, &together, &scene, &self.refused));
            }
        }
        unions.sort_by_key(|candidate| candidate.weight);
        let every = unions.len().div_ceil(UNIONS).max(1);
        unions.into_iter().step_by(every).map(Trial::new).collect()
    }

    /// The candidates that go wrong in at least one of the screening runs, the lightest first. The others are refused.
    fn screen(&mut self, mut trials: Vec<Trial>) -> Result<Vec<Trial>, Ended> {
        let mut done = 0;
        while done < self.trust.screen {
            let round = match self.racing {
                true => self.trust.screen.div_ceil(PORTIONS),
                false => ROUND,
            };
            let runs = round.min(self.trust.screen - done);
            done += runs;
            self.run(&mut trials, runs)?;
            if trials.iter().any(|trial| trial.hits > 0) {
                break;
            }
        }
        let screened = done >= self.trust.screen;
        let (promising, rest): (Vec<Trial>, Vec<Trial>) =
            trials.into_iter().partition(|trial| trial.hits > 0);
        for trial in rest {
            // Of those that a costly hit kept from running, nothing is known.
            if screened && trial.runs >= self.trust.screen {
                self.refused.insert((*trial.candidate.program).clone());
            }
        }
        Ok(promising)
    }

    /// Runs a promising candidate until it is accepted or refused.
    fn confirm(&mut self, mut trial: Trial) -> Result<bool, Ended> {
        let Trust { hits, runs, .. } = self.trust;
        // The screening's runs do not count: it was chosen for its hits there.
        if !self.target.costly {
            trial.hits = 0;
            trial.runs = 0;
        }
        while trial.hits < hits {
            let missing = hits - trial.hits;
            if missing > runs - trial.runs {
                self.refused.insert((*trial.candidate.program).clone());
                return Ok(false);
            }
            // One that is rare need not be asked for one by one.
            let portion = match self.racing {
                true => missing.max(runs.div_ceil(PORTIONS)).min(runs - trial.runs),
                false => missing,
            };
            let mut trials = vec![trial];
            self.run(&mut trials, portion)?;
            trial = trials.remove(0);
        }
        let Some(story) = trial.story else {
            return Ok(false);
        };
        self.program = trial.candidate.program;
        self.story = story;
        self.accepted += 1;
        let (executions, seconds) = (self.lab.executions, self.lab.seconds());
        (self.lab.listener)(&Progress::Simpler {
            program: &self.program,
            executions,
            seconds,
        });
        Ok(true)
    }

    /// Runs each candidate `runs` more times. Where a hit is costly, the first one ends it.
    fn run(&mut self, trials: &mut [Trial], runs: u32) -> Result<(), Ended> {
        if self.racing {
            return self.race(trials, runs);
        }
        let each = runs as usize;
        let programs: Vec<Arc<Program>> = trials
            .iter()
            .flat_map(|trial| std::iter::repeat_n(trial.candidate.program.clone(), each))
            .collect();
        let batch = self.batch();
        let (target, others) = (&self.target, &mut self.others);
        self.lab.run(&programs, batch, &mut |index, verdict| {
            let trial = &mut trials[index / each];
            trial.runs += 1;
            let program = &trial.candidate.program;
            let hit = target.is_hit(program, &verdict);
            if let ProgramVerdict::Suspect(story) = verdict {
                if hit {
                    trial.hits += 1;
                    trial.story = Some(story);
                } else {
                    *others.entry(story.bucket).or_default() += 1;
                }
            }
            if hit && target.costly {
                Go::Enough
            } else {
                Go::On
            }
        })
    }

    fn race(&mut self, trials: &mut [Trial], times: u32) -> Result<(), Ended> {
        let programs: Vec<(Arc<Program>, Repeat)> = trials
            .iter()
            .map(|trial| {
                let repeat = Repeat {
                    first: trial.raced,
                    times,
                    walks: false,
                };
                (trial.candidate.program.clone(), repeat)
            })
            .collect();
        let (target, others) = (&self.target, &mut self.others);
        self.lab.race(&programs, &mut |index, verdict, times| {
            let trial = &mut trials[index];
            trial.runs += times;
            trial.raced += times;
            let hit = target.is_hit(&trial.candidate.program, verdict);
            if let ProgramVerdict::Suspect(story) = verdict {
                if hit {
                    trial.hits += times;
                    trial.story = Some(story.clone());
                } else {
                    *others.entry(story.bucket.clone()).or_default() += u64::from(times);
                }
            }
            if hit && target.costly {
                Go::Enough
            } else {
                Go::On
            }
        })
    }

    /// Measures the result and puts everything together.
    fn finish(mut self, ended: Ended) -> Minimized {
        let (executions, seconds) = (self.lab.executions, self.lab.seconds());
        let mut others: Vec<(Bucket, u64)> = std::mem::take(&mut self.others).into_iter().collect();
        others.sort_by_key(|(_, runs)| std::cmp::Reverse(*runs));
        let after = match ended {
            Ended::Interrupted | Ended::Kernel(_) | Ended::Boots => Reliability::default(),
            Ended::Minimal | Ended::Time | Ended::Executions => self.measure(),
        };
        Minimized {
            program: (*self.program).clone(),
            story: *self.story,
            kernel: self.lab.info.clone(),
            before: self.original,
            after,
            trust: self.trust,
            ended,
            executions,
            accepted: self.accepted,
            seconds,
            boots: self.lab.boots,
            others,
        }
    }

    /// How often the result goes wrong. A limit that is up already does not keep it from running.
    fn measure(&mut self) -> Reliability {
        if self.racing {
            return self.measure_race();
        }
        let runs = match (self.target.costly, self.original) {
            (true, _) => 1,
            (false, Reliability { hits, runs }) if hits == runs => MEASURE,
            (false, _) => MEASURE_FLAKY,
        };
        let programs = vec![self.program.clone(); runs as usize];
        let mut after = Reliability::default();
        let (target, program) = (&self.target, &self.program);
        self.lab.lift_limits();
        let ran = self.lab.run(&programs, BATCH, &mut |_, verdict| {
            after.runs += 1;
            after.hits += u32::from(target.is_hit(program, &verdict));
            Go::On
        });
        // What ran before the kernel went counts.
        drop(ran);
        after
    }

    fn measure_race(&mut self) -> Reliability {
        let settings = Settings {
            bucket: Some(self.story.bucket.clone()),
            repetitions: self.repetitions,
            ..Settings::default()
        };
        self.lab.lift_limits();
        let mut met = Met::default();
        // What ran before the kernel went counts.
        let _ = met.race(&mut self.lab, &self.program, &settings);
        let hits = met.chosen(settings.bucket.as_ref());
        Reliability {
            hits: hits.map_or(0, |(_, hits)| hits),
            runs: met.runs,
        }
    }
}

/// What the runs of an original ended in.
#[derive(Default)]
struct Met {
    runs: u32,
    /// The first story of each bucket, in the order in which they were met, and how often.
    stories: Vec<(Box<Story>, u32)>,
    /// Why a run told nothing.
    failed: Option<String>,
}

impl Met {
    fn add(&mut self, verdict: &ProgramVerdict, times: u32) {
        self.runs += times;
        match verdict {
            ProgramVerdict::Suspect(story) => {
                let known = self
                    .stories
                    .iter_mut()
                    .find(|(known, _)| known.bucket == story.bucket);
                match known {
                    Some((_, count)) => *count += times,
                    None => self.stories.push((story.clone(), times)),
                }
            }
            ProgramVerdict::Infra(why) => self.failed = Some(why.clone()),
            ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
        }
    }

    /// Runs a program without threads: ten times, more often when the runs do not agree.
    fn run(&mut self, lab: &mut Lab<'_, '_>, program: &Arc<Program>) -> Result<(), Ended> {
        let mut wanted = MEASURE;
        // The first run alone: it may cost a boot.
        let mut next = 1;
        while next > 0 {
            let batch = vec![program.clone(); next as usize];
            lab.run(&batch, BATCH, &mut |_, verdict| {
                self.add(&verdict, 1);
                Go::On
            })?;
            if self.is_costly() {
                wanted = MEASURE_COSTLY;
            } else if self.runs >= MEASURE && !self.agreed() {
                wanted = MEASURE_FLAKY;
            }
            next = u32::saturating_sub(wanted, self.runs);
        }
        Ok(())
    }

    /// Runs a program of threads until what is wanted was met often enough, or as often as the settings say.
    fn race(
        &mut self,
        lab: &mut Lab<'_, '_>,
        program: &Arc<Program>,
        settings: &Settings,
    ) -> Result<(), Ended> {
        while self.runs < settings.repetitions && self.failed.is_none() {
            let enough = match self.is_costly() {
                true => 1,
                false => MEASURE_RACED,
            };
            let chosen = self.chosen(settings.bucket.as_ref());
            if chosen.is_some_and(|(_, hits)| hits >= enough) {
                break;
            }
            let repeat = Repeat {
                first: self.runs,
                times: PORTION.min(settings.repetitions - self.runs),
                walks: false,
            };
            lab.race(&[(program.clone(), repeat)], &mut |_, verdict, times| {
                self.add(verdict, times);
                Go::On
            })?;
        }
        Ok(())
    }

    fn is_costly(&self) -> bool {
        self.stories
            .iter()
            .any(|(story, _)| story.kind != Kind::Divergence)
    }

    /// Whether every run ended in the same bucket.
    fn agreed(&self) -> bool {
        matches!(self.stories.as_slice(), [(_, count)] if *count == self.runs)
    }

    /// The story of this bucket, or of the one met most often, and how often. Of those met as often, the one met first.
    fn chosen(&self, bucket: Option<&Bucket>) -> Option<(Box<Story>, u32)> {
        let most = self.stories.iter().map(|(_, count)| *count).max();
        let chosen = self.stories.iter().find(|(story, count)| match bucket {
            Some(bucket) => story.bucket == *bucket,
            None => Some(*count) == most,
        });
        chosen.cloned()
    }

    fn counts(&self) -> BTreeMap<Bucket, u64> {
        let stories = self.stories.iter();
        stories
            .map(|(story, count)| (story.bucket.clone(), u64::from(*count)))
            .collect()
    }
}
