//! madvise POPULATE_READ and POPULATE_WRITE: the kernel faults pages in as a load or a store of each would, and says by errno
//! what would have been a signal.

use super::access::{touch, Purpose};
use super::errno::EINVAL;
use super::registry::Rule;
use super::{hit, madvise, pkey, secret, Ctx};
use crate::geometry::Range;
use crate::judge::Class;
use crate::space::Branch;

pub const LIKE_ACCESS: Rule = Rule {
    name: "madvise/populate/like-an-access",
    text: "POPULATE_READ faults the pages of the range in as a load of each would, POPULATE_WRITE as a store would, copies for \
           copy-on-write included; contents stay. Huge pages, the zero page and fault-around come as with an access.",
    source: "mm/madvise.c madvise_populate, mm/gup.c faultin_page_range; madvise(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const GUARD: Rule = Rule {
    name: "madvise/populate/guard-is-efault",
    text:
        "A guard ends the call with EFAULT; the pages before it are populated, nothing after it is.",
    source:
        "mm/madvise.c madvise_populate: VM_FAULT_SIGSEGV; madvise(2); selftests/mm/guard-regions.c",
    since: "6.13",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const HOLE: Rule = Rule {
    name: "madvise/populate/hole-is-enomem",
    text:
        "A hole ends the call with ENOMEM; unlike other advice it does not go on behind the hole.",
    source: "mm/madvise.c madvise_populate; madvise(2)",
    since: "6.9",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const OVER_HOLES: Rule = Rule {
    name: "madvise/populate/goes-over-holes",
    text: "Before 6.9 populating is one more advice that is given VMA by VMA: it goes on behind a hole and returns ENOMEM at the \
           end.",
    source: "mm/madvise.c madvise_walk_vmas, madvise_populate of 6.1; 6.9, mm/madvise: make MADV_POPULATE_(READ|WRITE) handle \
             VM_FAULT_RETRY properly; found by a divergence on 6.1",
    since: "before 6.9",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

pub const DENIED: Rule = Rule {
    name: "madvise/populate/denied-is-einval",
    text: "A VMA without PROT_READ ends POPULATE_READ with EINVAL, one without PROT_WRITE POPULATE_WRITE; what comes before it \
           is populated. Write-only memory counts as unreadable, though the processor would let a load pass.",
    source: "mm/gup.c check_vma_flags, mm/madvise.c madvise_populate; madvise(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency],
};

/// Why VMA `i` cannot be populated.
pub(super) fn refused(ctx: &mut Ctx, i: usize, write: bool) -> Option<i32> {
    if secret::is(ctx, &ctx.mm.vmas[i]) {
        hit!(ctx, secret::OUT_OF_REACH);
        return Some(EINVAL);
    }
    let prot = ctx.mm.vmas[i].prot;
    let allowed = if write { prot.write } else { prot.read };
    if allowed && !pkey::forbids(&ctx.mm.vmas[i], write) {
        return None;
    }
    if allowed {
        hit!(ctx, pkey::FAULTS_NOTHING_IN);
        return Some(EINVAL);
    }
    hit!(ctx, DENIED);
    Some(EINVAL)
}

/// madvise(2) with POPULATE_READ or POPULATE_WRITE.
pub(crate) fn populate(mut ctx: Ctx, range: Range, write: bool) -> Vec<Branch> {
    let span = match madvise::span(&mut ctx, range) {
        Ok(span) => span,
        Err(outcome) => return vec![ctx.finish(outcome)],
    };
    let purpose = if write {
        Purpose::PopulateWrite
    } else {
        Purpose::PopulateRead
    };
    touch(ctx, span.start, span.end, purpose)
}
