//! `cargo xtask runs`: the folders that earlier runs have left, and removing old ones.

use crate::exit::{say, Exit, UsageError};
use crate::{farm, folders, measured};
use anyhow::{Context, Result};
use clap::{ArgGroup, Args, Subcommand};
use harness::report::{Manifest, RanRecord};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Lists the folders of runs under target/mmdiff, and removes old ones on request. Nothing else ever removes a run.
///
/// Runs are the folders in target/mmdiff/runs, and console logs of commands that leave nothing else in target/mmdiff/consoles. What
/// was written elsewhere (--out) is not touched, nor is a run that is being written, or a farm with shards that are not through.
///
/// Examples:
///   cargo xtask runs list
///   cargo xtask runs prune --keep 10              (says what it would remove)
///   cargo xtask runs prune --older-than 30 --yes
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RunsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// All runs, the newest last: size, when it was written last, and its command line.
    List,
    /// Removes old runs; without --yes it says which.
    Prune(PruneArgs),
}

#[derive(Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["keep", "older_than"])))]
struct PruneArgs {
    /// Keep the newest N runs, and the newest N folders of console logs.
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Remove only what was last written more than so many days ago.
    #[arg(long, value_name = "DAYS")]
    older_than: Option<f64>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// A run's journal.
const JOURNAL: &str = "results.jsonl";

/// Levels of folders in which other runs may be: the shards of a farm, the campaigns of a soak.
const NESTED: u32 = 2;

/// A folder that a run has left.
struct Run {
    path: PathBuf,
    /// When something in it was written last.
    written: SystemTime,
    bytes: u64,
}

/// Carries out `runs`.
pub fn run(args: &RunsArgs, workspace: &Path) -> Result<Exit> {
    let base = folders::target(workspace).join("mmdiff");
    match &args.what {
        What::List => list(&base),
        What::Prune(args) => prune(args, &base),
    }
}

fn list(base: &Path) -> Result<Exit> {
    let runs = runs(&base.join("runs"))?;
    let row = |run: &Run| {
        let manifest = Manifest::read(&run.path).map(|manifest| manifest.command);
        // A run of races has no campaign.
        let command = manifest.or_else(|_| RanRecord::read(&run.path).map(|record| record.command));
        vec![
            run.path.display().to_string(),
            size(run.bytes),
            format!("{:.1}", age(run).as_secs_f64() / 86_400.0),
            command.unwrap_or_default().join(" "),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    say!(
        "{}",
        measured::table(&["run", "MiB", "days", "command"], &rows)
    );
    let all = runs.iter().map(|run| run.bytes).sum();
    say!("{} runs, {} MiB\n", runs.len(), size(all));
    Ok(Exit::Fine)
}

fn prune(args: &PruneArgs, base: &Path) -> Result<Exit> {
    let days = args.older_than.unwrap_or(0.0);
    let Ok(limit) = Duration::try_from_secs_f64(days * 86_400.0) else {
        return Err(UsageError(format!("--older-than {days}: not a number of days")).into());
    };
    let (mut number, mut bytes) = (0, 0);
    for folder in ["runs", "consoles"] {
        let runs = runs(&base.join(folder))?;
        let old = runs.len().saturating_sub(args.keep.unwrap_or(0));
        for run in runs.iter().take(old).filter(|run| age(run) >= limit) {
            let path = run.path.display();
            if let Some(why) = needed(&run.path) {
                say!("{path} {why}: it stays\n");
                continue;
            }
            if args.yes {
                fs::remove_dir_all(&run.path).with_context(|| path.to_string())?;
            }
            number += 1;
            bytes += run.bytes;
            say!("{path}  {} MiB\n", size(run.bytes));
        }
    }
    let done = match args.yes {
        true => "removed",
        false => "would be removed; --yes removes them",
    };
    say!("{number} folders, {} MiB: {done}\n", size(bytes));
    Ok(Exit::Fine)
}

/// The folders in a folder, that which was written longest ago first.
fn runs(folder: &Path) -> Result<Vec<Run>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        // A link leads elsewhere.
        if path.symlink_metadata()?.is_dir() {
            let mut run = Run {
                written: SystemTime::UNIX_EPOCH,
                bytes: 0,
                path: path.clone(),
            };
            add_up(&path, &mut run).with_context(|| path.display().to_string())?;
            found.push(run);
        }
    }
    found.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(found)
}

fn add_up(path: &Path, run: &mut Run) -> std::io::Result<()> {
    let about = path.symlink_metadata()?;
    run.written = run.written.max(about.modified()?);
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            add_up(&entry?.path(), run)?;
        }
    } else {
        run.bytes += about.len();
    }
    Ok(())
}

