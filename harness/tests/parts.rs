//! A campaign comes out the same in one go, stopped and resumed, and as shards that are merged.

mod common;

use common::settings;
use harness::campaign::{
    load_corpus, run, Block, BlockResult, Listener, Progress, RowResult, Settings, Shard,
};
use harness::kernel::simulated::{Simulated, FAULTS};
use harness::kernel::KernelSource;
use harness::report::{
    merge, read_lines, Folder, Line, Machine, Manifest, Merged, Planned, MANIFEST,
};
use oracle::profile::{Arch, Profile, Release};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

const PROGRAMS: u64 = 900;
const SHARDS: u64 = 7;

/// Two kernels that differ, and each of which breaks a rule.
fn kernels() -> Vec<Arc<dyn KernelSource>> {
    let kernel = |label: &str, release: Release, fault: &str| {
        Arc::new(Simulated {
            label: label.into(),
            steady: true,
            profile: Profile::at_release(release, Arch::X86_64),
            release: format!("{release}-simulated"),
            fault: FAULTS.iter().find(|f| f.name == fault),
            ..Simulated::default()
        }) as Arc<dyn KernelSource>
    };
    vec![
        kernel("old", Release(6, 18, 0), "guard-accerr"),
        kernel("new", Release(7, 3, 0), "loses-guards"),
    ]
}

fn campaign() -> Settings {
    let mut settings = settings(PROGRAMS);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/guard");
    settings.corpus = load_corpus(&corpus).unwrap();
    settings
}

/// Stops after so many blocks.
struct Stopper<'a>(&'a AtomicBool, AtomicU64);

impl Listener for Stopper<'_> {
    fn event(&self, event: &Progress<'_>) {
        let block = matches!(event, Progress::Programs { .. });
        if block && self.1.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// Shards 1 to 3 ran with KVM.
fn accel(shard: Option<Shard>) -> &'static str {
    let early = |shard: Shard| matches!(shard.to_string().as_bytes()[0], b'1'..=b'3');
    match shard.is_some_and(early) {
        true => "kvm",
        false => "tcg",
    }
}

/// Runs a share of the campaign in a folder, new or resumed, until its end or until so many blocks are through.
fn run_in(folder: &Path, shard: Option<Shard>, blocks: u64) -> (bool, Vec<RowResult>) {
    let mut settings = campaign();
    settings.part.shard = shard;
    let out = if folder.join(MANIFEST).exists() {
        let resumed = Folder::resume(folder).unwrap();
        settings.part.earlier = resumed.earlier;
        resumed.folder
    } else {
        Folder::create(folder).unwrap()
    };
    let planned = |(label, before): (&str, Option<&str>)| Planned {
        label: label.into(),
        arch: "x86_64".into(),
        before: before.map(String::from),
    };
    let manifest = Manifest {
        campaign: BTreeMap::from([("seed".into(), "1".into())]),
        corpus_programs: settings.corpus.len() as u64,
        programs: Some(PROGRAMS),
        kernels: [("old", None), ("new", Some("6.18.0-simulated"))]
            .map(planned)
            .to_vec(),
        shard: shard.map(|shard| shard.to_string()),
        command: vec!["vm-matrix".into()],
        directory: "/".into(),
        started: "now".into(),
        machines: vec![Machine {
            accel: BTreeMap::from([("old x86_64".into(), accel(shard).into())]),
            shards: BTreeSet::from([shard.map_or("all".into(), |shard| shard.to_string())]),
            ..Machine::default()
        }],
    };
    std::fs::write(folder.join(MANIFEST), manifest.text().unwrap()).unwrap();
    let stop = AtomicBool::new(false);
    let listener = Stopper(&stop, AtomicU64::new(blocks));
    let summary = run(&settings, &kernels(), &out, &listener, &stop).unwrap();
    (!summary.interrupted, summary.rows)
}

type Verdicts = BTreeMap<(String, Block), BlockResult>;

/// What each work item came to. No item may be there twice.
fn verdicts(folder: &Path) -> Verdicts {
    let mut found = Verdicts::new();
    read_lines(&folder.join("results.jsonl"), &mut |line, _| {
        if let Line::Block {
            kernel,
            block,
            result,
            ..
        } = line
        {
            let old = found.insert((kernel, block), result.verdicts());
            assert!(old.is_none(), "{block} is there twice");
        }
    })
    .unwrap();
    found
}

/// Programs in which the two kernels were seen to do something else.
fn differing(verdicts: &Verdicts) -> u64 {
    let mut differ = 0;
    for ((kernel, block), old) in verdicts.iter().filter(|((kernel, _), _)| kernel == "old") {
        let new = &verdicts[&(kernel.replace("old", "new"), *block)];
        let pairs = old.observed.iter().zip(&new.observed);
        let seen = pairs.filter(|(a, b)| !a.is_empty() && !b.is_empty());
        differ += seen.filter(|(a, b)| a != b).count() as u64;
    }
    differ
}

/// A row without what differs from run to run.
fn counts(row: &RowResult) -> String {
    let mut row = row.clone();
    row.seconds = 0.0;
    serde_json::to_string(&row).unwrap()
}

