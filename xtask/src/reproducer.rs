//! `cargo xtask reproducer`: programs in C, for people without mmdiff; and whether they tell the same.

use crate::exit::{say, Exit, UsageError};
use crate::rig::{newest_unless_named, rig, KernelOptions, Rig};
use crate::verdict::{words, JudgingOptions};
use crate::{folders, interrupt};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{load_corpus, CorpusProgram, Kind};
use harness::kernel::machine::VmSource;
use harness::kernel::KernelSource;
use harness::report::wrap;
use harness::reproducer::{
    compile, pinned, reproducer, run as try_all, Reproducer, ABSENT, BEHAVES, INIT, MISBEHAVES,
    SCRIPT,
};
use harness::triage::{verdicts, Answer, Told, VerdictSettings};
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes programs in C that need nothing but gcc: each ends with 0 when the kernel behaves, 1 when it does not, 4 when it
/// lacks what the program needs.
///
/// For NAME.prog there is NAME.c, NAME-kselftest.c (the same as a TEST_F, for tools/testing/selftests/mm), and beside them
/// reproduce.sh, which boots a kernel image with them. What is checked is what the program's author expects. A program without
/// any expectation, and every program when --profile, --without-row or --bucket is given, is run on the kernels first, as
/// `cargo xtask verdict` does, and what the rules expect where it diverges is checked.
///
/// With --check the C programs are compiled and run, all in one boot of each kernel, and compared with the verdicts of the
/// programs that they were made from: exit code 1 if they disagree anywhere.
///
/// Examples:
///   cargo xtask reproducer corpus/findings/mseal-stale-start.prog --out repro && repro/reproduce.sh bzImage
///   cargo xtask reproducer d-0123456789.prog --kernels 6.17 --profile 7.3
///   cargo xtask reproducer corpus/selftests --check --kernels 7.3
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct ReproducerArgs {
    /// Programs, or folders with programs.
    #[arg(required = true)]
    programs: Vec<PathBuf>,
    /// Where the files go. Default: a new folder under target/mmdiff/reproducers/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compile and run them, and compare.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    judging: JudgingOptions,
}

/// A program that could be said in C.
struct Made {
    name: String,
    program: Arc<Program>,
    texts: Reproducer,
}

/// Carries out `reproducer`.
pub fn run(args: &ReproducerArgs, workspace: &Path) -> Result<Exit> {
    let settings = args.judging.settings()?;
    interrupt::stop_flag();
    let mut entries = Vec::new();
    for path in &args.programs {
        entries.extend(load_corpus(path)?);
    }
    // Whoever names a profile or a bucket asks about a divergence, not about what the author expects.
    let learns = !settings.by.is_own() || settings.bucket.is_some();
    let bare =
        |entry: &&CorpusProgram| learns || entry.program.steps.iter().all(|s| s.expect.is_empty());
    let rig: Option<Rig> = if args.check || entries.iter().any(|e| bare(&e)) {
        let options = newest_unless_named(&args.kernels, workspace)?;
        let consoles = folders::consoles(workspace)?;
        Some(rig(&options, workspace, &consoles, &|line| {
            eprintln!("{line}")
        })?)
    } else {
        None
    };
    let machines = rig.as_ref().map_or(&[][..], |rig| &rig.machines);
    let out = match &args.out {
        Some(out) => out.clone(),
        None => folders::target(workspace)
            .join("mmdiff/reproducers")
            .join(folders::timestamp()),
    };
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for entry in &entries {
        let program = match bare(&entry) {
            true => learned(&entry.program, machines, &settings),
            false => Ok(entry.program.clone()),
        };
        let name = file_name(&entry.name, &made);
        let said = program.and_then(|program| {
            let texts = reproducer(&name.replace('-', "_"), &program).map_err(|e| e.to_string())?;
            Ok((program, texts))
        });
        match said {
            Ok((program, texts)) => made.push(Made {
                name,
                program,
                texts,
            }),
            Err(why) => refused.push(format!("{}: {why}", entry.name)),
        }
    }
    if made.is_empty() {
        return Err(UsageError(refused.join("\n")).into());
    }
    write(&made, &out)?;
    for why in &refused {
        say!("{}", wrap(why));
    }
    say!(
        "{} C programs in {}, {} that cannot be said in C\n",
        made.len(),
        out.display(),
        refused.len()
    );
    if !args.check {
        return Ok(Exit::Fine);
    }
    let mut agree = !machines.is_empty();
    for machine in machines {
        agree &= check(machine, &made, &settings, &out)?;
    }
    Ok(match (agree, machines.is_empty()) {
        (true, _) => Exit::Fine,
        (false, true) => Exit::Infrastructure,
        (false, false) => Exit::Found,
    })
}

/// An identifier-like name that no other has.
fn file_name(path: &str, made: &[Made]) -> String {
    let stem = Path::new(path)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let stem: String = stem.chars().map(clean).collect();
    let taken = |name: &String| made.iter().any(|m| m.name == *name) || name == "init";
    let mut names = (1..).map(|n| {
        if n == 1 {
            stem.clone()
        } else {
            format!("{stem}-{n}")
        }
    });
    names.find(|name| !taken(name)).unwrap_or(stem.clone())
}

