//! A job array for Slurm: submitted, followed, lost tasks submitted again, and merged.
//!
//! Nothing is remembered but in Slurm's queue and in the shards' folders: a shard that is neither in the queue nor through is
//! submitted, at the beginning and after it was lost. Jobs are known by their names, which are made from the farm's folder.

use super::prepare::{quoted, write, Farm, TRIES};
use super::tell;
use crate::exit::Exit;
use crate::interrupt;
use anyhow::{bail, Context, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Tasks of an array. Slurm takes array indices up to 1000 unless it is told otherwise (MaxArraySize, slurm.conf(5)), so that larger
/// farms are several arrays.
const ARRAY: u64 = 1000;

/// How often the queue is asked.
const ASK: Duration = Duration::from_secs(3);

/// Carries out `farm slurm`.
pub fn run(farm: &Farm, partition: Option<&str>, dry_run: bool) -> Result<Exit> {
    write(&farm.out.join("farm.sbatch"), &batch(farm, partition))?;
    if dry_run {
        let all: Vec<u64> = (1..=farm.shards).collect();
        return tell(farm, &submissions(farm, &all));
    }
    follow(farm)
}

/// Submits what is not through until all is, or was tried too often; merges it.
fn follow(farm: &Farm) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let mut tries: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut through, mut given_up) = (BTreeSet::new(), BTreeSet::new());
    let (mut told, mut refusal) = (String::new(), String::new());
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        asked += 1;
        let queue = match queue(farm) {
            Ok(queue) => queue,
            // The first time it is not there; later it may come back.
            Err(error) if asked == 1 => return Err(error),
            Err(error) => {
                eprintln!("{error:#}; asking again");
                wait(stop);
                continue;
            }
        };
        let mut lost = Vec::new();
        for shard in 1..=farm.shards {
            if queue.contains_key(&shard) || through.contains(&shard) || given_up.contains(&shard) {
                continue;
            }
            let tried = tries.get(&shard).copied().unwrap_or_default();
            if farm.is_through(shard)? {
                through.insert(shard);
            } else if tried == TRIES {
                eprintln!("shard {shard} was lost {TRIES} times and is given up");
                given_up.insert(shard);
            } else {
                lost.push(shard);
            }
        }
        let refused = submit(&lost, &|shards| submit_all(farm, shards));
        // What Slurm did not take was not tried.
        for &shard in lost.iter().filter(|shard| !refused.shards.contains(shard)) {
            let tried = tries.entry(shard).or_default();
            *tried += 1;
            if *tried > 1 {
                eprintln!("shard {shard} was lost: try {tried} of {TRIES}");
            }
        }
        if let Some(error) = &refused.error {
            let nothing_runs = queue.is_empty() && refused.shards.len() == lost.len();
            if nothing_runs && !is_limit(&format!("{error:#}")) {
                bail!("{error:#}");
            }
            let text = format!(
                "{} shards wait outside the queue: {error:#}",
                refused.shards.len()
            );
            if text != refusal {
                eprintln!("{text}");
                refusal = text;
            }
        }
        let running = queue.values().filter(|state| *state == "RUNNING").count();
        let now = format!(
            "{} of {} shards are through, {running} running, {} waiting",
            through.len(),
            farm.shards,
            queue.len() - running + lost.len() - refused.shards.len()
        );
        if now != told {
            eprintln!("{now}");
            told = now;
        }
        if through.len() + given_up.len() == farm.shards as usize {
            return farm.merge();
        }
        wait(stop);
    }
    eprintln!(
        "what was submitted goes on; the same command with --out {} follows it again, scancel --name={} ends it",
        quoted(&farm.out.to_string_lossy()),
        names(farm)
    );
    Ok(Exit::Interrupted)
}

/// What Slurm did not take.
#[derive(Debug, Default)]
struct Refused {
    shards: Vec<u64>,
    /// Why it did not take the last of them.
    error: Option<anyhow::Error>,
}

/// Submits shards, all at once or, where Slurm has a limit, half of them, and so on.
fn submit(shards: &[u64], all_of: &dyn Fn(&[u64]) -> Result<()>) -> Refused {
    let mut refused = Refused::default();
    let mut left: VecDeque<&[u64]> = shards
        .chunk_by(|a, b| array_of(*a) == array_of(*b))
        .collect();
    while let Some(some) = left.pop_front() {
        let Err(error) = all_of(some) else {
            continue;
        };
        if some.len() == 1 || !is_limit(&format!("{error:#}")) {
            // It would not take the others either.
            refused.error = Some(error);
            refused.shards.extend(some);
            left.into_iter()
                .for_each(|more| refused.shards.extend(more));
            break;
        }
        let (first, second) = some.split_at(some.len() / 2);
        left.push_front(second);
        left.push_front(first);
    }
    refused
}

/// Submits shards of one array, all or none of them.
fn submit_all(farm: &Farm, shards: &[u64]) -> Result<()> {
    submissions(farm, shards)
        .iter()
        .try_for_each(|command| output(command).map(drop))
}

/// Whether what Slurm says is that there is too much now, or that it is too busy: slurm_errno.c.
fn is_limit(said: &str) -> bool {
    let said = said.to_lowercase();
    [
        "limit",
        "temporarily",
        "timed out",
        "unable to contact",
        "try again",
    ]
    .iter()
    .any(|words| said.contains(words))
}

