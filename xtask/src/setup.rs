//! What the host needs and how it gets it: QEMU and a compiler for the arm64 guest; for tests a browser and engines of farms.
//!
//! Set-up is part of every command that boots a kernel: as root, or with password-less sudo, missing packages
//! are installed; otherwise the error has the one line to run.

mod engines;

pub use engines::{
    ensure_kubernetes_validate, ensure_parallel, ensure_slurm, ensure_sshd, ensure_strace, program,
    Sshd,
};

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use vm_images::guest::{self, Toolchain};
use vm_images::Arch;

/// Older QEMU has races between vCPUs and translation under TCG that look like kernel bugs.
pub const OLDEST_QEMU: (u32, u32) = (7, 2);

/// The host lacks something and it could not be installed. An infrastructure error: exit code 69.
#[derive(Debug)]
pub struct SetupError(String);

impl SetupError {
    /// What is missing and what to do about it.
    pub fn new(what: &str) -> SetupError {
        SetupError(what.into())
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// What is missing, as Debian packages (the names are the same in Debian 12 and 13).
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    /// For people: what it is.
    what: Vec<String>,
    packages: Vec<&'static str>,
    /// Whether a package of the foreign architecture arm64 is among them.
    foreign_arm64: bool,
}

/// Makes sure that QEMU and the guest compiler for `arches` are there; installs them where it may.
/// `say` gets one line per thing it is about to do. Costs some 50 ms when nothing is missing.
///
/// # Errors
/// [`SetupError`], exit code 69: what is missing and the line to run, or a QEMU that is too old.
pub fn ensure_host_tools(arches: &[Arch], say: &dyn Fn(&str)) -> Result<(), SetupError> {
    let mut missing = find_missing(arches)?;
    if missing.foreign_arm64 {
        if let Ok(memory) = vm_images::store::default_cache() {
            say("no compiler for the arm64 guest; trying `rustup target add aarch64-unknown-linux-musl`");
            if guest::try_rustup(&memory) {
                missing = find_missing(arches)?;
            }
        }
    }
    if missing.packages.is_empty() {
        return Ok(());
    }
    install(&missing, say)?;
    let still = find_missing(arches)?;
    if still.packages.is_empty() {
        return Ok(());
    }
    Err(SetupError(format!(
        "installed {}, yet still missing: {}",
        missing.packages.join(" "),
        still.what.join(", ")
    )))
}

/// Makes sure that Chromium is there, for tests of the HTML report; installs it where it may.
///
/// # Errors
/// [`SetupError`], exit code 69: the line to run.
pub fn ensure_chromium(say: &dyn Fn(&str)) -> Result<(), SetupError> {
    if look_for_chromium("chromium").is_ok() {
        return Ok(());
    }
    install(&missing_chromium(), say)?;
    look_for_chromium("chromium")
}

/// Whether `program` is a Chromium that starts.
///
/// # Errors
/// [`SetupError`]: that it is not there, or how it failed, and the line that brings one.
pub fn look_for_chromium(program: &str) -> Result<(), SetupError> {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let why = match asked {
        Ok(out) if out.status.success() => return Ok(()),
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_string();
            format!("`{program} --version` failed ({}): {said}", out.status)
        }
        Err(error) => format!("no Chromium: `{program}` cannot be run ({error})"),
    };
    let line = install_line(&missing_chromium());
    Err(SetupError(format!(
        "the HTML report is tested in headless Chromium. {why}\nTo have it installed:\n  {line}"
    )))
}

fn missing_chromium() -> Missing {
    Missing {
        what: vec!["Chromium (package chromium)".into()],
        packages: vec!["chromium"],
        foreign_arm64: false,
    }
}

fn find_missing(arches: &[Arch]) -> Result<Missing, SetupError> {
    let mut missing = Missing::default();
    for &arch in arches {
        let (program, package) = qemu(arch);
        match qemu_version(program) {
            None => {
                missing.what.push(format!("{program} (package {package})"));
                missing.packages.push(package);
            }
            Some(text) => check_qemu_version(program, &text)?,
        }
        if Toolchain::available(arch).is_empty() {
            missing
                .what
                .push(format!("a Rust compiler for the {arch} guest"));
            missing.packages.extend(guest::DEBIAN_ARM64_PACKAGES);
            missing.foreign_arm64 = true;
        }
    }
    Ok(missing)
}

