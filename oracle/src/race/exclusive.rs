//! Calls that keep everybody else out while they work, and calls that need no mmap lock.

use super::collapse;
use super::rules::{EXCLUSIVE, FLAGS_READ_EARLY, MUNMAP_DOWNGRADES};
use super::state::{At, Lock, Script, State, Taken};
use crate::geometry::Geometry;
use crate::program::{ActorId, Advice, AdviceReach, Op, Step};
use crate::rules::registry::index_of;
use crate::space::mm::Mm;
use crate::space::World;
use std::sync::Arc;

/// How a call holds the mmap lock once its effect is there, until it returns.
fn lock(op: &Op) -> Lock {
    match op {
        Op::Munmap { .. } => Lock::Read,
        // MADV_REMOVE lets go of the lock before it turns to the file.
        Op::Truncate { .. }
        | Op::PunchHole { .. }
        | Op::Madvise {
            advice: Advice::Remove,
            ..
        } => Lock::None,
        _ => Lock::Write,
    }
}

/// The call does all that it does; whoever still remembers a translation may use it until it returns.
pub(super) fn next(state: &State, script: &Script, lane: usize, op: &Op, out: &mut Vec<Taken>) {
    let lock = lock(op);
    if lock != Lock::None && state.keeps_writers_out(script, lane) {
        return;
    }
    if op.advice() == Some(Advice::Remove) && state.keeps_readers_out(script, lane) {
        return;
    }
    let actor = script.lanes[lane].actor;
    let step = Step::new(actor, *op);
    let before = state.world.actors[usize::from(actor)].clone();
    let early = state.world.profile().flags_read_early && splits(op);
    let then = match (&state.lanes[lane].at, &before) {
        (At::HasReadFlags(then), _) => Some(then.clone()),
        (_, Some(mm)) if early && state.others_install(lane, script, actor) => {
            let mut next = state.clone();
            next.lanes[lane].at = At::HasReadFlags(mm.clone());
            let what = format!("begins {} and reads the flags of the VMA", op.name());
            return out.push(Taken::new(next, what, &[index_of(&EXCLUSIVE)]));
        }
        _ => None,
    };
    collapse::left(state, script, lane, op, out);
    for branch in state.world.apply(&step) {
        let rule = match op {
            Op::Munmap { .. } => index_of(&MUNMAP_DOWNGRADES),
            _ => index_of(&EXCLUSIVE),
        };
        let mut worlds = vec![(branch.world.clone(), vec![rule])];
        if let Some(then) = &then {
            let lost = lost(&branch.world, then, op, actor);
            worlds.extend(
                lost.into_iter()
                    .map(|w| (w, vec![rule, index_of(&FLAGS_READ_EARLY)])),
            );
        }
        for (world, rules) in worlds {
            let mut next = state.clone();
            next.world = world;
            match op.advice() {
                // Every processor has been told before it copies.
                Some(Advice::Collapse) => next.finish(lane, branch.outcome.clone()),
                _ => next.takes_effect(script, lane, &state.world, branch.outcome.clone(), lock),
            }
            let mut taken = Taken::new(next, format!("does {}", op.name()), &rules);
            taken.rules.merge(&branch.rules);
            out.push(taken);
        }
    }
}

/// A look at page tables and VMAs, as whoever reads pagemap and smaps takes it: with the mmap lock or the VMA locked for reading, and
/// in one piece, for what is told there is true of the moment in between (see [`crate::rules::report::LOOK`]).
pub(super) fn look(state: &State, script: &Script, lane: usize, op: &Op, out: &mut Vec<Taken>) {
    if state.keeps_readers_out(script, lane) {
        return;
    }
    let actor = script.lanes[lane].actor;
    for branch in state.world.apply(&Step::new(actor, *op)) {
        let mut next = state.clone();
        next.world = branch.world;
        next.finish(lane, branch.outcome);
        let mut taken = Taken::new(next, format!("does {}", op.name()), &[]);
        taken.rules.merge(&branch.rules);
        out.push(taken);
    }
}

/// Whether a call changes flags of VMAs or splits them.
pub(super) fn splits(op: &Op) -> bool {
    match op {
        // Install sets one flag, and takes none away.
        Op::Madvise { advice, .. } => {
            *advice != Advice::GuardInstall && advice.reach() >= AdviceReach::Flags
        }
        Op::Mmap { .. }
        | Op::Munmap { .. }
        | Op::Mprotect { .. }
        | Op::Mlock { .. }
        | Op::Mseal { .. }
        | Op::Mremap { .. } => true,
        Op::Uffd { call, .. } => call.changes_vmas(),
        _ => false,
    }
}

/// Whether it writes back all flags of the VMAs in its range.
fn rewrites(op: &Op) -> bool {
    matches!(
        op,
        Op::Madvise { .. } | Op::Mprotect { .. } | Op::Mlock { .. }
    )
}

/// The machines that may come of a call which has read flags when the address space was `then`: the mark of a VMA that had none then
/// is lost in the range, when the call writes all flags back, in what was split off first, or in both. The VMA is locked for writing with
/// the first split, which is the one at the start of the range if there is one: what the split at the end takes off has the mark.
fn lost(world: &World, then: &Mm, op: &Op, actor: ActorId) -> Vec<World> {
    let g = world.geometry();
    let range = op.range().map(|r| pages(r, g));
    let Some(mm) = world.actors[usize::from(actor)].as_ref() else {
        return Vec::new();
    };
    let had_none = |page: u32| {
        let vma = then.vma_index(page).map(|i| &then.vmas[i]);
        vma.is_some_and(|vma| !vma.maybe_guard)
    };
    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for (i, vma) in mm.vmas.iter().enumerate() {
        if !vma.maybe_guard || !had_none(vma.start) {
            continue;
        }
        let Some(was) = then.vma_index(vma.start).map(|at| &then.vmas[at]) else {
            continue;
        };
        let (start, end) = range.unwrap_or((u32::MAX, u32::MAX));
        let split = (was.start, was.end) != (vma.start, vma.end);
        let split_off_last = was.start < start && end <= vma.start;
        if vma.start < end && start < vma.end {
            if rewrites(op) {
                inside.push(i);
            }
        } else if split && !split_off_last {
            outside.push(i);
        }
    }
    let without = |marks: &[usize]| {
        let mut world = world.clone();
        if let Some(mm) = &mut world.actors[usize::from(actor)] {
            let mm = Arc::make_mut(mm);
            marks.iter().for_each(|&i| mm.vmas[i].maybe_guard = false);
        }
        world
    };
    let both = [inside.clone(), outside.clone()].concat();
    let mut sets = vec![inside, outside, both];
    sets.retain(|set| !set.is_empty());
    sets.dedup();
    sets.iter().map(|set| without(set)).collect()
}

/// First page and the one after the last.
fn pages(range: crate::geometry::Range, g: Geometry) -> (u32, u32) {
    let page = |pos: crate::geometry::Pos| {
        let page = pos.page_index(g).clamp(0, i64::from(g.arena_pages()));
        u32::try_from(page).unwrap_or(0)
    };
    (page(range.start), page(range.end))
}
