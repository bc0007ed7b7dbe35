//! The commands of mmdiff. One file per verb; this one only says which is which and turns errors into exit codes. A library, so that
//! fuzz targets find their kernels as the commands do ([`fuzzed`]).

mod bench;
mod bisect;
mod built;
mod campaign;
mod compare;
mod exit;
mod failures;
mod farm;
mod faults;
mod folders;
mod fuzz;
pub mod fuzzed;
mod interrupt;
mod judge_by;
mod kernels;
mod known;
mod laws;
mod measured;
mod merge;
mod minimize;
mod mutants;
mod past;
mod process;
mod races;
mod report;
mod reproducer;
mod rig;
mod rules;
mod run;
mod runs;
pub mod setup;
mod show;
mod show_race;
mod soak;
mod staged;
mod test;
mod triage;
mod verdict;
mod vm_matrix;

use clap::{CommandFactory, Parser, Subcommand};
use exit::Exit;
use std::path::{Path, PathBuf};

/// Runs generated memory-management programs on real Linux kernels and judges every step.
///
/// Start with `cargo xtask vm-matrix`: it boots the newest kernel of each series on x86-64 and arm64 in QEMU,
/// runs a thousand generated programs and the whole corpus on each, and prints a matrix.
///
/// Exit codes: 0 nothing new, 1 a new divergence, hang or crash, 2 wrong usage or a program that does not parse,
/// 69 the infrastructure failed (no QEMU, a kernel that does not boot, results that cannot be written),
/// 130 stopped with Ctrl-C before anything new was found.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    VmMatrix(Box<vm_matrix::MatrixArgs>),
    Merge(merge::MergeArgs),
    Farm(farm::FarmArgs),
    Soak(soak::SoakArgs),
    Run(run::RunArgs),
    Runs(runs::RunsArgs),
    Minimize(minimize::MinimizeArgs),
    Triage(triage::TriageArgs),
    Report(report::ReportArgs),
    Reproducer(reproducer::ReproducerArgs),
    Show(show::ShowArgs),
    Races(races::RacesArgs),
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
    Failures(failures::FailuresArgs),
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
        Verb::Merge(args) => merge::run(args, &workspace),
        Verb::Farm(args) => farm::run(args, &workspace),
        Verb::Soak(args) => soak::run(args, &workspace),
        Verb::Run(args) => run::run(args, &workspace),
        Verb::Runs(args) => runs::run(args, &workspace),
        Verb::Minimize(args) => minimize::run(args, &workspace),
        Verb::Triage(args) => triage::run(args, &workspace),
        Verb::Report(args) => report::run(args, &workspace),
        Verb::Reproducer(args) => reproducer::run(args, &workspace),
        Verb::Verdict(args) => verdict::run(args, &workspace),
        Verb::Bisect(args) => bisect::run(args, &workspace),
        Verb::Races(args) => races::run(args, &workspace),
        Verb::Show(args) => show::run(args),
        Verb::Compare(args) => compare::run(args, &workspace),
        Verb::Laws(args) => laws::run(args, &workspace),
        Verb::Rules(args) => rules::run(args, &workspace),
        Verb::Test(args) => test::run(args, &workspace),
        Verb::Bench(args) => bench::run(args, &workspace),
        Verb::Faults(args) => faults::run(args, &workspace),
        Verb::Mutants(args) => mutants::run(args, &workspace),
        Verb::Failures(args) => failures::run(args, &workspace),
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
    match verb(command)? {
        Verb::VmMatrix(args) => Ok(*args),
        _ => Err("it is not a run of vm-matrix".into()),
    }
}

/// The options that a run of `races` was given, likewise.
///
/// # Errors
/// This version of mmdiff does not understand them.
fn races_args(command: &[String]) -> Result<races::RacesArgs, String> {
    match verb(command)? {
        Verb::Races(args) => Ok(args),
        _ => Err("it is not a run of races".into()),
    }
}

/// What the words of a command line say, the verb first.
fn verb(command: &[String]) -> Result<Verb, String> {
    let words = std::iter::once("cargo xtask").chain(command.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    Ok(cli.verb)
}

/// What the words of a command line say otherwise than those of an earlier run of vm-matrix, an option each; options that are `free`
/// may differ.
///
/// # Errors
/// This version of mmdiff does not understand the earlier ones.
fn contradictions(now: &[String], then: &[String], free: &[&str]) -> Result<Vec<String>, String> {
    let mut cli = Cli::command();
    let mut parse = |words: &[String]| {
        let words = std::iter::once("cargo xtask").chain(words.iter().map(String::as_str));
        cli.try_get_matches_from_mut(words)
            .map_err(|e| e.to_string())
    };
    let (now, then) = (parse(now)?, parse(then)?);
    let (Some(now), Some(then)) = (
        now.subcommand_matches("vm-matrix"),
        then.subcommand_matches("vm-matrix"),
    ) else {
        return Err("it is not a run of vm-matrix".into());
    };
    let text = |matches: &clap::ArgMatches, name: &str| {
        let raw = matches.get_raw(name).into_iter().flatten();
        let words: Vec<String> = raw
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(",")
    };
    let options = cli.find_subcommand("vm-matrix").into_iter();
    let options = options.flat_map(|verb| verb.get_arguments());
    let mut found = Vec::new();
    for option in options {
        let (name, long) = (option.get_id().as_str(), option.get_long());
        let given = now.try_contains_id(name).is_ok()
            && now.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        if free.contains(&name) || !given || text(now, name) == text(then, name) {
            continue;
        }
        let long = long.unwrap_or(name);
        found.push(match text(then, name).as_str() {
            "" => format!("--{long} {} was not given to the run", text(now, name)),
            had => format!(
                "--{long} {} contradicts the run, which has {had}",
                text(now, name)
            ),
        });
    }
    Ok(found)
}

/// The checkout that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
