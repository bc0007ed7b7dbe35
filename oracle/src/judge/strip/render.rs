//! Drawing strips.

use super::{Count, Item, Letter, Perms, Strip};
use crate::geometry::{Geometry, Pos};
use crate::judge::{PageRun, SpaceSeen, VmaSeen};

/// Pages from `from` (included) to `to` (not included), counted from the arena's start, as a strip in text form.
pub fn render(space: &SpaceSeen, _g: Geometry, from: u32, to: u32) -> String {
    strip(space, from, to).to_string()
}

/// As [`render`], not yet text.
pub fn strip(space: &SpaceSeen, from: u32, to: u32) -> Strip {
    let mut strip = Strip::default();
    let mut cells = Cells::new(space, from);
    let mut before: Option<u32> = from.checked_sub(1).and_then(|p| cells.vma_start(p));
    while cells.at < to {
        let cell = cells.next_cell(to);
        let here = cell.vma.map(|v| v.start);
        let first = strip.items.is_empty();
        if here != before {
            strip.push(Item::Border);
        } else if first && here.is_some() {
            strip.push(Item::GoesOn);
        }
        if let Some(vma) = cell.vma.filter(|_| first || here != before) {
            strip.push(Item::Perms(perms(vma)));
        }
        strip.push(Item::Run(cell.letter, Count::Pages(cell.len)));
        before = here;
    }
    match (before, cells.vma_start(to)) {
        (Some(a), Some(b)) if a == b => strip.push(Item::GoesOn),
        (a, b) if a != b => strip.push(Item::Border),
        _ => {}
    }
    strip
}

/// The signs of a VMA's protection and sharing.
pub(super) fn perms(vma: &VmaSeen) -> Perms {
    Perms {
        prot: vma.prot,
        shared: vma.shared,
    }
}

/// `len` pages from `start` on that look alike and lie in the same VMA, or in none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub start: u32,
    pub len: u32,
    pub vma: Option<&'a VmaSeen>,
    pub run: Option<&'a PageRun>,
    pub letter: Letter,
}

impl Cell<'_> {
    /// Content of the cell's first page, if it was read.
    pub fn content(&self) -> Option<crate::space::Content> {
        let run = self.run?;
        let first = run.page.content?;
        Some(first.plus(self.start - run.start))
    }
}

/// Walks a space page run by page run.
pub(super) struct Cells<'a> {
    space: &'a SpaceSeen,
    pub at: u32,
}

impl<'a> Cells<'a> {
    pub fn new(space: &'a SpaceSeen, from: u32) -> Cells<'a> {
        Cells { space, at: from }
    }

    fn vma(&self, page: u32) -> Option<&'a VmaSeen> {
        let i = self.space.vmas.partition_point(|v| v.end <= page);
        self.space.vmas.get(i).filter(|v| v.start <= page)
    }

    /// First page of the VMA that holds `page`.
    pub fn vma_start(&self, page: u32) -> Option<u32> {
        self.vma(page).map(|v| v.start)
    }

    /// The next run of like pages, cut at `to`. Entries outside VMAs are drawn too: they would be a kernel's bug.
    pub fn next_cell(&mut self, to: u32) -> Cell<'a> {
        let start = self.at;
        let space = self.space;
        let mut end = to;
        let vma = self.vma(start);
        let next_vma = space.vmas.partition_point(|v| v.start <= start);
        match (vma, space.vmas.get(next_vma)) {
            (Some(vma), _) => end = end.min(vma.end),
            (None, Some(next)) => end = end.min(next.start),
            (None, None) => {}
        }
        let i = space
            .pages
            .partition_point(|r| r.start.saturating_add(r.len) <= start);
        let mut run = None;
        if let Some(r) = space.pages.get(i) {
            if r.start <= start {
                run = Some(r);
                end = end.min(r.start.saturating_add(r.len));
            } else {
                end = end.min(r.start);
            }
        }
        let letter = match (run, vma) {
            (Some(run), _) => Letter::of(&run.page),
            (None, Some(_)) => Letter::Empty,
            (None, None) => Letter::Unmapped,
        };
        // What was observed comes from a kernel and may be out of order: always go on by a page at least.
        self.at = end.max(start + 1);
        Cell {
            start,
            len: self.at - start,
            vma,
            run,
            letter,
        }
    }
}

/// The parts of the arena worth drawing: the pages of all VMAs and page entries of the given spaces, widened by a page on
/// both sides and joined where they come near each other. (First page, page after the last.)
pub fn windows(spaces: &[&SpaceSeen], g: Geometry) -> Vec<(u32, u32)> {
    const NEAR: u32 = 16;
    let last = g.arena_pages();
    let mut spans: Vec<(u32, u32)> = spaces
        .iter()
        .flat_map(|s| {
            let vmas = s.vmas.iter().map(|v| (v.start, v.end));
            let pages = s
                .pages
                .iter()
                .map(|r| (r.start, r.start.saturating_add(r.len)));
            vmas.chain(pages)
        })
        .map(|(a, b)| (a.saturating_sub(1), b.saturating_add(1).min(last)))
        .filter(|(a, b)| a < b)
        .collect();
    spans.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (a, b) in spans {
        match joined.last_mut() {
            Some((_, end)) if a <= end.saturating_add(NEAR) => *end = (*end).max(b),
            _ => joined.push((a, b)),
        }
    }
    joined
}

/// What the pages hold, as far as it was read: `0+2..0+4 tag 7`, one entry per run; pages that read zero are left out.
pub fn contents(space: &SpaceSeen, g: Geometry) -> String {
    let mut parts: Vec<(u32, u32, u16)> = Vec::new();
    for run in &space.pages {
        let Some(tag) = run.page.content.and_then(|c| c.tag()) else {
            continue;
        };
        let end = run.start.saturating_add(run.len);
        match parts.last_mut() {
            Some((_, e, t)) if *e == run.start && *t == tag => *e = end,
            _ => parts.push((run.start, end, tag)),
        }
    }
    let texts: Vec<String> = parts
        .iter()
        .map(|(a, b, tag)| format!("{}..{} tag {tag}", place(*a, g), place(*b, g)))
        .collect();
    texts.join(", ")
}

/// A page of the arena as a position, also when it is far from every block border.
pub(super) fn place(page: u32, g: Geometry) -> String {
    match Pos::from_page_index(i64::from(page), g) {
        Some(pos) => pos.to_string(),
        None => format!("{}+{}", page / g.pages_per_pmd, page % g.pages_per_pmd),
    }
}
