//! Programs in which threads run at once, on kernels: many repetitions, each judged by all orders of the kernel's steps.
//!
//! | file | subject |
//! | --- | --- |
//! | `judge` | which allowed way each repetition took |
//! | `picture` | an order of steps that leads to what was seen, drawn |
//! | `report` | tables for people and for programs |

mod judge;
mod picture;
mod report;

pub use judge::{judge_raced, Fate, Judgement, Kind, Way};
pub use picture::{picture, timeline};
pub use report::{Row, Seconds, WayRow};
