//! `cargo xtask races`: programs in which threads run at once, on kernels.

mod found;

use crate::exit::{say, Exit, UsageError};
use crate::folders::Held;
use crate::judge_by::RulesOptions;
use crate::rig::{newest_unless_named, rig, KernelOptions};
use crate::vm_matrix::GuestFaultName;
use crate::{folders, interrupt, known, measured};
use anyhow::{Context, Result};
use clap::Args;
use found::{suspects, Found, Reporting, Suspect};
use harness::campaign::{
    death_story, load_concurrent_corpus, program_seed, suited, CorpusProgram, Known, Story,
};
use harness::kernel::machine::VmSource;
use harness::kernel::{
    probe, BootError, JudgeBy, Kernel, KernelError, KernelSource, Prepared, Repeat, Smaps,
};
use harness::race::{judge_raced, Fate, Row, Seconds, WayRow};
use harness::report::{Host, NamedKernel, Record};
use harness::triage::Reliability;
use oracle::profile::Profile;
use oracle::program::generate::generate_race;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;
use vm_images::Arch;

/// Processors of a VM: threads shall really run at once.
const CPUS: u32 = 2;

/// Runs programs in which threads run at once, many times each, and judges every repetition.
///
/// What the threads may come to are the ways that all orders of the kernel's steps lead to (`cargo xtask show PROGRAM` prints
/// them). Each repetition starts the threads at other moments, so that every part of an op meets every part of the others. Told
/// are the ways that were met, how often (`known`: a fault that the kernel is known to have led there), and every execution that no way explains or that breaks a promise of guard regions.
/// The VMs have two processors; under TCG QEMU runs each in a thread of its own, so they work at once where the host has two.
///
/// The run's folder gets run.json, races.csv (a row for each program and kernel), ways.csv (a row for each allowed way, with how often it was
/// met), divergences.csv with a text and the program for each forbidden outcome, and for each bucket that corpus/findings/known.toml does
/// not explain a report in buckets/ID/: the outcome is confirmed by repetition, its program minimized, every kernel of the run asked about
/// the result, with rates and how sure they are. Exit code 1: there is such a bucket. Without --kernels and --kernel: the newest of the
/// lock, on x86-64 unless --arch says otherwise.
///
/// Examples:
///   cargo xtask races
///   cargo xtask races corpus/races/01-pmd-border.prog --kernels 7.3 --arch x86_64 --repetitions 10000
///   cargo xtask races --kernels 6.18,6.19,7.0 --repetitions 500 --rounds
///   cargo xtask races --generated 500 --seed 7 --repetitions 20 --kernels 7.3
///   cargo xtask races corpus/races/26-flag-lost.prog --kernels 6.18,7.3 --without-row flags_read_early
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RacesArgs {
    /// Programs or folders of programs. Default: corpus/races
    #[arg(value_name = "PATH")]
    programs: Vec<PathBuf>,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    pub rules: RulesOptions,
    /// How often each program is run on each kernel.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Generated programs beside those of the corpus, each with a section of threads.
    #[arg(long, value_name = "N", default_value_t = 0)]
    generated: u64,
    /// Chooses the generated programs; the same on every machine.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Count by probes in the kernel in how many rounds guard installs in sections come to their end: with the first walk over page
    /// tables, a second one after a zap, a third, or a call that begins anew (columns one_walk to restarted). Takes time.
    #[arg(long)]
    rounds: bool,
    /// Only tell what was found: do not confirm, minimize and report it.
    #[arg(long)]
    no_reports: bool,
    /// Seconds for minimizing a program; boots come on top.
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=100_000), conflicts_with = "no_reports")]
    seconds: u64,
    /// A deliberate fault of the guest (tests of mmdiff itself).
    #[arg(long, value_name = "NAME", value_enum)]
    guest_fault: Option<GuestFaultName>,
    /// The run's folder. Default: a new one under target/mmdiff/runs
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl RacesArgs {
    /// The option of a deliberate fault, as words.
    fn planted(&self) -> Vec<String> {
        let words = self
            .guest_fault
            .map(|fault| ["--guest-fault".into(), fault.name()]);
        words.into_iter().flatten().collect()
    }
}

const HEADER: [&str; 12] = [
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
    "rounds",
    "/s",
];

