//! `cargo xtask bench`: what the pipeline costs.

mod flat;
mod merge;

use crate::exit::{say, Exit};
use crate::rig::{newest_unless_named, rig, KernelOptions};
use crate::{folders, interrupt, measured};
use anyhow::{anyhow, bail, Context, Result};
use clap::{Args, ValueEnum};
use harness::campaign::{
    judge, run as campaign, smaps, Amount, CpuAccount, Discard, Feed, Known, Notice,
    ProgramVerdict, Quiet, Settings, BLOCK,
};
use harness::kernel::machine::{VmKernel, VmSource};
use harness::kernel::simulated::Simulated;
use harness::kernel::{probe, vm, Event, Kernel, KernelSource, Prepared};
use harness::report::Usage;
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;
use vm_images::Arch;

/// Measures what the pipeline costs: the same programs as bare system calls and judged, in turns in the same VM.
///
/// Also: boot time against a bare init on the same QEMU line, two and four VMs against one, the share of CPU time that
/// generating and judging take, the oracle alone, merging the folders of a farm, and the peak memory of this process; and, where it is
/// asked for, whether a campaign is as fast after an hour as in its first minutes (flat). Prints a table with the line `ratio: R` (judged programs/s over bare programs/s; with two architectures the lower one) and keeps bench.csv
/// with date, host and command in bench/runs/.
///
/// Examples:
///   cargo xtask bench
///   cargo xtask bench --kernels 7.3 --arch aarch64 --turns 9
///   cargo xtask bench --measure flat --kernels 7.3 --arch x86_64                           (takes 65 minutes)
///   cargo xtask bench --measure merge --records 10000000 --folders 10000 --content bare     (takes 15 GB of disk for a while)
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct BenchArgs {
    /// Default: the newest kernel on both architectures.
    #[command(flatten)]
    kernels: KernelOptions,
    /// Turns of each measurement; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    turns: usize,
    /// What to measure; several with commas. Default: everything but flat.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS", default_values_t = Part::USUAL)]
    measure: Vec<Part>,
    /// Programs: a file with texts of programs, separated by lines of `---`. Default: bench/mix.txt.
    #[arg(long, value_name = "FILE")]
    mix: Option<PathBuf>,
    #[command(flatten)]
    merge: merge::MergeOptions,
    #[command(flatten)]
    flat: flat::FlatOptions,
    /// Write the first 512 programs of seed 42 as a new mix, and end.
    #[arg(long)]
    freeze: bool,
    /// Do not keep the figures in bench/runs/.
    #[arg(long)]
    no_keep: bool,
}

/// `--measure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Judging and generating alone, in one thread, without a kernel.
    Oracle,
    /// From the start of QEMU to the first program, against a bare init.
    Boot,
    /// Bare system calls against judged programs, in one VM.
    Ratio,
    /// Campaigns on one VM, on two and on four, and where the CPU time goes.
    Campaign,
    /// Folders of a farm that are put together: rate and memory.
    Merge,
    /// A campaign of an hour: its last minutes against its first ones, and against those of another one right after it.
    Flat,
}

impl Part {
    const USUAL: [Part; 5] = [
        Part::Oracle,
        Part::Boot,
        Part::Ratio,
        Part::Campaign,
        Part::Merge,
    ];
}

const HEADER: [&str; 5] = ["measure", "kernel", "arch", "value", "unit"];

/// Programs in the frozen mix, and the seed they came from.
const MIX_PROGRAMS: u64 = 512;
const MIX_SEED: u64 = 42;

/// Batches in flight, as in a campaign.
const DEPTH: usize = 3;

/// VMs side by side in campaigns, and their names in the table.
const SCALE: [(usize, &str); 3] = [(1, "one VM"), (2, "two VMs"), (4, "four VMs")];

struct Figures(Vec<Vec<String>>);

impl Figures {
    fn add(&mut self, measure: &str, kernel: &str, arch: &str, value: f64, unit: &str) {
        let digits = if value.abs() < 10.0 { 3 } else { 1 };
        self.0.push(vec![
            measure.into(),
            kernel.into(),
            arch.into(),
            format!("{value:.digits$}"),
            unit.into(),
        ]);
    }
}

