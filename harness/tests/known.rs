//! Known findings explain what they name, and nothing beside it.

mod common;

use common::{campaign, settings, Memory};
use harness::campaign::{compare, Bucket, CorpusProgram, Known, PairSettings, Pairing, Status};
use harness::kernel::simulated::{Simulated, FAULTS};
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

const PROGRAM: &str = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+2\nread 0+0..0+1\n";

fn entry(bucket: &Bucket, with: &str, without: &str) -> String {
    format!(
        "[[finding]]\nid = \"test\"\nop = \"{}\"\nrule = \"{}\"\nexpected = \"{}\"\nobserved = \"{}\"\n\
         bucket = \"{bucket}\"\nkernels_with = [{with}]\nkernels_without = [{without}]\nprogram = \"p.prog\"\n\
         reasoning = \"because\"\nsource = \"a run\"\n",
        bucket.op, bucket.rule, bucket.expected, bucket.observed
    )
}

fn load(text: &str) -> Result<Known, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.prog"), PROGRAM).unwrap();
    let path = dir.path().join("known.toml");
    std::fs::write(&path, text).unwrap();
    Known::load(&path).map_err(|e| e.to_string())
}

fn bucket() -> Bucket {
    Bucket {
        op: "read".into(),
        rule: "access/guard".into(),
        expected: "SIGSEGV-MAPERR".into(),
        observed: "SIGSEGV-ACCERR".into(),
    }
}

#[test]
fn the_file_in_the_corpus_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/findings/known.toml");
    if let Err(error) = Known::load(&path) {
        panic!("{error}");
    }
}

#[test]
fn an_entry_explains_its_bucket_on_its_kernels_only() {
    let known = load(&entry(
        &bucket(),
        "\"x86_64 6.17\", \"x86_64 6.18\"",
        "\"x86_64 6.18.15\", \"x86_64 7.3\"",
    ))
    .unwrap();
    let on = |bucket: &Bucket, arch: &str, release: &str| {
        known
            .explains(bucket, arch, release, &Profile::newest())
            .is_some()
    };
    assert!(on(&bucket(), "x86_64", "6.17.13+deb14-cloud-amd64"));
    assert!(on(&bucket(), "x86_64", "6.18.5+deb14-cloud-amd64"));
    assert!(!on(&bucket(), "x86_64", "6.18.15+deb14-cloud-amd64"));
    assert!(!on(&bucket(), "aarch64", "6.17.13+deb14-cloud-arm64"));
    assert!(!on(&bucket(), "x86_64", "7.3.4"));
    assert!(!on(&bucket(), "x86_64", "7.0.13"));
    assert!(!on(&bucket(), "x86_64", "unknown"));
    let neighbours = [
        Bucket {
            op: "write".into(),
            ..bucket()
        },
        Bucket {
            rule: "access/denied".into(),
            ..bucket()
        },
        Bucket {
            expected: "no-signal".into(),
            ..bucket()
        },
        Bucket {
            observed: "no-signal".into(),
            ..bucket()
        },
    ];
    for neighbour in &neighbours {
        assert!(!on(neighbour, "x86_64", "6.17.13"), "{neighbour}");
    }
}

/// Where the profile has the row that models a finding, the entry explains nothing: the model expects the behaviour, and
/// what still differs is something else.
#[test]
fn an_entry_is_silent_where_its_behaviour_is_modelled() {
    let text = entry(&bucket(), "\"x86_64 7.3\"", "") + "behaviour = \"huge_exclusive_by_head\"\n";
    let known = load(&text).unwrap();
    for with_row in [false, true] {
        let profile = Profile {
            huge_exclusive_by_head: with_row,
            ..Profile::newest()
        };
        let found = known.explains(&bucket(), "x86_64", "7.3.4", &profile);
        assert_eq!(found.is_some(), !with_row);
    }
}

