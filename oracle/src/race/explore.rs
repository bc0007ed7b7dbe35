//! All orders of steps that the locks permit. States that are alike are merged, so that a thread which begins again and again
//! does not keep the search from ending.

use super::lane;
use super::state::{Lane, Script, State};
use crate::judge::Outcome;
use crate::program::Step;
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
    let first = State {
        world: world.clone().compact(),
        lanes: script.lanes.iter().map(|_| Lane::new()).collect(),
        repeats: script.lanes.iter().map(|lane| lane.repeats).collect(),
        stale: Vec::new(),
    };
    let mut search = Search {
        nodes: vec![Node {
            from: None,
            rules: RuleSet::EMPTY,
        }],
        known: HashMap::from([(first.clone(), 0)]),
    };
    let mut waiting = VecDeque::from([(first, 0)]);
    let mut finals: Vec<Final> = Vec::new();
    let mut rules = RuleSet::EMPTY;
    while let Some((state, at)) = waiting.pop_front() {
        if state.has_ended(&script) {
            let outcomes = state.outcomes(&script, section.len());
            let known = finals
                .iter()
                .any(|f| f.outcomes == outcomes && f.world == state.world);
            if !known {
                let (how, rules) = search.way_to(at);
                finals.push(Final {
                    world: state.world,
                    outcomes,
                    rules,
                    how,
                });
            }
            continue;
        }
        for number in 0..script.lanes.len() {
            for mut taken in lane::next(&state, &script, number) {
                taken.state.world = taken.state.world.compact();
                rules.merge(&taken.rules);
                let node = search.nodes.len();
                if let Entry::Vacant(place) = search.known.entry(taken.state.clone()) {
                    place.insert(node);
                    let lane = script.lanes[number].letter;
                    let what = taken.what;
                    search.nodes.push(Node {
                        from: Some((at, Move { lane, what })),
                        rules: taken.rules,
                    });
                    waiting.push_back((taken.state, node));
                }
            }
        }
        if search.nodes.len() > most {
            return Err(TooLarge { most });
        }
    }
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

struct Search {
    nodes: Vec<Node>,
    known: HashMap<State, usize>,
}

impl Search {
    /// The steps from the start to a state, and their rules.
    fn way_to(&self, node: usize) -> (Vec<Move>, RuleSet) {
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
    fn has_ended(&self, script: &Script) -> bool {
        let lanes = script.lanes.iter().zip(&self.lanes);
        lanes
            .clone()
            .all(|(script, lane)| lane.op >= script.ops.len())
    }

    /// By step of the section.
    fn outcomes(&self, script: &Script, steps: usize) -> Vec<Outcome> {
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
