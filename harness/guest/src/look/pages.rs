//! Page-table entries, by PAGEMAP_SCAN and by pagemap, and the contents of present pages.

use super::Features;
use crate::access;
use crate::arena::Arena;
use crate::control::{Region, Scratch};
use crate::sys::{self, Errno};
use wire::scan::{ScanQuery, ScanRegion, ScanSeen};
use wire::{PageRun, Space, Vma};

/// `struct pm_scan_arg` of <linux/fs.h>.
#[derive(Default)]
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// _IOWR('f', 16, struct pm_scan_arg)
const PAGEMAP_SCAN: u64 = 3 << 30 | 96 << 16 | 0x66 << 8 | 16;
/// WPALLOWED, WRITTEN, FILE, PRESENT, SWAPPED, PFNZERO, HUGE, SOFT_DIRTY.
pub const SCAN_ALL: u64 = 0xff;
/// PAGE_IS_GUARD.
pub const SCAN_GUARD: u64 = 0x100;
/// FILE, PRESENT, SWAPPED, PFNZERO, HUGE: a page with one of them is not empty.
const SCAN_NOT_EMPTY: u64 = 0x7c;

/// Bits of a pagemap entry; this one from Linux 6.15 on.
pub const GUARD: u64 = 1 << 58;
pub(super) const PRESENT: u64 = 1 << 63;
pub(super) const PFN: u64 = (1 << 55) - 1;
/// Of what is left of an entry when it is shifted down by 55: all but soft-dirty.
const NOT_EMPTY: u16 = 0x1fe;
const READABLE: u8 = 1;

/// Regions of empty pages up to this many pages between two others are read along with them.
const GAP: u64 = 16;

/// Where one PAGEMAP_SCAN stopped and how many regions it found.
pub struct Scan {
    pub found: usize,
    pub walk_end: u64,
}

/// PAGEMAP_SCAN over [start, end): pages that are not empty, with all the categories in `mask`.
pub fn scan(
    pagemap: i32,
    start: u64,
    end: u64,
    mask: u64,
    into: &mut [Region],
) -> Result<Scan, Errno> {
    let mut arg = ScanArg {
        size: std::mem::size_of::<ScanArg>() as u64,
        start,
        end,
        vec: into.as_mut_ptr() as u64,
        vec_len: into.len() as u64,
        category_anyof_mask: (SCAN_NOT_EMPTY | SCAN_GUARD) & mask,
        return_mask: mask,
        ..ScanArg::default()
    };
    // SAFETY: the kernel writes at most `vec_len` regions.
    let found = unsafe {
        sys::call(
            libc::SYS_ioctl,
            [pagemap as u64, PAGEMAP_SCAN, &raw mut arg as u64, 0, 0, 0],
        )?
    };
    Ok(Scan {
        found: found as usize,
        walk_end: arg.walk_end,
    })
}

/// Asks one question about the arena with its margins.
///
/// # Errors
/// PAGEMAP_SCAN fails, or finds something in the margins.
pub fn ask(
    pagemap: i32,
    arena: Arena,
    query: &ScanQuery,
    regions: &mut [Region],
) -> Result<ScanSeen, String> {
    let mut seen = ScanSeen::default();
    let mut start = arena.low();
    while start < arena.high() {
        let mut arg = ScanArg {
            size: std::mem::size_of::<ScanArg>() as u64,
            start,
            end: arena.high(),
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            max_pages: query.most.into(),
            category_inverted: query.inverted.into(),
            category_mask: query.mask.into(),
            category_anyof_mask: query.any_of.into(),
            return_mask: query.returned.into(),
            ..ScanArg::default()
        };
        let args = [pagemap as u64, PAGEMAP_SCAN, &raw mut arg as u64, 0, 0, 0];
        // SAFETY: the kernel writes at most `vec_len` regions.
        let found = unsafe { sys::call(libc::SYS_ioctl, args) }
            .map_err(|e| format!("PAGEMAP_SCAN of {query:?}: {e}"))? as usize;
        let found = regions
            .get(..found)
            .ok_or("PAGEMAP_SCAN found more than it was asked for")?;
        for region in found {
            seen.regions.push(ScanRegion {
                start: arena.page_number(region.start)?,
                end: arena.page_number(region.end)?,
                categories: region.categories as u16,
            });
        }
        if query.most != 0 {
            break;
        }
        if arg.walk_end <= start {
            return Err("PAGEMAP_SCAN does not move on".to_owned());
        }
        start = arg.walk_end;
    }
    Ok(seen)
}

