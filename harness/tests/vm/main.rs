//! Real kernels in VMs: what the guest and the transport promise. Each test boots the newest locked kernel, so they run
//! when asked for: `cargo test -p harness --test vm -- --ignored`, which `cargo xtask test` does.

mod boots;
mod deaths;
mod host;
mod isolation;
mod rig;
