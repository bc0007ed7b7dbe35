//! Counting for [`Tightness`]: which values an op could have changed, and for how many of them the branches agree.

use super::compare::Expected;
use super::{Observation, PageRun, PageSeen, SpaceSeen, Tightness, VmaSeen};
use crate::geometry::Geometry;
use crate::program::{ActorId, Advice, AdviceReach, Op, Step, HEAP};

/// What an op can change in its actor's address space, besides what it returns.
struct Reach {
    /// Stretches of pages, from the arena's start.
    pages: Vec<(u32, u32)>,
    /// Borders, protection and sharing of VMAs.
    vmas: bool,
    /// VmFlags.
    flags: bool,
    /// The actors whose address space it is.
    actors: Vec<ActorId>,
}

/// `living`: who lives after the step.
fn reach(step: &Step, living: &[ActorId], g: Geometry) -> Reach {
    let limit = i64::from(g.arena_pages());
    let whole = vec![(0, limit as u32)];
    let (vmas, flags) = match step.op {
        Op::Mmap { .. }
        | Op::Munmap { .. }
        | Op::Brk { .. }
        | Op::Mprotect { .. }
        | Op::PkeyMprotect { .. }
        | Op::Mremap { .. }
        | Op::Mlock { .. }
        | Op::Mlockall { .. }
        | Op::Munlockall
        | Op::ClearSoftDirty
        | Op::Mseal { .. }
        | Op::Fork { .. } => (true, true),
        Op::Uffd { call, .. } => (!call.fills(), !call.fills()),
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
            let reach = advice.reach();
            (reach >= AdviceReach::Vmas, reach >= AdviceReach::Flags)
        }
        Op::Look { .. }
        | Op::Signal { .. }
        | Op::Read { .. }
        | Op::Write { .. }
        | Op::Transfer { .. }
        | Op::Truncate { .. }
        | Op::PunchHole { .. }
        | Op::Seal { .. }
        | Op::SwitchHuge(_)
        | Op::Exit => (false, false),
    };
    let (pages, actors) = match step.op {
        Op::Fork { child } => (whole, vec![step.actor, child]),
        Op::Exit => (vec![], vec![]),
        Op::Mlockall { .. } | Op::Munlockall | Op::ClearSoftDirty => (whole, vec![step.actor]),
        Op::Brk { .. } => {
            let heap = HEAP.page_index(g).clamp(0, limit);
            (vec![(heap as u32, limit as u32)], vec![step.actor])
        }
        // Whoever maps the file, wherever.
        Op::Truncate { .. }
        | Op::PunchHole { .. }
        | Op::Madvise {
            advice: Advice::Remove,
            ..
        } => (whole, living.to_vec()),
        _ => {
            let pages = step.op.ranges().map(|r| {
                let start = r.start.page_index(g).clamp(0, limit);
                let end =
                    (r.end.page_index(g) + i64::from(!r.end.is_page_aligned())).clamp(start, limit);
                (start as u32, end as u32)
            });
            let actor = step.op.other().unwrap_or(step.actor);
            (pages.collect(), vec![actor])
        }
    };
    Reach {
        pages,
        vmas,
        flags,
        actors,
    }
}

/// What one step counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// All but VmFlags.
    pub tightness: Tightness,
    /// VmFlags of the VMAs in reach.
    pub flags: Tightness,
    /// Whether the step's observation has VmFlags. If not, they stay open until one has.
    pub flags_seen: bool,
}