fn wait(stop: &std::sync::atomic::AtomicBool) {
    let since = Instant::now();
    while since.elapsed() < ASK && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The job script: runs the shard whose number is the array's first and the task's index.
fn batch(farm: &Farm, partition: Option<&str>) -> String {
    let partition = partition.map_or(String::new(), |p| format!("#SBATCH --partition={p}\n"));
    format!(
        "#!/bin/sh\n{partition}#SBATCH --ntasks=1\n#SBATCH --cpus-per-task={jobs}\n#SBATCH --mem={memory}M\n\
         #SBATCH --requeue\n#SBATCH --open-mode=append\nexec {script} \"$(($1 + SLURM_ARRAY_TASK_ID))\"\n",
        jobs = farm.jobs,
        memory = farm.memory_mib(),
        script = quoted(&farm.script().to_string_lossy()),
    )
}

/// The commands that submit some shards.
fn submissions(farm: &Farm, shards: &[u64]) -> Vec<Vec<String>> {
    let mut arrays: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for &shard in shards {
        let array = array_of(shard);
        arrays.entry(array).or_default().push(shard - array * ARRAY);
    }
    // A log of a shard's own is written by its script; this one gets what Slurm and the shell have to say.
    let log = farm.out.join("logs/slurm.log").display().to_string();
    let command = |(array, indices): (u64, Vec<u64>)| {
        vec![
            "sbatch".to_string(),
            "--parsable".into(),
            format!("--job-name={}", name(farm, array)),
            format!("--array={}", ranges(&indices)),
            format!("--output={}", log.replace('%', "%%")),
            farm.out.join("farm.sbatch").display().to_string(),
            (array * ARRAY).to_string(),
        ]
    };
    arrays.into_iter().map(command).collect()
}

/// The array that a shard is in.
fn array_of(shard: u64) -> u64 {
    (shard - 1) / ARRAY
}

/// `1-3,7` for 1, 2, 3 and 7; they are in order.
fn ranges(numbers: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &n in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => ranges.push((n, n)),
        }
    }
    let text = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The job name of an array.
fn name(farm: &Farm, array: u64) -> String {
    format!("{}-{array}", farm.name())
}

fn names(farm: &Farm) -> String {
    let arrays = 0..=array_of(farm.shards);
    arrays.map(|n| name(farm, n)).collect::<Vec<_>>().join(",")
}

/// The shards in Slurm's queue, with their state.
fn queue(farm: &Farm) -> Result<BTreeMap<u64, String>> {
    let names = format!("--name={}", names(farm));
    let words = [
        "squeue",
        "--noheader",
        "--array",
        "--format=%j|%K|%T",
        &names,
    ];
    let text = output(&words.map(String::from))?;
    text.lines()
        .map(|line| tasks(line).with_context(|| format!("squeue said `{line}`")))
        .collect()
}

/// Shard and state of a task, from a line of squeue.
fn tasks(line: &str) -> Option<(u64, String)> {
    let mut words = line.split('|');
    let array: u64 = words.next()?.rsplit_once('-')?.1.parse().ok()?;
    let index: u64 = words.next()?.parse().ok()?;
    Some((array * ARRAY + index, words.next()?.trim().to_string()))
}

/// Runs a command of Slurm; what it printed.
fn output(command: &[String]) -> Result<String> {
    let out = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be run: is Slurm installed here?", command[0]))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!(
            "`{}` ended with {}: {}",
            super::prepare::words(command),
            out.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::prepare::tests::farm;
    use super::*;

    #[test]
    fn shards_become_arrays_and_come_back_from_the_queue() {
        let mut farm = farm("/some where");
        farm.shards = 2500;
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        let commands = submissions(&farm, &[1, 2, 1000, 1001, 2500]);
        let find = |n: usize, option: &str| {
            let word = commands[n].iter().find(|word| word.starts_with(option));
            word.unwrap()[option.len()..].to_string()
        };
        assert_eq!(commands.len(), 3);
        assert_eq!(find(0, "--array="), "1-2,1000");
        assert_eq!(find(1, "--array="), "1");
        assert_eq!(commands[1].last().unwrap(), "1000");
        assert_eq!(find(2, "--array="), "500");
        let line = format!("{}|500|PENDING", find(2, "--job-name="));
        assert_eq!(tasks(&line), Some((2500, "PENDING".into())));
        assert!(names(&farm).ends_with(&find(2, "--job-name=")));
        assert_eq!(tasks("other|x|RUNNING"), None);
    }

    /// What Slurm says when a user has as many tasks in its queue as the policy lets him.
    const POLICY: &str = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";

    #[test]
    fn as_much_is_submitted_as_there_is_room_for() {
        let all: Vec<u64> = (1..=10).collect();
        let with_room = |room: usize, says: &'static str| {
            let taken = std::cell::RefCell::new(Vec::new());
            let refused = submit(&all, &|shards| {
                let mut taken = taken.borrow_mut();
                if taken.len() + shards.len() > room {
                    bail!("{says}");
                }
                taken.extend_from_slice(shards);
                Ok(())
            });
            let mut both = [taken.borrow().clone(), refused.shards.clone()].concat();
            both.sort_unstable();
            assert_eq!(both, all);
            (taken.into_inner().len(), refused.error.is_some())
        };
        for room in 0..10 {
            assert_eq!(with_room(room, POLICY), (room, true));
        }
        assert_eq!(with_room(10, POLICY), (10, false));
        // Less of it would not help.
        assert_eq!(with_room(9, "invalid partition specified: x"), (0, true));
    }

    #[test]
    fn the_job_runs_its_shard() {
        let text = batch(&farm("/o u/t"), Some("batch"));
        assert!(text.contains("#SBATCH --partition=batch\n"), "{text}");
        assert!(
            text.contains("#SBATCH --cpus-per-task=2\n#SBATCH --mem=2560M\n"),
            "{text}"
        );
        assert!(
            text.ends_with("exec '/o u/t/shard.sh' \"$(($1 + SLURM_ARRAY_TASK_ID))\"\n"),
            "{text}"
        );
    }
}
