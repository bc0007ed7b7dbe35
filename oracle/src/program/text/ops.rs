//! What stands on an op's line: the op, its operands and its expectations.

use super::cursor::{Cursor, Word};
use super::error::ParseError;
use super::names::{list, nearest, value_of, ERRNOS, PROTS, SIGNALS};
use super::uffd;
use super::vectors::{process_madvise, transfer, way};
use super::{events, flags};
use crate::geometry::{Pos, Range, BLOCKS, REACH};
use crate::judge::strip::Strip;
use crate::program::{
    ActorId, Advice, Backing, Expect, File, FileMap, HugeSwitch, KeyGiven, Lane, LockAll, LockCall,
    MapFlags, Op, Place, Prot, Remap, Seals, Transfer, UffdCall, ValueTags, MAX_ACTORS, MAX_FAIL,
    MAX_FILE_PAGE,
};

type Result<T> = std::result::Result<T, ParseError>;

/// Op names that are not an advice's, nor a [`LockCall`]'s, [`HugeSwitch`]'s,
/// [`Transfer`]'s or [`UffdCall`]'s.
const NAMES: [&str; 20] = [
    "mmap",
    "munmap",
    "brk",
    "mprotect",
    "pkey-mprotect",
    "mremap",
    "mlockall",
    "munlockall",
    "clear-soft-dirty",
    "mseal",
    "mseal-unknown-flag",
    "read",
    "write",
    "process-madvise",
    "process-madvise-unknown-flag",
    "truncate",
    "punch-hole",
    "seal",
    "fork",
    "exit",
];

/// `1:` before an op or a strip, if it is there.
pub fn actor_prefix(c: &mut Cursor<'_>) -> Result<Option<ActorId>> {
    let word = c.peek();
    let Some((number, rest)) = word.text.split_once(':') else {
        return Ok(None);
    };
    let word = Word {
        text: number,
        start: word.start,
    };
    let id = number_in(c, word, "an actor's number", 0, u64::from(MAX_ACTORS) - 1)?;
    if rest.is_empty() || number.chars().all(|d| d.is_ascii_digit()) {
        c.take(number);
        c.take(":");
    }
    Ok(Some(id as ActorId))
}

/// `|a` or `|a*`, if the line starts with it.
pub fn lane_prefix(c: &mut Cursor<'_>) -> Result<Option<Lane>> {
    let word = c.peek();
    let Some(name) = word.text.strip_prefix('|') else {
        return Ok(None);
    };
    match Lane::named(name) {
        Some(lane) => {
            c.word();
            Ok(Some(lane))
        }
        None => Err(c.expected(
            "a thread, `|a` to `|d`, or one that repeats its op, `|a*`",
            word,
        )),
    }
}

/// `fail 2` behind an op, if it is there.
pub fn failing(c: &mut Cursor<'_>) -> Result<Option<u16>> {
    if c.peek().text != "fail" {
        return Ok(None);
    }
    c.word();
    let word = c.word();
    let nth = number_in(
        c,
        word,
        "the number of an allocation",
        1,
        u64::from(MAX_FAIL),
    )?;
    Ok(Some(nth as u16))
}

