//! What a report needs to know about a program in which something went wrong. Only suspects pay for it: the program is
//! played again on the model, up to the op.

use super::judge::ProgramVerdict;
use super::piece::{piece_of, pieces, Piece};
use super::Bucket;
use crate::kernel::{End, Execution, KernelError};
use oracle::geometry::Geometry;
use oracle::judge::{Class, Divergence, Observation, Oracle, Outcome, SpaceSeen};
use oracle::profile::Profile;
use oracle::program::{ActorId, Expect, Program};
use oracle::race::promises::Broken;
use oracle::space::Branch;
use std::borrow::Cow;

/// What the rule of a bucket begins with when it is a promise of guard regions (`oracle::race::promises`).
pub const PROMISE: &str = "promise/";

/// What kind of suspect it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Divergence,
    Hang,
    Crash,
}

/// Everything a report needs to know about a suspect.
#[derive(Debug, Clone)]
pub struct Story {
    pub kind: Kind,
    pub class: Class,
    /// Index of the op in the program.
    pub step: usize,
    pub bucket: Bucket,
    /// One or two sentences with positions and values.
    pub text: String,
    /// The actor and the pages (first, one past the last) that differ.
    pub actor: Option<ActorId>,
    pub pages: Option<(u32, u32)>,
    /// What was seen after each op before it; empty where a dead guest has told nothing.
    pub path: Vec<Observation>,
    /// What the most usual world showed before the op.
    pub before: Vec<(ActorId, SpaceSeen)>,
    /// What the most usual branch shows after it.
    pub expected: Observation,
    /// How many other branches were allowed.
    pub others: usize,
    /// What was seen, unless the op did not return.
    pub observed: Option<Observation>,
    /// Console excerpt or kernel stack.
    pub console: String,
}

/// Why the judging of a program stopped.
pub(super) enum Stop {
    Poisoned,
    Divergence(Box<Divergence>),
    /// The author of the program expects something else.
    Expectation {
        class: Class,
        expected: &'static str,
        why: String,
    },
    Unreturned(Unreturned),
}

impl From<(&Expect, String)> for Stop {
    fn from((expect, why): (&Expect, String)) -> Stop {
        let (class, expected) = match expect {
            Expect::Ok
            | Expect::Elsewhere
            | Expect::Unflagged
            | Expect::Errno(_)
            | Expect::UpTo(_) => (Class::Errno, "result as written"),
            Expect::Signal { .. } => (Class::Signal, "signal as written"),
            Expect::Values(_) => (Class::Value, "values as written"),
            Expect::Events(_) => (Class::Event, "events as written"),
            Expect::Strip { .. } => (Class::PageState, "pages as written"),
            Expect::Flags { .. } => (Class::VmFlags, "VmFlags as written"),
        };
        Stop::Expectation {
            class,
            expected,
            why,
        }
    }
}

/// An op after which nothing was seen.
pub(super) struct Unreturned {
    class: Class,
    rule: &'static str,
    expected: String,
    observed: String,
    text: String,
    console: String,
}

pub(super) enum Ending {
    Done,
    Infra(String),
    Unreturned(Unreturned),
}

/// What the end of an execution says when all its observations were fine.
pub(super) fn ending(execution: &Execution) -> Ending {
    Ending::Unreturned(match &execution.end {
        End::Done => return Ending::Done,
        End::Failed { why } => return Ending::Infra(format!("the guest failed: {why}")),
        End::Garbage { what } => {
            return Ending::Infra(format!("the guest's report makes no sense: {what}"))
        }
        End::Hang { stack } => Unreturned {
            class: Class::Hang,
            rule: "op/returns",
            expected: "returns".into(),
            observed: "hangs".to_string(),
            text: "The op did not return within its limit.".to_string(),
            console: stack.clone(),
        },
        End::Died { status } => Unreturned {
            class: Class::Signal,
            rule: "actor/lives",
            expected: "lives".into(),
            observed: died(*status),
            text: format!("The actor ended although no op told it to (wait status {status:#x})."),
            console: String::new(),
        },
        End::ViewsDisagree { what } => Unreturned {
            class: Class::ViewsDisagree,
            rule: "views/agree",
            expected: "views agree".into(),
            observed: format!("{}: {}, {}", what.views, what.left, what.right),
            text: what.to_string(),
            console: String::new(),
        },
        End::Parted(parting) => Unreturned {
            class: parting.class,
            rule: "kernels/alike",
            expected: parting.first.clone(),
            observed: parting.second.clone(),
            text: format!(
                "The two kernels part: {} on the first, {} on the other.",
                parting.first, parting.second
            ),
            console: String::new(),
        },
    })
}

fn died(status: i32) -> String {
    match (status & 0x7f, (status >> 8) & 0xff) {
        (0, code) => format!("exited with {code}"),
        (signal, _) => format!("killed by signal {signal}"),
    }
}

/// Plays the program again up to the op at `index` and puts the story of what happened there together.
pub(super) fn tell(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
    index: usize,
    stop: Stop,
) -> ProgramVerdict {
    let Some(mut story) = retold(program, execution, profile, geometry, index) else {
        return ProgramVerdict::Infra("the program ended behind its last op".to_string());
    };
    match stop {
        Stop::Poisoned => return ProgramVerdict::Poisoned,
        Stop::Divergence(divergence) => {
            story.class = divergence.class;
            story.text = divergence.details.text;
            story.actor = divergence.details.actor;
            story.pages = divergence.details.pages;
            story.bucket.rule = divergence.rule.to_string();
            story.bucket.expected = divergence.expected;
            story.bucket.observed = divergence.observed;
        }
        Stop::Expectation {
            class,
            expected,
            why,
        } => {
            story.class = class;
            story.text = format!("The program's author expects otherwise: {why}");
            story.bucket.rule = "corpus/expectation".to_string();
            story.bucket.expected = expected.to_string();
            story.bucket.observed = "what the oracle allows".to_string();
        }
        Stop::Unreturned(what) => fill(&mut story, what),
    }
    ProgramVerdict::Suspect(Box::new(story))
}

