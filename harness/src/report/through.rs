//! How much of its campaign a folder has: the records of its journal, and those that are planned.

use super::journal::{read_heads, read_lines, Line};
use super::manifest::Manifest;
use crate::campaign::{Block, BlockResult};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A work item: label and architecture of the kernel, and the block.
pub type Item = (String, String, Block);

/// How much of a folder's share of its campaign is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Through {
    /// Work items of the share; `None`: until time is up.
    pub planned: Option<u64>,
    /// Those that have a record.
    pub done: u64,
}

impl Through {
    /// Whether every planned item has its record.
    pub fn is_complete(self) -> bool {
        self.planned == Some(self.done)
    }
}

/// Reads the records of a folder's journal in the order in which they came.
///
/// # Errors
/// It cannot be read, or is damaged elsewhere than at its end.
pub fn read_blocks(folder: &Path, take: &mut dyn FnMut(Item, BlockResult)) -> io::Result<()> {
    read_lines(&folder.join("results.jsonl"), &mut |line, _| {
        if let Line::Block {
            kernel,
            arch,
            block,
            result,
        } = line
        {
            take((kernel, arch, block), *result);
        }
    })?;
    Ok(())
}

/// How much of its share of the campaign a folder has; another run may be writing it.
///
/// # Errors
/// It is no folder of a run, or its journal is damaged elsewhere than at its end.
pub fn through(folder: &Path) -> io::Result<Through> {
    let manifest = Manifest::read(folder)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    let mut seen: BTreeMap<(String, String), Seen> = BTreeMap::new();
    let mut done = 0;
    read_heads(&folder.join("results.jsonl"), &mut |head, _| {
        if let Some(block) = head.record() {
            let seen = seen.entry((head.kernel, head.arch)).or_default();
            done += u64::from(seen.set(manifest.number(block)));
        }
    })?;
    Ok(Through {
        planned: planned(&manifest),
        done,
    })
}

/// The number of items in a folder's share; `None`: until time is up.
fn planned(manifest: &Manifest) -> Option<u64> {
    let (share, seed) = (manifest.share(), manifest.seed());
    let mut planned = 0;
    for kernel in &manifest.kernels {
        let mine = |block: &Block| {
            share.is_none_or(|share| share.has(&kernel.label, &kernel.arch, *block, seed))
        };
        planned += manifest.blocks()?.filter(mine).count() as u64;
    }
    Some(planned)
}

/// Numbers that were met, one bit each.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// Remembers a number; whether it is a new one.
    pub(super) fn set(&mut self, n: u64) -> bool {
        let word = (n / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] >> (n % 64) & 1 == 0;
        self.0[word] |= 1 << (n % 64);
        new
    }

    pub(super) fn has(&self, n: u64) -> bool {
        let word = self.0.get((n / 64) as usize);
        word.is_some_and(|word| word >> (n % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::manifest::{Planned, MANIFEST};
    use super::*;

    #[test]
    fn numbers_are_remembered() {
        let mut seen = Seen::default();
        assert!([0, 63, 64, 1000].iter().all(|&n| seen.set(n)));
        assert!(!seen.set(64));
        let met: Vec<u64> = (0..2000).filter(|&n| seen.has(n)).collect();
        assert_eq!(met, [0, 63, 64, 1000]);
    }

    /// Of the whole and of its shares: they are complete when their own items have records, and a record counts once.
    #[test]
    fn shares_are_through_with_their_own_items() {
        let kernel = |label: &str| Planned {
            label: label.into(),
            arch: "x86_64".into(),
            before: None,
        };
        let mut manifest = Manifest {
            campaign: BTreeMap::from([("seed".to_string(), "1".to_string())]),
            corpus_programs: 65,
            programs: Some(640),
            kernels: vec![kernel("6.18"), kernel("7.3")],
            shard: None,
            command: Vec::new(),
            directory: "/".into(),
            started: "now".into(),
            machines: Vec::new(),
        };
        let all: Vec<Block> = manifest.blocks().unwrap().collect();
        let mut sum = 0;
        for shard in [None, Some("1/3"), Some("2/3"), Some("3/3")] {
            let dir = tempfile::tempdir().unwrap();
            manifest.shard = shard.map(String::from);
            std::fs::write(dir.path().join(MANIFEST), manifest.text().unwrap()).unwrap();
            let mut journal = Journal::create(&dir.path().join("results.jsonl")).unwrap();
            let now = || through(dir.path()).unwrap();
            let planned = now().planned.unwrap();
            assert!(!now().is_complete());
            for kernel in &manifest.kernels {
                for block in &all {
                    let share = manifest.share();
                    if share.is_some_and(|s| !s.has(&kernel.label, &kernel.arch, *block, 1)) {
                        continue;
                    }
                    let line = Line::Block {
                        kernel: kernel.label.clone(),
                        arch: kernel.arch.clone(),
                        block: *block,
                        result: Box::default(),
                    };
                    assert!(!now().is_complete());
                    journal.add(&line).unwrap();
                    journal.add(&line).unwrap();
                }
            }
            assert!(now().is_complete(), "{:?}", now());
            match shard {
                None => assert_eq!(planned, 24),
                Some(_) => sum += planned,
            }
        }
        assert_eq!(sum, 24);
    }
}
