//! `cargo xtask report`: the reports of a run's buckets, as one would send them to somebody.

mod bucket;

use crate::exit::{say, Exit, UsageError};
use crate::past::{newest, Kind, Past};
use crate::rig::rig;
use crate::vm_matrix::{default_jobs, simulated, MatrixArgs};
use crate::{folders, interrupt, minimize};
use anyhow::Result;
pub use bucket::{write, Cut, Site};
use clap::Args;
use harness::campaign::{load_program, Bucket};
use harness::kernel::{JudgeBy, KernelSource};
use harness::report::{html_report, wrap, Ran, Suspect};
use harness::triage::{
    minimize as shorten, verdicts_each, Limits, Progress, Settings, Told, TriageError,
    VerdictSettings,
};
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Suspects of a bucket that are tried until one shows it again.
const TRIED: usize = 3;

/// Writes the report of each bucket of a run: the program is minimized on a kernel that showed it, then every kernel of the run is asked
/// about it.
///
/// A kernel counts as not affected when the program came to the op in the same way as on the affected one and the op then did what
/// the rules say; when it stopped earlier, went another way, or lacks what the program needs, it is listed as not told. Reports go
/// to buckets/ID/ in the run's folder, with the program, the same in C, as a kselftest, and reproduce.sh, which boots it.
///
/// Without a folder: the newest run of vm-matrix under target/mmdiff/runs/. Exit code 1 when there is any bucket, 0 when there is none.
///
/// Examples:
///   cargo xtask report
///   cargo xtask report target/mmdiff/runs/... --bucket 'fork: fork/copies-guards: guard -> empty'
///   cargo xtask report --html             (report.html again)
///   cargo xtask report --kernels all      (asks more kernels than the run did)
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct ReportArgs {
    /// The run's folder.
    run: Option<PathBuf>,
    /// Only make report.html, the run on one page, again from the run's files.
    #[arg(long, conflicts_with_all = ["bucket", "kernels"])]
    html: bool,
    /// This bucket only, as `cargo xtask triage` prints it.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Ask these kernels of the lock instead of those of the run, as `vm-matrix --kernels` names them.
    #[arg(long, value_name = "NAMES")]
    kernels: Option<String>,
    /// Runs of each program on each kernel.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Seconds for minimizing a program; boots come on top.
    #[arg(long, value_name = "S", default_value_t = Limits::default().time.as_secs(), value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seconds: u64,
    /// VMs side by side. Default: as many as cores and free memory allow.
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
}

/// Carries out `report`.
pub fn run(args: &ReportArgs, workspace: &Path) -> Result<Exit> {
    let folder = match &args.run {
        Some(folder) => folder.clone(),
        None => newest(
            &folders::target(workspace).join("mmdiff/runs"),
            Some(Kind::Matrix),
        )?,
    };
    if Past::of(&folder).kind == Kind::Races {
        return Err(UsageError(format!(
            "{0}: a run of `races` writes its own reports while it runs: they are in {0}/buckets",
            folder.display()
        ))
        .into());
    }
    let ran = Ran::read(&folder).map_err(|e| UsageError(e.to_string()))?;
    if let Some(what) = &ran.left_out {
        eprintln!("{what}");
    }
    if args.html {
        let page = html_report(&folder).map_err(|e| UsageError(e.to_string()))?;
        let path = folder.join("report.html");
        vm_images::files::write_atomically(&path, page.as_bytes())?;
        say!("{}\n", path.display());
        return Ok(Exit::Fine);
    }
    let matrix = crate::matrix_args(&ran.record.command).map_err(|e| {
        let path = folder.join("run.json");
        UsageError(format!(
            "{}: this version of mmdiff cannot repeat the run: {e}",
            path.display()
        ))
    })?;
    let by = matrix.rules.judge_by()?;
    let buckets = buckets(&ran, args.bucket.as_deref())?;
    say!("{}\n", folder.display());
    if !ran.is_finished() {
        say!("the run did not come to its end: this is what it had\n");
    }
    if buckets.is_empty() {
        say!("no buckets\n");
        return Ok(Exit::Fine);
    }
    let stop = interrupt::stop_flag();
    let sources = sources(args, &matrix, workspace)?;
    let mut cuts = Vec::new();
    for (bucket, suspects) in &buckets {
        let settings = Settings {
            bucket: Some(bucket.clone()),
            by: by.clone(),
            limits: Limits {
                time: Duration::from_secs(args.seconds),
                ..Limits::default()
            },
            ..Settings::default()
        };
        eprintln!("{}", wrap(&format!("{}: {bucket}", bucket.id())).trim_end());
        match cut(&ran, suspects, &sources, &settings, stop) {
            Ok(cut) => cuts.push(cut),
            Err(Refused::Interrupted) => return Ok(Exit::Interrupted),
            Err(Refused::Because(why)) => say!(
                "{}",
                wrap(&format!(
                    "{}: {bucket}\n    not reported, the run's own report stays in divergences/{}.txt: {why}",
                    bucket.id(),
                    suspects[0].id
                ))
            ),
        }
    }
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let told = ask(&sources, &cuts, &by, args.runs, jobs, stop);
    if stop.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    for (index, cut) in cuts.iter().enumerate() {
        let told: Vec<(&dyn KernelSource, &Told)> = sources
            .iter()
            .zip(&told)
            .filter_map(|(source, told)| Some((source.as_ref(), told.get(index)?)))
            .collect();
        let bucket = &cut.minimized.story.bucket;
        let site = Site {
            folder: &ran.folder,
            campaign: &|kernel, arch| ran.count(kernel, arch, bucket),
            images: &ran.record.images,
            race: None,
        };
        let written = write(&site, cut, &told, &by)?;
        say!("{}", wrap(&written.line));
    }
    Ok(Exit::Found)
}

