//! Where the machine and its threads stand between two steps.

use super::stale::Stale;
use crate::judge::{Access, Outcome};
use crate::program::{ActorId, Advice, Op, Step};
use crate::rules::RuleSet;
use crate::space::mm::Mm;
use crate::space::World;
use std::sync::Arc;

/// The threads of a section, as they are written.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub lanes: Vec<ScriptLane>,
}

/// One thread: whose it is, its ops, and which steps of the section they are.
#[derive(Debug, Clone)]
pub(super) struct ScriptLane {
    pub letter: char,
    pub actor: ActorId,
    pub repeats: bool,
    pub ops: Vec<(usize, Op)>,
}

impl Script {
    /// From the steps of one section.
    pub fn of(steps: &[Step]) -> Script {
        let mut lanes: Vec<(u8, ScriptLane)> = Vec::new();
        for (i, step) in steps.iter().enumerate() {
            let Some(lane) = step.lane else { continue };
            match lanes.iter_mut().find(|(number, _)| *number == lane.number) {
                Some((_, known)) => known.ops.push((i, step.op)),
                None => lanes.push((
                    lane.number,
                    ScriptLane {
                        letter: lane.letter(),
                        actor: step.actor,
                        repeats: lane.repeats,
                        ops: vec![(i, step.op)],
                    },
                )),
            }
        }
        Script {
            lanes: lanes.into_iter().map(|(_, lane)| lane).collect(),
        }
    }

    /// Of a thread that stands `at` one of its ops: the actor whose address space the op is about, and whose locks it takes. After the
    /// last op it is the thread's own.
    pub fn space(&self, lane: usize, at: &Lane) -> ActorId {
        let lane = &self.lanes[lane];
        let other = lane.ops.get(at.op).and_then(|(_, op)| op.other());
        other.unwrap_or(lane.actor)
    }
}

/// The machine and its threads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub world: World,
    pub lanes: Vec<Lane>,
    /// Which of them repeat their op.
    pub repeats: Vec<bool>,
    pub stale: Vec<Stale>,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    /// The op that it performs or comes to next; past the last: it has ended.
    pub op: usize,
    pub at: At,
    /// Ranges of a call with several that are done.
    pub ranges_done: usize,
    /// What its ops have returned; of a thread that repeats, what differs from the time before.
    pub done: Vec<Outcome>,
}

/// How far an op has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// Not begun.
    Before,
    /// A load, a store or a populating call, with the pages done so far.
    Access(Access),
    /// Advice; holds the mmap lock for reading.
    Walk(Walk),
    /// It holds the mmap lock for writing and has read the flags of its VMAs, which it has not locked yet: whoever needs no more than a
    /// VMA locked for reading goes on. The address space as it was then.
    HasReadFlags(Arc<Mm>),
    /// Its effect is there; it holds the mmap lock, for writing unless it has downgraded, and others may not know yet.
    Done { outcome: Outcome, lock: Lock },
}

/// How a call holds the mmap lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lock {
    None,
    Read,
    Write,
}

/// Advice on its way through VMAs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Walk {
    /// The page at which the walk over VMAs goes on.
    pub next: u32,
    /// It has met a hole.
    pub hole: bool,
    pub part: Option<Part>,
}

/// The part of one VMA.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub start: u32,
    pub end: u32,
    /// The page at which the next page table's part begins.
    pub at: u32,
    /// Guard install empties the part; otherwise it installs.
    pub zapping: bool,
    /// Rounds of guard install that came to an entry in use.
    pub rounds: u32,
    /// Guard install has put a marker somewhere.
    pub installed: bool,
}

impl Lane {
    pub fn lock(&self) -> Lock {
        match &self.at {
            At::Before | At::Access(_) => Lock::None,
            // So it is for those that lock a VMA, and `exclusive` lets no other call in.
            At::Walk(_) | At::HasReadFlags(_) => Lock::Read,
            At::Done { lock, .. } => *lock,
        }
    }
}

impl State {
    /// The actor whose address space the op of a thread is about.
    pub fn space(&self, script: &Script, lane: usize) -> ActorId {
        script.space(lane, &self.lanes[lane])
    }

    /// Whether another thread holds the mmap lock so that this one cannot have it for reading, as faults want it.
    pub fn keeps_readers_out(&self, script: &Script, lane: usize) -> bool {
        self.others(script, lane)
            .any(|other| other.lock() == Lock::Write)
    }

    /// Whether another thread holds the mmap lock at all.
    pub fn keeps_writers_out(&self, script: &Script, lane: usize) -> bool {
        self.others(script, lane)
            .any(|other| other.lock() != Lock::None)
    }

    /// Whether another thread holds the mmap lock for writing, though it has not locked any VMA.
    pub fn another_has_read_flags(&self, script: &Script, lane: usize) -> bool {
        self.others(script, lane)
            .any(|other| matches!(other.at, At::HasReadFlags(_)))
    }

    /// Whether a thread whose op is about another address space holds the lock of that.
    pub fn others_hold_their_own(&self, script: &Script, lane: usize) -> bool {
        let space = self.space(script, lane);
        let mut lanes = self.lanes.iter().enumerate();
        lanes.any(|(i, other)| script.space(i, other) != space && other.lock() != Lock::None)
    }

    /// The other threads whose ops are about the same address space.
    fn others<'s>(&'s self, script: &'s Script, lane: usize) -> impl Iterator<Item = &'s Lane> {
        let space = self.space(script, lane);
        let others = self.lanes.iter().enumerate();
        others
            .filter(move |(i, other)| *i != lane && script.space(*i, other) == space)
            .map(|(_, other)| other)
    }

    /// Whether another thread may still install guards in an actor's memory: nobody but himself can.
    pub fn others_install(&self, lane: usize, script: &Script, actor: ActorId) -> bool {
        let installs = |op: &Op| op.advice() == Some(Advice::GuardInstall);
        self.others_will(lane, script, actor, installs)
    }

    /// Whether another thread may still load or store something in an actor's memory.
    pub fn others_access(&self, lane: usize, script: &Script, actor: ActorId) -> bool {
        let accesses = |op: &Op| matches!(op, Op::Read { .. } | Op::Write { .. });
        self.others_will(lane, script, actor, accesses)
    }

    fn others_will(
        &self,
        lane: usize,
        script: &Script,
        actor: ActorId,
        such: impl Fn(&Op) -> bool,
    ) -> bool {
        let others = script.lanes.iter().zip(&self.lanes).enumerate();
        let mut others = others.filter(|(i, (other, _))| *i != lane && other.actor == actor);
        others.any(|(_, (script, at))| {
            let left = script.ops.get(at.op..).unwrap_or(&[]);
            left.iter().any(|(_, op)| such(op))
        })
    }

    /// What nobody sees of the machine is forgotten.
    pub fn compact(mut self) -> State {
        if !self.stale.is_empty() {
            let used = self.world.pages_in_use();
            self.stale.iter_mut().for_each(|stale| stale.let_go(&used));
        }
        self.world = self.world.compact();
        self
    }
}

/// A step that a thread may take: where it leads, and what it was, for people.
#[derive(Debug)]
pub(super) struct Taken {
    pub state: State,
    pub what: String,
    pub rules: RuleSet,
}
