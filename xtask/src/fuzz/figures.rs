//! `cargo xtask fuzz-figures`: what fuzzing costs and what mutation of programs is worth, as tables that stay.

use super::corpus::{seed, Folders};
use super::{minimizer, tool, FOUND, INTERRUPTED};
use crate::exit::{say, Exit};
use crate::rig::KernelOptions;
use crate::{interrupt, measured};
use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};
use harness::campaign::load_program;
use harness::kernel::simulated::{fault_named, SimFault, Simulated, FAULTS};
use harness::triage::{minimize, Settings};
use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::TimeVal;
use oracle::program::generate::{expand, generate};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;

/// Measures fuzz targets; the tables are kept in bench/runs/.
///
/// rates: each target for so many seconds: executions per second, the edges of its code that it reached, what it found. Those that need no
///   kernel from their seeds on and from nothing; host only with MMDIFF_ALLOW_HOST=1. Exit code 1 if one finds something.
/// mutation: the target simulated against simulated_arbitrary (no mutation of programs), same number of executions, same seeds,
///   both from the same 64 generated programs on: rules reached and deliberate faults found.
/// faults: for each deliberate fault, whether simulated finds it, from 64 generated programs on and, if that is not enough, from the
///   programs of corpus/ as `cargo xtask fuzz` starts; how many ops the minimizer leaves, which rule is named, and whether the fault
///   breaks it.
///   Exit code 1 if one is not found.
/// minimizer: a program of 40 ops for each deliberate fault, minimized: ops, runs, seconds and hits before and after, and whether the
///   bucket names a rule that the fault breaks. With --kernels also the deliberate faults of the guest on these kernels. Needs no fuzzer.
///
/// Examples:
///   cargo xtask fuzz-figures
///   cargo xtask fuzz-figures --what mutation --executions 5000 --seeds 5
///   cargo xtask fuzz-figures --what faults --fault collapse/collapse-skipped --executions 20000
///   cargo xtask fuzz-figures --what minimizer --kernels 7.3 --arch x86_64
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FiguresArgs {
    /// Which. Default: all.
    #[arg(long, value_enum)]
    what: Vec<What>,
    /// Seconds for each target of `rates`.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
    /// Executions of each run of `mutation`, and the most within which a fault must be found.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    executions: u32,
    /// Only this deliberate fault of `faults`; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = simulated_fault)]
    fault: Vec<&'static SimFault>,
    /// Runs of each way of `mutation`, with the seeds 1, 2, ...
    #[arg(long, value_name = "K", default_value_t = 3)]
    seeds: u32,
    /// Kernels of `minimizer`.
    #[command(flatten)]
    kernels: KernelOptions,
}

fn simulated_fault(name: &str) -> Result<&'static SimFault, String> {
    fault_named(name).ok_or_else(|| {
        format!("no deliberate fault of this name; `cargo xtask faults --kind simulated` lists them, for example {}", FAULTS[0].full_name())
    })
}

/// `--what`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Rates,
    Mutation,
    Faults,
    Minimizer,
}

/// Programs that both ways of `mutation` start from.
const START: u64 = 64;

/// Bytes of input that the generator uses.
const BYTES: usize = 2048;

/// Carries out `fuzz-figures`.
pub fn run(args: &FiguresArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let wants = |what| args.what.is_empty() || args.what.contains(&what);
    if [What::Rates, What::Mutation, What::Faults]
        .into_iter()
        .any(wants)
    {
        tool::ensure()?;
    }
    let mut exit = Exit::Fine;
    if wants(What::Rates) {
        exit = rates(args, workspace)?;
    }
    if wants(What::Mutation) && !stop.load(Ordering::Relaxed) {
        mutation(args, workspace)?;
    }
    if wants(What::Faults) && !stop.load(Ordering::Relaxed) {
        exit = match faults(args, workspace)? {
            Exit::Fine => exit,
            worse => worse,
        };
    }
    if wants(What::Minimizer) && !stop.load(Ordering::Relaxed) {
        minimizer::run(&args.kernels, workspace)?;
    }
    Ok(match stop.load(Ordering::Relaxed) {
        true => Exit::Interrupted,
        false => exit,
    })
}

/// Runs a target with what all runs share; fails if it does not end as `wanted`.
fn finished(command: &mut Command, wanted: &[i32]) -> Result<Output> {
    let output = command.arg("-print_final_stats=1").output();
    let output = output.context("the target cannot be run")?;
    if !output
        .status
        .code()
        .is_some_and(|code| wanted.contains(&code))
    {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let tail: Vec<&str> = said.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!(
            "the target ended with {}:\n{}",
            output.status,
            tail.join("\n")
        );
    }
    Ok(output)
}

/// A number of libFuzzer's closing statistics.
fn stat(output: &Output, name: &str) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
    let value = line.with_context(|| format!("the target does not say {name}"))?;
    Ok(value.trim_start_matches(':').trim().to_string())
}

