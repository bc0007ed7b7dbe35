//! Kernel against kernel once more, on a machine that has the kernels: programs in which the records of a campaign have something else
//! for two kernels are run again on both.

use crate::exit::{say, UsageError};
use crate::vm_matrix::{kernels, settings, Kernels};
use crate::{campaign, compare, folders, interrupt};
use anyhow::{Context, Result};
use harness::campaign::{compare as run_both, Block, CorpusProgram, Feed, PairSettings, Place};
use harness::campaign::{Settings, BLOCK};
use harness::kernel::KernelSource;
use harness::report::{Folder, Manifest, Observed, BOUNDARY_COLUMNS};
use std::path::Path;
use std::sync::Arc;
use vm_images::files::{private_file, private_folder};

/// Name of the table: the classes of differences that were seen again.
const CONFIRMED: &str = "confirmed.csv";

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Something differed that no row of the table of behaviours explains.
    pub unexplained: bool,
    /// It was stopped before its end.
    pub interrupted: bool,
}

/// Runs the first programs of each pair that differs again on both of its kernels, says what differs and what explains it, and writes
/// confirmed.csv and the programs. `folder`: the merged one.
///
/// # Errors
/// The kernels, the corpus or mmdiff are not those of the campaign, or cannot be had here.
pub fn confirm(observed: &[Observed], folder: &Folder, workspace: &Path) -> Result<Confirmed> {
    let path = folder.path().canonicalize()?;
    let manifest = Manifest::read(&path)?;
    let args = crate::matrix_args(&manifest.command).map_err(UsageError)?;
    let directory = Path::new(&manifest.directory);
    if directory.is_dir() {
        // Paths of the command line mean what they meant; on another machine they are taken from here.
        std::env::set_current_dir(directory).with_context(|| manifest.directory.clone())?;
    }
    let stop = interrupt::stop_flag();
    let settings = settings(&args, workspace)?;
    let Kernels {
        sources,
        origins,
        machine,
        ..
    } = kernels(&args, workspace, &folders::consoles(workspace)?)?;
    let here = campaign::manifest(&args, &settings, &sources, &origins, &machine, workspace)?;
    let differences = manifest.differences(&here);
    if !differences.is_empty() {
        return Err(UsageError(format!(
            "what is here is not what the campaign was made with (then, and here), so that its programs cannot be run again:\n  {}",
            differences.join("\n  ")
        ))
        .into());
    }
    private_folder(&path.join("programs"))?;
    let mut table = csv::Writer::from_writer(private_file(&path.join(CONFIRMED))?);
    table.write_record(BOUNDARY_COLUMNS)?;
    let mut confirmed = Confirmed::default();
    for pair in observed.iter().filter(|pair| pair.differ > 0) {
        let named = |label: &str| source(&sources, label, &pair.arch);
        let sides = [named(&pair.before)?, named(&pair.kernel)?];
        let again = PairSettings {
            seed: settings.seed,
            programs: 0,
            corpus: programs(&pair.first, &settings)?,
            reruns: settings.reruns,
            known: settings.known.clone(),
        };
        let result = run_both(&again, sides, stop, &|done, total| {
            eprintln!(
                "{} and {} {}: {done} of {total} programs again",
                pair.before, pair.kernel, pair.arch
            );
        })?;
        confirmed.unexplained |= !result.unexplained.is_empty();
        say!("{}\n", compare::text(&result));
        compare::write(&result, &path, &mut table)?;
        table.flush()?;
        if result.interrupted {
            confirmed.interrupted = true;
            break;
        }
    }
    Ok(confirmed)
}

/// The kernel of this label and architecture.
fn source<'s>(
    sources: &'s [Arc<dyn KernelSource>],
    label: &str,
    arch: &str,
) -> Result<&'s dyn KernelSource> {
    let is_it = |source: &&Arc<dyn KernelSource>| source.label() == label && source.arch() == arch;
    let found = sources.iter().find(is_it).map(AsRef::as_ref);
    found.with_context(|| format!("the campaign's kernel {label} {arch} is not to be had here"))
}

/// The programs at these places of a campaign, with the places for names.
fn programs(places: &[Place], settings: &Settings) -> Result<Vec<CorpusProgram>> {
    let feed = Feed::new(settings.seed);
    let program = |place: &Place| {
        let found = match place.block {
            Block::Corpus(n) => {
                let mut block = settings.corpus.chunks(BLOCK as usize).skip(n as usize);
                let entry = block.next().and_then(|b| b.get(place.index as usize));
                entry.map(|entry| (entry.name.clone(), entry.program.clone()))
            }
            Block::Generated(n) => {
                let block = feed.block(n);
                let program = block.get(place.index as usize).cloned();
                program.map(|program| (format!("{}/{n}/{}", settings.seed, place.index), program))
            }
        };
        let (name, program) =
            found.with_context(|| format!("the campaign has no program {place}"))?;
        Ok(CorpusProgram { name, program })
    };
    places.iter().map(program).collect()
}
