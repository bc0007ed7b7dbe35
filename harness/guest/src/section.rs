//! Threads that run at once, of one actor or of several.
//!
//! They start at a barrier, on processors of their own, each after a delay ([`crate::skew`]). The actor of the section's first step leads:
//! the others make their threads when it gives them the turn, and tell what came of these in shared memory. When all have ended, the
//! leader reports what their ops returned.

use crate::access;
use crate::actor::Actor;
use crate::control::Control;
use crate::failing::FailNth;
use crate::heap;
use crate::perform::{Bench, Traces};
use crate::skew;
use crate::sys;
use crate::tally::Meeting;
use crate::thread;
use crate::uffd::Uffd;
use serde::{Deserialize, Serialize};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{
    AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use wire::bounded::MAX_MORE;
use wire::{Op, OpResult, Program, MAX_LANES, MAX_LANE_STEPS};

/// Values that a thread loads in one go.
const VALUES: usize = 64;

/// Where the threads of all actors meet, in shared memory.
#[repr(C)]
pub struct Meet {
    /// Threads that stand at the barrier.
    ready: AtomicU32,
    /// Threads that do not repeat and have not ended.
    left: AtomicU32,
    /// Actors besides the leader who have not told yet what their threads came to.
    away: AtomicU32,
}

/// A thread as the program has it.
struct Lane {
    number: usize,
    actor: u8,
    repeats: bool,
    /// The steps it performs.
    steps: Vec<u32>,
}

/// What the threads of one process have in common.
struct Common<'a> {
    /// The actor, of whom each thread makes what it needs. Nobody else uses it while they run.
    actor: *mut Actor,
    program: &'a Program,
    judged: bool,
    meet: &'static Meet,
    /// Threads of the section, those of other processes too.
    threads: u32,
}

/// One thread.
struct Thread<'a> {
    common: &'a Common<'a>,
    lane: &'a Lane,
    /// The actor's, where it has calls through it.
    uffd: Uffd,
    /// Rounds of a loop between the barrier and the first op.
    delay: u64,
    cpu: u32,
    /// Of each step, all results that differ from the one before.
    results: [Vec<OpResult>; MAX_LANE_STEPS],
    /// When each step began and ended, nanoseconds.
    times: [(u64, u64); MAX_LANE_STEPS],
    traces: Traces,
    failure: Option<String>,
}

/// What a thread came to, as its process tells the leader.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// By its steps: what the op returned, all results that differ from the one before.
    results: Vec<Vec<OpResult>>,
    /// When each began and ended, nanoseconds.
    times: Vec<(u64, u64)>,
    failure: Option<String>,
}

/// What a section came to.
pub struct Ended {
    /// By step of the section: what its op returned, all results that differ from the one before.
    pub results: Vec<Vec<OpResult>>,
    pub meeting: Meeting,
}

/// The steps of the section that begins with a step.
pub fn range(program: &Program, first: u32) -> Range<usize> {
    let first = first as usize;
    let threads = program.steps[first..].iter();
    first..first + threads.take_while(|step| step.lane.is_some()).count()
}

/// Runs a section that begins with a step of `actor`.
///
/// # Errors
/// It cannot be run: more threads than there may be, no memory for one, an actor who does not live, an op that leaves the arena.
pub fn run(
    actor: &mut Actor,
    program: &Program,
    section: Range<usize>,
    judged: bool,
) -> Result<Ended, String> {
    let control = actor.control;
    let lanes = lanes(program, section.clone())?;
    let mut others: Vec<u8> = lanes.iter().map(|lane| lane.actor).collect();
    others.sort_unstable();
    others.dedup();
    others.retain(|other| *other != actor.me);
    if let Some(other) = others.iter().find(|other| !control.is_alive(**other)) {
        return Err(format!("a thread of actor {other}, who does not live"));
    }
    control.meet.begin(&lanes, others.len());
    others.iter().for_each(|other| control.hand_turn(*other));
    work_own(actor, program, &lanes, judged)?;
    control.meet.await_others();
    let mut results: Vec<Vec<OpResult>> = vec![Vec::new(); section.len()];
    let mut all: Vec<(&Lane, Told)> = Vec::with_capacity(lanes.len());
    for lane in &lanes {
        // SAFETY: whoever wrote it has said so, and waits for a turn.
        let told = unsafe { control.told(lane.number) }?;
        all.push((lane, told));
    }
    for (lane, told) in &mut all {
        if let Some(why) = told.failure.take() {
            return Err(why);
        }
        for (step, result) in lane.steps.iter().zip(&mut told.results) {
            results[*step as usize - section.start] = std::mem::take(result);
        }
    }
    let meeting = meeting(&all);
    Ok(Ended { results, meeting })
}

/// Does the part of `actor`, who is not the leader, in the section that begins with a step.
///
/// # Errors
/// As [`run`].
pub fn take_part(
    actor: &mut Actor,
    program: &Program,
    first: u32,
    judged: bool,
) -> Result<(), String> {
    let lanes = lanes(program, range(program, first))?;
    work_own(actor, program, &lanes, judged)?;
    actor.control.meet.leave();
    Ok(())
}

