//! `results.jsonl`: what a campaign has come to, a line for each work item that is through, in the order in which they came. Lines
//! are only ever added. Each begins with the digest of the rest, so that a line that was cut off or damaged is known for one. A
//! campaign goes on when a line is on the disk: of a machine that goes down, too, only what was in flight is run again.

use crate::campaign::{Block, BlockResult, Booted, Earlier, RowResult};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Digits of a line's digest.
const DIGITS: usize = 16;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Line {
    /// A kernel booted and was probed, for the first time in this folder.
    Booted {
        kernel: String,
        arch: String,
        #[serde(flatten)]
        booted: Booted,
    },
    /// The terminal record of a work item.
    Block {
        kernel: String,
        arch: String,
        block: Block,
        #[serde(flatten)]
        result: Box<BlockResult>,
    },
    /// The infrastructure failed, and no program is at fault.
    Lost {
        kernel: String,
        arch: String,
        why: String,
        /// Milliseconds since 1970-01-01: two failures with the same words are two.
        at: u64,
    },
    /// What a kernel had come to when a run ended: the sum of its blocks. A later one counts.
    Row {
        #[serde(flatten)]
        row: Box<RowResult>,
    },
}

impl Line {
    /// The line as it is written, with its end.
    ///
    /// # Errors
    /// Never for plain data; what the encoder reports.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut text = format!("{{\"hash\":\"{}\",", digest(&body[1..])).into_bytes();
        text.extend_from_slice(&body[1..]);
        text.push(b'\n');
        Ok(text)
    }

    /// Reads a line, its end included.
    ///
    /// # Errors
    /// It is cut off or damaged, or of another version of mmdiff.
    pub fn read(text: &[u8]) -> Result<Line, String> {
        read_as(text)
    }
}

/// What a line is about, without the rest of it: several times faster to read than a [`Line`].
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub what: String,
    #[serde(default)]
    pub kernel: String,
    #[serde(default)]
    pub arch: String,
    pub block: Option<Block>,
}

impl Head {
    /// Reads a line's head; the line is checked as by [`Line::read`].
    pub fn read(text: &[u8]) -> Result<Head, String> {
        read_as(text)
    }

    /// The block, if the line is a record.
    pub fn record(&self) -> Option<Block> {
        self.block.filter(|_| self.what == "block")
    }
}

/// Checks a line and reads as much of it as `T` wants.
fn read_as<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, String> {
    let text = text.strip_suffix(b"\n").ok_or("it is cut off")?;
    let rest = text.strip_prefix(b"{\"hash\":\"").ok_or("it has no hash")?;
    if rest.len() < DIGITS + 2 {
        return Err("it is cut off".into());
    }
    let (hash, body) = rest.split_at(DIGITS);
    let body = body.strip_prefix(b"\",").ok_or("it has no hash")?;
    if digest(body).as_bytes() != hash {
        return Err("it is damaged: its hash is another one".into());
    }
    serde_json::from_slice(text).map_err(|e| format!("another version of mmdiff wrote it: {e}"))
}

/// The first [`DIGITS`] hexadecimal digits of BLAKE3.
fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..DIGITS].to_string()
}

/// Reads the lines of a journal one after the other, each with its text. What is damaged at its end is left out: the length of the good part in bytes
/// comes back, and how long the file is.
///
/// # Errors
/// It cannot be read, or has a damaged line before a good one.
pub fn read_lines(path: &Path, take: &mut dyn FnMut(Line, &[u8])) -> io::Result<(u64, u64)> {
    read_with(path, &Line::read, take)
}

/// As [`read_lines`], with the heads of the lines alone.
///
/// # Errors
/// As [`read_lines`].
pub(super) fn read_heads(path: &Path, take: &mut dyn FnMut(Head, &[u8])) -> io::Result<(u64, u64)> {
    read_with(path, &Head::read, take)
}

