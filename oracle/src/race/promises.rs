//! What guard regions promise whatever else runs at the same time. These are asked of every run, beside the ways that the
//! explorer allows, and need no model of the kernel's steps: only the program and what was seen.

use super::exclusive::splits;
use crate::geometry::Geometry;
use crate::judge::{Fault, Observation, Outcome, PageKind, PageSeen, SpaceSeen, VmFlag};
use crate::profile::Profile;
use crate::program::{ActorId, Advice, Backing, Op, Program, Step};
use crate::rules::errno::{EINVAL, ENOMEM, EPERM};
use std::ops::Range;

/// SIGSEGV with SEGV_MAPERR: what an access to a guard gets.
const GUARDED: (i32, i32) = (11, 1);

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
    /// smaps has a flag for VMAs that may hold guards (`gu`).
    pub flag: bool,
    /// The kernel may lose the flag where another thread changes or splits VMAs meanwhile: its row `flags_read_early`.
    pub may_lose_flag: bool,
    /// The mechanism gives up and tells its caller: the patch of 2024.
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
            may_give_up: profile.rfc_gives_up,
            as_swap: !profile.pagemap_guard,
        }
    }
}

/// The promises that the sections of a program have broken; `seen` has what was seen after each step.
pub fn broken(program: &Program, seen: &[Observation], shown: Shown, g: Geometry) -> Vec<Broken> {
    let mut broken = Vec::new();
    for section in program.sections() {
        if let Some(after) = seen.get(..section.end) {
            Section {
                program,
                range: section,
                seen: after,
                shown,
                g,
            }
            .check(&mut broken);
        }
    }
    broken
}

struct Section<'a> {
    program: &'a Program,
    range: Range<usize>,
    /// Up to the section's last step.
    seen: &'a [Observation],
    shown: Shown,
    g: Geometry,
}

