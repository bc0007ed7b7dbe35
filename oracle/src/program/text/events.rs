//! Expectations of what userfaultfds tell: `events remap 0+0..0+2 to 1+0 unmap 0+0..0+2`, `events none`.

use super::cursor::Cursor;
use super::error::ParseError;
use super::ops::{keyword, position, range};
use crate::geometry::Range;
use crate::program::{EventExpected, Expect};
use std::fmt;

/// The word that such an expectation starts with.
pub const WORD: &str = "events";
const NONE: &str = "none";
const ELSEWHERE: &str = "elsewhere";

/// What stands behind [`WORD`].
pub fn expectation(c: &mut Cursor<'_>) -> Result<Expect, ParseError> {
    let mut events = Vec::new();
    if takes(c, NONE) {
        return Ok(Expect::Events(events));
    }
    loop {
        let kinds = &[("fork", 0), ("remap", 1), ("remove", 2), ("unmap", 3)];
        events.push(match keyword(c, kinds)? {
            0 => EventExpected::Fork,
            1 => {
                let range = range(c)?;
                keyword(c, &[("to", ())])?;
                let to = match takes(c, ELSEWHERE) {
                    true => None,
                    false => {
                        let word = c.word();
                        Some(position(c, word)?)
                    }
                };
                EventExpected::Remap { range, to }
            }
            2 => EventExpected::Remove(range(c)?),
            _ => EventExpected::Unmap(match takes(c, ELSEWHERE) {
                true => None,
                false => Some(range(c)?),
            }),
        });
        if c.peek().text.is_empty() {
            return Ok(Expect::Events(events));
        }
    }
}

/// Whether the next word is this one; it is taken then.
fn takes(c: &mut Cursor<'_>, word: &str) -> bool {
    let is_next = c.peek().text == word;
    if is_next {
        c.word();
    }
    is_next
}

/// The expectation as it is written.
pub fn text(events: &[EventExpected]) -> String {
    let words: Vec<String> = events.iter().map(EventExpected::to_string).collect();
    match words.is_empty() {
        true => format!("{WORD} {NONE}"),
        false => format!("{WORD} {}", words.join(" ")),
    }
}

impl fmt::Display for EventExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventExpected::Fork => f.write_str("fork"),
            EventExpected::Remap { range, to: None } => write!(f, "remap {range} to {ELSEWHERE}"),
            EventExpected::Remap {
                range,
                to: Some(to),
            } => write!(f, "remap {range} to {to}"),
            EventExpected::Remove(range) => write!(f, "remove {range}"),
            EventExpected::Unmap(None) => write!(f, "unmap {ELSEWHERE}"),
            EventExpected::Unmap(Some(range)) => write!(f, "unmap {range}"),
        }
    }
}

impl EventExpected {
    /// The ranges that it names.
    pub fn range(&self) -> Option<Range> {
        match *self {
            EventExpected::Fork | EventExpected::Unmap(None) => None,
            EventExpected::Remap { range, .. }
            | EventExpected::Remove(range)
            | EventExpected::Unmap(Some(range)) => Some(range),
        }
    }
}