/// The story of the op at `index`, in which nothing is said yet about what went wrong.
fn retold(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
    index: usize,
) -> Option<Story> {
    let piece = piece_of(program, index)?;
    let mut oracle =
        Oracle::new(profile, geometry, program.knobs).with_free_pages(execution.free_pages);
    for before in pieces(program).take_while(|p| p.range.end <= piece.range.start) {
        if let Some(seen) = before.seen(&execution.seen) {
            before.play(&mut oracle);
            oracle.observe(&seen);
        }
    }
    let mut story = story_at(&mut oracle, &piece);
    story.path = execution.seen[..index.min(execution.seen.len())].to_vec();
    story.observed = piece.seen(&execution.seen).map(Cow::into_owned);
    Some(story)
}

/// The story of an execution whose section breaks a promise that holds whatever the rules say about the way there.
pub fn promise_story(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
    broken: &Broken,
) -> Option<Story> {
    let mut story = retold(program, execution, profile, geometry, broken.step)?;
    story.class = match broken.promise {
        "install-returns" => Class::Errno,
        "guard-is-flagged" => Class::VmFlags,
        _ => Class::PageState,
    };
    story.text.clone_from(&broken.text);
    story.bucket.rule = format!("{PROMISE}{}", broken.promise);
    story.bucket.expected = "kept".to_string();
    story.bucket.observed = "broken".to_string();
    Some(story)
}

fn fill(story: &mut Story, what: Unreturned) {
    story.kind = match what.class {
        Class::Hang => Kind::Hang,
        Class::Crash => Kind::Crash,
        _ => Kind::Divergence,
    };
    story.class = what.class;
    story.text = what.text;
    story.console = what.console;
    story.bucket.rule = what.rule.to_string();
    story.bucket.expected = what.expected;
    story.bucket.observed = what.observed;
}

/// The story of a kernel that died or stopped answering while a program ran; `None`: the VM was lost, which says nothing.
pub fn death_story(
    error: &KernelError,
    program: &Program,
    profile: &Profile,
    geometry: Geometry,
) -> Option<Story> {
    let (class, at, what, console) = match error {
        KernelError::Crash { kind, excerpt, at } => (Class::Crash, *at, kind, excerpt),
        KernelError::LockedUp { at, why, console } => (Class::Hang, Some(*at), why, console),
        KernelError::Lost { .. } => return None,
    };
    let step = at.map_or(0, |(_, step)| step as usize);
    let step = step.min(program.steps.len().saturating_sub(1));
    crash_story(
        program,
        step,
        profile,
        geometry,
        class,
        what,
        console.clone(),
    )
}

/// The story of a program during whose op `at` the kernel reported a crash ([`Class::Crash`]) or the whole guest stopped
/// answering ([`Class::Hang`]). What came before the op is the oracle's most usual course: a dead guest reports nothing.
pub(super) fn crash_story(
    program: &Program,
    at: usize,
    profile: &Profile,
    geometry: Geometry,
    class: Class,
    what: &str,
    console: String,
) -> Option<Story> {
    let piece = piece_of(program, at)?;
    let mut oracle = Oracle::new(profile, geometry, program.knobs);
    for before in pieces(program).take_while(|p| p.range.end <= piece.range.start) {
        before.play(&mut oracle);
        let usual = expectation(oracle.expected());
        oracle.observe(&usual);
    }
    let mut story = story_at(&mut oracle, &piece);
    let unreturned = if class == Class::Hang {
        Unreturned {
            class,
            rule: "op/returns",
            expected: "returns".into(),
            observed: "hangs".to_string(),
            text: format!("The whole guest stopped answering during this op: {what}"),
            console,
        }
    } else {
        Unreturned {
            class: Class::Crash,
            rule: "kernel/survives",
            expected: "no report".into(),
            observed: what.to_string(),
            text: "The kernel's console reports a fault during this op.".to_string(),
            console,
        }
    };
    fill(&mut story, unreturned);
    Some(story)
}

/// What the most usual branch shows.
fn expectation(allowed: &[Branch]) -> Observation {
    allowed.first().map_or(
        Observation {
            outcome: Outcome::Ok,
            spaces: Vec::new(),
            events: Vec::new(),
            failing: None,
        },
        |branch| Observation {
            outcome: branch.outcome.clone(),
            spaces: branch.world.shown(),
            events: branch.world.events().to_vec(),
            failing: None,
        },
    )
}

/// A story about a piece that the oracle has not taken yet; nothing is said yet about what was seen.
fn story_at(oracle: &mut Oracle, piece: &Piece<'_>) -> Story {
    let before = oracle.worlds()[0].shown();
    piece.play(oracle);
    let allowed = oracle.expected();
    Story {
        kind: Kind::Divergence,
        class: Class::PageState,
        step: piece.range.start,
        bucket: Bucket {
            op: piece.name(),
            rule: String::new(),
            expected: String::new(),
            observed: String::new(),
        },
        text: String::new(),
        actor: None,
        pages: None,
        path: Vec::new(),
        before,
        expected: expectation(allowed),
        others: allowed.len().saturating_sub(1),
        observed: None,
        console: String::new(),
    }
}
