//! What userfaultfds tell of their processes' memory: events. A userfaultfd tells them only if it was made so, see
//! [`Knobs::uffd_events`](crate::program::Knobs).

use super::compare::Difference;
use super::{Class, Observation};
use crate::geometry::{Geometry, Pos};
use crate::program::{ActorId, EventExpected};
use serde::{Deserialize, Serialize};

/// One event. Pages count from the arena's start; a place that is `None` lies outside of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// UFFD_EVENT_FORK: there is a child, with a userfaultfd of its own.
    Fork,
    /// UFFD_EVENT_REMAP: `pages` pages have moved.
    Remap {
        from: u32,
        to: Option<u32>,
        pages: u32,
    },
    /// UFFD_EVENT_REMOVE: pages are about to be discarded.
    Remove { at: u32, pages: u32 },
    /// UFFD_EVENT_UNMAP: memory of this range has been unmapped.
    Unmap { at: Option<u32>, pages: u32 },
}

impl Event {
    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Event::Fork => "fork",
            Event::Remap { .. } => "remap",
            Event::Remove { .. } => "remove",
            Event::Unmap { .. } => "unmap",
        }
    }
}

/// Events as people read them, in the text form as far as it has words.
pub fn event_words(events: impl IntoIterator<Item = Event>, g: Geometry) -> String {
    let position = |page: u32| {
        let pos = Pos::from_page_index(page.into(), g);
        pos.map_or_else(|| format!("page {page}"), |pos| pos.to_string())
    };
    let range = |at: u32, pages: u32| format!("{}..{}", position(at), position(at + pages));
    let words: Vec<String> = events
        .into_iter()
        .map(|event| match event {
            Event::Fork => "fork".into(),
            Event::Remap { from, to, pages } => {
                let to = to.map_or("elsewhere".into(), position);
                format!("remap {} to {to}", range(from, pages))
            }
            Event::Remove { at, pages } => format!("remove {}", range(at, pages)),
            Event::Unmap { at: None, .. } => "unmap elsewhere".into(),
            Event::Unmap {
                at: Some(at),
                pages,
            } => format!("unmap {}", range(at, pages)),
        })
        .collect();
    match words.is_empty() {
        true => "none".into(),
        false => words.join(" "),
    }
}

/// The first event that is not as expected.
pub(super) fn difference(
    expected: &[(ActorId, Event)],
    seen: &[(ActorId, Event)],
) -> Option<Difference> {
    let most = expected.len().max(seen.len());
    let at = (0..most).find(|&i| expected.get(i) != seen.get(i))?;
    let (wanted, got) = (expected.get(at), seen.get(at));
    let word = |event: Option<&(ActorId, Event)>| event.map_or("no-event", |(_, e)| e.name());
    let observed = match (wanted, got) {
        (Some(a), Some(b)) if a.1.name() == b.1.name() => format!("another-{}", b.1.name()),
        _ => word(got).to_owned(),
    };
    Some(Difference {
        class: Class::Event,
        actor: wanted.or(got).map(|(actor, _)| *actor),
        pages: None,
        expected: word(wanted).to_owned(),
        observed,
        of: "what userfaultfd tells",
        note: Some(format!("Event {at}: {got:?} in place of {wanted:?}")),
        rank: 1,
    })
}

/// Whether the events of a step are those that an author expects, all of them and in this order.
///
/// # Errors
/// What was expected and what was seen instead.
pub(super) fn check(
    wanted: &[EventExpected],
    seen: &Observation,
    g: Geometry,
) -> Result<(), String> {
    let page = |pos: Pos| pos.page_index(g);
    let same = |wanted: &EventExpected, event: Event| {
        let range = |at: u32, pages: u32| (i64::from(at), i64::from(at) + i64::from(pages));
        match (*wanted, event) {
            (EventExpected::Fork, Event::Fork) => true,
            (
                EventExpected::Remap { range: r, to },
                Event::Remap {
                    from,
                    to: at,
                    pages,
                },
            ) => {
                (page(r.start), page(r.end)) == range(from, pages)
                    && to.map(page) == at.map(i64::from)
            }
            (EventExpected::Remove(r), Event::Remove { at, pages })
            | (
                EventExpected::Unmap(Some(r)),
                Event::Unmap {
                    at: Some(at),
                    pages,
                },
            ) => (page(r.start), page(r.end)) == range(at, pages),
            (EventExpected::Unmap(None), Event::Unmap { at: None, .. }) => true,
            _ => false,
        }
    };
    let alike = wanted.len() == seen.events.len()
        && wanted
            .iter()
            .zip(&seen.events)
            .all(|(w, (_, e))| same(w, *e));
    if alike {
        return Ok(());
    }
    let words = crate::program::Expect::Events(wanted.to_vec()).text(0);
    let told = event_words(seen.events.iter().map(|(_, event)| *event), g);
    Err(format!("expected {words}, userfaultfd told {told}"))
}
