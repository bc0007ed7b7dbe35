//! What each operation may do. One file per family; each rule is a documented constant beside the code that implements it.
//!
//! Someone who wants to know how guard regions work reads `guard` first, then `tables` and `access`.
//!
//! | file | subject |
//! | --- | --- |
//! | `args` | which ranges the calls accept |
//! | `brk` | the heap |
//! | `mmap`, `munmap`, `mprotect`, `madvise`, `mremap` | one system call each |
//! | `process_madvise` | advice for several ranges, and for other processes |
//! | `transfer` | memory that the kernel reads and writes for a caller |
//! | `resize` | ftruncate, holes in files, madvise REMOVE |
//! | `seal` | seals of memfds |
//! | `moves` | how mremap moves VMAs, page tables and slots |
//! | `secret` | memfd_secret |
//! | `hugetlb` | MAP_HUGETLB |
//! | `hints` | madvise that only sets flags of VMAs |
//! | `populate` | madvise POPULATE_READ and POPULATE_WRITE |
//! | `free` | madvise FREE |
//! | `droppable` | MAP_DROPPABLE |
//! | `collapse` | madvise COLLAPSE |
//! | `reclaim` | madvise COLD and PAGEOUT |
//! | `folio` | large folios: when one is split, when it counts as shared |
//! | `pkey` | protection keys |
//! | `mlock` | mlock and its kin, locked mappings |
//! | `mseal` | mseal, and what a seal refuses |
//! | `guard` | madvise GUARD_INSTALL and GUARD_REMOVE, as the kernel's steps |
//! | `access` | loads and stores: faults and signals |
//! | `file` | faults on files and shared memory |
//! | `thp` | when a huge page comes and when it is split |
//! | `tables` | zapping slots, freeing page tables |
//! | `merge` | splitting and merging VMAs |
//! | `anon_vma` | where a VMA gets its anon_vma from |
//! | `fork` | what a child gets, what an exit leaves |
//! | `failing` | allocations that fail within a call |
//! | `limits` | where the model ends |
//! | `report` | how pagemap, mincore and smaps show it |
//! | `sizes` | what smaps adds up |
//! | `soft_dirty` | clear_refs, and what it lets pagemap tell |
//! | `swap` | swap space |
//! | `uffd` | userfaultfd: registered memory, pages filled in by hand |

pub(crate) mod access;
pub(crate) mod anon_vma;
pub(crate) mod args;
pub(crate) mod brk;
pub(crate) mod collapse;
pub(crate) mod droppable;
pub(crate) mod errno;
pub(crate) mod failing;
pub(crate) mod file;
pub(crate) mod folio;
pub(crate) mod fork;
pub(crate) mod free;
pub(crate) mod guard;
pub(crate) mod hints;
pub(crate) mod hugetlb;
pub(crate) mod limits;
pub(crate) mod madvise;
pub(crate) mod merge;
pub(crate) mod mlock;
pub(crate) mod mmap;
pub(crate) mod moves;
pub(crate) mod mprotect;
pub(crate) mod mremap;
pub(crate) mod mseal;
pub(crate) mod munmap;
pub(crate) mod pkey;
pub(crate) mod populate;
pub(crate) mod process_madvise;
pub(crate) mod reclaim;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod resize;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod sizes;
pub(crate) mod soft_dirty;
pub(crate) mod swap;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod thp;
mod thp_disable;
pub(crate) mod transfer;
pub(crate) mod uffd;

use access::Purpose;
use failing::Failing;
pub use registry::{Rule, RuleId, RuleSet, RULES};

use crate::geometry::{Geometry, Range};
use crate::judge::Outcome;
use crate::program::{ActorId, Advice, KeyGiven, Op, Step, UffdCall, Whose};
use crate::space::mm::Mm;
use crate::space::ranges::Ranges;
use crate::space::slots::Slot;
use crate::space::{Branch, World};
use std::sync::Arc;

/// One branch in the making: the world, the acting actor's address space taken out of it, and the rules used so far.
#[derive(Debug, Clone)]
pub(crate) struct Ctx {
    pub world: World,
    pub actor: ActorId,
    pub mm: Mm,
    pub rules: RuleSet,
    /// Where the kernel may go one way or another: the ways chosen so far, from [`every_way`].
    ways: Vec<bool>,
    /// How many of them have been gone.
    gone: usize,
    /// The allocation that fails, if one does.
    failing: Failing,
}

