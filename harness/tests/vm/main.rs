//! Real kernels in VMs: what the guest and the transport promise. Each test boots the newest locked kernel, so they are
//! behind a feature: `cargo test -p harness --features vm-tests --test vm`, which `cargo xtask test` does.

mod boots;
mod deaths;
mod host;
mod isolation;
mod races;
mod rig;
