//! Children left out, or their ops done by somebody else.

use super::ops::without;
use super::{with, Offer, Scene};
use oracle::program::{ActorId, Op, Program};
use std::collections::{BTreeMap, BTreeSet};

/// Each child left out with all it does; its ops done by its parent without any fork; single ops, or all of a thread, done by another
/// actor; children numbered in the order in which they are made.
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
            let by_another = with(program, |p| {
                let thread = thread_of(p, index);
                thread.iter().for_each(|at| p.steps[*at].actor = actor);
            });
            offers.push(by_another.into());
        }
    }
    let numbers: BTreeMap<ActorId, ActorId> = forks.iter().map(|f| f.2).zip(1..).collect();
    offers.push(with(program, |p| rename(p, &numbers)).into());
    offers
}

/// The step, or all of the thread that it belongs to.
fn thread_of(program: &Program, step: usize) -> Vec<usize> {
    let lane = |at: usize| program.steps[at].lane;
    match program.section(step) {
        None => vec![step],
        Some(section) => section.filter(|at| lane(*at) == lane(step)).collect(),
    }
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

#[cfg(test)]
mod tests {
    use super::super::texts;
    use super::*;

    #[test]
    fn a_thread_goes_to_another_actor_as_a_whole() {
        let text = "mmap 0+0..0+4 rw shared fixed\nfork 1\n|a guard-install 0+0..0+1\n|b 1: read 0+0..0+1\n|b 1: write 0+0..0+1 tag 1\n";
        let texts = texts(fewer, text, 2);
        let has = |lines: &str| texts.iter().any(|text| text.contains(lines));
        assert!(has(
            "fork 1\n|a guard-install 0+0..0+1\n|b read 0+0..0+1\n|b write"
        ));
        // Without the fork, too.
        assert!(has(
            "fixed\n|a guard-install 0+0..0+1\n|b read 0+0..0+1\n|b write"
        ));
    }
}
