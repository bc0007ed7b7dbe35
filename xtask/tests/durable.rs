//! What a machine that goes down keeps: a run on the model, watched by strace. Needs strace: feature `farm-tests`, as everything that takes
//! more than this workspace and QEMU.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// The calls of each thread in the order in which it began them, without the thread's number.
fn calls(trace: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut threads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if !call.starts_with("<...") && !call.starts_with("+++") {
            threads.entry(thread).or_default().push(call);
        }
    }
    threads
}

/// A record is on the disk before its thread goes on; a file that is replaced before it gets its name, and its name at once.
#[test]
fn what_is_told_to_be_there_is_on_the_disk() {
    let say = |line: &str| eprintln!("{line}");
    xtask::setup::ensure_strace(&say).expect("strace");
    let dir = tempfile::tempdir().expect("a folder");
    let (out, log) = (dir.path().join("out"), dir.path().join("trace"));
    let ended = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "signal=none", "-s", "16", "-e"])
        .arg("trace=write,fdatasync,fsync,rename,renameat,renameat2")
        .arg("-o")
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_xtask"))
        .args([
            "vm-matrix",
            "--simulated",
            "fork/loses-guards",
            "--programs",
            "640",
            "--out",
        ])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let trace = std::fs::read_to_string(&log).expect("a trace");
    let (mut records, mut replaced) = (0, Vec::new());
    for calls in calls(&trace).values() {
        for (n, call) in calls.iter().enumerate() {
            let next = calls.get(n + 1).copied().unwrap_or_default();
            if call.starts_with("write(") && call.contains("/results.jsonl>") {
                records += 1;
                let synced = next.starts_with("fdatasync(") && next.contains("/results.jsonl>");
                assert!(synced, "{call}\nand then {next}");
            }
            if call.starts_with("rename") {
                let before = calls[n - 1];
                let name = call.rsplit('"').nth(1).expect("a name");
                let temporary = before.split(".new-").nth(1).and_then(|rest| rest.get(..6));
                let temporary = temporary.expect(before);
                assert!(
                    before.starts_with("fsync(") && call.contains(temporary),
                    "{before}\n{call}"
                );
                assert!(
                    next.starts_with("fsync(") && !next.contains(".new-"),
                    "{call}\n{next}"
                );
                replaced.push(name.rsplit('/').next().expect("a name").to_string());
            }
        }
    }
    // Ten blocks, the corpus, and what the kernel came to.
    assert!(records > 12, "{records}");
    for name in ["campaign.json", "run.json", "matrix.csv"] {
        assert!(
            replaced.iter().any(|replaced| replaced == name),
            "{name}: {replaced:?}"
        );
    }
    assert!(
        replaced.iter().any(|name| name.ends_with(".prog")),
        "{replaced:?}"
    );
}