/// The threads of a section, in the order of their first steps.
fn lanes(program: &Program, section: Range<usize>) -> Result<Vec<Lane>, String> {
    let mut lanes: Vec<Lane> = Vec::new();
    for number in section {
        let step = &program.steps[number];
        let Some(lane) = step.lane else { continue };
        let at = usize::from(lane.number);
        let known = lanes.iter_mut().find(|known| known.number == at);
        if at >= MAX_LANES
            || known
                .as_ref()
                .is_some_and(|known| known.actor != step.actor)
        {
            return Err(format!("step {number} is of no thread that there may be"));
        }
        match known {
            Some(known) => known.steps.push(number as u32),
            None => lanes.push(Lane {
                number: at,
                actor: step.actor,
                repeats: lane.repeats,
                steps: vec![number as u32],
            }),
        }
    }
    let long = |lane: &Lane| lane.steps.len() > MAX_LANE_STEPS;
    if lanes.len() < 2 || lanes.iter().all(|lane| lane.repeats) || lanes.iter().any(long) {
        return Err("a section of one thread, or of threads that never end".to_owned());
    }
    Ok(lanes)
}

impl Meet {
    /// A section begins: its threads, and so many actors besides the leader.
    fn begin(&self, lanes: &[Lane], others: usize) {
        let plain = lanes.iter().filter(|lane| !lane.repeats).count();
        self.ready.store(0, Relaxed);
        self.left.store(plain as u32, Relaxed);
        self.away.store(others as u32, Release);
    }

    /// One of the other actors has told what its threads came to.
    fn leave(&self) {
        if self.away.fetch_sub(1, AcqRel) == 1 {
            sys::futex_wake(&self.away);
        }
    }

    /// Waits until all others have.
    fn await_others(&self) {
        loop {
            match self.away.load(Acquire) {
                0 => return,
                away => sys::futex_wait(&self.away, away),
            }
        }
    }
}

/// Lets the threads of `actor` work, and tells what they came to.
fn work_own(
    actor: &mut Actor,
    program: &Program,
    lanes: &[Lane],
    judged: bool,
) -> Result<(), String> {
    let control: &'static Control = actor.control;
    let (me, traces) = (actor.me, actor.traces);
    let needs_uffd = |lane: &Lane| {
        let mut steps = lane.steps.iter();
        steps.any(|step| matches!(program.steps[*step as usize].op, Op::Uffd { .. }))
    };
    let mut uffd = |lane: &Lane| match needs_uffd(lane) {
        true => actor.uffd.shared(),
        false => Uffd::default(),
    };
    let uffds: Vec<Uffd> = lanes.iter().map(&mut uffd).collect();
    let common = Common {
        actor,
        program,
        judged,
        meet: &control.meet,
        threads: lanes.len() as u32,
    };
    let span = control.tally.span.load(Relaxed);
    let round = control.round.load(Relaxed);
    let repetition = control.first.load(Relaxed).wrapping_add(round);
    let delays = skew::delays(repetition, span, lanes.len());
    // This thread stands where the kernel likes: when it kept to one processor itself, threads that it made hardly met on arm64.
    let mut threads: Vec<Thread> = Vec::with_capacity(lanes.len());
    for ((i, lane), uffd) in lanes.iter().enumerate().zip(uffds) {
        if lane.actor == me {
            threads.push(Thread {
                common: &common,
                lane,
                uffd,
                delay: delays[i],
                cpu: skew::processor(i, lanes.len(), repetition),
                results: std::array::from_fn(|_| Vec::with_capacity(MAX_MORE + 1)),
                times: [(0, 0); MAX_LANE_STEPS],
                traces,
                failure: None,
            });
        }
    }
    heap::share(true);
    let mut started = Ok(());
    for (thread, stack) in threads.iter_mut().zip(thread::free_stacks()) {
        let tid = &control.lanes[thread.lane.number].tid;
        let argument = std::ptr::from_mut(thread).cast();
        // SAFETY: the threads are joined below, before anything that they use goes; `work` uses its `Thread` alone, of
        // `Common` what is atomic or not written, and the actor as `work` says.
        started = unsafe { thread::start(stack, tid, work, argument) };
        if started.is_err() {
            break;
        }
    }
    if let Err(errno) = started {
        // The others wait at the barrier for one who does not come.
        return Err(format!("a thread cannot be made: {errno}"));
    }
    for lane in lanes.iter().filter(|lane| lane.actor == me) {
        thread::join(&control.lanes[lane.number].tid);
    }
    heap::share(false);
    for thread in &mut threads {
        let steps = thread.lane.steps.len();
        let told = Told {
            results: thread.results[..steps]
                .iter_mut()
                .map(std::mem::take)
                .collect(),
            times: thread.times[..steps].to_vec(),
            failure: thread.failure.take(),
        };
        // SAFETY: the place is this thread's, which has ended, and nobody reads it before we say that all is told.
        unsafe { control.tell(thread.lane.number, &told) }?;
    }
    let left = threads.iter().map(|thread| thread.traces);
    let traces = left.fold(traces, Traces::and);
    drop(threads);
    // SAFETY: the threads have ended.
    unsafe { (*common.actor).traces = traces };
    Ok(())
}

