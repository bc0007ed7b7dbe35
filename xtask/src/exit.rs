//! Exit codes.

use crate::setup::SetupError;
use harness::campaign::{CorpusError, KnownError};
use std::fmt;
use std::process::ExitCode;

/// How a command ended when nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: nothing that known.toml does not explain.
    Fine,
    /// 1: a new divergence, hang or crash, or a failed test.
    Found,
    /// 69: the infrastructure failed; said on the way.
    Infrastructure,
    /// 125: it could not be told; `git bisect run` skips the commit.
    Untold,
    /// 128: nothing can be told at all; `git bisect run` gives up.
    GiveUp,
    /// 130: the user stopped it, and nothing new was found until then.
    Interrupted,
}

/// The user asked for something that cannot be: exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// EX_UNAVAILABLE of sysexits.h, as vmtest uses it: a failure of the infrastructure is neither pass nor divergence.
const INFRASTRUCTURE: u8 = 69;

/// The first code at which `git bisect run` gives up instead of calling the commit good or bad.
pub const GIVE_UP: u8 = 128;

/// Turns a result into the exit code, and says what went wrong.
pub fn code(result: anyhow::Result<Exit>) -> ExitCode {
    match result {
        Ok(Exit::Fine) => ExitCode::SUCCESS,
        Ok(Exit::Found) => ExitCode::from(1),
        Ok(Exit::Infrastructure) => ExitCode::from(INFRASTRUCTURE),
        Ok(Exit::Untold) => ExitCode::from(125),
        Ok(Exit::GiveUp) => ExitCode::from(GIVE_UP),
        // 128 + SIGINT, as a shell reports it.
        Ok(Exit::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let text = format!("{error:#}");
            if text.starts_with("error:") {
                eprintln!("{text}");
            } else {
                eprintln!("error: {text}");
            }
            ExitCode::from(if is_usage(&error) { 2 } else { INFRASTRUCTURE })
        }
    }
}

/// Whether an error is the user's doing. What is not known to be is the infrastructure's.
pub fn is_usage(error: &anyhow::Error) -> bool {
    if error.downcast_ref::<SetupError>().is_some() {
        return false;
    }
    error.downcast_ref::<UsageError>().is_some()
        || error.downcast_ref::<CorpusError>().is_some()
        || error.downcast_ref::<KnownError>().is_some()
        || error
            .downcast_ref::<vm_images::Error>()
            .is_some_and(vm_images::Error::is_usage)
}

/// Prints to standard output; unlike `println!` it is an error, not a panic, when nobody takes it.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::exit::print(&format!($($words)*))?
    };
}
pub(crate) use say;

/// See [`say`].
///
/// # Errors
/// Standard output is full or closed.
pub fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output cannot be written")
}
