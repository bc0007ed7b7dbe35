//! Folders of one campaign, put together: shards, and runs of a shard that was begun twice.
//!
//! A work item counts once. Where two folders have a record of it, the one with the smaller digest stays, so that it does not matter in
//! which order, in which groups or how often folders are merged: the journal comes out the same to the byte. Records are parted by
//! their block into files, which are put in order one after the other: of a record no more than its place is kept in memory.

use super::folder::{make_folders, stored, Folder};
use super::journal::{read_heads, Head, Journal, Line};
use super::machines::Machine;
use super::manifest::{Manifest, MANIFEST};
use super::observed::{Observations, Observed};
use super::through::Seen;
use crate::campaign::{Block, Booted, RowResult, Standing, Suspect};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use vm_images::files::{replace, Readers};

/// Files that records are parted into.
const PARTS: usize = 64;

/// What came of merging.
#[derive(Debug, Default)]
pub struct Merged {
    /// The kernels' rows, in the order of the matrix.
    pub rows: Vec<RowResult>,
    /// Work items that are planned, and that have a record.
    pub planned: Option<u64>,
    pub done: u64,
    /// Records of items that another folder had, too; those of them that came to another verdict.
    pub twice: u64,
    pub contradictions: u64,
    /// Blocks without a record, kernel by kernel: their number and the first ones.
    pub missing: Vec<(String, u64, Vec<Block>)>,
    /// What does not fit together in what the folders say of a kernel, and in what the machines differ that they ran on.
    pub doubts: Vec<String>,
    pub machines: Vec<Machine>,
    /// Each kernel against the one before it, from what was stored of what was observed.
    pub observed: Vec<Observed>,
    /// Divergences whose programs are there.
    pub divergences: BTreeSet<String>,
    /// The examples of each bucket on each kernel: kernel, architecture, suspect.
    suspects: Vec<(String, String, Suspect)>,
}

/// The key of an item in the order of the merged journal: its block and its kernel's number.
type Key = (Block, usize);

/// Merges the folders of a campaign into `out`, a new folder, whose tables are left to be written.
///
/// # Errors
/// A folder is none, or belongs to another campaign than the first; files cannot be read or written.
pub fn merge(folders: &[PathBuf], out: &Path) -> io::Result<(Folder, Merged)> {
    let manifest = one_campaign(folders)?;
    make_folders(out)?;
    let parts = tempfile::tempdir_in(out)?;
    let mut collected = Collected::new(&manifest, parts.path())?;
    for folder in folders {
        let path = folder.join("results.jsonl");
        let mut failed = None;
        read_heads(&path, &mut |head, text| {
            if failed.is_none() {
                failed = collected.take(&head, text).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    let text = manifest.text()?;
    replace(&out.join(MANIFEST), &text, Readers::Owner)?;
    let mut merged = collected.finish(&manifest, out)?;
    merged.doubts.extend(manifest.mixture());
    merged.machines.clone_from(&manifest.machines);
    copy_divergences(folders, out, &merged.divergences)?;
    copy_known(folders, out, &merged.rows)?;
    let folder = Folder::merged(out, std::mem::take(&mut merged.suspects))?;
    Ok((folder, merged))
}

/// The campaign that all folders belong to, with no share of its own.
fn one_campaign(folders: &[PathBuf]) -> io::Result<Manifest> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let mut first: Option<(&PathBuf, Manifest)> = None;
    for folder in folders {
        let manifest = Manifest::read(folder).map_err(|e| wrong(e.to_string()))?;
        let Some((name, one)) = &mut first else {
            first = Some((folder, manifest));
            continue;
        };
        let differences = one.differences(&manifest);
        if !differences.is_empty() {
            return Err(wrong(format!(
                "{} and {} are not of the same campaign:\n  {}",
                name.display(),
                folder.display(),
                differences.join("\n  ")
            )));
        }
        for machine in &manifest.machines {
            one.ran_on(machine);
        }
        // Whatever the order: who began first.
        if manifest.started < one.started {
            one.started = manifest.started;
        }
    }
    let (name, mut manifest) = first.ok_or_else(|| wrong("no folder to merge".into()))?;
    if let Some(twins) = manifest.twins() {
        return Err(wrong(format!(
            "{}: two kernels are called {twins}: their results cannot be told apart",
            name.display()
        )));
    }
    manifest.shard = None;
    manifest.command = without_share(&manifest.command);
    Ok(manifest)
}

/// A command line without what only one machine was told.
fn without_share(command: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = command.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--shard" | "--out" | "--jobs" | "--staged" => {
                rest.next();
            }
            _ if ["--shard=", "--out=", "--jobs=", "--staged="]
                .iter()
                .any(|option| word.starts_with(option)) => {}
            _ => words.push(word.clone()),
        }
    }
    words
}