/// Each target in turn. A finding ends its target's turn, not the table.
fn rates(args: &FiguresArgs, workspace: &Path) -> Result<Exit> {
    let header = [
        "target",
        "from",
        "seconds",
        "executions",
        "executions_per_s",
        "executions_per_cpu_s",
        "edges",
        "peak_rss_mib",
        "findings",
    ];
    let (mut rows, mut exit) = (Vec::new(), Exit::Fine);
    for target in &tool::targets(workspace)? {
        if target == "host" && std::env::var_os("MMDIFF_ALLOW_HOST").is_none() {
            eprintln!("host is left out: it runs programs on this machine's own kernel, which MMDIFF_ALLOW_HOST=1 allows");
            continue;
        }
        tool::build(workspace, target)?;
        let program = tool::program(workspace, target)?;
        let starts: &[&str] = match tool::needs_kernels(target) {
            true => &["seeds"],
            false => &["seeds", "nothing"],
        };
        for from in starts {
            let folders = Folders::of_figures(workspace, target)?;
            if *from == "seeds" {
                seed(workspace, target, &folders.seeds)?;
            }
            let (row, found) = rate(args.seconds, target, from, &program, &folders)?;
            if interrupt::stop_flag().load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            eprintln!("{}", row.join("  "));
            rows.push(row);
            if found {
                eprintln!("finding in {}", folders.findings.display());
                exit = Exit::Found;
            }
        }
    }
    keep(workspace, "fuzz-rates", &header, &rows)?;
    Ok(exit)
}

/// One target's turn: its row, and whether it found something.
fn rate(
    seconds: u32,
    target: &str,
    from: &str,
    program: &Path,
    folders: &Folders,
) -> Result<([String; 9], bool)> {
    let before = children_seconds()?;
    let output = finished(
        tool::run(program, &[&folders.new, &folders.seeds])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", folders.findings.display())),
        &[&[0, INTERRUPTED][..], &FOUND].concat(),
    )?;
    let cpu = children_seconds()? - before;
    let executions = stat(&output, "number_of_executed_units")?;
    let count: f64 = executions.parse().context("a number of executions")?;
    let found = output
        .status
        .code()
        .is_some_and(|code| FOUND.contains(&code));
    let row = [
        target.to_owned(),
        from.to_owned(),
        seconds.to_string(),
        executions,
        stat(&output, "average_exec_per_sec")?,
        // What a core that is nobody else's would have made of it. QEMU's time is not ours to tell.
        match tool::needs_kernels(target) && target != "host" {
            true => String::new(),
            false => format!("{:.0}", count / cpu),
        },
        edges(&output),
        stat(&output, "peak_rss_mb")?,
        u32::from(found).to_string(),
    ];
    Ok((row, found))
}

/// Edges that a run reached: `cov: N` in the last line that has it. None has it where a seed was a finding.
fn edges(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
    last.unwrap_or_default().to_owned()
}

/// CPU time of the processes that we have waited for.
fn children_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Prints a table and keeps it. Every row has as many cells as the header: a run of minutes must not end in one that cannot be
/// written.
pub(super) fn keep<const N: usize>(
    workspace: &Path,
    what: &str,
    header: &[&str; N],
    rows: &[[String; N]],
) -> Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
    let rows = &rows;
    say!("{}", measured::table(header, rows));
    let folder = measured::keep(workspace, what, &format!("{what}.csv"), header, rows)?;
    say!("{}\n", folder.display());
    Ok(())
}

/// What a run reached: things by kind, each with the number of executions that it took.
fn reached(tally: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for line in tally.lines() {
        if let Some(kind) = line.split(' ').nth(1) {
            *counts.entry(kind.to_string()).or_default() += 1;
        }
    }
    counts
}

fn mutation(args: &FiguresArgs, workspace: &Path) -> Result<()> {
    let header = [
        "way",
        "seed",
        "executions",
        "rules",
        "faults",
        "faults_in_all",
    ];
    let mut rows = Vec::new();
    for (target, way) in [("simulated", "programs"), ("simulated_arbitrary", "bytes")] {
        tool::build(workspace, target)?;
        let program = tool::program(workspace, target)?;
        for number in 1..=args.seeds {
            if interrupt::stop_flag().load(Ordering::Relaxed) {
                return Ok(());
            }
            let folders = Folders::of_figures(workspace, target)?;
            for start in 0..START {
                // The same programs: as text, and as the bytes that the generator makes them of.
                let chosen = u64::from(number) * START + start;
                let bytes = match way {
                    "programs" => generate(chosen).to_string().into_bytes(),
                    _ => expand(chosen, BYTES),
                };
                std::fs::write(folders.seeds.join(start.to_string()), bytes)?;
            }
            let tally = folders.new.with_file_name("tally");
            let output = finished(
                tool::run(&program, &[&folders.new, &folders.seeds])
                    .env("MMDIFF_TALLY", &tally)
                    .arg(format!("-runs={}", args.executions))
                    .arg(format!("-seed={number}")),
                &[0],
            )?;
            let counts = reached(&std::fs::read_to_string(&tally)?);
            let count = |kind| counts.get(kind).copied().unwrap_or(0).to_string();
            rows.push([
                way.into(),
                number.to_string(),
                stat(&output, "number_of_executed_units")?,
                count("rule"),
                count("fault"),
                FAULTS.len().to_string(),
            ]);
        }
    }
    keep(workspace, "fuzz-mutation", &header, &rows)
}