/// The op and its operands, up to `fail`, `=>` or the end.
pub fn op(c: &mut Cursor<'_>) -> Result<Op> {
    let word = c.word();
    let op = match word.text {
        "mmap" => Op::Mmap {
            range: range(c)?,
            prot: prot(c)?,
            backing: backing(c)?,
            place: keyword(
                c,
                &[
                    ("fixed", Place::Fixed),
                    ("hint", Place::Hint),
                    ("noreplace", Place::NoReplace),
                ],
            )?,
            flags: map_flags(c),
        },
        "munmap" => Op::Munmap { range: range(c)? },
        "brk" => {
            let word = c.word();
            Op::Brk {
                to: position(c, word)?,
            }
        }
        "mprotect" => Op::Mprotect {
            range: range(c)?,
            prot: prot(c)?,
        },
        "pkey-mprotect" => Op::PkeyMprotect {
            range: range(c)?,
            prot: prot(c)?,
            key: keyword(c, &KeyGiven::ALL)?,
        },
        "mlockall" => Op::Mlockall { flags: lock_all(c) },
        "munlockall" => Op::Munlockall,
        "clear-soft-dirty" => Op::ClearSoftDirty,
        "mseal" | "mseal-unknown-flag" => Op::Mseal {
            range: range(c)?,
            unknown_flag: word.text != "mseal",
        },
        "mremap" => Op::Mremap {
            range: range(c)?,
            to: range(c)?,
            how: keyword(c, &Remap::ALL)?,
        },
        "look" => Op::Look { range: range(c)? },
        "signal" => Op::Signal {
            to: keyword(c, &[("a", 0), ("b", 1), ("c", 2), ("d", 3)])?,
        },
        "read" => Op::Read { range: range(c)? },
        "write" => {
            let range = range(c)?;
            keyword(c, &[("tag", ())])?;
            let word = c.word();
            let tag = number_in(c, word, "a tag", 1, u64::from(u16::MAX))?;
            Op::Write {
                range,
                tag: tag as u16,
            }
        }
        "process-madvise" => process_madvise(c, false)?,
        "process-madvise-unknown-flag" => process_madvise(c, true)?,
        "truncate" => Op::Truncate {
            file: file(c)?,
            pages: file_page(c)?,
        },
        "punch-hole" => {
            let file = file(c)?;
            let (from, to) = file_pages(c)?;
            Op::PunchHole { file, from, to }
        }
        "seal" => Op::Seal {
            file: file(c)?,
            seals: seals(c)?,
        },
        "fork" => {
            let word = c.word();
            let child = number_in(c, word, "the child's number", 0, u64::from(MAX_ACTORS) - 1)?;
            Op::Fork {
                child: child as ActorId,
            }
        }
        "exit" => Op::Exit,
        name => {
            if let Some(advice) = advice(name) {
                let range = range(c)?;
                Op::Madvise { range, advice }
            } else if let Some(call) = lock_call(name) {
                let range = range(c)?;
                Op::Mlock { range, call }
            } else if let Some(how) = huge_switch(name) {
                Op::SwitchHuge(how)
            } else if let Some(way) = way(name) {
                transfer(c, way)?
            } else if let Some(call) = uffd::call(name) {
                uffd::op(c, call)?
            } else {
                return Err(unknown_op(c, word));
            }
        }
    };
    Ok(op)
}

/// A word that may be there or not.
fn flag(c: &mut Cursor<'_>, name: &str) -> bool {
    let there = c.peek().text == name;
    if there {
        c.word();
    }
    there
}

fn file(c: &mut Cursor<'_>) -> Result<File> {
    keyword(c, &File::ALL.map(|file| (file.name(), file)))
}

/// A number of pages of a file.
fn file_page(c: &mut Cursor<'_>) -> Result<u16> {
    let word = c.word();
    let pages = number_in(c, word, "a number of pages", 0, u64::from(MAX_FILE_PAGE))?;
    Ok(pages as u16)
}

/// `4..8`: pages of a file.
fn file_pages(c: &mut Cursor<'_>) -> Result<(u16, u16)> {
    let word = c.word();
    let Some((from, to)) = word.text.split_once("..") else {
        return Err(c.expected("pages of the file such as 4..8", word));
    };
    let number = |text: &str, offset: usize| {
        let start = word.start + offset;
        let what = "a page of the file";
        number_in(c, Word { text, start }, what, 0, u64::from(MAX_FILE_PAGE)).map(|n| n as u16)
    };
    Ok((number(from, 0)?, number(to, from.len() + 2)?))
}

