//! What one thread may do next.

use super::rules::{OWN_LOCKS, SIGNAL};
use super::stale::{By, Stale};
use super::state::{At, Lane, Lock, Script, State, Taken};
use super::{access, exclusive, uffd, walk};
use crate::judge::Outcome;
use crate::program::{ActorId, Op};
use crate::rules::registry::index_of;
use crate::space::World;

/// Every step that a thread may take. None when it has ended or waits for another.
pub(super) fn next(state: &State, script: &Script, lane: usize) -> Vec<Taken> {
    let mut out = steps(state, script, lane);
    if state.others_hold_their_own(script, lane) {
        let taken = out.iter_mut();
        taken.for_each(|taken| taken.rules.insert_index(index_of(&OWN_LOCKS)));
    }
    out
}

fn steps(state: &State, script: &Script, lane: usize) -> Vec<Taken> {
    let mut out = Vec::new();
    let here = &script.lanes[lane];
    let Some((_, op)) = here.ops.get(state.lanes[lane].op) else {
        return out;
    };
    let again = here.repeats && !state.lanes[lane].done.is_empty();
    if again && state.lanes[lane].at == At::Before && plain_threads_ended(state, script) {
        let mut ended = state.clone();
        ended.lanes[lane].op = here.ops.len();
        out.push(Taken::new(ended, "stops".into(), &[]));
    }
    if let At::Done { outcome, .. } = &state.lanes[lane].at {
        let mut next = state.clone();
        next.finish(lane, outcome.clone());
        out.push(Taken::new(next, "returns".into(), &[]));
        return out;
    }
    if access::is_access(op) {
        access::next(state, script, lane, op, &mut out);
    } else if matches!(op, Op::Look { .. }) {
        exclusive::look(state, script, lane, op, &mut out);
    } else if matches!(op, Op::Signal { .. }) {
        let mut next = state.clone();
        next.finish(lane, Outcome::Ok);
        out.push(Taken::new(
            next,
            "sends a signal".into(),
            &[index_of(&SIGNAL)],
        ));
    } else if let Some(advice) = walk::advice(&state.world, here.actor, op) {
        walk::next(state, script, lane, op, advice, &mut out);
    } else {
        match *op {
            Op::Uffd { call, .. } if !call.changes_vmas() => {
                uffd::next(state, script, lane, (op, call), &mut out);
            }
            _ => exclusive::next(state, script, lane, op, &mut out),
        }
    }
    out
}

/// Whether all threads that do not repeat have ended.
fn plain_threads_ended(state: &State, script: &Script) -> bool {
    let lanes = script.lanes.iter().zip(&state.lanes);
    lanes
        .filter(|(script, _)| !script.repeats)
        .all(|(script, lane)| lane.op >= script.ops.len())
}

impl Lane {
    /// A thread that has not begun.
    pub fn new() -> Lane {
        Lane {
            op: 0,
            at: At::Before,
            ranges_done: 0,
            done: Vec::new(),
        }
    }
}

impl State {
    /// The thread's op returns.
    pub fn finish(&mut self, lane: usize, outcome: Outcome) {
        self.flush(lane);
        let here = &mut self.lanes[lane];
        here.at = At::Before;
        here.ranges_done = 0;
        if self.repeats[lane] {
            if here.done.last() != Some(&outcome) {
                here.done.push(outcome);
            }
        } else {
            here.done.push(outcome);
            here.op += 1;
        }
    }

    /// The thread has told every processor what it changed.
    pub fn flush(&mut self, lane: usize) {
        self.forget(|stale| stale.lane == lane);
    }

    /// The thread has told every processor what it changed, and what others have that zap in batches in an actor's memory as well.
    /// Whether there was anything of the latter.
    pub fn flush_batches(&mut self, lane: usize, actor: ActorId) -> bool {
        self.flush(lane);
        self.forget(|stale| stale.by == By::Batch && stale.actor == actor)
    }

    /// The thread has told every processor what reclaim took of the pages `[start, end)` of an actor. Whether there was anything.
    pub fn flush_reclaim(&mut self, actor: ActorId, start: u32, end: u32) -> bool {
        self.forget(|stale| {
            stale.by == By::Reclaim
                && stale.actor == actor
                && stale.start < end
                && start < stale.end
        })
    }

    fn forget(&mut self, which: impl Fn(&Stale) -> bool) -> bool {
        let before = self.stale.len();
        self.stale.retain(|stale| !which(stale));
        self.stale.len() < before
    }

    /// The thread's op has had its effect on a machine that was as `before`. Where others access memory that it is about, or that it has
    /// changed, they may go the old way until it returns.
    pub fn takes_effect(
        &mut self,
        script: &Script,
        lane: usize,
        before: &World,
        outcome: Outcome,
        lock: Lock,
    ) {
        let space = self.space(script, lane);
        let files = match self.world.objects == before.objects {
            true => Vec::new(),
            false => vec![before.objects.clone()],
        };
        let known = self.stale.iter_mut();
        known.for_each(|stale| stale.files.extend(files.iter().cloned()));
        let mut any = false;
        for (actor, mm) in (0..).zip(&before.actors) {
            let Some(mm) = mm else { continue };
            let changed = self.world.actors[usize::from(actor)].as_ref() != Some(mm);
            let concerned = actor == space || changed;
            if concerned && self.others_access(lane, script, actor) {
                any = true;
                self.stale.push(Stale {
                    lane,
                    by: By::Alone,
                    actor,
                    mm: mm.clone(),
                    start: 0,
                    end: self.world.geometry().arena_pages(),
                    files: files.clone(),
                    gone: Vec::new(),
                });
            }
        }
        match any {
            true => self.effect(lane, outcome, lock),
            false => self.finish(lane, outcome),
        }
    }

    /// The thread's op has had its effect; others learn of it when it returns.
    fn effect(&mut self, lane: usize, outcome: Outcome, lock: Lock) {
        self.lanes[lane].at = At::Done { outcome, lock };
    }
}
