//! What is expected of VmFlags: `VmFlags gu !lo` behind a position.

use super::cursor::{Cursor, Word};
use super::error::ParseError;
use super::names::{list, name_of, nearest, value_of, VM_FLAGS};
use crate::geometry::Pos;
use crate::program::{ActorId, Expect, FlagExpected};
use std::fmt;

/// The word that the flags stand behind, as in smaps.
pub const WORD: &str = "VmFlags";

/// The flags of the VMA at `at`, one at least, none twice.
pub fn expectation(c: &mut Cursor<'_>, actor: ActorId, at: Pos) -> Result<Expect, ParseError> {
    c.word();
    let mut flags: Vec<FlagExpected> = Vec::new();
    loop {
        let word = c.word();
        let (name, set) = match word.text.strip_prefix('!') {
            Some(name) => (name, false),
            None => (word.text, true),
        };
        let Some(flag) = value_of(VM_FLAGS, name) else {
            return Err(unknown(c, word));
        };
        if flags.iter().any(|f| f.flag == flag) {
            let message = format!("`{name}` is given twice");
            return Err(c.error(word.start, word.text.len(), message));
        }
        flags.push(FlagExpected { flag, set });
        if c.peek().text.is_empty() {
            return Ok(Expect::Flags { actor, at, flags });
        }
    }
}

fn unknown(c: &Cursor<'_>, word: Word<'_>) -> ParseError {
    let names = || VM_FLAGS.iter().map(|(name, _)| *name);
    let mut error = c.expected("a flag of smaps such as gu, or !gu for its absence", word);
    error.help = Some(match nearest(word.text, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("flags are {}", list(names())),
    });
    error
}

impl fmt::Display for FlagExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.set { "" } else { "!" };
        write!(f, "{not}{}", name_of(VM_FLAGS, &self.flag).unwrap_or("??"))
    }
}
