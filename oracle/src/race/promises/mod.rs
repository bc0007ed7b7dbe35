//! What guard regions promise whatever else runs at the same time. These are asked of every run, beside the ways that the
//! explorer allows, and need no model of the kernel's steps: only the program and what was seen.
//!
//! | file | promises |
//! | --- | --- |
//! | `results` | what guard install may return |
//! | `guards` | guards come of install alone, stay, stop every access, and come along with fork |
//! | `contents` | nothing else changes: private pages, file bytes, what a child gets |
//! | `flags` | where there is a guard, smaps says so |
//!
//! A program is gone through in pieces: a section of threads, or a step of an actor alone after one. Of a piece, what was seen before it
//! and after it is compared, in every process that lived through it; of what its ops may have done in between, only what none of them
//! can have done is asked for.

mod contents;
mod flags;
mod guards;
mod results;
#[cfg(test)]
mod tests;

use crate::geometry::Geometry;
use crate::judge::{Observation, Outcome, PageKind, PageSeen, SpaceSeen, VmaSeen};
use crate::profile::Profile;
use crate::program::{ActorId, Advice, Backing, Op, Program, Step};
use crate::space::Content;
use std::ops::Range;

/// A promise that a run has broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one: `install-stays`, ...
    pub promise: &'static str,
    /// Step of the program.
    pub step: usize,
    /// What was seen instead.
    pub text: String,
}

/// What a kernel shows of guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// smaps has a flag for VMAs that may hold guards (`gu`), and fork copies what such a VMA has, whatever it maps.
    pub flag: bool,
    /// The kernel may lose the flag where another thread changes or splits VMAs meanwhile: its row `flags_read_early`.
    pub may_lose_flag: bool,
    /// Guard install may return before translations are forgotten that another op took away: the row `install_skips_flush`.
    pub may_skip_flush: bool,
    /// The mechanism gives up and tells its caller, and sees to the anon_vma last: the patch of 2024.
    pub may_give_up: bool,
    /// Kernels before 6.15 show a guard as a swap entry. With swap space there are no sections, so it is none of a swap device.
    pub as_swap: bool,
}

impl Shown {
    /// By a kernel of this profile.
    pub fn by(profile: &Profile) -> Shown {
        Shown {
            flag: profile.maybe_guard,
            may_lose_flag: profile.flags_read_early,
            may_skip_flush: profile.install_skips_flush,
            may_give_up: profile.rfc_gives_up,
            as_swap: !profile.pagemap_guard,
        }
    }
}

/// The promises that a program has broken from its first section on; `seen` has what was seen after each step.
pub fn broken(program: &Program, seen: &[Observation], shown: Shown, g: Geometry) -> Vec<Broken> {
    let mut broken = Vec::new();
    let first = program.sections().next().map_or(usize::MAX, |s| s.start);
    for range in program.pieces().filter(|piece| piece.start >= first) {
        let together = program.steps[range.start].lane.is_some();
        let Some(seen) = seen.get(..range.end) else {
            break;
        };
        let piece = Piece {
            program,
            range,
            seen,
            shown,
            g,
        };
        if together {
            piece.results(&mut broken);
            piece.flags(&mut broken);
            piece.contents(&mut broken);
        }
        piece.guards(&mut broken);
    }
    broken
}

struct Piece<'a> {
    program: &'a Program,
    range: Range<usize>,
    /// Up to the piece's last step.
    seen: &'a [Observation],
    shown: Shown,
    g: Geometry,
}

impl<'a> Piece<'a> {
    fn steps(&self) -> impl Iterator<Item = (usize, &'a Step, &'a Outcome)> {
        let (program, seen) = (self.program, self.seen);
        self.range
            .clone()
            .map(move |i| (i, &program.steps[i], &seen[i].outcome))
    }

