//! `campaign.json`: which campaign a folder belongs to. Written before anything runs; a run that is resumed takes its options from it,
//! and results of different campaigns are not mixed. A machine that goes on with a run of another one adds itself.

use super::machines::{add, mixture, Machine};
use crate::campaign::{Block, Shard, BLOCK};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the oracle: a digest of its source.
pub const ORACLE: &str = env!("MMDIFF_ORACLE");
/// The version of the guest and of its messages, likewise.
pub const GUEST: &str = env!("MMDIFF_GUEST");

/// Name of the file.
pub const MANIFEST: &str = "campaign.json";

/// Everything that is fixed when a campaign begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What makes it this campaign and no other, by name: seed, rules, images of the kernels, ... The same on all machines.
    pub campaign: BTreeMap<String, String>,
    /// Programs of the corpus, and generated ones; `None`: until time is up.
    pub corpus_programs: u64,
    pub programs: Option<u64>,
    /// The kernels, in the order of the matrix.
    pub kernels: Vec<Planned>,
    /// The share of it that this folder has, as `K/N`; `None`: all of it.
    pub shard: Option<String>,
    /// The words of the command line, the verb first, and where it was given.
    pub command: Vec<String>,
    pub directory: String,
    pub started: String,
    /// The machines that it ran on, and how: part of no comparison, but told where they differ.
    #[serde(default)]
    pub machines: Vec<Machine>,
}

/// A kernel of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub label: String,
    pub arch: String,
    /// uname release of the kernel that it is compared with.
    pub before: Option<String>,
}

/// Why a folder does not say which campaign it belongs to.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}")]
pub struct ManifestError {
    path: String,
    what: String,
}

impl Manifest {
    /// Reads that of a folder.
    ///
    /// # Errors
    /// It has none, or one of another version of mmdiff.
    pub fn read(folder: &Path) -> Result<Manifest, ManifestError> {
        let path = folder.join(MANIFEST);
        let fail = |what: String| ManifestError {
            path: path.display().to_string(),
            what,
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|e| fail(format!("{e}; is this the folder of a run of vm-matrix?")))?;
        serde_json::from_str(&text).map_err(|e| {
            fail(format!(
                "{e}; another version of mmdiff wrote it? run it again"
            ))
        })
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never for plain data; what the encoder reports.
    pub fn text(&self) -> std::io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// In what another campaign differs from this one, a line each: empty when it is the same.
    pub fn differences(&self, other: &Manifest) -> Vec<String> {
        let mut names: Vec<&String> = self.campaign.keys().chain(other.campaign.keys()).collect();
        names.sort();
        names.dedup();
        let none = "nothing".to_string();
        let of = |manifest: &'_ Manifest, name: &str| manifest.campaign.get(name).cloned();
        let mut lines: Vec<String> = names
            .into_iter()
            .map(|name| (name, of(self, name), of(other, name)))
            .filter(|(_, mine, theirs)| mine != theirs)
            .map(|(name, mine, theirs)| {
                let (mine, theirs) = (mine.unwrap_or(none.clone()), theirs.unwrap_or(none.clone()));
                format!("{name}: {mine}, and {theirs}")
            })
            .collect();
        if lines.is_empty() && self.kernels != other.kernels {
            lines.push("kernels: another order".into());
        }
        lines
    }

    /// Adds a machine that it ran on; whether it is a new one.
    pub fn ran_on(&mut self, machine: &Machine) -> bool {
        let before = self.machines.clone();
        add(&mut self.machines, machine);
        before != self.machines
    }

    /// In what its machines differ that results may show, a line each.
    pub fn mixture(&self) -> Vec<String> {
        mixture(&self.machines)
    }

    /// Label and architecture that two of its kernels have: their results could not be told apart.
    pub fn twins(&self) -> Option<String> {
        let name = |kernel: &Planned| (kernel.label.clone(), kernel.arch.clone());
        let mut names: Vec<_> = self.kernels.iter().map(name).collect();
        names.sort();
        let twins = names.windows(2).find(|pair| pair[0] == pair[1])?;
        Some(format!("{} {}", twins[0].0, twins[0].1))
    }

    /// The blocks that each kernel runs in the whole campaign; `None`: until time is up.
    pub fn blocks(&self) -> Option<impl Iterator<Item = Block>> {
        let corpus = (0..self.corpus_programs.div_ceil(BLOCK)).map(Block::Corpus);
        let generated = (0..self.programs?.div_ceil(BLOCK)).map(Block::Generated);
        Some(corpus.chain(generated))
    }

    /// The number of a block among [`Manifest::blocks`].
    pub fn number(&self, block: Block) -> u64 {
        match block {
            Block::Corpus(n) => n,
            Block::Generated(n) => self.corpus_programs.div_ceil(BLOCK) + n,
        }
    }

    /// The seed that programs and shares are made from.
    pub fn seed(&self) -> u64 {
        let seed = self.campaign.get("seed").map(|seed| seed.parse());
        seed.and_then(Result::ok).unwrap_or_default()
    }

    /// This folder's share.
    pub fn share(&self) -> Option<Shard> {
        self.shard.as_deref().and_then(|shard| shard.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(seed: &str) -> Manifest {
        Manifest {
            campaign: BTreeMap::from([("seed".to_string(), seed.to_string())]),
            corpus_programs: 65,
            programs: Some(64),
            kernels: Vec::new(),
            shard: Some("2/7".into()),
            command: vec!["vm-matrix".into()],
            directory: "/".into(),
            started: "now".into(),
            machines: Vec::new(),
        }
    }

    #[test]
    fn it_comes_back_and_says_how_others_differ() {
        let dir = tempfile::tempdir().unwrap();
        let error = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("campaign.json") && error.contains("vm-matrix"),
            "{error}"
        );
        let one = manifest("1");
        std::fs::write(dir.path().join(MANIFEST), one.text().unwrap()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), one);
        assert!(one.differences(&one).is_empty());
        assert_eq!(one.differences(&manifest("2")), ["seed: 1, and 2"]);
    }

    #[test]
    fn kernels_of_one_name_are_twins() {
        let mut one = manifest("1");
        let planned = |label: &str, arch: &str| Planned {
            label: label.into(),
            arch: arch.into(),
            before: None,
        };
        one.kernels = vec![
            planned("bzImage", "x86_64"),
            planned("7.3", "x86_64"),
            planned("7.3", "aarch64"),
        ];
        assert_eq!(one.twins(), None);
        one.kernels.push(planned("bzImage", "x86_64"));
        assert_eq!(one.twins().as_deref(), Some("bzImage x86_64"));
    }

    #[test]
    fn blocks_are_numbered_as_they_run() {
        let one = manifest("1");
        let blocks: Vec<Block> = one.blocks().unwrap().collect();
        assert_eq!(blocks.len(), 3);
        for (n, block) in (0..).zip(blocks) {
            assert_eq!(one.number(block), n);
        }
    }
}
