//! `cargo xtask laws`: what must come out alike on a kernel, whatever the rules say.

use crate::exit::{say, Exit};
use crate::folders::Held;
use crate::rig::{rig, KernelOptions};
use crate::{interrupt, measured};
use anyhow::{Context, Result};
use clap::Args;
use harness::kernel::machine::VmSource;
use harness::kernel::{probe, JudgeBy, Kernel, KernelSource};
use harness::laws::{ask, ask_scaling, BrokenPair, LawResult, RUNS, SCALING, SCALING_TEXT};
use oracle::laws::PairLaw;
use oracle::profile::Profile;
use oracle::program::Program;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Asks kernels whether what must come out alike does: pairs of programs, no rules.
///
/// The laws: an op on [a,c) does what it does on [a,b) and then on [b,c) (halves); guard-remove over what has no guard changes
/// nothing that can be seen (remove-nothing); guard-install and guard-remove leave private anonymous memory as dontneed
/// does (install-remove); after a fork, what one side does to its own memory does not show on the other (other-side).
/// Two kernels of the same release with different page sizes also do the same on private anonymous memory (scaling).
/// Exit code 1: a law was broken; both programs are printed and kept.
///
/// Examples:
///   cargo xtask laws
///   cargo xtask laws --kernels 6.12,7.3 --pairs 1000 --seed 42
///   cargo xtask laws --kernels 7.3,16k --arch aarch64        (with scaling)
///   cargo xtask laws --kernel ~/linux/arch/x86/boot/bzImage
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct LawsArgs {
    #[command(flatten)]
    kernels: KernelOptions,
    /// Pairs for each law on each kernel.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pairs: u64,
    /// Chooses the pairs.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

const HEADER: [&str; 6] = ["kernel", "arch", "law", "pairs", "skipped", "broken"];

/// Carries out `laws`.
pub fn run(args: &LawsArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let folder = Held::run(workspace, None)?;
    let consoles = folder.make("consoles")?;
    let rig = rig(&args.kernels, workspace, &consoles, &|line| {
        eprintln!("{line}")
    })?;
    let stopped = || stop.load(Ordering::Relaxed);
    let mut table = Vec::new();
    let mut found = false;
    for machine in &rig.machines {
        let (mut kernel, profile) = boot(machine)?;
        let name = kernel.info().release.clone();
        for law in PairLaw::ALL {
            let result = ask(
                kernel.as_mut(),
                &profile,
                law,
                args.seed,
                args.pairs,
                &stopped,
            )
            .with_context(|| name.clone())?;
            eprintln!("{name}: {} pairs of {}", result.pairs, result.law);
            found |= !result.broken.is_empty();
            book(
                &result,
                law.text(),
                &name,
                machine.arch(),
                &folder,
                &mut table,
            )?;
        }
    }
    for (left, right) in of_two_page_sizes(&rig.machines) {
        let (mut a, profile_a) = boot(left)?;
        let (mut b, profile_b) = boot(right)?;
        let name = format!("{} and {}", a.info().release, b.info().release);
        let result = ask_scaling(
            [a.as_mut(), b.as_mut()],
            [&profile_a, &profile_b],
            args.seed,
            args.pairs,
            &stopped,
        )
        .with_context(|| name.clone())?;
        eprintln!("{name}: {} programs of {SCALING}", result.pairs);
        found |= !result.broken.is_empty();
        book(
            &result,
            SCALING_TEXT,
            &name,
            left.arch(),
            &folder,
            &mut table,
        )?;
    }
    say!("{}", measured::table(&HEADER, &table));
    Ok(match (found, stopped()) {
        (true, _) => {
            say!("{}\n", folder.display());
            Exit::Found
        }
        (false, true) => Exit::Interrupted,
        (false, false) => Exit::Fine,
    })
}

fn boot(machine: &VmSource) -> Result<(Box<dyn Kernel>, Profile)> {
    let name = format!("{}-{}", machine.label(), machine.arch());
    let mut kernel = machine.boot(&name).with_context(|| name.clone())?;
    let profile = probe::profile(kernel.as_mut(), &JudgeBy::default())
        .with_context(|| format!("probing {name}"))?;
    Ok((kernel, profile))
}

/// Kernels of one architecture and one upstream release that differ in their page size.
fn of_two_page_sizes(machines: &[VmSource]) -> Vec<(&VmSource, &VmSource)> {
    let upstream = |machine: &VmSource| {
        let release = machine.release()?;
        Some((
            machine.arch().to_string(),
            release.split(['+', '-']).next()?.to_string(),
        ))
    };
    let mut pairs = Vec::new();
    for (n, left) in machines.iter().enumerate() {
        let others = machines[n + 1..].iter().filter(|right| {
            upstream(left).is_some()
                && upstream(left) == upstream(right)
                && left.config.page_size != right.config.page_size
        });
        pairs.extend(others.map(|right| (left, right)));
    }
    pairs
}

/// Adds a line to the table; prints and keeps what broke the law.
fn book(
    result: &LawResult,
    text: &str,
    kernel: &str,
    arch: &str,
    folder: &Path,
    table: &mut Vec<Vec<String>>,
) -> Result<()> {
    table.push(vec![
        kernel.into(),
        arch.into(),
        result.law.into(),
        result.pairs.to_string(),
        result.skipped.to_string(),
        result.broken.len().to_string(),
    ]);
    for broken in &result.broken {
        say!("\n{kernel} {arch} breaks a law: {text}\n");
        say!("{}", story(broken));
        for (side, program) in [("left", &broken.left), ("right", &broken.right)] {
            let path = folder.join(format!("{}-{}-{side}.prog", broken.law, broken.seed));
            std::fs::write(&path, program.to_string())
                .with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn story(broken: &BrokenPair) -> String {
    let indented = |program: &Program| -> String {
        let text = program.to_string();
        text.lines().map(|line| format!("   {line}\n")).collect()
    };
    format!(
        "{} of {RUNS} runs (seed {}): {}\n\nOne program:\n{}\nThe other:\n{}\n",
        broken.hits,
        broken.seed,
        broken.why,
        indented(&broken.left),
        indented(&broken.right)
    )
}
