//! Worlds that differ only in numbers nobody sees. Two orders of the same events should come to the same world, and a page that
//! comes and goes again and again to the same one each time.

use super::slots::PageId;
use super::World;

impl World {
    /// The same machine, with what is kept of pages that nobody maps any more forgotten, and the numbers of pages to come
    /// right behind those in use.
    pub(crate) fn compact(mut self) -> World {
        let used = self.pages_in_use();
        let is_used = |from: u64, to: u64| used.iter().any(|(a, b)| *a < to && from < *b);
        let next = used.iter().map(|(_, end)| end + 1).max().unwrap_or(1);
        self.folios
            .forget(|first: PageId, pages| !is_used(first.0, first.0 + u64::from(pages)));
        self.folios.forget_forked(&used);
        // A large folio may reach behind the last of its pages that is mapped.
        self.next_page = next.max(self.folios.end() + 1);
        self
    }

    /// The numbers of the anonymous pages that are mapped, ascending: first, one past the last.
    pub(crate) fn pages_in_use(&self) -> Vec<(u64, u64)> {
        let mms = self.actors.iter().flatten();
        let runs = mms.flat_map(|mm| mm.slots.runs_in(0, u32::MAX));
        let ids = runs.filter_map(|run| {
            let id = run.slot.anon()?;
            Some((id.0, id.0 + u64::from(run.end - run.start)))
        });
        let mut used: Vec<(u64, u64)> = ids.collect();
        used.sort_unstable();
        used
    }
}