impl Section<'_> {
    fn steps(&self) -> impl Iterator<Item = (usize, &Step, &Outcome)> {
        self.range
            .clone()
            .map(|i| (i, &self.program.steps[i], &self.seen[i].outcome))
    }

    fn check(&self, broken: &mut Vec<Broken>) {
        for (i, step, outcome) in self.steps() {
            if step.op.advice() == Some(Advice::GuardInstall) {
                self.result(i, outcome, broken);
            }
        }
        let Some(actor) = self
            .range
            .clone()
            .next()
            .map(|i| self.program.steps[i].actor)
        else {
            return;
        };
        let Some(after) = self.seen.last().and_then(|o| space(o, actor)) else {
            return;
        };
        self.looked(broken);
        self.stays(after, broken);
        self.outside(actor, after, broken);
        if self.shows_flag() {
            self.flagged(after, broken);
        }
    }

    /// Whether a guard must lie in a VMA with the flag.
    fn shows_flag(&self) -> bool {
        let lost = self.shown.may_lose_flag && self.steps().any(|(_, step, _)| splits(&step.op));
        self.shown.flag && !lost
    }

    /// Nor does a thread that looks meanwhile see a guard without the flag.
    fn looked(&self, broken: &mut Vec<Broken>) {
        for (i, _, outcome) in self.steps().filter(|_| self.shows_flag()) {
            let all = match outcome {
                Outcome::Each(each) => each.as_slice(),
                one => std::slice::from_ref(one),
            };
            if all.contains(&Outcome::Unflagged) {
                broken.push(Broken {
                    promise: "guard-is-flagged",
                    step: i,
                    text: "a thread saw a guard in a VMA without gu".into(),
                });
            }
        }
    }

    /// It returns 0, EINVAL, EPERM or ENOMEM, and EAGAIN never.
    fn result(&self, step: usize, outcome: &Outcome, broken: &mut Vec<Broken>) {
        let all = match outcome {
            Outcome::Each(each) => each.as_slice(),
            one => std::slice::from_ref(one),
        };
        for outcome in all {
            let fine = match outcome {
                Outcome::Errno(EINVAL | EPERM | ENOMEM) | Outcome::Ok | Outcome::Moved(_) => true,
                _ => self.shown.may_give_up,
            };
            if !fine {
                broken.push(Broken {
                    promise: "install-returns",
                    step,
                    text: format!("guard install returned {outcome:?}"),
                });
            }
        }
    }

    /// Once it has returned 0, and nobody takes them away, its pages are guards, and who has met one gets through no more.
    fn stays(&self, after: &SpaceSeen, broken: &mut Vec<Broken>) {
        let installs = self
            .steps()
            .flat_map(|(i, step, outcome)| self.installed(step, outcome).map(move |p| (i, p)));
        for (i, pages) in installs {
            if self.taken_away(i, &pages) {
                continue;
            }
            let naked = pages.clone().find(|page| !self.is_guard(after, *page));
            if let Some(page) = naked {
                broken.push(Broken {
                    promise: "install-stays",
                    step: i,
                    text: format!("page {page} is no guard after the section"),
                });
            }
            // An earlier op of the same thread may have taken away an older guard, which others met before.
            let older = self.takes(&pages).next().is_some();
            for (j, other, outcome) in self.steps().filter(|_| !older) {
                let inside = self
                    .pages(&other.op)
                    .is_some_and(|p| pages.start <= p.start && p.end <= pages.end);
                let Outcome::Each(each) = outcome else {
                    continue;
                };
                let met = each.iter().position(|o| fault(o).is_some_and(is_of_guard));
                let through = met.and_then(|met| each[met..].iter().find(|o| ok(o)));
                if let (true, Some(_)) = (inside, through) {
                    broken.push(Broken {
                        promise: "install-stays",
                        step: j,
                        text: "an access got through after another had met the guard".into(),
                    });
                }
            }
        }
    }

    /// The ranges, in pages, into which a step has put guards as it says.
    fn installed<'s>(
        &'s self,
        step: &'s Step,
        outcome: &Outcome,
    ) -> impl Iterator<Item = Range<i64>> + 's {
        let done = match outcome {
            Outcome::Ok => true,
            // Of a call that has done a part of its ranges, which ones is not looked at.
            Outcome::Moved(moved) => moved.all,
            _ => false,
        };
        let installs = done && step.op.advice() == Some(Advice::GuardInstall);
        let ranges = step.op.ranges().filter(move |_| installs);
        ranges.map(|range| self.range_of(range))
    }

    /// Whether an op of another thread, or a later one of the same, may take guards away from these pages.
    fn taken_away(&self, install: usize, pages: &Range<i64>) -> bool {
        let mine = self.program.steps[install].lane;
        self.takes(pages)
            .any(|i| self.program.steps[i].lane != mine || i > install)
    }

    /// Steps that may take guards away from these pages.
    fn takes<'s>(&'s self, pages: &'s Range<i64>) -> impl Iterator<Item = usize> + 's {
        let may = move |step: &Step| {
            let takes = match step.op {
                Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
                    advice == Advice::GuardRemove
                }
                Op::Munmap { .. } | Op::Mmap { .. } | Op::Mremap { .. } => true,
                _ => false,
            };
            let overlaps = |p: Range<i64>| p.start < pages.end && pages.start < p.end;
            let concerned = match step.op {
                // It may land elsewhere.
                Op::Mremap { .. } => true,
                _ => step.op.ranges().any(|r| overlaps(self.range_of(r))),
            };
            takes && concerned
        };
        self.steps()
            .filter(move |(_, step, _)| may(step))
            .map(|(i, ..)| i)
    }

    /// Pages that no op of the section names hold what they held before it. Private pages are there, too, and are no guards; what ops
    /// say that take nothing away ([`keeps`]) does not matter to them.
    fn outside(&self, actor: ActorId, after: &SpaceSeen, broken: &mut Vec<Broken>) {
        let Some(first) = self.range.start.checked_sub(1) else {
            return;
        };
        let Some(before) = space(&self.seen[first], actor) else {
            return;
        };
        let by_file = self.steps().any(|(_, step, _)| {
            matches!(step.op, Op::Truncate { .. } | Op::PunchHole { .. })
                || step.op.advice() == Some(Advice::Remove)
        });
        if by_file {
            return;
        }
        let stays = !may_be_reclaimed(self.program);
        for page in 0..i64::from(self.g.arena_pages()) {
            let Some((was, held)) = page_of(before, page) else {
                continue;
            };
            let private = was.kind == PageKind::Anon;
            let concerns = |step: &Step| {
                let named = step.op.ranges().any(|r| self.range_of(r).contains(&page));
                named && !(private && keeps(&step.op))
            };
            if self.steps().any(|(_, step, _)| concerns(step)) {
                continue;
            }
            let now = page_of(after, page);
            let is = match (now, now.and_then(|(_, holds)| holds)) {
                (None, _) if private && stays => "is empty".into(),
                _ if private && self.is_guard(after, page) => "is a guard".into(),
                (_, Some(holds)) if held.is_some_and(|held| held != holds) => {
                    format!("holds {holds:?}")
                }
                _ => continue,
            };
            let held = held.map_or_else(|| "something".into(), |held| format!("{held:?}"));
            broken.push(Broken {
                promise: "nothing-outside",
                step: self.range.start,
                text: format!("page {page}, which no op may change, held {held}, {is}"),
            });
            return;
        }
    }

    /// Where there is a guard, the VMA is marked.
    fn flagged(&self, after: &SpaceSeen, broken: &mut Vec<Broken>) {
        for vma in &after.vmas {
            let Some(flags) = &vma.flags else { continue };
            let guard = (vma.start..vma.end).find(|page| self.is_guard(after, (*page).into()));
            if let (Some(page), false) = (guard, flags.contains(&VmFlag(*b"gu"))) {
                broken.push(Broken {
                    promise: "guard-is-flagged",
                    step: self.range.start,
                    text: format!("page {page} is a guard in a VMA without gu"),
                });
            }
        }
    }

    fn is_guard(&self, space: &SpaceSeen, page: i64) -> bool {
        match page_of(space, page).map(|(seen, _)| seen.kind) {
            Some(PageKind::Guard) => true,
            Some(PageKind::Swap) => self.shown.as_swap,
            _ => false,
        }
    }

    fn pages(&self, op: &Op) -> Option<Range<i64>> {
        op.range().map(|range| self.range_of(range))
    }

    fn range_of(&self, range: crate::geometry::Range) -> Range<i64> {
        let end = range.end.page_index(self.g) + i64::from(!range.end.is_page_aligned());
        range.start.page_index(self.g)..end
    }
}

