//! `cargo xtask failures`: allocations made to fail within calls, one after the other.

use crate::exit::{say, Exit, UsageError};
use crate::judge_by::RulesOptions;
use crate::kernels::build::{planted, ConfigName};
use crate::rig::{rig, AccelChoice, KernelOptions};
use crate::setup::SetupError;
use crate::vm_matrix::simulated;
use crate::{folders, interrupt, measured, vm_matrix};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{
    load_corpus, run as campaign, Amount, CorpusProgram, Known, Notice, Part, Quiet, Settings,
};
use harness::failures::{Sweep, Sweeper};
use harness::kernel::{JudgeBy, KernelSource};
use harness::report::{wrap, Folder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use vm_images::mutants::{load, FOLDER, PARAMETER};
use vm_images::Arch;

/// Makes the kernel's allocations fail within calls, one after the other, and judges what each leaves.
///
/// In a program, `fail 1` behind an op marks it. Each marked op is run with its first allocation failing, then with its second, ...,
/// until it makes fewer; the other ops and what follows run as usual and are judged, too. What a call may return and leave the rules
/// `failing/...` say (`cargo xtask rules`). The kernel is that of `cargo xtask kernels build --mutants --config debug` (KASAN, DEBUG_VM,
/// fault injection) with no bug switched on; it is built when it is missing, which takes minutes.
///
/// The table has for each op how many runs had an allocation fail, what the call returned in them, which rules allowed what it left, and
/// how many went wrong; it is failures.csv in the run's folder, and with --keep in bench/runs/. What went wrong is run three times more
/// and reported as in a campaign. Exit code 1 when something went wrong, 69 when programs could not be swept.
///
/// Examples:
///   cargo xtask failures
///   cargo xtask failures corpus/failures/install-fresh.prog my.prog
///   cargo xtask failures --mutant install-without-anon-vma
///   cargo xtask failures --kernel ~/linux/arch/x86/boot/bzImage
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FailuresArgs {
    /// Programs, or folders of programs. Default: corpus/failures.
    #[arg(value_name = "PROGRAM")]
    programs: Vec<PathBuf>,
    /// A kernel image with fault injection of your own (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC, CONFIG_FAULT_INJECTION_DEBUG_FS).
    /// Default: build one.
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// Switch on one of the bugs that are planted into the kernel, by the name of its file in vm-images/mutants.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// auto, kvm or tcg.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    accel: AccelChoice,
    #[command(flatten)]
    rules: RulesOptions,
    /// Keep the table in bench/runs/.
    #[arg(long)]
    keep: bool,
    /// Run on the model instead of on a kernel, with a deliberate fault by its `family/name` or with `none` (tests of mmdiff itself).
    #[arg(long, value_name = "FAULT", conflicts_with_all = ["kernel", "mutant"])]
    simulated: Option<String>,
}

const HEADER: [&str; 8] = [
    "program",
    "op_index",
    "op",
    "failed",
    "outcomes",
    "rules",
    "divergences",
    "errors",
];

/// Carries out `failures`.
pub fn run(args: &FailuresArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let stopped = || stop.load(Ordering::Relaxed);
    let programs = programs(args, workspace)?;
    let by = args.rules.judge_by()?;
    let folder = folders::run_folder(workspace, None);
    let consoles = folder.join("consoles");
    std::fs::create_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    let source = source(args, workspace, &consoles)?;
    let mut sweeper = Sweeper::new(source.as_ref(), by.clone());
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut suspects: Vec<CorpusProgram> = Vec::new();
    let mut buckets: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut untold = 0;
    for entry in &programs {
        if stopped() {
            break;
        }
        let sweeps = sweeper.program(&entry.program, &stopped);
        let sweeps = sweeps.map_err(|why| SetupError::new(&why))?;
        for sweep in &sweeps {
            let row = row(entry, sweep);
            eprintln!("{}", row.join("  "));
            rows.push(row);
            untold += sweep.errors.len();
            for suspect in &sweep.suspects {
                let op = suspect.program.steps[sweep.step].to_string();
                let first = || (0, format!("{}: {op}: {}", entry.name, suspect.story.text));
                let bucket = suspect.story.bucket.to_string();
                buckets.entry(bucket).or_insert_with(first).0 += 1;
                suspects.push(CorpusProgram {
                    name: format!("{} ({op})", entry.name),
                    program: suspect.program.clone(),
                });
            }
        }
    }
    say!("{}", measured::table(&HEADER, &rows));
    measured::csv(&folder.join("failures.csv"), &HEADER, &rows)?;
    for (bucket, (times, first)) in &buckets {
        say!("\n{bucket}: {times} runs\n{}\n", wrap(first));
    }
    if !suspects.is_empty() {
        report(&folder, suspects, &source, by)?;
    }
    say!("{}\n", folder.display());
    if args.keep && !rows.is_empty() {
        let kept = measured::keep(workspace, "failures", "failures.csv", &HEADER, &rows)?;
        say!("{}\n", kept.display());
    }
    Ok(if !buckets.is_empty() {
        Exit::Found
    } else if untold > 0 {
        Exit::Infrastructure
    } else if stopped() {
        Exit::Interrupted
    } else {
        Exit::Fine
    })
}

/// The programs that are asked for; each has something marked.
fn programs(args: &FailuresArgs, workspace: &Path) -> Result<Vec<CorpusProgram>> {
    let default = [workspace.join("corpus/failures")];
    let paths: &[PathBuf] = match args.programs.is_empty() {
        true => &default,
        false => &args.programs,
    };
    let mut programs = Vec::new();
    for path in paths {
        programs.extend(load_corpus(path)?);
    }
    let marked = |entry: &&CorpusProgram| entry.program.steps.iter().any(|s| s.fail.is_some());
    match programs.iter().find(|entry| !marked(entry)) {
        None => Ok(programs),
        Some(entry) => Err(UsageError(format!(
            "{}: no op in it says that an allocation fails; write `fail 1` behind one (docs/program-format.md, Failing allocations)",
            entry.name
        ))
        .into()),
    }
}

/// The kernel.
fn source(args: &FailuresArgs, workspace: &Path, consoles: &Path) -> Result<Arc<dyn KernelSource>> {
    if let Some(name) = &args.simulated {
        let source = simulated(name)?.into_iter().next();
        return source.context("no simulated kernel");
    }
    if let Some(name) = &args.mutant {
        let all = load(&workspace.join(FOLDER))?;
        if all.iter().all(|mutant| mutant.name != *name) {
            let names: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
            let names = names.join(", ");
            return Err(UsageError(format!("no planted bug `{name}`; there are {names}")).into());
        }
    }
    let image = match &args.kernel {
        Some(image) => image.clone(),
        None => planted(args.arch, ConfigName::Debug, workspace)?,
    };
    let options = KernelOptions {
        kernels: None,
        arch: vec![args.arch],
        kernel: vec![image],
        accel: args.accel,
        append: args
            .mutant
            .as_ref()
            .map_or_else(String::new, |name| format!("{PARAMETER}={name}")),
    };
    let rig = rig(&options, workspace, consoles, &|line| eprintln!("{line}"))?;
    rig.sources.into_iter().next().context("no kernel")
}

/// A line of the table.
fn row(entry: &CorpusProgram, sweep: &Sweep) -> Vec<String> {
    let counted = |counts: &BTreeMap<String, u32>| {
        let words: Vec<String> = counts
            .iter()
            .map(|(what, n)| format!("{what} {n}"))
            .collect();
        words.join(", ")
    };
    let errors: BTreeSet<&str> = sweep.errors.iter().map(String::as_str).collect();
    vec![
        entry.name.clone(),
        sweep.step.to_string(),
        entry.program.steps[sweep.step].op.name().to_string(),
        sweep.failed.to_string(),
        counted(&sweep.outcomes),
        counted(&sweep.rules),
        sweep.suspects.len().to_string(),
        errors.into_iter().collect::<Vec<_>>().join("; "),
    ]
}

/// Runs what went wrong again, as a campaign does, and leaves its reports in the folder.
fn report(
    path: &Path,
    suspects: Vec<CorpusProgram>,
    source: &Arc<dyn KernelSource>,
    by: JudgeBy,
) -> Result<()> {
    let folder = Folder::create(path)?;
    let settings = Settings {
        seed: 1,
        amount: Amount::Programs(0),
        corpus: suspects,
        jobs: vm_matrix::default_jobs(),
        by,
        mix: None,
        reruns: 3,
        known: Known::default(),
        stop_at_first: false,
        notice: Notice::All,
        part: Part::default(),
    };
    let sources = std::slice::from_ref(source);
    let stop = interrupt::stop_flag();
    campaign(&settings, sources, &folder, &Quiet, stop)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_what_was_met() {
        let entry = load_corpus(&crate::workspace().join("corpus/failures/remove.prog"))
            .unwrap()
            .remove(0);
        let counts = |pairs: &[(&str, u32)]| {
            let owned = pairs.iter().map(|(what, n)| (what.to_string(), *n));
            owned.collect()
        };
        let sweep = Sweep {
            step: 3,
            failed: 5,
            outcomes: counts(&[("ENOMEM", 4), ("ok", 1)]),
            rules: counts(&[("failing/optional", 1)]),
            suspects: Vec::new(),
            errors: vec!["a".into(), "a".into()],
        };
        let row = row(&entry, &sweep);
        assert_eq!(row.len(), HEADER.len());
        assert_eq!(
            row[1..],
            [
                "3",
                "guard-remove",
                "5",
                "ENOMEM 4, ok 1",
                "failing/optional 1",
                "0",
                "a"
            ]
        );
    }
}
