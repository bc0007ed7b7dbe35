//! Files that are either whole or not there, and locks between processes.

use crate::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Writes a file under a temporary name next to it and renames it, so that no reader sees half of it.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let mut temp = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(dir)
        .map_err(Error::io(dir))?;
    temp.write_all(content).map_err(Error::io(temp.path()))?;
    // Files made by tempfile are private; these are meant for everybody who may read the directory.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o644))
        .map_err(Error::io(temp.path()))?;
    temp.persist(path).map_err(|e| Error::Io {
        path: path.to_owned(),
        source: e.error,
    })?;
    Ok(())
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
