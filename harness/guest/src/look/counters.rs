//! What the kernel counts for a whole process: /proc/self/status, and what it adds up from the page tables,
//! /proc/self/smaps_rollup.

use crate::sys;
use wire::Counters;

/// Reads both, one right after the other. `status` and `rollup` are this process's own files; `locks_unknown` says that mlockall
/// has locked memory of the guest, or that the kernel may have lost count, so that VmLck says nothing about the arena. Half
/// of `text` is more than any kernel writes of either.
pub fn look(
    status: i32,
    rollup: i32,
    locks_unknown: bool,
    text: &mut [u8],
) -> Result<Counters, String> {
    // Both are written to before either is filled: between the two reads this process must fault nothing in.
    text.fill(0xff);
    let (first, second) = text.split_at_mut(text.len() / 2);
    let status = read(status, first, "status")?;
    let rollup = read(rollup, second, "smaps_rollup")?;
    let locked = value(status, b"VmLck")?;
    Ok(Counters {
        locked: (!locks_unknown).then_some(locked),
        rss_anon: value(status, b"RssAnon")?,
        rss_file: value(status, b"RssFile")?,
        rss_shmem: value(status, b"RssShmem")?,
        swap: value(status, b"VmSwap")?,
        rollup_rss: value(rollup, b"Rss")?,
        rollup_anonymous: value(rollup, b"Anonymous")?,
        rollup_swap: value(rollup, b"Swap")?,
    })
}

fn read<'t>(fd: i32, into: &'t mut [u8], what: &str) -> Result<&'t [u8], String> {
    let n = sys::read_at(fd, into, 0).map_err(|e| format!("{what}: {e}"))?;
    match n {
        n if n == into.len() => Err(format!("{what} is too long")),
        n => Ok(&into[..n]),
    }
}

/// The number of the line `NAME: ... kB`.
fn value(text: &[u8], name: &[u8]) -> Result<u64, String> {
    let lines = text.split(|&b| b == b'\n');
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(b":"));
    let value = values
        .next()
        .ok_or_else(|| format!("no {} among the counters", String::from_utf8_lossy(name)))?;
    let digits = value.iter().filter(|b| b.is_ascii_digit());
    Ok(digits.fold(0, |n: u64, b| n.wrapping_mul(10) + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_whole_names() {
        let text = b"VmLck:\t     0 kB\nRss:   12 kB\nSwapPss:   7 kB\nSwap:    3 kB\n";
        assert_eq!(value(text, b"VmLck"), Ok(0));
        assert_eq!(value(text, b"Rss"), Ok(12));
        assert_eq!(value(text, b"Swap"), Ok(3));
        assert!(value(text, b"VmL").is_err());
    }
}
