//! process_madvise: advice for several ranges at once, and for other processes.

use super::errno::{EINVAL, EPERM};
use super::registry::Rule;
use super::{advise, hit, madvise, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Moved, Outcome};
use crate::program::{Advice, Vectors, Whose};
use crate::space::Branch;

pub const VECTOR: Rule = Rule {
    name: "process-madvise/one-by-one",
    text: "process_madvise does for each range in turn what madvise would, whoever's memory it is, and returns the length of all of \
           them as given, not rounded up.",
    source: "mm/madvise.c vector_madvise; process_madvise(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState, Class::Residency, Class::Value],
};

pub const STOPS: Rule = Rule {
    name: "process-madvise/first-error-stops",
    text: "The first range that is refused ends the call, though a part of it, as all around a hole, has been done. The call returns \
           the length of the ranges before, or, where that is nothing, the errno.",
    source: "mm/madvise.c vector_madvise; process_madvise(2)",
    since: "all",
    about: &[Class::Errno],
};

pub const EMPTY: Rule = Rule {
    name: "process-madvise/empty-ranges",
    text: "Of empty ranges only the first in the call is looked at, and only when another is not empty: if it does not start at \
           a page, EINVAL. Those behind are passed over; with nothing but empty ranges the call returns 0.",
    source: "mm/madvise.c vector_madvise, lib/iov_iter.c iov_iter_advance",
    since: "all",
    about: &[Class::Errno],
};

pub const FLAGS: Rule = Rule {
    name: "process-madvise/no-flags",
    text: "process_madvise knows no flags: EINVAL, before anything else is looked at.",
    source: "mm/madvise.c process_madvise; process_madvise(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const FEW: Rule = Rule {
    name: "process-madvise/few-for-others",
    text: "For another process there is COLD, PAGEOUT, WILLNEED and COLLAPSE; other advice is EINVAL, before rights are asked about. \
           Before 6.13 it is the same on oneself: guards neither.",
    source: "mm/madvise.c process_madvise_remote_valid, process_madvise_behavior_valid; 6.13, mm/madvise: allow process_madvise() \
             to perform any operation on self",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const NICE: Rule = Rule {
    name: "process-madvise/needs-nice",
    text: "Advice for another process, its user's own too, needs CAP_SYS_NICE: EPERM.",
    source: "mm/madvise.c process_madvise; process_madvise(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const NICE_FOR_ALL: Rule = Rule {
    name: "process-madvise/needs-nice-for-oneself",
    text: "6.1 asks for CAP_SYS_NICE in any case.",
    source: "mm/madvise.c process_madvise of 6.1",
    since: "before 6.12",
    about: &[Class::Errno, Class::PageState],
};

/// process_madvise(2).
pub(crate) fn process_madvise(
    mut ctx: Ctx,
    advice: Advice,
    vectors: Vectors,
    whose: Whose,
    unknown_flag: bool,
) -> Vec<Branch> {
    let own = whose.is_none_or(|other| other == ctx.actor);
    if let Err(errno) = permitted(&mut ctx, advice, own, unknown_flag) {
        return vec![ctx.finish(Outcome::Errno(errno))];
    }
    hit!(ctx, VECTOR);
    let g = ctx.geometry();
    let mut ctx = ctx.in_the_memory_of(whose);
    let mut ranges: Vec<Range> = vectors.iter().collect();
    if vectors.bytes(g) == 0 {
        hit!(ctx, EMPTY);
        ranges.clear();
    }
    let mut first = true;
    ranges.retain(|range| std::mem::take(&mut first) || range.start != range.end);
    if ranges.len() < vectors.iter().count() || ranges.iter().any(|r| r.start == r.end) {
        hit!(ctx, EMPTY);
    }
    let mut branches = Vec::with_capacity(1);
    go_on(ctx, advice, vectors, &ranges, 0, &mut branches);
    branches
}

/// Whether the call gets as far as the first range.
pub(crate) fn permitted(
    ctx: &mut Ctx,
    advice: Advice,
    own: bool,
    unknown_flag: bool,
) -> Result<(), i32> {
    let root = ctx.world.knobs.root;
    let of_others = matches!(
        advice,
        Advice::Cold | Advice::PageOut | Advice::WillNeed | Advice::Collapse
    );
    if unknown_flag {
        hit!(ctx, FLAGS);
        return Err(EINVAL);
    }
    if !madvise::known(ctx, advice) {
        return Err(EINVAL);
    }
    let profile = &ctx.world.profile;
    let any = own && profile.process_madvise_self_any;
    if !(of_others || any) {
        hit!(ctx, FEW);
        return Err(EINVAL);
    }
    if root {
        return Ok(());
    }
    if !own {
        hit!(ctx, NICE);
        return Err(EPERM);
    }
    if profile.process_madvise_needs_nice {
        hit!(ctx, NICE_FOR_ALL);
        return Err(EPERM);
    }
    Ok(())
}

/// The ranges that are left, `done` bytes behind the start.
fn go_on(
    mut ctx: Ctx,
    advice: Advice,
    vectors: Vectors,
    ranges: &[Range],
    done: u64,
    branches: &mut Vec<Branch>,
) {
    let g = ctx.geometry();
    let moved = |bytes| Outcome::Moved(Moved::of(vectors, bytes, Vec::new(), 0, g));
    let Some((range, rest)) = ranges.split_first() else {
        return branches.push(ctx.finish(moved(done)));
    };
    let actor = ctx.actor;
    for branch in advise(ctx, *range, advice) {
        let outcome = branch.outcome.clone();
        ctx = Ctx::resume(branch, actor);
        match outcome {
            Outcome::Errno(_) if done > 0 => {
                hit!(ctx, STOPS);
                branches.push(ctx.finish(moved(done)));
            }
            Outcome::Errno(errno) => {
                hit!(ctx, STOPS);
                branches.push(ctx.finish(Outcome::Errno(errno)));
            }
            _ => go_on(
                ctx,
                advice,
                vectors,
                rest,
                done + range.byte_len(g),
                branches,
            ),
        }
    }
}
