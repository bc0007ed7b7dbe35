//! One campaign on real kernels in one go, killed and resumed, and in shards: the same verdicts and counts, and the same differences
//! between its kernels when they are asked again. Feature `farm-tests`: it takes minutes.

mod outcome;

use outcome::{matrix, verdicts};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Sixteen blocks of programs.
const OPTIONS: [&str; 8] = [
    "--kernels",
    "7.3,6.18",
    "--arch",
    "x86_64",
    "--programs",
    "400",
    "--corpus",
    "corpus/guard",
];

/// Times that the second run is killed.
const KILLS: usize = 5;
const SHARDS: usize = 7;

/// Longest that a block may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn xtask(words: &[&str]) -> Command {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(words)
        .current_dir(workspace.expect("the workspace"))
        .stdin(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

/// Runs a command to its end, which finds nothing new.
fn fine(words: &[&str]) -> Output {
    let output = xtask(words).output().expect("a run");
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    output
}

/// Whole lines of results.jsonl.
fn lines(folder: &Path) -> usize {
    let bytes = std::fs::read(folder.join("results.jsonl")).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Lets a run write one line more at least, and kills it.
fn killed(mut run: Child, folder: &Path) {
    let (began, had) = (Instant::now(), lines(folder));
    while lines(folder) == had {
        assert_eq!(run.try_wait().expect("a status"), None, "it ended first");
        assert!(began.elapsed() < PATIENCE, "no block was through");
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().expect("kill -9");
    run.wait().expect("an end");
}

/// The campaign, killed again and again.
fn in_pieces(dir: &Path) -> PathBuf {
    let folder = dir.join("pieces");
    let begin = [&["vm-matrix", "--out", text(&folder)], &OPTIONS[..]].concat();
    let resume = ["vm-matrix", "--resume", text(&folder)];
    for n in 0..KILLS {
        let mut command = xtask(if n == 0 { &begin } else { &resume });
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        killed(quiet.spawn().expect("a run"), &folder);
    }
    fine(&resume);
    folder
}

/// The campaign in shards, in an order by chance.
fn in_shards(dir: &Path) -> Vec<PathBuf> {
    let mut shards: Vec<PathBuf> = Vec::new();
    for k in 1..=SHARDS {
        let (folder, share) = (dir.join(format!("shard-{k}")), format!("{k}/{SHARDS}"));
        let words = ["vm-matrix", "--shard", &share, "--out", text(&folder)];
        fine(&[&words[..], &OPTIONS].concat());
        shards.push(folder);
    }
    let mut random = fastrand::Rng::new();
    random.shuffle(&mut shards);
    shards
}

fn same(one: &Path, other: &Path) {
    let (of_one, of_other) = (verdicts(one), verdicts(other));
    assert_eq!(of_one.len(), 16);
    assert!(of_one.values().all(|block| block.tally.programs > 0));
    assert_eq!(of_one, of_other);
    assert_eq!(matrix(one), matrix(other));
    for name in ["boundaries.csv", "tightness.csv", "divergences.csv"] {
        let table = |folder: &Path| std::fs::read_to_string(folder.join(name)).expect(name);
        assert_eq!(table(one), table(other), "{name}");
    }
}

#[test]
fn in_one_go_in_pieces_and_in_shards_it_is_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = dir.path().join("whole");
    fine(&[&["vm-matrix", "--out", text(&whole)], &OPTIONS[..]].concat());
    same(&whole, &in_pieces(dir.path()));

    let shards = in_shards(dir.path());
    let mut words = vec!["merge", "--confirm"];
    words.extend(shards.iter().map(|shard| text(shard)));
    // Twice is no more than once.
    words.push(text(&shards[0]));
    let all = dir.path().join("all");
    let merged = fine(&[&words[..], &["--out", text(&all)]].concat());
    same(&whole, &all);

    // 6.19 brought the mark that guard install leaves on a VMA.
    let said = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(
        said.contains("everything that differs is explained"),
        "{said}"
    );
    let table = std::fs::read_to_string(all.join("confirmed.csv")).expect("confirmed.csv");
    let row = table.lines().find(|line| line.ends_with(",maybe_guard"));
    let program = row.and_then(|row| row.split(',').rev().nth(1));
    let program = all.join(program.expect("the mark of guards"));
    assert!(program.is_file(), "{}", program.display());
}
