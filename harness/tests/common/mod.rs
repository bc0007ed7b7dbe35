//! What the campaign tests share: simulated kernels and a sink that remembers.
#![allow(dead_code)] // Each test file uses its part.

use harness::campaign::{
    run, Amount, Block, BlockResult, Finding, Known, Notice, Part, Quiet, Reported, RowResult,
    Settings, Sink, Summary,
};
use harness::kernel::simulated::Simulated;
use harness::kernel::KernelSource;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// A sink that remembers everything.
#[derive(Default)]
pub struct Memory {
    pub blocks: Mutex<Vec<(Block, BlockResult)>>,
    pub reported: Mutex<Vec<Reported>>,
    /// Ids of known findings that were told of.
    pub known: Mutex<Vec<String>>,
}

impl Sink for Memory {
    fn block(&self, _: &RowResult, block: Block, result: &BlockResult) -> io::Result<()> {
        self.blocks.lock().unwrap().push((block, result.clone()));
        Ok(())
    }

    fn known(&self, finding: &Finding, _: &Reported) -> io::Result<()> {
        self.known.lock().unwrap().push(finding.id.clone());
        Ok(())
    }

    fn reported(&self, reported: &Reported) -> io::Result<()> {
        self.reported.lock().unwrap().push(reported.clone());
        Ok(())
    }

    fn row(&self, _: &RowResult, _: &[RowResult]) -> io::Result<()> {
        Ok(())
    }
}

pub fn settings(programs: u64) -> Settings {
    Settings {
        seed: 1,
        amount: Amount::Programs(programs),
        corpus: Vec::new(),
        jobs: 2,
        by: harness::kernel::JudgeBy::default(),
        mix: None,
        reruns: 3,
        known: Known::default(),
        stop_at_first: false,
        notice: Notice::All,
        part: Part::default(),
    }
}

/// Runs a campaign over simulated kernels.
pub fn campaign(settings: &Settings, kernels: &[Simulated], sink: &dyn Sink) -> Summary {
    let sources: Vec<Arc<dyn KernelSource>> = kernels
        .iter()
        .map(|kernel| Arc::new(kernel.clone()) as Arc<dyn KernelSource>)
        .collect();
    run(settings, &sources, sink, &Quiet, &AtomicBool::new(false)).unwrap()
}
