//! Kernel against kernel, from what the records of a campaign have of each program: the digest of everything that was observed in it.
//!
//! Where two digests differ, the kernels were seen to do something else; what that was, and which behaviours explain it, is in no
//! record: `cargo xtask merge --confirm` runs programs again.

use crate::campaign::{Block, Place};
use std::collections::BTreeMap;

/// Programs that are named, at most: what `merge --confirm` runs again takes a moment, and the first ones are the corpus's, which part
/// kernels for many reasons.
const FIRST: usize = 20;

/// Columns of observations.csv.
pub const OBSERVATION_COLUMNS: [&str; 6] = [
    "arch",
    "kernel",
    "before",
    "programs",
    "differ",
    "first_programs",
];

/// Two kernels of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Label of the kernel, of the one before it, and their architecture.
    pub kernel: String,
    pub before: String,
    pub arch: String,
    /// Programs that were observed on both, and those in which something else was observed.
    pub programs: u64,
    pub differ: u64,
    /// The first of them.
    pub first: Vec<Place>,
}

/// Pairs of kernels, added up block by block.
#[derive(Default)]
pub(super) struct Observations {
    /// Numbers of the kernels, the earlier one first.
    pairs: Vec<((usize, usize), Observed)>,
    /// The block that is being read, and what kernels have of it.
    block: Option<Block>,
    seen: BTreeMap<usize, Vec<String>>,
}

impl Observations {
    pub(super) fn new(pairs: Vec<((usize, usize), Observed)>) -> Observations {
        Observations {
            pairs,
            ..Observations::default()
        }
    }

    /// Takes what a kernel has of a block. All kernels that have it must come one after the other.
    pub(super) fn add(&mut self, kernel: usize, block: Block, observed: Vec<String>) {
        if self.block != Some(block) {
            self.close();
            self.block = Some(block);
        }
        self.seen.insert(kernel, observed);
    }

    fn close(&mut self) {
        let Some(block) = self.block.take() else {
            return;
        };
        let seen = std::mem::take(&mut self.seen);
        for ((before, kernel), pair) in &mut self.pairs {
            let (Some(one), Some(other)) = (seen.get(before), seen.get(kernel)) else {
                continue;
            };
            for (index, (one, other)) in (0..).zip(one.iter().zip(other)) {
                if one.is_empty() || other.is_empty() {
                    continue;
                }
                pair.programs += 1;
                if one != other {
                    pair.differ += 1;
                    pair.first.push(Place { block, index });
                    pair.first.sort_unstable();
                    pair.first.truncate(FIRST);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<Observed> {
        self.close();
        self.pairs.into_iter().map(|(_, pair)| pair).collect()
    }
}

/// observations.csv.
///
/// # Errors
/// Never for plain data; what the csv writer reports.
pub fn observations_csv(pairs: &[Observed]) -> csv::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(OBSERVATION_COLUMNS)?;
    for pair in pairs {
        let first: Vec<String> = pair.first.iter().map(ToString::to_string).collect();
        csv.write_record([
            &pair.arch,
            &pair.kernel,
            &pair.before,
            &pair.programs.to_string(),
            &pair.differ.to_string(),
            &first.join(" "),
        ])?;
    }
    csv.into_inner().map_err(|e| e.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_compared_where_both_were_observed() {
        let pair = Observed {
            kernel: "7.3".into(),
            before: "6.18".into(),
            arch: "x86_64".into(),
            ..Observed::default()
        };
        let mut all = Observations::new(vec![((0, 2), pair)]);
        let digests = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let blocks = [Block::Generated(4), Block::Corpus(0)];
        for block in blocks {
            all.add(
                0,
                block,
                vec!["a".into(), String::new(), "c".into(), "d".into()],
            );
            all.add(1, block, digests("x x x x"));
            all.add(2, block, digests("a b x"));
        }
        // Only one of them has this block.
        all.add(2, Block::Generated(5), digests("a"));
        let found = all.finish();
        assert_eq!((found[0].programs, found[0].differ), (4, 2));
        let text = String::from_utf8(observations_csv(&found).unwrap()).unwrap();
        assert!(
            text.ends_with("x86_64,7.3,6.18,4,2,corpus/0/2 generated/4/2\n"),
            "{text}"
        );
    }
}
