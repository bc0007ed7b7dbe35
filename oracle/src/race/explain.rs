//! Why no order of steps leads to what threads were seen to return: the longest way that agrees with it, and where each thread would
//! have had to return something else.

use super::explore::{Move, Search, TooLarge};
use super::state::Script;
use crate::judge::Outcome;
use crate::program::Step;
use crate::space::World;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One of the longest orders of steps in which every op that returns does so as it was seen to.
    pub longest: Vec<Move>,
    /// Ops that have returned by then, of how many.
    pub returned: (usize, usize),
    /// Of each thread that cannot go on from any such place as it was seen to: the step of the section, what its op was seen to
    /// return, and what it could have returned instead.
    pub stuck: Vec<Stuck>,
}

/// A thread that would have had to return something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Step of the section.
    pub step: usize,
    pub seen: Outcome,
    /// Everything that the rules allow its op there.
    pub allowed: Vec<Outcome>,
}

/// How far the steps of a section can be explained when they were seen to return `seen` (one for each step of the section).
///
/// # Errors
/// There are more states than are kept.
pub fn explain(world: &World, section: &[Step], seen: &[Outcome]) -> Result<Explanation, TooLarge> {
    let script = Script::of(section);
    let wanted: Vec<Vec<Outcome>> = script
        .lanes
        .iter()
        .map(|lane| {
            let of = |(step, _): &(usize, _)| seen.get(*step).cloned();
            let all = lane.ops.iter().filter_map(of);
            match lane.repeats {
                // All that it returned one after the other.
                true => all
                    .flat_map(|one| match one {
                        Outcome::Each(each) => each,
                        other => vec![other],
                    })
                    .collect(),
                false => all.collect(),
            }
        })
        .collect();
    let mut best = (0, 0);
    let mut stuck: Vec<Stuck> = Vec::new();
    let mut search = Search::new(world, &script);
    search.run(&script, super::MOST_STATES, |search, at, state| {
        let mut returned = 0;
        for (lane, (here, wanted)) in state.lanes.iter().zip(&wanted).enumerate() {
            if !wanted.starts_with(&here.done) {
                let n = here.done.len() - 1;
                let script = &script.lanes[lane];
                let op = if script.repeats { 0 } else { n };
                note(&mut stuck, script.ops[op].0, wanted.get(n), &here.done[n]);
                return false;
            }
            returned += here.done.len();
        }
        let steps = search.steps_to(at);
        if (returned, steps) > best || at == 0 {
            best = (returned, steps);
            search.best = at;
        }
        true
    })?;
    let (longest, _) = search.way_to(search.best);
    let of_all = wanted.iter().map(Vec::len).sum();
    Ok(Explanation {
        longest,
        returned: (best.0, of_all),
        stuck,
    })
}

fn note(stuck: &mut Vec<Stuck>, step: usize, seen: Option<&Outcome>, allowed: &Outcome) {
    // A thread that repeats may return more often than it was seen to: that is no contradiction worth telling.
    let Some(seen) = seen else { return };
    match stuck.iter_mut().find(|s| s.step == step && s.seen == *seen) {
        Some(known) if known.allowed.contains(allowed) => {}
        Some(known) => known.allowed.push(allowed.clone()),
        None => stuck.push(Stuck {
            step,
            seen: seen.clone(),
            allowed: vec![allowed.clone()],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::profile::Profile;
    use crate::program::Program;
    use crate::race::explore;
    use crate::rules::errno::EAGAIN;

    fn section(text: &str) -> (World, Vec<Step>) {
        let program = Program::load_concurrent(text).unwrap();
        let first = program.steps.iter().position(|s| s.lane.is_some()).unwrap();
        let mut world =
            World::new(&Profile::newest(), Geometry::K4, program.knobs).with_free_pages(1 << 20);
        for step in &program.steps[..first] {
            world = world.apply(step).swap_remove(0).world;
        }
        (world, program.steps[first..].to_vec())
    }

    const BORDER: &str = "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 1-1..1+0 tag 1\n\
                          |a guard-install 1-1..1+1\n|b write 1+2..1+3 tag 2\n";

    #[test]
    fn what_is_allowed_is_explained_to_its_end() {
        let (world, steps) = section(BORDER);
        for way in explore(&world, &steps).unwrap().finals {
            let told = explain(&world, &steps, &way.outcomes).unwrap();
            assert_eq!(told.returned, (2, 2));
        }
    }

    #[test]
    fn an_eagain_is_told_with_what_install_may_return() {
        let (world, steps) = section(BORDER);
        let fine = explore(&world, &steps).unwrap().finals.swap_remove(0);
        let seen = [Outcome::Errno(EAGAIN), fine.outcomes[1].clone()];
        let told = explain(&world, &steps, &seen).unwrap();
        assert_eq!(told.returned, (1, 2));
        assert!(told.longest.iter().any(|step| step.lane == 'b'));
        let stuck = Stuck {
            step: 0,
            seen: Outcome::Errno(EAGAIN),
            allowed: vec![Outcome::Ok],
        };
        assert_eq!(told.stuck, [stuck]);
    }
}
