//! The page frames behind present pages: what /proc/kpageflags says of them.

use super::pages::{read_entries, PFN, PRESENT};
use crate::arena::Arena;
use crate::sys;
use wire::{frames, FrameRun, PageRun};

/// Pages that are looked at at once.
const PIECE: usize = 64;

/// Adds the frames of those pages of `runs` that are present, and still as they were when `runs` was made: khugepaged, or the kernel
/// that wants memory, may have been there since. `pagemap` must show frame numbers.
pub fn look(
    kpageflags: i32,
    pagemap: i32,
    arena: Arena,
    runs: &[PageRun],
    into: &mut Vec<FrameRun>,
) -> Result<(), String> {
    let (mut before, mut flags, mut after) = ([0; PIECE], [0; PIECE], [0; PIECE]);
    for run in runs {
        if u64::from(run.pagemap) << 55 & PRESENT == 0 {
            continue;
        }
        let mut done = 0;
        while done < run.len {
            let start = run.start + done;
            let count = ((run.len - done) as usize).min(PIECE);
            let first = arena.address(start) / arena.page;
            read_entries(pagemap, first, &mut before[..count])?;
            read_flags(kpageflags, &before[..count], &mut flags)?;
            read_entries(pagemap, first, &mut after[..count])?;
            for n in 0..count {
                let stays = before[n] == after[n] && (before[n] >> 55) as u16 == run.pagemap;
                if stays {
                    push(into, start + n as u32, flags[n] as u32 & frames::TOLD);
                }
            }
            done += count as u32;
        }
    }
    Ok(())
}

/// Reads the flags of the frames of `entries`, those of frames that follow each other at once.
fn read_flags(kpageflags: i32, entries: &[u64], into: &mut [u64]) -> Result<(), String> {
    let mut at = 0;
    while at < entries.len() {
        let frame = entries[at] & PFN;
        if entries[at] & PRESENT != 0 && frame == 0 {
            return Err("pagemap hides the numbers of page frames".to_owned());
        }
        let rest = entries[at..].iter().enumerate();
        let many = rest
            .take_while(|(n, e)| **e & PFN == frame + *n as u64)
            .count();
        let want = &mut into[at..at + many];
        let bytes = std::mem::size_of_val(want);
        // SAFETY: any bytes are valid numbers.
        let buffer =
            unsafe { std::slice::from_raw_parts_mut(want.as_mut_ptr().cast::<u8>(), bytes) };
        match sys::read_at(kpageflags, buffer, frame * 8) {
            Ok(n) if n == bytes => {}
            Ok(n) => return Err(format!("kpageflags of frame {frame}: {n} of {bytes} bytes")),
            Err(e) => return Err(format!("kpageflags of frame {frame}: {e}")),
        }
        at += many;
    }
    Ok(())
}

fn push(into: &mut Vec<FrameRun>, page: u32, flags: u32) {
    match into.last_mut() {
        Some(last) if last.start + last.len == page && last.flags == flags => last.len += 1,
        _ => into.push(FrameRun {
            start: page,
            len: 1,
            flags,
        }),
    }
}
