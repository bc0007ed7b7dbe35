//! Files that are either whole or not there, and locks between processes.

use crate::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Names of files that are being written begin so; one that is left belongs to a process that was killed.
pub const UNFINISHED: &str = ".new-";

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its user alone: what a run has found.
    Owner,
    /// Whoever may enter the folder.
    Everybody,
}

/// Writes a file for everybody: [`replace`].
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = folder_of(path);
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    replace(path, content, Readers::Everybody).map_err(Error::io(path))
}

/// Writes a file under a temporary name next to it, brings it to the disk and renames it: no reader sees half of it, and of a machine that goes
/// down there is the old file or the new one. When this returns it is the new one.
///
/// # Errors
/// It cannot be written; the old one is then still there.
pub fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let dir = folder_of(path);
    let mut temp = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(dir)?;
    temp.write_all(content)?;
    // Files made by tempfile are private.
    if readers == Readers::Everybody {
        fs::set_permissions(temp.path(), Permissions::from_mode(0o644))?;
    }
    temp.as_file().sync_all()?;
    temp.persist(path).map_err(|e| e.error)?;
    sync_name(path)
}

/// Brings the name of a file or folder to the disk, which is what its folder says of it.
///
/// # Errors
/// The disk has failed.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // Some file systems have no such thing for folders, and say so; and a folder may be one that we may write to and not read.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Makes a folder, and those above it that are not there, for its user alone. One that is there stays as it is.
///
/// # Errors
/// It cannot be made.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file for its user alone, or empties one that is there.
///
/// # Errors
/// It cannot be made.
pub fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Held as long as it lives; a second process (or thread) that wants the same name waits.
pub struct NameLock(#[allow(dead_code)] Flock<File>);

/// Waits for the exclusive lock on `path`, which is created when needed and never removed
/// (removing it would let two processes hold "the" lock).
pub fn lock(path: &Path) -> Result<NameLock> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io(path))?;
    match Flock::lock(file, FlockArg::LockExclusive) {
        Ok(lock) => Ok(NameLock(lock)),
        Err((_, errno)) => Err(Error::Io {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
}
