//! Which of the behaviours that differ between kernels one kernel has.
