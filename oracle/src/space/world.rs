//! The whole machine state that one world of the oracle believes in.

use super::folio::Folios;
use super::mm::{block_of, Mm, Table};
use super::object::{Object, ObjectId};
use super::slots::{PageId, Slot};
use super::swap::Swap;
use super::vma::{Locked, Vma};
use crate::geometry::{Geometry, BLOCKS};
use crate::judge::{Event, Outcome, SpaceSeen};
use crate::profile::Profile;
use crate::program::{ActorId, File, FileMap, Knobs, Step, MAX_ACTORS};
use crate::rules::{self, RuleSet};
use crate::space::Content;
use std::sync::Arc;

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

/// What stands at one page of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// No VMA.
    Unmapped,
    /// A VMA, and nothing in the page table.
    Empty,
    /// A guard marker.
    Guard,
    /// A marker from UFFDIO_POISON.
    Poison,
    /// A marker from UFFDIO_WRITEPROTECT.
    UffdWp,
    /// The shared zero page; `huge`: mapped by a PMD.
    Zero { huge: bool },
    /// Anonymous memory; `shared`: mapped by another actor too.
    Anon {
        content: Content,
        huge: bool,
        shared: bool,
    },
    /// Anonymous memory that has been swapped out.
    Swapped { content: Content },
    /// Shared memory, or a page of a file.
    File { content: Content, huge: bool },
}

/// A whole machine: every actor's address space and the files, those of shared memory included. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub(crate) profile: Profile,
    pub(crate) geometry: Geometry,
    pub(crate) knobs: Knobs,
    /// By actor; `None`: not born, or gone.
    pub(crate) actors: [Option<Arc<Mm>>; MAX_ACTORS as usize],
    /// The files that programs can name, then shared memory.
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) folios: Folios,
    pub(crate) swap: Swap,
    /// What userfaultfds have told during the last step: whose, and what.
    pub(crate) events: Vec<(ActorId, Event)>,
    pub(crate) next_anon_vma: u32,
    pub(crate) next_page: u64,
    free_pages: u64,
}

/// Memory that a program uses besides the pages that the model counts: page tables, the huge zero page, what the kernel keeps at
/// hand on each CPU. Bytes.
const RESERVE: u64 = 32 << 20;

/// What can differ between worlds of one run: the kernel, the geometry and the settings are the same.
impl std::hash::Hash for World {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.actors.hash(state);
        self.objects.hash(state);
        self.folios.hash(state);
        self.swap.hash(state);
        self.events.hash(state);
        (self.next_anon_vma, self.next_page).hash(state);
    }
}

impl World {
    /// A machine with one actor, 0, whose arena is empty, and the files as new.
    pub fn new(profile: &Profile, geometry: Geometry, knobs: Knobs) -> World {
        let mut actors: [Option<Arc<Mm>>; MAX_ACTORS as usize] = Default::default();
        actors[0] = Some(Arc::new(Mm::default()));
        World {
            profile: profile.clone(),
            geometry,
            knobs,
            actors,
            objects: File::ALL.map(|f| Arc::new(Object::new(f))).to_vec(),
            folios: Folios::default(),
            swap: Swap::default(),
            events: Vec::new(),
            next_anon_vma: 1,
            next_page: 1,
            free_pages: 0,
        }
    }

    /// The same machine with so many pages free, in stretches of at least a huge page. Without it nothing is known about its
    /// memory, and all that the kernel may do when memory is short is permitted.
    pub fn with_free_pages(mut self, pages: u64) -> World {
        self.free_pages = pages;
        self
    }

    /// So many free pages that memory is short in no program of `steps` steps: more make no difference.
    pub fn enough_free_pages(steps: usize, geometry: Geometry) -> u64 {
        /// Pages that a step makes, in arenas: itself, and when it is done over and over.
        const ARENAS: u64 = 4;
        let made = (steps as u64 + 1) * ARENAS * u64::from(geometry.arena_pages());
        let reserve = RESERVE / u64::from(geometry.page_size);
        made + u64::from(geometry.pages_per_pmd) + reserve
    }

    /// Whether memory may be short, for all that is known: whether what was free would not hold everything that has been made
    /// since (as if nothing were ever freed), a huge page more and a reserve.
    pub(crate) fn may_be_short(&self) -> bool {
        if self.free_pages == 0 {
            return true;
        }
        let files: u64 = self
            .objects
            .iter()
            .map(|o| u64::from(o.cached_pages()))
            .sum();
        let reserve = RESERVE / u64::from(self.geometry.page_size);
        self.next_page + files + u64::from(self.geometry.pages_per_pmd) + reserve > self.free_pages
    }

