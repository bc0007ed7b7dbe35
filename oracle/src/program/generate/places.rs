//! Where things are in the model, and ranges around them. Pages are counted from the arena's start on 4 KiB pages.

use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range, BLOCKS, REACH};

/// Pages per block.
pub const BLOCK: i64 = GEOMETRY.pages_per_pmd as i64;

/// Pages in the arena.
pub const ARENA: i64 = BLOCK * BLOCKS as i64;

/// How far ranges reach into the margins.
const MARGIN: i64 = 12;

/// The position of a page, kept near the arena.
pub fn pos(page: i64) -> Pos {
    Pos::from_page_index(page.clamp(-MARGIN, ARENA + MARGIN), GEOMETRY).unwrap_or(Pos::new(0, 0))
}

/// The range of pages `start..end`.
pub fn range(start: i64, end: i64) -> Range {
    Range::new(pos(start), pos(end))
}

/// The middle of a block, where two pages that are neighbours on 4 KiB pages belong to different blocks and lie far apart on
/// larger ones. Accesses keep away from it.
fn is_split(page: i64) -> bool {
    page.rem_euclid(BLOCK) >= i64::from(REACH) - 1 && page.rem_euclid(BLOCK) <= i64::from(REACH)
}

impl Writer<'_, '_, '_> {
    /// Extents of an actor's VMAs.
    pub fn vma_extents(&self, actor: u8) -> Vec<(i64, i64)> {
        let vmas = self.world.vmas(actor).iter();
        vmas.map(|v| (i64::from(v.start), i64::from(v.end)))
            .collect()
    }

    /// Extents of an actor's guards.
    pub fn guard_extents(&self, actor: u8) -> Vec<(i64, i64)> {
        let guards = self.world.guards(actor).into_iter();
        guards
            .map(|(start, len)| (i64::from(start), i64::from(start) + i64::from(len)))
            .collect()
    }

    /// Holes between an actor's VMAs, those before the first and behind the last included.
    pub fn holes(&self, actor: u8) -> Vec<(i64, i64)> {
        let mut holes = Vec::new();
        let mut at = 0;
        for (start, end) in self.vma_extents(actor) {
            if at < start {
                holes.push((at, start));
            }
            at = end;
        }
        if at < ARENA {
            holes.push((at, ARENA));
        }
        holes
    }

    /// Blocks that lie in one VMA of the actor as a whole: where a huge page can be.
    pub fn whole_blocks(&self, actor: u8) -> Vec<(i64, i64)> {
        let vmas = self.vma_extents(actor);
        let blocks = (0..i64::from(BLOCKS)).map(|b| (b * BLOCK, (b + 1) * BLOCK));
        blocks
            .filter(|(start, end)| vmas.iter().any(|(s, e)| s <= start && end <= e))
            .collect()
    }

    /// Where something begins or ends: VMAs, guard runs, what was touched lately, PMD borders near VMAs, the arena's edges.
    fn borders(&self, actor: u8) -> Vec<i64> {
        let vmas = self.vma_extents(actor);
        let mut points: Vec<i64> = Vec::new();
        let extents = vmas
            .iter()
            .chain(&self.touched)
            .copied()
            .chain(self.guard_extents(actor));
        for (start, end) in extents {
            points.extend([start, end]);
        }
        let pmd_borders = (0..=i64::from(BLOCKS)).map(|b| b * BLOCK);
        points.extend(pmd_borders.filter(|p| vmas.iter().any(|(s, e)| s <= p && p <= e)));
        points.sort_unstable();
        points.dedup();
        points
    }

    /// A border of something, now and then a page off.
    fn border(&mut self, actor: u8) -> i64 {
        let points = self.borders(actor);
        let point = self.dice.pick(&points).unwrap_or(0);
        point + self.jitter()
    }

    fn jitter(&mut self) -> i64 {
        self.dice
            .weighted(&[(70, 0), (11, 1), (11, -1), (4, 2), (4, -2)])
    }

    /// A range that a system call is pointed at: some whole thing, a part of one, or from one border to another.
    pub fn target(&mut self, actor: u8) -> Range {
        #[derive(Clone, Copy)]
        enum Kind {
            Vma,
            PartOfVma,
            Guards,
            Touched,
            Borders,
            Block,
            Straddle,
        }
        let kind = self.dice.weighted(&[
            (10, Kind::Vma),
            (34, Kind::PartOfVma),
            (14, Kind::Guards),
            (12, Kind::Touched),
            (14, Kind::Borders),
            (8, Kind::Block),
            (8, Kind::Straddle),
        ]);
        let vmas = self.vma_extents(actor);
        let guards = self.guard_extents(actor);
        let touched = self.touched.clone();
        let blocks = self.whole_blocks(actor);
        let things = match kind {
            Kind::Guards => &guards,
            Kind::Touched => &touched,
            Kind::Block => &blocks,
            _ => &vmas,
        };
        let Some((start, end)) = self.dice.pick(things) else {
            return self.part(actor);
        };
        match kind {
            Kind::Vma | Kind::Block => range(start, end),
            Kind::PartOfVma => self.part(actor),
            Kind::Guards | Kind::Touched => {
                let (start, end) = (start + self.jitter(), end + self.jitter());
                range(start.min(end - 1), end)
            }
            Kind::Borders => {
                let (a, b) = (self.border(actor), self.border(actor));
                let (a, b) = (a.min(b), a.max(b));
                range(a, b.max(a + 1))
            }
            Kind::Straddle => {
                let at = if self.dice.chance(50) { start } else { end };
                let before = i64::from(self.dice.between(1, 5));
                let behind = i64::from(self.dice.between(1, 5));
                range(at - before, at + behind)
            }
        }
    }

    /// A few pages inside a VMA, at its start, its end, or at a border inside.
    pub fn part(&mut self, actor: u8) -> Range {
        let vmas = self.vma_extents(actor);
        let Some((start, end)) = self.dice.pick(&vmas) else {
            let at = i64::from(self.dice.below(BLOCKS.into())) * BLOCK;
            return range(at, at + 4);
        };
        let len = i64::from(self.dice.weighted(&[
            (25, 1),
            (25, 2),
            (15, 3),
            (15, 4),
            (10, 6),
            (6, 12),
            (4, 40),
        ]));
        let len = len.min(end - start);
        let at = self.spot(actor, start, end, len);
        range(at, at + len)
    }

    /// The first page of `len` pages within `start..end`, near a border of something.
    fn spot(&mut self, actor: u8, start: i64, end: i64, len: i64) -> i64 {
        let last = end - len;
        let at = match self.dice.below(8) {
            0 | 1 => start,
            2 => last,
            3 | 4 => start + i64::from(self.dice.between(1, 6)),
            5 => last - i64::from(self.dice.between(1, 6)),
            _ => {
                let inside: Vec<i64> = self.borders(actor);
                let inside: Vec<i64> = inside
                    .into_iter()
                    .filter(|p| (start..end).contains(p))
                    .collect();
                let point = self.dice.pick(&inside).unwrap_or(start);
                point - i64::from(self.dice.below(len as u32 + 1))
            }
        };
        at.clamp(start, last.max(start))
    }

    /// Pages to load or store: in a VMA that allows it for the most part, at most a handful.
    pub fn access(&mut self, actor: u8, write: bool) -> Range {
        let vmas = self.world.vmas(actor).to_vec();
        let allowed: Vec<(i64, i64)> = vmas
            .iter()
            .filter(|v| if write { v.prot.write } else { v.prot.read })
            .map(|v| (i64::from(v.start), i64::from(self.world.end_in_file(v))))
            .filter(|(start, end)| start < end)
            .collect();
        let blocks = self.whole_blocks(actor);
        let guards = self.guard_extents(actor);
        // Pages that were touched are where copies on write happen.
        let extents = match self.dice.below(20) {
            0..=8 => allowed,
            9..=11 => self.touched.clone(),
            12..=14 => blocks,
            15..=17 => guards,
            _ => self.vma_extents(actor),
        };
        let Some((start, end)) = self.dice.pick(&extents) else {
            let at = self.border(actor);
            return self.away_from_the_middle(at, at + 2);
        };
        let len = i64::from(self.dice.weighted(&[
            (30, 1),
            (20, 2),
            (15, 3),
            (15, 4),
            (12, 6),
            (6, 10),
            (2, 24),
        ]));
        let len = len.min(end - start);
        let mut at = self.spot(actor, start, end, len);
        if self.dice.chance(8) {
            at += self.jitter();
        }
        self.away_from_the_middle(at, at + len)
    }

    /// Pages to load or store at one of the ends of `start..end`.
    pub fn access_near(&mut self, (start, end): (i64, i64)) -> Range {
        let len = i64::from(self.dice.between(1, 6));
        let inside = len.min(end - start).max(1);
        let (at, len) = match self.dice.below(8) {
            0..=3 => (start, inside),
            4 | 5 => (end - inside, inside),
            6 => (start, len),
            _ => (start - 1, len),
        };
        self.away_from_the_middle(at, at + len)
    }

    /// A range of pages that is as short on every geometry: both ends belong to the same block border.
    pub fn away_from_the_middle(&mut self, start: i64, end: i64) -> Range {
        let crosses = (start..=end).any(is_split);
        if crosses {
            let block = start.div_euclid(BLOCK).clamp(0, i64::from(BLOCKS)) * BLOCK;
            let near = block + i64::from(self.dice.below(8));
            return range(near, near + (end - start).clamp(1, 16));
        }
        range(start, end)
    }
}
