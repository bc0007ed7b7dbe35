//! What mappings other than private anonymous ones map: files, and the shared-memory file of its own behind each
//! MAP_SHARED | MAP_ANONYMOUS mapping.

use super::ranges::Ranges;
use super::Content;
use crate::program::{File, FileKind, Seals};

/// Number of an object in its world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectId(pub u32);

impl ObjectId {
    /// The files that programs can name come first in every world.
    pub fn of(file: File) -> ObjectId {
        ObjectId(file.index() as u32)
    }
}

/// `end - start` pages of the cache whose contents follow each other from `content` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheRun {
    pub start: u32,
    pub end: u32,
    pub content: Content,
}

/// One file: its length, and its page cache by page index. What is not in the cache reads as zero and is not resident.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub kind: FileKind,
    /// Pages up to the end of the file; none behind it is in the cache.
    pub pages: u32,
    pub seals: Seals,
    cache: Vec<CacheRun>,
    /// Pages of the cache that were written or faulted in for a write; the others may be dropped and read as zero again.
    dirty: Ranges,
    /// Pages of the cache that have been swapped out: their contents are kept, but not in memory.
    swapped: Ranges,
    /// Those of them that may have been read into the swap cache.
    read_ahead: Ranges,
}

impl Object {
    /// A file of shared memory that nobody has touched.
    pub fn shared_memory(pages: u32) -> Object {
        Object {
            kind: FileKind::Memfd,
            pages,
            // Nobody can seal what has no name.
            seals: Seals::NONE,
            cache: Vec::new(),
            dirty: Ranges::default(),
            swapped: Ranges::default(),
            read_ahead: Ranges::default(),
        }
    }

    /// A file as a program finds it.
    pub fn new(file: File) -> Object {
        let start = file.start();
        let mut object = Object {
            kind: file.kind(),
            pages: start.pages,
            seals: Seals::NONE,
            cache: Vec::new(),
            dirty: Ranges::default(),
            swapped: Ranges::default(),
            read_ahead: Ranges::default(),
        };
        object.mark_dirty(0, start.written);
        object.store(0, start.written, Content::written(start.tag, 0));
        object
    }

    /// Pages in the cache.
    pub fn cached_pages(&self) -> u32 {
        self.cache.iter().map(|r| r.end - r.start).sum()
    }

    fn first_after(&self, index: u32) -> usize {
        self.cache.partition_point(|r| r.end <= index)
    }

    /// The content of a page that is in the cache.
    pub fn get(&self, index: u32) -> Option<Content> {
        let run = self.cache.get(self.first_after(index))?;
        (run.start <= index).then(|| run.content.plus(index - run.start))
    }

