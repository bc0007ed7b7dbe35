//! What `git bisect run` relies on: the exit codes of `verdict`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn expect(code: i32, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("verdict")
        .args(words)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    out + &err
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("a.prog");
    std::fs::write(&path, text).unwrap();
    path
}

const FORK: &str = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n";

#[test]
fn good_bad_and_skipped_are_0_1_and_125() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), FORK);
    let path = path.to_str().unwrap();
    let text = expect(0, &[path, "--simulated", "none"]);
    assert!(text.contains("holds in 10 runs"), "{text}");
    let fault = [path, "--simulated", "fork/loses-guards"];
    let text = expect(1, &fault);
    assert!(text.contains("diverges in 10 of 10 runs at op 2"), "{text}");
    let other = ["--bucket", "fork: fork/copies-guards: guard -> nothing"];
    let text = expect(125, &[&fault[..], &other].concat());
    assert!(text.contains("something else goes wrong"), "{text}");
}

/// An image that is there and does not boot is the commit's doing.
#[test]
fn mistakes_make_git_bisect_give_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "mmap 0+0..0+4 rw private fixed\nforc 1\n");
    let bad = path.to_str().unwrap();
    let text = expect(128, &[bad, "--simulated", "none"]);
    assert!(text.contains("^^^^"), "{text}");
    expect(128, &[&format!("{bad}x"), "--simulated", "none"]);
    expect(128, &[bad, "--no-such-option"]);
    let good = write(folder.path(), FORK);
    let good = good.to_str().unwrap();
    expect(128, &[good, "--simulated", "none", "--runs", "0"]);
    expect(128, &[good, "--simulated", "none", "--bucket", "x"]);
    expect(128, &[good, "--kernel", "/nonexistent/bzImage"]);
}
