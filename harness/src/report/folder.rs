//! The output folder. Results go to `results.jsonl` as they come, one flush per block, so that a killed run leaves what
//! it had; tables that are rewritten are replaced whole.

use super::boundaries::boundaries_csv;
use super::divergence::{divergence_row, report_text, Sighting, DIVERGENCE_COLUMNS};
use super::journal::{Disk, Journal, Line, Sum};
use super::matrix::matrix_csv;
use super::picture::{KnownPicture, Picture};
use super::tightness::tightness_csv;
use super::Record;
use crate::campaign::{
    Block, BlockResult, Booted, Bucket, Earlier, Finding, Reported, RowResult, Sink, Suspect,
    EXAMPLES,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use vm_images::files::{private_folder, replace, sync_name, Readers, UNFINISHED};

/// Divergences of a bucket whose program and report are kept; further ones are in the tables alone.
const STORED: usize = 100;

/// Where a campaign writes.
pub struct Folder {
    path: PathBuf,
    journal: Mutex<Journal>,
    disk: Disk,
    divergences: Mutex<Divergences>,
}

#[derive(Default)]
struct Divergences {
    /// Kernel, architecture, suspect.
    suspects: Vec<(String, String, Suspect)>,
    sightings: BTreeMap<String, Vec<Sighting>>,
    /// The divergences of each bucket that are stored.
    stored: BTreeMap<Bucket, BTreeSet<String>>,
}

impl Divergences {
    fn add(&mut self, kernel: &str, arch: &str, suspect: Suspect, sighting: Sighting) {
        let sightings = self.sightings.entry(suspect.id.clone()).or_default();
        sightings.push(sighting);
        self.suspects.push((kernel.into(), arch.into(), suspect));
    }

    /// Leaves the first examples of each bucket on each kernel, in the order of their places: which others were re-run depends on
    /// what ended when.
    fn tidy(&mut self) {
        self.suspects.sort_by(|(ka, aa, a), (kb, ab, b)| {
            (ka, aa, a.place, &a.bucket).cmp(&(kb, ab, b.place, &b.bucket))
        });
        let mut counts: BTreeMap<(String, String, Bucket), usize> = BTreeMap::new();
        self.suspects.retain(|(kernel, arch, suspect)| {
            let key = (kernel.clone(), arch.clone(), suspect.bucket.clone());
            let count = counts.entry(key).or_default();
            *count += 1;
            *count <= EXAMPLES
        });
    }

    /// divergences.csv.
    fn table(&self) -> csv::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(DIVERGENCE_COLUMNS)?;
        for (_, arch, suspect) in &self.suspects {
            csv.write_record(divergence_row(suspect, arch))?;
        }
        csv.into_inner().map_err(|e| e.into_error().into())
    }

    /// Whether a divergence is one of those that are stored.
    fn stores(&mut self, suspect: &Suspect) -> bool {
        let stored = self.stored.entry(suspect.bucket.clone()).or_default();
        if stored.len() < STORED {
            stored.insert(suspect.id.clone());
        }
        stored.contains(&suspect.id)
    }
}

/// The divergences among these whose program and report are kept.
pub(super) fn stored<'a>(suspects: impl Iterator<Item = &'a Suspect>) -> BTreeSet<String> {
    let mut divergences = Divergences::default();
    suspects
        .filter(|suspect| divergences.stores(suspect))
        .map(|suspect| suspect.id.clone())
        .collect()
}

/// What a folder has from an earlier run.
pub struct Resumed {
    pub folder: Folder,
    /// What its kernels have come to, by label and architecture.
    pub earlier: BTreeMap<(String, String), Earlier>,
    /// Bytes of a line that was being written when that run ended.
    pub cut_off: u64,
}

