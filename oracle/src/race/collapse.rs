//! COLLAPSE where others bring pages: the kernel gives up a block that has a page which stands in another processor's batch.

use super::rules::COLLAPSE_MEETS_NEW;
use super::state::{At, Lane, Script, State, Taken};
use crate::geometry::{Pos, Range, BLOCKS};
use crate::judge::Outcome;
use crate::program::{ActorId, Advice, Op, Step, UffdCall};
use crate::rules::errno::EAGAIN;
use crate::rules::registry::index_of;
use crate::space::World;

/// The ways in which a COLLAPSE leaves blocks as they are that others are bringing pages to: one of them, or all.
pub(super) fn left(state: &State, script: &Script, lane: usize, op: &Op, out: &mut Vec<Taken>) {
    let Some(range) = op.range().filter(|_| op.advice() == Some(Advice::Collapse)) else {
        return;
    };
    let space = state.space(script, lane);
    let busy: Vec<u8> = (0..BLOCKS)
        .filter(|block| holds(range, *block) && is_busy(state, script, lane, *block))
        .collect();
    let mut sets: Vec<Vec<u8>> = busy.iter().map(|block| vec![*block]).collect();
    if busy.len() > 1 {
        sets.push(busy);
    }
    for set in sets {
        let Some((world, outcome)) = without(&state.world, space, range, &set) else {
            continue;
        };
        let mut next = state.clone();
        next.world = world;
        next.finish(lane, outcome);
        let what = format!("does {} and finds a page held", op.name());
        out.push(Taken::new(next, what, &[index_of(&COLLAPSE_MEETS_NEW)]));
    }
}

fn start(block: u8) -> Pos {
    Pos {
        block,
        page: 0,
        byte: 0,
    }
}

fn holds(range: Range, block: u8) -> bool {
    range.start <= start(block) && start(block + 1) <= range.end
}

/// Whether another thread has begun something that puts pages of a block into a batch of its processor.
fn is_busy(state: &State, script: &Script, lane: usize, block: u8) -> bool {
    let space = state.space(script, lane);
    let others = script.lanes.iter().zip(&state.lanes).enumerate();
    let mut others = others.filter(|(i, _)| *i != lane);
    others.any(|(_, (script, at))| {
        let mut begun = script.ops[..begun(at).min(script.ops.len())].iter();
        begun.any(|(_, op)| {
            let here = |r: Range| r.start < start(block + 1) && start(block) < r.end;
            op.other().unwrap_or(script.actor) == space && batches(op) && op.ranges().any(here)
        })
    })
}

/// How many of its ops a thread has begun.
fn begun(lane: &Lane) -> usize {
    let here = lane.at != At::Before || lane.ranges_done > 0;
    // One that repeats has its first op behind it, too, when that has returned once.
    let again = !lane.done.is_empty() && lane.op == 0;
    lane.op + usize::from(here || again)
}

/// Whether an op puts pages into batches: new ones, and those that change lists.
fn batches(op: &Op) -> bool {
    match op {
        Op::Write { .. } | Op::Mlock { .. } => true,
        Op::Uffd { call, .. } => matches!(call, UffdCall::Copy { .. }),
        _ => matches!(
            op.advice(),
            Some(Advice::PopulateWrite | Advice::Cold | Advice::PageOut | Advice::Free)
        ),
    }
}

/// What is between the blocks that are left is collapsed, up to where the kernel stops. The last block that is not decides what the call
/// returns. `None`: the call does not come as far as the first of them.
fn without(world: &World, actor: ActorId, range: Range, blocks: &[u8]) -> Option<(World, Outcome)> {
    let mut world = world.clone();
    let mut outcome = Outcome::Ok;
    let mut from = range.start;
    let ends = blocks.iter().map(|block| (start(*block), true));
    for (end, left) in ends.chain([(range.end, false)]) {
        let part = Range { start: from, end };
        if (0..BLOCKS).any(|block| holds(part, block)) {
            let collapse = Op::Madvise {
                range: part,
                advice: Advice::Collapse,
            };
            let done = world.apply(&Step::new(actor, collapse)).swap_remove(0);
            world = done.world;
            if done.outcome != Outcome::Ok {
                outcome = done.outcome;
            }
        }
        if left {
            if outcome != Outcome::Ok && outcome != Outcome::Errno(EAGAIN) {
                return None;
            }
            outcome = Outcome::Errno(EAGAIN);
            from = start(end.block + 1);
        }
    }
    Some((world, outcome))
}
