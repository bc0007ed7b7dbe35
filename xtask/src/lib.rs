//! The commands of mmdiff. One file per verb; this one only says which is which and turns errors into exit codes. A library, so that
//! fuzz targets find their kernels as the commands do ([`fuzzed`]).

mod bench;
mod bisect;
mod compare;
mod exit;
mod faults;
mod folders;
mod fuzz;
pub mod fuzzed;
mod interrupt;
mod judge_by;
mod kernels;
mod laws;
mod measured;
mod minimize;
mod mutants;
mod report;
mod reproducer;
mod rig;
mod rules;
mod run;
mod setup;
mod show;
mod show_race;
mod test;
mod triage;
mod verdict;
mod vm_matrix;

use clap::{Parser, Subcommand};
use exit::Exit;
use std::path::{Path, PathBuf};

/// Runs generated memory-management programs on real Linux kernels and judges every step.
///
/// Start with `cargo xtask vm-matrix`: it boots the newest kernel of each series on x86-64 and arm64 in QEMU,
/// runs a thousand generated programs and the whole corpus on each, and prints a matrix.
///
/// Exit codes: 0 nothing new, 1 a new divergence, hang or crash, 2 wrong usage or a program that does not parse,
/// 69 the infrastructure failed (no QEMU, a kernel that does not boot, results that cannot be written).
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    VmMatrix(vm_matrix::MatrixArgs),
    Run(run::RunArgs),
    Minimize(minimize::MinimizeArgs),
    Triage(triage::TriageArgs),
    Report(report::ReportArgs),
    Reproducer(reproducer::ReproducerArgs),
    Show(show::ShowArgs),
    Verdict(verdict::VerdictArgs),
    Bisect(bisect::BisectArgs),
    Compare(compare::CompareArgs),
    Laws(laws::LawsArgs),
    Rules(rules::RulesArgs),
    Kernels(kernels::KernelsArgs),
    Test(test::TestArgs),
    Bench(bench::BenchArgs),
    Faults(faults::FaultsArgs),
    Mutants(mutants::MutantsArgs),
    Fuzz(fuzz::FuzzArgs),
    FuzzFigures(fuzz::figures::FiguresArgs),
}

/// `cargo xtask`.
pub fn main() -> std::process::ExitCode {
    // clap prints help and usage errors itself, with exit code 0 or 2; `git bisect run` would take a 2 for a bad commit.
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args().nth(1).as_deref() == Some("verdict") {
            eprint!("{error}");
            std::process::exit(exit::GIVE_UP.into());
        }
        error.exit()
    });
    let workspace = workspace();
    let result = match &cli.verb {
        Verb::VmMatrix(args) => vm_matrix::run(args, &workspace),
        Verb::Run(args) => run::run(args, &workspace),
        Verb::Minimize(args) => minimize::run(args, &workspace),
        Verb::Triage(args) => triage::run(args, &workspace),
        Verb::Report(args) => report::run(args, &workspace),
        Verb::Reproducer(args) => reproducer::run(args, &workspace),
        Verb::Verdict(args) => verdict::run(args, &workspace),
        Verb::Bisect(args) => bisect::run(args, &workspace),
        Verb::Show(args) => show::run(args),
        Verb::Compare(args) => compare::run(args, &workspace),
        Verb::Laws(args) => laws::run(args, &workspace),
        Verb::Rules(args) => rules::run(args, &workspace),
        Verb::Test(args) => test::run(args, &workspace),
        Verb::Bench(args) => bench::run(args, &workspace),
        Verb::Faults(args) => faults::run(args, &workspace),
        Verb::Mutants(args) => mutants::run(args, &workspace),
        Verb::Fuzz(args) => fuzz::run(args, &workspace),
        Verb::FuzzFigures(args) => fuzz::figures::run(args, &workspace),
        Verb::Kernels(args) => kernels::run(args, &workspace).map(|()| Exit::Fine),
    };
    exit::code(result)
}

/// The options that a run of `vm-matrix` was given, from the words of its command line, the verb first.
///
/// # Errors
/// This version of mmdiff does not understand them.
fn matrix_args(command: &[String]) -> Result<vm_matrix::MatrixArgs, String> {
    let words = std::iter::once("cargo xtask").chain(command.iter().map(String::as_str));
    match Cli::try_parse_from(words).map(|cli| cli.verb) {
        Ok(Verb::VmMatrix(args)) => Ok(args),
        Ok(_) => Err("it is not a run of vm-matrix".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The checkout that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
