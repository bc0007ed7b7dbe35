//! The events of `convert`: what userfaultfds told, in pages.

use super::{actor_exists, Bad};
use oracle::geometry::Geometry;
use oracle::judge::Event;
use oracle::program::{ActorId, Program};

/// What userfaultfds told during step `index`.
pub fn events(
    told: Vec<(u8, wire::Event)>,
    program: &Program,
    index: usize,
    g: Geometry,
) -> Result<Vec<(ActorId, Event)>, Bad> {
    if !told.is_empty() && !program.knobs.uffd_events {
        return Err("an event of a userfaultfd that tells none"
            .to_owned()
            .into());
    }
    let event = |(actor, event)| {
        if !actor_exists(program, index, actor) {
            return Err(format!("an event of actor {actor}, who does not exist").into());
        }
        match within_arena(event, g) {
            Some(event) => Ok((actor, event)),
            None => Err(format!("an event of no pages: {event:?}").into()),
        }
    };
    told.into_iter().map(event).collect()
}

/// The event as far as it is about the arena; `None` where it makes no sense.
fn within_arena(event: wire::Event, g: Geometry) -> Option<Event> {
    let size = i64::from(g.page_size);
    let arena = i64::from(g.arena_pages());
    let page = |at: i64| (at % size == 0).then_some(at.div_euclid(size));
    let inside = |at: i64| u32::try_from(at).ok().filter(|_| at < arena);
    let extent = |start: i64, end: i64| {
        let (start, end) = (page(start)?, page(end)?);
        (start < end).then_some((start, end))
    };
    Some(match event {
        wire::Event::Fork => Event::Fork,
        wire::Event::Remap { from, to, len } => Event::Remap {
            from: inside(page(from)?)?,
            to: inside(page(to)?),
            pages: page(len.try_into().ok()?)?.try_into().ok()?,
        },
        wire::Event::Remove { start, end } => {
            let (start, end) = extent(start, end)?;
            Event::Remove {
                at: inside(start)?,
                pages: (end - start).try_into().ok()?,
            }
        }
        wire::Event::Unmap { start, end } => {
            let (start, end) = extent(start, end)?;
            let (from, to) = (start.max(0), end.min(arena));
            match from < to {
                true => Event::Unmap {
                    at: Some(from.try_into().ok()?),
                    pages: (to - from).try_into().ok()?,
                },
                false => Event::Unmap {
                    at: None,
                    pages: (end - start).try_into().ok()?,
                },
            }
        }
    })
}

/// The way back: an event as the guest would tell it; outside of the arena, right behind it.
pub fn told(event: Event, g: Geometry) -> wire::Event {
    let size = i64::from(g.page_size);
    let bytes = |page: u32| i64::from(page) * size;
    let at = |place: Option<u32>| bytes(place.unwrap_or(g.arena_pages()));
    match event {
        Event::Fork => wire::Event::Fork,
        Event::Remap { from, to, pages } => wire::Event::Remap {
            from: bytes(from),
            to: at(to),
            len: bytes(pages) as u64,
        },
        Event::Remove { at, pages } => wire::Event::Remove {
            start: bytes(at),
            end: bytes(at) + bytes(pages),
        },
        Event::Unmap { at: place, pages } => wire::Event::Unmap {
            start: at(place),
            end: at(place) + bytes(pages),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were_and_nonsense_does_not() {
        let g = Geometry::K4;
        let (to, at) = (Some(512), Some(7));
        for event in [
            Event::Fork,
            Event::Remap {
                from: 3,
                to,
                pages: 2,
            },
            Event::Remap {
                from: 3,
                to: None,
                pages: 0,
            },
            Event::Remove { at: 5, pages: 1 },
            Event::Unmap { at, pages: 9 },
            Event::Unmap { at: None, pages: 9 },
        ] {
            assert_eq!(within_arena(told(event, g), g), Some(event));
        }
        // What reaches out of the arena is cut to it.
        let wide = wire::Event::Unmap {
            start: -4096,
            end: 8192,
        };
        let cut = Event::Unmap {
            at: Some(0),
            pages: 2,
        };
        assert_eq!(within_arena(wide, g), Some(cut));
        for (start, end) in [
            (1, 4096),
            (0, 4097),
            (4096, 4096),
            (8192, 4096),
            (-4096, 4096),
        ] {
            assert_eq!(within_arena(wire::Event::Remove { start, end }, g), None);
        }
        let long = wire::Event::Remap {
            from: 0,
            to: 0,
            len: u64::MAX,
        };
        assert_eq!(within_arena(long, g), None);
    }
}
