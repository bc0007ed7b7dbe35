//! The worker: takes batches from the host, plays their programs as actor 0, one after the other, and reports.
//!
//! One worker plays many programs. After each it unmaps the arena with its margins; as nothing else of the process is
//! mapped near, the kernel frees every page table there, so the next program finds what a new process would. The files of
//! a program have no names and go with it. What unmapping does not undo (an actor 0 that has left, a hang, khugepaged or
//! KSM that know the process, memory that is sealed, memory of the worker itself that mlockall has brought in, memory that
//! counts as locked and is not there any more) ends the worker, and the supervisor makes a new one.
//!
//! mlockall means the whole process, so three things keep the guest out of what programs see of it. MCL_CURRENT needs an
//! address space no larger than the limit: a reservation makes it larger for every ordinary user, whatever the page size,
//! and root has no limit. After MCL_FUTURE whatever is mapped counts as locked: the guest maps nothing while a program
//! runs, its heap is there from the start ([`crate::heap`]). And munlockall ends it all after the program.

use crate::actor::{tell_host, Actor, USER};
use crate::arena::Arena;
use crate::bar::{Bar, Device};
use crate::control::{Control, State};
use crate::events::Monitor;
use crate::failing::{self, FailNth};
use crate::files::Files;
use crate::khugepaged::Collapses;
use crate::knobs::KnobFiles;
use crate::log::KernelLog;
use crate::look::{Eyes, Features};
use crate::memory::Buddies;
use crate::perform::{self, Traces};
use crate::skew;
use crate::sys;
use crate::transfer::Ends;
use crate::uffd::Uffd;
use crate::walks::Walks;
use std::sync::atomic::Ordering::Relaxed;
use wire::layout::{self, Phase, Progress};
use wire::{ring, Asked, Batch, End, FileKind, Mode, Program, Response};

/// Programs that one worker plays before it is replaced anyway.
const PROGRAMS: u32 = 1000;
/// What the supervisor hands to a worker.
#[derive(Clone, Copy)]
pub struct Setup {
    pub control: &'static Control,
    pub device: Device,
    pub knobs: KnobFiles,
    pub features: Features,
    pub buddies: Buddies,
    pub log: KernelLog,
}

struct Worker {
    setup: Setup,
    bar: Bar,
    actor: Actor,
    played: u32,
    /// A program has asked for allocations that fail.
    fails: bool,
}

/// Runs until the host wants no more or the worker is to be replaced.
pub fn run(setup: Setup) -> ! {
    let why = match Worker::new(setup) {
        Ok(mut worker) => worker.serve(),
        Err(why) => format!("a worker cannot start: {why}"),
    };
    setup.control.set_text(&why);
    setup.control.set_state(State::Failed);
    sys::exit(71)
}

