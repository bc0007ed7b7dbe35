//! Sets of numbers that come in stretches: ids of anonymous pages, pages of an object.

/// A set of numbers, kept as stretches in ascending order that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ranges {
    /// First, and one past the last.
    runs: Vec<(u64, u64)>,
}

impl Ranges {
    /// Index of the first stretch that ends after `at`.
    fn first_after(&self, at: u64) -> usize {
        self.runs.partition_point(|r| r.1 <= at)
    }

    /// Adds `[start, end)`.
    pub fn insert(&mut self, start: u64, end: u64) {
        self.replace(start, end, true);
    }

    /// Takes `[start, end)` out.
    pub fn remove(&mut self, start: u64, end: u64) {
        self.replace(start, end, false);
    }

    fn replace(&mut self, start: u64, end: u64, there: bool) {
        if start >= end {
            return;
        }
        // Stretches that only touch are joined, so they count as met.
        let from = self.runs.partition_point(|r| r.1 < start);
        let to = self.runs.partition_point(|r| r.0 <= end).max(from);
        let met = &self.runs[from..to];
        let low = met.first().map_or(start, |r| r.0.min(start));
        let high = met.last().map_or(end, |r| r.1.max(end));
        let new = if there {
            vec![(low, high)]
        } else {
            vec![(low, start), (end, high)]
        };
        let new = new.into_iter().filter(|(a, b)| a < b);
        self.runs.splice(from..to, new);
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether all of `[start, end)` is in the set.
    pub fn contains_all(&self, start: u64, end: u64) -> bool {
        let run = self.runs.get(self.first_after(start));
        start >= end || run.is_some_and(|r| r.0 <= start && end <= r.1)
    }

    /// Whether anything of `[start, end)` is in the set.
    pub fn meets(&self, start: u64, end: u64) -> bool {
        let run = self.runs.get(self.first_after(start));
        start < end && run.is_some_and(|r| r.0 < end)
    }

    /// The stretches within `[start, end)`, clipped to it.
    pub fn within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs[self.first_after(start)..]
            .iter()
            .take_while(move |r| r.0 < end)
            .map(move |r| (r.0.max(start), r.1.min(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_agrees_with_an_array() {
        const NUMBERS: u64 = 40;
        let mut seed = 3u64;
        let mut next = move |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let mut set = Ranges::default();
        let mut array = [false; NUMBERS as usize];
        for round in 0..4000 {
            let a = next(NUMBERS);
            let b = a + next(NUMBERS - a + 1).min(8);
            let there = next(2) == 0;
            if there {
                set.insert(a, b);
            } else {
                set.remove(a, b);
            }
            array[a as usize..b as usize].fill(there);
            for (n, want) in array.iter().enumerate() {
                assert_eq!(
                    set.contains_all(n as u64, n as u64 + 1),
                    *want,
                    "round {round}, {n}"
                );
            }
            let (a, b) = (a as usize, b as usize);
            let (low, high) = (a as u64, b as u64);
            assert_eq!(set.contains_all(low, high), array[a..b].iter().all(|x| *x));
            assert_eq!(set.meets(low, high), array[a..b].iter().any(|x| *x));
            let within: u64 = set.within(low, high).map(|(x, y)| y - x).sum();
            assert_eq!(within, array[a..b].iter().filter(|x| **x).count() as u64);
            assert_eq!(set.is_empty(), !array.contains(&true));
            for pair in set.runs.windows(2) {
                assert!(pair[0].1 < pair[1].0, "round {round}: {pair:?}");
            }
        }
    }
}
