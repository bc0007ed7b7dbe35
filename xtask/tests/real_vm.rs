//! The main command on real kernels when things go wrong. Needs QEMU and the locked kernels: feature `vm-tests`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn matrix(out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["vm-matrix", "--kernels", "7.3", "--arch", "x86_64", "--out"])
        .arg(out)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Pids of QEMUs below a process.
fn qemus_of(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let ppid: u32 = rest
            .split(' ')
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        if ppid == parent && name.contains("qemu-system") {
            found.push(pid);
        }
    }
    found
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

/// Starts an endless run, ends it with a signal once it has judged something, and sees to it that nothing is left.
fn ended_by(signal: i32) -> std::path::PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let mut run = matrix(&folder, &["--minutes", "60"])
        .spawn()
        .expect("a run");
    let deadline = Instant::now() + Duration::from_secs(300);
    let results = folder.join("results.jsonl");
    while std::fs::metadata(&results).map_or(0, |m| m.len()) == 0 {
        assert!(Instant::now() < deadline, "no result within 300 s");
        assert!(
            run.try_wait().expect("a status").is_none(),
            "it ended by itself"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let qemus = qemus_of(run.id());
    assert!(!qemus.is_empty());
    let killed = Command::new("kill")
        .args([format!("-{signal}"), run.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    run.wait().expect("an end");
    let deadline = Instant::now() + Duration::from_secs(10);
    while qemus.iter().any(|&pid| alive(pid)) {
        assert!(Instant::now() < deadline, "QEMU outlives signal {signal}");
        std::thread::sleep(Duration::from_millis(50));
    }
    folder
}

#[test]
fn real_qemu_goes_with_a_killed_run_and_results_stay() {
    let folder = ended_by(9);
    let results = std::fs::read_to_string(folder.join("results.jsonl")).expect("results");
    assert!(results.lines().count() > 0);
    std::fs::remove_dir_all(folder).expect("clean");
}

#[test]
fn real_qemu_goes_with_an_interrupted_run_and_the_matrix_is_written() {
    let folder = ended_by(2);
    let matrix = std::fs::read_to_string(folder.join("matrix.csv")).expect("a matrix");
    assert!(matrix.lines().count() > 1, "{matrix}");
    std::fs::remove_dir_all(folder).expect("clean");
}

/// Numbers of one column of matrix.csv.
fn column(out: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(out.join("matrix.csv")).expect("a matrix");
    let mut lines = text.lines();
    let at = lines
        .next()
        .and_then(|head| head.split(',').position(|c| c == name))
        .expect("the column");
    lines
        .map(|line| {
            line.split(',')
                .nth(at)
                .and_then(|v| v.parse::<u64>().ok())
                .expect("a number")
        })
        .sum()
}

#[test]
fn real_hangs_and_crashes_are_verdicts() {
    for (fault, name) in [("hang", "hangs"), ("panic", "crashes"), ("warn", "crashes")] {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let program = folder.path().join("one.prog");
        std::fs::write(&program, "mmap 0+0..0+4 rw private fixed\nread 0+0..0+1\n")
            .expect("a file");
        let mut run = matrix(&out, &["--programs", "0", "--guest-fault", fault]);
        run.arg("--corpus").arg(&program);
        let status = run.status().expect("a run");
        assert_eq!(status.code(), Some(1), "{fault}");
        assert!(column(&out, name) > 0, "{fault}");
    }
}

/// One that was built without seccomp, and takes its time to say so.
#[test]
fn a_qemu_without_a_sandbox_is_used_and_told_of() {
    use std::os::unix::fs::PermissionsExt;
    let name = "qemu-system-x86_64";
    let path = std::env::var_os("PATH").expect("a path");
    let real = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .expect("QEMU");
    let dir = tempfile::tempdir().expect("a folder");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' -sandbox '*)\n  sleep 1\n  \
         echo '{name}: -sandbox support is not enabled in this QEMU binary' >&2\n  exit 1\nesac\nexec {} \"$@\"\n",
        real.display()
    );
    let fake = dir.path().join(name);
    std::fs::write(&fake, script).expect("a script");
    // Root's QEMU is nobody's.
    for path in [dir.path(), &fake] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("permissions");
    }
    let folders = std::env::split_paths(&path);
    let folders = std::iter::once(dir.path().to_path_buf()).chain(folders);
    let out = dir.path().join("out");
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/guard/01-the-first-guard.prog");
    let ended = matrix(&out, &["--programs", "0", "--corpus"])
        .arg(corpus)
        .env("PATH", std::env::join_paths(folders).expect("a path"))
        .stderr(Stdio::piped())
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let told = format!("without QEMU's sandbox: {name}: -sandbox support is not enabled");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
    let record = std::fs::read_to_string(out.join("run.json")).expect("run.json");
    assert!(record.contains(", without sandbox\""), "{record}");
    assert_eq!(column(&out, "programs"), 1);
}

/// A kernel that finds no init panics before the guest is up: neither a pass nor a finding.
#[test]
fn a_real_kernel_that_does_not_boot_is_69() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let more = ["--programs", "64", "--append", "rdinit=/nonexistent"];
    let mut run = matrix(&out, &more);
    let output = run.stderr(Stdio::piped()).output().expect("a run");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{err}");
    assert!(err.contains("panics while it boots"), "{err}");
    assert_eq!(column(&out, "programs"), 0, "{err}");
    assert!(column(&out, "infra_errors") > 0, "{err}");
    assert_eq!(column(&out, "divergences"), 0, "{err}");
}
