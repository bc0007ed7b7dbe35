//! PID 1 once the machine is set up: makes workers, reaps whatever dies, and watches that every op returns. It runs no
//! program itself, and nothing that it does can fault.

use crate::actor::tell_host;
use crate::bar::Bar;
use crate::boot;
use crate::control::State;
use crate::sys;
use crate::worker::{self, send, Setup};
use std::sync::atomic::Ordering::Relaxed;
use wire::layout::{self, Phase, Progress};
use wire::{End, Response};

/// How often the watchdog looks and the heart beats, milliseconds.
const TICK_MS: u64 = 50;
/// Bytes of a stuck task's stack that are reported.
const STACK: usize = 4000;

struct Supervisor {
    setup: Setup,
    bar: Bar,
    worker: i32,
    /// What the watchdog saw last, and when it began to see it (nanoseconds).
    moves: u64,
    since: u64,
    beats: u64,
    /// Workers in a row that died without having played anything.
    stillborn: u32,
}

/// Never returns: the machine goes off when the host says so.
pub fn run(setup: Setup, bar: Bar) -> ! {
    let mut supervisor = Supervisor {
        setup,
        bar,
        worker: 0,
        moves: 0,
        since: sys::now(),
        beats: 0,
        stillborn: 0,
    };
    block_child_signals();
    supervisor.make_worker();
    loop {
        wait_for_child_signal(TICK_MS);
        supervisor.beats += 1;
        supervisor.bar.set(layout::HEARTBEAT, supervisor.beats);
        supervisor.reap();
        supervisor.watch();
    }
}

fn child_signals() -> libc::sigset_t {
    // SAFETY: fills in a set of our own.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        set
    }
}

fn block_child_signals() {
    // SAFETY: our own set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &child_signals(), std::ptr::null_mut()) };
}

fn wait_for_child_signal(ms: u64) {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: (ms * 1_000_000) as i64,
    };
    // SAFETY: our own set and time; the details are not asked for.
    unsafe { libc::sigtimedwait(&child_signals(), std::ptr::null_mut(), &time) };
}

impl Supervisor {
    fn make_worker(&mut self) {
        let control = self.setup.control;
        control.reset();
        control.set_progress(Progress::IDLE);
        control.pids[0].store(0, Relaxed);
        // SAFETY: one thread; the child goes on with a copy.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: no memory involved.
                control.pids[0].store(unsafe { libc::getpid() }, Relaxed);
                worker::run(self.setup)
            }
            -1 => self.give_up(&format!("fork: {}", std::io::Error::last_os_error())),
            pid => {
                control.pids[0].store(pid, Relaxed);
                self.worker = pid;
            }
        }
    }

    /// Tells the host that this machine is of no more use, and switches it off.
    fn give_up(&self, why: &str) -> ! {
        boot::say(&format!("error: {why}"));
        let message = wire::encode(&Response::Error(why.to_owned())).unwrap_or_default();
        send(&self.bar, self.setup.control, &message);
        boot::power_off()
    }

    /// Collects the dead and does what their death means.
    fn reap(&mut self) {
        let control = self.setup.control;
        let mut died = None;
        let mut worker_gone = false;
        while let Some((pid, status)) = wait_any() {
            worker_gone |= pid == self.worker;
            let of_an_actor = |&actor: &u8| control.pids[usize::from(actor)].load(Relaxed) == pid;
            if control.living().any(|actor| of_an_actor(&actor)) {
                died = Some(status);
            }
        }
        match control.state() {
            State::PowerOff => boot::power_off(),
            State::Replace if worker_gone => self.make_worker(),
            State::Replace => {}
            State::Finish => self.finish(End::Done),
            State::Failed => {
                let step = control.step.load(Relaxed);
                let why = control.text();
                self.finish(End::Failed { step, why });
            }
            State::Running => {
                if let Some(status) = died {
                    let step = control.step.load(Relaxed);
                    self.finish(End::Died { step, status });
                }
            }
        }
    }

    /// Hangs are found by standing still: the actors say each move they make.
    fn watch(&mut self) {
        let control = self.setup.control;
        let progress = control.progress();
        let moves = control.moves.load(Relaxed);
        let now = sys::now();
        if moves != self.moves || matches!(progress.phase, Phase::Idle | Phase::Full) {
            self.moves = moves;
            self.since = now;
            return;
        }
        let limit = u64::from(control.op_limit_ms.load(Relaxed)) * 1_000_000;
        if now - self.since < limit {
            return;
        }
        let pid = control.pids[usize::from(progress.actor) % control.pids.len()].load(Relaxed);
        let stack = stack_of(pid);
        self.finish(End::Hang {
            step: progress.step,
            stack,
        });
    }

    /// Ends the program that runs, whatever is left of it, reports it and goes on with the next one.
    fn finish(&mut self, end: End) {
        let control = self.setup.control;
        let idle = control.is_idle();
        let mut left: Vec<i32> = control
            .living()
            .map(|actor| control.pids[usize::from(actor)].load(Relaxed))
            .collect();
        left.push(self.worker);
        control.alive.store(0, Relaxed);
        for &pid in &left {
            if pid > 0 {
                sys::kill(pid);
            }
        }
        let stuck = !reap_all(10 * u64::from(control.op_limit_ms.load(Relaxed)).max(1000));
        if idle {
            let why = match end {
                End::Failed { why, .. } => why,
                other => format!("a worker ended between two programs: {other:?}"),
            };
            self.give_up(&why);
        }
        if control.steps_done.load(Relaxed) == 0 {
            self.stillborn += 1;
        } else {
            self.stillborn = 0;
        }
        if control.judged.load(Relaxed) != 0 || end != End::Done {
            let id = control.program_id.load(Relaxed);
            // SAFETY: no actor is left, or it is stuck for good.
            send(&self.bar, control, unsafe { control.execution(id, end) });
        }
        if stuck {
            self.give_up("a process cannot be killed");
        }
        control.program.store(control.program.load(Relaxed) + 1, Relaxed);
        tell_host(&self.bar, Progress::IDLE);
        self.make_worker();
        self.moves = control.moves.load(Relaxed);
        self.since = sys::now();
    }
}

/// A child that has ended, if there is one: pid and wait status.
fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is ours.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// Waits until no child is left; false when some would not die in `ms` milliseconds.
fn reap_all(ms: u64) -> bool {
    let end = sys::now() + ms * 1_000_000;
    loop {
        let mut status = 0;
        // SAFETY: `status` is ours.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            -1 => return true,
            0 if sys::now() > end => return false,
            0 => wait_for_child_signal(5),
            _ => {}
        }
    }
}

/// What /proc tells about where a task is stuck.
fn stack_of(pid: i32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let mut text = format!(
        "wchan {}\nsyscall {}\n{}",
        read("wchan").trim(),
        read("syscall").trim(),
        read("stack").trim_end()
    );
    let mut len = text.len().min(STACK);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.truncate(len);
    text
}
