//! brk: the heap, which begins at block 2 in every program and ends at the program break. It is private anonymous memory like other:
//! what is mapped, guarded or unmapped there by other calls, brk finds so.

use super::access::{touch, OnError, Purpose};
use super::errno::ENOMEM;
use super::registry::Rule;
use super::{hit, merge, mlock, munmap, soft_dirty, Ctx};
use crate::geometry::{Geometry, Pos};
use crate::judge::{Class, Outcome};
use crate::program::{Prot, HEAP};
use crate::space::{Branch, Hints, HugeAdvice, Key, Locked, Uffd, Vma};

pub const GROWS: Rule = Rule {
    name: "brk/grows",
    text: "A break further on maps the pages from the old one on, both rounded up: empty, readable and writable, charged (`ac`), whatever \
           stood there before the heap shrank, guards included. They join the VMA that ends there, if it is alike and begins in the heap, \
           and never one behind them. On arm64 without MTE nothing that mmap makes is like them.",
    source: "mm/mmap.c brk, mm/vma.c do_brk_flags; brk(2); arch/arm64/include/asm/page.h VM_DATA_DEFAULT_FLAGS",
    since: "all",
    about: &[Class::Vma, Class::VmFlags, Class::PageState, Class::Residency, Class::Errno],
};

pub const SHRINKS: Rule = Rule {
    name: "brk/shrinks",
    text: "A break further in front unmaps the pages behind it up to the old one as munmap does, guards and holes among them.",
    source: "mm/mmap.c brk: do_vmi_align_munmap",
    since: "all",
    about: &[Class::Vma, Class::PageState, Class::Residency, Class::Errno],
};

pub const SAME_PAGE: Rule = Rule {
    name: "brk/within-a-page",
    text: "A break in the same page, rounded up, maps and unmaps nothing, and is remembered to the byte.",
    source: "mm/mmap.c brk",
    since: "all",
    about: &[Class::Vma, Class::Errno],
};

pub const REFUSED: Rule = Rule {
    name: "brk/refused",
    text: "The break stays, and so does all else, where it would lie before the start of the heap, where anything is mapped in the way or in the \
           page behind it, guarded or not, and where nothing is mapped any more of what is to be unmapped (brk returns the old break; the \
           library makes ENOMEM of it).",
    source: "mm/mmap.c brk; brk(2), ENOMEM",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const LOCKED: Rule = Rule {
    name: "brk/locked",
    text: "After MCL_FUTURE what brk adds is locked and faulted in, with MCL_ONFAULT as `lf`; a break that would exceed the limit is refused.",
    source: "mm/mmap.c brk: check_brk_limits, mm_populate",
    since: "all",
    about: &[Class::Errno, Class::VmFlags, Class::PageState, Class::Residency],
};

/// Where the heap begins, in bytes from the arena's start.
fn start(g: Geometry) -> i64 {
    HEAP.byte_offset(g)
}

/// brk(2).
pub(crate) fn brk(mut ctx: Ctx, to: Pos) -> Vec<Branch> {
    let g = ctx.geometry();
    let (old, new) = (ctx.mm.program_break.unwrap_or(start(g)), to.byte_offset(g));
    match set(&mut ctx, old, new) {
        Ok(None) => vec![ctx.finish(Outcome::Ok)],
        Ok(Some((first, end))) => {
            let purpose = Purpose::FaultIn(OnError::NextVma);
            touch(ctx, first.into(), end.into(), purpose)
        }
        Err(()) => vec![ctx.finish(Outcome::Errno(ENOMEM))],
    }
}

/// Sets the break, unless it is refused. The pages that are to be faulted in then.
fn set(ctx: &mut Ctx, old: i64, new: i64) -> Result<Option<(u32, u32)>, ()> {
    let g = ctx.geometry();
    if new < start(g) {
        hit!(ctx, REFUSED);
        return Err(());
    }
    let page = |bytes: i64| {
        let size = i64::from(g.page_size);
        ((bytes + size - 1) / size) as u32
    };
    let (from, to) = (page(old), page(new));
    if from == to {
        hit!(ctx, SAME_PAGE);
        ctx.mm.program_break = Some(new);
        return Ok(None);
    }
    if new <= old {
        if !ctx.mm.is_mapped_in(to, from) || munmap::unmap(ctx, to, from).is_err() {
            hit!(ctx, REFUSED);
            return Err(());
        }
        hit!(ctx, SHRINKS);
        ctx.mm.program_break = Some(new);
        return Ok(None);
    }
    let locked = ctx.mm.new_are_locked;
    if locked != Locked::No {
        hit!(ctx, LOCKED);
        if mlock::over_limit(ctx, i64::from(to - from)) {
            return Err(());
        }
    }
    if ctx.mm.is_mapped_in(from, to + 1) {
        hit!(ctx, REFUSED);
        return Err(());
    }
    hit!(ctx, GROWS);
    if ctx.world.profile.soft_dirty {
        hit!(ctx, soft_dirty::NEW);
    }
    let new_memory = Vma {
        start: from,
        end: to,
        prot: Prot::RW,
        key: Key::Default,
        of_heap: ctx.world.profile.brk_marks,
        shared: false,
        account: true,
        noreserve: false,
        droppable: false,
        hugetlb: false,
        advice: HugeAdvice::None,
        hints: Hints::default(),
        locked,
        sealed: false,
        uffd: Uffd::default(),
        maybe_guard: false,
        soft_dirty: ctx.world.profile.soft_dirty,
        may_write: true,
        anon_vma: None,
        object: None,
        readonly: false,
        pgoff: from,
        anon_pgoff: from,
    };
    let in_heap = i64::from(from) * i64::from(g.page_size) > start(g);
    merge::add_beside(ctx, new_memory, merge::Origin::Mapped, (in_heap, false)).map_err(|_| ())?;
    ctx.mm.program_break = Some(new);
    Ok((locked != Locked::No).then_some((from, to)))
}
