//! What a campaign is, told from its options: the manifest of its folder, and going on from one.

use crate::exit::UsageError;
use crate::vm_matrix::MatrixArgs;
use anyhow::{Context, Result};
use harness::campaign::{Amount, CorpusProgram, Programs, RowResult, Settings};
use harness::kernel::KernelSource;
use harness::report::{Machine, Manifest, Planned, GUEST, ORACLE};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Options of a resumed run that may be others than before: they change nothing in its results.
const FREE: [&str; 3] = ["resume", "jobs", "format"];

/// Bytes of a record in results.jsonl, about: `cargo xtask vm-matrix --simulated none --programs 6400` wrote 456,235 bytes for 106
/// blocks.
const RECORD: u64 = 5 << 10;

/// Bytes of everything else, about: tables, consoles, reports, for each kernel.
const KERNEL: u64 = 1 << 20;

/// The manifest of the campaign that these options and kernels make. `origins`: where each kernel came from, by label and
/// architecture.
///
/// # Errors
/// known.toml cannot be read; two kernels have one name.
pub fn manifest(
    args: &MatrixArgs,
    settings: &Settings,
    sources: &[Arc<dyn KernelSource>],
    origins: &BTreeMap<String, String>,
    machine: &Machine,
    workspace: &Path,
) -> Result<Manifest> {
    let known = workspace.join("corpus/findings/known.toml");
    let known = std::fs::read(&known).with_context(|| known.display().to_string())?;
    let mut campaign = BTreeMap::new();
    let mut set = |name: &str, value: String| campaign.insert(name.to_string(), value);
    set("seed", settings.seed.to_string());
    set("oracle", ORACLE.into());
    set("guest", GUEST.into());
    set("corpus", corpus_digest(&settings.corpus));
    set(
        "known findings",
        vm_images::hash::bytes(&known)[..16].into(),
    );
    set("rules", settings.by.options().join(" "));
    set("re-runs", settings.reruns.to_string());
    set("kernel arguments", args.kernels.append.clone());
    let (programs, amount) = match settings.amount {
        Amount::Programs(n) => (Some(n), format!("{n} programs")),
        Amount::Time(time) => (None, format!("{} s", time.as_secs_f64())),
    };
    set("amount", amount);
    if let Some(fault) = args.guest_fault {
        set("guest fault", fault.name());
    }
    if args.panic_when.is_some() {
        set("guest fault", "panics when asked".into());
    }
    if let Some(fault) = &args.simulated {
        set("simulated", fault.clone());
    }
    let mut kernels = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let name = format!("{} {}", source.label(), source.arch());
        let origin = origins.get(&name).map_or("", String::as_str);
        set(&format!("kernel {name}"), image(origin));
        let before = harness::campaign::before(&settings.by, sources, index);
        kernels.push(Planned {
            label: source.label().into(),
            arch: source.arch().into(),
            before: before.map(|(_, release)| release.to_string()),
        });
    }
    let directory = std::env::current_dir().context("the working directory")?;
    let manifest = Manifest {
        campaign,
        corpus_programs: settings.corpus.len() as u64,
        programs,
        kernels,
        shard: settings.part.shard.map(|shard| shard.to_string()),
        command: std::env::args().skip(1).collect(),
        directory: directory.display().to_string(),
        started: crate::folders::timestamp(),
        machines: vec![machine.clone()],
    };
    match manifest.twins() {
        Some(twins) => {
            anyhow::bail!("two kernels are called {twins}: their results could not be told apart")
        }
        None => Ok(manifest),
    }
}

/// The hash of a kernel's image, from what is told of where it came from.
fn image(origin: &str) -> String {
    match origin.split_once("sha256:") {
        Some((_, rest)) => rest.split(' ').next().unwrap_or_default().to_string(),
        None => origin.split(':').next().unwrap_or_default().to_string(),
    }
}

fn corpus_digest(corpus: &[CorpusProgram]) -> String {
    Programs::digest_of(corpus.iter().map(|entry| &entry.program))
}

/// The options of the run in `folder`, for a command line that wants to go on with it. The working directory becomes that of the
/// run, so that paths mean the same.
///
/// # Errors
/// The folder is none, or the command line contradicts its run.
pub fn resumed(now: &MatrixArgs, folder: &Path) -> Result<(MatrixArgs, Manifest)> {
    let usage = |what: String| UsageError(what);
    let manifest = Manifest::read(folder).map_err(|e| usage(e.to_string()))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let contradictions = crate::contradictions(&words, &manifest.command, &FREE).map_err(usage)?;
    if !contradictions.is_empty() {
        return Err(usage(format!(
            "--resume {}: {}; leave it out, or start another run",
            folder.display(),
            contradictions.join("; ")
        ))
        .into());
    }
    let mut args = crate::matrix_args(&manifest.command).map_err(usage)?;
    args.take_over(now);
    std::env::set_current_dir(&manifest.directory)
        .with_context(|| format!("the run was started in {}", manifest.directory))?;
    Ok((args, manifest))
}

/// Whether this machine's share of a campaign has a block of a kernel.
pub fn has_work(manifest: &Manifest, row: &RowResult, seed: u64) -> bool {
    let (Some(shard), Some(mut blocks)) = (manifest.share(), manifest.blocks()) else {
        return true;
    };
    blocks.any(|block| shard.has(&row.kernel, &row.arch, block, seed))
}

/// Says that a run cannot be resumed because something beneath it has changed.
///
/// # Errors
/// When it has.
pub fn same(before: &Manifest, now: &Manifest, folder: &Path) -> Result<()> {
    let differences = before.differences(now);
    if differences.is_empty() {
        return Ok(());
    }
    Err(UsageError(format!(
        "{} cannot be resumed: what it was made with has changed (then, and now):\n  {}\nstart another run, or go back to what it was",
        folder.display(),
        differences.join("\n  ")
    ))
    .into())
}

/// Says how much the results will take and sees whether it is there. Nothing is known of a run that time ends.
///
/// # Errors
/// It is not.
pub fn room(manifest: &Manifest, done: u64, folder: &Path) -> Result<()> {
    let Some(blocks) = manifest.blocks() else {
        return Ok(());
    };
    let kernels = manifest.kernels.len() as u64;
    let items = blocks.count() as u64 * kernels;
    let mine = match manifest.share() {
        Some(share) => items / share.of().max(1),
        None => items,
    };
    let needed = mine.saturating_sub(done) * RECORD + kernels * KERNEL;
    let free = free(folder)?;
    eprintln!(
        "about {mine} blocks of programs to judge, {done} of them through; results will take about {} MiB, {} MiB are free",
        needed.div_ceil(1 << 20),
        free >> 20
    );
    if needed > free {
        anyhow::bail!(
            "{}: too little room for the results; make some, or choose another --out",
            folder.display()
        );
    }
    Ok(())
}

/// Bytes that are free where a folder is.
fn free(folder: &Path) -> Result<u64> {
    let stat = nix::sys::statvfs::statvfs(folder).with_context(|| folder.display().to_string())?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::image;

    #[test]
    fn an_image_is_its_hash_wherever_it_came_from() {
        assert_eq!(image("linux 7.3-1 sha256:abc (locked)"), "abc");
        assert_eq!(image("some/where/bzImage sha256:abc"), "abc");
        assert_eq!(image("skipped: 7.3 is not to be had"), "skipped");
        assert_eq!(image(""), "");
    }
}