/// What has been read.
struct Collected {
    names: BTreeMap<(String, String), usize>,
    parts: Vec<(PathBuf, BufWriter<File>)>,
    booted: BTreeMap<usize, (Vec<u8>, Booted)>,
    lost: BTreeSet<(usize, u64, String)>,
    doubts: BTreeSet<String>,
}

impl Collected {
    fn new(manifest: &Manifest, folder: &Path) -> io::Result<Collected> {
        let part = |n: usize| {
            let path = folder.join(n.to_string());
            Ok((path.clone(), BufWriter::new(File::create(path)?)))
        };
        let name = |(n, kernel): (usize, &super::manifest::Planned)| {
            ((kernel.label.clone(), kernel.arch.clone()), n)
        };
        Ok(Collected {
            names: manifest.kernels.iter().enumerate().map(name).collect(),
            parts: (0..PARTS).map(part).collect::<io::Result<_>>()?,
            booted: BTreeMap::new(),
            lost: BTreeSet::new(),
            doubts: BTreeSet::new(),
        })
    }

    fn kernel(&self, label: &str, arch: &str) -> io::Result<usize> {
        let name = (label.to_string(), arch.to_string());
        self.names.get(&name).copied().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("results of {label} {arch}, which the campaign does not have"),
            )
        })
    }

    fn take(&mut self, head: &Head, text: &[u8]) -> io::Result<()> {
        if let Some(block) = head.record() {
            self.kernel(&head.kernel, &head.arch)?;
            return self.parts[part_of(block)].1.write_all(text);
        }
        let line = Line::read(text);
        match &line.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))? {
            Line::Booted {
                kernel,
                arch,
                booted,
            } => {
                let n = self.kernel(kernel, arch)?;
                let doubt = self
                    .booted
                    .get(&n)
                    .and_then(|(_, other)| doubt(kernel, arch, booted, other));
                self.doubts.extend(doubt);
                let new = (text.to_vec(), booted.clone());
                match self.booted.get_mut(&n) {
                    Some(old) if old.0 <= new.0 => {}
                    Some(old) => *old = new,
                    None => {
                        self.booted.insert(n, new);
                    }
                }
                Ok(())
            }
            Line::Lost {
                kernel,
                arch,
                why,
                at,
            } => {
                let n = self.kernel(kernel, arch)?;
                self.lost.insert((n, *at, why.clone()));
                Ok(())
            }
            Line::Block { .. } | Line::Row { .. } => Ok(()),
        }
    }

    /// Kernels of the campaign and those that they are compared with.
    fn pairs(&self, manifest: &Manifest) -> Vec<((usize, usize), Observed)> {
        let release = |n: usize| self.booted.get(&n).map(|(_, booted)| &booted.release);
        let kernels = || manifest.kernels.iter().enumerate();
        let mut pairs = Vec::new();
        for (n, kernel) in kernels() {
            let Some(wanted) = &kernel.before else {
                continue;
            };
            let is_it = |(m, other): &(usize, &super::manifest::Planned)| {
                *m != n && other.arch == kernel.arch && release(*m) == Some(wanted)
            };
            if let Some((m, before)) = kernels().find(is_it) {
                let pair = Observed {
                    kernel: kernel.label.clone(),
                    before: before.label.clone(),
                    arch: kernel.arch.clone(),
                    ..Observed::default()
                };
                pairs.push(((m, n), pair));
            }
        }
        pairs
    }

    fn finish(mut self, manifest: &Manifest, out: &Path) -> io::Result<Merged> {
        let journal = out.join("results.jsonl");
        let mut journal = Journal::create(&journal)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", journal.display())))?;
        let mut merged = Merged {
            doubts: self.doubts.iter().cloned().collect(),
            ..Merged::default()
        };
        for (text, _) in self.booted.values() {
            journal.add_text(text)?;
        }
        let count = manifest.kernels.len();
        let mut standings = vec![Standing::default(); count];
        for (kernel, at, why) in &self.lost {
            let planned = &manifest.kernels[*kernel];
            journal.add(&Line::Lost {
                kernel: planned.label.clone(),
                arch: planned.arch.clone(),
                why: why.clone(),
                at: *at,
            })?;
            standings[*kernel].lost(why.clone());
        }
        let mut seen = vec![Seen::default(); count];
        let mut observed = Observations::new(self.pairs(manifest));
        let mut suspects: Vec<Vec<Suspect>> = vec![Vec::new(); count];
        for (path, part) in std::mem::take(&mut self.parts) {
            part.into_inner().map_err(io::IntoInnerError::into_error)?;
            for ((block, kernel), text) in in_order(&path, &self.names, &mut merged)? {
                let text = text?;
                journal.add_text(&text)?;
                let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
                let Line::Block { result, .. } = Line::read(&text).map_err(wrong)? else {
                    return Err(wrong("a record has changed while it was read".into()));
                };
                standings[kernel].add(&result);
                suspects[kernel].extend(result.suspects);
                keep_examples(&mut suspects[kernel], &standings[kernel]);
                observed.add(kernel, block, result.observed);
                seen[kernel].set(manifest.number(block));
                merged.done += 1;
            }
            std::fs::remove_file(path)?;
        }
        for (n, kernel) in manifest.kernels.iter().enumerate() {
            let mut row = RowResult {
                kernel: kernel.label.clone(),
                arch: kernel.arch.clone(),
                before: kernel.before.clone(),
                seconds: standings[n].seconds,
                ..RowResult::default()
            };
            if let Some((_, booted)) = self.booted.get(&n) {
                row.set_booted(booted);
            }
            standings[n].fill(&mut row);
            if let Some(blocks) = manifest.blocks() {
                let mut missing = (0, Vec::new());
                let mut planned = 0;
                for block in blocks {
                    planned += 1;
                    if !seen[n].has(manifest.number(block)) {
                        missing.0 += 1;
                        if missing.1.len() < 5 {
                            missing.1.push(block);
                        }
                    }
                }
                *merged.planned.get_or_insert(0) += planned;
                if missing.0 > 0 {
                    let name = format!("{} {}", kernel.label, kernel.arch);
                    merged.missing.push((name, missing.0, missing.1));
                }
            }
            journal.add(&Line::Row {
                row: Box::new(row.clone()),
            })?;
            merged.rows.push(row);
        }
        journal.disk()?.sync()?;
        merged.observed = observed.finish();
        merged.divergences = stored(suspects.iter().flatten());
        for (kernel, suspects) in manifest.kernels.iter().zip(suspects) {
            let named = |suspect| (kernel.label.clone(), kernel.arch.clone(), suspect);
            merged.suspects.extend(suspects.into_iter().map(named));
        }
        Ok(merged)
    }
}

