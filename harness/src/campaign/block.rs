//! What a work item came to. A kernel's row is the sum of its blocks, in whatever order and on whichever machines they ran.

use super::{Block, Bucket, Change, Difference, Kind, Place, RowResult, Tally};
use crate::kernel::Execution;
use oracle::judge::{ByOp, Class};
use oracle::rules::RuleSet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Confirmed examples of a bucket on one kernel: those at the first places. Others are counted, not re-run.
pub const EXAMPLES: usize = 3;

/// In how many programs something was met, and in which first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    pub programs: u64,
    pub place: Place,
    /// Name of the program at that place.
    pub first: String,
}

impl Met {
    /// Met in one program.
    pub fn once(place: Place, name: &str) -> Met {
        Met {
            programs: 1,
            place,
            first: name.to_string(),
        }
    }

    fn add(&mut self, other: &Met) {
        self.programs += other.programs;
        if other.place < self.place {
            self.place = other.place;
            self.first.clone_from(&other.first);
        }
    }
}

/// A difference from the kernel before: the bucket, and the rows of the table of behaviours that explain it.
pub type ChangeKey = (Bucket, Vec<String>);

/// A suspect that was re-run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// See [`divergence_id`](super::divergence_id).
    pub id: String,
    pub place: Place,
    /// File name or `seed/block/index`.
    pub program: String,
    pub bucket: Bucket,
    pub class: Class,
    /// Index of the op.
    pub step: usize,
    /// Re-runs, and those that showed it again.
    pub hits: u32,
    pub runs: u32,
    /// uname release.
    pub release: String,
}

/// The terminal record of a work item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockResult {
    #[serde(flatten)]
    pub tally: Tally,
    /// New buckets.
    #[serde(with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub buckets: BTreeMap<Bucket, Met>,
    /// How the kernel differs from the one before it.
    #[serde(with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<ChangeKey, Met>,
    /// Known findings that were met, with the number of programs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub known_met: BTreeMap<String, u64>,
    /// Runs of known findings' own programs in which nothing went wrong, by the finding.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u64>,
    /// Programs of the campaign up to the first new suspect, that one included, and its bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_suspect: Option<(u64, Bucket)>,
    /// The examples that were re-run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Suspect>,
    /// Programs that the infrastructure failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    pub rules: RuleSet,
    pub by_op: ByOp,
    /// Digest of the programs of the block ([`Programs::digest`](super::Programs::digest)).
    pub programs_digest: String,
    /// Digest of what was observed in each program ([`observation_digest`]), by its index; empty where nothing was.
    pub observed: Vec<String>,
    /// Wall-clock seconds, shared among the VMs of the kernel.
    pub seconds: f64,
}

impl BlockResult {
    /// The same without what differs from machine to machine: how long it took, and which suspects were re-run, as that depends on
    /// what others had met before.
    pub fn verdicts(&self) -> BlockResult {
        BlockResult {
            seconds: 0.0,
            suspects: Vec::new(),
            ..self.clone()
        }
    }

    /// Counts a new suspect; `through` are the programs of the campaign up to it.
    pub fn suspect(&mut self, kind: Kind, bucket: &Bucket, place: Place, name: &str, through: u64) {
        match kind {
            Kind::Divergence => self.tally.divergences += 1,
            Kind::Hang => self.tally.hangs += 1,
            Kind::Crash => self.tally.crashes += 1,
        }
        add_met(&mut self.buckets, bucket, &Met::once(place, name));
        self.first_suspect.get_or_insert((through, bucket.clone()));
    }

    /// Counts a suspect that a known finding explains.
    pub fn known(&mut self, finding: &str) {
        self.tally.known += 1;
        *self.known_met.entry(finding.to_string()).or_default() += 1;
    }

    /// Counts a run of a known finding's program in which nothing went wrong.
    pub fn held(&mut self, finding: &str) {
        *self.held.entry(finding.to_string()).or_default() += 1;
    }

    /// Counts a difference from the kernel before, which a program has shown.
    pub fn differs(&mut self, difference: Difference, met: Met) {
        let rows = difference.rows.iter().map(|row| row.to_string()).collect();
        add_met(&mut self.changes, &(difference.bucket, rows), &met);
    }

    /// Counts a program that the infrastructure failed.
    pub fn infra(&mut self, why: String) {
        self.tally.infra_errors += 1;
        self.errors.push(why);
    }

