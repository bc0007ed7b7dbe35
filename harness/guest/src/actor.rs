//! One actor of a program. The actors need no conductor: whoever has the turn knows from the shared memory which step it
//! is, does its part and hands the turn on. A single actor never waits for anybody.

use crate::bar::Bar;
use crate::control::{Control, State, TooLong};
use crate::failing::FailNth;
use crate::files::Files;
use crate::khugepaged::Collapses;
use crate::log::KernelLog;
use crate::look::Eyes;
use crate::perform::{Bench, Traces};
use crate::sys::{self, Errno};
use crate::transfer::Ends;
use crate::uffd::Uffd;
use crate::walks::Walks;
use crate::{arena::Arena, boot, heap, section};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use wire::bounded::MAX_ACTORS;
use wire::layout::{self, Phase, Progress};
use wire::{GuestFault, Look, Op, OpResult, Program, Step};

/// The ordinary user that actors are unless a program wants root.
pub const USER: i32 = 1000;

/// What actors of one worker have in common.
pub struct Actor {
    pub control: &'static Control,
    pub log: KernelLog,
    /// The words of the shared memory, for the host to see the op that runs.
    pub words: Bar,
    pub eyes: Eyes,
    pub arena: Arena,
    pub files: Files,
    pub ends: Ends,
    /// Effective user of an actor: [`USER`] or root.
    pub user: i32,
    /// Our number in the program.
    pub me: u8,
    /// Somebody has forked, so there may be children to wait for.
    pub forked: bool,
    /// Our own: a child closes that of its parent.
    pub uffd: Uffd,
    /// Our own, too: makes allocations fail.
    pub fails: FailNth,
    /// What this process's ops have left behind.
    pub traces: Traces,
    /// Counts the kernel's walks over page tables for installs in sections, if that is wanted.
    pub walks: Option<Walks>,
    /// khugepaged's count, where it scans.
    pub collapses: Option<Collapses>,
}

/// Why an actor cannot go on.
pub struct Failure(pub String);

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Failure(why)
    }
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Self {
        Failure("what there is to report is longer than a message can be".to_owned())
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure(errno.to_string())
    }
}

impl Actor {
    /// Plays a program as actor 0 and returns when all its steps are done. A forked actor comes out of the fork inside
    /// this function and never leaves it.
    pub fn play(&mut self, program: &Program, judged: bool) {
        self.me = 0;
        self.progress(
            match program.steps.is_empty() {
                true => Phase::CleanUp,
                false => Phase::Op,
            },
            0,
        );
        if let Some(first) = program.steps.first().filter(|step| step.actor != 0) {
            self.give_up(&format!("the first step is one of actor {}", first.actor));
        }
        self.go_on(program, judged);
    }

    /// Does what is ours to do whenever it is our turn, until the program has ended. Only actor 0 returns.
    fn go_on(&mut self, program: &Program, judged: bool) {
        loop {
            let progress = self.control.progress();
            let step = progress.step;
            let result = match progress.phase {
                Phase::Op => self.op(program, step, judged),
                Phase::Look => self.look(program, step),
                _ if self.me == 0 => return,
                _ => sys::exit(0),
            };
            if let Err(Failure(why)) = result {
                self.give_up(&why);
            }
        }
    }

    /// Notes what the kernel has complained about since the last time: it was the step that runs.
    pub fn listen(&self) {
        // SAFETY: we have the turn, and whoever asked for the buffers before is done with them.
        let scratch = unsafe { self.control.scratch() };
        if let Some(text) = self.log.news(&mut scratch.text) {
            self.control.complain(&text);
        }
    }

    /// Ends the program with a reason that the supervisor reports.
    fn give_up(&self, why: &str) -> ! {
        self.control.set_text(why);
        self.control.set_state(State::Failed);
        sys::exit(71)
    }

    /// Says where the program is: to the watchdog, and to the host.
    fn progress(&self, phase: Phase, step: u32) {
        let progress = Progress {
            phase,
            actor: self.me,
            step,
        };
        self.control.set_progress(progress);
        tell_host(&self.words, progress);
    }

