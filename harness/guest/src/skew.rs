//! When the threads of a section begin, and on which processors: each after a delay that is another one at each repetition. The delays go
//! through all of the time that a section takes, so that each op meets every part of the others.

use crate::sys;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use wire::MAX_LANES;

/// Repetitions after which the threads change processors.
const TURNS: u32 = 4;
/// A section that takes longer than this many nanoseconds is not gone through to its end by delays.
const LONGEST: u64 = 2_000_000;

/// The processor of a thread, by its place among so many. Neighbours are apart, and who shares a processor, where there are fewer of them
/// than threads, is others from time to time.
pub fn processor(thread: usize, threads: usize, repetition: u32) -> u32 {
    let turn = (repetition / TURNS) as usize;
    ((thread + turn) % threads) as u32 % processors()
}

/// Of this machine.
fn processors() -> u32 {
    // SAFETY: no memory involved.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    n.clamp(1, 64) as u32
}

/// Rounds of the loop that each thread waits, where the longest works for `span` nanoseconds. The first one is the measure; each other one is
/// ahead of it or behind it by up to a little more than that, evenly spread over the repetitions however many there are.
pub fn delays(repetition: u32, span: u64, threads: usize) -> Vec<u64> {
    /// Fractions whose multiples fill the unit cube evenly: powers of 1 / 1.2207 (x^4 = x + 1).
    const STEPS: [f64; MAX_LANES - 1] = [0.819_172_513, 0.671_043_607, 0.549_700_478];
    let reach = span.min(LONGEST) as f64 * 1.25;
    let nth = |step: f64| (f64::from(repetition) * step + 0.5).fract() * 2.0 - 1.0;
    let mut at: Vec<f64> = vec![0.0];
    at.extend(STEPS.iter().map(|step| nth(*step) * reach));
    at.truncate(threads);
    let earliest = at.iter().copied().fold(0.0, f64::min);
    let rounds = |nanos: f64| (nanos / nanos_per_round()) as u64;
    at.iter().map(|nanos| rounds(nanos - earliest)).collect()
}

/// One round of the loop that [`wait`] is.
pub fn wait(rounds: u64) {
    for round in 0..rounds {
        std::hint::black_box(round);
    }
}

/// How long a round of [`wait`] takes here, nanoseconds. Who is forked knows what was measured before: one measure for all of a section's
/// processes.
pub fn nanos_per_round() -> f64 {
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
