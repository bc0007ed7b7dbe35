//! How the targets on real kernels are run: one VM, or two, for as long as the process lives. QEMU dies with it, whatever way it ends.

use harness::campaign::Pairing;
use harness::fuzzing::machine::{Machine, Wrong};
use harness::fuzzing::{marks, text};
use harness::kernel::host::HostSource;
use harness::kernel::machine::VmSource;
use harness::kernel::Execution;
use libfuzzer_sys::Corpus;
use oracle::program::Program;
use std::fmt::Display;
use std::sync::{Arc, Mutex, OnceLock};
use vm_images::Arch;

/// EX_UNAVAILABLE, as all commands end when the infrastructure fails.
const INFRASTRUCTURE: i32 = 69;

/// Runs of a program on which two kernels differ though the rules permit both.
const RERUNS: u32 = 3;

static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();
static PAIR: OnceLock<Mutex<Pairing<'static>>> = OnceLock::new();

static HOST: OnceLock<HostSource> = OnceLock::new();
/// What programs were skipped for.
static SKIPPED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Boots the kernel of this architecture that `MMDIFF_KERNEL` names.
pub fn boot(arch: Arch) {
    let source = xtask::fuzzed::kernel(arch).unwrap_or_else(|e| give_up(e));
    let known = xtask::fuzzed::known().unwrap_or_else(|e| give_up(e));
    let machine = Machine::open(Box::new(source), known).unwrap_or_else(|e| give_up(e));
    assert!(MACHINE.set(Mutex::new(machine)).is_ok(), "booted once");
}

/// Runs a program on the kernel that was booted, and judges it.
pub fn run(data: &[u8]) -> Corpus {
    let Some(program) = text::program(data) else {
        return Corpus::Reject;
    };
    let mut machine = MACHINE.get().expect("booted").lock().expect("one thread");
    match machine.run(program, &mut super::mark) {
        Ok(()) => Corpus::Keep,
        Err(Wrong::Finding(what)) => panic!("{what}"),
        Err(Wrong::Infrastructure(why)) => give_up(why),
    }
}

/// Takes the running kernel, if that is allowed.
pub fn boot_host() {
    let source = xtask::fuzzed::host().unwrap_or_else(|e| give_up(e));
    let known = xtask::fuzzed::known().unwrap_or_else(|e| give_up(e));
    let machine = Machine::open(Box::new(source.clone()), known).unwrap_or_else(|e| give_up(e));
    assert!(MACHINE.set(Mutex::new(machine)).is_ok(), "booted once");
    assert!(HOST.set(source).is_ok(), "booted once");
}

/// Runs a program on the running kernel, if that can give it what it wants; what it cannot is said once.
pub fn run_host(data: &[u8]) -> Corpus {
    let Some(program) = text::program(data) else {
        return Corpus::Reject;
    };
    match HOST.get().expect("booted").fit(program) {
        Ok(program) => run(program.to_string().as_bytes()),
        Err(why) => {
            let mut said = SKIPPED.lock().expect("one thread");
            if !said.contains(&why) {
                eprintln!("skipped: programs that want {why}");
                said.push(why);
            }
            Corpus::Reject
        }
    }
}

/// Boots the two kernels that `MMDIFF_KERNEL` names.
pub fn boot_pair(arch: Arch) {
    let sources = xtask::fuzzed::pair(arch).unwrap_or_else(|e| give_up(e));
    // They live as long as the process.
    let [a, b]: &'static [VmSource; 2] = Box::leak(Box::new(sources));
    let known = xtask::fuzzed::known().unwrap_or_else(|e| give_up(e));
    let pairing = Pairing::open([a, b], RERUNS, known).unwrap_or_else(|e| give_up(e));
    assert!(PAIR.set(Mutex::new(pairing)).is_ok(), "booted once");
}

/// Runs a program on both kernels, and compares what they did.
pub fn run_pair(data: &[u8]) -> Corpus {
    let Some(program) = text::program(data) else {
        return Corpus::Reject;
    };
    let program = Arc::new(program);
    let mut pair = PAIR.get().expect("booted").lock().expect("one thread");
    let mut each = |program: &Program, both: [&Execution; 2]| {
        marks::pair(program, both, &mut super::mark);
    };
    match pair.run(program.clone(), &mut each) {
        Ok(None) => Corpus::Keep,
        Ok(Some(what)) => panic!("{what}\n{program}"),
        Err(error) => give_up(error),
    }
}

/// Ends the process without a finding.
fn give_up(why: impl Display) -> ! {
    eprintln!("error: {why:#}");
    // SAFETY: `_exit` takes a number and does not return. Not `exit`: libFuzzer takes that for a finding of the target.
    unsafe { libc::_exit(INFRASTRUCTURE) }
}
