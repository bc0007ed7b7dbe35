//! Huge TLB memory: whole blocks that hold nothing.

use super::places::{range, ARENA, BLOCK};
use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range};
use crate::program::Backing;

impl Writer<'_, '_, '_> {
    /// Private more often than shared.
    pub fn hugetlb_backing(&mut self) -> Backing {
        Backing::Hugetlb {
            shared: self.dice.chance(35),
        }
    }

    /// A range for a mapping of huge TLB memory: for the most part the blocks that it lies in, or as many pages of them as it has.
    pub fn whole_pages(&mut self, r: Range) -> Range {
        let page = |p: Pos| p.page_index(GEOMETRY);
        let (start, end) = (page(r.start), page(r.end));
        let plain = r.start.is_page_aligned() && r.end.is_page_aligned();
        if !plain || end <= start || self.dice.chance(12) {
            return r;
        }
        let first = start.div_euclid(BLOCK) * BLOCK;
        if self.dice.chance(15) {
            // The kernel rounds up.
            return range(first, (first + (end - start)).min(ARENA));
        }
        let last = (end + BLOCK - 1).div_euclid(BLOCK) * BLOCK;
        // One block more often than two or three: others shall have room.
        let last = match self.dice.chance(70) {
            true => last.min(first + BLOCK),
            false => last,
        };
        range(first, last.clamp(first + 1, ARENA))
    }
}
