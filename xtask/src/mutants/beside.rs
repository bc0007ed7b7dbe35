//! What others would see of a planted bug: the kernel tree's own tests, and a fuzzer that has no oracle.

use super::{consoles, settings, Bench, Outcome};
use crate::{folders, kernels};
use anyhow::{Context, Result};
use harness::campaign::{Amount, Notice, Settings};
use harness::kernel::vm::VmConfig;
use harness::selftests::{self, Passed, Ran};
use std::collections::BTreeMap;
use std::path::Path;
use vm_images::mutants::Mutant;

/// Some of the selftests want to fill memory.
const MEMORY_MIB: u32 = 1024;

/// The kernel tree's selftests, and which of their tests pass where no bug is switched on.
pub struct Selftests {
    programs: BTreeMap<String, Vec<u8>>,
    passes: Passed,
}

impl Selftests {
    /// Builds them and runs them twice on the kernel without a bug: what passes both times counts.
    pub fn new(bench: &Bench<'_>) -> Result<Selftests> {
        let built = kernels::build::selftests(bench.args.arch, bench.workspace)?;
        let read = |(name, path): (String, std::path::PathBuf)| {
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            Ok((name, bytes))
        };
        let mut all = Selftests {
            programs: built.into_iter().map(read).collect::<Result<_>>()?,
            passes: Passed::new(),
        };
        let first = run(bench, None, &all.programs)?;
        let second = run(bench, None, &all.programs)?;
        all.passes = first.passed.intersection(&second.passed).cloned().collect();
        // One of which nothing passes says nothing about any bug, and only costs time.
        let passes = &all.passes;
        all.programs.retain(|name, _| {
            let says = passes.iter().any(|test| is_of(test, name));
            if !says {
                eprintln!("selftest {name}: no test of it passes without a bug; left out");
            }
            says
        });
        eprintln!(
            "{} selftests of {} programs pass without a bug",
            all.passes.len(),
            all.programs.len()
        );
        Ok(all)
    }

    /// Tests that pass without a bug and fail, twice, with this one.
    pub fn failed(&self, bench: &Bench<'_>, mutant: Option<&Mutant>) -> Result<Vec<String>> {
        let first = run(bench, mutant, &self.programs)?;
        let failed: Passed = self.passes.difference(&first.passed).cloned().collect();
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let mut again = self.programs.clone();
        again.retain(|name, _| failed.iter().any(|test| is_of(test, name)));
        let second = run(bench, mutant, &again)?;
        Ok(failed.difference(&second.passed).cloned().collect())
    }
}

/// Whether a test belongs to this program.
fn is_of(test: &str, program: &str) -> bool {
    test.split_once(": ").is_some_and(|(its, _)| its == program)
}

/// These programs on the kernel with this bug, or with none.
fn run(
    bench: &Bench<'_>,
    mutant: Option<&Mutant>,
    programs: &BTreeMap<String, Vec<u8>>,
) -> Result<Ran> {
    let (rig, _) = bench.rig(mutant)?;
    let name = mutant.map_or("none", |m| m.name.as_str());
    let name = format!("{name}-selftests");
    let folder = consoles(&folders::target(bench.workspace), bench.image, &name)?;
    let machine = rig.machines.first().context("no kernel")?;
    let config = VmConfig {
        memory_mib: MEMORY_MIB,
        console_log: folder.join("console.log"),
        ..machine.config.clone()
    };
    Ok(selftests::run(&config, programs, &folder)?)
}

/// The programs of a campaign on the kernel in debug configuration, until the console reports something or one hangs.
pub fn crashes(bench: &Bench<'_>, image: &Path, mutant: Option<&Mutant>) -> Result<Outcome> {
    let debug = Bench { image, ..*bench };
    let settings = Settings {
        notice: Notice::Crashes,
        ..settings(1, Amount::Programs(bench.args.programs), Vec::new())
    };
    debug.boot(mutant, &settings)
}
