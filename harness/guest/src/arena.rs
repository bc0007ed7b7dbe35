//! The address range that programs play in.

use wire::ARENA_BASE;

/// Three PMD blocks at [`ARENA_BASE`], with a margin of one block on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arena {
    /// Bytes per page.
    pub page: u64,
    /// Pages without the margins.
    pub pages: u64,
}

impl Arena {
    /// One PMD block in bytes: a table of eight-byte entries fills a page.
    pub fn margin(self) -> u64 {
        self.page * (self.page / 8)
    }

    /// First byte of the margin before the arena.
    pub fn low(self) -> u64 {
        ARENA_BASE - self.margin()
    }

    /// First byte after the arena.
    pub fn end(self) -> u64 {
        ARENA_BASE + self.pages * self.page
    }

    /// First byte after the margin behind the arena.
    pub fn high(self) -> u64 {
        self.end() + self.margin()
    }

    /// Number of the page with `address`, counted from the arena's start.
    ///
    /// # Errors
    /// The address is not in the arena, nor its end.
    pub fn page_number(self, address: u64) -> Result<u32, String> {
        match address.checked_sub(ARENA_BASE) {
            Some(bytes) if bytes <= self.pages * self.page => Ok((bytes / self.page) as u32),
            _ => Err(format!(
                "something is mapped in the arena's margin, at {address:#x}"
            )),
        }
    }

    /// Address of a page.
    pub fn address(self, page: u32) -> u64 {
        ARENA_BASE + u64::from(page) * self.page
    }
}
