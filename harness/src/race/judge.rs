//! Judges the repetitions of one program: which of the allowed ways each execution took, and what none of them explains.

use crate::campaign::{judge, pieces, Piece, ProgramVerdict};
use crate::kernel::{End, Execution, Raced};
use oracle::geometry::Geometry;
use oracle::judge::{Observation, Oracle, Outcome, SpaceSeen, Verdict};
use oracle::profile::Profile;
use oracle::program::{ActorId, Program};
use oracle::race::promises::{self, Broken, Shown};
use oracle::race::{explain, Explanation};
use oracle::rules::RuleId;
use oracle::space::Branch;

/// A way that the first section of a program may end, as one can see it from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What each step of the section returned.
    pub outcomes: Vec<Outcome>,
    /// What every living actor's memory looks like then.
    pub spaces: Vec<(ActorId, SpaceSeen)>,
    /// Repetitions that ended so.
    pub count: u32,
    /// Only a fault that this kernel is known to have leads there (docs/findings.md, `flags_read_early`).
    pub by_fault: bool,
}

/// What became of one kind of execution.
#[derive(Debug, Clone)]
pub enum Fate {
    /// An allowed way; the rule where it is one that permits more than what is usual.
    Allowed(Option<RuleId>),
    /// It is not known whether it is allowed, for this reason.
    NotJudged(RuleId),
    /// Nothing explains it. The verdict tells the story.
    Forbidden(Box<ProgramVerdict>),
    /// The guest or its report failed.
    Infra(String),
}

/// One kind of execution.
#[derive(Debug, Clone)]
pub struct Kind {
    pub execution: Execution,
    /// Repetitions that went so.
    pub count: u32,
    pub fate: Fate,
    /// Promises of guard regions that it breaks, whether or not it was judged.
    pub broken: Vec<Broken>,
}

impl Kind {
    /// Nothing explains it, or it breaks a promise.
    pub fn is_wrong(&self) -> bool {
        !self.broken.is_empty() || matches!(self.fate, Fate::Forbidden(_))
    }
}

/// What came of all repetitions.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub kinds: Vec<Kind>,
    /// Every allowed way, and those that were met from another state before the section.
    pub ways: Vec<Way>,
}

impl Judgement {
    /// Repetitions whose fate is such.
    pub fn count(&self, such: impl Fn(&Kind) -> bool) -> u32 {
        let kinds = self.kinds.iter().filter(|kind| such(kind));
        kinds.map(|kind| kind.count).sum()
    }

    /// Repetitions that a known fault of the kernel led to where they ended.
    pub fn by_fault(&self) -> u32 {
        let ways = self.ways.iter().filter(|way| way.by_fault);
        ways.map(|way| way.count).sum()
    }

    /// Allowed ways that were met.
    pub fn ways_seen(&self) -> usize {
        self.ways.iter().filter(|way| way.count > 0).count()
    }
}

/// Judges what `raced` tells about `program` on a kernel of this profile and geometry.
pub fn judge_raced(
    program: &Program,
    raced: &Raced,
    profile: &Profile,
    geometry: Geometry,
) -> Judgement {
    let mut judge = Judge {
        program,
        profile,
        geometry,
        starts: Vec::new(),
        ways: Vec::new(),
    };
    let shown = Shown::by(profile);
    let kinds = raced.executions.iter().map(|(execution, count)| Kind {
        fate: judge.fate(execution, *count),
        broken: promises::broken(program, &execution.seen, shown, geometry),
        execution: execution.clone(),
        count: *count,
    });
    let kinds = kinds.collect();
    Judgement {
        kinds,
        ways: judge.ways,
    }
}

/// How far the rules can explain what the threads of the first section returned; `None` where they have not all returned, or the
/// section is too large.
pub fn explanation(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> Option<Explanation> {
    let section = pieces(program).find(|piece| piece.steps.len() > 1)?;
    let seen = section.seen(&execution.seen)?;
    let Outcome::Together(outcomes) = &seen.outcome else {
        return None;
    };
    let mut oracle =
        Oracle::new(profile, geometry, program.knobs).with_free_pages(execution.free_pages);
    for (step, seen) in program.steps[..section.range.start]
        .iter()
        .zip(&execution.seen)
    {
        oracle.step(step);
        oracle.observe(seen);
    }
    explain(oracle.worlds().first()?, section.steps, outcomes).ok()
}

/// The machine right after a section's first step was asked for, for executions that came there the same way.
struct Start {
    free_pages: u64,
    path: Vec<Observation>,
    oracle: Oracle,
    /// Which of [`Judge::ways`] each branch is.
    ways: Vec<usize>,
}

struct Judge<'a> {
    program: &'a Program,
    profile: &'a Profile,
    geometry: Geometry,
    starts: Vec<Start>,
    ways: Vec<Way>,
}

