//! The text form of programs (`.prog` files). docs/program-format.md is its reference page.
//!
//! | file | subject |
//! | --- | --- |
//! | `print` | printing the canonical form |
//! | `parse` | lines: header, comments, steps, expectations |
//! | `ops` | what stands on an op's line |
//! | `events` | what is expected of userfaultfds to tell |
//! | `flags` | what is expected of VmFlags |
//! | `vectors` | ops with several ranges, and with memory of other actors |
//! | `cursor` | words of a line with their columns |
//! | `names` | the words of the text form |
//! | `error` | what is said about text that is not understood |

mod cursor;
mod error;
mod events;
mod flags;
pub(crate) mod names;
mod ops;
mod parse;
mod print;
mod uffd;
mod vectors;

pub use error::ParseError;

use super::{CheckError, Program};

/// Most bytes a program's text may have.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

impl Program {
    /// Reads the text form. Whether the program makes sense beyond its grammar is for [`Program::check`];
    /// [`Program::load`] does both.
    ///
    /// # Errors
    /// The first thing that is not understood, with line and column and what was expected there.
    pub fn parse(text: &str) -> Result<Program, ParseError> {
        Ok(parse::parse(text)?.program)
    }

    /// Reads the text form and checks the program: what every command does with a file.
    ///
    /// # Errors
    /// As [`Program::parse`]; a failed check points at the step's line.
    pub fn load(text: &str) -> Result<Program, ParseError> {
        checked(text, Program::check)
    }

    /// The same for programs in which threads may run at once: those that only the oracle takes.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_concurrent(text: &str) -> Result<Program, ParseError> {
        checked(text, Program::check_concurrent)
    }
}

fn checked(
    text: &str,
    check: impl Fn(&Program) -> Result<(), CheckError>,
) -> Result<Program, ParseError> {
    let parsed = parse::parse(text)?;
    match check(&parsed.program) {
        Ok(()) => Ok(parsed.program),
        Err(error) => {
            let line = error.step.and_then(|i| parsed.lines.get(i).copied());
            Err(cursor::whole_line(text, line.unwrap_or(1), error.message))
        }
    }
}

#[cfg(test)]
mod tests;
