//! What the judge says about one observation.

use crate::program::ActorId;
use crate::rules::RuleId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The judge's word on one op.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// What was seen is what the oracle expects first.
    Agree,
    /// What was seen is one of several things that the named rule permits.
    Allowed { rule: RuleId },
    /// No allowed state explains what was seen.
    Divergence(Box<Divergence>),
    /// A limit was met (no memory, ...): nothing after this op can be judged.
    Poisoned { rule: RuleId },
}

/// The kind of thing that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Errno,
    Signal,
    Value,
    PageState,
    Vma,
    VmFlags,
    /// What smaps adds up over a mapping.
    Sizes,
    Residency,
    /// What a userfaultfd tells.
    Event,
    ViewsDisagree,
    Hang,
    Crash,
}

impl Class {
    /// The word used in buckets and reports.
    pub fn word(self) -> &'static str {
        match self {
            Class::Errno => "errno",
            Class::Signal => "signal",
            Class::Value => "value",
            Class::PageState => "page-state",
            Class::Vma => "vma",
            Class::VmFlags => "vm-flags",
            Class::Sizes => "sizes",
            Class::Residency => "residency",
            Class::Event => "event",
            Class::ViewsDisagree => "views-disagree",
            Class::Hang => "hang",
            Class::Crash => "crash",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An observation that no allowed state explains.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    pub class: Class,
    /// The rule that speaks about what differs.
    pub rule: RuleId,
    /// What was expected, in words that do not depend on positions or values: part of the bucket.
    pub expected: String,
    /// What was seen instead, likewise.
    pub observed: String,
    pub details: Details,
}

/// Where it differs, for people.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Details {
    /// The actor whose arena differs; `None` when the outcome itself does.
    pub actor: Option<ActorId>,
    /// The pages that differ, first and one past the last (pages from the arena's start).
    pub pages: Option<(u32, u32)>,
    /// One or two sentences with positions and values.
    pub text: String,
}
