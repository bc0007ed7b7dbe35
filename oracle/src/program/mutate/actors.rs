//! Steps done by somebody else, forks brought in.

use super::order::children;
use crate::program::generate::dice::Dice;
use crate::program::{Op, Program, Step, MAX_ACTORS};

/// The actors that a program ever has.
fn everybody(program: &Program) -> Vec<u8> {
    std::iter::once(0).chain(children(&program.steps)).collect()
}

/// A step done by another actor, or about the memory of another.
pub fn other(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let actors = everybody(program);
    let mut changed = program.clone();
    let index = dice.below(changed.steps.len() as u32) as usize;
    let step = changed.steps.get_mut(index)?;
    let others: Vec<u8> = actors.into_iter().filter(|a| *a != step.actor).collect();
    let actor = dice.pick(&others)?;
    match &mut step.op {
        Op::Transfer { whose, .. } | Op::ProcessMadvise { whose, .. } if dice.chance(50) => {
            *whose = (actor != step.actor).then_some(actor);
        }
        _ => step.actor = actor,
    }
    Some(changed)
}

/// A fork put in, and some of the steps behind it done by the child.
pub fn fork(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let actors = everybody(program);
    let child = (1..MAX_ACTORS).find(|actor| !actors.contains(actor))?;
    let at = dice.below(program.steps.len() as u32 + 1) as usize;
    let parent = dice.pick(&actors)?;
    let mut changed = program.clone();
    changed
        .steps
        .insert(at, Step::new(parent, Op::Fork { child }));
    for step in &mut changed.steps[at + 1..] {
        if step.actor == parent && dice.chance(40) {
            step.actor = child;
        }
    }
    Some(changed)
}
