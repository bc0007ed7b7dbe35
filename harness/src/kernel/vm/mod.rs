//! Kernels in QEMU.
//!
//! | file | subject |
//! | --- | --- |
//! | `qemu` | which QEMU, its arguments, kernel images |
//! | `process` | the QEMU process, its console, its end |
//! | `log` | the log file of a console |
//! | `rights` | whom it runs as, and the files that it is given |
//! | `shared` | the memory that host and guest share |
//! | `flight` | what has been asked and not yet been answered |
//! | `accel` | whether KVM works here |
//! | `run_to_end` | a VM with another init than the guest |
//! | `error` | what can go wrong |
//!
//! The transport is two rings in an ivshmem BAR ([`wire::ring`]), which needs nothing of the kernel but PCI. Everything
//! that comes from the guest is untrusted: frames are checked, decoded with limits, and must answer what was asked.

mod accel;
mod error;
mod flight;
mod log;
mod process;
mod qemu;
mod rights;
mod run_to_end;
mod shared;

pub use accel::{boot_bare, probe_accel};
pub use error::{Running, VmError, NEEDED_CONFIGS};
pub use log::read_log;
pub use process::end_with_us;
pub use qemu::{command_line, version, Accel, VmConfig};
pub use run_to_end::run_to_end;

use crate::kernel::console::Recogniser;
use flight::Flight;
use process::Process;
use shared::Shared;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_images::Arch;
use wire::layout;
use wire::ring::{self, Memory, RingError};
use wire::{Hello, Request, Response};

/// How often we look for an answer; batches are pipelined, so the guest does not wait for us.
const POLL: Duration = Duration::from_millis(1);
/// How long a guest may stand still, on a machine of ordinary speed: its supervisor beats every 50 ms.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Most that may pass between two looks at the guest's pulse; the rest is time in which we did not run.
const GLANCE: Duration = Duration::from_millis(250);
/// Bytes on the console after which a guest is given up.
const FLOOD: u64 = 64 << 20;
/// How long we wait for the rest of a report.
const REPORT_QUIET: Duration = Duration::from_millis(300);
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// A booted kernel with the guest in it.
#[derive(Debug)]
pub struct Vm {
    process: Process,
    shared: Arc<Shared>,
    hello: Hello,
    boot_seconds: f64,
    slowdown: f64,
    op_limit: Duration,
    flight: Flight,
    /// Requests for which the ring has had no room yet.
    waiting: VecDeque<Vec<u8>>,
    frame: Vec<u8>,
    /// The guest's progress word and heartbeat as we saw them last, when that was, and for how long progress and heart
    /// have stood still.
    pulse: (u64, u64),
    looked: Instant,
    still: Duration,
    silent: Duration,
    polls: u32,
}

impl Vm {
    /// Boots and waits until the guest answers.
    ///
    /// # Errors
    /// No QEMU, no kernel, or one that does not boot.
    pub fn boot(config: &VmConfig) -> Result<Vm, VmError> {
        qemu::check_image(&config.image, config.arch)?;
        let shared = share()?;
        let process = Process::start(config, Arc::clone(&shared))?;
        let mut vm = Vm::around(process, shared);
        vm.await_hello(config.boot_limit)?;
        let seconds = vm.process.started.elapsed().as_secs_f64();
        vm.boot_seconds = seconds;
        // A boot on the machine that the limits were chosen on.
        let reference = match (config.arch, config.accel) {
            (Arch::X86_64, Accel::Tcg) => 5.0,
            (Arch::Aarch64, Accel::Tcg) => 3.0,
            (_, Accel::Kvm) => 1.0,
        };
        vm.slowdown = (seconds / reference).max(1.0);
        vm.revive();
        Ok(vm)
    }

    /// The guest on the running kernel, in namespaces of its own in place of a machine: see `crate::kernel::host`, which asks whether it may.
    ///
    /// # Errors
    /// It cannot be started, or this machine does not let it have what it needs.
    pub fn host(guest: &Path, log: &Path) -> Result<Vm, VmError> {
        must_exist(guest)?;
        let shared = share()?;
        let memory = shared.as_fd().as_raw_fd();
        let mut command = std::process::Command::new(guest);
        command
            .env_clear()
            .env("MMDIFF_ALLOW_HOST", "1")
            .env("MMDIFF_HOST_MEMORY", memory.to_string());
        let names = ("guest", "mmdiff");
        let process = Process::launch(command, names, log, Arc::clone(&shared), Vec::new())?;
        let mut vm = Vm::around(process, shared);
        vm.await_hello(Duration::from_secs(30))?;
        vm.boot_seconds = vm.process.started.elapsed().as_secs_f64();
        vm.revive();
        Ok(vm)
    }

