//! A control group for the memory of the campaign's processes, so that some of it can be taken away.

use std::io;
use std::path::{Path, PathBuf};

/// Names of groups begin so; the process's number follows.
const PREFIX: &str = "mmdiff-soak-";

/// A group; it is removed when it goes.
pub struct Group {
    folder: PathBuf,
    /// Names of the files that have the limit and the usage.
    limit: &'static str,
    usage: &'static str,
    /// What stands for no limit.
    unlimited: &'static str,
}

impl Group {
    /// A new group below the root, version 1 or 2.
    ///
    /// # Errors
    /// There is no memory controller, or we may not make groups.
    pub fn create() -> io::Result<Group> {
        let name = format!("{PREFIX}{}", std::process::id());
        let one = Path::new("/sys/fs/cgroup/memory");
        let two = Path::new("/sys/fs/cgroup");
        [one, two].into_iter().for_each(sweep);
        let group = if one.join("memory.limit_in_bytes").exists() {
            Group {
                folder: one.join(name),
                limit: "memory.limit_in_bytes",
                usage: "memory.usage_in_bytes",
                unlimited: "-1",
            }
        } else {
            Group {
                folder: two.join(name),
                limit: "memory.max",
                usage: "memory.current",
                unlimited: "max",
            }
        };
        std::fs::create_dir(&group.folder)?;
        // Without the controller the folder is there, and the file is not.
        std::fs::metadata(group.folder.join(group.limit))?;
        Ok(group)
    }

    /// Puts a process into it; its children will be in it, too.
    ///
    /// # Errors
    /// It is gone.
    pub fn take_in(&self, pid: u32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Lets the group have what it has now and no more, so that the kernel kills one of its processes when it wants more. What it
    /// has, in bytes, comes back.
    ///
    /// # Errors
    /// The limit cannot be set.
    pub fn close(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(self.folder.join(self.usage))?;
        let usage: u64 = text.trim().parse().map_err(io::Error::other)?;
        self.write(self.limit, &usage.to_string())?;
        Ok(usage)
    }

    /// Takes the limit away.
    ///
    /// # Errors
    /// As [`Group::close`].
    pub fn open(&self) -> io::Result<()> {
        self.write(self.limit, self.unlimited)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        std::fs::write(self.folder.join(name), text)
    }
}

/// Removes the groups of processes that were killed before they could.
fn sweep(below: &Path) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // One that still has a process stays.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Works when its last process is gone; processes that were killed take a moment.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("{} cannot be removed", self.folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::{sweep, PREFIX};

    #[test]
    fn groups_of_the_dead_are_swept_away() {
        let below = tempfile::tempdir().unwrap();
        // More than any process's number.
        let dead = below.path().join(format!("{PREFIX}4194305"));
        let living = below.path().join(format!("{PREFIX}{}", std::process::id()));
        let other = below.path().join("4194305");
        for folder in [&dead, &living, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        sweep(below.path());
        assert!(!dead.exists() && living.exists() && other.exists());
    }
}