/// Why a run must stay.
fn needed(path: &Path) -> Option<String> {
    if is_in_use(path, NESTED) {
        return Some("is being written".into());
    }
    match farm::left(path) {
        Ok(None | Some(0)) => None,
        Ok(Some(left)) => Some(format!("is a farm, {left} of its shards are not through")),
        Err(error) => Some(format!("is a farm whose shards cannot be read ({error:#})")),
    }
}

/// Whether a command holds a folder, writes a journal, or has a lock in it or so many levels below it.
fn is_in_use(path: &Path, levels: u32) -> bool {
    if folders::is_locked(path) {
        return true;
    }
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => levels > 0 && is_in_use(&path, levels - 1),
                Ok(_) => (name == JOURNAL || name.ends_with(".lock")) && folders::is_locked(&path),
                Err(_) => false,
            }
        })
}

fn age(run: &Run) -> Duration {
    run.written.elapsed().unwrap_or_default()
}

fn size(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::collections::BTreeSet;

    fn base() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for (n, name) in ["a", "b", "c", "d"].iter().enumerate() {
            let run = base.path().join("runs").join(name);
            fs::create_dir_all(run.join("consoles")).unwrap();
            let log = run.join("consoles/7.3.log");
            fs::write(&log, vec![0; 1000]).unwrap();
            fs::write(run.join("results.jsonl"), "").unwrap();
            let time = SystemTime::now() - Duration::from_secs(86_400 * (4 - n as u64));
            for path in [log, run.join("results.jsonl"), run.join("consoles"), run] {
                fs::File::open(path).unwrap().set_modified(time).unwrap();
            }
        }
        base
    }

    fn left(base: &tempfile::TempDir) -> Vec<String> {
        let runs = runs(&base.path().join("runs")).unwrap();
        let name = |run: &Run| run.path.file_name().unwrap().to_string_lossy().into_owned();
        runs.iter().map(name).collect()
    }

    fn pruned(keep: Option<usize>, older_than: Option<f64>, yes: bool, base: &tempfile::TempDir) {
        let args = PruneArgs {
            keep,
            older_than,
            yes,
        };
        prune(&args, base.path()).unwrap();
    }

    #[test]
    fn only_old_runs_go_and_only_when_asked() {
        let base = base();
        assert_eq!(left(&base), ["a", "b", "c", "d"]);
        pruned(Some(1), None, false, &base);
        assert_eq!(left(&base).len(), 4);
        pruned(Some(1), Some(3.5), true, &base);
        assert_eq!(left(&base), ["b", "c", "d"]);
        // One that is being written stays.
        let journal = base.path().join("runs/b/results.jsonl");
        let lock = Flock::lock(fs::File::open(journal).unwrap(), FlockArg::LockExclusive).unwrap();
        pruned(Some(1), None, true, &base);
        assert_eq!(left(&base), ["b", "d"]);
        drop(lock);
        pruned(Some(1), None, true, &base);
        assert_eq!(left(&base), ["d"]);
        pruned(None, Some(100.0), true, &base);
        assert_eq!(left(&base), ["d"]);
    }

    /// What is not a run of vm-matrix, or has several of them in it.
    #[test]
    fn what_runs_in_a_folder_keeps_it() {
        let base = tempfile::tempdir().unwrap();
        let runs = base.path().join("runs");
        let lock = |path: &Path| {
            let file = fs::File::open(path).unwrap();
            Flock::lock(file, FlockArg::LockExclusive).unwrap()
        };
        let held = folders::Held::run(base.path(), Some(&runs.join("races"))).unwrap();
        let again = folders::Held::run(base.path(), Some(&runs.join("races"))).unwrap_err();
        assert!(again.to_string().contains("another command"), "{again}");
        let journal = runs.join("soak/disturbed/1/results.jsonl");
        fs::create_dir_all(journal.parent().unwrap()).unwrap();
        fs::write(&journal, "").unwrap();
        let (journal, shard) = (lock(&journal), runs.join("farm/logs/3.lock"));
        fs::create_dir_all(shard.parent().unwrap()).unwrap();
        fs::write(&shard, "").unwrap();
        let shard = lock(&shard);
        fs::create_dir_all(runs.join("old")).unwrap();
        let unfinished = runs.join("waits");
        fs::create_dir_all(&unfinished).unwrap();
        fs::write(unfinished.join("farm.json"), r#"{"shards": 2}"#).unwrap();
        let names =
            |base: &tempfile::TempDir| -> BTreeSet<String> { left(base).into_iter().collect() };
        pruned(Some(0), None, true, &base);
        assert_eq!(
            names(&base),
            BTreeSet::from(["races", "soak", "farm", "waits"].map(String::from))
        );
        drop((held, journal, shard));
        pruned(Some(0), None, true, &base);
        assert_eq!(names(&base), BTreeSet::from(["waits".to_string()]));
    }
}
