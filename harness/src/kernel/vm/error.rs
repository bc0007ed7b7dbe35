//! What can go wrong with a VM.

use crate::kernel::console::Report;
use std::path::PathBuf;

/// Options that a kernel needs built in to run the guest.
pub const NEEDED_CONFIGS: &str = "CONFIG_BLK_DEV_INITRD, CONFIG_RD_GZIP (for a compressed initramfs), CONFIG_BINFMT_ELF, \
CONFIG_PCI, CONFIG_SYSFS, CONFIG_PROC_FS, CONFIG_PROC_PAGE_MONITOR, CONFIG_FUTEX, CONFIG_SHMEM, a serial console (x86-64: \
CONFIG_SERIAL_8250_CONSOLE; arm64: CONFIG_SERIAL_AMBA_PL011_CONSOLE and CONFIG_PCI_HOST_GENERIC)";

/// The op that ran: program id and step.
pub type Running = Option<(u64, u32)>;

/// Why there is no VM, or no longer. After any of these the VM is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU is not installed.
    #[error("{program} is not installed or not in PATH; on Debian: apt-get install --no-install-recommends {package}")]
    QemuMissing {
        program: &'static str,
        package: &'static str,
    },
    /// QEMU is older than 7.2, whose predecessors have races under TCG.
    #[error("{program} is version {found}; 7.2 is the oldest that works (older ones have races under TCG)")]
    QemuTooOld {
        program: &'static str,
        found: String,
    },
    /// QEMU did not start, or ended by itself before the kernel said anything.
    #[error("QEMU failed: {0}")]
    QemuFailed(String),
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The image is no kernel for that architecture.
    #[error("{path} is no {arch} kernel image: {why}")]
    NotAKernel {
        path: PathBuf,
        arch: &'static str,
        why: String,
    },
    /// The kernel did not bring the guest up.
    #[error(
        "the kernel does not boot: {why}\nIt needs {NEEDED_CONFIGS}.\nLast console lines:\n{tail}"
    )]
    BootFailed { why: String, tail: String },
    /// The kernel panicked before the guest was up.
    #[error("the kernel panics while it boots: {headline}\nLast console lines:\n{tail}")]
    PanicAtBoot { headline: String, tail: String },
    /// The console shows a report of the kernel; the program that ran when it appeared.
    #[error("the kernel's console shows a {}: {}", report.kind, report.headline)]
    Crash {
        report: Box<Report>,
        running: Running,
    },
    /// The whole guest stands still, not just an actor (that would be an execution's end).
    #[error("the guest stands still{}: {why}", describe(running))]
    Hang { why: String, running: Running },
    /// QEMU has ended and nothing on the console says why.
    #[error("the VM is gone{}: {why}", describe(running))]
    Lost { why: String, running: Running },
    /// The guest sent something that makes no sense.
    #[error("the guest sent garbage: {0}")]
    Garbage(String),
    /// The guest writes without end.
    #[error("the guest has written {0} bytes to its console")]
    Flood(u64),
    /// The guest says that it cannot go on.
    #[error("the guest gives up: {0}")]
    Guest(String),
    /// A batch that does not fit a message.
    #[error("a batch of {0} programs is too large for one message; send fewer at once")]
    TooLarge(usize),
    /// Nothing was submitted that is still to be answered.
    #[error("nothing is in flight")]
    NothingInFlight,
    /// The host's own memory or processes failed.
    #[error("{what}: {source}")]
    Host {
        what: &'static str,
        source: std::io::Error,
    },
}

fn describe(running: &Running) -> String {
    match running {
        Some((program, step)) => format!(" during op {step} of program {program:#x}"),
        None => String::new(),
    }
}
