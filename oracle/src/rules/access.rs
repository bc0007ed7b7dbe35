//! Loads and stores: what they read and write, and which signal stops them.
//!
//! An access op goes page by page; like pages are treated together. Where the kernel may or may not find a huge page, the
//! path forks.

mod kernel;
mod of_file;

pub(crate) use kernel::{mask, Gate, Kernel, New, Stores};

use super::errno::{
    BUS_ADRERR, BUS_MCEERR_AR, EFAULT, EHWPOISON, ENOMEM, SEGV_ACCERR, SEGV_MAPERR, SEGV_PKUERR,
    SIGBUS, SIGSEGV,
};
use super::mlock::{self, FaultIn};
use super::registry::Rule;
use super::{
    anon_vma, droppable, folio, hit, hugetlb, pkey, populate, soft_dirty, swap, thp, transfer,
    uffd, Ctx,
};
use crate::geometry::Range;
use crate::judge::{Access, Class, Fault, Outcome, ValueRun};
use crate::program::Prot;
use crate::space::mm::{block_of, block_pages, Table};
use crate::space::slots::Slot;
use crate::space::{Branch, Content, Key, Vma};

pub const VALUE: Rule = Rule {
    name: "access/value",
    text: "A load returns what was stored last at the address, through this mapping or, for shared memory and files, \
           through any; what the file held, or zero, where nothing was stored since the mapping was made or discarded.",
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

/// What an access is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Load,
    /// With this tag.
    Store(u16),
    /// The kernel faults pages in for a load to come.
    PopulateRead,
    /// The same for a store to come, which breaks copy-on-write.
    PopulateWrite,
    /// The kernel faults in what was mapped or locked, whatever loads and stores may do there: private writable memory for
    /// a store, other memory for a load.
    FaultIn(OnError),
    /// The kernel reads or writes for a caller.
    Kernel(Kernel),
}

/// What becomes of the rest where a page cannot be faulted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    /// The call ends with ENOMEM.
    Tell,
    /// It goes on at the next VMA.
    NextVma,
    /// Nothing more is faulted in; nobody is told.
    Stop,
}

impl Purpose {
    /// Whether a fault for it may let go of the lock and be taken again: /proc/PID/mem holds the lock throughout.
    fn may_fault_again(self) -> bool {
        !matches!(
            self,
            Purpose::Kernel(Kernel {
                gate: Gate::Pages { .. },
                ..
            })
        )
    }

    /// Whether it is like a store to this VMA.
    fn is_write(self, vma: &Vma) -> bool {
        match self {
            Purpose::Load | Purpose::PopulateRead => false,
            Purpose::Store(_) | Purpose::PopulateWrite => true,
            Purpose::FaultIn(_) => vma.prot.write && !vma.shared,
            Purpose::Kernel(kernel) => kernel.stores.is_some(),
        }
    }

    fn is_populate(self) -> bool {
        !matches!(self, Purpose::Load | Purpose::Store(_) | Purpose::Kernel(_))
    }

    /// What becomes of the contents of pages from `page` on.
    fn content(self, page: u32) -> New {
        match self {
            Purpose::Store(tag) => New::Whole(Content::written(tag, page)),
            Purpose::Kernel(kernel) => kernel.content(page),
            _ => New::Keep,
        }
    }
}

/// An access op on its way.
#[derive(Clone)]
struct State {
    ctx: Ctx,
    /// First page (may lie in the margin) and number of pages to access.
    first: i64,
    wanted: u32,
    done: Access,
    purpose: Purpose,
    /// Populating has gone over a hole.
    hole: bool,
    /// Where a huge page was to be had, but the fault is userfaultfd's.
    missing: Option<u32>,
}

/// What happens at one page.
enum Next {
    /// So many pages were accessed.
    Done(u32),
    /// The same page again: something was prepared.
    Again,
    /// A signal and its si_code.
    Fault(i32, i32),
    /// The kernel comes no further.
    Stop,
    /// The call ends with this errno.
    Errno(i32),
    /// The kernel looks for a huge page.
    HugePage { zero_page_stands_there: bool },
}

/// A read op or a write op.
pub(crate) fn access(ctx: Ctx, range: Range, purpose: Purpose) -> Vec<Branch> {
    let g = ctx.geometry();
    let (first, end) = (range.start.page_index(g), range.end.page_index(g));
    touch(ctx, first, end, purpose)
}

