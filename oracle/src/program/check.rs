//! What a program must satisfy beyond its grammar, so that a guest can run it on any geometry.

use super::text::names::{code_name, errno_name, name_of, signal_name, VM_FLAGS};
use super::{
    ActorId, Backing, EventExpected, Expect, FileKind, FileMap, FlagExpected, Op, Place, Program,
    Seals, Step, Transfer, UffdCall, Vectors, MAX_ACTORS, MAX_FILE_PAGE, MAX_STEPS, MAX_TEXT_BYTES,
};
use crate::geometry::{Geometry, Pos, Range, BLOCKS, REACH};
use crate::judge::strip::Strip;
use std::fmt::Write;

/// Most pages one `read` or `write` may access, and a `look` look at, on any geometry.
pub const MAX_ACCESS_PAGES: u64 = 64;

/// Most pages that the ranges of one call that moves memory may touch together, on any geometry.
pub const MAX_TRANSFER_PAGES: u64 = 8;

/// Most pages that one UFFDIO_COPY may have, on any geometry.
pub const MAX_COPY_PAGES: u64 = 6;

/// The geometry with the most pages per PMD (arm64 with 64 KiB pages): where a range is longest.
const LARGEST: Geometry = Geometry {
    page_size: 65536,
    pages_per_pmd: 8192,
};

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .step.map(|s| format!("op {}: ", s + 1)).unwrap_or_default())]
pub struct CheckError {
    /// The step it is about, from 0; `None`: the program as a whole.
    pub step: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What has become of an actor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Unborn,
    Living,
    Exited,
    /// An allocation fails in its fork.
    Unsure,
}

impl Program {
    /// Checks everything that the grammar does not: sizes, actors that live when they act, mmap inside the arena only,
    /// bounded accesses, expectations that can hold.
    ///
    /// # Errors
    /// The first thing that is wrong, with its step.
    pub fn check(&self) -> Result<(), CheckError> {
        match self.steps.iter().position(|step| step.lane.is_some()) {
            Some(step) => Err(CheckError {
                step: Some(step),
                message: "threads run at once here: `cargo xtask races` runs such programs, `cargo xtask show` tells what they may come to"
                    .into(),
            }),
            None => self.check_concurrent(),
        }
    }

    /// The same, with threads that run at once permitted: each section has two to four threads, each of one actor, of at most
    /// [`super::MAX_LANE_OPS`] ops each, one of which at least does not repeat.
    ///
    /// # Errors
    /// As [`Program::check`].
    pub fn check_concurrent(&self) -> Result<(), CheckError> {
        let whole = |message: String| CheckError {
            step: None,
            message,
        };
        if self.steps.is_empty() {
            return Err(whole("a program needs at least one op".into()));
        }
        if self.steps.len() > MAX_STEPS {
            let n = self.steps.len();
            return Err(whole(format!(
                "a program has at most {MAX_STEPS} ops, this one has {n}"
            )));
        }
        for (i, need) in self.needs.iter().enumerate() {
            if self.needs[..i].contains(need) {
                return Err(whole(format!("the need {need:?} is given twice")));
            }
        }
        if let Some(step) = self.steps.iter().position(|step| step.lane.is_some()) {
            for (on, what) in [
                (self.knobs.swap, "swap on"),
                (self.knobs.uffd_events, "uffd-events on"),
            ] {
                if on {
                    return Err(CheckError {
                        step: Some(step),
                        message: format!("threads that run at once are not modelled with `{what}`"),
                    });
                }
            }
        }
        if let Some(step) = self.steps.iter().position(|step| step.fail.is_some()) {
            if self.knobs.uffd_events {
                return Err(CheckError {
                    step: Some(step),
                    message: "allocations that fail are not modelled with `uffd-events on`".into(),
                });
            }
        }
        let tells = |expect: &Expect| matches!(expect, Expect::Events(_));
        if let Some(step) = self.steps.iter().position(|s| s.expect.iter().any(tells)) {
            if !self.knobs.uffd_events {
                return Err(CheckError {
                    step: Some(step),
                    message: "events can be expected with `uffd-events on` only".into(),
                });
            }
        }
        comments(&self.about).map_err(whole)?;
        comments(&self.trailer).map_err(whole)?;
        let mut actors = [Actor::Unborn; MAX_ACTORS as usize];
        actors[0] = Actor::Living;
        for (i, step) in self.steps.iter().enumerate() {
            check_step(step, &mut actors).map_err(|message| CheckError {
                step: Some(i),
                message,
            })?;
        }
        for section in self.sections() {
            let start = section.start;
            super::lane::check(&self.steps[section]).map_err(|(i, message)| CheckError {
                step: Some(start + i),
                message,
            })?;
        }
        if self.has_words() {
            let mut text = Length(0);
            let _ = write!(text, "{self}");
            let bytes = text.0;
            if bytes > MAX_TEXT_BYTES {
                return Err(whole(format!(
                    "a program's text has at most {MAX_TEXT_BYTES} bytes, this one would have {bytes}"
                )));
            }
        }
        Ok(())
    }

