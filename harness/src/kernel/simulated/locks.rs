//! Pieces of the faults of the mlock family and of mseal.

use super::fault::{runs_of, Plan};
use oracle::geometry::Range;
use oracle::judge::{Observation, VmFlag};
use oracle::program::{LockCall, Op, Step};
use oracle::space::{Locked, PageState, World};

/// The range of a step that is this call of the mlock family.
pub fn lock_call(step: &Step, wanted: LockCall) -> Option<Range> {
    match step.op {
        Op::Mlock { range, call } if call == wanted => Some(range),
        _ => None,
    }
}

/// mlockall without MCL_FUTURE, if it has it.
pub fn future_forgotten(_: &World, step: &Step) -> Option<Plan> {
    let Op::Mlockall { mut flags } = step.op else {
        return None;
    };
    if !std::mem::take(&mut flags.future) {
        return None;
    }
    Plan::instead(step.actor, Op::Mlockall { flags })
}

/// A child's VMAs show `lo` where its parent's are locked.
pub fn lock_inherited(before: &World, _: &World, step: &Step, seen: &mut Observation) {
    let Op::Fork { child } = step.op else {
        return;
    };
    for (_, space) in seen.spaces.iter_mut().filter(|(a, _)| *a == child) {
        for vma in &mut space.vmas {
            let parents = before.vma_at(step.actor, vma.start);
            let locked = parents.is_some_and(|v| v.locked != Locked::No);
            if let Some(flags) = vma.flags.as_mut().filter(|_| locked) {
                flags.push(VmFlag(*b"lo"));
                flags.sort_unstable();
            }
        }
    }
}

/// mseal of what comes before the first hole; the errno is the right one.
pub fn seals_up_to_hole(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mseal {
        range,
        unknown_flag: false,
    } = step.op
    else {
        return None;
    };
    let mapped = runs_of(world, step.actor, range, |s| s != PageState::Unmapped)?;
    let first = mapped.into_iter().next()?;
    Plan::instead(
        step.actor,
        Op::Mseal {
            range: first,
            unknown_flag: false,
        },
    )
}
