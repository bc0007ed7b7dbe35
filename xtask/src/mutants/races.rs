//! Planted bugs that only threads show: how many repetitions of their program it takes.

use super::score::yes;
use super::MutantsArgs;
use crate::exit::{say, Exit};
use crate::races::as_threads;
use crate::rig::{rig, KernelOptions};
use crate::{folders, interrupt, measured};
use anyhow::{Context, Result};
use harness::campaign::{death_story, load_concurrent_program, suited, Bucket, CorpusProgram};
use harness::kernel::vm::read_log;
use harness::kernel::{probe, JudgeBy, Kernel, KernelError, KernelSource, Prepared, Repeat, Smaps};
use harness::race::judge_raced;
use oracle::profile::Profile;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;
use vm_images::mutants::{Mutant, PARAMETER, REACHED};

/// Repetitions between two looks at what they came to.
const PORTION: u32 = 25;

const HEADER: [&str; 10] = [
    "mutant",
    "program",
    "reached",
    "detected",
    "repetitions_median",
    "repetitions_min",
    "repetitions_max",
    "seconds_median",
    "rule_named",
    "bucket",
];

/// How a search for something wrong went.
struct Search {
    /// The first that was found.
    bucket: Option<Bucket>,
    /// Until then, or in all.
    repetitions: u32,
    seconds: f64,
}

