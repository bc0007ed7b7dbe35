//! What it costs to merge the folders of a farm.

use super::Figures;
use crate::process;
use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};
use harness::campaign::{Block, BlockResult, Booted, BLOCK};
use harness::report::{read_lines, Line, Manifest, Planned, MANIFEST};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is merged.
#[derive(Args)]
pub struct MergeOptions {
    /// For `--measure merge`: records, over all folders and kernels.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    records: u64,
    /// For `--measure merge`: folders, one for each shard.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    folders: u64,
    /// For `--measure merge`: kernels of the campaign.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    merge_kernels: u64,
    /// For `--measure merge`: what a record has.
    #[arg(long, value_enum, default_value_t = Content::Full)]
    content: Content,
}

/// `--content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Content {
    /// All that the model's campaign writes for 64 programs.
    Full,
    /// The counts and what was observed in one program: more records for the same disk.
    Bare,
}

/// Makes the folders of a campaign's shards below `dir`, merges them by `cargo xtask merge` in a process of its own, and measures it.
pub fn merge(options: &MergeOptions, dir: &Path, figures: &mut Figures) -> Result<()> {
    let pattern = pattern(dir)?;
    let (shards, bytes) = shards(options, &pattern, dir)?;
    let mut child = process::own()?
        .arg("merge")
        .args(&shards)
        .arg("--out")
        .arg(dir.join("all"))
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("merge.log"))?)
        .stderr(Stdio::inherit())
        .spawn()
        .context("starting merge")?;
    let (started, mut peak) = (Instant::now(), 0);
    let status = loop {
        peak = peak.max(process::peak_kib(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let seconds = started.elapsed().as_secs_f64();
    let said = std::fs::read_to_string(dir.join("merge.log"))?;
    let whole = format!("{0} of {0} blocks are through", options.records);
    if !status.success() || !said.contains(&whole) {
        bail!("merge ended with {status}: {said}");
    }
    let mut add = |what: &str, value, unit| figures.add(what, "", "", value, unit);
    let records = options.records as f64;
    add("merge: folders", options.folders as f64, "folders");
    add("merge: kernels", options.merge_kernels as f64, "kernels");
    add("merge: records", records, "records");
    add("merge: bytes per record", bytes as f64 / records, "bytes");
    add("merge: time", seconds, "s");
    add("merge: rate", records / seconds, "records/s");
    let mib = bytes as f64 / f64::from(1 << 20);
    add("merge: rate of bytes", mib / seconds, "MiB/s");
    add("merge: peak memory", peak as f64 / 1024.0, "MiB");
    Ok(())
}

/// What all folders are made from: those of a small campaign on the model.
struct Pattern {
    manifest: Manifest,
    record: PathBuf,
    booted: Booted,
    block: BlockResult,
}

fn pattern(dir: &Path) -> Result<Pattern> {
    let out = dir.join("pattern");
    let ran = process::own()?
        .args(["vm-matrix", "--simulated", "none", "--programs", "64"])
        .arg("--out")
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .context("starting vm-matrix")?;
    if !ran.status.success() {
        bail!("the model's campaign ended with {}", ran.status);
    }
    let (mut booted, mut block) = (None, None);
    read_lines(&out.join("results.jsonl"), &mut |line, _| match line {
        Line::Booted { booted: b, .. } => booted = Some(b),
        Line::Block { result, .. } => block = Some(*result),
        _ => {}
    })?;
    Ok(Pattern {
        manifest: Manifest::read(&out)?,
        record: out.join("run.json"),
        booted: booted.context("the model did not boot")?,
        block: block.context("the model ran no block")?,
    })
}

/// Writes the folders; bytes of all results come back, too.
fn shards(options: &MergeOptions, pattern: &Pattern, dir: &Path) -> Result<(Vec<PathBuf>, u64)> {
    let kernels = options.merge_kernels;
    if !options.records.is_multiple_of(kernels) {
        bail!(crate::exit::UsageError(format!(
            "--records {}: {kernels} kernels want a multiple of {kernels}",
            options.records
        )));
    }
    let release = |n: u64| format!("6.{n}.0");
    let mut manifest = pattern.manifest.clone();
    manifest.corpus_programs = 0;
    let blocks = options.records / kernels;
    manifest.programs = Some(blocks * BLOCK);
    let kernel = |n: u64| Planned {
        label: format!("6.{n}"),
        arch: "x86_64".into(),
        before: n.checked_sub(1).map(release),
    };
    manifest.kernels = (0..kernels).map(kernel).collect();
    let block = match options.content {
        Content::Full => pattern.block.clone(),
        Content::Bare => BlockResult {
            tally: pattern.block.tally,
            observed: pattern.block.observed[..1].to_vec(),
            programs_digest: pattern.block.programs_digest.clone(),
            ..BlockResult::default()
        },
    };
    let (mut made, mut bytes) = (Vec::new(), 0);
    for shard in 0..options.folders {
        let folder = dir.join("shards").join((shard + 1).to_string());
        std::fs::create_dir_all(&folder)?;
        manifest.shard = Some(format!("{}/{}", shard + 1, options.folders));
        std::fs::write(folder.join(MANIFEST), manifest.text()?)?;
        std::fs::copy(&pattern.record, folder.join("run.json"))?;
        let path = folder.join("results.jsonl");
        let mut results = BufWriter::new(File::create(&path)?);
        for (n, kernel) in (0..).zip(&manifest.kernels) {
            let booted = Booted {
                release: release(n),
                ..pattern.booted.clone()
            };
            let line = Line::Booted {
                kernel: kernel.label.clone(),
                arch: kernel.arch.clone(),
                booted,
            };
            results.write_all(&line.text()?)?;
        }
        // Not the share that the hash gives it, which merge does not ask for; scattered all the same.
        for n in (shard..options.records).step_by(options.folders as usize) {
            let kernel = &manifest.kernels[(n / blocks) as usize];
            let line = Line::Block {
                kernel: kernel.label.clone(),
                arch: kernel.arch.clone(),
                block: Block::Generated(n % blocks),
                result: Box::new(block.clone()),
            };
            results.write_all(&line.text()?)?;
        }
        results.flush()?;
        bytes += std::fs::metadata(&path)?.len();
        made.push(folder);
    }
    Ok((made, bytes))
}
