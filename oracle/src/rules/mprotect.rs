//! mprotect.

use super::access::{touch, OnError, Purpose};
use super::args::{Span, ALIGNMENT, EMPTY, WRAPS};
use super::errno::{EACCES, EINVAL, ENOMEM, EPERM};
use super::registry::Rule;
use super::{hit, merge, mlock, mseal, pkey, secret, soft_dirty, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::{KeyGiven, Prot};
use crate::space::{Branch, Locked};

pub const KEEPS_PAGES: Rule = Rule {
    name: "mprotect/keeps-pages",
    text: "mprotect touches no page: contents, sharing, guards and empty slots stay as they are; so do huge pages, unless \
           the VMA is split inside one.",
    source: "mm/mprotect.c change_protection",
    since: "all",
    about: &[Class::PageState, Class::Value, Class::Residency],
};

pub const CHANGES: Rule = Rule {
    name: "mprotect/changes",
    text: "mprotect changes the protection of every VMA of the range in ascending order, splitting at the ends and \
           merging each part with its neighbours.",
    source: "mm/mprotect.c do_mprotect_pkey, mprotect_fixup",
    since: "all",
    about: &[Class::Vma, Class::Errno],
};

pub const SAME: Rule = Rule {
    name: "mprotect/same-is-nothing",
    text: "A VMA that has the protection already is left alone: no split, no merge, no change of accounting.",
    source: "mm/mprotect.c mprotect_fixup",
    since: "all",
    about: &[Class::Vma, Class::VmFlags],
};

pub const FIRST_UNMAPPED: Rule = Rule {
    name: "mprotect/first-unmapped",
    text: "A range whose first page is not mapped is ENOMEM, and nothing changes.",
    source: "mm/mprotect.c do_mprotect_pkey",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const HOLE: Rule = Rule {
    name: "mprotect/hole",
    text: "At a hole mprotect stops with ENOMEM; what lies before the hole is changed, what lies behind is not.",
    source: "mm/mprotect.c do_mprotect_pkey",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const ACCOUNTS: Rule = Rule {
    name: "mprotect/accounts-when-writable",
    text: "Private memory that becomes writable is charged (`ac`) if it was not before, and stays so when it becomes \
           read-only again.",
    source: "mm/mprotect.c mprotect_fixup",
    since: "all",
    about: &[Class::VmFlags],
};

pub const UNACCOUNTS: Rule = Rule {
    name: "mprotect/unaccounts-without-anon-vma",
    text: "Private anonymous memory that has no anon_vma yet loses `ac` when it becomes unwritable. An anon_vma, which a write \
           or a guard install brings, prevents that.",
    source: "mm/mprotect.c mprotect_fixup; 6.3, mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()",
    since: "6.3",
    about: &[Class::VmFlags, Class::Vma],
};

pub const MAY_WRITE: Rule = Rule {
    name: "mprotect/may-write",
    text: "A shared mapping through a descriptor that cannot write (no `mw`) never becomes writable: EACCES at that VMA, whatever \
           its protection; VMAs before it are changed. A private mapping of the same descriptor may.",
    source: "mm/mprotect.c do_mprotect_pkey: VM_MAYWRITE; mmap(2), EACCES",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

/// mprotect(2), and pkey_mprotect(2).
pub(crate) fn mprotect(mut ctx: Ctx, range: Range, prot: Prot, key: KeyGiven) -> Vec<Branch> {
    let span = Span::new(range, ctx.geometry());
    if let Some(outcome) = at_once(&mut ctx, span, key) {
        return vec![ctx.finish(outcome)];
    }
    let (start, end, outside) = span.clip(ctx.geometry());
    let mut branches = Vec::with_capacity(1);
    // Locked memory is faulted in on the way, which may go more than one way: what is left to do, the most usual last.
    let mut open = vec![(ctx, start)];
    while let Some((mut ctx, at)) = open.pop() {
        let Some(i) = ctx.mm.vma_index(at).filter(|_| at < end) else {
            let outcome = if at < end || outside {
                hit!(ctx, HOLE);
                Outcome::Errno(ENOMEM)
            } else {
                Outcome::Ok
            };
            branches.push(ctx.finish(outcome));
            continue;
        };
        if prot.exec && secret::is(&ctx, &ctx.mm.vmas[i]) {
            hit!(ctx, secret::MAPS);
            branches.push(ctx.finish(Outcome::Errno(EACCES)));
            continue;
        }
        if prot.write && !ctx.mm.vmas[i].may_write {
            hit!(ctx, MAY_WRITE);
            branches.push(ctx.finish(Outcome::Errno(EACCES)));
            continue;
        }
        if ctx.mm.vmas[i].sealed {
            hit!(ctx, mseal::PROTECT);
            branches.push(ctx.finish(Outcome::Errno(EPERM)));
            continue;
        }
        let to = ctx.mm.vmas[i].end.min(end);
        let faults_in = faults_in(&ctx, i, prot);
        let next = match fixup(&mut ctx, i, at, to, prot, key) {
            Ok(next) => next,
            Err(errno) => {
                branches.push(ctx.finish(Outcome::Errno(errno)));
                continue;
            }
        };
        if !faults_in {
            open.push((ctx, next));
            continue;
        }
        hit!(ctx, mlock::MPROTECT);
        let actor = ctx.actor;
        let ways = touch(ctx, at.into(), to.into(), Purpose::FaultIn(OnError::Stop)).into_iter();
        open.extend(ways.rev().map(|way| (Ctx::resume(way, actor), next)));
    }
    branches
}

/// How the call ends for the form of its range, or for its first page.
fn at_once(ctx: &mut Ctx, span: Span, key: KeyGiven) -> Option<Outcome> {
    if !span.aligned {
        hit!(ctx, ALIGNMENT);
        return Some(Outcome::Errno(EINVAL));
    }
    if span.empty {
        hit!(ctx, EMPTY);
        return Some(Outcome::Ok);
    }
    if span.wraps {
        hit!(ctx, WRAPS);
        return Some(Outcome::Errno(ENOMEM));
    }
    if let Err(errno) = pkey::allocated(ctx, key) {
        return Some(Outcome::Errno(errno));
    }
    let (start, _, _) = span.clip(ctx.geometry());
    if span.start < 0 || ctx.mm.vma_index(start).is_none() {
        hit!(ctx, FIRST_UNMAPPED);
        return Some(Outcome::Errno(ENOMEM));
    }
    None
}

/// Whether a change to `prot` brings the pages of VMA `i` in.
fn faults_in(ctx: &Ctx, i: usize, prot: Prot) -> bool {
    let vma = &ctx.mm.vmas[i];
    vma.locked != Locked::No && !vma.shared && !vma.prot.write && prot.write
}

/// Changes one VMA from `start` to `to`, within it. Returns where to go on.
///
/// # Errors
/// That of [`merge::modify`].
fn fixup(
    ctx: &mut Ctx,
    i: usize,
    start: u32,
    to: u32,
    prot: Prot,
    given: KeyGiven,
) -> Result<u32, i32> {
    let key = pkey::after(ctx, i, prot, given);
    let vma = &ctx.mm.vmas[i];
    if vma.prot == prot && vma.key == key {
        hit!(ctx, SAME);
        return Ok(to);
    }
    let mut new = vma.clone();
    new.prot = prot;
    // To and from PROT_EXEC alone it changes with mprotect, too.
    if vma.key != key && given != KeyGiven::AsIs {
        hit!(ctx, pkey::SETS);
    }
    new.key = key;
    let protects = vma.prot.write && !prot.write;
    if prot.write {
        if !vma.account && !vma.prot.write && !vma.shared && !vma.noreserve {
            hit!(ctx, ACCOUNTS);
            new.account = true;
        }
    } else if vma.account && vma.is_anon() {
        if vma.anon_vma.is_none() && ctx.world.profile.mprotect_unaccounts {
            hit!(ctx, UNACCOUNTS);
            new.account = false;
        } else {
            hit!(ctx, ACCOUNTS);
        }
    }
    hit!(ctx, CHANGES);
    hit!(ctx, KEEPS_PAGES);
    let next = merge::modify(ctx, i, start, to, new)?;
    ctx.mm.may_be_write_protected |= protects;
    soft_dirty::protected(ctx, start, to);
    Ok(next)
}
