use super::*;
use crate::kernel::simulated::{Simulated, FAULTS};
use oracle::profile::{Arch, Release};

fn settings() -> PairSettings {
    PairSettings {
        seed: 3,
        programs: 300,
        corpus: Vec::new(),
        reruns: 3,
        known: Known::default(),
    }
}

fn model(major: u16, minor: u16) -> Simulated {
    let release = Release(major, minor, 0);
    Simulated {
        profile: Profile::at_release(release, Arch::X86_64),
        release: release.to_string(),
        ..Simulated::default()
    }
}

fn compared(a: &Simulated, b: &Simulated) -> PairResult {
    compare(&settings(), [a, b], &AtomicBool::new(false), &|_, _| {}).unwrap()
}

#[test]
fn a_kernel_is_like_itself() {
    let result = compared(&model(7, 3), &model(7, 3));
    assert_eq!((result.programs, result.same), (300, 300));
    assert!(result.explained.is_empty() && result.unexplained.is_empty());
}

#[test]
fn differences_between_releases_are_explained_by_rows() {
    let result = compared(&model(6, 18), &model(7, 3));
    assert!(result.unexplained.is_empty(), "{:?}", result.unexplained);
    let rows: Vec<&str> = result
        .explained
        .iter()
        .flat_map(|(change, _)| change.rows.iter().map(String::as_str))
        .collect();
    assert!(rows.contains(&"maybe_guard"), "{rows:?}");
    assert!(!rows.contains(&"guards"), "{rows:?}");
    let differing = result.programs - result.same - result.permitted;
    assert!(differing > 0 && differing < 300, "{differing}");
}

/// A mistake of one kernel is explained by nothing, whichever side it is on.
#[test]
fn a_mistake_is_unexplained() {
    let fault = FAULTS.iter().find(|f| f.name == "guard-is-open");
    let broken = Simulated {
        fault: Some(fault.expect("the fault")),
        release: "7.3.0-patched".into(),
        ..model(7, 3)
    };
    for pair in [[&model(7, 3), &broken], [&broken, &model(7, 3)]] {
        let result = compared(pair[0], pair[1]);
        let first = result.unexplained.first().expect("something unexplained");
        assert!(first.what.contains("7.3.0-patched only"), "{}", first.what);
        assert!(result.explained.is_empty(), "{:?}", result.explained);
    }
}

/// The same for programs that come one at a time.
#[test]
fn programs_may_come_one_at_a_time() {
    let fault = FAULTS.iter().find(|f| f.name == "guard-is-open");
    let fault = fault.expect("the fault");
    let broken = Simulated {
        fault: Some(fault),
        ..model(7, 3)
    };
    let found = |a: &Simulated, b: &Simulated| {
        let mut pairing = Pairing::open([a, b], 3, Known::default()).unwrap();
        let generated = |seed| Arc::new(oracle::program::generate::generate(seed));
        // As a fuzzer hears of them: a difference is something that neither kernel shows alone.
        let mut differ = 0;
        let found = (0..200).find_map(|seed| {
            let mut each = |program: &Program, both: [&Execution; 2]| {
                let marks = |both| {
                    let mut marks = std::collections::BTreeSet::new();
                    crate::fuzzing::marks::pair(program, both, &mut |mark| {
                        marks.insert(mark);
                    });
                    marks
                };
                assert!(!marks(both).is_empty());
                differ += u32::from(marks(both) != marks([both[0], both[0]]));
            };
            pairing.run(generated(seed), &mut each).unwrap()
        });
        assert!(differ > 0);
        found
    };
    assert_eq!(found(&model(6, 18), &model(7, 3)), None);
    let what = found(&model(7, 3), &broken).expect("a finding");
    let named = |rule: &&str| what.contains(&format!(": {rule}: "));
    assert!(
        what.contains("7.3.0 only") && fault.breaks.iter().any(named),
        "{what}"
    );
}
