//! Translations that a processor still remembers after the page table says otherwise.

use super::state::State;
use crate::program::ActorId;
use crate::rules::access::Purpose;
use crate::rules::{resume, touch_page};
use crate::space::mm::{block_of, Mm, Table};
use crate::space::object::Object;
use crate::space::slots::{PageId, Slot};
use crate::space::{Content, World};
use std::sync::Arc;

/// An address space as it was, for pages that some processor may still reach the old way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stale {
    /// The thread that has not told the others yet.
    pub lane: usize,
    pub by: By,
    /// Whose address space.
    pub actor: ActorId,
    pub mm: Arc<Mm>,
    /// Pages that it is about: `[start, end)`.
    pub start: u32,
    pub end: u32,
    /// The files as they were before each op that took pages out of them since: who goes the old way finds what these held.
    pub files: Vec<Vec<Arc<Object>>>,
    /// Threads that have come to a page the new way, and the page: their processors remember nothing older any more.
    pub gone: Vec<(usize, u32)>,
}

/// What took the translations away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum By {
    /// A call that zaps in batches, and counts itself where others can see it.
    Batch,
    /// Reclaim, which tells the others once for many pages. It takes clean pages only, so that a store needs a fault.
    Reclaim,
    /// A call that is alone with what it changes.
    Alone,
}

impl Stale {
    /// A thread of an actor comes to a page the new way.
    pub fn goes(&mut self, lane: usize, actor: ActorId, page: u32) {
        let gone = (lane, page);
        let concerned = lane != self.lane && actor == self.actor;
        if concerned && (self.start..self.end).contains(&page) {
            if let Err(at) = self.gone.binary_search(&gone) {
                self.gone.insert(at, gone);
            }
        }
    }

    /// Whether an access of an actor to a page needed no fault when the address space was so; what the page holds by now.
    pub fn reaches(
        &self,
        world: &World,
        actor: ActorId,
        lane: usize,
        page: u32,
        purpose: Purpose,
    ) -> Option<Content> {
        if actor != self.actor || lane == self.lane || self.gone.contains(&(lane, page)) {
            return None;
        }
        if !(self.start..self.end).contains(&page) {
            return None;
        }
        if self.by == By::Reclaim && matches!(purpose, Purpose::Store(_)) {
            return None;
        }
        let mut then = world.clone();
        then.actors[usize::from(actor)] = Some(self.mm.clone());
        if !ready(&then, actor, page, purpose) {
            return None;
        }
        let slot = self.mm.slots.get(page)?;
        match slot {
            Slot::Anon { id, content } => {
                // Others may have stored to the page since.
                let now = world
                    .actors
                    .iter()
                    .flatten()
                    .find_map(|mm| place_of(mm, id));
                Some(now.map_or(content, |(_, content)| content))
            }
            Slot::File => {
                let vma = self.mm.vma_index(page).map(|i| &self.mm.vmas[i])?;
                let (file, index) = (vma.object?.0 as usize, vma.index(page));
                let before = self.files.iter().rev();
                let files = std::iter::once(&world.objects).chain(before);
                { files }.find_map(|files| files[file].get(index))
            }
            Slot::Zero => Some(Content::ZERO),
            Slot::Guard | Slot::Poison | Slot::UffdWp | Slot::Swap { .. } => None,
        }
    }

