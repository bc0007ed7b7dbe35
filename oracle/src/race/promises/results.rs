//! What guard install returns.

use super::{each, Broken, Piece};
use crate::judge::Outcome;
use crate::program::Advice;
use crate::rules::errno::{EINVAL, ENOMEM, EPERM};

impl Piece<'_> {
    /// It returns 0, EINVAL, EPERM or ENOMEM, and EAGAIN never.
    pub(super) fn results(&self, broken: &mut Vec<Broken>) {
        let installs = self
            .steps()
            .filter(|(_, step, _)| step.op.advice() == Some(Advice::GuardInstall));
        for (step, _, outcome) in installs {
            for outcome in each(outcome) {
                let fine = match outcome {
                    Outcome::Errno(EINVAL | EPERM | ENOMEM) | Outcome::Ok | Outcome::Moved(_) => {
                        true
                    }
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
    }
}