    /// Whether it has comments or expectations. Without them no text is too long: see the test.
    fn has_words(&self) -> bool {
        let in_step = |step: &Step| !step.comments.is_empty() || !step.expect.is_empty();
        !self.about.is_empty() || !self.trailer.is_empty() || self.steps.iter().any(in_step)
    }
}

/// Bytes of a text that nobody keeps.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn comments(lines: &[String]) -> Result<(), String> {
    for line in lines {
        if line.contains(['\n', '\r']) || line.trim_end() != line {
            return Err(format!(
                "a comment is one line without blanks at its end, not {line:?}"
            ));
        }
    }
    Ok(())
}

fn check_step(step: &Step, actors: &mut [Actor; MAX_ACTORS as usize]) -> Result<(), String> {
    comments(&step.comments)?;
    living(step.actor, actors)?;
    super::fail::check(step)?;
    for range in step.op.ranges() {
        position(range.start)?;
        position(range.end)?;
    }
    match step.op {
        Op::Mmap {
            range,
            backing,
            place,
            flags,
            ..
        } => {
            mapped_range("mmap", range)?;
            if let Backing::File(map) = backing {
                file_page(map.page)?;
                secret(map)?;
            }
            for (name, set) in [("populate", flags.populate), ("locked", flags.locked)] {
                if set && place == Place::Hint {
                    return Err(format!("{name} goes with fixed or noreplace"));
                }
            }
        }
        Op::Brk { to } => heap_end(to)?,
        Op::Truncate { pages, .. } => file_page(pages)?,
        Op::PunchHole { from, to, .. } => {
            file_page(from.max(to))?;
            if from > to {
                return Err(format!(
                    "a hole ends where it starts or later, not {from}..{to}"
                ));
            }
        }
        Op::Seal { seals, .. } => {
            if seals == Seals::NONE {
                return Err("a seal op adds one seal at least".into());
            }
        }
        Op::Look { range } | Op::Read { range } => access_range(range)?,
        Op::Write { range, tag } => {
            access_range(range)?;
            if tag == 0 {
                return Err(
                    "a write's tag is 1 to 65535; 0 stands for a page never written".into(),
                );
            }
        }
        Op::Transfer {
            way,
            vectors,
            whose,
            tag,
        } => {
            transfer(way, vectors, tag)?;
            if let Some(actor) = whose {
                if !way.may_be_remote() {
                    return Err(format!("{} is about its caller's own memory", way.name()));
                }
                living(actor, actors)?;
            }
        }
        Op::ProcessMadvise { vectors, whose, .. } => {
            all_forward(vectors)?;
            if let Some(actor) = whose {
                living(actor, actors)?;
            }
        }
        Op::Uffd { range, call } => filled(range, call)?,
        Op::Fork { child } => match actors.get_mut(usize::from(child)) {
            Some(state @ Actor::Unborn) => {
                *state = match step.fail {
                    None => Actor::Living,
                    Some(_) => Actor::Unsure,
                };
            }
            Some(_) => {
                return Err(format!(
                    "actor {child} exists already; a child needs a number that was not used before"
                ))
            }
            None => {
                return Err(format!(
                    "a program has at most {MAX_ACTORS} actors, 0 to {}",
                    MAX_ACTORS - 1
                ))
            }
        },
        Op::Signal { .. } if step.lane.is_none() => {
            return Err("a signal goes to another thread, and none run at once here".into())
        }
        Op::Exit => {
            actors[usize::from(step.actor)] = Actor::Exited;
            if !actors.contains(&Actor::Living) {
                return Err("the last living actor cannot exit: nobody would be left".into());
            }
        }
        Op::Mremap { range, to, how } => {
            mapped_range("mremap", to)?;
            if !how.has_target() && to.start != range.start {
                return Err(format!(
                    "the new range of an mremap without a new address starts where the old one does, at {}, not at {}",
                    range.start, to.start
                ));
            }
        }
        Op::Munmap { .. }
        | Op::Signal { .. }
        | Op::Mprotect { .. }
        | Op::PkeyMprotect { .. }
        | Op::Madvise { .. }
        | Op::Mlock { .. }
        | Op::Mlockall { .. }
        | Op::Munlockall
        | Op::ClearSoftDirty
        | Op::SwitchHuge(_)
        | Op::Mseal { .. } => {}
    }
    expectations(step, actors)
}