fn space(seen: &Observation, actor: ActorId) -> Option<&SpaceSeen> {
    seen.spaces
        .iter()
        .find(|(a, _)| *a == actor)
        .map(|(_, space)| space)
}

/// A page's entry and what it holds, if the entry is not empty.
fn page_of(space: &SpaceSeen, page: i64) -> Option<(PageSeen, Option<crate::space::Content>)> {
    let page = u32::try_from(page).ok()?;
    let i = space.pages.partition_point(|run| run.start <= page);
    let run = space.pages[..i].last()?;
    let n = page - run.start;
    (n < run.len).then(|| (run.page, run.page.content.map(|first| first.plus(n))))
}

/// Whether an op leaves private pages in its ranges where they are, with what they hold. It may bring pages.
fn keeps(op: &Op) -> bool {
    match op {
        Op::Read { .. }
        | Op::Look { .. }
        | Op::Mprotect { .. }
        | Op::Mlock { .. }
        | Op::Mseal { .. } => true,
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => !matches!(
            advice,
            Advice::GuardInstall
                | Advice::DontNeed
                | Advice::DontNeedLocked
                | Advice::Free
                | Advice::PageOut
                | Advice::Remove
        ),
        _ => false,
    }
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

fn fault(outcome: &Outcome) -> Option<Fault> {
    match outcome {
        Outcome::Access(access) => access.fault,
        _ => None,
    }
}

fn is_of_guard(fault: Fault) -> bool {
    (fault.signo, fault.code) == GUARDED
}

fn ok(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Access(access) if access.fault.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Access, Oracle};

    const SHOWN: Shown = Shown {
        flag: true,
        may_lose_flag: true,
        may_give_up: false,
        as_swap: false,
    };

    /// A run of a program as the model has it, whole op after whole op.
    fn run(text: &str) -> (Program, Vec<Observation>) {
        let program = Program::load_concurrent(text).unwrap();
        let mut world = crate::space::World::new(&Profile::newest(), Geometry::K4, program.knobs)
            .with_free_pages(1 << 20);
        let mut seen = Vec::new();
        for step in &program.steps {
            let branch = world.apply(step).swap_remove(0);
            world = branch.world;
            let outcome = match step.lane {
                Some(lane) if lane.repeats => Outcome::Each(vec![branch.outcome]),
                _ => branch.outcome,
            };
            seen.push(Observation {
                outcome,
                spaces: world.shown(),
                failing: None,
            });
        }
        (program, seen)
    }

    const STORM: &str =
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\n|a guard-install 0+0..0+2\n\
                         |b* write 0+0..0+1 tag 2\n";

    fn promises(program: &Program, seen: &[Observation]) -> Vec<&'static str> {
        let all = broken(program, seen, SHOWN, Geometry::K4);
        all.iter().map(|b| b.promise).collect()
    }

    #[test]
    fn a_run_that_keeps_all_of_them() {
        let (program, seen) = run(STORM);
        assert_eq!(promises(&program, &seen), [""; 0]);
    }

    #[test]
    fn each_is_missed_when_it_is_broken() {
        let (program, good) = run(STORM);
        let mut seen = good.clone();
        seen[2].outcome = Outcome::Errno(11);
        assert_eq!(promises(&program, &seen), ["install-returns"]);

        let mut seen = good.clone();
        seen[3].spaces[0].1.pages.remove(0);
        assert_eq!(promises(&program, &seen), ["install-stays"]);

        let mut seen = good.clone();
        let met = seen[3].outcome.clone();
        let Outcome::Each(first) = &met else { panic!() };
        let through = Outcome::Access(Access {
            pages: 1,
            ..Access::default()
        });
        seen[3].outcome = Outcome::Each(vec![first[0].clone(), through]);
        assert_eq!(promises(&program, &seen), ["install-stays"]);

        let mut seen = good.clone();
        let last = seen[3].spaces[0].1.pages.last_mut().unwrap();
        last.page.content = Some(crate::space::Content::ZERO);
        assert_eq!(promises(&program, &seen), ["nothing-outside"]);

        let mut seen = good;
        for vma in &mut seen[3].spaces[0].1.vmas {
            vma.flags
                .iter_mut()
                .for_each(|f| f.retain(|f| f.0 != *b"gu"));
        }
        assert_eq!(promises(&program, &seen), ["guard-is-flagged"]);
    }

    /// `text` with `lost` taken out of what was seen last of actor 0, and put in its place.
    fn tampered(text: &str, lost: u32, instead: Option<PageKind>) -> Vec<&'static str> {
        let (program, mut seen) = run(text);
        assert_eq!(promises(&program, &seen), [""; 0], "{text}");
        let pages = &mut seen.last_mut().unwrap().spaces[0].1.pages;
        let of = pages
            .iter()
            .position(|run| (run.start..run.start + run.len).contains(&lost))
            .expect("a page to lose");
        let run = pages.remove(of);
        let part = |start: u32, end: u32, page: PageSeen| crate::judge::PageRun {
            start,
            len: end - start,
            page,
        };
        let content = |at: u32| run.page.content.map(|c| c.plus(at - run.start));
        let rest = |at: u32| PageSeen {
            content: content(at),
            ..run.page
        };
        let changed = instead.map(|kind| {
            let page = PageSeen {
                kind,
                content: None,
                ..run.page
            };
            part(lost, lost + 1, page)
        });
        let end = run.start + run.len;
        let parts = [
            Some(part(run.start, lost, run.page)),
            changed,
            Some(part(lost + 1, end, rest(lost + 1))),
        ];
        let parts = parts.into_iter().flatten().filter(|run| run.len > 0);
        pages.splice(of..of, parts);
        promises(&program, &seen)
    }

    #[test]
    fn a_private_page_that_vanishes_or_becomes_a_guard_breaks_a_promise() {
        let outside = ["nothing-outside"];
        assert_eq!(tampered(STORM, 3, None), outside);
        assert_eq!(tampered(STORM, 2, Some(PageKind::Guard)), outside);
        // Ops that take nothing away may name it.
        for beside in [
            "read 0+2..0+4",
            "mprotect 0+2..0+4 r",
            "mlock 0+3..0+4",
            "guard-remove 0+2..0+4",
            "dontdump 0+0..0+4",
        ] {
            let text = format!("{STORM}|c {beside}\n");
            assert_eq!(tampered(&text, 3, None), outside, "{beside}");
        }
        for beside in ["dontneed 0+3..0+4", "free 0+3..0+4", "munmap 0+3..0+4"] {
            let text = format!("{STORM}|c {beside}\n");
            let (program, seen) = run(&text);
            assert_eq!(promises(&program, &seen), [""; 0], "{beside}");
        }
        // The kernel may take it when it likes.
        let lazy = STORM.replace("|a guard", "free 0+3..0+4\n|a guard");
        assert_eq!(tampered(&lazy, 3, None), [""; 0]);
        // Shared memory keeps its pages elsewhere.
        let shared = STORM.replace("private", "shared");
        assert_eq!(tampered(&shared, 3, None), [""; 0]);
    }

    #[test]
    fn a_swap_entry_is_a_guard_on_kernels_that_show_it_so() {
        let (program, mut seen) = run(STORM);
        for run in &mut seen[3].spaces[0].1.pages {
            if run.page.kind == PageKind::Guard {
                run.page.kind = PageKind::Swap;
            }
        }
        assert_eq!(promises(&program, &seen), ["install-stays"]);
        let older = Shown {
            as_swap: true,
            ..SHOWN
        };
        assert_eq!(broken(&program, &seen, older, Geometry::K4), []);
    }

    #[test]
    fn a_look_that_finds_no_flag_breaks_a_promise() {
        let looks = |beside: &str| {
            let (program, mut seen) = run(&format!(
                "mmap 0+0..0+4 rw private fixed\n|a guard-install 0+0..0+2\n|b* look 0+0..0+1\n{beside}"
            ));
            assert_eq!(promises(&program, &seen), [""; 0]);
            seen[2].outcome = Outcome::Each(vec![Outcome::Ok, Outcome::Unflagged, Outcome::Ok]);
            promises(&program, &seen)
        };
        assert_eq!(looks(""), ["guard-is-flagged"]);
        // There these kernels may lose it.
        assert_eq!(looks("|c mprotect 0+2..0+4 r\n"), [""; 0]);
    }

    #[test]
    fn guards_of_a_call_with_several_ranges_stay_too() {
        let (program, good) = run(
            "mmap 0+0..0+8 rw private fixed\n|a process-madvise guard-install 0+0..0+2 0+4..0+6\n|b read 0+6..0+7\n",
        );
        assert_eq!(promises(&program, &good), [""; 0]);
        let without = |lost: u32| {
            let mut seen = good.clone();
            let pages = &mut seen[2].spaces[0].1.pages;
            pages.retain(|run| !(run.start..run.start + run.len).contains(&lost));
            promises(&program, &seen)
        };
        assert_eq!(without(0), ["install-stays"]);
        assert_eq!(without(5), ["install-stays"]);
    }

    #[test]
    fn a_guard_of_before_may_be_met_and_go_before_the_new_one_comes() {
        let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\n|a guard-remove 0+1..0+2\n|a guard-install 0+0..0+2\n\
                    |b* write 0+1..0+2 tag 3\n";
        let (program, mut seen) = run(text);
        let Outcome::Each(met) = seen[4].outcome.clone() else {
            panic!()
        };
        let through = Outcome::Access(Access {
            pages: 1,
            ..Access::default()
        });
        seen[4].outcome = Outcome::Each(vec![met[0].clone(), through, met[0].clone()]);
        assert_eq!(promises(&program, &seen), [""; 0]);
    }

    #[test]
    fn who_takes_guards_away_breaks_no_promise() {
        let (program, seen) = run(
            "mmap 0+0..0+4 rw private fixed\n|a guard-install 0+0..0+2\n|b guard-remove 0+1..0+2\n",
        );
        assert_eq!(promises(&program, &seen), [""; 0]);
        let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, program.knobs);
        oracle.step(&program.steps[0]);
        oracle.observe(&seen[0]);
        oracle.together(&program.steps[1..]);
        assert_eq!(oracle.expected().len(), 2);
    }
}
