//! Threads left out, told to do their op once, taken out of their section, or numbered from the start.

use super::ops::without;
use super::{with, Offer, Scene};
use oracle::program::{Lane, Op, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Of every section: each thread left out; each that repeats made one that does not; a whole section one step after the other, and the
/// first or last op of each thread done before it or behind it; its threads numbered in the order of their first ops.
pub fn fewer(program: &Program, _: &Scene) -> Vec<Offer> {
    let mut offers = Vec::new();
    for section in program.sections() {
        let mut lanes: BTreeMap<Lane, BTreeSet<usize>> = BTreeMap::new();
        let mut order: Vec<u8> = Vec::new();
        for at in section.clone() {
            let Some(lane) = program.steps[at].lane else {
                continue;
            };
            lanes.entry(lane).or_default().insert(at);
            if !order.contains(&lane.number) {
                order.push(lane.number);
            }
        }
        offers.extend(lanes.values().map(|steps| without(program, steps)));
        offers.push(with(program, |p| alone(p, section.clone())).into());
        for (lane, steps) in &lanes {
            let once = Lane {
                repeats: false,
                ..*lane
            };
            if lane.repeats {
                offers.push(with(program, |p| set(p, steps, Some(once))).into());
            }
            let moves = [
                (steps.first(), section.start),
                (steps.last(), section.end - 1),
            ];
            for (step, to) in moves {
                let Some(&step) = step else { continue };
                let moved = with(program, |p| {
                    let mut step = p.steps.remove(step);
                    step.lane = None;
                    p.steps.insert(to, step);
                });
                offers.push(moved.into());
            }
        }
        let place = |number: u8| {
            let place = order.iter().position(|other| *other == number);
            place.map_or(number, |place| place as u8)
        };
        let numbered = with(program, |p| {
            for step in &mut p.steps[section.clone()] {
                if let Some(lane) = &mut step.lane {
                    lane.number = place(lane.number);
                }
                if let Op::Signal { to } = &mut step.op {
                    *to = place(*to);
                }
            }
        });
        offers.push(numbered.into());
    }
    offers
}

/// Its steps belong to no thread any more.
fn alone(program: &mut Program, section: Range<usize>) {
    for step in &mut program.steps[section] {
        step.lane = None;
    }
}

fn set(program: &mut Program, steps: &BTreeSet<usize>, lane: Option<Lane>) {
    for step in steps {
        program.steps[*step].lane = lane;
    }
}

#[cfg(test)]
mod tests {
    use super::super::texts;
    use super::*;

    #[test]
    fn a_signal_goes_to_the_thread_that_it_went_to() {
        let text = "mmap 0+0..0+4 rw private fixed\n|c signal b\n|b read 0+0..0+1\n";
        let texts = texts(fewer, text, 1);
        assert!(texts
            .iter()
            .any(|text| text.contains("|a signal b\n|b read")));
    }

    #[test]
    fn threads_go_and_what_is_left_can_be_run() {
        let text = "mmap 0+0..0+4 rw private fixed\n|b write 0+0..0+1 tag 1\n|c* read 0+0..0+1\n\
                    |a guard-install 0+0..0+1\n|b write 0+1..0+2 tag 2\n";
        let texts = texts(fewer, text, 1);
        let has = |lines: &str| texts.iter().any(|text| text.contains(lines));
        assert!(has(
            "fixed\n|b write 0+0..0+1 tag 1\n|c* read 0+0..0+1\n|b write"
        ));
        assert!(has("|c read"));
        assert!(has(
            "fixed\nwrite 0+0..0+1 tag 1\nread 0+0..0+1\nguard-install"
        ));
        assert!(has("fixed\nwrite 0+0..0+1 tag 1\n|c* read"));
        assert!(has("|a guard-install 0+0..0+1\nwrite 0+1..0+2 tag 2"));
        assert!(has(
            "|a write 0+0..0+1 tag 1\n|b* read 0+0..0+1\n|c guard-install"
        ));
    }
}
