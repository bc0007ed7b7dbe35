//! The first difference between what a branch expects and what was seen, in a fixed order: outcome, living actors, VMAs,
//! pages, residency, VmFlags, sizes; within each by actor, the one that the op works on first, then by page.

mod sizes;
pub(super) mod weak;

use super::{
    events, words, Access, Class, Event, Moved, Observation, Outcome, PageRun, PageSeen, SpaceSeen,
    ValueRun, VmFlag, VmaSeen,
};
use crate::program::{ActorId, Step};

/// What a difference in it is of.
pub(super) const SOFT_DIRTY_BIT: &str = "the soft-dirty bit";
pub(super) const UFFD_WP_BIT: &str = "userfaultfd's write protection";

/// The same, of where VMAs begin.
pub(super) const VMA_BORDER: &str = "the VMA border";

/// What a branch expects: its outcome, and every living actor's arena with all contents and flags.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected {
    pub outcome: Outcome,
    pub spaces: Vec<(ActorId, SpaceSeen)>,
    pub events: Vec<(ActorId, Event)>,
}

/// A difference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub class: Class,
    pub actor: Option<ActorId>,
    /// First page and the one after the last.
    pub pages: Option<(u32, u32)>,
    pub expected: String,
    pub observed: String,
    /// What `expected` and `observed` are of, for people: `protection`, `VmFlags`, ...
    pub of: &'static str,
    /// What `observed` stands for in numbers, for people.
    pub note: Option<String>,
    /// How far the comparison came: the greater, the more of the observation the branch explains.
    pub rank: u8,
}

impl Difference {
    /// Stands for a difference that could not be found again.
    pub fn none() -> Difference {
        Difference {
            class: Class::Errno,
            actor: None,
            pages: None,
            expected: "one-of-the-ways".into(),
            observed: "another".into(),
            of: "what the threads returned",
            note: None,
            rank: 0,
        }
    }
}

/// The first difference, if any.
pub(super) fn first_difference(
    expected: &Expected,
    seen: &Observation,
    step: &Step,
) -> Option<Difference> {
    let works_on = step.op.other().unwrap_or(step.actor);
    outcome_difference(&expected.outcome, &seen.outcome)
        .or_else(|| events::difference(&expected.events, &seen.events))
        .or_else(|| spaces(expected, seen, works_on))
}

/// The difference between what an op was to return and what it returned.
pub(super) fn outcome_difference(expected: &Outcome, seen: &Outcome) -> Option<Difference> {
    if expected == seen {
        return None;
    }
    let (class, expected, observed, of) = match (expected, seen) {
        (Outcome::Access(e), Outcome::Access(o)) => return access(e, o),
        (Outcome::Moved(e), Outcome::Moved(o)) => return moved(e, o),
        (e, o) => (
            Class::Errno,
            words::outcome(e),
            words::outcome(o),
            "the call's result",
        ),
    };
    Some(Difference {
        class,
        actor: None,
        pages: None,
        expected,
        observed,
        of,
        note: None,
        rank: 0,
    })
}

fn moved(e: &Moved, o: &Moved) -> Option<Difference> {
    let differs = |class, expected: &str, observed: &str, of| {
        Some(Difference {
            class,
            actor: None,
            pages: None,
            expected: expected.into(),
            observed: observed.into(),
            of,
            note: None,
            rank: 0,
        })
    };
    if e.bytes != o.bytes {
        let word = |m: &Moved| if m.all { "all" } else { "a-part" };
        let observed = match (word(e), word(o)) {
            ("a-part", "a-part") if o.bytes < e.bytes => "a-smaller-part",
            ("a-part", "a-part") => "a-larger-part",
            (_, other) => other,
        };
        return differs(Class::Errno, word(e), observed, "the number of bytes");
    }
    let pages = |m: &Moved| m.values.iter().map(|r| r.len).sum::<u32>();
    if let Some(difference) = values(&e.values, &o.values, pages(e).min(pages(o))) {
        return Some(difference);
    }
    if pages(e) != pages(o) {
        return differs(Class::Value, "as-many-values", "other-values", "the values");
    }
    if e.stray != o.stray {
        return differs(Class::Value, "zeros", "other-bytes", "what lies between");
    }
    None
}

