//! A program in pieces that are judged as one: a step of an actor alone, or a whole section of threads.

use oracle::judge::{Observation, Oracle, Outcome};
use oracle::program::{Program, Step};
use std::borrow::Cow;
use std::ops::Range;

/// See the module.
#[derive(Debug, Clone)]
pub struct Piece<'a> {
    /// Which steps of the program it is.
    pub range: Range<usize>,
    pub steps: &'a [Step],
}

impl Piece<'_> {
    /// The oracle takes it.
    pub fn play(&self, oracle: &mut Oracle) {
        match self.steps {
            [step] if step.lane.is_none() => oracle.step(step),
            section => oracle.together(section),
        }
    }

    /// What it is called in a bucket: the op, or those of all threads, each once, in alphabetical order.
    pub fn name(&self) -> String {
        let mut names: Vec<&str> = self.steps.iter().map(|step| step.op.name()).collect();
        names.sort_unstable();
        names.dedup();
        names.join("|")
    }

    /// What was seen of it, from what was seen after each step; `None`: not all of it has returned.
    pub fn seen<'s>(&self, seen: &'s [Observation]) -> Option<Cow<'s, Observation>> {
        let seen = seen.get(self.range.clone())?;
        match (seen, self.steps) {
            ([one], [step]) if step.lane.is_none() => Some(Cow::Borrowed(one)),
            (section, _) => {
                let last = section.last()?;
                let outcomes = section.iter().map(|seen| seen.outcome.clone());
                Some(Cow::Owned(Observation {
                    outcome: Outcome::Together(outcomes.collect()),
                    spaces: last.spaces.clone(),
                    events: Vec::new(),
                    failing: None,
                }))
            }
        }
    }
}

/// The pieces of a program, in order.
pub fn pieces(program: &Program) -> impl Iterator<Item = Piece<'_>> {
    program.pieces().map(|range| Piece {
        steps: &program.steps[range.clone()],
        range,
    })
}

/// The piece that a step belongs to.
pub fn piece_of(program: &Program, step: usize) -> Option<Piece<'_>> {
    pieces(program).find(|piece| piece.range.contains(&step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_one_piece() {
        let text = "mmap 0+0..0+4 rw private fixed\n|a read 0+0..0+1\n|b guard-install 0+0..0+1\nread 0+0..0+1\n";
        let program = Program::load_concurrent(text).unwrap();
        let ranges: Vec<_> = pieces(&program).map(|piece| piece.range).collect();
        assert_eq!(ranges, [0..1, 1..3, 3..4]);
        assert_eq!(piece_of(&program, 2).unwrap().range, 1..3);
        let seen = |outcome| Observation {
            outcome,
            spaces: Vec::new(),
            events: Vec::new(),
            failing: None,
        };
        let all = [Outcome::Ok, Outcome::Elsewhere, Outcome::Errno(5)].map(seen);
        let section = piece_of(&program, 1).unwrap();
        assert_eq!(section.seen(&all[..2]), None);
        let together = section.seen(&all).unwrap().outcome.clone();
        let expected = Outcome::Together(vec![Outcome::Elsewhere, Outcome::Errno(5)]);
        assert_eq!(together, expected);
    }
}