/// Fills in the runs of pages that are not empty.
pub fn look(
    pagemap: i32,
    features: Features,
    arena: Arena,
    scratch: &mut Scratch,
    space: &mut Space,
) -> Result<(), String> {
    let mut walk = Walk {
        pagemap,
        features,
        arena,
        vmas: &space.vmas,
        vma: 0,
        into: &mut space.pages,
    };
    let Scratch {
        regions,
        entries,
        values,
        ..
    } = scratch;
    if !features.pagemap_scan {
        for index in 0..space.vmas.len() {
            let vma = &space.vmas[index];
            let span = Region {
                start: arena.address(vma.start),
                end: arena.address(vma.end),
                categories: 0,
            };
            walk.span(span.start, span.end, &[], entries, values)?;
        }
        return Ok(());
    }
    let mask = SCAN_ALL | if features.scan_guard { SCAN_GUARD } else { 0 };
    let mut start = arena.low();
    while start < arena.high() {
        let scan = scan(pagemap, start, arena.high(), mask, regions)
            .map_err(|e| format!("PAGEMAP_SCAN: {e}"))?;
        let mut found = regions
            .get(..scan.found)
            .ok_or("PAGEMAP_SCAN found more than it was asked for")?;
        while let Some(first) = found.first() {
            let mut many = 1;
            while many < found.len() && found[many].start - found[many - 1].end <= GAP * arena.page
            {
                many += 1;
            }
            walk.span(
                first.start,
                found[many - 1].end,
                &found[..many],
                entries,
                values,
            )?;
            found = &found[many..];
        }
        if scan.walk_end <= start {
            return Err("PAGEMAP_SCAN does not move on".to_owned());
        }
        start = scan.walk_end;
    }
    Ok(())
}

struct Walk<'a> {
    pagemap: i32,
    features: Features,
    arena: Arena,
    vmas: &'a [Vma],
    /// The first VMA that does not end before the page that we are at.
    vma: usize,
    into: &'a mut Vec<PageRun>,
}

