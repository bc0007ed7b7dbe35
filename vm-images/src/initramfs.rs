//! The initramfs: a cpio archive in "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst),
//! uncompressed, since it is small and unpacking costs guest time.
//!
//! The same content gives the same bytes: no times, no owners, inodes numbered in order.

use crate::{Error, Result};
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Builds an archive entry by entry. Begins with `/dev`, `/proc`, `/sys`, `/tmp` and `/dev/console`, which the
/// kernel opens as file descriptors 0 to 2 of `/init`.
#[derive(Debug)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// With `/init`, the program that becomes PID 1.
    pub fn new(init: &[u8]) -> Initramfs {
        let mut archive = Initramfs {
            bytes: Vec::with_capacity(init.len() + 4096),
            entries: 0,
        };
        for name in ["dev", "proc", "sys", "tmp"] {
            archive.entry(name, DIRECTORY, (0, 0), &[]);
        }
        archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
        archive.entry("init", PROGRAM, (0, 0), init);
        archive
    }

    /// [`Initramfs::new`] with a program file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn with_init(init: &Path) -> Result<Initramfs> {
        Ok(Initramfs::new(
            &std::fs::read(init).map_err(Error::io(init))?,
        ))
    }

    /// Adds a directory; its parent must have been added before.
    pub fn directory(mut self, path: &str) -> Self {
        self.entry(path, DIRECTORY, (0, 0), &[]);
        self
    }

    /// Adds a program; its directory must have been added before.
    pub fn program(mut self, path: &str, content: &[u8]) -> Self {
        self.entry(path, PROGRAM, (0, 0), content);
        self
    }

    /// Adds a regular file; its directory must have been added before.
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.entry(path, FILE, (0, 0), content);
        self
    }

    /// Adds modules as `/modules/NN-NAME.ko`, numbered in the order in which they must be loaded.
    pub fn modules(mut self, modules: &[crate::modules::Module]) -> Self {
        if !modules.is_empty() {
            self = self.directory("modules");
        }
        for (i, module) in modules.iter().enumerate() {
            self = self.file(&format!("modules/{i:02}-{}.ko", module.name), &module.bytes);
        }
        self
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let path = path.trim_start_matches('/');
        let inode = if mode == 0 { 0 } else { self.entries + 1 };
        self.entries += 1;
        // Magic, then 13 fields of 8 hex digits: inode, mode, uid, gid, links, time, size, device of the file
        // system (two), device number (two), length of the name with its NUL, checksum (unused).
        let fields = [
            inode,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            major,
            minor,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Name and content each end at a multiple of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let make = || {
            Initramfs::new(b"program")
                .directory("a")
                .file("a/b", b"x")
                .finish()
        };
        assert_eq!(make(), make());
        assert_eq!(make().len() % 4, 0);
        let text = String::from_utf8_lossy(&make()).into_owned();
        for part in [
            "070701",
            "dev/console\0",
            "init\0",
            "program",
            "TRAILER!!!\0",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn every_header_leads_to_the_next() {
        let module = crate::modules::Module {
            name: "brd".into(),
            bytes: vec![1; 5],
        };
        let bytes = Initramfs::new(&[7; 1001]).modules(&[module]).finish();
        let mut at = 0;
        let mut names = Vec::new();
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |n: usize| {
                let digits = &bytes[at + 6 + 8 * n..at + 14 + 8 * n];
                usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            };
            let (size, name_size) = (field(6), field(11));
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            let content = (at + 110 + name_size).next_multiple_of(4);
            names.push(String::from_utf8_lossy(name).into_owned());
            match names.last().map(String::as_str) {
                Some("init") => assert!(bytes[content..content + size] == [7; 1001]),
                Some("dev/console") => {
                    assert_eq!((field(1), field(9), field(10)), (0o020_600, 5, 1))
                }
                _ => {}
            }
            at = (content + size).next_multiple_of(4);
        }
        let expected = [
            "dev",
            "proc",
            "sys",
            "tmp",
            "dev/console",
            "init",
            "modules",
            "modules/00-brd.ko",
            "TRAILER!!!",
        ];
        assert_eq!(names, expected);
    }

    /// GNU cpio, where it is installed, reads the same; elsewhere the test above stands alone.
    #[test]
    fn cpio_agrees_where_installed() {
        let child = Command::new("cpio")
            .args(["-it", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("cpio is not installed");
            return;
        };
        let bytes = Initramfs::new(b"program").finish();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "dev\nproc\nsys\ntmp\ndev/console\ninit\n"
        );
    }
}
