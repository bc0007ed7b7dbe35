//! `cargo xtask run`: one program on real kernels, step by step beside the oracle.

use crate::exit::{say, Exit};
use crate::judge_by::RulesOptions;
use crate::rig::{rig, KernelOptions};
use crate::vm_matrix::{simulated, GuestFaultName};
use crate::{folders, interrupt};
use anyhow::Result;
use clap::Args;
use harness::campaign::{judge, load_program, suited, walk, Kind, ProgramVerdict, StepView};
use harness::kernel::{probe, JudgeBy, KernelSource, Prepared, Smaps};
use harness::report::{outcome_words, wrap};
use oracle::geometry::Geometry;
use oracle::judge::strip::side_by_side;
use oracle::judge::Verdict;
use oracle::program::Program;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Runs one program on kernels and prints, step by step, the oracle's and the kernel's page strips side by side.
///
/// Examples:
///   cargo xtask run corpus/guard/01-the-first-guard.prog --kernels 7.3
///   cargo xtask run target/mmdiff/runs/.../divergences/d-0123456789.prog --kernels 6.12,7.3 --arch x86_64
///   cargo xtask run my.prog --kernel ~/linux/arch/x86/boot/bzImage
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// The program's file.
    program: PathBuf,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    rules: RulesOptions,
    /// A deliberate fault of the guest (tests of mmdiff itself).
    #[arg(long, value_name = "NAME", value_enum)]
    guest_fault: Option<GuestFaultName>,
    /// Run on the model instead of on kernels, with a deliberate fault by its `family/name` or with `none`
    /// (tests of mmdiff itself).
    #[arg(long, value_name = "FAULT", conflicts_with_all = ["kernels", "kernel", "guest_fault"])]
    simulated: Option<String>,
}

/// Carries out `run`.
pub fn run(args: &RunArgs, workspace: &Path) -> Result<Exit> {
    let entry = load_program(&args.program)?;
    let by = args.rules.judge_by()?;
    let stop = interrupt::stop_flag();
    let sources = sources(args, workspace)?;
    let (mut found, mut failed, mut ran) = (false, false, false);
    for source in &sources {
        if stop.load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        let mut text = format!("\n== {} {}\n", source.label(), source.arch());
        match one(source.as_ref(), &entry.program, &by, &mut text) {
            Outcome::Fine => ran = true,
            Outcome::Found => (ran, found) = (true, true),
            Outcome::Skipped => {}
            Outcome::Failed(why) => {
                text += &format!("{why}\n");
                failed = true;
            }
        }
        say!("{text}");
    }
    Ok(if found {
        Exit::Found
    } else if failed || !ran {
        Exit::Infrastructure
    } else {
        Exit::Fine
    })
}

fn sources(args: &RunArgs, workspace: &Path) -> Result<Vec<Arc<dyn KernelSource>>> {
    if let Some(fault) = &args.simulated {
        return simulated(fault);
    }
    let consoles = folders::consoles(workspace)?;
    let rig = rig(&args.kernels, workspace, &consoles, &|line| {
        eprintln!("{line}")
    })?;
    Ok(match args.guest_fault {
        Some(name) => rig.faulty(name),
        None => rig.sources,
    })
}

enum Outcome {
    Fine,
    Found,
    Skipped,
    Failed(String),
}

fn one(
    source: &dyn KernelSource,
    program: &Arc<Program>,
    by: &JudgeBy,
    text: &mut String,
) -> Outcome {
    let mut kernel = match source.boot(&format!("{}-{}", source.label(), source.arch())) {
        Ok(kernel) => kernel,
        Err(harness::kernel::BootError::Skipped(why)) => {
            *text += &format!("skipped: {why}\n");
            return Outcome::Skipped;
        }
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let info = kernel.info().clone();
    *text += &format!(
        "{} ({}, {} KiB pages), booted in {:.1} s\n",
        info.release,
        info.accel,
        info.geometry.page_size / 1024,
        info.boot_seconds
    );
    let profile = match probe::profile(kernel.as_mut(), by) {
        Ok(profile) => profile,
        Err(error) => return Outcome::Failed(format!("while probing: {error}")),
    };
    let (program, lacking) = suited(program, &profile, &info);
    if let Some(need) = lacking {
        *text += &format!(
            "the kernel lacks what the program needs ({need:?}): judged by the oracle alone, without the author's expectations\n"
        );
    }
    let prepared = Prepared {
        id: 1,
        program: program.clone(),
        smaps: Smaps::Every,
        fault: source.guest_fault(),
    };
    let execution = match kernel.run(&[prepared]) {
        Ok(mut executions) if executions.len() == 1 => executions.remove(0),
        Ok(_) => return Outcome::Failed("the program did not come back".into()),
        Err(error) => {
            *text += &format!("{error}\n");
            if let harness::kernel::KernelError::Crash { excerpt, .. } = &error {
                *text += &format!("{excerpt}\n");
            }
            let dead = !matches!(error, harness::kernel::KernelError::Lost { .. });
            return if dead {
                Outcome::Found
            } else {
                Outcome::Failed("the VM is lost".into())
            };
        }
    };
    walk(&program, &execution, &profile, info.geometry, &mut |view| {
        print_step(&view, info.geometry, text)
    });
    let judged = judge(&program, &execution, &profile, info.geometry);
    match judged.verdict {
        ProgramVerdict::Fine => {
            let t = judged.tally;
            *text += &format!(
                "\nfine: {} ops agree, {} are allowed by a rule\n",
                t.agree, t.allowed
            );
            Outcome::Fine
        }
        ProgramVerdict::Poisoned => {
            *text += "\npoisoned: a limit was met, the rest cannot be judged\n";
            Outcome::Fine
        }
        ProgramVerdict::Infra(why) => Outcome::Failed(why),
        ProgramVerdict::Suspect(story) => {
            let what = match story.kind {
                Kind::Divergence => "divergence",
                Kind::Hang => "hang",
                Kind::Crash => "crash",
            };
            *text += &wrap(&format!(
                "\n{what} at op {}: {}\n{}\n{}",
                story.step, story.bucket, story.text, story.console
            ));
            Outcome::Found
        }
    }
}

fn print_step(view: &StepView<'_>, g: Geometry, text: &mut String) {
    *text += &format!("\n{:>3}  {}\n", view.index, view.step);
    let said = match view.verdict {
        Verdict::Agree => "agree".to_string(),
        Verdict::Allowed { rule } => format!("allowed by {rule}"),
        Verdict::Poisoned { rule } => format!("poisoned: {rule}"),
        Verdict::Divergence(_) => "DIVERGES".to_string(),
    };
    let seen = outcome_words(&view.observed.outcome, g);
    let Some(usual) = view.allowed.first() else {
        *text += &format!("     => {seen}   {said}\n");
        return;
    };
    let expected = outcome_words(&usual.outcome, g);
    if seen == expected {
        *text += &format!("     => {seen}   {said}\n");
    } else {
        *text += &format!("     oracle => {expected}\n     kernel => {seen}   {said}\n");
    }
    let expected = usual.world.shown();
    for (actor, space) in &view.observed.spaces {
        let empty = Default::default();
        let oracle = expected
            .iter()
            .find(|(a, _)| a == actor)
            .map_or(&empty, |(_, space)| space);
        *text += &format!("  actor {actor}\n");
        *text += &wrap(&side_by_side(("oracle", oracle), ("kernel", space), g));
    }
}