/// Accesses the pages from `first` up to `end`, as far as it goes. Returns every way it may go.
pub(crate) fn touch(ctx: Ctx, first: i64, end: i64, purpose: Purpose) -> Vec<Branch> {
    let wanted = (end - first).clamp(0, i64::from(u32::MAX)) as u32;
    let state = State {
        ctx,
        first,
        wanted,
        done: Access::default(),
        purpose,
        hole: false,
        missing: None,
    };
    let mut branches = Vec::with_capacity(1);
    run(state, &mut branches);
    branches
}

fn run(mut state: State, branches: &mut Vec<Branch>) {
    match state.purpose {
        Purpose::Load | Purpose::Store(_) => hit!(state.ctx, VALUE),
        Purpose::PopulateRead | Purpose::PopulateWrite => {
            hit!(state.ctx, populate::LIKE_ACCESS);
        }
        Purpose::FaultIn(_) => {}
        Purpose::Kernel(_) => hit!(state.ctx, transfer::FAULTS_IN),
    }
    let mut errno = None;
    while state.done.pages < state.wanted {
        match next(&mut state) {
            Next::Done(pages) => state.done.pages += pages,
            Next::Again => {}
            Next::Fault(signo, code) => {
                hit!(state.ctx, STOPS);
                let page = state.first + i64::from(state.done.pages);
                let vma = current(&state).map(|(_, i)| &state.ctx.mm.vmas[i]);
                let forbidden = (signo, code) == (SIGSEGV, SEGV_PKUERR);
                let key = vma.map(|vma| vma.key).filter(|_| forbidden);
                state.done.fault = Some(Fault {
                    signo,
                    code,
                    key,
                    addr: page * i64::from(state.ctx.geometry().page_size),
                });
                break;
            }
            Next::Stop => break,
            Next::Errno(number) => {
                errno = Some(number);
                break;
            }
            Next::HugePage {
                zero_page_stands_there,
            } => {
                if state.ctx.world.may_be_short() {
                    let mut usual = state.clone();
                    huge_page(&mut usual, zero_page_stands_there);
                    run(usual, branches);
                    no_huge_page(&mut state, zero_page_stands_there);
                } else {
                    huge_page(&mut state, zero_page_stands_there);
                }
            }
        }
    }
    let errno = errno.or(state.hole.then_some(ENOMEM));
    let outcome = match (errno, state.purpose.is_populate()) {
        (Some(errno), _) => Outcome::Errno(errno),
        (None, true) => Outcome::Ok,
        (None, false) => Outcome::Access(state.done),
    };
    branches.push(state.ctx.finish(outcome));
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
    if !zero_page_stands_there && ctx.mm.vmas[i].uffd.missing {
        hit!(ctx, uffd::missing::MISSING);
        anon_vma::prepare(ctx, i);
        state.missing = Some(page);
        return;
    }
    if zero_page_stands_there {
        thp::replace_zero(ctx, i, page);
    } else if state.purpose.is_write(&ctx.mm.vmas[i]) {
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
    let purpose = state.purpose;
    let Some((page, i)) = current(state) else {
        if purpose.is_populate() {
            return hole(state);
        }
        if let Purpose::Kernel(_) = purpose {
            hit!(state.ctx, transfer::UNMAPPED);
            return Next::Stop;
        }
        hit!(state.ctx, UNMAPPED);
        return Next::Fault(SIGSEGV, SEGV_MAPERR);
    };
    let write = purpose.is_write(&state.ctx.mm.vmas[i]);
    let hugetlb = state.ctx.mm.vmas[i].hugetlb;
    if let (Purpose::Kernel(_), true) = (purpose, hugetlb) {
        hit!(state.ctx, hugetlb::NO_PAGE);
        return Next::Stop;
    }
    let refused = match purpose {
        Purpose::Load | Purpose::Store(_) => {
            denied(&mut state.ctx, i, write).map(|code| Next::Fault(SIGSEGV, code))
        }
        Purpose::PopulateRead | Purpose::PopulateWrite => {
            populate::refused(&mut state.ctx, i, write).map(Next::Errno)
        }
        Purpose::FaultIn(on_error) => match mlock::fault_in(&mut state.ctx, i) {
            FaultIn::Wanted => None,
            FaultIn::Nothing => Some(rest_of_vma(state, i)),
            FaultIn::Impossible => Some(impossible(state, i, on_error)),
        },
        Purpose::Kernel(kernel) => {
            kernel::refused(&mut state.ctx, i, page, kernel).then_some(Next::Stop)
        }
    };
    if let Some(refused) = refused {
        return refused;
    }
    let ctx = &mut state.ctx;
    if hugetlb {
        hit!(ctx, hugetlb::NO_PAGE);
        return told(state, i, of_file::beyond_end(purpose));
    }
    let g = ctx.geometry();
    let block = block_of(page, g);
    let wanted_end = (state.first + i64::from(state.wanted)) as u32;
    let limit = ctx.mm.vmas[i]
        .end
        .min(block_pages(block, g).1)
        .min(wanted_end);
    let (end, slot) = ctx.mm.slots.stretch(page, limit);
    if slot == Some(Slot::Guard) {
        if let Purpose::FaultIn(on_error) = purpose {
            return impossible(state, i, on_error);
        }
        if purpose.is_populate() {
            hit!(ctx, populate::GUARD);
            return Next::Errno(EFAULT);
        }
        if let Purpose::Kernel(_) = purpose {
            hit!(ctx, transfer::GUARD);
            return Next::Stop;
        }
        hit!(ctx, GUARD);
        return Next::Fault(SIGSEGV, SEGV_MAPERR);
    }
    if slot == Some(Slot::Poison) {
        hit!(ctx, uffd::poison::ACCESS);
        return match purpose {
            Purpose::FaultIn(on_error) => impossible(state, i, on_error),
            Purpose::PopulateRead | Purpose::PopulateWrite => Next::Errno(EHWPOISON),
            Purpose::Kernel(_) => Next::Stop,
            Purpose::Load | Purpose::Store(_) => {
                let told = ctx.world.profile.poison_told_by_signal;
                let code = if told { BUS_MCEERR_AR } else { BUS_ADRERR };
                Next::Fault(SIGBUS, code)
            }
        };
    }
    if slot == Some(Slot::UffdWp) {
        let next = of_file::through_marker(state, i, page, write);
        return told(state, i, next);
    }
    if let Some(slot @ Slot::Swap { .. }) = slot {
        swap::bring_back(ctx, page, end, slot);
        return Next::Again;
    }
    if let (Purpose::Kernel(kernel), Some(slot @ Slot::Anon { .. })) = (purpose, slot) {
        if kernel.gate == Gate::Pinned && !write && kernel::unshare(ctx, page, end, slot) {
            return Next::Again;
        }
    }
    let (end, protected) = ctx.mm.slots.uffd_wp_stretch(page, end);
    if write && protected && ctx.mm.vmas[i].uffd.wp {
        hit!(ctx, uffd::protect::STORE);
        let next = of_file::beyond_end(purpose);
        return told(state, i, next);
    }
    let (anon, shared) = (ctx.mm.vmas[i].is_anon(), ctx.mm.vmas[i].shared);
    let is_missing = state.missing == Some(page)
        || anon
            && slot.is_none()
            && !thp::possible(ctx, i, page)
            && uffd::missing::missing(ctx, i, page, write);
    let next = match (anon, write) {
        _ if is_missing => of_file::beyond_end(purpose),
        (true, false) => load_anon(state, i, page, end, slot),
        (true, true) => store_anon(ctx, i, page, end, slot, purpose.content(page)),
        (false, false) => of_file::load(state, i, page, end, slot),
        (false, true) if shared => of_file::store_shared(ctx, i, page, end, slot, purpose),
        (false, true) => of_file::store_private(ctx, i, page, end, slot, purpose),
    };
    if let (Next::Done(pages), true) = (&next, write) {
        state.ctx.mm.set_soft_dirty(page, page + pages);
        if state.ctx.mm.tells_soft_dirty {
            hit!(state.ctx, soft_dirty::SHOWN);
        }
    }
    told(state, i, next)
}

/// The step as the one who faults pages in takes it.
fn told(state: &mut State, i: usize, next: Next) -> Next {
    match (next, state.purpose) {
        (Next::Errno(_), Purpose::FaultIn(on_error)) => impossible(state, i, on_error),
        (next, _) => next,
    }
}

/// Nothing is to be done for the rest of VMA `i`.
fn rest_of_vma(state: &State, i: usize) -> Next {
    let at = state.first + i64::from(state.done.pages);
    let rest = state.wanted - state.done.pages;
    Next::Done(rest.min((i64::from(state.ctx.mm.vmas[i].end) - at) as u32))
}

/// A page of VMA `i` cannot be faulted in.
fn impossible(state: &mut State, i: usize, on_error: OnError) -> Next {
    match on_error {
        OnError::Tell => {
            hit!(state.ctx, mlock::IMPOSSIBLE);
            Next::Errno(ENOMEM)
        }
        OnError::NextVma => {
            hit!(state.ctx, mlock::PASSED_OVER);
            rest_of_vma(state, i)
        }
        OnError::Stop => Next::Done(state.wanted - state.done.pages),
    }
}

/// Populating has come to a hole.
fn hole(state: &mut State) -> Next {
    if matches!(state.purpose, Purpose::FaultIn(_)) {
        return over_hole(state);
    }
    if state.ctx.world.profile.populate_stops_at_hole {
        hit!(state.ctx, populate::HOLE);
        return Next::Errno(ENOMEM);
    }
    hit!(state.ctx, populate::OVER_HOLES);
    state.hole = true;
    over_hole(state)
}

/// Goes on behind a hole.
fn over_hole(state: &State) -> Next {
    let at = state.first + i64::from(state.done.pages);
    let mm = &state.ctx.mm;
    let next = mm.vmas.get(mm.first_vma_after(at.max(0) as u32));
    let rest = state.wanted - state.done.pages;
    Next::Done(next.map_or(rest, |vma| rest.min((i64::from(vma.start) - at) as u32)))
}

/// The si_code with which the VMA refuses an access.
fn denied(ctx: &mut Ctx, i: usize, write: bool) -> Option<i32> {
    let prot = ctx.mm.vmas[i].prot;
    if pkey::forbids(&ctx.mm.vmas[i], write) {
        match ctx.mm.vmas[i].key {
            Key::ExecuteOnly => hit!(ctx, PKEY),
            _ => hit!(ctx, pkey::DENIED),
        }
        return Some(SEGV_PKUERR);
    }
    let profile = &ctx.world.profile;
    if prot == Prot::new(false, false, true) {
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

/// A store that leaves `new` contents, or the fault of one alone.
fn store_anon(ctx: &mut Ctx, i: usize, start: u32, end: u32, slot: Option<Slot>, new: New) -> Next {
    let block = block_of(start, ctx.geometry());
    let huge = ctx.mm.tables[block] == Table::Huge;
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
        Some(Slot::Anon { id, content }) if huge => {
            if !thp::write_protected(ctx, start) {
                return Next::Again;
            }
            let content = new.over(0, content);
            let kept = ctx.mm.slots.uffd_wp_in(start, end);
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            for (from, to) in kept {
                ctx.mm.slots.set_uffd_wp(from, to);
            }
            thp::stored(ctx, i, block, id);
            let (first, last) = block_pages(block, ctx.geometry());
            ctx.mm.set_soft_dirty(first, last);
            Next::Done(end - start)
        }
        Some(slot @ Slot::Anon { id, content }) => {
            let content = new.over(0, content);
            for (from, to, copied) in folio::by_store(ctx, start, end, slot) {
                let content = content.plus(from - start);
                let mut kept = Vec::new();
                let id = if copied {
                    hit!(ctx, COPY_ON_WRITE);
                    ctx.world.new_pages(to - from)
                } else {
                    hit!(ctx, IN_PLACE);
                    kept = ctx.mm.slots.uffd_wp_in(from, to);
                    let id = crate::space::slots::PageId(id.0 + u64::from(from - start));
                    if !ctx.mm.vmas[i].droppable {
                        ctx.mm.stored(id, to - from);
                    }
                    let last = id.0 + u64::from(to - from);
                    ctx.world.folios.forked.remove(id.0, last);
                    id
                };
                ctx.mm.slots.set(from, to, Slot::Anon { id, content });
                for (from, to) in kept {
                    ctx.mm.slots.set_uffd_wp(from, to);
                }
            }
            Next::Done(end - start)
        }
        _ => {
            hit!(ctx, NEW_PAGE);
            anon_vma::prepare(ctx, i);
            let id = ctx.world.new_pages(end - start);
            droppable::made(ctx, i, id, end - start);
            let content = new.over(0, Content::ZERO);
            ctx.mm.slots.set(start, end, Slot::Anon { id, content });
            ctx.mm.tables[block] = Table::Pte;
            Next::Done(end - start)
        }
    }
}
