//! The op that looks at guards and at the flag of their VMAs, while other threads are at work.

use super::flags;
use super::pages::{self, GUARD};
use crate::arena::Arena;
use crate::sys;
use std::ffi::CStr;

/// How often pagemap is read until a guard is seen: so smaps is read right after the first one has come.
const TRIES: u32 = 64;

/// Whether a page of those from `start` on, as many as `room` has places and 64 at most, is a guard, and lies in a VMA that smaps does not mark with
/// `gu`, and is a guard still: the kernel sets the flag before it puts the first marker anywhere.
///
/// # Errors
/// A file of /proc/self cannot be read.
pub fn guards_without_flag(arena: Arena, start: u64, room: &mut [u64]) -> Result<bool, String> {
    let pagemap = File::open(c"/proc/self/pagemap")?;
    let smaps = File::open(c"/proc/self/smaps")?;
    let mut guards = |among: u64| {
        pages::read_entries(pagemap.0, start / arena.page, room)?;
        let guards = room.iter().enumerate().filter(|(_, e)| **e & GUARD != 0);
        Ok::<u64, String>(guards.fold(0, |all, (n, _)| all | 1 << n) & among)
    };
    let mut before = 0;
    for _ in 0..TRIES {
        before = guards(u64::MAX)?;
        if before != 0 {
            break;
        }
    }
    if before == 0 {
        return Ok(false);
    }
    let without = flags::without_guard_flag(smaps.0, arena.page, start, before)?;
    Ok(without != 0 && guards(without)? != 0)
}

/// A descriptor of a thread's own.
struct File(i32);

impl File {
    fn open(path: &CStr) -> Result<File, String> {
        super::open(path).map(File)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}
