//! Allocations that fail: `fail N` behind an op.

use super::{Advice, AdviceReach, Op, Step};

/// The last allocation of a call that may be made to fail.
pub const MAX_FAIL: u16 = 999;

/// Whether the rules say what the op leaves when an allocation within it fails.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(step: &Step) -> Result<(), String> {
    let Some(nth) = step.fail else {
        return Ok(());
    };
    if !(1..=MAX_FAIL).contains(&nth) {
        return Err(format!(
            "the number of an allocation is 1 to {MAX_FAIL}, not {nth}"
        ));
    }
    if step.lane.is_some() {
        return Err("what fails beside other threads is not modelled: leave `fail` out".into());
    }
    let known = match step.op {
        // What could not be faulted in for want of memory is left out without a word.
        Op::Mmap { flags, .. } => !flags.populate && !flags.locked,
        Op::Madvise { advice, .. } => {
            matches!(advice, Advice::GuardInstall | Advice::GuardRemove)
                || advice.reach() == AdviceReach::Vmas
        }
        Op::Munmap { .. }
        | Op::Mprotect { .. }
        | Op::Mremap { .. }
        | Op::Mlock { .. }
        | Op::Fork { .. } => true,
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(format!(
        "it is not modelled what {} leaves when an allocation in it fails; known are guard-install, guard-remove, advice that sets \
         flags of mappings, mmap (without populate and locked), munmap, mprotect, mremap, mlock and its kin, and fork",
        step.op.name()
    ))
}
