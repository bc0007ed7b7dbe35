//! VmFlags and sizes, from /proc/self/smaps. Each record costs the kernel a walk, so reading stops after the last one that is wanted.

use super::vmas::parse_line;
use crate::arena::Arena;
use crate::sys;
use std::ops::ControlFlow;
use wire::{Sizes, Vma};

/// Bytes of a read, less than any record has: the kernel formats records until a read is satisfied.
const READ: usize = 600;

/// Hands over smaps line by line, until there are no more or `line` says that it has enough. `buffer` is room for a few reads.
fn each_line(
    smaps: i32,
    buffer: &mut [u8],
    mut line: impl FnMut(&[u8]) -> Result<ControlFlow<()>, String>,
) -> Result<(), String> {
    let (mut have, mut offset) = (0, 0);
    loop {
        let room = (have + READ).min(buffer.len());
        let n = sys::read_at(smaps, &mut buffer[have..room], offset)
            .map_err(|e| format!("smaps: {e}"))?;
        if n == 0 {
            return Ok(());
        }
        have += n;
        offset += n as u64;
        let mut used = 0;
        while let Some(len) = line_length(&buffer[used..have]) {
            if line(&buffer[used..used + len])?.is_break() {
                return Ok(());
            }
            used += len + 1;
        }
        buffer.copy_within(used..have, 0);
        have -= used;
        if have == buffer.len() {
            return Err("a line of smaps is too long".to_owned());
        }
    }
}

/// Whether a line is one of the twenty with sizes that stand between a record's head, which begins with a lower-case hexadecimal digit,
/// and its flags.
fn is_size(line: &[u8]) -> bool {
    let first = line.first().copied().unwrap_or_default();
    first.is_ascii_uppercase() && first != b'V'
}