/// Counts one step: what the branches allowed before `seen` was known.
pub(super) fn count(step: &Step, branches: &[Expected], seen: &Observation, g: Geometry) -> Count {
    let living: Vec<ActorId> = branches.first().map_or_else(Vec::new, |branch| {
        branch.spaces.iter().map(|(actor, _)| *actor).collect()
    });
    let reach = reach(step, &living, g);
    let mut tightness = Tightness::default();
    let mut flags = Tightness::default();
    let mut value = |exact: bool| {
        tightness.values += 1;
        tightness.exact += u64::from(exact);
    };
    value(agree(branches, |b| &b.outcome));
    for &actor in &reach.actors {
        let spaces: Vec<&SpaceSeen> = branches
            .iter()
            .filter_map(|b| space(&b.spaces, actor))
            .collect();
        let Some((first, others)) = spaces.split_first() else {
            continue;
        };
        if space(&seen.spaces, actor).is_none() {
            value(false);
            continue;
        }
        for (i, vma) in first.vmas.iter().enumerate() {
            let reached = |&(from, to): &(u32, u32)| from <= vma.end && vma.start <= to;
            if !reach.pages.iter().any(reached) {
                continue;
            }
            let theirs = || others.iter().map(|s| s.vmas.get(i));
            let same = |f: &dyn Fn(&VmaSeen, &VmaSeen) -> bool| {
                theirs().all(|v| v.is_some_and(|v| f(v, vma)))
            };
            if reach.vmas {
                value(same(&|a, b| a.start == b.start));
                value(same(&|a, b| a.end == b.end));
                value(same(&|a, b| a.prot == b.prot));
                value(same(&|a, b| a.shared == b.shared));
                value(same(&|a, b| a.file_page == b.file_page));
            }
            if reach.flags {
                flags.values += 1;
                flags.exact += u64::from(same(&|a, b| a.flags == b.flags));
            }
        }
        pages(&spaces, &reach.pages, g, &mut value);
    }
    Count {
        tightness,
        flags,
        flags_seen: seen
            .spaces
            .iter()
            .all(|(_, space)| space.vmas.iter().all(|v| v.flags.is_some())),
    }
}

/// Counts runs of pages with the same allowed set: those in reach, and wherever the branches differ.
fn pages(spaces: &[&SpaceSeen], reach: &[(u32, u32)], g: Geometry, value: &mut impl FnMut(bool)) {
    let mut cuts: Vec<u32> = vec![0, g.arena_pages()];
    cuts.extend(reach.iter().flat_map(|r| [r.0, r.1]));
    for space in spaces {
        cuts.extend(space.pages.iter().flat_map(|r| [r.start, r.start + r.len]));
        cuts.extend(space.vmas.iter().flat_map(|v| [v.start, v.end]));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut last: Option<Vec<Look>> = None;
    for pair in cuts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let mut looks: Vec<Look> = Vec::with_capacity(1);
        for space in spaces {
            let look = look(space, from);
            if !looks.contains(&look) {
                looks.push(look);
            }
        }
        let within = reach.iter().any(|r| r.0 <= from && to <= r.1);
        if !within && looks.len() == 1 {
            last = None;
            continue;
        }
        if last.as_ref() != Some(&looks) {
            value(looks.len() == 1);
        }
        last = Some(looks);
    }
}

/// How a page looks, contents apart: contents that follow each other are one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    mapped: bool,
    page: Option<PageSeen>,
    /// The content minus its position, so that a run that one op wrote has one look.
    origin: Option<u64>,
}

fn look(space: &SpaceSeen, at: u32) -> Look {
    let mapped = space.vmas.iter().any(|v| v.start <= at && at < v.end);
    let i = space
        .pages
        .partition_point(|r: &PageRun| r.start + r.len <= at);
    let run = space.pages.get(i).filter(|r| r.start <= at);
    let content = run.and_then(|r| r.page.content.map(|c| c.plus(at - r.start)));
    Look {
        mapped,
        page: run.map(|r| PageSeen {
            content: None,
            ..r.page
        }),
        origin: content.map(|c| {
            if c.0 == 0 {
                0
            } else {
                c.0.wrapping_sub(u64::from(at))
            }
        }),
    }
}

fn space(spaces: &[(ActorId, SpaceSeen)], actor: ActorId) -> Option<&SpaceSeen> {
    spaces.iter().find(|(a, _)| *a == actor).map(|(_, s)| s)
}

fn agree<T: PartialEq>(branches: &[Expected], part: impl Fn(&Expected) -> &T) -> bool {
    branches
        .windows(2)
        .all(|pair| part(&pair[0]) == part(&pair[1]))
}