/// How the threads met. Of a thread that repeats its op, the time from its first beginning to its last end counts.
fn meeting(threads: &[(&Lane, Told)]) -> Meeting {
    let begins = threads
        .iter()
        .map(|(lane, told)| (told.times[0].0, lane.number));
    let mut begins: Vec<(u64, usize)> = begins.collect();
    begins.sort_unstable();
    let plain = threads.iter().filter(|(lane, _)| !lane.repeats);
    let length = |told: &Told| told.times.last().map_or(0, |end| end.1) - told.times[0].0;
    let longest = plain.map(|(_, told)| length(told)).max();
    let overlap = |a: &(u64, u64), b: &(u64, u64)| a.0 < b.1 && b.0 < a.1;
    let overlapped = threads.iter().enumerate().any(|(i, (_, a))| {
        threads[..i].iter().any(|(_, b)| {
            let mut mine = a.times.iter();
            mine.any(|x| b.times.iter().any(|y| overlap(x, y)))
        })
    });
    Meeting {
        first: begins[0].1,
        apart: begins[1].0 - begins[0].0,
        overlapped,
        span: longest.unwrap_or(0),
    }
}

/// Sends a thread of this process SIGUSR1, and waits until a handler has run or the thread has ended.
fn signal(actor: &Actor, lane: u8) -> Result<OpResult, String> {
    let lane = actor.control.lanes.get(usize::from(lane));
    let tid = &lane.ok_or("a signal to a thread that there cannot be")?.tid;
    let before = access::signals_handled();
    let thread = tid.load(Acquire);
    if thread != 0 && sys::signal_thread(thread, libc::SIGUSR1) {
        while tid.load(Acquire) == thread && access::signals_handled() == before {
            sys::yield_now();
        }
    }
    Ok(OpResult::Ret(0))
}

/// What a thread does.
extern "C" fn work(argument: *mut c_void) {
    // SAFETY: the `Thread` that `work_own` handed over for this thread alone.
    let me = unsafe { &mut *argument.cast::<Thread>() };
    let common = me.common;
    thread::pin(me.cpu);
    // SAFETY: nobody writes to the actor while threads run; what they use of it is read, atomic or system calls' business.
    let actor = unsafe { &*common.actor };
    let mut buffer = [0; VALUES];
    let mut bench = Bench {
        arena: actor.arena,
        fault: common.program.fault,
        files: &actor.files,
        ends: actor.ends,
        pids: &actor.control.pids,
        me: actor.me,
        buffer: &mut buffer,
        uffd: &mut me.uffd,
        // Nothing is made to fail where threads run at once.
        fails: &FailNth::default(),
        traces: &mut me.traces,
    };
    let storm = u64::from(actor.control.op_limit_ms.load(Relaxed)) * 1_000_000 / 2;
    let lane = &actor.control.lanes[me.lane.number];
    let (repeats, meet) = (me.lane.repeats, common.meet);
    lane.step.store(me.lane.steps[0], Relaxed);
    meet.ready.fetch_add(1, AcqRel);
    // No hint that this is a loop: an emulated processor would leave it for long.
    while meet.ready.load(Acquire) < common.threads {}
    skew::wait(me.delay);
    'all: for (at, &number) in me.lane.steps.iter().enumerate() {
        let op = common.program.steps[number as usize].op;
        lane.step.store(number, Relaxed);
        let list = &mut me.results[at];
        if number as usize + 1 == common.program.steps.len() {
            actor.last_op_fault(common.program.fault);
        }
        let began = sys::now();
        loop {
            let result = match op {
                Op::Fork { child } => match actor.make_child(child) {
                    Ok(Some(result)) => Ok(result),
                    // The child is alone: it has a copy of the whole address space, and of the threads none but this one.
                    // SAFETY: as that says.
                    Ok(None) => {
                        unsafe { &mut *common.actor }.begin(child, common.program, common.judged)
                    }
                    Err(failure) => Err(failure.0),
                },
                Op::Signal { lane } => signal(actor, lane),
                op => bench.perform(op),
            };
            match result {
                Ok(result) if list.last() == Some(&result) => {}
                Ok(result) if list.len() <= MAX_MORE => list.push(result),
                Ok(_) => {
                    me.failure = Some(format!(
                        "step {number} returns something else more than {MAX_MORE} times"
                    ));
                    break 'all;
                }
                Err(why) => {
                    me.failure = Some(why);
                    break 'all;
                }
            }
            // Guard install may start over for as long as others fill its range: that it ends is promised only once they stop.
            let tired = sys::now() - began > storm;
            if !repeats || meet.left.load(Acquire) == 0 || tired {
                break;
            }
        }
        me.times[at] = (began, sys::now());
    }
    if !repeats {
        meet.left.fetch_sub(1, AcqRel);
    }
}
