//! Programs with swap space: a finished program with some PAGEOUT strewn in. It changes no VMA, and contents of lazily freed memory only: the
//! program does what it did, with pages that lie elsewhere.

use super::Writer;
use crate::geometry::Range;
use crate::program::{Advice, Op, Step, UffdCall};

/// One program of so many swaps.
const SWAPS: u32 = 10;
/// How many ops are strewn in, at most.
pub(super) const MOST: u32 = 4;

impl Writer<'_, '_, '_> {
    /// Turns one program of several into one that swaps. Made at the end, so that all others are what they were.
    pub(super) fn strew(&mut self) {
        let moves = |step: &Step| {
            matches!(
                step.op,
                Op::Uffd {
                    call: UffdCall::Move { .. },
                    ..
                }
            )
        };
        let wanted = self.dice.one_in(SWAPS);
        if !wanted || self.program.steps.iter().any(moves) {
            return;
        }
        self.program.knobs.swap = true;
        for _ in 0..self.dice.between(1, MOST) {
            let steps = &self.program.steps;
            let at = self.dice.between(1, steps.len() as u32) as usize;
            let lives = |actor: u8| {
                let exits = |s: &Step| s.actor == actor && matches!(s.op, Op::Exit);
                !steps[..at].iter().any(exits)
            };
            let places: Vec<(u8, Range)> = steps[..at]
                .iter()
                .filter(|step| lives(step.actor))
                .filter_map(|step| Some((step.actor, reached(step)?)))
                .collect();
            // The last of them more often than not.
            let place = if self.dice.chance(60) {
                places.last().copied()
            } else {
                self.dice.pick(&places)
            };
            let Some((actor, range)) = place else {
                continue;
            };
            let advice = self
                .dice
                .weighted(&[(5, Advice::PageOut), (1, Advice::WillNeed)]);
            let step = Step::new(actor, Op::Madvise { range, advice });
            self.program.steps.insert(at, step);
        }
    }
}

/// Where a step has brought pages, or may have.
fn reached(step: &Step) -> Option<Range> {
    match step.op {
        Op::Write { range, .. } | Op::Read { range } => Some(range),
        Op::Madvise {
            range,
            advice: Advice::PopulateWrite | Advice::Collapse | Advice::PageOut,
        } => Some(range),
        _ => None,
    }
}