/// Where judging stopped.
enum Stop {
    Poisoned(RuleId),
    Divergence,
}

impl Judge<'_> {
    fn fate(&mut self, execution: &Execution, count: u32) -> Fate {
        let course = self.course(execution, count);
        let told = || judge(self.program, execution, self.profile, self.geometry).verdict;
        match course {
            Err(Stop::Poisoned(rule)) => Fate::NotJudged(rule),
            Err(Stop::Divergence) => Fate::Forbidden(Box::new(told())),
            Ok(rule) => match &execution.end {
                End::Done => Fate::Allowed(rule),
                End::Failed { why } => Fate::Infra(why.clone()),
                End::Garbage { what } => Fate::Infra(what.clone()),
                End::Hang { .. } | End::Died { .. } | End::ViewsDisagree { .. } => {
                    Fate::Forbidden(Box::new(told()))
                }
            },
        }
    }

    /// Follows an execution; the permission that it needed, if any.
    fn course(&mut self, execution: &Execution, count: u32) -> Result<Option<RuleId>, Stop> {
        let program = self.program;
        let mut pieces = pieces(program);
        let mut permission = None;
        let first = pieces.by_ref().find(|piece| piece.steps.len() > 1);
        let Some(first) = first else {
            return Ok(None);
        };
        let Some(seen) = first.seen(&execution.seen) else {
            // It did not come to the section's end; what came before is judged by who tells its story.
            return Ok(None);
        };
        let start = self.start(execution, &first)?;
        let start = &self.starts[start];
        let mut oracle = start.oracle.clone();
        permission = check(oracle.observe(&seen))?.or(permission);
        let ways = oracle.ways().iter().filter_map(|way| start.ways.get(*way));
        // Where several explain it, none that takes a fault, if there is one.
        if let Some(&way) = ways.min_by_key(|way| self.ways[**way].by_fault) {
            self.ways[way].count += count;
        }
        for piece in pieces {
            let Some(seen) = piece.seen(&execution.seen) else {
                break;
            };
            piece.play(&mut oracle);
            permission = check(oracle.observe(&seen))?.or(permission);
        }
        Ok(permission)
    }

    /// The place in `starts` for executions that came to the section as this one.
    fn start(&mut self, execution: &Execution, section: &Piece<'_>) -> Result<usize, Stop> {
        let path = &execution.seen[..section.range.start];
        let known = |start: &Start| start.path == path && start.free_pages == execution.free_pages;
        if let Some(known) = self.starts.iter().position(known) {
            return Ok(known);
        }
        let mut oracle = Oracle::new(self.profile, self.geometry, self.program.knobs)
            .with_free_pages(execution.free_pages);
        for (step, seen) in self.program.steps.iter().zip(path) {
            oracle.step(step);
            check(oracle.observe(seen))?;
        }
        // The same on a kernel without the fault, where this one has it.
        let sound = self.profile.flags_read_early.then(|| {
            let mut profile = self.profile.clone();
            profile.flags_read_early = false;
            let mut sound = Oracle::new(&profile, self.geometry, self.program.knobs)
                .with_free_pages(execution.free_pages);
            for (step, seen) in self.program.steps.iter().zip(path) {
                sound.step(step);
                sound.observe(seen);
            }
            section.play(&mut sound);
            sound
        });
        section.play(&mut oracle);
        let mut ways = Vec::new();
        for branch in oracle.expected() {
            let Outcome::Together(outcomes) = &branch.outcome else {
                continue;
            };
            let way = Way {
                outcomes: outcomes.clone(),
                spaces: branch.world.shown(),
                count: 0,
                by_fault: false,
            };
            let by_fault = sound.as_ref().is_some_and(|sound| {
                let like =
                    |b: &Branch| b.outcome == branch.outcome && b.world.shown() == way.spaces;
                !sound.expected().iter().any(like)
            });
            let way = Way { by_fault, ..way };
            let known = self
                .ways
                .iter()
                .position(|known| known.outcomes == way.outcomes && known.spaces == way.spaces);
            match known {
                Some(known) => {
                    self.ways[known].by_fault &= way.by_fault;
                    ways.push(known);
                }
                None => {
                    ways.push(self.ways.len());
                    self.ways.push(way);
                }
            }
        }
        self.starts.push(Start {
            free_pages: execution.free_pages,
            path: path.to_vec(),
            oracle,
            ways,
        });
        Ok(self.starts.len() - 1)
    }
}

fn check(verdict: Verdict) -> Result<Option<RuleId>, Stop> {
    match verdict {
        Verdict::Agree => Ok(None),
        Verdict::Allowed { rule } => Ok(Some(rule)),
        Verdict::Poisoned { rule } => Err(Stop::Poisoned(rule)),
        Verdict::Divergence(_) => Err(Stop::Divergence),
    }
}
