//! What an address space looks like in any world.

use crate::judge::{PageKind, SpaceSeen};
use crate::program::ActorId;
use crate::space::{PageState, World};

/// The address spaces that a step has changed are well formed.
pub fn well_formed(before: &World, after: &World) -> Result<(), String> {
    let mut changed = after.living().into_iter();
    changed.try_for_each(|actor| match after.has_same_space(before, actor) {
        true => Ok(()),
        false => space(after, actor),
    })
}

/// VMAs and page runs are in order, do not overlap, lie in the arena and in each other; guards are where they are said to be;
/// huge pages fill their blocks.
fn space(world: &World, actor: ActorId) -> Result<(), String> {
    let seen = world.seen_without_sizes(actor);
    let pages = world.geometry().arena_pages();
    let about = |what: &str| Err(format!("actor {actor}: {what}"));
    let mut at = 0;
    for vma in &seen.vmas {
        if vma.start < at || vma.start >= vma.end || vma.end > pages {
            return about("VMAs are not empty, in order, and in the arena");
        }
        at = vma.end;
    }
    let mut at = 0;
    for run in &seen.pages {
        if run.start < at || run.len == 0 {
            return about("page runs are not empty and in order");
        }
        at = run.start + run.len;
        if !is_mapped(&seen, run.start, at) {
            return about("page-table entries lie in VMAs");
        }
        if run.page.kind == PageKind::Guard && run.page.huge == Some(true) {
            return about("a guard is never part of a huge page");
        }
    }
    for (start, len) in world.guards(actor) {
        let all = (start..start + len).all(|p| world.page(actor, p) == PageState::Guard);
        if len == 0 || !all {
            return about("guards are where the list of guards says");
        }
    }
    let per = world.geometry().pages_per_pmd;
    for block in world.huge_blocks(actor) {
        let start = u32::from(block) * per;
        let whole = world
            .vma_at(actor, start)
            .is_some_and(|v| v.start <= start && start + per <= v.end);
        let last = world.page(actor, start + per - 1);
        let filled = !matches!(
            last,
            PageState::Unmapped | PageState::Empty | PageState::Guard
        );
        if !whole || !filled {
            return about("a huge page fills its block and lies in one VMA");
        }
    }
    Ok(())
}

/// Whether VMAs cover `start..end` without a hole.
fn is_mapped(seen: &SpaceSeen, start: u32, end: u32) -> bool {
    let mut at = start;
    for vma in &seen.vmas {
        if vma.start <= at && at < vma.end {
            at = vma.end;
        }
    }
    at >= end
}
