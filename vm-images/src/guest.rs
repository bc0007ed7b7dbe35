//! Building the guest, a static program for each architecture.
//!
//! For x86-64 the host's own toolchain does it. For arm64 there are two ways: the rustup target
//! `aarch64-unknown-linux-musl` with the linker that Rust brings along, or Debian's packages `rustc-web`,
//! `libstd-rust-web-dev:arm64`, `gcc-aarch64-linux-gnu` and `libc6-dev-arm64-cross`.

use crate::{Arch, Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Debian packages for the second way to an arm64 guest. The second needs `dpkg --add-architecture arm64`.
pub const DEBIAN_ARM64_PACKAGES: [&str; 4] = [
    "rustc-web",
    "libstd-rust-web-dev:arm64",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
];

const MUSL: &str = "aarch64-unknown-linux-musl";
const DEBIAN_LINKER: &str = "aarch64-linux-gnu-gcc";

/// How a guest is compiled and linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain that built us, target `x86_64-unknown-linux-gnu`.
    X86Gnu,
    /// The toolchain that built us, target `aarch64-unknown-linux-musl`, linked by rust-lld.
    RustupMusl,
    /// Debian's compiler at this path, target `aarch64-unknown-linux-gnu`, linked by Debian's cross gcc.
    Debian {
        /// Debian's rustc.
        rustc: PathBuf,
    },
}

impl Toolchain {
    /// All ways to build for `arch` that this machine has, best first. Empty: see
    /// [`DEBIAN_ARM64_PACKAGES`] and [`try_rustup`].
    pub fn available(arch: Arch) -> Vec<Toolchain> {
        match arch {
            Arch::X86_64 => vec![Toolchain::X86Gnu],
            Arch::Aarch64 => {
                let mut all = Vec::new();
                if has_std(Path::new("rustc"), MUSL) {
                    all.push(Toolchain::RustupMusl);
                }
                all.extend(debian_rustc().map(|rustc| Toolchain::Debian { rustc }));
                all
            }
        }
    }

    /// The target triple.
    pub fn target(&self) -> &'static str {
        match self {
            Toolchain::X86Gnu => "x86_64-unknown-linux-gnu",
            Toolchain::RustupMusl => MUSL,
            Toolchain::Debian { .. } => "aarch64-unknown-linux-gnu",
        }
    }

    /// Few segments: each is a VMA that every fork copies and every exit takes down.
    fn rustflags(&self) -> &'static str {
        match self {
            Toolchain::X86Gnu => {
                "-C target-feature=+crt-static -C relro-level=off"
            }
            // No static PIE for this target either (see below).
            Toolchain::Debian { .. } => {
                "-C target-feature=+crt-static -C relro-level=off -C link-arg=-Wl,-z,noseparate-code \
                 -C link-arg=-Wl,-Ttext-segment=0x4000000000"
            }
            // rustc makes no static PIE for this target, so the program is put above the arena by its link address:
            // the arena must be the lowest thing mapped. crt1.o names _DYNAMIC, which a static program has not; at this
            // address the zero of an undefined weak symbol is out of reach, so it gets some address that is not used.
            Toolchain::RustupMusl => {
                "-C target-feature=+crt-static -C linker=rust-lld -C link-self-contained=yes \
                 -C relro-level=off -C link-arg=--no-rosegment \
                 -C link-arg=--image-base=0x4000000000 -C link-arg=--defsym=_DYNAMIC=_start"
            }
        }
    }
}

/// Builds the guest and returns the path of the static program. Takes well under a second when nothing changed.
///
/// `workspace` is the checkout. The files go to `guest/` in cargo's target directory. `progress` gets cargo's
/// lines as they come.
///
/// # Errors
/// [`Error::Tool`] if there is no compiler for `arch`, [`Error::GuestBuild`] with cargo's words if every way failed.
pub fn build(arch: Arch, workspace: &Path, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let ways = Toolchain::available(arch);
    let mut failures = Vec::new();
    for way in &ways {
        match build_with(way, workspace, progress) {
            Ok(path) => return Ok(path),
            Err(BuildFailure::NotRun(error)) => return Err(error),
            Err(BuildFailure::Cargo(output)) => {
                failures.push(format!("target {}:\n{output}", way.target()));
            }
        }
    }
    if ways.is_empty() {
        return Err(Error::Tool {
            tool: "rustc for arm64".into(),
            message: format!(
                "there is none; `rustup target add {MUSL}`, or as root: {}",
                install_line()
            ),
        });
    }
    Err(Error::GuestBuild {
        arch,
        output: failures.join("\n"),
    })
}