fn access(e: &Access, o: &Access) -> Option<Difference> {
    let signal = |expected: String, observed: String, of| {
        Some(Difference {
            class: Class::Signal,
            actor: None,
            pages: None,
            expected,
            observed,
            of,
            note: None,
            rank: 0,
        })
    };
    // The values before the earlier end come first: a wrong value is told before a fault behind it.
    let common = e.pages.min(o.pages);
    if let Some(difference) = values(&e.values, &o.values, common) {
        return Some(difference);
    }
    match e.pages.cmp(&o.pages) {
        std::cmp::Ordering::Less => signal(
            words::fault(e.fault),
            "no-signal".into(),
            "the signal at the page",
        ),
        std::cmp::Ordering::Greater => signal(
            "no-signal".into(),
            words::fault(o.fault),
            "the signal at the page",
        ),
        std::cmp::Ordering::Equal if words::fault(e.fault) != words::fault(o.fault) => signal(
            words::fault(e.fault),
            words::fault(o.fault),
            "the signal at the page",
        ),
        std::cmp::Ordering::Equal if e.fault != o.fault => {
            signal("fault-address".into(), "other-address".into(), "si_addr")
        }
        std::cmp::Ordering::Equal => None,
    }
}

/// The first loaded value that differs, among the first `pages`.
fn values(e: &[ValueRun], o: &[ValueRun], pages: u32) -> Option<Difference> {
    let mut at = 0;
    let mut left = Runs::new(e, |r| r.len);
    let mut right = Runs::new(o, |r| r.len);
    while at < pages {
        let (Some((a, off_a, len_a)), Some((b, off_b, len_b))) = (left.at(at), right.at(at)) else {
            // Stores load nothing on either side; a report of loads of another length is no observation.
            return None;
        };
        let (a, b) = (a.first.plus(off_a), b.first.plus(off_b));
        // Equal first values may still drift apart (never for contents that one op wrote): compare the last too.
        let len = len_a.min(len_b).min(pages - at);
        if a != b || a.plus(len - 1) != b.plus(len - 1) {
            let (expected, observed) = words::contents(Some(a), b);
            return Some(Difference {
                class: Class::Value,
                actor: None,
                pages: None,
                expected,
                observed,
                of: "the loaded value",
                note: None,
                rank: 0,
            });
        }
        at += len;
    }
    None
}

/// Walks runs given by their lengths.
struct Runs<'a, T> {
    runs: &'a [T],
    len: fn(&T) -> u32,
    start: u32,
}