    fn op(&mut self, program: &Program, number: u32, judged: bool) -> Result<(), Failure> {
        let step = program.steps[number as usize];
        if step.lane.is_some() && step.actor != self.me {
            section::take_part(self, program, number, judged)?;
            self.control.await_turn(self.me);
            return Ok(());
        }
        self.progress(Phase::Op, number);
        self.fails.begin(step.fail)?;
        if step.lane.is_some() {
            return self.section(program, number, judged);
        }
        let last = number as usize + 1 == program.steps.len();
        if last {
            self.last_op_fault(program.fault);
        }
        let result = match step.op {
            Op::Fork { child } => match self.make_child(child)? {
                Some(result) => {
                    self.forked |= result == OpResult::Ret(0);
                    result
                }
                // We are the child: the parent goes on, and hands us the turn when it is ours.
                None => {
                    self.be_born(child, program.fault)?;
                    self.control.await_turn(child);
                    return Ok(());
                }
            },
            Op::Exit => {
                self.control.leaving.store(self.pid(), Relaxed);
                self.control.set_alive(self.me, false);
                OpResult::Ret(0)
            }
            op => {
                // SAFETY: we have the turn.
                let scratch = unsafe { self.control.scratch() };
                Bench {
                    arena: self.arena,
                    fault: program.fault,
                    files: &self.files,
                    ends: self.ends,
                    pids: &self.control.pids,
                    me: self.me,
                    buffer: &mut scratch.values,
                    uffd: &mut self.uffd,
                    fails: &self.fails,
                    traces: &mut self.traces,
                }
                .perform(op)?
            }
        };
        self.listen();
        if !judged {
            return self.next_step(program, number);
        }
        self.stage_result(&[result], self.fails.left()?)?;
        self.look_next(program, number)
    }

    /// Runs the section that begins with a step.
    fn section(&mut self, program: &Program, number: u32, judged: bool) -> Result<(), Failure> {
        let steps = section::range(program, number);
        let last = steps.end as u32 - 1;
        if let Some(walks) = self.walks {
            walks.forget()?;
        }
        let before = self.collapses.map(Collapses::count);
        let ended = section::run(self, program, steps.clone(), judged)?;
        if let (Some(collapses), Some(before)) = (self.collapses, before) {
            let made = collapses.count().saturating_sub(before);
            self.control.tally.collapsed_beside(made);
        }
        if let Some(walks) = self.walks {
            let tally = &self.control.tally;
            walks.count(&mut |walks| tally.walked(walks))?;
        }
        self.control.tally.meet(ended.meeting);
        let forks = |number: usize| matches!(program.steps[number].op, Op::Fork { .. });
        self.forked |= steps.clone().any(forks);
        self.listen();
        if !judged {
            return self.next_step(program, last);
        }
        for (number, results) in steps.zip(&ended.results) {
            self.stage_result(results, None)?;
            if number as u32 != last {
                // Nothing is looked at before all threads have ended.
                self.control.stage_length(0)?;
                self.control.step_complete();
            }
        }
        self.look_next(program, last)
    }

    /// Reports what the op of a step returned, all results that differ from the one before, and what was left to go until an
    /// allocation would have failed. The views are to follow.
    fn stage_result(&self, results: &[OpResult], left: Option<u32>) -> Result<(), Failure> {
        let (first, more) = results
            .split_first()
            .ok_or_else(|| Failure("an op without a result".to_owned()))?;
        self.control.stage(first)?;
        self.control.stage_length(more.len())?;
        for result in more {
            self.control.stage(result)?;
        }
        self.control.stage(&left)?;
        let told = match self.uffd.monitor() {
            None => Vec::new(),
            Some(monitor) => monitor
                .take()?
                .ok_or_else(|| Failure("more events than there is room for".to_owned()))?,
        };
        self.control.stage(&told)?;
        Ok(())
    }