/// Leaves out what has stopped to be one of the first examples of its bucket, now and then.
fn keep_examples(suspects: &mut Vec<Suspect>, standing: &Standing) {
    suspects.retain(|suspect| standing.is_example(&suspect.bucket, suspect.place));
}

/// All kernels' records of a block are in one part.
fn part_of(block: Block) -> usize {
    let n = match block {
        Block::Corpus(n) => 2 * n,
        Block::Generated(n) => 2 * n + 1,
    };
    n as usize % PARTS
}

/// In what two shards' kernels of the same name differ.
fn doubt(kernel: &str, arch: &str, one: &Booted, other: &Booted) -> Option<String> {
    let what = if one.release != other.release || one.build != other.build {
        format!(
            "calls itself {} here and {} there",
            one.release, other.release
        )
    } else if one.behaviours != other.behaviours {
        "was found to have other behaviours here than there".to_string()
    } else {
        return None;
    };
    Some(format!("{kernel} {arch} {what}"))
}

/// The records of a part, each item once, in the order of kernels and blocks; only their places in the file are kept in memory.
fn in_order(
    path: &Path,
    names: &BTreeMap<(String, String), usize>,
    merged: &mut Merged,
) -> io::Result<impl Iterator<Item = (Key, io::Result<Vec<u8>>)>> {
    struct At {
        hash: [u8; 32],
        offset: u64,
        length: usize,
    }
    let mut file = File::open(path)?;
    let mut read = move |at: &At| -> io::Result<Vec<u8>> {
        let mut text = vec![0; at.length];
        file.seek(SeekFrom::Start(at.offset))?;
        file.read_exact(&mut text)?;
        Ok(text)
    };
    let mut found: BTreeMap<Key, At> = BTreeMap::new();
    let mut offset = 0;
    let mut failed = None;
    read_heads(path, &mut |head, text| {
        let at = At {
            hash: *blake3::hash(text).as_bytes(),
            offset,
            length: text.len(),
        };
        offset += text.len() as u64;
        let Some(block) = head.record() else {
            return;
        };
        let key = (block, names[&(head.kernel, head.arch)]);
        let Some(old) = found.get_mut(&key) else {
            found.insert(key, at);
            return;
        };
        // A folder that was merged before is no second opinion.
        if old.hash != at.hash {
            merged.twice += 1;
            match read(old) {
                Ok(other) => merged.contradictions += u64::from(contradict(&other, text)),
                Err(error) => failed = Some(error),
            }
        }
        if at.hash < old.hash {
            *old = at;
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(found.into_iter().map(move |(key, at)| (key, read(&at))))
}

/// Whether two records of an item came to other verdicts.
fn contradict(one: &[u8], other: &[u8]) -> bool {
    let verdicts = |text: &[u8]| match Line::read(text) {
        Ok(Line::Block { result, .. }) => Some(result.verdicts()),
        _ => None,
    };
    verdicts(one) != verdicts(other)
}

/// Copies programs and reports of divergences from wherever they are.
fn copy_divergences(folders: &[PathBuf], out: &Path, ids: &BTreeSet<String>) -> io::Result<()> {
    for id in ids {
        for end in ["prog", "txt", "json"] {
            let name = format!("divergences/{id}.{end}");
            // A report names the kernels that its folder has seen: the text that has most of them, whatever the order.
            let texts = folders
                .iter()
                .filter_map(|folder| std::fs::read(folder.join(&name)).ok());
            if let Some(text) = texts.max_by_key(|text| (text.len(), text.clone())) {
                replace(&out.join(&name), &text, Readers::Owner)?;
            }
        }
    }
    Ok(())
}

/// Copies the pictures of known findings that were met: of several the same one, whatever the order.
fn copy_known(folders: &[PathBuf], out: &Path, rows: &[RowResult]) -> io::Result<()> {
    let ids: BTreeSet<&String> = rows.iter().flat_map(|row| row.known_met.keys()).collect();
    for id in ids {
        let name = format!("known/{id}.json");
        let texts = folders
            .iter()
            .filter_map(|folder| std::fs::read(folder.join(&name)).ok());
        if let Some(text) = texts.min() {
            std::fs::write(out.join(&name), text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_command_is_that_of_the_whole() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let command =
            words("vm-matrix --shard 2/7 --seed 3 --out=x --jobs 1 --programs 9 --staged y");
        assert_eq!(
            without_share(&command),
            words("vm-matrix --seed 3 --programs 9")
        );
    }
}