impl Worker {
    fn new(setup: Setup) -> Result<Worker, String> {
        let text = |what: &'static str| move |e: sys::Errno| format!("{what}: {e}");
        let page = sys::page_size();
        let memlock = u64::from(wire::MEMLOCK_BLOCKS) * page * (page / 8);
        let limit = libc::rlimit {
            rlim_cur: memlock,
            rlim_max: memlock,
        };
        let group = USER as u64;
        // SAFETY: `limit` lives; the rest touches no memory.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit);
            if !crate::host::is_here() {
                sys::call(libc::SYS_setgroups, [0; 6]).map_err(text("setgroups"))?;
                sys::call(libc::SYS_setresgid, [group, group, group, 0, 0, 0])
                    .map_err(text("setresgid"))?;
            }
        }
        let bar = setup.device.whole().map_err(text("mmap of the BAR"))?;
        reserve(memlock).map_err(text("mmap of a reservation"))?;
        let arena = Arena {
            page,
            pages: 3 * (page / 8),
        };
        let ends = Ends::create().map_err(text("a pipe and a memfd"))?;
        let eyes = Eyes::open(setup.features, arena)?;
        crate::access::catch_faults();
        crate::keys::allocate();
        sys::set_user(USER, USER, 0).map_err(text("setresuid"))?;
        sys::own_proc_files();
        let actor = Actor {
            control: setup.control,
            log: setup.log,
            words: setup.device.words(),
            eyes,
            arena,
            files: Files::default(),
            ends,
            user: USER,
            me: 0,
            forked: false,
            uffd: Uffd::default(),
            fails: FailNth::default(),
            traces: Traces::default(),
            walks: None,
            collapses: None,
        };
        Ok(Worker {
            setup,
            bar,
            actor,
            played: 0,
            fails: false,
        })
    }

    /// Works off requests; returns only with a reason to give up.
    fn serve(&mut self) -> String {
        let control = self.setup.control;
        let mut frame = Vec::new();
        loop {
            let at = self.bar.get(layout::REQUEST_TAIL);
            let next = match ring::REQUESTS.peek(&self.bar, at, &mut frame) {
                Ok(Some(next)) => next,
                Ok(None) => {
                    sys::sleep_us(200);
                    continue;
                }
                Err(e) => return format!("request ring: {e}"),
            };
            match Asked::decode(&frame) {
                Err(e) => {
                    return format!("a request of {} bytes cannot be decoded: {e}", frame.len())
                }
                Ok(Asked::PowerOff) => {
                    control.set_state(State::PowerOff);
                    sys::exit(0);
                }
                Ok(Asked::Batch(batch)) => {
                    control.op_limit_ms.store(batch.op_limit_ms, Relaxed);
                    let page = self.actor.arena.page;
                    let arena_pages = batch.arena_pages;
                    if u64::from(arena_pages) > 3 * (page / 8) {
                        return format!(
                            "an arena of {arena_pages} pages is larger than three blocks"
                        );
                    }
                    self.actor.arena.pages = arena_pages.into();
                    self.actor.eyes.set_arena(self.actor.arena);
                    if let Err(why) = self.batch(&batch) {
                        return why;
                    }
                    if let Err(e) = ring::REQUESTS.release(&self.bar, next) {
                        return format!("request ring: {e}");
                    }
                }
            }
        }
    }

    /// Plays the programs of a batch, one decoded at a time: a fork copies whatever memory this process has touched.
    fn batch(&mut self, batch: &Batch) -> Result<(), String> {
        let (seq, mode) = (batch.seq, batch.mode);
        let control = self.setup.control;
        if control.in_batch.swap(1, Relaxed) == 0 {
            control.program.store(0, Relaxed);
            control.round.store(0, Relaxed);
            control.batch_started.store(sys::now(), Relaxed);
            self.bar.set(layout::BATCH, seq);
        }
        match mode {
            Mode::Judged => self.rounds(batch, 1, true)?,
            Mode::Bare { rounds } => self.rounds(batch, rounds, false)?,
            Mode::Raced {
                first,
                repetitions,
                walks,
            } => {
                control.first.store(first, Relaxed);
                self.raced(batch, repetitions, walks)?;
            }
        }
        control.in_batch.store(0, Relaxed);
        let nanos = sys::now() - control.batch_started.load(Relaxed);
        let done = wire::encode(&Response::BatchDone { seq, nanos }).unwrap_or_default();
        send(&self.bar, control, &done);
        self.idle();
        Ok(())
    }

    /// Plays all programs, and all again, so many times.
    fn rounds(&mut self, batch: &Batch, rounds: u32, judged: bool) -> Result<(), String> {
        let control = self.setup.control;
        control.judged.store(judged.into(), Relaxed);
        control.raced.store(0, Relaxed);
        while control.round.load(Relaxed) < rounds {
            // A worker that replaces another goes on where that one stopped.
            let played = control.program.load(Relaxed) as usize;
            for program in batch.programs().skip(played) {
                let program = program.map_err(|e| self.undecoded(e))?;
                self.program(&program, judged);
                control
                    .program
                    .store(control.program.load(Relaxed) + 1, Relaxed);
                self.replace_if_spoilt(&program);
            }
            control.program.store(0, Relaxed);
            control
                .round
                .store(control.round.load(Relaxed) + 1, Relaxed);
        }
        Ok(())
    }

    /// Plays each program so many times before the next one.
    fn raced(&mut self, batch: &Batch, repetitions: u32, walks: bool) -> Result<(), String> {
        let control = self.setup.control;
        control.judged.store(1, Relaxed);
        control.raced.store(1, Relaxed);
        // For all actors to come.
        skew::nanos_per_round();
        let no_walks = match walks {
            true => self.count_walks().err(),
            false => None,
        };
        let played = control.program.load(Relaxed) as usize;
        for program in batch.programs().skip(played) {
            let program = program.map_err(|e| self.undecoded(e))?;
            while control.round.load(Relaxed) < repetitions {
                if control.round.load(Relaxed) == 0 {
                    control.tally.reset();
                }
                self.program(&program, true);
                control
                    .round
                    .store(control.round.load(Relaxed) + 1, Relaxed);
                self.replace_if_spoilt(&program);
            }
            send_tally(&self.bar, control, program.id, no_walks.clone());
            control
                .program
                .store(control.program.load(Relaxed) + 1, Relaxed);
            control.round.store(0, Relaxed);
        }
        if let Some(walks) = self.actor.walks.take() {
            walks.close();
        }
        Ok(())
    }

    fn undecoded(&self, error: impl std::fmt::Display) -> String {
        let number = self.setup.control.program.load(Relaxed);
        format!("program {number} of a batch cannot be decoded: {error}")
    }

    fn count_walks(&mut self) -> Result<(), String> {
        let user = self.actor.user;
        sys::set_user(-1, 0, -1).map_err(|e| format!("setresuid: {e}"))?;
        let walks = Walks::open();
        sys::set_user(-1, user, -1).map_err(|e| format!("setresuid: {e}"))?;
        sys::own_proc_files();
        self.actor.walks = Some(walks?);
        Ok(())
    }

    /// Ends this worker when another program must not be played by it.
    fn replace_if_spoilt(&mut self, program: &Program) {
        self.played += 1;
        let Traces {
            sealed,
            locked_current,
            locks_lost,
            ..
        } = self.actor.traces;
        let knows_us = program.knobs.khugepaged || program.knobs.ksm;
        let spoilt = sealed || locked_current || locks_lost;
        if self.played >= PROGRAMS || knows_us || spoilt {
            self.setup.control.set_state(State::Replace);
            sys::exit(0);
        }
    }

    fn idle(&self) {
        self.setup.control.set_progress(Progress::IDLE);
        tell_host(&self.bar, Progress::IDLE);
    }

    fn program(&mut self, program: &Program, judged: bool) {
        let control = self.setup.control;
        control.reset();
        control.program_id.store(program.id, Relaxed);
        self.bar.set(layout::PROGRAM, program.id);
        if let Err(why) = self.prepare(program) {
            let end = End::Failed { step: 0, why };
            if control.raced.load(Relaxed) == 0 || control.tally.count_unlike() {
                // SAFETY: no other actor lives.
                send(&self.bar, control, unsafe {
                    control.execution(program.id, end)
                });
            }
            return;
        }
        if judged {
            // SAFETY: no other actor lives.
            let scratch = unsafe { control.scratch() };
            let free = self.setup.buddies.free_pages(&mut scratch.text);
            control.free_pages.store(free, Relaxed);
        }
        let before = self.actor.collapses.map(Collapses::count);
        self.actor.play(program, judged);
        if let (Some(collapses), Some(before)) = (self.actor.collapses, before) {
            let made = collapses.count().saturating_sub(before);
            control.tally.collapsed(made);
        }
        self.clean_up();
        self.actor.listen();
        send_complaints(&self.bar, control);
        // SAFETY: no other actor lives.
        let new = || control.tally.count(unsafe { control.fingerprint() });
        if judged && (control.raced.load(Relaxed) == 0 || new()) {
            // SAFETY: no other actor lives.
            send(&self.bar, control, unsafe {
                control.execution(program.id, End::Done)
            });
        }
        // A program that is sent and one that is not begun: nothing for the watchdog to watch.
        control.set_progress(Progress::IDLE);
    }

    fn prepare(&mut self, program: &Program) -> Result<(), String> {
        self.setup.knobs.set(self.setup.control, program.knobs)?;
        if !self.fails && program.steps.iter().any(|step| step.fail.is_some()) {
            if failing::is_possible() {
                failing::set_up()?;
            }
            self.fails = true;
        }
        let user = if program.knobs.root { 0 } else { USER };
        if user != self.actor.user {
            sys::set_user(user, user, 0).map_err(|e| format!("setresuid: {e}"))?;
            sys::own_proc_files();
            self.actor.user = user;
        }
        if let Some(heap) = program.steps.iter().find_map(|step| heap_of(&step.op)) {
            self.set_heap(heap)?;
        }
        if let Some(old) = self.actor.collapses.take() {
            old.close();
        }
        if program.knobs.khugepaged {
            self.actor.collapses = Collapses::open();
        }
        // Mappings of secret memory are locked on some kernels.
        self.actor.traces.locks = program.files.iter().any(|f| f.kind == FileKind::Secret);
        self.actor.files = Files::create(&program.files, self.actor.arena.page)?;
        if program.knobs.uffd_events {
            self.actor.uffd = Uffd::telling(Monitor::begin(self.setup.control)?);
        }
        Ok(())
    }

    /// Lets the heap of this process begin, and end, at `heap` of the arena.
    fn set_heap(&mut self, heap: i64) -> Result<(), String> {
        let at = wire::ARENA_BASE.wrapping_add(heap as u64);
        let arena = self.actor.arena;
        if !(arena.low()..arena.high()).contains(&at) {
            return Err(format!("a heap at {heap}, which is outside of the arena"));
        }
        let user = self.actor.user;
        sys::set_user(-1, 0, -1).map_err(|e| format!("setresuid: {e}"))?;
        // The start must not lie behind the break: which of the two can be moved first depends on where they are.
        let moved = [
            libc::PR_SET_MM_BRK,
            libc::PR_SET_MM_START_BRK,
            libc::PR_SET_MM_BRK,
        ]
        .map(|what| {
            let args = [libc::PR_SET_MM as u64, what as u64, at, 0, 0, 0];
            // SAFETY: nothing of ours uses brk; see `heap`. It maps and unmaps nothing.
            unsafe { sys::call(libc::SYS_prctl, args) }
        });
        sys::set_user(-1, user, -1).map_err(|e| format!("setresuid: {e}"))?;
        sys::own_proc_files();
        match moved {
            [_, Ok(_), Ok(_)] => Ok(()),
            [_, start, end] => Err(format!("the heap cannot be moved: {start:?}, {end:?}")),
        }
    }

    /// Ends the other actors, empties the arena and lets go of the files.
    fn clean_up(&mut self) {
        let control = self.setup.control;
        let others = control.living().filter(|&actor| actor != 0);
        control.alive.store(1, Relaxed);
        for other in others {
            sys::kill(control.pids[usize::from(other)].load(Relaxed));
        }
        if let Some(monitor) = self.actor.uffd.monitor() {
            monitor.end();
            // Nobody reads what unmapping the arena would tell.
            self.actor.uffd.close();
            self.actor.uffd = Uffd::default();
        }
        if self.actor.forked {
            while sys::wait_child(-1, false).is_some() {}
            self.actor.forked = false;
        }
        let traces = self.actor.traces;
        if traces.locks_future {
            // SAFETY: touches no memory.
            let _ = unsafe { sys::call(libc::SYS_munlockall, [0; 6]) };
        }
        if traces.thp_disabled {
            let _ = perform::thp_disable(0, 0);
            self.actor.traces.thp_disabled = false;
        }
        if traces.sealed {
            // This worker is not used again.
            return;
        }
        self.actor.traces.locks_future = false;
        self.actor.traces.locks = false;
        let arena = self.actor.arena;
        let args = [arena.low(), arena.high() - arena.low(), 0, 0, 0, 0];
        // SAFETY: the arena and its margins hold nothing of ours.
        if let Err(e) = unsafe { sys::call(libc::SYS_munmap, args) } {
            control.set_text(&format!("the arena cannot be emptied: {e}"));
            control.set_state(State::Failed);
            sys::exit(71);
        }
        self.actor.uffd.close();
        self.actor.files = Files::default();
    }
}