    /// Hands on to whoever looks first after a step.
    fn look_next(&mut self, program: &Program, number: u32) -> Result<(), Failure> {
        self.control.stage_length(self.control.living().count())?;
        match self.next_to_look(program, number, None) {
            Some(first) => self.hand_on(Phase::Look, number, first),
            None => {
                // The last one leaves: nobody is left to look at.
                self.control.step_complete();
                self.control.set_state(State::Finish);
                sys::exit(0);
            }
        }
        Ok(())
    }

    fn look(&mut self, program: &Program, number: u32) -> Result<(), Failure> {
        self.progress(Phase::Look, number);
        self.await_leaving();
        let Step {
            look, actor, op, ..
        } = program.steps[number as usize];
        let flags_to = match look {
            Look::Cheap => None,
            Look::Flags => (actor == self.me)
                .then(|| wire::ARENA_BASE.saturating_add_signed(op.end(self.arena.page))),
            Look::Full | Look::Whole => Some(u64::MAX),
        };
        let stale = program.fault == Some(GuestFault::StaleObservation);
        if !(stale && self.control.stage_stale_view(self.me)?) {
            let all = matches!(look, Look::Full | Look::Whole);
            let mut view = self.eyes.look(self.control, flags_to, all)?;
            if look == Look::Whole {
                let locks_unknown = self.traces.locked_current || self.traces.locks_lost;
                view = self.eyes.count(self.control, locks_unknown, self.user)?;
            }
            self.control.stage_view(self.me, view)?;
        }
        match self.next_to_look(program, number, Some(self.me)) {
            Some(next) => {
                self.hand_on(Phase::Look, number, next);
                Ok(())
            }
            None => {
                self.control.step_complete();
                self.next_step(program, number)
            }
        }
    }

    /// Who looks after `before`, or first. It is a matter of time alone: going on as another actor costs a switch of address
    /// spaces, so who has just acted looks first, and who acts next looks last.
    fn next_to_look(&self, program: &Program, number: u32, before: Option<u8>) -> Option<u8> {
        let acts = |number: usize| program.steps.get(number).map_or(0, |step| step.actor);
        let (acted, next) = (acts(number as usize), acts(number as usize + 1));
        let place = |actor: u8| (actor != acted, actor != acted && actor == next, actor);
        let behind = |&actor: &u8| before.is_none_or(|before| place(actor) > place(before));
        self.control
            .living()
            .filter(behind)
            .min_by_key(|&a| place(a))
    }

    /// Waits until an actor that has left is really gone, so that pages which it shared are no longer shared.
    fn await_leaving(&self) {
        let pid = self.control.leaving.swap(0, Acquire);
        if pid == 0 {
            return;
        }
        // All actors are children of the worker; without it they are the supervisor's.
        if self.me == 0 {
            sys::wait_child(pid, false);
        } else {
            sys::wait_gone(pid);
        }
    }

    fn pid(&self) -> i32 {
        self.control.pids[usize::from(self.me)].load(Acquire)
    }

    fn next_step(&mut self, program: &Program, number: u32) -> Result<(), Failure> {
        if !self.control.is_alive(self.me) && self.control.living().next().is_none() {
            self.control.set_state(State::Finish);
            sys::exit(0);
        }
        let next = number + 1;
        match program.steps.get(next as usize) {
            Some(step) if self.control.is_alive(step.actor) => {
                self.hand_on(Phase::Op, next, step.actor);
            }
            Some(step) => {
                self.control.step.store(next, Relaxed);
                return Err(Failure(format!(
                    "step {next} is one of actor {}, who does not live",
                    step.actor
                )));
            }
            None if self.control.is_alive(0) => self.hand_on(Phase::CleanUp, number, 0),
            None => {
                // The worker has left: the supervisor ends the program.
                self.control.set_state(State::Finish);
                sys::exit(0);
            }
        }
        Ok(())
    }

    /// Goes on with `phase` of `step` as actor `to`; returns when it is our turn again.
    fn hand_on(&mut self, phase: Phase, step: u32, to: u8) {
        self.progress(phase, step);
        if to == self.me {
            return;
        }
        self.control.hand_turn(to);
        if !self.control.is_alive(self.me) {
            sys::exit(0);
        }
        self.control.await_turn(self.me);
    }

