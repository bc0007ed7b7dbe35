//! `cargo xtask faults`: shows that what is wrong is noticed, and how many programs that takes.

use crate::exit::{say, Exit};
use crate::rig::{newest_unless_named, rig, KernelOptions, Rig};
use crate::vm_matrix::GuestFaultName;
use crate::{folders, interrupt, measured, vm_matrix};
use anyhow::Result;
use clap::{Args, ValueEnum};
use harness::campaign::{
    run as campaign, Amount, Discard, Known, Notice, Part, Quiet, RowResult, Settings,
};
use harness::kernel::simulated::{SimFault, Simulated, FAULTS};
use harness::kernel::{JudgeBy, KernelSource};
use oracle::profile::{Named, Release};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Injects faults and shows how many generated programs it takes to notice each.
///
/// Three kinds: deliberate faults of the simulated kernel, deliberate faults of the guest on a real kernel, and older
/// kernels judged by the newest release's rules. Ends with exit code 1 if any goes unnoticed. The table is kept in
/// bench/runs/.
///
/// Examples:
///   cargo xtask faults
///   cargo xtask faults --kind simulated --programs 2000 --seed 7
///   cargo xtask faults --kind guest --kernels 7.3 --arch aarch64
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FaultsArgs {
    /// Which kinds. Default: all.
    #[arg(long, value_enum)]
    kind: Vec<KindName>,
    /// Programs within which a fault must be noticed.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    programs: u64,
    /// Chooses the programs.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    kernels: KernelOptions,
    /// Do not keep the table in bench/runs/.
    #[arg(long)]
    no_keep: bool,
}

/// `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindName {
    Simulated,
    Guest,
    Profile,
}

const HEADER: [&str; 7] = [
    "kind",
    "fault",
    "kernel",
    "arch",
    "programs_needed",
    "rule",
    "bucket",
];

/// Kernels that are judged by the newest release's rules, unless others are named.
const OLDER: &str = "6.12,6.16,6.18.5";

/// Buckets that are listed of each of them, the fullest first.
const MOST: usize = 6;

/// Carries out `faults`.
pub fn run(args: &FaultsArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let all = args.kind.is_empty();
    let wants = |kind| all || args.kind.contains(&kind);
    let mut rows: Vec<Vec<String>> = Vec::new();
    if wants(KindName::Simulated) {
        simulated(args, &mut rows)?;
    }
    if wants(KindName::Guest) {
        let rig = prepare(&args.kernels, workspace)?;
        guest(args, &rig, &mut rows)?;
    }
    if wants(KindName::Profile) {
        let mut options = args.kernels.clone();
        if options.kernels.is_none() && options.kernel.is_empty() {
            options.kernels = Some(OLDER.into());
        }
        let rig = prepare(&options, workspace)?;
        profile(args, &rig, &mut rows)?;
    }
    say!("{}", measured::table(&HEADER, &rows));
    let missed = rows.iter().filter(|row| row[4] == "unnoticed").count();
    say!("{} faults, {missed} unnoticed\n", rows.len());
    if !args.no_keep {
        let folder = measured::keep(workspace, "faults", "faults.csv", &HEADER, &rows)?;
        say!("{}\n", folder.display());
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if missed > 0 || rows.is_empty() {
        Exit::Found
    } else {
        Exit::Fine
    })
}

/// The kernels asked for, else the newest; on x86-64 unless another architecture is named.
fn prepare(options: &KernelOptions, workspace: &Path) -> Result<Rig> {
    let mut options = newest_unless_named(options, workspace)?;
    if options.arch.is_empty() {
        options.arch = vec![vm_images::Arch::X86_64];
    }
    let consoles = folders::consoles(workspace)?;
    rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))
}

fn settings(args: &FaultsArgs) -> Settings {
    Settings {
        seed: args.seed,
        amount: Amount::Programs(args.programs),
        corpus: Vec::new(),
        jobs: vm_matrix::default_jobs(),
        by: JudgeBy::default(),
        mix: None,
        // The first program that shows it is what counts.
        reruns: 0,
        known: Known::default(),
        stop_at_first: true,
        notice: Notice::All,
        part: Part::default(),
    }
}

/// Runs every source until something is noticed.
fn notice(settings: &Settings, sources: &[Arc<dyn KernelSource>]) -> Result<Vec<RowResult>> {
    let summary = campaign(settings, sources, &Discard, &Quiet, interrupt::stop_flag())?;
    for row in &summary.rows {
        for error in &row.errors {
            eprintln!("{} {}: {error}", row.kernel, row.arch);
        }
    }
    Ok(summary.rows)
}

fn line(kind: &str, fault: &str, row: &RowResult) -> Vec<String> {
    let bucket = row.first_bucket.as_ref();
    vec![
        kind.into(),
        fault.into(),
        if row.release.is_empty() {
            row.kernel.clone()
        } else {
            row.release.clone()
        },
        row.arch.clone(),
        row.first_suspect
            .map_or("unnoticed".into(), |n| n.to_string()),
        bucket.map_or(String::new(), |b| b.rule.clone()),
        bucket.map_or(String::new(), |b| b.to_string()),
    ]
}

fn simulated(args: &FaultsArgs, rows: &mut Vec<Vec<String>>) -> Result<()> {
    let names: Vec<String> = FAULTS.iter().map(SimFault::full_name).collect();
    let sources: Vec<Arc<dyn KernelSource>> = FAULTS
        .iter()
        .zip(&names)
        .map(|(fault, name)| {
            Arc::new(Simulated {
                label: name.clone(),
                fault: Some(fault),
                ..Simulated::default()
            }) as Arc<dyn KernelSource>
        })
        .collect();
    for (name, row) in names.iter().zip(notice(&settings(args), &sources)?) {
        rows.push(line("simulated", name, &row));
    }
    Ok(())
}

fn guest(args: &FaultsArgs, rig: &Rig, rows: &mut Vec<Vec<String>>) -> Result<()> {
    for fault in GuestFaultName::value_variants() {
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            break;
        }
        for row in notice(&settings(args), &rig.faulty(*fault))? {
            eprintln!("{}: {:?} programs", fault.name(), row.first_suspect);
            rows.push(line("guest", &fault.name(), &row));
        }
    }
    Ok(())
}

fn profile(args: &FaultsArgs, rig: &Rig, rows: &mut Vec<Vec<String>>) -> Result<()> {
    let mut settings = settings(args);
    settings.by = JudgeBy::profile(Named::NEWEST);
    let judged = format!("judged as {}", Release::NEWEST);
    // All that differs is of interest, not the first only.
    settings.stop_at_first = false;
    for row in notice(&settings, &rig.sources)? {
        let own = Release::parse(&row.release).map(Release::series);
        if own == Some(Release::NEWEST.series()) {
            eprintln!("{} is {judged} anyway: no fault to notice", row.release);
            continue;
        }
        rows.push(line("profile", &judged, &row));
        let mut most: Vec<_> = row.buckets.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (bucket, count) in most.into_iter().take(MOST) {
            let mut more = line("profile", &judged, &row);
            more[4] = format!("{count} of {}", row.tally.programs);
            more[5] = bucket.rule.clone();
            more[6] = bucket.to_string();
            rows.push(more);
        }
    }
    Ok(())
}
