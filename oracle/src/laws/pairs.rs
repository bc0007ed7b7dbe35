//! Laws about two programs: what must come out alike, whatever the rules are. They hold on the model and on every kernel, and
//! no profile is needed to ask a kernel about them (`cargo xtask laws`).
//!
//! A pair is made from a seed: the beginning of a generated program, with the model's help, and then two ways to go on. Huge pages
//! are off: whether one can be had is chance, and two runs would differ by it.

use super::alike::{alike, same_page_contents, Ignore};
use super::{apply, Tamper};
use crate::geometry::{Geometry, Pos, Range};
use crate::judge::{Observation, Outcome, SpaceSeen};
use crate::profile::Profile;
use crate::program::generate::{expand, generate};
use crate::program::{ActorId, Advice, Need, Op, Program, Prot, Step, Thp, MAX_ACTORS};
use crate::space::{Locked, Vma, World};
use arbitrary::Unstructured;

/// A law about two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairLaw {
    /// An op on `[a, c)` does what it does on `[a, b)` and then on `[b, c)`.
    Halves,
    /// GUARD_REMOVE over what has no guard changes nothing that can be seen.
    RemoveNothing,
    /// GUARD_INSTALL and then GUARD_REMOVE leave private anonymous memory as DONTNEED does, and reads find the same.
    InstallRemove,
    /// After a fork, what one side does to its own memory does not show on the other.
    OtherSide,
}

impl PairLaw {
    pub const ALL: [PairLaw; 4] = [
        PairLaw::Halves,
        PairLaw::RemoveNothing,
        PairLaw::InstallRemove,
        PairLaw::OtherSide,
    ];

    /// The law's name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            PairLaw::Halves => "halves",
            PairLaw::RemoveNothing => "remove-nothing",
            PairLaw::InstallRemove => "install-remove",
            PairLaw::OtherSide => "other-side",
        }
    }

    /// The law in a sentence.
    pub fn text(self) -> &'static str {
        match self {
            PairLaw::Halves => "an op on [a,c) does what it does on [a,b) and then on [b,c)",
            PairLaw::RemoveNothing => {
                "guard-remove over what has no guard changes nothing that can be seen"
            }
            PairLaw::InstallRemove => {
                "guard-install and guard-remove leave private anonymous memory as dontneed does"
            }
            PairLaw::OtherSide => {
                "after a fork, what one side does to its own memory does not show on the other"
            }
        }
    }
}

/// Two programs of which a law says that they come out alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub law: PairLaw,
    pub left: Program,
    pub right: Program,
    /// The only actor whose view counts; `None`: all of them.
    only: Option<ActorId>,
}

/// The pair of a seed. `None`: nothing in this program lends itself to the law.
pub fn pair(law: PairLaw, seed: u64) -> Option<Pair> {
    begun(law, generate(seed), !seed).map(|begun| begun.pair)
}

/// A pair with the world in which its programs part.
pub(super) struct Begun {
    pub pair: Pair,
    world: World,
    /// Steps up to there.
    steps: usize,
}

/// A pair that begins as a program does; `choice` says how it goes on.
pub(super) fn begun(law: PairLaw, mut start: Program, choice: u64) -> Option<Begun> {
    let bytes = expand(choice, 256);
    let mut dice = Unstructured::new(&bytes);
    start.knobs.thp = Thp::Never;
    let keep = dice.int_in_range(3..=start.steps.len().max(3)).ok()?;
    start.steps.truncate(keep);
    let world = outcome(&start)?;
    let steps = start.steps.len();
    let pair = match law {
        PairLaw::Halves => halves(start, &world, &mut dice),
        PairLaw::RemoveNothing => remove_nothing(start, &world, &mut dice),
        PairLaw::InstallRemove => install_remove(start, &world, &mut dice),
        PairLaw::OtherSide => other_side(start, &world, &mut dice),
    }?;
    Some(Begun { pair, world, steps })
}

