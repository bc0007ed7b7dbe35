//! Programs in which threads run at once, on kernels: many repetitions, each judged by all orders of the kernel's steps.
//!
//! | file | subject |
//! | --- | --- |
//! | `judge` | which allowed way each repetition took |
//! | `report` | tables for people and for programs |

mod judge;
mod report;

pub use judge::{explanation, judge_raced, Fate, Judgement, Kind, Way};
pub use report::{explanation_text, timeline, Row, WayRow};