fn read_with<T>(
    path: &Path,
    read: &dyn Fn(&[u8]) -> Result<T, String>,
    take: &mut dyn FnMut(T, &[u8]),
) -> io::Result<(u64, u64)> {
    let said = |what: String| {
        let text = format!("{}: {what}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let file = File::open(path).map_err(|e| said(e.to_string()))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut good, mut all, mut number) = (0, 0, 0);
    let mut bad: Option<String> = None;
    let mut text = Vec::new();
    loop {
        text.clear();
        let n = reader.read_until(b'\n', &mut text)?;
        if n == 0 {
            return Ok((good, all));
        }
        all += n as u64;
        number += 1;
        match (read(&text), &bad) {
            (Ok(line), None) => {
                good = all;
                take(line, &text);
            }
            (Ok(_), Some(bad)) => return Err(said(format!("{bad}, and good lines follow"))),
            (Err(what), None) => bad = Some(format!("line {number}: {what}")),
            (Err(_), Some(_)) => {}
        }
    }
}

/// The file, open for writing by one process alone.
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    /// Bytes of whole lines.
    length: u64,
}

impl Journal {
    /// A new one.
    ///
    /// # Errors
    /// It is there already, or cannot be made.
    pub fn create(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Journal::of(path, file, 0)
    }

    /// The one of an earlier run, whose lines go to `take`. What a run that was killed, or a full disk, has left half-written at
    /// its end is cut off; how many bytes that were comes back.
    ///
    /// # Errors
    /// It is in use, cannot be read, or is damaged elsewhere than at its end.
    pub fn resume(path: &Path, take: &mut dyn FnMut(Line, &[u8])) -> io::Result<(Journal, u64)> {
        let file = OpenOptions::new().write(true).open(path);
        let file =
            file.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        let mut journal = Journal::of(path, file, 0)?;
        let (good, all) = read_lines(path, take)?;
        journal.file.set_len(good)?;
        journal.file.seek(SeekFrom::Start(good))?;
        journal.length = good;
        Ok((journal, all - good))
    }

    /// One that is whole, to be gone on with.
    ///
    /// # Errors
    /// It is in use, or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().write(true).open(path)?;
        let mut journal = Journal::of(path, file, 0)?;
        journal.length = journal.file.seek(SeekFrom::End(0))?;
        Ok(journal)
    }

    fn of(path: &Path, file: File, length: u64) -> io::Result<Journal> {
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            let what = match errno {
                nix::errno::Errno::EWOULDBLOCK => "another run is writing it".to_string(),
                other => other.to_string(),
            };
            io::Error::other(format!("{}: {what}", path.display()))
        })?;
        Ok(Journal {
            path: path.to_path_buf(),
            file,
            length,
        })
    }

    /// Adds a line: all of it or, on an error, nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, line: &Line) -> io::Result<()> {
        self.add_text(&line.text()?)
    }

    /// Adds the text of a line.
    ///
    /// # Errors
    /// As [`Journal::add`].
    pub fn add_text(&mut self, text: &[u8]) -> io::Result<()> {
        let said = |e: io::Error, path: &Path| {
            io::Error::new(e.kind(), format!("{}: {e}", path.display()))
        };
        if let Err(error) = self.file.write_all(text) {
            // Other lanes may still write: their lines must not follow half of this one. A file can be cut on a full disk.
            let cut = self.file.set_len(self.length);
            cut.and_then(|()| self.file.seek(SeekFrom::Start(self.length)))?;
            return Err(said(error, &self.path));
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// What brings to the disk what was added, while others add more.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn disk(&self) -> io::Result<Disk> {
        Ok(Disk {
            path: self.path.clone(),
            file: self.file.try_clone()?,
        })
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A journal's way to the disk.
pub struct Disk {
    path: PathBuf,
    file: File,
}

impl Disk {
    /// Returns when what was added before is on the disk: a machine that goes down does not lose it.
    ///
    /// # Errors
    /// The disk has failed.
    pub fn sync(&self) -> io::Result<()> {
        let said = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        self.file.sync_data().map_err(said)
    }
}

/// What kernels have come to, by label and architecture, line by line.
#[derive(Debug, Default)]
pub struct Sum {
    pub kernels: BTreeMap<(String, String), Earlier>,
    /// Blocks that were there twice.
    pub twice: u64,
}

impl Sum {
    /// Takes a line in. A block counts once.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Booted {
                kernel,
                arch,
                booted,
            } => {
                let earlier = self.of(kernel, arch);
                earlier.booted.get_or_insert_with(|| booted.clone());
            }
            Line::Block {
                kernel,
                arch,
                block,
                result,
            } => {
                let earlier = self.of(kernel, arch);
                if earlier.done.insert(*block) {
                    earlier.standing.add(result);
                } else {
                    self.twice += 1;
                }
            }
            Line::Lost {
                kernel, arch, why, ..
            } => {
                self.of(kernel, arch).standing.lost(why.clone());
            }
            Line::Row { .. } => {}
        }
    }

    fn of(&mut self, kernel: &str, arch: &str) -> &mut Earlier {
        let name = (kernel.to_string(), arch.to_string());
        self.kernels.entry(name).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64) -> Line {
        Line::Block {
            kernel: "7.3".into(),
            arch: "x86_64".into(),
            block: Block::Generated(n),
            result: Box::new(BlockResult {
                programs_digest: "d".repeat(32),
                ..BlockResult::default()
            }),
        }
    }

    fn blocks(path: &Path) -> Vec<u64> {
        let mut found = Vec::new();
        read_lines(path, &mut |line, _| match line {
            Line::Block {
                block: Block::Generated(n),
                ..
            } => found.push(n),
            other => panic!("{other:?}"),
        })
        .unwrap();
        found
    }

    /// Wherever the file was cut off: whole lines stay, and the next line follows them.
    #[test]
    fn a_torn_end_is_repaired_at_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let texts: Vec<Vec<u8>> = (0..3).map(|n| line(n).text().unwrap()).collect();
        let whole = texts.concat();
        for cut in 0..=whole.len() {
            for tail in [&b""[..], &[0; 9], b"\0\n\0\n"] {
                std::fs::write(&path, [&whole[..cut], tail].concat()).unwrap();
                let mut n = 0;
                let (mut journal, lost) = Journal::resume(&path, &mut |_, _| n += 1).unwrap();
                let good: usize = texts[..n].iter().map(Vec::len).sum();
                assert!(
                    good <= cut && n == 3 || cut < good + texts[n].len(),
                    "{cut}"
                );
                assert_eq!(lost as usize, cut + tail.len() - good);
                journal.add(&line(7)).unwrap();
                let wanted: Vec<u64> = (0..n as u64).chain([7]).collect();
                assert_eq!(blocks(&path), wanted);
            }
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_and_nothing_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let mut whole = [line(0).text().unwrap(), line(1).text().unwrap()].concat();
        whole[40] ^= 1;
        std::fs::write(&path, &whole).unwrap();
        let error = Journal::resume(&path, &mut |_, _| {})
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("line 1") && error.contains("results.jsonl"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn one_run_writes_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let first = Journal::create(&path).unwrap();
        let error = Journal::resume(&path, &mut |_, _| {})
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("another run"), "{error}");
        drop(first);
        Journal::resume(&path, &mut |_, _| {}).unwrap();
    }

    #[test]
    fn a_block_counts_once() {
        let mut sum = Sum::default();
        for n in [0, 1, 0] {
            sum.add(&line(n));
        }
        let earlier = &sum.kernels[&("7.3".to_string(), "x86_64".to_string())];
        assert_eq!((earlier.done.len(), sum.twice), (2, 1));
    }
}
