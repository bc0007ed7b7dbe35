//! Mappings of files, and ops on files themselves.

use super::places::range;
use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range};
use crate::program::{Backing, File, FileMap, Op, Seals};

/// What is done to a file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOp {
    Truncate,
    PunchHole,
    Seal,
}

impl Writer<'_, '_, '_> {
    /// An op on a file, one that is mapped more often than not.
    pub fn file_op(&mut self, op: FileOp) -> Op {
        let mut mapped: Vec<File> = Vec::new();
        for actor in self.world.living() {
            let maps = self.world.vmas(actor).iter();
            mapped.extend(maps.filter_map(|v| self.world.file_of(v)).map(|m| m.file));
        }
        let any = self.dice.pick(&File::ALL).unwrap_or(File::Memfd0);
        let file = match self.dice.pick(&mapped) {
            Some(file) if self.dice.chance(85) => file,
            _ => any,
        };
        match op {
            FileOp::Truncate => Op::Truncate {
                file,
                pages: match self.dice.below(8) {
                    0..=3 => self.dice.between(1, 12) as u16,
                    4..=5 => self.dice.between(12, 32) as u16,
                    6 => 24,
                    _ => 0,
                },
            },
            FileOp::PunchHole => {
                let from = self
                    .dice
                    .weighted(&[(4, 0), (3, 1), (3, 3), (2, 8), (2, 14), (1, 23)]);
                let pages = self
                    .dice
                    .weighted(&[(5, 1), (5, 2), (3, 4), (2, 12), (1, 0)]);
                Op::PunchHole {
                    file,
                    from,
                    to: from + pages,
                }
            }
            FileOp::Seal => {
                let one = |w: &mut Self| {
                    let each = Seals::EACH.map(|(_, seals)| seals);
                    w.dice.pick(&each[1..]).unwrap_or(each[1])
                };
                let mut seals = one(self);
                if self.dice.chance(25) {
                    seals = seals.and(one(self));
                }
                seals.seal = self.dice.chance(8);
                Op::Seal { file, seals }
            }
        }
    }

    /// Some pages of a file, up to a little behind its end.
    pub fn file_map(&mut self) -> FileMap {
        let file = self.dice.weighted(&[
            (8, File::Memfd0),
            (4, File::Memfd1),
            (8, File::Ramfs0),
            (3, File::Secret0),
        ]);
        let secret = file == File::Secret0;
        FileMap {
            file,
            page: match self.dice.below(10) {
                0..=4 => 0,
                5..=7 => self.dice.between(1, 12) as u16,
                _ => self.dice.between(12, 26) as u16,
            },
            shared: self.dice.chance(50) || secret,
            readonly: self.dice.chance(12) && !secret,
        }
    }

    /// A range for a new mapping: one of a file is for the most part about as long as files are.
    pub fn fitted(&mut self, r: Range, backing: Backing) -> Range {
        if matches!(backing, Backing::Hugetlb { .. }) {
            return self.whole_pages(r);
        }
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
