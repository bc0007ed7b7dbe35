//! Splitting and merging VMAs. It is visible in /proc/PID/maps, and decides what later calls see as one VMA.

use super::registry::Rule;
use super::{hit, thp, Ctx};
use crate::judge::Class;
use crate::space::mm::block_of;
use crate::space::{AnonVma, Vma};

pub const SPLIT: Rule = Rule {
    name: "merge/split",
    text: "A VMA that an operation covers in part is split at the operation's border; both parts keep flags, offset and \
           anon_vma.",
    source: "mm/vma.c __split_vma",
    since: "all",
    about: &[Class::Vma],
};

pub const NEW_LEFT: Rule = Rule {
    name: "merge/new/left",
    text: "A new mapping joins the VMA before it when flags, file and offset fit and that VMA does not stem from a fork with \
           an anon_vma. If both neighbours fit but have different anon_vmas, the left one gets it (before 6.12 the right).",
    source: "mm/vma.c vma_merge_new_range; before: mm/mmap.c mmap_region",
    since: "all",
    about: &[Class::Vma],
};

pub const NEW_RIGHT: Rule = Rule {
    name: "merge/new/right",
    text: "A new mapping joins the VMA after it when flags, file and offset fit and that VMA does not stem from a fork with \
           an anon_vma.",
    source: "mm/vma.c vma_merge_new_range",
    since: "all",
    about: &[Class::Vma],
};

pub const NEW_BOTH: Rule = Rule {
    name: "merge/new/both",
    text: "A new mapping between two VMAs that both fit joins them into one, unless they have different anon_vmas.",
    source: "mm/vma.c can_vma_merge_right, vma_expand",
    since: "all",
    about: &[Class::Vma],
};

pub const EXISTING: Rule = Rule {
    name: "merge/changed",
    text: "A part of a VMA whose flags change joins the neighbours that it is now like: both, else the left, else the right. \
           Only neighbours that touch the changed part are looked at.",
    source: "mm/vma.c vma_merge_existing_range",
    since: "all",
    about: &[Class::Vma],
};

pub const STICKY: Rule = Rule {
    name: "merge/sticky-flags",
    text: "VM_MAYBE_GUARD does not keep VMAs from merging, and the merged VMA has it if a part had it.",
    source: "6.19, mm: implement sticky VMA flags",
    since: "6.19, late 6.18.y",
    about: &[Class::VmFlags, Class::Vma],
};

pub const ANON_VMA_BLOCKS: Rule = Rule {
    name: "merge/anon-vma-blocks",
    text: "VMAs merge only if their anon_vmas allow it: both have none, or the same one, or one has none and the other's did not \
           go through a fork. Before 6.16 a changed part with an anon_vma did not join a neighbour without one.",
    source: "mm/vma.c is_mergeable_anon_vma; 6.16, mm/vma: fix incorrectly disallowed anonymous VMA merges",
    since: "all",
    about: &[Class::Vma],
};

/// Splits the VMA that `page` lies inside of, if it does not start there.
pub(crate) fn split(ctx: &mut Ctx, page: u32) {
    let Some(i) = ctx.mm.vma_index(page) else {
        return;
    };
    if ctx.mm.vmas[i].start == page {
        return;
    }
    hit!(ctx, SPLIT);
    let lower = &mut ctx.mm.vmas[i];
    let mut upper = lower.clone();
    upper.pgoff += page - lower.start;
    upper.start = page;
    lower.end = page;
    ctx.mm.vmas.insert(i + 1, upper);
    split_huge_at(ctx, page);
}

/// A huge page cannot straddle the border between two VMAs.
fn split_huge_at(ctx: &mut Ctx, page: u32) {
    let g = ctx.geometry();
    if !page.is_multiple_of(g.pages_per_pmd) && page < g.arena_pages() {
        thp::vma_split(ctx, block_of(page, g));
    }
}

