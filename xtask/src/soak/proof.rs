//! What must hold after a campaign to which everything happened: one record for each planned block, and the verdicts of the
//! undisturbed run.

use anyhow::Result;
use harness::campaign::{Block, BlockResult};
use harness::report::{read_blocks, Item};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use vm_images::files::UNFINISHED;

/// What work items came to.
pub type Verdicts = BTreeMap<Item, BlockResult>;

/// Reads what the items of a folder came to; second records of one item go to `wrong`.
///
/// # Errors
/// Its results are damaged.
pub fn verdicts(folder: &Path, wrong: &mut Vec<String>) -> Result<Verdicts> {
    let mut found = Verdicts::new();
    read_blocks(folder, &mut |item, result| {
        if found.insert(item.clone(), result.verdicts()).is_some() {
            wrong.push(format!("{item:?} has two records"));
        }
    })?;
    Ok(found)
}

/// Programs, by block and place, that do not always do the same where the rules leave it open: what reclaim takes, for example.
pub type Varying = BTreeSet<(Block, usize)>;

/// Programs that were observed in both runs to do something else.
pub fn varying(one: &Verdicts, other: &Verdicts) -> Varying {
    let mut found = Varying::new();
    for (item, one) in one {
        let Some(other) = other.get(item) else {
            continue;
        };
        let pairs = one.observed.iter().zip(&other.observed).enumerate();
        let parted = pairs.filter(|(_, (a, b))| !a.is_empty() && !b.is_empty() && a != b);
        found.extend(parted.map(|(n, _)| (item.2, n)));
    }
    found
}

/// Compares what was found with what the undisturbed run has found: in what they differ, and the programs to which the panics of the
/// injector were ascribed.
///
/// A guest that panics is a finding, whoever made it panic: the program that ran counts as a crash. So `panics` programs, and no
/// more, may be crashes. Programs of `varying` may have been observed to do something else, and come to the same end. Nothing else of
/// their blocks may differ.
pub fn differences(
    wanted: &Verdicts,
    found: &Verdicts,
    panics: u64,
    varying: &Varying,
) -> (Vec<String>, u64) {
    let mut wrong = Vec::new();
    if wanted.keys().ne(found.keys()) {
        wrong.push(format!("{} records, {} planned", found.len(), wanted.len()));
    }
    let mut ascribed = 0;
    for (key, one) in wanted {
        let Some(other) = found.get(key).filter(|other| *other != one) else {
            continue;
        };
        match excused(one, other, &|n| varying.contains(&(key.2, n))) {
            Some(crashes) => ascribed += crashes,
            None => wrong.push(format!("{key:?}: {}", parting(one, other))),
        }
    }
    if ascribed > panics {
        wrong.push(format!(
            "{ascribed} programs crashed, and only {panics} panics were injected"
        ));
    }
    (wrong, ascribed)
}

/// The number of programs that crashed in one run of a block and not in the other, if that, and programs that vary, are all in which
/// they differ. What is judged follows from what is observed, so that programs that were observed to do the same came to the same verdict;
/// the counts of ops do not tell, since those of a crashed program are missing.
fn excused(calm: &BlockResult, other: &BlockResult, varies: &dyn Fn(usize) -> bool) -> Option<u64> {
    let crashes = other.tally.crashes.checked_sub(calm.tally.crashes)?;
    let (mut unseen, mut varied) = (0, 0);
    for (n, seen) in calm.observed.iter().enumerate() {
        match other.observed.get(n).map_or("", String::as_str) {
            now if now == seen => {}
            "" => unseen += 1,
            _ if varies(n) => varied += 1,
            _ => return None,
        }
    }
    let counts = |block: &BlockResult| {
        let t = &block.tally;
        (t.programs, t.divergences, t.hangs, t.infra_errors)
    };
    let same = counts(calm) == counts(other)
        && calm.programs_digest == other.programs_digest
        && calm.observed.len() >= other.observed.len()
        && calm.errors == other.errors;
    (same && unseen == crashes && crashes + varied > 0).then_some(crashes)
}

