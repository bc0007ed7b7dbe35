//! The files that programs map. There are four of them, always the same: every program finds them as new.

use serde::{Deserialize, Serialize};

/// A file, by its name in the text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum File {
    /// A memfd whose pages are all written.
    Memfd0,
    /// A memfd of which no page was ever written.
    Memfd1,
    /// A file on ramfs, the first half of it written.
    Ramfs0,
    /// Secret memory of which no page was ever touched.
    Secret0,
}

/// What backs a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileKind {
    /// Shared memory: memfd_create(2).
    Memfd,
    /// The page cache and nothing behind it.
    Ramfs,
    /// Memory that the kernel itself does not map: memfd_secret(2).
    Secret,
}

/// A file as a program finds it: `pages` pages long, the first `written` of them written with `tag` (page `n` of the file
/// holds [`crate::space::Content::written`] with the number `n`), the others never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStart {
    pub pages: u32,
    pub written: u32,
    pub tag: u16,
}

/// Pages of every file when a program starts: not a whole number of fault-around's 64 KiB.
const PAGES: u32 = 24;

/// Seals of a memfd: what shall never happen to it again (fcntl(2), F_ADD_SEALS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Seals {
    /// F_SEAL_SEAL: no more seals.
    pub seal: bool,
    /// F_SEAL_SHRINK.
    pub shrink: bool,
    /// F_SEAL_GROW.
    pub grow: bool,
    /// F_SEAL_WRITE.
    pub write: bool,
    /// F_SEAL_FUTURE_WRITE: as `write`, but what is mapped writable already stays so.
    pub future_write: bool,
}

impl Seals {
    pub const NONE: Seals = Seals {
        seal: false,
        shrink: false,
        grow: false,
        write: false,
        future_write: false,
    };

    /// Each seal alone, with its name in the text form.
    pub const EACH: [(&'static str, Seals); 5] = [
        (
            "seal",
            Seals {
                seal: true,
                ..Seals::NONE
            },
        ),
        (
            "shrink",
            Seals {
                shrink: true,
                ..Seals::NONE
            },
        ),
        (
            "grow",
            Seals {
                grow: true,
                ..Seals::NONE
            },
        ),
        (
            "write",
            Seals {
                write: true,
                ..Seals::NONE
            },
        ),
        (
            "future-write",
            Seals {
                future_write: true,
                ..Seals::NONE
            },
        ),
    ];

    /// These and those.
    pub fn and(self, other: Seals) -> Seals {
        Seals {
            seal: self.seal || other.seal,
            shrink: self.shrink || other.shrink,
            grow: self.grow || other.grow,
            write: self.write || other.write,
            future_write: self.future_write || other.future_write,
        }
    }

    /// Whether all of `other` are among them.
    pub fn has(self, other: Seals) -> bool {
        self.and(other) == self
    }

    /// Whether stores that do not go through a mapping made before are forbidden.
    pub fn forbid_writes(self) -> bool {
        self.write || self.future_write
    }
}

impl File {
    /// Every file, in the order of the reference page.
    pub const ALL: [File; 4] = [File::Memfd0, File::Memfd1, File::Ramfs0, File::Secret0];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            File::Memfd0 => "memfd0",
            File::Memfd1 => "memfd1",
            File::Ramfs0 => "ramfs0",
            File::Secret0 => "secret0",
        }
    }

    pub fn kind(self) -> FileKind {
        match self {
            File::Memfd0 | File::Memfd1 => FileKind::Memfd,
            File::Ramfs0 => FileKind::Ramfs,
            File::Secret0 => FileKind::Secret,
        }
    }

    /// What it is when a program starts.
    pub fn start(self) -> FileStart {
        let (written, tag) = match self {
            File::Memfd0 => (PAGES, 1000),
            File::Memfd1 | File::Secret0 => (0, 0),
            File::Ramfs0 => (PAGES / 2, 2000),
        };
        FileStart {
            pages: PAGES,
            written,
            tag,
        }
    }

    /// Its place in [`File::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}
