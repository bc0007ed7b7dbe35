//! What `cargo xtask show` prints of a program in which threads run at once.

use crate::exit::{say, Exit};
use crate::show::strips;
use anyhow::Result;
use harness::race::timeline;
use harness::report::{outcome_words, wrap};
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::{Program, Step};
use oracle::race::explore;
use oracle::space::World;

/// Pages that are free, so that huge pages are to be had: with less, every fault could go two ways, and so it would be printed.
const FREE_PAGES: u64 = 1 << 20;

/// Prints every way the sections may end. What follows a section is told for its first way.
pub fn run(program: &Program, profile: &Profile, g: Geometry, rules: bool) -> Result<Exit> {
    let mut world = World::new(profile, g, program.knobs).with_free_pages(FREE_PAGES);
    let mut at = 0;
    while at < program.steps.len() {
        if let Some(section) = program.section(at) {
            at = section.end;
            let steps = &program.steps[section];
            match ways(&world, steps, g, rules)? {
                Some(next) => world = next,
                None => return Ok(Exit::Infrastructure),
            }
            continue;
        }
        let step = &program.steps[at];
        let branch = world.apply(step).swap_remove(0);
        say!(
            "\n{at:>3}  {step}\n     => {}\n",
            outcome_words(&branch.outcome, g)
        );
        world = branch.world;
        say!("{}", spaces(&world, g));
        at += 1;
    }
    Ok(Exit::Fine)
}

/// One section; the machine after its first way. `None`: too large.
fn ways(world: &World, steps: &[Step], g: Geometry, rules: bool) -> Result<Option<World>> {
    say!("\n     at once:\n");
    for step in steps {
        say!("     {step}\n");
    }
    let all = match explore(world, steps) {
        Ok(all) => all,
        Err(error) => {
            say!("\n{error}: leave out ops or threads, or make ranges smaller\n");
            return Ok(None);
        }
    };
    let count = all.finals.len();
    let ways = if count == 1 { "way" } else { "ways" };
    say!("\n{count} {ways} to end, {} states\n", all.states);
    for (number, end) in all.finals.iter().enumerate() {
        say!("\nway {} of {count}\n", number + 1);
        for (step, outcome) in steps.iter().zip(&end.outcomes) {
            say!(
                "{}",
                wrap(&format!("     {step} => {}\n", outcome_words(outcome, g)))
            );
        }
        say!("{}", spaces(&end.world, g));
        say!("     for example so:\n{}", timeline(&end.how));
    }
    if rules {
        let names: Vec<String> = all.rules.iter().map(|r| r.to_string()).collect();
        say!("{}", wrap(&format!("\n     rules: {}", names.join(" "))));
    }
    Ok(all.finals.into_iter().next().map(|end| end.world))
}

fn spaces(world: &World, g: Geometry) -> String {
    let shown = world.shown();
    shown
        .iter()
        .map(|(actor, space)| strips(*actor, space, g))
        .collect()
}
