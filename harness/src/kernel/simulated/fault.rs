//! What a deliberate fault of the simulated kernel looks like, and the pieces that several are made of.

use oracle::geometry::{Pos, Range, BLOCKS, REACH};
use oracle::judge::{Observation, Outcome};
use oracle::program::{Advice, Op, Step};
use oracle::space::{Branch, PageState, World};

/// A deliberate fault.
pub struct SimFault {
    pub name: &'static str,
    /// The rule family that it offends.
    pub family: &'static str,
    /// What the kernel does wrong.
    pub what: &'static str,
    /// The rules that it breaks: a bucket that names one of them names the right rule. What an op on a part of a VMA leaves out shows
    /// in a border that is not there first, so `merge/split` and its like are right where a fault skips such an op.
    pub breaks: &'static [&'static str],
    pub act: Act,
}

impl SimFault {
    /// `family/name`, as commands and tables have it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }
}

/// Where a fault strikes.
pub enum Act {
    /// Other steps are performed in place of one; `None`: this one is left alone.
    Instead(fn(&World, &Step) -> Option<Plan>),
    /// The step is performed, its outcome is reported wrongly. Gets the world before it.
    Outcome(fn(&World, &Step, &mut Outcome)),
    /// The step is performed, what it left behind is shown wrongly. Gets the worlds before and after it.
    View(fn(&World, &World, &Step, &mut Observation)),
    /// Something else is left by a step in which an allocation fails; `None`: this one is left alone. Gets the world before it.
    Failed(fn(&World, &Step) -> Option<Branch>),
}

/// What is performed in place of a step.
pub struct Plan {
    pub steps: Vec<Step>,
    pub answer: Answer,
}

/// What is reported as the step's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What the step itself would have returned.
    Honest,
    /// What the performed step of this index returned.
    Of(usize),
}

impl Plan {
    /// Nothing is performed, and nobody is told.
    pub fn skip() -> Option<Plan> {
        Some(Plan {
            steps: Vec::new(),
            answer: Answer::Honest,
        })
    }

    /// Something else is performed.
    pub fn instead(actor: u8, op: Op) -> Option<Plan> {
        Some(Plan {
            steps: vec![Step::new(actor, op)],
            answer: Answer::Honest,
        })
    }

    /// The step, and the same by every other living actor.
    pub fn by_everybody(world: &World, step: &Step) -> Option<Plan> {
        let others = world.living().into_iter().filter(|a| *a != step.actor);
        let others = others.map(|actor| Step::new(actor, step.op));
        Some(Plan {
            steps: std::iter::once(step.clone()).chain(others).collect(),
            answer: Answer::Of(0),
        })
    }

    /// The step, and more ops by the same actor.
    pub fn and(step: &Step, more: &[Op]) -> Option<Plan> {
        let more = more.iter().map(|op| Step::new(step.actor, *op));
        Some(Plan {
            steps: std::iter::once(step.clone()).chain(more).collect(),
            answer: Answer::Of(0),
        })
    }
}

/// The whole arena.
pub const ARENA: Range = Range::new(Pos::new(0, 0), Pos::new(BLOCKS, 0));

/// madvise.
pub const fn madvise(range: Range, advice: Advice) -> Op {
    Op::Madvise { range, advice }
}

/// The range, its end moved by `by` pages; `None` where that leaves nothing or reaches too far.
pub fn resized(range: Range, by: i16) -> Option<Range> {
    let page = range.end.page + by;
    let end = Pos { page, ..range.end };
    let sane = (-REACH..REACH).contains(&page)
        && range.start.is_page_aligned()
        && (end.block, end.page) > (range.start.block, range.start.page);
    sane.then_some(Range::new(range.start, end))
}

/// First page and page after the last that a range touches within the arena.
pub fn pages(world: &World, range: Range) -> (u32, u32) {
    let g = world.geometry();
    let clamp = |index: i64| index.clamp(0, i64::from(g.arena_pages())) as u32;
    let start = clamp(range.start.page_index(g));
    (start, clamp(range.end.page_index(g)).max(start))
}

/// Runs of pages within a range whose state satisfies `wanted`, as ranges. `None` when one has no position.
pub fn runs_of(
    world: &World,
    actor: u8,
    range: Range,
    wanted: fn(PageState) -> bool,
) -> Option<Vec<Range>> {
    let g = world.geometry();
    let (from, to) = pages(world, range);
    let mut runs = Vec::new();
    let mut open: Option<u32> = None;
    for page in from..=to {
        let is = page < to && wanted(world.page(actor, page));
        match (open, is) {
            (None, true) => open = Some(page),
            (Some(start), false) => {
                runs.push(Range::new(
                    Pos::from_page_index(i64::from(start), g)?,
                    Pos::from_page_index(i64::from(page), g)?,
                ));
                open = None;
            }
            _ => {}
        }
    }
    Some(runs)
}

/// Whether a step is this advice.
pub fn is_advice(step: &Step, wanted: Advice) -> Option<Range> {
    match step.op {
        Op::Madvise { range, advice } if advice == wanted => Some(range),
        _ => None,
    }
}
