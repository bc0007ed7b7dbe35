//! Calls that keep everybody else out while they work, and calls that need no mmap lock.

use super::rules::{EXCLUSIVE, MUNMAP_DOWNGRADES};
use super::stale::Stale;
use super::state::{Lock, Script, State, Taken};
use crate::program::{Op, Step};
use crate::rules::registry::index_of;

/// How a call holds the mmap lock once its effect is there, until it returns.
fn lock(op: &Op) -> Lock {
    match op {
        Op::Munmap { .. } => Lock::Read,
        Op::Truncate { .. } | Op::PunchHole { .. } => Lock::None,
        _ => Lock::Write,
    }
}

/// The call does all that it does; whoever still remembers a translation may use it until it returns.
pub(super) fn next(state: &State, script: &Script, lane: usize, op: &Op, out: &mut Vec<Taken>) {
    let lock = lock(op);
    if lock != Lock::None && state.keeps_writers_out(lane) {
        return;
    }
    let step = Step::new(script.actor, *op);
    let before = state.world.actors[usize::from(script.actor)].clone();
    for branch in state.world.apply(&step) {
        let mut next = state.clone();
        next.world = branch.world;
        match &before {
            Some(mm) if state.others_access(lane, script) => {
                next.stale.push(Stale {
                    lane,
                    mm: mm.clone(),
                    start: 0,
                    end: state.world.geometry().arena_pages(),
                    gone: Vec::new(),
                });
                next.effect(lane, branch.outcome, lock);
            }
            _ => next.finish(lane, branch.outcome),
        }
        let rule = match op {
            Op::Munmap { .. } => index_of(&MUNMAP_DOWNGRADES),
            _ => index_of(&EXCLUSIVE),
        };
        let mut taken = Taken::new(next, format!("does {}", op.name()), &[rule]);
        taken.rules.merge(&branch.rules);
        out.push(taken);
    }
}