/// Where the heap begins that an op is about.
fn heap_of(op: &wire::Op) -> Option<i64> {
    match op {
        wire::Op::Brk { heap, .. } => Some(*heap),
        _ => None,
    }
}

/// Address space that nobody can use, so that there is more of it than `bytes`.
fn reserve(bytes: u64) -> Result<u64, sys::Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let none = libc::PROT_NONE as u64;
    // SAFETY: a new mapping where nothing is.
    unsafe { sys::call(libc::SYS_mmap, [0, bytes, none, flags as u64, u64::MAX, 0]) }
}

/// Sends what the kernel has complained about while the program ran, before the program's execution.
pub fn send_complaints(bar: &Bar, control: &Control) {
    if let Some((step, text)) = control.take_complaint() {
        let program = control.program_id.load(Relaxed);
        let log = Response::Log {
            program,
            step,
            text,
        };
        send(bar, control, &wire::encode(&log).unwrap_or_default());
    }
}

/// Sends what came of the repetitions of a program.
pub fn send_tally(bar: &Bar, control: &Control, id: u64, no_walks: Option<String>) {
    let raced = Response::Raced(control.tally.told(id, no_walks));
    send(bar, control, &wire::encode(&raced).unwrap_or_default());
}

/// Sends a message, waiting for room if the host is slow.
pub fn send(bar: &Bar, control: &Control, message: &[u8]) {
    let before = control.progress();
    loop {
        match ring::RESPONSES.push(bar, message) {
            Ok(true) => break,
            Ok(false) => {
                let full = Progress {
                    phase: Phase::Full,
                    ..before
                };
                control.set_progress(full);
                tell_host(bar, full);
                sys::sleep_us(200);
            }
            Err(e) => {
                crate::boot::say(&format!("error: response ring: {e}"));
                crate::boot::power_off();
            }
        }
    }
}
