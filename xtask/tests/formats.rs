//! `vm-matrix --format`: what other programs read, and nothing else, on standard output.

use std::process::{Command, Output};

fn matrix(fault: &str, format: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args([
            "vm-matrix",
            "--simulated",
            fault,
            "--programs",
            "200",
            "--format",
            format,
            "--out",
        ])
        .arg(dir.path().join("run"))
        .output()
        .unwrap()
}

#[test]
fn a_kernel_that_behaves_and_one_that_does_not() {
    for (fault, code, line) in [
        ("none", 0, "ok 1 "),
        ("guard/install-skipped", 1, "not ok 1 "),
    ] {
        let output = matrix(fault, "ktap");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.starts_with("KTAP version 1\n1..1\n"), "{text}");
        assert!(text.lines().last().unwrap().starts_with(line), "{text}");
        let known = ["KTAP", "1..", "#", "ok ", "not ok "];
        let other = text
            .lines()
            .find(|l| !known.iter().any(|k| l.trim_start().starts_with(k)));
        assert_eq!(other, None, "{text}");
    }
    let output = matrix("guard/install-skipped", "junit");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("<?xml"), "{text}");
    assert!(text.trim_end().ends_with("</testsuites>"), "{text}");
    assert!(text.contains("<failure"), "{text}");
}
