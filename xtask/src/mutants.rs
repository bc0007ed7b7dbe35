//! `cargo xtask mutants`: bugs planted into a real kernel, and how many programs it takes to notice each.

mod races;

use crate::exit::{say, Exit, UsageError};
use crate::rig::{rig, AccelChoice, KernelOptions};
use crate::{folders, interrupt, kernels, measured, vm_matrix};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{
    load_corpus, run as campaign, Amount, CorpusProgram, Discard, Known, Part, Quiet, RowResult,
    Settings,
};
use harness::kernel::vm::read_log;
use harness::kernel::JudgeBy;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use vm_images::mutants::{load, Mutant, FOLDER, PARAMETER, REACHED};
use vm_images::Arch;

/// Plants the bugs of vm-images/mutants into a kernel and shows how many generated programs it takes to notice each.
///
/// All of them are in one kernel; each boot switches one on. A campaign knows nothing of the bug and ends at its first confirmed
/// divergence, hang or crash. First comes the kernel with none switched on, which nothing may be noticed about. The table is kept in
/// bench/runs/: whether the bug's code ran, whether it was noticed, programs and seconds (median, fewest, most over the seeds),
/// and whether the bucket names a rule that the bug breaks. Exit code 1 when one goes unnoticed, or something is noticed where
/// there is nothing.
///
/// Bugs that only threads show are left to --races: the program that each file names is repeated, its threads starting at other moments
/// each time, until an execution is forbidden, as often as --seeds says and up to --repetitions each time; first all of these programs
/// on the kernel with none switched on. The table has the repetitions that it took.
///
/// With --check only the program that each file names is run: it must diverge with the bug and hold without.
///
/// Examples:
///   cargo xtask mutants
///   cargo xtask mutants --only fork-drops-guards,free-drops-guards --programs 20000 --seeds 5
///   cargo xtask mutants --check
///   cargo xtask mutants --races --seeds 5
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct MutantsArgs {
    /// These only, by the names of their files.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Generated programs within which a bug must be noticed.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    programs: u64,
    /// Campaigns against each, with the seeds 1, 2, ...
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Run the program that each file names instead of campaigns.
    #[arg(long, conflicts_with_all = ["programs", "seeds"])]
    check: bool,
    /// The bugs that only threads show.
    #[arg(long, conflicts_with_all = ["programs", "check"])]
    races: bool,
    /// With --races: repetitions within which a bug must be noticed.
    #[arg(long, value_name = "N", default_value_t = 5000, requires = "races", value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// An image that `cargo xtask kernels build --mutants` has built. Default: build it.
    #[arg(long, value_name = "PATH")]
    image: Option<PathBuf>,
    /// x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// auto, kvm or tcg.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    accel: AccelChoice,
    /// Do not keep the table in bench/runs/.
    #[arg(long)]
    no_keep: bool,
}

const HEADER: [&str; 10] = [
    "mutant",
    "group",
    "reached",
    "detected",
    "programs_median",
    "programs_min",
    "programs_max",
    "seconds_median",
    "rule_named",
    "bucket",
];

/// What one boot of the kernel came to.
struct Outcome {
    row: RowResult,
    /// The console says that the bug's code ran.
    reached: bool,
}

