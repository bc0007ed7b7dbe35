//! A VM without the guest: an init of one's own that runs something, says so on the console and switches off.

use super::error::VmError;
use super::log;
use super::process::Process;
use super::qemu::{self, VmConfig};
use super::shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Boots and waits until QEMU ends, at most `limit` from its start. Returns the console's text.
///
/// # Errors
/// No QEMU, no kernel, or the console's log cannot be read.
pub fn run_to_end(config: &VmConfig, limit: Duration) -> Result<String, VmError> {
    qemu::check_image(&config.image, config.arch)?;
    let shared = Shared::create().map_err(|source| VmError::Host {
        what: "making the shared memory",
        source,
    })?;
    let mut process = Process::start(config, Arc::new(shared))?;
    while process.ended().is_none() && process.started.elapsed() <= limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    process.end();
    let log = log::read_whole(&config.console_log).map_err(|source| VmError::File {
        path: config.console_log.clone(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}
