//! Loads and stores of mappings of files: what they find in the slot, and what they do then.

use super::{loaded, store_anon, New, Next, Purpose, State};
use crate::rules::errno::{BUS_ADRERR, EFAULT, SIGBUS};
use crate::rules::{file, hit, uffd, Ctx};
use crate::space::slots::Slot;
use crate::space::Content;

/// A load from a mapping of a file.
pub(super) fn load(state: &mut State, i: usize, start: u32, end: u32, slot: Option<Slot>) -> Next {
    match slot {
        None if file::read_fault(
            &mut state.ctx,
            i,
            start,
            end,
            state.purpose.may_fault_again(),
        ) =>
        {
            return Next::Again
        }
        None => return beyond_end(state.purpose),
        Some(Slot::Anon { content, .. }) => loaded(state, end - start, content),
        // From UFFDIO_ZEROPAGE.
        Some(Slot::Zero) => loaded(state, end - start, Content::ZERO),
        Some(_) => {
            // Every mapped page is in the cache.
            for run in file::cached(&state.ctx, i, start, end) {
                loaded(state, run.end - run.start, run.content);
            }
        }
    }
    Next::Done(end - start)
}

/// A store through a private mapping of a file.
pub(super) fn store_private(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    end: u32,
    slot: Option<Slot>,
    purpose: Purpose,
) -> Next {
    let new = purpose.content(start);
    if matches!(slot, Some(Slot::Anon { .. } | Slot::Zero)) {
        return store_anon(ctx, i, start, end, slot, new);
    }
    let to = file::copy(ctx, i, start, end, new);
    if to == start {
        return beyond_end(purpose);
    }
    Next::Done(to - start)
}

/// A store through a shared mapping of a file.
pub(super) fn store_shared(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    mut end: u32,
    slot: Option<Slot>,
    purpose: Purpose,
) -> Next {
    if slot.is_none() {
        end = file::within(ctx, i, start, end);
        if end == start {
            hit!(ctx, file::BEYOND_END);
            return beyond_end(purpose);
        }
        end = uffd::missing::present(ctx, i, start, end);
        if end == start {
            return beyond_end(purpose);
        }
        file::map(ctx, i, start, end);
    }
    let vma = &ctx.mm.vmas[i];
    let (first, last) = (vma.index(start), vma.index(end));
    let Some(id) = vma.object else {
        return Next::Done(end - start);
    };
    let object = ctx.world.object_mut(id);
    object.mark_dirty(first, last);
    match purpose.content(start) {
        New::Keep => {}
        new => {
            // A part of one page's contents, or like contents in all of them.
            let old = object.get(first).unwrap_or(Content::ZERO);
            object.store(first, last, new.over(0, old));
            hit!(ctx, file::STORE);
        }
    }
    Next::Done(end - start)
}

/// An access to a marker of write protection: the page comes as ever, but write-protected.
pub(super) fn through_marker(state: &mut State, i: usize, page: u32, write: bool) -> Next {
    let (ctx, purpose, end) = (&mut state.ctx, state.purpose, page + 1);
    if !ctx.mm.vmas[i].uffd.wp {
        hit!(ctx, uffd::protect::STALE);
        ctx.mm.slots.clear(page, end);
        return Next::Again;
    }
    hit!(ctx, uffd::protect::MARKER);
    if write && !ctx.mm.vmas[i].shared {
        if file::copy(ctx, i, page, end, New::Keep) == page {
            return beyond_end(purpose);
        }
    } else {
        if file::within(ctx, i, page, end) == page {
            hit!(ctx, file::BEYOND_END);
            return beyond_end(purpose);
        }
        if uffd::missing::present(ctx, i, page, end) == page {
            return beyond_end(purpose);
        }
        file::map(ctx, i, page, end);
        let vma = &ctx.mm.vmas[i];
        let index = vma.index(page);
        if let Some(id) = vma.object.filter(|_| write) {
            ctx.world.object_mut(id).mark_dirty(index, index + 1);
        }
    }
    if write {
        ctx.mm.set_soft_dirty(page, end);
    }
    ctx.mm.slots.set_uffd_wp(page, end);
    Next::Again
}

/// The page lies behind the end of its file, or is to come from userfaultfd.
pub(super) fn beyond_end(purpose: Purpose) -> Next {
    match purpose {
        Purpose::Kernel(_) => return Next::Stop,
        _ if purpose.is_populate() => return Next::Errno(EFAULT),
        _ => {}
    }
    Next::Fault(SIGBUS, BUS_ADRERR)
}