impl Begun {
    /// Compares what the model makes of both programs.
    ///
    /// # Errors
    /// Where the law does not hold.
    pub fn check_on_model(&self, tamper: Tamper) -> Result<(), String> {
        let [left, right] = [&self.pair.left, &self.pair.right].map(|program| {
            let mut world = self.world.clone();
            // Of a program that does no more, nothing but what is there counts.
            let mut outcome = Outcome::Ok;
            for step in &program.steps[self.steps..] {
                let branch = apply(&world, step, tamper).swap_remove(0);
                (world, outcome) = (branch.world, branch.outcome);
            }
            let spaces = world.shown();
            [Observation {
                outcome,
                spaces,
                events: world.events().to_vec(),
                failing: None,
            }]
        });
        self.pair.check(&left, &right)
    }
}

impl Pair {
    /// Compares what was seen of both programs, step by step as the judge gets it.
    ///
    /// # Errors
    /// Where the law does not hold.
    pub fn check(&self, left: &[Observation], right: &[Observation]) -> Result<(), String> {
        let (Some(left), Some(right)) = (left.last(), right.last()) else {
            return Err("a program of the pair was not observed".into());
        };
        let of = |seen: &Observation| -> Vec<(ActorId, SpaceSeen)> {
            let counts = |actor: &ActorId| self.only.is_none_or(|only| only == *actor);
            let spaces = seen.spaces.iter();
            spaces.filter(|(actor, _)| counts(actor)).cloned().collect()
        };
        let (left_spaces, right_spaces) = (of(left), of(right));
        if left_spaces.is_empty() {
            return Err("the actor that counts was not seen".into());
        }
        let actors = |spaces: &[(ActorId, SpaceSeen)]| -> Vec<ActorId> {
            spaces.iter().map(|(actor, _)| *actor).collect()
        };
        if actors(&left_spaces) != actors(&right_spaces) {
            return Err("other actors live".into());
        }
        for ((actor, left), (_, right)) in left_spaces.iter().zip(&right_spaces) {
            let said = match self.law {
                PairLaw::Halves => alike(left, right, Ignore::NOTHING),
                PairLaw::RemoveNothing if left != right => alike(left, right, Ignore::NOTHING)
                    .and(Err("VMAs are cut differently".to_string())),
                PairLaw::RemoveNothing => Ok(()),
                PairLaw::InstallRemove => alike(left, right, Ignore::MAYBE_GUARD),
                PairLaw::OtherSide => same_page_contents(left, right),
            };
            said.map_err(|why| format!("actor {actor}: {why}"))?;
        }
        if self.law == PairLaw::InstallRemove && left.outcome != right.outcome {
            return Err(format!(
                "the read afterwards: {:?} against {:?}",
                left.outcome, right.outcome
            ));
        }
        Ok(())
    }
}

/// The world after a program on the newest kernel with 4 KiB pages. `None`: chance has a say in it, so that two runs may differ.
pub fn outcome(program: &Program) -> Option<World> {
    let mut world = World::new(&Profile::newest(), Geometry::K4, program.knobs);
    for step in &program.steps {
        let mut branches = world.apply(step);
        if branches.len() != 1 {
            return None;
        }
        world = branches.swap_remove(0).world;
    }
    Some(world)
}

/// Whether the model lets the op succeed.
fn succeeds(world: &World, step: &Step) -> bool {
    matches!(
        world.apply(step).as_slice(),
        [branch] if branch.outcome == Outcome::Ok
    )
}

fn actor(world: &World, dice: &mut Unstructured<'_>) -> Option<ActorId> {
    dice.choose(&world.living()).ok().copied()
}

/// A page number of a position that can be written, between two others.
fn page(dice: &mut Unstructured<'_>, low: u32, high: u32) -> Option<Pos> {
    let page = dice.int_in_range(low..=high).ok()?;
    Pos::from_page_index(i64::from(page), Geometry::K4)
}

/// A range of at least one page within `[low, high)`.
fn part(dice: &mut Unstructured<'_>, low: u32, high: u32) -> Option<Range> {
    // Short ranges near the start, or anything.
    let high = match dice.ratio(2_u8, 3).ok()? {
        true => high.min(low + 12),
        false => high,
    };
    let start = page(dice, low, high - 1)?;
    let from = start.page_index(Geometry::K4) as u32;
    let end = page(dice, from + 1, high)?;
    Some(Range::new(start, end))
}

fn vma<'w>(world: &'w World, actor: ActorId, dice: &mut Unstructured<'_>) -> Option<&'w Vma> {
    dice.choose(world.vmas(actor)).ok()
}

