//! Whether KVM works here, and what a bare init costs.

use super::error::VmError;
use super::process::Process;
use super::qemu::{self, Accel, VmConfig};
use super::shared::Shared;
use super::Vm;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a kernel may take under KVM in the probe. A broken KVM may spin for ever without output.
const LIMIT: Duration = Duration::from_secs(10);

/// KVM if a kernel boots with it, else TCG. The device node proves nothing, so `config` is booted once with a short limit;
/// the answer is kept in `cache` for this boot of the host and this QEMU. `config`'s own accelerator does not matter.
///
/// # Errors
/// QEMU is missing or too old.
pub fn probe_accel(config: &VmConfig, cache: &Path) -> Result<Accel, VmError> {
    let version = qemu::version(config.arch)?;
    if std::env::consts::ARCH != config.arch.name() || !Path::new("/dev/kvm").exists() {
        return Ok(Accel::Tcg);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = format!("{version}\n{}", host.trim());
    let file = cache.join(format!("accel-{}", config.arch.name()));
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some(answer) = kept.strip_prefix(&key) {
        match answer.trim() {
            "kvm" => return Ok(Accel::Kvm),
            "tcg" => return Ok(Accel::Tcg),
            _ => {}
        }
    }
    let config = VmConfig {
        accel: Accel::Kvm,
        boot_limit: LIMIT,
        ..config.clone()
    };
    let accel = match Vm::boot(&config) {
        Ok(_) => Accel::Kvm,
        Err(_) => Accel::Tcg,
    };
    // Without the cache the next run probes again.
    let _ = std::fs::create_dir_all(cache);
    let _ = std::fs::write(&file, format!("{key}\n{}\n", accel.name()));
    Ok(accel)
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
