//! VMAs: by PROCMAP_QUERY, or from /proc/self/maps where that is missing.

use crate::arena::Arena;
use crate::sys::{self, Errno};
use wire::Vma;

/// `struct procmap_query` of <linux/fs.h>.
#[derive(Default)]
#[repr(C)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// _IOWR('f', 17, struct procmap_query)
const PROCMAP_QUERY: u64 = 3 << 30 | 104 << 16 | 0x66 << 8 | 17;
const COVERING_OR_NEXT: u64 = 0x10;
const FLAG_SHARED: u64 = 8;

/// The first VMA that ends after `address`. `None`: there is none.
pub fn query(maps: i32, address: u64) -> Result<Option<Line>, Errno> {
    let mut query = ProcmapQuery {
        size: std::mem::size_of::<ProcmapQuery>() as u64,
        query_flags: COVERING_OR_NEXT,
        query_addr: address,
        ..ProcmapQuery::default()
    };
    // SAFETY: the kernel fills in the struct, whose size it is told.
    let result = unsafe {
        sys::call(
            libc::SYS_ioctl,
            [maps as u64, PROCMAP_QUERY, &raw mut query as u64, 0, 0, 0],
        )
    };
    match result {
        Ok(_) => Ok(Some(Line {
            start: query.vma_start,
            end: query.vma_end,
            // Readable, writable and executable are 1, 2 and 4, as PROT_READ, PROT_WRITE and PROT_EXEC.
            prot: (query.vma_flags & 7) as u8,
            shared: query.vma_flags & FLAG_SHARED != 0,
            offset: (query.inode != 0).then_some(query.vma_offset),
        })),
        Err(Errno(libc::ENOENT)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What PROCMAP_QUERY, a line of maps or the head of a record of smaps says of a VMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub start: u64,
    pub end: u64,
    /// PROT_* bits.
    pub prot: u8,
    pub shared: bool,
    /// Offset in its file, bytes; `None` without a file.
    pub offset: Option<u64>,
}

fn push(arena: Arena, line: Line, into: &mut Vec<Vma>) -> Result<(), String> {
    into.push(Vma {
        start: arena.page_number(line.start)?,
        end: arena.page_number(line.end)?,
        prot: line.prot,
        shared: line.shared,
        file_page: line.offset.map(|offset| (offset / arena.page) as u32),
        flags: None,
        sizes: None,
    });
    Ok(())
}

/// All VMAs of the arena, asking the kernel for one after the other.
pub fn by_query(maps: i32, arena: Arena, into: &mut Vec<Vma>) -> Result<(), String> {
    let mut address = arena.low();
    while let Some(line) = query(maps, address).map_err(|e| format!("PROCMAP_QUERY: {e}"))? {
        if line.start >= arena.high() {
            break;
        }
        push(arena, line, into)?;
        address = line.end;
    }
    Ok(())
}

/// All VMAs of the arena from the text of /proc/self/maps. The arena's come first there, whatever the process: nothing
/// is mapped below it. `buffer` is room for more than a line.
pub fn by_text(
    maps: i32,
    arena: Arena,
    buffer: &mut [u8],
    into: &mut Vec<Vma>,
) -> Result<(), String> {
    let (mut have, mut offset) = (0, 0);
    loop {
        let n =
            sys::read_at(maps, &mut buffer[have..], offset).map_err(|e| format!("maps: {e}"))?;
        have += n;
        offset += n as u64;
        let mut used = 0;
        while let Some(len) = buffer[used..have].iter().position(|&b| b == b'\n') {
            let line = &buffer[used..used + len];
            let parsed = parse_line(line)
                .ok_or_else(|| format!("odd line in maps: {}", String::from_utf8_lossy(line)))?;
            if parsed.start >= arena.high() {
                return Ok(());
            }
            push(arena, parsed, into)?;
            used += len + 1;
        }
        if n == 0 {
            return Ok(());
        }
        buffer.copy_within(used..have, 0);
        have -= used;
    }
}

/// The first line of a maps or smaps record; `None` for any other line.
pub fn parse_line(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let perms = words.next()?.as_bytes();
    let mut prot = 0;
    for (bit, letter) in [(1, b'r'), (2, b'w'), (4, b'x')] {
        if perms.contains(&letter) {
            prot |= bit;
        }
    }
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    // Behind the device.
    let inode = words.nth(1)?;
    Some(Line {
        start,
        end,
        prot,
        shared: perms.contains(&b's'),
        offset: (inode != "0").then_some(offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_struct_has_the_size_that_the_ioctl_number_says() {
        assert_eq!(std::mem::size_of::<ProcmapQuery>(), 104);
    }

    #[test]
    fn a_maps_line_is_understood_and_others_are_not() {
        let line = b"1000000000-1000004000 rw-s 00000000 00:01 1035 /dev/zero (deleted)";
        assert_eq!(
            parse_line(line),
            Some(Line {
                start: 0x10_0000_0000,
                end: 0x10_0000_4000,
                prot: 3,
                shared: true,
                offset: Some(0),
            })
        );
        let line = parse_line(b"10-20 ---p 0 0:0 0").map(|l| (l.start, l.prot, l.offset));
        assert_eq!(line, Some((16, 0, None)));
        let line = parse_line(b"10-20 r--p 00003000 00:1c 5 /memfd:mmdiff (deleted)");
        assert_eq!(line.and_then(|l| l.offset), Some(0x3000));
        assert_eq!(parse_line(b"VmFlags: rd wr mr mw me ac "), None);
        assert_eq!(parse_line(b"Rss:   0 kB"), None);
    }
}
