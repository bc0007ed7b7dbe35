//! Where COLLAPSE is pointed at.

use super::places::{range, BLOCK};
use super::Writer;
use crate::geometry::{Pos, Range};
use crate::program::{Advice, Op};

impl Writer<'_, '_, '_> {
    /// COLLAPSE, of blocks of private anonymous memory for the most part: those that something was written to rather than others,
    /// one or the VMA's all, now and then a page more or less. Never of a whole block of shared memory, as far as the model can
    /// tell: there the judge would leave the program.
    pub fn collapse(&mut self, actor: u8, wild: bool) -> Op {
        Op::Madvise {
            range: self.collapse_range(actor, wild),
            advice: Advice::Collapse,
        }
    }

    /// The range of one.
    pub fn collapse_range(&mut self, actor: u8, wild: bool) -> Range {
        let vmas = self.world.vmas(actor).to_vec();
        let anon = vmas.iter().filter(|v| v.is_anon());
        let with = |used: bool| {
            let chosen = anon.clone().filter(|v| v.anon_vma.is_some() == used);
            let extents = chosen.map(|v| (i64::from(v.start), i64::from(v.end)));
            extents.filter(|e| inner(*e).is_some()).collect::<Vec<_>>()
        };
        let (used, others) = (with(true), with(false));
        let those = if used.is_empty() || self.dice.chance(10) {
            others
        } else {
            used
        };
        let range = match self.dice.pick(&those) {
            Some((start, end)) if !wild => self.blocks_of(start, end),
            _ => self.call_range(actor, wild),
        };
        let page = |p: Pos| p.page_index(super::GEOMETRY);
        let (from, to) = (page(range.start), page(range.end));
        let files = vmas.iter().filter(|v| !v.is_anon());
        let unknown = files
            .map(|v| (i64::from(v.start).max(from), i64::from(v.end).min(to)))
            .any(|part| inner(part).is_some());
        if unknown {
            self.part(actor)
        } else {
            range
        }
    }

    /// Blocks of a VMA that holds one at least.
    fn blocks_of(&mut self, start: i64, end: i64) -> Range {
        let (first, last) = inner((start, end)).unwrap_or((start, end));
        let blocks = ((last - first) / BLOCK).max(1) as u32;
        let one = first + i64::from(self.dice.below(blocks)) * BLOCK;
        match self.dice.below(10) {
            0..=4 => range(one, one + BLOCK),
            5 | 6 => range(start, end),
            7 => range(first, last),
            8 => range((one - 2).max(start), (one + BLOCK + 2).min(end)),
            _ => range(one + 1, one + BLOCK),
        }
    }
}

/// From the first whole block in `[start, end)` to the end of the last.
fn inner((start, end): (i64, i64)) -> Option<(i64, i64)> {
    let first = start.div_euclid(BLOCK) * BLOCK + if start % BLOCK == 0 { 0 } else { BLOCK };
    let last = end.div_euclid(BLOCK) * BLOCK;
    (first < last).then_some((first, last))
}
