//! What the generator writes and what the model makes of it, in a few numbers that are kept: nobody changes either without
//! noticing. The same seed is to give the same program everywhere, and a change of one rule is not to change what others expect.

use super::{Ground, GROUNDS};
use crate::profile::{Arch, Profile};
use crate::program::generate::generate;
use crate::program::Program;
use crate::space::World;
use expect_test::expect_file;
use fnv::FnvHasher;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher as _;

/// Programs looked at.
const SEEDS: u64 = 4000;

/// How often an op came, and a digest of all that is said of it.
#[derive(Default)]
struct Digest {
    count: u64,
    hasher: FnvHasher,
}

impl Digest {
    fn add(&mut self, text: &str) {
        self.count += 1;
        self.hasher.write(text.as_bytes());
    }
}

fn table(digests: BTreeMap<String, Digest>) -> String {
    digests.iter().fold(String::new(), |mut text, (name, of)| {
        let _ = writeln!(
            text,
            "{name:<24} {:>7} {:016x}",
            of.count,
            of.hasher.finish()
        );
        text
    })
}

/// The word a step's op starts with.
fn word(text: &str) -> String {
    let words = text.split(' ').filter(|word| !word.ends_with(':'));
    words.take(1).collect()
}

#[test]
fn seeds_give_the_programs_they_gave() {
    let mut digests: BTreeMap<String, Digest> = BTreeMap::new();
    for seed in 0..SEEDS {
        for step in &generate(seed).steps {
            let text = step.to_string();
            digests.entry(word(&text)).or_default().add(&text);
        }
    }
    expect_file!["fingerprint/programs.txt"].assert_eq(&table(digests));
}

/// Everything that the model allows for each op, on the way of the last branch at each step.
fn expectations(program: &Program, ground: &Ground, digests: &mut BTreeMap<String, Digest>) {
    let profile = match ground.release {
        Some(release) => Profile::at_release(release, Arch::X86_64),
        None => Profile::newest(),
    };
    let mut world = World::new(&profile, ground.geometry, program.knobs);
    for step in &program.steps {
        let mut branches = world.apply(step);
        let mut text = String::new();
        for branch in &branches {
            let (outcome, spaces) = (&branch.outcome, branch.world.shown());
            let _ = write!(
                text,
                "Observation {{ outcome: {outcome:?}, spaces: {spaces:?} }}"
            );
            let events = branch.world.events();
            if !events.is_empty() {
                let _ = write!(text, " {events:?}");
            }
        }
        digests
            .entry(word(&step.to_string()))
            .or_default()
            .add(&text);
        match branches.pop() {
            Some(branch) => world = branch.world,
            None => return,
        }
    }
}

#[test]
fn the_model_expects_what_it_expected() {
    let mut digests = BTreeMap::new();
    for seed in 0..SEEDS {
        let program = generate(seed);
        for ground in &GROUNDS {
            expectations(&program, ground, &mut digests);
        }
    }
    expect_file!["fingerprint/expectations.txt"].assert_eq(&table(digests));
}
