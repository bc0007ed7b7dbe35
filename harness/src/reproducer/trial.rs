//! Reproducers compiled and run on a kernel, many in one boot.

use super::INIT;
use crate::kernel::vm::{run_to_end, VmConfig, VmError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use vm_images::initramfs::Initramfs;
use vm_images::Arch;

/// How long a boot with all its programs may take, one of which may hang until PID 1 gives it up, and how much more each program may add.
const BOOT: Duration = Duration::from_secs(180);
const EACH: Duration = Duration::from_secs(3);

/// Why reproducers could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("{program} is missing (Debian: apt install {package})")]
    NoCompiler {
        program: &'static str,
        package: &'static str,
    },
    /// What the compiler says.
    #[error("{name} does not compile:\n{said}")]
    Compiler { name: String, said: String },
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// The compiler for an architecture, and Debian's package with it.
fn compiler(arch: Arch) -> (&'static str, &'static str) {
    match (arch, std::env::consts::ARCH) {
        (Arch::Aarch64, "x86_64") => ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        (Arch::X86_64, "aarch64") => ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        _ => ("gcc", "gcc libc6-dev"),
    }
}

/// Compiles C as a kernel developer would, into `folder`; returns the program.
///
/// # Errors
/// No compiler, or it refuses.
pub fn compile(name: &str, c: &str, arch: Arch, folder: &Path) -> Result<Vec<u8>, TrialError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TrialError::File { path, source }
    };
    let source = folder.join(format!("{name}.c"));
    let output = folder.join(format!("{name}.{arch}"));
    std::fs::write(&source, c).map_err(file(&source))?;
    let (program, package) = compiler(arch);
    let done = Command::new(program)
        .args(["-static", "-Wall", "-Werror", "-o"])
        .arg(&output)
        .arg(&source)
        .stdin(Stdio::null())
        .output()
        .map_err(|_| TrialError::NoCompiler { program, package })?;
    if !done.status.success() {
        return Err(TrialError::Compiler {
            name: name.into(),
            said: String::from_utf8_lossy(&done.stderr).into_owned(),
        });
    }
    std::fs::read(&output).map_err(file(&output))
}

/// What came of a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// Exit statuses by name; 128 and the signal's number for one that was killed. One that is not here did not end.
    pub statuses: BTreeMap<String, i32>,
    /// All of the console.
    pub console: String,
}

/// Boots `config`'s kernel with these compiled programs and runs one after the other. `folder` takes the files that this needs.
///
/// # Errors
/// No compiler for PID 1, no QEMU or no kernel. A kernel that dies on the way is no error: what did not end is missing.
pub fn run(
    config: &VmConfig,
    programs: &BTreeMap<String, Vec<u8>>,
    folder: &Path,
) -> Result<Trial, TrialError> {
    let limit = BOOT + EACH * u32::try_from(programs.len()).unwrap_or(u32::MAX / 8);
    let console = boot(config, ("init", INIT), ("repro", programs), folder, limit)?;
    Ok(Trial {
        statuses: statuses(&console),
        console,
    })
}

/// Boots `config`'s kernel with PID 1 in C, by its name, and compiled programs in a folder of the initramfs; all of the console. `folder`
/// takes the files that this needs.
///
/// # Errors
/// As [`run`].
pub fn boot(
    config: &VmConfig,
    (init, c): (&str, &str),
    (place, programs): (&str, &BTreeMap<String, Vec<u8>>),
    folder: &Path,
    limit: Duration,
) -> Result<String, TrialError> {
    let compiled = compile(init, c, config.arch, folder)?;
    let mut archive = Initramfs::new(&compiled).directory(place);
    for (name, bytes) in programs {
        archive = archive.program(&format!("{place}/{name}"), bytes);
    }
    let initramfs = folder.join(format!("{init}.{}.cpio", config.arch));
    std::fs::write(&initramfs, archive.finish()).map_err(|source| TrialError::File {
        path: initramfs.clone(),
        source,
    })?;
    let config = VmConfig {
        initramfs,
        ..config.clone()
    };
    Ok(run_to_end(&config, limit)?)
}

/// Reads what `c/init.c` says. The kernel may have written to the same line before.
fn statuses(console: &str) -> BTreeMap<String, i32> {
    let one = |line: &str| {
        let (_, rest) = line.split_once("reproducer: ")?;
        let (name, status) = rest.trim().split_once(' ')?;
        Some((name.to_string(), status.parse().ok()?))
    };
    console.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_found_in_a_console() {
        let console = "line 3: not so\r\n\r\nreproducer: a 1\r\n[ 1.2] reproducer: b-c 0\r\nreproducer: end\r\n";
        let found = statuses(console);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found["a"], found["b-c"]), (1, 0));
    }
}