fn has_guard(world: &World, actor: ActorId, range: Range) -> bool {
    let [from, to] = [range.start, range.end].map(|pos| pos.page_index(Geometry::K4));
    let meets = |&(start, len): &(u32, u32)| {
        i64::from(start) < to && from < i64::from(start) + i64::from(len)
    };
    world.guards(actor).iter().any(meets)
}

fn with(start: &Program, ops: &[(ActorId, Op)], needs: Option<Need>) -> Option<Program> {
    let mut program = start.clone();
    let steps = ops.iter().map(|(actor, op)| Step::new(*actor, *op));
    program.steps.extend(steps);
    program.needs.extend(needs);
    program.needs.dedup();
    program.check().ok().map(|()| program)
}

fn madvise(range: Range, advice: Advice) -> Op {
    Op::Madvise { range, advice }
}

/// Ops that treat each page of their range by itself, so that halves must do.
fn per_page_op(dice: &mut Unstructured<'_>, range: Range) -> Option<Op> {
    let prot = |read, write| Prot::new(read, write, false);
    Some(match dice.int_in_range(0..=9_u8).ok()? {
        0 | 1 => madvise(range, Advice::GuardInstall),
        2 | 3 => madvise(range, Advice::GuardRemove),
        4 => madvise(range, Advice::DontNeed),
        5 => Op::Munmap { range },
        6 => Op::Mprotect {
            range,
            prot: prot(true, false),
        },
        7 => Op::Mprotect {
            range,
            prot: prot(true, true),
        },
        8 => madvise(range, Advice::DontDump),
        _ => madvise(range, Advice::WipeOnFork),
    })
}

fn at(op: Op, range: Range) -> Op {
    match op {
        Op::Munmap { .. } => Op::Munmap { range },
        Op::Mprotect { prot, .. } => Op::Mprotect { range, prot },
        Op::Madvise { advice, .. } => madvise(range, advice),
        other => other,
    }
}

fn halves(start: Program, world: &World, dice: &mut Unstructured<'_>) -> Option<Pair> {
    let actor = actor(world, dice)?;
    let vma = vma(world, actor, dice)?;
    // Into the next VMA, where it follows without a hole.
    let next = world.vma_at(actor, vma.end);
    let high = match dice.ratio(1_u8, 2).ok()? {
        true => next.map_or(vma.end, |next| next.end),
        false => vma.end,
    };
    let range = part(dice, vma.start, high)?;
    let [from, to] = [range.start, range.end].map(|pos| pos.page_index(Geometry::K4) as u32);
    if to - from < 2 {
        return None;
    }
    let middle = page(dice, from + 1, to - 1)?;
    let op = per_page_op(dice, range)?;
    let halves = [
        Range::new(range.start, middle),
        Range::new(middle, range.end),
    ]
    .map(|r| at(op, r));
    if !succeeds(world, &Step::new(actor, op)) {
        return None;
    }
    let needs = matches!(
        op,
        Op::Madvise {
            advice: Advice::GuardInstall | Advice::GuardRemove,
            ..
        }
    );
    let needs = needs.then_some(Need::GuardsShared);
    Some(Pair {
        law: PairLaw::Halves,
        left: with(&start, &[(actor, op)], needs)?,
        right: with(&start, &halves.map(|op| (actor, op)), needs)?,
        only: None,
    })
}

fn remove_nothing(start: Program, world: &World, dice: &mut Unstructured<'_>) -> Option<Pair> {
    let actor = actor(world, dice)?;
    let vma = vma(world, actor, dice)?;
    let range = part(dice, vma.start, vma.end)?;
    if has_guard(world, actor, range) {
        return None;
    }
    // The same number of steps on both sides: VmFlags are read after every one.
    let remove = (actor, madvise(range, Advice::GuardRemove));
    Some(Pair {
        law: PairLaw::RemoveNothing,
        left: with(&start, &[], None)?,
        right: with(&start, &[remove], None)?,
        only: None,
    })
}

