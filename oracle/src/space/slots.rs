//! Page-table slots of an address space, run by run.
//!
//! Neighbouring slots that follow each other (ids and contents grow by one from page to page) are one [`Run`], so
//! that work is done per run, not per page. Slots between the runs are empty.

use super::ranges::Ranges;
use super::Content;

/// Identity of an anonymous page. Two slots with the same id map the same page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PageId(pub u64);

impl PageId {
    /// The page `n` pages on of those that were made together.
    pub fn plus(self, n: u32) -> PageId {
        PageId(self.0 + u64::from(n))
    }
}

/// What stands in one page-table slot that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// A guard marker.
    Guard,
    /// A marker from UFFDIO_POISON.
    Poison,
    /// A marker of a mapping of a file: no page, and the one that comes is to be write-protected by userfaultfd.
    UffdWp,
    /// The shared zero page.
    Zero,
    /// An anonymous page.
    Anon { id: PageId, content: Content },
    /// An anonymous page that has been swapped out.
    Swap { id: PageId, content: Content },
    /// A page of the file that the VMA maps; its content is the file's.
    File,
}

impl Slot {
    /// The slot `n` pages on in the same run.
    pub fn plus(self, n: u32) -> Slot {
        match self {
            Slot::Anon { id, content } => Slot::Anon {
                id: id.plus(n),
                content: content.plus(n),
            },
            Slot::Swap { id, content } => Slot::Swap {
                id: id.plus(n),
                content: content.plus(n),
            },
            other => other,
        }
    }

    /// Whether a page is present.
    pub fn is_present(self) -> bool {
        self.is_page() && !matches!(self, Slot::Swap { .. })
    }

    /// Whether it stands for a page, present or swapped out (everything but a marker).
    pub fn is_page(self) -> bool {
        !self.is_marker()
    }

    /// The anonymous page that it stands for, present or swapped out.
    pub fn anon(self) -> Option<PageId> {
        match self {
            Slot::Anon { id, .. } | Slot::Swap { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether it is an entry that stands for no page.
    pub fn is_marker(self) -> bool {
        matches!(self, Slot::Guard | Slot::Poison | Slot::UffdWp)
    }
}

/// `end - start` slots that follow each other from `slot` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub start: u32,
    pub end: u32,
    pub slot: Slot,
}

impl Run {
    /// The part within `[start, end)`, if any.
    fn clip(self, start: u32, end: u32) -> Option<Run> {
        let from = self.start.max(start);
        let to = self.end.min(end);
        (from < to).then(|| Run {
            start: from,
            end: to,
            slot: self.slot.plus(from - self.start),
        })
    }
}

/// All slots of an address space: runs in ascending order, none empty, none overlapping.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slots {
    runs: Vec<Run>,
    /// Pages whose entries have the soft-dirty bit, as far as it was ever told.
    soft_dirty: Ranges,
    /// Pages in use whose entries are not dirty, though the page may be: what is left of a huge mapping whose entry was not, or
    /// which the kernel split without saying so. Lazily freed pages are counted elsewhere.
    clean: Ranges,
    /// Pages that are write-protected by userfaultfd, as far as their entries say.
    uffd_wp: Ranges,
}

impl Slots {
    /// Index of the first run that ends after `page`.
    fn first_after(&self, page: u32) -> usize {
        self.runs.partition_point(|r| r.end <= page)
    }

    /// The slot of a page; `None`: empty.
    pub fn get(&self, page: u32) -> Option<Slot> {
        let run = self.runs.get(self.first_after(page))?;
        (run.start <= page).then(|| run.slot.plus(page - run.start))
    }

    /// The runs within `[start, end)`, clipped to it.
    pub fn runs_in(&self, start: u32, end: u32) -> impl Iterator<Item = Run> + '_ {
        self.runs[self.first_after(start)..]
            .iter()
            .take_while(move |r| r.start < end)
            .filter_map(move |r| r.clip(start, end))
    }

    /// The stretch from `page` on, up to `end`, that is one run or one gap: its end, and its slot unless it is a gap.
    pub fn stretch(&self, page: u32, end: u32) -> (u32, Option<Slot>) {
        match self.runs.get(self.first_after(page)) {
            None => (end, None),
            Some(run) if run.start > page => (run.start.min(end), None),
            Some(run) => (run.end.min(end), Some(run.slot.plus(page - run.start))),
        }
    }

