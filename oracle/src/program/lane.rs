//! Threads that run at once. Steps that follow each other and have a lane are one section: its threads, each of them some actor's,
//! start together, each performs its own steps in order, and what follows the section waits for all of them.

use super::{ActorId, Advice, Op, Program, Step, UffdCall};
use crate::geometry::Range as Pages;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most threads of one section.
pub const MAX_LANES: usize = 4;

/// Most ops that one thread of a section may have.
pub const MAX_LANE_OPS: usize = 4;

/// A thread of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// Its number in the section, below [`MAX_LANES`]: `|a` is 0.
    pub number: u8,
    /// It performs its one op again and again, at least once, until the threads that do not have ended.
    pub repeats: bool,
}

impl Lane {
    /// From what stands behind the bar: `a`, `b*`.
    pub fn named(name: &str) -> Option<Lane> {
        let (letter, repeats) = match name.strip_suffix('*') {
            Some(letter) => (letter, true),
            None => (name, false),
        };
        let number = ["a", "b", "c", "d"].iter().position(|l| *l == letter)?;
        Some(Lane {
            number: number as u8,
            repeats,
        })
    }

    /// `a` to `d`.
    pub fn letter(self) -> char {
        letter_of(self.number)
    }
}

/// The letter of a thread by its number: `a` to `d`.
pub fn letter_of(number: u8) -> char {
    char::from(b'a' + number % MAX_LANES as u8)
}

impl Program {
    /// The steps of the section that holds a step; `None` for a step of an actor alone.
    pub fn section(&self, step: usize) -> Option<Range<usize>> {
        let in_lane = |i: &usize| self.steps.get(*i).is_some_and(|s| s.lane.is_some());
        in_lane(&step).then(|| {
            let start = (0..step).rev().take_while(in_lane).last().unwrap_or(step);
            let end = (step..).find(|i| !in_lane(i)).unwrap_or(self.steps.len());
            start..end
        })
    }

    /// The steps of each section, in order.
    pub fn sections(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let threads = |piece: &Range<usize>| self.steps[piece.start].lane.is_some();
        self.pieces().filter(threads)
    }

    /// The steps in pieces, in order: a section, or a step of an actor alone.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let piece = self.section(at).unwrap_or(at..at + 1);
            at = piece.end;
            (piece.start < self.steps.len()).then_some(piece)
        })
    }

    /// Whether threads run at once anywhere in it.
    pub fn is_concurrent(&self) -> bool {
        self.steps.iter().any(|step| step.lane.is_some())
    }
}

