//! Splitting and merging VMAs. It is visible in /proc/PID/maps, and decides what later calls see as one VMA.

use super::errno::ENOMEM;
use super::registry::Rule;
use super::{failing, hit, hugetlb, soft_dirty, thp, Ctx};
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

pub const GROWN: Rule = Rule {
    name: "merge/grown",
    text: "Memory that mremap adds at a VMA's end belongs to that VMA. If it reaches the next VMA and the two are alike, they \
           become one, unless their anon_vmas differ; the next one's may be missing even if this one stems from a fork \
           (from 6.16 on; before, only if this one has none).",
    source: "mm/vma.c vma_merge_extend, vma_merge_new_range",
    since: "all",
    about: &[Class::Vma],
};

pub const MOVED: Rule = Rule {
    name: "merge/moved",
    text: "What mremap moves joins the neighbours at its new place as a new mapping would, its anon_vma counted: a neighbour \
           without one takes it over. If both neighbours fit but not each other, it joins the left one.",
    source: "mm/vma.c copy_vma, vma_merge_copied_range; before: mm/mmap.c copy_vma",
    since: "all",
    about: &[Class::Vma],
};

pub const MOVED_FORKED: Rule = Rule {
    name: "merge/moved/forked-stays-apart",
    text: "What stems from a fork and has an anon_vma does not join a neighbour that has none when mremap moves it beside it.",
    source: "6.19, mm/vma: enforce VMA fork limit on unfaulted,faulted mremap merge too; not in 6.16, 6.17 and early 6.18.y",
    since: "all but 6.16 to early 6.18.y",
    about: &[Class::Vma],
};

pub const MOVED_LOSES_ANON_VMA: Rule = Rule {
    name: "merge/moved/loses-anon-vma",
    text: "A bug of 6.16 to early 6.18.y: a VMA without an anon_vma that takes in what mremap moves beside it does not take over \
           its anon_vma. The pages are there, but fork does not copy them: the child reads zeros.",
    source: "6.19, mm/vma: fix anon_vma UAF on mremap() faulted, unfaulted merge; a finding, docs/findings.md",
    since: "6.16 to early 6.18.y",
    about: &[Class::Vma, Class::PageState, Class::Value],
};

pub const PRIVATE_FILE_OFFSETS: Rule = Rule {
    name: "merge/private-file/offsets-of-copies",
    text: "From 7.3 on private mappings of a file merge, and take over an anon_vma, only where the offsets of their private copies go on \
           as well: those of a mapping that was written to and then moved do not fit what is mapped beside it, though the \
           file's offsets do.",
    source: "mm/vma.c needs_adjacent_anon_pgoff, anon_vma_compatible of 7.3",
    since: "7.3",
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
///
/// # Errors
/// What the kernel says where this kind of memory cannot be split there, or ENOMEM.
pub(crate) fn split(ctx: &mut Ctx, page: u32) -> Result<(), i32> {
    let Some(i) = ctx.mm.vma_index(page) else {
        return Ok(());
    };
    if ctx.mm.vmas[i].start == page {
        return Ok(());
    }
    hugetlb::may_split(ctx, i, page)?;
    ctx.allocate()?;
    hit!(ctx, SPLIT);
    let lower = &mut ctx.mm.vmas[i];
    let mut upper = lower.clone();
    upper.set_start(page);
    lower.end = page;
    ctx.mm.vmas.insert(i + 1, upper);
    split_huge_at(ctx, page);
    Ok(())
}

/// A huge page cannot straddle the border between two VMAs.
fn split_huge_at(ctx: &mut Ctx, page: u32) {
    let g = ctx.geometry();
    if !page.is_multiple_of(g.pages_per_pmd) && page < g.arena_pages() {
        thp::vma_split(ctx, block_of(page, g));
    }
}

/// Whether two VMAs are alike in everything but place, anon_vma and sticky flags. Special ones (VM_SPECIAL) are like no others.
fn alike(a: &Vma, b: &Vma) -> bool {
    !(a.hugetlb || b.hugetlb)
        && a.prot == b.prot
        && a.key == b.key
        && a.of_heap == b.of_heap
        && a.shared == b.shared
        && a.account == b.account
        && a.noreserve == b.noreserve
        && a.droppable == b.droppable
        && a.advice == b.advice
        && a.hints == b.hints
        && a.locked == b.locked
        && a.sealed == b.sealed
        && a.uffd == b.uffd
        && a.may_write == b.may_write
        && a.same_file(b)
}

/// Whether VMA `a` ends where `b` starts, in memory and in the file, and, where the kernel asks, in what private copies of
/// the file's pages count as their offset.
pub(super) fn adjoins(ctx: &Ctx, a: &Vma, b: &Vma) -> bool {
    a.end == b.start && a.pgoff + (a.end - a.start) == b.pgoff && copies_fit(ctx, a, b)
}

/// Whether the offsets of private copies go on from `a` to `b`, or do not matter.
fn copies_fit(ctx: &Ctx, a: &Vma, b: &Vma) -> bool {
    !ctx.world.profile.private_file_offsets
        || a.is_anon()
        || a.shared
        || a.anon_pgoff.wrapping_add(a.end - a.start) == b.anon_pgoff
}

/// Where memory comes from that may join its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A part of a VMA, whose flags change.
    Changed,
    /// mmap.
    Mapped,
    /// mremap, as the continuation of a VMA.
    Grown,
    /// mremap, as a copy of some other memory.
    Moved,
}

