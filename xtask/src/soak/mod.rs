//! `cargo xtask soak`: a campaign to which everything happens, and whose results must not show it.

use crate::exit::{say, Exit, UsageError};
use crate::{folders, interrupt};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::BlockResult;
use harness::report::{read_blocks, through, Item, Through};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longest that a VM or the host process is stopped: a guest that stands still for ten seconds counts as hung.
const STOPPED_MS: u64 = 1500;

/// Size of the file system that is filled, MiB.
const ROOM_MIB: u64 = 256;

/// How long a process may take to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a campaign twice: once in peace, and again and again, for so many minutes, while a seeded injector of faults works on it.
///
/// Faults: QEMU is killed, stopped and continued; the host process is killed, interrupted, stopped and continued, and resumed; half
/// a line is left at the end of its results; the file system of its results (a tmpfs, when we may mount one) is full for a while.
/// At the end: every planned block of programs has exactly one record, verdicts are those of the undisturbed run, no process and no
/// temporary file is left. The memory of the host processes is told. faults.csv, memory.csv and soak.txt stay in a folder.
///
/// Exit codes: 0 all of that held, 1 something of it did not, 69 the infrastructure failed without a fault.
///
/// Example:
///   cargo xtask soak --minutes 60 -- --kernels 7.3,6.18 --programs 4000
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct SoakArgs {
    /// Minutes of faults; the undisturbed run comes on top, and the last campaign is brought to its end.
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    minutes: f64,
    /// Seconds between faults, on average.
    #[arg(long, value_name = "S", default_value_t = 8.0)]
    every: f64,
    /// Chooses the faults and their moments.
    #[arg(long, value_name = "S", default_value_t = 1)]
    faults_seed: u64,
    /// Where everything goes. Default: a new folder under target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Options of vm-matrix, after `--`; not --out, --resume, --minutes.
    #[arg(last = true, value_name = "OPTIONS")]
    matrix: Vec<String>,
}

/// What is done to a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillQemu,
    StopQemu,
    KillHost,
    TearLine,
    InterruptHost,
    StopHost,
    FullDisk,
}

impl Fault {
    const ALL: [(Fault, &'static str); 7] = [
        (Fault::KillQemu, "kill-qemu"),
        (Fault::StopQemu, "stop-qemu"),
        (Fault::KillHost, "kill-host"),
        (Fault::TearLine, "kill-host-and-tear-line"),
        (Fault::InterruptHost, "interrupt-host"),
        (Fault::StopHost, "stop-host"),
        (Fault::FullDisk, "full-disk"),
    ];
}

/// The injector.
struct Soak<'a> {
    args: &'a SoakArgs,
    folder: PathBuf,
    random: fastrand::Rng,
    started: Instant,
    log: File,
    memory: File,
    counts: BTreeMap<Fault, u64>,
    /// Every QEMU that was seen.
    qemus: BTreeSet<u32>,
    /// Largest resident set of each host process, KiB, in order.
    peaks: Vec<u64>,
    /// A tmpfs holds the results.
    mounted: bool,
    wrong: Vec<String>,
}

/// What a work item came to, by kernel, architecture and block.
type Verdicts = BTreeMap<Item, BlockResult>;

