//! `cargo xtask farm status`: which shards are through.

use super::prepare::{progress, Farm};
use crate::exit::{say, Exit};
use anyhow::Result;
use clap::Args;
use harness::report::Through;
use std::path::{Path, PathBuf};

/// Shards that are named, at most.
const NAMED: usize = 20;

#[derive(Args)]
pub struct StatusArgs {
    /// The farm's folder.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// This shard alone.
    #[arg(long, value_name = "K")]
    shard: Option<u64>,
}

/// Carries out `farm status`.
pub fn run(args: &StatusArgs) -> Result<Exit> {
    let shards = Farm::shards_of(&args.out)?;
    let asked = match args.shard {
        Some(shard) => shard..=shard,
        None => 1..=shards,
    };
    let (mut complete, mut all, mut left) = (0, 0, Vec::new());
    for shard in asked {
        all += 1;
        match progress(&args.out, shard)? {
            Some(through) if through.is_complete() => complete += 1,
            other => left.push((shard, other)),
        }
    }
    say!("{complete} of {all} shards are through\n");
    for (shard, progress) in left.iter().take(NAMED) {
        say!("shard {shard}: {}\n", told(*progress));
    }
    if left.len() > NAMED {
        say!("and {} more\n", left.len() - NAMED);
    }
    Ok(match left.is_empty() {
        true => Exit::Fine,
        false => Exit::Infrastructure,
    })
}

/// Shards of a farm that are not through; `None`: the folder is not that of a farm.
///
/// # Errors
/// It is one, and cannot be read.
pub fn left(out: &Path) -> Result<Option<u64>> {
    if !Farm::is_in(out) {
        return Ok(None);
    }
    let mut left = 0;
    for shard in 1..=Farm::shards_of(out)? {
        let through = progress(out, shard)?.is_some_and(Through::is_complete);
        left += u64::from(!through);
    }
    Ok(Some(left))
}

fn told(progress: Option<Through>) -> String {
    match progress {
        None => "not begun".into(),
        Some(Through {
            planned: Some(planned),
            done,
        }) => format!("{done} of {planned} blocks"),
        Some(Through { done, .. }) => format!("{done} blocks"),
    }
}
