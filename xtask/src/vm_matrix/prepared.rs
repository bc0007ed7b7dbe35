//! What the options of `vm-matrix` come to: a campaign's settings, and kernels that can be booted.

use super::{corpus, default_jobs, simulated, MatrixArgs};
use crate::exit::UsageError;
use crate::known;
use crate::rig::rig;
use crate::staged;
use anyhow::Result;
use harness::campaign::{Amount, Notice, Part, Settings};
use harness::kernel::KernelSource;
use harness::report::Machine;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a campaign that has not begun.
///
/// # Errors
/// An option makes no sense, or the corpus or the known findings cannot be read.
pub fn settings(args: &MatrixArgs, workspace: &Path) -> Result<Settings> {
    let amount = match (args.programs, args.minutes) {
        (_, Some(minutes)) if minutes > 0.0 && minutes < 1e6 => {
            Amount::Time(Duration::from_secs_f64(minutes * 60.0))
        }
        (_, Some(_)) => return Err(UsageError("--minutes wants a positive number".into()).into()),
        (programs, None) => Amount::Programs(programs.unwrap_or(1000)),
    };
    Ok(Settings {
        seed: args.seed,
        amount,
        corpus: corpus(&args.corpus, workspace)?,
        jobs: args.jobs.unwrap_or_else(default_jobs),
        by: args.rules.judge_by()?,
        mix: None,
        reruns: 5,
        known: known::load(workspace)?,
        stop_at_first: false,
        notice: Notice::All,
        part: Part {
            shard: args.shard,
            earlier: BTreeMap::new(),
        },
    })
}

/// The kernels of a campaign on this machine.
pub struct Kernels {
    pub sources: Vec<Arc<dyn KernelSource>>,
    /// Package or path, and hash, by label and architecture.
    pub origins: BTreeMap<String, String>,
    /// Versions of the tools.
    pub versions: BTreeMap<String, String>,
    pub machine: Machine,
}

/// Prepares the kernels that the options name. Consoles are logged to `consoles`.
///
/// # Errors
/// As [`rig`].
pub fn kernels(args: &MatrixArgs, workspace: &Path, consoles: &Path) -> Result<Kernels> {
    let shard = args.shard.map(|shard| shard.to_string());
    if let Some(fault) = &args.simulated {
        return Ok(Kernels {
            sources: simulated(fault)?,
            origins: BTreeMap::new(),
            versions: BTreeMap::new(),
            machine: Machine::here(&BTreeMap::new(), BTreeMap::new(), shard),
        });
    }
    let rig = match &args.staged {
        Some(staged) => staged::rig(staged, &args.kernels, consoles)?,
        None => rig(&args.kernels, workspace, consoles, &|line| {
            eprintln!("{line}")
        })?,
    };
    let machine = Machine::here(&rig.versions, rig.accel(), shard);
    let sources = match (args.guest_fault, &args.panic_when) {
        (Some(name), _) => rig.faulty(name),
        (None, Some(file)) => rig.panicking(file),
        (None, None) => rig.sources,
    };
    Ok(Kernels {
        sources,
        origins: rig.origins,
        versions: rig.versions,
        machine,
    })
}