/// Carries out `soak`.
pub fn run(args: &SoakArgs, workspace: &Path) -> Result<Exit> {
    for word in &args.matrix {
        let taken = ["--out", "--resume", "--minutes", "--shard"];
        if taken.iter().any(|option| word.starts_with(option)) {
            return Err(UsageError(format!("soak sets {word} itself: leave it out")).into());
        }
    }
    let stop = interrupt::stop_flag();
    let folder = folders::run_folder(workspace, args.out.as_deref());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let make = |name: &str| File::create(folder.join(name)).context(name.to_string());
    let mut soak = Soak {
        args,
        random: fastrand::Rng::with_seed(args.faults_seed),
        started: Instant::now(),
        log: make("faults.csv")?,
        memory: make("memory.csv")?,
        folder: folder.canonicalize()?,
        counts: BTreeMap::new(),
        qemus: BTreeSet::new(),
        peaks: Vec::new(),
        mounted: false,
        wrong: Vec::new(),
    };
    writeln!(soak.log, "seconds,round,fault,pid,detail")?;
    writeln!(soak.memory, "seconds,round,pid,rss_kib")?;
    let peace = soak.folder.join("undisturbed");
    let code = soak.begin(&peace)?.wait()?.code();
    if !matches!(code, Some(0 | 1)) {
        anyhow::bail!(
            "the undisturbed run ended with {code:?}: see {}",
            peace.display()
        );
    }
    let wanted = soak.verdicts(&peace)?;
    soak.started = Instant::now();
    let rounds_folder = soak.folder.join("disturbed");
    std::fs::create_dir_all(&rounds_folder)?;
    soak.mount(&rounds_folder);
    let mut rounds = 0;
    while rounds == 0 || soak.started.elapsed().as_secs_f64() < args.minutes * 60.0 {
        rounds += 1;
        let out = rounds_folder.join(rounds.to_string());
        let done = soak.round(rounds, &out);
        if done.is_ok() && !stop.load(Ordering::Relaxed) {
            let found = soak.verdicts(&out)?;
            soak.compare(rounds, &wanted, &found);
            soak.nothing_left(&out);
            // The tmpfs is small.
            std::fs::remove_dir_all(&out)?;
        }
        if done.is_err() || stop.load(Ordering::Relaxed) {
            soak.unmount(&rounds_folder);
            done?;
            return Ok(Exit::Interrupted);
        }
    }
    let minutes = soak.started.elapsed().as_secs_f64() / 60.0;
    soak.unmount(&rounds_folder);
    let text = soak.told(rounds, minutes, &wanted);
    std::fs::write(soak.folder.join("soak.txt"), &text)?;
    say!("{text}{}\n", soak.folder.display());
    Ok(match soak.wrong.is_empty() {
        true => Exit::Fine,
        false => Exit::Found,
    })
}

