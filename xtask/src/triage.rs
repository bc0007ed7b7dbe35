//! `cargo xtask triage`: what a run found, bucket by bucket, and what to do about it.

mod mark;
mod prompt;

use crate::exit::{say, Exit, UsageError};
use crate::past::{newest, Kind, Past};
use crate::{folders, interrupt};
use anyhow::{bail, Context, Result};
use clap::builder::PossibleValuesParser;
use clap::Args;
use harness::campaign::{Bucket, Status};
use harness::report::{command, options, quoted, wrap, DIVERGENCE_COLUMNS};
use harness::triage::Reliability;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lists the buckets of a run, those met on most kernels first, and asks what to do with them: show, minimize, reproduce, mark as known.
///
/// Where it cannot ask, because input or output is no terminal, it prints the list with the commands that do the same.
/// Of a run of `races`, minimizing is racing it again: that confirms, minimizes and reports.
///
/// Without a folder: the newest run of vm-matrix or races under target/mmdiff/runs/. Exit code 1 when there is any bucket, 0 when there is none.
///
/// Examples:
///   cargo xtask triage
///   cargo xtask triage | less
///   cargo xtask triage --show d-0123456789
///   cargo xtask triage --known d-0123456789 --name fork-loses-guards --reasoning 'fork copies ...' --source 'commit 0123456'
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct TriageArgs {
    /// The run's folder.
    run: Option<PathBuf>,
    /// Print the report of this divergence.
    #[arg(long, value_name = "ID", conflicts_with = "known")]
    show: Option<String>,
    /// Mark the bucket of this divergence as known on the releases on which the run met it: an entry in corpus/findings/known.toml,
    /// and the program beside it: a minimized one where `minimize` or `report` left one. Minimize it first.
    #[arg(long, value_name = "ID", requires_all = ["name", "reasoning", "source"])]
    known: Option<String>,
    /// Short name of the new entry and its program.
    #[arg(long, value_name = "NAME", requires = "known")]
    name: Option<String>,
    /// What it is.
    #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(|(word, _)| word)), default_value = Status::ALL[0].0)]
    status: String,
    /// Why it is the kernel's doing, or the rules'.
    #[arg(long, value_name = "TEXT", requires = "known")]
    reasoning: Option<String>,
    /// Where this is known from: a commit, a thread, a run.
    #[arg(long, value_name = "TEXT", requires = "known")]
    source: Option<String>,
    /// What mended it, or where it is talked about: a commit, an address.
    #[arg(long, value_name = "TEXT", requires = "known")]
    link: Option<String>,
    /// Name the series of the kernels (6.18) instead of their releases (6.18.5): older and newer releases of them are explained, too.
    #[arg(long, requires = "known")]
    whole_series: bool,
    /// The program that goes beside the entry. Default: the shortest of this bucket that the run's folder has.
    #[arg(long, value_name = "FILE", requires = "known")]
    program: Option<PathBuf>,
    /// The findings' folder, other than corpus/findings.
    #[arg(long, value_name = "DIR", requires = "known")]
    findings: Option<PathBuf>,
}

/// A row of divergences.csv.
struct Row {
    id: String,
    bucket: Bucket,
    release: String,
    arch: String,
    /// Relative to the run's folder.
    program: PathBuf,
    reliability: String,
}

/// Carries out `triage`.
pub fn run(args: &TriageArgs, workspace: &Path) -> Result<Exit> {
    let folder = match &args.run {
        Some(folder) => folder.clone(),
        None => newest(&folders::target(workspace).join("mmdiff/runs"), None)?,
    };
    let rows = read(&folder)?;
    if let Some(id) = &args.show {
        let row = find(&rows, id, &folder)?;
        let report = folder.join(row.program.with_extension("txt"));
        let text = std::fs::read_to_string(&report)
            .map_err(|e| UsageError(format!("{}: {e}", report.display())))?;
        say!("{text}");
        return Ok(Exit::Fine);
    }
    if let Some(id) = &args.known {
        return mark::mark(args, &rows, find(&rows, id, &folder)?, &folder, workspace);
    }
    let past = Past::of(&folder);
    for note in &past.notes {
        say!("{}", wrap(note));
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        // From here on Ctrl-C is for the verb that runs; twice ends the prompt too.
        interrupt::stop_flag();
        let (mut lines, mut out) = (std::io::stdin().lock(), std::io::stdout());
        return prompt::ask(&rows, &folder, &past, &mut lines, &mut out, &mut verb);
    }
    say!("{}\n", folder.display());
    say!("{}", list(&rows, &folder, &past));
    Ok(if rows.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}

/// Carries out another verb, in a process of its own: Ctrl-C ends that, and the prompt comes back.
fn verb(words: &[String]) -> Result<()> {
    let own = std::env::current_exe().context("this program is not found")?;
    let status = Command::new(own).args(words).status();
    match status.context("this program cannot be run again")?.code() {
        Some(0 | 1) => Ok(()),
        _ => bail!("cargo xtask {} failed", words.join(" ")),
    }
}

/// Reads divergences.csv. A last line that was cut off in the middle is left out, and said.
fn read(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("divergences.csv");
    let usage = |what: String| UsageError(format!("{}: {what}", path.display()));
    let mut table = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(&path)
        .map_err(|e| {
            usage(format!(
                "{e}; is this the folder of a run of vm-matrix or races?"
            ))
        })?;
    let header = table.headers().map_err(|e| usage(e.to_string()))?.clone();
    if header.iter().ne(DIVERGENCE_COLUMNS) {
        let found: Vec<&str> = header.iter().collect();
        return Err(usage(format!(
            "its columns are {}; this version of mmdiff writes {}: run it again",
            found.join(","),
            DIVERGENCE_COLUMNS.join(",")
        ))
        .into());
    }
    let mut rows = Vec::new();
    for record in table.records() {
        let record = record.map_err(|e| usage(e.to_string()))?;
        if record.len() != DIVERGENCE_COLUMNS.len() {
            eprintln!("{}: a line is cut off and left out", path.display());
            continue;
        }
        let field = |name: &str| {
            let at = DIVERGENCE_COLUMNS.iter().position(|c| *c == name);
            at.map_or(String::new(), |at| record[at].to_string())
        };
        rows.push(Row {
            id: field("id"),
            bucket: Bucket {
                op: field("op"),
                rule: field("rule"),
                expected: field("expected"),
                observed: field("observed"),
            },
            release: field("kernel"),
            arch: field("arch"),
            program: field("program").into(),
            reliability: field("reliability"),
        });
    }
    Ok(rows)
}

fn find<'r>(rows: &'r [Row], id: &str, folder: &Path) -> Result<&'r Row> {
    rows.iter().find(|row| row.id == id).ok_or_else(|| {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        UsageError(format!(
            "{} has no divergence `{id}`; it has {}",
            folder.display(),
            if ids.is_empty() {
                "none".into()
            } else {
                ids.join(", ")
            }
        ))
        .into()
    })
}