/// A program that expects what the rules say where `program` diverges on the first of the kernels on which it does.
fn learned(
    program: &Arc<Program>,
    machines: &[VmSource],
    settings: &VerdictSettings,
) -> Result<Arc<Program>, String> {
    let mut answers = Vec::new();
    for machine in machines {
        for told in verdicts(machine, std::slice::from_ref(program), settings) {
            match (&told.answer, &told.kernel) {
                (Answer::Diverges { story, .. }, Some((info, _))) => {
                    let mut short =
                        pinned(program, story, info.geometry).map_err(|e| e.to_string())?;
                    short.about = vec![
                        format!(" {}", story.bucket),
                        format!(" Seen on {} {}.", info.release, info.arch),
                    ];
                    return Ok(Arc::new(short));
                }
                (answer, _) => answers.push(format!("{}: {}", machine.label(), words(answer))),
            }
        }
    }
    Err(format!(
        "there is no divergence to tell of: {}",
        answers.join("; ")
    ))
}

fn write(made: &[Made], out: &Path) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    for Made { name, texts, .. } in made {
        put(&format!("{name}.c"), &texts.c)?;
        put(&format!("{name}-kselftest.c"), &texts.kselftest)?;
    }
    put("init.c", INIT)?;
    put("reproduce.sh", SCRIPT)?;
    let script = out.join("reproduce.sh");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, everybody).with_context(|| script.display().to_string())
}

/// Whether C and mmdiff tell the same on a kernel; says where they do not.
fn check(
    machine: &VmSource,
    made: &[Made],
    settings: &VerdictSettings,
    out: &Path,
) -> Result<bool> {
    let work = out.join(format!("{}-{}", machine.label(), machine.arch()));
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let arch = machine.config.arch;
    let mut programs = BTreeMap::new();
    for Made { name, texts, .. } in made {
        programs.insert(name.clone(), compile(name, &texts.c, arch, &work)?);
    }
    let mut config = machine.config.clone();
    config.console_log = work.join("console.log");
    let trial = try_all(&config, &programs, &work)?;
    let list: Vec<Arc<Program>> = made.iter().map(|m| m.program.clone()).collect();
    let told = verdicts(machine, &list, settings);
    let mut alike = 0;
    for (made, told) in made.iter().zip(&told) {
        let status = trial.statuses.get(&made.name).copied();
        if agrees(status, told) {
            alike += 1;
        } else {
            let status = status.map_or("did not end".into(), |s| s.to_string());
            say!(
                "{}",
                wrap(&format!(
                    "  {}: C {status}, mmdiff {}",
                    made.name,
                    words(&told.answer)
                ))
            );
        }
    }
    let count = |wanted: i32| trial.statuses.values().filter(|s| **s == wanted).count();
    say!(
        "{} {}: {alike} of {} C programs agree with mmdiff ({} behave, {} do not, {} skipped)\n",
        machine.arch(),
        machine.label(),
        made.len(),
        count(BEHAVES),
        count(MISBEHAVES),
        count(ABSENT)
    );
    Ok(alike == made.len())
}

fn agrees(status: Option<i32>, told: &Told) -> bool {
    match &told.answer {
        Answer::Holds { .. } => status == Some(BEHAVES),
        Answer::Diverges { story, .. } => match (status, story.kind) {
            (Some(status), _) => status == MISBEHAVES || status > 128,
            // A crash takes the machine with it, and what hangs does not end; anything else does.
            (None, kind) => kind != Kind::Divergence,
        },
        Answer::Untold(_) => status == Some(ABSENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::kernel::simulated::{fault_named, Mishap, Simulated, Strike};

    /// mmdiff's verdict on a small program.
    fn told(source: &Simulated) -> Told {
        let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n";
        let program = Arc::new(Program::load(text).unwrap());
        let settings = VerdictSettings {
            by: harness::kernel::JudgeBy::default(),
            bucket: None,
            runs: 1,
        };
        verdicts(source, &[program], &settings).remove(0)
    }

    #[test]
    fn what_does_not_end_agrees_with_a_crash_and_with_nothing_else() {
        let honest = told(&Simulated::default());
        assert!(agrees(Some(BEHAVES), &honest));
        assert!(!agrees(Some(MISBEHAVES), &honest) && !agrees(None, &honest));
        let wrong = told(&Simulated {
            fault: fault_named("fork/loses-guards"),
            ..Simulated::default()
        });
        assert!(agrees(Some(MISBEHAVES), &wrong) && agrees(Some(128 + 11), &wrong));
        assert!(!agrees(Some(BEHAVES), &wrong) && !agrees(None, &wrong));
        let crash = told(&Simulated {
            strike: Some(Strike {
                mishap: Mishap::Crash,
                op: "fork",
                probes: false,
            }),
            ..Simulated::default()
        });
        assert!(agrees(None, &crash) && !agrees(Some(BEHAVES), &crash));
    }
}
