//! All orders of steps that the locks permit. States that are alike are merged, so that a thread which begins again and again
//! does not keep the search from ending.

use super::lane;
use super::state::{Lane, Script, State};
use crate::judge::Outcome;
use crate::program::{ActorId, Step};
use crate::rules::RuleSet;
use crate::space::World;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Most states that are kept for one section, unless said otherwise.
pub const MOST_STATES: usize = 60_000;

/// A step of one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// `a` to `d`.
    pub lane: char,
    /// Whose thread it is.
    pub actor: ActorId,
    /// What it does: `faults page 1+2 in`.
    pub what: String,
}

/// A way a section may end.
#[derive(Debug, Clone)]
pub struct Final {
    pub world: World,
    /// What each step of the section returned, in their order.
    pub outcomes: Vec<Outcome>,
    /// The rules on the way that [`Final::how`] describes.
    pub rules: RuleSet,
    /// One order of steps that leads here, a shortest one.
    pub how: Vec<Move>,
}

/// All that a section may come to.
#[derive(Debug, Clone)]
pub struct Exploration {
    /// Every way, those reached in the fewest steps first. No two are alike.
    pub finals: Vec<Final>,
    /// States that were met.
    pub states: usize,
    /// The rules of all steps on all ways.
    pub rules: RuleSet,
}

/// The section has more states than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too large, not judged: more than {most} states")]
pub struct TooLarge {
    pub most: usize,
}

/// Every way a section may end, from a machine as it is before it.
///
/// # Errors
/// There are more than [`MOST_STATES`] states.
pub fn explore(world: &World, section: &[Step]) -> Result<Exploration, TooLarge> {
    explore_within(world, section, MOST_STATES)
}

/// The same with another bound.
///
/// # Errors
/// There are more than `most` states.
pub fn explore_within(
    world: &World,
    section: &[Step],
    most: usize,
) -> Result<Exploration, TooLarge> {
    let script = Script::of(section);
    let mut search = Search::new(world, &script);
    let mut finals: Vec<Final> = Vec::new();
    let rules = search.run(&script, most, |search, at, state| {
        if !state.has_ended(&script) {
            return true;
        }
        let outcomes = state.outcomes(&script, section.len());
        let known = finals
            .iter()
            .any(|f| f.outcomes == outcomes && f.world == state.world);
        if !known {
            let (how, rules) = search.way_to(at);
            finals.push(Final {
                world: state.world.clone(),
                outcomes,
                rules,
                how,
            });
        }
        true
    })?;
    Ok(Exploration {
        finals,
        states: search.nodes.len(),
        rules,
    })
}

/// How a state was met first.
struct Node {
    from: Option<(usize, Move)>,
    rules: RuleSet,
}

/// The states that have been met, those reached in the fewest steps first.
pub(super) struct Search {
    nodes: Vec<Node>,
    known: HashMap<State, usize>,
    waiting: VecDeque<(State, usize)>,
    /// A state that whoever looks on wants to remember.
    pub best: usize,
}

impl Search {
    /// Before the first step.
    pub fn new(world: &World, script: &Script) -> Search {
        let first = State {
            world: world.clone().compact(),
            lanes: script.lanes.iter().map(|_| Lane::new()).collect(),
            repeats: script.lanes.iter().map(|lane| lane.repeats).collect(),
            stale: Vec::new(),
        };
        Search {
            nodes: vec![Node {
                from: None,
                rules: RuleSet::EMPTY,
            }],
            known: HashMap::from([(first.clone(), 0)]),
            waiting: VecDeque::from([(first, 0)]),
            best: 0,
        }
    }

    /// Meets every state. `look_on` is shown each one, once, and says whether to go on from there. The rules of all steps.
    pub fn run(
        &mut self,
        script: &Script,
        most: usize,
        mut look_on: impl FnMut(&mut Search, usize, &State) -> bool,
    ) -> Result<RuleSet, TooLarge> {
        let mut rules = RuleSet::EMPTY;
        while let Some((state, at)) = self.waiting.pop_front() {
            if !look_on(self, at, &state) {
                continue;
            }
            for number in 0..script.lanes.len() {
                for mut taken in lane::next(&state, script, number) {
                    taken.state = taken.state.compact();
                    rules.merge(&taken.rules);
                    let node = self.nodes.len();
                    if let Entry::Vacant(place) = self.known.entry(taken.state.clone()) {
                        place.insert(node);
                        let lane = &script.lanes[number];
                        let step = Move {
                            lane: lane.letter,
                            actor: lane.actor,
                            what: taken.what,
                        };
                        self.nodes.push(Node {
                            from: Some((at, step)),
                            rules: taken.rules,
                        });
                        self.waiting.push_back((taken.state, node));
                    }
                }
            }
            if self.nodes.len() > most {
                return Err(TooLarge { most });
            }
        }
        Ok(rules)
    }

    /// Steps from the start to a state.
    pub fn steps_to(&self, node: usize) -> usize {
        let before = |at: &usize| self.nodes[*at].from.as_ref().map(|(before, _)| *before);
        std::iter::successors(Some(node), before).count() - 1
    }

    /// The steps from the start to a state, and their rules.
    pub fn way_to(&self, node: usize) -> (Vec<Move>, RuleSet) {
        let (mut how, mut rules) = (Vec::new(), RuleSet::EMPTY);
        let mut at = node;
        while let Some((before, step)) = &self.nodes[at].from {
            rules.merge(&self.nodes[at].rules);
            how.push(step.clone());
            at = *before;
        }
        how.reverse();
        (how, rules)
    }
}

impl State {
    pub(super) fn has_ended(&self, script: &Script) -> bool {
        let lanes = script.lanes.iter().zip(&self.lanes);
        lanes
            .clone()
            .all(|(script, lane)| lane.op >= script.ops.len())
    }

    /// By step of the section.
    pub(super) fn outcomes(&self, script: &Script, steps: usize) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Ok; steps];
        for (lane, here) in script.lanes.iter().zip(&self.lanes) {
            if lane.repeats {
                for (step, _) in &lane.ops {
                    outcomes[*step] = Outcome::Each(here.done.clone());
                }
                continue;
            }
            for ((step, _), outcome) in lane.ops.iter().zip(&here.done) {
                outcomes[*step] = outcome.clone();
            }
        }
        outcomes
    }
}