    /// The memory of an actor before the piece.
    fn before(&self, actor: ActorId) -> Option<&'a SpaceSeen> {
        let before = self.range.start.checked_sub(1)?;
        space(self.seen.get(before)?, actor)
    }

    /// And after it.
    fn after(&self, actor: ActorId) -> Option<&'a SpaceSeen> {
        space(self.seen.last()?, actor)
    }

    /// Actors that live before and after it, with their memory then.
    fn lived(&self) -> impl Iterator<Item = (ActorId, &'a SpaceSeen, &'a SpaceSeen)> + '_ {
        let after = self.seen.last().map_or(&[][..], |seen| &seen.spaces);
        after
            .iter()
            .filter_map(|(actor, after)| Some((*actor, self.before(*actor)?, after)))
    }

    /// Forks that have made a child: the step, the parent's memory before the piece, and the child's after it.
    fn forks(&self) -> impl Iterator<Item = (usize, &'a SpaceSeen, &'a SpaceSeen)> + '_ {
        self.steps().filter_map(|(i, step, outcome)| {
            let Op::Fork { child } = step.op else {
                return None;
            };
            let made = *outcome == Outcome::Ok;
            let both = (self.before(step.actor)?, self.after(child)?);
            made.then_some((i, both.0, both.1))
        })
    }

    /// Whether the program has said anything about fork to this page's VMA: the child may not have it, or have it empty.
    fn fork_is_told_of(&self, page: i64) -> bool {
        self.program.steps.iter().any(|step| {
            let tells = matches!(
                step.op.advice(),
                Some(Advice::DontFork | Advice::WipeOnFork)
            );
            tells && self.names(&step.op, page)
        })
    }

    /// Whether an op changes files as such.
    fn changes_files(&self) -> bool {
        self.steps().any(|(_, step, _)| {
            matches!(step.op, Op::Truncate { .. } | Op::PunchHole { .. })
                || step.op.advice() == Some(Advice::Remove)
        })
    }

    /// Whether one of an op's ranges has a part of a page.
    fn names(&self, op: &Op, page: i64) -> bool {
        op.ranges().any(|r| self.range_of(r).contains(&page))
    }

    fn is_guard(&self, space: &SpaceSeen, page: i64) -> bool {
        page_of(space, page).is_some_and(|(seen, _)| self.shows_guard(seen))
    }

    fn shows_guard(&self, page: PageSeen) -> bool {
        match page.kind {
            PageKind::Guard => true,
            PageKind::Swap => self.shown.as_swap,
            _ => false,
        }
    }

    /// The pages that a range has a part of.
    fn range_of(&self, range: crate::geometry::Range) -> Range<i64> {
        let end = range.end.page_index(self.g) + i64::from(!range.end.is_page_aligned());
        range.start.page_index(self.g)..end
    }
}

/// Each of what a step returned: one, but of a thread that repeats.
fn each(outcome: &Outcome) -> &[Outcome] {
    match outcome {
        Outcome::Each(each) => each,
        one => std::slice::from_ref(one),
    }
}

/// The actor whose memory an op is about.
fn whom(step: &Step) -> ActorId {
    step.op.other().unwrap_or(step.actor)
}

fn space(seen: &Observation, actor: ActorId) -> Option<&SpaceSeen> {
    seen.spaces
        .iter()
        .find(|(a, _)| *a == actor)
        .map(|(_, space)| space)
}

/// A page's entry and what it holds, if the entry is not empty.
fn page_of(space: &SpaceSeen, page: i64) -> Option<(PageSeen, Option<Content>)> {
    let page = u32::try_from(page).ok()?;
    let i = space.pages.partition_point(|run| run.start <= page);
    let run = space.pages[..i].last()?;
    let n = page - run.start;
    (n < run.len).then(|| (run.page, run.page.content.map(|first| first.plus(n))))
}

/// The VMA that a page lies in.
fn vma_of(space: &SpaceSeen, page: i64) -> Option<&VmaSeen> {
    let page = u32::try_from(page).ok()?;
    let i = space.vmas.partition_point(|vma| vma.start <= page);
    space.vmas[..i].last().filter(|vma| page < vma.end)
}

/// Whether the kernel may take pages whenever it wants to.
fn may_be_reclaimed(program: &Program) -> bool {
    program.steps.iter().any(|step| {
        let droppable = matches!(
            step.op,
            Op::Mmap {
                backing: Backing::Droppable,
                ..
            }
        );
        droppable || step.op.advice() == Some(Advice::Free)
    })
}
