//! What each operation may do. One file per family; each rule is a documented constant beside the code that implements it.

mod registry;

pub use registry::{Rule, RuleId, RuleSet, RULES};
