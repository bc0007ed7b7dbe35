//! Running the kernel's own `make`, with its output in a log and its lines as progress.

use crate::{Arch, Error, Result};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lines of the log that an error shows.
const SHOWN: usize = 15;

/// One kernel tree with the folder that its objects go to.
#[derive(Debug)]
pub struct Make<'a> {
    pub tree: &'a Path,
    pub objects: &'a Path,
    pub arch: Arch,
    /// Jobs side by side.
    pub jobs: usize,
}

impl Make<'_> {
    /// Where everything that `make` says is appended.
    pub fn log(&self) -> PathBuf {
        self.objects.join("mmdiff-build.log")
    }

    /// The file that can be booted, once it is built.
    pub fn image(&self) -> PathBuf {
        self.objects.join(match self.arch {
            Arch::X86_64 => "arch/x86/boot/bzImage",
            Arch::Aarch64 => "arch/arm64/boot/Image",
        })
    }

    /// The target that makes [`Make::image`].
    pub fn target(&self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "bzImage",
            Arch::Aarch64 => "Image",
        }
    }

    /// Runs `make` with these words. `line` gets every line of its output.
    ///
    /// # Errors
    /// [`Error::KernelBuild`] with the last lines and the log's path, [`Error::Tool`] if there is no make.
    pub fn run(&self, words: &[OsString], line: &dyn Fn(&str)) -> Result<()> {
        let log_path = self.log();
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(Error::io(&log_path))?;
        let tool = |e: std::io::Error| Error::Tool {
            tool: "make".into(),
            message: e.to_string(),
        };
        // One pipe for both, so that an error stands where it happened.
        let (reader, writer) = std::io::pipe().map_err(tool)?;
        let mut command = Command::new("make");
        command
            .arg("-C")
            .arg(self.tree)
            .arg(joined("O=", self.objects))
            .arg(format!("-j{}", self.jobs))
            .arg(match self.arch {
                Arch::X86_64 => "ARCH=x86_64",
                Arch::Aarch64 => "ARCH=arm64",
            })
            .args(words)
            .env("LC_ALL", "C")
            // A build is the same whoever makes it and when.
            .env("KBUILD_BUILD_USER", "mmdiff")
            .env("KBUILD_BUILD_HOST", "mmdiff")
            .env_remove("MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(tool)?)
            .stderr(writer);
        if let Some(prefix) = cross_prefix(self.arch) {
            command.arg(format!("CROSS_COMPILE={prefix}"));
        }
        let mut child = command.spawn().map_err(tool)?;
        // Our ends of the pipe are in the command; it ends when make's are closed.
        drop(command);
        for read in BufReader::new(reader).split(b'\n') {
            let read = read.map_err(tool)?;
            let text = String::from_utf8_lossy(&read);
            writeln!(log, "{text}").map_err(Error::io(&log_path))?;
            line(text.trim_end());
        }
        if child.wait().map_err(tool)?.success() {
            return Ok(());
        }
        Err(Error::KernelBuild {
            tree: self.tree.to_owned(),
            output: last_lines(&log_path),
            log: log_path,
        })
    }
}

/// `key` with a path behind it, whatever bytes the path has.
pub fn joined(key: &str, path: &Path) -> OsString {
    let mut word = OsString::from(key);
    word.push(path);
    word
}

/// Prefix of the compiler's name when it is not the host's own.
pub fn cross_prefix(arch: Arch) -> Option<&'static str> {
    (arch.name() != std::env::consts::ARCH).then_some(match arch {
        Arch::X86_64 => "x86_64-linux-gnu-",
        Arch::Aarch64 => "aarch64-linux-gnu-",
    })
}

/// The compiler's messages if there are any, else the end of the log.
fn last_lines(log: &Path) -> String {
    let Ok(file) = File::open(log) else {
        return String::new();
    };
    let mut lines: Vec<String> = BufReader::new(file)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect();
    // With several jobs the others go on for a while: what failed stands before them.
    lines.retain(|line| !is_step(line));
    let start = lines.len().saturating_sub(SHOWN);
    lines[start..].join("\n")
}

/// `  CC      mm/madvise.o`: one thing that was made.
pub fn is_step(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (verb, object, more) = (words.next(), words.next(), words.next());
    line.starts_with("  ")
        && object.is_some()
        && more.is_none()
        && verb.is_some_and(|v| v.chars().all(|c| c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_messages() {
        assert!(is_step("  CC      mm/madvise.o"));
        assert!(is_step("  HOSTCC  scripts/basic/fixdep"));
        assert!(!is_step("mm/madvise.c:12:3: error: 'x' undeclared"));
        assert!(!is_step("      |   ^~~"));
    }

    #[test]
    fn a_build_that_fails_shows_the_compilers_words_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let rule = "all:\n\t@echo '  CC      a.o'; echo 'a.c:1: error: no' >&2; exit 1\n";
        std::fs::write(dir.path().join("Makefile"), rule).unwrap();
        let make = Make {
            tree: dir.path(),
            objects: dir.path(),
            arch: Arch::X86_64,
            jobs: 1,
        };
        let seen = std::cell::RefCell::new(Vec::new());
        let error = make
            .run(&["all".into()], &|l| seen.borrow_mut().push(l.to_owned()))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("a.c:1: error: no") && text.contains("mmdiff-build.log"),
            "{text}"
        );
        assert!(!text.contains("CC      a.o"), "{text}");
        assert!(seen.borrow().iter().any(|l| is_step(l)), "{seen:?}");
        assert!(!error.is_usage());
    }
}
