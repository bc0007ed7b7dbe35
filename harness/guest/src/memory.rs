//! How much memory is free for huge pages: the judge wants to know whether the kernel may run short of it.

use crate::sys;

/// /proc/buddyinfo, held open.
#[derive(Debug, Clone, Copy)]
pub struct Buddies {
    file: Option<i32>,
    /// Order of a huge page.
    order: u32,
}

impl Buddies {
    /// `huge`: bytes of a huge page, 0 where there are none.
    pub fn open(huge: u64) -> Buddies {
        let file = match huge {
            0 => None,
            _ => sys::open(c"/proc/buddyinfo", libc::O_RDONLY).ok(),
        };
        Buddies {
            file,
            order: (huge / sys::page_size()).max(1).ilog2(),
        }
    }

    /// Pages that are free in stretches of at least a huge page; 0 where the kernel does not say. `text` is room for
    /// buddyinfo, a line for each zone of each node.
    pub fn free_pages(&self, text: &mut [u8]) -> u64 {
        let read = self.file.map(|fd| sys::read_at(fd, text, 0));
        match read {
            Some(Ok(len)) => pages(&text[..len.min(text.len())], self.order),
            _ => 0,
        }
    }
}

/// Adds up the stretches of `order` and above: a line is `Node 0, zone DMA32 n0 n1 ...`, with `n` stretches of 2^i pages.
fn pages(text: &[u8], order: u32) -> u64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let line = |line: &str| -> u64 {
        let counts = line.split_ascii_whitespace().skip(4).enumerate();
        let large = counts.filter(|(i, _)| *i >= order as usize);
        large
            .map(|(i, n)| n.parse::<u64>().unwrap_or(0) << i.min(40))
            .sum()
    };
    text.lines().map(line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stretches_that_hold_a_huge_page_count() {
        let text = b"Node 0, zone      DMA      1      0      0      1      2      1      1      0      1      1      3 \n\
                     Node 0, zone    DMA32    100     50      7      6      5      4      3      2      1      2     90 \n";
        assert_eq!(pages(text, 9), 512 + 3 * 1024 + 2 * 512 + 90 * 1024);
        assert_eq!(pages(text, 10), 93 * 1024);
        assert_eq!(pages(b"", 9), 0);
        assert_eq!(pages(b"Node 0, zone", 9), 0);
    }
}
