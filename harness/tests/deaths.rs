//! Kernels that hang, crash and vanish: every program is accounted for, and the campaign goes on.

mod common;

use common::{campaign, settings, Memory};
use harness::campaign::{Feed, Kind, Notice, Summary, BLOCK};
use harness::kernel::simulated::{Mishap, Simulated, Strike, FAULTS};
use std::collections::{BTreeMap, BTreeSet};

/// Programs of the tests.
const PROGRAMS: u64 = 100;

/// Name of an op that few programs have, and how many have it: each of them costs a kernel.
fn rare() -> (&'static str, u64) {
    let feed = Feed::new(1);
    let mut programs: BTreeMap<&'static str, u64> = BTreeMap::new();
    for n in 0..PROGRAMS {
        let program = &feed.block(n / BLOCK)[(n % BLOCK) as usize];
        let names: BTreeSet<&'static str> = program.steps.iter().map(|s| s.op.name()).collect();
        for name in names {
            *programs.entry(name).or_default() += 1;
        }
    }
    programs
        .into_iter()
        .filter(|(_, n)| (3..=9).contains(n))
        .max_by_key(|(_, n)| *n)
        .expect("an op that few programs have")
}

fn with(mishap: Mishap) -> (Summary, Memory) {
    let kernel = Simulated {
        strike: Some(Strike {
            mishap,
            op: rare().0,
            probes: false,
        }),
        ..Simulated::default()
    };
    let sink = Memory::default();
    let summary = campaign(&settings(PROGRAMS), &[kernel], &sink);
    (summary, sink)
}

/// How many of the programs have the rare op.
fn struck() -> u64 {
    rare().1
}

#[test]
fn a_hang_is_a_verdict() {
    let (summary, sink) = with(Mishap::Hang);
    let row = &summary.rows[0];
    assert_eq!(row.tally.programs, PROGRAMS);
    assert_eq!(row.tally.hangs, struck());
    assert_eq!(row.tally.infra_errors, 0, "{:?}", row.errors);
    for r in sink.reported.lock().unwrap().iter() {
        assert_eq!(r.story.kind, Kind::Hang);
        assert_eq!(r.program.steps[r.story.step].op.name(), rare().0);
        assert_eq!((r.hits, r.runs), (3, 3));
        assert!(r.story.console.contains("simulated_hang"));
    }
}

#[test]
fn an_actor_that_dies_is_a_divergence() {
    let (summary, sink) = with(Mishap::Die);
    assert_eq!(summary.rows[0].tally.divergences, struck());
    let reported = sink.reported.lock().unwrap();
    assert_eq!(reported[0].story.bucket.observed, "killed by signal 9");
}

#[test]
fn a_crash_is_attributed_and_the_rest_runs_again() {
    for mishap in [Mishap::Crash, Mishap::LockUp] {
        let (summary, sink) = with(mishap);
        let row = &summary.rows[0];
        assert_eq!(row.tally.programs, PROGRAMS, "{mishap:?}: {:?}", row.errors);
        let (counted, kind) = match mishap {
            Mishap::Crash => (row.tally.crashes, Kind::Crash),
            _ => (row.tally.hangs, Kind::Hang),
        };
        assert_eq!(counted, struck(), "{mishap:?}");
        assert_eq!(row.tally.infra_errors, 0, "{:?}", row.errors);
        let reported = sink.reported.lock().unwrap();
        assert!(!reported.is_empty());
        for r in reported.iter() {
            assert_eq!(r.story.kind, kind);
            assert_eq!(r.program.steps[r.story.step].op.name(), rare().0);
            // Each re-run costs a boot.
            assert_eq!((r.hits, r.runs), (2, 2), "{mishap:?}");
            assert!(r.story.console.contains("simulated"));
        }
    }
}

/// What a fuzzer without an oracle sees of a kernel that is wrong everywhere and also hangs or crashes now and then.
#[test]
fn crashes_alone_are_noticed_where_nobody_judges() {
    for (mishap, kind) in [
        (None, None),
        (Some(Mishap::Die), None),
        (Some(Mishap::Hang), Some(Kind::Hang)),
        (Some(Mishap::Crash), Some(Kind::Crash)),
    ] {
        let kernel = Simulated {
            fault: FAULTS.iter().find(|f| f.name == "guard-accerr"),
            strike: mishap.map(|mishap| Strike {
                mishap,
                op: rare().0,
                probes: false,
            }),
            ..Simulated::default()
        };
        let mut settings = settings(PROGRAMS);
        settings.notice = Notice::Crashes;
        let sink = Memory::default();
        let summary = campaign(&settings, &[kernel], &sink);
        let row = &summary.rows[0];
        assert_eq!(row.tally.programs, PROGRAMS, "{mishap:?}: {:?}", row.errors);
        assert_eq!(row.tally.divergences, 0, "{mishap:?}");
        let expected = kind.map_or(0, |_| struck());
        assert_eq!(row.tally.hangs + row.tally.crashes, expected, "{mishap:?}");
        let reported = sink.reported.lock().unwrap();
        assert!(reported.iter().all(|r| Some(r.story.kind) == kind));
    }
}

#[test]
fn a_lost_vm_is_infrastructure() {
    let (summary, sink) = with(Mishap::Lose);
    let row = &summary.rows[0];
    assert_eq!(row.tally.programs, PROGRAMS, "{:?}", row.errors);
    // Each such program loses three VMs, then it is set aside.
    assert!(row.tally.infra_errors >= 3 * struck(), "{:?}", row.tally);
    assert_eq!(summary.new_suspects(), 0);
    assert!(sink.reported.lock().unwrap().is_empty());
    assert!(row.errors[0].contains("gone"), "{:?}", row.errors);
}

#[test]
fn nonsense_and_limits_of_the_guest_are_infrastructure() {
    for mishap in [Mishap::Garbage, Mishap::Fail] {
        let (summary, _) = with(mishap);
        let row = &summary.rows[0];
        assert_eq!(row.tally.programs, PROGRAMS);
        assert_eq!(row.tally.infra_errors, struck(), "{mishap:?}");
        assert_eq!(summary.new_suspects(), 0);
        assert!(row.errors[0].contains("simulated"), "{:?}", row.errors);
    }
}

/// A kernel that dies of much is given up, and its row says so.
#[test]
fn a_kernel_that_dies_again_and_again_is_given_up() {
    let kernel = Simulated {
        strike: Some(Strike {
            mishap: Mishap::Crash,
            op: "nohugepage",
            probes: false,
        }),
        ..Simulated::default()
    };
    let sink = Memory::default();
    let summary = campaign(&settings(5 * PROGRAMS), &[kernel], &sink);
    let row = &summary.rows[0];
    assert!(
        row.tally.crashes > 0 && row.tally.programs < 5 * PROGRAMS,
        "{:?} {:?}",
        row.tally,
        row.errors
    );
    assert!(
        row.errors.iter().any(|e| e.contains("gave up")),
        "{:?}",
        row.errors
    );
}

/// A kernel that does not survive the probes does not run at all.
#[test]
fn a_kernel_that_dies_of_the_probes_is_infrastructure() {
    let kernel = Simulated {
        strike: Some(Strike {
            mishap: Mishap::Crash,
            op: "mmap",
            probes: true,
        }),
        ..Simulated::default()
    };
    let summary = campaign(&settings(PROGRAMS), &[kernel], &Memory::default());
    let row = &summary.rows[0];
    assert_eq!((row.tally.programs, row.tally.infra_errors), (0, 1));
    assert!(row.errors[0].contains("while probing"), "{:?}", row.errors);
}
