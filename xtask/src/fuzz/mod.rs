//! `cargo xtask fuzz`: runs a fuzz target, keeps what is new, and says what to do with a finding.

mod corpus;
pub mod figures;
mod minimizer;
pub mod tool;

use crate::exit::{say, Exit, UsageError};
use crate::interrupt;
use anyhow::{Context, Result};
use clap::Args;
use corpus::Folders;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// libFuzzer's exit codes: a signal or a panic, memory, time, the user.
const FOUND: [i32; 3] = [77, 71, 70];
const INTERRUPTED: i32 = 72;

/// Runs a fuzz target for some minutes.
///
/// Installs cargo-fuzz when it is missing, builds the target with the sanitizer, starts from the target's corpus
/// (fuzz/corpus/TARGET) and the programs of corpus/, and afterwards adds to the target's corpus what is new and no input
/// there reaches. A finding ends it with exit code 1: its input is a program's file, for `cargo xtask show`, `run` and `minimize`.
///
/// Targets:
///   oracle_laws          model and judge against laws that hold whatever the rules say; programs are mutated as programs
///   program_text         parsing and printing
///   wire                 whatever a guest may send
///   simulated            the whole pipeline on the simulated kernel, honest or with deliberate faults
///   simulated_arbitrary  the same on bytes that the generator reads: what mutation of programs is compared with
///   race                 sections of threads: all orders of the kernel's steps against promises, the judge, and whole ops
///   vm_x86_64            a real kernel in one VM that lives as long as the run, judged by the oracle
///   vm_aarch64           the same on arm64
///   vm_pair              two real kernels (x86-64) against each other and the oracle
///   host                 the running kernel, judged by the oracle; only with MMDIFF_ALLOW_HOST=1
///
/// `cargo +nightly fuzz run TARGET` runs the same without seeds. MMDIFF_FAULT=family/name gives the simulated kernel that fault.
/// MMDIFF_KERNEL names the kernel of the VM targets: a series, a release, or the path of an image (two with a comma for
/// vm_pair). Default: the newest.
///
/// Examples:
///   cargo xtask fuzz oracle_laws
///   cargo xtask fuzz simulated --minutes 10 --seed 7
///   MMDIFF_KERNEL=6.18 cargo xtask fuzz vm_aarch64 --minutes 60
///   MMDIFF_FAULT=fork/loses-guards cargo xtask fuzz simulated
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FuzzArgs {
    /// The target's name.
    target: String,
    /// How long, building apart.
    #[arg(long, value_name = "M", default_value_t = 1.0)]
    minutes: f64,
    /// Makes libFuzzer's choices repeatable. Default: it chooses one and says so.
    #[arg(long, value_name = "S")]
    seed: Option<u32>,
}

/// Carries out `fuzz`.
pub fn run(args: &FuzzArgs, workspace: &Path) -> Result<Exit> {
    let target = args.target.as_str();
    let targets = tool::targets(workspace)?;
    if !targets.iter().any(|name| name == target) {
        let all = targets.join(", ");
        return Err(UsageError(format!("there is no target `{target}`; there are {all}")).into());
    }
    if !(args.minutes > 0.0 && args.minutes < 1e5) {
        return Err(UsageError("--minutes wants a positive number".into()).into());
    }
    tool::ensure()?;
    let folders = Folders::of(workspace, target)?;
    corpus::seed(workspace, target, &folders.seeds)?;
    tool::build(workspace, target)?;
    let program = tool::program(workspace, target)?;
    // Ctrl-C goes to the target as well: it ends, we tidy up.
    interrupt::stop_flag();
    let before = findings(&folders.findings)?;
    let seconds = (args.minutes * 60.0).ceil() as u64;
    let mut command = tool::run(&program, &folders.inputs());
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", folders.findings.display()))
        .arg("-print_final_stats=1");
    if let Some(seed) = args.seed {
        command.arg(format!("-seed={seed}"));
    }
    let status = command.status().context("the target cannot be run")?;
    let mut found = findings(&folders.findings)?;
    found.retain(|path| !before.contains(path));
    let exit = exit(status, &found, target);
    if matches!(exit, Exit::Fine | Exit::Interrupted) {
        let added = folders.merge(&program)?;
        say!("{added} new inputs in {}\n", folders.corpus.display());
    }
    for path in &found {
        say!("finding: {}\n", path.display());
    }
    if let (Some(path), false) = (found.first(), target == "wire") {
        say!("  cargo xtask show {}\n", path.display());
    }
    Ok(exit)
}

/// What a run of the target comes to.
fn exit(status: ExitStatus, found: &[PathBuf], target: &str) -> Exit {
    match status.code() {
        Some(0) => Exit::Fine,
        Some(INTERRUPTED) => Exit::Interrupted,
        Some(code) if FOUND.contains(&code) => Exit::Found,
        _ if !found.is_empty() => Exit::Found,
        _ => {
            eprintln!("{target} failed without a finding: {status}");
            Exit::Infrastructure
        }
    }
}

/// The inputs that went wrong so far.
fn findings(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}
