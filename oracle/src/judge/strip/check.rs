//! Comparing what an author expects with what was seen.

use super::render::{perms, place, strip, Cells};
use super::{Item, Letter, Strip};
use crate::geometry::{Geometry, Pos};
use crate::judge::{Fault, Observation, Outcome, PageKind, PageSeen, SpaceSeen, VmaSeen};
use crate::program::text::names::{code_name, errno_name, signal_name};
use crate::program::{Expect, FlagExpected, ValueTags};
use crate::space::Content;

/// Whether `expect` holds after the step that was observed.
///
/// # Errors
/// What was expected and what was seen instead, as one sentence for a report.
pub fn check_expect(expect: &Expect, seen: &Observation, g: Geometry) -> Result<(), String> {
    let outcome = &seen.outcome;
    match expect {
        Expect::Ok => match outcome {
            Outcome::Ok => Ok(()),
            Outcome::Access(a) if a.fault.is_none() => Ok(()),
            Outcome::Moved(m) if m.all => Ok(()),
            other => Err(format!("expected success, saw {}", outcome_words(other, g))),
        },
        Expect::Elsewhere if *outcome == Outcome::Elsewhere => Ok(()),
        Expect::Elsewhere => Err(format!(
            "expected a mapping elsewhere, saw {}",
            outcome_words(outcome, g)
        )),
        Expect::Unflagged if *outcome == Outcome::Unflagged => Ok(()),
        Expect::Unflagged => Err(format!(
            "expected {}, saw {}",
            outcome_words(&Outcome::Unflagged, g),
            outcome_words(outcome, g)
        )),
        Expect::Errno(e) if *outcome == Outcome::Errno(*e) => Ok(()),
        Expect::Errno(e) => Err(format!(
            "expected {}, saw {}",
            outcome_words(&Outcome::Errno(*e), g),
            outcome_words(outcome, g)
        )),
        Expect::Signal { signo, code, at } => match outcome {
            Outcome::Access(a)
                if a.fault
                    .is_some_and(|f| fault_matches(&f, *signo, *code, *at, g)) =>
            {
                Ok(())
            }
            other => Err(format!(
                "expected {}, saw {}",
                expect.text(0),
                outcome_words(other, g)
            )),
        },
        Expect::UpTo(at) => match outcome {
            Outcome::Moved(m) if !m.all && m.end == at.byte_offset(g) => Ok(()),
            other => Err(format!(
                "expected {}, saw {}",
                expect.text(0),
                outcome_words(other, g)
            )),
        },
        Expect::Values(tags) => match outcome {
            Outcome::Moved(m) => check_values(tags, m.values.iter().map(|v| (v.len, v.first))),
            Outcome::Access(a) => check_values(tags, a.values.iter().map(|v| (v.len, v.first))),
            other => Err(format!(
                "expected loaded values, saw {}",
                outcome_words(other, g)
            )),
        },
        Expect::Events(events) => crate::judge::events::check(events, seen, g),
        Expect::Strip { actor, at, strip } => {
            let wanted = Strip::parse(strip).map_err(|e| format!("not a strip: {e}"))?;
            let Some((_, space)) = seen.spaces.iter().find(|(a, _)| a == actor) else {
                return Err(format!(
                    "expected pages of actor {actor}, which is not alive"
                ));
            };
            check_strip(&wanted, *at, space, g)
        }
        Expect::Flags { actor, at, flags } => {
            let Some((_, space)) = seen.spaces.iter().find(|(a, _)| a == actor) else {
                return Err(format!(
                    "expected VmFlags of actor {actor}, which is not alive"
                ));
            };
            check_flags(flags, *at, space, g)
        }
    }
}

