//! A run's folder, read back. `results.jsonl` is what a killed run still has.

use super::{Host, Machine, NamedKernel};
use crate::campaign::Bucket;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What a run left behind, as far as reports ask for it.
#[derive(Debug, Clone)]
pub struct Ran {
    pub folder: PathBuf,
    /// run.json.
    pub record: RanRecord,
    /// What was confirmed, in the order in which it was met.
    pub suspects: Vec<Suspect>,
    /// The kernels that were through.
    pub rows: Vec<RanRow>,
    /// What had to be left out: a last line that was cut off.
    pub left_out: Option<String>,
}

/// What run.json says of a run, as far as reports ask for it.
#[derive(Debug, Clone, Deserialize)]
pub struct RanRecord {
    /// The words of its command line, the verb first.
    pub command: Vec<String>,
    /// `package version sha256:...` or the path, by label and architecture.
    #[serde(rename = "kernels")]
    pub images: BTreeMap<String, String>,
    /// How each kernel is named again; nothing in runs of versions that did not write it.
    #[serde(default)]
    pub named: Vec<NamedKernel>,
    pub started: String,
    /// `finished`, `running`, or why it ended early.
    pub end: String,
    /// As it was asked for.
    pub accel: String,
    pub host: Host,
    /// All machines that it ran on, and how.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Of mmdiff and QEMU.
    pub versions: BTreeMap<String, String>,
    /// The kernels, once the run has come to its end.
    #[serde(default, rename = "rows")]
    pub ends: Vec<RanEnd>,
}

/// What run.json alone says of a kernel.
#[derive(Debug, Clone, Deserialize)]
pub struct RanEnd {
    pub arch: String,
    pub release: String,
    /// Known findings that it was found not to have any more.
    #[serde(default)]
    pub fixed: Vec<String>,
}

impl RanRecord {
    /// Reads run.json of a folder.
    ///
    /// # Errors
    /// There is none, or another version of mmdiff wrote it.
    pub fn read(folder: &Path) -> Result<RanRecord, RanError> {
        let fail = |what: String| RanError {
            path: folder.join("run.json"),
            what,
        };
        let text = std::fs::read_to_string(folder.join("run.json"))
            .map_err(|e| fail(format!("{e}; is this the folder of a run of vm-matrix?")))?;
        serde_json::from_str(&text).map_err(|e| fail(format!("{e}; {OTHER_VERSION}")))
    }

    /// Whether the run came to its end.
    pub fn is_finished(&self) -> bool {
        self.end == "finished"
    }
}

/// A confirmed suspect of a run. Its program is `divergences/ID.prog`.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub id: String,
    /// How the user named the kernel.
    pub kernel: String,
    pub arch: String,
    pub release: String,
    pub bucket: Bucket,
}

/// A kernel's part of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct RanRow {
    pub kernel: String,
    pub arch: String,
    pub programs: u64,
    /// New buckets, with the number of programs in each.
    pub buckets: Vec<(Bucket, u64)>,
    /// Known findings that were met, with the number of programs.
    pub known_met: BTreeMap<String, u64>,
    /// Rules that were exercised.
    pub rules: BTreeSet<String>,
}

/// Why a folder cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct RanError {
    path: PathBuf,
    what: String,
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Line {
    Booted {},
    Lost {},
    Block {
        kernel: String,
        arch: String,
        #[serde(default)]
        suspects: Vec<InBlock>,
    },
    Row(RanRow),
}

/// A suspect as its block has it.
#[derive(Deserialize)]
struct InBlock {
    id: String,
    release: String,
    bucket: Bucket,
}

const OTHER_VERSION: &str = "another version of mmdiff wrote it? run it again";

