//! smaps says which VMAs may hold guards.

use super::super::exclusive::splits;
use super::{each, whom, Broken, Piece};
use crate::judge::{Outcome, SpaceSeen, VmFlag};
use crate::program::{ActorId, Op};

impl Piece<'_> {
    pub(super) fn flags(&self, broken: &mut Vec<Broken>) {
        if self.shown.flag {
            self.looked(broken);
            self.flagged(broken);
        }
    }

    /// Whether the kernel may have lost flags of an actor's VMAs, now or in an earlier section, or those of one whom the actor comes
    /// from.
    fn may_be_lost(&self, actor: ActorId) -> bool {
        let so_far = &self.program.steps[..self.range.end];
        let parent = |child: &ActorId| {
            let made = |op: &Op| matches!(op, Op::Fork { child: made } if made == child);
            so_far.iter().find(|step| made(&step.op)).map(|s| s.actor)
        };
        let line: Vec<ActorId> = std::iter::successors(Some(actor), parent).collect();
        let threads = so_far.iter().filter(|step| step.lane.is_some());
        self.shown.may_lose_flag && { threads }
            .any(|step| line.contains(&whom(step)) && splits(&step.op))
    }

    /// A thread that looks meanwhile sees no guard without the flag.
    fn looked(&self, broken: &mut Vec<Broken>) {
        for (step, here, outcome) in self.steps() {
            if each(outcome).contains(&Outcome::Unflagged) && !self.may_be_lost(here.actor) {
                broken.push(Broken {
                    promise: "guard-is-flagged",
                    step,
                    text: "a thread saw a guard in a VMA without gu".into(),
                });
            }
        }
    }

    /// Where there is a guard in the end, whoever's, the VMA is marked.
    fn flagged(&self, broken: &mut Vec<Broken>) {
        let after = self.seen.last().map_or(&[][..], |seen| &seen.spaces);
        for (actor, space) in after.iter().filter(|(a, _)| !self.may_be_lost(*a)) {
            if let Some(page) = self.unflagged(space) {
                broken.push(Broken {
                    promise: "guard-is-flagged",
                    step: self.range.start,
                    text: format!("page {page} of actor {actor} is a guard in a VMA without gu"),
                });
            }
        }
    }

    /// The first guard in a VMA without the flag.
    fn unflagged(&self, space: &SpaceSeen) -> Option<u32> {
        space.vmas.iter().find_map(|vma| {
            let flags = vma.flags.as_ref()?;
            let mut pages = vma.start..vma.end;
            let guard = pages.find(|page| self.is_guard(space, (*page).into()))?;
            (!flags.contains(&VmFlag(*b"gu"))).then_some(guard)
        })
    }
}