fn living(actor: ActorId, actors: &[Actor]) -> Result<(), String> {
    match actors.get(usize::from(actor)) {
        Some(Actor::Living) => Ok(()),
        Some(Actor::Exited) => Err(format!("actor {actor} has exited")),
        Some(Actor::Unsure) => Err(format!(
            "actor {actor} may not live: an allocation fails in the fork that makes it"
        )),
        _ => Err(format!(
            "there is no actor {actor} yet; `fork {actor}` makes it"
        )),
    }
}

fn position(p: Pos) -> Result<(), String> {
    if p.block > BLOCKS || !(-REACH..REACH).contains(&p.page) || p.byte >= 4096 {
        return Err(format!(
            "{p} is no position: blocks are 0 to {BLOCKS}, pages -{REACH} to {}, bytes 0 to 4095",
            REACH - 1
        ));
    }
    Ok(())
}

/// Whether both ends of a range are positions.
pub(super) fn is_valid(range: Range) -> bool {
    position(range.start).is_ok() && position(range.end).is_ok()
}

/// Whether the range ends before it starts. Positions stand in the same order on every geometry.
fn wraps(range: Range) -> bool {
    range.end.byte_offset(LARGEST) < range.start.byte_offset(LARGEST)
}

/// Nothing must be mapped in the margins: they have to stay holes.
fn mapped_range(call: &str, range: Range) -> Result<(), String> {
    let inside = |p: Pos| (0..=LARGEST.arena_bytes() as i64).contains(&p.byte_offset(LARGEST));
    if !inside(range.start) || !(inside(range.end) || wraps(range)) {
        return Err(format!(
            "{call} maps inside the arena only, 0+0..{BLOCKS}+0, not {range}"
        ));
    }
    Ok(())
}

/// The heap ends a page before the arena does, so that nothing outside is in its way.
fn heap_end(to: Pos) -> Result<(), String> {
    position(to)?;
    let last = LARGEST.arena_bytes() as i64 - i64::from(LARGEST.page_size);
    if !(0..=last).contains(&to.byte_offset(LARGEST)) {
        return Err(format!(
            "the program break lies inside the arena, before its last page, not at {to}"
        ));
    }
    Ok(())
}

fn file_page(page: u16) -> Result<(), String> {
    if page > MAX_FILE_PAGE {
        return Err(format!(
            "a file's pages are 0 to {MAX_FILE_PAGE}, not {page}"
        ));
    }
    Ok(())
}

/// Secret memory cannot be opened again, and there is no private mapping of it.
fn secret(map: FileMap) -> Result<(), String> {
    if map.file.kind() == FileKind::Secret && (map.readonly || !map.shared) {
        return Err(format!(
            "{} is mapped shared and through the one descriptor there is",
            map.file.name()
        ));
    }
    Ok(())
}