/// The command that installs Debian's arm64 compiler.
pub fn install_line() -> String {
    format!(
        "dpkg --add-architecture arm64 && apt-get update && apt-get install -y --no-install-recommends {}",
        DEBIAN_ARM64_PACKAGES.join(" ")
    )
}

enum BuildFailure {
    NotRun(Error),
    Cargo(String),
}

fn build_with(
    way: &Toolchain,
    workspace: &Path,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, BuildFailure> {
    let target_dir = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
        .join("guest");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--profile", "guest", "--package", "guest"])
        .args(["--target", way.target(), "--target-dir"])
        .arg(&target_dir)
        .current_dir(workspace)
        // The caller's flags (coverage, sanitizers) are for the host.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("RUSTFLAGS", way.rustflags())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Toolchain::Debian { rustc } = way {
        command.env("RUSTC", rustc).env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            DEBIAN_LINKER,
        );
    }
    let not_run = |e: std::io::Error| {
        BuildFailure::NotRun(Error::Tool {
            tool: cargo.to_string_lossy().into_owned(),
            message: e.to_string(),
        })
    };
    let mut child = command.spawn().map_err(not_run)?;
    let mut output = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stderr)) {
            let line = line.map_err(not_run)?;
            progress(&line);
            output.push_str(&line);
            output.push('\n');
        }
    }
    if !child.wait().map_err(not_run)?.success() {
        return Err(BuildFailure::Cargo(output));
    }
    let program = target_dir.join(way.target()).join("guest").join("guest");
    if !program.is_file() {
        return Err(BuildFailure::NotRun(Error::Tool {
            tool: "cargo".into(),
            message: format!("built the guest, yet there is no {}", program.display()),
        }));
    }
    Ok(program)
}

/// True if this compiler has the standard library for `target`.
fn has_std(rustc: &Path, target: &str) -> bool {
    Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|out| {
            let dir = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            out.status.success()
                && std::fs::read_dir(dir).is_ok_and(|files| {
                    files
                        .flatten()
                        .any(|f| f.file_name().to_string_lossy().starts_with("libstd-"))
                })
        })
}

/// Debian's rustc with arm64 std and the cross linker, if all three are installed.
fn debian_rustc() -> Option<PathBuf> {
    let out = Command::new("dpkg")
        .args(["-L", "rustc-web"])
        .output()
        .ok()?;
    let rustc = String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter(|l| l.ends_with("/bin/rustc"))
        .map(PathBuf::from)
        .find(|p| p.is_file())?;
    let linker = Command::new(DEBIAN_LINKER).arg("--version").output();
    (linker.is_ok() && has_std(&rustc, "aarch64-unknown-linux-gnu")).then_some(rustc)
}

/// How long `rustup target add` may take, and how long a failure is remembered.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);
const RUSTUP_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Tries `rustup target add aarch64-unknown-linux-musl`. False if there is no rustup, or it fails, hangs, or
/// has failed within a day (`memory` is the directory that remembers).
pub fn try_rustup(memory: &Path) -> bool {
    let stamp = memory.join("rustup-target-add-failed");
    let recent = std::fs::metadata(&stamp)
        .and_then(|m| m.modified())
        .ok()
        .and_then(|t| SystemTime::now().duration_since(t).ok())
        .is_some_and(|age| age < RUSTUP_MEMORY);
    if recent {
        return false;
    }
    let added = run_limited(
        Command::new("rustup").args(["target", "add", MUSL]),
        RUSTUP_LIMIT,
    ) && has_std(Path::new("rustc"), MUSL);
    if added {
        let _ = std::fs::remove_file(&stamp);
    } else {
        // Only a memory aid: a directory that cannot be written costs another try next time.
        let _ = crate::files::write_atomically(&stamp, b"");
    }
    added
}

/// Runs a command without output; false if it fails or is not done in time (it is killed then).
fn run_limited(command: &mut Command, limit: Duration) -> bool {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rustup-target-add-failed"), b"").unwrap();
        let start = Instant::now();
        assert!(!try_rustup(dir.path()));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let start = Instant::now();
        assert!(!run_limited(
            Command::new("sleep").arg("60"),
            Duration::from_millis(100)
        ));
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(run_limited(
            &mut Command::new("true"),
            Duration::from_secs(10)
        ));
        assert!(!run_limited(
            &mut Command::new("/no/such/program"),
            Duration::from_secs(1)
        ));
    }

    #[test]
    fn a_compiler_without_the_target_is_told_apart() {
        assert!(has_std(Path::new("rustc"), "x86_64-unknown-linux-gnu"));
        assert!(!has_std(Path::new("rustc"), "no-such-target"));
        assert!(!has_std(
            Path::new("/no/such/rustc"),
            "x86_64-unknown-linux-gnu"
        ));
    }
}