/// Makes sure that a kernel for `arch` can be built: the compiler and what the kernel's own tools need.
///
/// # Errors
/// [`SetupError`], exit code 69: what is missing and the line to run.
pub fn ensure_build_tools(arch: Arch, say: &dyn Fn(&str)) -> Result<(), SetupError> {
    let missing = missing_for_building(arch);
    if missing.packages.is_empty() {
        return Ok(());
    }
    install(&missing, say)?;
    let still = missing_for_building(arch);
    if still.packages.is_empty() {
        return Ok(());
    }
    Err(SetupError(format!(
        "installed {}, yet still missing: {}",
        missing.packages.join(" "),
        still.what.join(", ")
    )))
}

fn missing_for_building(arch: Arch) -> Missing {
    let mut missing = Missing::default();
    let mut need = |there: bool, what: &str, package: &'static str| {
        if !there {
            missing.what.push(format!("{what} (package {package})"));
            missing.packages.push(package);
        }
    };
    for (program, package) in [
        ("make", "make"),
        ("gcc", "gcc"),
        ("ld", "binutils"),
        ("flex", "flex"),
        ("bison", "bison"),
        ("bc", "bc"),
        ("perl", "perl"),
    ] {
        need(on_path(program), program, package);
    }
    // The host's own programs are linked with the C library, those of x86 (objtool) with libelf as well.
    let include = |header: &str| Path::new("/usr/include").join(header).exists();
    need(include("stdio.h"), "stdio.h", "libc6-dev");
    need(
        include("libelf.h") || include("gelf.h"),
        "libelf.h",
        "libelf-dev",
    );
    if let Some(prefix) = vm_images::build::make::cross_prefix(arch) {
        let package = match arch {
            Arch::X86_64 => "gcc-x86-64-linux-gnu",
            Arch::Aarch64 => "gcc-aarch64-linux-gnu",
        };
        let program = format!("{prefix}gcc");
        need(on_path(&program), &program, package);
    }
    missing
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

/// Program and package of QEMU for an architecture.
fn qemu(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Arch::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
    }
}