/// The buckets, those met on most kernels first.
fn buckets(rows: &[Row]) -> Vec<(&Bucket, Vec<&Row>)> {
    let mut buckets: BTreeMap<&Bucket, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        buckets.entry(&row.bucket).or_default().push(row);
    }
    let mut buckets: Vec<(&Bucket, Vec<&Row>)> = buckets.into_iter().collect();
    buckets.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    buckets
}

/// Each bucket with the commands that act on it.
fn list(rows: &[Row], folder: &Path, past: &Past) -> String {
    let buckets = buckets(rows);
    let mut text = format!("{} buckets\n", buckets.len());
    for (bucket, rows) in &buckets {
        let first = rows[0];
        text += &wrap(&format!("\n{bucket}\n"));
        for row in rows {
            text += &format!(
                "    {} {} {} ({} re-runs)\n",
                row.id, row.arch, row.release, row.reliability
            );
        }
        let show = [
            "cargo xtask triage".to_string(),
            quoted(&folder.display().to_string()),
            format!("--show {}", first.id),
        ];
        text += &command(&show);
        for action in [Action::Minimize, Action::Reproducer, Action::Bisect] {
            let Some(words) = action.words(first, folder, past) else {
                continue;
            };
            let mut shown = vec![format!("cargo xtask {}", words[0]), quoted(&words[1])];
            shown.extend(options(&words[2..]));
            text += &command(&shown);
        }
    }
    text
}

/// What can be done with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Cut its program down.
    Minimize,
    /// Run its program again on the kernel that showed it.
    Reproduce,
    /// The program in C.
    Reproducer,
    /// Since which kernel.
    Bisect,
}

/// Repetitions of a race that is looked for again, at most.
const MOST_AGAIN: u32 = 20_000;

impl Action {
    /// The verb that does it to a row's program on the kernel that showed it, judged as then: verb, program, options with their values.
    /// `None`: there is none.
    fn words(self, row: &Row, folder: &Path, past: &Past) -> Option<Vec<String>> {
        let on = past.options(&row.release, &row.arch);
        // What is wrong on purpose came with no kernel, and is in none that could be handed on.
        let planted = ["--simulated", "--guest-fault"];
        let is_planted = on.iter().any(|word| planted.contains(&word.as_str()));
        let bucket = ["--bucket".to_string(), row.bucket.to_string()];
        let (verb, options) = match (past.kind, self) {
            (Kind::Races, Action::Minimize) => ("races", [on, row.repetitions()].concat()),
            (Kind::Races, Action::Reproduce) => {
                let only = ["--no-reports".to_string()];
                ("races", [on, row.repetitions(), only.to_vec()].concat())
            }
            (Kind::Races, Action::Reproducer | Action::Bisect) => return None,
            (Kind::Matrix, Action::Minimize) => ("minimize", [on, bucket.to_vec()].concat()),
            (Kind::Matrix, Action::Reproduce) => ("run", on),
            (Kind::Matrix, _) if is_planted => return None,
            (Kind::Matrix, Action::Reproducer) => ("reproducer", [on, bucket.to_vec()].concat()),
            (Kind::Matrix, Action::Bisect) => {
                ("bisect", [past.rules(), &bucket.to_vec()[..]].concat())
            }
        };
        let program = folder.join(&row.program).display().to_string();
        Some([vec![verb.to_string(), program], options].concat())
    }
}

impl Row {
    /// Enough repetitions to meet a race again with a chance of 95 %.
    fn repetitions(&self) -> Vec<String> {
        let numbers = self.reliability.split_once('/');
        let seen = numbers.and_then(|(hits, runs)| {
            Some(Reliability {
                hits: hits.parse().ok()?,
                runs: runs.parse().ok()?,
            })
        });
        let times = seen.map_or(MOST_AGAIN, |seen| seen.runs_to_see(MOST_AGAIN));
        vec!["--repetitions".into(), times.to_string()]
    }
}
