//! What a guest that has gone mad does to its host, done from outside: by the memory and the console that QEMU has of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use wire::layout;
use wire::ring::{Memory, RESPONSES};

/// Bytes of console that are more than a host takes from a guest (64 MiB).
const CONSOLE: usize = 80 << 20;

/// The memory that a guest shares with its host.
struct Shared(File);

impl Memory for Shared {
    type Error = io::Error;

    fn load(&self, offset: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, offset)?;
        Ok(u64::from_le_bytes(word))
    }

    fn store(&self, offset: u64, value: u64) -> io::Result<()> {
        self.0.write_all_at(&value.to_le_bytes(), offset)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_all_at(from, offset)
    }
}

/// Writes into the memory that a QEMU shares with its host as only a broken or hostile guest would; says what it wrote.
///
/// # Errors
/// QEMU is gone, or its memory may not be opened.
pub fn garbage(qemu: u32, random: &mut fastrand::Rng) -> io::Result<String> {
    let shared = Shared(memory(qemu)?);
    let bytes = |random: &mut fastrand::Rng, n: usize| -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..)).take(n).collect()
    };
    Ok(match random.u8(..3) {
        0 => {
            let (start, length) = layout::RESPONSES;
            let block = bytes(random, 256 << 10);
            let at = start + random.u64(..length - block.len() as u64) / 8 * 8;
            shared.write(at, &block)?;
            format!("{} bytes at {at:#x}", block.len())
        }
        1 => {
            let head = random.u64(..);
            shared.store(layout::RESPONSE_HEAD, head)?;
            format!("head {head:#x}")
        }
        _ => {
            let n = 8 * random.usize(1..4096);
            let frame = bytes(random, n);
            let pushed = RESPONSES.push(&shared, &frame);
            let pushed = pushed.map_err(|e| io::Error::other(e.to_string()))?;
            format!("a frame of {} bytes, {pushed}", frame.len())
        }
    })
}

/// The shared memory among the files that a QEMU has open.
fn memory(qemu: u32) -> io::Result<File> {
    let found = std::fs::read_dir(format!("/proc/{qemu}/fd"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let target = std::fs::read_link(path).unwrap_or_default();
            target.to_string_lossy().contains("memfd:mmdiff-guest")
        });
    let path: PathBuf = found.ok_or(io::ErrorKind::NotFound)?;
    OpenOptions::new().read(true).write(true).open(path)
}

/// Writes more to a QEMU's console than any guest should have to say, until its host has had enough; bytes that were taken.
///
/// # Errors
/// QEMU is gone, or its console may not be opened.
pub fn flood(qemu: u32) -> io::Result<usize> {
    let mut console = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(format!("/proc/{qemu}/fd/1"))?;
    let lines = b"a guest that does not stop to talk\n".repeat(1000);
    let (mut taken, mut waited) = (0, 0);
    while taken < CONSOLE && waited < 5000 {
        match console.write(&lines) {
            Ok(n) => taken += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                waited += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            // The host has ended QEMU.
            Err(_) => break,
        }
    }
    Ok(taken)
}