/// Carries out `bench`.
pub fn run(args: &BenchArgs, workspace: &Path) -> Result<Exit> {
    let path = args
        .mix
        .clone()
        .unwrap_or_else(|| workspace.join("bench/mix.txt"));
    if args.freeze {
        return freeze(&path);
    }
    let mix = load_mix(&path)?;
    let stop = interrupt::stop_flag();
    let mut options = args.kernels.clone();
    if options.arch.is_empty() {
        options.arch = Arch::ALL.to_vec();
    }
    let mut figures = Figures(Vec::new());
    mix_figures(&mix, &mut figures);
    if args.measure.contains(&Part::Oracle) {
        oracle_alone(&mix, args.turns, &mut figures)?;
    }
    if args.measure.contains(&Part::Merge) {
        merge::merge(&args.merge, scratch(workspace)?.path(), &mut figures)?;
    }
    let without_kernels = |part: &Part| matches!(part, Part::Oracle | Part::Merge);
    let machines = if args.measure.iter().all(without_kernels) {
        Vec::new()
    } else {
        let consoles = folders::consoles(workspace)?;
        let options = newest_unless_named(&options, workspace)?;
        rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?.machines
    };
    let mut ratio = f64::INFINITY;
    for machine in machines.iter().take_while(|_| !stopped()) {
        eprintln!("{} {}", machine.label, machine.config.arch);
        for part in args.measure.iter().take_while(|_| !stopped()) {
            match part {
                Part::Oracle | Part::Merge => {}
                Part::Boot => boots(machine, &mix, args.turns, &mut figures)?,
                Part::Ratio => {
                    ratio = ratio.min(speeds(machine, &mix, args.turns, &mut figures)?);
                }
                Part::Campaign => campaigns(machine, &mix, &mut figures)?,
                Part::Flat => {
                    let dir = scratch(workspace)?;
                    flat::flat(machine, &args.flat, dir.path(), stop, &mut figures)?;
                }
            }
        }
    }
    figures.add("peak host memory", "", "", Usage::now().peak_mib, "MiB");
    say!("{}", measured::table(&HEADER, &figures.0));
    if ratio.is_finite() {
        say!("ratio: {ratio:.3}\n");
    }
    if stopped() {
        // Figures of fewer turns, or not all of them: to be seen, not to be kept.
        return Ok(Exit::Interrupted);
    }
    if !args.no_keep {
        let folder = measured::keep(workspace, "bench", "bench.csv", &HEADER, &figures.0)?;
        say!("{}\n", folder.display());
    }
    Ok(Exit::Fine)
}

/// Whether the user wants it to end: after the turn that runs.
fn stopped() -> bool {
    interrupt::stop_flag().load(Ordering::Relaxed)
}

/// A folder for what a measurement writes, on the disk that campaigns write to; it goes with what is in it.
fn scratch(workspace: &Path) -> Result<tempfile::TempDir> {
    let dir = folders::target(workspace).join("mmdiff");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    tempfile::tempdir_in(&dir).with_context(|| dir.display().to_string())
}

fn freeze(path: &Path) -> Result<Exit> {
    let feed = Feed::new(MIX_SEED);
    let mut text = String::new();
    for n in 0..MIX_PROGRAMS {
        let block = feed.block(n / BLOCK);
        text += &format!("{}---\n", block[(n % BLOCK) as usize]);
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())?;
    say!(
        "{}: {MIX_PROGRAMS} programs of seed {MIX_SEED}\n",
        path.display()
    );
    Ok(Exit::Fine)
}

fn load_mix(path: &Path) -> Result<Vec<Arc<Program>>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut programs = Vec::new();
    let mut one = String::new();
    for line in text.lines() {
        if line == "---" {
            let program = Program::load(&one)
                .map_err(|e| anyhow!("{}, program {}: {e}", path.display(), programs.len()))?;
            programs.push(Arc::new(program));
            one.clear();
        } else {
            one.push_str(line);
            one.push('\n');
        }
    }
    if programs.is_empty() {
        bail!("{}: no programs", path.display());
    }
    Ok(programs)
}

