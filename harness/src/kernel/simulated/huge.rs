//! What a simulated kernel does wrong with huge pages that are cut in two.

use super::fault::{is_advice, madvise, pages, Plan};
use oracle::geometry::{Pos, Range};
use oracle::program::{Advice, Op, Step};
use oracle::space::{PageState, World};

/// The blocks that hold a huge page of private memory and of which a range reaches into a part.
fn cut(world: &World, actor: u8, range: Range) -> Vec<Range> {
    let (from, to) = pages(world, range);
    let block_pages = world.geometry().pages_per_pmd;
    let private = |page| !matches!(world.page(actor, page), PageState::File { .. });
    let blocks = world.huge_blocks(actor).into_iter().filter(|&block| {
        let start = u32::from(block) * block_pages;
        let end = start + block_pages;
        let met = from < end && start < to;
        met && !(from <= start && end <= to) && private(start)
    });
    blocks
        .map(|block| Range::new(Pos::new(block, 0), Pos::new(block + 1, 0)))
        .collect()
}

/// The step, and the huge pages are gone of which `range` is a part.
fn and_all_of_it(world: &World, step: &Step, range: Range) -> Option<Plan> {
    let blocks = cut(world, step.actor, range);
    if blocks.is_empty() || !range.start.is_page_aligned() {
        return None;
    }
    let more: Vec<Op> = blocks
        .into_iter()
        .map(|block| madvise(block, Advice::DontNeed))
        .collect();
    Plan::and(step, &more)
}

/// Of a huge page, DONTNEED takes all or nothing.
pub fn zap_takes_all(world: &World, step: &Step) -> Option<Plan> {
    and_all_of_it(world, step, is_advice(step, Advice::DontNeed)?)
}

/// A border inside a huge page leaves nothing of it.
pub fn border_unmaps(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mprotect { range, prot } = step.op else {
        return None;
    };
    let (from, to) = pages(world, range);
    let vma = world.vma_at(step.actor, from)?;
    let splits = to <= vma.end && vma.prot != prot && !vma.sealed;
    splits.then(|| and_all_of_it(world, step, range)).flatten()
}
