//! Printing programs in their canonical text form.

use super::names::{code_name, errno_name, name_of, signal_name, NEEDS, PROTS, SHMEM_THP, THP};
use super::{events, flags};
use crate::geometry::{Pos, Range};
use crate::program::{
    ActorId, Backing, Expect, FileMap, FlagExpected, Knobs, Lane, Op, Place, Program, Prot, Remap,
    Seals, Step, UffdCall, ValueTags, Whose,
};
use std::fmt;

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.page < 0 { '-' } else { '+' };
        write!(f, "{}{sign}{}", self.block, self.page.unsigned_abs())?;
        if self.byte != 0 {
            write!(f, ".{}", self.byte)?;
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl fmt::Display for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(PROTS, self).unwrap_or("none"))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match *self {
            Op::Mmap {
                range,
                prot,
                backing,
                place,
                flags,
            } => {
                let sharing = match backing {
                    Backing::Droppable => "droppable",
                    _ if backing.is_shared() => "shared",
                    _ => "private",
                };
                let place = match place {
                    Place::Fixed => "fixed",
                    Place::Hint => "hint",
                    Place::NoReplace => "noreplace",
                };
                write!(f, " {range} {prot} {sharing}")?;
                match backing {
                    Backing::File(map) => write!(f, " {map}")?,
                    Backing::Hugetlb { .. } => f.write_str(" hugetlb")?,
                    _ => {}
                }
                write!(f, " {place}")?;
                words(
                    f,
                    &[
                        ("populate", flags.populate),
                        ("noreserve", flags.noreserve),
                        ("stack", flags.stack),
                        ("locked", flags.locked),
                    ],
                )
            }
            Op::Mprotect { range, prot } => write!(f, " {range} {prot}"),
            Op::PkeyMprotect { range, prot, key } => {
                write!(f, " {range} {prot} {}", key.name())
            }
            Op::Mremap { range, to, how } => {
                let how = name_of(&Remap::ALL, &how).unwrap_or("stay");
                write!(f, " {range} {to} {how}")
            }
            Op::Uffd {
                range,
                call: UffdCall::Move { to, .. },
            } => write!(f, " {range} to {to}"),
            Op::Uffd {
                range,
                call: UffdCall::Copy { tag, .. },
            }
            | Op::Write { range, tag } => write!(f, " {range} tag {tag}"),
            Op::Transfer {
                way,
                vectors,
                whose,
                tag,
            } => {
                for range in vectors.iter() {
                    write!(f, " {range}")?;
                }
                if way.stores() {
                    write!(f, " tag {tag}")?;
                }
                of(f, whose)
            }
            Op::Munmap { range }
            | Op::Madvise { range, .. }
            | Op::Mlock { range, .. }
            | Op::Mseal { range, .. }
            | Op::Uffd { range, .. }
            | Op::Look { range }
            | Op::Read { range } => write!(f, " {range}"),
            Op::Signal { to } => write!(f, " {}", crate::program::lane::letter_of(to)),
            Op::Mlockall { flags } => words(
                f,
                &[
                    ("current", flags.current),
                    ("future", flags.future),
                    ("onfault", flags.on_fault),
                ],
            ),
            Op::ProcessMadvise {
                advice,
                vectors,
                whose,
                ..
            } => {
                write!(f, " {}", advice.name())?;
                for range in vectors.iter() {
                    write!(f, " {range}")?;
                }
                of(f, whose)
            }
            Op::Truncate { file, pages } => write!(f, " {} {pages}", file.name()),
            Op::PunchHole { file, from, to } => write!(f, " {} {from}..{to}", file.name()),
            Op::Seal { file, seals } => {
                write!(f, " {}", file.name())?;
                for (name, seal) in Seals::EACH {
                    if seals.has(seal) {
                        write!(f, " {name}")?;
                    }
                }
                Ok(())
            }
            Op::Brk { to } => write!(f, " {to}"),
            Op::Fork { child } => write!(f, " {child}"),
            Op::Munlockall | Op::ClearSoftDirty | Op::SwitchHuge(_) | Op::Exit => Ok(()),
        }
    }
}

/// What stands behind `private` or `shared`: `memfd0`, `memfd0+3 readonly`.
impl fmt::Display for FileMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.name())?;
        if self.page != 0 {
            write!(f, "+{}", self.page)?;
        }
        if self.readonly {
            f.write_str(" readonly")?;
        }
        Ok(())
    }
}

/// `of 1`, where another actor's memory is meant.
fn of(f: &mut fmt::Formatter<'_>, whose: Whose) -> fmt::Result {
    match whose {
        Some(actor) => write!(f, " of {actor}"),
        None => Ok(()),
    }
}

