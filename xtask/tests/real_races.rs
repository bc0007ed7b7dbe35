//! `races` on a real kernel, from its command line to what it leaves. Needs QEMU and the locked kernels: feature `vm-tests`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn races(out: &Path, program: &str, more: &[&str]) -> Output {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("races")
        .arg(workspace.join("corpus/races").join(program))
        .args(["--kernels", "7.3", "--arch", "x86_64", "--out"])
        .arg(out)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("a run")
}

/// The rows of a table, by the names of its columns.
fn rows(out: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let mut table = csv::Reader::from_path(out.join(name)).expect(name);
    table.deserialize().map(|row| row.expect(name)).collect()
}

#[test]
fn real_threads_come_to_allowed_ways_and_their_walks_are_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let run = races(
        &out,
        "02-store-storm.prog",
        &["--repetitions", "100", "--rounds"],
    );
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let row = &rows(&out, "races.csv")[0];
    let number = |name: &str| row[name].parse::<u64>().expect(name);
    assert_eq!((number("repetitions"), number("forbidden")), (100, 0));
    assert!(number("overlapped") > 0, "{row:?}");
    // The storm is met: an install that found nothing in its way would have walked once.
    let later = ["two_walks", "three_walks", "restarted"].map(number);
    assert!(later.iter().sum::<u64>() > 0, "{row:?}");
    assert_eq!(
        number("one_walk") + later.iter().sum::<u64>(),
        100,
        "{row:?}"
    );
    let ways = rows(&out, "ways.csv");
    assert_eq!(ways.len() as u64, number("ways"));
}

#[test]
fn a_real_forbidden_outcome_is_minimized_and_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let fault = ["--guest-fault", "skip-guard-install", "--seconds", "60"];
    let run = races(
        &out,
        "13-against-mlock.prog",
        &[&fault[..], &["--repetitions", "60"]].concat(),
    );
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let found = &rows(&out, "divergences.csv")[0];
    let original = std::fs::read_to_string(out.join(&found["program"])).expect("its program");
    let buckets = out.join("buckets").read_dir().expect("reports");
    let bucket = buckets.flatten().next().expect("a report").path();
    let report = std::fs::read_to_string(bucket.join("report.txt")).expect("report.txt");
    assert!(report.contains("7.3"), "{report}");
    let name = bucket.file_name().expect("a name").to_string_lossy();
    let program = bucket.join(format!("{name}.prog"));
    let shortest = std::fs::read_to_string(program).expect("the shortest program");
    let ops = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with(char::is_alphanumeric) || line.starts_with('|'))
            .count()
    };
    assert!(shortest.contains("|a"), "{shortest}");
    assert!(ops(&shortest) < ops(&original), "{shortest}\n{original}");
}