    /// Keeps the digest of what was observed in a program.
    pub fn observed(&mut self, index: u64, execution: &Execution) {
        let index = index as usize;
        if self.observed.len() <= index {
            self.observed.resize(index + 1, String::new());
        }
        self.observed[index] = observation_digest(execution);
    }
}

/// 16 hexadecimal digits of BLAKE3 over everything that was observed while a program ran, and how it ended.
pub fn observation_digest(execution: &Execution) -> String {
    // In one piece: the encoder writes byte by byte, which is no way to feed a hasher. Plain data can be encoded.
    let mut bytes = postcard::to_stdvec(&execution.seen).unwrap_or_default();
    bytes.extend_from_slice(format!("{:?}", execution.end).as_bytes());
    blake3::hash(&bytes).to_hex()[..16].to_string()
}

/// The sum of blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    tally: Tally,
    buckets: BTreeMap<Bucket, Met>,
    changes: BTreeMap<ChangeKey, Met>,
    known_met: BTreeMap<String, u64>,
    held: BTreeMap<String, u64>,
    first_suspect: Option<(u64, Bucket)>,
    rules: RuleSet,
    by_op: ByOp,
    errors: Vec<String>,
    /// The places of the examples of each bucket, at most [`EXAMPLES`].
    examples: BTreeMap<Bucket, BTreeSet<Place>>,
    /// Wall-clock seconds of all blocks.
    pub seconds: f64,
}

/// Errors whose text is kept.
const ERRORS: usize = 20;

impl Standing {
    /// Adds a block.
    pub fn add(&mut self, block: &BlockResult) {
        self.tally += block.tally;
        for (bucket, met) in &block.buckets {
            add_met(&mut self.buckets, bucket, met);
        }
        for (change, met) in &block.changes {
            add_met(&mut self.changes, change, met);
        }
        for (finding, n) in &block.known_met {
            *self.known_met.entry(finding.clone()).or_default() += n;
        }
        for (finding, n) in &block.held {
            *self.held.entry(finding.clone()).or_default() += n;
        }
        let firsts = [self.first_suspect.take(), block.first_suspect.clone()];
        self.first_suspect = firsts.into_iter().flatten().min();
        self.rules.merge(&block.rules);
        self.by_op += &block.by_op;
        for error in &block.errors {
            self.error(error.clone());
        }
        for suspect in &block.suspects {
            self.example(&suspect.bucket, suspect.place);
        }
        self.seconds += block.seconds;
    }

    /// Counts of all blocks.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts a failure of the infrastructure that is no program's.
    pub fn lost(&mut self, why: String) {
        self.tally.infra_errors += 1;
        self.error(why);
    }

    /// Keeps the text of an error.
    pub fn error(&mut self, text: String) {
        if self.errors.len() < ERRORS {
            self.errors.push(text);
        }
    }

    /// Whether the program at `place` is one of the examples of a bucket, as far as is known now.
    pub fn example(&mut self, bucket: &Bucket, place: Place) -> bool {
        let places = self.examples.entry(bucket.clone()).or_default();
        places.insert(place);
        if places.len() > EXAMPLES {
            places.pop_last();
        }
        places.contains(&place)
    }

    /// Whether the program at `place` is one of the examples of a bucket.
    pub fn is_example(&self, bucket: &Bucket, place: Place) -> bool {
        let places = self.examples.get(bucket);
        places.is_some_and(|places| places.contains(&place))
    }

    /// Puts the sums into a row.
    pub fn fill(&self, row: &mut RowResult) {
        row.tally = self.tally;
        row.buckets = self
            .buckets
            .iter()
            .map(|(b, m)| (b.clone(), m.programs))
            .collect();
        let first = |(bucket, met): (&Bucket, &Met)| (bucket.clone(), met.first.clone());
        row.first_programs = self.buckets.iter().map(first).collect();
        let change = |((bucket, rows), met): (&ChangeKey, &Met)| Change {
            bucket: bucket.clone(),
            rows: rows.clone(),
            first_program: met.first.clone(),
            programs: met.programs,
        };
        row.changes = self.changes.iter().map(change).collect();
        row.known_met.clone_from(&self.known_met);
        row.held.clone_from(&self.held);
        row.first_suspect = self.first_suspect.as_ref().map(|(n, _)| *n);
        row.first_bucket = self.first_suspect.as_ref().map(|(_, b)| b.clone());
        let rules: BTreeSet<String> = self.rules.iter().map(|rule| rule.to_string()).collect();
        row.rules = rules.into_iter().collect();
        row.by_op = self.by_op.clone();
        row.errors.clone_from(&self.errors);
    }
}

