//! What several threads, of one process or of several, may see when their ops run at once.
//!
//! The kernel does not do a call in one piece. Guard install walks page tables, stops at an entry in use, zaps, walks again; a
//! fault in another thread fits in between. Here an op is a sequence of *steps*, each of which the kernel does under a lock that
//! makes it look like one piece to everybody else. The allowed outcomes of a section are those of all orders of steps that
//! the locks permit: the explorer goes through every one, and merges states that are alike.
//!
//! | file | subject |
//! | --- | --- |
//! | `rules` | the steps, as documented rules |
//! | `state` | where the machine and its threads stand between two steps |
//! | `lane` | what one thread may do next |
//! | `access` | a load or a store: fault, then try again |
//! | `walk` | advice: VMA by VMA, page table by page table; guard install's rounds |
//! | `exclusive` | calls that keep everybody else out |
//! | `collapse` | what COLLAPSE makes of pages that others have just brought |
//! | `uffd` | calls through userfaultfd about one page table |
//! | `stale` | translations that a processor still remembers |
//! | `explore` | all orders |
//! | `explain` | how far what was seen can be explained |
//! | `orders` | all orders of whole ops, to check the explorer against |
//! | `promises` | what holds whatever the order |
//!
//! Three things are left out on purpose, and make no difference that a program can see: which of several mmap-lock readers the
//! kernel would rather serve by a lock of the VMA alone, preemption inside a page-table lock, and the order in which a
//! processor makes stores of one thread visible (every access is a page of its own).

mod access;
mod collapse;
mod exclusive;
mod explain;
mod explore;
mod lane;
mod orders;
pub mod promises;
pub(crate) mod rules;
mod stale;
mod state;
#[cfg(test)]
mod tests;
mod uffd;
mod walk;

pub use explain::{explain, Explanation, Stuck};
pub use explore::{explore, explore_within, Exploration, Final, Move, TooLarge, MOST_STATES};
pub use orders::whole_orders;
