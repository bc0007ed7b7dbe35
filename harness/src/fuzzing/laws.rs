//! The laws of `oracle::laws` on a program that a fuzzer made: one at a time.
//!
//! An input is a program's text behind a line `# turn N`, and the turn says which law is checked on which kind of kernel: see [`Turn`].
//! Whoever has all of them checked on each program has most of the work done for nothing, since a small change of a program
//! seldom breaks what it did not touch. So a mutation changes the program or the turn alone, and every turn can be had by every program.

use super::{number, text};
use oracle::laws::{check_law, Ground, Law, PairLaw, GROUNDS};
/// What is checked, as the turn's number says: the rest of a division by 16 is the place in this list. What is likeliest to find something
/// comes more often; all of it comes.
const LAWS: [Law; 16] = {
    use Law::{Judge, Pair, Text, Worlds};
    [
        Worlds,
        Judge,
        Worlds,
        Pair(PairLaw::Halves),
        Worlds,
        Judge,
        Worlds,
        Pair(PairLaw::InstallRemove),
        Worlds,
        Judge,
        Worlds,
        Pair(PairLaw::OtherSide),
        Worlds,
        Judge,
        Pair(PairLaw::RemoveNothing),
        Text,
    ]
};

/// Turns that check something different of the same program, the choices of pairs apart.
const TURNS: u32 = (LAWS.len() * GROUNDS.len()) as u32;

/// Turns that there are: with 64 choices for each law about pairs.
const ALL_TURNS: u32 = 64 * TURNS;

/// Which law is checked on which kind of kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn(u32);

impl Turn {
    /// The turn of an input, and the program's text. A text without such a line has one of its own.
    fn of(bytes: &[u8]) -> (Turn, &[u8]) {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
        let turn = std::str::from_utf8(line).ok();
        let turn = turn.and_then(|line| line.strip_prefix(LINE)?.parse().ok());
        match turn {
            Some(turn) => (Turn(turn), bytes.get(line.len() + 1..).unwrap_or_default()),
            None => (Turn(number(bytes) as u32 % ALL_TURNS), bytes),
        }
    }

    /// The law.
    pub fn law(self) -> Law {
        LAWS[self.0 as usize % LAWS.len()]
    }

    fn ground(self) -> &'static Ground {
        &GROUNDS[self.0 as usize / LAWS.len() % GROUNDS.len()]
    }

    /// What a law about pairs chooses the other program by.
    fn choice(self) -> u64 {
        u64::from(self.0 / TURNS)
    }
}

const LINE: &str = "# turn ";

/// Bytes that the line of a turn may have.
const LINE_BYTES: usize = LINE.len() + 11;

/// Checks one law on the program. `false`: the bytes are no program, or nothing in it lends itself to the law.
///
/// # Errors
/// The law that does not hold, with the program.
pub fn laws(bytes: &[u8]) -> Result<bool, String> {
    let (turn, text) = Turn::of(bytes);
    let Some(program) = text::made_of(text).or_else(|| text::program(text)) else {
        return Ok(false);
    };
    check_law(&program, turn.law(), turn.ground(), turn.choice())
        .map_err(|broken| broken.to_string())
}

/// Every other time another turn for the same program, else a program a little different. At most `most` bytes.
pub fn mutated(bytes: &[u8], most: usize, seed: u32) -> Vec<u8> {
    let (_, text) = Turn::of(bytes);
    let room = most.saturating_sub(LINE_BYTES);
    let kept = seed.is_multiple_of(2) && text.len() <= room && text::remember(text);
    let text = match kept {
        true => text.to_vec(),
        false => text::mutated(text, room, seed),
    };
    with_turn(text, seed)
}

/// Now and then a program with steps of both, at most `most` bytes; else the first, [`mutated`]: libFuzzer asks for one as often as for
/// the other, and the second program has to be read each time.
pub fn crossed(a: &[u8], b: &[u8], most: usize, seed: u32) -> Vec<u8> {
    if !number(!seed).is_multiple_of(8) {
        return mutated(a, most, seed);
    }
    let room = most.saturating_sub(LINE_BYTES);
    let text = text::crossed(Turn::of(a).1, Turn::of(b).1, room, seed);
    with_turn(text, seed)
}

fn with_turn(text: Vec<u8>, seed: u32) -> Vec<u8> {
    if text.is_empty() {
        return text;
    }
    let turn = number(seed) as u32 % ALL_TURNS;
    let mut bytes = format!("{LINE}{turn}\n").into_bytes();
    bytes.extend(text);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::program::generate::generate;
    use oracle::program::Program;
    use std::collections::BTreeSet;

    #[test]
    fn generated_programs_and_their_mutants_obey() {
        let mut checked = 0;
        for seed in 0..300 {
            let mut bytes = generate(seed).to_string().into_bytes();
            for turn in 0..12 {
                checked += u32::from(laws(&bytes).unwrap());
                bytes = mutated(&bytes, 4096, seed as u32 * 13 + turn);
            }
        }
        assert!(checked > 2400, "{checked} of 3600");
        assert_eq!(laws(b"no program"), Ok(false));
    }

    /// Whatever the program, every law and every kind of kernel has its turn.
    #[test]
    fn every_law_is_chosen() {
        let text = "mmap 0+0..0+4 rw private fixed\n";
        let mut of_turns = BTreeSet::new();
        for turn in 0..TURNS {
            let bytes = format!("{LINE}{turn}\n{text}");
            let (turn, rest) = Turn::of(bytes.as_bytes());
            assert_eq!(rest, text.as_bytes());
            of_turns.insert((turn.law(), std::ptr::from_ref(turn.ground()) as usize));
        }
        assert_eq!(of_turns.len(), Law::ALL.len() * GROUNDS.len());
        // And mutation comes upon all of them, the program being the same.
        let mut by_mutation = BTreeSet::new();
        let mut bytes = text.as_bytes().to_vec();
        for seed in 0..4000 {
            let next = mutated(&bytes, 4096, 2 * seed);
            let (turn, rest) = Turn::of(&next);
            assert_eq!(rest, text.as_bytes());
            by_mutation.insert((turn.law(), std::ptr::from_ref(turn.ground()) as usize));
            bytes = next;
        }
        assert_eq!(by_mutation, of_turns);
    }

    #[test]
    fn an_input_is_a_program_file_within_its_limit() {
        let mut bytes = Vec::new();
        for seed in 0..300 {
            let most = 120 + (seed as usize * 13) % 900;
            let other = mutated(&bytes, most, !seed);
            bytes = match seed % 3 {
                0 => crossed(&bytes, &other, most, seed),
                _ => mutated(&bytes, most, seed),
            };
            assert!(bytes.len() <= most);
            assert!(Program::load(std::str::from_utf8(&bytes).unwrap()).is_ok());
        }
        assert!(mutated(b"", 3, 1).is_empty());
    }
}
