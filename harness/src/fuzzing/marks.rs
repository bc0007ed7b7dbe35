//! What was observed, as numbers: a fuzzer that hears of them keeps programs in which a kernel did something new, though our own
//! code took no new way. An observation is a rule that was reached, how a page or a VMA looked before and after an op, what
//! an op returned, or what the verdict says.

use super::number;
use crate::campaign::{Judged, ProgramVerdict};
use crate::kernel::Execution;
use oracle::judge::{Observation, Outcome, PageKind, PageSeen, SpaceSeen};
use oracle::program::Program;

/// Marks everything that an execution and its verdict show.
pub fn of(program: &Program, execution: &Execution, judged: &Judged, mark: &mut dyn FnMut(u64)) {
    for rule in judged.rules.iter() {
        mark(number(("rule", rule.0)));
    }
    seen(program, execution, mark);
    match &judged.verdict {
        ProgramVerdict::Suspect(story) => mark(number(("verdict", &story.bucket))),
        ProgramVerdict::Poisoned => mark(number("poisoned")),
        ProgramVerdict::Fine if judged.tally.allowed > 0 => mark(number("allowed")),
        ProgramVerdict::Fine | ProgramVerdict::Infra(_) => {}
    }
}

/// Marks what each of two kernels did with a program, and after which ops they show something else, each way apart.
pub fn pair(program: &Program, both: [&Execution; 2], mark: &mut dyn FnMut(u64)) {
    for (which, execution) in both.into_iter().enumerate() {
        seen(program, execution, &mut |what| mark(number((which, what))));
    }
    let [a, b] = both;
    let steps = program.steps.iter().zip(a.seen.iter().zip(&b.seen));
    for (step, (a, b)) in steps.filter(|(_, (a, b))| a != b) {
        let outcomes = (outcome(&a.outcome), outcome(&b.outcome));
        mark(number(("differs", step.op.name(), outcomes)));
    }
}

/// Marks what a kernel showed after each op.
fn seen(program: &Program, execution: &Execution, mark: &mut dyn FnMut(u64)) {
    let nothing = Observation {
        outcome: Outcome::Ok,
        spaces: Vec::new(),
        events: Vec::new(),
        failing: None,
    };
    let before = std::iter::once(&nothing).chain(&execution.seen);
    for (step, (before, after)) in program.steps.iter().zip(before.zip(&execution.seen)) {
        let op = step.op.name();
        mark(number(("outcome", op, outcome(&after.outcome))));
        for (actor, space) in &after.spaces {
            let own = *actor == step.actor;
            let earlier = before.spaces.iter().find(|(a, _)| a == actor);
            pages(earlier.map(|(_, s)| s), space, &mut |from, to| {
                mark(number(("page", op, own, from, to)));
            });
            for vma in &space.vmas {
                let look = (vma.prot, vma.shared, vma.file_page.is_some(), &vma.flags);
                mark(number(("vma", op, own, look)));
            }
        }
    }
}

/// The kind of outcome: which errno, which signal, how much of what was asked for.
fn outcome(outcome: &Outcome) -> (u8, i32, i32) {
    match outcome {
        Outcome::Ok => (0, 0, 0),
        Outcome::Elsewhere => (1, 0, 0),
        Outcome::Unflagged => (8, 0, 0),
        Outcome::Errno(errno) => (2, *errno, 0),
        Outcome::Moved(moved) => (3, moved.all.into(), (moved.bytes == 0).into()),
        Outcome::Access(access) => match access.fault {
            None => (4, 0, 0),
            Some(fault) => (5, fault.signo, fault.code),
        },
        Outcome::Each(each) => (6, each.len() as i32, 0),
        Outcome::Together(steps) => (7, steps.len() as i32, 0),
    }
}

/// How a page looks, what it holds apart.
type Look = Option<(PageKind, Option<bool>, bool, bool, bool, bool)>;

/// Calls `change` with every look that a page had before and has now, where they differ.
fn pages(before: Option<&SpaceSeen>, after: &SpaceSeen, change: &mut dyn FnMut(Look, Look)) {
    let mut cuts: Vec<u32> = Vec::new();
    for space in before.into_iter().chain([after]) {
        cuts.extend(
            space
                .pages
                .iter()
                .flat_map(|run| [run.start, run.start + run.len]),
        );
        cuts.extend(
            space
                .resident
                .iter()
                .flatten()
                .flat_map(|run| [run.0, run.0 + run.1]),
        );
    }
    cuts.sort_unstable();
    cuts.dedup();
    for at in cuts {
        let (from, to) = (before.and_then(|space| look(space, at)), look(after, at));
        if from != to {
            change(from, to);
        }
    }
}

fn look(space: &SpaceSeen, at: u32) -> Look {
    let run = space
        .pages
        .iter()
        .find(|run| (run.start..run.start + run.len).contains(&at));
    let mut resident = space.resident.iter().flatten();
    let resident = resident.any(|run| (run.0..run.0 + run.1).contains(&at));
    run.map(|run| {
        let PageSeen {
            kind,
            huge,
            exclusive,
            soft_dirty,
            uffd_wp,
            ..
        } = run.page;
        (kind, huge, exclusive, soft_dirty, uffd_wp, resident)
    })
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::simulated::{simulated, Choice};
    use std::collections::BTreeSet;

    fn marks(text: &str) -> BTreeSet<u64> {
        let mut marks = BTreeSet::new();
        simulated(text.as_bytes(), Choice::ByProgram, &mut |mark| {
            marks.insert(mark);
        })
        .unwrap();
        marks
    }

    #[test]
    fn what_differs_is_marked_and_what_does_not_is_not() {
        let start = "mmap 0+0..0+4 rw private fixed\n";
        let read = marks(&format!("{start}read 0+0..0+1\n"));
        let write = marks(&format!("{start}write 0+0..0+1 tag 1\n"));
        let elsewhere = marks(&format!("{start}read 0+2..0+3\n"));
        assert!(!read.is_empty() && read != write, "another op, other pages");
        assert_eq!(read, elsewhere, "the same, two pages further");
        let refused = marks(&format!("{start}read 0+6..0+7\n"));
        assert!(refused.difference(&read).count() > 0, "a signal is new");
    }
}
