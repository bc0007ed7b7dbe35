//! Threads of one actor that run at once.
//!
//! They start at a barrier, on processors of their own, each after a delay that is another one at each repetition: the delays go
//! through all of the time that a section takes, so that each op meets every part of the others. When all have ended, the
//! actor reports what their ops returned.

use crate::access;
use crate::actor::Actor;
use crate::failing::FailNth;
use crate::heap;
use crate::perform::{Bench, Traces};
use crate::sys;
use crate::tally::Meeting;
use crate::thread;
use crate::uffd::Uffd;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use wire::bounded::MAX_MORE;
use wire::{Op, OpResult, Program, MAX_LANES, MAX_LANE_STEPS};

/// Values that a thread loads in one go.
const VALUES: usize = 64;
/// Repetitions after which the threads change processors.
const TURNS: u32 = 4;
/// A section that takes longer than this many nanoseconds is not gone through to its end by delays.
const LONGEST: u64 = 2_000_000;

/// What the threads have in common.
struct Common<'a> {
    /// The actor, of whom each thread makes what it needs. Nobody else uses it while they run.
    actor: *mut Actor,
    program: &'a Program,
    judged: bool,
    threads: u32,
    /// Threads that stand at the barrier.
    ready: AtomicU32,
    /// Threads that do not repeat and have not ended.
    left: AtomicU32,
}

/// One thread.
struct Thread<'a> {
    common: &'a Common<'a>,
    number: usize,
    repeats: bool,
    /// The steps it performs; the first `count` count.
    steps: [u32; MAX_LANE_STEPS],
    count: usize,
    /// The actor's, where the section has calls through it.
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

