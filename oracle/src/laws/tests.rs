//! The laws over seeds, as the fuzz target runs them over bytes.

use super::*;
use crate::program::generate::{expand, generate};

#[test]
fn the_laws_hold_for_generated_programs() {
    for seed in 0..1500 {
        if let Err(broken) = check_program(&generate(seed)) {
            panic!("seed {seed}: {broken}");
        }
    }
}

#[test]
fn the_laws_hold_for_programs_made_of_short_input() {
    for len in 0..120 {
        for seed in 0..4 {
            if let Err(broken) = check_bytes(&expand(seed, len)) {
                panic!("{len} bytes of seed {seed}: {broken}");
            }
        }
    }
}

/// Those of corpus/regressions are what once went wrong, with a law too; in those of corpus/failures allocations fail, which
/// generated programs do not ask for.
#[test]
fn the_laws_hold_for_what_ever_diverged_and_for_what_fails() {
    for (folder, least) in [("regressions", 11), ("failures", 25)] {
        let folder = format!("{}/../corpus/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for entry in std::fs::read_dir(folder).expect("the corpus") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "prog") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a program");
            let program = Program::load(&text).expect("a good program");
            if let Err(broken) = check_program(&program) {
                panic!("{}: {broken}", path.display());
            }
            count += 1;
        }
        assert!(count >= least, "{count} programs");
    }
}

/// A law that no program can break is none: each of these worlds breaks one.
#[test]
fn broken_laws_are_noticed() {
    let program = Program::load(
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3\nfork 1\nmprotect 0+0..0+2 r\n",
    )
    .expect("a good program");
    let g = Geometry::K4;
    let mut worlds = vec![World::new(&Profile::newest(), g, program.knobs)];
    for step in &program.steps {
        let last = worlds.last().expect("a world");
        let branch = last.apply(step).swap_remove(0);
        worlds.push(branch.world);
    }
    let branch = |world: &World, outcome: Outcome| Branch {
        world: world.clone(),
        outcome,
        rules: Default::default(),
    };
    let steps = &program.steps;
    let ok = Outcome::Ok;
    // Everything as it should be.
    for i in 0..steps.len() {
        let good = branch(&worlds[i + 1], ok.clone());
        assert_eq!(guards_obey(&worlds[i], &steps[i], &good, g), Ok(()));
    }
    let says = |i: usize, after: &World, outcome: Outcome, law: &str| {
        let bad = branch(after, outcome);
        let said = guards_obey(&worlds[i], &steps[i], &bad, g).unwrap_err();
        assert!(said.contains(law), "{said}");
    };
    says(1, &worlds[1], ok.clone(), "the whole range is guarded");
    says(3, &worlds[1], ok.clone(), "stay as they are");
    says(2, &worlds[2], ok.clone(), "guards of its parent");
    says(1, &worlds[2], Outcome::Errno(22), "changes nothing");
    let access = branch(&worlds[1], Outcome::Access(Default::default()));
    assert!(outcome_fits(&steps[1], &access, g).is_err());
    let elsewhere = branch(&worlds[1], Outcome::Elsewhere);
    assert!(outcome_fits(&steps[0], &elsewhere, g).is_err());
}

#[test]
fn each_law_holds_by_itself() {
    let mut counts = [0; Law::ALL.len()];
    for seed in 0..400 {
        let program = generate(seed);
        let ground = &GROUNDS[seed as usize % GROUNDS.len()];
        for (law, count) in Law::ALL.into_iter().zip(&mut counts) {
            match check_law(&program, law, ground, seed) {
                Ok(applies) => *count += u32::from(applies),
                Err(broken) => panic!("seed {seed}, {law:?}: {broken}"),
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 30), "{counts:?}");
}

/// Each law that is about the model finds a model that breaks it, by itself.
#[test]
fn a_broken_model_breaks_each_law() {
    let undone: Tamper = |before, step, branch| {
        if matches!(
            step.op,
            Op::Madvise {
                advice: Advice::GuardInstall,
                ..
            }
        ) {
            branch.world = before.clone();
        }
    };
    let discards: Tamper = |before, step, branch| {
        if let Op::Madvise {
            range,
            advice: Advice::GuardRemove,
        } = step.op
        {
            let discard = Op::Madvise {
                range,
                advice: Advice::DontNeed,
            };
            branch.world = before
                .apply(&Step::new(step.actor, discard))
                .swap_remove(0)
                .world;
        }
    };
    let loses_all: Tamper = |_, step, branch| {
        if let Op::Munmap { .. } | Op::Mprotect { .. } = step.op {
            branch.world = World::new(
                branch.world.profile(),
                branch.world.geometry(),
                *branch.world.knobs(),
            );
        }
    };
    // A page is left out at the end, so in the middle too if there are two calls.
    let short: Tamper = |before, step, branch| {
        if let Op::Madvise {
            mut range,
            advice: advice @ Advice::GuardInstall,
        } = step.op
        {
            range.end.page -= 1;
            let short = Step::new(step.actor, Op::Madvise { range, advice });
            branch.world = before.apply(&short).swap_remove(0).world;
        }
    };
    let einval: Tamper = |_, step, branch| {
        if let Op::Read { .. } | Op::Write { .. } = step.op {
            branch.outcome = Outcome::Errno(22);
        }
    };
    let found = |law: Law, tamper: Tamper| {
        let mut seeds = 0..300;
        seeds.any(|seed| check_law_of(&generate(seed), law, &GROUNDS[0], seed, tamper).is_err())
    };
    for (law, tamper) in [
        (Law::Worlds, undone),
        (Law::Worlds, einval),
        (Law::Judge, undone),
        (Law::Judge, loses_all),
        (Law::Judge, einval),
        (Law::Pair(PairLaw::InstallRemove), undone),
        (Law::Pair(PairLaw::RemoveNothing), discards),
        (Law::Pair(PairLaw::Halves), short),
        (Law::Pair(PairLaw::OtherSide), loses_all),
    ] {
        assert!(found(law, tamper), "{law:?}");
    }
}
