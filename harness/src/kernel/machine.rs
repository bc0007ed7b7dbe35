//! Kernels in VMs: binds the VM's messages to programs and observations.

use super::convert::{from_wire, to_wire, Views};
use super::vm::{command_line, Accel, Vm, VmConfig, VmError};
use super::{
    BootError, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Meetings, Prepared,
    Raced, Repeat,
};
use oracle::geometry::Geometry;
use oracle::profile::{Profile, Release};
use std::collections::BTreeMap;
use std::path::PathBuf;
use vm_images::Arch;
use wire::{Hello, Mode, Request, Response};

/// Boots of a machine that [`met_a_patch`] before it is given up.
const BOOTS: u32 = 3;

/// How long an op may take, in milliseconds, on a machine of ordinary speed. The slowest legal op goes through the whole
/// arena and takes a few milliseconds under TCG.
const OP_LIMIT_MS: f64 = 2000.0;

/// A kernel image that can be booted as often as one likes.
#[derive(Debug, Clone)]
pub struct VmSource {
    /// How the user names the kernel.
    pub label: String,
    /// Its uname release, where the lock says it.
    pub release: Option<String>,
    /// How a command line names it; see [`KernelSource::options`]. Empty: by label and architecture.
    pub options: Vec<String>,
    /// The file with the configuration that it was built with, where there is one.
    pub build_config: Option<PathBuf>,
    /// Everything but the console log.
    pub config: VmConfig,
    /// Folder for console logs.
    pub consoles: PathBuf,
    /// A deliberate fault of the guest.
    pub guest_fault: Option<wire::GuestFault>,
    /// A file that makes the guest panic in the next program, once, when it appears: it is removed.
    pub panic_when: Option<PathBuf>,
}

