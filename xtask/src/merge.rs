//! `cargo xtask merge`: folders of one campaign, put together.

mod confirm;

use crate::exit::{say, Exit, UsageError};
use crate::{folders, known};
use anyhow::{Context, Result};
use clap::Args;
use confirm::{confirm, Confirmed};
use harness::report::{
    boundaries_text, distinct, html_report, matrix_table, merge, observations_csv, Folder,
    Manifest, Merged, Ran,
};
use std::io;
use std::path::{Path, PathBuf};

/// Puts the shards of a campaign together: one folder with one matrix, as if it had run in one go.
///
/// DIR are folders of `vm-matrix` runs: shards (`--shard K/N`), runs that were cut short, merged folders. A block of programs that
/// several have counts once; order, grouping and repetition do not matter. Folders of different campaigns (another seed, other
/// rules, another kernel image, ...) are not mixed: exit code 2 says in what they differ.
///
/// Each kernel is compared with the one before it by what was stored of each program (observations.csv). With --confirm, on a machine
/// that can boot them, the first programs of each pair that differs run again on both kernels: what differs is said, with the documented
/// behaviours that explain it (confirmed.csv).
///
/// Exit codes: 0 complete, nothing new; 1 a new divergence, hang or crash, or two kernels differ in what nothing explains; 69 blocks are
/// missing, or the infrastructure failed.
///
/// Examples:
///   cargo xtask vm-matrix --programs 100000 --shard 1/3 --out one      (and 2/3, 3/3, wherever you like)
///   cargo xtask merge one two three --out all
///   cargo xtask merge one two three --out all --confirm
///   cargo xtask vm-matrix --resume two                                  (when it says that blocks of it are missing)
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct MergeArgs {
    /// Folders of runs.
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Where the whole goes. Default: a new folder under target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run programs in which neighbouring kernels were seen to differ again, on both, and say what explains it.
    #[arg(long)]
    confirm: bool,
}

impl MergeArgs {
    /// What merges these runs into a folder.
    pub fn new(runs: Vec<PathBuf>, out: PathBuf) -> MergeArgs {
        MergeArgs {
            runs,
            out: Some(out),
            confirm: false,
        }
    }
}

/// Carries out `merge`.
pub fn run(args: &MergeArgs, workspace: &Path) -> Result<Exit> {
    let out = folders::run_folder(workspace, args.out.as_deref());
    let known = known::load(workspace)?;
    let (folder, mut merged) = merge(&args.runs, &out).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => anyhow::Error::from(UsageError(error.to_string())),
        io::ErrorKind::AlreadyExists => UsageError(format!(
            "{error}: the folder holds another run; choose another --out"
        ))
        .into(),
        _ => anyhow::Error::from(error).context("the runs cannot be merged"),
    })?;
    let rules = Manifest::read(&out)?.campaign.remove("rules");
    if rules.is_none_or(|rules| rules.is_empty()) {
        known::note_fixed(&known, &mut merged.rows);
    }
    folder.tables(&merged.rows)?;
    folder.replace("observations.csv", &observations_csv(&merged.observed)?)?;
    record(&args.runs, &folder, &merged)?;
    folder.replace("report.html", html_report(&out)?.as_bytes())?;
    say!("{}", matrix_table(&merged.rows));
    let changed = boundaries_text(&merged.rows);
    if !changed.is_empty() {
        say!("what changed from one kernel to the next (boundaries.csv has every class, with a program):\n{changed}");
    }
    say!("{}", known::text(&known, &merged.rows));
    say!("{}{}", observed(&merged), told(&merged));
    let confirmed = match args.confirm {
        true => confirm(&merged.observed, &folder, workspace)
            .with_context(|| format!("merged into {}, but nothing was confirmed", out.display()))?,
        false => Confirmed::default(),
    };
    say!("{}\n", out.display());
    Ok(match exit(&merged) {
        Exit::Fine if confirmed.unexplained => Exit::Found,
        Exit::Fine if confirmed.interrupted => Exit::Interrupted,
        other => other,
    })
}

/// Kernel against kernel.
fn observed(merged: &Merged) -> String {
    let mut text = String::new();
    for pair in merged.observed.iter().filter(|pair| pair.programs > 0) {
        text += &format!(
            "{} and {} {}: observations differ in {} of {} programs (observations.csv)\n",
            pair.before, pair.kernel, pair.arch, pair.differ, pair.programs
        );
    }
    if !text.is_empty() {
        text += "`merge --confirm` runs programs of them again and says what explains it\n";
    }
    text
}

/// What people read at the end.
fn told(merged: &Merged) -> String {
    let planned = merged
        .planned
        .map_or(String::new(), |planned| format!(" of {planned}"));
    let mut text = format!("{}{planned} blocks are through", merged.done);
    if merged.twice > 0 {
        text += &format!(
            "; {} were there twice, {} of them with another outcome",
            merged.twice, merged.contradictions
        );
    }
    if merged.machines.len() > 1 {
        text += &format!(
            "; they ran on {} machines (run.json)",
            merged.machines.len()
        );
    }
    text.push('\n');
    for doubt in &merged.doubts {
        text += &format!("doubtful: {doubt}\n");
    }
    for (kernel, number, first) in &merged.missing {
        let first: Vec<String> = first.iter().map(ToString::to_string).collect();
        let more = if *number > first.len() as u64 {
            ", ..."
        } else {
            ""
        };
        text += &format!(
            "missing: {kernel}: {number} blocks: {}{more}\n",
            first.join(", ")
        );
    }
    text
}

fn exit(merged: &Merged) -> Exit {
    let tallies = || merged.rows.iter().map(|row| &row.tally);
    let new: u64 = tallies().map(|t| t.divergences + t.hangs + t.crashes).sum();
    let failed: u64 = tallies().map(|t| t.infra_errors).sum();
    if new > 0 {
        Exit::Found
    } else if failed > 0 || !merged.missing.is_empty() || merged.done == 0 {
        Exit::Infrastructure
    } else {
        Exit::Fine
    }
}

/// run.json: that of the first run, as far as it is the same for all, with the machines and the rows of all.
fn record(runs: &[PathBuf], folder: &Folder, merged: &Merged) -> Result<()> {
    let out = folder.path();
    let first = runs
        .iter()
        .min_by_key(|run| started(run))
        .map(|run| run.join("run.json"));
    let first = first.context("no run to merge")?;
    let text = std::fs::read_to_string(&first).with_context(|| first.display().to_string())?;
    let mut record: serde_json::Value =
        serde_json::from_str(&text).with_context(|| first.display().to_string())?;
    let manifest = harness::report::Manifest::read(out)?;
    record["command"] = manifest.command.into();
    record["started"] = manifest.started.into();
    for name in merged.machines.iter().flat_map(|m| m.qemu.keys()) {
        let versions = merged.machines.iter().filter_map(|m| m.qemu.get(name));
        record["versions"][name] = distinct(versions).into();
    }
    let accel = distinct(merged.machines.iter().flat_map(|m| m.accel.values()));
    if !accel.is_empty() {
        record["accel"] = accel.into();
    }
    record["machines"] = serde_json::to_value(&merged.machines)?;
    record["rows"] = serde_json::to_value(&merged.rows)?;
    record["end"] = match merged.missing.is_empty() {
        true => "finished".into(),
        false => "blocks are missing".into(),
    };
    let text = serde_json::to_vec_pretty(&record)?;
    folder.replace("run.json", &text)?;
    Ran::read(out)?;
    Ok(())
}

fn started(run: &Path) -> String {
    harness::report::Manifest::read(run).map_or(String::new(), |manifest| manifest.started)
}
