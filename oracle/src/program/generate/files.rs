//! Mappings of files.

use super::places::range;
use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range};
use crate::program::{Backing, File, FileMap};

impl Writer<'_, '_, '_> {
    /// Some pages of a file, up to a little behind its end.
    pub fn file_map(&mut self) -> FileMap {
        let file = self
            .dice
            .weighted(&[(4, File::Memfd0), (2, File::Memfd1), (4, File::Ramfs0)]);
        FileMap {
            file,
            page: match self.dice.below(10) {
                0..=4 => 0,
                5..=7 => self.dice.between(1, 12) as u16,
                _ => self.dice.between(12, 26) as u16,
            },
            shared: self.dice.chance(50),
            readonly: self.dice.chance(12),
        }
    }

    /// A range for a new mapping: one of a file is for the most part about as long as files are.
    pub fn fitted(&mut self, r: Range, backing: Backing) -> Range {
        let page = |p: Pos| p.page_index(GEOMETRY);
        let (start, end) = (page(r.start), page(r.end));
        let plain = r.start.is_page_aligned() && r.end.is_page_aligned();
        let file = matches!(backing, Backing::File(_));
        if !file || !plain || end - start <= 32 || self.dice.chance(15) {
            return r;
        }
        range(start, start + i64::from(self.dice.between(4, 28)))
    }
}
