//! What a Linux kernel is allowed to do, as pure functions on data.
//!
//! A [`program::Program`] is a list of memory-management operations. The [`space`] module models the address spaces they
//! act on, [`rules`] says what each operation may do (one documented rule per behaviour), [`profile`] says which
//! of the behaviours that differ between kernels one kernel has, and [`judge`] compares an [`judge::Observation`]
//! with what the rules allow.
//!
//! The crate has no `unsafe`, does no I/O, reads no clock and no environment, keeps no global state, and never looks at a
//! kernel version string.
#![forbid(unsafe_code)]

pub mod geometry;
pub mod judge;
pub mod laws;
pub mod profile;
pub mod program;
pub mod race;
pub mod rules;
pub mod space;
