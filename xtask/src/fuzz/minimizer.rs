//! `cargo xtask fuzz-figures --what minimizer`: how short programs become, and what that costs.

use super::figures::keep;
use crate::rig::{rig, KernelOptions};
use crate::vm_matrix::GuestFaultName;
use crate::{folders, interrupt};
use anyhow::Result;
use clap::ValueEnum;
use harness::kernel::simulated::{Simulated, FAULTS};
use harness::kernel::{JudgeBy, KernelSource};
use harness::triage::{minimize, padded, verdicts, Answer, Settings, TriageError, VerdictSettings};
use oracle::program::generate::generate;
use oracle::program::Program;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Ops of a typical program that something was found in.
const OPS: usize = 40;

/// Programs that are run at once to find one that diverges.
const BATCH: u64 = 50;

/// Programs after which a fault counts as unnoticed.
const PATIENCE: u64 = 4000;

/// Faults of the guest that kill it: what is measured there are boots.
const DEADLY: [GuestFaultName; 4] = [
    GuestFaultName::Hang,
    GuestFaultName::Die,
    GuestFaultName::Panic,
    GuestFaultName::Warn,
];

/// Something that goes wrong on purpose.
struct Planted {
    kind: &'static str,
    name: String,
    source: Arc<dyn KernelSource>,
    by: JudgeBy,
    /// Rules, one of which a right bucket names; none where nobody has said.
    breaks: &'static [&'static str],
}

/// Minimizes one program of 40 ops for each deliberate fault: those of the simulated kernel, and with `kernels` those of the guest on
/// real ones.
///
/// # Errors
/// No kernel can be had, or the table not be written.
pub fn run(kernels: &KernelOptions, workspace: &Path) -> Result<()> {
    let header = [
        "kind",
        "fault",
        "kernel",
        "ops_before",
        "ops_after",
        "executions",
        "seconds",
        "boots",
        "hits_before",
        "hits_after",
        "ended",
        "rule",
        "rule_is_right",
    ];
    let mut rows = Vec::new();
    for planted in all(kernels, workspace)? {
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            break;
        }
        let row = one(&planted)?;
        eprintln!("{}", row.join("  "));
        rows.push(row);
    }
    keep(workspace, "fuzz-minimizer", &header, &rows)
}

fn all(kernels: &KernelOptions, workspace: &Path) -> Result<Vec<Planted>> {
    let simulated = FAULTS.iter().map(|fault| Planted {
        kind: "simulated",
        name: fault.full_name(),
        source: Arc::new(Simulated {
            fault: Some(fault),
            ..Simulated::default()
        }),
        // The true one, so that a fault cannot bend the probes.
        by: JudgeBy::profile(oracle::profile::Named::NEWEST),
        breaks: fault.breaks,
    });
    let mut all: Vec<Planted> = simulated.collect();
    if kernels.kernels.is_none() && kernels.kernel.is_empty() {
        return Ok(all);
    }
    let consoles = folders::consoles(workspace)?;
    let rig = rig(kernels, workspace, &consoles, &|line| eprintln!("{line}"))?;
    for name in GuestFaultName::value_variants() {
        if DEADLY.contains(name) {
            continue;
        }
        all.extend(rig.faulty(*name).into_iter().map(|source| Planted {
            kind: "guest",
            name: name.name(),
            source,
            by: JudgeBy::default(),
            breaks: &[],
        }));
    }
    Ok(all)
}

fn one(planted: &Planted) -> Result<[String; 13]> {
    let mut row = [const { String::new() }; 13];
    row[0] = planted.kind.into();
    row[1] = planted.name.clone();
    row[2] = planted.source.label().to_string();
    let Some(program) = diverging(planted) else {
        row[3] = "unnoticed".into();
        return Ok(row);
    };
    row[3] = program.steps.len().to_string();
    let settings = Settings {
        by: planted.by.clone(),
        ..Settings::default()
    };
    let stop = interrupt::stop_flag();
    let source = planted.source.as_ref();
    let result = match minimize(source, &program, &settings, stop, &mut |_| {}) {
        Ok(result) => result,
        // What a single run showed may not come again.
        Err(error @ TriageError::NotReproduced { .. }) => {
            row[10] = error.to_string().lines().next().unwrap_or_default().into();
            return Ok(row);
        }
        Err(error) => return Err(error.into()),
    };
    let rule = result.story.bucket.rule.clone();
    row[4] = result.program.steps.len().to_string();
    row[5] = result.executions.to_string();
    row[6] = format!("{:.2}", result.seconds);
    row[7] = result.boots.to_string();
    row[8] = result.before.to_string();
    row[9] = result.after.to_string();
    row[10] = result.ended.to_string();
    row[12] = match planted.breaks {
        [] => String::new(),
        breaks if breaks.contains(&rule.as_str()) => "yes".into(),
        _ => "no".into(),
    };
    row[11] = rule;
    Ok(row)
}

/// The first program of 40 ops that diverges.
fn diverging(planted: &Planted) -> Option<Program> {
    let settings = VerdictSettings {
        by: planted.by.clone(),
        bucket: None,
        runs: 1,
    };
    for first in (0..PATIENCE).step_by(BATCH as usize) {
        if interrupt::stop_flag().load(Ordering::Relaxed) {
            return None;
        }
        let programs: Vec<Arc<Program>> = (first..first + BATCH)
            .map(|seed| Arc::new(padded(&generate(seed), OPS, 10_000 + 100 * seed)))
            .collect();
        let told = verdicts(planted.source.as_ref(), &programs, &settings);
        let diverges = |t: &harness::triage::Told| matches!(t.answer, Answer::Diverges { .. });
        if let Some(at) = told.iter().position(diverges) {
            return Some((*programs[at]).clone());
        }
    }
    None
}
