//! Page size, PMD size and positions: how one program means the same on kernels with different page sizes.

use serde::{Deserialize, Serialize};

/// Number of PMD-sized blocks in the arena.
pub const BLOCKS: u8 = 3;

/// PMD-sized blocks that an ordinary user may lock in memory (RLIMIT_MEMLOCK): fewer than the arena has.
pub const MEMLOCK_BLOCKS: u8 = 2;

/// How far, in pages, a position may lie from its block's border. Half of the smallest block (512 pages), so
/// that every page has one canonical position, whatever the geometry.
pub const REACH: i16 = 256;

/// Page size of a kernel and the number of pages that one PMD entry maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Bytes per page: 4096, 16384 or 65536.
    pub page_size: u32,
    /// Pages per PMD entry: 512, 2048 or 8192.
    pub pages_per_pmd: u32,
}

impl Geometry {
    /// 4 KiB pages, 2 MiB PMDs: x86-64 and most arm64 kernels.
    pub const K4: Geometry = Geometry {
        page_size: 4096,
        pages_per_pmd: 512,
    };
    /// 16 KiB pages, 32 MiB PMDs.
    pub const K16: Geometry = Geometry {
        page_size: 16384,
        pages_per_pmd: 2048,
    };

    /// Pages in the whole arena.
    pub fn arena_pages(self) -> u32 {
        self.pages_per_pmd * u32::from(BLOCKS)
    }

    /// Pages that an ordinary user may lock in memory.
    pub fn memlock_pages(self) -> u32 {
        self.pages_per_pmd * u32::from(MEMLOCK_BLOCKS)
    }

    /// Bytes in the whole arena.
    pub fn arena_bytes(self) -> u64 {
        u64::from(self.arena_pages()) * u64::from(self.page_size)
    }
}

/// A place in the arena, independent of the geometry: some pages (and bytes) away from the start of a block.
///
/// `1-2` in the text form is two pages before block 1; `0+3.17` is byte 17 of page 3 of block 0. Block [`BLOCKS`] is the
/// end of the arena. Positions before block 0 or after the end lie in the margin, which is never mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pos {
    /// Block number, `0..=BLOCKS`.
    pub block: u8,
    /// Pages from the block's start, within `-REACH..REACH`.
    pub page: i16,
    /// Bytes into the page, below 4096.
    pub byte: u16,
}

impl Pos {
    /// The page-aligned position `page` pages from the start of `block`.
    pub const fn new(block: u8, page: i16) -> Pos {
        Pos {
            block,
            page,
            byte: 0,
        }
    }

    /// Pages from the arena's start; negative in the margin before it. The byte part is dropped.
    pub fn page_index(self, g: Geometry) -> i64 {
        i64::from(self.block) * i64::from(g.pages_per_pmd) + i64::from(self.page)
    }

    /// Bytes from the arena's start; negative in the margin before it.
    pub fn byte_offset(self, g: Geometry) -> i64 {
        self.page_index(g) * i64::from(g.page_size) + i64::from(self.byte)
    }

    /// Whether the position is the start of a page.
    pub fn is_page_aligned(self) -> bool {
        self.byte == 0
    }

    /// The canonical position of page `index` (pages from the arena's start, may lie in the margin), if it is within
    /// [`REACH`] of a block border.
    pub fn from_page_index(index: i64, g: Geometry) -> Option<Pos> {
        let per = i64::from(g.pages_per_pmd);
        let block = (index + per / 2)
            .div_euclid(per)
            .clamp(0, i64::from(BLOCKS));
        let page = index - block * per;
        (-i64::from(REACH)..i64::from(REACH))
            .contains(&page)
            .then(|| Pos::new(block as u8, page as i16))
    }
}

/// `[start, end)`. An end before the start is legal in a program: the length then wraps around 2^64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    pub start: Pos,
    pub end: Pos,
}

impl Range {
    /// The range between two positions.
    pub const fn new(start: Pos, end: Pos) -> Range {
        Range { start, end }
    }

    /// Length in bytes, modulo 2^64.
    pub fn byte_len(self, g: Geometry) -> u64 {
        (self.end.byte_offset(g) as u64).wrapping_sub(self.start.byte_offset(g) as u64)
    }
}
