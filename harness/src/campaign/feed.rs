//! Which programs run. The generated ones depend on the campaign's seed alone, so every kernel runs the same; a block is
//! made once, by the first kernel that wants it.

use super::CpuAccount;
use oracle::program::{generate, ParseError, Program};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Programs in a block.
pub const BLOCK: u64 = 64;

/// Blocks kept for the next kernel that wants them: 32,768 programs, some tens of megabytes.
const KEPT: usize = 512;

/// The programs of a block.
#[derive(Debug)]
pub struct Programs {
    programs: Vec<Arc<Program>>,
    /// BLAKE3 over their texts, 32 hexadecimal digits: equal on machines that made the same.
    pub digest: String,
}

impl Programs {
    /// These programs.
    pub fn new(programs: Vec<Arc<Program>>) -> Programs {
        let digest = Programs::digest_of(&programs);
        Programs { programs, digest }
    }

    /// See [`Programs::digest`].
    pub fn digest_of<'p>(programs: impl IntoIterator<Item = &'p Arc<Program>>) -> String {
        let mut hasher = blake3::Hasher::new();
        for program in programs {
            hasher.update(program.to_string().as_bytes());
            hasher.update(&[0]);
        }
        hasher.finalize().to_hex()[..32].to_string()
    }
}

impl Deref for Programs {
    type Target = [Arc<Program>];

    fn deref(&self) -> &[Arc<Program>] {
        &self.programs
    }
}

/// Makes and keeps blocks of programs.
#[derive(Default)]
pub struct Feed {
    seed: u64,
    /// Programs that are given out in turn instead of generated ones.
    fixed: Vec<Arc<Program>>,
    blocks: Mutex<BTreeMap<u64, Arc<OnceLock<Arc<Programs>>>>>,
    /// CPU time of generating.
    pub cpu: CpuAccount,
}

impl Feed {
    /// The programs of a campaign seed.
    pub fn new(seed: u64) -> Feed {
        Feed {
            seed,
            ..Feed::default()
        }
    }

    /// These programs, over and over.
    pub fn fixed(programs: Vec<Arc<Program>>) -> Feed {
        Feed {
            fixed: programs,
            ..Feed::default()
        }
    }

    /// Block number `n`.
    pub fn block(&self, n: u64) -> Arc<Programs> {
        if !self.fixed.is_empty() {
            let nth = |i| self.fixed[((n * BLOCK + i) % self.fixed.len() as u64) as usize].clone();
            return Arc::new(Programs::new((0..BLOCK).map(nth).collect()));
        }
        let cell = {
            let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            if blocks.len() >= KEPT && !blocks.contains_key(&n) {
                // The kernel that is furthest behind needs the lowest; what is dropped can be made again.
                blocks.pop_last();
            }
            blocks.entry(n).or_default().clone()
        };
        cell.get_or_init(|| {
            self.cpu.charge(|| {
                let make = |i| Arc::new(generate::generate(program_seed(self.seed, n, i)));
                Arc::new(Programs::new((0..BLOCK).map(make).collect()))
            })
        })
        .clone()
    }
}

/// The seed of one program of a campaign.
pub fn program_seed(campaign: u64, block: u64, index: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in [campaign, block, index] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

/// A program that people wrote.
#[derive(Debug, Clone)]
pub struct CorpusProgram {
    /// Path as the user sees it.
    pub name: String,
    pub program: Arc<Program>,
}

/// Why a corpus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error("{}: {error}", path.display())]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    /// It is no program's file at all.
    #[error(
        "{}: no text from byte {byte} on, and a program is a text (docs/program-format.md); a finding of a fuzz target whose inputs \
         are plain bytes (wire, simulated_arbitrary) is seen again with `cargo +nightly fuzz run TARGET FILE`",
        path.display()
    )]
    NoText { path: PathBuf, byte: usize },
    /// Shows the line with a caret under the place.
    #[error("{shown}")]
    Parse { path: PathBuf, shown: String },
    #[error("{}: neither a .prog file nor a folder with some", path.display())]
    Empty { path: PathBuf },
}