fn add_met<K: Ord + Clone>(to: &mut BTreeMap<K, Met>, key: &K, met: &Met) {
    match to.get_mut(key) {
        Some(mine) => mine.add(met),
        None => {
            to.insert(key.clone(), met.clone());
        }
    }
}

/// Maps whose keys are no text, as lists of pairs.
mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer, K: Serialize, V: Serialize>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub fn deserialize<'d, D: Deserializer<'d>, K: Deserialize<'d> + Ord, V: Deserialize<'d>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        let pairs = Vec::<(K, V)>::deserialize(from)?;
        Ok(pairs.into_iter().collect())
    }
}

/// What a campaign has of one kernel from before: earlier runs of the same campaign.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// What was found out when it booted; `None`: it never came so far.
    pub booted: Option<Booted>,
    /// The blocks that are through, and their sum.
    pub done: BTreeSet<Block>,
    pub standing: Standing,
}

/// What is found out about a kernel when it boots and is probed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booted {
    pub release: String,
    pub build: String,
    pub page_size: u32,
    pub accel: String,
    pub boot_seconds: f64,
    /// Names of the behaviours that it was found to have.
    pub behaviours: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(op: &str) -> Bucket {
        Bucket {
            op: op.into(),
            rule: "rule".into(),
            expected: "a".into(),
            observed: "b".into(),
        }
    }

    fn block(n: u64) -> BlockResult {
        let place = |index| Place {
            block: Block::Generated(n),
            index,
        };
        let mut result = BlockResult {
            tally: Tally {
                programs: 64,
                divergences: n,
                ..Tally::default()
            },
            first_suspect: Some((n * 64 + 3, bucket("fork"))),
            seconds: 0.5,
            ..BlockResult::default()
        };
        result
            .buckets
            .insert(bucket("fork"), Met::once(place(3), &format!("1/{n}/3")));
        let change = (bucket("mmap"), vec!["a_row".to_string()]);
        result
            .changes
            .insert(change, Met::once(place(9), &format!("1/{n}/9")));
        result.known_met.insert("finding".into(), 2);
        result.held("other");
        result.by_op.line("fork").ops = n;
        result.suspects.push(Suspect {
            id: format!("d-{n}"),
            place: place(3),
            program: format!("1/{n}/3"),
            bucket: bucket("fork"),
            class: Class::PageState,
            step: 1,
            hits: 5,
            runs: 5,
            release: "7.3.4".into(),
        });
        result.observed = vec![String::new(), "0123456789abcdef".into()];
        result
    }

    #[test]
    fn a_row_does_not_depend_on_the_order_of_its_blocks() {
        let blocks: Vec<BlockResult> = (1..6).map(block).collect();
        let sum = |order: &[usize]| {
            let mut standing = Standing::default();
            order.iter().for_each(|&i| standing.add(&blocks[i]));
            standing
        };
        let one = sum(&[0, 1, 2, 3, 4]);
        assert_eq!(one, sum(&[4, 2, 0, 3, 1]));
        let mut row = RowResult::default();
        one.fill(&mut row);
        assert_eq!(row.buckets, [(bucket("fork"), 5)]);
        assert_eq!(row.first_programs[&bucket("fork")], "1/1/3");
        assert_eq!(row.changes[0].first_program, "1/1/9");
        assert_eq!(row.first_suspect, Some(67));
        assert_eq!(row.known_met["finding"], 10);
        assert_eq!(row.held["other"], 5);
    }

    #[test]
    fn examples_are_those_at_the_first_places() {
        let mut standing = Standing::default();
        let place = |index| Place {
            block: Block::Generated(1),
            index,
        };
        let b = bucket("fork");
        assert!([7, 5, 9].iter().all(|&i| standing.example(&b, place(i))));
        assert!(!standing.example(&b, place(10)));
        assert!(standing.example(&b, place(6)));
        assert!(!standing.example(&b, place(9)), "three are before it now");
    }

    #[test]
    fn a_block_comes_back_from_its_text() {
        for block in [block(3), BlockResult::default()] {
            let text = serde_json::to_string(&block).unwrap();
            assert_eq!(serde_json::from_str::<BlockResult>(&text).unwrap(), block);
        }
    }
}
