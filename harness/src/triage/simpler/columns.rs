//! Pages taken out of the whole program, and places moved: all ranges keep their relation to each other.

use super::ops::set_nth_range;
use super::ranges::all;
use super::{Offer, Scene};
use oracle::geometry::{Geometry, Pos, Range, BLOCKS};
use oracle::program::Program;
use std::collections::BTreeSet;

/// For every stretch between two places where ranges begin or end (or the arena's start): its pages taken out of the whole
/// program, all of them, all but one, half, one, or whole blocks. What lies behind moves up.
pub fn out(program: &Program, scene: &Scene) -> Vec<Offer> {
    let g = scene.geometry;
    let per = i64::from(g.pages_per_pmd);
    let cuts = cuts(program, g);
    let mut offers = Vec::new();
    for pair in cuts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let len = to - from;
        let shorter: BTreeSet<i64> =
            [0, 1, len / 2, len - 1, len % per, len - per, len - 2 * per].into();
        for new in shorter.into_iter().filter(|new| (0..len).contains(new)) {
            let by = len - new;
            // Page 0 stays where it is.
            let moved = |index: i64| {
                if to <= 0 && index <= from {
                    index + by
                } else if to > 0 && index >= to {
                    index - by
                } else {
                    index
                }
            };
            offers.extend(mapped(program, g, moved));
        }
    }
    offers
}

/// Every place where ranges begin or end moved, with all ranges that touch it: next to its neighbours, half-way, by a page,
/// and to the PMD borders between them. Then single ends of single ranges, to all other places as well.
pub fn moved(program: &Program, scene: &Scene) -> Vec<Offer> {
    let g = scene.geometry;
    let cuts = cuts(program, g);
    let borders: Vec<i64> = (0..=BLOCKS).map(|b| Pos::new(b, 0).page_index(g)).collect();
    let mut offers = Vec::new();
    for (i, &cut) in cuts.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| cuts[i]);
        let after = cuts.get(i + 1).copied();
        let mut targets: BTreeSet<i64> = [cut - 1, cut + 1].into();
        if let Some(before) = before {
            targets.extend([before + 1, before + 2, before + (cut - before) / 2]);
        }
        if let Some(after) = after {
            targets.extend([after - 1, after - 2, cut + (after - cut) / 2]);
        }
        targets.extend(borders.iter().flat_map(|b| [b - 1, *b, b + 1]));
        let between =
            |t: &i64| before.is_none_or(|b| b < *t) && after.is_none_or(|a| *t < a) && *t != cut;
        for target in targets.iter().copied().filter(between) {
            let to = |index: i64| if index == cut { target } else { index };
            offers.extend(mapped(program, g, to));
        }
    }
    for (index, nth, range) in all(program) {
        for target in cuts.iter().chain(&borders) {
            let Some(pos) = Pos::from_page_index(*target, g) else {
                continue;
            };
            for new in [Range::new(pos, range.end), Range::new(range.start, pos)] {
                if forward(new, g) == forward(range, g) {
                    let mut changed = program.clone();
                    set_nth_range(&mut changed.steps[index].op, nth, new);
                    offers.push(changed.into());
                }
            }
        }
    }
    offers
}

/// Pages where ranges begin or end, and the arena's first page, in ascending order.
fn cuts(program: &Program, g: Geometry) -> Vec<i64> {
    let ends = all(program).flat_map(|(_, _, r)| [r.start.page_index(g), r.end.page_index(g)]);
    let cuts: BTreeSet<i64> = ends.chain([0]).collect();
    cuts.into_iter().collect()
}

/// Whether it has a page.
fn forward(range: Range, g: Geometry) -> bool {
    range.start.byte_offset(g) < range.end.byte_offset(g)
}

/// The program with every page index replaced. `None` where a place cannot be written down, or a range would become empty.
fn mapped(program: &Program, g: Geometry, to: impl Fn(i64) -> i64) -> Option<Offer> {
    let place = |pos: Pos| {
        let page = Pos::from_page_index(to(pos.page_index(g)), g)?;
        Some(Pos {
            byte: pos.byte,
            ..page
        })
    };
    let mut changed = program.clone();
    let mut fits = true;
    for step in &mut changed.steps {
        step.op = step.op.with_ranges(|range| {
            let (Some(start), Some(end)) = (place(range.start), place(range.end)) else {
                fits = false;
                return range;
            };
            let new = Range::new(start, end);
            fits &= forward(new, g) == forward(range, g);
            new
        });
    }
    fits.then(|| changed.into())
}
