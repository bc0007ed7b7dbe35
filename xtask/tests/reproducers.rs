//! C programs as files: what is written where, and what is refused.

use std::process::Command;

fn reproducer(code: i32, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("reproducer")
        .args(words)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    out + &err
}

#[test]
fn a_program_becomes_c_and_a_script_that_boots_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a.b.prog");
    std::fs::write(&program, "mmap 0+0..0+4 rw private fixed => ok\n").unwrap();
    let waiting = folder.path().join("waiting.prog");
    std::fs::write(
        &waiting,
        "khugepaged on\n\nmmap 0+0..0+4 rw private fixed => ok\n",
    )
    .unwrap();
    let out = folder.path().join("out");
    let (out_text, folder_text) = (out.to_str().unwrap(), folder.path().to_str().unwrap());
    let text = reproducer(0, &[folder_text, "--out", out_text]);
    assert!(text.contains("1 C programs"), "{text}");
    assert!(
        text.contains("waiting.prog") && text.contains("waits for khugepaged"),
        "{text}"
    );
    for name in ["a-b.c", "a-b-kselftest.c", "init.c", "reproduce.sh"] {
        assert!(out.join(name).exists(), "{name}");
    }
    // The script's own mistakes are neither a pass nor a failure of the kernel.
    let script = |kernel: &str| {
        let status = Command::new(out.join("reproduce.sh")).arg(kernel).output();
        status.unwrap().status.code()
    };
    assert_eq!(script(program.to_str().unwrap()), Some(69));
}

#[test]
fn nothing_that_can_be_said_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a.prog");
    std::fs::write(
        &program,
        "khugepaged on\n\nmmap 0+0..0+4 rw private fixed => ok\n",
    )
    .unwrap();
    let path = program.to_str().unwrap();
    let out = folder.path().join("out");
    let text = reproducer(2, &[path, "--out", out.to_str().unwrap()]);
    assert!(text.contains("waits for khugepaged"), "{text}");
    std::fs::write(&program, "mmap 0+0..0+4\n").unwrap();
    reproducer(2, &[path, "--out", out.to_str().unwrap()]);
}
