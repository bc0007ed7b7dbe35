//! PID 1 once the machine is set up: makes workers, reaps whatever dies, and watches that every op returns. It runs no
//! program itself, and nothing that it does can fault.

use crate::actor::tell_host;
use crate::bar::Bar;
use crate::boot;
use crate::control::{Control, State};
use crate::sys;
use crate::worker::{self, send, send_complaints, send_tally, Setup};
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
    supervisor.make_worker();
    loop {
        setup.control.await_bell(TICK_MS * 1000);
        supervisor.beats += 1;
        supervisor.bar.set(layout::HEARTBEAT, supervisor.beats);
        supervisor.reap();
        supervisor.watch();
    }
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
        while let Some((pid, status)) = sys::wait_child(-1, true) {
            let of_an_actor = |&actor: &u8| control.pids[usize::from(actor)].load(Relaxed) == pid;
            if control.living().any(|actor| of_an_actor(&actor)) {
                died = Some(status);
            }
        }
        match control.state() {
            State::PowerOff => boot::power_off(),
            State::Replace => {
                sys::wait_child(self.worker, false);
                self.make_worker();
            }
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
        // Forked actors are the worker's children: their death shows only here.
        let pid_of = |actor: u8| control.pids[usize::from(actor)].load(Relaxed);
        // Looking takes time, in which an actor may have gone on and left as its op told it to, or have given up: what it
        // then says of itself is heard at the next turn.
        let still =
            || control.moves.load(Relaxed) == moves && matches!(control.state(), State::Running);
        if let Some(status) = control.living().find_map(|actor| dead(pid_of(actor))) {
            let step = progress.step;
            if still() {
                self.finish(End::Died { step, status });
            }
            return;
        }
        // Threads may have to wait for each other, and for a processor.
        let threads = control.lanes.iter().any(|lane| lane.tid.load(Relaxed) != 0);
        let patience = if threads { 5 } else { 1 };
        let limit = u64::from(control.op_limit_ms.load(Relaxed)) * 1_000_000 * patience;
        if now - self.since < limit {
            return;
        }
        let pid = control.pids[usize::from(progress.actor) % control.pids.len()].load(Relaxed);
        let stack = match threads_of(control) {
            threads if threads.is_empty() => stack_of(&format!("/proc/{pid}")),
            threads => threads,
        };
        if still() {
            self.finish(End::Hang {
                step: progress.step,
                stack,
            });
        }
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
        left.push(control.events.monitor.swap(0, Relaxed));
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
        // SAFETY: no actor is left, or it is stuck for good.
        let scratch = unsafe { control.scratch() };
        if let Some(text) = self.setup.log.news(&mut scratch.text) {
            control.complain(&text);
        }
        send_complaints(&self.bar, control);
        let id = control.program_id.load(Relaxed);
        let raced = control.raced.load(Relaxed) != 0;
        let done = end == End::Done;
        let report = match (raced, done) {
            // SAFETY: no actor is left, or it is stuck for good.
            (true, true) => control.tally.count(unsafe { control.fingerprint() }),
            (true, false) => control.tally.count_unlike(),
            (false, _) => control.judged.load(Relaxed) != 0 || !done,
        };
        if report {
            // SAFETY: no actor is left, or it is stuck for good.
            send(&self.bar, control, unsafe { control.execution(id, end) });
        }
        if raced && !done {
            // One that did not end is enough.
            send_tally(&self.bar, control, id, None);
        }
        if stuck {
            self.give_up("a process cannot be killed");
        }
        if raced && done {
            control
                .round
                .store(control.round.load(Relaxed) + 1, Relaxed);
        } else {
            control
                .program
                .store(control.program.load(Relaxed) + 1, Relaxed);
            if raced {
                control.round.store(0, Relaxed);
            }
        }
        tell_host(&self.bar, Progress::IDLE);
        self.make_worker();
        self.moves = control.moves.load(Relaxed);
        self.since = sys::now();
    }
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
            0 => sys::sleep_us(200),
            _ => {}
        }
    }
}

/// The wait status of a process that has died and waits to be reaped by another. Of one that lives no file of /proc is read: whoever reads its
/// stat holds its memory meanwhile, and were it to exit then, its pages would stay mapped after it is gone.
fn dead(pid: i32) -> Option<i32> {
    if !sys::has_ended(pid) {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // exit_code is the last field of proc_pid_stat(5).
    (state == "Z" || state == "X").then(|| fields.last().and_then(|f| f.parse().ok()).unwrap_or(0))
}

/// Where each thread of the section that runs is stuck, whosever it is; empty when none runs.
fn threads_of(control: &Control) -> String {
    let mut text = String::new();
    for (lane, name) in control.lanes.iter().zip('a'..) {
        let tid = lane.tid.load(Relaxed);
        if tid != 0 {
            let step = lane.step.load(Relaxed);
            let stack = stack_of(&format!("/proc/{tid}"));
            let share = stack.chars().take(STACK / control.lanes.len() - 64);
            text += &format!("thread {name} in op {step}:\n");
            text.extend(share);
            text.push('\n');
        }
    }
    text
}

/// What /proc tells about where a task is stuck.
fn stack_of(folder: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_from_its_end_until_it_is_reaped() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line; exit 3"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        assert_eq!(dead(pid), None);
        drop(child.stdin.take());
        sys::wait_gone(pid);
        assert_eq!(dead(pid), Some(3 << 8));
        child.wait().unwrap();
        assert_eq!(dead(pid), None);
    }
}
