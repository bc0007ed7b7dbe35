//! Steps doubled, dropped, moved, swapped, brought in from another program.

use crate::program::generate::dice::Dice;
use crate::program::generate::from_unstructured;
use crate::program::{Op, Program, Step, MAX_ACTORS};
use arbitrary::Unstructured;
use std::ops::Range;

/// Most steps that are taken at once.
const MOST: u32 = 6;

/// A step or a few in a row, at most `most`.
fn stretch(program: &Program, dice: &mut Dice<'_, '_>, most: u32) -> Option<Range<usize>> {
    let steps = program.steps.len();
    let len = dice.between(1, most.min(steps as u32).max(1)) as usize;
    let from = dice.below((steps + 1).checked_sub(len)? as u32) as usize;
    (steps > 0).then_some(from..from + len)
}

/// A place between two steps, before the first or behind the last.
fn gap(program: &Program, dice: &mut Dice<'_, '_>) -> usize {
    dice.below(program.steps.len() as u32 + 1) as usize
}

/// Steps of the program, once more somewhere behind them.
pub fn double(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let from = stretch(program, dice, MOST)?;
    let last = program.steps.len() as u32;
    let at = dice.between(from.end as u32, last) as usize;
    let again = program.steps[from].to_vec();
    Some(with_steps(program, at, again))
}

/// Without some steps.
pub fn drop(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let gone = stretch(program, dice, MOST)?;
    let mut changed = program.clone();
    changed.steps.drain(gone);
    Some(changed)
}

/// Two neighbours in the other order.
pub fn swap(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let pairs = program.steps.len().checked_sub(1).filter(|n| *n > 0)?;
    let first = dice.below(pairs as u32) as usize;
    let mut changed = program.clone();
    changed.steps.swap(first, first + 1);
    Some(changed)
}

/// Some steps elsewhere.
pub fn shift(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let from = stretch(program, dice, MOST)?;
    let mut changed = program.clone();
    let moved: Vec<Step> = changed.steps.drain(from).collect();
    let at = gap(&changed, dice);
    changed.steps.splice(at..at, moved);
    Some(changed)
}

/// Steps of a program that the generator makes, put in somewhere.
pub fn splice_generated(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let bytes = dice.bytes(512);
    let other = from_unstructured(&mut Unstructured::new(&bytes)).ok()?;
    splice(program, &other, dice)
}

/// Steps of another program, put in somewhere: a stretch of it, its beginning before all or its end behind a part. Its children
/// get numbers that are free.
pub fn splice(program: &Program, other: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let from = stretch(other, dice, other.steps.len() as u32)?;
    let at = gap(program, dice);
    let taken: Vec<u8> = children(&program.steps).collect();
    let mut free = (1..MAX_ACTORS).filter(|actor| !taken.contains(actor));
    let mut numbers: [u8; MAX_ACTORS as usize] = std::array::from_fn(|actor| actor as u8);
    for child in children(&other.steps[from.clone()]) {
        if let Some(number) = free.next() {
            numbers[usize::from(child)] = number;
        }
    }
    let renamed = |actor: u8| numbers.get(usize::from(actor)).copied().unwrap_or(actor);
    let steps = other.steps[from].iter().map(|step| {
        let mut op = step.op;
        match &mut op {
            Op::Fork { child } => *child = renamed(*child),
            Op::Transfer { whose, .. } | Op::ProcessMadvise { whose, .. } => {
                *whose = whose.map(renamed);
            }
            _ => {}
        }
        Step::new(renamed(step.actor), op)
    });
    let steps = steps.collect();
    let mut changed = with_steps(program, at, steps);
    if dice.chance(50) {
        // What followed belongs to the first program only.
        changed
            .steps
            .truncate(changed.steps.len() - (program.steps.len() - at));
    }
    Some(changed)
}

/// Actors that these steps make.
pub fn children(steps: &[Step]) -> impl Iterator<Item = u8> + '_ {
    steps.iter().filter_map(|step| match step.op {
        Op::Fork { child } => Some(child),
        _ => None,
    })
}

fn with_steps(program: &Program, at: usize, steps: Vec<Step>) -> Program {
    let mut changed = program.clone();
    changed.steps.splice(at..at, steps);
    changed
}
