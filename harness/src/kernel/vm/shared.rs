//! The memory that we share with a guest: a memfd, which leaves nothing behind whoever dies. The host reads and writes
//! it with system calls rather than mapping it, so that no reference of ours ever points to memory that somebody else
//! changes.

use nix::sys::memfd::{memfd_create, MFdFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use wire::layout;
use wire::ring::Memory;

/// Shared memory, ready for a guest to find.
#[derive(Debug)]
pub struct Shared {
    file: File,
}

impl Shared {
    /// Fresh memory with the magic word in it.
    ///
    /// # Errors
    /// No memory, no descriptors.
    pub fn create() -> io::Result<Shared> {
        let file = File::from(memfd_create(c"mmdiff-guest", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(layout::BYTES)?;
        let shared = Shared { file };
        shared.store(layout::MAGIC, layout::MAGIC_VALUE)?;
        Ok(shared)
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Memory for Shared {
    type Error = io::Error;

    fn load(&self, offset: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, offset)?;
        Ok(u64::from_le_bytes(word))
    }

    fn store(&self, offset: u64, value: u64) -> io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), offset)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_all_at(from, offset)
    }
}
