//! `cargo xtask races`: programs in which threads run at once, on kernels.

use crate::exit::{say, Exit};
use crate::judge_by::RulesOptions;
use crate::rig::{newest_unless_named, rig, KernelOptions};
use crate::{folders, interrupt, measured};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{
    load_concurrent_corpus, program_seed, suited, CorpusProgram, ProgramVerdict,
};
use harness::kernel::machine::VmSource;
use harness::kernel::{
    probe, BootError, JudgeBy, Kernel, KernelError, KernelInfo, KernelSource, Prepared, Smaps,
};
use harness::race::{explanation, explanation_text, judge_raced, Fate, Judgement, Row, WayRow};
use harness::report::{outcome_words, wrap};
use oracle::profile::Profile;
use oracle::program::generate::generate_race;
use oracle::program::{Program, Step};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

/// Processors of a VM: threads shall really run at once.
const CPUS: u32 = 2;

/// Runs programs in which threads run at once, many times each, and judges every repetition.
///
/// What the threads may come to are the ways that all orders of the kernel's steps lead to (`cargo xtask show PROGRAM` prints
/// them). Each repetition starts the threads at other moments, so that every part of an op meets every part of the others. Told
/// are the ways that were met, how often (`known`: a fault that the kernel is known to have led there), and every execution that no way explains or that breaks a promise of guard regions.
/// The VMs have two processors; under TCG QEMU runs each in a thread of its own, so they work at once where the host has two.
///
/// The run's folder gets races.csv (a row for each program and kernel), ways.csv (a row for each allowed way, with how often it was
/// met), and for each forbidden execution a text and the program. Exit code 1: there was one. Without --kernels and --kernel: the
/// newest of the lock, on x86-64 unless --arch says otherwise.
///
/// Examples:
///   cargo xtask races
///   cargo xtask races corpus/races/01-pmd-border.prog --kernels 7.3 --arch x86_64 --repetitions 10000
///   cargo xtask races --kernels 6.18,6.19,7.0 --repetitions 500 --rounds
///   cargo xtask races --generated 500 --seed 7 --repetitions 20 --kernels 7.3
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RacesArgs {
    /// Programs or folders of programs. Default: corpus/races
    #[arg(value_name = "PATH")]
    programs: Vec<PathBuf>,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    rules: RulesOptions,
    /// How often each program is run on each kernel.
    #[arg(long, value_name = "N", default_value_t = 500)]
    repetitions: u32,
    /// Generated programs beside those of the corpus, each with a section of threads.
    #[arg(long, value_name = "N", default_value_t = 0)]
    generated: u64,
    /// Chooses the generated programs; the same on every machine.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Count by probes in the kernel how often it walks page tables: once for each round of guard install. Takes time.
    #[arg(long)]
    rounds: bool,
    /// The run's folder. Default: a new one under target/mmdiff/runs
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const HEADER: [&str; 11] = [
    "program",
    "kernel",
    "arch",
    "repetitions",
    "overlapped",
    "<256 ns",
    "ways seen",
    "not judged",
    "known",
    "forbidden",
    "/s",
];

/// Carries out `races`.
pub fn run(args: &RacesArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let stopped = || stop.load(Ordering::Relaxed);
    let mut programs = Vec::new();
    let default = [workspace.join("corpus/races")];
    let paths = match args.programs.as_slice() {
        [] => &default[..],
        given => given,
    };
    for path in paths {
        programs.extend(load_concurrent_corpus(path)?);
    }
    programs.extend((0..args.generated).map(|number| {
        let seed = program_seed(args.seed, 0, number);
        CorpusProgram {
            name: format!("{}-{number}", args.seed),
            program: Arc::new(generate_race(seed)),
        }
    }));
    let folder = folders::run_folder(workspace, args.out.as_deref());
    let consoles = folder.join("consoles");
    std::fs::create_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    let by = args.rules.judge_by()?;
    let kernels = newest_unless_named(&args.kernels, workspace)?;
    let rig = rig(&kernels, workspace, &consoles, &|line| eprintln!("{line}"))?;
    let mut run = Run {
        args,
        by,
        tables: Tables::create(&folder)?,
        shown: Vec::new(),
        found: 0,
        failed: 0,
    };
    for machine in &rig.machines {
        run.kernel(machine, &programs, &stopped)?;
    }
    say!("{}", measured::table(&HEADER, &run.shown));
    say!("{}\n", folder.display());
    Ok(match (run.found, run.failed) {
        (1.., _) => Exit::Found,
        _ if stopped() => Exit::Interrupted,
        (0, 1..) => Exit::Infrastructure,
        (0, 0) if run.shown.is_empty() => Exit::Infrastructure,
        (0, 0) => Exit::Fine,
    })
}

/// The files of a run, written as results come.
struct Tables {
    folder: PathBuf,
    races: csv::Writer<std::fs::File>,
    ways: csv::Writer<std::fs::File>,
}

impl Tables {
    fn create(folder: &Path) -> Result<Tables> {
        let create = |name: &str| {
            let path = folder.join(name);
            csv::Writer::from_path(&path).with_context(|| path.display().to_string())
        };
        Ok(Tables {
            folder: folder.to_path_buf(),
            races: create("races.csv")?,
            ways: create("ways.csv")?,
        })
    }

    fn write(&mut self, row: &Row, ways: &[WayRow]) -> Result<()> {
        let said = || self.folder.display().to_string();
        self.races.serialize(row).with_context(said)?;
        for way in ways {
            self.ways.serialize(way).with_context(said)?;
        }
        self.races.flush().with_context(said)?;
        self.ways.flush().with_context(said)
    }
}

struct Run<'a> {
    args: &'a RacesArgs,
    by: JudgeBy,
    tables: Tables,
    /// The table on the terminal.
    shown: Vec<Vec<String>>,
    /// Programs and kernels with something that must not be.
    found: u32,
    /// Programs and kernels that could not be run.
    failed: u32,
}