/// Runs a section of `actor`.
///
/// # Errors
/// It cannot be run: more threads than there may be, no memory for one, an op that leaves the arena.
pub fn run(
    actor: &mut Actor,
    program: &Program,
    section: Range<usize>,
    judged: bool,
) -> Result<Ended, String> {
    let control = actor.control;
    let (me, traces) = (actor.me, actor.traces);
    let mut lanes: Vec<(usize, bool, Vec<u32>)> = Vec::new();
    for number in section.clone() {
        let step = &program.steps[number];
        let Some(lane) = step.lane else { continue };
        let at = usize::from(lane.number);
        if at >= MAX_LANES || step.actor != me {
            return Err(format!("step {number} is of no thread that there may be"));
        }
        match lanes.iter_mut().find(|(known, ..)| *known == at) {
            Some((_, _, steps)) => steps.push(number as u32),
            None => lanes.push((at, lane.repeats, vec![number as u32])),
        }
    }
    let plain = lanes.iter().filter(|(_, repeats, _)| !repeats).count();
    if plain == 0 || lanes.len() < 2 || lanes.iter().any(|l| l.2.len() > MAX_LANE_STEPS) {
        return Err("a section of one thread, or of threads that never end".to_owned());
    }
    let calls = program.steps[section.clone()].iter();
    let needs_uffd = { calls }.any(|step| matches!(step.op, Op::Uffd { .. }));
    let mut uffd = || match needs_uffd {
        true => actor.uffd.shared(),
        false => Uffd::default(),
    };
    let uffds: [Uffd; MAX_LANES] = std::array::from_fn(|_| uffd());
    let common = Common {
        actor,
        program,
        judged,
        threads: lanes.len() as u32,
        ready: AtomicU32::new(0),
        left: AtomicU32::new(plain as u32),
    };
    let span = control.tally.span.load(Relaxed).min(LONGEST);
    let round = control.round.load(Relaxed);
    let repetition = control.first.load(Relaxed).wrapping_add(round);
    let delays = delays(repetition, span, lanes.len());
    let cpus = processors();
    // Neighbours are apart, and who shares a processor, where there are fewer of them than threads, is others from time to time.
    let (turn, many) = ((repetition / TURNS) as usize, lanes.len());
    let cpu_of = |thread: usize| ((thread + turn) % many) as u32 % cpus;
    // This thread stands where the kernel likes: when it kept to one processor itself, threads that it made hardly met on arm64.
    let mut threads: Vec<Thread> = Vec::with_capacity(lanes.len());
    for ((i, (number, repeats, list)), uffd) in lanes.iter().enumerate().zip(uffds) {
        let mut steps = [0; MAX_LANE_STEPS];
        steps[..list.len()].copy_from_slice(list);
        threads.push(Thread {
            common: &common,
            number: *number,
            repeats: *repeats,
            steps,
            count: list.len(),
            uffd,
            delay: delays[i],
            cpu: cpu_of(i),
            results: std::array::from_fn(|_| Vec::with_capacity(MAX_MORE + 1)),
            times: [(0, 0); MAX_LANE_STEPS],
            traces,
            failure: None,
        });
    }
    heap::share(true);
    let mut started = Ok(());
    for (thread, stack) in threads.iter_mut().zip(thread::free_stacks()) {
        let tid = &control.lanes[thread.number].tid;
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
    for lane in &lanes {
        thread::join(&control.lanes[lane.0].tid);
    }
    heap::share(false);
    let mut results: Vec<Vec<OpResult>> = vec![Vec::new(); section.len()];
    for thread in &mut threads {
        if let Some(why) = thread.failure.take() {
            return Err(why);
        }
        for (at, result) in thread.results.iter_mut().enumerate().take(thread.count) {
            results[thread.steps[at] as usize - section.start] = std::mem::take(result);
        }
    }
    let meeting = meeting(&threads);
    let left = threads.iter().map(|thread| thread.traces);
    let traces = left.fold(traces, Traces::and);
    drop(threads);
    // SAFETY: the threads have ended.
    unsafe { (*common.actor).traces = traces };
    Ok(Ended { results, meeting })
}

/// Of this machine.
fn processors() -> u32 {
    // SAFETY: no memory involved.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    n.clamp(1, 64) as u32
}

/// Rounds of the loop that each thread waits. The first one is the measure; each other one is ahead of it or behind it by up to
/// a little more than the time that the longest works, evenly spread over the repetitions however many there are.
fn delays(repetition: u32, span: u64, threads: usize) -> Vec<u64> {
    /// Fractions whose multiples fill the unit cube evenly: powers of 1 / 1.2207 (x^4 = x + 1).
    const STEPS: [f64; MAX_LANES - 1] = [0.819_172_513, 0.671_043_607, 0.549_700_478];
    let reach = span as f64 * 1.25;
    let nth = |step: f64| (f64::from(repetition) * step + 0.5).fract() * 2.0 - 1.0;
    let mut at: Vec<f64> = vec![0.0];
    at.extend(STEPS.iter().map(|step| nth(*step) * reach));
    at.truncate(threads);
    let earliest = at.iter().copied().fold(0.0, f64::min);
    let rounds = |nanos: f64| (nanos / nanos_per_round()) as u64;
    at.iter().map(|nanos| rounds(nanos - earliest)).collect()
}

/// One round of the loop that [`wait`] is.
fn wait(rounds: u64) {
    for round in 0..rounds {
        std::hint::black_box(round);
    }
}

/// How long a round of [`wait`] takes here.
fn nanos_per_round() -> f64 {
    /// Thousandths of a nanosecond; 0: not measured.
    static MEASURED: AtomicU32 = AtomicU32::new(0);
    /// Nanoseconds that a clock of any kind can tell from nothing; one that counts ticks needs several.
    const LONG: u64 = 50_000;
    let mut measured = MEASURED.load(Relaxed);
    if measured == 0 {
        let time = |rounds| {
            let began = sys::now();
            wait(rounds);
            sys::now() - began
        };
        let mut rounds = 20_000;
        let best = loop {
            let best = (0..5).map(|_| time(rounds)).min().unwrap_or(0);
            if best >= LONG || rounds >= 1 << 30 {
                break best;
            }
            rounds *= 2;
        };
        measured = (best * 1000 / rounds).clamp(1, 1 << 30) as u32;
        MEASURED.store(measured, Relaxed);
    }
    f64::from(measured) / 1000.0
}

/// How the threads met. Of a thread that repeats its op, the time from its first beginning to its last end counts.
fn meeting(threads: &[Thread]) -> Meeting {
    let mut begins: Vec<(u64, usize)> = threads.iter().map(|t| (t.times[0].0, t.number)).collect();
    begins.sort_unstable();
    let plain = threads.iter().filter(|thread| !thread.repeats);
    let longest = plain.map(|t| t.times[t.count - 1].1 - t.times[0].0).max();
    let overlap = |a: &(u64, u64), b: &(u64, u64)| a.0 < b.1 && b.0 < a.1;
    let overlapped = threads.iter().enumerate().any(|(i, a)| {
        threads[..i].iter().any(|b| {
            let mine = a.times[..a.count].iter();
            mine.clone()
                .any(|x| b.times[..b.count].iter().any(|y| overlap(x, y)))
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
    // SAFETY: the `Thread` that `run` handed over for this thread alone.
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
    let lane = &actor.control.lanes[me.number];
    lane.step.store(me.steps[0], Relaxed);
    common.ready.fetch_add(1, AcqRel);
    // No hint that this is a loop: an emulated processor would leave it for long.
    while common.ready.load(Acquire) < common.threads {}
    wait(me.delay);
    'all: for at in 0..me.count {
        let number = me.steps[at];
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
            if !me.repeats || common.left.load(Acquire) == 0 || tired {
                break;
            }
        }
        me.times[at] = (began, sys::now());
    }
    if !me.repeats {
        common.left.fetch_sub(1, AcqRel);
    }
}
