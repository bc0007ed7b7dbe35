//! What a call may leave that lacked memory, where no rule says more: each page of its range as it was, as the call would have left
//! it, or empty; VMAs as before or as after, and perhaps split at the ends of the range; outside of it nothing.
//!
//! Of all that is allowed, the one is put together that is most like what was seen, and compared with it.

use super::{page, spaces, Difference, Expected};
use crate::judge::{Observation, PageRun, PageSeen, SpaceSeen, VmFlag, VmaSeen};
use crate::program::{ActorId, Prot};

/// Where a call may leave pages empty.
pub(in crate::judge) struct Frame {
    /// Whose address space it works on.
    pub actor: ActorId,
    /// The ranges of the call, in pages from the arena's start.
    pub pages: Vec<(u32, u32)>,
    /// The call unmaps: it may leave holes, too.
    pub unmaps: bool,
    pub pages_per_pmd: u32,
    pub arena_pages: u32,
}

impl Frame {
    fn holds(&self, actor: ActorId, at: u32) -> bool {
        actor == self.actor
            && self
                .pages
                .iter()
                .any(|(from, to)| (*from..*to).contains(&at))
    }

    /// Whether the call may leave a border there.
    fn borders(&self, actor: ActorId, at: u32) -> bool {
        actor == self.actor && self.pages.iter().any(|(from, to)| at == *from || at == *to)
    }

    /// Whether the call works on the block of a page, so that a huge page there may be split.
    fn reaches_block(&self, actor: ActorId, at: u32) -> bool {
        let block = |page: u32| page / self.pages_per_pmd;
        actor == self.actor
            && self
                .pages
                .iter()
                .any(|(from, to)| from < to && (block(*from)..=block(to - 1)).contains(&block(at)))
    }
}

/// The first difference between what was seen and what a call may leave that lacked memory, which would have made `after` of `before`.
pub(in crate::judge) fn difference(
    before: &Expected,
    after: &Expected,
    seen: &Observation,
    frame: &Frame,
) -> Option<Difference> {
    let of = |spaces: &[(ActorId, SpaceSeen)], actor: ActorId| {
        let found = spaces.iter().find(|(other, _)| *other == actor);
        found.map(|(_, space)| space.clone()).unwrap_or_default()
    };
    // A call that fails makes no actor.
    let likely = before.spaces.iter().map(|(actor, earlier)| {
        let (later, seen) = (of(&after.spaces, *actor), of(&seen.spaces, *actor));
        let three = Three {
            actor: *actor,
            frame,
            earlier,
            later: &later,
            seen: &seen,
        };
        (*actor, three.likely())
    });
    let likely = Expected {
        outcome: seen.outcome.clone(),
        spaces: likely.collect(),
        events: seen.events.clone(),
    };
    spaces(&likely, seen, frame.actor)
}

/// One actor's arena before the call, after it, and as it was seen.
struct Three<'a> {
    actor: ActorId,
    frame: &'a Frame,
    earlier: &'a SpaceSeen,
    later: &'a SpaceSeen,
    seen: &'a SpaceSeen,
}

/// What a page is mapped as: protection, sharing, the page of its file.
type Mapped = (Prot, bool, Option<u32>);

