//! The model of an address space.

mod content;

pub use content::Content;
