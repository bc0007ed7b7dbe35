//! The model of a machine: address spaces, shared memory, and what a kernel shows of them.

mod content;
mod world;

pub use content::Content;
pub use world::{Branch, PageState, Vma, World};
