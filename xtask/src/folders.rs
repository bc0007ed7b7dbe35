//! Output folders and their names.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// `YYYY-MM-DDThh-mm-ss` of now, in UTC.
pub fn timestamp() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let (year, month, day) = date(seconds / 86_400);
    let s = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// A new folder for a run: the one asked for, else one named after the time.
pub fn run_folder(workspace: &Path, out: Option<&Path>) -> PathBuf {
    if let Some(out) = out {
        return out.to_path_buf();
    }
    let runs = target(workspace).join("mmdiff/runs");
    let stamp = timestamp();
    let mut folder = runs.join(&stamp);
    let mut n = 2;
    while folder.exists() {
        folder = runs.join(format!("{stamp}-{n}"));
        n += 1;
    }
    folder
}

/// A folder that a command writes to, for its user alone. As long as the command lives, `runs prune` leaves the folder alone, and another
/// command does not write to it.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    /// `None`: on a file system that has no locks.
    _lock: Option<Flock<File>>,
}

impl Held {
    /// Makes the folder that was asked for, or one named after the time ([`run_folder`]), unless it is there, and holds it.
    ///
    /// # Errors
    /// It cannot be made, or another command has it.
    pub fn run(workspace: &Path, out: Option<&Path>) -> Result<Held> {
        Held::folder(run_folder(workspace, out))
    }

    /// As [`Held::run`], for this folder.
    fn folder(path: PathBuf) -> Result<Held> {
        let name = || path.display().to_string();
        vm_images::files::private_folder(&path).with_context(name)?;
        let folder = File::open(&path).with_context(name)?;
        let lock = match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => {
                anyhow::bail!("{}: another command is writing there", name())
            }
            Err(_) => None,
        };
        Ok(Held { path, _lock: lock })
    }

    /// Makes a folder in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        vm_images::files::private_folder(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

impl Deref for Held {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// A new folder for the console logs of a command that leaves nothing else behind.
///
/// # Errors
/// It cannot be made.
pub fn consoles(workspace: &Path) -> Result<PathBuf> {
    let path = target(workspace).join("mmdiff/consoles").join(timestamp());
    let name = || path.display().to_string();
    vm_images::files::private_folder(&path).with_context(name)?;
    // Held until the process ends; commands that began in the same second share it.
    let folder = File::open(&path).with_context(name)?;
    std::mem::forget(Flock::lock(folder, FlockArg::LockSharedNonblock));
    Ok(path)
}

/// Whether a file or folder is locked by somebody.
pub fn is_locked(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| {
        let tried = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        matches!(tried, Err((_, Errno::EWOULDBLOCK)))
    })
}

/// Cargo's target folder.
pub fn target(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_780), (2026, 11, 23));
    }
}
