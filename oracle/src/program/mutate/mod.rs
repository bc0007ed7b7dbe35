//! Programs made from other programs, for fuzzers: changes that keep a program meaningful. What comes out always passes
//! [`Program::check`], has no expectations and no comments, and is the same for the same seed on every machine.
//!
//! | file | subject |
//! | --- | --- |
//! | `order` | steps doubled, dropped, moved, swapped, brought in from another program |
//! | `places` | ranges shifted, cut, made alike |
//! | `words` | other ops on the same range, other flags, settings |
//! | `actors` | steps done by somebody else, fork brought forward |
//! | `grow` | steps that the generator would write next |
//! | `fit` | what is left of a changed program that can be run |

mod actors;
mod fit;
mod grow;
mod order;
mod places;
#[cfg(test)]
mod tests;
mod words;

use super::generate::dice::{expand, Dice};
use super::generate::generate;
use super::Program;
use arbitrary::Unstructured;

/// Bytes that a seed is expanded to; more than a few mutations use up.
const SEED_BYTES: usize = 2048;

/// Times that something is tried before a program of its own is generated.
const PATIENCE: u32 = 8;

/// One way to change a program. `None`: there is nothing in it that could be changed so.
type Act = fn(&Program, &mut Dice<'_, '_>) -> Option<Program>;

/// The ways, with their names, by weight.
const MUTATIONS: &[(u32, (&str, Act))] = &[
    (20, ("grow", grow::anywhere)),
    (10, ("go on", grow::at_the_end)),
    (6, ("double", order::double)),
    (8, ("drop", order::drop)),
    (6, ("swap neighbours", order::swap)),
    (4, ("move", order::shift)),
    (6, ("splice generated", order::splice_generated)),
    (10, ("shift a range", places::shift)),
    (8, ("move an end", places::end)),
    (6, ("same range", places::alike)),
    (4, ("move a border everywhere", places::border)),
    (8, ("other op", words::other_op)),
    (8, ("other words", words::other_words)),
    (2, ("settings", words::settings)),
    (6, ("other actor", actors::other)),
    (4, ("fork", actors::fork)),
];

/// A program that differs a little from this one.
pub fn mutate(program: &Program, seed: u64) -> Program {
    let bytes = expand(seed, SEED_BYTES);
    let mut bytes = Unstructured::new(&bytes);
    let mut dice = Dice::new(&mut bytes);
    let bare = fit::bare(program);
    for _ in 0..PATIENCE {
        let mut changed = bare.clone();
        for _ in 0..dice.weighted(&[(6, 1), (3, 2), (1, 4)]) {
            let (_, act) = dice.weighted(MUTATIONS);
            if let Some(next) = act(&changed, &mut dice).and_then(fit::fit) {
                changed = next;
            }
        }
        if changed != bare {
            return changed;
        }
    }
    generate(seed)
}

/// A program with steps of both.
pub fn cross(a: &Program, b: &Program, seed: u64) -> Program {
    let bytes = expand(seed, SEED_BYTES);
    let mut bytes = Unstructured::new(&bytes);
    let mut dice = Dice::new(&mut bytes);
    let (a, b) = (fit::bare(a), fit::bare(b));
    order::splice(&a, &b, &mut dice)
        .and_then(fit::fit)
        .unwrap_or_else(|| mutate(&a, seed))
}
