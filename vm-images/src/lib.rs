//! Kernels for the matrix, and what is booted with them.
//!
//! The way through: [`Lock::load`] reads `kernels.lock`, [`select()`] chooses from it what `--kernels` and
//! `--arch` name, [`Store::open_default`] is the cache with the machine's mirrors, [`obtain`] gets one kernel
//! (cache, mirror, newest of its series, snapshot) and returns [`Fetched`] with the verified [`KernelImage`].
//! A kernel file of the user's own goes through [`KernelImage::inspect`]. [`initramfs::Initramfs`] packs the guest
//! that [`guest::build`] makes; [`modules::modules`] has a kernel's modules, dependencies first.
//!
//! [`Error::Unavailable`] means a row "skipped"; [`Error::is_usage`] tells usage (exit 2) from infrastructure (69).
//!
//! Environment: `MMDIFF_DEBIAN_MIRROR`, `MMDIFF_DEBIAN_SECURITY_MIRROR`, `MMDIFF_DEBIAN_SNAPSHOT`, `MMDIFF_CACHE`.

pub mod add;
pub mod apt;
mod arch;
pub mod build;
pub mod config;
pub mod deb;
mod error;
pub mod fetch;
pub mod files;
pub mod guest;
pub mod hash;
pub mod image;
pub mod initramfs;
pub mod lock;
pub mod manifest;
pub mod mirror;
pub mod modules;
pub mod mutants;
mod obtain;
pub mod resolve;
mod select;
pub mod store;
#[cfg(test)]
mod testing;
pub mod version;

pub use arch::Arch;
pub use error::{Error, Result};
pub use image::KernelImage;
pub use lock::{Lock, LockedKernel, LockedSource};
pub use manifest::Manifest;
pub use mirror::Mirrors;
pub use obtain::{obtain, INDEX_AGE};
pub use select::select;
pub use store::{Fetched, Origin, Step, Store};