    /// Whether no slot in `[start, end)` is in use.
    pub fn is_empty_in(&self, start: u32, end: u32) -> bool {
        self.stretch(start, end) == (end, None)
    }

    /// Whether a slot in `[start, end)` holds a guard.
    pub fn has_guard_in(&self, start: u32, end: u32) -> bool {
        self.runs_in(start, end).any(|r| r.slot == Slot::Guard)
    }

    /// The first slot of `[start, end)` that is a marker.
    pub fn first_marker_in(&self, start: u32, end: u32) -> Option<u32> {
        let mut runs = self.runs_in(start, end);
        runs.find(|r| r.slot.is_marker()).map(|r| r.start)
    }

    /// Fills `[start, end)` with `slot` and what follows it.
    pub fn set(&mut self, start: u32, end: u32, slot: Slot) {
        self.replace(start, end, Some(slot));
    }

    /// Empties `[start, end)`.
    pub fn clear(&mut self, start: u32, end: u32) {
        self.replace(start, end, None);
    }

    /// Empties every slot of `[start, end)` but guards.
    pub fn clear_but_guards(&mut self, start: u32, end: u32) {
        if !self.has_guard_in(start, end) {
            return self.clear(start, end);
        }
        self.clear_those(start, end, |slot| slot != Slot::Guard);
    }

    /// Empties those slots of `[start, end)` that `goes` says. Whether there was one.
    pub fn clear_those(&mut self, start: u32, end: u32, goes: impl Fn(Slot) -> bool) -> bool {
        let mut any = false;
        let mut at = start;
        while at < end {
            let (to, slot) = self.stretch(at, end);
            if slot.is_some_and(&goes) {
                self.clear(at, to);
                any = true;
            }
            at = to;
        }
        any
    }

    /// The entries of `[start, end)` get the soft-dirty bit. A new entry starts without it.
    pub fn set_soft_dirty(&mut self, start: u32, end: u32) {
        self.soft_dirty.insert(start.into(), end.into());
    }

    /// All entries lose it.
    pub fn clear_soft_dirty(&mut self) {
        self.soft_dirty = Ranges::default();
    }

    /// The parts of `[start, end)` by whether the entries have it: (start, end, have it).
    pub fn by_soft_dirty(&self, start: u32, end: u32) -> Vec<(u32, u32, bool)> {
        let mut parts = Vec::with_capacity(1);
        let mut at = start;
        for (from, to) in self.soft_dirty.within(start.into(), end.into()) {
            let (from, to) = (from as u32, to as u32);
            if at < from {
                parts.push((at, from, false));
            }
            parts.push((from, to, true));
            at = to;
        }
        if at < end {
            parts.push((at, end, false));
        }
        parts
    }

    /// The entries of `[start, end)` do not say that their pages were stored to. A new entry does.
    pub fn set_clean(&mut self, start: u32, end: u32) {
        self.clean.insert(start.into(), end.into());
    }

    /// They do again.
    pub fn set_dirty(&mut self, start: u32, end: u32) {
        self.clean.remove(start.into(), end.into());
    }

    /// Whether the entry of a page that is in use does not.
    pub fn is_clean(&self, page: u32) -> bool {
        self.clean.contains_all(page.into(), u64::from(page) + 1)
    }

    /// The parts of `[start, end)` that are clean.
    pub fn clean_in(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let parts = self.clean.within(start.into(), end.into());
        parts.map(|(from, to)| (from as u32, to as u32)).collect()
    }

    /// The entries of `[start, end)` that stand for pages get userfaultfd's bit. A new entry starts without it.
    pub fn set_uffd_wp(&mut self, start: u32, end: u32) {
        let runs: Vec<Run> = self.runs_in(start, end).collect();
        for run in runs.iter().filter(|run| run.slot.is_page()) {
            self.uffd_wp.insert(run.start.into(), run.end.into());
        }
    }

    /// Fills `[start, end)` with `slot` and what follows it, for the same pages: their entries keep their bits, but for the one that says
    /// whether they are clean.
    pub fn turn(&mut self, start: u32, end: u32, slot: Slot) {
        let soft_dirty = self.by_soft_dirty(start, end);
        let uffd_wp = self.uffd_wp_in(start, end);
        self.set(start, end, slot);
        for (from, to, _) in soft_dirty.into_iter().filter(|part| part.2) {
            self.set_soft_dirty(from, to);
        }
        for (from, to) in uffd_wp {
            self.set_uffd_wp(from, to);
        }
    }

