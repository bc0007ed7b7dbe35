//! Runs that are killed at any moment go on where they were, on the model.

mod outcome;

use outcome::{matrix, verdicts};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A fault that shows in a few programs of a hundred.
const FAULT: &str = "--simulated=fork/loses-guards";

fn xtask(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(words: &[&str]) -> Output {
    xtask(words).output().expect("a run")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn table(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect(name)
}

fn same(one: &Path, other: &Path) {
    assert_eq!(verdicts(one), verdicts(other));
    assert_eq!(matrix(one), matrix(other));
    for name in ["divergences.csv", "boundaries.csv", "tightness.csv"] {
        assert_eq!(table(one, name), table(other, name), "{name}");
    }
}

fn in_one_go(folder: &Path, programs: &str) -> PathBuf {
    let whole = folder.join("whole");
    let words = [
        "vm-matrix",
        FAULT,
        "--programs",
        programs,
        "--out",
        text(&whole),
    ];
    let ended = output(&words);
    assert_eq!(ended.status.code(), Some(1), "{}", says(&ended));
    whole
}

#[test]
fn a_run_that_is_killed_at_random_moments_comes_out_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let whole = in_one_go(dir.path(), "1500");
    let takes = began.elapsed().as_millis() as u64;
    let killed = dir.path().join("killed");
    let mut words = vec![
        "vm-matrix",
        FAULT,
        "--programs",
        "1500",
        "--out",
        text(&killed),
    ];
    let (mut kills, mut random) = (0, fastrand::Rng::with_seed(1));
    loop {
        let mut run = xtask(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a run");
        let patience = if kills < 8 {
            // Within most of the time that a whole run takes here.
            10 + random.u64(..(takes * 3 / 4).max(10))
        } else {
            600_000
        };
        let ended = (0..patience / 5).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            run.try_wait().expect("a status")
        });
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(1));
            break;
        }
        run.kill().expect("kill -9");
        run.wait().expect("an end");
        kills += 1;
        // Killed before it had made anything, it is begun again.
        if killed.join("campaign.json").exists() {
            words = vec!["vm-matrix", "--resume", text(&killed)];
        } else {
            let _ = std::fs::remove_dir_all(&killed);
        }
    }
    assert!(kills > 0, "nothing was killed");
    same(&whole, &killed);
    // Once more: there is nothing to do, and nothing changes.
    let again = output(&["vm-matrix", "--resume", text(&killed)]);
    assert_eq!(again.status.code(), Some(1), "{}", says(&again));
    same(&whole, &killed);
}

#[test]
fn a_resumed_run_has_the_options_that_it_was_started_with() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = in_one_go(dir.path(), "64");
    let with = |more: &[&str]| {
        let words = [&["vm-matrix", "--resume", text(&whole)], more].concat();
        output(&words)
    };
    for (more, says_so) in [
        (
            &["--seed", "7"][..],
            "--seed 7 contradicts the run, which has 1",
        ),
        (
            &["--programs", "65"],
            "--programs 65 contradicts the run, which has 64",
        ),
        (&["--shard", "1/2"], "--shard 1/2 was not given to the run"),
        (
            &["--simulated", "none"],
            "--simulated none contradicts the run",
        ),
    ] {
        let ended = with(more);
        assert_eq!(ended.status.code(), Some(2), "{}", says(&ended));
        assert!(says(&ended).contains(says_so), "{}", says(&ended));
    }
    let ended = with(&["--seed", "1", "--jobs", "1", "--format", "ktap"]);
    assert_eq!(ended.status.code(), Some(1), "{}", says(&ended));
    assert!(String::from_utf8_lossy(&ended.stdout).starts_with("KTAP"));

    // The rules have changed in the meantime.
    let path = whole.join("campaign.json");
    let manifest = table(&whole, "campaign.json").replacen("\"oracle\": \"", "\"oracle\": \"0", 1);
    std::fs::write(&path, manifest).expect("a manifest");
    let ended = with(&[]);
    assert_eq!(ended.status.code(), Some(2), "{}", says(&ended));
    assert!(says(&ended).contains("oracle: 0"), "{}", says(&ended));

    let ended = output(&["vm-matrix", "--resume", text(&dir.path().join("nothing"))]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(says(&ended).contains("nothing"), "{}", says(&ended));
}

#[test]
fn shards_are_merged_on_the_command_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = in_one_go(dir.path(), "500");
    let shards: Vec<PathBuf> = (1..=3)
        .map(|k| {
            let folder = dir.path().join(k.to_string());
            let shard = format!("{k}/3");
            let words = [
                "vm-matrix",
                FAULT,
                "--programs",
                "500",
                "--shard",
                &shard,
                "--out",
            ];
            let ended = output(&[&words[..], &[text(&folder)]].concat());
            assert_eq!(ended.status.code(), Some(1), "{}", says(&ended));
            folder
        })
        .collect();
    let all = dir.path().join("all");
    let [one, two, three] = [0, 1, 2].map(|k| text(&shards[k]));
    let ended = output(&["merge", three, one, two, one, "--out", text(&all)]);
    assert_eq!(ended.status.code(), Some(1), "{}", says(&ended));
    same(&whole, &all);

    let some = dir.path().join("some");
    let ended = output(&["merge", one, two, "--out", text(&some)]);
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(said.contains("missing: simulated x86_64"), "{said}");

    let other = dir.path().join("other");
    output(&[
        "vm-matrix",
        FAULT,
        "--programs",
        "500",
        "--seed",
        "2",
        "--out",
        text(&other),
    ]);
    let mixed = dir.path().join("mixed");
    let ended = output(&["merge", one, text(&other), "--out", text(&mixed)]);
    assert_eq!(ended.status.code(), Some(2), "{}", says(&ended));
    assert!(says(&ended).contains("seed: 1, and 2"), "{}", says(&ended));

    // Its programs are not run again with a corpus that is another one now.
    for folder in [one, two, three] {
        let path = Path::new(folder).join("campaign.json");
        let text = table(Path::new(folder), "campaign.json");
        let text = text.replacen("\"corpus\": \"", "\"corpus\": \"0", 1);
        std::fs::write(path, text).expect("a manifest");
    }
    let moved = dir.path().join("moved");
    let words = ["merge", one, two, three, "--confirm", "--out", text(&moved)];
    let ended = output(&words);
    assert_eq!(ended.status.code(), Some(2), "{}", says(&ended));
    assert!(says(&ended).contains("corpus: 0"), "{}", says(&ended));
    assert!(
        says(&ended).contains("nothing was confirmed"),
        "{}",
        says(&ended)
    );
    assert!(moved.join("matrix.csv").is_file());
}

/// Whatever the user's mask lets others have.
#[test]
fn what_runs_leave_is_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let (run, all) = (dir.path().join("runs/one"), dir.path().join("all"));
    let open = |words: &[&str]| {
        let ended = Command::new("sh")
            .args([
                "-c",
                "umask 0; exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_xtask"),
            ])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("a run");
        assert_eq!(ended.status.code(), Some(1), "{}", says(&ended));
    };
    open(&["vm-matrix", FAULT, "--programs", "300", "--out", text(&run)]);
    open(&["merge", text(&run), "--out", text(&all)]);
    let mut left = vec![run.clone(), all];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let about = path.symlink_metadata().expect("a file");
        let mode = about.permissions().mode() & 0o777;
        let wanted = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} has {mode:o}", path.display());
        seen += 1;
        if about.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
    assert!(run
        .join("divergences")
        .read_dir()
        .is_ok_and(|mut all| all.next().is_some()));
    assert!(seen > 30, "{seen}");
}
