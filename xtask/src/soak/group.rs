//! A control group for the memory of the campaign's processes, so that some of it can be taken away.

use std::io;
use std::path::{Path, PathBuf};

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
        let name = format!("mmdiff-soak-{}", std::process::id());
        let one = Path::new("/sys/fs/cgroup/memory");
        let two = Path::new("/sys/fs/cgroup");
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
