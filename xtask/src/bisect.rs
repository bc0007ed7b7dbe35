//! `cargo xtask bisect`: between which two kernels of the matrix did a program's verdict, or what it shows, change?

use crate::exit::{say, Exit};
use crate::rig::{rig, KernelOptions};
use crate::verdict::{words, JudgingOptions};
use crate::vm_matrix::default_jobs;
use crate::{folders, interrupt};
use anyhow::Result;
use clap::Args;
use harness::campaign::{differences, load_program, Bucket};
use harness::report::wrap;
use harness::triage::{verdict, Answer, Told};
use oracle::profile::{Release, BEHAVIOURS};
use oracle::program::Program;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

/// Runs a program on the kernels of the matrix in the order of their versions, and says between which two its verdict changed, or
/// what is observed, and what is known about that.
///
/// The verdict is that of `cargo xtask verdict`. Kernels on which it cannot be told are passed over.
///
/// Examples:
///   cargo xtask bisect corpus/findings/mseal-stale-start.prog
///   cargo xtask bisect corpus/findings/mseal-stale-start.prog --profile 7.3 --arch x86_64 --kernels all
///   cargo xtask bisect d-0123456789.prog --kernels 6.18,6.19,7.0
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct BisectArgs {
    /// The program's file.
    program: PathBuf,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    judging: JudgingOptions,
    /// VMs side by side. Default: as many as cores and free memory allow.
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
}

/// Carries out `bisect`.
pub fn run(args: &BisectArgs, workspace: &Path) -> Result<Exit> {
    let entry = load_program(&args.program)?;
    let settings = args.judging.settings()?;
    let stop = interrupt::stop_flag();
    let consoles = folders::consoles(workspace)?;
    let sources = rig(&args.kernels, workspace, &consoles, &|line| {
        eprintln!("{line}")
    })?
    .sources;
    let answers: Mutex<Vec<Option<Told>>> = Mutex::new(sources.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or_else(default_jobs).clamp(1, 64) {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
                    return;
                };
                let told = verdict(source.as_ref(), &entry.program, &settings);
                eprintln!(
                    "{} {}: {}",
                    source.arch(),
                    source.label(),
                    words(&told.answer)
                );
                if let Ok(mut answers) = answers.lock() {
                    answers[at] = Some(told);
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(|e| e.into_inner());
    let mut told_any = false;
    for arch in ["x86_64", "aarch64"] {
        let mut line: Vec<(Release, &str, &Told)> = sources
            .iter()
            .zip(&answers)
            .filter(|(source, _)| source.arch() == arch)
            .filter_map(|(source, told)| {
                let told = told.as_ref()?;
                let known = told.kernel.as_ref().map(|(info, _)| info.release.as_str());
                let release = Release::parse(known.or(source.release())?)?;
                Some((release, source.label(), told))
            })
            .collect();
        line.sort_by_key(|(release, _, _)| *release);
        if line.is_empty() {
            continue;
        }
        let own_rules = settings.by.is_own();
        let (text, told) = walk(arch, &line, &entry.program, own_rules);
        told_any |= told;
        say!("{}", wrap(&text));
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if told_any {
        Exit::Fine
    } else {
        Exit::Infrastructure
    })
}

/// The verdicts of one architecture and the borders between them; and whether there is any verdict.
fn walk(
    arch: &str,
    line: &[(Release, &str, &Told)],
    program: &Program,
    own_rules: bool,
) -> (String, bool) {
    let mut text = format!("\n{arch}\n");
    let mut before: Option<&(Release, &str, &Told)> = None;
    let mut borders = String::new();
    for here in line {
        let (_, label, told) = here;
        text += &format!("  {label:<10} {}\n", words(&told.answer));
        if matches!(told.answer, Answer::Untold(_)) {
            continue;
        }
        if let Some((_, earlier, was)) = before {
            let mut changes = Vec::new();
            let (old, new) = (gist(&was.answer), gist(&told.answer));
            if old != new {
                changes.push(format!("the verdict: {old}, then {new}"));
            }
            changes.extend(observed(program, was, told, own_rules));
            if !changes.is_empty() {
                borders += &format!("between {earlier} and {label} changed\n");
                for change in changes {
                    borders += &format!("  {change}\n");
                }
            }
        }
        before = Some(here);
    }
    match (before, borders.is_empty()) {
        (None, _) => text += "it could not be told on any kernel\n",
        (Some(_), true) => text += "nothing changed\n",
        (Some(_), false) => text += &borders,
    }
    (text, before.is_some())
}

/// An answer without numbers of runs: what is compared.
fn gist(answer: &Answer) -> String {
    match answer {
        Answer::Holds { .. } => "holds".into(),
        Answer::Diverges { story, .. } => format!("diverges ({})", story.bucket),
        Answer::Untold(_) => "cannot be told".into(),
    }
}

/// What the later kernel did that the earlier one's rules do not allow, and the rows of the table that say so.
fn observed(program: &Program, was: &Told, told: &Told, own_rules: bool) -> Vec<String> {
    let (Some((_, from)), Some((info, to)), Some(execution)) =
        (&was.kernel, &told.kernel, &told.execution)
    else {
        return Vec::new();
    };
    if !own_rules {
        // Both have been judged by rules that are neither's.
        return Vec::new();
    }
    let name = |row: &&str| {
        let row = BEHAVIOURS.iter().find(|known| known.name == *row);
        row.map_or(String::new(), |row| {
            format!("{} ({})", row.name, row.source)
        })
    };
    // What the later kernel's own rules do not allow either is its verdict, told already.
    let verdict: Option<&Bucket> = match &told.answer {
        Answer::Diverges { story, .. } => Some(&story.bucket),
        _ => None,
    };
    differences(program, execution, from, to, info.geometry)
        .iter()
        .filter(|found| Some(&found.bucket) != verdict)
        .map(|found| {
            let rows: Vec<String> = found.rows.iter().map(name).collect();
            let known = match rows.is_empty() {
                true => "nothing in the table of behaviours says so".into(),
                false => rows.join("; "),
            };
            format!("op {}: {}: {known}", found.op_index, found.bucket)
        })
        .collect()
}