/// Whether the VMA that holds the page at `at` has the flags, and has not those that it shall not have.
fn check_flags(
    wanted: &[FlagExpected],
    at: Pos,
    space: &SpaceSeen,
    g: Geometry,
) -> Result<(), String> {
    let page = at.page_index(g);
    let holds = |v: &&VmaSeen| (i64::from(v.start)..i64::from(v.end)).contains(&page);
    let Some(vma) = space.vmas.iter().find(holds) else {
        return Err(format!("expected VmFlags at {at}, where nothing is mapped"));
    };
    let Some(flags) = &vma.flags else {
        return Err(format!("VmFlags at {at} were not read"));
    };
    let Some(wrong) = wanted.iter().find(|w| flags.contains(&w.flag) != w.set) else {
        return Ok(());
    };
    let seen: Vec<_> = flags
        .iter()
        .map(|f| String::from_utf8_lossy(&f.0))
        .collect();
    let seen = seen.join(" ");
    Err(format!("expected VmFlags {wrong} at {at}, saw {seen}"))
}

fn fault_matches(f: &Fault, signo: i32, code: Option<i32>, at: Option<Pos>, g: Geometry) -> bool {
    f.signo == signo
        && code.is_none_or(|c| c == f.code)
        && at.is_none_or(|p| p.byte_offset(g) == f.addr)
}

/// An outcome in words, for messages.
fn outcome_words(outcome: &Outcome, g: Geometry) -> String {
    match outcome {
        Outcome::Each(all) | Outcome::Together(all) => {
            format!("{} outcomes of threads", all.len())
        }
        Outcome::Ok => "success".into(),
        Outcome::Elsewhere => "a mapping elsewhere".into(),
        Outcome::Unflagged => "a guard in a VMA without gu".into(),
        Outcome::Errno(e) => errno_name(*e).map_or_else(|| format!("errno {e}"), String::from),
        Outcome::Moved(m) if m.all => format!("all {} bytes moved", m.bytes),
        Outcome::Moved(m) => format!("{} bytes moved, up to {}", m.bytes, place_words(m.end, g)),
        Outcome::Access(a) => match a.fault {
            None => format!("{} pages accessed", a.pages),
            Some(f) => {
                let at = place_words(f.addr, g);
                format!("{} at {at} after {} pages", fault_words(&f), a.pages)
            }
        },
    }
}

/// An address, by its page.
fn place_words(addr: i64, g: Geometry) -> String {
    let page = addr.div_euclid(i64::from(g.page_size));
    let pos =
        Pos::from_page_index(page, g).zip(u16::try_from(addr.rem_euclid(g.page_size.into())).ok());
    pos.filter(|(_, byte)| *byte < 4096).map_or_else(
        || format!("{addr:#x} bytes from the arena's start"),
        |(pos, byte)| Pos { byte, ..pos }.to_string(),
    )
}

fn fault_words(f: &Fault) -> String {
    let signal = signal_name(f.signo).map_or_else(|| format!("signal {}", f.signo), String::from);
    match code_name(f.signo, f.code) {
        Some(code) => format!("{signal} {code}"),
        None => format!("{signal} code {}", f.code),
    }
}

fn check_values(
    wanted: &[ValueTags],
    seen: impl Iterator<Item = (u32, Content)>,
) -> Result<(), String> {
    // Tags only: that the page number in a content is right is the judge's business.
    let mut joined: Vec<ValueTags> = Vec::new();
    for (pages, first) in seen {
        let tag = first.tag().unwrap_or(0);
        match joined.last_mut() {
            Some(last) if last.tag == tag => last.pages += pages,
            _ => joined.push(ValueTags { tag, pages }),
        }
    }
    if joined == wanted {
        return Ok(());
    }
    let words = |tags: &[ValueTags]| {
        let words: Vec<String> = tags.iter().map(ValueTags::to_string).collect();
        if words.is_empty() {
            "nothing".into()
        } else {
            words.join(" ")
        }
    };
    Err(format!(
        "expected to read {}, read {}",
        words(wanted),
        words(&joined)
    ))
}

