//! Calls through userfaultfd.

use super::cursor::Cursor;
use super::error::ParseError;
use super::ops::{keyword, number_in, position, range};
use crate::program::{Op, UffdCall};

/// The call of this name, if it is one.
pub fn call(name: &str) -> Option<UffdCall> {
    UffdCall::ALL.into_iter().find(|call| call.name() == name)
}

/// `0+0..0+2`, `0+0..0+2 tag 7` or `0+0..0+2 to 1+0`, behind the name.
pub fn op(c: &mut Cursor<'_>, call: UffdCall) -> Result<Op, ParseError> {
    let range = range(c)?;
    let call = match call {
        UffdCall::Copy { protect, .. } => {
            keyword(c, &[("tag", ())])?;
            let word = c.word();
            let tag = number_in(c, word, "a tag", 1, u64::from(u16::MAX))? as u16;
            UffdCall::Copy { tag, protect }
        }
        UffdCall::Move { holes, .. } => {
            keyword(c, &[("to", ())])?;
            let word = c.word();
            let to = position(c, word)?;
            UffdCall::Move { to, holes }
        }
        other => other,
    };
    Ok(Op::Uffd { range, call })
}
