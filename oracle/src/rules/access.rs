//! Loads and stores: what they read and write, and which signal stops them.
//!
//! An access op goes page by page; like pages are treated together. Where the kernel may or may not find a huge page, the
//! path forks.

use super::errno::{SEGV_ACCERR, SEGV_MAPERR, SEGV_PKUERR, SIGSEGV};
use super::registry::Rule;
use super::{anon_vma, hit, shmem, thp, Ctx};
use crate::geometry::Range;
use crate::judge::{Access, Class, Fault, Outcome, ValueRun};
use crate::program::Prot;
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::slots::Slot;
use crate::space::{Branch, Content};

pub const VALUE: Rule = Rule {
    name: "access/value",
    text: "A load returns what was stored last at the address, through this mapping or, for shared memory, through any; zero \
           where nothing was stored since the mapping was made or discarded.",
    source: "mm/memory.c",
    since: "all",
    about: &[Class::Value],
};

pub const UNMAPPED: Rule = Rule {
    name: "access/unmapped",
    text: "An access where no VMA is raises SIGSEGV with SEGV_MAPERR.",
    source: "arch/x86/mm/fault.c, arch/arm64/mm/fault.c",
    since: "all",
    about: &[Class::Signal],
};

pub const DENIED: Rule = Rule {
    name: "access/denied",
    text: "A store to a VMA without PROT_WRITE, or a load from one with PROT_NONE, raises SIGSEGV with SEGV_ACCERR; this comes before \
           the guard at the address. A store permission implies that loads are allowed.",
    source: "arch/x86/mm/fault.c access_error, arch/arm64/mm/fault.c do_page_fault",
    since: "all",
    about: &[Class::Signal],
};

pub const PKEY: Rule = Rule {
    name: "access/execute-only-pkey",
    text: "On x86-64 with protection keys a mapping that is PROT_EXEC alone gets a key that denies data access: loads and stores \
           raise SIGSEGV with SEGV_PKUERR.",
    source: "arch/x86/mm/pkeys.c __execute_only_pkey, arch/x86/mm/fault.c bad_area_access_from_pkeys",
    since: "all, where the processor has them",
    about: &[Class::Signal],
};

pub const EXEC_ONLY: Rule = Rule {
    name: "access/execute-only",
    text: "Without protection keys or EPAN, a mapping that is PROT_EXEC alone can be read. On arm64 with EPAN a load raises \
           SEGV_ACCERR.",
    source: "arch/x86/mm/fault.c access_error, arch/arm64/mm/fault.c do_page_fault",
    since: "all",
    about: &[Class::Signal],
};

pub const GUARD: Rule = Rule {
    name: "access/guard",
    text: "An access that the VMA permits to a page with a guard raises SIGSEGV with SEGV_MAPERR, on every kind of memory, for loads \
           as for stores. The guard stays.",
    source: "mm/memory.c handle_pte_marker",
    since: "6.13",
    about: &[Class::Signal, Class::PageState],
};

