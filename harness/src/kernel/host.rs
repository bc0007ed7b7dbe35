//! The running kernel. Programs come here from the fuzz target `host` alone, and only where `MMDIFF_ALLOW_HOST=1` says so: the guest
//! runs them as an ordinary user without capabilities, in namespaces of its own, under limits (see its module `host`).
//!
//! The machine stays as it is: what a program wants of settings it must have already ([`HostSource::fit`]), and what nobody but root can
//! do is not done. The kernel's log, which others write to as well, is not read. What a machine of our own does to be quiet is not done
//! either: khugepaged, NUMA balancing, reclaim and whatever else the machine runs may touch pages.

use super::machine::VmKernel;
use super::vm::Vm;
use super::{BootError, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Prepared};
use crate::kernel::End;
use oracle::profile::Profile;
use oracle::program::{Advice, Backing, Op, Program, ShmemThp, Thp, UffdCall};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// The environment variable that allows it.
pub const ALLOW: &str = "MMDIFF_ALLOW_HOST";

/// The running kernel, with its settings as they were when this was made.
#[derive(Debug, Clone)]
pub struct HostSource {
    guest: PathBuf,
    consoles: PathBuf,
    settings: Settings,
}

/// Settings that programs care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    thp: Thp,
    /// `None`: one that no program wants.
    shmem_thp: Option<ShmemThp>,
    /// The machine has swap space.
    swaps: bool,
}

impl HostSource {
    /// `guest` is the guest's binary for this machine, `consoles` a folder for what it says.
    ///
    /// # Errors
    /// Nobody has allowed it.
    pub fn new(guest: &Path, consoles: &Path) -> Result<HostSource, BootError> {
        allowed()?;
        Ok(HostSource {
            guest: guest.to_owned(),
            consoles: consoles.to_owned(),
            settings: Settings::look(),
        })
    }

    /// The program as this machine can run it: with huge pages as the machine has them.
    ///
    /// # Errors
    /// What it wants that this machine cannot give it.
    pub fn fit(&self, mut program: Program) -> Result<Program, &'static str> {
        program.knobs.thp = self.settings.thp;
        if let Some(mode) = self.settings.shmem_thp {
            program.knobs.shmem_thp = mode;
        }
        self.settings.give(&program).map(|()| program)
    }
}

/// Whether programs may run on the running kernel.
///
/// # Errors
/// Nobody has said so, and how it is said.
pub fn allowed() -> Result<(), BootError> {
    allowed_by(std::env::var(ALLOW).ok().as_deref())
}

fn allowed_by(value: Option<&str>) -> Result<(), BootError> {
    match value {
        Some("1") => Ok(()),
        _ => Err(BootError::Failed {
            why: format!(
                "programs would run on this machine's own kernel, and one that has a bug may take the machine with it: {ALLOW}=1 allows \
                 it. Whoever wants a machine of its own takes vm_x86_64 or vm_aarch64"
            ),
            console: String::new(),
        }),
    }
}

impl Settings {
    fn look() -> Settings {
        let chosen = |name: &str| {
            let path = format!("/sys/kernel/mm/transparent_hugepage/{name}");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let word = text
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'));
            word.map_or("never".to_string(), |(word, _)| word.to_string())
        };
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        Settings {
            swaps: has_swap(&swaps),
            ..Settings::of(&chosen("enabled"), &chosen("shmem_enabled"))
        }
    }

    fn of(thp: &str, shmem: &str) -> Settings {
        Settings {
            thp: match thp {
                "always" => Thp::Always,
                "madvise" => Thp::Madvise,
                _ => Thp::Never,
            },
            shmem_thp: match shmem {
                "never" => Some(ShmemThp::Never),
                "advise" => Some(ShmemThp::Advise),
                "always" => Some(ShmemThp::Always),
                _ => None,
            },
            swaps: false,
        }
    }