    /// Every way the step may go, the most usual first. Never empty.
    ///
    /// A step by an actor that does not live, which [`crate::program::Program::check`] refuses, fails with ESRCH and changes
    /// nothing.
    pub fn apply(&self, step: &Step) -> Vec<Branch> {
        rules::apply(self, step)
    }

    /// The most usual way of a step in which an allocation fails: the one of its number, counted among those that the model knows of.
    /// `None` when the call makes fewer, or none is to fail.
    pub fn failed(&self, step: &Step) -> Option<Branch> {
        let ways = rules::failing::nth(self, step, step.fail?);
        ways.into_iter().next()
    }

    /// How many allocations the model knows of in a step.
    pub fn allocations(&self, step: &Step) -> u16 {
        let made = (1..).take_while(|nth| !rules::failing::nth(self, step, *nth).is_empty());
        made.count() as u16
    }

    /// What a kernel shows of an actor's arena, VmFlags and residency included; nothing for an actor that does not live.
    /// Contents are given where the VMA is readable.
    pub fn seen(&self, actor: ActorId) -> SpaceSeen {
        rules::report::seen(
            self,
            actor,
            rules::report::Contents::Readable,
            rules::report::Smaps::Sizes,
        )
    }

    /// The same without what smaps adds up, which takes time.
    pub(crate) fn seen_without_sizes(&self, actor: ActorId) -> SpaceSeen {
        rules::report::seen(
            self,
            actor,
            rules::report::Contents::Readable,
            rules::report::Smaps::Flags,
        )
    }

    /// What a kernel shows of every living actor, ascending: see [`World::seen`].
    pub fn shown(&self) -> Vec<(ActorId, SpaceSeen)> {
        let living = self.living().into_iter();
        living.map(|actor| (actor, self.seen(actor))).collect()
    }

    /// [`World::shown`] without what smaps adds up.
    pub(crate) fn shown_without_sizes(&self) -> Vec<(ActorId, SpaceSeen)> {
        let living = self.living().into_iter();
        living
            .map(|actor| (actor, self.seen_without_sizes(actor)))
            .collect()
    }

    /// What userfaultfds have told during the last step, in order: whose, and what.
    pub fn events(&self) -> &[(ActorId, Event)] {
        &self.events
    }

    /// Whether two worlds are one but for what userfaultfds have told lately.
    pub(crate) fn is_like(&self, other: &World) -> bool {
        let told_alike = World {
            events: other.events.clone(),
            ..self.clone()
        };
        told_alike == *other
    }

    /// Lets userfaultfds have told something else, for a kernel that does one thing and tells another.
    pub fn set_events(&mut self, events: Vec<(ActorId, Event)>) {
        self.events = events;
    }

