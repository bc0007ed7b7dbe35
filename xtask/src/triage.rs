//! `cargo xtask triage`: what a run found, bucket by bucket, and what to do about it.

mod prompt;

use crate::exit::{say, Exit, UsageError};
use crate::{folders, interrupt};
use anyhow::{bail, Context, Result};
use clap::builder::PossibleValuesParser;
use clap::Args;
use harness::campaign::{Bucket, Known, Status};
use harness::report::{wrap, DIVERGENCE_COLUMNS};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lists the buckets of a run, those met on most kernels first, and asks what to do with them: show, minimize, reproduce, mark as known.
///
/// Where it cannot ask, because input or output is no terminal, it prints the list with the commands that do the same.
///
/// Without a folder: the newest run under target/mmdiff/runs/. Exit code 1 when there is any bucket, 0 when there is none.
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
    /// Mark the bucket of this divergence as known on the kernels where the run met it: an entry in corpus/findings/known.toml, and
    /// the program beside it. Minimize it first.
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
    /// The program that goes beside the entry. Default: the run's.
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
        None => newest(&folders::target(workspace).join("mmdiff/runs"))?,
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
        return mark(args, &rows, find(&rows, id, &folder)?, &folder, workspace);
    }
    if !is_finished(&folder) {
        say!("the run did not come to its end: this is what it had\n");
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        // From here on Ctrl-C is for the verb that runs; twice ends the prompt too.
        interrupt::stop_flag();
        let (mut lines, mut out) = (std::io::stdin().lock(), std::io::stdout());
        return prompt::ask(&rows, &folder, &mut lines, &mut out, &mut verb);
    }
    say!("{}\n", folder.display());
    say!("{}", wrap(&list(&rows, &folder)));
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

/// The newest run that has results: runs are named after the time.
pub(crate) fn newest(runs: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let newest = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("divergences.csv").is_file())
        .max();
    newest.ok_or_else(|| {
        UsageError(format!(
            "there is no run under {}: `cargo xtask vm-matrix` makes one",
            runs.display()
        ))
        .into()
    })
}

/// Whether run.json says that the run came to its end.
fn is_finished(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("run.json")).unwrap_or_default();
    text.contains("\"end\": \"finished\"")
}

/// Reads divergences.csv. A last line that was cut off in the middle is left out, and said.
fn read(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("divergences.csv");
    let usage = |what: String| UsageError(format!("{}: {what}", path.display()));
    let mut table = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(&path)
        .map_err(|e| usage(format!("{e}; is this the folder of a run of vm-matrix?")))?;
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
fn list(rows: &[Row], folder: &Path) -> String {
    let buckets = buckets(rows);
    let mut text = format!("{} buckets\n", buckets.len());
    for (bucket, rows) in &buckets {
        let first = rows[0];
        text += &format!("\n{bucket}\n");
        for row in rows {
            text += &format!(
                "    {} {} {} ({} re-runs)\n",
                row.id, row.arch, row.release, row.reliability
            );
        }
        let program = folder.join(&first.program);
        let (program, series) = (program.display(), series(&first.release));
        text += &format!(
            "    cargo xtask triage {} --show {}\n",
            folder.display(),
            first.id
        );
        for verb in ["minimize", "reproducer", "bisect"] {
            let on = match verb {
                "bisect" => String::new(),
                _ => format!(" --kernels {series} --arch {}", first.arch),
            };
            text += &format!("    cargo xtask {verb} {program}{on} --bucket '{bucket}'\n");
        }
    }
    text
}

/// `6.18` of `6.18.5+deb13-cloud-amd64`.
fn series(release: &str) -> String {
    vm_images::version::series(release).unwrap_or_else(|| release.to_string())
}

/// Writes an entry of known.toml and its program; both or none.
fn mark(args: &TriageArgs, rows: &[Row], row: &Row, run: &Path, workspace: &Path) -> Result<Exit> {
    let (Some(name), Some(reasoning), Some(source)) = (&args.name, &args.reasoning, &args.source)
    else {
        return Err(UsageError("--known wants --name, --reasoning and --source".into()).into());
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(
            UsageError(format!("--name {name}: small letters, digits and `-` only")).into(),
        );
    }
    let findings = match &args.findings {
        Some(findings) => findings.clone(),
        None => workspace.join("corpus/findings"),
    };
    let known = findings.join("known.toml");
    let before = std::fs::read_to_string(&known).with_context(|| known.display().to_string())?;
    let from = match &args.program {
        Some(program) => program.clone(),
        None => run.join(&row.program),
    };
    let program = std::fs::read_to_string(&from)
        .map_err(|e| UsageError(format!("{}: {e}", from.display())))?;
    let beside = findings.join(format!("{name}.prog"));
    if beside.exists() {
        return Err(UsageError(format!("{} is there already", beside.display())).into());
    }
    let mut kernels: Vec<String> = rows
        .iter()
        .filter(|other| other.bucket == row.bucket)
        .map(|other| toml_text(&format!("{} {}", other.arch, series(&other.release))))
        .collect();
    kernels.sort();
    kernels.dedup();
    let bucket = &row.bucket;
    let mut entry = String::from("\n[[finding]]\n");
    for (key, value) in [
        ("id", name.as_str()),
        ("op", &bucket.op),
        ("rule", &bucket.rule),
        ("expected", &bucket.expected),
        ("observed", &bucket.observed),
        ("bucket", &bucket.to_string()),
    ] {
        entry += &format!("{key} = {}\n", toml_text(value));
    }
    entry += &format!(
        "kernels_with = [{}]\nkernels_without = []\n",
        kernels.join(", ")
    );
    for (key, value) in [
        ("program", format!("{name}.prog").as_str()),
        ("reasoning", reasoning),
        ("source", source),
        ("status", args.status.as_str()),
    ] {
        entry += &format!("{key} = {}\n", toml_text(value));
    }
    vm_images::files::write_atomically(&beside, program.as_bytes())?;
    vm_images::files::write_atomically(&known, (before.clone() + &entry).as_bytes())?;
    if let Err(error) = Known::load(&known) {
        // As it was: an entry that cannot be used would stop every campaign.
        vm_images::files::write_atomically(&known, before.as_bytes())?;
        std::fs::remove_file(&beside).with_context(|| beside.display().to_string())?;
        return Err(error.into());
    }
    say!("{}\n{entry}", known.display());
    Ok(Exit::Fine)
}

/// A string as TOML has it.
fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}
