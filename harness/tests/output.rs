//! What a campaign writes, and what happens when it cannot.

mod common;

use common::{campaign, settings};
use harness::campaign::{
    load_program, run, Amount, Block, BlockResult, CampaignError, Discard, Listener, Progress,
    Quiet, Reported, RowResult, Sink, BLOCK,
};
use harness::kernel::simulated::{Simulated, FAULTS};
use harness::kernel::KernelSource;
use harness::report::Folder;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn faulty(name: &str) -> Simulated {
    Simulated {
        fault: FAULTS.iter().find(|f| f.name == name),
        ..Simulated::default()
    }
}

#[test]
fn a_divergence_leaves_a_row_a_program_and_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let folder = Folder::create(&out).unwrap();
    let kernels: Vec<Simulated> = ["loses-guards", "none-is-read", "guard-accerr", "gu-missing"]
        .map(faulty)
        .to_vec();
    campaign(&settings(300), &kernels, &folder);
    let mut reader = csv::Reader::from_path(out.join("divergences.csv")).unwrap();
    let header = "id,bucket,kernel,arch,program,op_index,op,rule,expected,observed,reliability";
    assert_eq!(
        reader
            .headers()
            .unwrap()
            .iter()
            .collect::<Vec<_>>()
            .join(","),
        header
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for row in &rows {
        let program = load_program(&out.join(&row[4])).unwrap().program;
        let step: usize = row[5].parse().unwrap();
        assert_eq!(program.steps[step].op.name(), &row[6]);
        // The simulated kernel chooses among permitted ways, so not every re-run need show it.
        assert!(["1/3", "2/3", "3/3"].contains(&&row[10]), "{row:?}");
        let report =
            std::fs::read_to_string(out.join(format!("divergences/{}.txt", &row[0]))).unwrap();
        for wanted in [
            "Kernels:",
            "of 3 re-runs",
            "Rule ",
            "Source:",
            "before the op",
            "=> ",
        ] {
            assert!(report.contains(wanted), "{wanted} is missing:\n{report}");
        }
        let long = report.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{report}");
    }
    let matrix = std::fs::read_to_string(out.join("matrix.csv")).unwrap();
    assert_eq!(matrix.lines().count(), 1 + kernels.len());
}

/// Stops the campaign after some blocks.
struct Stopper<'a>(&'a AtomicBool, AtomicU32);

impl Listener for Stopper<'_> {
    fn event(&self, event: &Progress<'_>) {
        if matches!(event, Progress::Programs { .. }) && self.1.fetch_add(1, Ordering::SeqCst) == 2
        {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_stopped_run_leaves_what_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(&dir.path().join("out")).unwrap();
    let stop = AtomicBool::new(false);
    let source: Arc<dyn KernelSource> = Arc::new(Simulated::default());
    let listener = Stopper(&stop, AtomicU32::new(0));
    let summary = run(&settings(100_000), &[source], &folder, &listener, &stop).unwrap();
    assert!(summary.interrupted);
    let programs = summary.programs();
    assert!((1..100_000).contains(&programs), "{programs}");
    let journal = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let recorded: u64 = journal
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["what"] == "block")
        .map(|line| line["programs"].as_u64().unwrap())
        .sum();
    // Blocks that were cut off count for the tables, and have no record.
    let cut_off = programs - recorded;
    assert!(recorded > 0 && cut_off < 2 * BLOCK, "{cut_off}");
    assert!(folder.path().join("matrix.csv").exists());
}

/// A disk that is full after some blocks.
struct Full(AtomicU32);

impl Sink for Full {
    fn block(&self, _: &RowResult, _: Block, _: &BlockResult) -> io::Result<()> {
        if self.0.fetch_add(1, Ordering::SeqCst) < 2 {
            return Ok(());
        }
        Err(io::Error::other("results.jsonl: No space left on device"))
    }

    fn reported(&self, _: &Reported) -> io::Result<()> {
        Ok(())
    }

    fn row(&self, _: &RowResult, _: &[RowResult]) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_campaign_with_its_reason() {
    let stop = AtomicBool::new(false);
    let source: Arc<dyn KernelSource> = Arc::new(Simulated::default());
    let sink = Full(AtomicU32::new(0));
    let error = run(&settings(100_000), &[source], &sink, &Quiet, &stop).unwrap_err();
    assert!(matches!(error, CampaignError::Sink(_)));
    let text = error.to_string();
    assert!(
        text.contains("No space left") && text.contains("kept"),
        "{text}"
    );
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Folder::create(&file.join("out")).err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");

    let used = dir.path().join("used");
    Folder::create(&used).unwrap();
    let error = Folder::create(&used).err().unwrap();
    assert!(error.to_string().contains("another run"), "{error}");
}

#[test]
fn time_limits_a_campaign_too() {
    let mut settings = settings(0);
    settings.amount = Amount::Time(Duration::from_millis(300));
    let kernels = [Simulated::default(), faulty("guard-accerr")];
    let started = Instant::now();
    let summary = campaign(&settings, &kernels, &Discard);
    assert!(started.elapsed() < Duration::from_secs(20));
    for row in &summary.rows {
        assert!(row.tally.programs > 0, "{}", row.kernel);
    }
    assert!(!summary.interrupted);
}