    /// Stores to the page that was mapped here, wherever it is mapped now.
    pub fn store(&self, world: &mut World, page: u32, content: Content) {
        match self.mm.slots.get(page) {
            Some(Slot::Anon { id, .. }) => {
                for mm in world.actors.iter_mut().flatten() {
                    if let Some((at, _)) = place_of(mm, id) {
                        let mm = Arc::make_mut(mm);
                        mm.slots.set(at, at + 1, Slot::Anon { id, content });
                    }
                }
            }
            Some(Slot::File) => {
                let Some(vma) = self.mm.vma_index(page).map(|i| self.mm.vmas[i].clone()) else {
                    return;
                };
                if let Some(id) = vma.object {
                    let index = vma.index(page);
                    // A page that has left the file takes the store with it.
                    if world.object(id).get(index).is_some() {
                        world.object_mut(id).store(index, index + 1, content);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where an address space maps an anonymous page, and what that holds.
fn place_of(mm: &Mm, id: PageId) -> Option<(u32, Content)> {
    mm.slots.runs_in(0, u32::MAX).find_map(|run| {
        let Slot::Anon { id: first, .. } = run.slot else {
            return None;
        };
        let n = id.0.checked_sub(first.0)?;
        let n = (n < u64::from(run.end - run.start)).then_some(n as u32)?;
        match run.slot.plus(n) {
            Slot::Anon { content, .. } => Some((run.start + n, content)),
            _ => None,
        }
    })
}

impl State {
    /// An actor has stored to an anonymous page that another has let go of, while processors may still remember it there: as long as
    /// they do the kernel holds on to the page, and who finds it write-protected gets a copy ([`STORES_TO_COPY`]). Whether it is so. Huge
    /// pages are left as they are.
    pub fn stores_to_copy(&mut self, actor: ActorId, page: u32) -> bool {
        let Some(mm) = &mut self.world.actors[usize::from(actor)] else {
            return false;
        };
        let Some(Slot::Anon { id, content }) = mm.slots.get(page) else {
            return false;
        };
        let block = block_of(page, self.world.geometry);
        let mut others = self.stale.iter().filter(|stale| stale.actor != actor);
        if mm.tables[block] == Table::Huge || !others.any(|stale| place_of(&stale.mm, id).is_some())
        {
            return false;
        }
        let slots = &mut Arc::make_mut(mm).slots;
        let id = PageId(self.world.next_page);
        slots.set(page, page + 1, Slot::Anon { id, content });
        self.world.next_page += 1;
        true
    }
}

/// What the number of a page has that nobody maps any more.
const GONE: u64 = 1 << 63;

impl Stale {
    /// Pages that are none of those in use (ascending: first, one past the last) get numbers that no page has: their own will be others'.
    pub fn let_go(&mut self, used: &[(u64, u64)]) {
        let mut gone: Vec<(u32, u32, Slot)> = Vec::new();
        for run in self.mm.slots.runs_in(0, u32::MAX) {
            let Slot::Anon { id, .. } = run.slot else {
                continue;
            };
            if id.0 & GONE != 0 {
                continue;
            }
            let end = id.0 + u64::from(run.end - run.start);
            let mut at = id.0;
            let behind = [(end, end)];
            for &(from, to) in used.iter().chain(&behind) {
                let from = from.clamp(at, end);
                if at < from {
                    let (first, pages) = ((at - id.0) as u32, (from - at) as u32);
                    if let Slot::Anon { id, content } = run.slot.plus(first) {
                        let id = PageId(id.0 | GONE);
                        let start = run.start + first;
                        gone.push((start, start + pages, Slot::Anon { id, content }));
                    }
                }
                at = at.max(to.min(end));
            }
        }
        if !gone.is_empty() {
            let slots = &mut Arc::make_mut(&mut self.mm).slots;
            gone.into_iter()
                .for_each(|(start, end, slot)| slots.set(start, end, slot));
        }
    }
}

impl Stale {
    /// A store through this translation: who comes the same way finds it.
    pub fn remember(&mut self, page: u32, content: Content) {
        if let Some(Slot::Anon { id, .. }) = self.mm.slots.get(page) {
            let mm = Arc::make_mut(&mut self.mm);
            mm.slots.set(page, page + 1, Slot::Anon { id, content });
        }
    }
}

/// The fault that an access takes, which is all that a populating call does.
pub(super) fn fault_of(purpose: Purpose) -> Purpose {
    match purpose {
        Purpose::Store(_) | Purpose::PopulateWrite => Purpose::PopulateWrite,
        _ => Purpose::PopulateRead,
    }
}

/// Whether an access to a page needs no fault: faulting it in would change nothing.
pub(super) fn ready(world: &World, actor: ActorId, page: u32, purpose: Purpose) -> bool {
    let branches = touch_page(resume(world.clone(), actor), page.into(), fault_of(purpose));
    match branches.as_slice() {
        [only] => only.outcome == crate::judge::Outcome::Ok && only.world == *world,
        _ => false,
    }
}