impl<'a, T> Runs<'a, T> {
    fn new(runs: &'a [T], len: fn(&T) -> u32) -> Runs<'a, T> {
        Runs {
            runs,
            len,
            start: 0,
        }
    }

    /// The run at a position (positions must not go back), the offset into it, and what is left of it.
    fn at(&mut self, at: u32) -> Option<(&'a T, u32, u32)> {
        loop {
            let run = self.runs.first()?;
            let len = (self.len)(run);
            if at < self.start + len {
                return Some((run, at - self.start, self.start + len - at));
            }
            self.start += len;
            self.runs = &self.runs[1..];
        }
    }
}

fn spaces(expected: &Expected, seen: &Observation, first: ActorId) -> Option<Difference> {
    let living = |spaces: &[(ActorId, SpaceSeen)]| spaces.iter().map(|s| s.0).collect::<Vec<_>>();
    let (theirs, ours) = (living(&seen.spaces), living(&expected.spaces));
    if theirs != ours {
        let odd = ours
            .iter()
            .chain(&theirs)
            .copied()
            .find(|a| ours.contains(a) != theirs.contains(a));
        let word = |living: &[ActorId]| {
            if odd.is_some_and(|a| living.contains(&a)) {
                "living"
            } else {
                "gone"
            }
        };
        return Some(Difference {
            class: Class::Vma,
            actor: odd,
            pages: None,
            expected: word(&ours).into(),
            observed: word(&theirs).into(),
            of: "the actor",
            note: None,
            rank: 1,
        });
    }
    let stages: [fn(&SpaceSeen, &SpaceSeen) -> Option<Difference>; 5] =
        [vmas, pages, residency, flags, sizes::sizes];
    for (rank, stage) in stages.iter().enumerate() {
        let both = || expected.spaces.iter().zip(&seen.spaces);
        let own = both().filter(|((actor, _), _)| *actor == first);
        let others = both().filter(|((actor, _), _)| *actor != first);
        for ((actor, e), (_, o)) in own.chain(others) {
            if let Some(mut difference) = stage(e, o) {
                difference.actor = Some(*actor);
                difference.rank = rank as u8 + 2;
                return Some(difference);
            }
        }
    }
    None
}

fn found(
    class: Class,
    pages: (u32, u32),
    expected: impl Into<String>,
    observed: impl Into<String>,
    of: &'static str,
) -> Option<Difference> {
    Some(Difference {
        class,
        actor: None,
        pages: Some(pages),
        expected: expected.into(),
        observed: observed.into(),
        of,
        note: None,
        rank: 0,
    })
}

/// VMAs: what is mapped and how, then where the borders are.
fn vmas(e: &SpaceSeen, o: &SpaceSeen) -> Option<Difference> {
    let same = |a: &VmaSeen, b: &VmaSeen| {
        (a.start, a.end, a.prot, a.shared, a.file_page)
            == (b.start, b.end, b.prot, b.shared, b.file_page)
    };
    if e.vmas.len() == o.vmas.len() && e.vmas.iter().zip(&o.vmas).all(|(a, b)| same(a, b)) {
        return None;
    }
    let mut borders: Vec<u32> = e
        .vmas
        .iter()
        .chain(&o.vmas)
        .flat_map(|v| [v.start, v.end])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let holds = |vmas: &[VmaSeen], page: u32| {
        vmas.iter()
            .find(|v| v.start <= page && page < v.end)
            .map(|v| (v.prot, v.shared, v.file_page.map(|p| p + (page - v.start))))
    };
    for pair in borders.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        match (holds(&e.vmas, from), holds(&o.vmas, from)) {
            (Some(a), Some(b)) if a.0 != b.0 => {
                let (a, b) = (words::prot(a.0), words::prot(b.0));
                return found(Class::Vma, (from, to), a, b, "protection");
            }
            (Some(a), Some(b)) if a.1 != b.1 => {
                let word = |shared| if shared { "shared" } else { "private" };
                return found(Class::Vma, (from, to), word(a.1), word(b.1), "sharing");
            }
            (Some(a), Some(b)) if a.2 != b.2 => {
                let word = |of: Option<u32>, other| of.map_or("no-file", |_| other);
                let (a, b) = (word(a.2, "file-page"), word(b.2, "other-file-page"));
                return found(Class::Vma, (from, to), a, b, "the page of the file");
            }
            (Some(_), None) => return found(Class::Vma, (from, to), "mapped", "unmapped", "VMAs"),
            (None, Some(_)) => return found(Class::Vma, (from, to), "unmapped", "mapped", "VMAs"),
            _ => {}
        }
    }
    let starts = |vmas: &[VmaSeen], page: u32| vmas.iter().any(|v| v.start == page);
    for &page in &borders {
        match (starts(&e.vmas, page), starts(&o.vmas, page)) {
            (true, false) => {
                return found(Class::Vma, (page, page + 1), "split", "merged", VMA_BORDER)
            }
            (false, true) => {
                return found(Class::Vma, (page, page + 1), "merged", "split", VMA_BORDER)
            }
            _ => {}
        }
    }
    None
}

/// A stretch of pages that are one run, or one gap, on both sides.
fn stretch(runs: &[PageRun], at: u32) -> (u32, Option<PageSeen>) {
    let i = runs.partition_point(|r| r.start + r.len <= at);
    match runs.get(i) {
        None => (u32::MAX, None),
        Some(run) if run.start > at => (run.start, None),
        Some(run) => {
            let mut page = run.page;
            page.content = page.content.map(|c| c.plus(at - run.start));
            (run.start + run.len, Some(page))
        }
    }
}

