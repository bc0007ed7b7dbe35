//! What is asked of mutations, over seeds.

use super::*;
use crate::program::Step;
use std::collections::BTreeMap;

const SEEDS: u64 = 300;

/// Calls `look` with every mutation's name, the program before and what it made of it.
fn each(mut look: impl FnMut(&str, &Program, Option<&Program>)) {
    for seed in 0..SEEDS {
        let program = generate(seed);
        for (_, (name, act)) in MUTATIONS {
            let bytes = expand(!seed, SEED_BYTES);
            let mut bytes = Unstructured::new(&bytes);
            let changed = act(&program, &mut Dice::new(&mut bytes)).and_then(fit::fit);
            look(name, &program, changed.as_ref());
        }
    }
}

#[test]
fn every_mutation_changes_programs() {
    let mut changes: BTreeMap<String, u64> = BTreeMap::new();
    each(|name, before, after| {
        let changed = after.is_some_and(|after| after != before);
        *changes.entry(name.into()).or_default() += u64::from(changed);
    });
    assert_eq!(changes.len(), MUTATIONS.len());
    for (name, n) in changes {
        // Many programs have one actor only.
        let least = if name == "other actor" { 5 } else { 2 };
        assert!(n * least > SEEDS, "{name}: {n} of {SEEDS}");
    }
}

#[test]
fn mutations_do_what_they_are_called() {
    let sorted = |program: &Program| {
        let mut steps: Vec<String> = program.steps.iter().map(Step::to_string).collect();
        steps.sort();
        steps
    };
    each(|name, before, after| {
        let Some(after) = after else { return };
        let (a, b) = (before.steps.len(), after.steps.len());
        match name {
            "swap neighbours" | "move" if a == b => assert_eq!(sorted(before), sorted(after)),
            "drop" => assert!(b < a, "{before}{after}"),
            "go on" => assert_eq!(before.steps, after.steps[..a]),
            "shift a range" | "move an end" | "same range" if a == b => {
                let differ = before.steps.iter().zip(&after.steps);
                let differ = differ.filter(|(x, y)| x != y).count();
                assert!(differ <= 1, "{before}{after}");
            }
            "settings" => assert_eq!(before.steps, after.steps),
            _ => {}
        }
    });
}

#[test]
fn mutants_are_programs_and_the_same_everywhere() {
    let mut program = generate(7);
    for seed in 0..2000 {
        let mutant = mutate(&program, seed);
        assert_eq!(mutant.check(), Ok(()), "{mutant}");
        assert_eq!(mutant, mutate(&program, seed));
        assert_ne!(mutant, program);
        assert_eq!(Program::parse(&mutant.to_string()), Ok(mutant.clone()));
        program = mutant;
    }
}

#[test]
fn crossing_takes_steps_of_both() {
    let mut both = 0;
    for seed in 0..SEEDS {
        let (a, b) = (generate(seed), generate(seed + 1));
        let child = cross(&a, &b, seed);
        assert_eq!(child.check(), Ok(()), "{child}");
        let ops = |p: &Program| {
            p.steps
                .iter()
                .filter(|s| child.steps.iter().any(|c| c.op == s.op))
                .count()
        };
        both += u64::from(ops(&a) > 0 && ops(&b) > 0);
    }
    assert!(both * 2 > SEEDS, "{both} of {SEEDS}");
}

#[test]
fn what_an_author_expects_is_left_out() {
    let text = "# about\nneeds guards\nmmap 0+0..0+4 rw private fixed => ok\n    => 0+0 |rw-p ....|_\n# end\n";
    let program = Program::load(text).expect("a program");
    for seed in 0..50 {
        let mutant = mutate(&program, seed);
        assert!(mutant.about.is_empty() && mutant.needs.is_empty() && mutant.trailer.is_empty());
        assert!(mutant
            .steps
            .iter()
            .all(|s| s.expect.is_empty() && s.comments.is_empty()));
    }
}