/// One seal or more.
fn seals(c: &mut Cursor<'_>) -> Result<Seals> {
    let mut seals = keyword(c, &Seals::EACH)?;
    while let Some(seal) = value_of(&Seals::EACH, c.peek().text) {
        c.word();
        seals = seals.and(seal);
    }
    Ok(seals)
}

/// The flags that stand at an mmap's end, in this order.
fn map_flags(c: &mut Cursor<'_>) -> MapFlags {
    MapFlags {
        populate: flag(c, "populate"),
        noreserve: flag(c, "noreserve"),
        stack: flag(c, "stack"),
        locked: flag(c, "locked"),
    }
}

/// The flags of mlockall, in this order.
fn lock_all(c: &mut Cursor<'_>) -> LockAll {
    LockAll {
        current: flag(c, "current"),
        future: flag(c, "future"),
        on_fault: flag(c, "onfault"),
    }
}

fn huge_switch(name: &str) -> Option<HugeSwitch> {
    HugeSwitch::ALL.into_iter().find(|how| how.name() == name)
}

fn lock_call(name: &str) -> Option<LockCall> {
    LockCall::ALL.into_iter().find(|call| call.name() == name)
}

/// `private`, `droppable`, `shared`, `private hugetlb`, `shared memfd0`, `private ramfs0+3 readonly`.
fn backing(c: &mut Cursor<'_>) -> Result<Backing> {
    let kinds = [
        ("private", Some(false)),
        ("shared", Some(true)),
        ("droppable", None),
    ];
    let Some(shared) = keyword(c, &kinds)? else {
        return Ok(Backing::Droppable);
    };
    if flag(c, "hugetlb") {
        return Ok(Backing::Hugetlb { shared });
    }
    let word = c.peek();
    let (name, page) = match word.text.split_once('+') {
        Some((name, page)) => (name, Some(page)),
        None => (word.text, None),
    };
    let Some(file) = File::ALL.into_iter().find(|f| f.name() == name) else {
        return Ok(match shared {
            true => Backing::SharedAnon,
            false => Backing::PrivateAnon,
        });
    };
    c.word();
    let page = match page {
        Some(text) => {
            let start = word.start + name.len() + 1;
            let what = "a page of the file";
            number_in(c, Word { text, start }, what, 0, u64::from(MAX_FILE_PAGE))?
        }
        None => 0,
    };
    Ok(Backing::File(FileMap {
        file,
        page: page as u16,
        shared,
        readonly: flag(c, "readonly"),
    }))
}

fn advice(name: &str) -> Option<Advice> {
    Advice::ALL.into_iter().find(|a| a.name() == name)
}

fn unknown_op(c: &Cursor<'_>, word: Word<'_>) -> ParseError {
    let names: Vec<&str> = NAMES
        .into_iter()
        .chain(Advice::ALL.map(Advice::name))
        .chain(LockCall::ALL.map(LockCall::name))
        .chain(HugeSwitch::ALL.map(HugeSwitch::name))
        .chain(Transfer::ALL.map(Transfer::name))
        .chain(UffdCall::ALL.map(UffdCall::name))
        .collect();
    let mut error = c.expected("an op", word);
    error.help = Some(match nearest(word.text, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("ops are {}", list(names)),
    });
    error
}

/// One of a few words.
pub fn keyword<T: Copy>(c: &mut Cursor<'_>, table: &[(&'static str, T)]) -> Result<T> {
    let word = c.word();
    value_of(table, word.text).ok_or_else(|| {
        let what = list(table.iter().map(|(name, _)| *name));
        let mut error = c.expected(&what, word);
        error.help = nearest(word.text, table.iter().map(|(name, _)| *name))
            .map(|name| format!("did you mean `{name}`?"));
        error
    })
}

fn prot(c: &mut Cursor<'_>) -> Result<Prot> {
    let word = c.word();
    value_of(PROTS, word.text).ok_or_else(|| {
        let what = list(PROTS.iter().map(|(name, _)| *name));
        c.expected(&format!("a protection ({what})"), word)
    })
}

