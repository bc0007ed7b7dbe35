//! `cargo xtask soak`: a campaign to which everything happens, and whose results must not show it.
//!
//! | file | subject |
//! | --- | --- |
//! | `guest` | garbage and floods, as from a guest that has gone mad |
//! | `group` | a control group, to take memory away |
//! | `proof` | what must hold afterwards |

mod group;
mod guest;
mod proof;

use crate::exit::{say, Exit, UsageError};
use crate::folders::Held;
use crate::interrupt;
use crate::process::{self, children, is_qemu, rss_kib, users_of};
use anyhow::{Context, Result};
use clap::Args;
use group::Group;
use harness::report::{through, Through};
use nix::mount::{mount, umount, MsFlags};
use nix::sched::{unshare, CloneFlags};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use proof::{
    all_in, differences, left_behind, unfinished_in, varying, verdicts, Varying, Verdicts,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vm_images::files::private_file;

/// Longest that a VM or the host process is stopped: a guest that stands still for ten seconds counts as hung.
const STOPPED_MS: u64 = 1500;

/// Size of the file system that is filled, MiB.
const ROOM_MIB: u64 = 256;

/// MiB by which host processes may be larger in the second half of the time than in the first, besides a quarter: they are cut short
/// at random.
const GROWTH_MIB: u64 = 16;

/// Faults an hour that a soak must have come to, when it is asked for one in ten seconds or more.
const HOURLY: f64 = 200.0;

/// Undisturbed campaigns on top of the first, at most, that show which programs vary.
const PEACEFUL: usize = 6;

/// How long a process may take to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a campaign twice: once in peace, and again and again, for so many minutes, while a seeded injector of faults works on it.
///
/// Faults: QEMU is killed, stopped and continued; guests panic (by sysrq), write garbage into the memory that they share with the
/// host, and flood their console; the host process is killed, interrupted, stopped and continued, and resumed; half a line is left
/// at the end of its results; the file system of its results (a tmpfs, when we may mount one) is full until it ends; the processes get
/// no more memory (a control group, when we may make one) until the kernel kills one of them. Which of them are missing is told, and
/// what had no effect is not counted. On the model (--simulated) there are no guests: the rest happens.
/// At the end: every planned block of programs has exactly one record, verdicts and observations are those of the undisturbed run (but for
/// the programs that ran when a guest was made to panic, which are crashes, and the observations of those that do not always do the same
/// in further undisturbed runs either), no process, socket or temporary file is left, and the host
/// processes have not grown. faults.csv, memory.csv and soak.txt stay in a folder.
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
    Panic,
    Garbage,
    Flood,
    KillHost,
    TearLine,
    InterruptHost,
    StopHost,
    FullDisk,
    NoMemory,
}

impl Fault {
    const ALL: [(Fault, &'static str); 11] = [
        (Fault::KillQemu, "kill-qemu"),
        (Fault::StopQemu, "stop-qemu"),
        (Fault::Panic, "panic-guest"),
        (Fault::Garbage, "garbage-from-guest"),
        (Fault::Flood, "flood-from-guest"),
        (Fault::KillHost, "kill-host"),
        (Fault::TearLine, "kill-host-and-tear-line"),
        (Fault::InterruptHost, "interrupt-host"),
        (Fault::StopHost, "stop-host"),
        (Fault::FullDisk, "full-disk"),
        (Fault::NoMemory, "no-memory"),
    ];
}

/// The injector.
struct Soak<'a> {
    args: &'a SoakArgs,
    folder: PathBuf,
    random: fastrand::Rng,
    started: Instant,
    /// When the next fault is due, in whichever campaign: one that is over in a moment is no excuse.
    next: Instant,
    log: File,
    memory: File,
    counts: BTreeMap<Fault, u64>,
    /// Every QEMU that was seen.
    qemus: BTreeSet<u32>,
    /// Largest resident set of each host process, KiB, in order.
    peaks: Vec<u64>,
    /// A tmpfs holds the results; a control group the processes. What is missing, and why.
    mounted: bool,
    group: Option<Group>,
    missing: Vec<String>,
    /// Panics that guests were asked for, and those that a program was blamed for.
    panics: u64,
    ascribed: u64,
    /// Programs that were observed to do something else, in peace as well.
    varied: usize,
    wrong: Vec<String>,
}

