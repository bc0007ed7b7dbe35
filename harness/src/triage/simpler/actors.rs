//! Children left out, or their ops done by somebody else.

use super::ops::without;
use super::{with, Offer, Scene};
use oracle::program::{ActorId, Op, Program};
use std::collections::{BTreeMap, BTreeSet};

/// Each child left out with all it does; its ops done by its parent without any fork; single ops done by another actor;
/// children numbered in the order in which they are made.
pub fn fewer(program: &Program, _: &Scene) -> Vec<Offer> {
    let mut offers = Vec::new();
    let forks: Vec<(usize, ActorId, ActorId)> = program
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match step.op {
            Op::Fork { child } => Some((index, step.actor, child)),
            _ => None,
        })
        .collect();
    for &(index, parent, child) in &forks {
        offers.push(without(program, &BTreeSet::from([index])));
        let adopted = with(program, |p| {
            p.steps.remove(index);
            // Two actors exit once each; one cannot exit and go on.
            p.steps
                .retain(|s| s.actor != child || !matches!(s.op, Op::Exit));
            rename(p, &BTreeMap::from([(child, parent)]));
        });
        offers.push(adopted.into());
    }
    let actors: BTreeSet<ActorId> = forks.iter().map(|f| f.2).chain([0]).collect();
    for (index, step) in program.steps.iter().enumerate() {
        for &actor in actors.iter().filter(|a| **a < step.actor) {
            offers.push(with(program, |p| p.steps[index].actor = actor).into());
        }
    }
    let numbers: BTreeMap<ActorId, ActorId> = forks.iter().map(|f| f.2).zip(1..).collect();
    offers.push(with(program, |p| rename(p, &numbers)).into());
    offers
}

/// Gives actors other numbers, wherever they are named.
fn rename(program: &mut Program, numbers: &BTreeMap<ActorId, ActorId>) {
    let renamed = |actor: &mut ActorId| {
        if let Some(number) = numbers.get(actor) {
            *actor = *number;
        }
    };
    for step in &mut program.steps {
        renamed(&mut step.actor);
        match &mut step.op {
            Op::Fork { child } => renamed(child),
            Op::Transfer {
                whose: Some(other), ..
            }
            | Op::ProcessMadvise {
                whose: Some(other), ..
            } => renamed(other),
            _ => {}
        }
        for expect in &mut step.expect {
            if let Some(actor) = expect.view_of_mut() {
                renamed(actor);
            }
        }
    }
}