/// A decimal number within bounds.
pub fn number_in(c: &Cursor<'_>, word: Word<'_>, what: &str, low: u64, high: u64) -> Result<u64> {
    let expected = || c.expected(&format!("{what}, {low} to {high}"), word);
    let digits = !word.text.is_empty() && word.text.bytes().all(|b| b.is_ascii_digit());
    let number = word.text.parse::<u64>();
    match number {
        Ok(n) if digits && (low..=high).contains(&n) => Ok(n),
        _ => Err(expected()),
    }
}

/// `0+2..0+6`.
pub fn range(c: &mut Cursor<'_>) -> Result<Range> {
    let word = c.word();
    let Some((start, end)) = word.text.split_once("..") else {
        let mut error = c.expected("a range such as 0+2..0+6", word);
        if position_parts(word.text).is_some() {
            error.help = Some(format!(
                "`{}` is a position; a range is start..end, the end not included",
                word.text
            ));
        }
        return Err(error);
    };
    Ok(Range {
        start: position(
            c,
            Word {
                text: start,
                start: word.start,
            },
        )?,
        end: position(
            c,
            Word {
                text: end,
                start: word.start + start.len() + 2,
            },
        )?,
    })
}

/// Block, sign, page and byte of a position, as written.
fn position_parts(text: &str) -> Option<(&str, bool, &str, Option<&str>)> {
    let sign = text.find(['+', '-'])?;
    let (block, rest) = text.split_at(sign);
    let negative = rest.starts_with('-');
    let rest = &rest[1..];
    let (page, byte) = match rest.split_once('.') {
        Some((page, byte)) => (page, Some(byte)),
        None => (rest, None),
    };
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (number(block) && number(page) && byte.is_none_or(number))
        .then_some((block, negative, page, byte))
}

/// `0+2`, `1-2`, `0+3.17`.
pub fn position(c: &Cursor<'_>, word: Word<'_>) -> Result<Pos> {
    let Some((block, negative, page, byte)) = position_parts(word.text) else {
        let mut error = c.expected("a position such as 0+2, 1-2 or 0+3.17", word);
        error.help = Some(
            "a position is BLOCK+PAGE or BLOCK-PAGE, with .BYTE where it is not at a page's start"
                .into(),
        );
        return Err(error);
    };
    let at = |text: &str, offset: usize, what: &str, high: u64| {
        let start = word.start + offset;
        number_in(c, Word { text, start }, what, 0, high)
    };
    let block_number = at(block, 0, "a block", u64::from(BLOCKS))?;
    let reach = REACH as u64;
    let farthest = if negative { reach } else { reach - 1 };
    let what = format!("a page within {REACH} of the block's start");
    let page_number = at(page, block.len() + 1, &what, farthest)? as i16;
    let byte_number = match byte {
        Some(byte) => {
            let offset = block.len() + 1 + page.len() + 1;
            at(byte, offset, "a byte", u64::from(MAX_BYTE))?
        }
        None => 0,
    };
    Ok(Pos {
        block: block_number as u8,
        page: if negative { -page_number } else { page_number },
        byte: byte_number as u16,
    })
}

/// Largest byte of a position: a page has at least 4096.
pub const MAX_BYTE: u16 = 4095;

/// Everything behind one `=>`: expectations, parted by `;`.
pub fn expectations(c: &mut Cursor<'_>, actor: ActorId, into: &mut Vec<Expect>) -> Result<()> {
    loop {
        into.push(expectation(c, actor)?);
        if !c.take(";") {
            return Ok(());
        }
    }
}