fn qemu_version(program: &str) -> Option<String> {
    let out = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// `text` is what `qemu-system-* --version` prints: `QEMU emulator version 7.2.22 (Debian ...)`.
fn check_qemu_version(program: &str, text: &str) -> Result<(), SetupError> {
    let version = text
        .split_once("version ")
        .and_then(|(_, rest)| {
            let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
        .ok_or_else(|| {
            SetupError(format!(
                "{program} --version says nothing that can be understood: {:?}",
                text.lines().next().unwrap_or_default()
            ))
        })?;
    if version < OLDEST_QEMU {
        let (major, minor) = version;
        return Err(SetupError(format!(
            "{program} is version {major}.{minor}; {}.{} or newer is needed (older ones have races under TCG that \
             look like kernel bugs). Debian 12 and newer have it",
            OLDEST_QEMU.0, OLDEST_QEMU.1
        )));
    }
    Ok(())
}

/// Who runs apt-get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Root,
    Sudo,
    None,
}

fn power() -> Power {
    let succeeds = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let uid = Command::new("id").arg("-u").output();
    if uid.is_ok_and(|out| out.stdout.trim_ascii() == b"0") {
        Power::Root
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        Power::Sudo
    } else {
        Power::None
    }
}

/// The one line that installs what is missing.
fn install_line(missing: &Missing) -> String {
    let foreign = if missing.foreign_arm64 {
        "dpkg --add-architecture arm64 && "
    } else {
        ""
    };
    format!(
        "sudo sh -c '{foreign}apt-get update && apt-get install -y --no-install-recommends {}'",
        missing.packages.join(" ")
    )
}

fn install(missing: &Missing, say: &dyn Fn(&str)) -> Result<(), SetupError> {
    let power = power();
    if power == Power::None {
        return Err(SetupError(format!(
            "missing: {}. Neither root nor password-less sudo, so please run:\n  {}",
            missing.what.join(", "),
            install_line(missing)
        )));
    }
    say(&format!("missing: {}", missing.what.join(", ")));
    if missing.foreign_arm64 {
        run(power, &["dpkg", "--add-architecture", "arm64"], say)?;
    }
    let mut install = vec!["apt-get", "install", "-y", "-q", "--no-install-recommends"];
    install.extend(["-o", "DPkg::Lock::Timeout=300"]);
    install.extend(&missing.packages);
    // A foreign architecture was never in the lists before; otherwise the lists may well do.
    if !missing.foreign_arm64 && run(power, &install, say).is_ok() {
        return Ok(());
    }
    let updated = run(power, &["apt-get", "update", "-q"], say);
    match (run(power, &install, say), updated) {
        (Ok(()), _) => Ok(()),
        // Why it could not be installed is most often in what the update said.
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(update)) => Err(SetupError(format!("{update}\n{error}"))),
    }
}

/// Runs a command as root, quietly; its last lines are in the error.
fn run(power: Power, words: &[&str], say: &dyn Fn(&str)) -> Result<(), SetupError> {
    let mut all = Vec::new();
    if power == Power::Sudo {
        all.extend(["sudo", "-n"]);
    }
    // Through env, since sudo drops the variables of its caller.
    all.extend(["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]);
    all.extend(words);
    say(&format!("running: {}", words.join(" ")));
    let failed = |detail: String| SetupError(format!("`{}` failed: {detail}", words.join(" ")));
    let out = Command::new(all[0])
        .args(&all[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if out.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("E:")).collect();
    Err(failed(if errors.is_empty() {
        text.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    } else {
        errors.join("\n")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_odd_qemu_is_refused() {
        let check = |text: &str| check_qemu_version("qemu-system-x86_64", text);
        assert!(check("QEMU emulator version 7.2.22 (Debian 1:7.2)").is_ok());
        assert!(check("QEMU emulator version 10.0.3").is_ok());
        let old = check("QEMU emulator version 5.2.0 (Debian 1:5.2)").unwrap_err();
        assert!(old.to_string().contains("5.2") && old.to_string().contains("7.2 or newer"));
        assert!(check("nonsense")
            .unwrap_err()
            .to_string()
            .contains("nonsense"));
    }

    #[test]
    fn the_line_to_run_is_complete() {
        let missing = Missing {
            what: vec!["QEMU".into()],
            packages: vec!["qemu-system-arm", "libstd-rust-web-dev:arm64"],
            foreign_arm64: true,
        };
        assert_eq!(
            install_line(&missing),
            "sudo sh -c 'dpkg --add-architecture arm64 && apt-get update && apt-get install -y \
             --no-install-recommends qemu-system-arm libstd-rust-web-dev:arm64'"
        );
    }

    #[test]
    fn a_browser_that_is_missing_or_broken_is_said() {
        let said = |program: &str| look_for_chromium(program).unwrap_err().to_string();
        let line = "apt-get install -y --no-install-recommends chromium";
        let missing = said("no-such-browser-of-mmdiff");
        assert!(missing.contains("no Chromium: `no-such-browser-of-mmdiff`"));
        assert!(missing.contains(line), "{missing}");
        let broken = said("false");
        assert!(broken.contains("`false --version` failed (exit status: 1)"));
        assert!(broken.contains(line), "{broken}");
        look_for_chromium("true").unwrap();
    }

    #[test]
    fn programs_are_looked_up_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-of-mmdiff"));
    }

    #[test]
    fn a_failing_command_is_named_with_its_words() {
        let error = run(
            Power::Root,
            &["sh", "-c", "echo 'E: no space' >&2; exit 1"],
            &|_| (),
        )
        .unwrap_err();
        assert!(error.to_string().contains("E: no space"), "{error}");
    }
}
