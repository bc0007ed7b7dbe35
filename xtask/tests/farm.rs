//! What a farm's engine runs: the script of a shard.

use std::path::Path;
use std::process::Command;

const OPTIONS: [&str; 3] = ["--simulated=fork/loses-guards", "--programs", "300"];

fn xtask(words: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).output().expect("a run")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

/// As an engine does it, with a shard that is run again, and one that was killed before it had begun.
#[test]
fn shards_of_a_farm_make_the_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let farm = dir.path().join("farm");
    let words = [
        "farm",
        "slurm",
        "--shards",
        "3",
        "--jobs",
        "1",
        "--dry-run",
        "--out",
    ];
    let prepared = xtask(&[&words[..], &[text(&farm), "--"], &OPTIONS].concat());
    assert!(prepared.status.success(), "{prepared:?}");
    let said = String::from_utf8_lossy(&prepared.stdout).into_owned();
    assert!(
        said.contains("sbatch") && said.contains("--array=1-3") && said.contains("merge"),
        "{said}"
    );
    assert!(farm.join("farm.sbatch").exists());
    let status = || xtask(&["farm", "status", text(&farm)]);
    assert_eq!(status().status.code(), Some(69));
    std::fs::create_dir_all(farm.join("shards/2/consoles")).expect("a folder");
    for shard in ["3", "1", "2", "1"] {
        let script = farm.join("shard.sh");
        let ended = Command::new(script).arg(shard).output().expect("a shell");
        assert!(ended.status.success(), "{shard}: {ended:?}");
    }
    let through = status();
    assert!(through.status.success(), "{through:?}");
    let said = String::from_utf8_lossy(&through.stdout).into_owned();
    assert_eq!(said, "3 of 3 shards are through\n");
    // A shard that is through is not run again.
    let log = std::fs::read_to_string(farm.join("logs/1.log")).expect("a log");
    assert_eq!(log.matches("results: ").count(), 1, "{log}");
    // Another campaign does not go to the same folder.
    let other = xtask(&[&words[..], &[text(&farm), "--", "--simulated=none"]].concat());
    assert_eq!(other.status.code(), Some(2), "{other:?}");
    let all = dir.path().join("all");
    let shards = ["1", "2", "3"].map(|k| farm.join("shards").join(k));
    let [one, two, three] = [0, 1, 2].map(|k| text(&shards[k]));
    let merged = xtask(&["merge", one, two, three, "--out", text(&all)]);
    assert_eq!(merged.status.code(), Some(1), "{merged:?}");
    let whole = dir.path().join("whole");
    xtask(&[&["vm-matrix", "--out", text(&whole)][..], &OPTIONS].concat());
    let table =
        |folder: &Path| std::fs::read_to_string(folder.join("divergences.csv")).expect("a table");
    assert_eq!(table(&all), table(&whole));
}

#[test]
fn options_that_the_farm_sets_are_refused() {
    for words in [
        &["farm", "parallel", "--dry-run", "--", "--shard", "1/2"][..],
        &["farm", "parallel", "--dry-run", "--shards", "0"],
        &["farm", "slurm", "--dry-run", "--", "--no-such-option"],
        &["farm", "status", "no-such-folder"],
        &["soak", "--", "--resume", "x"],
    ] {
        let ended = xtask(words);
        assert_eq!(ended.status.code(), Some(2), "{words:?}: {ended:?}");
    }
}

/// A Slurm that has room for two tasks, runs them at once, and is too busy for all, two and one of them the first time.
const SBATCH: &str = r#"#!/bin/sh
here=$(dirname "$0")
for word; do case $word in --array=*) array=${word#--array=};; */farm.sbatch) batch=$word;; esac; done
asked=$(cat "$here/asked" 2>/dev/null || echo 0)
echo $((asked + 1)) >"$here/asked"
if [ "$asked" -lt 3 ]; then
    echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2
    exit 1
fi
case $array in [0-9]|[0-9]-[0-9]) ;; *) echo "array $array" >&2; exit 1;; esac
first=${array%-*} last=${array#*-}
if [ $((last - first)) -gt 1 ]; then
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)" >&2
    exit 1
fi
echo "$array" >>"$here/taken"
for n in $(seq "$first" "$last"); do SLURM_ARRAY_TASK_ID=$n sh "$batch" 0; done
"#;

#[test]
fn a_slurm_with_little_room_is_waited_for() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let farm = dir.path().join("farm");
    let path = std::env::var_os("PATH").expect("a path");
    let folders = std::iter::once(dir.path().to_path_buf()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).expect("a path");
    let put = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(file, mode).expect("permissions");
    };
    put("squeue", "#!/bin/sh\n");
    put("sbatch", SBATCH);
    let run = |out: &Path| {
        let words = ["farm", "slurm", "--shards", "5", "--jobs", "1", "--out"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).arg(out).arg("--").args(OPTIONS);
        command.env("PATH", &path).output().expect("a farm")
    };
    let ended = run(&farm);
    let said = String::from_utf8_lossy(&ended.stderr);
    // The model's fault was found, in all five shards.
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("5 shards wait outside the queue"), "{said}");
    assert!(said.contains("5 of 5 shards are through"), "{said}");
    assert!(!said.contains("was lost"), "{said}");
    let taken = std::fs::read_to_string(dir.path().join("taken")).expect("arrays");
    assert_eq!(taken, "1-2\n3\n4-5\n");

    // What no waiting mends ends it.
    put(
        "sbatch",
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n",
    );
    let ended = run(&dir.path().join("other"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(said.contains("invalid partition"), "{said}");
}
