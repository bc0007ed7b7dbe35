//! Whatever threads do to guards, everything else holds what it held: private pages, the bytes of files, and what a child gets.

use super::{may_be_reclaimed, page_of, whom, Broken, Piece};
use crate::judge::{PageKind, PageSeen, SpaceSeen};
use crate::program::{ActorId, Advice, Backing, Op, Step};

impl Piece<'_> {
    /// A private page that no op of the section may change is there, is no guard, and holds what it held before; so does a page of a
    /// file, where it is mapped still. The same holds of private pages in a child that a thread has forked.
    pub(super) fn contents(&self, broken: &mut Vec<Broken>) {
        if self.changes_files() {
            return;
        }
        for (actor, before, after) in self.lived() {
            if let Some(text) = self.changed(
                before,
                |page, was| self.is_left_alone(actor, page, was) && self.compared(was),
                after,
            ) {
                broken.push(Broken {
                    promise: "nothing-outside",
                    step: self.range.start,
                    text: format!("{text}, of actor {actor}"),
                });
            }
        }
        for (fork, parent, child) in self.forks() {
            let actor = self.program.steps[fork].actor;
            let inherited = |page: i64, was: PageSeen| {
                was.kind == PageKind::Anon
                    && self.is_left_alone(actor, page, was)
                    && !self.fork_is_told_of(page)
            };
            if let Some(text) = self.changed(parent, inherited, child) {
                broken.push(Broken {
                    promise: "fork-copies-pages",
                    step: fork,
                    text: format!("{text} in the child"),
                });
            }
        }
    }

    /// The first of the pages that must be as they were and is not.
    fn changed(
        &self,
        before: &SpaceSeen,
        must_stay: impl Fn(i64, PageSeen) -> bool,
        after: &SpaceSeen,
    ) -> Option<String> {
        let stays = !may_be_reclaimed(self.program);
        (0..i64::from(self.g.arena_pages())).find_map(|page| {
            let (was, held) = page_of(before, page).filter(|(was, _)| must_stay(page, *was))?;
            let private = was.kind == PageKind::Anon;
            let now = page_of(after, page);
            let is = match (now, now.and_then(|(_, holds)| holds)) {
                (None, _) if private && stays => "is empty".into(),
                _ if private && self.is_guard(after, page) => "is a guard".into(),
                (_, Some(holds)) if held.is_some_and(|held| held != holds) => {
                    format!("holds {holds:?}")
                }
                _ => return None,
            };
            let held = held.map_or_else(|| "something".into(), |held| format!("{held:?}"));
            Some(format!(
                "page {page}, which no op may change, held {held}, {is}"
            ))
        })
    }

    /// Whether no op of the section may change what a page holds. What ops say that take nothing away ([`keeps`]) does not matter to
    /// private pages, nor to those of files.
    fn is_left_alone(&self, actor: ActorId, page: i64, was: PageSeen) -> bool {
        let concerns = |step: &Step| match was.kind {
            // Somebody else's store to a file is everybody's.
            PageKind::File => self.names(&step.op, page) && !keeps_files(&step.op),
            _ => {
                whom(step) == actor
                    && self.names(&step.op, page)
                    && !(was.kind == PageKind::Anon && keeps(&step.op))
            }
        };
        !self.steps().any(|(_, step, _)| concerns(step))
    }

    /// A page of a file may be stored to at another address, too, where it is mapped there.
    fn compared(&self, was: PageSeen) -> bool {
        let stores = |step: &Step| matches!(step.op, Op::Write { .. });
        was.kind != PageKind::File
            || !self.steps().any(|(_, step, _)| stores(step))
            || !self.maps_twice()
    }

    /// Whether a page of a file may be mapped at two addresses.
    fn maps_twice(&self) -> bool {
        let steps = &self.program.steps;
        let of_file = |step: &&Step| {
            matches!(
                step.op,
                Op::Mmap {
                    backing: Backing::File(_),
                    ..
                }
            )
        };
        steps.iter().filter(of_file).count() > 1
            || steps
                .iter()
                .any(|step| matches!(step.op, Op::Mremap { .. }))
    }
}

/// Whether an op leaves private pages in its ranges where they are, with what they hold. It may bring pages.
fn keeps(op: &Op) -> bool {
    match op {
        Op::Read { .. }
        | Op::Look { .. }
        | Op::Signal { .. }
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

/// Whether it leaves the bytes of the files that its ranges map as they are, and maps nothing else there.
fn keeps_files(op: &Op) -> bool {
    match op {
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => *advice != Advice::Remove,
        _ => keeps(op),
    }
}