    /// Whether an actor's address space is the very one that it has in another world: nothing has written to it since.
    pub(crate) fn has_same_space(&self, other: &World, actor: ActorId) -> bool {
        let index = usize::from(actor);
        match (self.actors.get(index), other.actors.get(index)) {
            (Some(Some(a)), Some(Some(b))) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The living actors, ascending.
    pub fn living(&self) -> Vec<ActorId> {
        (0..MAX_ACTORS).filter(|&a| self.mm(a).is_some()).collect()
    }

    /// An actor's VMAs, ascending; none for an actor that does not live.
    pub fn vmas(&self, actor: ActorId) -> &[Vma] {
        self.mm(actor).map_or(&[], |mm| &mm.vmas)
    }

    /// The VMA that holds a page.
    pub fn vma_at(&self, actor: ActorId, page: u32) -> Option<&Vma> {
        let mm = self.mm(actor)?;
        mm.vma_index(page).map(|i| &mm.vmas[i])
    }

    /// What stands at a page (pages from the arena's start).
    pub fn page(&self, actor: ActorId, page: u32) -> PageState {
        let Some(mm) = self.mm(actor) else {
            return PageState::Unmapped;
        };
        let Some(vma) = mm.vma_index(page).map(|i| &mm.vmas[i]) else {
            return PageState::Unmapped;
        };
        let huge = mm.tables[block_of(page, self.geometry)] == Table::Huge;
        match mm.slots.get(page) {
            None => PageState::Empty,
            Some(Slot::Guard) => PageState::Guard,
            Some(Slot::Poison) => PageState::Poison,
            Some(Slot::UffdWp) => PageState::UffdWp,
            Some(Slot::Zero) => PageState::Zero { huge },
            Some(slot @ Slot::Anon { content, .. }) => PageState::Anon {
                content,
                huge,
                shared: self
                    .sharing(actor, page, page + 1, slot)
                    .iter()
                    .any(|s| s.2),
            },
            Some(Slot::Swap { content, .. }) => PageState::Swapped { content },
            Some(Slot::File) => PageState::File {
                content: self.cached(vma, page),
                huge,
            },
        }
    }

    /// Whether an actor has locked memory, or will have when it maps some.
    pub fn locks(&self, actor: ActorId) -> bool {
        self.mm(actor).is_some_and(|mm| {
            mm.new_are_locked != Locked::No || mm.vmas.iter().any(|v| v.locked != Locked::No)
        })
    }

    /// Runs of guard markers: (first page, pages), ascending.
    pub fn guards(&self, actor: ActorId) -> Vec<(u32, u32)> {
        let Some(mm) = self.mm(actor) else {
            return Vec::new();
        };
        mm.slots
            .runs_in(0, self.geometry.arena_pages())
            .filter(|r| r.slot == Slot::Guard)
            .map(|r| (r.start, r.end - r.start))
            .collect()
    }

    /// Blocks mapped by a PMD, ascending.
    pub fn huge_blocks(&self, actor: ActorId) -> Vec<u8> {
        let Some(mm) = self.mm(actor) else {
            return Vec::new();
        };
        (0..BLOCKS)
            .filter(|&b| mm.tables[usize::from(b)] == Table::Huge)
            .collect()
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn mm(&self, actor: ActorId) -> Option<&Mm> {
        self.actors.get(usize::from(actor))?.as_deref()
    }

    /// Whether there is swap space.
    pub(crate) fn swaps(&self) -> bool {
        self.knobs.swap && self.profile.swap_device
    }

    /// An object, to change.
    pub(crate) fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        Arc::make_mut(&mut self.objects[id.0 as usize])
    }

    pub(crate) fn object(&self, id: ObjectId) -> &Object {
        &self.objects[id.0 as usize]
    }

    /// Which part of a file that programs can name a VMA maps.
    pub(crate) fn file_of(&self, vma: &Vma) -> Option<FileMap> {
        let file = File::ALL.get(vma.object?.0 as usize)?;
        Some(FileMap {
            file: *file,
            page: vma.pgoff.try_into().ok()?,
            shared: vma.shared,
            readonly: vma.readonly,
        })
    }

    /// The page at which the VMA or its file ends, whichever comes first.
    pub(crate) fn end_in_file(&self, vma: &Vma) -> u32 {
        let Some(id) = vma.object else {
            return vma.end;
        };
        let pages = self.object(id).pages.saturating_sub(vma.pgoff);
        vma.end.min(vma.start + pages)
    }

    /// The content of a page of a file.
    pub(crate) fn cached(&self, vma: &Vma, page: u32) -> Content {
        vma.object
            .and_then(|id| self.object(id).get(vma.index(page)))
            .unwrap_or(Content::ZERO)
    }

    /// Ids for `n` new anonymous pages that follow each other.
    pub(crate) fn new_pages(&mut self, n: u32) -> PageId {
        let id = PageId(self.next_page);
        // A gap of one, so that pages made at different times never look like one run by accident.
        self.next_page += u64::from(n) + 1;
        id
    }

    pub(crate) fn new_anon_vma(&mut self) -> u32 {
        self.next_anon_vma += 1;
        self.next_anon_vma
    }

    /// Splits the pages `[start, end)` of an actor, which hold `slot` and what follows it, by whether another slot, of another
    /// actor or of another VMA of the same file, maps the same page: (start, end, mapped elsewhere).
    pub(crate) fn sharing(
        &self,
        actor: ActorId,
        start: u32,
        end: u32,
        slot: Slot,
    ) -> Vec<(u32, u32, bool)> {
        match self.mm(actor) {
            Some(own) => self.sharing_in(actor, own, start, end, slot, false),
            None => vec![(start, end, false)],
        }
    }

    /// As [`World::sharing`], for an actor whose address space may have been taken out of the world; where it is said, anonymous pages
    /// count as mapped elsewhere that are `swapped` out there.
    pub(crate) fn sharing_in(
        &self,
        actor: ActorId,
        own: &Mm,
        start: u32,
        end: u32,
        slot: Slot,
        swapped: bool,
    ) -> Vec<(u32, u32, bool)> {
        let shared = self.other_mappings(actor, own, start, end, slot, swapped);
        parts(start, end, shared)
    }

    /// The pages `[start, end)` of an actor, which hold `slot` and what follows it, by how many other slots map the same page:
    /// (start, end, other mappings).
    pub(crate) fn mappers(
        &self,
        actor: ActorId,
        start: u32,
        end: u32,
        slot: Slot,
    ) -> Vec<(u32, u32, u32)> {
        let Some(own) = self.mm(actor) else {
            return vec![(start, end, 0)];
        };
        let mut edges: Vec<(u32, i32)> = vec![(end, 0)];
        for (from, to) in self.other_mappings(actor, own, start, end, slot, false) {
            edges.extend([(from, 1), (to, -1)]);
        }
        edges.sort_unstable();
        let mut parts = Vec::with_capacity(edges.len());
        let (mut at, mut many) = (start, 0);
        for (edge, change) in edges {
            if edge > at {
                parts.push((at, edge, many as u32));
                at = edge;
            }
            many += change;
        }
        parts
    }

    /// The stretches of `[start, end)`, a page of which another slot maps too, one for each mapping; in no order. `swapped`: or holds
    /// swapped out.
    fn other_mappings(
        &self,
        actor: ActorId,
        own: &Mm,
        start: u32,
        end: u32,
        slot: Slot,
        swapped: bool,
    ) -> Vec<(u32, u32)> {
        let mut shared: Vec<(u32, u32)> = Vec::new();
        let vma = own.vma_index(start).map(|i| &own.vmas[i]);
        let others = self.actors.iter().enumerate();
        let others = others.filter(|(other, _)| *other != usize::from(actor));
        let others = others.filter_map(|(_, mm)| Some((mm.as_deref()?, false)));
        for (mm, own) in others.chain([(own, true)]) {
            match slot {
                // Nobody maps an anonymous page twice.
                Slot::Anon { .. } if own => {}
                Slot::Anon { id, .. } => {
                    for run in mm.slots.runs_in(0, u32::MAX) {
                        let theirs = run.slot.anon().filter(|_| swapped || run.slot.is_present());
                        let Some(theirs) = theirs else {
                            continue;
                        };
                        let from = theirs.0.max(id.0);
                        let to = (theirs.0 + u64::from(run.end - run.start))
                            .min(id.0 + u64::from(end - start));
                        if from < to {
                            let at = start + (from - id.0) as u32;
                            shared.push((at, at + (to - from) as u32));
                        }
                    }
                }
                Slot::File => {
                    let Some(vma) = vma else {
                        continue;
                    };
                    let (first, last) = (vma.index(start), vma.index(end));
                    let others = mm.vmas.iter().filter(|v| v.object == vma.object);
                    for theirs in others.filter(|v| !own || v.start != vma.start) {
                        let from = theirs.pgoff.max(first);
                        let to = (theirs.pgoff + (theirs.end - theirs.start)).min(last);
                        if from >= to {
                            continue;
                        }
                        let (a, b) = (theirs.page_of(from), theirs.page_of(to - 1) + 1);
                        for run in mm.slots.runs_in(a, b).filter(|r| r.slot == Slot::File) {
                            let index = theirs.index(run.start);
                            let at = start + (index - first);
                            shared.push((at, at + (run.end - run.start)));
                        }
                    }
                }
                Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::Zero | Slot::Swap { .. } => {}
            }
        }
        shared
    }
}

/// `[start, end)` by whether it lies in one of `shared`, which lie in it and may overlap: (start, end, lies in one).
fn parts(start: u32, end: u32, mut shared: Vec<(u32, u32)>) -> Vec<(u32, u32, bool)> {
    if shared.is_empty() {
        return vec![(start, end, false)];
    }
    shared.sort_unstable();
    let mut parts = Vec::with_capacity(2 * shared.len() + 1);
    let mut at = start;
    for (from, to) in shared {
        if to <= at {
            continue;
        }
        let from = from.max(at);
        if from > at {
            parts.push((at, from, false));
        }
        match parts.last_mut() {
            Some(last) if last.2 && last.1 == from => last.1 = to,
            _ => parts.push((from, to, true)),
        }
        at = to;
    }
    if at < end {
        parts.push((at, end, false));
    }
    parts
}