impl Soak<'_> {
    fn spawn(&self, words: &[&str]) -> Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("vm-matrix.log"))?;
        let program = std::env::current_exe().context("this program")?;
        Command::new(program)
            .arg("vm-matrix")
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting vm-matrix")
    }

    fn begin(&self, out: &Path) -> Result<Child> {
        let mut words: Vec<&str> = self.args.matrix.iter().map(String::as_str).collect();
        let out = out.to_string_lossy();
        words.extend(["--out", &out]);
        self.spawn(&words)
    }

    fn begin_or_resume(&self, out: &Path) -> Result<Child> {
        if out.join(harness::report::MANIFEST).exists() {
            return self.spawn(&["--resume", &out.to_string_lossy()]);
        }
        // It was killed before it had written anything.
        let _ = std::fs::remove_dir_all(out);
        self.begin(out)
    }

    /// One campaign, disturbed until it is complete.
    fn round(&mut self, round: u64, out: &Path) -> Result<()> {
        let stop = interrupt::stop_flag();
        let mut child = self.begin_or_resume(out)?;
        self.peaks.push(0);
        let mut at = self.next_moment();
        let mut idle = 0;
        loop {
            std::thread::sleep(Duration::from_millis(50));
            self.look(round, &child)?;
            if stop.load(Ordering::Relaxed) {
                child.kill()?;
                child.wait()?;
                return Ok(());
            }
            if child.try_wait()?.is_some() {
                if through(out).is_ok_and(Through::is_complete) {
                    return Ok(());
                }
                idle += 1;
                if idle > 50 {
                    anyhow::bail!(
                        "{}: 50 runs in a row, and it is not complete",
                        out.display()
                    );
                }
                child = self.begin_or_resume(out)?;
                self.peaks.push(0);
                continue;
            }
            if Instant::now() < at {
                continue;
            }
            at = self.next_moment();
            idle = 0;
            if self.started.elapsed().as_secs_f64() < self.args.minutes * 60.0 {
                self.inject(round, out, &mut child)?;
            }
        }
    }

    fn next_moment(&mut self) -> Instant {
        let mean = (self.args.every.max(0.1) * 1000.0) as u64;
        Instant::now() + Duration::from_millis(mean / 4 + self.random.u64(..mean * 3 / 2))
    }

    fn inject(&mut self, round: u64, out: &Path, child: &mut Child) -> Result<()> {
        let chosen = self.random.usize(..Fault::ALL.len());
        let (mut fault, mut name) = Fault::ALL[chosen];
        if fault == Fault::FullDisk && !self.mounted {
            (fault, name) = Fault::ALL[0];
        }
        let host = Pid::from_raw(child.id() as i32);
        let qemus = children(child.id(), "qemu-system");
        let victim = (!qemus.is_empty())
            .then(|| qemus[self.random.usize(..qemus.len())])
            .map(|pid| Pid::from_raw(pid as i32));
        let pause = Duration::from_millis(50 + self.random.u64(..STOPPED_MS));
        let mut pid = host;
        let mut detail = String::new();
        match fault {
            Fault::KillQemu | Fault::StopQemu => {
                let Some(victim) = victim else {
                    return Ok(());
                };
                pid = victim;
                if fault == Fault::KillQemu {
                    // Errors mean that it is gone already.
                    let _ = kill(victim, Signal::SIGKILL);
                } else {
                    detail = format!("{} ms", pause.as_millis());
                    let _ = kill(victim, Signal::SIGSTOP);
                    std::thread::sleep(pause);
                    let _ = kill(victim, Signal::SIGCONT);
                }
            }
            Fault::KillHost | Fault::TearLine => {
                let _ = kill(host, Signal::SIGKILL);
                child.wait()?;
                self.gone(&qemus);
                if fault == Fault::TearLine {
                    let path = out.join("results.jsonl");
                    let mut file = File::options().append(true).open(path);
                    if let Ok(file) = &mut file {
                        let bytes = 1 + self.random.u64(..200);
                        detail = format!("{bytes} bytes");
                        file.write_all(&vec![b'{'; bytes as usize])?;
                    }
                }
            }
            Fault::InterruptHost => {
                let _ = kill(host, Signal::SIGINT);
            }
            Fault::StopHost => {
                detail = format!("{} ms", pause.as_millis());
                let _ = kill(host, Signal::SIGSTOP);
                std::thread::sleep(pause);
                let _ = kill(host, Signal::SIGCONT);
            }
            Fault::FullDisk => {
                let ballast = out.with_file_name("ballast");
                fill(&ballast);
                let until = Instant::now() + Duration::from_secs(8);
                while Instant::now() < until && child.try_wait()?.is_none() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                detail = format!("ended: {}", child.try_wait()?.is_some());
                std::fs::remove_file(&ballast)?;
            }
        }
        *self.counts.entry(fault).or_default() += 1;
        let seconds = self.started.elapsed().as_secs_f64();
        writeln!(self.log, "{seconds:.1},{round},{name},{pid},{detail}")?;
        Ok(())
    }

    /// Notes memory and VMs of the host process.
    fn look(&mut self, round: u64, child: &Child) -> Result<()> {
        self.qemus.extend(children(child.id(), "qemu-system"));
        let rss = rss_kib(child.id());
        let peak = self.peaks.last_mut().context("a process")?;
        if rss > *peak + 1024 {
            *peak = rss;
            let seconds = self.started.elapsed().as_secs_f64();
            writeln!(self.memory, "{seconds:.1},{round},{},{rss}", child.id())?;
        }
        Ok(())
    }

    /// Sees to it that VMs go with their host process.
    fn gone(&mut self, qemus: &[u32]) {
        let since = Instant::now();
        while qemus.iter().any(|&pid| is_qemu(pid)) {
            if since.elapsed() > PATIENCE {
                self.wrong
                    .push(format!("QEMU outlives its host process: {qemus:?}"));
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn verdicts(&mut self, folder: &Path) -> Result<Verdicts> {
        let mut found = Verdicts::new();
        let mut twice = Vec::new();
        read_blocks(folder, &mut |item, result| {
            if found.insert(item.clone(), result.verdicts()).is_some() {
                twice.push(format!("{item:?} has two records"));
            }
        })?;
        self.wrong.extend(twice);
        Ok(found)
    }

    /// Compares the records of a round with those of the undisturbed run.
    fn compare(&mut self, round: u64, wanted: &Verdicts, found: &Verdicts) {
        if wanted.keys().ne(found.keys()) {
            let text = format!(
                "round {round}: {} records, {} planned",
                found.len(),
                wanted.len()
            );
            self.wrong.push(text);
        }
        for (key, one) in wanted {
            let Some(other) = found.get(key).filter(|other| *other != one) else {
                continue;
            };
            self.wrong
                .push(format!("round {round}: {key:?}: {}", parting(one, other)));
        }
    }

    /// Sees to it that a round has left no temporary file behind.
    fn nothing_left(&mut self, out: &Path) {
        for folder in [out.to_path_buf(), out.join("divergences")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(".tmp") {
                    self.wrong
                        .push(format!("left behind: {}", entry.path().display()));
                }
            }
        }
    }

    /// Puts a small file system where results go, if we may.
    fn mount(&mut self, folder: &Path) {
        let size = format!("size={ROOM_MIB}m,mode=700");
        let flags = nix::mount::MsFlags::empty();
        let kind = Some("tmpfs");
        let mounted = nix::mount::mount(kind, folder, kind, flags, Some(size.as_str()));
        if let Err(error) = &mounted {
            eprintln!(
                "no file system of our own to fill ({error}): kill-qemu stands in for full-disk"
            );
        }
        self.mounted = mounted.is_ok();
    }

    fn unmount(&mut self, folder: &Path) {
        if self.mounted {
            if let Err(error) = nix::mount::umount(folder) {
                self.wrong.push(format!("{}: {error}", folder.display()));
            }
        }
        let left: Vec<u32> = self
            .qemus
            .iter()
            .copied()
            .filter(|&pid| is_qemu(pid))
            .collect();
        self.gone(&left);
    }

    fn told(&self, rounds: u64, minutes: f64, wanted: &Verdicts) -> String {
        let faults: u64 = self.counts.values().sum();
        let programs: u64 = wanted.values().map(|block| block.tally.programs).sum();
        let mut text = format!(
            "{rounds} campaigns of {} blocks, {programs} programs each; {minutes:.1} minutes, {faults} faults, {:.0} an hour\n",
            wanted.len(),
            faults as f64 * 60.0 / minutes.max(0.01)
        );
        for (fault, name) in Fault::ALL {
            text += &format!("  {name}: {}\n", self.counts.get(&fault).unwrap_or(&0));
        }
        // Processes that were killed at once have not come to their size.
        let lived: Vec<u64> = self
            .peaks
            .iter()
            .copied()
            .filter(|&kib| kib > 8 << 10)
            .collect();
        let half = lived.len() / 2;
        let most = |peaks: &[u64]| peaks.iter().max().copied().unwrap_or(0) >> 10;
        text += &format!(
            "{} host processes; largest resident set {} MiB in the first half, {} MiB in the second\n{} QEMU processes, those that only told their version among them\n",
            self.peaks.len(),
            most(&lived[..half]),
            most(&lived[half..]),
            self.qemus.len()
        );
        if self.wrong.is_empty() {
            return text
                + "every block has one record, verdicts are those of the undisturbed run, nothing is left behind\n";
        }
        for wrong in &self.wrong {
            text += &format!("WRONG: {wrong}\n");
        }
        text
    }
}

/// In what two records of a block differ, in a few words.
fn parting(one: &BlockResult, other: &BlockResult) -> String {
    let mut text = String::new();
    if one.tally != other.tally {
        text += &format!("counts: {:?} and {:?}; ", one.tally, other.tally);
    }
    if one.buckets != other.buckets {
        let names = |block: &BlockResult| {
            block
                .buckets
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        text += &format!("buckets: {:?} and {:?}; ", names(one), names(other));
    }
    let pairs = one.observed.iter().zip(&other.observed).enumerate();
    let differ: Vec<usize> = pairs.filter(|(_, (a, b))| a != b).map(|(n, _)| n).collect();
    if !differ.is_empty() {
        text += &format!("other observations in programs {differ:?}; ");
    }
    if one.changes != other.changes {
        text += "other differences from the kernel before; ";
    }
    if !other.errors.is_empty() {
        text += &format!("errors: {:?}", other.errors);
    }
    text
}

/// Fills the file system that `path` is on.
fn fill(path: &Path) {
    let Ok(mut file) = File::create(path) else {
        return;
    };
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![0; size]).is_err() {
            size /= 2;
        }
    }
}

/// Processes below another whose name begins so.
fn children(parent: u32, name: &str) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let mut found = Vec::new();
    for task in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter(|&pid: &u32| comm(pid).starts_with(name)));
    }
    found.sort_unstable();
    found
}

fn comm(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// Whether a process is a QEMU that has not ended.
fn is_qemu(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("Z", |(_, rest)| rest);
    comm(pid).starts_with("qemu-system") && !rest.starts_with('Z')
}

/// Resident set of a process.
fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}
