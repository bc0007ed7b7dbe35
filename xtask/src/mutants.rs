//! `cargo xtask mutants`: bugs planted into a real kernel, and how many programs it takes to notice each.

mod beside;
mod plot;
mod races;
mod score;

use crate::exit::{say, Exit, UsageError};
use crate::kernels::build::{planted, ConfigName};
use crate::rig::{rig, AccelChoice, KernelOptions, Rig};
use crate::{folders, interrupt, vm_matrix};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use harness::campaign::{
    load_corpus, run as campaign, Amount, CorpusProgram, Discard, Known, Notice, Part, Quiet,
    RowResult, Settings,
};
use harness::kernel::vm::read_log;
use harness::kernel::JudgeBy;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use vm_images::mutants::{load, Mutant, FOLDER, PARAMETER, REACHED, TRIGGERED};
use vm_images::Arch;

/// Plants the bugs of vm-images/mutants into a kernel and shows how many generated programs it takes to notice each.
///
/// All of them are in one kernel; each boot switches one on. A campaign knows nothing of the bug and ends at its first confirmed
/// divergence, hang or crash. First comes the kernel with none switched on, which nothing may be noticed about. The table is kept in
/// bench/runs/: whether the bug's code ran (reached), whether it did something else there than the code without the bug (triggered),
/// whether it was noticed (detected; what is noticed of a bug that was not triggered does not count), programs and seconds (median,
/// fewest, most over the seeds), and whether the bucket names a rule that the bug breaks. A plot beside it shows how many are noticed
/// after how many programs. Exit code 1 when one goes unnoticed, or something is noticed where there is nothing; 69 when a kernel
/// with a bug does not come up, after all the others.
///
/// --beside shows what others would have seen of the same bugs. selftests: the kernel tree's own tests of mm, on the same kernel;
/// a test counts that passes twice without the bug and fails twice with it. crashes: the same programs on the kernel with debug
/// configuration (KASAN, DEBUG_VM), with nobody looking at anything but reports on the console and hangs, up to --programs with
/// seed 1. Both take minutes to build the first time; the second runs all programs for each bug.
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
///   cargo xtask mutants --programs 20000 --seeds 5 --beside selftests,crashes
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
    /// What else is to be tried on the same bugs.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    beside: Vec<Beside>,
    /// Run the program that each file names instead of campaigns.
    #[arg(long, conflicts_with_all = ["programs", "seeds", "beside"])]
    check: bool,
    /// The bugs that only threads show.
    #[arg(long, conflicts_with_all = ["programs", "check", "beside"])]
    races: bool,
    /// With --races: repetitions within which a bug must be noticed.
    #[arg(long, value_name = "N", default_value_t = 5000, requires = "races", value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// An image that `cargo xtask kernels build --mutants` has built. Default: build it.
    #[arg(long, value_name = "PATH")]
    image: Option<PathBuf>,
    /// For --beside crashes: an image that `cargo xtask kernels build --mutants --config debug` has built. Default: build it.
    #[arg(long, value_name = "PATH")]
    debug_image: Option<PathBuf>,
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

/// `--beside`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Beside {
    Selftests,
    Crashes,
}

/// What one boot of the kernel came to.
struct Outcome {
    row: RowResult,
    /// The console says that the bug's code ran.
    reached: bool,
    /// It says that this code did something else than the code without the bug.
    triggered: bool,
}

/// Carries out `mutants`.
pub fn run(args: &MutantsArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let chosen = chosen(load(&workspace.join(FOLDER))?, &args.only, args.races)?;
    let image = match &args.image {
        Some(image) => image.clone(),
        None => planted(args.arch, ConfigName::Base, workspace)?,
    };
    if args.races {
        return races::run(args, &chosen, &image, workspace);
    }
    let bench = Bench {
        args,
        image: &image,
        workspace,
    };
    if args.check {
        return check(&bench, &chosen);
    }
    let selftests = match args.beside.contains(&Beside::Selftests) {
        true => Some(beside::Selftests::new(&bench)?),
        false => None,
    };
    let debug = match (args.beside.contains(&Beside::Crashes), &args.debug_image) {
        (false, _) => None,
        (true, Some(image)) => Some(image.clone()),
        (true, None) => Some(planted(args.arch, ConfigName::Debug, workspace)?),
    };
    let mut scores: Vec<score::Score> = Vec::new();
    let all = [None].into_iter().chain(chosen.into_iter().map(Some));
    for mutant in all {
        let mut score = score::Score::new(mutant);
        let measured = bench.measure(&mut score, selftests.as_ref(), debug.as_deref());
        if let Err(error) = measured {
            // Without a bug nothing can be told at all; one bug that keeps the kernel from working is one line of the table.
            if score.mutant.is_none() {
                return Err(error);
            }
            score.error = Some(format!("{error:#}"));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        eprintln!("{}", score.line().join("  "));
        score.buckets().for_each(|bucket| eprintln!("    {bucket}"));
        score.error.iter().for_each(|why| eprintln!("    {why}"));
        scores.push(score);
    }
    score::show(&scores, args.programs)?;
    if !args.no_keep && !scores.is_empty() {
        let folder = score::keep(&scores, args.programs, workspace)?;
        say!("{}\n", folder.display());
    }
    let bugs = scores.iter().filter(|score| score.mutant.is_some()).count();
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if scores.iter().any(|score| score.error.is_some()) {
        Exit::Infrastructure
    } else if bugs == 0 || scores.iter().any(score::Score::is_wrong) {
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
        notice: Notice::All,
        part: Part::default(),
    }
}

/// What all boots have in common.
struct Bench<'a> {
    args: &'a MutantsArgs,
    image: &'a Path,
    workspace: &'a Path,
}

