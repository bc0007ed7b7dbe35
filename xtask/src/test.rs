//! `cargo xtask test`: everything that CI runs.

use crate::exit::{say, Exit};
use crate::fuzz::tool;
use crate::rig::newest;
use crate::setup;
use anyhow::{Context, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use vm_images::Arch;

/// Runs everything that CI runs, and ends with the line `N passed, N failed`.
///
/// Formatting, clippy, all tests, the HTML report in headless Chromium, a real boot of the newest kernel on x86-64 and arm64 with some hundred judged programs
/// and the corpus, threads that run at once there, the laws that no rule has a say in, every deliberate fault of the simulated kernel, and the fuzz targets that
/// need no kernel for some seconds each (needs the nightly toolchain). With MMDIFF_ALLOW_HOST=1 also programs on the running kernel.
/// What is left out is named, and counted in the closing line. With --slow, farms and faults come on top: a Slurm of its own and GNU
/// parallel on this machine, each losing tasks of a campaign on a real kernel (installed where that may be; otherwise the error has
/// the line to run), the Kubernetes job against Kubernetes' schema, and five minutes of `soak`.
#[derive(Args)]
pub struct TestArgs {
    /// Leave out what boots kernels.
    #[arg(long)]
    no_boot: bool,
    /// Also farms on real engines and a campaign with faults: some fifteen minutes more.
    #[arg(long, conflicts_with = "no_boot")]
    slow: bool,
    /// Seconds for each fuzz target.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    fuzz_seconds: u32,
}

struct Checks<'a> {
    workspace: &'a Path,
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// Carries out `test`.
pub fn run(args: &TestArgs, workspace: &Path) -> Result<Exit> {
    let me = std::env::current_exe().context("where this program lies")?;
    let mut checks = Checks {
        workspace,
        passed: 0,
        failed: 0,
        skipped: 0,
    };
    checks.cargo("formatting", &["fmt", "--all", "--check"])?;
    checks.cargo(
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    checks.cargo(
        "unit and integration tests",
        &["test", "--workspace", "--quiet"],
    )?;
    checks.browser()?;
    checks.own(
        &me,
        "simulated faults are noticed",
        &["faults", "--kind", "simulated", "--no-keep"],
    )?;
    checks.host()?;
    if args.no_boot {
        checks.skip("real kernels", "--no-boot")?;
    } else {
        checks.kernels(&me)?;
    }
    if args.slow {
        checks.slow(&me)?;
    } else {
        checks.skip(
            "farms on Slurm and GNU parallel, and soak",
            "--slow runs them",
        )?;
    }
    fuzz(&mut checks, args.fuzz_seconds)?;
    let skipped = match checks.skipped {
        0 => String::new(),
        n => format!(", {n} skipped"),
    };
    say!(
        "{} passed, {} failed{skipped}\n",
        checks.passed,
        checks.failed
    );
    Ok(if checks.failed > 0 {
        Exit::Found
    } else {
        Exit::Fine
    })
}

impl Checks<'_> {
    fn browser(&mut self) -> Result<()> {
        let name = "the HTML report in a browser";
        if let Err(why) = setup::ensure_chromium(&|line| eprintln!("{line}")) {
            return self.fail(name, &why.to_string());
        }
        let words = [
            "test",
            "--package",
            "xtask",
            "--features",
            "browser-tests",
            "--quiet",
        ];
        self.cargo(name, &[&words[..], &["--test", "browser"]].concat())
    }

    /// Programs on this machine's own kernel, which only its owner may allow.
    fn host(&mut self) -> Result<()> {
        let name = "generated programs on the running kernel";
        if std::env::var_os("MMDIFF_ALLOW_HOST").is_none_or(|allowed| allowed != "1") {
            return self.skip(name, "MMDIFF_ALLOW_HOST=1 allows it");
        }
        let words = [
            "test",
            "--package",
            "harness",
            "--features",
            "host-tests",
            "--quiet",
        ];
        self.cargo(name, &[&words[..], &["--test", "host"]].concat())
    }

    /// What boots kernels, with what that needs.
    fn kernels(&mut self, me: &PathBuf) -> Result<()> {
        let tools = setup::ensure_host_tools(&Arch::ALL, &|line| eprintln!("{line}"));
        if let Err(why) = tools {
            return self.fail("real kernels", &why.to_string());
        }
        self.cargo(
            "the guest and the transport on real kernels",
            &[
                "test",
                "--package",
                "harness",
                "--features",
                "vm-tests",
                "--test",
                "vm",
                "--quiet",
                "--",
                "--test-threads=2",
            ],
        )?;
        self.cargo(
            "runs on real kernels that are killed, hang and crash",
            &[
                "test",
                "--package",
                "xtask",
                "--features",
                "vm-tests",
                "--quiet",
                "--test",
                "real_vm",
                "--test",
                "real_races",
                "--",
                "--test-threads=1",
            ],
        )?;
        for arch in Arch::ALL {
            let kernel = newest(self.workspace, &[arch])?;
            let on = ["--kernels", &kernel, "--arch", arch.name()];
            let words = [&["vm-matrix"], &on[..], &["--programs", "300"]].concat();
            let name = format!("300 programs and the corpus on a real kernel, {arch}");
            self.own(me, &name, &words)?;
            let often = ["--repetitions", "20", "--generated", "10"];
            let words = [&["races"], &on[..], &often].concat();
            let name = format!("threads that run at once on a real kernel, {arch}");
            self.own(me, &name, &words)?;
            if arch == Arch::X86_64 {
                let words = [&["laws"], &on[..], &["--pairs", "50"]].concat();
                let name = format!("laws that no rule has a say in on a real kernel, {arch}");
                self.own(me, &name, &words)?;
            }
        }
        Ok(())
    }

    /// What takes many minutes.
    fn slow(&mut self, me: &PathBuf) -> Result<()> {
        let words = ["test", "--package", "xtask", "--features", "farm-tests"];
        let more = ["--quiet", "--test", "engines", "--", "--test-threads=1"];
        self.cargo("farms on real engines", &[&words[..], &more].concat())?;
        let more = ["--quiet", "--test", "three_ways"];
        self.cargo(
            "a campaign in one go, in pieces and in shards",
            &[&words[..], &more].concat(),
        )?;
        let more = ["--quiet", "--test", "durable"];
        self.cargo(
            "what a machine that goes down keeps",
            &[&words[..], &more].concat(),
        )?;
        let kernels = format!("{},6.18", newest(self.workspace, &[Arch::X86_64])?);
        let words = ["soak", "--minutes", "5", "--", "--kernels", &kernels];
        let more = [
            "--arch",
            "x86_64",
            "--programs",
            "640",
            "--corpus",
            "corpus/guard",
        ];
        self.own(
            me,
            "a campaign to which everything happens",
            &[&words[..], &more].concat(),
        )
    }

    fn cargo(&mut self, name: &str, words: &[&str]) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(words);
        self.check(name, &mut command)
    }

    fn own(&mut self, me: &PathBuf, name: &str, words: &[&str]) -> Result<()> {
        let mut command = Command::new(me);
        command.args(words);
        self.check(name, &mut command)
    }

    /// Runs a command; what it says is shown when it fails.
    fn check(&mut self, name: &str, command: &mut Command) -> Result<()> {
        say!("{name} ...\n");
        let started = Instant::now();
        let output = command
            .current_dir(self.workspace)
            .stdin(Stdio::null())
            .output();
        let seconds = started.elapsed().as_secs_f64();
        match output {
            Ok(output) if output.status.success() => {
                self.passed += 1;
                say!("{name}: passed ({seconds:.0} s)\n");
                Ok(())
            }
            Ok(output) => {
                say!("{}", String::from_utf8_lossy(&output.stdout));
                say!("{}", String::from_utf8_lossy(&output.stderr));
                self.fail(name, &format!("{}, {seconds:.0} s", output.status))
            }
            Err(error) => self.fail(name, &error.to_string()),
        }
    }

    fn fail(&mut self, name: &str, why: &str) -> Result<()> {
        self.failed += 1;
        say!("{name}: FAILED ({why})\n");
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) -> Result<()> {
        self.skipped += 1;
        say!("{name}: SKIPPED ({why})\n");
        Ok(())
    }
}