fn mix_figures(mix: &[Arc<Program>], figures: &mut Figures) {
    let ops: usize = mix.iter().map(|p| p.steps.len()).sum();
    let forks = mix
        .iter()
        .flat_map(|p| &p.steps)
        .filter(|step| step.op.name() == "fork")
        .count();
    figures.add("programs in the mix", "", "", mix.len() as f64, "programs");
    figures.add(
        "ops per program",
        "",
        "",
        ops as f64 / mix.len() as f64,
        "ops",
    );
    figures.add(
        "forks",
        "",
        "",
        100.0 * forks as f64 / ops as f64,
        "% of ops",
    );
}

/// The mix as a campaign would submit it.
fn batches(mix: &[Arc<Program>]) -> Vec<Vec<Prepared>> {
    mix.chunks(BLOCK as usize)
        .enumerate()
        .map(|(block, programs)| {
            let mut batch: Vec<Prepared> = programs
                .iter()
                .enumerate()
                .map(|(i, program)| {
                    let number = block as u64 * BLOCK + i as u64;
                    Prepared {
                        id: number + 1,
                        program: program.clone(),
                        smaps: smaps::GENERATED,
                        fault: None,
                    }
                })
                .collect();
            batch.sort_by_key(|prepared| prepared.program.knobs);
            batch
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Generating and judging without a kernel: executions come from the model, beforehand.
fn oracle_alone(mix: &[Arc<Program>], turns: usize, figures: &mut Figures) -> Result<()> {
    let source = Simulated::default();
    let mut kernel = source.boot("oracle")?;
    let mut work = Vec::new();
    for batch in batches(mix) {
        let executions = kernel.run(&batch)?;
        work.extend(batch.into_iter().zip(executions));
    }
    let (mut judging, mut generating) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let started = Instant::now();
        for (prepared, execution) in &work {
            judge(
                &prepared.program,
                execution,
                &source.profile,
                source.geometry,
            );
        }
        judging.push(work.len() as f64 / started.elapsed().as_secs_f64());
        let feed = Feed::new(turn as u64);
        let started = Instant::now();
        for n in 0..MIX_PROGRAMS / BLOCK {
            feed.block(n);
        }
        generating.push(MIX_PROGRAMS as f64 / started.elapsed().as_secs_f64());
    }
    figures.add("oracle alone", "", "", median(judging), "programs/s");
    figures.add("generator alone", "", "", median(generating), "programs/s");
    Ok(())
}

/// From the start of QEMU to the first program's execution, against a bare init; in turns.
fn boots(
    machine: &VmSource,
    mix: &[Arc<Program>],
    turns: usize,
    figures: &mut Figures,
) -> Result<()> {
    let (mut bare, mut first, mut hello) = (Vec::new(), Vec::new(), Vec::new());
    let mut config = machine.config.clone();
    config.console_log = machine.consoles.join("bare-init.log");
    for _ in 0..turns {
        if stopped() && !first.is_empty() {
            break;
        }
        bare.push(vm::boot_bare(&config)?);
        let started = Instant::now();
        let mut kernel = machine.boot_vm("bench-boot")?;
        kernel.run(&batches(&mix[..1])[0])?;
        first.push(started.elapsed().as_secs_f64());
        hello.push(kernel.info().boot_seconds);
    }
    let (bare, first) = (median(bare), median(first));
    let arch = machine.config.arch.name();
    figures.add("bare init", &machine.label, arch, bare, "s");
    figures.add("guest answers", &machine.label, arch, median(hello), "s");
    figures.add("first program done", &machine.label, arch, first, "s");
    figures.add(
        "first program over bare init",
        &machine.label,
        arch,
        first / bare,
        "times",
    );
    Ok(())
}

/// Bare and judged, in turns in one VM. Returns the ratio.
fn speeds(
    machine: &VmSource,
    mix: &[Arc<Program>],
    turns: usize,
    figures: &mut Figures,
) -> Result<f64> {
    let mut kernel = machine.boot_vm("bench-speed")?;
    let profile = probe::probe(&mut kernel)?;
    let batches = batches(mix);
    let (mut bare, mut judged, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=turns {
        if stopped() && !ratios.is_empty() {
            break;
        }
        let started = Instant::now();
        for batch in &batches {
            kernel.bare(batch, 1)?;
        }
        let bare_rate = mix.len() as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        judged_once(&mut kernel, &batches, &profile)?;
        let judged_rate = mix.len() as f64 / started.elapsed().as_secs_f64();
        // The first turn warms QEMU's translations up.
        if turn > 0 {
            bare.push(bare_rate);
            judged.push(judged_rate);
            ratios.push(judged_rate / bare_rate);
        }
    }
    let arch = machine.config.arch.name();
    let ratio = median(ratios);
    figures.add("bare", &machine.label, arch, median(bare), "programs/s");
    figures.add("judged", &machine.label, arch, median(judged), "programs/s");
    figures.add("judged over bare", &machine.label, arch, ratio, "ratio");
    Ok(ratio)
}

/// Runs all batches through the pipeline once, as a campaign's lane does.
fn judged_once(kernel: &mut VmKernel, batches: &[Vec<Prepared>], profile: &Profile) -> Result<()> {
    let geometry = kernel.info().geometry;
    let cpu = CpuAccount::default();
    let mut waiting = batches.iter();
    let mut flights: VecDeque<VecDeque<&Prepared>> = VecDeque::new();
    loop {
        while flights.len() < DEPTH {
            let Some(batch) = waiting.next() else { break };
            kernel.submit(batch)?;
            flights.push_back(batch.iter().collect());
        }
        let Some(flight) = flights.front_mut() else {
            return Ok(());
        };
        match kernel.next()? {
            Event::BatchDone { .. } => {
                flights.pop_front();
            }
            Event::Execution(execution) => {
                let prepared = flight.pop_front().context("an execution too many")?;
                let judged = cpu.charge(|| judge(&prepared.program, &execution, profile, geometry));
                if let ProgramVerdict::Infra(why) = judged.verdict {
                    bail!("{why}");
                }
            }
        }
    }
}

/// Whole campaigns over the mix: one VM, then two, then four; and where the CPU time goes.
fn campaigns(machine: &VmSource, mix: &[Arc<Program>], figures: &mut Figures) -> Result<()> {
    let source: Arc<dyn KernelSource> = Arc::new(machine.clone());
    let arch = machine.config.arch.name();
    let mut rates = Vec::new();
    for (jobs, _) in SCALE {
        let settings = Settings {
            seed: MIX_SEED,
            amount: Amount::Programs(4 * mix.len() as u64 * jobs as u64),
            corpus: Vec::new(),
            jobs,
            by: harness::kernel::JudgeBy::default(),
            // Generated, so that generating is part of the cost.
            mix: None,
            reruns: 0,
            known: Known::default(),
            stop_at_first: false,
            notice: Notice::All,
            part: harness::campaign::Part::default(),
        };
        let before = Usage::now();
        let summary = campaign(
            &settings,
            std::slice::from_ref(&source),
            &Discard,
            &Quiet,
            interrupt::stop_flag(),
        )?;
        let after = Usage::now();
        let row = summary.rows.first().context("the campaign has no row")?;
        if row.tally.infra_errors > 0 || row.tally.programs == 0 {
            bail!("the campaign failed: {}", row.errors.join("; "));
        }
        rates.push(row.rate());
        let cpu = after.own + after.children - before.own - before.children;
        let share = 100.0 * (summary.generating + summary.judging) / cpu;
        let name = format!("campaign, {jobs} VM{}", if jobs == 1 { "" } else { "s" });
        figures.add(&name, &machine.label, arch, row.rate(), "programs/s");
        figures.add(
            &format!("{name}: generating and judging"),
            &machine.label,
            arch,
            share,
            "% of CPU time",
        );
    }
    for ((_, name), rate) in SCALE.iter().zip(&rates).skip(1) {
        let (name, times) = (format!("{name} over one"), rate / rates[0]);
        figures.add(&name, &machine.label, arch, times, "times");
    }
    Ok(())
}