impl Bench<'_> {
    /// The kernel with this bug switched on, or with none, and where its consoles go.
    fn rig(&self, mutant: Option<&Mutant>) -> Result<(Rig, PathBuf)> {
        let name = mutant.map_or("none", |m| m.name.as_str());
        let options = KernelOptions {
            kernels: None,
            arch: vec![self.args.arch],
            kernel: vec![self.image.to_path_buf()],
            accel: self.args.accel,
            append: mutant.map_or(String::new(), |m| format!("{PARAMETER}={}", m.name)),
        };
        let consoles = consoles(&folders::target(self.workspace), self.image, name)?;
        let rig = rig(&options, self.workspace, &consoles, &|line| {
            eprintln!("{line}");
        })?;
        Ok((rig, consoles))
    }

    /// All that is to be found out about a bug. What was found before an error stays.
    fn measure(
        &self,
        score: &mut score::Score,
        selftests: Option<&beside::Selftests>,
        debug: Option<&Path>,
    ) -> Result<()> {
        let stopped = || interrupt::stop_flag().load(Ordering::Relaxed);
        let mutant = score.mutant.clone();
        let mutant = mutant.as_ref();
        for seed in 1..=self.args.seeds {
            if !stopped() {
                let amount = Amount::Programs(self.args.programs);
                let settings = settings(seed, amount, Vec::new());
                score.outcomes.push(self.boot(mutant, &settings)?);
            }
        }
        if let (Some(selftests), false) = (selftests, stopped()) {
            score.selftests = Some(selftests.failed(self, mutant)?);
        }
        if let (Some(debug), false) = (debug, stopped()) {
            score.crashes = Some(beside::crashes(self, debug, mutant)?);
        }
        Ok(())
    }

    /// A campaign on the kernel with this bug switched on, or with none.
    fn boot(&self, mutant: Option<&Mutant>, settings: &Settings) -> Result<Outcome> {
        let (rig, consoles) = self.rig(mutant)?;
        let stop = interrupt::stop_flag();
        let summary = campaign(settings, &rig.sources, &Discard, &Quiet, stop)?;
        let row = summary.rows.into_iter().next();
        let row = row.with_context(|| format!("{}: no kernel", self.image.display()))?;
        if row.tally.programs == 0 && !stop.load(Ordering::Relaxed) {
            let name = mutant.map_or("none", |m| m.name.as_str());
            let why = row.errors.first().map_or("no program ran", String::as_str);
            return Err(crate::setup::SetupError::new(&format!("{name}: {why}")).into());
        }
        Ok(Outcome {
            row,
            reached: says(&consoles, REACHED)?,
            triggered: says(&consoles, TRIGGERED)?,
        })
    }
}

/// Whether one of the consoles in a folder has this line.
fn says(consoles: &Path, line: &str) -> Result<bool> {
    for entry in std::fs::read_dir(consoles)? {
        let log = read_log(&entry?.path())?;
        if String::from_utf8_lossy(&log).contains(line) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An empty folder for the consoles of this kernel with this bug.
fn consoles(target: &Path, image: &Path, name: &str) -> Result<PathBuf> {
    let image = image.file_stem().unwrap_or_default();
    let consoles = target.join("mmdiff/mutants").join(image).join(name);
    if consoles.exists() {
        std::fs::remove_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    }
    std::fs::create_dir_all(&consoles).with_context(|| consoles.display().to_string())?;
    Ok(consoles)
}

/// Whether the program of each tells the kernel with the bug from the one without.
fn check(bench: &Bench<'_>, chosen: &[Mutant]) -> Result<Exit> {
    let mut wrong = 0;
    let mut named: Vec<(&Mutant, Vec<CorpusProgram>)> = Vec::new();
    for mutant in chosen {
        match load_corpus(&bench.workspace.join(&mutant.program)) {
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
    let plain = bench.boot(None, &without)?.row;
    for (bucket, program) in &plain.first_programs {
        wrong += 1;
        say!("none: {program}: diverges without any bug: {bucket}\n");
    }
    for (mutant, programs) in named {
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        let settings = settings(1, Amount::Programs(0), programs);
        let with = bench.boot(Some(mutant), &settings)?;
        let said = match &with.row.first_bucket {
            None if with.triggered => "holds, though the bug's code did something else".into(),
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
}