impl Three<'_> {
    /// What is allowed and most like what was seen.
    fn likely(&self) -> SpaceSeen {
        SpaceSeen {
            vmas: self.vmas(),
            pages: self.pages(),
            resident: self.resident(),
        }
    }

    fn vmas(&self) -> Vec<VmaSeen> {
        let sides = [self.earlier, self.later, self.seen];
        let ends = sides.iter().flat_map(|side| &side.vmas);
        let mut cuts: Vec<u32> = ends.flat_map(|vma| [vma.start, vma.end]).collect();
        cuts.extend(self.frame.pages.iter().flat_map(|(from, to)| [*from, *to]));
        cuts.sort_unstable();
        cuts.dedup();
        let mut vmas: Vec<VmaSeen> = Vec::new();
        for pair in cuts.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let Some((prot, shared, file_page)) = self.mapped(from) else {
                continue;
            };
            let flags = self.flags(from);
            let joins = |vma: &VmaSeen| {
                let page = vma.file_page.map(|page| page + (from - vma.start));
                vma.end == from && (vma.prot, vma.shared, page) == (prot, shared, file_page)
            };
            match vmas.last_mut() {
                Some(vma) if joins(vma) && !self.border(from) => vma.end = to,
                _ => vmas.push(VmaSeen {
                    start: from,
                    end: to,
                    prot,
                    shared,
                    file_page,
                    flags,
                    sizes: None,
                }),
            }
        }
        vmas
    }

    /// What a page is mapped as, as seen if it may be.
    fn mapped(&self, at: u32) -> Option<Mapped> {
        let of = |space| {
            holder(space, at).map(|vma| {
                let page = vma.file_page.map(|page| page + (at - vma.start));
                (vma.prot, vma.shared, page)
            })
        };
        let (earlier, later, seen) = (of(self.earlier), of(self.later), of(self.seen));
        let hole = seen.is_none() && self.frame.unmaps && self.frame.holds(self.actor, at);
        if seen == later || hole {
            seen
        } else {
            earlier
        }
    }

    /// Whether two parts that fit are two VMAs: as seen, if they were or would be, or the call may have cut there.
    fn border(&self, at: u32) -> bool {
        let starts = |space: &SpaceSeen| space.vmas.iter().any(|vma| vma.start == at);
        let (earlier, later, seen) = (starts(self.earlier), starts(self.later), starts(self.seen));
        if seen {
            earlier || later || self.frame.borders(self.actor, at)
        } else {
            earlier && later
        }
    }

    /// VmFlags as seen, as far as each flag was or would be so.
    fn flags(&self, at: u32) -> Option<Vec<VmFlag>> {
        let of = |space| holder(space, at).and_then(|vma| vma.flags.as_ref());
        let seen = of(self.seen)?;
        let sides: Vec<&Vec<VmFlag>> = [self.earlier, self.later]
            .into_iter()
            .filter_map(of)
            .collect();
        if sides.is_empty() {
            return Some(seen.clone());
        }
        let all = sides.iter().flat_map(|flags| flags.iter()).chain(seen);
        let mut flags: Vec<VmFlag> = all
            .copied()
            .filter(|flag| {
                let has = |flags: &&Vec<VmFlag>| flags.contains(flag);
                match seen.contains(flag) {
                    true => sides.iter().any(has),
                    false => sides.iter().all(has),
                }
            })
            .collect();
        flags.sort_unstable();
        flags.dedup();
        Some(flags)
    }

    fn pages(&self) -> Vec<PageRun> {
        let runs = (0..self.frame.arena_pages).filter_map(|at| {
            self.page(at).map(|page| PageRun {
                start: at,
                len: 1,
                page,
            })
        });
        runs.collect()
    }

    /// What stands at a page, as seen if it may.
    fn page(&self, at: u32) -> Option<PageSeen> {
        let of = |space: &SpaceSeen| page_at(&space.pages, at);
        let (earlier, later, seen) = (of(self.earlier), of(self.later), of(self.seen));
        let in_range = self.frame.holds(self.actor, at);
        let mut allowed = vec![earlier, later];
        if in_range {
            allowed.push(None);
        }
        if self.frame.reaches_block(self.actor, at) {
            for side in [earlier, later].into_iter().flatten() {
                // A huge page may be split on the way; pages that were moved and came back count as stored to.
                let huge = side.huge.map(|_| false);
                allowed.push(Some(PageSeen { huge, ..side }));
                allowed.push(Some(PageSeen {
                    huge,
                    soft_dirty: true,
                    ..side
                }));
            }
        }
        let fits = |one: &&Option<PageSeen>| page(**one, seen, (at, at + 1)).is_none();
        *allowed.iter().find(fits).unwrap_or(&earlier)
    }

    fn resident(&self) -> Option<Vec<(u32, u32)>> {
        let (earlier, later) = (
            self.earlier.resident.as_ref()?,
            self.later.resident.as_ref(),
        );
        let seen = self.seen.resident.as_ref()?;
        let holds = |runs: &[(u32, u32)], at: u32| {
            runs.iter()
                .any(|(start, len)| (*start..start + len).contains(&at))
        };
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for at in 0..self.frame.arena_pages {
            let (was, is) = (holds(earlier, at), holds(seen, at));
            let would_be = later.map_or(was, |later| holds(later, at));
            let may_be_empty = !is && self.frame.holds(self.actor, at);
            let resident = if is == would_be || may_be_empty {
                is
            } else {
                was
            };
            if !resident {
                continue;
            }
            match runs.last_mut() {
                Some((start, len)) if *start + *len == at => *len += 1,
                _ => runs.push((at, 1)),
            }
        }
        Some(runs)
    }
}

fn holder(space: &SpaceSeen, at: u32) -> Option<&VmaSeen> {
    space
        .vmas
        .iter()
        .find(|vma| (vma.start..vma.end).contains(&at))
}

fn page_at(runs: &[PageRun], at: u32) -> Option<PageSeen> {
    let i = runs.partition_point(|run| run.start + run.len <= at);
    let run = runs.get(i).filter(|run| run.start <= at)?;
    let mut page = run.page;
    page.content = page.content.map(|content| content.plus(at - run.start));
    Some(page)
}