impl Ctx {
    /// Where the kernel may do the usual thing or another: whether it does the other.
    pub fn otherwise(&mut self) -> bool {
        let at = self.gone;
        self.gone += 1;
        match self.ways.get(at) {
            Some(way) => *way,
            None => {
                self.ways.push(false);
                false
            }
        }
    }

    /// The pages `[start, end)` of one VMA, which hold `slot` and what follows it, by whether another address space maps
    /// the same page: (start, end, mapped elsewhere).
    pub fn sharing(&self, start: u32, end: u32, slot: Slot) -> Vec<(u32, u32, bool)> {
        self.world
            .sharing_in(self.actor, &self.mm, start, end, slot, false)
    }

    /// The same, with anonymous pages counting as mapped elsewhere that are swapped out there.
    pub fn sharing_or_swapped(&self, start: u32, end: u32, slot: Slot) -> Vec<(u32, u32, bool)> {
        self.world
            .sharing_in(self.actor, &self.mm, start, end, slot, true)
    }

    /// Goes on with a branch to which an earlier part of the call has come.
    pub fn resume(branch: Branch, actor: ActorId) -> Ctx {
        let Branch {
            mut world, rules, ..
        } = branch;
        let mm = world.actors[usize::from(actor)].take();
        Ctx {
            world,
            actor,
            mm: mm.map(Arc::unwrap_or_clone).unwrap_or_default(),
            rules,
            ways: Vec::new(),
            gone: 0,
            failing: Failing::default(),
        }
    }

    /// Goes on in the address space of another actor, if one is named.
    pub fn in_the_memory_of(mut self, whose: Whose) -> Ctx {
        let Some(other) = whose.filter(|other| *other != self.actor) else {
            return self;
        };
        self.world.actors[usize::from(self.actor)] = Some(Arc::new(self.mm));
        let mm = self.world.actors.get_mut(usize::from(other));
        self.mm = mm
            .and_then(Option::take)
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default();
        self.actor = other;
        self
    }

    pub fn geometry(&self) -> Geometry {
        self.world.geometry
    }

    /// Puts the address space back.
    pub fn finish(mut self, outcome: Outcome) -> Branch {
        self.world.actors[usize::from(self.actor)] = Some(Arc::new(self.mm));
        Branch {
            world: self.world,
            outcome,
            rules: self.rules,
        }
    }
}

/// Notes that a rule was used.
macro_rules! hit {
    ($ctx:expr, $rule:path) => {
        $ctx.rules
            .insert_index(const { $crate::rules::registry::index_of(&$rule) })
    };
}
pub(crate) use hit;

/// An actor's address space taken out of a world, to do a part of an op in it.
pub(crate) fn resume(world: World, actor: ActorId) -> Ctx {
    let branch = Branch {
        world,
        outcome: Outcome::Ok,
        rules: RuleSet::EMPTY,
    };
    Ctx::resume(branch, actor)
}

/// One page of an access.
pub(crate) fn touch_page(ctx: Ctx, page: i64, purpose: Purpose) -> Vec<Branch> {
    access::touch(ctx, page, page + 1, purpose)
}

/// Every way a step may go.
pub(crate) fn apply(world: &World, step: &Step) -> Vec<Branch> {
    let mut ways = perform(world, step, Failing::default());
    if step.fail.is_some() {
        if step.op.advice() == Some(Advice::GuardRemove) {
            let rule = const { registry::index_of(&failing::REMOVE) };
            ways.iter_mut().for_each(|way| way.rules.insert_index(rule));
        }
        ways.extend(failing::any(world, step));
    }
    ways
}