    /// A VM that has not said hello.
    fn around(process: Process, shared: Arc<Shared>) -> Vm {
        Vm {
            process,
            shared,
            hello: Hello::default(),
            boot_seconds: 0.0,
            slowdown: 1.0,
            op_limit: Duration::from_secs(1),
            flight: Flight::default(),
            waiting: VecDeque::new(),
            frame: Vec::new(),
            pulse: (0, 0),
            looked: Instant::now(),
            still: Duration::ZERO,
            silent: Duration::ZERO,
            polls: 0,
        }
    }

    /// What the guest found out about its kernel.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Seconds from the start of QEMU until the guest answered.
    pub fn boot_seconds(&self) -> f64 {
        self.boot_seconds
    }

    /// How much slower than the reference machine this one is now, at least 1; limits should grow with it.
    pub fn slowdown(&self) -> f64 {
        self.slowdown
    }

    /// Process id of QEMU, for measurements.
    pub fn qemu_pid(&self) -> u32 {
        self.process.id()
    }

    /// The console's last lines.
    pub fn console_tail(&self) -> String {
        self.process.console().tail()
    }

    /// Program id and step that the guest says it runs; valid when the guest is dead, too.
    pub fn in_flight(&self) -> Running {
        process::running(&self.shared)
    }

    /// Sends a batch and returns at once; several may be in flight.
    ///
    /// # Errors
    /// The batch does not fit a message, or the guest has broken the ring.
    pub fn submit(&mut self, request: Request) -> Result<(), VmError> {
        let bytes = wire::encode(&request).map_err(|_| {
            VmError::TooLarge(match &request {
                Request::Batch { programs, .. } => programs.len(),
                Request::PowerOff => 0,
            })
        })?;
        if let Request::Batch { op_limit_ms, .. } = request {
            self.op_limit = self.op_limit.max(Duration::from_millis(op_limit_ms.into()));
        }
        if self.flight.is_empty() {
            // The guest may have been idle: it has a whole new time to move.
            self.revive();
        }
        self.flight.add(&request);
        self.waiting.push_back(bytes);
        self.pump()
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// Whatever makes further answers impossible. The VM is of no more use then.
    pub fn wait(&mut self) -> Result<Response, VmError> {
        loop {
            self.pump()?;
            // Asked before the ring is: what a dying guest has sent is taken first.
            let ended = self.process.ended();
            let report = self.report();
            if let Some(response) = self.receive()? {
                if let (Some(running), Response::Execution(execution)) = (report, &response) {
                    // The program that the report is about ends with the report, not with an execution.
                    if running.is_some_and(|(program, _)| program == execution.id) {
                        return Err(self.crash());
                    }
                }
                self.flight.check(&response)?;
                if let Response::Log {
                    program,
                    step,
                    text,
                } = &response
                {
                    // The guest's reading of the kernel's log names the op for certain; the console may come later.
                    match Recogniser::read(text) {
                        Some(report) => {
                            return Err(VmError::Crash {
                                report: Box::new(report),
                                running: Some((*program, *step)),
                            });
                        }
                        None => continue,
                    }
                }
                return Ok(response);
            }
            if report.is_some() {
                return Err(self.crash());
            }
            if let Some(status) = ended {
                return Err(self.lost(status));
            }
            if self.flight.is_empty() {
                return Err(VmError::NothingInFlight);
            }
            self.check_life()?;
            std::thread::sleep(POLL);
        }
    }

    /// Ends the VM. Dropping it does the same.
    pub fn shutdown(self) {}

    fn await_hello(&mut self, limit: Duration) -> Result<(), VmError> {
        loop {
            if let Some(response) = self.receive()? {
                return match response {
                    Response::Hello(hello) if hello.version == wire::VERSION => {
                        self.hello = hello;
                        Ok(())
                    }
                    Response::Hello(hello) => Err(VmError::Garbage(format!(
                        "a guest that speaks version {} of the messages; this is {}",
                        hello.version,
                        wire::VERSION
                    ))),
                    other => Err(VmError::Garbage(format!("no hello but {other:?}"))),
                };
            }
            if let Some(status) = self.process.ended() {
                return Err(self.boot_failure(format!("QEMU has ended ({status})")));
            }
            let error = self.process.console().error.clone();
            if let Some(why) = error {
                return Err(self.boot_failure(why));
            }
            if self.process.started.elapsed() > limit {
                return Err(self.boot_failure(format!("no answer within {limit:?}")));
            }
            std::thread::sleep(POLL);
        }
    }

    fn boot_failure(&mut self, why: String) -> VmError {
        self.process.end();
        let console = self.process.console();
        let tail = last_lines(&console.tail(), 12);
        if let Some(why) = &console.error {
            return VmError::BootFailed {
                why: why.clone(),
                tail,
            };
        }
        match console.report() {
            Some(report) => VmError::PanicAtBoot {
                headline: report.headline.clone(),
                tail,
            },
            // QEMU complains about its arguments and ends before there is a machine.
            None if tail.contains("qemu-system-") => VmError::QemuFailed(tail),
            None => VmError::BootFailed { why, tail },
        }
    }

    /// Moves waiting requests to the ring as far as there is room.
    fn pump(&mut self) -> Result<(), VmError> {
        while let Some(bytes) = self.waiting.front() {
            if !ring::REQUESTS
                .push(&*self.shared, bytes)
                .map_err(broken_ring)?
            {
                break;
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Response>, VmError> {
        let shared = &*self.shared;
        let at = ring::RESPONSES.position(shared).map_err(broken_ring)?;
        let next = ring::RESPONSES
            .peek(shared, at, &mut self.frame)
            .map_err(broken_ring)?;
        let Some(next) = next else {
            return Ok(None);
        };
        let response = wire::decode(&self.frame).map_err(|e| {
            VmError::Garbage(format!("a message of {} bytes: {e}", self.frame.len()))
        })?;
        ring::RESPONSES.release(shared, next).map_err(broken_ring)?;
        self.still = Duration::ZERO;
        Ok(Some(response))
    }

    /// What ran when the console's report appeared, if there is a report.
    fn report(&self) -> Option<Running> {
        let console = self.process.console();
        console.report().map(|_| console.running)
    }

    /// QEMU has ended by itself.
    fn lost(&mut self, status: std::process::ExitStatus) -> VmError {
        // Reads the console to its end.
        self.process.end();
        if self.report().is_some() {
            return self.crash();
        }
        VmError::Lost {
            why: format!("QEMU has ended ({status})"),
            running: self.in_flight(),
        }
    }

    /// Whether the guest moves.
    fn check_life(&mut self) -> Result<(), VmError> {
        // A few looks a second are enough.
        self.polls = self.polls.wrapping_add(1);
        if !self.polls.is_multiple_of(16) {
            return Ok(());
        }
        let total = self.process.console().total;
        if total > FLOOD {
            return Err(VmError::Flood(total));
        }
        let word = |offset| self.shared.load(offset).unwrap_or(0);
        let pulse = (word(layout::PROGRESS_COUNT), word(layout::HEARTBEAT));
        // When we have not run ourselves (a suspended laptop, a paused virtual machine), neither has the guest.
        let passed = self.looked.elapsed().min(GLANCE);
        self.looked = Instant::now();
        self.still += passed;
        self.silent += passed;
        if pulse.0 != self.pulse.0 {
            self.still = Duration::ZERO;
        }
        if pulse != self.pulse {
            self.silent = Duration::ZERO;
        }
        self.pulse = pulse;
        // The guest's own watchdog ends an op after its limit; it may need ten times as long to bury the dead.
        let limit = STANDSTILL.mul_f64(self.slowdown);
        let (silent, still) = (self.silent, self.still);
        let why = if silent > limit {
            format!("no sign of life for {:.0} s", silent.as_secs_f64())
        } else if still > limit + 12 * self.op_limit {
            let still = still.as_secs_f64();
            format!("its supervisor lives, but nothing has moved for {still:.0} s")
        } else {
            return Ok(());
        };
        Err(VmError::Hang {
            why,
            running: self.in_flight(),
        })
    }

    fn revive(&mut self) {
        self.looked = Instant::now();
        self.still = Duration::ZERO;
        self.silent = Duration::ZERO;
    }

    /// Collects the rest of a report.
    fn crash(&mut self) -> VmError {
        let since = Instant::now();
        while since.elapsed() < REPORT_LIMIT {
            let console = self.process.console();
            let quiet = console
                .last
                .is_none_or(|last| last.elapsed() > REPORT_QUIET);
            if console.closed || quiet {
                break;
            }
            drop(console);
            std::thread::sleep(POLL);
        }
        let console = self.process.console();
        match console.report() {
            Some(report) => VmError::Crash {
                report: Box::new(report.clone()),
                running: console.running,
            },
            None => VmError::Lost {
                why: "the console's report has vanished".to_owned(),
                running: console.running,
            },
        }
    }
}

/// Memory to share with a guest.
fn share() -> Result<Arc<Shared>, VmError> {
    let what = "making the shared memory";
    let shared = Shared::create().map_err(|source| VmError::Host { what, source })?;
    Ok(Arc::new(shared))
}

fn must_exist(path: &Path) -> Result<(), VmError> {
    let missing = |source| VmError::File {
        path: path.to_owned(),
        source,
    };
    std::fs::metadata(path).map(|_| ()).map_err(missing)
}

fn broken_ring(error: RingError<std::io::Error>) -> VmError {
    match error {
        RingError::Memory(source) => VmError::Host {
            what: "accessing the shared memory",
            source,
        },
        other => VmError::Garbage(other.to_string()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
