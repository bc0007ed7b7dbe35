//! What can go wrong between a name in the lock and a kernel that can be booted.

use std::io;
use std::path::PathBuf;

/// Every error names the thing it is about and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read, written or locked.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// `kernels.toml` or `kernels.lock` does not parse or contradicts itself.
    #[error("{file}: {message}")]
    Format {
        /// Name of the file.
        file: String,
        /// What is wrong, with line where known.
        message: String,
    },

    /// A name in `--kernels` that stands for no kernel in the lock.
    #[error("no kernel called `{name}`; there are:\n{known}")]
    UnknownKernel {
        /// What was asked for.
        name: String,
        /// One line per series with what there is.
        known: String,
    },

    /// No mirror is known: apt has no Debian source and no variable is set.
    #[error("no Debian mirror is known for the {archive} archive: apt's configuration names none; set MMDIFF_DEBIAN_MIRROR to a mirror's address (the directory that holds `pool`)")]
    NoMirror {
        /// `main` or `security`.
        archive: String,
    },

    /// The mirror did not answer.
    #[error("cannot reach the mirror for {uri}: {detail}\nwithout a network only kernels that are in the cache can be used (`cargo xtask kernels list` shows them)")]
    Network {
        /// What was to be fetched.
        uri: String,
        /// apt's own words.
        detail: String,
    },

    /// What was fetched twice, or what lies in the cache, is not what the lock says.
    #[error("{what}: SHA-256 is {found}, the lock says {expected}; fetched again, still wrong: the mirror serves something else, or the lock entry is wrong (`cargo xtask kernels add` writes it anew)")]
    HashMismatch {
        /// File or URI.
        what: String,
        /// From the lock, hex.
        expected: String,
        /// Of the bytes at hand, hex (or apt's words for them).
        found: String,
    },

    /// Neither the mirror nor the fall-backs have this kernel. Callers turn this into a row that says skipped.
    #[error("{release}: not to be had: {detail}")]
    Unavailable {
        /// Release string of the kernel.
        release: String,
        /// What was tried.
        detail: String,
    },

    /// A Debian package that does not hold what it should.
    #[error("{package}: {message}")]
    BadPackage {
        /// Name or path of the package.
        package: String,
        /// What is wrong.
        message: String,
    },

    /// A file that was given as a kernel and is none.
    #[error("{path}: not a kernel image that can be booted: {message}; an x86-64 bzImage or an arm64 Image is needed", path = .path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },

    /// A tool of the host is missing or failed.
    #[error("{tool}: {message}")]
    Tool {
        /// The program.
        tool: String,
        /// What happened and what to do.
        message: String,
    },

    /// The private apt root could not be used.
    #[error("private apt root {root}: {message}", root = .root.display())]
    Apt {
        /// Its directory.
        root: PathBuf,
        /// apt's own words.
        message: String,
    },

    /// A series that no source is locked for.
    #[error("no source of `{name}` in kernels.lock; there are: {known}; `cargo xtask kernels add SERIES` locks another where Debian has one, --tree PATH builds your own")]
    UnknownSource {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },

    /// A folder that was given as a kernel tree and is none.
    #[error("{path}: no kernel tree (there is no Kconfig in it)", path = .path.display())]
    NotATree {
        /// The folder.
        path: PathBuf,
    },

    /// Something would not fit on the disk; nothing was written.
    #[error("{folder}: {what} needs {needed_mib} MiB, {free_mib} MiB are free; make room, or set MMDIFF_CACHE to a folder on another disk", folder = .folder.display())]
    NoSpace {
        /// Where it was to go.
        folder: PathBuf,
        /// What it was.
        what: String,
        /// MiB that it takes.
        needed_mib: u64,
        /// MiB that are free.
        free_mib: u64,
    },

    /// The kernel's configuration tools did not keep what the fragments want.
    #[error("{config}: not as vm-images/config wants it:\n  {unmet}\nsomething that it depends on is off, or this tree calls it otherwise: mend the fragment", config = .config.display())]
    ConfigUnmet {
        /// The final configuration.
        config: PathBuf,
        /// One line per option.
        unmet: String,
    },

    /// The kernel did not build.
    #[error("building {tree} failed:\n{output}\nall of it: {log}", tree = .tree.display(), log = .log.display())]
    KernelBuild {
        /// The tree.
        tree: PathBuf,
        /// The end of what make said, or the compiler's errors.
        output: String,
        /// Everything that make said.
        log: PathBuf,
    },

    /// The guest program did not build.
    #[error("building the guest for {arch} failed:\n{output}")]
    GuestBuild {
        /// Target architecture.
        arch: crate::Arch,
        /// The end of cargo's output.
        output: String,
    },
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O error with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// True for what the user asked for wrongly (exit code 2); everything else is infrastructure (exit code 69).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Error::UnknownKernel { .. }
                | Error::UnknownSource { .. }
                | Error::NotATree { .. }
                | Error::NotAKernel { .. }
                | Error::Format { .. }
        )
    }
}
