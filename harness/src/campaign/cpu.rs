//! CPU time of the calling thread, for the share that generating and judging cost.

use nix::time::{clock_gettime, ClockId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// CPU time that this thread has used so far.
fn thread_time() -> Duration {
    // The clock exists on every Linux; without it the shares read zero, nothing else.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Nanoseconds of CPU time, added up over threads.
#[derive(Debug, Default)]
pub struct CpuAccount(AtomicU64);

impl CpuAccount {
    /// Runs `work` and books the CPU time it takes.
    pub fn charge<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let result = work();
        let spent = thread_time().saturating_sub(before);
        self.0.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// Seconds booked so far.
    pub fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e9
    }
}