fn same_rows(one: &[RowResult], other: &[RowResult]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(counts(one), counts(other));
    }
}

fn table(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut keyed: Vec<([u8; 32], T)> = (0u64..)
        .zip(items)
        .map(|(n, item)| {
            let key = [seed.to_le_bytes(), n.to_le_bytes()].concat();
            (*blake3::hash(&key).as_bytes(), item.clone())
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, item)| item).collect()
}

fn merged(folders: &[PathBuf], out: &Path) -> Merged {
    let (folder, merged) = merge(folders, out).unwrap();
    folder.tables(&merged.rows).unwrap();
    merged
}

#[test]
fn in_one_go_resumed_and_merged_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let whole = at("whole");
    let (finished, rows) = run_in(&whole, None, u64::MAX);
    assert!(finished);
    let wanted = verdicts(&whole);
    let blocks = PROGRAMS.div_ceil(64) + campaign().corpus.len().div_ceil(64) as u64;
    assert_eq!(wanted.len() as u64, 2 * blocks);
    assert!(
        rows.iter().all(|row| row.tally.divergences > 9),
        "it must have something to lose"
    );
    assert!(!rows[1].changes.is_empty(), "the kernels must differ");

    // Stopped five times, each time with half a line at the end.
    let resumed = at("resumed");
    let mut ended = Vec::new();
    for _ in 0..5 {
        let (finished, _) = run_in(&resumed, None, 4);
        assert!(!finished);
        let path = resumed.join("results.jsonl");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"hash\":\"0123");
        std::fs::write(&path, text).unwrap();
    }
    let (finished, again) = run_in(&resumed, None, u64::MAX);
    assert!(finished);
    ended.push((resumed, again));

    // Seven shards, in any order and grouping, some of them twice.
    let shards: Vec<PathBuf> = (1..=SHARDS)
        .map(|k| {
            let folder = at(&format!("shard-{k}"));
            let shard = format!("{k}/{SHARDS}").parse().unwrap();
            assert!(run_in(&folder, Some(shard), u64::MAX).0);
            folder
        })
        .collect();
    let differ = differing(&wanted);
    assert!(differ > 0);
    let mut journals = Vec::new();
    for seed in 0..6 {
        let mut order = shuffled(&shards, seed);
        if seed % 2 == 1 {
            let first = at(&format!("part-{seed}"));
            merged(&order[..3], &first);
            order.splice(..2, [first]);
        }
        let out = at(&format!("merged-{seed}"));
        let all = merged(&order, &out);
        assert_eq!((all.contradictions, all.missing.len()), (0, 0), "{all:?}");
        assert_eq!((all.planned, all.done), (Some(2 * blocks), 2 * blocks));
        let pairs: Vec<_> = all.observed.iter().map(|pair| pair.differ).collect();
        assert_eq!(pairs, [differ]);
        // Whoever had which shards, and that they are not alike.
        assert_eq!(
            all.doubts,
            ["old x86_64 ran with: kvm (3 shards) and tcg (4 shards)"]
        );
        assert_eq!(all.machines.len(), 2);
        let shards: BTreeSet<&String> = all.machines.iter().flat_map(|m| &m.shards).collect();
        assert_eq!(shards.len() as u64, SHARDS);
        journals.push(table(&out, "results.jsonl") + &table(&out, MANIFEST));
        ended.push((out, all.rows));
    }
    assert!(journals.iter().all(|journal| *journal == journals[0]));

    for (folder, others) in &ended {
        assert_eq!(verdicts(folder), wanted, "{}", folder.display());
        same_rows(&rows, others);
        for name in ["boundaries.csv", "tightness.csv", "divergences.csv"] {
            assert_eq!(table(&whole, name), table(folder, name), "{name}");
        }
        let mut divergences = csv::Reader::from_path(folder.join("divergences.csv")).unwrap();
        for line in divergences.records() {
            let program = folder.join(&line.unwrap()[4]);
            assert!(program.exists(), "{}", program.display());
        }
    }

    // What is missing is said, and other campaigns are refused.
    let (_, some) = merge(&shards[1..], &at("some")).unwrap();
    let missing: u64 = some.missing.iter().map(|(_, n, _)| n).sum();
    assert_eq!(missing, 2 * blocks - some.done);
    assert!(missing > 0);
    let path = shards[0].join(MANIFEST);
    let mut twins = Manifest::read(&shards[0]).unwrap();
    twins.kernels[1] = twins.kernels[0].clone();
    let own = std::fs::read(&path).unwrap();
    std::fs::write(&path, twins.text().unwrap()).unwrap();
    let error = merge(&shards[..1], &at("mixed")).err().unwrap().to_string();
    assert!(error.contains("two kernels are called old"), "{error}");
    std::fs::write(&path, own).unwrap();
    let mut other = Manifest::read(&shards[0]).unwrap();
    other.campaign.insert("seed".into(), "2".into());
    std::fs::write(path, other.text().unwrap()).unwrap();
    let error = merge(&shards, &at("mixed")).err().unwrap().to_string();
    assert!(
        error.contains("same campaign") && error.contains("seed"),
        "{error}"
    );
    assert!(!at("mixed").exists(), "nothing is written");
}