/// Whether two VMAs are alike in everything but place, anon_vma and sticky flags.
fn alike(a: &Vma, b: &Vma) -> bool {
    a.prot == b.prot
        && a.shared == b.shared
        && a.account == b.account
        && a.noreserve == b.noreserve
        && a.advice == b.advice
        && a.hints == b.hints
        && a.locked == b.locked
        && a.sealed == b.sealed
        && a.may_write == b.may_write
        && a.same_file(b)
}

/// Whether VMA `a` ends where `b` starts, in memory and in the file.
fn adjoins(a: &Vma, b: &Vma) -> bool {
    a.end == b.start && a.pgoff + (a.end - a.start) == b.pgoff
}

/// Whether memory with `middle`'s anon_vma may join a neighbour.
fn anon_vmas_fit(ctx: &Ctx, neighbour: Option<AnonVma>, middle: Option<AnonVma>) -> bool {
    match (neighbour, middle) {
        (None, None) => true,
        (Some(a), Some(b)) => a.id == b.id,
        (Some(a), None) => !a.forked,
        (None, Some(b)) => ctx.world.profile.merge_faulted_into_unfaulted && !b.forked,
    }
}

/// Whether the VMAs on both sides may become one.
fn sides_fit(left: &Vma, right: &Vma) -> bool {
    match (left.anon_vma, right.anon_vma) {
        (Some(a), Some(b)) => a.id == b.id,
        _ => true,
    }
}

/// Puts a new VMA, which nothing overlaps, in its place, merging it with its neighbours.
pub(crate) fn add(ctx: &mut Ctx, new: Vma) {
    let at = ctx.mm.first_vma_after(new.start);
    let fits = |ctx: &Ctx, side: &Vma, middle: Option<AnonVma>| {
        alike(side, &new) && anon_vmas_fit(ctx, side.anon_vma, middle)
    };
    let like_left = at
        .checked_sub(1)
        .map(|i| &ctx.mm.vmas[i])
        .filter(|v| adjoins(v, &new) && alike(v, &new));
    let like_right = ctx
        .mm
        .vmas
        .get(at)
        .filter(|v| adjoins(&new, v) && alike(v, &new));
    let mut left = like_left.filter(|v| fits(ctx, v, None)).is_some();
    let mut right = like_right.filter(|v| fits(ctx, v, None)).is_some();
    let blocked = like_left.is_some() != left || like_right.is_some() != right;
    if left && right && !sides_fit(&ctx.mm.vmas[at - 1], &ctx.mm.vmas[at]) {
        hit!(ctx, ANON_VMA_BLOCKS);
        left = !ctx.world.profile.mmap_merges_right_first;
        right = !left;
    } else if left && right && ctx.world.profile.mmap_merges_right_first {
        // The right neighbour was chosen first; the left one must then fit its anon_vma.
        let anon_vma = ctx.mm.vmas[at].anon_vma;
        left = fits(ctx, &ctx.mm.vmas[at - 1], anon_vma);
        if !left {
            hit!(ctx, ANON_VMA_BLOCKS);
        }
    }
    if blocked {
        hit!(ctx, ANON_VMA_BLOCKS);
    }
    match (left, right) {
        (true, true) => {
            hit!(ctx, NEW_BOTH);
            let next = ctx.mm.vmas.remove(at);
            let prev = &mut ctx.mm.vmas[at - 1];
            prev.end = next.end;
            prev.anon_vma = prev.anon_vma.or(next.anon_vma);
            join_sticky(ctx, at - 1, next.maybe_guard);
        }
        (true, false) => {
            hit!(ctx, NEW_LEFT);
            ctx.mm.vmas[at - 1].end = new.end;
            join_sticky(ctx, at - 1, false);
        }
        (false, true) => {
            hit!(ctx, NEW_RIGHT);
            let next = &mut ctx.mm.vmas[at];
            next.start = new.start;
            next.pgoff = new.pgoff;
            join_sticky(ctx, at, false);
        }
        (false, false) => ctx.mm.vmas.insert(at, new),
    }
}

