//! What the kernel keeps of anonymous pages besides their mappings: which of them still make up one large folio, and which
//! are marked dirty. Nothing shows it directly; what MADV_FREE, COLD and PAGEOUT do depends on it.

use super::ranges::Ranges;
use super::slots::PageId;
use crate::program::ActorId;

/// A large folio that has not been split. Its mapping may have been: then its pages are mapped one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Large {
    pub first: PageId,
    pub pages: u32,
    /// Bit `a`: actor `a` has mapped pages of it.
    pub mapped_by: u8,
}

impl Large {
    /// Ids of its pages: the first, and one past the last.
    pub fn ids(&self) -> (u64, u64) {
        (self.first.0, self.first.0 + u64::from(self.pages))
    }
}

/// All anonymous folios that there is something to say of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Folios {
    large: Vec<Large>,
    /// Pages whose folio is marked dirty, however their mappings are marked: those that come from a huge page, until they are
    /// lazily freed.
    pub dirty: Ranges,
    /// Pages that a fork has shared and that nobody has stored to since: they are not marked exclusive (PageAnonExclusive), even
    /// if only one address space is left that maps them.
    pub forked: Ranges,
}

impl Folios {
    /// A new large folio that an actor maps by a PMD.
    pub fn add(&mut self, actor: ActorId, first: PageId, pages: u32) {
        let large = Large {
            first,
            pages,
            mapped_by: 1 << actor,
        };
        self.large.push(large);
        let (from, to) = large.ids();
        self.dirty.insert(from, to);
    }

    /// The large folio that a page belongs to.
    pub fn of(&self, id: PageId) -> Option<Large> {
        let holds = |l: &&Large| {
            let (from, to) = l.ids();
            (from..to).contains(&id.0)
        };
        self.large.iter().find(holds).copied()
    }

    /// Forgets the large folios that `gone` says, by their first page and how many there are.
    pub fn forget(&mut self, gone: impl Fn(PageId, u32) -> bool) {
        let dead = self.large.iter().filter(|l| gone(l.first, l.pages));
        for large in dead.copied().collect::<Vec<_>>() {
            let (from, to) = large.ids();
            self.dirty.remove(from, to);
            self.split(large);
        }
    }

    /// One past the last page of any large folio; 0 where there is none.
    pub fn end(&self) -> u64 {
        self.large.iter().map(|l| l.ids().1).max().unwrap_or(0)
    }

    /// Forgets which of the pages were forked that `used`, ascending, does not name.
    pub fn forget_forked(&mut self, used: &[(u64, u64)]) {
        let mut at = 0;
        for (from, to) in used.iter().copied().chain([(u64::MAX, u64::MAX)]) {
            if at < from {
                self.forked.remove(at, from);
            }
            at = at.max(to);
        }
    }

    /// Where before `last` pages stop being like page `first` in whether they are exclusive, and whether it is.
    pub fn exclusive_stretch(&self, first: u64, last: u64) -> (u64, bool) {
        match self.forked.within(first, last).next() {
            None => (last, true),
            Some((from, _)) if from > first => (from, true),
            Some((_, to)) => (to, false),
        }
    }

    /// The folio is split: its pages go on as small ones.
    pub fn split(&mut self, large: Large) {
        self.large.retain(|l| l.first != large.first);
    }

    /// A child has what its parent had.
    pub fn inherited(&mut self, parent: ActorId, child: ActorId) {
        for large in &mut self.large {
            if large.mapped_by >> parent & 1 == 1 {
                large.mapped_by |= 1 << child;
            }
        }
    }
}
