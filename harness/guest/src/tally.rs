//! What comes of the repetitions of one program: which executions were seen, and how the threads met. It stands in shared memory,
//! since a worker may be replaced between two repetitions.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use wire::bounded::MAX_KEPT;
use wire::{Raced, MAX_LANES};

/// Places of the histograms.
const BINS: usize = 32;

/// See the module. All zero: nothing seen.
#[repr(C)]
pub struct Tally {
    kept: AtomicU32,
    fingerprints: [AtomicU64; MAX_KEPT],
    counts: [AtomicU32; MAX_KEPT],
    unkept: AtomicU32,
    overlapped: AtomicU32,
    apart: [AtomicU32; BINS],
    first: [AtomicU32; MAX_LANES],
    walks: [AtomicU32; BINS],
    /// Huge pages that khugepaged has made while the program ran, and of these, while threads ran at once.
    collapses: [AtomicU32; 2],
    /// They are counted.
    collapses_counted: AtomicU32,
    /// How long the longest thread of a section works, nanoseconds: the median, about.
    pub span: AtomicU64,
}

/// How the threads of one section met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meeting {
    /// The thread that began first.
    pub first: usize,
    /// Nanoseconds until the second began.
    pub apart: u64,
    /// Ops of two threads were under way at the same time.
    pub overlapped: bool,
    /// How long the longest of the threads that do not repeat worked, nanoseconds.
    pub span: u64,
}

impl Tally {
    /// Another program begins.
    pub fn reset(&self) {
        let words = [
            &self.kept,
            &self.unkept,
            &self.overlapped,
            &self.collapses_counted,
        ];
        let bins = self.apart.iter().chain(&self.first).chain(&self.walks);
        for word in words.into_iter().chain(bins).chain(&self.collapses) {
            word.store(0, Relaxed);
        }
        self.span.store(0, Relaxed);
    }

    /// Counts an execution. Whether it is to be reported: it is the first of its kind, and there is room.
    pub fn count(&self, fingerprint: u64) -> bool {
        let kept = self.kept.load(Relaxed) as usize;
        let known = self.fingerprints[..kept]
            .iter()
            .position(|known| known.load(Relaxed) == fingerprint);
        match known {
            Some(at) => {
                add(&self.counts[at], 1);
                false
            }
            None => self.keep(fingerprint),
        }
    }

    /// Counts an execution that is like no other, because it did not end.
    pub fn count_unlike(&self) -> bool {
        // No fingerprint is asked for again after it: the repetitions end here.
        self.keep(0)
    }

    fn keep(&self, fingerprint: u64) -> bool {
        let kept = self.kept.load(Relaxed) as usize;
        if kept == MAX_KEPT {
            add(&self.unkept, 1);
            return false;
        }
        self.fingerprints[kept].store(fingerprint, Relaxed);
        self.counts[kept].store(1, Relaxed);
        self.kept.store(kept as u32 + 1, Relaxed);
        true
    }

    /// Counts how the threads of a section met.
    pub fn meet(&self, meeting: Meeting) {
        add(&self.overlapped, meeting.overlapped.into());
        add(&self.apart[bin(meeting.apart)], 1);
        add(&self.first[meeting.first], 1);
        // Steps of the same size up and down lead to the median: a thread that had to wait for a processor says nothing about the
        // others.
        let was = self.span.load(Relaxed);
        let step = was / 32 + 1;
        let span = match meeting.span {
            now if was == 0 => now.max(1),
            now if now > was => was + step,
            now if now < was => was - step,
            _ => was,
        };
        self.span.store(span, Relaxed);
    }

    /// Counts an install by the walks over page tables that it took.
    pub fn walked(&self, walks: u64) {
        add(&self.walks[(walks as usize).min(BINS - 1)], 1);
    }

    /// Counts what khugepaged made while the program ran.
    pub fn collapsed(&self, huge_pages: u32) {
        add(&self.collapses[0], huge_pages);
        self.collapses_counted.store(1, Relaxed);
    }

    /// And of that, what it made beside threads.
    pub fn collapsed_beside(&self, huge_pages: u32) {
        add(&self.collapses[1], huge_pages);
    }

    /// All of it, for the host.
    pub fn told(&self, id: u64, no_walks: Option<String>) -> Raced {
        let values = |words: &[AtomicU32]| words.iter().map(|word| word.load(Relaxed)).collect();
        Raced {
            id,
            counts: values(&self.counts[..self.kept.load(Relaxed) as usize]),
            unkept: self.unkept.load(Relaxed),
            overlapped: self.overlapped.load(Relaxed),
            apart: values(&self.apart),
            first: values(&self.first),
            walks: values(&self.walks),
            no_walks,
            collapses: (self.collapses_counted.load(Relaxed) != 0).then(|| {
                let [all, beside] = &self.collapses;
                (all.load(Relaxed), beside.load(Relaxed))
            }),
        }
    }
}

/// One process writes at a time.
fn add(word: &AtomicU32, n: u32) {
    word.store(word.load(Relaxed) + n, Relaxed);
}

/// The first power of two that is greater.
fn bin(nanos: u64) -> usize {
    ((u64::BITS - nanos.leading_zeros()) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Box<Tally> {
        // SAFETY: all-zero is valid for every field.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    #[test]
    fn executions_are_counted_by_kind() {
        let tally = empty();
        assert!(tally.count(7) && tally.count(8) && !tally.count(7) && !tally.count(7));
        assert!(tally.count_unlike());
        assert_eq!(tally.told(5, None).counts, [3, 1, 1]);
        tally.reset();
        assert!(tally.count(7));
        assert_eq!(tally.told(5, None).counts, [1]);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_as_such() {
        let tally = empty();
        for number in 0..MAX_KEPT as u64 {
            assert!(tally.count(number));
        }
        assert!(!tally.count(1 << 40) && !tally.count(3) && !tally.count(1 << 40));
        let told = tally.told(5, None);
        assert_eq!((told.unkept, told.counts[3]), (2, 2));
    }

    #[test]
    fn what_khugepaged_made_is_told_where_it_was_counted() {
        let tally = empty();
        assert_eq!(tally.told(5, None).collapses, None);
        tally.collapsed_beside(1);
        tally.collapsed(2);
        tally.collapsed(0);
        assert_eq!(tally.told(5, None).collapses, Some((2, 1)));
        tally.reset();
        assert_eq!(tally.told(5, None).collapses, None);
    }

    #[test]
    fn meetings_go_to_their_bins() {
        let tally = empty();
        for (apart, first) in [(0, 0), (1, 1), (700, 1), (u64::MAX, 0)] {
            tally.meet(Meeting {
                first,
                apart,
                overlapped: first == 1,
                span: 800,
            });
        }
        let told = tally.told(5, None);
        assert_eq!((told.overlapped, told.first), (2, vec![2, 2, 0, 0]));
        let full: Vec<usize> = (0..BINS).filter(|bin| told.apart[*bin] > 0).collect();
        assert_eq!(full, [0, 1, 10, BINS - 1]);
        assert_eq!(tally.span.load(Relaxed), 800);
        for (span, known) in [(7200, 826), (500, 800), (800, 800)] {
            let apart = 0;
            tally.meet(Meeting {
                first: 0,
                apart,
                overlapped: false,
                span,
            });
            assert_eq!(tally.span.load(Relaxed), known);
        }
    }
}
