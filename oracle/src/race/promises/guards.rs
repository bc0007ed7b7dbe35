//! Guards stay until somebody takes them away, no access gets through, and a child has them too.

use super::super::exclusive::splits;
use super::{each, vma_of, whom, Broken, Piece};
use crate::judge::{Fault, Outcome, SpaceSeen};
use crate::program::{ActorId, Advice, Op, Step};
use std::ops::Range;

/// SIGSEGV with SEGV_MAPERR: what an access to a guard gets.
const GUARDED: (i32, i32) = (11, 1);

impl Piece<'_> {
    pub(super) fn guards(&self, broken: &mut Vec<Broken>) {
        self.installed_stay(broken);
        self.older_stay(broken);
        self.stop_accesses(broken);
        self.come_of_install(broken);
        self.are_inherited(broken);
        self.are_shown(broken);
    }

    /// Once install has returned 0, and nobody takes them away, its pages are guards, and who has met one gets through no more.
    fn installed_stay(&self, broken: &mut Vec<Broken>) {
        let installs = self.steps().flat_map(|(i, step, outcome)| {
            self.installed(step, outcome)
                .map(move |pages| (i, step, pages))
        });
        for (i, install, pages) in installs {
            let away = |(j, other): (usize, &Step)| other.lane != install.lane || j > i;
            if self.takers(install.actor, &pages).any(away) {
                continue;
            }
            let after = self.after(install.actor);
            let naked =
                after.and_then(|after| pages.clone().find(|page| !self.is_guard(after, *page)));
            if let Some(page) = naked {
                broken.push(Broken {
                    promise: "install-stays",
                    step: i,
                    text: format!("page {page} is no guard after the section"),
                });
            }
            // An earlier op of the same thread may have taken away an older guard, which others met before.
            let older = self.takers(install.actor, &pages).next().is_some();
            let own = |step: &Step| step.actor == install.actor;
            for (j, other, outcome) in self.steps().filter(|(_, s, _)| !older && own(s)) {
                let inside = other.op.range().is_some_and(|range| {
                    let other = self.range_of(range);
                    pages.start <= other.start && other.end <= pages.end
                });
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

    /// Guards of before, in whatever process.
    fn older_stay(&self, broken: &mut Vec<Broken>) {
        for (actor, before, after) in self.lived() {
            let lost = self
                .guards_in(before)
                .find(|page| !self.is_guard(after, *page) && !self.may_go(actor, before, *page));
            if let Some(page) = lost {
                broken.push(Broken {
                    promise: "guards-stay",
                    step: self.range.start,
                    text: format!(
                        "page {page} of actor {actor} was a guard and is none, and nobody took it away"
                    ),
                });
            }
        }
    }

    /// What is no guard becomes one by an install of this process there, or by mremap, which takes guards along. Where guards are shown
    /// as swap entries it is not asked: other things are, too.
    fn come_of_install(&self, broken: &mut Vec<Broken>) {
        for (actor, before, after) in self.lived().filter(|_| !self.shown.as_swap) {
            let brings = |step: &Step, page: i64| match step.op {
                Op::Mremap { .. } => true,
                op => op.advice() == Some(Advice::GuardInstall) && self.names(&op, page),
            };
            let brought = |page: i64| {
                let mut own = self.steps().filter(|(_, step, _)| whom(step) == actor);
                own.any(|(_, step, _)| brings(step, page))
            };
            let new = self
                .guards_in(after)
                .find(|page| !self.is_guard(before, *page) && !brought(*page));
            if let Some(page) = new {
                broken.push(Broken {
                    promise: "guards-come-of-install",
                    step: self.range.start,
                    text: format!(
                        "page {page} of actor {actor} has become a guard, and nobody installed one"
                    ),
                });
            }
        }
    }

    /// No access gets past a guard of before, nor past one that its own thread has installed.
    fn stop_accesses(&self, broken: &mut Vec<Broken>) {
        for (i, step, outcome) in self.steps() {
            let (Op::Read { range } | Op::Write { range, .. }) = step.op else {
                continue;
            };
            let start = self.range_of(range).start;
            let far = |outcome: &Outcome| match outcome {
                Outcome::Access(access) => i64::from(access.pages),
                _ => 0,
            };
            let most = each(outcome).iter().map(far).max().unwrap_or(0);
            let got = start..start + most;
            if let Some(page) = got.into_iter().find(|page| self.is_guarded(i, *page)) {
                broken.push(Broken {
                    promise: "guards-stop-accesses",
                    step: i,
                    text: format!("an access got through page {page}, which is a guard"),
                });
            }
        }
    }

    /// Whether a page is a guard for certain when an actor comes to a step.
    fn is_guarded(&self, at: usize, page: i64) -> bool {
        let step = &self.program.steps[at];
        let before = self.before(step.actor);
        let older = before.is_some_and(|before| self.is_guard(before, page));
        let own = |(i, other, outcome): (usize, &Step, &Outcome)| {
            i < at
                && other.lane == step.lane
                && self.installed(other, outcome).any(|p| p.contains(&page))
        };
        let skips = || self.shown.may_skip_flush && self.others_empty(at, page);
        if !older && (!self.steps().any(own) || skips()) {
            return false;
        }
        match before {
            Some(before) => !self.may_go(step.actor, before, page),
            None => false,
        }
    }

    /// Whether another thread has an op that may take what a page holds away, whose translation may be remembered then.
    fn others_empty(&self, at: usize, page: i64) -> bool {
        let step = &self.program.steps[at];
        let empties = |op: &Op| match op.advice() {
            Some(Advice::DontNeed | Advice::DontNeedLocked | Advice::GuardInstall) => true,
            // Reclaim takes clean pages only, which a store makes dirty first.
            Some(Advice::PageOut) => matches!(step.op, Op::Read { .. }),
            _ => false,
        };
        let mut others = self
            .steps()
            .filter(|(_, other, _)| other.lane != step.lane && whom(other) == step.actor);
        let zapped = |(_, other, _): (usize, &Step, &Outcome)| {
            empties(&other.op) && self.names(&other.op, page)
        };
        self.changes_files() || others.any(zapped)
    }

    /// Whoever is forked has the guards that his parent had before, and those that the thread which forks had installed.
    fn are_inherited(&self, broken: &mut Vec<Broken>) {
        for (fork, before, child) in self.forks() {
            let parent = self.program.steps[fork].actor;
            let copied = |page: &i64| {
                let vma = vma_of(before, *page);
                vma.is_some_and(|vma| self.is_copied(vma.shared || vma.file_page.is_some()))
            };
            let expected = |page: &i64| {
                self.is_guarded(fork, *page)
                    && copied(page)
                    && !self.may_go(parent, before, *page)
                    && !self.fork_is_told_of(*page)
            };
            let all = 0..i64::from(self.g.arena_pages());
            let lost = all
                .filter(|page| !self.is_guard(child, *page))
                .find(expected);
            if let Some(page) = lost {
                broken.push(Broken {
                    promise: "fork-copies-guards",
                    step: fork,
                    text: format!("page {page} is a guard of the parent and none of the child"),
                });
            }
        }
    }

    /// Whether fork copies the guards of a VMA: private anonymous memory has an anon_vma since guard install gave it one; for what a
    /// fault can find again the flag is needed, and some kernels lose that where threads split VMAs.
    fn is_copied(&self, of_file: bool) -> bool {
        let split = |s: Range<usize>| self.program.steps[s].iter().any(|step| splits(&step.op));
        let lost = || self.shown.may_lose_flag && self.program.sections().any(split);
        match of_file {
            false => !self.shown.may_give_up,
            true => self.shown.flag && !lost(),
        }
    }

    /// What faults as a guard does, in a VMA, was shown as one. Asked of steps of an actor alone.
    fn are_shown(&self, broken: &mut Vec<Broken>) {
        for (i, step, outcome) in self.steps().filter(|(_, step, _)| step.lane.is_none()) {
            let Some(fault) = fault(outcome).filter(|f| is_of_guard(*f)) else {
                continue;
            };
            let page = fault.addr.div_euclid(self.g.page_size.into());
            let before = self.before(step.actor);
            let unseen = before.is_some_and(|before| {
                vma_of(before, page).is_some() && !self.is_guard(before, page)
            });
            if unseen {
                broken.push(Broken {
                    promise: "guards-are-shown",
                    step: i,
                    text: format!("page {page} faults as a guard does and was not shown as one"),
                });
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
        let own = !matches!(step.op, Op::ProcessMadvise { whose: Some(_), .. });
        let installs = done && own && step.op.advice() == Some(Advice::GuardInstall);
        let ranges = step.op.ranges().filter(move |_| installs);
        ranges.map(|range| self.range_of(range))
    }

    fn guards_in<'s>(&'s self, space: &'s SpaceSeen) -> impl Iterator<Item = i64> + 's {
        let runs = space.pages.iter().filter(|run| self.shows_guard(run.page));
        runs.flat_map(|run| i64::from(run.start)..i64::from(run.start + run.len))
    }

    /// Whether a guard of an actor may be gone after the piece.
    fn may_go(&self, actor: ActorId, before: &SpaceSeen, page: i64) -> bool {
        let of_file =
            || vma_of(before, page).is_none_or(|vma| vma.shared || vma.file_page.is_some());
        self.takers(actor, &(page..page + 1)).next().is_some() || self.changes_files() && of_file()
    }

    /// Steps that may take guards of an actor away from these pages.
    fn takers<'s>(
        &'s self,
        actor: ActorId,
        pages: &'s Range<i64>,
    ) -> impl Iterator<Item = (usize, &'s Step)> {
        let concerned = move |op: &Op| match op {
            // It may land elsewhere; where the break was, the op does not say.
            Op::Mremap { .. } | Op::Brk { .. } => true,
            _ => op.ranges().any(|r| {
                let range = self.range_of(r);
                range.start < pages.end && pages.start < range.end
            }),
        };
        self.steps()
            .filter(move |(_, step, _)| whom(step) == actor)
            .filter(move |(_, step, _)| takes(&step.op) && concerned(&step.op))
            .map(|(i, step, _)| (i, step))
    }
}

/// Whether an op may take guards away from its ranges.
fn takes(op: &Op) -> bool {
    match op {
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
            *advice == Advice::GuardRemove
        }
        Op::Munmap { .. }
        | Op::Mmap { .. }
        | Op::Mremap { .. }
        | Op::Brk { .. }
        | Op::Uffd { .. } => true,
        _ => false,
    }
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