impl VmSource {
    /// Boots the kernel.
    ///
    /// # Errors
    /// No QEMU, no kernel, or one that does not boot.
    pub fn boot_vm(&self, name: &str) -> Result<VmKernel, BootError> {
        let mut config = self.config.clone();
        let file: String = name
            .chars()
            .map(|c| if c == '/' { '_' } else { c })
            .collect();
        config.console_log = self.consoles.join(format!("{file}.log"));
        let failed = |why: String| BootError::Failed {
            why,
            console: String::new(),
        };
        let mut tries = BOOTS;
        let vm = loop {
            tries -= 1;
            match Vm::boot(&config) {
                Ok(vm) => break vm,
                Err(error) if tries > 0 && met_a_patch(&config, &error) => {
                    eprintln!(
                        "{name}: while it booted, a processor met an instruction that another was patching (Oops: int3); booting again"
                    );
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        let mut kernel = VmKernel::new(vm, &self.label, config.arch.name(), config.accel.name())?;
        kernel.panic_when.clone_from(&self.panic_when);
        Ok(kernel)
    }
}

/// Where TCG runs several x86 processors, one of them may meet an instruction while another is patching it, which QEMU does not
/// order as a processor does. A kernel that panics for any other reason has failed.
fn met_a_patch(config: &VmConfig, error: &VmError) -> bool {
    let several = config.accel == Accel::Tcg && config.arch == Arch::X86_64 && config.cpus > 1;
    match error {
        VmError::PanicAtBoot { headline, tail } => {
            several && (headline.contains("int3") || tail.contains("Oops: int3"))
        }
        _ => false,
    }
}

/// Page size and pages per PMD that a guest reports.
fn geometry(hello: &Hello) -> Result<Geometry, String> {
    let geometry = match hello.page_size {
        4096 | 16384 | 65536 => Geometry {
            page_size: hello.page_size,
            // A page of eight-byte entries.
            pages_per_pmd: hello.page_size / 8,
        },
        other => return Err(format!("the guest reports pages of {other} bytes")),
    };
    let pmd = u64::from(geometry.page_size) * u64::from(geometry.pages_per_pmd);
    if hello.pmd_size != 0 && hello.pmd_size != pmd {
        return Err(format!(
            "the guest reports PMDs of {} bytes for pages of {} bytes",
            hello.pmd_size, hello.page_size
        ));
    }
    Ok(geometry)
}

impl KernelSource for VmSource {
    fn label(&self) -> &str {
        &self.label
    }

    fn arch(&self) -> &str {
        self.config.arch.name()
    }

    fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    fn options(&self) -> Vec<String> {
        match self.options.is_empty() {
            true => ["--kernels", &self.label, "--arch", self.arch()]
                .map(String::from)
                .to_vec(),
            false => self.options.clone(),
        }
    }

    fn command_line(&self) -> Option<String> {
        Some(command_line(&self.config))
    }

    fn build_config(&self) -> Option<String> {
        std::fs::read_to_string(self.build_config.as_ref()?).ok()
    }

    fn guest_fault(&self) -> Option<wire::GuestFault> {
        self.guest_fault
    }

    fn boot(&self, name: &str) -> Result<Box<dyn Kernel>, BootError> {
        Ok(Box::new(self.boot_vm(name)?))
    }
}

/// A kernel that was wanted and is not to be had: its row says why.
#[derive(Debug, Clone)]
pub struct Unavailable {
    pub label: String,
    pub arch: String,
    pub why: String,
}

impl KernelSource for Unavailable {
    fn label(&self) -> &str {
        &self.label
    }

    fn arch(&self) -> &str {
        &self.arch
    }

    fn boot(&self, _name: &str) -> Result<Box<dyn Kernel>, BootError> {
        Err(BootError::Skipped(self.why.clone()))
    }
}

/// A kernel that runs in a VM.
pub struct VmKernel {
    info: KernelInfo,
    views: Views,
    op_limit_ms: u32,
    vm: Vm,
    /// What was submitted and has not come back, by id.
    asked: BTreeMap<u64, Prepared>,
    sequence: u64,
    /// See [`VmSource::panic_when`].
    panic_when: Option<PathBuf>,
}

impl VmKernel {
    /// The kernel in which a guest has said hello.
    ///
    /// # Errors
    /// Pages of a size that nothing is known about.
    pub(super) fn new(vm: Vm, label: &str, arch: &str, accel: &str) -> Result<VmKernel, BootError> {
        let hello = vm.hello().clone();
        let geometry = geometry(&hello).map_err(|why| BootError::Failed {
            why,
            console: String::new(),
        })?;
        let info = KernelInfo {
            label: label.into(),
            release: hello.release.clone(),
            build: hello.build.clone(),
            arch: arch.into(),
            geometry,
            thp: hello.pmd_size != 0,
            fail_nth: hello.fail_nth,
            accel: accel.into(),
            boot_seconds: vm.boot_seconds(),
        };
        let release = Release::parse(&hello.release).unwrap_or(Release::NEWEST);
        let table = Profile::at_release(release, super::probe::arch(&info));
        Ok(VmKernel {
            info,
            views: Views {
                scan: hello.pagemap_scan,
                scan_guard: hello.scan_guard,
                pagemap_guard: hello.pagemap_guard,
                huge_zero_as_file: table.huge_zero_as_file,
                exact_counters: table.exact_counters,
                smaps_skips_protnone_huge: table.smaps_skips_protnone_huge,
            },
            op_limit_ms: (OP_LIMIT_MS * vm.slowdown()) as u32,
            vm,
            asked: BTreeMap::new(),
            sequence: 0,
            panic_when: None,
        })
    }

    /// Runs the programs `rounds` times as bare system calls, without observation; guest nanoseconds. Only with nothing
    /// in flight.
    ///
    /// # Errors
    /// As [`Kernel::next`].
    pub fn bare(&mut self, batch: &[Prepared], rounds: u32) -> Result<u64, KernelError> {
        self.request(batch, Mode::Bare { rounds })?;
        loop {
            match self.receive()? {
                Response::BatchDone { nanos, .. } => {
                    self.asked.clear();
                    return Ok(nanos);
                }
                Response::Execution(_) => {}
                other => return Err(self.strange(&other)),
            }
        }
    }

    fn execution(&self, execution: wire::Execution, prepared: &Prepared) -> Execution {
        let (g, views) = (self.info.geometry, self.views);
        from_wire(execution, &prepared.program, prepared.smaps, g, views)
    }

    /// Process id of QEMU.
    pub fn qemu_pid(&self) -> u32 {
        self.vm.qemu_pid()
    }

    fn request(&mut self, batch: &[Prepared], mode: Mode) -> Result<(), KernelError> {
        self.sequence += 1;
        let mut programs: Vec<wire::Program> = batch
            .iter()
            .map(|prepared| to_wire(prepared, self.info.geometry))
            .collect();
        if let (Some(file), Some(program)) = (&self.panic_when, programs.first_mut()) {
            // Of several machines that look, one removes it.
            if std::fs::remove_file(file).is_ok() {
                program.fault = Some(wire::GuestFault::Panic);
            }
        }
        for prepared in batch {
            self.asked.insert(prepared.id, prepared.clone());
        }
        let request = Request::Batch {
            seq: self.sequence,
            mode,
            arena_pages: self.info.geometry.arena_pages(),
            op_limit_ms: self.op_limit_ms,
            programs,
        };
        let submitted = self.vm.submit(request);
        submitted.map_err(|error| self.dead(error))
    }

    fn receive(&mut self) -> Result<Response, KernelError> {
        let response = self.vm.wait();
        response.map_err(|error| self.dead(error))
    }

    fn dead(&self, error: VmError) -> KernelError {
        match error {
            VmError::Crash { report, running } => KernelError::Crash {
                kind: report.kind.name().to_string(),
                excerpt: report.excerpt.clone(),
                at: running,
            },
            VmError::Hang {
                why,
                running: Some(at),
            } => KernelError::LockedUp {
                at,
                why,
                console: self.vm.console_tail(),
            },
            other => KernelError::Lost {
                why: other.to_string(),
                console: self.vm.console_tail(),
            },
        }
    }

    fn strange(&self, response: &Response) -> KernelError {
        let why = match response {
            Response::Error(text) => format!("the guest says: {text}"),
            other => format!("the guest answers {other:?}"),
        };
        KernelError::Lost {
            why,
            console: self.vm.console_tail(),
        }
    }
}

impl Kernel for VmKernel {
    fn info(&self) -> &KernelInfo {
        &self.info
    }

    fn handles_memory_failure(&self) -> bool {
        self.vm.hello().memory_failure
    }

    fn has_swap(&self) -> bool {
        self.vm.hello().swap
    }

    fn judged_by(&mut self, profile: &Profile) {
        self.views.huge_zero_as_file = profile.huge_zero_as_file;
        self.views.exact_counters = profile.exact_counters;
        self.views.smaps_skips_protnone_huge = profile.smaps_skips_protnone_huge;
    }

    fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError> {
        self.request(batch, Mode::Judged)
    }

    fn race(&mut self, prepared: &Prepared, repeat: Repeat) -> Result<Raced, KernelError> {
        let mode = Mode::Raced {
            first: repeat.first,
            repetitions: repeat.times,
            walks: repeat.walks,
        };
        self.request(std::slice::from_ref(prepared), mode)?;
        let mut raced = Raced::default();
        loop {
            match self.receive()? {
                Response::Execution(execution) => {
                    let execution = self.execution(execution, prepared);
                    raced.executions.push((execution, 0));
                }
                Response::Raced(told) if told.counts.len() == raced.executions.len() => {
                    for ((_, count), told) in raced.executions.iter_mut().zip(told.counts) {
                        *count = told;
                    }
                    raced.unkept = told.unkept;
                    raced.meetings = Meetings {
                        overlapped: told.overlapped,
                        apart: told.apart,
                        first: told.first,
                    };
                    (raced.walks, raced.no_walks) = (told.walks, told.no_walks);
                    raced.collapses = told.collapses;
                }
                Response::BatchDone { .. } => {
                    self.asked.remove(&prepared.id);
                    return Ok(raced);
                }
                other => return Err(self.strange(&other)),
            }
        }
    }

    fn next(&mut self) -> Result<Event, KernelError> {
        match self.receive()? {
            Response::Execution(execution) => {
                let id = execution.id;
                let Some(prepared) = self.asked.remove(&id) else {
                    return Err(KernelError::Lost {
                        why: format!("program {id:#x} came back, but nobody asked for it"),
                        console: self.vm.console_tail(),
                    });
                };
                Ok(Event::Execution(self.execution(execution, &prepared)))
            }
            Response::BatchDone { nanos, .. } => Ok(Event::BatchDone { nanos }),
            other => Err(self.strange(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn only_a_patch_that_another_processor_met_is_booted_again() {
        let here = Path::new("x");
        let mut config = VmConfig::new(here, here, Arch::X86_64, here);
        config.cpus = 2;
        let panic = |tail: &str| VmError::PanicAtBoot {
            headline: "Kernel panic - not syncing: Fatal exception".to_owned(),
            tail: tail.to_owned(),
        };
        let patched = panic("Oops: int3: 0000 [#1] SMP");
        assert!(met_a_patch(&config, &patched));
        assert!(!met_a_patch(&config, &panic("Oops: 0002 [#1] SMP")));
        assert!(!met_a_patch(
            &config,
            &VmError::QemuFailed("int3".to_owned())
        ));
        for other in [
            VmConfig {
                cpus: 1,
                ..config.clone()
            },
            VmConfig {
                accel: Accel::Kvm,
                ..config.clone()
            },
            VmConfig {
                arch: Arch::Aarch64,
                ..config.clone()
            },
        ] {
            assert!(!met_a_patch(&other, &patched));
        }
    }
}
