//! mincore over the arena's VMAs.

use crate::arena::Arena;
use crate::control::Scratch;
use crate::sys;
use wire::Space;

/// Fills in the runs of resident pages.
pub fn look(arena: Arena, scratch: &mut Scratch, space: &mut Space) -> Result<(), String> {
    let mut next = 0;
    while let Some(vma) = space.vmas.get(next) {
        // One call for VMAs without a hole between them.
        let (start, mut end) = (vma.start, vma.end);
        next += 1;
        while let Some(vma) = space.vmas.get(next).filter(|vma| vma.start == end) {
            end = vma.end;
            next += 1;
        }
        let mut at = start;
        while at < end {
            let pages = ((end - at) as usize).min(scratch.bytes.len());
            let bytes = &mut scratch.bytes[..pages];
            // SAFETY: the vector has a byte for each page.
            unsafe {
                sys::call(
                    libc::SYS_mincore,
                    [
                        arena.address(at),
                        pages as u64 * arena.page,
                        bytes.as_mut_ptr() as u64,
                        0,
                        0,
                        0,
                    ],
                )
            }
            .map_err(|e| format!("mincore of pages {at} to {end}: {e}"))?;
            add_runs(at, bytes, &mut space.resident);
            at += pages as u32;
        }
    }
    Ok(())
}

fn add_runs(first: u32, bytes: &[u8], into: &mut Vec<(u32, u32)>) {
    let mut index = 0;
    while index < bytes.len() {
        // Most of an arena is alike: eight pages at a time.
        if let Some(eight) = bytes.get(index..index + 8) {
            if eight == [0; 8] {
                index += 8;
                continue;
            }
        }
        if bytes[index] & 1 == 0 {
            index += 1;
            continue;
        }
        let len = bytes[index..].iter().take_while(|&&b| b & 1 == 1).count();
        let start = first + index as u32;
        match into.last_mut() {
            Some((at, pages)) if *at + *pages == start => *pages += len as u32,
            _ => into.push((start, len as u32)),
        }
        index += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_across_calls_and_only_bit_zero_counts() {
        let mut runs = Vec::new();
        let mut bytes = vec![0_u8; 30];
        bytes[3] = 1;
        bytes[4] = 0xff;
        bytes[5] = 2;
        bytes[29] = 1;
        add_runs(100, &bytes, &mut runs);
        add_runs(130, &[1, 0], &mut runs);
        assert_eq!(runs, [(103, 2), (129, 2)]);
    }
}
