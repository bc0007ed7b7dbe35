//! The judge accepts what the rules permit and notices what they do not.

mod common;

use common::{campaign, settings, Memory};
use harness::campaign::{Amount, Discard};
use harness::kernel::simulated::{Simulated, FAILING, FAULTS};
use oracle::geometry::Geometry;
use oracle::profile::{Arch, Profile, Release};
use oracle::rules::RULES;
use std::collections::BTreeSet;

/// Whatever branch a kernel takes, at whatever page size and release, the oracle explains it.
#[test]
fn a_faultless_kernel_never_diverges() {
    let kernel = |label: &str, seed, geometry, release: Release| Simulated {
        label: label.into(),
        seed,
        geometry,
        profile: Profile::at_release(release, Arch::X86_64),
        release: release.to_string(),
        ..Simulated::default()
    };
    let kernels = [
        kernel("newest", 1, Geometry::K4, Release::NEWEST),
        kernel("16k", 2, Geometry::K16, Release::NEWEST),
        kernel("6.12", 3, Geometry::K4, Release(6, 12, 0)),
        kernel("6.18", 4, Geometry::K4, Release(6, 18, 5)),
    ];
    let sink = Memory::default();
    let summary = campaign(&settings(1000), &kernels, &sink);
    let found = sink.reported.lock().unwrap();
    let first = found.first().map(|r| {
        format!(
            "{}: {}: {}\n{}",
            r.kernel.label, r.story.bucket, r.story.text, r.program
        )
    });
    assert_eq!(first, None);
    for row in &summary.rows {
        assert_eq!(row.tally.programs, 1000, "{}", row.kernel);
        assert_eq!(
            row.tally.ops,
            row.tally.agree + row.tally.allowed,
            "{}",
            row.kernel
        );
        assert!(row.tally.ops > 10_000, "{}", row.kernel);
        assert_eq!(row.tally.infra_errors, 0, "{:?}", row.errors);
    }
    let allowed: u64 = summary.rows.iter().map(|row| row.tally.allowed).sum();
    assert!(allowed > 0, "the dice never chose another branch");
}

/// Every fault of the table is found by 2,000 programs.
#[test]
fn every_fault_is_found() {
    assert!(FAULTS.len() >= 20);
    let kernels: Vec<Simulated> = FAULTS
        .iter()
        .map(|fault| Simulated {
            label: fault.full_name(),
            fault: Some(fault),
            ..Simulated::default()
        })
        .collect();
    let mut settings = settings(0);
    settings.amount = Amount::Programs(2000);
    settings.stop_at_first = true;
    settings.reruns = 0;
    let summary = campaign(&settings, &kernels, &Discard);
    let missed: Vec<&str> = summary
        .rows
        .iter()
        .filter(|row| row.first_suspect.is_none())
        .map(|row| row.kernel.as_str())
        .collect();
    assert!(missed.is_empty(), "unnoticed: {missed:?}");
}

/// Families of rules of which no fault breaks a rule, each with why.
const WITHOUT: [(&str, &str); 1] = [(
    "race",
    "they are for sections of threads, which these programs do not have; the model's row flags_read_early is their fault, found in \
     harness/src/triage/tests.rs",
)];

/// Every family of rules (`guard/...`) has a fault that breaks a rule of it, or says why not.
#[test]
fn every_family_of_rules_has_a_fault() {
    let family = |rule: &&'static str| rule.split('/').next().unwrap_or_default();
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| family(&rule.name)).collect();
    let broken: BTreeSet<&str> = FAULTS
        .iter()
        .chain(FAILING)
        .flat_map(|fault| fault.breaks.iter().map(family))
        .collect();
    let without: Vec<&str> = rules.difference(&broken).copied().collect();
    assert_eq!(without, WITHOUT.map(|(family, _)| family));
}

/// Re-runs show a fault that is always there every time.
#[test]
fn a_steady_fault_is_reliable() {
    let kernel = Simulated {
        fault: FAULTS.iter().find(|f| f.name == "guard-accerr"),
        ..Simulated::default()
    };
    let sink = Memory::default();
    let summary = campaign(&settings(200), &[kernel], &sink);
    let reported = sink.reported.lock().unwrap();
    assert!(!reported.is_empty());
    assert!(summary.new_suspects() >= reported.len() as u64);
    for r in reported.iter() {
        assert_eq!(r.runs, 3, "{}", r.story.bucket);
        assert!(r.hits > 0, "{}", r.story.bucket);
        assert!(r.story.text.len() > 10, "says what it is");
    }
    let every_time = reported.iter().filter(|r| r.hits == 3).count();
    assert!(2 * every_time > reported.len(), "most are there every time");
}

/// What was generated does not depend on who runs it or how many run side by side.
#[test]
fn jobs_do_not_change_what_is_found() {
    let kernel = Simulated {
        fault: FAULTS.iter().find(|f| f.name == "loses-guards"),
        ..Simulated::default()
    };
    let found = |jobs| {
        let mut settings = settings(2000);
        settings.jobs = jobs;
        let summary = campaign(&settings, std::slice::from_ref(&kernel), &Discard);
        let tally = summary.rows[0].tally;
        (tally.programs, tally.divergences)
    };
    let one = found(1);
    assert!(one.1 > 0);
    assert_eq!(one, found(4));
}
