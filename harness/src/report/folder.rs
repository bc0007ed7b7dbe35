//! The output folder. Results go to `results.jsonl` as they come, one flush per block, so that a killed run leaves what
//! it had; tables that are rewritten are replaced whole.

use super::boundaries::boundaries_csv;
use super::divergence::{divergence_row, report_text, Sighting, DIVERGENCE_COLUMNS};
use super::matrix::matrix_csv;
use super::picture::Picture;
use super::tightness::tightness_csv;
use super::Record;
use crate::campaign::{Reported, RowResult, Sink, Tally};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a campaign writes.
pub struct Folder {
    path: PathBuf,
    journal: Mutex<File>,
    divergences: Mutex<Divergences>,
}

struct Divergences {
    csv: csv::Writer<File>,
    sightings: BTreeMap<String, Vec<Sighting>>,
}

#[derive(Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Line<'a> {
    Block {
        kernel: &'a str,
        arch: &'a str,
        release: &'a str,
        block: &'a str,
        #[serde(flatten)]
        tally: &'a Tally,
    },
    Suspect {
        id: &'a str,
        kernel: &'a str,
        arch: &'a str,
        release: &'a str,
        program: &'a str,
        bucket: &'a crate::campaign::Bucket,
        class: &'a str,
        hits: u32,
        runs: u32,
    },
    Row {
        #[serde(flatten)]
        row: &'a RowResult,
    },
}

impl Folder {
    /// Creates the folder and the files that grow.
    ///
    /// # Errors
    /// It cannot be created or written, or holds the results of another run.
    pub fn create(path: &Path) -> io::Result<Folder> {
        let said = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        fs::create_dir_all(path.join("divergences")).map_err(said)?;
        fs::create_dir_all(path.join("consoles")).map_err(said)?;
        let fresh = |name: &str| {
            let file = path.join(name);
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&file)
                .map_err(|e| match e.kind() {
                    io::ErrorKind::AlreadyExists => io::Error::new(
                        e.kind(),
                        format!(
                            "{} exists: the folder holds another run; choose another --out",
                            file.display()
                        ),
                    ),
                    _ => io::Error::new(e.kind(), format!("{}: {e}", file.display())),
                })
        };
        let journal = fresh("results.jsonl")?;
        let mut csv = csv::Writer::from_writer(fresh("divergences.csv")?);
        csv.write_record(DIVERGENCE_COLUMNS)?;
        csv.flush()?;
        Ok(Folder {
            path: path.to_path_buf(),
            journal: Mutex::new(journal),
            divergences: Mutex::new(Divergences {
                csv,
                sightings: BTreeMap::new(),
            }),
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

    /// Writes or replaces a file of the folder, whole.
    ///
    /// # Errors
    /// It cannot be written; the old one is then still there.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let said = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let parent = path.parent().unwrap_or(&self.path);
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(said)?;
        file.write_all(content).map_err(said)?;
        // Temporary files are private; results are for everybody.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(said)?;
        file.persist(&path).map_err(|e| said(e.error))?;
        Ok(())
    }

    fn line(&self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let path = self.path.join("results.jsonl");
        lock(&self.journal)
            .write_all(&text)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for Folder {
    fn block(&self, row: &RowResult, block: &str, tally: &Tally) -> io::Result<()> {
        self.line(&Line::Block {
            kernel: &row.kernel,
            arch: &row.arch,
            release: &row.release,
            block,
            tally,
        })
    }

    fn reported(&self, r: &Reported) -> io::Result<()> {
        self.line(&Line::Suspect {
            id: &r.id,
            kernel: &r.kernel.label,
            arch: &r.kernel.arch,
            release: &r.kernel.release,
            program: &r.program_name,
            bucket: &r.story.bucket,
            class: r.story.class.word(),
            hits: r.hits,
            runs: r.runs,
        })?;
        let mut divergences = lock(&self.divergences);
        divergences.csv.write_record(divergence_row(r))?;
        divergences.csv.flush()?;
        let sightings = divergences.sightings.entry(r.id.clone()).or_default();
        sightings.push(Sighting::of(r));
        let text = report_text(r, sightings);
        let picture = serde_json::to_vec(&Picture::of(r))?;
        self.replace(&format!("divergences/{}.json", r.id), &picture)?;
        self.replace(
            &format!("divergences/{}.prog", r.id),
            r.program.to_string().as_bytes(),
        )?;
        self.replace(&format!("divergences/{}.txt", r.id), text.as_bytes())
    }

    fn row(&self, row: &RowResult, rows: &[RowResult]) -> io::Result<()> {
        self.line(&Line::Row { row })?;
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