/// What is wrong with the steps of one section, and with which of them.
pub(super) fn check(steps: &[Step]) -> Result<(), (usize, String)> {
    let lanes: Vec<Lane> = steps.iter().filter_map(|step| step.lane).collect();
    let mut seen: [(usize, Option<bool>); MAX_LANES] = Default::default();
    let of = |number: u8| {
        let first = steps
            .iter()
            .find(|s| s.lane.is_some_and(|l| l.number == number));
        first.map(|step| step.actor)
    };
    let is_made = |actor: ActorId| {
        let makes = |step: &Step| matches!(step.op, Op::Fork { child } if child == actor);
        steps.iter().any(makes)
    };
    for (i, (step, lane)) in steps.iter().zip(&lanes).enumerate() {
        let wrong = |what: String| Err((i, what));
        let Some((ops, repeats)) = seen.get_mut(usize::from(lane.number)) else {
            return wrong(format!("a section has at most {MAX_LANES} threads"));
        };
        *ops += 1;
        if *ops > MAX_LANE_OPS {
            return wrong(format!("a thread has at most {MAX_LANE_OPS} ops"));
        }
        if lane.repeats && *ops > 1 || repeats.is_some_and(|r| r != lane.repeats) {
            return wrong("a thread that repeats has one op, and its line alone".into());
        }
        *repeats = Some(lane.repeats);
        if of(lane.number) != Some(step.actor) {
            return wrong("all ops of a thread are one actor's".into());
        }
        let mut named = [Some(step.actor), step.op.other()].into_iter().flatten();
        if let Some(child) = named.find(|actor| is_made(*actor)) {
            return wrong(format!(
                "actor {child} is made in the section, and acts when it is over"
            ));
        }
        if !may_run_beside_others(&step.op) {
            return wrong(format!(
                "{} is not for threads that run at once",
                step.op.name()
            ));
        }
        if let Op::Signal { to } = step.op {
            let other = lanes.iter().find(|other| other.number == to);
            let forks = |s: &Step| {
                matches!(s.op, Op::Fork { .. }) && s.lane.is_some_and(|l| l.number == to)
            };
            if to == lane.number || other.is_none() || of(to) != Some(step.actor) {
                return wrong("a signal goes to another thread of the same actor".into());
            }
            if lane.repeats && steps.iter().any(forks) {
                return wrong(
                    "a fork starts over for each signal: one that is repeated would never let it end"
                        .into(),
                );
            }
        }
        if lane.repeats && matches!(step.op, Op::Fork { .. }) {
            return wrong("a fork is not repeated".into());
        }
        if !step.expect.is_empty() {
            return wrong(
                "what a thread sees depends on the others: expect it of an op after the section"
                    .into(),
            );
        }
    }
    let used = seen.iter().filter(|(ops, _)| *ops > 0);
    if used.clone().count() < 2 {
        return Err((0, "a section has two threads at least".into()));
    }
    if used.clone().all(|(_, repeats)| *repeats == Some(true)) {
        return Err((
            0,
            "a thread that repeats ends when others do: one at least must not repeat".into(),
        ));
    }
    Ok(())
}

/// Whether an op may stand in a section. The others change what belongs to the whole process or the guest.
fn may_run_beside_others(op: &Op) -> bool {
    match op {
        Op::Mmap { place, .. } => *place == super::Place::Fixed,
        Op::Madvise { advice, .. } => *advice != Advice::Unknown,
        // With ranges that each are something to do.
        Op::ProcessMadvise {
            advice,
            vectors,
            unknown_flag: false,
            ..
        } => {
            let known = match advice {
                Advice::GuardInstall
                | Advice::GuardRemove
                | Advice::DontNeed
                | Advice::Free
                | Advice::Cold
                | Advice::PageOut => true,
                // It takes locks for each of its ranges anew.
                Advice::Collapse => vectors.iter().count() == 1,
                _ => false,
            };
            known && vectors.iter().all(whole)
        }
        Op::ProcessMadvise { .. } => false,
        Op::Signal { .. } => true,
        // What one page table holds the kernel does in one piece.
        Op::Uffd { range, call } => match *call {
            UffdCall::Move { .. } => false,
            call if call.changes_vmas() => true,
            call if call.fills() => one_table(*range) && range.end.page - range.start.page == 1,
            _ => one_table(*range),
        },
        Op::Munmap { .. }
        | Op::Mprotect { .. }
        | Op::Mlock { .. }
        | Op::Mseal { .. }
        | Op::Mremap { .. }
        | Op::Look { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Truncate { .. }
        | Op::PunchHole { .. }
        | Op::Fork { .. } => true,
        // Rights that go with keys are a thread's own.
        Op::PkeyMprotect { .. }
        | Op::Brk { .. }
        | Op::Mlockall { .. }
        | Op::Munlockall
        | Op::ClearSoftDirty
        | Op::SwitchHuge(_)
        | Op::Transfer { .. }
        | Op::Seal { .. }
        | Op::Exit => false,
    }
}

/// Pages, whole ones.
fn whole(range: Pages) -> bool {
    range.start < range.end && range.start.is_page_aligned() && range.end.is_page_aligned()
}

/// Pages of one page table, on every geometry.
fn one_table(range: Pages) -> bool {
    let Pages { start, end } = range;
    whole(range) && start.block == end.block && (start.page >= 0 || end.page <= 0)
}
