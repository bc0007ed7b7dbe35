//! `cargo xtask vm-matrix`: the main job.

mod prepared;

use crate::campaign::manifest as campaign_of;
use crate::exit::{say, Exit, UsageError};
use crate::judge_by::RulesOptions;
use crate::rig::KernelOptions;
use crate::{folders, interrupt, known};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use harness::campaign::{
    self, load_corpus, Amount, CorpusProgram, Earlier, Feed, RowResult, Settings, Shard, Summary,
};
use harness::kernel::simulated::{fault_named, SimFault, Simulated, FAULTS};
use harness::kernel::KernelSource;
use harness::report::{
    boundaries_text, html_report, junit, ktap, matrix_table, wrap, Bars, Folder, Manifest,
    NamedKernel, Record, Resumed, MANIFEST,
};
use oracle::program::stats::Stats;
use oracle::rules::RULES;
pub use prepared::{kernels, settings, Kernels};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Programs that the printed statistics are made from, at most.
const STATS_PROGRAMS: u64 = 1000;

/// Runs generated programs and the corpus on many kernels, judges every step, and prints a matrix.
///
/// Without options: the newest kernel of each series in vm-images/kernels.lock, x86-64 and arm64, 1,000 generated
/// programs and the whole corpus on each. Kernels are fetched and verified, QEMU and the arm64 compiler are installed
/// if they are missing and we may. Results go to a new folder under target/mmdiff/runs/: matrix.csv, divergences.csv,
/// boundaries.csv (what changed from each kernel to the next), report.html (all of it on one page), run.json, results.jsonl (grows while it runs), a program
/// and a report for each divergence, console logs.
///
/// Examples:
///   cargo xtask vm-matrix
///   cargo xtask vm-matrix --kernels 7.3,6.18 --arch x86_64 --programs 5000 --seed 42
///   cargo xtask vm-matrix --kernels all --minutes 60
///   cargo xtask vm-matrix --kernel ~/linux/arch/x86/boot/bzImage --corpus my-programs/
///   cargo xtask vm-matrix --programs 0            (the corpus alone)
///   cargo xtask vm-matrix --resume target/mmdiff/runs/2026-11-24T12-48-08   (go on with a run that was stopped or killed)
///   cargo xtask vm-matrix --programs 100000 --shard 2/7                      (one of seven machines; see `merge`)
///   cargo xtask vm-matrix --without-row mseal_stale_start   (is it found again?)
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct MatrixArgs {
    #[command(flatten)]
    pub kernels: KernelOptions,
    /// Generated programs on each kernel. 0: the corpus alone. [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    programs: Option<u64>,
    /// Run for about so many minutes instead, all kernels together; boots and set-up come on top.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Chooses the generated programs: the same seed gives the same programs on every machine and kernel.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Programs of your own: a .prog file or a folder; may be given several times. Default: corpus/.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    /// VMs side by side. Default: as many as cores and free memory allow.
    #[arg(long, value_name = "J")]
    jobs: Option<usize>,
    /// Where results go. Default: a new folder under target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, however it ended. Its options are those that it was started with; what is through is not
    /// run again.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Run one of N shares of the campaign, K from 1 to N; `cargo xtask merge` puts the folders together. Which blocks of programs
    /// are in it depends on nothing but the campaign.
    #[arg(long, value_name = "K/N", conflicts_with = "minutes")]
    shard: Option<Shard>,
    /// What standard output gets: the tables for people, or the verdicts alone in KTAP version 1 or as JUnit XML.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    pub rules: RulesOptions,
    /// A deliberate fault of the guest, to see that it is noticed (tests of mmdiff itself).
    #[arg(long, value_name = "NAME", value_enum)]
    pub guest_fault: Option<GuestFaultName>,
    /// A file that makes the guest panic in the next program, once, when it appears (for `soak`).
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "guest_fault")]
    pub panic_when: Option<PathBuf>,
    /// Boot what `farm` has put into this folder in place of what --kernels and the like name.
    #[arg(long, value_name = "DIR", hide = true)]
    staged: Option<PathBuf>,
    /// Run on the model instead of on kernels, with a deliberate fault by its `family/name` or with `none`
    /// (tests of mmdiff itself).
    #[arg(long, value_name = "FAULT", conflicts_with_all = ["kernels", "kernel"])]
    pub simulated: Option<String>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Ktap,
    Junit,
}