    /// Makes `child`. The parent gets the op's result; the child, which has but the thread that called, gets `None`.
    pub fn make_child(&self, child: u8) -> Result<Option<OpResult>, Failure> {
        let slot = usize::from(child);
        if slot >= MAX_ACTORS || self.control.is_alive(child) {
            return Err(Failure(format!("there cannot be another actor {child}")));
        }
        if let Some(monitor) = self.uffd.monitor() {
            monitor.forking(child);
        }
        self.control.pids[slot].store(0, Relaxed);
        self.control.set_alive(child, true);
        // A child of the worker, whoever forks: it waits for all of them.
        let parent = if self.me == 0 { 0 } else { libc::CLONE_PARENT };
        let flags = (parent | libc::SIGCHLD) as u64;
        // SAFETY: the child goes on with a copy of our memory, like fork(2), and nobody is at the heap meanwhile.
        let made = heap::undisturbed(|| unsafe {
            self.fails.call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])
        });
        match made {
            Ok(0) => Ok(None),
            Ok(pid) => {
                self.control.pids[slot].store(pid as i32, Release);
                Ok(Some(OpResult::Ret(0)))
            }
            Err(Errno(number)) => {
                self.control.set_alive(child, false);
                Ok(Some(OpResult::Ret(-i64::from(number))))
            }
        }
    }

    /// The life of an actor that a thread has forked, on that thread's stack.
    pub fn begin(&mut self, child: u8, program: &Program, judged: bool) -> ! {
        heap::share(false);
        if let Err(Failure(why)) = self.be_born(child, program.fault) {
            self.give_up(&why);
        }
        self.control.await_turn(child);
        self.go_on(program, judged);
        sys::exit(0)
    }

    fn be_born(&mut self, child: u8, fault: Option<GuestFault>) -> Result<(), Failure> {
        self.me = child;
        self.uffd.be_born(child);
        self.fails.close();
        self.control.populate();
        self.eyes.reopen(self.user)?;
        if fault == Some(GuestFault::ForkLosesGuards) {
            let Arena { page, pages } = self.arena;
            let advice = sys::MADV_GUARD_REMOVE as u64;
            let args = [wire::ARENA_BASE, pages * page, advice, 0, 0, 0];
            // SAFETY: the arena, nothing else. Holes make it an error, which does not matter.
            let _ = unsafe { sys::call(libc::SYS_madvise, args) };
        }
        Ok(())
    }

    /// Faults that stand for a kernel gone wrong.
    pub fn last_op_fault(&self, fault: Option<GuestFault>) {
        match fault {
            Some(GuestFault::Hang) => loop {
                // SAFETY: waits for a signal; none that is handled comes.
                unsafe { libc::pause() };
            },
            Some(GuestFault::Die) => {
                // SAFETY: no memory involved.
                sys::kill(unsafe { libc::getpid() });
            }
            Some(GuestFault::Panic) => {
                let _ = sys::set_user(-1, 0, -1);
                let _ = std::fs::write("/proc/sysrq-trigger", "c");
            }
            Some(GuestFault::Warn) => {
                let _ = sys::set_user(-1, 0, -1);
                for line in [
                    "<4>------------[ cut here ]------------",
                    "<4>WARNING: CPU: 0 PID: 1 at mm/guest_fault.c:1 deliberate_fault+0x0/0x10",
                    "<4>---[ end trace 0000000000000000 ]---",
                ] {
                    boot::log_to_kernel(line);
                }
                let _ = sys::set_user(-1, self.user, -1);
            }
            _ => {}
        }
    }
}

/// Shows the host what is being done.
pub fn tell_host(words: &Bar, progress: Progress) {
    words.set(layout::PROGRESS, progress.pack());
    words.set(
        layout::PROGRESS_COUNT,
        words.get(layout::PROGRESS_COUNT) + 1,
    );
}
