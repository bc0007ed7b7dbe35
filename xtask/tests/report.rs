//! The reports of a run's buckets, and runs that cannot be reported on.

use std::path::{Path, PathBuf};
use std::process::Command;

fn xtask(code: i32, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    out + &err
}

/// A run of a simulated kernel with a fault.
fn a_run(folder: &Path) -> PathBuf {
    let out = folder.join("run");
    let program = folder.join("a.prog");
    let text = "mmap 0+0..0+9 rw private fixed\nwrite 0+2..0+5 tag 3\nguard-install 0+0..0+1\nfork 1\n1: exit\n";
    std::fs::write(&program, text).unwrap();
    let (out_text, corpus) = (out.to_str().unwrap(), program.to_str().unwrap());
    let fault = ["--simulated", "fork/loses-guards", "--programs", "0"];
    let words = [
        &["vm-matrix", "--out", out_text, "--corpus", corpus],
        &fault[..],
    ];
    xtask(1, &words.concat());
    out
}

/// The only folder in `buckets/`.
fn bucket(run: &Path) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(run.join("buckets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(folders.len(), 1);
    folders.remove(0)
}

#[test]
fn a_bucket_is_minimized_and_reported_with_what_reproduces_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = a_run(folder.path());
    let text = xtask(1, &["report", run.to_str().unwrap()]);
    assert!(text.contains("1 kernels affected"), "{text}");
    let bucket = bucket(&run);
    let id = bucket.file_name().unwrap().to_str().unwrap();
    let report = std::fs::read_to_string(bucket.join("report.txt")).unwrap();
    assert!(report.contains("3 ops of 5; nothing more"), "{report}");
    assert!(report.contains("10/10 runs; 1 of 1 programs"), "{report}");
    assert!(report.lines().all(|l| l.chars().count() <= 80), "{report}");
    let program = bucket.join(format!("{id}.prog"));
    let words = ["--simulated", "fork/loses-guards"];
    xtask(
        1,
        &[&["verdict", program.to_str().unwrap()], &words[..]].concat(),
    );
    for name in [
        format!("{id}.c"),
        format!("{id}-kselftest.c"),
        "reproduce.sh".into(),
    ] {
        assert!(bucket.join(&name).is_file(), "{name}");
    }
    let line = report.lines().find(|l| l.starts_with("Bucket: ")).unwrap();
    let only = ["--bucket", line.strip_prefix("Bucket: ").unwrap()];
    xtask(1, &[&["report", run.to_str().unwrap()], &only[..]].concat());
    let other = ["--bucket", "fork: a: b -> c"];
    let text = xtask(
        2,
        &[&["report", run.to_str().unwrap()], &other[..]].concat(),
    );
    assert!(
        text.contains("has no bucket") && text.contains(only[1]),
        "{text}"
    );
}

#[test]
fn what_does_not_happen_again_is_said_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let run = a_run(folder.path());
    // The kernel has been mended since.
    let record = run.join("run.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"fork/loses-guards\"", "\"none\"")).unwrap();
    let text = xtask(1, &["report", run.to_str().unwrap()]);
    assert!(
        text.contains("not reported") && text.contains("does not diverge"),
        "{text}"
    );
    assert!(!run.join("buckets").exists());
    // Its own report is where it says.
    let text = text.replace('\n', " ");
    let name = text.split("divergences/").nth(1).unwrap();
    let name = name.split(".txt").next().unwrap();
    assert!(
        run.join(format!("divergences/{name}.txt")).is_file(),
        "{name}"
    );
    // Neither does a program that is none any more.
    std::fs::write(run.join(format!("divergences/{name}.prog")), "mmap what\n").unwrap();
    let text = xtask(1, &["report", run.to_str().unwrap()]);
    assert!(
        text.contains("not reported") && text.contains("what"),
        "{text}"
    );
}

#[test]
fn a_run_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = a_run(folder.path());
    let record = run.join("run.json");
    let whole = std::fs::read_to_string(&record).unwrap();
    let other = whole.replace("\"--programs\"", "\"--programmes\"");
    std::fs::write(&record, other).unwrap();
    let text = xtask(2, &["report", run.to_str().unwrap()]);
    assert!(
        text.contains("cannot repeat the run") && text.contains("--programmes"),
        "{text}"
    );
    std::fs::write(&record, "{}").unwrap();
    let text = xtask(2, &["report", run.to_str().unwrap()]);
    assert!(text.contains("another version"), "{text}");
    let text = xtask(2, &["report", folder.path().to_str().unwrap()]);
    assert!(text.contains("folder of a run"), "{text}");
}