fn access_range(range: Range) -> Result<(), String> {
    if !range.start.is_page_aligned() || !range.end.is_page_aligned() {
        return Err(format!(
            "read and write access whole pages; {range} does not start and end at a page"
        ));
    }
    let pages = range.end.page_index(LARGEST) - range.start.page_index(LARGEST);
    if pages <= 0 {
        return Err(format!(
            "read and write need at least one page; {range} has none"
        ));
    }
    if pages as u64 > MAX_ACCESS_PAGES {
        return Err(format!(
            "one read or write accesses at most {MAX_ACCESS_PAGES} pages on every geometry; {range} has {} with 512 and {pages} with 8192 pages per PMD",
            range.end.page_index(Geometry::K4) - range.start.page_index(Geometry::K4),
        ));
    }
    Ok(())
}

/// Ranges of a call that moves memory: none wraps, the pages are few.
fn transfer(way: Transfer, vectors: Vectors, tag: u16) -> Result<(), String> {
    all_forward(vectors)?;
    if vectors.more[0].is_some() && !way.takes_several() {
        return Err(format!("{} takes one range", way.name()));
    }
    let pages: i64 = vectors
        .iter()
        .filter(|range| range.start != range.end)
        .map(|range| {
            let last = range.end.page_index(LARGEST) - i64::from(range.end.is_page_aligned());
            last - range.start.page_index(LARGEST) + 1
        })
        .sum();
    if pages as u64 > MAX_TRANSFER_PAGES {
        return Err(format!(
            "one call moves at most {MAX_TRANSFER_PAGES} pages on every geometry; these ranges touch {pages} with 8192 pages per PMD"
        ));
    }
    match (way.stores(), tag) {
        (true, 0) => Err("a tag is 1 to 65535; 0 stands for a page never written".into()),
        (false, 1..) => Err(format!("{} stores nothing and has no tag", way.name())),
        _ => Ok(()),
    }
}

/// What is copied has to fit into the guest's buffer, but for ranges that the kernel refuses.
fn filled(range: Range, call: UffdCall) -> Result<(), String> {
    let UffdCall::Copy { tag, .. } = call else {
        return Ok(());
    };
    if tag == 0 {
        return Err("a tag is 1 to 65535; 0 stands for a page never written".into());
    }
    if !copy_fits(range) {
        return Err(format!(
            "one uffd-copy fills at most {MAX_COPY_PAGES} pages on every geometry, and not those of {range}"
        ));
    }
    Ok(())
}

/// Whether the pages of a range are few enough for one UFFDIO_COPY on every geometry, or the kernel refuses it.
pub(super) fn copy_fits(range: Range) -> bool {
    let end = range.end.page_index(LARGEST) + i64::from(!range.end.is_page_aligned());
    let pages = end - range.start.page_index(LARGEST);
    wraps(range) || pages <= MAX_COPY_PAGES as i64
}

/// Ranges of a call that takes several.
fn all_forward(vectors: Vectors) -> Result<(), String> {
    if vectors
        .more
        .windows(2)
        .any(|pair| pair[0].is_none() && pair[1].is_some())
    {
        return Err("ranges follow each other without a gap".into());
    }
    for range in vectors.iter() {
        position(range.start)?;
        position(range.end)?;
        if wraps(range) {
            return Err(format!("{range} ends before it starts"));
        }
    }
    Ok(())
}