    /// Whether the machine is as a program wants it.
    fn give(&self, program: &Program) -> Result<(), &'static str> {
        let knobs = &program.knobs;
        let has = |is: fn(&Op) -> bool| program.steps.iter().any(|step| is(&step.op));
        let hinted = || {
            has(|op| {
                let wanted = Advice::HugePage;
                matches!(op, Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } if *advice == wanted)
            })
        };
        // Linux 6.16 to 6.18 crash when it moves the huge zero page (docs/findings.md).
        let may_crash = || {
            let huge = match knobs.thp {
                Thp::Never => false,
                Thp::Madvise => hinted(),
                Thp::Always => true,
            };
            let moves = |op: &Op| matches!(op, Op::Uffd { call, .. } if matches!(call, UffdCall::Move { .. }));
            huge && has(moves)
        };
        // A program that has no swap space of its own expects that nothing goes there.
        let swaps_out = || {
            self.swaps
                && has(|op| {
                    let out = Advice::PageOut;
                    matches!(op, Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } if *advice == out)
                })
        };
        // Without a hint the two are one.
        let one_mode = || (knobs.thp, self.thp) == (Thp::Never, Thp::Madvise) && !hinted();
        if knobs.root {
            Err("root")
        } else if knobs.khugepaged {
            Err("khugepaged")
        } else if knobs.ksm {
            Err("ksm")
        } else if knobs.swap {
            Err("swap space of its own")
        } else if knobs.uffd_events {
            Err("events of userfaultfd, which take privileges")
        } else if swaps_out() {
            Err("MADV_PAGEOUT, by which pages would go to this machine's swap space")
        } else if program.steps.iter().any(|step| step.lane.is_some()) {
            Err("threads")
        } else if has(|op| matches!(op, Op::Brk { .. })) {
            Err("a heap in the arena, which takes privileges to put there")
        } else if has(is_hugetlb) {
            Err("huge TLB memory, of which this machine may have some")
        } else if knobs.thp != self.thp && !one_mode() {
            Err("another mode of transparent huge pages")
        } else if Some(knobs.shmem_thp) != self.shmem_thp && has(shares) {
            Err("another mode of huge pages in shared memory")
        } else if may_crash() {
            Err("UFFDIO_MOVE where huge pages are, at which kernels have crashed")
        } else {
            Ok(())
        }
    }
}

