//! What a userfaultfd tells whoever reads it, if it was made with UFFD_FEATURE_EVENT_FORK, _REMAP, _REMOVE and _UNMAP: each call
//! waits until it was read. What stays registered then is in `lost`.

use crate::judge::{Class, Event};
use crate::rules::registry::Rule;
use crate::rules::{hit, Ctx};
use crate::space::{Uffd, Vma};

pub const FORK: Rule = Rule {
    name: "uffd/events/fork",
    text: "fork tells UFFD_EVENT_FORK, once, if a VMA that the child gets is registered.",
    source: "dup_userfaultfd, dup_fctx; ioctl_userfaultfd(2), UFFD_FEATURE_EVENT_FORK",
    since: "4.11",
    about: &[Class::Event],
};

pub const REMAP: Rule = Rule {
    name: "uffd/events/remap",
    text: "mremap that moves registered memory tells UFFD_EVENT_REMAP with the old place, the new one, and the length that was moved; \
           of shared memory that it duplicates, a length of nothing. What grows in place tells nothing.",
    source: "mremap_userfaultfd_prep, mm/mremap.c notify_uffd; ioctl_userfaultfd(2), UFFD_FEATURE_EVENT_REMAP",
    since: "4.11",
    about: &[Class::Event],
};

pub const REMAP_OLD_LENGTH: Rule = Rule {
    name: "uffd/events/remap-tells-old-length",
    text: "Where mremap moves and shrinks, older kernels tell the whole old length, though less has moved.",
    source: "mm/mremap.c of 6.1: mremap_userfaultfd_complete gets old_len as the caller gave it",
    since: "before 6.15; see the row uffd_remap_tells_old_length",
    about: &[Class::Event],
};

pub const REMOVE: Rule = Rule {
    name: "uffd/events/remove",
    text: "DONTNEED, DONTNEED_LOCKED, FREE and REMOVE tell UFFD_EVENT_REMOVE with their part of each registered VMA, before they \
           discard it and, of FREE and REMOVE, even if they then refuse to. GUARD_INSTALL discards as well and tells nothing, nor do \
           holes that are punched, and truncation.",
    source: "mm/madvise.c madvise_dontneed_free, madvise_remove: userfaultfd_remove",
    since: "4.11",
    about: &[Class::Event],
};

pub const UNMAP: Rule = Rule {
    name: "uffd/events/unmap",
    text: "munmap, MAP_FIXED, brk and mremap tell UFFD_EVENT_UNMAP with the whole range that they unmap, once, if a VMA in it is \
           registered: mremap of its target, then that memory has moved, then of what it cuts off and of the old place.",
    source: "userfaultfd_unmap_prep, userfaultfd_unmap_complete; mm/mremap.c notify_uffd",
    since: "4.11",
    about: &[Class::Event],
};

pub const UNMAP_REFUSED: Rule = Rule {
    name: "uffd/events/unmap-of-what-stays",
    text: "Where unmapping is refused for a sealed VMA behind a registered one, UFFD_EVENT_UNMAP is told all the same, with the whole \
           range, though nothing of it was unmapped.",
    source: "mm/vma.c vms_gather_munmap_vmas: userfaultfd_unmap_prep before the next VMA's seal is looked at, and \
             userfaultfd_unmap_complete whatever came of it; a finding, docs/findings.md",
    since: "6.12; see the row uffd_tells_refused_unmap",
    about: &[Class::Event],
};

fn is_told(ctx: &Ctx, vma: &Vma) -> bool {
    ctx.world.knobs.uffd_events && vma.uffd != Uffd::default()
}

fn tell(ctx: &mut Ctx, event: Event) {
    let actor = ctx.actor;
    ctx.world.events.push((actor, event));
}

/// A child got these VMAs.
pub(crate) fn forked(ctx: &mut Ctx, vmas: &[Vma]) {
    if vmas.iter().any(|vma| is_told(ctx, vma)) {
        hit!(ctx, FORK);
        tell(ctx, Event::Fork);
    }
}

/// An advice is about to discard a part of VMA `i`.
pub(crate) fn removes(ctx: &mut Ctx, i: usize, start: u32, end: u32) {
    let vma = &ctx.mm.vmas[i];
    // Of huge TLB memory it takes whole huge pages only.
    let end = match vma.hugetlb {
        true => end - end % ctx.geometry().pages_per_pmd,
        false => end,
    };
    if start < end && is_told(ctx, &ctx.mm.vmas[i]) {
        hit!(ctx, REMOVE);
        let pages = end - start;
        tell(ctx, Event::Remove { at: start, pages });
    }
}

/// `[start, end)` is being unmapped, up to the page `sealed`, where that is refused.
pub(crate) fn unmaps(ctx: &mut Ctx, (start, end): (u32, u32), sealed: Option<u32>) {
    if sealed.is_some() && !ctx.world.profile.uffd_tells_refused_unmap {
        return;
    }
    let reached = sealed.unwrap_or(end);
    let in_it = |vma: &&Vma| vma.start < reached && start < vma.end;
    let mut vmas = ctx.mm.vmas.iter().filter(in_it);
    if vmas.any(|vma| is_told(ctx, vma)) {
        hit!(ctx, UNMAP);
        if sealed.is_some() {
            hit!(ctx, UNMAP_REFUSED);
        }
        let (at, pages) = (Some(start), end - start);
        tell(ctx, Event::Unmap { at, pages });
    }
}

/// `pages` pages of the VMA that holds `from` are moving; `to`: `None` out of the arena.
pub(crate) fn moves(ctx: &mut Ctx, from: u32, to: Option<u32>, pages: u32) {
    let vma = ctx.mm.vma_index(from).map(|i| &ctx.mm.vmas[i]);
    if vma.is_some_and(|vma| is_told(ctx, vma)) {
        hit!(ctx, REMAP);
        tell(ctx, Event::Remap { from, to, pages });
    }
}

/// What has moved out of the arena, if anything was told of it, the guest unmaps.
pub(crate) fn leaves(ctx: &mut Ctx, pages: u32) {
    let out = |(_, event): &(u8, Event)| matches!(event, Event::Remap { to: None, .. });
    if ctx.world.events.iter().any(out) {
        hit!(ctx, UNMAP);
        tell(ctx, Event::Unmap { at: None, pages });
    }
}

/// mremap has moved memory and cut off what is behind the new length, of `old` pages in all. It tells of the move first, and of what
/// it cuts off then: of all that came behind the first `early` events.
pub(crate) fn move_first(ctx: &mut Ctx, early: usize, old: u32) {
    let tells_old = ctx.world.profile.uffd_remap_tells_old_length;
    let events = ctx.world.events.get_mut(early..).unwrap_or_default();
    let is_move = |(_, event): &(u8, Event)| matches!(event, Event::Remap { .. });
    let Some(at) = events.iter().position(is_move) else {
        return;
    };
    events[..=at].rotate_right(1);
    if let (_, Event::Remap { pages, .. }) = &mut events[0] {
        if *pages < old && tells_old {
            *pages = old;
            hit!(ctx, REMAP_OLD_LENGTH);
        }
    }
}
