//! Where a VMA gets its anon_vma from. User space sees it in what merges, what fork copies, and what mprotect unaccounts.

use super::registry::Rule;
use super::{hit, merge, Ctx};
use crate::judge::Class;
use crate::space::{AnonVma, Vma};

pub const FRESH: Rule = Rule {
    name: "anon-vma/fresh",
    text: "A VMA gets an anon_vma when it first needs one: at its first anonymous page, at guard install, at a huge-page fault \
           even if that only reads. It keeps it from then on.",
    source: "mm/rmap.c __anon_vma_prepare",
    since: "all",
    about: &[Class::Vma],
};

pub const REUSED: Rule = Rule {
    name: "anon-vma/reused-from-neighbour",
    text: "A VMA that needs an anon_vma takes that of an adjacent VMA, the next one first, if the two differ in protection only \
           and the neighbour's did not go through a fork; so the two can merge later.",
    source: "mm/vma.c find_mergeable_anon_vma, anon_vma_compatible, reusable_anon_vma",
    since: "all",
    about: &[Class::Vma],
};

/// Gives a VMA an anon_vma if it has none.
pub(crate) fn prepare(ctx: &mut Ctx, i: usize) {
    if ctx.mm.vmas[i].anon_vma.is_some() {
        return;
    }
    let vma = &ctx.mm.vmas[i];
    let next = ctx.mm.vmas.get(i + 1).filter(|n| compatible(ctx, vma, n));
    let prev = i
        .checked_sub(1)
        .map(|p| &ctx.mm.vmas[p])
        .filter(|p| compatible(ctx, p, vma));
    let reused = [next, prev]
        .into_iter()
        .flatten()
        .find_map(|v| v.anon_vma.filter(|a| !a.forked));
    let anon_vma = match reused {
        Some(anon_vma) => {
            hit!(ctx, REUSED);
            anon_vma
        }
        None => {
            hit!(ctx, FRESH);
            AnonVma {
                id: ctx.world.new_anon_vma(),
                forked: false,
            }
        }
    };
    ctx.mm.vmas[i].anon_vma = Some(anon_vma);
}

/// Whether adjacent VMAs `a` and `b` may share an anon_vma.
fn compatible(ctx: &Ctx, a: &Vma, b: &Vma) -> bool {
    // The protection key is no thing that mprotect alone changes.
    merge::adjoins(ctx, a, b)
        && a.same_file(b)
        && a.shared == b.shared
        && a.may_write == b.may_write
        && a.account == b.account
        && a.noreserve == b.noreserve
        && a.droppable == b.droppable
        && a.advice == b.advice
        && a.hints == b.hints
        && a.locked == b.locked
        && a.sealed == b.sealed
        && a.uffd == b.uffd
        && a.key == b.key
        && a.of_heap == b.of_heap
}