impl Folder {
    /// Creates the folder and the files that grow.
    ///
    /// # Errors
    /// It cannot be created or written, or holds the results of another run.
    pub fn create(path: &Path) -> io::Result<Folder> {
        make_folders(path)?;
        let file = path.join("results.jsonl");
        let journal = Journal::create(&file).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => io::Error::new(
                e.kind(),
                format!(
                    "{} exists: the folder holds another run; choose another --out, or go on with it by --resume",
                    file.display()
                ),
            ),
            _ => io::Error::new(e.kind(), format!("{}: {e}", file.display())),
        })?;
        let folder = Folder::of(path, journal)?;
        folder.replace("divergences.csv", &Divergences::default().table()?)?;
        // The folder's own name.
        sync_name(path)?;
        Ok(folder)
    }

    /// Opens the folder of an earlier run to go on with it. Tables are made again from its journal.
    ///
    /// # Errors
    /// It is none, is in use, or is damaged elsewhere than at its end.
    pub fn resume(path: &Path) -> io::Result<Resumed> {
        let mut sum = Sum::default();
        let mut suspects: Vec<(String, String, Suspect)> = Vec::new();
        let (journal, cut_off) = Journal::resume(&path.join("results.jsonl"), &mut |line, _| {
            sum.add(&line);
            if let Line::Block {
                kernel,
                arch,
                result,
                ..
            } = line
            {
                let more = result.suspects.into_iter();
                suspects.extend(more.map(|s| (kernel.clone(), arch.clone(), s)));
            }
        })?;
        make_folders(path)?;
        sweep(path)?;
        let folder = Folder::of(path, journal)?;
        let mut divergences = lock(&folder.divergences);
        for (kernel, arch, suspect) in suspects {
            let name = (kernel, arch);
            let booted = sum.kernels.get(&name).and_then(|e| e.booted.as_ref());
            let sighting = Sighting::before(&name.0, &name.1, booted, &suspect);
            divergences.add(&name.0, &name.1, suspect, sighting);
        }
        divergences.tidy();
        let kept = divergences.suspects.clone();
        for (_, _, suspect) in &kept {
            divergences.stores(suspect);
        }
        let table = divergences.table()?;
        drop(divergences);
        folder.replace("divergences.csv", &table)?;
        Ok(Resumed {
            folder,
            earlier: sum.kernels,
            cut_off,
        })
    }

    /// The folder of runs that were merged, with the suspects whose reports are in it: its tables can be written.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn merged(path: &Path, suspects: Vec<(String, String, Suspect)>) -> io::Result<Folder> {
        let journal = Journal::open(&path.join("results.jsonl"))?;
        let folder = Folder::of(path, journal)?;
        lock(&folder.divergences).suspects = suspects;
        Ok(folder)
    }

    fn of(path: &Path, journal: Journal) -> io::Result<Folder> {
        Ok(Folder {
            path: path.to_path_buf(),
            disk: journal.disk()?,
            journal: Mutex::new(journal),
            divergences: Mutex::new(Divergences::default()),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where console logs go.
    pub fn consoles(&self) -> PathBuf {
        self.path.join("consoles")
    }

    /// Replaces run.json.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn record(&self, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(record)?;
        text.push(b'\n');
        self.replace("run.json", &text)
    }

    /// Writes or replaces a file of the folder, whole, and brings it to the disk. It is for its user alone.
    ///
    /// # Errors
    /// It cannot be written; the old one is then still there.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        replace(&path, content, Readers::Owner)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    /// Bytes of results so far, without what is written once at the end.
    pub fn size(&self) -> u64 {
        lock(&self.journal).length()
    }

    fn line(&self, line: &Line) -> io::Result<()> {
        lock(&self.journal).add(line)?;
        self.disk.sync()
    }
}

/// Removes the halves of files that a killed run was replacing.
fn sweep(path: &Path) -> io::Result<()> {
    for folder in ["", "divergences", "known"].map(|name| path.join(name)) {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

pub(super) fn make_folders(path: &Path) -> io::Result<()> {
    for folder in ["divergences", "known", "consoles"] {
        private_folder(&path.join(folder))
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for Folder {
    fn booted(&self, row: &RowResult, booted: &Booted) -> io::Result<()> {
        self.line(&Line::Booted {
            kernel: row.kernel.clone(),
            arch: row.arch.clone(),
            booted: booted.clone(),
        })
    }

    fn block(&self, row: &RowResult, block: Block, result: &BlockResult) -> io::Result<()> {
        self.line(&Line::Block {
            kernel: row.kernel.clone(),
            arch: row.arch.clone(),
            block,
            result: Box::new(result.clone()),
        })
    }

    fn lost(&self, row: &RowResult, why: &str) -> io::Result<()> {
        self.line(&Line::Lost {
            kernel: row.kernel.clone(),
            arch: row.arch.clone(),
            why: why.to_string(),
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_millis() as u64),
        })
    }

    fn reported(&self, r: &Reported) -> io::Result<()> {
        let suspect = r.suspect();
        let mut divergences = lock(&self.divergences);
        divergences.add(
            &r.kernel.label,
            &r.kernel.arch,
            suspect.clone(),
            Sighting::of(r),
        );
        let mut row = csv::Writer::from_writer(Vec::new());
        row.write_record(divergence_row(&suspect, &r.kernel.arch))?;
        let row = row.into_inner().map_err(|e| e.into_error())?;
        let table = self.path.join("divergences.csv");
        OpenOptions::new()
            .append(true)
            .open(&table)
            .and_then(|mut file| file.write_all(&row))
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", table.display())))?;
        if !divergences.stores(&suspect) {
            return Ok(());
        }
        let text = report_text(r, &divergences.sightings[&r.id]);
        let picture = serde_json::to_vec(&Picture::of(r))?;
        self.replace(&format!("divergences/{}.json", r.id), &picture)?;
        self.replace(
            &format!("divergences/{}.prog", r.id),
            r.program.to_string().as_bytes(),
        )?;
        self.replace(&format!("divergences/{}.txt", r.id), text.as_bytes())
    }

    fn known(&self, finding: &Finding, met: &Reported) -> io::Result<()> {
        // One kernel's picture is enough: the first one's.
        let name = format!("known/{}.json", finding.id);
        if self.path.join(&name).exists() {
            return Ok(());
        }
        let picture = serde_json::to_vec(&KnownPicture::of(finding, met))?;
        self.replace(&name, &picture)
    }

    fn row(&self, row: &RowResult, rows: &[RowResult]) -> io::Result<()> {
        self.line(&Line::Row {
            row: Box::new(row.clone()),
        })?;
        self.tables(rows)
    }
}

impl Folder {
    /// Writes the tables of all rows.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn tables(&self, rows: &[RowResult]) -> io::Result<()> {
        let mut divergences = lock(&self.divergences);
        divergences.tidy();
        self.replace("divergences.csv", &divergences.table()?)?;
        drop(divergences);
        self.replace("matrix.csv", &matrix_csv(rows).map_err(io::Error::from)?)?;
        let boundaries = boundaries_csv(rows).map_err(io::Error::from)?;
        self.replace("boundaries.csv", &boundaries)?;
        let tightness = tightness_csv(rows).map_err(io::Error::from)?;
        self.replace("tightness.csv", &tightness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many kernels show it.
    #[test]
    fn a_hundred_divergences_of_a_bucket_are_kept() {
        let suspect = |n: usize, op: &str| Suspect {
            id: format!("{op}-{n}"),
            place: "generated/0/0".parse().unwrap(),
            program: String::new(),
            bucket: Bucket {
                op: op.into(),
                rule: "rule".into(),
                expected: "a".into(),
                observed: "b".into(),
            },
            class: oracle::judge::Class::Crash,
            step: 0,
            hits: 5,
            runs: 5,
            release: "7.3.4".into(),
        };
        let many = (0..150).flat_map(|n| [suspect(n, "fork"), suspect(n, "mmap")]);
        let many: Vec<Suspect> = many.collect();
        // Seen again on another kernel, a divergence is the same one.
        let kept = stored(many.iter().chain(&many));
        assert_eq!(kept.len(), 200);
        let of = |op: &str| kept.iter().filter(|id| id.starts_with(op)).count();
        assert_eq!((of("fork"), of("mmap")), (100, 100));
    }

    #[test]
    fn the_journal_has_each_row_whichever_ends_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        let named = |kernel: &str| RowResult {
            kernel: kernel.into(),
            ..RowResult::default()
        };
        let (first, second) = (named("6.17"), named("7.3"));
        folder.row(&second, std::slice::from_ref(&second)).unwrap();
        folder
            .row(&first, &[first.clone(), second.clone()])
            .unwrap();
        let text = fs::read_to_string(dir.path().join("results.jsonl")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].contains("\"7.3\"") && lines[1].contains("\"6.17\""),
            "{text}"
        );
    }
}