fn expectations(step: &Step, actors: &[Actor]) -> Result<(), String> {
    let access = matches!(step.op, Op::Read { .. } | Op::Write { .. });
    let mut outcomes = 0;
    for expect in &step.expect {
        match expect {
            Expect::Ok => outcomes += 1,
            Expect::Elsewhere => {
                outcomes += 1;
                if !matches!(step.op, Op::Mmap { .. } | Op::Mremap { .. }) {
                    return Err("`elsewhere` can be expected of mmap and mremap only".into());
                }
            }
            Expect::Unflagged => {
                outcomes += 1;
                if !matches!(step.op, Op::Look { .. }) {
                    return Err("`unflagged` can be expected of look only".into());
                }
            }
            Expect::Errno(e) => {
                outcomes += 1;
                if access {
                    return Err("an access has no errno; expect ok or a signal".into());
                }
                if errno_name(*e).is_none() {
                    return Err(format!("errno {e} has no name in the text form"));
                }
            }
            Expect::Signal { signo, code, at } => {
                outcomes += 1;
                if !access {
                    return Err("a system call raises no signal; expect ok or an errno".into());
                }
                let named = signal_name(*signo).is_some()
                    && code.is_none_or(|c| code_name(*signo, c).is_some());
                if !named {
                    return Err(format!(
                        "signal {signo} with code {code:?} has no name in the text form"
                    ));
                }
                at.map_or(Ok(()), position)?;
            }
            Expect::UpTo(at) => {
                outcomes += 1;
                position(*at)?;
                let counts = match step.op {
                    Op::Transfer { .. } | Op::ProcessMadvise { .. } => true,
                    Op::Uffd { call, .. } => call.fills(),
                    _ => false,
                };
                if !counts {
                    return Err("`up-to` can be expected of a call that moves bytes only".into());
                }
            }
            Expect::Events(events) => {
                for range in events.iter().filter_map(EventExpected::range) {
                    position(range.start)?;
                    position(range.end)?;
                }
                for event in events {
                    if let EventExpected::Remap { to: Some(to), .. } = event {
                        position(*to)?;
                    }
                }
            }
            Expect::Values(tags) => {
                let reads = match step.op {
                    Op::Read { .. } => true,
                    Op::Transfer { way, .. } => !way.stores(),
                    _ => false,
                };
                if !reads {
                    return Err("`reads` can be expected of a read only".into());
                }
                let joined = tags.windows(2).all(|w| w[0].tag != w[1].tag);
                if tags.is_empty() || !joined || tags.iter().any(|t| t.pages == 0) {
                    return Err("`reads` needs runs of pages with different tags".into());
                }
            }
            Expect::Strip { actor, at, strip } => {
                living(*actor, actors)?;
                strip_fits(*at, strip)?;
            }
            Expect::Flags { actor, at, flags } => {
                living(*actor, actors)?;
                flags_fit(*at, flags)?;
            }
        }
    }
    if outcomes > 1 {
        return Err("an op has one outcome; more than one is expected".into());
    }
    Ok(())
}

fn flags_fit(at: Pos, flags: &[FlagExpected]) -> Result<(), String> {
    position(at)?;
    if let Some(odd) = flags.iter().find(|f| name_of(VM_FLAGS, &f.flag).is_none()) {
        return Err(format!("{:?} is no flag of the text form", odd.flag));
    }
    let twice = |(i, f): (usize, &FlagExpected)| flags[..i].iter().any(|g| g.flag == f.flag);
    if flags.is_empty() || flags.iter().enumerate().any(twice) {
        return Err("`VmFlags` needs flags, each once".into());
    }
    for g in [Geometry::K4, Geometry::K16, LARGEST] {
        let page = at.page_index(g);
        if !at.is_page_aligned() || !(0..i64::from(g.arena_pages())).contains(&page) {
            return Err(format!("{at} is no page of the arena"));
        }
    }
    Ok(())
}

fn strip_fits(at: Pos, text: &str) -> Result<(), String> {
    position(at)?;
    let strip = Strip::parse(text).map_err(|e| format!("the strip {text}: {e}"))?;
    if strip.to_string() != text {
        return Err(format!("the strip {text} is written {strip}"));
    }
    for g in [Geometry::K4, Geometry::K16, LARGEST] {
        let from = at.page_index(g);
        let end = from.saturating_add_unsigned(strip.pages(g));
        if !at.is_page_aligned() || from < 0 || end > i64::from(g.arena_pages()) {
            return Err(format!(
                "the strip at {at} does not lie in the arena with {} pages per PMD",
                g.pages_per_pmd
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