fn faults(args: &FiguresArgs, workspace: &Path) -> Result<Exit> {
    let header = [
        "fault",
        "from",
        "executions",
        "ops_before",
        "ops_after",
        "runs",
        "seconds",
        "rule",
        "rule_is_right",
        "bucket",
    ];
    tool::build(workspace, "simulated")?;
    let program = tool::program(workspace, "simulated")?;
    let mut rows = Vec::new();
    let wanted = |fault: &&SimFault| {
        let named = |other: &&SimFault| other.full_name() == fault.full_name();
        args.fault.is_empty() || args.fault.iter().any(named)
    };
    for fault in FAULTS.iter().filter(wanted) {
        let mut row = one_fault(args, workspace, &program, (fault, "generated"))?;
        if row[2] == UNNOTICED {
            row = one_fault(args, workspace, &program, (fault, "corpus"))?;
        }
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        eprintln!("{}", row.join("  "));
        rows.push(row);
    }
    let missed = rows.iter().filter(|row| row[2] == UNNOTICED).count();
    let short = |row: &&[String; 10]| row[4].parse().is_ok_and(|ops: usize| ops <= 5);
    let short = rows.iter().filter(short).count();
    let right = rows.iter().filter(|row| row[8] == "yes").count();
    keep(workspace, "fuzz-faults", &header, &rows)?;
    say!(
        "{} faults, {missed} unnoticed, {short} brought to 5 ops or fewer, {right} named by a rule that they break\n",
        rows.len()
    );
    Ok(if missed > 0 { Exit::Found } else { Exit::Fine })
}

/// Of a fault that the target did not come to.
const UNNOTICED: &str = "unnoticed";

/// Lets the target find one fault, from `generated` programs on or from those of the `corpus`, and minimizes what it found.
fn one_fault(
    args: &FiguresArgs,
    workspace: &Path,
    program: &Path,
    (fault, from): (&'static SimFault, &str),
) -> Result<[String; 10]> {
    let name = fault.full_name();
    let folders = Folders::of_figures(workspace, "simulated")?;
    if from == "corpus" {
        seed(workspace, "simulated", &folders.seeds)?;
    } else {
        for start in 0..START {
            let text = generate(start).to_string();
            std::fs::write(folders.seeds.join(start.to_string()), text)?;
        }
    }
    let finding = folders.new.with_file_name("fault.prog");
    // Left over from the fault before.
    let _ = std::fs::remove_file(&finding);
    let output = finished(
        tool::run(program, &[&folders.new, &folders.seeds])
            .env("MMDIFF_FAULT", &name)
            .arg(format!("-runs={}", args.executions))
            .arg("-seed=1")
            .arg(format!("-exact_artifact_path={}", finding.display())),
        &[0, 77],
    )?;
    if !finding.exists() {
        let mut row = [const { String::new() }; 10];
        row[0] = name;
        row[1] = from.into();
        row[2] = UNNOTICED.into();
        return Ok(row);
    }
    let found = load_program(&finding)?.program.without_expectations();
    let source = Simulated {
        fault: Some(fault),
        ..Simulated::default()
    };
    let settings = Settings {
        // The true one, so that a fault cannot bend the probes.
        by: harness::kernel::JudgeBy::profile(oracle::profile::Named::NEWEST),
        ..Settings::default()
    };
    let stop = interrupt::stop_flag();
    let minimized = minimize(&source, &found, &settings, stop, &mut |_| {})
        .with_context(|| format!("{name} cannot be minimized"))?;
    let rule = &minimized.story.bucket.rule;
    Ok([
        name,
        from.to_owned(),
        stat(&output, "number_of_executed_units")?,
        found.steps.len().to_string(),
        minimized.program.steps.len().to_string(),
        minimized.executions.to_string(),
        format!("{:.1}", minimized.seconds),
        rule.clone(),
        match fault.breaks.contains(&rule.as_str()) {
            true => "yes".into(),
            false => "no".into(),
        },
        minimized.story.bucket.to_string(),
    ])
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn edges_are_those_of_the_last_line() {
        let output = |stderr: &str| std::process::Output {
            status: std::process::ExitStatus::from_raw(0),
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        let said = "#2 INITED cov: 12 ft: 13\n#9\tDONE   cov: 340 ft: 9\nDone 9 runs\n";
        assert_eq!(super::edges(&output(said)), "340");
        assert_eq!(super::edges(&output("nothing")), "");
    }

    #[test]
    fn what_was_reached_is_counted_by_kind() {
        let counts = super::reached("1 rule mmap/maps\n1 rule args/wraps\n40 fault guard/x\n");
        assert_eq!((counts["rule"], counts["fault"]), (2, 1));
    }
}
