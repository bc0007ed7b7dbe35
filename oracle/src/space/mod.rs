//! The model of a machine: address spaces, shared memory, and what a kernel shows of them.
//!
//! | file | subject |
//! | --- | --- |
//! | `content` | what a page holds, as far as programs can tell |
//! | `slots` | page-table slots, run by run |
//! | `ranges` | sets of numbers that come in stretches |
//! | `folio` | what is kept of anonymous pages besides their mappings |
//! | `swap` | what is kept of swap space besides the entries in page tables |
//! | `vma` | virtual memory areas |
//! | `object` | shared-memory objects |
//! | `mm` | one actor's address space |
//! | `compact` | worlds that differ only in numbers nobody sees |
//! | `world` | all of them together |

mod compact;
mod content;
pub(crate) mod folio;
pub(crate) mod mm;
pub(crate) mod object;
pub(crate) mod ranges;
pub(crate) mod slots;
mod swap;
mod vma;
mod world;

pub use content::Content;
pub use vma::{AnonVma, Hints, HugeAdvice, Key, Locked, Uffd, Vma};
pub use world::{Branch, PageState, World};
