//! What the tests of program files share: running a program on the oracle and checking what its author expects.

use oracle::geometry::Geometry;
use oracle::judge::strip::check_expect;
use oracle::judge::Observation;
use oracle::profile::Profile;
use oracle::program::Program;
use oracle::space::World;

/// Follows the most usual branch of every step and checks each expectation. Gives the messages of those that do not hold,
/// each with its step.
pub fn broken_expectations(program: &Program, profile: &Profile, g: Geometry) -> Vec<String> {
    let mut world = World::new(profile, g, program.knobs);
    let mut broken = Vec::new();
    for (i, step) in program.steps.iter().enumerate() {
        let branch = world.apply(step).swap_remove(0);
        world = branch.world;
        let seen = Observation {
            outcome: branch.outcome,
            spaces: world
                .living()
                .into_iter()
                .map(|a| (a, world.seen(a)))
                .collect(),
            events: world.events().to_vec(),
            failing: None,
        };
        for expect in &step.expect {
            if let Err(why) = check_expect(expect, &seen, g) {
                broken.push(format!("op {} ({step}): {why}", i + 1));
            }
        }
    }
    broken
}
