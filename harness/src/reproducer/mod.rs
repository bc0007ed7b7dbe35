//! C programs that show what a program shows: for people who have a kernel tree and no mmdiff.
//!
//! | file | subject |
//! | --- | --- |
//! | `body` | the steps in C, a call a line, with the checks that the program's expectations ask for |
//! | `words` | addresses, lengths, flags and numbers in C |
//! | `parts` | the helpers that a body needs (`c/`), and what stands around it |
//! | `pinned` | from a divergence to a program whose expectations tell it |
//! | `trial` | compiled and run on a kernel, many in one boot |
//! | `c/init.c` | PID 1 of a VM that runs such programs |
//!
//! A C program ends with 0 when the kernel behaves, with 1 when it does not, and with 4 (as kselftests do) when it lacks what the
//! program needs.

mod body;
mod parts;
mod pinned;
#[cfg(test)]
mod tests;
mod trial;
mod words;

pub use pinned::{pinned, Unpinned};
pub use trial::{boot, compile, run, Trial, TrialError};

use oracle::program::Program;

/// Exit status of a C program when the kernel behaves.
pub const BEHAVES: i32 = 0;
/// When it does not.
pub const MISBEHAVES: i32 = 1;
/// When the feature is absent.
pub const ABSENT: i32 = 4;

/// PID 1 for a VM: runs what is in /repro and prints `reproducer: NAME STATUS` for each.
pub const INIT: &str = include_str!("c/init.c");

/// Boots a kernel image with the C programs beside it, by QEMU alone.
pub const SCRIPT: &str = include_str!("c/reproduce.sh");

/// The program in C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reproducer {
    /// A program of its own: `gcc -static -Wall -Werror`.
    pub c: String,
    /// The same as a `TEST_F` body, for tools/testing/selftests/mm.
    pub kselftest: String,
}

/// Why a program cannot be said in C here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no C reproducer: {0}")]
pub struct Unsayable(pub String);

/// Writes `program` in C. What its author expects is checked, nothing else; `name` is an identifier.
///
/// # Errors
/// It has an op or a setting that these programs do not know.
pub fn reproducer(name: &str, program: &Program) -> Result<Reproducer, Unsayable> {
    let body = body::body(program)?;
    Ok(Reproducer {
        c: parts::plain(program, &body),
        kselftest: parts::kselftest(name, program, &body),
    })
}