fn install_remove(start: Program, world: &World, dice: &mut Unstructured<'_>) -> Option<Pair> {
    let actor = actor(world, dice)?;
    let vma = vma(world, actor, dice)?;
    let plain = vma.is_anon() && vma.locked == Locked::No && !vma.sealed && vma.prot.write;
    let range = part(dice, vma.start, vma.end)?;
    if !plain || has_guard(world, actor, range) {
        return None;
    }
    let [from, to] = [range.start, range.end].map(|pos| pos.page_index(Geometry::K4) as u32);
    let read = Op::Read {
        range: Range::new(range.start, page(dice, from + 1, to.min(from + 8))?),
    };
    let install = madvise(range, Advice::GuardInstall);
    let remove = madvise(range, Advice::GuardRemove);
    let discard = madvise(range, Advice::DontNeed);
    Some(Pair {
        law: PairLaw::InstallRemove,
        left: with(
            &start,
            &[(actor, install), (actor, remove), (actor, read)],
            Some(Need::Guards),
        )?,
        right: with(
            &start,
            &[(actor, discard), (actor, read)],
            Some(Need::Guards),
        )?,
        only: None,
    })
}

fn other_side(start: Program, world: &World, dice: &mut Unstructured<'_>) -> Option<Pair> {
    let parent = actor(world, dice)?;
    let used = |actor: ActorId| {
        actor == 0
            || start
                .steps
                .iter()
                .any(|s| s.op == Op::Fork { child: actor })
    };
    let child = (1..MAX_ACTORS).find(|&actor| !used(actor))?;
    let fork = (parent, Op::Fork { child });
    let forked = world.apply(&Step::new(fork.0, fork.1)).swap_remove(0);
    if forked.outcome != Outcome::Ok {
        return None;
    }
    let (active, passive) = match dice.ratio(1_u8, 2).ok()? {
        true => (parent, child),
        false => (child, parent),
    };
    let vma = vma(&forked.world, active, dice)?;
    let range = part(dice, vma.start, vma.end)?;
    let first = range.start.page_index(Geometry::K4);
    let op = match dice.ratio(1_u8, 3).ok()? {
        // Stores to shared memory are there to be seen.
        true if !vma.shared => Op::Write {
            range: Range::new(range.start, Pos::from_page_index(first + 1, Geometry::K4)?),
            tag: 999,
        },
        _ => per_page_op(dice, range)?,
    };
    Some(Pair {
        law: PairLaw::OtherSide,
        left: with(&start, &[fork], None)?,
        right: with(&start, &[fork, (active, op)], None)?,
        only: Some(passive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the model shows of a program.
    fn observe(program: &Program) -> Vec<Observation> {
        let mut world = World::new(&Profile::newest(), Geometry::K4, program.knobs);
        let mut seen = Vec::new();
        for step in &program.steps {
            let branch = world.apply(step).swap_remove(0);
            world = branch.world;
            seen.push(Observation {
                outcome: branch.outcome,
                spaces: world.shown(),
                events: world.events().to_vec(),
                failing: None,
            });
        }
        seen
    }

    #[test]
    fn the_model_keeps_the_laws_about_pairs() {
        for law in PairLaw::ALL {
            let mut pairs = 0;
            for seed in 0..1500 {
                let Some(pair) = pair(law, seed) else {
                    continue;
                };
                pairs += 1;
                let said = pair.check(&observe(&pair.left), &observe(&pair.right));
                if let Err(why) = said {
                    panic!(
                        "{}, seed {seed}: {why}\n{}\n---\n{}",
                        law.name(),
                        pair.left,
                        pair.right
                    );
                }
            }
            assert!(
                pairs >= 150,
                "{}: only {pairs} pairs of 1500 seeds",
                law.name()
            );
        }
    }

    #[test]
    fn a_law_that_is_broken_is_noticed() {
        let mut broken = [0; PairLaw::ALL.len()];
        for (law, broken) in PairLaw::ALL.into_iter().zip(&mut broken) {
            for pair in (0..300).filter_map(|seed| pair(law, seed)) {
                let left = observe(&pair.left);
                let mut right = observe(&pair.right);
                // A kernel that loses a page of every space.
                for (_, space) in &mut right.last_mut().expect("a step").spaces {
                    space.pages.pop();
                }
                *broken += i32::from(pair.check(&left, &right).is_err());
            }
        }
        assert!(broken.iter().all(|&n| n > 10), "{broken:?}");
    }
}
