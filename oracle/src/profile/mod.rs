//! Which of the behaviours that differ between kernels one kernel has.
//!
//! A [`Profile`] is a plain set of flags. The oracle sees flags only, never a version. The harness finds them by running
//! the [`Probe`]s of [`BEHAVIOURS`] on the kernel, and takes what no probe can tell from the release ranges of the same
//! table.

mod behaviours;
mod named;
mod probes;
mod release;

pub use behaviours::{Behaviour, Profile, Span, BEHAVIOURS};
pub use named::Named;
pub use probes::Probe;
pub use release::{Arch, Release};

#[cfg(test)]
mod tests;
