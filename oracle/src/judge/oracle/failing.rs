//! Calls that lack memory: an allocation was made to fail, or the machine is out of memory or at a limit.

use super::{expected, smaps_of, Oracle};
use crate::judge::compare::{weak, Difference, Expected};
use crate::judge::{Details, Divergence, Failing, Observation, Outcome, Verdict};
use crate::program::{Op, Step};
use crate::rules::errno::{EAGAIN, ENOMEM};
use crate::rules::failing::{has_failed, OPTIONAL};
use crate::rules::{limits, RuleId};
use crate::space::{Branch, World};

/// Whether an allocation was made to fail, and did.
fn failed(seen: &Observation) -> bool {
    seen.failing == Some(Failing::Failed)
}

/// Whether a branch may be what has come: an allocation fails in it only if one did.
pub(super) fn may_have_come(branch: &Branch, seen: &Observation) -> bool {
    failed(seen) || !has_failed(&branch.rules)
}

/// The same verdict; but where an allocation failed and made no difference, a rule is what allows that.
pub(super) fn did_without(verdict: Verdict, seen: &Observation) -> Verdict {
    match verdict {
        Verdict::Agree if failed(seen) => Verdict::Allowed {
            rule: RuleId(OPTIONAL.name),
        },
        other => other,
    }
}

impl Oracle {
    /// Lets go of the branches in which an allocation fails, unless one did.
    pub(super) fn keep_ways_that_came(&mut self, step: &Step, seen: &Observation) {
        if step.fail.is_some() {
            self.branches.retain(|branch| may_have_come(branch, seen));
        }
    }

    /// Whether the call reports that memory ran out where success was expected, or memory did run out in a call of which the rules do
    /// not say all that it may leave then.
    pub(super) fn out_of_memory(&self, step: &Step, seen: &Observation) -> bool {
        if failed(seen) {
            return self.is_not_followed(step) && (tells(step, seen) || did_all(&seen.outcome));
        }
        let mut usual = self.branches.iter().filter(|b| !has_failed(&b.rules));
        tells(step, seen) && usual.all(|branch| did_all(&branch.outcome))
    }

    /// Whether the rules do not say all that a call may leave in which an allocation fails: page tables that mremap has to allocate on
    /// the way, and pages that are brought in because memory is locked.
    fn is_not_followed(&self, step: &Step) -> bool {
        match step.op {
            Op::Mremap { .. } | Op::Mlock { .. } => true,
            Op::Mprotect { .. } | Op::Mmap { .. } => {
                self.worlds.iter().any(|world| world.locks(step.actor))
            }
            _ => false,
        }
    }

    /// The verdict on a call that lacked memory: nothing after it can be judged, but it must not have left just anything.
    pub(super) fn short_of_memory(&self, step: &Step, seen: &Observation) -> Verdict {
        match self.weak_difference(step, seen) {
            None => Verdict::Poisoned {
                rule: RuleId(limits::OUT_OF_MEMORY.name),
            },
            Some(difference) => Verdict::Divergence(Box::new(told(difference))),
        }
    }

    /// The first difference between what was seen and what a call may have left that lacked memory, if there is any.
    fn weak_difference(&self, step: &Step, seen: &Observation) -> Option<Difference> {
        let usual = self.branches.iter().filter(|b| !has_failed(&b.rules));
        let after: Vec<Expected> = usual.map(|b| expected(b, smaps_of(seen), seen)).collect();
        let mut nearest: Option<Difference> = None;
        for world in &self.worlds {
            let before = Branch {
                world: world.clone(),
                outcome: seen.outcome.clone(),
                rules: crate::rules::RuleSet::EMPTY,
            };
            let before = expected(&before, smaps_of(seen), seen);
            let frame = frame(step, world);
            for after in &after {
                let difference = weak::difference(&before, after, seen, &frame)?;
                if nearest.as_ref().is_none_or(|n| n.rank < difference.rank) {
                    nearest = Some(difference);
                }
            }
        }
        nearest
    }
}

/// Where a step may leave pages empty when it lacks memory.
fn frame(step: &Step, world: &World) -> weak::Frame {
    let g = world.geometry();
    let limit = i64::from(g.arena_pages());
    let pages = step.op.ranges().map(|range| {
        let start = range.start.page_index(g).clamp(0, limit);
        let end = range.end.page_index(g) + i64::from(!range.end.is_page_aligned());
        (start as u32, end.clamp(start, limit) as u32)
    });
    weak::Frame {
        actor: step.op.other().unwrap_or(step.actor),
        pages: pages.collect(),
        unmaps: matches!(
            step.op,
            Op::Mmap { .. } | Op::Munmap { .. } | Op::Mremap { .. }
        ),
        pages_per_pmd: g.pages_per_pmd,
        arena_pages: g.arena_pages(),
    }
}

/// Whether the call says that it lacked memory.
fn tells(step: &Step, seen: &Observation) -> bool {
    let Outcome::Errno(errno) = seen.outcome else {
        return false;
    };
    match step.op {
        Op::Fork { .. } => errno == ENOMEM || errno == EAGAIN,
        // A VMA that cannot be split for want of memory is EAGAIN for advice.
        Op::Madvise { .. } | Op::ProcessMadvise { .. } => errno == EAGAIN || errno == ENOMEM,
        // ENOMEM is what mlock and mlockall say for other reasons.
        Op::Mlock { .. } | Op::Mlockall { .. } => errno == EAGAIN,
        _ => errno == ENOMEM,
    }
}

fn did_all(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ok | Outcome::Elsewhere => true,
        Outcome::Moved(moved) => moved.all,
        _ => false,
    }
}

fn told(difference: Difference) -> Divergence {
    let place = match (difference.actor, difference.pages) {
        (Some(actor), Some((from, to))) => format!("actor {actor}, pages {from} up to {to}: "),
        (Some(actor), None) => format!("actor {actor}: "),
        _ => String::new(),
    };
    Divergence {
        class: difference.class,
        rule: RuleId(limits::OUT_OF_MEMORY.name),
        details: Details {
            actor: difference.actor,
            pages: difference.pages,
            text: format!(
                "{place}{} is {}, expected {}: a call that lacks memory leaves each page of its range as it was, as the call would have \
                 left it, or empty, and changes nothing outside.",
                difference.of, difference.observed, difference.expected
            ),
        },
        expected: difference.expected,
        observed: difference.observed,
    }
}