/// The merged VMA at `i` also takes the sticky flag of another part.
fn join_sticky(ctx: &mut Ctx, i: usize, maybe_guard: bool) {
    if ctx.mm.vmas[i].maybe_guard != maybe_guard {
        hit!(ctx, STICKY);
    }
    ctx.mm.vmas[i].maybe_guard |= maybe_guard;
}

/// Gives the part `[start, end)` of VMA `i` the flags of `new` (a changed copy of the VMA), merging with neighbours, else
/// splitting. Returns the end of the VMA that the part then belongs to.
pub(crate) fn modify(ctx: &mut Ctx, i: usize, start: u32, end: u32, new: Vma) -> u32 {
    let vma = &ctx.mm.vmas[i];
    let (whole_left, whole_right) = (start == vma.start, end == vma.end);
    let (anon_vma, maybe_guard) = (vma.anon_vma, vma.maybe_guard);
    let like_left = whole_left && i > 0 && {
        let prev = &ctx.mm.vmas[i - 1];
        adjoins(prev, vma) && alike(prev, &new)
    };
    let like_right = whole_right
        && ctx
            .mm
            .vmas
            .get(i + 1)
            .is_some_and(|next| adjoins(vma, next) && alike(next, &new));
    let left = like_left && anon_vmas_fit(ctx, ctx.mm.vmas[i - 1].anon_vma, anon_vma);
    let mut right = like_right && anon_vmas_fit(ctx, ctx.mm.vmas[i + 1].anon_vma, anon_vma);
    if left && right && !sides_fit(&ctx.mm.vmas[i - 1], &ctx.mm.vmas[i + 1]) {
        right = false;
    }
    if left != like_left || right != like_right {
        hit!(ctx, ANON_VMA_BLOCKS);
    }
    if left || right {
        hit!(ctx, EXISTING);
    }
    match (left, right) {
        (true, true) => {
            let next = ctx.mm.vmas.remove(i + 1);
            ctx.mm.vmas.remove(i);
            let prev = &mut ctx.mm.vmas[i - 1];
            prev.end = next.end;
            prev.anon_vma = prev.anon_vma.or(next.anon_vma).or(anon_vma);
            join_sticky(ctx, i - 1, maybe_guard);
            join_sticky(ctx, i - 1, next.maybe_guard);
            next.end
        }
        (true, false) => {
            if whole_right {
                ctx.mm.vmas.remove(i);
            } else {
                let vma = &mut ctx.mm.vmas[i];
                vma.pgoff += end - vma.start;
                vma.start = end;
            }
            let prev = &mut ctx.mm.vmas[i - 1];
            prev.end = end;
            prev.anon_vma = prev.anon_vma.or(anon_vma);
            join_sticky(ctx, i - 1, maybe_guard);
            if !whole_right {
                split_huge_at(ctx, end);
            }
            end
        }
        (false, true) => {
            let next = &mut ctx.mm.vmas[i + 1];
            next.pgoff -= next.start - start;
            next.start = start;
            next.anon_vma = next.anon_vma.or(anon_vma);
            let to = next.end;
            join_sticky(ctx, i + 1, maybe_guard);
            if whole_left {
                ctx.mm.vmas.remove(i);
            } else {
                ctx.mm.vmas[i].end = start;
                split_huge_at(ctx, start);
            }
            to
        }
        (false, false) => {
            split(ctx, start);
            split(ctx, end);
            if let Some(i) = ctx.mm.vma_index(start) {
                let vma = &mut ctx.mm.vmas[i];
                vma.prot = new.prot;
                vma.account = new.account;
                vma.advice = new.advice;
                vma.hints = new.hints;
                vma.locked = new.locked;
                vma.sealed = new.sealed;
            }
            end
        }
    }
}