    /// The cached runs within `[start, end)`, clipped to it, swapped out or not.
    pub fn runs_in(&self, start: u32, end: u32) -> impl Iterator<Item = CacheRun> + '_ {
        self.cache[self.first_after(start)..]
            .iter()
            .take_while(move |r| r.start < end)
            .map(move |r| {
                let from = r.start.max(start);
                CacheRun {
                    start: from,
                    end: r.end.min(end),
                    content: r.content.plus(from - r.start),
                }
            })
    }

    /// The cached runs within `[start, end)` that are in memory, clipped to it.
    pub fn resident_in(&self, start: u32, end: u32) -> Vec<CacheRun> {
        self.without(start, end, &self.swapped)
    }

    /// The same, with those in the swap cache, which mincore calls resident too.
    pub fn shown_in(&self, start: u32, end: u32) -> Vec<CacheRun> {
        let mut out = self.swapped.clone();
        for (from, to) in self.read_ahead.within(0, u64::MAX) {
            out.remove(from, to);
        }
        self.without(start, end, &out)
    }

    fn without(&self, start: u32, end: u32, out: &Ranges) -> Vec<CacheRun> {
        let mut resident = Vec::new();
        for run in self.runs_in(start, end) {
            let mut at = run.start;
            let out = out.within(run.start.into(), run.end.into());
            let out = out.map(|(from, to)| (from as u32, to as u32));
            for (from, to) in out.chain([(run.end, run.end)]) {
                if at < from {
                    resident.push(CacheRun {
                        start: at,
                        end: from,
                        content: run.content.plus(at - run.start),
                    });
                }
                at = to;
            }
        }
        resident
    }

    /// The written pages of `[start, end)` are swapped out.
    pub fn swap_out(&mut self, start: u32, end: u32) {
        let written: Vec<(u64, u64)> = self.dirty.within(start.into(), end.into()).collect();
        for (from, to) in written {
            self.swapped.insert(from, to);
            self.read_ahead.remove(from, to);
        }
    }

    /// The pages of `[start, end)` are in memory, or nowhere.
    fn swap_in(&mut self, start: u32, end: u32) {
        self.swapped.remove(start.into(), end.into());
        self.read_ahead.remove(start.into(), end.into());
    }

    /// What is swapped out of `[start, end)` may be in the swap cache from now on.
    pub fn read_ahead(&mut self, start: u32, end: u32) {
        for (from, to) in self.swapped_in(start, end) {
            self.read_ahead.insert(from.into(), to.into());
        }
    }

    /// Stretches of `[start, end)` that are swapped out.
    pub fn swapped_in(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let swapped = self.swapped.within(start.into(), end.into());
        swapped.map(|(a, b)| (a as u32, b as u32)).collect()
    }

    /// Stretches of `[start, end)` that are swapped out and may be in the swap cache.
    pub fn read_ahead_in(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let read = self.read_ahead.within(start.into(), end.into());
        read.map(|(a, b)| (a as u32, b as u32)).collect()
    }

    /// Pages have been written, or faulted in for it.
    pub fn mark_dirty(&mut self, start: u32, end: u32) {
        self.dirty.insert(start.into(), end.into());
    }

    /// Drops what is clean of `[start, end)` from the cache.
    pub fn drop_clean(&mut self, start: u32, end: u32) {
        let mut clean = Ranges::default();
        clean.insert(start.into(), end.into());
        let dirty: Vec<(u64, u64)> = self.dirty.within(start.into(), end.into()).collect();
        for (from, to) in dirty {
            clean.remove(from, to);
        }
        for (from, to) in clean.within(0, u64::MAX).collect::<Vec<_>>() {
            self.replace(from as u32, to as u32, None);
        }
    }

    /// Puts pages into the cache with this content, replacing what they held.
    pub fn store(&mut self, start: u32, end: u32, content: Content) {
        let new = CacheRun {
            start,
            end,
            content,
        };
        self.replace(start, end, Some(new));
    }

    fn replace(&mut self, start: u32, end: u32, new: Option<CacheRun>) {
        if start >= end {
            return;
        }
        let from = self.first_after(start);
        let mut to = from;
        while to < self.cache.len() && self.cache[to].start < end {
            to += 1;
        }
        let left = (from < to)
            .then(|| self.cache[from])
            .filter(|r| r.start < start)
            .map(|r| CacheRun { end: start, ..r });
        let right = (from < to)
            .then(|| self.cache[to - 1])
            .filter(|r| r.end > end)
            .map(|r| CacheRun {
                start: end,
                end: r.end,
                content: r.content.plus(end - r.start),
            });
        self.cache
            .splice(from..to, [left, new, right].into_iter().flatten());
        let last = (from + 2).min(self.cache.len().saturating_sub(1));
        for i in (from.max(1)..=last).rev() {
            let (a, b) = (self.cache[i - 1], self.cache[i]);
            if a.end == b.start && a.content.is_followed_by(b.content, a.end - a.start) {
                self.cache[i - 1].end = b.end;
                self.cache.remove(i);
            }
        }
    }

    /// Takes the pages of `[start, end)` out of the cache: their contents are gone.
    pub fn drop_pages(&mut self, start: u32, end: u32) {
        self.dirty.remove(start.into(), end.into());
        self.swap_in(start, end);
        self.replace(start, end, None);
    }

    /// Puts the pages of `[start, end)` that are missing into the cache, filled with zeros, and into memory those that are swapped out.
    pub fn fill(&mut self, start: u32, end: u32) {
        self.swap_in(start, end);
        let mut at = start;
        let present: Vec<CacheRun> = self.runs_in(start, end).collect();
        for run in present {
            self.store(at, run.start, Content::ZERO);
            at = run.end;
        }
        self.store(at, end, Content::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_agrees_with_an_array() {
        const PAGES: usize = 24;
        let mut seed = 5u64;
        let mut next = move |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let mut object = Object::shared_memory(PAGES as u32);
        let mut array: [Option<Content>; PAGES] = [None; PAGES];
        let mut dirty = [false; PAGES];
        for round in 0..2000 {
            if round % 50 == 0 {
                object = Object::shared_memory(PAGES as u32);
                array = [None; PAGES];
                dirty = [false; PAGES];
            }
            let a = next(PAGES as u64) as usize;
            let b = a + next((PAGES - a) as u64 + 1) as usize;
            if next(6) == 0 {
                object.mark_dirty(a as u32, b as u32);
                dirty[a..b].fill(true);
            } else if next(5) == 0 {
                object.drop_clean(a as u32, b as u32);
                for i in a..b {
                    if !dirty[i] {
                        array[i] = None;
                    }
                }
            } else if next(5) == 0 {
                object.drop_pages(a as u32, b as u32);
                array[a..b].fill(None);
                dirty[a..b].fill(false);
            } else if next(3) == 0 {
                object.fill(a as u32, b as u32);
                for c in &mut array[a..b] {
                    c.get_or_insert(Content::ZERO);
                }
            } else {
                let first = Content(next(4) * 10 + next(2) * a as u64);
                object.store(a as u32, b as u32, first);
                for (i, c) in array[a..b].iter_mut().enumerate() {
                    *c = Some(first.plus(i as u32));
                }
            }
            for (index, want) in array.iter().enumerate() {
                assert_eq!(
                    object.get(index as u32),
                    *want,
                    "round {round}, index {index}"
                );
            }
        }
    }
}
