//! The exit codes that scripts rely on, each with what is said.

use std::path::Path;
use std::process::{Command, Output};

fn xtask(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs and checks the code; returns both streams.
fn expect(code: i32, words: &[&str]) -> (String, String) {
    let output = xtask(words).output().unwrap();
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

fn simulated<'a>(fault: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
        "vm-matrix",
        "--simulated",
        fault,
        "--programs",
        "128",
        "--out",
    ];
    words.push(out.to_str().unwrap());
    words.extend(more);
    words
}

#[test]
fn nothing_new_is_0() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (text, _) = expect(0, &simulated("none", &out, &[]));
    assert!(text.contains(" 0 new divergences"), "{text}");
    for file in [
        "matrix.csv",
        "boundaries.csv",
        "tightness.csv",
        "divergences.csv",
        "run.json",
        "results.jsonl",
        "stats.txt",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    let matrix = std::fs::read_to_string(out.join("matrix.csv")).unwrap();
    let corpus = walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus"));
    let row: Vec<&str> = matrix.lines().nth(1).unwrap().split(',').collect();
    let ran: usize = row[5].parse().unwrap();
    assert_eq!(ran, 128 + corpus, "the whole corpus ran");
}

/// Number of .prog files, those for `cargo xtask races` apart.
fn walk(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries
        .filter(|path| !path.ends_with("races"))
        .map(|path| match path.is_dir() {
            true => walk(&path),
            false => usize::from(path.extension().is_some_and(|e| e == "prog")),
        })
        .sum()
}

#[test]
fn a_new_divergence_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (_, err) = expect(1, &simulated("guard/install-skipped", &out, &[]));
    assert!(err.contains("5 of 5 re-runs"), "{err}");
}

#[test]
fn wrong_usage_is_2() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    expect(2, &["vm-matrix", "--no-such-option"]);
    expect(2, &["vm-matrix", "--programs", "3", "--minutes", "1"]);
    expect(2, &["vm-matrix", "--minutes", "-1"]);
    let (_, err) = expect(
        2,
        &[
            "vm-matrix",
            "--kernels",
            "5.0",
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert!(err.contains("5.0") && err.contains("7.3"), "{err}");
    let (_, err) = expect(2, &simulated("none", &out, &["--profile", "newest"]));
    assert!(err.contains("newest"), "{err}");
    let (_, err) = expect(
        2,
        &simulated("none", &out, &["--without-row", "mseal-stale"]),
    );
    assert!(err.contains("mseal_stale_start"), "{err}");
    let (_, err) = expect(2, &simulated("no/such", &dir.path().join("out2"), &[]));
    assert!(err.contains("guard/install-skipped"), "{err}");
}

/// Before anything is fetched or booted.
#[test]
fn races_that_cannot_be_run_are_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alone.prog");
    let alone = path.to_str().unwrap();
    std::fs::write(&path, "mmap 0+0..0+4 rw private fixed\n").unwrap();
    let (_, err) = expect(2, &["races", alone]);
    assert!(
        err.contains("alone.prog") && err.contains("no threads") && err.contains("xtask run"),
        "{err}"
    );
    expect(
        2,
        &["races", dir.path().join("none.prog").to_str().unwrap()],
    );
    for words in [
        &["--repetitions", "0"][..],
        &["--no-reports", "--seconds", "5"],
        &["--without-row", "no_such_row"],
    ] {
        expect(2, &[&["races"], words].concat());
    }
}

#[test]
fn a_program_that_does_not_parse_is_2_and_shown_with_a_caret() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("bad.prog");
    std::fs::write(
        &program,
        "mmap 0+0..0+4 rw private fixed\nguard-instal 0+0..0+1\n",
    )
    .unwrap();
    let path = program.to_str().unwrap();
    for words in [
        &["show", path][..],
        &["run", path],
        &["vm-matrix", "--simulated", "none", "--corpus", path],
    ] {
        let (_, err) = expect(2, words);
        assert!(err.contains("bad.prog:2:1"), "{err}");
        assert!(err.contains("^^^^"), "{err}");
        assert!(err.contains("guard-install"), "{err}");
    }
    let (_, err) = expect(2, &["show", dir.path().join("none.prog").to_str().unwrap()]);
    assert!(err.contains("none.prog"), "{err}");
}