/// Races the program of each bug on the kernel with it, and all of them on the kernel with none.
pub fn run(args: &MutantsArgs, chosen: &[Mutant], image: &Path, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let load = |mutant: &Mutant| load_concurrent_program(&workspace.join(&mutant.program));
    let programs: Vec<CorpusProgram> = chosen.iter().map(load).collect::<Result<_, _>>()?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut wrong = 0;
    let none = programs.iter().map(|program| (None, program));
    let each = chosen.iter().map(Some).zip(&programs);
    let mut plain: Option<Machine> = None;
    for (mutant, program) in none.chain(each) {
        let mut machine = match (mutant, plain.take()) {
            (None, Some(plain)) => plain,
            _ => Machine::new(args, mutant, image, workspace)?,
        };
        let searches = machine.search(args, program)?;
        let reached = machine.reached()?;
        if mutant.is_none() {
            plain = Some(machine);
        }
        let line = line(mutant, program, reached, &searches);
        eprintln!("{}", line.join("  "));
        let noticed = searches.iter().filter(|s| s.bucket.is_some()).count() as u64;
        wrong += u32::from(match mutant {
            None => noticed > 0,
            Some(_) => noticed < args.seeds,
        });
        rows.push(line);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    say!("{}", measured::table(&HEADER, &rows));
    if !args.no_keep {
        let folder = measured::keep(
            workspace,
            "race-mutants",
            "race-mutants.csv",
            &HEADER,
            &rows,
        )?;
        say!("{}\n", folder.display());
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if wrong > 0 {
        Exit::Found
    } else {
        Exit::Fine
    })
}

/// The kernel with one bug, or none, switched on.
struct Machine {
    source: Arc<dyn KernelSource>,
    consoles: PathBuf,
    running: Option<(Box<dyn Kernel>, Profile)>,
}

impl Machine {
    fn new(
        args: &MutantsArgs,
        mutant: Option<&Mutant>,
        image: &Path,
        workspace: &Path,
    ) -> Result<Machine> {
        let name = mutant.map_or("none", |m| m.name.as_str());
        let options = KernelOptions {
            kernels: None,
            arch: vec![args.arch],
            kernel: vec![image.to_path_buf()],
            accel: args.accel,
            append: mutant.map_or(String::new(), |m| format!("{PARAMETER}={}", m.name)),
        };
        let consoles = super::consoles(&folders::target(workspace), image, name)?;
        let rig = rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?;
        let machine = rig.machines.first();
        let machine = machine.with_context(|| format!("{}: no kernel", image.display()))?;
        Ok(Machine {
            source: as_threads(machine),
            consoles,
            running: None,
        })
    }

    /// Repeats the program until something is wrong, as often as there are seeds; each goes on where the one before ended.
    fn search(&mut self, args: &MutantsArgs, entry: &CorpusProgram) -> Result<Vec<Search>> {
        let stop = interrupt::stop_flag();
        let mut searches = Vec::new();
        let mut first = 0;
        for _ in 0..args.seeds {
            let mut search = Search {
                bucket: None,
                repetitions: 0,
                seconds: 0.0,
            };
            while search.bucket.is_none() && search.repetitions < args.repetitions {
                if stop.load(Ordering::Relaxed) {
                    return Ok(searches);
                }
                let times = PORTION.min(args.repetitions - search.repetitions);
                let repeat = Repeat {
                    first,
                    times,
                    walks: false,
                };
                self.boot()?;
                let began = Instant::now();
                search.bucket = self.portion(entry, repeat)?;
                search.seconds += began.elapsed().as_secs_f64();
                search.repetitions += times;
                first += times;
            }
            searches.push(search);
        }
        Ok(searches)
    }

    fn boot(&mut self) -> Result<()> {
        if self.running.is_none() {
            let mut kernel = self.source.boot("race-mutants")?;
            let profile = probe::profile(kernel.as_mut(), &JudgeBy::default())?;
            self.running = Some((kernel, profile));
        }
        Ok(())
    }

    /// What goes wrong in some repetitions, if anything does.
    fn portion(&mut self, entry: &CorpusProgram, repeat: Repeat) -> Result<Option<Bucket>> {
        let (kernel, profile) = self.running.as_mut().context("no kernel")?;
        let info = kernel.info().clone();
        let (program, lacking) = suited(&entry.program, profile, &info);
        anyhow::ensure!(
            lacking.is_none(),
            "{}: the kernel lacks {lacking:?}",
            entry.name
        );
        let prepared = Prepared {
            id: 1,
            program: program.clone(),
            smaps: Smaps::Changes,
            fault: None,
        };
        match kernel.race(&prepared, repeat) {
            Ok(raced) => {
                let judged = judge_raced(&program, &raced, profile, info.geometry);
                let story = judged.kinds.iter().find_map(|kind| kind.story());
                Ok(story.map(|story| story.bucket.clone()))
            }
            Err(error) => {
                let story = death_story(&error, &program, profile, info.geometry);
                self.running = None;
                match (story, error) {
                    (Some(story), _) => Ok(Some(story.bucket)),
                    (None, error @ KernelError::Lost { .. }) => Err(error.into()),
                    (None, _) => Ok(None),
                }
            }
        }
    }

    /// The console says that the bug's code ran.
    fn reached(&self) -> Result<bool> {
        let mut reached = false;
        for entry in std::fs::read_dir(&self.consoles)? {
            let log = read_log(&entry?.path())?;
            reached |= String::from_utf8_lossy(&log).contains(REACHED);
        }
        Ok(reached)
    }
}

/// A line of the table.
fn line(
    mutant: Option<&Mutant>,
    program: &CorpusProgram,
    reached: bool,
    searches: &[Search],
) -> Vec<String> {
    let noticed = || searches.iter().filter(|search| search.bucket.is_some());
    let mut repetitions: Vec<u32> = noticed().map(|search| search.repetitions).collect();
    repetitions.sort_unstable();
    let mut seconds: Vec<f64> = noticed().map(|search| search.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let said = |n: Option<&u32>| n.map_or(String::new(), u32::to_string);
    let buckets = || searches.iter().filter_map(|search| search.bucket.as_ref());
    let named = buckets().filter(|b| mutant.is_some_and(|m| m.rules.contains(&b.rule)));
    let all: u32 = searches.iter().map(|search| search.repetitions).sum();
    let file = Path::new(&program.name).file_stem().unwrap_or_default();
    vec![
        mutant.map_or("none".into(), |m| m.name.clone()),
        file.to_string_lossy().into_owned(),
        yes(reached).into(),
        match repetitions.len() {
            0 => format!("no, in {all}"),
            n if n == searches.len() => "yes".into(),
            n => format!("{n} of {}", searches.len()),
        },
        said(repetitions.get(repetitions.len() / 2)),
        said(repetitions.first()),
        said(repetitions.last()),
        seconds
            .get(seconds.len() / 2)
            .map_or(String::new(), |s| format!("{s:.1}")),
        match (mutant, repetitions.len()) {
            (None, _) | (_, 0) => String::new(),
            (Some(_), n) => format!("{} of {n}", named.count()),
        },
        buckets().next().map_or(String::new(), Bucket::to_string),
    ]
}
