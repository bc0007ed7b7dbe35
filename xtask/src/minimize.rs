//! `cargo xtask minimize`: from a program in which something goes wrong to one in which nothing can be left out.

use crate::exit::{print, say, Exit, UsageError};
use crate::judge_by::RulesOptions;
use crate::rig::{newest_unless_named, one, rig, KernelOptions};
use crate::vm_matrix::{simulated, GuestFaultName};
use crate::{folders, interrupt};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{load_program, Bucket};
use harness::kernel::KernelSource;
use harness::report::wrap;
use harness::triage::{
    minimize, Against, Ended, Limits, Minimized, Progress, Settings, TriageError,
};
use oracle::program::Program;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines of progress are at least this far apart, unless ops went.
const PACE: Duration = Duration::from_secs(1);

/// Other buckets that are named.
const OTHERS: usize = 4;

/// Makes a program in which something goes wrong as short and plain as it can be.
///
/// Ops, processes, pages, permissions, flags, settings and comments go as long as the program ends in the same bucket (op,
/// rule, expected, observed). A divergence that does not show in every run is decided about by repetition; the numbers
/// are printed. The result goes to PROGRAM.min.prog next to the program, or to --out.
///
/// Without --kernels and --kernel: the newest kernel of the lock, on x86-64 unless --arch says otherwise. With several kernels:
/// the first on which the program goes wrong.
///
/// Examples:
///   cargo xtask minimize target/mmdiff/runs/.../divergences/d-0123456789.prog
///   cargo xtask minimize my.prog --kernels 6.12 --profile 7.3
///   cargo xtask minimize my.prog --kernel ~/linux/arch/x86/boot/bzImage --out short.prog
///   cargo xtask minimize my.prog --kernels 7.3 --against 7.2      (in what do they differ?)
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct MinimizeArgs {
    /// The program's file.
    program: PathBuf,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    rules: RulesOptions,
    /// Another kernel (a series, a point release or the path of an image): keep what the program does otherwise there than on the
    /// first, although the rules may permit both, as `compare` and the fuzz target vm_pair find it.
    #[arg(long, value_name = "KERNEL", conflicts_with_all = ["simulated", "guest_fault"])]
    against: Option<String>,
    /// The bucket to keep, as reports print it (`op: rule: expected -> observed`). Default: the one that the program ends in
    /// most often.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Where the result goes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after so many seconds with the best so far; boots come on top.
    #[arg(long, value_name = "S", default_value_t = Limits::default().time.as_secs_f64())]
    seconds: f64,
    /// Stop after so many runs of programs.
    #[arg(long, value_name = "N", default_value_t = Limits::default().executions)]
    executions: u64,
    /// A deliberate fault of the guest (tests of mmdiff itself).
    #[arg(long, value_name = "NAME", value_enum)]
    guest_fault: Option<GuestFaultName>,
    /// Run on the model instead of on kernels, with a deliberate fault by its `family/name` (tests of mmdiff itself).
    #[arg(long, value_name = "FAULT", conflicts_with_all = ["kernels", "kernel", "guest_fault"])]
    simulated: Option<String>,
}