/// Carries out `races`.
pub fn run(args: &RacesArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let stopped = || stop.load(Ordering::Relaxed);
    let programs = programs(args, workspace)?;
    let known = known::load(workspace)?;
    let folder = Held::run(workspace, args.out.as_deref())?;
    let consoles = folder.make("consoles")?;
    let by = args.rules.judge_by()?;
    let kernels = newest_unless_named(&args.kernels, workspace)?;
    let rig = rig(&kernels, workspace, &consoles, &|line| eprintln!("{line}"))?;
    let faulty = |machine: &VmSource| VmSource {
        guest_fault: args.guest_fault.map(GuestFaultName::fault),
        options: [machine.options.clone(), args.planted()].concat(),
        ..machine.clone()
    };
    let machines: Vec<VmSource> = rig.machines.iter().map(faulty).collect();
    let started = Instant::now();
    let mut record = Record {
        versions: rig.versions.clone(),
        command: std::env::args().skip(1).collect(),
        seed: args.seed,
        started: folders::timestamp(),
        accel: format!("{:?}", kernels.accel).to_lowercase(),
        profile: by.profile.map(|named| named.to_string()),
        without_rows: by.names(),
        jobs: 1,
        host: Host::look(),
        kernels: rig.origins.clone(),
        named: machines.iter().map(|m| NamedKernel::of(m)).collect(),
        end: "running".into(),
        ..Record::default()
    };
    write_record(&record, &folder)?;
    let mut run = Run {
        args,
        versions: &rig.versions,
        by,
        known,
        tables: Tables::create(&folder)?,
        shown: Vec::new(),
        found: Found::default(),
        failed: 0,
    };
    for number in 0..machines.len() {
        run.kernel(&machines, number, &programs, &stopped)?;
    }
    say!("{}", measured::table(&HEADER, &run.shown));
    run.found.write(&folder)?;
    for suspect in &run.found.suspects {
        let info = &suspect.info;
        record.found(&info.label, &info.arch, &info.release);
    }
    if !args.no_reports && !stopped() {
        let reporting = Reporting {
            folder: &folder,
            machines: &machines,
            images: &rig.origins,
            by: &run.by,
            known: &run.known,
            seconds: args.seconds,
            stop,
        };
        reporting.write(&mut run.found)?;
    }
    record.seconds = started.elapsed().as_secs_f64();
    record.end = match stopped() {
        true => "interrupted".into(),
        false => "finished".into(),
    };
    write_record(&record, &folder)?;
    say!("{}\n", folder.display());
    Ok(match (run.found.is_new(), run.failed) {
        (true, _) => Exit::Found,
        _ if stopped() => Exit::Interrupted,
        (false, 1..) => Exit::Infrastructure,
        (false, 0) if run.shown.is_empty() => Exit::Infrastructure,
        (false, 0) => Exit::Fine,
    })
}

/// run.json, as a run of vm-matrix has it.
fn write_record(record: &Record, folder: &Path) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    vm_images::files::write_atomically(&folder.join("run.json"), &text)?;
    Ok(())
}

/// Those of the corpus, and the generated ones.
fn programs(args: &RacesArgs, workspace: &Path) -> Result<Vec<CorpusProgram>> {
    let default = [workspace.join("corpus/races")];
    let paths = match args.programs.as_slice() {
        [] => &default[..],
        given => given,
    };
    let mut programs = Vec::new();
    for path in paths {
        programs.extend(load_concurrent_corpus(path)?);
    }
    let alone = |entry: &&CorpusProgram| entry.program.steps.iter().all(|s| s.lane.is_none());
    if let Some(entry) = programs.iter().find(alone) {
        return Err(UsageError(format!(
            "{}: no threads run at once in it (docs/program-format.md says how they are written); `cargo xtask run` and `cargo xtask vm-matrix \
             --corpus` are for such programs",
            entry.name
        ))
        .into());
    }
    programs.extend((0..args.generated).map(|number| {
        let seed = program_seed(args.seed, 0, number);
        CorpusProgram {
            name: format!("{}-{number}", args.seed),
            program: Arc::new(generate_race(seed)),
        }
    }));
    Ok(programs)
}

/// The kernel in a machine whose processors run threads at once.
pub fn as_threads(machine: &VmSource) -> Arc<dyn KernelSource> {
    let mut machine = machine.clone();
    machine.config.cpus = CPUS;
    if machine.release.is_none() && machine.config.arch == Arch::X86_64 {
        // A kernel of one's own may have no clock to measure the processor's by (no ACPI): it would count ticks of 4 ms.
        let khz = host_khz();
        let append = &mut machine.config.append;
        *append = format!("{append} tsc_early_khz={khz} tsc=reliable");
    }
    Arc::new(machine)
}

/// What the time stamp counter of an emulated processor counts by: that of the host.
fn host_khz() -> u64 {
    const USUAL: f64 = 2500.0;
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("cpu MHz"));
    let mhz = line.and_then(|line| line.split(':').nth(1)?.trim().parse::<f64>().ok());
    (mhz.unwrap_or(USUAL) * 1000.0) as u64
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
    /// Of the tools, by name.
    versions: &'a BTreeMap<String, String>,
    by: JudgeBy,
    known: Known,
    tables: Tables,
    /// The table on the terminal.
    shown: Vec<Vec<String>>,
    found: Found,
    /// Programs and kernels that could not be run.
    failed: u32,
}