/// The folder of a corpus whose programs are for `cargo xtask races`, since threads run at once in them.
const RACES: &str = "races";

/// Reads a `.prog` file, or every `.prog` file under a folder, in the order of their names. A folder named `races` below it is
/// left to [`load_concurrent_corpus`].
///
/// # Errors
/// A path cannot be read, a program does not parse or makes no sense, or there is no program at all.
pub fn load_corpus(path: &Path) -> Result<Vec<CorpusProgram>, CorpusError> {
    let mut files = corpus_files(path)?;
    files.retain(|file| {
        let below = file.strip_prefix(path).unwrap_or(file);
        !below.parent().is_some_and(|folder| folder.ends_with(RACES))
    });
    files.into_iter().map(|path| load_program(&path)).collect()
}

/// The same for files in which threads may run at once.
///
/// # Errors
/// As [`load_corpus`].
pub fn load_concurrent_corpus(path: &Path) -> Result<Vec<CorpusProgram>, CorpusError> {
    let files = corpus_files(path)?;
    let load = |path: PathBuf| load_concurrent_program(&path);
    files.into_iter().map(load).collect()
}

/// The files of a corpus, in the order of their names.
fn corpus_files(path: &Path) -> Result<Vec<PathBuf>, CorpusError> {
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(CorpusError::Empty {
            path: path.to_path_buf(),
        });
    }
    Ok(files)
}

/// Reads one program.
///
/// # Errors
/// The file cannot be read or does not parse.
pub fn load_program(path: &Path) -> Result<CorpusProgram, CorpusError> {
    load(path, Program::load)
}

/// The same for a file in which threads may run at once, which only the oracle takes.
///
/// # Errors
/// As [`load_program`].
pub fn load_concurrent_program(path: &Path) -> Result<CorpusProgram, CorpusError> {
    load(path, Program::load_concurrent)
}

fn load(
    path: &Path,
    parse: impl Fn(&str) -> Result<Program, ParseError>,
) -> Result<CorpusProgram, CorpusError> {
    let bytes = std::fs::read(path).map_err(|error| CorpusError::Read {
        path: path.to_path_buf(),
        error,
    })?;
    let text = String::from_utf8(bytes).map_err(|error| CorpusError::NoText {
        path: path.to_path_buf(),
        byte: error.utf8_error().valid_up_to(),
    })?;
    let program = parse(&text).map_err(|error| CorpusError::Parse {
        path: path.to_path_buf(),
        shown: error.render(&path.display().to_string()),
    })?;
    Ok(CorpusProgram {
        name: path.display().to_string(),
        program: Arc::new(program),
    })
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), CorpusError> {
    let read = |error| CorpusError::Read {
        path: path.to_path_buf(),
        error,
    };
    if !std::fs::metadata(path).map_err(read)?.is_dir() {
        into.push(path.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() || path.extension().is_some_and(|e| e == "prog") {
            collect(&path, into)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_in_every_part() {
        let seeds = [
            program_seed(1, 0, 0),
            program_seed(0, 1, 0),
            program_seed(0, 0, 1),
            program_seed(0, 0, 0),
        ];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[..i].iter().all(|b| b != a));
        }
    }

    #[test]
    fn a_corpus_without_programs_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_corpus(dir.path()).unwrap_err();
        assert!(matches!(error, CorpusError::Empty { .. }), "{error}");
        let error = load_corpus(&dir.path().join("nothing")).unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_text_says_what_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crash-0123");
        std::fs::write(&path, b"mmap\xff\0").unwrap();
        let error = load_program(&path).unwrap_err();
        assert!(
            matches!(error, CorpusError::NoText { byte: 4, .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("crash-0123") && text.contains("fuzz run"),
            "{text}"
        );
    }
}
