//! Whether two address spaces look alike, page by page: how VMAs are cut does not matter, what they allow does.

use crate::geometry::{Geometry, Pos, BLOCKS, REACH};
use crate::judge::{PageSeen, SpaceSeen, VmFlag, VmaSeen};
use crate::space::Content;

/// What need not be alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignore {
    /// The flag `gu`, which an install leaves on its VMA for good.
    maybe_guard: bool,
}

impl Ignore {
    pub const NOTHING: Ignore = Ignore { maybe_guard: false };
    pub const MAYBE_GUARD: Ignore = Ignore { maybe_guard: true };
}

/// One page: what its VMA says of it, what stands in its slot, and whether it is resident.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Looks {
    vma: Option<Allowed>,
    page: Option<PageSeen>,
    resident: Option<bool>,
}

/// What a VMA says of each of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    prot: crate::program::Prot,
    shared: bool,
    file_page: Option<u32>,
    flags: Option<Vec<VmFlag>>,
}

/// Compares two spaces.
///
/// # Errors
/// The first page that differs, and how.
pub fn alike(left: &SpaceSeen, right: &SpaceSeen, ignore: Ignore) -> Result<(), String> {
    let with_flags = |space: &SpaceSeen| space.vmas.iter().all(|vma| vma.flags.is_some());
    let flags = with_flags(left) && with_flags(right);
    each_page(left, right, |page| {
        [left, right].map(|space| {
            let mut looks = looks(space, page);
            if let Some(vma) = &mut looks.vma {
                if !flags {
                    vma.flags = None;
                } else if ignore.maybe_guard {
                    vma.flags
                        .iter_mut()
                        .for_each(|f| f.retain(|f| f.0 != *b"gu"));
                }
            }
            if left.resident.is_none() || right.resident.is_none() {
                looks.resident = None;
            }
            looks
        })
    })
}

/// Compares what is mapped and what can be read there: not how often a page is mapped, nor what is resident.
///
/// # Errors
/// The first page that differs, and how.
pub fn same_page_contents(left: &SpaceSeen, right: &SpaceSeen) -> Result<(), String> {
    each_page(left, right, |page| {
        [left, right].map(|space| {
            let vma = vma_of(space, page).map(|vma| (vma.prot, vma.shared));
            let page = page_of(space, page).map(|page| (page.kind, page.content));
            (vma, page)
        })
    })
}

/// Compares the pages near the borders of the arena's blocks, which positions can name, on kernels of different page sizes: what is
/// mapped, what kind of page is there, which tag it has.
///
/// # Errors
/// The first position that differs, and how.
pub fn alike_after_scaling(
    left: (&SpaceSeen, Geometry),
    right: (&SpaceSeen, Geometry),
) -> Result<(), String> {
    let looks = |(space, g): (&SpaceSeen, Geometry), pos: Pos| {
        let page = pos.page_index(g) as u32;
        let vma = vma_of(space, page).map(|vma| (vma.prot, vma.shared));
        let of = |seen: PageSeen| (seen.kind, seen.content.map(Content::tag));
        (vma, page_of(space, page).map(of))
    };
    for block in 0..=BLOCKS {
        for page in -REACH..REACH {
            let pos = Pos::new(block, page);
            let inside = |g: Geometry| (0..i64::from(g.arena_pages())).contains(&pos.page_index(g));
            if !inside(left.1) || !inside(right.1) {
                continue;
            }
            let (l, r) = (looks(left, pos), looks(right, pos));
            if l != r {
                return Err(format!("page {block}{page:+}: {l:?} against {r:?}"));
            }
        }
    }
    Ok(())
}

/// Compares two spaces where something changes in one of them: in between, pages are alike or follow each other.
fn each_page<T: PartialEq + std::fmt::Debug>(
    left: &SpaceSeen,
    right: &SpaceSeen,
    looks: impl Fn(u32) -> [T; 2],
) -> Result<(), String> {
    let mut borders: Vec<u32> = Vec::new();
    for space in [left, right] {
        borders.extend(space.vmas.iter().flat_map(|vma| [vma.start, vma.end]));
        let ends = |start: u32, len: u32| [start, start + len];
        borders.extend(space.pages.iter().flat_map(|run| ends(run.start, run.len)));
        let resident = space.resident.iter().flatten();
        borders.extend(resident.flat_map(|&(start, len)| ends(start, len)));
    }
    borders.sort_unstable();
    borders.dedup();
    for page in borders {
        let [l, r] = looks(page);
        if l != r {
            return Err(format!("page {page}: {l:?} against {r:?}"));
        }
    }
    Ok(())
}

fn looks(space: &SpaceSeen, page: u32) -> Looks {
    let allowed = |vma: &VmaSeen| Allowed {
        prot: vma.prot,
        shared: vma.shared,
        file_page: vma.file_page.map(|first| first + page - vma.start),
        flags: vma.flags.clone(),
    };
    let runs = space.resident.as_deref();
    let is_in = |runs: &[(u32, u32)]| {
        runs.iter()
            .any(|&(start, len)| (start..start + len).contains(&page))
    };
    Looks {
        vma: vma_of(space, page).map(allowed),
        page: page_of(space, page),
        resident: runs.map(is_in),
    }
}

fn vma_of(space: &SpaceSeen, page: u32) -> Option<&VmaSeen> {
    let mut vmas = space.vmas.iter();
    vmas.find(|vma| (vma.start..vma.end).contains(&page))
}

/// What stands in a page's slot, with its own content.
fn page_of(space: &SpaceSeen, page: u32) -> Option<PageSeen> {
    let mut runs = space.pages.iter();
    let run = runs.find(|run| (run.start..run.start + run.len).contains(&page))?;
    let content = run.page.content.map(|first| first.plus(page - run.start));
    Some(PageSeen {
        content,
        ..run.page
    })
}
