//! What a target starts from, and what it leaves.

use super::tool;
use anyhow::{bail, Context, Result};
use harness::campaign::load_corpus;
use harness::fuzzing::{message, text};
use std::path::{Path, PathBuf};

/// The folders of one target.
pub struct Folders {
    /// What earlier runs found to be worth keeping.
    pub corpus: PathBuf,
    /// The programs of the repository, as the target reads them.
    pub seeds: PathBuf,
    /// What is found to be new. It stays until it is merged, however long that takes.
    pub new: PathBuf,
    /// Inputs that went wrong.
    pub findings: PathBuf,
}

impl Folders {
    /// Makes them. `new` has what earlier runs left that did not come to merging.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn of(workspace: &Path, target: &str) -> Result<Folders> {
        Folders::below("mmdiff/fuzz", workspace, target)
    }

    /// Those of a measurement, which starts from nothing and leaves what fuzzing has found alone.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn of_figures(workspace: &Path, target: &str) -> Result<Folders> {
        let work = crate::folders::target(workspace).join("mmdiff/fuzz-figures");
        empty(&work.join(target).join("new"))?;
        Folders::below("mmdiff/fuzz-figures", workspace, target)
    }

    fn below(name: &str, workspace: &Path, target: &str) -> Result<Folders> {
        let work = crate::folders::target(workspace).join(name).join(target);
        let folders = Folders {
            corpus: workspace.join("fuzz/corpus").join(target),
            seeds: work.join("seeds"),
            new: work.join("new"),
            findings: work.join("findings"),
        };
        empty(&folders.seeds)?;
        for folder in [
            &folders.corpus,
            &folders.seeds,
            &folders.new,
            &folders.findings,
        ] {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        Ok(folders)
    }

    /// All that a run starts from.
    pub fn inputs(&self) -> [&Path; 3] {
        [&self.new, &self.corpus, &self.seeds]
    }

    /// Adds to the corpus those new inputs that reach what it does not, and forgets the others; how many.
    ///
    /// # Errors
    /// The target fails on one of them.
    pub fn merge(&self, program: &Path) -> Result<usize> {
        let count = || std::fs::read_dir(&self.corpus).map(Iterator::count);
        let before = count()?;
        let output = tool::run(program, &[&self.corpus, &self.new])
            .arg("-merge=1")
            .output()
            .context("the target cannot be run")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!(
                "merging failed ({}), what is new stays in {}:\n{said}",
                output.status,
                self.new.display()
            );
        }
        empty(&self.new)?;
        std::fs::create_dir_all(&self.new).with_context(|| self.new.display().to_string())?;
        Ok(count()?.saturating_sub(before))
    }
}

/// Removes a folder, if it is there.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// Writes the programs of the repository as seeds: for targets that mutate programs the ops alone, for those that read any text
/// as they are; for `wire` the messages that a guest sends of programs. What is longer than the target reads ends earlier. Returns how
/// many.
///
/// # Errors
/// The corpus cannot be read, or a seed not be written.
pub fn seed(workspace: &Path, target: &str, folder: &Path) -> Result<usize> {
    let whole = match target {
        "simulated_arbitrary" | "race" => return Ok(0),
        "wire" => {
            let messages = message::seeds(tool::length(target));
            for (n, message) in messages.iter().enumerate() {
                let path = folder.join(n.to_string());
                std::fs::write(&path, message).with_context(|| path.display().to_string())?;
            }
            return Ok(messages.len());
        }
        "program_text" => true,
        _ => false,
    };
    let programs = load_corpus(&workspace.join("corpus"))?;
    for (n, entry) in programs.iter().enumerate() {
        let mut program = (*entry.program).clone();
        if !whole {
            program = program.without_expectations();
            program.about.clear();
            program.trailer.clear();
            program
                .steps
                .iter_mut()
                .for_each(|step| step.comments.clear());
        }
        let path = folder.join(format!("{n}.prog"));
        let text = match whole {
            true => program.to_string().into_bytes(),
            false => text::fitting(program, tool::length(target)),
        };
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(programs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_programs_that_targets_understand() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        for target in ["simulated", "oracle_laws"] {
            let written = seed(&workspace, target, folder.path()).unwrap();
            assert!(written > 200);
            for file in std::fs::read_dir(folder.path()).unwrap() {
                let bytes = std::fs::read(file.unwrap().path()).unwrap();
                assert!(text::program(&bytes).is_some());
                assert!(bytes.len() <= tool::length(target));
            }
        }
        assert!(seed(&workspace, "wire", folder.path()).unwrap() > 50);
    }
}