    /// They lose it.
    pub fn clear_uffd_wp(&mut self, start: u32, end: u32) {
        self.uffd_wp.remove(start.into(), end.into());
    }

    /// The parts of `[start, end)` that have it.
    pub fn uffd_wp_in(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let parts = self.uffd_wp.within(start.into(), end.into());
        parts.map(|(from, to)| (from as u32, to as u32)).collect()
    }

    /// Whether the entry of `page` has it, and up to where before `end` those that follow are like it.
    pub fn uffd_wp_stretch(&self, page: u32, end: u32) -> (u32, bool) {
        match self.uffd_wp_in(page, end).first() {
            None => (end, false),
            Some((from, _)) if *from > page => (*from, false),
            Some((_, to)) => (*to, true),
        }
    }

    fn replace(&mut self, start: u32, end: u32, slot: Option<Slot>) {
        if start >= end {
            return;
        }
        self.uffd_wp.remove(start.into(), end.into());
        self.soft_dirty.remove(start.into(), end.into());
        self.clean.remove(start.into(), end.into());
        let from = self.first_after(start);
        let mut to = from;
        while to < self.runs.len() && self.runs[to].start < end {
            to += 1;
        }
        let left = (from < to)
            .then(|| self.runs[from])
            .and_then(|r| r.clip(0, start));
        let right = (from < to)
            .then(|| self.runs[to - 1])
            .and_then(|r| r.clip(end, u32::MAX));
        let middle = slot.map(|slot| Run { start, end, slot });
        self.runs
            .splice(from..to, [left, middle, right].into_iter().flatten());
        // Join what now follows each other: the new run with its neighbours on both sides.
        let last = (from + 2).min(self.runs.len().saturating_sub(1));
        for i in (from.max(1)..=last).rev() {
            let (a, b) = (self.runs[i - 1], self.runs[i]);
            if a.end == b.start && a.slot.plus(a.end - a.start) == b.slot {
                self.runs[i - 1].end = b.end;
                self.runs.remove(i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anon(id: u64) -> Slot {
        Slot::Anon {
            id: PageId(id),
            content: Content(id),
        }
    }

    /// A plain array next to the runs, through many small changes.
    #[test]
    fn runs_agree_with_an_array() {
        const PAGES: usize = 40;
        let mut seed = 1u64;
        let mut next = move |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let mut slots = Slots::default();
        let mut array: [Option<Slot>; PAGES] = [None; PAGES];
        for round in 0..4000 {
            let a = next(PAGES as u64) as usize;
            let b = a + next((PAGES - a) as u64 + 1) as usize;
            let slot = match next(5) {
                0 => None,
                1 => Some(Slot::Guard),
                2 => Some(Slot::Zero),
                3 => Some(anon(1 + next(3) * 7)),
                _ => Some(anon(a as u64 + 100)),
            };
            match (slot, next(3)) {
                (None, 0) => {
                    slots.clear_but_guards(a as u32, b as u32);
                    for s in &mut array[a..b] {
                        if *s != Some(Slot::Guard) {
                            *s = None;
                        }
                    }
                }
                (None, _) => {
                    slots.clear(a as u32, b as u32);
                    array[a..b].fill(None);
                }
                (Some(slot), _) => {
                    slots.set(a as u32, b as u32, slot);
                    for (i, s) in array[a..b].iter_mut().enumerate() {
                        *s = Some(slot.plus(i as u32));
                    }
                }
            }
            for (page, want) in array.iter().enumerate() {
                assert_eq!(slots.get(page as u32), *want, "round {round}, page {page}");
            }
            for pair in slots.runs.windows(2) {
                assert!(pair[0].end <= pair[1].start, "round {round}: {pair:?}");
                assert!(
                    pair[0].end < pair[1].start
                        || pair[0].slot.plus(pair[0].end - pair[0].start) != pair[1].slot,
                    "round {round}: not joined: {pair:?}"
                );
            }
            assert!(slots.runs.iter().all(|r| r.start < r.end));
        }
    }
}
