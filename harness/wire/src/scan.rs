//! Questions that PAGEMAP_SCAN is asked besides the one that finds all pages. Both sides know them: the guest asks, the host
//! knows the answers from what the guest found with the first one.

use crate::bounded;
use serde::{Deserialize, Serialize};

/// PAGE_IS_FILE.
pub const FILE: u16 = 1 << 2;
/// PAGE_IS_PRESENT.
pub const PRESENT: u16 = 1 << 3;
/// PAGE_IS_SWAPPED.
pub const SWAPPED: u16 = 1 << 4;
/// PAGE_IS_PFNZERO.
pub const PFNZERO: u16 = 1 << 5;
/// PAGE_IS_HUGE.
pub const HUGE: u16 = 1 << 6;
/// PAGE_IS_SOFT_DIRTY.
pub const SOFT_DIRTY: u16 = 1 << 7;
/// PAGE_IS_GUARD.
pub const GUARD: u16 = 1 << 8;

/// The masks of one question. No empty page satisfies any of [`QUERIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanQuery {
    /// category_inverted: these count as there when they are not.
    pub inverted: u16,
    /// category_mask: all of these must be there.
    pub mask: u16,
    /// category_anyof_mask: one of these must be there; 0: no matter.
    pub any_of: u16,
    /// return_mask: these are told.
    pub returned: u16,
    /// max_pages; 0: all.
    pub most: u16,
}

impl ScanQuery {
    /// Whether it can be asked of a kernel that knows PAGE_IS_GUARD or does not.
    pub fn can_be_asked(&self, guard: bool) -> bool {
        guard || (self.inverted | self.mask | self.any_of | self.returned) & GUARD == 0
    }

    /// Whether a page of these categories is an answer.
    pub fn matches(&self, categories: u16) -> bool {
        let seen = categories ^ self.inverted;
        seen & self.mask == self.mask && (self.any_of == 0 || seen & self.any_of != 0)
    }
}

/// The questions: what is present, what of it is no file's, what is marked and only that, guards, huge or zero pages, and the
/// first few pages of any kind.
pub const QUERIES: [ScanQuery; 6] = [
    ScanQuery {
        inverted: 0,
        mask: PRESENT,
        any_of: 0,
        returned: PRESENT | FILE | SOFT_DIRTY,
        most: 0,
    },
    ScanQuery {
        inverted: FILE,
        mask: PRESENT | FILE,
        any_of: 0,
        returned: PRESENT,
        most: 0,
    },
    ScanQuery {
        inverted: PRESENT,
        mask: PRESENT | SWAPPED,
        any_of: 0,
        returned: SWAPPED,
        most: 0,
    },
    ScanQuery {
        inverted: 0,
        mask: GUARD,
        any_of: 0,
        returned: SWAPPED | GUARD,
        most: 0,
    },
    ScanQuery {
        inverted: 0,
        mask: 0,
        any_of: HUGE | PFNZERO,
        returned: HUGE | PFNZERO,
        most: 0,
    },
    ScanQuery {
        inverted: 0,
        mask: 0,
        any_of: PRESENT | SWAPPED,
        returned: 0,
        most: 5,
    },
];

/// A region of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRegion {
    /// First page.
    pub start: u32,
    /// Page after the last.
    pub end: u32,
    /// PAGE_IS_* within the question's `returned`.
    pub categories: u16,
}

/// The answer to one of [`QUERIES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScanSeen {
    #[serde(deserialize_with = "bounded::vec::<_, _, { bounded::MAX_PAGES }>")]
    pub regions: Vec<ScanRegion>,
}
