//! The sizes of `convert`: what smaps adds up over a VMA, against the page states that pagemap shows of it.

use super::super::Disagreement;
use super::{Bad, Views};
use oracle::geometry::Geometry;
use oracle::judge::{PageKind, PageRun, PageSeen, Sizes, VmaSeen};
use oracle::program::Prot;

/// The sizes that the oracle knows.
pub fn sizes(seen: &wire::Sizes) -> Result<Sizes, Bad> {
    let sum = |a: u64, b: u64| {
        a.checked_add(b)
            .ok_or_else(|| Bad::Garbage(format!("sizes of {a} and {b} KiB")))
    };
    Ok(Sizes {
        rss: seen.rss,
        pss: seen.pss,
        private: sum(seen.private_clean, seen.private_dirty)?,
        anonymous: seen.anonymous,
        lazy_free: seen.lazy_free,
        anon_huge: seen.anon_huge_pages,
        file_huge: sum(seen.shmem_pmd_mapped, seen.file_pmd_mapped)?,
        swap: seen.swap,
        locked: seen.locked,
    })
}

/// Counts of a VMA's pages, by what pagemap and PAGEMAP_SCAN say of them.
#[derive(Default)]
struct Counts {
    rss: u64,
    anonymous: u64,
    anon_huge: u64,
    file_huge: u64,
    swap: u64,
    exclusive: u64,
    /// A PMD maps some; then bit 56 may be that of the first page for all of them.
    huge: bool,
}

impl Counts {
    fn add(&mut self, page: &PageSeen, pages: u64) {
        let huge = page.huge == Some(true);
        match page.kind {
            PageKind::Guard | PageKind::Zero => return,
            PageKind::Swap => {
                self.swap += pages;
                return;
            }
            PageKind::Anon => {
                self.anonymous += pages;
                self.anon_huge += if huge { pages } else { 0 };
            }
            PageKind::File => self.file_huge += if huge { pages } else { 0 },
        }
        self.rss += pages;
        self.huge |= huge;
        self.exclusive += if page.exclusive { pages } else { 0 };
    }
}

/// Contradictions between smaps and the pages, both of which a kernel takes from the page table.
pub fn compare(
    vmas: &[VmaSeen],
    pages: &[PageRun],
    actor: u8,
    g: Geometry,
    views: Views,
) -> Result<(), Disagreement> {
    let kib = u64::from(g.page_size) / 1024;
    for vma in vmas {
        let Some(sizes) = &vma.sizes else { continue };
        let mut counts = Counts::default();
        let first = pages.partition_point(|run| run.start + run.len <= vma.start);
        for run in pages[first..].iter().take_while(|run| run.start < vma.end) {
            let within = (run.start + run.len).min(vma.end) - run.start.max(vma.start);
            counts.add(&run.page, within.into());
        }
        // Poison looks like swap in pagemap, and so does a guard on older kernels: smaps counts neither, and the oracle
        // knows how much there is. Of shared memory it counts what is swapped out, and the page table says nothing of it.
        let too_much_swap = vma.file_page.is_none() && sizes.swap > counts.swap * kib;
        // Where these are left out, nothing in pagemap tells which pages they are; the oracle knows.
        let all_count = vma.prot != Prot::NONE || !views.smaps_skips_protnone_huge;
        let pairs = [
            ("Rss", sizes.rss, counts.rss, all_count),
            ("Anonymous", sizes.anonymous, counts.anonymous, all_count),
            ("Swap", sizes.swap, counts.swap, too_much_swap),
            (
                "AnonHugePages",
                sizes.anon_huge,
                counts.anon_huge,
                views.scan,
            ),
            (
                "ShmemPmdMapped and FilePmdMapped",
                sizes.file_huge,
                counts.file_huge,
                views.scan,
            ),
            (
                "Private_Clean and Private_Dirty",
                sizes.private,
                counts.exclusive,
                views.scan && !counts.huge,
            ),
        ];
        for (name, kibibytes, pages, comparable) in pairs {
            if comparable && kibibytes != pages * kib {
                let less = kibibytes < pages * kib;
                return Err(Disagreement {
                    actor,
                    pages: (vma.start, vma.end - vma.start),
                    views: "smaps/pagemap",
                    left: format!("{} {name}", if less { "less" } else { "more" }),
                    right: if less { "more pages" } else { "fewer pages" }.into(),
                    note: Some(format!("{kibibytes} KiB, {pages} pages")),
                });
            }
        }
    }
    Ok(())
}