/// Whether /proc/swaps names any swap space: a line behind its title.
fn has_swap(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Whether an op maps huge TLB memory.
fn is_hugetlb(op: &Op) -> bool {
    matches!(
        op,
        Op::Mmap {
            backing: Backing::Hugetlb { .. },
            ..
        }
    )
}

/// Whether an op maps shared memory or a file.
fn shares(op: &Op) -> bool {
    matches!(op, Op::Mmap { backing, .. } if backing.is_shared() || matches!(backing, Backing::File(_)))
}

impl KernelSource for HostSource {
    fn label(&self) -> &str {
        "host"
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }

    fn boot(&self, name: &str) -> Result<Box<dyn Kernel>, BootError> {
        let log = self.consoles.join(format!("{name}.log"));
        let failed = |why: String| BootError::Failed {
            why,
            console: String::new(),
        };
        let vm = Vm::host(&self.guest, &log).map_err(|e| failed(e.to_string()))?;
        if !vm.hello().pagemap_scan {
            return Err(failed(
                "the running kernel has no PAGEMAP_SCAN (Linux 6.7), without which nobody but root can tell the zero page".into(),
            ));
        }
        Ok(Box::new(HostKernel {
            inner: VmKernel::new(vm, "host", self.arch(), "native")?,
            settings: self.settings,
            batches: VecDeque::new(),
        }))
    }
}

/// The running kernel, on which programs that want other settings fail at once.
struct HostKernel {
    inner: VmKernel,
    settings: Settings,
    /// Of each batch in flight what is still to come: executions that failed at once, and how many others come before them.
    batches: VecDeque<VecDeque<Option<Execution>>>,
}

impl Kernel for HostKernel {
    fn info(&self) -> &KernelInfo {
        self.inner.info()
    }

    fn handles_memory_failure(&self) -> bool {
        self.inner.handles_memory_failure()
    }

    fn has_swap(&self) -> bool {
        false
    }

    fn judged_by(&mut self, profile: &Profile) {
        self.inner.judged_by(profile);
    }

    fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError> {
        let mut runs = Vec::new();
        let mut batch_seen = VecDeque::new();
        for prepared in batch {
            batch_seen.push_back(match self.settings.give(&prepared.program) {
                Ok(()) => {
                    runs.push(prepared.clone());
                    None
                }
                Err(why) => Some(Execution {
                    id: prepared.id,
                    free_pages: 0,
                    seen: Vec::new(),
                    end: End::Failed {
                        why: format!("skipped: {why}"),
                    },
                }),
            });
        }
        self.batches.push_back(batch_seen);
        self.inner.submit(&runs)
    }

    fn next(&mut self) -> Result<Event, KernelError> {
        let next = self.batches.front_mut().and_then(VecDeque::pop_front);
        match next {
            Some(Some(failed)) => Ok(Event::Execution(failed)),
            Some(None) => self.inner.next(),
            None => {
                self.batches.pop_front();
                self.inner.next()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_runs_here_without_being_asked() {
        assert!(allowed_by(Some("1")).is_ok());
        for value in [None, Some(""), Some("0"), Some("yes")] {
            let why = allowed_by(value).unwrap_err().to_string();
            assert!(why.contains("MMDIFF_ALLOW_HOST=1") && why.contains("vm_x86_64"));
        }
    }

    #[test]
    fn what_the_machine_cannot_give_is_named() {
        let source = |thp: &str, shmem: &str| HostSource {
            guest: PathBuf::new(),
            consoles: PathBuf::new(),
            settings: Settings::of(thp, shmem),
        };
        let program = |text: &str| Program::load(text).unwrap();
        let host = source("madvise", "never");
        let plain = program("thp always\n\nmmap 0+0..0+4 rw private fixed\n");
        assert_eq!(host.fit(plain).unwrap().knobs.thp, Thp::Madvise);
        for (text, why) in [
            ("user root\n\nmmap 0+0..0+4 rw private fixed\n", "root"),
            ("ksm on\n\nmmap 0+0..0+4 rw private fixed\n", "ksm"),
            (
                "swap on\n\nmmap 0+0..0+4 rw private fixed\n",
                "swap space of its own",
            ),
            (
                "khugepaged on\n\nmmap 0+0..0+4 rw private fixed\n",
                "khugepaged",
            ),
        ] {
            assert_eq!(host.fit(program(text)), Err(why));
        }
        let shared = "mmap 0+0..0+4 rw shared fixed\n";
        assert!(host.fit(program(shared)).is_ok());
        let odd = source("madvise", "within_size");
        assert!(odd
            .fit(program(shared))
            .unwrap_err()
            .contains("shared memory"));
        let moves = "mmap 0+0..0+4 rw private fixed\nuffd-move 0+0..0+1 to 0+2\n";
        assert!(host.fit(program(moves)).is_ok());
        let hinted = format!("{moves}hugepage 0+0..0+4\n");
        for (host, text) in [
            (&host, hinted.as_str()),
            (&source("always", "never"), moves),
        ] {
            assert!(host.fit(program(text)).unwrap_err().contains("UFFDIO_MOVE"));
        }
        // Nothing is to go to the machine's swap space.
        let title = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(!has_swap("") && !has_swap(title));
        assert!(has_swap(&format!("{title}/dev/sda2 partition 8 0 -2\n")));
        let mut swapping = source("madvise", "never");
        swapping.settings.swaps = true;
        for call in ["pageout 0+0..0+4", "process-madvise pageout 0+0..0+4"] {
            let text = format!("mmap 0+0..0+4 rw private fixed\n{call}\n");
            assert!(host.fit(program(&text)).is_ok());
            let why = swapping.fit(program(&text)).unwrap_err();
            assert!(why.contains("MADV_PAGEOUT"), "{why}");
        }
        // Probes are run as they are.
        let give = |text: &str| host.settings.give(&program(text));
        let mapped = "mmap 0+0..0+4 rw private fixed\n";
        assert!(give(&format!("thp never\n\n{mapped}")).is_ok());
        assert!(give(&format!("thp never\n\n{mapped}hugepage 0+0..0+4\n")).is_err());
        assert!(give(&format!("thp always\n\n{mapped}")).is_err());
    }
}
