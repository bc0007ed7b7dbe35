//! One execution of a section as a picture: an order of the kernel's steps, and what is wrong with it.

use super::judge::{explanation, Approach};
use super::report::explanation_text;
use crate::campaign::{pieces, Piece};
use crate::kernel::Execution;
use oracle::geometry::Geometry;
use oracle::judge::{Observation, Verdict};
use oracle::profile::{Profile, BEHAVIOURS};
use oracle::program::{ActorId, Program};
use oracle::race::{explore, Move};

/// Why an execution of the first section of `program` is forbidden, in lines for people: the order of steps that leads there, and which
/// known behaviour of kernels it takes, or how far the rules come.
pub fn picture(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> String {
    let section = pieces(program).find(|piece| piece.steps.len() > 1);
    let Some(section) = section else {
        return "  No threads run at once in it.\n".into();
    };
    let Some(seen) = section.seen(&execution.seen) else {
        return "  Not all threads returned.\n".into();
    };
    let approach = Approach::of(program, execution, section.range.start, geometry);
    if let Some(how) = way(&approach, &section, &seen, profile) {
        return format!(
            "  What the threads came to is allowed, for example in this order; what goes wrong comes after it.\n\n{}",
            timeline(&how)
        );
    }
    for row in BEHAVIOURS.iter().filter(|row| !row.get(profile)) {
        let mut with = profile.clone();
        row.set(&mut with, true);
        if let Some(how) = way(&approach, &section, &seen, &with) {
            return format!(
                "  No order of the kernel's steps leads there by the rules. In this order it would, on a kernel that had the behaviour {}: {}.\n\n{}",
                row.name,
                row.what,
                timeline(&how)
            );
        }
    }
    match explanation(program, execution, profile, geometry) {
        Some(told) => explanation_text(&told, section.steps, geometry),
        None => "  There are too many orders of steps to go through.\n".into(),
    }
}

/// An order of steps after which all is as it was seen, by the rules of this profile.
fn way(
    approach: &Approach<'_>,
    section: &Piece<'_>,
    seen: &Observation,
    profile: &Profile,
) -> Option<Vec<Move>> {
    let mut oracle = approach.play(profile).ok()?;
    let before = oracle.worlds().to_vec();
    section.play(&mut oracle);
    if !matches!(
        oracle.observe(seen),
        Verdict::Agree | Verdict::Allowed { .. }
    ) {
        return None;
    }
    let way = *oracle.ways().first()?;
    let finals = before
        .iter()
        .filter_map(|world| explore(world, section.steps).ok())
        .flat_map(|all| all.finals);
    finals.map(|end| end.how).nth(way)
}

/// Columns between the left margin and the right.
const WIDTH: usize = crate::report::WIDTH - MARGIN;

const MARGIN: usize = 3;

/// Columns between two threads.
const GAP: usize = 2;

/// Most columns of one thread.
const COLUMN: usize = 34;

/// An order of steps as a picture: a column for each thread, time going down. Whose a thread is is told where they are not all the same
/// actor's.
pub fn timeline(steps: &[Move]) -> String {
    let mut lanes: Vec<(char, ActorId)> = steps.iter().map(|s| (s.lane, s.actor)).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let column = (WIDTH / lanes.len().max(1)).saturating_sub(GAP).min(COLUMN);
    let row = |cell: &dyn Fn((char, ActorId)) -> String| {
        let cells = lanes.iter().map(|lane| format!("{:column$}", cell(*lane)));
        let (margin, gap) = (" ".repeat(MARGIN), " ".repeat(GAP));
        let cells = cells.collect::<Vec<_>>().join(&gap);
        format!("{margin}{}\n", cells.trim_end())
    };
    let several = lanes.iter().any(|(_, actor)| *actor != lanes[0].1);
    let mut text = row(&|(lane, actor)| match several {
        true => format!("thread {lane}, actor {actor}"),
        false => format!("thread {lane}"),
    });
    text += &row(&|_| "-".repeat(column));
    for step in steps {
        for line in fill(&step.what, column) {
            text += &row(&|(lane, _)| match lane == step.lane {
                true => line.clone(),
                false => "|".to_owned(),
            });
        }
    }
    text
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(lane: char, what: &str) -> Move {
        Move {
            lane,
            actor: 0,
            what: what.to_owned(),
        }
    }

    #[test]
    fn a_timeline_has_a_column_for_each_thread() {
        let text = timeline(&[
            step('a', "takes the lock and comes to the VMA at 0+0"),
            step('b', "loads from page 0+1"),
        ]);
        let expected = "   thread a                            thread b
   ----------------------------------  ----------------------------------
   takes the lock and comes to the     |
   VMA at 0+0                          |
   |                                   loads from page 0+1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn whose_a_thread_is_is_told_where_it_matters() {
        let of = |actor, step: Move| Move { actor, ..step };
        let text = timeline(&[of(0, step('a', "loads")), of(1, step('b', "stores"))]);
        let first = text.lines().next();
        let expected = "   thread a, actor 0                   thread b, actor 1";
        assert_eq!(first, Some(expected));
        let text = timeline(&[of(1, step('a', "loads")), of(1, step('b', "stores"))]);
        assert!(text.starts_with("   thread a  ") && !text.contains("actor"));
    }

    #[test]
    fn four_threads_fit_a_line() {
        let what = "takes the lock for reading and installs up to page 0+3";
        let text = timeline(&['a', 'b', 'c', 'd'].map(|lane| step(lane, what)));
        assert!(text.lines().all(|line| line.len() <= crate::report::WIDTH));
        assert!(text.contains("thread d"));
    }
}