/// The buckets with their suspects, those met on most kernels first.
fn buckets<'r>(ran: &'r Ran, only: Option<&str>) -> Result<Vec<(Bucket, Vec<&'r Suspect>)>> {
    let only = only.map(minimize::bucket).transpose()?;
    let mut buckets: BTreeMap<&Bucket, Vec<&Suspect>> = BTreeMap::new();
    for suspect in &ran.suspects {
        buckets.entry(&suspect.bucket).or_default().push(suspect);
    }
    if let Some(only) = &only {
        if !buckets.contains_key(only) {
            let all: Vec<String> = buckets.keys().map(|b| format!("  {b}")).collect();
            return Err(UsageError(format!(
                "{} has no bucket `{only}`; it has{}\n{}",
                ran.folder.display(),
                if all.is_empty() { " none" } else { "" },
                all.join("\n")
            ))
            .into());
        }
    }
    let mut buckets: Vec<(Bucket, Vec<&Suspect>)> = buckets
        .into_iter()
        .filter(|(bucket, _)| only.as_ref().is_none_or(|only| only == *bucket))
        .map(|(bucket, suspects)| (bucket.clone(), suspects))
        .collect();
    buckets.sort_by_key(|(_, suspects)| std::cmp::Reverse(suspects.len()));
    Ok(buckets)
}

/// The kernels of the run, or those that are to be asked instead.
fn sources(
    args: &ReportArgs,
    matrix: &MatrixArgs,
    workspace: &Path,
) -> Result<Vec<Arc<dyn KernelSource>>> {
    if let Some(fault) = &matrix.simulated {
        return simulated(fault);
    }
    let mut options = matrix.kernels.clone();
    if args.kernels.is_some() {
        options.kernels.clone_from(&args.kernels);
    }
    let consoles = folders::consoles(workspace)?;
    let rig = rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?;
    Ok(match matrix.guest_fault {
        Some(name) => rig.faulty(name),
        None => rig.sources,
    })
}

/// Why a bucket has no report.
enum Refused {
    Because(String),
    Interrupted,
}

/// The shortest program of a bucket, from the first suspect that shows it again.
fn cut(
    ran: &Ran,
    suspects: &[&Suspect],
    sources: &[Arc<dyn KernelSource>],
    settings: &Settings,
    stop: &AtomicBool,
) -> Result<Cut, Refused> {
    let mut refused = Vec::new();
    for suspect in suspects.iter().take(TRIED) {
        let here = |source: &&Arc<dyn KernelSource>| {
            source.label() == suspect.kernel && source.arch() == suspect.arch
        };
        let Some(source) = sources.iter().find(here) else {
            refused.push(format!(
                "{} {}, which showed it, is not among the kernels that are asked",
                suspect.arch, suspect.kernel
            ));
            continue;
        };
        let entry = match load_program(&ran.program(suspect)) {
            Ok(entry) => entry,
            Err(error) => {
                refused.push(error.to_string());
                continue;
            }
        };
        let ops = entry.program.steps.len();
        let mut listener = |_: &Progress<'_>| {};
        match shorten(
            source.as_ref(),
            &entry.program,
            settings,
            stop,
            &mut listener,
        ) {
            Ok(result) => {
                eprintln!(
                    "    {ops} ops became {} in {} runs, {:.1} s: {}",
                    result.program.steps.len(),
                    result.executions,
                    result.seconds,
                    result.ended
                );
                return Ok(Cut::new(ops, result));
            }
            Err(TriageError::Interrupted) => return Err(Refused::Interrupted),
            Err(error) => refused.push(error.to_string()),
        }
    }
    Err(Refused::Because(refused.join("; ")))
}

/// Asks every kernel about every program, kernels side by side, one boot each where nothing crashes.
pub fn ask(
    sources: &[Arc<dyn KernelSource>],
    cuts: &[Cut],
    by: &JudgeBy,
    runs: u32,
    jobs: usize,
    stop: &AtomicBool,
) -> Vec<Vec<Told>> {
    let questions: Vec<(Arc<Program>, VerdictSettings)> = cuts
        .iter()
        .map(|cut| {
            let settings = VerdictSettings {
                by: by.clone(),
                bucket: Some(cut.minimized.story.bucket.clone()),
                runs,
            };
            (cut.program.clone(), settings)
        })
        .collect();
    let told: Vec<Mutex<Vec<Told>>> = sources.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 64) {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
                    return;
                };
                eprintln!("asking {} {}", source.arch(), source.label());
                let pairs = questions
                    .iter()
                    .map(|(program, settings)| (program, settings));
                let answers = verdicts_each(source.as_ref(), pairs);
                if let Ok(mut told) = told[at].lock() {
                    *told = answers;
                }
            });
        }
    });
    told.into_iter()
        .map(|told| told.into_inner().unwrap_or_else(|e| e.into_inner()))
        .collect()
}