macro_rules! guest_faults {
    ($($name:ident),* $(,)?) => {
        /// The guest's deliberate faults that break a rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub enum GuestFaultName { $($name),* }

        impl GuestFaultName {
            /// As the guest knows it.
            pub fn fault(self) -> wire::GuestFault {
                match self { $(GuestFaultName::$name => wire::GuestFault::$name),* }
            }
        }
    };
}

guest_faults!(
    SkipGuardInstall,
    SkipGuardRemove,
    SkipMunmap,
    WrongErrno,
    WrongSiCode,
    StaleObservation,
    WrongPage,
    WrongTag,
    UnmapAnyway,
    WrongProt,
    ForkLosesGuards,
    Hang,
    Die,
    Panic,
    Warn,
);

impl GuestFaultName {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(|| format!("{self:?}"), |value| value.get_name().to_string())
    }
}

impl MatrixArgs {
    /// Takes over the options of a resumed run that may be others than before.
    pub fn take_over(&mut self, now: &MatrixArgs) {
        self.jobs = now.jobs.or(self.jobs);
        self.format = now.format;
    }
}

/// Carries out `vm-matrix`.
pub fn run(args: &MatrixArgs, workspace: &Path) -> Result<Exit> {
    let Some(folder) = &args.resume else {
        return start(args, workspace, None);
    };
    // The working directory will be that of the run.
    let path = folder
        .canonicalize()
        .map_err(|e| UsageError(format!("--resume {}: {e}", folder.display())))?;
    let (args, manifest) = crate::campaign::resumed(args, &path)?;
    let Resumed {
        folder,
        earlier,
        cut_off,
    } = Folder::resume(&path)?;
    let through: usize = earlier.values().map(|earlier| earlier.done.len()).sum();
    eprintln!(
        "{}: {through} blocks of programs are through",
        path.display()
    );
    if cut_off > 0 {
        eprintln!("results.jsonl: {cut_off} bytes of a record that was being written are cut off");
    }
    let resumed = Before {
        folder,
        earlier,
        manifest,
    };
    start(&args, workspace, Some(resumed))
}

/// What a resumed run goes on from.
struct Before {
    folder: Folder,
    earlier: BTreeMap<(String, String), Earlier>,
    manifest: Manifest,
}

/// Runs a campaign from its beginning, or on from where it was.
fn start(args: &MatrixArgs, workspace: &Path, before: Option<Before>) -> Result<Exit> {
    let started = Instant::now();
    let stop = interrupt::stop_flag();
    let mut settings = settings(args, workspace)?;
    let (folder, old) = match before {
        Some(before) => {
            settings.part.earlier = before.earlier;
            (before.folder, Some(before.manifest))
        }
        None => {
            let path = folders::run_folder(workspace, args.out.as_deref());
            let folder = Folder::create(&path).context("the output folder cannot be used")?;
            (folder, None)
        }
    };
    let path = folder.path().to_path_buf();
    let Kernels {
        sources,
        origins,
        versions,
        machine,
    } = kernels(args, workspace, &folder.consoles())?;
    let mut manifest = campaign_of(args, &settings, &sources, &origins, &machine, workspace)?;
    match old {
        Some(old) => {
            crate::campaign::same(&old, &manifest, &path)?;
            manifest = old;
            if manifest.ran_on(&machine) {
                folder.replace(MANIFEST, &manifest.text()?)?;
            }
            for line in manifest.mixture() {
                eprintln!("doubtful: {line}");
            }
        }
        None => folder.replace(MANIFEST, &manifest.text()?)?,
    }
    let through = settings.part.earlier.values().map(|e| e.done.len() as u64);
    crate::campaign::room(&manifest, through.sum(), &path)?;
    let mut record = Record {
        versions,
        command: manifest.command.clone(),
        seed: args.seed,
        started: manifest.started.clone(),
        seconds: 0.0,
        accel: format!("{:?}", args.kernels.accel).to_lowercase(),
        profile: settings.by.profile.map(|named| named.to_string()),
        without_rows: settings.by.names(),
        jobs: settings.jobs,
        host: machine.host,
        machines: manifest.machines.clone(),
        kernels: origins,
        named: sources
            .iter()
            .map(|source| NamedKernel::of(source.as_ref()))
            .collect(),
        end: "running".into(),
        generating_cpu_seconds: 0.0,
        judging_cpu_seconds: 0.0,
        cpu_seconds: 0.0,
        vm_cpu_seconds: 0.0,
        peak_memory_mib: 0.0,
        rows: Vec::new(),
    };
    folder.record(&record)?;
    eprintln!("results: {}", path.display());
    let names = sources
        .iter()
        .map(|s| format!("{} {}", s.label(), s.arch()))
        .collect();
    let size = || folder.size();
    let bars = Bars::new(names, std::io::stderr().is_terminal()).of_size(&size);
    let mut summary = match campaign::run(&settings, &sources, &folder, &bars, stop) {
        Ok(summary) => summary,
        Err(error) => {
            record.end = error.to_string();
            // The folder may be what failed: the first error is the one to tell.
            let _ = folder.record(&record);
            return Err(error.into());
        }
    };
    if settings.by.is_own() {
        known::note_fixed(&settings.known, &mut summary.rows);
    }
    record.seconds = started.elapsed().as_secs_f64();
    record.set_summary(&summary);
    folder.record(&record)?;
    let stats = statistics(&settings, &summary);
    if let Some(stats) = &stats {
        folder.replace("stats.txt", stats.to_string().as_bytes())?;
    }
    folder.replace("report.html", html_report(&path)?.as_bytes())?;
    match args.format {
        Format::Text => tell(&settings, &summary, stats.as_ref(), &path)?,
        Format::Ktap => say!("{}", ktap(&summary.rows)),
        Format::Junit => say!("{}", junit(&summary.rows)?),
    }
    let planned = |row: &RowResult| crate::campaign::has_work(&manifest, row, settings.seed);
    Ok(exit(&summary, &planned))
}

