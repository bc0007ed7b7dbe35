//! `cargo xtask fuzz`: runs a fuzz target, keeps what is new, and says what to do with a finding.

mod corpus;
pub mod figures;
mod finding;
mod minimizer;
pub mod tool;

use crate::exit::{say, Exit, UsageError};
use crate::interrupt;
use anyhow::{Context, Result};
use clap::Args;
use corpus::Folders;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// libFuzzer's exit codes: a signal or a panic, memory, time, the user.
const FOUND: [i32; 3] = [77, 71, 70];
const INTERRUPTED: i32 = 72;

/// Runs a fuzz target for some minutes.
///
/// Installs cargo-fuzz when it is missing, builds the target with the sanitizer, starts from the target's corpus
/// (fuzz/corpus/TARGET) and the programs of corpus/, and afterwards adds to the target's corpus what is new and no input
/// there reaches, however it ended. A finding ends it with exit code 1. It is made shorter where that takes no kernel; its input
/// is a program's file, for `cargo xtask show`, `run` and `minimize`, or (race, simulated_arbitrary) has one beside it.
///
/// The programs of corpus/ are no seeds for race and simulated_arbitrary, whose inputs are choices that a generator reads, and for wire
/// they are the messages that a guest sends of them.
///
/// Targets:
///   oracle_laws          model and judge against laws that hold whatever the rules say; programs are mutated as programs
///   program_text         parsing and printing
///   wire                 whatever a guest may send
///   simulated            the whole pipeline on the simulated kernel, honest or with deliberate faults
///   simulated_arbitrary  the same on bytes that the generator reads: what mutation of programs is compared with
///   race                 sections of threads: all orders of the kernel's steps against promises, the judge, and whole ops
///   vm_x86_64            a real kernel in one VM that lives as long as the run, judged by the oracle
///   vm_aarch64           the same on arm64
///   vm_pair              two real kernels (x86-64) against each other and the oracle
///   host                 the running kernel, judged by the oracle; only with MMDIFF_ALLOW_HOST=1
///
/// `cargo +nightly fuzz run TARGET` runs the same without seeds. MMDIFF_FAULT=family/name gives the simulated kernel that fault.
/// MMDIFF_KERNEL names the kernel of the VM targets: a series, a release, or the path of an image (two with a comma for
/// vm_pair). Default: the newest.
///
/// Examples:
///   cargo xtask fuzz oracle_laws
///   cargo xtask fuzz simulated --minutes 10 --seed 7
///   MMDIFF_KERNEL=6.18 cargo xtask fuzz vm_aarch64 --minutes 60
///   MMDIFF_FAULT=fork/loses-guards cargo xtask fuzz simulated
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FuzzArgs {
    /// The target's name.
    target: String,
    /// How long, building apart.
    #[arg(long, value_name = "M", default_value_t = 1.0)]
    minutes: f64,
    /// Makes libFuzzer's choices repeatable. Default: it chooses one and says so.
    #[arg(long, value_name = "S")]
    seed: Option<u32>,
}

/// Carries out `fuzz`.
pub fn run(args: &FuzzArgs, workspace: &Path) -> Result<Exit> {
    let target = args.target.as_str();
    let targets = tool::targets(workspace)?;
    if !targets.iter().any(|name| name == target) {
        let all = targets.join(", ");
        return Err(UsageError(format!("there is no target `{target}`; there are {all}")).into());
    }
    if !(args.minutes > 0.0 && args.minutes < 1e5) {
        return Err(UsageError("--minutes wants a positive number".into()).into());
    }
    tool::ensure()?;
    let folders = Folders::of(workspace, target)?;
    corpus::seed(workspace, target, &folders.seeds)?;
    tool::build(workspace, target)?;
    let program = tool::program(workspace, target)?;
    // Ctrl-C goes to the target as well: it ends, we tidy up.
    interrupt::stop_flag();
    session(args, &program, &folders, workspace)
}

/// Runs the target that was built, and takes care of what it leaves.
fn session(args: &FuzzArgs, program: &Path, folders: &Folders, workspace: &Path) -> Result<Exit> {
    let target = args.target.as_str();
    let before = findings(&folders.findings)?;
    let seconds = (args.minutes * 60.0).ceil() as u64;
    let mut command = tool::run(program, &folders.inputs());
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", folders.findings.display()))
        .arg("-print_final_stats=1");
    if let Some(seed) = args.seed {
        command.arg(format!("-seed={seed}"));
    }
    let status = command.status().context("the target cannot be run")?;
    let mut found = findings(&folders.findings)?;
    found.retain(|path| !before.contains(path));
    let exit = exit(status, &found, target);
    // Where the infrastructure failed it would fail again: what is new stays for the next run.
    if exit != Exit::Infrastructure {
        match folders.merge(program) {
            Ok(added) => say!("{added} new inputs in {}\n", folders.corpus.display()),
            Err(why) if exit == Exit::Found => eprintln!("{why:#}"),
            Err(why) => return Err(why),
        }
    }
    for path in &found {
        finding::tell(target, program, path, workspace)?;
    }
    Ok(exit)
}

