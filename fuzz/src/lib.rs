//! What the targets share: libFuzzer's extra counters, and mutation of programs instead of bytes.

pub mod machine;

use std::sync::atomic::{AtomicU8, Ordering};

/// How many things that were observed are told apart.
const COUNTERS: usize = 1 << 14;

/// libFuzzer finds what is in this section, takes a counter that is not 0 for coverage, and sets all to 0 before each execution.
/// Atomic, since it does so behind the compiler's back; an `AtomicU8` is one byte like libFuzzer's `uint8_t`.
#[link_section = "__libfuzzer_extra_counters"]
static SEEN: [AtomicU8; COUNTERS] = [const { AtomicU8::new(0) }; COUNTERS];

/// Tells libFuzzer that something was observed.
pub fn mark(what: u64) {
    SEEN[what as usize % COUNTERS].store(1, Ordering::Relaxed);
}

/// Puts bytes where libFuzzer wants them; their number.
pub fn hand_over(bytes: &[u8], out: &mut [u8]) -> usize {
    out[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

/// From here on libFuzzer changes and crosses programs, not bytes: see `harness::fuzzing::text`, or another module that is named.
#[macro_export]
macro_rules! mutate_programs {
    () => {
        fuzz::mutate_programs!(text);
    };
    ($how:ident) => {
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let changed = harness::fuzzing::$how::mutated(&data[..size], max_size, seed);
            $crate::hand_over(&changed, data)
        });

        libfuzzer_sys::fuzz_crossover!(|data1: &[u8], data2: &[u8], out: &mut [u8], seed: u32| {
            let crossed = harness::fuzzing::$how::crossed(data1, data2, out.len(), seed);
            $crate::hand_over(&crossed, out)
        });
    };
}

/// How the targets on the simulated kernel are run.
pub mod simulated {
    use harness::fuzzing::simulated::{fault, Choice, Ran};
    use harness::fuzzing::tally::Tally;
    use harness::kernel::simulated::SimFault;
    use libfuzzer_sys::Corpus;
    use std::sync::{Mutex, OnceLock};

    /// `MMDIFF_FAULT=family/name`: the simulated kernel has this fault, and a program that shows it is a finding.
    static FAULT: OnceLock<Option<&'static SimFault>> = OnceLock::new();

    /// `MMDIFF_TALLY=file`: every fault has its turn, and what is reached for the first time is written there.
    static TALLY: OnceLock<Option<Mutex<Tally>>> = OnceLock::new();

    /// Runs a target's function on what its environment asks for.
    pub fn run(
        data: &[u8],
        target: impl Fn(&[u8], Choice, &mut dyn FnMut(u64)) -> Result<Option<Ran>, String>,
    ) -> Corpus {
        let tally = TALLY.get_or_init(|| {
            let path = std::env::var_os("MMDIFF_TALLY")?;
            Some(Mutex::new(
                Tally::new(path.as_ref()).expect("MMDIFF_TALLY cannot be written"),
            ))
        });
        let asked = FAULT.get_or_init(|| {
            let name = std::env::var("MMDIFF_FAULT").ok()?;
            Some(fault(&name).unwrap_or_else(|why| panic!("{why}")))
        });
        let mut tally = tally
            .as_ref()
            .map(|tally| tally.lock().expect("one thread"));
        let choice = match (asked, &tally) {
            (Some(fault), _) => Choice::This(fault),
            (None, Some(tally)) => Choice::Quietly(tally.turn()),
            (None, None) => Choice::ByProgram,
        };
        let ran = target(data, choice, &mut super::mark).unwrap_or_else(|wrong| panic!("{wrong}"));
        if let Some(tally) = &mut tally {
            tally
                .count(ran.as_ref())
                .expect("MMDIFF_TALLY cannot be written");
        }
        match ran {
            Some(_) => Corpus::Keep,
            None => Corpus::Reject,
        }
    }
}