/// What people read at the end.
fn tell(settings: &Settings, summary: &Summary, stats: Option<&Stats>, path: &Path) -> Result<()> {
    if let Some(stats) = stats {
        say!("{}", statistics_text(stats));
    }
    say!("{}", matrix_table(&summary.rows));
    let changed = boundaries_text(&summary.rows);
    if !changed.is_empty() {
        say!("what changed from one kernel to the next (boundaries.csv has every class, with a program):\n{changed}");
    }
    say!("{}", known::text(&settings.known, &summary.rows));
    say!("{}\n", closing(summary, path));
    Ok(())
}

/// What a campaign's end means for the exit code.
fn exit(summary: &Summary, planned: &dyn Fn(&RowResult) -> bool) -> Exit {
    let ran = |row: &RowResult| row.tally.programs > 0;
    // A shard may have no block of a kernel.
    let expected = |row: &&RowResult| row.skipped_because.is_none() && planned(row);
    let none_planned = !summary.rows.is_empty() && !summary.rows.iter().any(planned);
    let nothing_ran = (summary.programs() == 0 && !none_planned)
        || !summary.rows.iter().filter(expected).all(ran);
    if summary.new_suspects() > 0 {
        Exit::Found
    } else if summary.interrupted {
        Exit::Interrupted
    } else if summary.infra_errors() > 0 || nothing_ran {
        // A run that ran nothing is no success.
        Exit::Infrastructure
    } else {
        Exit::Fine
    }
}

fn closing(summary: &Summary, path: &Path) -> String {
    let known: u64 = summary.rows.iter().map(|row| row.tally.known).sum();
    let mut text = format!(
        "{} programs on {} kernels: {} new divergences, hangs and crashes, {known} known, {} infrastructure errors",
        summary.programs(),
        summary.rows.iter().filter(|r| r.tally.programs > 0).count(),
        summary.new_suspects(),
        summary.infra_errors()
    );
    if summary.interrupted {
        text += " (interrupted)";
    }
    if summary.programs() == 0 {
        text += "\nno program ran: that is a failure, not a success";
    }
    text + &format!("\n{}", path.display())
}

/// The programs of these files and folders, or of corpus/; named from the workspace on.
pub fn corpus(paths: &[PathBuf], workspace: &Path) -> Result<Vec<CorpusProgram>> {
    let default = [workspace.join("corpus")];
    let paths = if paths.is_empty() {
        &default[..]
    } else {
        paths
    };
    let mut programs = Vec::new();
    for path in paths {
        for mut program in load_corpus(path)? {
            let short = Path::new(&program.name).strip_prefix(workspace);
            if let Ok(short) = short {
                program.name = short.display().to_string();
            }
            programs.push(program);
        }
    }
    Ok(programs)
}