/// What a run of the target comes to.
fn exit(status: ExitStatus, found: &[PathBuf], target: &str) -> Exit {
    match status.code() {
        Some(0) => Exit::Fine,
        Some(INTERRUPTED) => Exit::Interrupted,
        Some(code) if FOUND.contains(&code) => Exit::Found,
        _ if !found.is_empty() => Exit::Found,
        _ => {
            eprintln!("{target} failed without a finding: {status}");
            Exit::Infrastructure
        }
    }
}

/// The inputs that went wrong so far.
fn findings(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn how_a_target_ends_says_what_it_was() {
        let ended =
            |code: i32, found: &[PathBuf]| exit(ExitStatus::from_raw(code << 8), found, "t");
        assert_eq!(ended(0, &[]), Exit::Fine);
        assert_eq!(ended(INTERRUPTED, &[]), Exit::Interrupted);
        for code in FOUND {
            assert_eq!(ended(code, &[]), Exit::Found);
        }
        assert_eq!(ended(69, &[]), Exit::Infrastructure);
        // Whatever it says: there is a finding.
        assert_eq!(ended(1, &["crash-1".into()]), Exit::Found);
        let killed = ExitStatus::from_raw(nix::sys::signal::Signal::SIGKILL as i32);
        assert_eq!(exit(killed, &[], "t"), Exit::Infrastructure);
    }

    /// A target that finds an input worth keeping and one that goes wrong, and ends with this status.
    struct Fake {
        folder: tempfile::TempDir,
        folders: Folders,
        program: PathBuf,
    }

    impl Fake {
        fn ending_with(code: i32, merges: bool) -> Fake {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| {
                let path = folder.path().join(name);
                std::fs::create_dir_all(&path).unwrap();
                path
            };
            let folders = Folders {
                corpus: at("corpus"),
                seeds: at("seeds"),
                new: at("new"),
                findings: at("findings"),
            };
            let program = folder.path().join("oracle_laws");
            let finds = if FOUND.contains(&code) {
                "echo long >$prefix/crash-1"
            } else {
                ":"
            };
            let merge = if merges {
                "cp $2/* $1/; exit 0"
            } else {
                "exit 1"
            };
            let script = format!(
                "#!/bin/sh\nfor word; do case $word in\n-merge=1) {merge};;\n\
                 -exact_artifact_path=*) echo x >${{word#*=}}; exit 0;;\n-artifact_prefix=*) prefix=${{word#*=}};;\nesac; done\n\
                 echo input >$1/input\n{finds}\nexit {code}\n"
            );
            std::fs::write(&program, script).unwrap();
            let runs = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&program, runs).unwrap();
            Fake {
                folder,
                folders,
                program,
            }
        }

        fn run(&self) -> Result<Exit> {
            let args = FuzzArgs {
                target: "oracle_laws".into(),
                minutes: 0.1,
                seed: None,
            };
            session(&args, &self.program, &self.folders, self.folder.path())
        }

        /// Whether the new input is in the corpus, and whether it is still said to be new.
        fn kept(&self) -> (bool, bool) {
            let has = |folder: &Path| folder.join("input").exists();
            (has(&self.folders.corpus), has(&self.folders.new))
        }
    }

    #[test]
    fn what_is_new_is_kept_however_a_run_ends() {
        for (code, wanted) in [
            (0, Exit::Fine),
            (INTERRUPTED, Exit::Interrupted),
            (FOUND[0], Exit::Found),
        ] {
            let fake = Fake::ending_with(code, true);
            assert_eq!(fake.run().unwrap(), wanted);
            assert_eq!(fake.kept(), (true, false), "{code}");
        }
        let fake = Fake::ending_with(69, true);
        assert_eq!(fake.run().unwrap(), Exit::Infrastructure);
        assert_eq!(fake.kept(), (false, true), "for the next run");
    }

    #[test]
    fn what_cannot_be_merged_stays_and_hides_no_finding() {
        let fake = Fake::ending_with(FOUND[0], false);
        assert_eq!(fake.run().unwrap(), Exit::Found);
        assert_eq!(fake.kept(), (false, true));
        let fake = Fake::ending_with(0, false);
        assert!(fake
            .run()
            .unwrap_err()
            .to_string()
            .contains("merging failed"));
        assert_eq!(fake.kept(), (false, true));
    }

    #[test]
    fn a_finding_is_made_shorter() {
        let fake = Fake::ending_with(FOUND[0], true);
        fake.run().unwrap();
        let short = fake.folders.findings.join("crash-1.min");
        assert_eq!(std::fs::read_to_string(short).unwrap(), "x\n");
        // That of an earlier run is none of this one.
        assert_eq!(findings(&fake.folders.findings).unwrap().len(), 2);
    }
}
