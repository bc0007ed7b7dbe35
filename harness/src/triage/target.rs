//! What must stay the same at every step.

use crate::campaign::{Bucket, Kind, ProgramVerdict, Story};
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::Program;
use oracle::rules::RuleSet;
use oracle::space::World;

/// The rule name of programs whose author expects something else than kernel and oracle do.
const EXPECTATION: &str = "corpus/expectation";

/// What a candidate must show to count as going wrong in the same way.
#[derive(Debug, Clone)]
pub struct Target {
    pub bucket: Bucket,
    /// Every hit costs a boot, or a time limit.
    pub costly: bool,
    expectation: Option<Expectation>,
}

/// For a failed expectation the bucket says little: nearly any change of a program breaks one. What was expected and what was
/// seen must read the same, and must be so for the same reason.
#[derive(Debug, Clone)]
struct Expectation {
    text: String,
    /// The rules that the op exercises, as the model has it.
    rules: RuleSet,
    profile: Profile,
    geometry: Geometry,
}

impl Target {
    /// What this story of `program` shows, on a kernel of this profile and geometry.
    pub fn of(story: &Story, program: &Program, profile: &Profile, geometry: Geometry) -> Target {
        let expectation = (story.bucket.rule == EXPECTATION).then(|| Expectation {
            text: story.text.clone(),
            rules: rules_at(program, story.step, profile, geometry),
            profile: profile.clone(),
            geometry,
        });
        Target {
            bucket: story.bucket.clone(),
            costly: story.kind != Kind::Divergence,
            expectation,
        }
    }

    /// Whether a run of `program` ended there; of threads that run at once some may have gone.
    pub fn is_hit(&self, program: &Program, verdict: &ProgramVerdict) -> bool {
        let ProgramVerdict::Suspect(story) = verdict else {
            return false;
        };
        let same_reason = |e: &Expectation| {
            e.text == story.text && e.rules == rules_at(program, story.step, &e.profile, e.geometry)
        };
        story.bucket.is_within(&self.bucket) && self.expectation.as_ref().is_none_or(same_reason)
    }

    /// Whether the expectations of the program are what it is about.
    pub fn is_expectation(&self) -> bool {
        self.expectation.is_some()
    }
}

/// The rules that a step exercises when everything takes its most usual course.
fn rules_at(program: &Program, at: usize, profile: &Profile, geometry: Geometry) -> RuleSet {
    let mut world = World::new(profile, geometry, program.knobs);
    let mut rules = RuleSet::EMPTY;
    for step in program.steps.iter().take(at + 1) {
        let Some(branch) = world.apply(step).into_iter().next() else {
            return RuleSet::EMPTY;
        };
        rules = branch.rules;
        world = branch.world;
    }
    rules
}
