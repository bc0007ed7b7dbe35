//! The explorer against two others: a search that merges nothing, and a model checker that somebody else has written and that
//! tells states apart by their hashes alone.

use super::super::state::{Lane, Script, State};
use super::super::{explore, lane};
use super::{profile, G};
use crate::judge::Outcome;
use crate::program::{Program, Step};
use crate::space::World;
use stateright::{Checker, Model, Property};
use std::sync::Mutex;

/// Sections that are small enough to be gone through without remembering anything.
const SMALL: [&str; 7] = [
    "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\n|a guard-install 0+0..0+1\n|b read 0+0..0+1\n",
    "mmap 0+0..0+2 rw private fixed\n|a guard-install 0+0..0+2\n|b write 0+1..0+2 tag 2\n",
    "mmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+1\n|a guard-remove 0+0..0+1\n|b write 0+0..0+1 tag 2\n|c read 0+0..0+1\n",
    "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\n|a guard-install 0+0..0+1\n|b munmap 0+0..0+1\n",
    "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\n|a guard-install 0+0..0+1\n|b fork 1\n|c dontneed 0+0..0+2\n",
    "mmap 0+0..0+2 rw shared fixed\nfork 1\n|a guard-install 0+0..0+1\n|b 1: write 0+0..0+1 tag 2\n|b 1: guard-install 0+0..0+1\n",
    "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n|a dontneed 0+0..0+1\n|b read 0+0..0+1\n|c 1: write 0+0..0+1 tag 2\n",
];

/// Sections with threads that begin again and again, and with flags that are read early.
const LARGER: [&str; 6] = [
    "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\n|a guard-install 0+0..0+2\n|b* write 0+1..0+2 tag 2\n",
    "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\n|a guard-install 0+1..0+3\n|b mprotect 0+0..0+4 r\n|c read 0+1..0+2\n",
    "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 1-1..1+0 tag 1\n|a guard-install 1-1..1+1\n|b write 1+2..1+3 tag 2\n",
    "mmap 0+0..0+4 rw private fixed\nuffd-register-both 0+0..0+4\n|a guard-install 0+0..0+2\n|b uffd-copy 0+1..0+2 tag 1\n|c read 0+1..0+2\n",
    "mmap 0+0..0+4 rw shared memfd0 fixed\nwrite 0+0..0+2 tag 1\nfork 1\n|a guard-install 0+0..0+2\n|b 1: punch-hole memfd0 0..2\n|c* 1: write 0+1..0+2 tag 2\n",
    "user root\n\nmmap 0+0..0+4 rw shared memfd0 fixed\nwrite 0+0..0+2 tag 1\nfork 1\n|a guard-install 0+0..0+2\n|b 1: process-madvise pageout 0+0..0+2 of 0\n|c read 0+1..0+2\n",
];

/// The steps of the one section of a program, and where its threads stand before it.
fn section(text: &str) -> (World, Vec<Step>, Script, State) {
    let program = Program::load_concurrent(text).unwrap();
    let first = program.steps.iter().position(|s| s.lane.is_some()).unwrap();
    let mut world = World::new(&profile("7.3"), G, program.knobs).with_free_pages(100_000);
    for step in &program.steps[..first] {
        world = world.apply(step).swap_remove(0).world;
    }
    let steps = program.steps[first..].to_vec();
    let script = Script::of(&steps);
    let start = State {
        world: world.clone().compact(),
        lanes: script.lanes.iter().map(|_| Lane::new()).collect(),
        repeats: script.lanes.iter().map(|lane| lane.repeats).collect(),
        stale: Vec::new(),
    };
    (world, steps, script, start)
}

/// Every end that can be reached, by going down every path without remembering states: those of the path that it stands on apart, so
/// that a thread which begins again does not keep it from ending.
fn ends_by_hand(
    state: &State,
    script: &Script,
    path: &mut Vec<State>,
    ends: &mut Vec<(Vec<Lane>, World)>,
) {
    if path.contains(state) {
        return;
    }
    let mut any = false;
    path.push(state.clone());
    for number in 0..script.lanes.len() {
        for mut taken in lane::next(state, script, number) {
            any = true;
            taken.state = taken.state.compact();
            ends_by_hand(&taken.state, script, path, ends);
        }
    }
    path.pop();
    let end = (state.lanes.clone(), state.world.clone());
    if !any && !ends.contains(&end) {
        ends.push(end);
    }
}

#[test]
fn a_search_that_merges_nothing_comes_to_the_same_ends() {
    for text in SMALL {
        let (world, steps, script, start) = section(text);
        let mut ends = Vec::new();
        ends_by_hand(&start, &script, &mut Vec::new(), &mut ends);
        let merged = explore(&world, &steps).unwrap().finals;
        assert_eq!(ends.len(), merged.len(), "{text}");
        for end in &merged {
            assert!(ends.iter().any(|(_, world)| *world == end.world), "{text}");
        }
    }
}

/// A section as stateright wants a model, which notes every end that it is shown.
struct Section {
    script: Script,
    start: State,
    steps: usize,
    ends: Mutex<Vec<(Vec<Outcome>, World)>>,
}

impl Model for Section {
    type State = State;
    /// A thread, and which of the steps that it may take.
    type Action = (usize, usize);

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<(usize, usize)>) {
        for number in 0..self.script.lanes.len() {
            let ways = lane::next(state, &self.script, number).len();
            actions.extend((0..ways).map(|way| (number, way)));
        }
    }

    fn next_state(&self, state: &State, (number, way): (usize, usize)) -> Option<State> {
        let mut taken = lane::next(state, &self.script, number)
            .into_iter()
            .nth(way)?;
        taken.state = taken.state.compact();
        Some(taken.state)
    }

    fn properties(&self) -> Vec<Property<Section>> {
        vec![Property::always(
            "is noted",
            |section: &Section, state: &State| {
                if state.has_ended(&section.script) {
                    let end = (
                        state.outcomes(&section.script, section.steps),
                        state.world.clone(),
                    );
                    let mut ends = section.ends.lock().unwrap();
                    if !ends.contains(&end) {
                        ends.push(end);
                    }
                }
                true
            },
        )]
    }
}

#[test]
fn a_model_checker_meets_the_same_states_and_the_same_ends() {
    for text in SMALL.iter().chain(&LARGER) {
        let (world, steps, script, start) = section(text);
        let section = Section {
            script,
            start,
            steps: steps.len(),
            ends: Mutex::default(),
        };
        let checked = section.checker().spawn_bfs().join();
        let own = explore(&world, &steps).unwrap();
        assert_eq!(checked.unique_state_count(), own.states, "{text}");
        let ends = checked.model().ends.lock().unwrap();
        assert_eq!(ends.len(), own.finals.len(), "{text}");
        for end in &own.finals {
            let met = |(outcomes, world): &(Vec<Outcome>, World)| {
                *outcomes == end.outcomes && *world == end.world
            };
            assert!(ends.iter().any(met), "{text}");
        }
    }
}
