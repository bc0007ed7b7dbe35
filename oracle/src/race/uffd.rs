//! Calls through userfaultfd that fill or protect pages of one page table: one step, with the lock held for reading.

use super::rules::UFFD;
use super::state::{Lock, Script, State, Taken};
use crate::program::{Op, Step, UffdCall};
use crate::rules::registry::index_of;

/// The call does what it does in one piece. Who protects pages tells the other processors before it returns: until then they may store
/// to them.
pub(super) fn next(
    state: &State,
    script: &Script,
    lane: usize,
    (op, call): (&Op, UffdCall),
    out: &mut Vec<Taken>,
) {
    let fills = call.fills();
    // What fills pages needs no more than its VMA locked for reading.
    if state.keeps_readers_out(script, lane) || !fills && state.another_has_read_flags(script, lane)
    {
        return;
    }
    let actor = script.lanes[lane].actor;
    for branch in state.world.apply(&Step::new(actor, *op)) {
        let mut next = state.clone();
        next.world = branch.world;
        match fills {
            true => next.finish(lane, branch.outcome),
            false => next.takes_effect(script, lane, &state.world, branch.outcome, Lock::Read),
        }
        let mut taken = Taken::new(next, format!("does {}", op.name()), &[index_of(&UFFD)]);
        taken.rules.merge(&branch.rules);
        out.push(taken);
    }
}
