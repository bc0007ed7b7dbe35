//! What a simulated kernel does wrong with mremap.

use super::fault::{madvise, pages, resized, Answer, Plan};
use oracle::geometry::{Pos, Range};
use oracle::program::{Advice, LockCall, Op, Remap, Step};
use oracle::space::{Locked, PageState, World};

/// Guards are gone at the new place.
pub fn loses_guards(_: &World, step: &Step) -> Option<Plan> {
    match step.op {
        Op::Mremap { to, how, .. } if how.has_target() => {
            Plan::and(step, &[madvise(to, Advice::GuardRemove)])
        }
        _ => None,
    }
}

/// One page is left of what should be cut off.
pub fn shrinks_too_little(_: &World, step: &Step) -> Option<Plan> {
    match step.op {
        Op::Mremap { range, to, how } if !how.has_target() && shorter(to, range) => {
            let to = resized(to, 1)?;
            Plan::instead(step.actor, Op::Mremap { range, to, how })
        }
        _ => None,
    }
}

/// The old place is unmapped all the same.
pub fn unmaps_source(_: &World, step: &Step) -> Option<Plan> {
    match step.op {
        Op::Mremap {
            range,
            to,
            how: Remap::FixedDontUnmap,
        } => {
            let how = Remap::Fixed;
            Plan::instead(step.actor, Op::Mremap { range, to, how })
        }
        _ => None,
    }
}

/// Whether a range is shorter than another that starts where it does.
fn shorter(range: Range, than: Range) -> bool {
    range.start == than.start && (range.end.block, range.end.page) < (than.end.block, than.end.page)
}

/// What has no room to grow goes elsewhere though it may not.
pub fn grows_anyway(_: &World, step: &Step) -> Option<Plan> {
    let Op::Mremap { range, to, how } = step.op else {
        return None;
    };
    if how != Remap::Stay {
        return None;
    }
    let how = Remap::MayMove;
    Some(Plan {
        steps: vec![Step::new(step.actor, Op::Mremap { range, to, how })],
        answer: Answer::Of(0),
    })
}

/// The source is written to again, as if the first page were still there.
pub fn dontunmap_copies(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mremap { range, how, .. } = step.op else {
        return None;
    };
    let (from, _) = pages(world, range);
    let there = matches!(world.page(step.actor, from), PageState::Anon { .. });
    if !how.keeps_source() || !there {
        return None;
    }
    let page = Range::new(
        range.start,
        resized(Range::new(range.start, range.start), 1)?.end,
    );
    Plan::and(
        step,
        &[Op::Write {
            range: page,
            tag: 1,
        }],
    )
}

/// Only the first VMA of several goes.
pub fn moves_one_only(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mremap { range, to, how } = step.op else {
        return None;
    };
    let (from, end) = pages(world, range);
    let vma = world.vma_at(step.actor, from)?;
    if !how.is_fixed() || vma.end >= end {
        return None;
    }
    let g = world.geometry();
    let len = i64::from(vma.end - from);
    let first = |range: Range| -> Option<Range> {
        let end = Pos::from_page_index(range.start.page_index(g) + len, g)?;
        Some(Range::new(range.start, end))
    };
    let (range, to) = (first(range)?, first(to)?);
    Plan::instead(step.actor, Op::Mremap { range, to, how })
}

/// Nothing happens where something is mapped.
pub fn target_stays(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mremap { to, how, .. } = step.op else {
        return None;
    };
    let (from, end) = pages(world, to);
    let used = world
        .vmas(step.actor)
        .iter()
        .any(|v| v.start < end && from < v.end);
    (how.is_fixed() && used).then(Plan::skip).flatten()
}

/// What has come to a new place, and what was added, is unlocked again.
pub fn locks_are_lost(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mremap { range, to, .. } = step.op else {
        return None;
    };
    let g = world.geometry();
    let (from, end) = pages(world, range);
    let (start, new_end) = pages(world, to);
    let locked = world.vma_at(step.actor, from)?.locked != Locked::No;
    let kept = if start == from { end - from } else { 0 };
    let lost = start + kept;
    if !locked || lost >= new_end {
        return None;
    }
    let at = |page: u32| Pos::from_page_index(page.into(), g);
    let range = Range::new(at(lost)?, at(new_end)?);
    let call = LockCall::Unlock;
    Plan::and(step, &[Op::Mlock { range, call }])
}