/// Builds the fuzz targets and runs each for a while.
fn fuzz(checks: &mut Checks<'_>, seconds: u32) -> Result<()> {
    if !tool::has_nightly() {
        return checks.skip(
            "fuzz targets",
            "no nightly toolchain: rustup toolchain install nightly",
        );
    }
    if !tool::has_cargo_fuzz() {
        eprintln!("cargo-fuzz is missing: cargo install cargo-fuzz --locked");
        checks.check("installing cargo-fuzz", &mut tool::install())?;
    }
    let mut targets = tool::targets(checks.workspace).unwrap_or_default();
    targets.retain(|target| !tool::needs_kernels(target));
    if targets.is_empty() {
        checks.fail("fuzz targets", "there are none")?;
    }
    let findings = crate::folders::target(checks.workspace).join("mmdiff/fuzz/findings");
    if std::fs::create_dir_all(&findings).is_err() {
        let why = format!("{} cannot be made", findings.display());
        checks.fail("fuzz targets", &why)?;
    }
    for target in &targets {
        let mut build = tool::build_command(target);
        checks.check(&format!("building the fuzz target {target}"), &mut build)?;
        let name = format!("fuzzing {target} for {seconds} s");
        match tool::program(checks.workspace, target) {
            Ok(program) => {
                let mut run = tool::run(&program, &[]);
                run.arg(format!("-max_total_time={seconds}"))
                    .arg(format!("-artifact_prefix={}/", findings.display()));
                checks.check(&name, &mut run)?;
            }
            Err(error) => checks.fail(&name, &error.to_string())?,
        }
    }
    Ok(())
}