/// The words that are to be there, each behind a blank.
fn words(f: &mut fmt::Formatter<'_>, words: &[(&str, bool)]) -> fmt::Result {
    for (word, _) in words.iter().filter(|(_, there)| *there) {
        write!(f, " {word}")?;
    }
    Ok(())
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.repeats { "*" } else { "" };
        write!(f, "|{}{star}", self.letter())
    }
}

/// The op with its thread, its actor and what fails in it, without expectations and comments: `1: read 0+2..0+3`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lane) = self.lane {
            write!(f, "{lane} ")?;
        }
        if self.actor != 0 {
            write!(f, "{}: ", self.actor)?;
        }
        write!(f, "{}", self.op)?;
        match self.fail {
            Some(nth) => write!(f, " fail {nth}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ValueTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pages {
            1 => write!(f, "{}", self.tag),
            n => write!(f, "{}*{n}", self.tag),
        }
    }
}

impl Expect {
    /// The expectation as it stands after `=>` on a line of `actor`.
    pub fn text(&self, actor: ActorId) -> String {
        let prefix = match self.view_of() {
            Some(whose) if whose != actor => format!("{whose}: "),
            _ => String::new(),
        };
        match self {
            Expect::Ok => "ok".into(),
            Expect::Elsewhere => "elsewhere".into(),
            Expect::Unflagged => "unflagged".into(),
            Expect::Errno(e) => errno_name(*e).map_or_else(|| format!("errno {e}"), String::from),
            Expect::Signal { signo, code, at } => {
                let mut text =
                    signal_name(*signo).map_or_else(|| format!("signal {signo}"), String::from);
                if let Some(code) = code {
                    let name = code_name(*signo, *code);
                    text += &name.map_or_else(|| format!(" code {code}"), |n| format!(" {n}"));
                }
                if let Some(at) = at {
                    text += &format!(" {at}");
                }
                text
            }
            Expect::UpTo(at) => format!("up-to {at}"),
            Expect::Values(tags) => {
                let tags: Vec<String> = tags.iter().map(ValueTags::to_string).collect();
                format!("reads {}", tags.join(" "))
            }
            Expect::Events(events) => events::text(events),
            Expect::Strip { at, strip, .. } => format!("{prefix}{at} {strip}"),
            Expect::Flags { at, flags, .. } => {
                let flags: Vec<String> = flags.iter().map(FlagExpected::to_string).collect();
                format!("{prefix}{at} {} {}", flags::WORD, flags.join(" "))
            }
        }
    }
}

/// The canonical text form: parsing it gives the same program back.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        comments(f, &self.about)?;
        if !self.about.is_empty() {
            writeln!(f)?;
        }
        header(f, &self.needs, &self.knobs)?;
        writeln!(f)?;
        for (i, step) in self.steps.iter().enumerate() {
            if i > 0 && !step.comments.is_empty() {
                writeln!(f)?;
            }
            comments(f, &step.comments)?;
            line(f, step)?;
        }
        if !self.trailer.is_empty() && !self.steps.is_empty() {
            writeln!(f)?;
        }
        comments(f, &self.trailer)
    }
}

fn comments(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    for line in lines {
        if line.is_empty() {
            writeln!(f, "#")?;
        } else {
            writeln!(f, "# {line}")?;
        }
    }
    Ok(())
}

/// The header names what a reader cannot know otherwise: the needs, the THP mode, and every other knob that is not
/// at its default.
fn header(
    f: &mut fmt::Formatter<'_>,
    needs: &[crate::program::Need],
    knobs: &Knobs,
) -> fmt::Result {
    if !needs.is_empty() {
        let names: Vec<&str> = needs.iter().filter_map(|n| name_of(NEEDS, n)).collect();
        writeln!(f, "needs {}", names.join(" "))?;
    }
    let default = Knobs::default();
    writeln!(f, "thp {}", name_of(THP, &knobs.thp).unwrap_or("madvise"))?;
    if knobs.shmem_thp != default.shmem_thp {
        let mode = name_of(SHMEM_THP, &knobs.shmem_thp).unwrap_or("never");
        writeln!(f, "shmem-thp {mode}")?;
    }
    if knobs.khugepaged {
        writeln!(f, "khugepaged on")?;
    }
    if knobs.ksm {
        writeln!(f, "ksm on")?;
    }
    if knobs.swap {
        writeln!(f, "swap on")?;
    }
    if knobs.root {
        writeln!(f, "user root")?;
    }
    if knobs.uffd_events {
        writeln!(f, "uffd-events on")?;
    }
    Ok(())
}

/// The op's line with the outcome, then what is seen, each on a line of its own.
fn line(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    write!(f, "{step}")?;
    let mut rest = step.expect.as_slice();
    if let [first, others @ ..] = rest {
        if first.view_of().is_none() {
            write!(f, " => {}", first.text(step.actor))?;
            rest = others;
        }
    }
    writeln!(f)?;
    for expect in rest {
        writeln!(f, "    => {}", expect.text(step.actor))?;
    }
    Ok(())
}
