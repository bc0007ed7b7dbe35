//! Candidates: what could take the place of a program.
//!
//! | file | subject |
//! | --- | --- |
//! | `ops` | ops left out, in chunks and one by one; like ops merged; mappings moved to the front |
//! | `threads` | threads of a section left out, or what they do done before it or behind it |
//! | `actors` | children left out, or their ops done by somebody else |
//! | `words` | knobs, needs, comments, expectations; protections, flags, tags |
//! | `ranges` | ranges made alike, shorter, aligned |
//! | `columns` | pages taken out of the whole program, places moved |
//!
//! A pass offers whatever comes to its mind; [`candidates`] keeps what can be run and is lighter than the program.

mod actors;
mod columns;
mod ops;
mod ranges;
mod threads;
mod words;

use super::weight::Weight;
use oracle::geometry::Geometry;
use oracle::program::Program;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// What passes look at besides the program.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Of the kernel that it runs on.
    pub geometry: Geometry,
    /// The op at which it goes wrong.
    pub step: usize,
    /// The author's expectations are what it is about.
    pub expectation: bool,
}

/// Something that could take the place of the program.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub program: Arc<Program>,
    pub weight: Weight,
    /// The steps that were left out, where that is all that was done.
    pub dropped: BTreeSet<usize>,
}

/// What a pass offers.
pub struct Offer {
    program: Program,
    dropped: BTreeSet<usize>,
}

impl From<Program> for Offer {
    fn from(program: Program) -> Offer {
        Offer {
            program,
            dropped: BTreeSet::new(),
        }
    }
}

type Pass = fn(&Program, &Scene) -> Vec<Offer>;

/// The passes, in the order in which they are tried. Each is repeated until it finds nothing; all are repeated until none does.
pub const PASSES: &[(&str, Pass)] = &[
    ("ops", ops::drop),
    ("threads", threads::fewer),
    ("actors", actors::fewer),
    ("header", words::header),
    ("merge", ops::merge),
    ("alike", ranges::alike),
    ("pages", columns::out),
    ("ranges", ranges::shorter),
    ("places", columns::moved),
    ("kinds", words::kinds),
    ("prots", words::prots),
    ("order", ops::order),
    ("tags", words::tags),
];

/// What a pass offers that can be run, is lighter than `program` and is not in `seen`: the lightest first.
pub fn candidates(
    pass: Pass,
    program: &Program,
    scene: &Scene,
    seen: &HashSet<Program>,
) -> Vec<Candidate> {
    let weight = Weight::of(program, scene.geometry);
    keep(pass(program, scene), weight, scene, seen)
}

/// The candidate in which all these steps are left out, if it can be run.
pub fn without(
    program: &Program,
    steps: &BTreeSet<usize>,
    scene: &Scene,
    seen: &HashSet<Program>,
) -> Option<Candidate> {
    let weight = Weight::of(program, scene.geometry);
    let offer = ops::without(program, steps);
    keep(vec![offer], weight, scene, seen).pop()
}

/// The program without these steps and without what depends on them.
#[cfg(test)]
pub fn leave_out(program: &Program, steps: &BTreeSet<usize>) -> Program {
    ops::without(program, steps).program
}

fn keep(
    offers: Vec<Offer>,
    weight: Weight,
    scene: &Scene,
    seen: &HashSet<Program>,
) -> Vec<Candidate> {
    let mut here: HashSet<Program> = HashSet::new();
    let mut kept: Vec<Candidate> = Vec::new();
    for Offer { program, dropped } in offers {
        let lighter = Weight::of(&program, scene.geometry);
        if lighter < weight
            && !seen.contains(&program)
            && !here.contains(&program)
            && program.check_concurrent().is_ok()
        {
            here.insert(program.clone());
            kept.push(Candidate {
                program: Arc::new(program),
                weight: lighter,
                dropped,
            });
        }
    }
    kept.sort_by_key(|candidate| candidate.weight);
    kept
}

/// The program with something changed.
fn with(program: &Program, change: impl FnOnce(&mut Program)) -> Program {
    let mut changed = program.clone();
    change(&mut changed);
    changed
}

/// What a pass makes of a program that goes wrong at a step, as texts, as far as it can be run.
#[cfg(test)]
fn texts(pass: Pass, text: &str, step: usize) -> Vec<String> {
    let program = Program::load_concurrent(text).unwrap();
    let scene = Scene {
        geometry: Geometry::K4,
        step,
        expectation: false,
    };
    let offers = pass(&program, &scene).into_iter();
    let runs = offers.filter(|offer| offer.program.check_concurrent().is_ok());
    runs.map(|offer| offer.program.to_string()).collect()
}