/// Whether memory with `middle`'s anon_vma may join a neighbour.
fn anon_vmas_fit(
    ctx: &Ctx,
    neighbour: Option<AnonVma>,
    middle: Option<AnonVma>,
    origin: Origin,
) -> bool {
    let profile = &ctx.world.profile;
    match (neighbour, middle) {
        (None, None) => true,
        (Some(a), Some(b)) => a.id == b.id,
        (Some(a), None) => !a.forked,
        (None, Some(b)) => {
            let fork_counts = match origin {
                Origin::Moved => !profile.mremap_joins_forked,
                Origin::Grown => false,
                Origin::Changed | Origin::Mapped => true,
            };
            profile.merge_faulted_into_unfaulted && !(b.forked && fork_counts)
        }
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
///
/// # Errors
/// ENOMEM, and nothing has changed.
pub(crate) fn add(ctx: &mut Ctx, new: Vma, origin: Origin) -> Result<(), i32> {
    add_beside(ctx, new, origin, (true, true))
}

/// The same, where only some of the neighbours are looked at: the left one, the right one.
///
/// # Errors
/// ENOMEM, and nothing has changed.
pub(crate) fn add_beside(
    ctx: &mut Ctx,
    new: Vma,
    origin: Origin,
    look_at: (bool, bool),
) -> Result<(), i32> {
    let at = ctx.mm.first_vma_after(new.start);
    let fits = |ctx: &Ctx, side: &Vma, middle: Option<AnonVma>| {
        anon_vmas_fit(ctx, side.anon_vma, middle, origin)
    };
    let like_left = at
        .checked_sub(1)
        .map(|i| &ctx.mm.vmas[i])
        .filter(|v| look_at.0 && adjoins(ctx, v, &new) && alike(v, &new));
    let like_right = ctx
        .mm
        .vmas
        .get(at)
        .filter(|v| look_at.1 && adjoins(ctx, &new, v) && alike(v, &new));
    let parted = |a: &Vma, b: &Vma| alike(a, b) && a.end == b.start && !copies_fit(ctx, a, b);
    let parted = at
        .checked_sub(1)
        .is_some_and(|i| parted(&ctx.mm.vmas[i], &new))
        || ctx.mm.vmas.get(at).is_some_and(|v| parted(&new, v));
    let mut left = like_left.is_some_and(|v| fits(ctx, v, new.anon_vma));
    let mut right = like_right.is_some_and(|v| fits(ctx, v, new.anon_vma));
    let blocked = like_left.is_some() != left || like_right.is_some() != right;
    if parted {
        hit!(ctx, PRIVATE_FILE_OFFSETS);
    }
    let right_first = origin == Origin::Mapped && ctx.world.profile.mmap_merges_right_first;
    if left && right && !sides_fit(&ctx.mm.vmas[at - 1], &ctx.mm.vmas[at]) {
        hit!(ctx, ANON_VMA_BLOCKS);
        left = !right_first;
        right = !left;
    } else if left && right && right_first {
        // The right neighbour was chosen first; the left one must then fit its anon_vma.
        let anon_vma = ctx.mm.vmas[at].anon_vma;
        left = fits(ctx, &ctx.mm.vmas[at - 1], anon_vma);
        if !left {
            hit!(ctx, ANON_VMA_BLOCKS);
        }
    }
    if blocked {
        hit!(ctx, ANON_VMA_BLOCKS);
        if origin == Origin::Moved && new.anon_vma.is_some_and(|a| a.forked) {
            hit!(ctx, MOVED_FORKED);
        }
    }
    if ctx.allocate().is_err() {
        // What grows must be merged; what is new stands alone then, if it was to be merged.
        if origin == Origin::Grown || !(left || right) {
            return Err(ENOMEM);
        }
        hit!(ctx, failing::UNMERGED);
        (left, right) = (false, false);
    }
    let mut others = new.soft_dirty;
    let merged = match (left, right) {
        (true, true) => {
            let next = ctx.mm.vmas.remove(at);
            let prev = &mut ctx.mm.vmas[at - 1];
            prev.end = next.end;
            prev.anon_vma = prev.anon_vma.or(next.anon_vma);
            join_sticky(ctx, at - 1, next.maybe_guard);
            others |= next.soft_dirty;
            at - 1
        }
        (true, false) => {
            ctx.mm.vmas[at - 1].end = new.end;
            at - 1
        }
        (false, true) => {
            ctx.mm.vmas[at].set_start(new.start);
            at
        }
        (false, false) => {
            ctx.mm.vmas.insert(at, new);
            return Ok(());
        }
    };
    match (origin, left, right) {
        (Origin::Moved, ..) => hit!(ctx, MOVED),
        (Origin::Grown, ..) => hit!(ctx, GROWN),
        (_, true, true) => hit!(ctx, NEW_BOTH),
        (_, true, false) => hit!(ctx, NEW_LEFT),
        _ => hit!(ctx, NEW_RIGHT),
    }
    join_sticky(ctx, merged, new.maybe_guard);
    let sticky = ctx.world.profile.soft_dirty_sticky;
    if ctx.mm.vmas[merged].soft_dirty != others {
        hit!(ctx, soft_dirty::MERGES);
    }
    // What mmap makes is marked as a whole; mremap leaves the mark to the merge.
    let vma = &mut ctx.mm.vmas[merged];
    if sticky {
        vma.soft_dirty |= others;
    } else if origin == Origin::Mapped {
        vma.soft_dirty |= new.soft_dirty;
    }
    inherit_anon_vma(ctx, merged, new.anon_vma);
    Ok(())
}

/// The VMA at `i` has taken in memory with this anon_vma.
fn inherit_anon_vma(ctx: &mut Ctx, i: usize, anon_vma: Option<AnonVma>) {
    if ctx.mm.vmas[i].anon_vma.is_some() || anon_vma.is_none() {
        return;
    }
    if ctx.world.profile.mremap_loses_anon_vma {
        hit!(ctx, MOVED_LOSES_ANON_VMA);
    } else {
        ctx.mm.vmas[i].anon_vma = anon_vma;
    }
}

/// The merged VMA at `i` also takes the sticky flag of another part.
fn join_sticky(ctx: &mut Ctx, i: usize, maybe_guard: bool) {
    if ctx.mm.vmas[i].maybe_guard != maybe_guard {
        hit!(ctx, STICKY);
    }
    ctx.mm.vmas[i].maybe_guard |= maybe_guard;
}

/// What becomes of VM_SOFTDIRTY when a changed VMA merges.
#[derive(Clone, Copy)]
struct Marks {
    /// Whether the changed VMA had it.
    own: bool,
    /// The call adds its flag to those of the VMA that remains, where others give it the changed VMA's (before 6.19).
    keeps_neighbours: bool,
}

/// The VMA `i` remains of a merge with the changed one, and with one more perhaps, of which `other` tells.
fn join_soft_dirty(ctx: &mut Ctx, i: usize, marks: Marks, other: bool) {
    let sticky = ctx.world.profile.soft_dirty_sticky;
    let vma = &mut ctx.mm.vmas[i];
    let parts_differ = vma.soft_dirty != marks.own || other != marks.own;
    if sticky {
        vma.soft_dirty |= marks.own || other;
    } else if !marks.keeps_neighbours {
        vma.soft_dirty = marks.own;
    }
    if parts_differ {
        hit!(ctx, soft_dirty::MERGES);
    }
}

/// Gives the part `[start, end)` of VMA `i` the flags of `new` (a changed copy of the VMA), merging with neighbours, else
/// splitting. Returns the end of the VMA that the part then belongs to.
///
/// # Errors
/// That of [`split`], or ENOMEM; then nothing is changed, but the VMA may be split at `start`.
pub(crate) fn modify(ctx: &mut Ctx, i: usize, start: u32, end: u32, new: Vma) -> Result<u32, i32> {
    let vma = &ctx.mm.vmas[i];
    let (whole_left, whole_right) = (start == vma.start, end == vma.end);
    let (anon_vma, maybe_guard) = (vma.anon_vma, vma.maybe_guard);
    let marks = Marks {
        own: vma.soft_dirty,
        keeps_neighbours: new.sealed != vma.sealed,
    };
    let like_left = whole_left && i > 0 && {
        let prev = &ctx.mm.vmas[i - 1];
        adjoins(ctx, prev, vma) && alike(prev, &new)
    };
    let like_right = whole_right
        && ctx
            .mm
            .vmas
            .get(i + 1)
            .is_some_and(|next| adjoins(ctx, vma, next) && alike(next, &new));
    let fits = |ctx: &Ctx, side: usize| {
        let side = ctx.mm.vmas[side].anon_vma;
        anon_vmas_fit(ctx, side, anon_vma, Origin::Changed)
    };
    let left = like_left && fits(ctx, i - 1);
    let mut right = like_right && fits(ctx, i + 1);
    if left && right && !sides_fit(&ctx.mm.vmas[i - 1], &ctx.mm.vmas[i + 1]) {
        right = false;
    }
    if left != like_left || right != like_right {
        hit!(ctx, ANON_VMA_BLOCKS);
    }
    if left || right {
        ctx.allocate()?;
        hit!(ctx, EXISTING);
    }
    let to = match (left, right) {
        (true, true) => {
            let next = ctx.mm.vmas.remove(i + 1);
            ctx.mm.vmas.remove(i);
            let prev = &mut ctx.mm.vmas[i - 1];
            prev.end = next.end;
            prev.anon_vma = prev.anon_vma.or(next.anon_vma).or(anon_vma);
            join_sticky(ctx, i - 1, maybe_guard);
            join_sticky(ctx, i - 1, next.maybe_guard);
            join_soft_dirty(ctx, i - 1, marks, next.soft_dirty);
            next.end
        }
        (true, false) => {
            if whole_right {
                ctx.mm.vmas.remove(i);
            } else {
                ctx.mm.vmas[i].set_start(end);
            }
            let prev = &mut ctx.mm.vmas[i - 1];
            prev.end = end;
            prev.anon_vma = prev.anon_vma.or(anon_vma);
            join_sticky(ctx, i - 1, maybe_guard);
            join_soft_dirty(ctx, i - 1, marks, false);
            if !whole_right {
                split_huge_at(ctx, end);
            }
            end
        }
        (false, true) => {
            let next = &mut ctx.mm.vmas[i + 1];
            next.set_start(start);
            next.anon_vma = next.anon_vma.or(anon_vma);
            let to = next.end;
            join_sticky(ctx, i + 1, maybe_guard);
            join_soft_dirty(ctx, i + 1, marks, false);
            if whole_left {
                ctx.mm.vmas.remove(i);
            } else {
                ctx.mm.vmas[i].end = start;
                split_huge_at(ctx, start);
            }
            to
        }
        (false, false) => {
            split(ctx, start)?;
            split(ctx, end)?;
            if let Some(i) = ctx.mm.vma_index(start) {
                let vma = &mut ctx.mm.vmas[i];
                vma.prot = new.prot;
                vma.key = new.key;
                vma.account = new.account;
                vma.advice = new.advice;
                vma.hints = new.hints;
                vma.locked = new.locked;
                vma.sealed = new.sealed;
                vma.uffd = new.uffd;
            }
            end
        }
    };
    Ok(to)
}
