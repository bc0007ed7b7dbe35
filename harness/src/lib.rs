//! Runs programs on kernels, judges what comes back, and reports it.
//!
//! | module | subject |
//! | --- | --- |
//! | [`fuzzing`] | what the fuzz targets run |
//! | [`kernel`] | one way to have a kernel per file: a VM, or the model itself with deliberate faults |
//! | [`campaign`] | kernels x seed blocks: plan, run, judge, confirm, known divergences |
//! | [`triage`] | from a program in which something went wrong to one in which nothing can be left out |
//! | [`reproducer`] | what a program shows, as a C program |
//! | [`selftests`] | the kernel tree's own tests on a kernel |
//! | [`failures`] | allocations made to fail within calls, one after the other |
//! | [`laws`] | what must come out alike on a kernel, whatever the rules |
//! | [`report`] | what a campaign leaves behind: matrix, divergences, run record, terminal |

pub mod campaign;
pub mod failures;
pub mod fuzzing;
pub mod kernel;
pub mod laws;
pub mod race;
pub mod report;
pub mod reproducer;
pub mod selftests;
pub mod triage;
