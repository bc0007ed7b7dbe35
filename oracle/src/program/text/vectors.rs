//! Ops with several ranges, and with memory of other actors.

use super::cursor::Cursor;
use super::error::ParseError;
use super::ops::{keyword, number_in, range};
use crate::program::{ActorId, Advice, Op, Transfer, Vectors, Whose, MAX_ACTORS, MAX_VECTORS};

type Result<T> = std::result::Result<T, ParseError>;

/// The way of this name, if it is one.
pub fn way(name: &str) -> Option<Transfer> {
    Transfer::ALL.into_iter().find(|way| way.name() == name)
}

/// `0+0..0+2 0+4..0+5 tag 7 of 1`, behind the name.
pub fn transfer(c: &mut Cursor<'_>, way: Transfer) -> Result<Op> {
    let vectors = match way.takes_several() {
        true => vectors(c)?,
        false => range(c)?.into(),
    };
    let tag = match way.stores() {
        true => {
            keyword(c, &[("tag", ())])?;
            let word = c.word();
            number_in(c, word, "a tag", 1, u64::from(u16::MAX))? as u16
        }
        false => 0,
    };
    let whose = match way.may_be_remote() {
        true => whose(c)?,
        false => None,
    };
    Ok(Op::Transfer {
        way,
        vectors,
        whose,
        tag,
    })
}

/// `cold 0+0..0+2 0+4..0+5 of 1`, behind the name.
pub fn process_madvise(c: &mut Cursor<'_>, unknown_flag: bool) -> Result<Op> {
    Ok(Op::ProcessMadvise {
        advice: keyword(c, &Advice::ALL.map(|advice| (advice.name(), advice)))?,
        vectors: vectors(c)?,
        whose: whose(c)?,
        unknown_flag,
    })
}

/// One range or more.
pub fn vectors(c: &mut Cursor<'_>) -> Result<Vectors> {
    let mut vectors = Vectors::from(range(c)?);
    for more in &mut vectors.more {
        if !c.peek().text.contains("..") {
            return Ok(vectors);
        }
        *more = Some(range(c)?);
    }
    let word = c.peek();
    if word.text.contains("..") {
        let mut error = c.expected("the end of the op", word);
        error.help = Some(format!("a call has at most {MAX_VECTORS} ranges"));
        return Err(error);
    }
    Ok(vectors)
}

/// `of 1`, if it is there.
pub fn whose(c: &mut Cursor<'_>) -> Result<Whose> {
    if c.peek().text != "of" {
        return Ok(None);
    }
    c.word();
    let word = c.word();
    let id = number_in(c, word, "an actor's number", 0, u64::from(MAX_ACTORS) - 1)?;
    Ok(Some(id as ActorId))
}