/// Carries out `mutants`.
pub fn run(args: &MutantsArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let chosen = chosen(load(&workspace.join(FOLDER))?, &args.only, args.races)?;
    let image = match &args.image {
        Some(image) => image.clone(),
        None => kernels::build::planted(args.arch, workspace)?,
    };
    if args.races {
        return races::run(args, &chosen, &image, workspace);
    }
    if args.check {
        return check(args, &chosen, &image, workspace);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut wrong = 0;
    let none = [None];
    let all = none.into_iter().chain(chosen.iter().map(Some));
    for mutant in all {
        let mut outcomes = Vec::new();
        for seed in 1..=args.seeds {
            let settings = settings(seed, Amount::Programs(args.programs), Vec::new());
            outcomes.push(boot(args, mutant, &settings, &image, workspace)?);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let line = line(mutant, &outcomes);
        eprintln!("{}", line.join("  "));
        let noticed = outcomes.iter().filter(|o| o.row.first_suspect.is_some());
        let noticed = noticed.count() as u64;
        wrong += u32::from(match mutant {
            None => noticed > 0,
            Some(_) => noticed < args.seeds,
        });
        rows.push(line);
    }
    say!("{}", measured::table(&HEADER, &rows));
    let bugs = rows.len().saturating_sub(1);
    let detected = rows.iter().skip(1).filter(|row| row[3] == "yes").count();
    say!("{detected} of {bugs} planted bugs were noticed in every campaign\n");
    if !args.no_keep && !rows.is_empty() {
        let folder = measured::keep(workspace, "mutants", "mutants.csv", &HEADER, &rows)?;
        say!("{}\n", folder.display());
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if wrong > 0 || bugs == 0 {
        Exit::Found
    } else {
        Exit::Fine
    })
}

/// Those that are asked for, of those that only threads show, or of the others.
fn chosen(all: Vec<Mutant>, only: &[String], races: bool) -> Result<Vec<Mutant>> {
    let names: Vec<&str> = all.iter().map(|m| m.name.as_str()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        let names = names.join(", ");
        return Err(UsageError(format!("no planted bug `{unknown}`; there are {names}")).into());
    }
    if let Some(other) = all
        .iter()
        .find(|m| m.race != races && only.contains(&m.name))
    {
        let name = &other.name;
        return Err(UsageError(match races {
            true => format!("`{name}` shows without threads: leave --races out"),
            false => format!("only threads that run at once show `{name}`: add --races"),
        })
        .into());
    }
    let wanted = |m: &Mutant| m.race == races && (only.is_empty() || only.contains(&m.name));
    Ok(all.into_iter().filter(wanted).collect())
}

fn settings(seed: u64, amount: Amount, corpus: Vec<CorpusProgram>) -> Settings {
    Settings {
        seed,
        amount,
        corpus,
        jobs: vm_matrix::default_jobs(),
        by: JudgeBy::default(),
        mix: None,
        reruns: 3,
        known: Known::default(),
        stop_at_first: true,
        part: Part::default(),
    }
}

/// A campaign on the kernel with this bug switched on, or with none.
fn boot(
    args: &MutantsArgs,
    mutant: Option<&Mutant>,
    settings: &Settings,
    image: &Path,
    workspace: &Path,
) -> Result<Outcome> {
    let name = mutant.map_or("none", |m| m.name.as_str());
    let append = mutant.map_or(String::new(), |m| format!("{PARAMETER}={}", m.name));
    let options = KernelOptions {
        kernels: None,
        arch: vec![args.arch],
        kernel: vec![image.to_path_buf()],
        accel: args.accel,
        append,
    };
    let consoles = consoles(&folders::target(workspace), name)?;
    let rig = rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?;
    let stop = interrupt::stop_flag();
    let summary = campaign(settings, &rig.sources, &Discard, &Quiet, stop)?;
    let row = summary.rows.into_iter().next();
    let row = row.with_context(|| format!("{}: no kernel", image.display()))?;
    if row.tally.programs == 0 && !stop.load(Ordering::Relaxed) {
        let why = row.errors.first().map_or("no program ran", String::as_str);
        return Err(crate::setup::SetupError::new(&format!("{name}: {why}")).into());
    }
    let mut reached = false;
    for entry in std::fs::read_dir(&consoles)? {
        let log = read_log(&entry?.path())?;
        reached |= String::from_utf8_lossy(&log).contains(REACHED);
    }
    Ok(Outcome { row, reached })
}

/// An empty folder for the consoles of the kernel with this bug.
fn consoles(target: &Path, name: &str) -> Result<PathBuf> {
    let consoles = target.join("mmdiff/mutants").join(name);
    if consoles.exists() {
        std::fs::remove_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    }
    std::fs::create_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    Ok(consoles)
}

/// A line of the table.
fn line(mutant: Option<&Mutant>, outcomes: &[Outcome]) -> Vec<String> {
    let noticed = || outcomes.iter().filter(|o| o.row.first_suspect.is_some());
    let mut programs: Vec<u64> = noticed().filter_map(|o| o.row.first_suspect).collect();
    programs.sort_unstable();
    let mut seconds: Vec<f64> = noticed().map(|o| o.row.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let said = |n: Option<&u64>| n.map_or(String::new(), u64::to_string);
    let buckets = || noticed().filter_map(|o| o.row.first_bucket.as_ref());
    let names = |rule: &String| mutant.is_some_and(|m| m.rules.contains(rule));
    let named = buckets().filter(|bucket| names(&bucket.rule)).count();
    let detected = match programs.len() {
        0 => "no".into(),
        n if n == outcomes.len() => "yes".into(),
        n => format!("{n} of {}", outcomes.len()),
    };
    vec![
        mutant.map_or("none".into(), |m| m.name.clone()),
        mutant.map_or(String::new(), |m| m.group.clone()),
        yes(outcomes.iter().any(|o| o.reached)).into(),
        detected,
        said(programs.get(programs.len() / 2)),
        said(programs.first()),
        said(programs.last()),
        seconds
            .get(seconds.len() / 2)
            .map_or(String::new(), |s| format!("{s:.1}")),
        if programs.is_empty() || mutant.is_none() {
            String::new()
        } else {
            format!("{named} of {}", programs.len())
        },
        buckets().next().map_or(String::new(), |b| b.to_string()),
    ]
}

fn yes(is: bool) -> &'static str {
    if is {
        "yes"
    } else {
        "no"
    }
}

/// Whether the program of each tells the kernel with the bug from the one without.
fn check(args: &MutantsArgs, chosen: &[Mutant], image: &Path, workspace: &Path) -> Result<Exit> {
    let mut wrong = 0;
    let mut named: Vec<(&Mutant, Vec<CorpusProgram>)> = Vec::new();
    for mutant in chosen {
        match load_corpus(&workspace.join(&mutant.program)) {
            Ok(programs) => named.push((mutant, programs)),
            Err(error) => {
                wrong += 1;
                say!("{}: {error}\n", mutant.name);
            }
        }
    }
    let all = named.iter().flat_map(|(_, programs)| programs).cloned();
    let mut without = settings(1, Amount::Programs(0), all.collect());
    without.stop_at_first = false;
    let plain = boot(args, None, &without, image, workspace)?.row;
    for (bucket, program) in &plain.first_programs {
        wrong += 1;
        say!("none: {program}: diverges without any bug: {bucket}\n");
    }
    for (mutant, programs) in named {
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        let settings = settings(1, Amount::Programs(0), programs);
        let with = boot(args, Some(mutant), &settings, image, workspace)?;
        let said = match &with.row.first_bucket {
            None if with.reached => "holds, though the bug's code ran".into(),
            None => "holds: the bug's code did not run".into(),
            Some(bucket) if mutant.rules.contains(&bucket.rule) => format!("ok: {bucket}"),
            Some(bucket) => format!("ok: {bucket} (names another rule)"),
        };
        wrong += u32::from(!said.starts_with("ok"));
        say!("{}: {}: {said}\n", mutant.name, mutant.program);
    }
    Ok(if wrong > 0 { Exit::Found } else { Exit::Fine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_told_with_those_that_are() {
        let all = || load(&crate::workspace().join(FOLDER)).unwrap();
        let error = chosen(all(), &["fork-drops-gards".into()], false).unwrap_err();
        assert!(error.to_string().contains("fork-drops-guards"), "{error}");
        assert_eq!(
            chosen(all(), &["fork-drops-guards".into()], false)
                .unwrap()
                .len(),
            1
        );
        let (alone, threads) = (chosen(all(), &[], false), chosen(all(), &[], true));
        assert_eq!(alone.unwrap().len() + threads.unwrap().len(), all().len());
        let error = chosen(all(), &["install-leaks-eagain".into()], false).unwrap_err();
        assert!(error.to_string().contains("--races"), "{error}");
    }

    #[test]
    fn a_line_says_what_was_noticed_and_whether_the_rule_is_right() {
        let mutant = &load(&crate::workspace().join(FOLDER)).unwrap()[0];
        let outcome = |first: Option<u64>, rule: &str| {
            let mut row = RowResult {
                first_suspect: first,
                seconds: 2.0,
                ..RowResult::default()
            };
            row.first_bucket = first.map(|_| harness::campaign::Bucket {
                op: "fork".into(),
                rule: rule.into(),
                expected: "a".into(),
                observed: "b".into(),
            });
            Outcome { row, reached: true }
        };
        let outcomes = [
            outcome(Some(9), &mutant.rules[0]),
            outcome(Some(3), "other/rule"),
            outcome(None, ""),
        ];
        let line = line(Some(mutant), &outcomes);
        assert_eq!(line[2..8], ["yes", "2 of 3", "9", "3", "9", "2.0"]);
        assert_eq!(line[8], "1 of 2");
        let nothing = super::line(None, &[outcome(None, "")]);
        assert_eq!(nothing[..4], ["none", "", "yes", "no"]);
    }
}