pub const STOPS: Rule = Rule {
    name: "access/stops-at-fault",
    text: "What the access did before the fault stays done; nothing behind it happens.",
    source: "the access ops themselves",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const ZERO_PAGE: Rule = Rule {
    name: "access/read-maps-zero-page",
    text: "A load from anonymous memory that was never written maps the shared zero page; it gives the VMA no anon_vma.",
    source: "mm/memory.c do_anonymous_page",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const NEW_PAGE: Rule = Rule {
    name: "access/write-makes-page",
    text: "A store to anonymous memory whose slot is empty or maps the zero page brings a new page that this address space maps \
           exclusively, zero but for what is stored.",
    source: "mm/memory.c do_anonymous_page, wp_page_copy",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value],
};

pub const IN_PLACE: Rule = Rule {
    name: "access/write-in-place",
    text: "A store to an anonymous page that nobody else maps happens in place.",
    source: "mm/memory.c do_wp_page",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

pub const COPY_ON_WRITE: Rule = Rule {
    name: "access/copy-on-write",
    text: "A store to an anonymous page that another address space maps too makes a copy for the writer; the others keep the old \
           page, and the last of them maps it exclusively.",
    source: "mm/memory.c do_wp_page, wp_page_copy",
    since: "all",
    about: &[Class::PageState, Class::Value],
};

/// An access op on its way.
#[derive(Clone)]
struct State {
    ctx: Ctx,
    /// First page (may lie in the margin) and number of pages to access.
    first: i64,
    wanted: u32,
    done: Access,
    /// The tag to store; `None`: load.
    tag: Option<u16>,
}

/// What happens at one page.
enum Next {
    /// So many pages were accessed.
    Done(u32),
    /// The same page again: something was prepared.
    Again,
    /// A signal with this si_code.
    Fault(i32),
    /// The kernel looks for a huge page.
    HugePage { zero_page_stands_there: bool },
}

/// A read op (`tag` is `None`) or a write op.
pub(crate) fn access(ctx: Ctx, range: Range, tag: Option<u16>) -> Vec<Branch> {
    let g = ctx.geometry();
    let first = range.start.page_index(g);
    let wanted = (range.end.page_index(g) - first).clamp(0, i64::from(u32::MAX)) as u32;
    let state = State {
        ctx,
        first,
        wanted,
        done: Access::default(),
        tag,
    };
    let mut branches = Vec::with_capacity(1);
    run(state, &mut branches);
    branches
}

fn run(mut state: State, branches: &mut Vec<Branch>) {
    hit!(state.ctx, VALUE);
    while state.done.pages < state.wanted {
        match next(&mut state) {
            Next::Done(pages) => state.done.pages += pages,
            Next::Again => {}
            Next::Fault(code) => {
                hit!(state.ctx, STOPS);
                let page = state.first + i64::from(state.done.pages);
                state.done.fault = Some(Fault {
                    signo: SIGSEGV,
                    code,
                    addr: page * i64::from(state.ctx.geometry().page_size),
                });
                break;
            }
            Next::HugePage {
                zero_page_stands_there,
            } => {
                let mut usual = state.clone();
                huge_page(&mut usual, zero_page_stands_there);
                run(usual, branches);
                no_huge_page(&mut state, zero_page_stands_there);
            }
        }
    }
    branches.push(state.ctx.finish(Outcome::Access(state.done)));
}

/// The page that is accessed next, if it lies in the arena, and its VMA.
fn current(state: &State) -> Option<(u32, usize)> {
    let page = u32::try_from(state.first + i64::from(state.done.pages)).ok()?;
    Some((page, state.ctx.mm.vma_index(page)?))
}

/// The kernel found a huge page.
fn huge_page(state: &mut State, zero_page_stands_there: bool) {
    let Some((page, i)) = current(state) else {
        return;
    };
    let ctx = &mut state.ctx;
    if zero_page_stands_there {
        thp::replace_zero(ctx, page);
    } else if state.tag.is_some() {
        thp::map_huge(ctx, i, page);
    } else {
        thp::map_huge_for_read(ctx, i, page);
    }
}

/// The kernel found none.
fn no_huge_page(state: &mut State, zero_page_stands_there: bool) {
    let Some((page, i)) = current(state) else {
        return;
    };
    if zero_page_stands_there {
        hit!(state.ctx, thp::MAY_FAIL);
        thp::split_zero(&mut state.ctx, page);
    } else {
        thp::fall_back(&mut state.ctx, i, page);
    }
}

/// One step: the next pages that are treated alike.
fn next(state: &mut State) -> Next {
    let Some((page, i)) = current(state) else {
        hit!(state.ctx, UNMAPPED);
        return Next::Fault(SEGV_MAPERR);
    };
    let write = state.tag.is_some();
    if let Some(code) = denied(&mut state.ctx, i, write) {
        return Next::Fault(code);
    }
    let ctx = &mut state.ctx;
    let g = ctx.geometry();
    let block = block_of(page, g);
    let wanted_end = (state.first + i64::from(state.wanted)) as u32;
    let limit = ctx.mm.vmas[i]
        .end
        .min(block_pages(block, g).1)
        .min(wanted_end);
    let (end, slot) = ctx.mm.slots.stretch(page, limit);
    if slot == Some(Slot::Guard) {
        hit!(ctx, GUARD);
        return Next::Fault(SEGV_MAPERR);
    }
    match (ctx.mm.vmas[i].is_anon(), state.tag) {
        (true, None) => load_anon(state, i, page, end, slot),
        (true, Some(tag)) => store_anon(ctx, i, page, end, slot, tag),
        (false, None) => load_shared(state, i, page, end, slot),
        (false, Some(tag)) => store_shared(ctx, i, page, end, slot, tag),
    }
}

/// The si_code with which the VMA refuses an access.
fn denied(ctx: &mut Ctx, i: usize, write: bool) -> Option<i32> {
    let prot = ctx.mm.vmas[i].prot;
    let profile = &ctx.world.profile;
    if prot == Prot::new(false, false, true) {
        if profile.exec_only_pkey {
            hit!(ctx, PKEY);
            return Some(SEGV_PKUERR);
        }
        let readable = !profile.exec_only_unreadable;
        hit!(ctx, EXEC_ONLY);
        return (write || !readable).then_some(SEGV_ACCERR);
    }
    let allowed = if write {
        prot.write
    } else {
        prot.read || prot.write
    };
    if allowed {
        return None;
    }
    hit!(ctx, DENIED);
    Some(SEGV_ACCERR)
}

/// Appends loaded values, joining runs that follow each other.
fn loaded(state: &mut State, len: u32, first: Content) {
    match state.done.values.last_mut() {
        Some(last) if last.first.is_followed_by(first, last.len) => last.len += len,
        _ => state.done.values.push(ValueRun { len, first }),
    }
}

fn load_anon(state: &mut State, i: usize, start: u32, end: u32, slot: Option<Slot>) -> Next {
    let ctx = &mut state.ctx;
    let content = match slot {
        Some(Slot::Anon { content, .. }) => content,
        Some(_) => Content::ZERO,
        None if thp::possible(ctx, i, start) => {
            return Next::HugePage {
                zero_page_stands_there: false,
            }
        }
        None => {
            hit!(ctx, ZERO_PAGE);
            ctx.mm.slots.set(start, end, Slot::Zero);
            let block = block_of(start, ctx.geometry());
            ctx.mm.tables[block] = Table::Pte;
            Content::ZERO
        }
    };
    loaded(state, end - start, content);
    Next::Done(end - start)
}

fn store_anon(ctx: &mut Ctx, i: usize, start: u32, end: u32, slot: Option<Slot>, tag: u16) -> Next {
    let block = block_of(start, ctx.geometry());
    let huge = ctx.mm.tables[block] == Table::Huge;
    let content = Content::written(tag, start);
    match slot {
        None if thp::possible(ctx, i, start) => Next::HugePage {
            zero_page_stands_there: false,
        },
        Some(Slot::Zero) if huge => {
            if ctx.world.profile.huge_zero_write_allocates {
                return Next::HugePage {
                    zero_page_stands_there: true,
                };
            }
            thp::split_zero(ctx, start);
            Next::Again
        }
        Some(Slot::Anon { id, .. }) if huge => {
            if !thp::write_protected(ctx, start) {
                return Next::Again;
            }
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            Next::Done(end - start)
        }
        Some(slot @ Slot::Anon { id, .. }) => {
            for (from, to, shared) in ctx.world.sharing(ctx.actor, start, end, slot) {
                let content = content.plus(from - start);
                let id = if shared {
                    hit!(ctx, COPY_ON_WRITE);
                    ctx.world.new_pages(to - from)
                } else {
                    hit!(ctx, IN_PLACE);
                    crate::space::slots::PageId(id.0 + u64::from(from - start))
                };
                ctx.mm.slots.set(from, to, Slot::Anon { id, content });
            }
            Next::Done(end - start)
        }
        _ => {
            hit!(ctx, NEW_PAGE);
            anon_vma::prepare(ctx, i);
            let id = ctx.world.new_pages(end - start);
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            ctx.mm.tables[block] = Table::Pte;
            Next::Done(end - start)
        }
    }
}

fn load_shared(state: &mut State, i: usize, start: u32, end: u32, slot: Option<Slot>) -> Next {
    if slot.is_none() {
        shmem::read_fault(&mut state.ctx, i, start);
        return Next::Again;
    }
    let vma = &state.ctx.mm.vmas[i];
    let Some(object) = vma.object.map(|id| state.ctx.world.object(id)) else {
        return Next::Done(end - start);
    };
    // Every mapped page is in the cache.
    let runs: Vec<_> = object.runs_in(vma.index(start), vma.index(end)).collect();
    for run in runs {
        loaded(state, run.end - run.start, run.content);
    }
    Next::Done(end - start)
}

fn store_shared(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    end: u32,
    slot: Option<Slot>,
    tag: u16,
) -> Next {
    if slot.is_none() {
        shmem::map(ctx, i, start, end);
    }
    hit!(ctx, shmem::STORE);
    let vma = &ctx.mm.vmas[i];
    let (first, last) = (vma.index(start), vma.index(end));
    if let Some(id) = vma.object {
        let content = Content::written(tag, start);
        ctx.world.object_mut(id).store(first, last, content);
    }
    Next::Done(end - start)
}