type Booted = (Box<dyn Kernel>, Profile);

impl Run<'_> {
    /// The version of QEMU for an architecture.
    fn qemu(&self, arch: &str) -> String {
        let version = self.versions.get(&format!("qemu {arch}"));
        version.cloned().unwrap_or_default()
    }

    /// Races all programs on one kernel; another is booted when one dies.
    fn kernel(
        &mut self,
        machines: &[VmSource],
        number: usize,
        programs: &[CorpusProgram],
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let machine = as_threads(&machines[number]);
        let mut booted: Option<Booted> = None;
        for (at, entry) in programs.iter().enumerate() {
            if stopped() {
                return Ok(());
            }
            let (mut kernel, profile) = match booted.take() {
                Some(alive) => alive,
                None => match boot(machine.as_ref(), at, &self.by)? {
                    Some(new) => new,
                    None => return Ok(()),
                },
            };
            let fault = machine.guest_fault();
            match self.program(kernel.as_mut(), &profile, number, fault, entry)? {
                Ok(()) => booted = Some((kernel, profile)),
                Err(error) => self.died(kernel.as_ref(), &profile, number, entry, &error)?,
            }
        }
        Ok(())
    }

    fn program(
        &mut self,
        kernel: &mut dyn Kernel,
        profile: &Profile,
        machine: usize,
        fault: Option<wire::GuestFault>,
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
            fault,
        };
        let began = Instant::now();
        let repeat = Repeat {
            first: 0,
            times: self.args.repetitions,
            walks: self.args.rounds,
        };
        let raced = match kernel.race(&prepared, repeat) {
            Ok(raced) => raced,
            Err(error) => return Ok(Err(error)),
        };
        let ran = began.elapsed().as_secs_f64();
        let judged = judge_raced(&program, &raced, profile, info.geometry);
        let all = began.elapsed().as_secs_f64();
        let seconds = Seconds {
            all,
            judging: all - ran,
        };
        let row = Row::new(&name, &info, &raced, &judged, seconds);
        if let Some(why) = &raced.no_walks {
            eprintln!("{name} on {}: rounds are not counted: {why}", info.release);
        }
        eprintln!(
            "{name} on {} {}: {} repetitions, {} overlapped, {} of {} ways, {} forbidden{}{}",
            info.release,
            info.arch,
            row.repetitions,
            row.overlapped,
            row.ways_seen,
            row.ways,
            row.forbidden,
            match row.rounds().as_str() {
                "" => String::new(),
                rounds => format!(", rounds {rounds}"),
            },
            match (row.collapses, row.collapses_beside) {
                (Some(all), Some(beside)) =>
                    format!(", khugepaged made {all} huge pages, {beside} beside threads"),
                _ => String::new(),
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
        let story = judged.kinds.iter().find_map(|kind| kind.story());
        if let Some(story) = story {
            let of = Suspect {
                name: name.clone(),
                program,
                machine,
                qemu: self.qemu(&info.arch),
                info,
                profile: profile.clone(),
                story: story.clone(),
                execution: None,
                seen: Reliability {
                    hits: 0,
                    runs: row.repetitions,
                },
                known: None,
            };
            for suspect in suspects(&judged.kinds, &of) {
                self.found.add(suspect, &self.known)?;
            }
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
            row.rounds(),
            format!("{:.0}", row.repetitions_per_second),
        ]);
        Ok(Ok(()))
    }

    /// The kernel died while a program ran.
    fn died(
        &mut self,
        kernel: &dyn Kernel,
        profile: &Profile,
        machine: usize,
        entry: &CorpusProgram,
        error: &KernelError,
    ) -> Result<()> {
        let info = kernel.info().clone();
        let name = short(&entry.name);
        say!("{name} on {} {}: {error}\n", info.release, info.arch);
        let story: Option<Story> = death_story(error, &entry.program, profile, info.geometry);
        let Some(story) = story else {
            self.failed += 1;
            if let KernelError::Lost { console, .. } = error {
                say!("{console}\n");
            }
            return Ok(());
        };
        let suspect = Suspect {
            name,
            program: entry.program.clone(),
            machine,
            qemu: self.qemu(&info.arch),
            info,
            profile: profile.clone(),
            story,
            execution: None,
            // Which repetition it was, nobody can tell any more.
            seen: Reliability {
                hits: 1,
                runs: self.args.repetitions,
            },
            known: None,
        };
        self.found.add(suspect, &self.known)
    }
}

fn short(name: &str) -> String {
    let path = Path::new(name);
    path.file_stem().map_or_else(
        || name.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// `None`: the kernel is not to be had, which is no error.
fn boot(machine: &dyn KernelSource, number: usize, by: &JudgeBy) -> Result<Option<Booted>> {
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
