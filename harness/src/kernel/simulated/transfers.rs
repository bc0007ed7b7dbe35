//! Faults of calls that have the kernel read and write memory.

use super::fault::{Answer, Plan};
use oracle::geometry::Range;
use oracle::judge::{Moved, Outcome};
use oracle::program::{Advice, Op, Step, Transfer, Vectors};
use oracle::space::{PageState, World};

/// A way and its ranges, if the step is one of these.
fn moves(step: &Step, ways: &[Transfer]) -> Option<(Transfer, Vectors)> {
    match step.op {
        Op::Transfer { way, vectors, .. } if ways.contains(&way) => Some((way, vectors)),
        _ => None,
    }
}

/// A call goes on behind a guard, which is gone.
pub fn removes_guards(_: &World, step: &Step) -> Option<Plan> {
    let (_, vectors) = moves(step, &Transfer::ALL)?;
    let whose = step.op.other().unwrap_or(step.actor);
    let remove = |range: Range| {
        let range = Range::new(
            oracle::geometry::Pos {
                byte: 0,
                ..range.start
            },
            range.end,
        );
        let advice = Advice::GuardRemove;
        Step::new(whose, Op::Madvise { range, advice })
    };
    let mut steps: Vec<Step> = vectors.iter().map(remove).collect();
    let answer = Answer::Of(steps.len());
    steps.push(step.clone());
    Some(Plan { steps, answer })
}

/// A pipe counts what it was given to the byte.
pub fn pipe_counts_bytes(_: &World, step: &Step) -> Option<Plan> {
    let (_, vectors) = moves(step, &[Transfer::PipeWrite])?;
    let way = Transfer::MemfdWrite;
    Some(Plan {
        steps: vec![Step::new(
            step.actor,
            Op::Transfer {
                way,
                vectors,
                whose: None,
                tag: 0,
            },
        )],
        answer: Answer::Of(0),
    })
}

/// Reading pins nothing, so that shared pages stay shared.
pub fn pins_shared(_: &World, step: &Step) -> Option<Plan> {
    let (_, vectors) = moves(step, &[Transfer::VmRead])?;
    let whose = step.op.other();
    let one = |range: Range| {
        let op = Op::Transfer {
            way: Transfer::MemRead,
            vectors: range.into(),
            whose,
            tag: 0,
        };
        Step::new(step.actor, op)
    };
    Some(Plan {
        steps: vectors.iter().map(one).collect(),
        answer: Answer::Honest,
    })
}

/// What was moved before a fault is forgotten.
pub fn part_is_nothing(_: &World, _: &Step, outcome: &mut Outcome) {
    if matches!(outcome, Outcome::Moved(Moved { all: false, .. })) {
        *outcome = Outcome::Errno(14);
    }
}

/// process_madvise forgets all ranges but the first.
pub fn first_range_only(_: &World, step: &Step) -> Option<Plan> {
    let mut op = step.op;
    let Op::ProcessMadvise { vectors, .. } = &mut op else {
        return None;
    };
    let several = vectors.more[0].is_some();
    *vectors = vectors.first.into();
    several.then(|| Plan::instead(step.actor, op)).flatten()
}

/// process_madvise does what is asked of it to the caller, whoever is meant.
pub fn always_oneself(_: &World, step: &Step) -> Option<Plan> {
    let mut op = step.op;
    let Op::ProcessMadvise { whose, .. } = &mut op else {
        return None;
    };
    whose.take()?;
    Some(Plan {
        steps: vec![Step::new(step.actor, op)],
        answer: Answer::Of(0),
    })
}

/// Stores of the kernel go to a page that another process maps as well.
pub fn copies_nothing(world: &World, step: &Step) -> Option<Plan> {
    let (way, vectors) = moves(step, &Transfer::ALL)?;
    if !way.stores() || step.op.other().is_some() {
        return None;
    }
    let g = world.geometry();
    let page = u32::try_from(vectors.first.start.page_index(g)).ok()?;
    let shared = |page: u32| {
        matches!(
            world.page(step.actor, page),
            PageState::Anon { shared: true, .. }
        )
    };
    if !shared(page) && !shared(page + 1) {
        return None;
    }
    Plan::by_everybody(world, step)
}
