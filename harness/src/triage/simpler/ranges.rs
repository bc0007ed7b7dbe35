//! Ranges made alike, shorter, aligned.

use super::ops::{set_nth_range, set_range};
use super::{with, Offer, Scene};
use oracle::geometry::{Geometry, Pos, Range};
use oracle::program::{Op, Program};
use std::collections::BTreeSet;

/// All ranges the same: the first one, two or three pages, or one that occurs. Then each op with the range of another.
pub fn alike(program: &Program, _: &Scene) -> Vec<Offer> {
    let here = distinct(program);
    let first = |pages| Range::new(Pos::new(0, 0), Pos::new(0, pages));
    let mut offers = Vec::new();
    for range in [first(1), first(2), first(3)]
        .into_iter()
        .chain(here.iter().copied())
    {
        offers.push(with(program, |p| {
            p.steps.iter_mut().for_each(|s| set_range(&mut s.op, range));
        }));
    }
    for (index, nth, _) in all(program) {
        for &range in &here {
            offers.push(with(program, |p| {
                set_nth_range(&mut p.steps[index].op, nth, range);
            }));
        }
    }
    offers.into_iter().map(Offer::from).collect()
}

/// Each range, and all ranges that are alike, made shorter from either end (one page, half, a page less), aligned, and put
/// right when they are empty or wrap around.
pub fn shorter(program: &Program, scene: &Scene) -> Vec<Offer> {
    let mut offers = Vec::new();
    let mut aligned = program.clone();
    for step in &mut aligned.steps {
        step.op = step.op.with_ranges(align);
    }
    offers.push(aligned);
    for range in distinct(program) {
        for new in within(range, scene.geometry) {
            let users: Vec<(usize, usize)> = all(program)
                .filter(|(_, _, r)| *r == range)
                .map(|(index, nth, _)| (index, nth))
                .collect();
            if users.len() > 1 {
                offers.push(with(program, |p| {
                    users
                        .iter()
                        .for_each(|(i, nth)| set_nth_range(&mut p.steps[*i].op, *nth, new));
                }));
            }
            for (index, nth) in users {
                offers.push(with(program, |p| {
                    set_nth_range(&mut p.steps[index].op, nth, new);
                }));
            }
        }
    }
    for (index, step) in program.steps.iter().enumerate() {
        let Op::Mremap { range, to, how } = step.op else {
            continue;
        };
        // What moves stays as long as its new place.
        let pairs = within(range, scene.geometry)
            .into_iter()
            .zip(within(to, scene.geometry));
        for (range, to) in pairs {
            offers.push(with(program, |p| {
                p.steps[index].op = Op::Mremap { range, to, how };
            }));
        }
    }
    offers.into_iter().map(Offer::from).collect()
}

/// Every range: its step, which of the op's ranges it is, and the range.
pub fn all(program: &Program) -> impl Iterator<Item = (usize, usize, Range)> + '_ {
    let steps = program.steps.iter().enumerate();
    steps.flat_map(|(index, step)| {
        let ranges = step.op.ranges().enumerate();
        ranges.map(move |(nth, range)| (index, nth, range))
    })
}

fn distinct(program: &Program) -> Vec<Range> {
    let mut ranges = Vec::new();
    for (_, _, range) in all(program) {
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges
}

fn align(range: Range) -> Range {
    let down = |pos: Pos| Pos { byte: 0, ..pos };
    Range::new(down(range.start), down(range.end))
}

/// Simpler ranges that begin or end where this one does.
fn within(range: Range, g: Geometry) -> Vec<Range> {
    let Range { start, end } = range;
    let (from, to) = (start.page_index(g), end.page_index(g));
    let at = |index: i64| Pos::from_page_index(index, g);
    let mut ranges = Vec::new();
    let mut push = |start: Option<Pos>, end: Option<Pos>| {
        if let (Some(start), Some(end)) = (start, end) {
            ranges.push(Range::new(start, end));
        }
    };
    if to > from {
        let mid = from + (to - from) / 2;
        let ends: BTreeSet<i64> = [from + 1, from + 2, from + 3, mid, to - 1].into();
        for end in ends.into_iter().filter(|e| (from + 1..to).contains(e)) {
            push(Some(start), at(end));
        }
        let starts: BTreeSet<i64> = [to - 1, to - 2, to - 3, mid, from + 1].into();
        for start in starts.into_iter().filter(|s| (from + 1..to).contains(s)) {
            push(at(start), Some(end));
        }
    } else {
        // Empty or wrapping: an ordinary page, else the plainest of its kind.
        push(at(from), at(from + 1));
        push(at(from - 1), at(from));
        push(at(0), at(1));
        push(at(0), at(to.min(from) - from));
        push(at(from - to), at(0));
        push(at(1), at(0));
    }
    for (start, end) in [
        (0, 0),
        (0, end.byte),
        (start.byte, 0),
        (start.byte.min(1), end.byte.min(1)),
        (start.byte.min(1), end.byte),
        (start.byte, end.byte.min(1)),
    ] {
        push(
            Some(Pos {
                byte: start,
                ..range.start
            }),
            Some(Pos {
                byte: end,
                ..range.end
            }),
        );
    }
    if !end.is_page_aligned() {
        push(Some(start), at(to + 1));
        push(at(from), at(to + 1));
    }
    if !start.is_page_aligned() {
        push(at(from + 1), Some(end));
    }
    ranges
}
