//! The search: candidates out, answers in, the simplest that still goes wrong stays.

use super::lab::{Go, Lab, BATCH};
use super::simpler::{candidates, without, Candidate, Scene, PASSES};
use super::target::Target;
use super::{Ended, Listener, Minimized, Progress, Reliability, Settings, TriageError, Trust};
use crate::campaign::{suited, Bucket, Kind, ProgramVerdict, Story};
use crate::kernel::KernelSource;
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
    program.check()?;
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
    story: Option<Box<Story>>,
}

impl Trial {
    fn new(candidate: Candidate) -> Trial {
        Trial {
            candidate,
            hits: 0,
            runs: 0,
            story: None,
        }
    }
}

struct Search<'a, 'l> {
    lab: Lab<'a, 'l>,
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
        let mut stories: Vec<Box<Story>> = Vec::new();
        let mut failed = None;
        let mut runs = 0;
        let mut wanted = MEASURE;
        // The first run alone: it may cost a boot.
        let mut next = 1;
        while next > 0 {
            let batch = vec![program.clone(); next as usize];
            let ran = lab.run(&batch, BATCH, &mut |_, verdict| {
                runs += 1;
                match verdict {
                    ProgramVerdict::Suspect(story) => stories.push(story),
                    ProgramVerdict::Infra(why) => failed = Some(why),
                    ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
                }
                Go::On
            });
            match ran {
                Err(Ended::Interrupted) => return Err(TriageError::Interrupted),
                Err(Ended::Kernel(why)) => return Err(TriageError::Kernel(why)),
                Err(_) => break,
                Ok(()) => {}
            }
            if stories.iter().any(|s| s.kind != Kind::Divergence) {
                wanted = MEASURE_COSTLY;
            } else if runs >= MEASURE && !agreed(&stories, runs) {
                wanted = MEASURE_FLAKY;
            }
            next = u32::saturating_sub(wanted, runs);
        }
        let counts = count(&stories);
        let chosen = match &settings.bucket {
            Some(bucket) => stories.iter().find(|s| s.bucket == *bucket),
            None => {
                // Of those met as often, the one met first.
                let most = counts.values().copied().max();
                stories
                    .iter()
                    .find(|s| counts.get(&s.bucket).copied() == most)
            }
        };
        let Some(story) = chosen.cloned() else {
            return Err(match failed {
                Some(why) if stories.is_empty() => TriageError::Kernel(why),
                _ => TriageError::NotReproduced {
                    kernel: lab.info.label.clone(),
                    runs,
                    bucket: settings.bucket.clone().map(Box::new),
                    others: counts.into_iter().collect(),
                },
            });
        };
        let target = Target::of(&story, &program, &lab.profile, lab.info.geometry);
        let hits = stories.iter().filter(|s| s.bucket == story.bucket).count();
        let original = Reliability {
            hits: hits as u32,
            runs,
        };
        let trust = if target.costly {
            Trust::costly(original)
        } else {
            Trust::from(original)
        };
        (lab.listener)(&Progress::Measured {
            story: &story,
            reliability: original,
            trust: &trust,
        });
        let mut others = counts;
        others.remove(&story.bucket);
        Ok(Search {
            lab,
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
        let size = if self.target.costly {
            COSTLY_TRIALS
        } else {
            BATCH
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
            let runs = ROUND.min(self.trust.screen - done);
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
            let mut trials = vec![trial];
            self.run(&mut trials, missing)?;
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
}

/// Whether every run ended in the same bucket.
fn agreed(stories: &[Box<Story>], runs: u32) -> bool {
    stories.len() == runs as usize && stories.windows(2).all(|s| s[0].bucket == s[1].bucket)
}

fn count(stories: &[Box<Story>]) -> BTreeMap<Bucket, u64> {
    let mut counts = BTreeMap::new();
    for story in stories {
        *counts.entry(story.bucket.clone()).or_default() += 1;
    }
    counts
}