/// What a fuzz target of messages leaves is bytes, and so is half of what one of programs leaves when it is killed.
#[test]
fn a_fuzz_artifact_that_is_no_program_is_2_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = dir.path().join("crash-0123");
    let bytes = b"mmap 0+0..0+4 rw private fixed\n\xff\x00\x80";
    std::fs::write(&artifact, bytes).unwrap();
    let path = artifact.to_str().unwrap();
    for words in [
        &["show", path][..],
        &["run", path],
        &["minimize", path, "--simulated", "fork/loses-guards"],
        &["reproducer", path],
    ] {
        let (_, err) = expect(2, words);
        assert!(err.contains("crash-0123") && err.contains("31"), "{err}");
    }
    assert_eq!(std::fs::read(&artifact).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_kernel_that_is_none_is_2() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let file = dir.path().join("bzImage");
    std::fs::write(&file, vec![0x5a; 100_000]).unwrap();
    for path in [file.as_path(), dir.path(), &dir.path().join("nothing")] {
        let path = path.to_str().unwrap();
        let (_, err) = expect(
            2,
            &[
                "vm-matrix",
                "--kernel",
                path,
                "--out",
                out.to_str().unwrap(),
            ],
        );
        assert!(err.contains(path), "{err}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn no_qemu_is_69_with_the_line_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let empty = dir.path().join("bin");
    std::fs::create_dir(&empty).unwrap();
    // Nothing in PATH: no QEMU, no apt-get, nobody to ask for root's power.
    let output = xtask(&[
        "vm-matrix",
        "--kernels",
        "7.3",
        "--out",
        out.to_str().unwrap(),
    ])
    .env("PATH", &empty)
    .output()
    .unwrap();
    let err = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{err}");
    assert!(err.contains("qemu-system-x86"), "{err}");
    assert!(err.contains("apt-get install"), "{err}");
}

#[test]
fn an_output_folder_that_cannot_be_used_is_69() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = file.join("out");
    let (_, err) = expect(69, &simulated("none", &out, &[]));
    assert!(err.contains(out.to_str().unwrap()), "{err}");
    // A second run does not overwrite the first one's results.
    let used = dir.path().join("used");
    expect(0, &simulated("none", &used, &[]));
    let (_, err) = expect(69, &simulated("none", &used, &[]));
    assert!(err.contains("another --out"), "{err}");
}

#[test]
fn a_full_disk_is_69() {
    // Writes to this device always fail with ENOSPC.
    if !Path::new("/dev/full").exists() {
        panic!("this test needs the /dev/full device");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = xtask(&simulated("none", &out, &[]))
        .stdout(
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .output()
        .unwrap();
    let err = stderr(&output);
    assert_eq!(output.status.code(), Some(69), "{err}");
    assert!(out.join("matrix.csv").exists(), "what was written is kept");
    assert!(!err.contains("panicked"), "{err}");
}

/// The folder of the results on a file system that fills up. Mounted in a namespace of the command's own, it goes with it.
#[test]
fn a_disk_that_fills_up_is_69_and_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let in_a_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.args([place, env!("CARGO_BIN_EXE_xtask")]);
        command.output()
    };
    let mount = "mount -t tmpfs -o size=256k none \"$1\"";
    let may = in_a_namespace(mount).is_ok_and(|output| output.status.success());
    if !may {
        eprintln!(
            "SKIPPED: unshare and mount, with user namespaces or as root, are not to be had here"
        );
        return;
    }
    let run = "\"$2\" vm-matrix --simulated none --minutes 5 --out \"$1/out\" > /dev/null";
    let look = "echo \"code $?\"; cat \"$1/out/results.jsonl\"";
    let output = in_a_namespace(&format!("{mount} || exit 1; {run}; {look}")).unwrap();
    let (out, err) = (stdout(&output), stderr(&output));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("code 69"), "{out}\n{err}");
    assert!(err.contains("No space left on device"), "{err}");
    assert!(err.contains(place), "the folder is named: {err}");
    assert!(!err.contains("panicked"), "{err}");
    // Whole records, but for the one that had no room.
    let kept: Vec<&str> = lines.collect();
    let whole = kept.iter().filter(|line| line.ends_with('}')).count();
    assert!(whole > 2 && whole + 1 >= kept.len(), "{whole} of {kept:?}");
}