/// In what two records of a block differ, in a few words.
fn parting(one: &BlockResult, other: &BlockResult) -> String {
    let mut text = String::new();
    if one.tally != other.tally {
        text += &format!("counts: {:?} and {:?}; ", one.tally, other.tally);
    }
    if one.buckets != other.buckets {
        let names = |block: &BlockResult| {
            block
                .buckets
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        text += &format!("buckets: {:?} and {:?}; ", names(one), names(other));
    }
    let pairs = one.observed.iter().zip(&other.observed).enumerate();
    let differ: Vec<usize> = pairs.filter(|(_, (a, b))| a != b).map(|(n, _)| n).collect();
    if !differ.is_empty() {
        text += &format!("other observations in programs {differ:?}; ");
    }
    if one.changes != other.changes {
        text += "other differences from the kernel before; ";
    }
    if !other.errors.is_empty() {
        text += &format!("errors: {:?}", other.errors);
    }
    text
}

/// Everything below a folder that is not a folder.
pub fn all_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(all_in(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// Files below a folder that somebody has begun to write and not brought to their names.
pub fn unfinished_in(folder: &Path) -> BTreeSet<PathBuf> {
    let is_unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The second is that of files that are made without a name in mind.
        [UNFINISHED, ".tmp"]
            .iter()
            .any(|begin| name.starts_with(begin))
    };
    all_in(folder).into_iter().filter(is_unfinished).collect()
}

/// What is told of a file that should not be there.
pub fn left_behind(path: PathBuf) -> String {
    format!("left behind: {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::campaign::Tally;

    fn key(n: u64) -> Item {
        ("7.3".into(), "x86_64".into(), Block::Generated(n))
    }

    fn block(observed: &[&str], crashes: u64) -> BlockResult {
        let observed: Vec<String> = observed.iter().map(|text| text.to_string()).collect();
        let programs = observed.len() as u64;
        BlockResult {
            tally: Tally {
                programs,
                // Ops, those of a crashed program apart.
                agree: 12 * (programs - crashes),
                crashes,
                ..Tally::default()
            },
            observed,
            ..BlockResult::default()
        }
    }

    #[test]
    fn only_as_many_crashes_as_panics_are_excused() {
        let calm = Verdicts::from([(key(0), block(&["a", "b", "c"], 0))]);
        let with = |block| Verdicts::from([(key(0), block)]);
        let differences = |one: &Verdicts, other: &Verdicts, panics| {
            differences(one, other, panics, &Varying::new())
        };
        assert_eq!(differences(&calm, &calm, 0), (Vec::new(), 0));
        let crash = with(block(&["a", "", "c"], 1));
        assert_eq!(differences(&calm, &crash, 1), (Vec::new(), 1));
        let (wrong, _) = differences(&calm, &crash, 0);
        assert!(wrong[0].contains("only 0 panics"), "{wrong:?}");
        for other in [
            // Another program was seen to do something else, or nothing at all; or nothing crashed.
            block(&["a", "", "x"], 1),
            block(&["a", "", ""], 1),
            block(&["a", "", "c"], 0),
            block(&["a", "b", "c"], 1),
        ] {
            let (wrong, ascribed) = differences(&calm, &with(other), 5);
            assert_eq!((wrong.len(), ascribed), (1, 0), "{wrong:?}");
        }
        let (wrong, _) = differences(&calm, &Verdicts::new(), 5);
        assert_eq!(wrong, ["0 records, 1 planned"]);
    }

    #[test]
    fn a_program_that_varies_in_peace_may_vary() {
        let with = |block| Verdicts::from([(key(0), block)]);
        let calm = with(block(&["a", "b", "c"], 0));
        let varying = varying(&calm, &with(block(&["a", "", "d"], 1)));
        assert_eq!(varying, Varying::from([(Block::Generated(0), 2)]));
        let found = |block, panics| differences(&calm, &with(block), panics, &varying);
        assert_eq!(found(block(&["a", "b", "e"], 0), 0), (Vec::new(), 0));
        assert_eq!(found(block(&["a", "", "e"], 1), 1), (Vec::new(), 1));
        assert_eq!(found(block(&["x", "b", "e"], 0), 0).0.len(), 1);
        // Another verdict is another verdict.
        let mut divergence = block(&["a", "b", "e"], 0);
        divergence.tally.divergences = 1;
        assert_eq!(found(divergence, 0).0.len(), 1);
        // The same was observed, and something else was made of it.
        let mut counted = block(&["a", "b", "c"], 0);
        counted.tally.agree += 1;
        assert_eq!(found(counted, 0).0.len(), 1);
    }

    #[test]
    fn unfinished_files_are_found_wherever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("consoles/deep")).unwrap();
        for name in [
            "results.jsonl",
            ".new-a",
            "consoles/deep/.tmpB",
            "consoles/7.3.log",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(all_in(dir.path()).len(), 4);
        let wanted = [".new-a", "consoles/deep/.tmpB"].map(|name| dir.path().join(name));
        assert_eq!(unfinished_in(dir.path()), BTreeSet::from(wanted));
    }
}
