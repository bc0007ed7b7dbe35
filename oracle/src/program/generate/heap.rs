//! The program break.

use super::places::{pos, ARENA, BLOCK};
use super::Writer;
use crate::geometry::BLOCKS;
use crate::program::{Op, HEAP};

/// First page of the heap.
const START: i64 = HEAP.block as i64 * BLOCK;

impl Writer<'_, '_, '_> {
    /// A break somewhere behind the start of the heap: at something that begins or ends there, a few pages on, or at the block's end.
    pub fn brk(&mut self, actor: u8) -> Op {
        let in_heap = |page: &i64| (START..ARENA).contains(page);
        let ends = self.vma_extents(actor).into_iter();
        let points: Vec<i64> = ends
            .flat_map(|(start, end)| [start, end])
            .filter(in_heap)
            .collect();
        let point = self.dice.pick(&points).unwrap_or(START);
        let few = i64::from(self.dice.between(1, 8));
        let page = match self.dice.below(10) {
            0..=3 => point + few,
            4..=6 => point - few,
            7 => START + few,
            8 => START,
            _ => i64::from(BLOCKS) * BLOCK - few,
        };
        let mut to = pos(page.clamp(START - 2, ARENA - 1));
        if self.dice.chance(12) && page < ARENA - 1 {
            to.byte = self.wild_byte();
        }
        Op::Brk { to }
    }
}
