//! The whole machine state that one world of the oracle believes in.

use crate::geometry::Geometry;
use crate::judge::{Outcome, SpaceSeen};
use crate::profile::Profile;
use crate::program::{ActorId, Knobs, Prot, Step};
use crate::rules::RuleSet;
use crate::space::Content;

/// One way a step may go.
#[derive(Debug, Clone)]
pub struct Branch {
    /// The machine after it.
    pub world: World,
    /// What the op returned.
    pub outcome: Outcome,
    /// The rules it exercised.
    pub rules: RuleSet,
}

/// A virtual memory area. Page numbers count from the arena's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vma {
    /// First page.
    pub start: u32,
    /// Page after the last.
    pub end: u32,
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
}

/// What stands at one page of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// No VMA.
    Unmapped,
    /// A VMA, and nothing in the page table.
    Empty,
    /// A guard marker.
    Guard,
    /// The shared zero page; `huge`: mapped by a PMD.
    Zero { huge: bool },
    /// Anonymous memory; `shared`: mapped by another actor too.
    Anon {
        content: Content,
        huge: bool,
        shared: bool,
    },
    /// Shared memory.
    File { content: Content, huge: bool },
}

/// A whole machine: every actor's address space and the shared memory.
#[derive(Debug, Clone)]
pub struct World {
    geometry: Geometry,
    knobs: Knobs,
}

impl World {
    /// A machine with one actor, 0, whose arena is empty.
    pub fn new(_profile: &Profile, geometry: Geometry, knobs: Knobs) -> World {
        World { geometry, knobs }
    }

    /// Every way the step may go, the most usual first. Never empty.
    pub fn apply(&self, _step: &Step) -> Vec<Branch> {
        vec![Branch {
            world: self.clone(),
            outcome: Outcome::Ok,
            rules: RuleSet::EMPTY,
        }]
    }

    /// What a kernel shows of an actor's arena, VmFlags and residency included; nothing for an actor that does not live.
    pub fn seen(&self, _actor: ActorId) -> SpaceSeen {
        SpaceSeen::default()
    }

    /// The living actors, ascending.
    pub fn living(&self) -> Vec<ActorId> {
        vec![0]
    }

    /// An actor's VMAs, ascending; none for an actor that does not live.
    pub fn vmas(&self, _actor: ActorId) -> &[Vma] {
        &[]
    }

    /// The VMA that holds a page.
    pub fn vma_at(&self, actor: ActorId, page: u32) -> Option<&Vma> {
        self.vmas(actor)
            .iter()
            .find(|v| v.start <= page && page < v.end)
    }

    /// What stands at a page (pages from the arena's start).
    pub fn page(&self, _actor: ActorId, _page: u32) -> PageState {
        PageState::Unmapped
    }

    /// Runs of guard markers: (first page, pages), ascending.
    pub fn guards(&self, _actor: ActorId) -> Vec<(u32, u32)> {
        Vec::new()
    }

    /// Blocks mapped by a PMD, ascending.
    pub fn huge_blocks(&self, _actor: ActorId) -> Vec<u8> {
        Vec::new()
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }
}
