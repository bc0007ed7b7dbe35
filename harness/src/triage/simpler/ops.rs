//! Ops left out, in chunks and one by one; like ops merged; mappings moved to the front.

use super::{with, Offer, Scene};
use oracle::geometry::Range;
use oracle::program::{Op, Program};
use std::collections::BTreeSet;

/// Everything behind the op that goes wrong, then chunks of half the steps, of a quarter, ..., of one.
pub fn drop(program: &Program, scene: &Scene) -> Vec<Offer> {
    let steps = program.steps.len();
    let mut offers = Vec::new();
    if scene.step + 1 < steps {
        offers.push(without(program, &(scene.step + 1..steps).collect()));
    }
    let mut size = steps.div_ceil(2);
    while size > 0 {
        // Chunks overlap by half: what can go does not care where ours begin.
        for from in (0..steps).step_by(size.div_ceil(2)) {
            let to = (from + size).min(steps);
            offers.push(without(program, &(from..to).collect()));
        }
        size /= 2;
    }
    offers
}

/// The program without these steps and without what cannot be done then: the ops of children that no longer exist. A section
/// of which one thread is left is none any more.
pub fn without(program: &Program, steps: &BTreeSet<usize>) -> Offer {
    let mut dropped = steps.clone();
    let mut living = BTreeSet::from([0]);
    for (index, step) in program.steps.iter().enumerate() {
        let other = step.op.other();
        if !living.contains(&step.actor) || other.is_some_and(|other| !living.contains(&other)) {
            dropped.insert(index);
        }
        if dropped.contains(&index) {
            continue;
        }
        if let Op::Fork { child } = step.op {
            living.insert(child);
        }
    }
    let mut index = 0;
    Offer {
        program: with(program, |p| {
            p.steps.retain(|_| {
                index += 1;
                !dropped.contains(&(index - 1))
            });
            end_sections_of_one(p);
        }),
        dropped,
    }
}

/// The steps of a thread that has nobody to run beside are those of the actor alone.
fn end_sections_of_one(program: &mut Program) {
    let sections: Vec<_> = program.sections().collect();
    for section in sections {
        let steps = &mut program.steps[section];
        let first = steps.first().and_then(|step| step.lane);
        if steps.iter().all(|step| step.lane == first) {
            steps.iter_mut().for_each(|step| step.lane = None);
        }
    }
}

/// Two ops of a kind become one over both ranges, in the place of the one or of the other.
pub fn merge(program: &Program, scene: &Scene) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (i, first) in program.steps.iter().enumerate() {
        for (j, second) in program.steps.iter().enumerate().skip(i + 1) {
            let (Some(a), Some(b)) = (first.op.range(), second.op.range()) else {
                continue;
            };
            let like = std::mem::discriminant(&first.op) == std::mem::discriminant(&second.op);
            let moves = matches!(first.op, Op::Mremap { .. });
            if !like || moves || first.op.name() != second.op.name() || first.actor != second.actor
            {
                continue;
            }
            let start = std::cmp::min_by_key(a.start, b.start, |p| p.byte_offset(scene.geometry));
            let end = std::cmp::max_by_key(a.end, b.end, |p| p.byte_offset(scene.geometry));
            for (kept, gone) in [(i, j), (j, i)] {
                let merged = with(program, |p| {
                    set_range(&mut p.steps[kept].op, Range::new(start, end));
                    p.steps.remove(gone);
                });
                offers.push(merged.into());
            }
        }
    }
    offers
}

/// Each mapping moved to the front, and one place forward.
pub fn order(program: &Program, _: &Scene) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (index, step) in program.steps.iter().enumerate().skip(1) {
        if !matches!(step.op, Op::Mmap { .. }) {
            continue;
        }
        for to in [0, index - 1] {
            let moved = with(program, |p| {
                let step = p.steps.remove(index);
                p.steps.insert(to, step);
            });
            offers.push(moved.into());
        }
    }
    offers
}

/// Gives an op another range, if it has one at all.
pub fn set_range(op: &mut Op, new: Range) {
    set_nth_range(op, 0, new);
}

/// Gives an op another range in place of its `nth`. An mremap without a new address starts where it did, then as now.
pub fn set_nth_range(op: &mut Op, nth: usize, new: Range) {
    let mut at = 0..;
    *op = op.with_ranges(|range| {
        let changed = at.next() == Some(nth);
        if changed {
            new
        } else {
            range
        }
    });
    if let Op::Mremap { range, to, how } = op {
        if !how.has_target() && nth == 0 {
            to.start = range.start;
        } else if !how.has_target() {
            range.start = to.start;
        }
    }
}