type Booted = (Box<dyn Kernel>, Profile);

impl Run<'_> {
    /// Races all programs on one kernel; another is booted when one dies.
    fn kernel(
        &mut self,
        machine: &VmSource,
        programs: &[CorpusProgram],
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut machine = machine.clone();
        machine.config.cpus = CPUS;
        let mut booted: Option<Booted> = None;
        for (number, entry) in programs.iter().enumerate() {
            if stopped() {
                return Ok(());
            }
            let (mut kernel, profile) = match booted.take() {
                Some(alive) => alive,
                None => match boot(&machine, number, &self.by)? {
                    Some(new) => new,
                    None => return Ok(()),
                },
            };
            match self.program(kernel.as_mut(), &profile, entry)? {
                Ok(()) => booted = Some((kernel, profile)),
                Err(error) => self.died(&machine, entry, &error)?,
            }
        }
        Ok(())
    }

    fn program(
        &mut self,
        kernel: &mut dyn Kernel,
        profile: &Profile,
        entry: &CorpusProgram,
    ) -> Result<std::result::Result<(), KernelError>> {
        let info = kernel.info().clone();
        let name = short(&entry.name);
        let (program, lacking) = suited(&entry.program, profile, &info);
        if let Some(need) = lacking {
            eprintln!(
                "{name} on {}: left out, the kernel lacks {need:?}",
                info.release
            );
            return Ok(Ok(()));
        }
        let prepared = Prepared {
            id: 1,
            program: program.clone(),
            smaps: Smaps::Changes,
            fault: None,
        };
        let began = Instant::now();
        let raced = match kernel.race(&prepared, self.args.repetitions, self.args.rounds) {
            Ok(raced) => raced,
            Err(error) => return Ok(Err(error)),
        };
        let judged = judge_raced(&program, &raced, profile, info.geometry);
        let seconds = began.elapsed().as_secs_f64();
        let row = Row::new(&name, &info, &raced, &judged, seconds);
        if let Some(why) = &raced.no_walks {
            eprintln!("{name} on {}: rounds are not counted: {why}", info.release);
        }
        eprintln!(
            "{name} on {} {}: {} repetitions, {} overlapped, {} of {} ways, {} forbidden{}",
            info.release,
            info.arch,
            row.repetitions,
            row.overlapped,
            row.ways_seen,
            row.ways,
            row.forbidden,
            match row.walks.as_str() {
                "" => String::new(),
                walks => format!(", walks {walks}"),
            }
        );
        self.tables
            .write(&row, &WayRow::all(&name, &program, &info, &judged))?;
        self.failed += u32::from(row.infra_errors > 0);
        for kind in &judged.kinds {
            if let Fate::Infra(why) = &kind.fate {
                eprintln!("{name} on {}: {why}", info.release);
            }
        }
        if row.found() {
            self.found += 1;
            self.tell(&name, &program, &info, profile, &judged)?;
        }
        self.shown.push(vec![
            row.program.clone(),
            row.kernel.clone(),
            row.arch.clone(),
            row.repetitions.to_string(),
            row.overlapped.to_string(),
            row.within_256ns.to_string(),
            format!("{}/{}", row.ways_seen, row.ways),
            row.not_judged.to_string(),
            row.known.to_string(),
            row.forbidden.to_string(),
            format!("{:.0}", row.repetitions_per_second),
        ]);
        Ok(Ok(()))
    }

    /// Keeps and prints what must not be.
    fn tell(
        &self,
        name: &str,
        program: &Program,
        info: &KernelInfo,
        profile: &Profile,
        judged: &Judgement,
    ) -> Result<()> {
        let mut text = format!(
            "{name} on {} ({}, {})\n",
            info.release, info.arch, info.accel
        );
        for kind in judged.kinds.iter().filter(|kind| kind.is_wrong()) {
            text += &format!("\n{} repetitions:\n", kind.count);
            for (step, seen) in program.steps.iter().zip(&kind.execution.seen) {
                let outcome = outcome_words(&seen.outcome, info.geometry);
                text += &format!("   {step}   => {outcome}\n");
            }
            if let Fate::Forbidden(verdict) = &kind.fate {
                if let ProgramVerdict::Suspect(story) = verdict.as_ref() {
                    text += &wrap(&format!("{}\n{}\n", story.bucket, story.text));
                    text += &story.console;
                }
                let g = info.geometry;
                if let Some(told) = explanation(program, &kind.execution, profile, g) {
                    let section = first_section(program);
                    text += &wrap(&explanation_text(&told, &section, g));
                }
            }
            for broken in &kind.broken {
                let (promise, step) = (broken.promise, broken.step);
                text += &wrap(&format!(
                    "broken: {promise}, step {step}: {}\n",
                    broken.text
                ));
            }
        }
        say!("{text}");
        let place = format!("{name}-{}-{}", info.label.replace('/', "_"), info.arch);
        for (extension, content) in [("txt", text), ("prog", program.to_string())] {
            let path = self.tables.folder.join(format!("{place}.{extension}"));
            std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// The kernel died while a program ran.
    fn died(
        &mut self,
        machine: &VmSource,
        entry: &CorpusProgram,
        error: &KernelError,
    ) -> Result<()> {
        let name = short(&entry.name);
        let (kernel, arch) = (machine.label(), machine.arch());
        let mut text = format!("{name} on {kernel} {arch}: {error}\n");
        match error {
            KernelError::Crash { excerpt, .. } => {
                text += excerpt;
                self.found += 1;
            }
            KernelError::LockedUp { console, .. } => {
                text += console;
                self.found += 1;
            }
            KernelError::Lost { console, .. } => {
                text += console;
                self.failed += 1;
            }
        }
        say!("{text}\n");
        let path = self
            .tables
            .folder
            .join(format!("{name}-{kernel}-{arch}.txt"));
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

/// The steps of the first section.
fn first_section(program: &Program) -> Vec<Step> {
    let first = program.steps.iter().position(|step| step.lane.is_some());
    let section = first.and_then(|first| program.section(first));
    section.map_or(Vec::new(), |section| program.steps[section].to_vec())
}

fn short(name: &str) -> String {
    let path = Path::new(name);
    path.file_stem().map_or_else(
        || name.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// `None`: the kernel is not to be had, which is no error.
fn boot(machine: &VmSource, number: usize, by: &JudgeBy) -> Result<Option<Booted>> {
    let name = format!("{}-{}-{number}", machine.label(), machine.arch());
    let mut kernel = match machine.boot(&name) {
        Ok(kernel) => kernel,
        Err(BootError::Skipped(why)) => {
            eprintln!("{name}: skipped: {why}");
            return Ok(None);
        }
        Err(error) => return Err(error).context(name),
    };
    let profile = probe::profile(kernel.as_mut(), by).with_context(|| format!("probing {name}"))?;
    Ok(Some((kernel, profile)))
}