#[test]
fn a_finding_that_a_kernel_no_longer_has_is_gone() {
    let text = entry(&bucket(), "\"x86_64 6.18\"", "\"x86_64 6.18.15\"");
    let text = text + "behaviour = \"huge_exclusive_by_head\"\nstatus = \"intended-change\"\nlink = \"a commit\"\n";
    let known = load(&text).unwrap();
    let gone = |arch: &str, release: &str, rows: &[&str]| {
        let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        known.gone(arch, release, &rows, &BTreeMap::new()).len()
    };
    assert_eq!(gone("x86_64", "6.18.5", &["other"]), 1);
    assert_eq!(gone("x86_64", "6.18.5", &["huge_exclusive_by_head"]), 0);
    for (arch, release) in [
        ("x86_64", "6.18.15"),
        ("aarch64", "6.18.5"),
        ("x86_64", "7.3.4"),
    ] {
        assert_eq!(gone(arch, release, &[]), 0, "{arch} {release}");
    }
    let finding = known.iter().next().unwrap();
    assert_eq!(finding.status, Status::IntendedChange);
    let error = load(&text.replace("intended-change", "nobody-knows")).unwrap_err();
    assert!(error.contains("kernel-bug"), "{error}");
}

/// An entry that no row models is tried: its own program ran and did not show it.
#[test]
fn a_finding_whose_program_no_longer_shows_it_is_gone() {
    let gone = |more: &str, runs: &[(&str, u64)]| {
        let text = entry(&bucket(), "\"x86_64 7.3\"", "") + more;
        let held = runs.iter().map(|(id, n)| (id.to_string(), *n)).collect();
        let known = load(&text).unwrap();
        known.gone("x86_64", "7.3.4", &[], &held).len()
    };
    assert_eq!(gone("", &[]), 0, "nobody has tried it");
    assert_eq!(gone("", &[("other", 3)]), 0);
    assert_eq!(gone("", &[("test", 1)]), 1);
    // What shows now and then may have hidden.
    let rare = "reliability = \"30/100\"\n";
    assert_eq!(gone(rare, &[("test", 1)]), 0);
    assert_eq!(gone(rare, &[("test", 20)]), 1);
    let other = entry(&bucket(), "\"x86_64 7.3\"", "") + "same_as = \"nobody\"\n";
    assert!(load(&other).unwrap_err().contains("no entry above"));
    let wrong = entry(&bucket(), "\"x86_64 7.3\"", "") + "reliability = \"often\"\n";
    assert!(load(&wrong).unwrap_err().contains("often"));
}

/// In a campaign: the finding's program is a program of the corpus.
#[test]
fn a_campaign_tries_the_programs_of_findings() {
    let mut settings = settings(0);
    settings.known = load(&entry(&bucket(), "\"x86_64 7.3\"", "")).unwrap();
    let one = || CorpusProgram {
        name: "p.prog".into(),
        program: Arc::new(Program::load(PROGRAM).unwrap()),
    };
    settings.corpus = vec![one(), one()];
    let row = |fault: Option<&str>| {
        let kernel = Simulated {
            fault: FAULTS.iter().find(|f| Some(f.name) == fault),
            ..Simulated::default()
        };
        let sink = Memory::default();
        let mut rows = campaign(&settings, &[kernel], &sink).rows;
        let told = sink.known.into_inner().unwrap();
        (rows.remove(0), told)
    };
    let (honest, told) = row(None);
    assert_eq!((honest.held.get("test"), told.len()), (Some(&2), 0));
    let (faulty, told) = row(Some("guard-accerr"));
    assert_eq!(faulty.held.get("test"), None);
    // Met twice, told of once.
    assert_eq!(
        faulty.known_met.get("test"),
        Some(&2),
        "{:?}",
        faulty.buckets
    );
    assert_eq!(told, ["test"]);
}

