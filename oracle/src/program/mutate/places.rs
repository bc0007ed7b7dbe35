//! Ranges shifted, cut, made alike. Pages are counted on 4 KiB pages, as the generator does.

use crate::geometry::{Geometry, Pos, Range};
use crate::program::generate::dice::Dice;
use crate::program::Program;

const G: Geometry = Geometry::K4;

/// By how many pages something is moved: a page for the most part, now and then a block.
fn distance(dice: &mut Dice<'_, '_>) -> i64 {
    let block = i64::from(G.pages_per_pmd);
    dice.weighted(&[
        (30, 1),
        (30, -1),
        (10, 2),
        (10, -2),
        (5, 4),
        (5, -4),
        (5, block),
        (5, -block),
    ])
}

/// The position `by` pages further. `None`: it cannot be written down.
fn moved(pos: Pos, by: i64) -> Option<Pos> {
    let page = Pos::from_page_index(pos.page_index(G) + by, G)?;
    Some(Pos {
        byte: pos.byte,
        ..page
    })
}

/// A step with a range, and which of its ranges.
fn pick(program: &Program, dice: &mut Dice<'_, '_>) -> Option<(usize, usize, Range)> {
    let all: Vec<(usize, usize, Range)> = (0..)
        .zip(&program.steps)
        .flat_map(|(step, s)| (0..).zip(s.op.ranges()).map(move |(n, r)| (step, n, r)))
        .collect();
    dice.pick(&all)
}

/// The program with one range replaced.
fn with_range(program: &Program, step: usize, nth: usize, range: Range) -> Program {
    let mut changed = program.clone();
    let mut n = 0;
    let op = &mut changed.steps[step].op;
    *op = op.with_ranges(|old| {
        n += 1;
        if n == nth + 1 {
            range
        } else {
            old
        }
    });
    changed
}

/// A range, both ends by the same.
pub fn shift(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (step, nth, range) = pick(program, dice)?;
    let by = distance(dice);
    let new = Range::new(moved(range.start, by)?, moved(range.end, by)?);
    Some(with_range(program, step, nth, new))
}

/// One end of a range; now and then into the middle of a page.
pub fn end(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (step, nth, range) = pick(program, dice)?;
    let by = distance(dice);
    let mut new = range;
    let end = match dice.chance(50) {
        true => &mut new.start,
        false => &mut new.end,
    };
    if dice.one_in(16) {
        end.byte = dice.below(4096) as u16;
    } else {
        *end = moved(*end, by)?;
    }
    Some(with_range(program, step, nth, new))
}

/// A range becomes another one that the program names, or begins or ends where that does.
pub fn alike(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (step, nth, range) = pick(program, dice)?;
    let (_, _, other) = pick(program, dice)?;
    let new = dice.weighted(&[
        (4, other),
        (1, Range::new(other.start, range.end)),
        (1, Range::new(range.start, other.end)),
        (1, Range::new(other.end, range.end)),
        (1, Range::new(range.start, other.start)),
    ]);
    Some(with_range(program, step, nth, new))
}

/// A place where ranges begin or end, wherever it is named.
pub fn border(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (_, _, range) = pick(program, dice)?;
    let old = match dice.chance(50) {
        true => range.start,
        false => range.end,
    };
    let new = moved(old, distance(dice))?;
    let to = |pos: Pos| if pos == old { new } else { pos };
    let mut changed = program.clone();
    for step in &mut changed.steps {
        step.op = step.op.with_ranges(|r| Range::new(to(r.start), to(r.end)));
    }
    Some(changed)
}