fn expectation(c: &mut Cursor<'_>, actor: ActorId) -> Result<Expect> {
    let whose = actor_prefix(c)?;
    let word = c.peek();
    if whose.is_some() || word.text.starts_with(|d: char| d.is_ascii_digit()) {
        return view(c, whose.unwrap_or(actor));
    }
    c.word();
    match word.text {
        "ok" => return Ok(Expect::Ok),
        "elsewhere" => return Ok(Expect::Elsewhere),
        "unflagged" => return Ok(Expect::Unflagged),
        "reads" => return values(c),
        events::WORD => return events::expectation(c),
        "up-to" => {
            let word = c.word();
            return Ok(Expect::UpTo(position(c, word)?));
        }
        _ => {}
    }
    if let Some(errno) = value_of(ERRNOS, word.text) {
        return Ok(Expect::Errno(errno));
    }
    let Some((_, signo, codes)) = SIGNALS.iter().find(|(name, _, _)| *name == word.text) else {
        let mut error = c.expected(
            "ok, elsewhere, an errno such as EINVAL, a signal such as SIGSEGV MAPERR, `up-to`, `reads`, `events`, a strip such as 0+0 |..GG| or flags such as 0+0 VmFlags gu",
            word,
        );
        let names = ERRNOS.iter().map(|(n, _)| *n);
        let names = names.chain([
            "ok",
            "elsewhere",
            "unflagged",
            "up-to",
            "reads",
            events::WORD,
            "SIGSEGV",
            "SIGBUS",
        ]);
        error.help = nearest(word.text, names).map(|name| format!("did you mean `{name}`?"));
        return Err(error);
    };
    let is_position = |text: &str| text.starts_with(|d: char| d.is_ascii_digit());
    let mut code = None;
    let word = c.peek();
    if !word.text.is_empty() && !is_position(word.text) {
        code = Some(keyword(c, codes)?);
    }
    let mut at = None;
    let word = c.peek();
    if is_position(word.text) {
        c.word();
        at = Some(position(c, word)?);
    }
    Ok(Expect::Signal {
        signo: *signo,
        code,
        at,
    })
}

/// `7*2 0 9`: the tags that the loads return, page by page; 0 is a page never written.
fn values(c: &mut Cursor<'_>) -> Result<Expect> {
    let mut tags: Vec<ValueTags> = Vec::new();
    loop {
        let word = c.peek();
        if word.text.is_empty() && !tags.is_empty() {
            return Ok(Expect::Values(tags));
        }
        c.word();
        let (tag, pages) = match word.text.split_once('*') {
            Some((tag, pages)) => (tag, Some(pages)),
            None => (word.text, None),
        };
        let start = word.start;
        let what = "the tag of a loaded value (0 for a page never written)";
        let value = number_in(c, Word { text: tag, start }, what, 0, u64::from(u16::MAX))?;
        let pages = match pages {
            Some(text) => {
                let start = start + tag.len() + 1;
                number_in(c, Word { text, start }, "a number of pages", 1, 4096)?
            }
            None => 1,
        };
        let (tag, pages) = (value as u16, pages as u32);
        match tags.last_mut() {
            Some(last) if last.tag == tag => last.pages += pages,
            _ => tags.push(ValueTags { tag, pages }),
        }
    }
}

/// What is seen at a position: VmFlags, or a strip.
fn view(c: &mut Cursor<'_>, actor: ActorId) -> Result<Expect> {
    let word = c.word();
    let at = position(c, word)?;
    match c.peek().text {
        flags::WORD => flags::expectation(c, actor, at),
        _ => strip(c, actor, at),
    }
}

fn strip(c: &mut Cursor<'_>, actor: ActorId, at: Pos) -> Result<Expect> {
    let phrase = c.phrase();
    let strip = Strip::parse(phrase.text).map_err(|e| {
        let bytes = |chars: usize| -> usize {
            let taken = phrase.text.chars().take(chars);
            taken.map(char::len_utf8).sum()
        };
        let (start, end) = (bytes(e.offset), bytes(e.offset + e.len));
        c.error(phrase.start + start, end - start, e.message)
    })?;
    Ok(Expect::Strip {
        actor,
        at,
        strip: strip.to_string(),
    })
}
