//! Kernels to run programs on.
