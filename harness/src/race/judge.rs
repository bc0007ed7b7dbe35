//! Judges the repetitions of one program: which of the allowed ways each execution took, and what none of them explains.

use crate::campaign::{
    failed_expectation, judge, pieces, promise_story, Piece, ProgramVerdict, Story,
};
use crate::kernel::{End, Execution, Raced};
use oracle::geometry::Geometry;
use oracle::judge::{Observation, Oracle, Outcome, SpaceSeen, Verdict};
use oracle::profile::{Profile, BEHAVIOURS};
use oracle::program::{ActorId, Program, Step};
use oracle::race::promises::{self, Broken, Shown};
use oracle::race::{explain, Explanation};
use oracle::rules::RuleId;
use oracle::space::{Branch, World};

/// A way that the first section of a program may end, as one can see it from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What each step of the section returned.
    pub outcomes: Vec<Outcome>,
    /// What every living actor's memory looks like then.
    pub spaces: Vec<(ActorId, SpaceSeen)>,
    /// Repetitions that ended so.
    pub count: u32,
    /// Only a fault that this kernel is known to have leads there (docs/findings.md).
    pub by_fault: bool,
}

/// What became of one kind of execution.
#[derive(Debug, Clone)]
pub enum Fate {
    /// An allowed way; the rule where it is one that permits more than what is usual.
    Allowed(Option<RuleId>),
    /// It is not known whether it is allowed, for this reason.
    NotJudged(RuleId),
    /// Nothing explains it, or it breaks a promise.
    Forbidden(Box<Story>),
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
    /// What goes wrong in it, if anything does.
    pub fn story(&self) -> Option<&Story> {
        match &self.fate {
            Fate::Forbidden(story) => Some(story),
            _ => None,
        }
    }

    /// The same as of a program without threads.
    pub fn verdict(&self) -> ProgramVerdict {
        match &self.fate {
            Fate::Allowed(_) => ProgramVerdict::Fine,
            Fate::NotJudged(_) => ProgramVerdict::Poisoned,
            Fate::Forbidden(story) => ProgramVerdict::Suspect(story.clone()),
            Fate::Infra(why) => ProgramVerdict::Infra(why.clone()),
        }
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
    let kinds = raced.executions.iter().map(|(execution, count)| {
        let broken = promises::broken(program, &execution.seen, shown, geometry);
        let mut fate = judge.fate(execution, *count);
        let story = broken
            .first()
            .and_then(|broken| promise_story(program, execution, profile, geometry, broken));
        if let (Some(story), false) = (story, matches!(fate, Fate::Forbidden(_))) {
            fate = Fate::Forbidden(Box::new(story));
        }
        Kind {
            execution: execution.clone(),
            count: *count,
            fate,
            broken,
        }
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
    let approach = Approach::of(program, execution, section.range.start, geometry);
    let oracle = approach.play(profile).ok()?;
    explain(oracle.worlds().first()?, section.steps, outcomes).ok()
}

/// The way to a section: what an execution showed of the steps before it.
pub(super) struct Approach<'a> {
    program: &'a Program,
    path: &'a [Observation],
    free_pages: u64,
    geometry: Geometry,
}

impl<'a> Approach<'a> {
    pub(super) fn of(
        program: &'a Program,
        execution: &'a Execution,
        section: usize,
        geometry: Geometry,
    ) -> Approach<'a> {
        // What differs from run to run, and makes no difference, would have every run explored for itself.
        let enough = World::enough_free_pages(program.steps.len(), geometry);
        Approach {
            program,
            path: &execution.seen[..section.min(execution.seen.len())],
            free_pages: execution.free_pages.min(enough),
            geometry,
        }
    }

    /// The oracle at the section, by the rules of this profile.
    pub(super) fn play(&self, profile: &Profile) -> Result<Oracle, Stop> {
        let mut oracle = Oracle::new(profile, self.geometry, self.program.knobs)
            .with_free_pages(self.free_pages);
        for (step, seen) in self.program.steps.iter().zip(self.path) {
            oracle.step(step);
            check(oracle.observe(seen))?;
            as_expected(step, seen, self.geometry)?;
        }
        Ok(oracle)
    }
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

/// Rules that are faults of kernels, with rows of the table for each.
const FAULTS: [&str; 2] = [
    "race/exclusive/reads-flags-early",
    "race/guard-install/skips-flush",
];

/// Where judging stopped.
pub(super) enum Stop {
    Poisoned(RuleId),
    Divergence,
}

impl Judge<'_> {
    fn fate(&mut self, execution: &Execution, count: u32) -> Fate {
        let course = self.course(execution, count);
        match course {
            Err(Stop::Poisoned(rule)) => Fate::NotJudged(rule),
            Err(Stop::Divergence) => self.forbidden(execution),
            Ok(rule) => match &execution.end {
                End::Done => Fate::Allowed(rule),
                End::Failed { why } => Fate::Infra(why.clone()),
                End::Garbage { what } => Fate::Infra(what.clone()),
                End::Hang { .. }
                | End::Died { .. }
                | End::ViewsDisagree { .. }
                | End::Parted(_) => self.forbidden(execution),
            },
        }
    }

    /// What the judge of whole programs tells about it.
    fn forbidden(&self, execution: &Execution) -> Fate {
        match judge(self.program, execution, self.profile, self.geometry).verdict {
            ProgramVerdict::Suspect(story) => Fate::Forbidden(story),
            ProgramVerdict::Infra(why) => Fate::Infra(why),
            ProgramVerdict::Fine | ProgramVerdict::Poisoned => {
                Fate::Infra("judged twice, it came out otherwise".into())
            }
        }
    }

    /// Follows an execution; the permission that it needed, if any.
    fn course(&mut self, execution: &Execution, count: u32) -> Result<Option<RuleId>, Stop> {
        let program = self.program;
        let mut pieces = pieces(program);
        let mut permission = None;
        let first = pieces.by_ref().find(|piece| piece.steps.len() > 1);
        let Some(first) = first else {
            return self.alone(execution);
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
            as_expected(&piece.steps[0], &seen, self.geometry)?;
        }
        Ok(permission)
    }

    /// The same where no threads run at once.
    fn alone(&self, execution: &Execution) -> Result<Option<RuleId>, Stop> {
        let mut oracle = Oracle::new(self.profile, self.geometry, self.program.knobs)
            .with_free_pages(execution.free_pages);
        let mut permission = None;
        for (step, seen) in self.program.steps.iter().zip(&execution.seen) {
            oracle.step(step);
            permission = check(oracle.observe(seen))?.or(permission);
            as_expected(step, seen, self.geometry)?;
        }
        Ok(permission)
    }

    /// The place in `starts` for executions that came to the section as this one.
    fn start(&mut self, execution: &Execution, section: &Piece<'_>) -> Result<usize, Stop> {
        let approach = Approach::of(self.program, execution, section.range.start, self.geometry);
        let known =
            |start: &Start| start.path == approach.path && start.free_pages == approach.free_pages;
        if let Some(known) = self.starts.iter().position(known) {
            return Ok(known);
        }
        let mut oracle = approach.play(self.profile)?;
        section.play(&mut oracle);
        // The same on a kernel without the fault, where this one has it and it led anywhere.
        let mut sound = None;
        let faulty = |branch: &Branch| branch.rules.iter().any(|rule| FAULTS.contains(&rule.0));
        if oracle.expected().iter().any(faulty) {
            let mut profile = self.profile.clone();
            for row in BEHAVIOURS.iter().filter(|row| row.is_fault()) {
                row.set(&mut profile, false);
            }
            let mut without = approach.play(&profile)?;
            section.play(&mut without);
            sound = Some(without);
        }
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
            free_pages: approach.free_pages,
            path: approach.path.to_vec(),
            oracle,
            ways,
        });
        Ok(self.starts.len() - 1)
    }
}

