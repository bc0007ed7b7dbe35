//! PID 1 of an mmdiff VM. It performs the ops of programs, looks at what they did, and reports; whether an outcome is
//! right is not for it to say.
//!
//! | module | subject |
//! | --- | --- |
//! | [`boot`] | file systems, console, power-off |
//! | [`host`] | the running kernel in place of one in a VM |
//! | [`bar`] | memory shared with the host |
//! | [`probe`] | what the kernel can do |
//! | [`knobs`] | settings of the whole kernel |
//! | [`swap`] | swap space on a RAM disk |
//! | [`supervisor`] | PID 1's life: workers, the dead, hangs |
//! | [`worker`] | batches, isolation of programs |
//! | [`log`] | what the kernel complains about |
//! | [`heap`] | memory of our own that does not grow |
//! | [`control`] | memory shared by supervisor, worker and actors |
//! | [`actor`] | turns, fork, exit |
//! | [`section`] | threads that run at once, of one actor or several |
//! | [`skew`] | when they begin, and on which processors |
//! | [`thread`] | making threads |
//! | [`tally`] | what comes of repetitions |
//! | [`walks`] | how often the kernel walks page tables |
//! | [`khugepaged`] | how many huge pages khugepaged makes |
//! | [`files`] | files that programs map |
//! | [`perform`] | the ops under test |
//! | [`failing`] | allocations that are made to fail |
//! | [`transfer`] | calls that have the kernel read and write memory |
//! | [`access`] | loads and stores that may fault |
//! | [`look`] | observation |
//! | [`memory`] | how much is free |

#![cfg_attr(not(test), no_main)]

mod access;
mod actor;
mod arena;
mod bar;
mod boot;
mod control;
mod events;
mod failing;
mod files;
mod heap;
mod host;
mod keys;
mod khugepaged;
mod knobs;
mod log;
mod look;
mod memory;
mod perform;
mod probe;
mod section;
mod skew;
mod supervisor;
mod swap;
mod sys;
mod tally;
mod thread;
mod transfer;
mod uffd;
mod walks;
mod worker;

use bar::{Bar, Device};
use control::Control;
use knobs::KnobFiles;
use memory::Buddies;
use wire::{layout, Response};
use worker::Setup;

// Tests have threads.
#[cfg(not(test))]
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// C's entry point, not Rust's: the signal stack that Rust's would map is two VMAs more for each fork to copy.
#[cfg_attr(not(test), no_mangle)]
pub extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
    // A pipe of which nobody reads is an error of a call, not the end of an actor.
    // SAFETY: no memory involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let memory = match host::enter().transpose() {
        Ok(memory) => memory,
        Err(why) => {
            boot::say(&format!("error: {why}"));
            std::process::exit(2);
        }
    };
    // SAFETY: no memory involved.
    if unsafe { libc::getpid() } != 1 {
        eprintln!(
            "the mmdiff guest is PID 1 of a virtual machine: here it would change the settings of this machine. \
             `cargo xtask run` boots one."
        );
        std::process::exit(2);
    }
    if memory.is_none() {
        boot::open_console();
    }
    if std::env::var_os("mmdiff_bare").is_some() {
        // The bare init that boot times are compared with.
        boot::say("bare");
        boot::power_off();
    }
    match set_up(memory) {
        Ok((setup, bar)) => {
            boot::say("ready");
            supervisor::run(setup, bar)
        }
        Err(why) => {
            boot::say(&format!("error: {why}"));
            boot::power_off()
        }
    }
}

/// Everything up to the point where programs can come; `memory`: on the running kernel.
fn set_up(memory: Option<i32>) -> Result<(Setup, Bar), String> {
    let (missing, knobs, device) = match memory {
        None => {
            boot::mount_all()?;
            let missing = knobs::quiet();
            let knobs = KnobFiles::open();
            knobs.calm_khugepaged();
            (missing, knobs, Device::find()?)
        }
        Some(fd) => (Vec::new(), KnobFiles::untouched(), Device::over(fd)?),
    };
    boot::check_address_space()?;
    let bar = device
        .whole()
        .map_err(|e| format!("the shared memory cannot be mapped: {e}"))?;
    if bar.get(layout::MAGIC) != layout::MAGIC_VALUE {
        return Err(format!(
            "the shared memory starts with {:#x}, not with {:#x}: host and guest are not of the same version",
            bar.get(layout::MAGIC),
            layout::MAGIC_VALUE
        ));
    }
    let control = Control::create().map_err(|e| format!("no shared memory: {e}"))?;
    access::catch_faults();
    let (hello, mut features) = probe::probe(missing)?;
    if memory.is_none() {
        let path = c"/proc/kpageflags";
        let opened = sys::open(path, libc::O_RDONLY);
        features.kpageflags = Some(opened.map_err(|e| format!("{}: {e}", path.to_string_lossy()))?);
    }
    let buddies = Buddies::open(hello.pmd_size);
    let hello = wire::encode(&Response::Hello(hello)).map_err(|e| format!("hello: {e}"))?;
    worker::send(&bar, control, &hello);
    Ok((
        Setup {
            control,
            device,
            knobs,
            features,
            buddies,
            log: log::KernelLog::open(),
        },
        bar,
    ))
}
