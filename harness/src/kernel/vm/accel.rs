//! Whether KVM works here, and what a bare init costs.

use super::error::VmError;
use super::process::Process;
use super::qemu::{self, Accel, VmConfig};
use super::shared::Shared;
use super::Vm;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a kernel may take under KVM in the probe. A broken KVM may spin for ever without output.
const LIMIT: Duration = Duration::from_secs(10);

/// How long it may take under TCG, which has the last word on whether the kernel boots at all.
const TCG_LIMIT: Duration = Duration::from_secs(60);

/// KVM if a kernel boots with it, else TCG. The device node proves nothing, so `config` is booted once with a short limit;
/// the answer is kept in `cache` for this boot of the host and this QEMU. A kernel that boots under neither proves nothing about
/// KVM: then it is TCG for this one, and the next one is asked again. `config`'s own accelerator does not matter; `say` gets a line
/// for people where KVM is there and not used.
///
/// # Errors
/// QEMU is missing or too old.
pub fn probe_accel(config: &VmConfig, cache: &Path, say: &dyn Fn(&str)) -> Result<Accel, VmError> {
    let version = qemu::version(config.arch)?;
    if std::env::consts::ARCH != config.arch.name() || !Path::new("/dev/kvm").exists() {
        return Ok(Accel::Tcg);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memory = Memory {
        file: cache.join(format!("accel-{}", config.arch.name())),
        key: format!("{version}\n{}", host.trim()),
    };
    Ok(memory.ask(say, |accel| {
        let boot_limit = match accel {
            Accel::Kvm => LIMIT,
            Accel::Tcg => TCG_LIMIT,
        };
        let config = VmConfig {
            accel,
            boot_limit,
            ..config.clone()
        };
        Vm::boot(&config).map(|_| ())
    }))
}

/// The file in which the answer is kept.
struct Memory {
    file: PathBuf,
    /// What it holds for: this QEMU and this boot of the host.
    key: String,
}

impl Memory {
    /// The kept answer, else what `boot` tells, which is called with one accelerator at a time.
    fn ask(&self, say: &dyn Fn(&str), mut boot: impl FnMut(Accel) -> Result<(), VmError>) -> Accel {
        if let Some(kept) = self.recall() {
            return kept;
        }
        let Err(why) = boot(Accel::Kvm) else {
            self.keep(Accel::Kvm);
            return Accel::Kvm;
        };
        let why = why.to_string();
        let why = why.lines().next().unwrap_or_default();
        match boot(Accel::Tcg) {
            Ok(()) => {
                self.keep(Accel::Tcg);
                say(&format!(
                    "KVM does not work here ({why}): using emulation, until this machine boots again or {} is removed",
                    self.file.display()
                ));
            }
            Err(_) => say(&format!(
                "this kernel boots neither under KVM ({why}) nor emulated: it says nothing about KVM, and is run emulated"
            )),
        }
        Accel::Tcg
    }

    fn recall(&self) -> Option<Accel> {
        let kept = std::fs::read_to_string(&self.file).ok()?;
        let answer = kept.strip_prefix(&self.key)?.trim();
        [Accel::Kvm, Accel::Tcg]
            .into_iter()
            .find(|accel| accel.name() == answer)
    }

    fn keep(&self, accel: Accel) {
        // Without it the next run probes again.
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = std::fs::write(&self.file, format!("{}\n{}\n", self.key, accel.name()));
    }
}

/// Boots the same QEMU line with an init that says so and switches off; returns the seconds from the start of QEMU until it
/// spoke.
///
/// # Errors
/// As for [`Vm::boot`].
pub fn boot_bare(config: &VmConfig) -> Result<f64, VmError> {
    qemu::check_image(&config.image, config.arch)?;
    let mut config = config.clone();
    config.append = format!("{} mmdiff_bare=1", config.append).trim().to_owned();
    let shared = Arc::new(Shared::create().map_err(|source| VmError::Host {
        what: "making the shared memory",
        source,
    })?);
    let mut process = Process::start(&config, shared)?;
    loop {
        if process.console().ready {
            return Ok(process.started.elapsed().as_secs_f64());
        }
        let why = match process.ended() {
            Some(status) => Some(format!("QEMU has ended ({status})")),
            None if process.started.elapsed() > config.boot_limit => {
                Some(format!("no word within {:?}", config.boot_limit))
            }
            None => None,
        };
        if let Some(why) = why {
            process.end();
            let tail = process.console().tail();
            return Err(VmError::BootFailed { why, tail });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Asks as a kernel answers that boots under these accelerators; the answer, the boots that it took, what was said.
    fn ask(memory: &Memory, boots: &[Accel]) -> (Accel, usize, String) {
        let said = RefCell::new(String::new());
        let mut tries = 0;
        let answer = memory.ask(&|line| said.borrow_mut().push_str(line), |accel| {
            tries += 1;
            match boots.contains(&accel) {
                true => Ok(()),
                false => Err(VmError::QemuFailed("it spins".into())),
            }
        });
        (answer, tries, said.into_inner())
    }

    #[test]
    fn only_a_kernel_that_boots_says_what_kvm_is_worth() {
        let dir = tempfile::tempdir().unwrap();
        let memory = |key: &str| Memory {
            file: dir.path().join("new/accel-x86_64"),
            key: key.into(),
        };
        let here = memory("7.2\nthis boot");
        let (answer, tries, said) = ask(&here, &[]);
        assert_eq!((answer, tries), (Accel::Tcg, 2));
        assert!(said.contains("neither under KVM"), "{said}");
        assert!(!here.file.exists(), "nothing is kept");
        // The next kernel is asked again, and its answer stays.
        let (answer, tries, said) = ask(&here, &[Accel::Tcg]);
        assert_eq!((answer, tries), (Accel::Tcg, 2));
        assert!(said.contains("(QEMU failed: it spins)"), "{said}");
        assert!(said.contains("accel-x86_64"), "{said}");
        let both = [Accel::Kvm, Accel::Tcg];
        assert_eq!(ask(&here, &both), (Accel::Tcg, 0, String::new()));
        // Another boot of the host, another answer.
        let later = memory("7.2\nanother boot");
        assert_eq!(ask(&later, &both), (Accel::Kvm, 1, String::new()));
        assert_eq!(ask(&later, &[]), (Accel::Kvm, 0, String::new()));
    }
}
