//! What a run came to, as far as it must be the same however it ran.

use harness::campaign::BlockResult;
use harness::report::{read_blocks, Item};
use std::collections::BTreeMap;
use std::path::Path;

/// What the items of a run have come to.
pub fn verdicts(folder: &Path) -> BTreeMap<Item, BlockResult> {
    let mut found = BTreeMap::new();
    read_blocks(folder, &mut |item, result| {
        let twice = found.insert(item, result.verdicts());
        assert!(twice.is_none(), "two records of one item");
    })
    .expect("results");
    found
}

/// matrix.csv without how long it took.
pub fn matrix(folder: &Path) -> Vec<String> {
    let line = |line: &str| line.split(',').take(18).collect::<Vec<_>>().join(",");
    let text = std::fs::read_to_string(folder.join("matrix.csv")).expect("matrix.csv");
    text.lines().map(line).collect()
}