/// The same in a whole campaign: with an entry for one fault, that fault is known, and a neighbouring one is new.
#[test]
fn a_neighbouring_fault_is_not_swallowed() {
    let kernel = |name: &str| Simulated {
        fault: FAULTS.iter().find(|f| f.name == name),
        ..Simulated::default()
    };
    let sink = Memory::default();
    campaign(&settings(100), &[kernel("guard-accerr")], &sink);
    let met: Vec<Bucket> = sink
        .reported
        .lock()
        .unwrap()
        .iter()
        .map(|r| r.story.bucket.clone())
        .filter(|b| b.op == "read")
        .collect();
    let bucket = met.first().expect("a read of a guard").clone();

    let with = entry(&bucket, "\"x86_64 7.3\"", "");
    let mut settings = settings(100);
    settings.known = load(&with).unwrap();
    let summary = campaign(&settings, &[kernel("guard-accerr")], &Memory::default());
    let row = &summary.rows[0];
    assert!(row.tally.known > 0);
    assert_eq!(row.known_met.get("test"), Some(&row.tally.known));
    assert!(row.buckets.iter().all(|(b, _)| *b != bucket));

    let summary = campaign(&settings, &[kernel("guard-is-open")], &Memory::default());
    assert_eq!(summary.rows[0].tally.known, 0);
    assert!(summary.rows[0].tally.divergences > 0);
}

/// A pair of kernels: what is known of one or of both is no difference, and what both do wrong is not said of one.
#[test]
fn known_findings_are_no_differences_of_a_pair() {
    let faulty = Simulated {
        fault: FAULTS.iter().find(|f| f.name == "guard-accerr"),
        ..Simulated::default()
    };
    let program = Arc::new(Program::parse(PROGRAM).unwrap());
    let compared = |other: &Simulated, known: Known| {
        let settings = PairSettings {
            seed: 1,
            programs: 0,
            corpus: vec![CorpusProgram {
                name: "p".into(),
                program: program.clone(),
            }],
            reruns: 1,
            known,
        };
        compare(
            &settings,
            [other, &faulty],
            &AtomicBool::new(false),
            &|_, _| {},
        )
        .unwrap()
    };
    let honest = Simulated::default();
    let result = compared(&honest, Known::default());
    let what = &result.unexplained.first().expect("a finding").what;
    assert_eq!(*what, format!("{} only: {}", faulty.release, bucket()));
    assert_eq!(compared(&faulty, Known::default()).same, 1);

    let known = load(&entry(&bucket(), "\"x86_64 7.3\"", "")).unwrap();
    let result = compared(&honest, known.clone());
    assert_eq!((result.known, result.unexplained), (1, Vec::new()));

    // A fuzzer hears of what both do wrong, too.
    let met = |known: Known| {
        let mut pairing = Pairing::open([&faulty, &faulty], 1, known).unwrap();
        pairing.run(program.clone(), &mut |_, _| {}).unwrap()
    };
    let what = met(Known::default()).expect("a finding");
    assert!(what.ends_with(&format!(": both: {}", bucket())), "{what}");
    assert_eq!(met(known), None);
}

#[test]
fn entries_that_say_too_little_or_too_much_are_refused() {
    let good = entry(&bucket(), "\"x86_64 6.17\"", "\"x86_64 7.3\"");
    load(&good).unwrap();
    let bad = [
        (
            "SIGSEGV-ACCERR\"\nbucket",
            "SIGSEGV-*\"\nbucket",
            "wildcard",
        ),
        ("reasoning = \"because\"", "reasoning = \" \"", "reasoning"),
        ("source = \"a run\"", "", "source"),
        ("[\"x86_64 6.17\"]", "[]", "kernels_with"),
        ("x86_64 6.17", "x86_64 6.*", "6.*"),
        ("x86_64 6.17", "6.17", "ARCH"),
        ("x86_64 6.17", "x86_64 7.3", "both"),
        ("p.prog", "q.prog", "q.prog"),
        ("bucket = \"read", "bucket = \"write", "fields say"),
        ("op = \"read\"\nrule", "op = \"fork\"\nrule", "fields say"),
        ("id = \"test\"", "id = \"test\"\nseverity = 3", "severity"),
        (
            "source = \"a run\"",
            "source = \"a run\"\nbehaviour = \"no_such_row\"",
            "no_such_row",
        ),
    ];
    for (from, to, word) in bad {
        assert!(good.contains(from), "{from}");
        let error = load(&good.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains(word), "{to}: {error}");
        assert!(error.contains("known.toml"), "{error}");
    }
    let error = load(&(good.clone() + &good)).unwrap_err();
    assert!(error.contains("twice"), "{error}");
}