/// Carries out `soak`.
pub fn run(args: &SoakArgs, workspace: &Path) -> Result<Exit> {
    for word in &args.matrix {
        let taken = ["--out", "--resume", "--minutes", "--shard"];
        if taken.iter().any(|option| word.starts_with(option)) {
            return Err(UsageError(format!("soak sets {word} itself: leave it out")).into());
        }
    }
    let stop = interrupt::stop_flag();
    let folder = Held::run(workspace, args.out.as_deref())?;
    let make = |name: &str| private_file(&folder.join(name)).context(name.to_string());
    let mut soak = Soak {
        args,
        random: fastrand::Rng::with_seed(args.faults_seed),
        started: Instant::now(),
        next: Instant::now(),
        log: make("faults.csv")?,
        memory: make("memory.csv")?,
        folder: folder.canonicalize()?,
        counts: BTreeMap::new(),
        qemus: BTreeSet::new(),
        peaks: Vec::new(),
        mounted: false,
        group: None,
        missing: Vec::new(),
        panics: 0,
        ascribed: 0,
        varied: 0,
        wrong: Vec::new(),
    };
    let temporary = soak.temporary();
    std::fs::create_dir(&temporary).with_context(|| temporary.display().to_string())?;
    writeln!(soak.log, "seconds,round,fault,pid,detail")?;
    writeln!(soak.memory, "seconds,round,pid,rss_kib")?;
    let peace = soak.folder.join("undisturbed");
    let code = soak.begin(&peace, false)?.wait()?.code();
    if !matches!(code, Some(0 | 1)) {
        anyhow::bail!(
            "the undisturbed run ended with {code:?}: see {}",
            peace.display()
        );
    }
    let wanted = verdicts(&peace, &mut soak.wrong)?;
    let cache = vm_images::store::default_cache()?;
    let unfinished = unfinished_in(&cache);
    soak.started = Instant::now();
    soak.next = soak.next_moment();
    let rounds_folder = soak.folder.join("disturbed");
    std::fs::create_dir_all(&rounds_folder)?;
    soak.mount(&rounds_folder);
    match Group::create() {
        Ok(group) => soak.group = Some(group),
        Err(error) => soak
            .missing
            .push(format!("no-memory: no control group: {error}")),
    }
    let mut rounds = 0;
    let mut came_to = Vec::new();
    while rounds == 0 || soak.started.elapsed().as_secs_f64() < args.minutes * 60.0 {
        rounds += 1;
        let panics = soak.panics;
        let out = rounds_folder.join(rounds.to_string());
        let done = soak.round(rounds, &out);
        if done.is_ok() && !stop.load(Ordering::Relaxed) {
            came_to.push((soak.panics - panics, verdicts(&out, &mut soak.wrong)?));
            let left = unfinished_in(&out).into_iter().map(left_behind);
            soak.wrong
                .extend(left.map(|what| format!("round {rounds}: {what}")));
            // The tmpfs is small.
            std::fs::remove_dir_all(&out)?;
        }
        if done.is_err() || stop.load(Ordering::Relaxed) {
            soak.end(&rounds_folder);
            done?;
            return Ok(Exit::Interrupted);
        }
    }
    let minutes = soak.started.elapsed().as_secs_f64() / 60.0;
    soak.end(&rounds_folder);
    soak.compare(&wanted, &came_to)?;
    let mut new = unfinished_in(&cache);
    if new.difference(&unfinished).next().is_some() {
        // Of another command, perhaps, which goes on.
        std::thread::sleep(PATIENCE);
        new.retain(|path| path.exists());
    }
    let new = new.difference(&unfinished).cloned();
    let left = new.chain(all_in(&temporary));
    let left = left.chain(Some(soak.trigger()).filter(|trigger| trigger.exists()));
    soak.wrong.extend(left.map(left_behind));
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
        let child = process::own()?
            .arg("vm-matrix")
            .args(words)
            .env("TMPDIR", self.temporary())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting vm-matrix")?;
        if let Some(group) = &self.group {
            // Unless it is gone already.
            let _ = group.take_in(child.id());
        }
        Ok(child)
    }

    /// Holds what the disturbed campaigns came to, with the panics that there were in each, against the undisturbed one. Where they were
    /// observed to do something else, it is found out whether that happens in peace, too: undisturbed campaigns are run until all such
    /// programs have been seen to vary, [`PEACEFUL`] times at most.
    fn compare(&mut self, wanted: &Verdicts, came_to: &[(u64, Verdicts)]) -> Result<()> {
        let parted: Varying = came_to
            .iter()
            .flat_map(|(_, found)| varying(wanted, found))
            .collect();
        let mut vary = Varying::new();
        for n in 1..=PEACEFUL {
            if parted.is_subset(&vary) {
                break;
            }
            let peace = self.folder.join(format!("undisturbed-again-{n}"));
            let code = self.begin(&peace, false)?.wait()?.code();
            if !matches!(code, Some(0 | 1)) {
                anyhow::bail!("{} ended with {code:?}", peace.display());
            }
            vary.extend(varying(wanted, &verdicts(&peace, &mut self.wrong)?));
            std::fs::remove_dir_all(&peace)?;
        }
        self.varied = parted.intersection(&vary).count();
        for (round, (panics, found)) in (1..).zip(came_to) {
            let (wrong, ascribed) = differences(wanted, found, *panics, &vary);
            self.ascribed += ascribed;
            let wrong = wrong.into_iter();
            self.wrong
                .extend(wrong.map(|what| format!("round {round}: {what}")));
        }
        Ok(())
    }

    /// Begins a campaign, with guests that can be made to panic or without.
    fn begin(&self, out: &Path, panics: bool) -> Result<Child> {
        let mut words: Vec<&str> = self.args.matrix.iter().map(String::as_str).collect();
        let (out, trigger) = (out.to_string_lossy(), self.trigger());
        let trigger = trigger.to_string_lossy();
        words.extend(["--out", &out]);
        if panics {
            words.extend(["--panic-when", &trigger]);
        }
        self.spawn(&words)
    }

    /// Where campaigns have their temporary files, of which nothing may be left.
    fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// The file that makes a guest panic.
    fn trigger(&self) -> PathBuf {
        self.folder.join("panic")
    }

    fn begin_or_resume(&self, out: &Path) -> Result<Child> {
        if out.join(harness::report::MANIFEST).exists() {
            return self.spawn(&["--resume", &out.to_string_lossy()]);
        }
        // It was killed before it had written anything.
        let _ = std::fs::remove_dir_all(out);
        self.begin(out, true)
    }

    /// One campaign, disturbed until it is complete.
    fn round(&mut self, round: u64, out: &Path) -> Result<()> {
        let stop = interrupt::stop_flag();
        let mut child = self.begin_or_resume(out)?;
        self.peaks.push(0);
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
            if Instant::now() < self.next {
                continue;
            }
            self.next = self.next_moment();
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

    /// Does something to the campaign, and counts it when it has come to something.
    fn inject(&mut self, round: u64, out: &Path, child: &mut Child) -> Result<()> {
        let possible = |fault: Fault| match fault {
            Fault::FullDisk => self.mounted,
            Fault::NoMemory => self.group.is_some(),
            Fault::KillQemu | Fault::StopQemu | Fault::Garbage | Fault::Flood | Fault::Panic => {
                !self.is_model()
            }
            _ => true,
        };
        let all = Fault::ALL.into_iter();
        let here: Vec<_> = all.filter(|(fault, _)| possible(*fault)).collect();
        let (fault, name) = here[self.random.usize(..here.len())];
        let qemus = children(child.id(), "qemu-system");
        let victim = (!qemus.is_empty()).then(|| qemus[self.random.usize(..qemus.len())]);
        let seconds = self.started.elapsed().as_secs_f64();
        let (pid, done) = match (fault, victim) {
            (Fault::KillQemu | Fault::StopQemu | Fault::Garbage | Fault::Flood, None) => {
                return Ok(())
            }
            (Fault::KillQemu | Fault::StopQemu | Fault::Garbage | Fault::Flood, Some(qemu)) => {
                (qemu, self.hurt_qemu(fault, qemu))
            }
            _ => (child.id(), self.hurt_host(fault, out, child, &qemus)?),
        };
        match done {
            Ok(detail) => {
                *self.counts.entry(fault).or_default() += 1;
                writeln!(self.log, "{seconds:.1},{round},{name},{pid},{detail}")?;
            }
            // Most often the victim was gone.
            Err(why) => writeln!(
                self.log,
                "{seconds:.1},{round},{name},{pid},without effect: {why}"
            )?,
        }
        Ok(())
    }

    /// What is done to a QEMU: in words, or why it had no effect.
    fn hurt_qemu(&mut self, fault: Fault, qemu: u32) -> std::result::Result<String, String> {
        let victim = Pid::from_raw(qemu as i32);
        let done = match fault {
            Fault::KillQemu => kill(victim, Signal::SIGKILL)
                .map(|()| String::new())
                .map_err(|e| e.to_string()),
            Fault::StopQemu => stop_for(victim, self.pause()),
            Fault::Garbage => guest::garbage(qemu, &mut self.random).map_err(|e| e.to_string()),
            _ => guest::flood(qemu)
                .map(|bytes| format!("{bytes} bytes"))
                .map_err(|e| e.to_string()),
        }?;
        // A host that has had enough ends the machine.
        let since = Instant::now();
        while fault == Fault::Flood && is_qemu(qemu) {
            if since.elapsed() > PATIENCE {
                return Err(format!("{done}, and it goes on"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(done)
    }

    /// What is done to the host process, or to its guests by it: in words, or why it had no effect.
    fn hurt_host(
        &mut self,
        fault: Fault,
        out: &Path,
        child: &mut Child,
        qemus: &[u32],
    ) -> Result<std::result::Result<String, String>> {
        let host = Pid::from_raw(child.id() as i32);
        Ok(match fault {
            Fault::Panic => {
                let trigger = self.trigger();
                File::create(&trigger)?;
                let until = Instant::now() + Duration::from_secs(3);
                while trigger.exists() && Instant::now() < until && child.try_wait()?.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                if std::fs::remove_file(&trigger).is_ok() {
                    return Ok(Err("no guest had a program to run".into()));
                }
                self.panics += 1;
                Ok(String::new())
            }
            Fault::NoMemory => {
                let Some(group) = &self.group else {
                    return Ok(Err("no control group".into()));
                };
                let bytes = match group.close() {
                    Ok(bytes) => bytes,
                    Err(error) => return Ok(Err(error.to_string())),
                };
                let now = || children(host.as_raw() as u32, "qemu-system").len();
                let until = Instant::now() + Duration::from_secs(4);
                let mut killed = false;
                while !killed && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(20));
                    killed = child.try_wait()?.is_some() || now() < qemus.len();
                }
                group.open()?;
                let text = format!("{} MiB", bytes >> 20);
                match killed {
                    true => Ok(text),
                    false => Err(format!("{text} were enough")),
                }
            }
            Fault::KillHost | Fault::TearLine => {
                let _ = kill(host, Signal::SIGKILL);
                let ended = child.wait()?;
                self.gone(qemus);
                if ended.signal() != Some(Signal::SIGKILL as i32) {
                    return Ok(Err(format!("it had ended: {ended}")));
                }
                if fault == Fault::KillHost {
                    return Ok(Ok(String::new()));
                }
                let path = out.join("results.jsonl");
                let bytes = 1 + self.random.usize(..200);
                let torn = File::options().append(true).open(path);
                match torn.and_then(|mut file| file.write_all(&vec![b'{'; bytes])) {
                    Ok(()) => Ok(format!("{bytes} bytes")),
                    Err(error) => Err(error.to_string()),
                }
            }
            Fault::InterruptHost => {
                let _ = kill(host, Signal::SIGINT);
                let since = Instant::now();
                while child.try_wait()?.is_none() && since.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(20));
                }
                match child.try_wait()? {
                    Some(_) => Ok(String::new()),
                    None => Err(format!("it goes on for {PATIENCE:?}")),
                }
            }
            Fault::StopHost => stop_for(host, self.pause()),
            Fault::FullDisk => {
                let ballast = out.with_file_name("ballast");
                fill(&ballast);
                let until = Instant::now() + Duration::from_secs(8);
                while Instant::now() < until && child.try_wait()?.is_none() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                std::fs::remove_file(&ballast)?;
                match child.try_wait()? {
                    Some(ended) => Ok(ended.to_string()),
                    None => Err("it had nothing to write".into()),
                }
            }
            Fault::KillQemu | Fault::StopQemu | Fault::Garbage | Fault::Flood => {
                unreachable!("done to QEMU")
            }
        })
    }

    /// Whether the campaign runs on the model, where there is no QEMU.
    fn is_model(&self) -> bool {
        let words = &self.args.matrix;
        words.iter().any(|word| word.starts_with("--simulated"))
    }

    /// How long something is stopped.
    fn pause(&mut self) -> Duration {
        Duration::from_millis(50 + self.random.u64(..STOPPED_MS))
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

    /// Puts a small file system where results go, if we may. Only this process and those that it starts see it: it goes with them, even
    /// when they are killed.
    fn mount(&mut self, folder: &Path) {
        let mounted = small_file_system(folder);
        if let Err(error) = &mounted {
            self.missing
                .push(format!("full-disk: no file system of our own: {error}"));
        }
        self.mounted = mounted.is_ok();
    }

    /// Sees to it that nothing is left, and takes away what was set up.
    fn end(&mut self, folder: &Path) {
        let all = self.qemus.iter().copied();
        let left: Vec<u32> = all.filter(|&pid| is_qemu(pid)).collect();
        self.gone(&left);
        let left = users_of(&self.folder).into_iter();
        self.wrong
            .extend(left.map(|what| format!("left behind: {what}")));
        self.group = None;
        if self.mounted {
            if let Err(error) = umount(folder) {
                self.wrong.push(format!("{}: {error}", folder.display()));
            }
        }
    }

    fn told(&mut self, rounds: u64, minutes: f64, wanted: &Verdicts) -> String {
        let faults: u64 = self.counts.values().sum();
        let programs: u64 = wanted.values().map(|block| block.tally.programs).sum();
        // The last campaign is brought to its end in peace.
        let hourly = faults as f64 * 60.0 / minutes.min(self.args.minutes).max(0.01);
        let mut text = format!(
            "{rounds} campaigns of {} blocks, {programs} programs each; {minutes:.1} minutes, {faults} faults, {hourly:.0} an hour while they were injected\n",
            wanted.len(),
        );
        if hourly < HOURLY && self.args.every <= 10.0 {
            let text = format!("{hourly:.0} faults an hour are fewer than {HOURLY}");
            self.wrong.push(text);
        }
        for (fault, name) in Fault::ALL {
            text += &format!("  {name}: {}\n", self.counts.get(&fault).unwrap_or(&0));
        }
        for missing in &self.missing {
            text += &format!("  missing: {missing}\n");
        }
        text += &format!(
            "{} programs were blamed for {} panics\n",
            self.ascribed, self.panics
        );
        if self.varied > 0 {
            text += &format!(
                "{} programs did something else now and then, as they do in peace; all came to the same verdict\n",
                self.varied
            );
        }
        // Processes that were killed at once have not come to their size.
        let lived = self.peaks.iter().copied().filter(|&kib| kib > 8 << 10);
        let lived: Vec<u64> = lived.collect();
        let (first, second) = lived.split_at(lived.len() / 2);
        let most = |peaks: &[u64]| peaks.iter().max().copied().unwrap_or(0) >> 10;
        let (first, second) = (most(first), most(second));
        text += &format!(
            "{} host processes; largest resident set {first} MiB in the first half, {second} MiB in the second\n{} QEMU processes, those that only told their version among them\n",
            self.peaks.len(),
            self.qemus.len()
        );
        if first > 0 && second > first + first / 4 + GROWTH_MIB {
            self.wrong.push(format!(
                "host processes grow: {first} MiB, then {second} MiB"
            ));
        }
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

/// Stops a process and lets it go on; how long it stood still, in words, or that it is gone.
fn stop_for(process: Pid, pause: Duration) -> std::result::Result<String, String> {
    kill(process, Signal::SIGSTOP).map_err(|e| e.to_string())?;
    std::thread::sleep(pause);
    kill(process, Signal::SIGCONT).map_err(|e| e.to_string())?;
    Ok(format!("{} ms", pause.as_millis()))
}

/// Mounts a tmpfs of [`ROOM_MIB`] in a mount namespace that this thread, and what it starts, has from now on.
fn small_file_system(folder: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    let apart = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, apart, nothing)?;
    let size = format!("size={ROOM_MIB}m,mode=700");
    let kind = Some("tmpfs");
    mount(kind, folder, kind, MsFlags::empty(), Some(size.as_str()))
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
