//! Triage of a run: what it lists, what it marks, and folders that are not what they should be.

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

/// A run of a simulated kernel with a fault; its folder, and the first divergence.
fn a_run(folder: &Path) -> (PathBuf, String) {
    let out = folder.join("run");
    let program = folder.join("a.prog");
    std::fs::write(
        &program,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n",
    )
    .unwrap();
    let (out_text, corpus) = (out.to_str().unwrap(), program.to_str().unwrap());
    let fault = ["--simulated", "fork/loses-guards", "--programs", "0"];
    let words = [
        &["vm-matrix", "--out", out_text, "--corpus", corpus],
        &fault[..],
    ];
    xtask(1, &words.concat());
    let table = std::fs::read_to_string(out.join("divergences.csv")).unwrap();
    let row = table.lines().nth(1).expect("a divergence");
    (out.clone(), row.split(',').next().unwrap().to_string())
}

#[test]
fn a_run_is_listed_shown_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (run, id) = a_run(folder.path());
    let run_text = run.to_str().unwrap();
    let text = xtask(1, &["triage", run_text]);
    assert!(text.contains("1 buckets") && text.contains(&id), "{text}");
    assert!(
        text.contains("xtask minimize") && !text.contains("did not come"),
        "{text}"
    );
    // With the kernel that the run had; a model is in no image that could be handed on.
    assert!(
        text.contains("--simulated fork/loses-guards") && !text.contains("xtask bisect"),
        "{text}"
    );
    let program = run.join(format!("divergences/{id}.prog"));
    let program = program.to_str().unwrap();
    let on = ["--simulated", "fork/loses-guards"];
    xtask(1, &[&["run", program], &on[..]].concat());
    xtask(0, &["run", program, "--simulated", "none"]);
    xtask(0, &[&["minimize", program], &on[..]].concat());
    let report = xtask(0, &["triage", run_text, "--show", &id]);
    assert!(report.contains("Rule "), "{report}");
    let text = xtask(2, &["triage", run_text, "--show", "d-x"]);
    assert!(text.contains(&id), "{text}");

    let findings = folder.path().join("findings");
    std::fs::create_dir(&findings).unwrap();
    let known = findings.join("known.toml");
    std::fs::write(&known, "# mine\n").unwrap();
    let mut mark = vec!["triage", run_text, "--known", &id, "--name", "loses"];
    mark.extend([
        "--source",
        "a \"run\"",
        "--findings",
        findings.to_str().unwrap(),
    ]);
    xtask(2, &mark);
    // An entry without a reason is refused, and leaves nothing behind.
    xtask(2, &[&mark[..], &["--reasoning", " "]].concat());
    assert_eq!(std::fs::read_to_string(&known).unwrap(), "# mine\n");
    assert!(!findings.join("loses.prog").exists());
    let more = [
        "--reasoning",
        "it does",
        "--status",
        "oracle-gap",
        "--link",
        "commit 0123",
    ];
    let mark = [&mark[..], &more].concat();
    xtask(0, &mark);
    let text = std::fs::read_to_string(&known).unwrap();
    assert!(
        text.starts_with("# mine\n") && text.contains("status = \"oracle-gap\""),
        "{text}"
    );
    assert!(text.contains("link = \"commit 0123\""), "{text}");
    assert!(text.contains("kernels_with = [\"x86_64 7.3.4\"]"), "{text}");
    // What `minimize` left there, which says of itself what it is.
    let kept = std::fs::read_to_string(findings.join("loses.prog")).unwrap();
    assert!(kept.contains("ops of"), "{kept}");
    let text = xtask(2, &mark);
    assert!(text.contains("there already"), "{text}");
}

#[test]
fn a_folder_that_is_no_run_of_this_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let text = xtask(2, &["triage", path]);
    assert!(text.contains("folder of a run"), "{text}");
    let table = folder.path().join("divergences.csv");
    std::fs::write(&table, "id,bucket\n").unwrap();
    let text = xtask(2, &["triage", path]);
    assert!(text.contains("reliability"), "{text}");
}

#[test]
fn a_run_that_was_cut_off_shows_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (run, id) = a_run(folder.path());
    let table = run.join("divergences.csv");
    let whole = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, format!("{whole}d-1234567890,for")).unwrap();
    std::fs::remove_file(run.join("run.json")).unwrap();
    let text = xtask(1, &["triage", run.to_str().unwrap()]);
    assert!(text.contains(&id) && text.contains("cut off"), "{text}");
    assert!(text.contains("did not come to its end"), "{text}");
    assert!(!text.contains("d-1234567890"), "{text}");
}