/// Fills in the flags of `vmas`, which are the first ones of the arena, and with `with_sizes` the sizes: reading them takes
/// time. `buffer` is room for a few reads.
pub fn look(
    smaps: i32,
    arena: Arena,
    vmas: &mut [Vma],
    with_sizes: bool,
    buffer: &mut [u8],
) -> Result<(), String> {
    let (mut done, wanted) = (0, vmas.len());
    let (mut current, mut sizes) = (None, Reading::default());
    each_line(smaps, buffer, |line| {
        if is_size(line) {
            if with_sizes {
                sizes.line(line);
            }
        } else if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            let vma = vmas
                .get_mut(done)
                .filter(|vma| current == Some((vma.start, vma.end)));
            let Some(vma) = vma else {
                return Err(format!("smaps and the VMAs disagree at number {done}"));
            };
            vma.flags = Some(String::from_utf8_lossy(flags).trim().to_owned());
            if with_sizes {
                vma.sizes = Some(std::mem::take(&mut sizes).finish()?);
            }
            done += 1;
            if done == wanted {
                return Ok(ControlFlow::Break(()));
            }
        } else if let Some(head) = parse_line(line) {
            if head.start >= arena.high() {
                return Err(format!("smaps has {done} of {wanted} VMAs"));
            }
            let page = |at| arena.page_number(at);
            current = Some((page(head.start)?, page(head.end)?));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match done == wanted {
        true => Ok(()),
        false => Err(format!("smaps ends after {done} of {wanted} VMAs")),
    }
}

/// Of the pages of `page` bytes from `start` on whose bits are set in `among`, the first as the lowest: those in a VMA without `gu`.
pub fn without_guard_flag(smaps: i32, page: u64, start: u64, among: u64) -> Result<u64, String> {
    let end = start + u64::from(u64::BITS - among.leading_zeros()) * page;
    let mut buffer = [0; 2 * READ];
    let (mut current, mut without) = ((0, 0), 0);
    each_line(smaps, &mut buffer, |line| {
        if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            let marked = flags.split(|byte| *byte == b' ').any(|flag| flag == b"gu");
            for n in (0..u64::BITS).filter(|_| !marked) {
                let at = start + u64::from(n) * page;
                if current.0 <= at && at < current.1 {
                    without |= among & 1 << n;
                }
            }
            if current.1 >= end {
                return Ok(ControlFlow::Break(()));
            }
        } else if let Some(head) = Some(line).filter(|l| !is_size(l)).and_then(parse_line) {
            current = (head.start, head.end);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(without)
}

/// The sizes of one record, as far as they were read.
#[derive(Default)]
struct Reading {
    sizes: Sizes,
    found: u32,
}

impl Reading {
    /// Takes a line if it is one of those that are wanted.
    fn line(&mut self, line: &[u8]) {
        let s = &mut self.sizes;
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return;
        };
        let (name, value) = line.split_at(colon);
        let into = match name {
            b"Rss" => &mut s.rss,
            b"Pss" => &mut s.pss,
            b"Private_Clean" => &mut s.private_clean,
            b"Private_Dirty" => &mut s.private_dirty,
            b"Anonymous" => &mut s.anonymous,
            b"LazyFree" => &mut s.lazy_free,
            b"AnonHugePages" => &mut s.anon_huge_pages,
            b"ShmemPmdMapped" => &mut s.shmem_pmd_mapped,
            b"FilePmdMapped" => &mut s.file_pmd_mapped,
            b"Swap" => &mut s.swap,
            b"Locked" => &mut s.locked,
            _ => return,
        };
        let digits = value.iter().filter(|b| b.is_ascii_digit());
        *into = digits.fold(0, |n: u64, b| n.wrapping_mul(10) + u64::from(b - b'0'));
        self.found += 1;
    }

    /// All of them.
    fn finish(self) -> Result<Sizes, String> {
        match self.found {
            11 => Ok(self.sizes),
            n => Err(format!("a record of smaps has {n} of 11 sizes")),
        }
    }
}

/// Bytes before the first newline, if there is one.
fn line_length(bytes: &[u8]) -> Option<usize> {
    // SAFETY: searches `bytes` only.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), i32::from(b'\n'), bytes.len()) };
    (!found.is_null()).then(|| found as usize - bytes.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd};

    #[test]
    fn pages_in_vmas_without_the_flag_are_told() {
        // SAFETY: a name that lives; the descriptor is the file's alone.
        let mut file = unsafe {
            let fd = libc::memfd_create(c"smaps".as_ptr(), 0);
            std::fs::File::from_raw_fd(fd)
        };
        for (range, flags) in [
            ("1000-3000", "rd wr gu sd"),
            ("3000-5000", "rd wr gux"),
            ("7000-9000", "rd"),
        ] {
            writeln!(file, "{range} rw-p 00000000 00:00 0 ").unwrap();
            writeln!(file, "Size: 8 kB\nVmFlags: {flags} ").unwrap();
        }
        let without =
            |start, among| without_guard_flag(file.as_raw_fd(), 0x1000, start, among).unwrap();
        // Pages 1 to 8: marked are 1 and 2, unmapped 5 and 6.
        assert_eq!(without(0x1000, 0b1111_1111), 0b1100_1100);
        assert_eq!(without(0x1000, 0b0100_0001), 0b0100_0000);
        assert_eq!(without(0x3000, 0b1), 0b1);
        assert_eq!(without(0x1000, 0), 0);
    }

    #[test]
    fn sizes_are_read_by_their_names() {
        let mut reading = Reading::default();
        let lines = [
            "Size:                 16 kB",
            "Rss:                  12 kB",
            "Pss:                  10 kB",
            "Pss_Dirty:             4 kB",
            "Private_Clean:         0 kB",
            "Private_Dirty:         8 kB",
            "Anonymous:            12 kB",
            "LazyFree:              0 kB",
            "AnonHugePages:      2048 kB",
            "ShmemPmdMapped:        0 kB",
            "FilePmdMapped:         0 kB",
            "Swap:                  0 kB",
            "SwapPss:               3 kB",
        ];
        lines.iter().for_each(|line| reading.line(line.as_bytes()));
        assert_eq!(reading.found, 10);
        reading.line(b"Locked:                9 kB");
        let sizes = reading.finish().expect("all sizes");
        let expected = Sizes {
            rss: 12,
            pss: 10,
            private_dirty: 8,
            anonymous: 12,
            anon_huge_pages: 2048,
            locked: 9,
            ..Sizes::default()
        };
        assert_eq!(sizes, expected);
        assert!(Reading::default().finish().is_err());
    }
}
