//! Calls through userfaultfd.

use super::places::range;
use super::{Writer, GEOMETRY};
use crate::geometry::Range;
use crate::program::check::copy_fits;
use crate::program::{Advice, Op, UffdCall, MAX_COPY_PAGES};
use crate::rules::uffd::protect;
use crate::space::Uffd;

impl Writer<'_, '_, '_> {
    /// What goes into registered memory once there is some; the way there before.
    pub fn uffd(&mut self, actor: u8, wild: bool) -> Op {
        let registered = self.registered(actor);
        let there = !registered.is_empty();
        let tag = self.next_tag;
        let call = self.dice.weighted(&[
            (if there { 5 } else { 12 }, UffdCall::RegisterMissing),
            (if there { 4 } else { 8 }, UffdCall::RegisterWp),
            (if there { 5 } else { 14 }, UffdCall::RegisterBoth),
            (if there { 6 } else { 1 }, UffdCall::Unregister),
            (if there { 16 } else { 1 }, UffdCall::Protect),
            (if there { 6 } else { 1 }, UffdCall::Unprotect),
            (
                if there { 11 } else { 2 },
                UffdCall::Copy {
                    tag,
                    protect: false,
                },
            ),
            (
                if there { 6 } else { 1 },
                UffdCall::Copy { tag, protect: true },
            ),
            (if there { 10 } else { 2 }, UffdCall::ZeroPage),
            (if there { 9 } else { 1 }, UffdCall::Poison),
        ]);
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

    /// The op, or another in place of a guard install at which kernels come to no end: one costs the time that a hang takes to
    /// be noticed, and all of them say the same.
    pub fn that_ends(&self, actor: u8, op: Op) -> Op {
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
        let registered = vmas.filter(|v| v.uffd != Uffd::default());
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
