//! mincore over the arena's VMAs.

use crate::arena::Arena;
use crate::control::Scratch;
use crate::sys;
use wire::Space;

/// Pages between two spans that are asked about along with them: about what another call costs.
const GAP: u32 = 64;

/// Fills in the runs of resident pages. Where `all` is not wanted, only what can be resident is asked about: VMAs of files,
/// shared memory included, whose file may hold any page, and the pages of private anonymous ones that are not empty; for an empty one mincore
/// looks at nothing and says no.
pub fn look(
    arena: Arena,
    all: bool,
    scratch: &mut Scratch,
    space: &mut Space,
) -> Result<(), String> {
    let Space {
        vmas,
        pages,
        resident,
        ..
    } = space;
    let mut runs = pages.iter().peekable();
    let mut span: Option<(u32, u32)> = None;
    let mut mapped_to = 0;
    for vma in vmas.iter() {
        // A call must not go across a hole.
        if vma.start != mapped_to {
            ask(arena, span.take(), &mut scratch.bytes, resident)?;
        }
        mapped_to = vma.end;
        let mut from = vma.start;
        while from < vma.end {
            let (start, end) = if all || vma.file_page.is_some() {
                (vma.start, vma.end)
            } else {
                while runs.next_if(|run| run.start + run.len <= from).is_some() {}
                match runs.peek().filter(|run| run.start < vma.end) {
                    Some(run) => (run.start.max(from), (run.start + run.len).min(vma.end)),
                    None => break,
                }
            };
            from = end;
            span = match span {
                Some((first, last)) if start - last <= GAP => Some((first, end)),
                other => {
                    ask(arena, other, &mut scratch.bytes, resident)?;
                    Some((start, end))
                }
            };
        }
    }
    ask(arena, span, &mut scratch.bytes, resident)
}

fn ask(
    arena: Arena,
    span: Option<(u32, u32)>,
    buffer: &mut [u8],
    into: &mut Vec<(u32, u32)>,
) -> Result<(), String> {
    let Some((mut at, end)) = span else {
        return Ok(());
    };
    while at < end {
        let pages = ((end - at) as usize).min(buffer.len());
        let bytes = &mut buffer[..pages];
        let args = [
            arena.address(at),
            pages as u64 * arena.page,
            bytes.as_mut_ptr() as u64,
            0,
            0,
            0,
        ];
        // SAFETY: the vector has a byte for each page.
        unsafe { sys::call(libc::SYS_mincore, args) }
            .map_err(|e| format!("mincore of pages {at} to {end}: {e}"))?;
        add_runs(at, bytes, into);
        at += pages as u32;
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
