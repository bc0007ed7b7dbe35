//! What tests of farms need: engines, and what a manifest is checked with.

use super::{install, Missing, SetupError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a Slurm on this machine consists of, as programs and Debian packages.
const SLURM: [(&str, &str); 4] = [
    ("munged", "munge"),
    ("slurmctld", "slurmctld"),
    ("slurmd", "slurmd"),
    ("sbatch", "slurm-client"),
];

/// Makes sure that Slurm and its munged are there, for tests of farms; installs them where it may. Debian's packages start no Slurm
/// without a configuration; a munged with a key of its own they do start.
///
/// # Errors
/// [`SetupError`], exit code 69: what is missing and the line to run.
pub fn ensure_slurm(say: &dyn Fn(&str)) -> Result<(), SetupError> {
    ensure_programs(&SLURM, say)
}

/// Makes sure that GNU parallel is there; installs it where it may.
///
/// # Errors
/// As [`ensure_slurm`].
pub fn ensure_parallel(say: &dyn Fn(&str)) -> Result<(), SetupError> {
    ensure_programs(&[("parallel", "parallel")], say)
}

/// Makes sure that strace is there; installs it where it may.
///
/// # Errors
/// As [`ensure_slurm`].
pub fn ensure_strace(say: &dyn Fn(&str)) -> Result<(), SetupError> {
    ensure_programs(&[("strace", "strace")], say)
}

/// Packages of an sshd: Debian's, and a library that nothing else has.
const SSHD: [&str; 2] = ["openssh-server", "libwrap0"];

/// An sshd that is not installed.
pub struct Sshd {
    pub program: PathBuf,
    /// Libraries that it needs and the system may not have.
    pub libraries: PathBuf,
    /// Its other programs (from 9.8 on), by their names in sshd_config(5).
    pub parts: Vec<(&'static str, PathBuf)>,
}

/// Makes sure that there are an ssh and an sshd. The sshd is Debian's, unpacked in a folder of the workspace's target folder: one that is
/// installed would be started, and let others in.
///
/// # Errors
/// As [`ensure_slurm`], and when the packages cannot be fetched or unpacked.
pub fn ensure_sshd(workspace: &Path, say: &dyn Fn(&str)) -> Result<Sshd, SetupError> {
    ensure_programs(
        &[
            ("ssh", "openssh-client"),
            ("ssh-keygen", "openssh-client"),
            ("unshare", "util-linux"),
        ],
        say,
    )?;
    let folder = crate::folders::target(workspace).join("mmdiff/tools/sshd");
    // Written when all of it is there.
    let mark = folder.join("whole");
    if !mark.exists() {
        let failed = |what: String| SetupError(format!("{}: {what}", folder.display()));
        std::fs::create_dir_all(&folder).map_err(|e| failed(e.to_string()))?;
        let run = |program: &str, words: &[&str]| {
            say(&format!("running: {program} {}", words.join(" ")));
            let out = Command::new(program)
                .args(words)
                .current_dir(&folder)
                .stdin(Stdio::null())
                .output()
                .map_err(|e| failed(format!("{program}: {e}")))?;
            match out.status.success() {
                true => Ok(()),
                false => Err(failed(String::from_utf8_lossy(&out.stderr).trim().into())),
            }
        };
        run("apt-get", &[&["download", "-q"][..], &SSHD].concat())?;
        let files = std::fs::read_dir(&folder).map_err(|e| failed(e.to_string()))?;
        for file in files.flatten().map(|file| file.path()) {
            if file.extension().is_some_and(|end| end == "deb") {
                run("dpkg-deb", &["-x", &file.to_string_lossy(), "."])?;
            }
        }
        std::fs::write(&mark, "").map_err(|e| failed(e.to_string()))?;
    }
    let folder = folder.canonicalize().unwrap_or(folder);
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let parts = [
        ("SshdSessionPath", "sshd-session"),
        ("SshdAuthPath", "sshd-auth"),
    ];
    let parts = parts.map(|(option, name)| (option, folder.join("usr/lib/openssh").join(name)));
    Ok(Sshd {
        program: folder.join("usr/sbin/sshd"),
        libraries: folder.join(libraries),
        parts: parts
            .into_iter()
            .filter(|(_, path)| path.exists())
            .collect(),
    })
}

/// The Python package that has the schemas of Kubernetes.
const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";

/// Makes sure that kubernetes-validate is there, by pip, in a folder of the workspace's target folder, which comes back: the
/// PYTHONPATH that it needs.
///
/// # Errors
/// As [`ensure_slurm`], and when pip cannot install it.
pub fn ensure_kubernetes_validate(
    workspace: &Path,
    say: &dyn Fn(&str),
) -> Result<PathBuf, SetupError> {
    let folder = crate::folders::target(workspace).join("mmdiff/tools/kubernetes-validate");
    // Written when all of it is there.
    let mark = folder.join(KUBERNETES_VALIDATE);
    if mark.exists() {
        return Ok(folder);
    }
    ensure_programs(&[("python3", "python3")], say)?;
    let has_pip = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|out| out.status.success());
    if !has_pip {
        ensure_programs(&[("pip3", "python3-pip")], say)?;
    }
    let words = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
    say(&format!(
        "running: python3 -m pip install {KUBERNETES_VALIDATE}"
    ));
    let failed = |what: String| {
        SetupError(format!(
            "{KUBERNETES_VALIDATE} cannot be installed: {what}\nby hand:\n  python3 {} {} {KUBERNETES_VALIDATE} && touch {}",
            words.join(" "),
            folder.display(),
            mark.display()
        ))
    };
    let out = Command::new("python3")
        .args(words)
        .arg(&folder)
        .arg(KUBERNETES_VALIDATE)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !out.status.success() {
        return Err(failed(String::from_utf8_lossy(&out.stderr).trim().into()));
    }
    std::fs::write(&mark, "").map_err(|e| failed(e.to_string()))?;
    Ok(folder)
}

/// Where a program is: on the path, or among those of the system's administrator.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
}

/// Makes sure that programs of these packages are there.
fn ensure_programs(
    programs: &[(&'static str, &'static str)],
    say: &dyn Fn(&str),
) -> Result<(), SetupError> {
    let missing = |programs: &[(&'static str, &'static str)]| {
        let mut missing = Missing::default();
        for (name, package) in programs.iter().filter(|(name, _)| program(name).is_none()) {
            missing.what.push(format!("{name} (package {package})"));
            missing.packages.push(package);
        }
        missing
    };
    let first = missing(programs);
    if first.packages.is_empty() {
        return Ok(());
    }
    install(&first, say)?;
    match missing(programs).what.as_slice() {
        [] => Ok(()),
        still => Err(SetupError(format!(
            "installed {}, yet still missing: {}",
            first.packages.join(" "),
            still.join(", ")
        ))),
    }
}