/// Whether the pages from `at` on look as `wanted` says.
///
/// # Errors
/// Both strips and the first difference.
pub fn check_strip(wanted: &Strip, at: Pos, space: &SpaceSeen, g: Geometry) -> Result<(), String> {
    let from = at.page_index(g);
    let pages = wanted.pages(g);
    let fits = from >= 0 && from as u64 + pages <= u64::from(g.arena_pages());
    if !fits || at.byte != 0 {
        return Err(format!("the strip at {at} does not lie in the arena"));
    }
    let (from, to) = (from as u32, from as u32 + pages as u32);
    first_difference(wanted, from, space, g).map_err(|(page, why)| {
        let seen = strip(space, from, to);
        format!(
            "expected {wanted}, saw {seen} at {at}; first difference at {}: {why}",
            place(page, g)
        )
    })
}

/// The page of the first difference and what it is.
fn first_difference(
    wanted: &Strip,
    from: u32,
    space: &SpaceSeen,
    g: Geometry,
) -> Result<(), (u32, String)> {
    let walker = Cells::new(space, from);
    let vma_before = |page: u32| page.checked_sub(1).and_then(|p| walker.vma_start(p));
    let is_border = |page: u32| vma_before(page) != walker.vma_start(page);
    let items = wanted.items();
    let mut page = from;
    for (i, item) in items.iter().enumerate() {
        let last = i.checked_sub(1).and_then(|i| items.get(i));
        match *item {
            Item::Border if !is_border(page) => {
                return Err((page, "expected a VMA border, saw none".into()));
            }
            Item::GoesOn if is_border(page) || walker.vma_start(page).is_none() => {
                return Err((page, "expected the VMA to go on across it".into()));
            }
            Item::Border | Item::GoesOn => {}
            Item::Perms(wanted) => {
                let vma = Cells::new(space, page).next_cell(page + 1).vma;
                let seen = vma.map_or_else(|| "no VMA".into(), |v| perms(v).to_string());
                if seen != wanted.to_string() {
                    return Err((page, format!("expected {wanted}, saw {seen}")));
                }
            }
            Item::Run(letter, count) => {
                let parted = matches!(last, Some(Item::Run(before, _)) if *before != Letter::Any);
                if parted && letter != Letter::Any && is_border(page) {
                    return Err((page, "expected no VMA border, saw one".into()));
                }
                let end = page + count.pages(g);
                run_matches(letter, page, end, space)?;
                page = end;
            }
        }
    }
    Ok(())
}

/// Whether all pages from `page` to `end` match `letter`, and lie in one VMA (or none).
fn run_matches(
    letter: Letter,
    page: u32,
    end: u32,
    space: &SpaceSeen,
) -> Result<(), (u32, String)> {
    if letter == Letter::Any {
        return Ok(());
    }
    let mut cells = Cells::new(space, page);
    let vma = cells.vma_start(page);
    while cells.at < end {
        let cell = cells.next_cell(end);
        let matches = match cell.run {
            Some(run) => page_matches(letter, &run.page),
            None => cell.letter == letter,
        };
        if !matches {
            let why = format!("expected {}, saw {}", letter.words(), cell.letter.words());
            return Err((cell.start, why));
        }
        if cell.vma.map(|v| v.start) != vma {
            return Err((cell.start, "expected no VMA border, saw one".into()));
        }
    }
    Ok(())
}

/// Whether a page-table entry is what the letter says. What the kernel could not tell is no difference.
fn page_matches(letter: Letter, page: &PageSeen) -> bool {
    let huge_ok = |huge: bool| page.huge.is_none_or(|h| h == huge);
    match letter {
        Letter::Any => true,
        Letter::Unmapped | Letter::Empty => false,
        Letter::Guard => matches!(page.kind, PageKind::Guard | PageKind::Swap),
        Letter::Swap => page.kind == PageKind::Swap,
        Letter::Zero { huge } => page.kind == PageKind::Zero && huge_ok(huge),
        Letter::Anon { huge, exclusive } => {
            page.kind == PageKind::Anon && page.exclusive == exclusive && huge_ok(huge)
        }
        Letter::File { huge, exclusive } => {
            page.kind == PageKind::File && page.exclusive == exclusive && huge_ok(huge)
        }
    }
}