/// Every way a step may go, with an allocation that fails or without.
fn perform(world: &World, step: &Step, failing: Failing) -> Vec<Branch> {
    let mut world = world.clone();
    world.swap.leaving = Ranges::default();
    world.events.clear();
    let slot = world.actors.get_mut(usize::from(step.actor));
    let Some(mm) = slot.and_then(Option::take) else {
        return vec![Branch {
            world,
            outcome: Outcome::Errno(errno::ESRCH),
            rules: RuleSet::EMPTY,
        }];
    };
    let mut ctx = Ctx {
        world,
        actor: step.actor,
        mm: Arc::unwrap_or_clone(mm),
        rules: RuleSet::EMPTY,
        ways: Vec::new(),
        gone: 0,
        failing,
    };
    let outcome = match step.op {
        Op::Mmap {
            range,
            prot,
            backing,
            place,
            flags,
        } => return mmap::mmap(ctx, range, prot, backing, place, flags),
        Op::Brk { to } => return brk::brk(ctx, to),
        Op::Munmap { range } => munmap::munmap(&mut ctx, range),
        Op::Mprotect { range, prot } => {
            return mprotect::mprotect(ctx, range, prot, KeyGiven::AsIs)
        }
        Op::PkeyMprotect { range, prot, key } => {
            return match pkey::has_call(&mut ctx) {
                Ok(()) => mprotect::mprotect(ctx, range, prot, key),
                Err(errno) => vec![ctx.finish(Outcome::Errno(errno))],
            }
        }
        Op::Madvise { range, advice } => return advise(ctx, range, advice),
        Op::ProcessMadvise {
            advice,
            vectors,
            whose,
            unknown_flag,
        } => return process_madvise::process_madvise(ctx, advice, vectors, whose, unknown_flag),
        Op::Mlock { range, call } => return mlock::mlock(ctx, range, call),
        Op::Mlockall { flags } => return mlock::mlockall(ctx, flags),
        Op::Munlockall => mlock::munlockall(&mut ctx),
        Op::ClearSoftDirty => soft_dirty::clear(&mut ctx),
        Op::SwitchHuge(how) => thp_disable::set(&mut ctx, how),
        Op::Mseal {
            range,
            unknown_flag,
        } => mseal::mseal(&mut ctx, range, unknown_flag),
        Op::Mremap { range, to, how } => return mremap::mremap(ctx, range, to, how),
        Op::Look { range } => report::look(&mut ctx, range),
        // It is about no memory.
        Op::Signal { .. } => Outcome::Ok,
        Op::Read { range } => return access::access(ctx, range, Purpose::Load),
        Op::Write { range, tag } => return access::access(ctx, range, Purpose::Store(tag)),
        Op::Transfer {
            way,
            vectors,
            whose,
            tag,
        } => return transfer::transfer(ctx, way, vectors, whose, tag),
        Op::Uffd {
            range,
            call: call @ UffdCall::Move { .. },
        } => return every_way(ctx, |ctx| uffd::call(ctx, range, call)),
        Op::Uffd { range, call } => uffd::call(&mut ctx, range, call),
        Op::Truncate { file, pages } => resize::truncate(&mut ctx, file, pages.into()),
        Op::PunchHole { file, from, to } => {
            resize::punch_hole(&mut ctx, file, from.into(), to.into())
        }
        Op::Seal { file, seals } => seal::add(&mut ctx, file, seals),
        Op::Fork { child } => fork::fork(&mut ctx, child),
        Op::Exit => return vec![fork::exit(ctx)],
    };
    vec![ctx.finish(outcome)]
}

/// One advice for one range.
fn advise(mut ctx: Ctx, range: Range, advice: Advice) -> Vec<Branch> {
    match advice {
        Advice::PopulateRead | Advice::PopulateWrite => {
            populate::populate(ctx, range, advice == Advice::PopulateWrite)
        }
        Advice::Free | Advice::Cold | Advice::PageOut | Advice::Collapse => {
            every_way(ctx, |ctx| madvise::madvise(ctx, range, advice))
        }
        _ => {
            let outcome = madvise::madvise(&mut ctx, range, advice);
            vec![ctx.finish(outcome)]
        }
    }
}

/// Runs `step` along every way that [`Ctx::otherwise`] opens, the most usual first.
pub(crate) fn every_way(ctx: Ctx, step: impl Fn(&mut Ctx) -> Outcome) -> Vec<Branch> {
    let mut branches = Vec::with_capacity(1);
    let mut waiting = vec![Vec::new()];
    while let Some(ways) = waiting.pop() {
        let chosen = ways.len();
        let mut ctx = Ctx {
            ways,
            ..ctx.clone()
        };
        let outcome = step(&mut ctx);
        for at in (chosen..ctx.ways.len()).rev() {
            let mut other = ctx.ways[..at].to_vec();
            other.push(true);
            waiting.push(other);
        }
        branches.push(ctx.finish(outcome));
    }
    branches
}