/// What the author expects of a step outside sections; inside there is nothing to expect.
fn as_expected(step: &Step, seen: &Observation, geometry: Geometry) -> Result<(), Stop> {
    match failed_expectation(step, seen, geometry) {
        None => Ok(()),
        Some(_) => Err(Stop::Divergence),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::Simulated;
    use crate::kernel::{KernelSource, Prepared, Repeat, Smaps};
    use std::sync::Arc;

    /// What a faultless kernel comes to, and the first story of a run that is not allowed.
    fn raced(text: &str) -> (usize, Option<Story>) {
        let program = Program::load_concurrent(text).unwrap();
        let source = Simulated::default();
        let mut kernel = source.boot("races").unwrap();
        let prepared = Prepared {
            id: 1,
            program: Arc::new(program.clone()),
            smaps: Smaps::Every,
            fault: None,
        };
        let raced = kernel.race(&prepared, Repeat::times(50)).unwrap();
        let judgement = judge_raced(&program, &raced, &source.profile, source.geometry);
        let story = judgement
            .kinds
            .into_iter()
            .find_map(|kind| match kind.fate {
                Fate::Forbidden(story) => Some(*story),
                _ => None,
            });
        (raced.executions.len(), story)
    }

    const BEFORE: &str = "mmap 0+0..0+4 rw private fixed";
    const SECTION: &str = "|a guard-install 0+0..0+1\n|b write 0+0..0+1 tag 1\n";

    #[test]
    fn what_the_author_expects_outside_a_section_is_asked() {
        let (kinds, story) = raced(&format!(
            "{BEFORE} => ok\n{SECTION}read 0+0..0+1 => SIGSEGV MAPERR\n    => 0+0 |G...|\n"
        ));
        assert!(kinds > 1, "the threads met");
        assert!(story.is_none(), "{story:?}");
        for (text, step) in [
            (format!("{BEFORE} => EINVAL\n{SECTION}read 0+1..0+2\n"), 0),
            (format!("{BEFORE}\n{SECTION}read 0+0..0+1 => ok\n"), 3),
            (
                format!("{BEFORE}\n{SECTION}munmap 0+0..0+1\n    => 0+0 |....|\n"),
                3,
            ),
        ] {
            let story = raced(&text)
                .1
                .unwrap_or_else(|| panic!("no story:\n{text}"));
            assert_eq!(story.bucket.rule, "corpus/expectation", "{text}");
            assert_eq!(story.step, step, "{text}");
        }
    }
}
