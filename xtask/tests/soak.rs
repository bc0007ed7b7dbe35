//! A campaign to which everything happens, on the model: what soak proves, and that it notices.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Some ten seconds of faults.
fn soak(out: &Path, meanwhile: impl FnOnce()) -> Output {
    let words = ["soak", "--minutes", "0.15", "--every", "0.4", "--out"];
    let campaign = ["--", "--simulated=fork/loses-guards", "--programs", "2000"];
    let run = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .arg(out)
        .args(campaign)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a soak");
    meanwhile();
    run.wait_with_output().expect("an end")
}

fn count(report: &str, fault: &str) -> u64 {
    let line = report
        .lines()
        .find_map(|line| line.trim().strip_prefix(fault));
    let count = line.and_then(|rest| rest.strip_prefix(": ")?.parse().ok());
    count.unwrap_or_else(|| panic!("no {fault}: {report}"))
}

#[test]
fn a_campaign_survives_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("soak");
    let ended = soak(&out, || {});
    let report = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(report.contains("nothing is left behind"), "{report}");
    let faults = std::fs::read_to_string(out.join("faults.csv")).expect("a log");
    let mut all = 0;
    for fault in [
        "kill-host",
        "kill-host-and-tear-line",
        "interrupt-host",
        "stop-host",
    ] {
        let told = count(&report, fault);
        let logged = faults.lines().filter(|line| {
            line.split(',').nth(2) == Some(fault) && !line.contains("without effect")
        });
        assert_eq!(told, logged.count() as u64, "{faults}");
        all += told;
    }
    assert!(all > 2, "{report}");
    // There are no guests.
    assert_eq!(
        count(&report, "kill-qemu") + count(&report, "panic-guest"),
        0
    );
}

/// A process of the campaign that nobody ends, and a file that nobody removes.
#[test]
fn what_is_left_behind_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("soak");
    let mut left = None;
    let ended = soak(&out, || {
        let (tmp, since) = (out.join("tmp"), Instant::now());
        while !tmp.exists() {
            assert!(since.elapsed() < Duration::from_secs(60), "no soak");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::write(tmp.join("forgotten"), "").expect("a file");
        // It is called as the campaign's processes are.
        let process = Command::new("sh")
            .args(["-c", "read forever", "xtask", "vm-matrix", "--out"])
            .arg(out.join("disturbed/1"))
            .stdin(Stdio::piped())
            .spawn();
        left = Some(process.expect("a process"));
    });
    let mut left = left.expect("a process");
    left.kill().expect("an end");
    left.wait().expect("an end");
    let report = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(report.contains("WRONG: left behind: process"), "{report}");
    let file = format!(
        "WRONG: left behind: {}",
        out.join("tmp/forgotten").display()
    );
    assert!(report.contains(&file), "{report}");
    assert!(!report.contains("nothing is left behind"), "{report}");
}
