//! From an execution to a verdict on the whole program.

use super::piece::{piece_of, pieces};
use super::story::{crash_story, ending, tell, Ending, Stop, Story};
use super::Tally;
use crate::kernel::{End, Execution};
use oracle::geometry::Geometry;
use oracle::judge::strip::check_expect;
use oracle::judge::{ByOp, Class, Observation, Oracle, Verdict};
use oracle::profile::Profile;
use oracle::program::{Expect, Program, Step};
use oracle::rules::RuleSet;
use oracle::space::{Branch, World};

/// What became of one program.
#[derive(Debug, Clone)]
pub struct Judged {
    /// This program's counts.
    pub tally: Tally,
    /// The rules that its ops exercised.
    pub rules: RuleSet,
    /// Its tightness, op by op; as a whole it is in the tally.
    pub by_op: ByOp,
    pub verdict: ProgramVerdict,
}

/// The verdict on a program.
#[derive(Debug, Clone)]
pub enum ProgramVerdict {
    /// Every op agreed or did what a rule permits.
    Fine,
    /// A limit was met; what came before was fine.
    Poisoned,
    /// Something that the oracle cannot explain, or a hang or a crash.
    Suspect(Box<Story>),
    /// The infrastructure failed.
    Infra(String),
}

/// One step on its way through the judge, for those who want to look on.
pub struct StepView<'a> {
    /// Of a section, its first step.
    pub index: usize,
    pub step: &'a Step,
    /// What the most usual world shows before the op.
    pub before: &'a World,
    /// Everything that is allowed, the most usual first.
    pub allowed: &'a [Branch],
    pub observed: &'a Observation,
    pub verdict: &'a Verdict,
}

/// Judges `execution` of `program` on a kernel of this profile and geometry. The author's expectations count too.
pub fn judge(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> Judged {
    let mut oracle =
        Oracle::new(profile, geometry, program.knobs).with_free_pages(execution.free_pages);
    let mut tally = Tally {
        programs: 1,
        ..Tally::default()
    };
    let mut rules = RuleSet::EMPTY;
    let mut stopped = None;
    for piece in pieces(program) {
        let Some(seen) = piece.seen(&execution.seen) else {
            break;
        };
        let (index, step) = (piece.range.start, &piece.steps[0]);
        piece.play(&mut oracle);
        if let Some(branch) = oracle.expected().first() {
            rules.merge(&branch.rules);
        }
        let ops = piece.steps.len() as u64;
        tally.ops += ops;
        stopped = match oracle.observe(&seen) {
            Verdict::Agree => {
                tally.agree += ops;
                failed_expectation(step, &seen, geometry).map(|failed| (index, Stop::from(failed)))
            }
            Verdict::Allowed { .. } => {
                tally.allowed += ops;
                failed_expectation(step, &seen, geometry).map(|failed| (index, Stop::from(failed)))
            }
            Verdict::Poisoned { .. } => {
                tally.poisoned = 1;
                Some((index, Stop::Poisoned))
            }
            Verdict::Divergence(divergence) => Some((index, Stop::Divergence(divergence))),
        };
        if stopped.is_some() {
            break;
        }
    }
    let by_op = by_op(&oracle, program, tally.ops as usize);
    tally.tightness = by_op.total();
    let told = |index, stop| tell(program, execution, profile, geometry, index, stop);
    let verdict = match stopped {
        None => match ending(execution) {
            Ending::Done => ProgramVerdict::Fine,
            Ending::Infra(why) => ProgramVerdict::Infra(why),
            Ending::Unreturned(stop) => {
                let at = execution.seen.len();
                let begun = piece_of(program, at).map_or(at, |piece| piece.range.start);
                told(begun, Stop::Unreturned(stop))
            }
        },
        Some((_, Stop::Poisoned)) => ProgramVerdict::Poisoned,
        Some((index, stop)) => told(index, stop),
    };
    Judged {
        tally,
        rules,
        by_op,
        verdict,
    }
}

/// Whether the kernel outlived the program, and nothing else: no oracle looks at what it observed. A report on the console ends
/// the kernel, so an execution that came back can only have hung.
pub fn outlived(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> Judged {
    let infra = |why: &str| ProgramVerdict::Infra(why.to_string());
    let verdict = match &execution.end {
        End::Done | End::Died { .. } | End::ViewsDisagree { .. } | End::Parted(_) => {
            ProgramVerdict::Fine
        }
        End::Failed { why } => infra(why),
        End::Garbage { what } => infra(what),
        End::Hang { stack } => {
            let (at, stack) = (execution.seen.len(), stack.clone());
            let why = "it did not return within its limit";
            match crash_story(program, at, profile, geometry, Class::Hang, why, stack) {
                Some(story) => ProgramVerdict::Suspect(Box::new(story)),
                None => infra("the program hung behind its last op"),
            }
        }
    };
    let mut by_op = ByOp::default();
    by_op.add_unseen(&program.steps, 1);
    Judged {
        tally: Tally {
            programs: 1,
            ops: execution.seen.len() as u64,
            tightness: by_op.total(),
            ..Tally::default()
        },
        rules: RuleSet::EMPTY,
        by_op,
        verdict,
    }
}

/// Plays `program` against an execution, showing every step to `look_on`; stops after the first step that is not fine.
pub fn walk(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
    look_on: &mut dyn FnMut(StepView<'_>),
) {
    let mut oracle =
        Oracle::new(profile, geometry, program.knobs).with_free_pages(execution.free_pages);
    for piece in pieces(program) {
        let Some(seen) = piece.seen(&execution.seen) else {
            return;
        };
        let before = oracle.worlds()[0].clone();
        piece.play(&mut oracle);
        let allowed = oracle.expected().to_vec();
        let verdict = oracle.observe(&seen);
        look_on(StepView {
            index: piece.range.start,
            step: &piece.steps[0],
            before: &before,
            allowed: &allowed,
            observed: &seen,
            verdict: &verdict,
        });
        if !matches!(verdict, Verdict::Agree | Verdict::Allowed { .. }) {
            return;
        }
    }
}

/// The first of the author's expectations that does not hold.
pub fn failed_expectation<'a>(
    step: &'a Step,
    seen: &Observation,
    geometry: Geometry,
) -> Option<(&'a Expect, String)> {
    step.expect.iter().find_map(|expect| {
        check_expect(expect, seen, geometry)
            .err()
            .map(|e| (expect, e))
    })
}

/// The oracle's count, plus what the ops that were not observed would have added, all of it loose: as many values as
/// the `judged` ops of this program had on average, at least one for each op.
fn by_op(oracle: &Oracle, program: &Program, judged: usize) -> ByOp {
    let mut by_op = oracle.by_op();
    let average = by_op.total().values.div_ceil(judged.max(1) as u64).max(1);
    let unseen = &program.steps[judged.min(program.steps.len())..];
    by_op.add_unseen(unseen, average);
    by_op
}
