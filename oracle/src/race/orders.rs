//! What a section comes to when no op is ever taken apart: every order of whole ops, as the rules for one thread alone have them.
//! The explorer must find each of these, so this is what it is checked against.

use crate::judge::Outcome;
use crate::program::Step;
use crate::space::World;

/// What each step of the section returned, and the machine after it, for every order in which each thread keeps its own. A thread
/// that repeats performs its op once; of it, what it returned stands alone, not as [`Outcome::Each`].
pub fn whole_orders(world: &World, section: &[Step]) -> Vec<(Vec<Outcome>, World)> {
    let mut found = Vec::new();
    play(world, section, vec![None; section.len()], &mut found);
    found
}

fn play(
    world: &World,
    steps: &[Step],
    done: Vec<Option<Outcome>>,
    found: &mut Vec<(Vec<Outcome>, World)>,
) {
    if let Some(outcomes) = done.iter().cloned().collect::<Option<Vec<Outcome>>>() {
        return found.push((outcomes, world.clone()));
    }
    for (i, step) in steps.iter().enumerate() {
        let earlier = (0..i).any(|e| steps[e].lane == step.lane && done[e].is_none());
        if done[i].is_some() || earlier {
            continue;
        }
        let alone = Step::new(step.actor, step.op);
        for branch in world.apply(&alone) {
            let mut done = done.clone();
            done[i] = Some(branch.outcome);
            play(&branch.world, steps, done, found);
        }
    }
}
