//! What a page holds, as far as programs can tell.

use serde::{Deserialize, Serialize};

/// The first eight bytes of a page, as a little-endian number. 0 in a page that was never written; otherwise what
/// a `write` op stored: `(tag << 16 | page number in the arena) + 1`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Content(pub u64);

impl Content {
    pub const ZERO: Content = Content(0);

    /// What `write` with `tag` stores in page `page` (pages from the arena's start).
    pub fn written(tag: u16, page: u32) -> Content {
        Content((u64::from(tag) << 16 | u64::from(page)) + 1)
    }

    /// The tag of the op that wrote it; `None` for a page never written.
    pub fn tag(self) -> Option<u16> {
        (self.0 != 0).then(|| ((self.0 - 1) >> 16) as u16)
    }

    /// The content `n` pages after this one in a run of like pages: zero stays zero, a written page is followed by the
    /// page that the same op wrote next.
    pub fn plus(self, n: u32) -> Content {
        if self.0 == 0 {
            self
        } else {
            Content(self.0.wrapping_add(u64::from(n)))
        }
    }

    /// Whether `next` is the content expected `n` pages on.
    pub fn is_followed_by(self, next: Content, n: u32) -> bool {
        self.plus(n) == next
    }
}
