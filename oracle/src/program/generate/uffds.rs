//! Calls through userfaultfd.

use super::places::{pos, range, BLOCK};
use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range, BLOCKS};
use crate::program::check::{copy_fits, is_valid};
use crate::program::{Advice, Op, UffdCall, MAX_ACTORS, MAX_COPY_PAGES};
use crate::rules::uffd::protect;
use crate::space::{Locked, PageState, Uffd, Vma};

impl Writer<'_, '_, '_> {
    /// What goes into registered memory once there is some; the way there before.
    pub fn uffd(&mut self, actor: u8, wild: bool) -> Op {
        let registered = self.registered(actor);
        let there = !registered.is_empty();
        let movable = self
            .world
            .vmas(actor)
            .iter()
            .any(|v| can_move(v) && is_registered(v));
        let tag = self.next_tag;
        let call = self.dice.weighted(&[
            (if there { 5 } else { 12 }, UffdCall::RegisterMissing),
            (if there { 4 } else { 8 }, UffdCall::RegisterWp),
            (if there { 5 } else { 14 }, UffdCall::RegisterBoth),
            (if there { 6 } else { 1 }, UffdCall::Unregister),
            (if there { 16 } else { 1 }, UffdCall::Protect),
            (if there { 6 } else { 1 }, UffdCall::Unprotect),
            (
                if there { 16 } else { 2 },
                UffdCall::Copy {
                    tag,
                    protect: false,
                },
            ),
            (
                if there { 8 } else { 1 },
                UffdCall::Copy { tag, protect: true },
            ),
            (if there { 10 } else { 2 }, UffdCall::ZeroPage),
            (if there { 14 } else { 1 }, UffdCall::Poison),
            (
                if movable { 45 } else { 1 },
                UffdCall::Move {
                    to: Pos::new(0, 0),
                    holes: false,
                },
            ),
        ]);
        if let UffdCall::Move { .. } = call {
            return self.uffd_move(actor, wild);
        }
        let mut range = self.call_range(actor, wild);
        if !call.registers() && !wild && self.dice.chance(85) {
            if let Some(part) = self.part_of(&registered, actor) {
                range = part;
            }
        }
        if matches!(call, UffdCall::Copy { .. }) {
            range = shortened(range);
        }
        Op::Uffd { range, call }
    }

    /// What a userfaultfd tells of, in registered memory if there is some.
    pub fn telling(&mut self, actor: u8) -> Option<Op> {
        let registered = self.registered(actor);
        let range = self.part_of(&registered, actor)?;
        let advice = |advice| Op::Madvise { range, advice };
        let child = self.next_actor;
        let may_fork = child < MAX_ACTORS;
        let fork = if may_fork { 5 } else { 0 };
        let op = self.dice.weighted(&[
            (fork, Some(Op::Fork { child })),
            (6, None),
            (3, Some(Op::Munmap { range })),
            (4, Some(advice(Advice::DontNeed))),
            (2, Some(advice(Advice::Free))),
            (1, Some(advice(Advice::DontNeedLocked))),
            (1, Some(advice(Advice::Remove))),
        ]);
        Some(op.unwrap_or_else(|| self.move_of(actor, range)))
    }

    /// Pages that an actor moves, for the most part to where they can go.
    pub fn uffd_move(&mut self, actor: u8, wild: bool) -> Op {
        let vmas = self.world.vmas(actor).to_vec();
        let writable: Vec<&Vma> = vmas.iter().filter(|v| can_move(v)).collect();
        let targets = writable.iter().copied().filter(|v| is_registered(v));
        let targets: Vec<&Vma> = targets.collect();
        let holes = self.dice.chance(25);
        let (source, target) = match self.dice.pick(&targets) {
            Some(target) if !wild => {
                let locked = |v: &Vma| v.locked != Locked::No;
                let alike = |v: &&Vma| v.prot == target.prot && locked(v) == locked(target);
                let sources: Vec<&Vma> = writable.iter().copied().filter(alike).collect();
                (self.dice.pick(&sources).unwrap_or(target), target)
            }
            _ => {
                let all: Vec<&Vma> = vmas.iter().collect();
                return match (self.dice.pick(&all), self.dice.pick(&all)) {
                    (Some(source), Some(target)) => self.misplaced(source, target, holes),
                    _ => moved(range(0, 1), pos(BLOCK), holes),
                };
            }
        };
        let blocks = self.whole_blocks(actor);
        let block_in = |v: &Vma| {
            let mut blocks = blocks.iter();
            blocks.find(|(from, to)| i64::from(v.start) <= *from && *to <= i64::from(v.end))
        };
        if let (Some(from), Some(to)) = (block_in(source), block_in(target)) {
            if from != to && self.dice.chance(35) {
                return moved(range(from.0, from.1), pos(to.0), holes);
            }
        }
        let Some(from) = self.populated(actor, source) else {
            // There will be something to move.
            let at = i64::from(source.start);
            return Op::Write {
                range: self.away_from_the_middle(at, (at + 3).min(source.end.into())),
                tag: self.next_tag,
            };
        };
        let to = self.vacant(actor, target);
        let behind = i64::from(target.end) - to.page_index(GEOMETRY);
        let room = i64::from(source.end - from).min(behind);
        let pages = room.min(i64::from(self.dice.between(1, 6)));
        let from = self.away_from_the_middle(from.into(), i64::from(from) + pages);
        let op = moved(from, to, holes);
        let valid = op.ranges().all(is_valid);
        match valid {
            true => op,
            false => moved(from, pos(i64::from(target.start) / BLOCK * BLOCK), holes),
        }
    }

    /// A move that a caller gets wrong: between VMAs that do not go together, across their ends, to the middle of a page.
    fn misplaced(&mut self, source: &Vma, target: &Vma, holes: bool) -> Op {
        let pages = i64::from(self.dice.between(1, 4));
        let jitter = |w: &mut Self| w.dice.weighted(&[(60, 0), (20, 2), (20, -1)]);
        let from = i64::from(source.start) + jitter(self);
        let from = self.away_from_the_middle(from, from + pages);
        let end = self.dice.chance(30);
        let to = if end { target.end } else { target.start };
        let mut to = pos(i64::from(to) + jitter(self));
        if self.dice.chance(10) {
            to.byte = self.wild_byte();
        }
        let op = moved(from, to, holes);
        let valid = op.ranges().all(is_valid);
        match valid {
            true => op,
            false => moved(from, pos(BLOCK), holes),
        }
    }

    /// A page of a VMA that is not empty, among the first.
    fn populated(&mut self, actor: u8, vma: &Vma) -> Option<u32> {
        let skip = self.dice.below((vma.end - vma.start).min(4));
        let there = |page: &u32| self.world.page(actor, *page) != PageState::Empty;
        let first = |from: u32| (from..vma.end.min(from + 64)).find(there);
        first(vma.start + skip).or_else(|| first(vma.start))
    }

    /// An empty page of a VMA, for the most part.
    fn vacant(&mut self, actor: u8, vma: &Vma) -> Pos {
        let first = vma.start + self.dice.below((vma.end - vma.start).min(8));
        let empty = |page: &u32| self.world.page(actor, *page) == PageState::Empty;
        let found = (first..vma.end.min(first + 64)).find(empty);
        let page = found.filter(|_| self.dice.chance(85)).unwrap_or(first);
        pos(page.into())
    }

    /// Whether a move would take the huge zero page as one, at which some kernels crash (docs/findings.md).
    fn moves_huge_zero(&self, actor: u8, op: &Op) -> bool {
        let Op::Uffd {
            range,
            call: UffdCall::Move { .. },
        } = op
        else {
            return false;
        };
        let (first, last) = (
            range.start.page_index(GEOMETRY),
            range.end.page_index(GEOMETRY),
        );
        let huge = PageState::Zero { huge: true };
        let blocks = (0..i64::from(BLOCKS)).map(|block| block * BLOCK);
        let mut touched = blocks.filter(|at| first < at + BLOCK && *at < last);
        touched.any(|at| self.world.page(actor, at as u32) == huge)
    }

    /// The op, or another in place of a guard install at which kernels come to no end: one costs the time that a hang takes to
    /// be noticed, and all of them say the same. A move at which they crash is a read in its place.
    pub fn that_ends(&self, actor: u8, op: Op) -> Op {
        if self.moves_huge_zero(actor, &op) {
            let at = op.range().map_or(Pos::new(0, 0), |range| range.start);
            let page = at.page_index(GEOMETRY).max(0);
            return Op::Read {
                range: range(page, page + 1),
            };
        }
        let endless = |range: Range| {
            let page = |at: i64| u32::try_from(at.max(0)).unwrap_or(u32::MAX);
            let (start, end) = (range.start, range.end);
            let (start, end) = (start.page_index(GEOMETRY), end.page_index(GEOMETRY) + 1);
            let mm = self.world.mm(actor);
            mm.is_some_and(|mm| protect::never_ends(mm, page(start), page(end)))
        };
        let remove = Advice::GuardRemove;
        match op {
            Op::Madvise {
                range,
                advice: Advice::GuardInstall,
            } if endless(range) => Op::Madvise {
                range,
                advice: remove,
            },
            Op::ProcessMadvise {
                vectors,
                whose: None,
                advice: Advice::GuardInstall,
                unknown_flag,
            } if vectors.iter().any(endless) => Op::ProcessMadvise {
                vectors,
                whose: None,
                advice: remove,
                unknown_flag,
            },
            op => op,
        }
    }

    /// Extents of an actor's registered VMAs.
    fn registered(&self, actor: u8) -> Vec<(i64, i64)> {
        let vmas = self.world.vmas(actor).iter();
        let registered = vmas.filter(|v| is_registered(v));
        registered.map(|v| (v.start.into(), v.end.into())).collect()
    }

    /// Some pages of one of these, at a guard in it more often than not.
    fn part_of(&mut self, extents: &[(i64, i64)], actor: u8) -> Option<Range> {
        let (start, end) = self.dice.pick(extents)?;
        let pages = i64::from(self.dice.between(1, MAX_COPY_PAGES as u32));
        let guards: Vec<(i64, i64)> = self
            .guard_extents(actor)
            .into_iter()
            .filter(|(from, to)| start < *to && *from < end)
            .collect();
        let from = match self.dice.pick(&guards) {
            Some((guard, _)) if self.dice.chance(70) => guard - pages / 2,
            _ => start + i64::from(self.dice.below(8)),
        };
        let from = from.clamp(start, (end - 1).max(start));
        Some(range(from, (from + pages).min(end)))
    }
}

/// Whether UFFDIO_MOVE may take pages from a VMA, or to it.
fn can_move(vma: &Vma) -> bool {
    vma.is_anon() && vma.prot.write
}

fn is_registered(vma: &Vma) -> bool {
    vma.uffd != Uffd::default()
}

fn moved(range: Range, to: Pos, holes: bool) -> Op {
    Op::Uffd {
        range,
        call: UffdCall::Move { to, holes },
    }
}

/// The range, cut to what one copy may have; one that wraps stays.
fn shortened(whole: Range) -> Range {
    if copy_fits(whole) {
        return whole;
    }
    let start = whole.start.page_index(GEOMETRY);
    let most = MAX_COPY_PAGES as i64 - 1;
    let mut cut = range(start, start + most);
    cut.start.byte = whole.start.byte;
    if copy_fits(cut) {
        return cut;
    }
    // Across the middle of a block, where neighbours lie far apart on larger ones.
    range(start - most, start)
}
