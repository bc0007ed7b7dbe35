//! `cargo xtask verdict`: does a program go wrong on a kernel? For scripts, and for `git bisect run`.

use crate::exit::{is_usage, say, Exit, UsageError};
use crate::judge_by::RulesOptions;
use crate::rig::{newest_unless_named, rig, KernelOptions};
use crate::vm_matrix::simulated;
use crate::{folders, interrupt, minimize};
use anyhow::Result;
use clap::Args;
use harness::campaign::load_program;
use harness::kernel::KernelSource;
use harness::report::wrap;
use harness::triage::{verdict, Answer, Told, VerdictSettings};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Says whether a program holds on a kernel, in a line and in the exit code.
///
/// 0: it holds. 1: it diverges (a divergence, a hang or a crash in any of the runs). 125: it could not be told: the kernel lacks
/// what the program needs, does not boot, or something else goes wrong first. 128: wrong usage, or no such program or
/// image. These are the codes that `git bisect run` understands.
///
/// Without --kernels and --kernel: the newest kernel of the lock, on x86-64 unless --arch says otherwise. With several kernels:
/// 1 if it diverges on any, else 125 if it could not be told of any.
///
/// Examples:
///   cargo xtask verdict d-0123456789.prog --kernel ~/linux/arch/x86/boot/bzImage
///   cargo xtask verdict my.prog --kernels 7.3,6.12 --bucket 'fork: fork/copies-guards: guard -> empty'
///   cd ~/linux && git bisect run sh -c 'make -s -j8 bzImage || exit 125
///     MMDIFF/target/release/xtask verdict my.prog --kernel arch/x86/boot/bzImage'
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct VerdictArgs {
    /// The program's file.
    program: PathBuf,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    judging: JudgingOptions,
    /// Run on the model instead of on kernels, with a deliberate fault by its `family/name` or with `none`
    /// (tests of mmdiff itself).
    #[arg(long, value_name = "FAULT", conflicts_with_all = ["kernels", "kernel"])]
    simulated: Option<String>,
}

/// What a verdict goes by.
#[derive(Args, Clone)]
pub struct JudgingOptions {
    #[command(flatten)]
    pub rules: RulesOptions,
    /// Only this bucket counts, as reports print it (`op: rule: expected -> observed`). Default: whatever goes wrong.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Runs of the program on each kernel; one that goes wrong decides. What shows once in ten runs needs 30 to be seen in 24
    /// cases of 25.
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: u32,
}

impl JudgingOptions {
    /// As the harness wants it.
    ///
    /// # Errors
    /// A profile or a bucket that is none, or no runs.
    pub fn settings(&self) -> Result<VerdictSettings> {
        if !(1..=1000).contains(&self.runs) {
            return Err(UsageError("--runs wants a number from 1 to 1000".into()).into());
        }
        Ok(VerdictSettings {
            by: self.rules.judge_by()?,
            bucket: self.bucket.as_deref().map(minimize::bucket).transpose()?,
            runs: self.runs,
        })
    }
}

/// Carries out `verdict`.
pub fn run(args: &VerdictArgs, workspace: &Path) -> Result<Exit> {
    // Whatever goes wrong here says nothing about the kernel: neither 1 nor 2, which would be a bad commit.
    told(args, workspace).or_else(|error| {
        let text = format!("{error:#}");
        let head = if text.starts_with("error:") {
            ""
        } else {
            "error: "
        };
        eprintln!("{head}{text}");
        Ok(if is_usage(&error) {
            Exit::GiveUp
        } else {
            Exit::Untold
        })
    })
}

fn told(args: &VerdictArgs, workspace: &Path) -> Result<Exit> {
    let entry = load_program(&args.program)?;
    let settings = args.judging.settings()?;
    let stop = interrupt::stop_flag();
    let sources: Vec<Arc<dyn KernelSource>> = match &args.simulated {
        Some(name) => simulated(name)?,
        None => {
            let options = newest_unless_named(&args.kernels, workspace)?;
            let consoles = folders::consoles(workspace)?;
            rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?.sources
        }
    };
    let (mut diverges, mut untold) = (false, sources.is_empty());
    for source in &sources {
        if stop.load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        let told = verdict(source.as_ref(), &entry.program, &settings);
        match told.answer {
            Answer::Holds { .. } => {}
            Answer::Diverges { .. } => diverges = true,
            Answer::Untold(_) => untold = true,
        }
        say!("{}", wrap(&line(source.as_ref(), &told)));
    }
    Ok(match (diverges, untold) {
        (true, _) => Exit::Found,
        (false, true) => Exit::Untold,
        (false, false) => Exit::Fine,
    })
}

/// The verdict in words: kernel, answer, and, of a divergence, what it is.
pub fn line(source: &dyn KernelSource, told: &Told) -> String {
    let name = match &told.kernel {
        Some((info, _)) => format!("{} {}", info.arch, info.release),
        None => format!("{} {}", source.arch(), source.label()),
    };
    format!("{name}: {}\n", words(&told.answer))
}

/// An answer in words.
pub fn words(answer: &Answer) -> String {
    match answer {
        Answer::Holds { runs } => format!("holds in {runs} runs"),
        Answer::Diverges { story, reliability } => format!(
            "diverges in {} of {} runs at op {}: {}",
            reliability.hits, reliability.runs, story.step, story.bucket
        ),
        Answer::Untold(why) => format!("cannot be told: {why}"),
    }
}
