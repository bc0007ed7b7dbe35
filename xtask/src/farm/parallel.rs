//! GNU parallel: on this machine, or over ssh. It tries lost shards again itself and keeps a job log.

use super::prepare::{Farm, TRIES};
use super::tell;
use crate::exit::Exit;
use crate::interrupt;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

/// Carries out `farm parallel`.
pub fn run(farm: &Farm, hosts: Option<&Path>, dry_run: bool) -> Result<Exit> {
    let command = command(farm, hosts);
    if dry_run {
        return tell(farm, &[command]);
    }
    // Ctrl-C reaches parallel and the shards, too: they stop in order.
    let stop = interrupt::stop_flag();
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{} cannot be run: is GNU parallel installed?", command[0]))?;
    if stop.load(Ordering::Relaxed) {
        eprintln!("the same command with --out {} goes on", farm.out.display());
        return Ok(Exit::Interrupted);
    }
    // Its exit code is the number of jobs that failed; the shards tell more.
    farm.merge()
}

fn command(farm: &Farm, hosts: Option<&Path>) -> Vec<String> {
    let mut command = vec!["parallel".to_string(), format!("--retries={TRIES}")];
    command.push(format!("--joblog={}", farm.out.join("joblog").display()));
    match hosts {
        // Each machine runs as many shards as its line in the file says.
        Some(hosts) => command.push(format!("--sshloginfile={}", hosts.display())),
        None => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
            command.push(format!("--jobs={}", (cores / farm.jobs.max(1)).max(1)));
        }
    }
    // Quoted: parallel hands the words to a shell.
    command.push("--quote".into());
    command.push(farm.script().display().to_string());
    command.push("{}".into());
    command.push(":::".into());
    command.extend((1..=farm.shards).map(|k| k.to_string()));
    command
}

#[cfg(test)]
mod tests {
    use super::super::prepare::tests::farm;
    use super::*;

    #[test]
    fn each_shard_is_a_job() {
        let words = command(&farm("/out"), Some(Path::new("hosts")));
        assert_eq!(words[words.len() - 4..], [":::", "1", "2", "3"]);
        assert!(words.contains(&"--sshloginfile=hosts".to_string()));
    }
}