impl Ran {
    /// Reads the folder of a run, finished or not.
    ///
    /// # Errors
    /// It is none, or it was written by another version of mmdiff.
    pub fn read(folder: &Path) -> Result<Ran, RanError> {
        let fail = |name: &str, what: String| RanError {
            path: folder.join(name),
            what,
        };
        let record = RanRecord::read(folder)?;
        let name = "results.jsonl";
        // Line by line: it may be larger than memory.
        let results =
            std::fs::File::open(folder.join(name)).map_err(|e| fail(name, e.to_string()))?;
        let mut results = BufReader::with_capacity(1 << 16, results);
        let (mut number, mut line) = (0, Vec::new());
        let mut ran = Ran {
            folder: folder.to_path_buf(),
            record,
            suspects: Vec::new(),
            rows: Vec::new(),
            left_out: None,
        };
        loop {
            line.clear();
            let n = results.read_until(b'\n', &mut line);
            if n.map_err(|e| fail(name, e.to_string()))? == 0 {
                break;
            }
            number += 1;
            match serde_json::from_slice(&line) {
                Ok(Line::Booted {} | Line::Lost {}) => {}
                Ok(Line::Block {
                    kernel,
                    arch,
                    suspects,
                }) => {
                    let suspects = suspects.into_iter().map(|suspect| Suspect {
                        id: suspect.id,
                        kernel: kernel.clone(),
                        arch: arch.clone(),
                        release: suspect.release,
                        bucket: suspect.bucket,
                    });
                    ran.suspects.extend(suspects);
                }
                // A run that was resumed has come to the end of a kernel more than once.
                Ok(Line::Row(row)) => {
                    let same = |old: &RanRow| old.kernel == row.kernel && old.arch == row.arch;
                    ran.rows.retain(|old| !same(old));
                    ran.rows.push(row);
                }
                // Lines are written whole: one without an end was being written when the run was killed.
                Err(_) if !line.ends_with(b"\n") => {
                    let path = folder.join(name);
                    ran.left_out = Some(format!(
                        "{}: line {number} is cut off and left out",
                        path.display()
                    ));
                }
                Err(e) => return Err(fail(name, format!("line {number}: {e}; {OTHER_VERSION}"))),
            }
        }
        Ok(ran)
    }

    /// Whether it came to its end.
    pub fn is_finished(&self) -> bool {
        self.record.is_finished()
    }

    /// An error about a file of the folder.
    pub(super) fn wrong(&self, name: &str, what: &str) -> RanError {
        RanError {
            path: self.folder.join(name),
            what: format!("{what}; {OTHER_VERSION}"),
        }
    }

    /// Programs of a kernel that ended in a bucket, and all that it ran; `None` if the kernel was not through.
    pub fn count(&self, kernel: &str, arch: &str, bucket: &Bucket) -> Option<(u64, u64)> {
        let here = |row: &&RanRow| row.kernel == kernel && row.arch == arch;
        let row = self.rows.iter().find(here)?;
        let hits = row.buckets.iter().find(|(b, _)| b == bucket);
        Some((hits.map_or(0, |(_, n)| *n), row.programs))
    }

    /// The program of a suspect.
    pub fn program(&self, suspect: &Suspect) -> PathBuf {
        self.folder.join(format!("divergences/{}.prog", suspect.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"command": ["vm-matrix"], "end": "running", "kernels": {}, "started": "now", "accel": "tcg", "versions": {},
        "host": {"cpu": "", "cores": 2, "memory_mib": 1, "os": "", "kernel": ""}}"#;
    const SUSPECT: &str = r#"{"what":"block","kernel":"7.3","arch":"x86_64","suspects":[{"id":"d-1","release":"7.3.4","bucket":{"op":"fork","rule":"r","expected":"a","observed":"b"}}]}"#;
    const ROW: &str = r#"{"what":"row","kernel":"7.3","arch":"x86_64","programs":9,"buckets":[[{"op":"fork","rule":"r","expected":"a","observed":"b"},2]],"known_met":{},"rules":[]}"#;

    fn folder(record: &str, results: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.json"), record).unwrap();
        std::fs::write(folder.path().join("results.jsonl"), results).unwrap();
        folder
    }

    #[test]
    fn a_run_that_was_killed_in_the_middle_of_a_line_keeps_the_rest() {
        let whole = format!("{SUSPECT}\n{ROW}\n");
        let dir = folder(RECORD, &format!("{whole}{}", &SUSPECT[..60]));
        let ran = Ran::read(dir.path()).unwrap();
        assert_eq!((ran.suspects.len(), ran.rows.len()), (1, 1));
        assert!(ran
            .left_out
            .as_deref()
            .unwrap()
            .contains("line 3 is cut off"));
        let bucket = ran.suspects[0].bucket.clone();
        assert!(!ran.is_finished());
        let whole = folder(RECORD, &whole);
        let ran = Ran::read(whole.path()).unwrap();
        assert_eq!(ran.left_out, None);
        assert_eq!(ran.count("7.3", "x86_64", &bucket), Some((2, 9)));
        assert_eq!(ran.count("6.1", "x86_64", &bucket), None);
    }

    #[test]
    fn what_is_no_run_of_this_version_is_refused() {
        for (record, results, named) in [
            ("{}", "", "run.json: missing field"),
            (RECORD, "{\"what\":\"block\"}\n", "line 1: missing field"),
            (RECORD, "{\"what\":\"other\"}\n", "another version"),
        ] {
            let dir = folder(record, results);
            let error = Ran::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        let error = Ran::read(empty.path()).unwrap_err().to_string();
        assert!(error.contains("folder of a run"), "{error}");
    }
}
