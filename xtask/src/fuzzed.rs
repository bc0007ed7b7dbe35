//! Kernels for fuzz targets: which ones the environment asks for, made ready as the commands do.

use crate::exit::UsageError;
use crate::rig::{rig, AccelChoice, KernelOptions};
use crate::{folders, kernels, workspace};
use anyhow::{Context, Result};
use harness::campaign::Known;
use harness::kernel::host::{self, HostSource};
use harness::kernel::machine::VmSource;
use std::path::PathBuf;
use vm_images::{Arch, Lock};

/// A kernel for a fuzz target: the one of the lock that `MMDIFF_KERNEL` names, or the image at that path; without it the newest.
///
/// # Errors
/// There is none, or it cannot be made ready.
pub fn kernel(arch: Arch) -> Result<VmSource> {
    let asked = std::env::var("MMDIFF_KERNEL").ok();
    machine(arch, asked.as_deref())
}

/// Two kernels for a fuzz target that compares: those that `MMDIFF_KERNEL` names, with a comma; without it the two newest
/// series.
///
/// # Errors
/// As [`kernel`]; one or three are named.
pub fn pair(arch: Arch) -> Result<[VmSource; 2]> {
    let asked = match std::env::var("MMDIFF_KERNEL") {
        Ok(names) => names.split(',').map(String::from).collect(),
        Err(_) => newest(arch, 2)?,
    };
    match asked.as_slice() {
        [a, b] => Ok([machine(arch, Some(a))?, machine(arch, Some(b))?]),
        _ => {
            let why = "MMDIFF_KERNEL names two kernels for this target, such as 7.2,7.3";
            Err(UsageError(why.into()).into())
        }
    }
}

/// The running kernel, for the fuzz target that runs programs on it.
///
/// # Errors
/// Nobody has allowed it, or the guest cannot be built.
pub fn host() -> Result<HostSource> {
    host::allowed()?;
    let arch = match std::env::consts::ARCH {
        "aarch64" => Arch::Aarch64,
        _ => Arch::X86_64,
    };
    use_own_cargo();
    let workspace = workspace();
    let guest = vm_images::guest::build(arch, &workspace, &|line| eprintln!("{line}"))?;
    Ok(HostSource::new(&guest, &folders::consoles(&workspace)?)?)
}

/// Divergences that are understood.
///
/// # Errors
/// known.toml is wrong.
pub fn known() -> Result<Known> {
    crate::known::load(&workspace())
}

fn machine(arch: Arch, asked: Option<&str>) -> Result<VmSource> {
    use_own_cargo();
    let mut options = KernelOptions {
        kernels: None,
        arch: vec![arch],
        kernel: Vec::new(),
        accel: AccelChoice::Auto,
        append: String::new(),
    };
    match asked {
        Some(path) if path.contains('/') => options.kernel = vec![PathBuf::from(path)],
        Some(name) => options.kernels = Some(name.into()),
        None => options.kernels = newest(arch, 1)?.pop(),
    }
    let workspace = workspace();
    let consoles = folders::consoles(&workspace)?;
    let rig = rig(&options, &workspace, &consoles, &|line| eprintln!("{line}"))?;
    let found = rig.machines.into_iter().next();
    found.with_context(|| format!("no kernel {} for {arch}", asked.unwrap_or("at all")))
}

/// Forgets what cargo-fuzz and its cargo have set: the guest is built by ours.
fn use_own_cargo() {
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTFLAGS"] {
        std::env::remove_var(variable);
    }
}

/// The newest of the newest series, oldest first.
fn newest(arch: Arch, many: usize) -> Result<Vec<String>> {
    let lock = Lock::load(&kernels::lock_path(&workspace()))?;
    let mut all = vm_images::select(&lock, None, &[arch])?;
    all.sort_by_key(|kernel| vm_images::version::key(&kernel.point));
    let from = all.len().saturating_sub(many);
    Ok(all[from..]
        .iter()
        .map(|kernel| kernel.point.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_series_come_last() {
        let two = newest(Arch::X86_64, 2).unwrap();
        let one = newest(Arch::X86_64, 1).unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two[1..], one[..]);
        let key = |point: &String| vm_images::version::key(point);
        assert!(key(&two[0]) < key(&two[1]));
    }
}