/// VMs side by side: one per core, as far as memory goes (512 MiB for the guest, as much again for QEMU's translations).
pub fn default_jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse::<usize>().ok());
    let fit = kib.map_or(cores, |kib| kib / (1 << 20));
    cores.min(fit).max(1)
}

/// The model instead of kernels, with the fault of this name or with `none`.
pub fn simulated(name: &str) -> Result<Vec<Arc<dyn KernelSource>>> {
    let fault = match name {
        "none" => None,
        name => Some(fault_by_name(name)?),
    };
    Ok(vec![Arc::new(Simulated {
        fault,
        steady: true,
        ..Simulated::default()
    })])
}

/// A fault of the simulated kernel by `family/name`.
fn fault_by_name(name: &str) -> Result<&'static SimFault> {
    fault_named(name).ok_or_else(|| {
        let line = |fault: &SimFault| format!("  {}: {}", fault.full_name(), fault.what);
        let all: Vec<String> = FAULTS.iter().map(line).collect();
        UsageError(format!("no fault `{name}`; there are:\n{}", all.join("\n"))).into()
    })
}

/// The statistics in a few lines; stats.txt has all of them.
fn statistics_text(stats: &Stats) -> String {
    let mut shares: Vec<(&str, f64)> = stats
        .by_op
        .keys()
        .map(|op| (*op, 100.0 * stats.op_share(op)))
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shares: Vec<String> = shares
        .iter()
        .map(|(op, share)| format!("{op} {share:.1}"))
        .collect();
    wrap(&format!(
        "generated programs: {:.1} ops and {:.1} state changes each; {:.0} % of ops succeed; a live guard meets a fork, \
         mprotect, munmap, mremap, fault or huge page in {:.0} % of programs\nops in percent: {}\nrules exercised: {} of {} \
         (stats.txt has how often)\n",
        stats.ops_per_program(),
        stats.changes_per_program(),
        100.0 * stats.success_share(),
        100.0 * stats.meeting_share(),
        shares.join(", "),
        stats.by_rule.len(),
        RULES.len()
    ))
}

/// What the generated programs exercise, on the model; from a sample when there were many.
fn statistics(settings: &Settings, summary: &Summary) -> Option<Stats> {
    let most = summary.rows.iter().map(|row| row.tally.programs).max()?;
    let generated = match settings.amount {
        Amount::Programs(n) => n,
        Amount::Time(_) => most.saturating_sub(settings.corpus.len() as u64),
    };
    let wanted = generated.min(STATS_PROGRAMS);
    if wanted == 0 {
        return None;
    }
    let feed = Feed::new(settings.seed);
    let mut stats = Stats::default();
    for n in 0..wanted {
        let block = feed.block(n / campaign::BLOCK);
        stats.add(&block[(n % campaign::BLOCK) as usize]);
    }
    Some(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(summary: &Summary) -> Exit {
        exit(summary, &|_| true)
    }

    /// The end of a campaign with one kernel.
    fn one(change: impl FnOnce(&mut RowResult)) -> Summary {
        let mut row = RowResult::default();
        change(&mut row);
        Summary {
            rows: vec![row],
            ..Summary::default()
        }
    }

    #[test]
    fn a_run_that_runs_nothing_is_no_success() {
        assert_eq!(exit_of(&one(|row| row.tally.programs = 1)), Exit::Fine);
        let skipped = one(|row| row.skipped_because = Some("not to be had".into()));
        for nothing in [Summary::default(), one(|_| {}), skipped] {
            assert_eq!(exit_of(&nothing), Exit::Infrastructure);
            let text = closing(&nothing, Path::new("out"));
            assert!(text.contains("no program ran"), "{text}");
        }
    }

    #[test]
    fn what_is_new_counts_more_than_what_failed() {
        let failed = |row: &mut RowResult| {
            row.tally.programs = 1;
            row.tally.infra_errors = 1;
        };
        assert_eq!(exit_of(&one(failed)), Exit::Infrastructure);
        let found = one(|row| {
            failed(row);
            row.tally.hangs = 1;
        });
        assert_eq!(exit_of(&found), Exit::Found);
    }
}
