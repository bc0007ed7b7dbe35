//! smaps says which VMAs may hold guards.

use super::super::exclusive::splits;
use super::{each, Broken, Piece};
use crate::judge::{Outcome, VmFlag};

impl Piece<'_> {
    pub(super) fn flags(&self, broken: &mut Vec<Broken>) {
        let lost = self.shown.may_lose_flag && self.steps().any(|(_, step, _)| splits(&step.op));
        if self.shown.flag && !lost {
            self.looked(broken);
            self.flagged(broken);
        }
    }

    /// A thread that looks meanwhile sees no guard without the flag.
    fn looked(&self, broken: &mut Vec<Broken>) {
        for (step, _, outcome) in self.steps() {
            if each(outcome).contains(&Outcome::Unflagged) {
                broken.push(Broken {
                    promise: "guard-is-flagged",
                    step,
                    text: "a thread saw a guard in a VMA without gu".into(),
                });
            }
        }
    }

    /// Where there is a guard in the end, the VMA is marked.
    fn flagged(&self, broken: &mut Vec<Broken>) {
        let Some((_, step, _)) = self.steps().next() else {
            return;
        };
        let Some(after) = self.after(step.actor) else {
            return;
        };
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
}