fn pages(e: &SpaceSeen, o: &SpaceSeen) -> Option<Difference> {
    let mut at = 0;
    while at != u32::MAX {
        let (end_e, expected) = stretch(&e.pages, at);
        let (end_o, observed) = stretch(&o.pages, at);
        let end = end_e.min(end_o);
        if let Some(difference) = page(expected, observed, (at, end)) {
            return Some(difference);
        }
        at = end;
    }
    None
}

fn page(e: Option<PageSeen>, o: Option<PageSeen>, pages: (u32, u32)) -> Option<Difference> {
    match (e, o) {
        (None, None) => None,
        (Some(e), Some(o)) => {
            let huge_differs = e.huge.is_some() && o.huge.is_some() && e.huge != o.huge;
            if e.kind != o.kind || huge_differs || e.exclusive != o.exclusive {
                return found(
                    Class::PageState,
                    pages,
                    words::page(Some(&e)),
                    words::page(Some(&o)),
                    "the page",
                );
            }
            if e.soft_dirty != o.soft_dirty {
                let word = |dirty| if dirty { "soft-dirty" } else { "soft-clean" };
                let (e, o) = (word(e.soft_dirty), word(o.soft_dirty));
                return found(Class::PageState, pages, e, o, SOFT_DIRTY_BIT);
            }
            if e.uffd_wp != o.uffd_wp {
                let word = |wp| {
                    if wp {
                        "uffd-protected"
                    } else {
                        "not-uffd-protected"
                    }
                };
                let (e, o) = (word(e.uffd_wp), word(o.uffd_wp));
                return found(Class::PageState, pages, e, o, UFFD_WP_BIT);
            }
            let observed = o.content?;
            // The contents of a run follow each other on both sides, so the first and the last tell.
            let last = pages.1 - pages.0 - 1;
            if e.content
                .is_some_and(|c| c == observed && c.plus(last) == observed.plus(last))
            {
                return None;
            }
            let (expected, observed) = words::contents(e.content, observed);
            found(
                Class::Value,
                pages,
                expected,
                observed,
                "the page's content",
            )
        }
        (e, o) => found(
            Class::PageState,
            pages,
            words::page(e.as_ref()),
            words::page(o.as_ref()),
            "the page",
        ),
    }
}

fn residency(e: &SpaceSeen, o: &SpaceSeen) -> Option<Difference> {
    let (Some(e), Some(o)) = (&e.resident, &o.resident) else {
        return None;
    };
    if e == o {
        return None;
    }
    let mut borders: Vec<u32> = e
        .iter()
        .chain(o)
        .flat_map(|&(start, len)| [start, start + len])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let holds = |runs: &[(u32, u32)], page| runs.iter().any(|&(s, l)| s <= page && page < s + l);
    for pair in borders.windows(2) {
        let (a, b) = (holds(e, pair[0]), holds(o, pair[0]));
        if a != b {
            let word = |resident| if resident { "resident" } else { "not-resident" };
            let pages = (pair[0], pair[1]);
            return found(Class::Residency, pages, word(a), word(b), "mincore");
        }
    }
    None
}

fn flags(e: &SpaceSeen, o: &SpaceSeen) -> Option<Difference> {
    for (a, b) in e.vmas.iter().zip(&o.vmas) {
        let (Some(ours), Some(theirs)) = (&a.flags, &b.flags) else {
            continue;
        };
        let missing =
            |from: &[VmFlag], of: &[VmFlag]| from.iter().find(|f| !of.contains(f)).copied();
        let name = |f: VmFlag| String::from_utf8_lossy(&f.0).into_owned();
        let pages = (a.start, a.end);
        if let Some(flag) = missing(ours, theirs) {
            let name = name(flag);
            let without = format!("no-{name}");
            return found(Class::VmFlags, pages, name, without, "VmFlags");
        }
        if let Some(flag) = missing(theirs, ours) {
            let name = name(flag);
            let without = format!("no-{name}");
            return found(Class::VmFlags, pages, without, name, "VmFlags");
        }
    }
    None
}
