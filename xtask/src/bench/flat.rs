//! Whether a campaign is as fast after an hour as it was in its first minutes.
//!
//! The speed of a machine changes from minute to minute by more than what is asked for here, so the end of the long run is compared with
//! a run that begins right after it, too.

use super::Figures;
use crate::process;
use anyhow::{bail, Context, Result};
use clap::Args;
use harness::campaign::BLOCK;
use harness::kernel::machine::VmSource;
use harness::kernel::KernelSource;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long is measured.
#[derive(Args)]
pub struct FlatOptions {
    /// For `--measure flat`: minutes of the long run.
    #[arg(long, value_name = "M", default_value_t = 60.0)]
    flat_minutes: f64,
    /// For `--measure flat`: minutes at its beginning and at its end, and of the run after it, that are compared.
    #[arg(long, value_name = "M", default_value_t = 5.0)]
    window: f64,
}

/// Seconds before programs are counted: QEMU translates the kernel in them.
const WARM: f64 = 20.0;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(200);

/// Runs `vm-matrix` on one VM for the long time, then once more for a window.
pub fn flat(
    machine: &VmSource,
    options: &FlatOptions,
    dir: &Path,
    stop: &AtomicBool,
    figures: &mut Figures,
) -> Result<()> {
    let (minutes, window) = (options.flat_minutes, options.window * 60.0);
    if window <= 0.0 || minutes * 60.0 < 2.0 * window + WARM {
        bail!(crate::exit::UsageError(format!(
            "--flat-minutes {minutes} --window {}: the run is too short for two windows",
            options.window
        )));
    }
    let long = Run::of(machine, minutes, &dir.join("long"), stop)?;
    let fresh = Run::of(machine, (window + WARM) / 60.0, &dir.join("fresh"), stop)?;
    let end = long.end();
    let (first, last) = (long.rate(WARM, WARM + window), long.rate(end - window, end));
    let fresh_rate = fresh.rate(WARM, fresh.end());
    let mut add = |what: &str, value, unit| {
        let (label, arch) = (&machine.label, machine.config.arch.name());
        figures.add(&format!("flat: {what}"), label, arch, value, unit);
    };
    add("length", end / 60.0, "min");
    add("window", options.window, "min");
    add("programs", long.programs() as f64, "programs");
    add("first window", first, "programs/s");
    add("last window", last, "programs/s");
    add("a fresh run after it", fresh_rate, "programs/s");
    add("last over first", last / first, "ratio");
    add("last over fresh", last / fresh_rate, "ratio");
    add("peak memory of the long run", long.peak_mib, "MiB");
    add("peak memory of the fresh run", fresh.peak_mib, "MiB");
    Ok(())
}

/// How a run came along.
struct Run {
    /// Seconds since its first record, and programs through by then.
    points: Vec<(f64, u64)>,
    /// Largest resident set of its host process.
    peak_mib: f64,
}

impl Run {
    fn of(machine: &VmSource, minutes: f64, out: &Path, stop: &AtomicBool) -> Result<Run> {
        let mut child = process::own()?
            .args([
                "vm-matrix",
                "--jobs",
                "1",
                "--minutes",
                &minutes.to_string(),
            ])
            .args(machine.options())
            // Generated programs alone: those of the corpus come first, and are others.
            .args(["--corpus", "corpus/plain"])
            .arg("--out")
            .arg(out)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting vm-matrix")?;
        let mut lines = Lines::of(out.join("results.jsonl"));
        let (mut run, mut began) = (
            Run {
                points: Vec::new(),
                peak_mib: 0.0,
            },
            None,
        );
        let status = loop {
            // Read before the process is asked: nothing comes after its end.
            let ended = child.try_wait()?;
            let blocks = lines.count()?;
            if blocks > 0 {
                let began = began.get_or_insert_with(Instant::now);
                let seconds = began.elapsed().as_secs_f64();
                if run
                    .points
                    .last()
                    .is_none_or(|(_, had)| *had < blocks * BLOCK)
                {
                    run.points.push((seconds, blocks * BLOCK));
                }
            }
            if let Some(status) = ended {
                break status;
            }
            run.peak_mib = run
                .peak_mib
                .max(process::peak_kib(child.id()) as f64 / 1024.0);
            if stop.load(Ordering::Relaxed) {
                child.kill()?;
                child.wait()?;
                bail!("stopped: what was measured so far says nothing");
            }
            std::thread::sleep(LOOK);
        };
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("vm-matrix ended with {status}");
        }
        Ok(run)
    }

    fn end(&self) -> f64 {
        self.points.last().map_or(0.0, |(seconds, _)| *seconds)
    }

    fn programs(&self) -> u64 {
        self.points.last().map_or(0, |(_, programs)| *programs)
    }

    /// Programs a second between two moments, from the first record after each.
    fn rate(&self, from: f64, to: f64) -> f64 {
        let at = |moment: f64| {
            let point = self.points.iter().find(|(seconds, _)| *seconds >= moment);
            point.or(self.points.last()).copied()
        };
        match (at(from), at(to)) {
            (Some((from, before)), Some((to, after))) if to > from => {
                (after - before) as f64 / (to - from)
            }
            _ => f64::NAN,
        }
    }
}

/// Records of blocks in a file that grows.
struct Lines {
    path: PathBuf,
    file: Option<File>,
    /// What has been read of the last line.
    rest: Vec<u8>,
    blocks: u64,
}

impl Lines {
    fn of(path: PathBuf) -> Lines {
        Lines {
            path,
            file: None,
            rest: Vec::new(),
            blocks: 0,
        }
    }

    fn count(&mut self) -> std::io::Result<u64> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.rest)?;
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        for line in self.rest[..whole.map_or(0, |at| at + 1)].split(|byte| *byte == b'\n') {
            let block = br#""what":"block""#;
            self.blocks += u64::from(line.windows(block.len()).any(|part| part == block));
        }
        self.rest.drain(..whole.map_or(0, |at| at + 1));
        Ok(self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn whole_records_of_blocks_are_counted_as_they_come() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let mut lines = Lines::of(path.clone());
        assert_eq!(lines.count().unwrap(), 0);
        let mut file = File::create(path).unwrap();
        file.write_all(b"{\"what\":\"booted\"}\n{\"what\":\"block\"}\n{\"what\":\"blo")
            .unwrap();
        assert_eq!(lines.count().unwrap(), 1);
        file.write_all(b"ck\"}\n").unwrap();
        assert_eq!(lines.count().unwrap(), 2);
        assert_eq!(lines.count().unwrap(), 2);
    }

    #[test]
    fn a_rate_is_that_of_its_window() {
        let run = Run {
            points: vec![(0.0, 64), (10.0, 1064), (20.0, 1564), (30.0, 2064)],
            peak_mib: 0.0,
        };
        assert_eq!(run.rate(0.0, 10.0), 100.0);
        assert_eq!(run.rate(9.0, 30.0), 50.0);
        assert!(run.rate(30.0, 40.0).is_nan());
    }
}