impl Walk<'_> {
    /// Reads the entries from `start` to `end`; `regions` tells the categories of those that PAGEMAP_SCAN found.
    fn span(
        &mut self,
        start: u64,
        end: u64,
        regions: &[Region],
        entries: &mut [u64],
        values: &mut [u64],
    ) -> Result<(), String> {
        let (mut page, last) = (self.arena.page_number(start)?, self.arena.page_number(end)?);
        let mut regions = regions.iter().peekable();
        while page < last {
            let count = ((last - page) as usize).min(entries.len());
            read_entries(
                self.pagemap,
                self.arena.address(page) / self.arena.page,
                &mut entries[..count],
            )?;
            let mut index = 0;
            while index < count {
                let at = page + index as u32;
                let (categories, border) = self.categories(at, last, &mut regions)?;
                let (readable, vma_end) = self.vma_at(at);
                let most = (border.min(vma_end) - at) as usize;
                let rest = &entries[index..count.min(index + most)];
                let bits = rest[0] >> 55;
                // Without PAGEMAP_SCAN the PFN tells the zero page, so it must be alike too.
                let zero = self.is_zero(rest[0]);
                let alike = rest
                    .iter()
                    .take_while(|&&e| e >> 55 == bits && self.is_zero(e) == zero)
                    .count();
                let empty = bits as u16 & NOT_EMPTY == 0
                    && categories.unwrap_or(0) & (SCAN_NOT_EMPTY | SCAN_GUARD) as u16 == 0;
                if !empty {
                    let run = PageRun {
                        start: at,
                        len: alike as u32,
                        pagemap: bits as u16,
                        scan: categories,
                        zero_pfn: zero,
                        value: None,
                    };
                    if readable && rest[0] & PRESENT != 0 {
                        self.push_with_values(run, values);
                    } else {
                        self.push(run);
                    }
                }
                index += alike;
            }
            page += count as u32;
        }
        Ok(())
    }

    /// Categories of a page, and the page where they may change.
    fn categories<'r>(
        &self,
        page: u32,
        last: u32,
        regions: &mut std::iter::Peekable<impl Iterator<Item = &'r Region>>,
    ) -> Result<(Option<u16>, u32), String> {
        if !self.features.pagemap_scan {
            return Ok((None, last));
        }
        while let Some(region) = regions.peek() {
            let (start, end) = (
                self.arena.page_number(region.start)?,
                self.arena.page_number(region.end)?,
            );
            if page < start {
                return Ok((Some(0), start));
            }
            if page < end {
                return Ok((Some(region.categories as u16), end));
            }
            regions.next();
        }
        Ok((Some(0), last))
    }

    /// Whether a page lies in a readable VMA, and the page where that may change.
    fn vma_at(&mut self, page: u32) -> (bool, u32) {
        while let Some(vma) = self.vmas.get(self.vma) {
            if page < vma.start {
                return (false, vma.start);
            }
            if page < vma.end {
                return (vma.prot & READABLE != 0, vma.end);
            }
            self.vma += 1;
        }
        (false, u32::MAX)
    }

    fn is_zero(&self, entry: u64) -> bool {
        if self.features.pagemap_scan || entry & PRESENT == 0 {
            return false;
        }
        let pfn = entry & PFN;
        let huge = self.features.huge_zero_pfn;
        pfn != 0
            && (pfn == self.features.zero_pfn
                || huge != 0 && (huge..huge + self.arena.page / 8).contains(&pfn))
    }

    fn push(&mut self, run: PageRun) {
        if let Some(last) = self.into.last_mut() {
            let follows = match (last.value, run.value) {
                (None, None) => true,
                (Some(0), Some(0)) => true,
                (Some(a), Some(b)) => a != 0 && a.wrapping_add(last.len.into()) == b,
                _ => false,
            };
            if follows
                && last.start + last.len == run.start
                && last.pagemap == run.pagemap
                && last.scan == run.scan
                && last.zero_pfn == run.zero_pfn
            {
                last.len += run.len;
                return;
            }
        }
        self.into.push(run);
    }

    /// Present pages do not fault: their first eight bytes can be loaded. If the kernel thinks otherwise they stay
    /// unknown, and the host sees that.
    fn push_with_values(&mut self, run: PageRun, values: &mut [u64]) {
        let mut done = 0;
        while done < run.len {
            let want = ((run.len - done) as usize).min(values.len());
            let values = &mut values[..want];
            let start = run.start + done;
            let got = access::load(self.arena.address(start), self.arena.page, values);
            for (first, len, value) in value_runs(&values[..got]) {
                self.push(PageRun {
                    start: start + first,
                    len,
                    value: Some(value),
                    ..run
                });
            }
            if got < want {
                let start = start + got as u32;
                self.push(PageRun {
                    start,
                    len: 1,
                    ..run
                });
                done += 1;
            }
            done += got as u32;
        }
    }
}

/// Cuts values into runs: zeros, or numbers that grow by one. (index of the first, how many, first value)
pub fn value_runs(values: &[u64]) -> impl Iterator<Item = (u32, u32, u64)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = values.get(at..).filter(|rest| !rest.is_empty())?;
        let first = rest[0];
        let step = u64::from(first != 0);
        let mut expected = first;
        let len = rest
            .iter()
            .take_while(|&&value| {
                let same = value == expected;
                expected = expected.wrapping_add(step);
                same
            })
            .count();
        let run = (at as u32, len as u32, first);
        at += len;
        Some(run)
    })
}

pub(super) fn read_entries(pagemap: i32, page: u64, into: &mut [u64]) -> Result<(), String> {
    let bytes = std::mem::size_of_val(into);
    // SAFETY: any bytes are valid numbers.
    let buffer = unsafe { std::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<u8>(), bytes) };
    let mut done = 0;
    while done < bytes {
        match sys::read_at(pagemap, &mut buffer[done..], page * 8 + done as u64) {
            Ok(0) => return Err("pagemap ends before the arena does".to_owned()),
            Ok(n) => done += n,
            Err(e) => return Err(format!("pagemap: {e}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_struct_has_the_size_that_the_ioctl_number_says() {
        assert_eq!(std::mem::size_of::<ScanArg>(), 96);
    }

    #[test]
    fn values_are_cut_where_they_do_not_follow() {
        let values = [0, 0, 0, 5, 6, 7, 9, 0, 1, 2];
        let runs: Vec<_> = value_runs(&values).collect();
        assert_eq!(
            runs,
            [(0, 3, 0), (3, 3, 5), (6, 1, 9), (7, 1, 0), (8, 2, 1)]
        );
        assert_eq!(value_runs(&[]).count(), 0);
    }
}
