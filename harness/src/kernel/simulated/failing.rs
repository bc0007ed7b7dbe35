//! Deliberate faults of calls in which an allocation fails. Generated programs have none such, so they are not among
//! [`super::FAULTS`]: `cargo xtask failures` and a test of [`crate::failures`] find them.

use super::fault::{is_advice, madvise, Act, SimFault, ARENA};
use oracle::judge::Outcome;
use oracle::program::{Advice, Op, Step};
use oracle::space::{Branch, World};

const ENOMEM: i32 = 12;

/// Every fault.
pub static FAILING: &[SimFault] = &[
    SimFault {
        name: "markers-before-anon-vma",
        family: "failing",
        what: "guard install that gets no anon_vma has put its markers there already and returns ENOMEM",
        breaks: &["failing/guard-install"],
        act: Act::Failed(|world, step| {
            is_advice(step, Advice::GuardInstall)?;
            all_done(world, step)
        }),
    },
    SimFault {
        name: "install-zaps-first",
        family: "failing",
        what: "guard install that lacks memory has emptied its range",
        breaks: &["failing/guard-install"],
        act: Act::Failed(|world, step| {
            let range = is_advice(step, Advice::GuardInstall)?;
            instead(world, step, madvise(range, Advice::DontNeed))
        }),
    },
    SimFault {
        name: "remove-needs-memory",
        family: "failing",
        what: "guard remove returns ENOMEM when an allocation is to fail",
        breaks: &["failing/guard-remove"],
        act: Act::Failed(|world, step| {
            is_advice(step, Advice::GuardRemove)?;
            first_only(step)?;
            all_done(world, step)
        }),
    },
    SimFault {
        name: "mprotect-half-done",
        family: "failing",
        what: "mprotect that lacks memory has changed the protection all the same",
        breaks: &["failing/changes-of-vmas"],
        act: Act::Failed(|world, step| match step.op {
            Op::Mprotect { .. } => all_done(world, step),
            _ => None,
        }),
    },
    SimFault {
        name: "munmap-half-done",
        family: "failing",
        what: "munmap that lacks memory has discarded the pages",
        breaks: &["failing/munmap"],
        act: Act::Failed(|world, step| match step.op {
            Op::Munmap { range } => instead(world, step, madvise(range, Advice::DontNeed)),
            _ => None,
        }),
    },
    SimFault {
        name: "mmap-drops-guards",
        family: "failing",
        what: "MAP_FIXED that lacks memory leaves what it was to replace without its guards",
        breaks: &["failing/mmap"],
        act: Act::Failed(|world, step| match step.op {
            Op::Mmap { range, .. } => instead(world, step, madvise(range, Advice::GuardRemove)),
            _ => None,
        }),
    },
    SimFault {
        name: "mremap-loses-guards",
        family: "failing",
        what: "mremap that lacks memory drops every guard of the process",
        breaks: &["failing/mremap", "limits/out-of-memory"],
        act: Act::Failed(|world, step| match step.op {
            Op::Mremap { .. } => instead(world, step, madvise(ARENA, Advice::GuardRemove)),
            _ => None,
        }),
    },
    SimFault {
        name: "fork-loses-guards",
        family: "failing",
        what: "a fork that lacks memory drops the parent's guards",
        breaks: &["failing/fork"],
        act: Act::Failed(|world, step| match step.op {
            Op::Fork { .. } => instead(world, step, madvise(ARENA, Advice::GuardRemove)),
            _ => None,
        }),
    },
];

/// A step whose first allocation is to fail: a fault that strikes at each would never end a sweep.
fn first_only(step: &Step) -> Option<()> {
    (step.fail == Some(1)).then_some(())
}

/// Whether the model comes to the allocation that is to fail, or there is none that it knows of.
fn comes_to_it(world: &World, step: &Step) -> Option<()> {
    let known = world.allocations(step);
    (known == 0 || step.fail? <= known).then_some(())
}

/// All is done, and yet the call says ENOMEM.
fn all_done(world: &World, step: &Step) -> Option<Branch> {
    comes_to_it(world, step)?;
    instead(world, step, step.op)
}

/// Something else is done when the allocation fails, and the call says ENOMEM.
fn instead(world: &World, step: &Step, op: Op) -> Option<Branch> {
    comes_to_it(world, step)?;
    let mut branch = world.apply(&Step::new(step.actor, op)).into_iter().next()?;
    branch.outcome = Outcome::Errno(ENOMEM);
    Some(branch)
}