/// Nobody takes what is said, as behind `| head -1`.
#[test]
fn a_closed_pipe_is_69_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("a.prog");
    let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3\nfork 1\n1: read 0+0..0+4\n";
    std::fs::write(&program, text).unwrap();
    let path = program.to_str().unwrap();
    for words in [
        &["kernels", "list"][..],
        &["minimize", path, "--simulated", "fork/loses-guards"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = xtask(words).stdout(writer).output().unwrap();
        let err = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{words:?}: {err}");
        assert!(err.contains("standard output cannot be written"), "{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

/// The oracle knows what a kernel does that lacks what the program needs; its author need not.
#[test]
fn what_a_kernel_lacks_costs_the_expectations_only() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("wrong.prog");
    let text = "needs guards\n\nmmap 0+0..0+1 rw private fixed => EPERM\n";
    std::fs::write(&program, text).unwrap();
    let run = |profile: &str, code: i32| {
        let out = dir.path().join(profile);
        let mut words = vec!["vm-matrix", "--simulated", "none", "--programs", "0"];
        words.extend(["--profile", profile, "--out", out.to_str().unwrap()]);
        words.extend(["--corpus", program.to_str().unwrap()]);
        expect(code, &words);
        let matrix = std::fs::read_to_string(out.join("matrix.csv")).unwrap();
        let row: Vec<String> = matrix
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .map(str::to_string)
            .collect();
        (row[5].clone(), row[13].clone())
    };
    assert_eq!(
        run("6.12", 0),
        ("1".into(), "1".into()),
        "programs, skipped"
    );
    assert_eq!(run("7.3", 1), ("1".into(), "0".into()), "programs, skipped");
}

#[test]
fn show_prints_strips() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("a.prog");
    std::fs::write(
        &program,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+1..0+3\nread 0+1..0+2\n",
    )
    .unwrap();
    let (text, _) = expect(0, &["show", program.to_str().unwrap(), "--rules"]);
    assert!(text.contains("|rw-p aGG.|"), "{text}");
    assert!(text.contains("=> SIGSEGV MAPERR 0+1"), "{text}");
    assert!(text.contains("guard/install/"), "{text}");
}

#[test]
fn show_tells_where_two_kernels_part() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("a.prog");
    std::fs::write(
        &program,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3\nread 0+0..0+1\n",
    )
    .unwrap();
    let path = program.to_str().unwrap();
    let (text, _) = expect(
        0,
        &["show", path, "--profile", "6.18.5", "--against", "7.3"],
    );
    assert!(text.contains("part at op 1: guard-install"), "{text}");
    assert!(text.contains("VmFlags ac gu"), "{text}");
    let (text, _) = expect(0, &["show", path, "--profile", "7.2", "--against", "7.3"]);
    assert!(text.contains("agree"), "{text}");
    expect(2, &["show", path, "--against", "soon"]);
}

#[test]
fn help_teaches() {
    for verb in [
        "vm-matrix",
        "run",
        "show",
        "rules",
        "faults",
        "bench",
        "kernels",
        "test",
    ] {
        let (text, _) = expect(0, &[verb, "--help"]);
        assert!(text.lines().count() > 5, "{text}");
    }
    let (text, _) = expect(0, &["vm-matrix", "--help"]);
    assert!(text.contains("Examples:"), "{text}");
}

#[test]
fn kernels_that_cannot_be_compared_are_2() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let compare = |a: &str| expect(2, &["compare", a, "7.3", "--out", out.to_str().unwrap()]).1;
    let err = compare("no-such-series");
    assert!(err.contains("no-such-series"), "{err}");
    let err = compare("/nowhere/bzImage");
    assert!(err.contains("/nowhere/bzImage"), "{err}");
}

#[test]
fn failing_allocations_are_0_1_or_2() {
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../corpus/failures/install-fresh.prog"
    );
    let (text, _) = expect(0, &["failures", program, "--simulated", "none"]);
    assert!(text.contains("failing/guard-install 2"), "{text}");
    let fault = "failing/markers-before-anon-vma";
    let (text, _) = expect(1, &["failures", program, "--simulated", fault]);
    assert!(
        text.contains("guard-install: failing/guard-install: empty -> guard"),
        "{text}"
    );
    let folder = text.lines().last().unwrap();
    for file in ["failures.csv", "divergences.csv", "results.jsonl"] {
        assert!(Path::new(folder).join(file).exists(), "{file}");
    }
    std::fs::remove_dir_all(folder).unwrap();
    let unmarked = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../corpus/guard/01-the-first-guard.prog"
    );
    let (_, said) = expect(2, &["failures", unmarked, "--simulated", "none"]);
    assert!(said.contains("write `fail 1` behind one"), "{said}");
    let (_, said) = expect(2, &["failures", "--mutant", "no-such-bug"]);
    assert!(said.contains("install-without-anon-vma"), "{said}");
}