/// Carries out `minimize`.
pub fn run(args: &MinimizeArgs, workspace: &Path) -> Result<Exit> {
    let entry = load_program(&args.program)?;
    let settings = settings(args)?;
    let stop = interrupt::stop_flag();
    let sources = sources(args, workspace)?;
    let mut refused = Vec::new();
    for source in &sources {
        say!("== {} {}\n", source.label(), source.arch());
        let mut last = (entry.program.steps.len(), Instant::now());
        let mut listener = |progress: &Progress<'_>| tell(progress, &mut last);
        match minimize(
            source.as_ref(),
            &entry.program,
            &settings,
            stop,
            &mut listener,
        ) {
            Ok(result) => return report(args, &entry.program, source.as_ref(), &result),
            Err(TriageError::Interrupted) => return Ok(Exit::Interrupted),
            Err(TriageError::Kernel(why)) => {
                anyhow::bail!("{} {}: {why}", source.label(), source.arch())
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    // The kernels are fine: it is the program, or the bucket, that is not what it was said to be.
    Err(UsageError(refused.join("\n")).into())
}

fn settings(args: &MinimizeArgs) -> Result<Settings> {
    if !(args.seconds > 0.0 && args.seconds < 1e7) {
        return Err(UsageError("--seconds wants a positive number".into()).into());
    }
    Ok(Settings {
        bucket: args.bucket.as_deref().map(bucket).transpose()?,
        by: args.rules.judge_by()?,
        limits: Limits {
            executions: args.executions,
            time: Duration::from_secs_f64(args.seconds),
            ..Limits::default()
        },
        ..Settings::default()
    })
}

/// Reads a bucket as reports print it.
pub fn bucket(text: &str) -> Result<Bucket> {
    let parts = || -> Option<Bucket> {
        let (op, rest) = text.split_once(": ")?;
        let (rule, rest) = rest.split_once(": ")?;
        let (expected, observed) = rest.split_once(" -> ")?;
        Some(Bucket {
            op: op.into(),
            rule: rule.into(),
            expected: expected.into(),
            observed: observed.into(),
        })
    };
    parts().ok_or_else(|| {
        UsageError(format!(
            "`{text}` is no bucket; one is written like `fork: fork/copies-guards: guard -> empty`"
        ))
        .into()
    })
}

/// The kernels to try, in order.
fn sources(args: &MinimizeArgs, workspace: &Path) -> Result<Vec<Arc<dyn KernelSource>>> {
    if let Some(name) = &args.simulated {
        return simulated(name);
    }
    let options = newest_unless_named(&args.kernels, workspace)?;
    let consoles = folders::consoles(workspace)?;
    let rig = rig(&options, workspace, &consoles, &|line| eprintln!("{line}"))?;
    match (&args.against, args.guest_fault) {
        (Some(name), _) => {
            let others = one(name, &options, workspace, &consoles)?;
            against(rig.sources, &others.sources, name)
        }
        (None, Some(fault)) => Ok(rig.faulty(fault)),
        (None, None) => Ok(rig.sources),
    }
}

/// Each kernel with the other one of its architecture.
fn against(
    sources: Vec<Arc<dyn KernelSource>>,
    others: &[Arc<dyn KernelSource>],
    name: &str,
) -> Result<Vec<Arc<dyn KernelSource>>> {
    let mut pairs: Vec<Arc<dyn KernelSource>> = Vec::new();
    for first in sources {
        let mut there = others.iter().filter(|other| other.arch() == first.arch());
        match (there.next(), there.next()) {
            (Some(second), None) => pairs.push(Arc::new(Against {
                first,
                second: second.clone(),
            })),
            (None, _) => {}
            (Some(_), Some(_)) => {
                let what = format!(
                    "--against {name} is several kernels on {}: name one",
                    first.arch()
                );
                return Err(UsageError(what).into());
            }
        }
    }
    if pairs.is_empty() {
        let what = format!("--against {name}: no such kernel on the architecture of the others");
        return Err(UsageError(what).into());
    }
    Ok(pairs)
}

/// Says what happens; `last` is the number of ops when something was said last, and when that was. When nobody takes it the work goes
/// on: its result is a file.
fn tell(progress: &Progress<'_>, last: &mut (usize, Instant)) {
    let line = match progress {
        Progress::Measured {
            story,
            reliability,
            trust,
        } => {
            wrap(&format!("{} in {reliability} runs", story.bucket))
                + &wrap(&format!("a candidate counts with {trust}"))
        }
        Progress::Simpler {
            program,
            executions,
            seconds,
        } => {
            let ops = program.steps.len();
            if ops >= last.0 && last.1.elapsed() < PACE {
                return;
            }
            *last = (ops, Instant::now());
            format!("{ops:>3} ops after {executions} runs, {seconds:.1} s\n")
        }
        Progress::Boot { number } => format!("    boot {number}\n"),
        Progress::Again { runs } => format!("    once more, {runs} runs for each candidate\n"),
    };
    let _ = print(&line);
}

/// Writes the result down and prints it.
fn report(
    args: &MinimizeArgs,
    original: &Program,
    source: &dyn KernelSource,
    result: &Minimized,
) -> Result<Exit> {
    let mut program = result.program.clone();
    program.about = about(args, original, source, result);
    let text = program.to_string();
    let path = match &args.out {
        Some(path) => path.clone(),
        None => beside(&args.program, &text),
    };
    let written = vm_images::files::write_atomically(&path, text.as_bytes());
    say!("\n{text}\n");
    let story = &result.story;
    say!(
        "{}",
        wrap(&format!(
            "Op {}: {}\n{}",
            story.step, story.bucket, story.text
        ))
    );
    say!(
        "\n{} ops became {}: {}\n",
        original.steps.len(),
        result.program.steps.len(),
        result.ended
    );
    say!(
        "{} runs, {} steps, {:.1} s, {} boots; hits before {}, after {}\n",
        result.executions,
        result.accepted,
        result.seconds,
        result.boots,
        result.before,
        result.after
    );
    for (bucket, runs) in result.others.iter().take(OTHERS) {
        say!(
            "{}",
            wrap(&format!("seen on the way, {runs} runs: {bucket}"))
        );
    }
    if result.others.len() > OTHERS {
        say!("and {} other buckets\n", result.others.len() - OTHERS);
    }
    written.with_context(|| {
        format!(
            "{} cannot be written; the program stands above",
            path.display()
        )
    })?;
    say!("{}\n", path.display());
    Ok(match result.ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::Kernel(_) => Exit::Infrastructure,
        _ => Exit::Fine,
    })
}

/// The comment at the top of the result.
fn about(
    args: &MinimizeArgs,
    original: &Program,
    source: &dyn KernelSource,
    result: &Minimized,
) -> Vec<String> {
    let name = args.program.file_name().unwrap_or_default();
    let mut lines = vec![
        format!(
            "{} ops of {}, on {} {} ({}), {} runs.",
            original.steps.len(),
            name.to_string_lossy(),
            source.label(),
            source.arch(),
            result.kernel.release,
            result.after
        ),
        result.story.bucket.to_string(),
    ];
    if result.ended != Ended::Minimal {
        lines.push(format!("Not minimal: {}.", result.ended));
    }
    lines
        .iter_mut()
        .for_each(|line| *line = line.trim_end().into());
    lines
}

/// `NAME.min.prog` beside `NAME.prog`; numbered when there is one with another content already.
fn beside(program: &Path, text: &str) -> PathBuf {
    let free = |path: &PathBuf| match std::fs::read_to_string(path) {
        Ok(there) => there == text,
        Err(_) => !path.exists(),
    };
    let numbered = |n: u32| {
        program.with_extension(match n {
            1 => "min.prog".to_string(),
            n => format!("min-{n}.prog"),
        })
    };
    (1..1000)
        .map(numbered)
        .find(free)
        .unwrap_or_else(|| numbered(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: MinimizeArgs,
    }

    const PROGRAM: &str =
        "# Not needed.\n\nuser root\n\nmmap 0+0..0+9 rwx private fixed\nwrite 0+1..0+5 tag 8\n\
                           guard-install 0+3..0+4\nfork 1\n1: munmap 0+0..0+1\nread 0+0..0+5\n";

    fn minimize(folder: &Path, more: &[&str]) -> Result<Exit> {
        let path = folder.join("a.prog");
        std::fs::write(&path, PROGRAM).expect("writes");
        let path = path.display().to_string();
        let words = ["minimize", &path].into_iter().chain(more.iter().copied());
        let cli = Cli::try_parse_from(words)?;
        run(&cli.args, Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    #[test]
    fn a_program_becomes_a_short_one_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let simulated = ["--simulated", "fork/loses-guards"];
        let exit = minimize(folder.path(), &simulated).expect("minimizes");
        assert_eq!(exit, Exit::Fine);
        let path = folder.path().join("a.min.prog");
        let text = std::fs::read_to_string(&path).expect("is written");
        let short = Program::load(&text).expect("parses");
        assert_eq!(short.steps.len(), 3, "{text}");
        assert!(text.contains("# fork: fork/"), "{text}");
        // The same again changes nothing; another result does not overwrite it.
        minimize(folder.path(), &simulated).expect("minimizes");
        minimize(folder.path(), &["--simulated", "guard/install-skipped"]).expect("minimizes");
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), text);
        assert!(folder.path().join("a.min-2.prog").exists());
        assert!(!folder.path().join("a.min-3.prog").exists());
    }

    #[test]
    fn what_does_not_diverge_is_the_users_business() {
        let folder = tempfile::tempdir().expect("a folder");
        for (more, words) in [
            (&["--simulated", "mmap/empty-ok"][..], "does not diverge"),
            (&["--simulated", "no/such"], "no fault `no/such`"),
            (
                &["--simulated", "mmap/empty-ok", "--seconds", "0"],
                "--seconds",
            ),
            (
                &["--simulated", "mmap/empty-ok", "--bucket", "fork"],
                "no bucket",
            ),
            (
                &["--simulated", "mmap/empty-ok", "--profile", "x"],
                "release",
            ),
        ] {
            let error = minimize(folder.path(), more).expect_err("is refused");
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.downcast_ref::<UsageError>().is_some(), "{error:#}");
        }
        assert!(!folder.path().join("a.min.prog").exists());
    }

    #[test]
    fn a_kernel_is_held_against_one_of_its_architecture() {
        use harness::kernel::simulated::Simulated;
        let model = || Arc::new(Simulated::default()) as Arc<dyn KernelSource>;
        let pairs = against(vec![model(), model()], &[model()], "7.2").expect("pairs");
        assert_eq!(pairs.len(), 2);
        let error = against(vec![model()], &[], "7.2").err().expect("none");
        assert!(error.to_string().contains("no such kernel"), "{error}");
        let error = against(vec![model()], &[model(), model()], "all")
            .err()
            .expect("many");
        assert!(error.to_string().contains("name one"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("a.prog/x.prog");
        let out = out.display().to_string();
        let error = minimize(
            folder.path(),
            &["--simulated", "fork/loses-guards", "--out", &out],
        )
        .expect_err("cannot be written");
        assert!(format!("{error:#}").contains(&out), "{error:#}");
        let code = exit::code(Err(error));
        assert_eq!(code, std::process::ExitCode::from(69));
    }

    #[test]
    fn buckets_are_read_as_they_are_printed() {
        let text = "fork: fork/copies-guards: guard -> empty";
        assert_eq!(bucket(text).expect("is one").to_string(), text);
        assert!(bucket("guard -> empty").is_err());
    }
}
