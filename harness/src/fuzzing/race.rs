//! Sections of threads that a fuzzer made: what all orders of the kernel's steps lead to must keep what guard regions promise, must
//! contain every order of whole ops, and must be what the judge allows, and nothing else.

use super::number;
use arbitrary::Unstructured;
use oracle::geometry::Geometry;
use oracle::judge::{Observation, Oracle, Outcome, Verdict};
use oracle::profile::{Arch, Named, Profile};
use oracle::program::generate::race as program;
use oracle::program::Program;
use oracle::race::promises::{broken, Shown};
use oracle::race::whole_orders;
use oracle::space::World;
use std::sync::OnceLock;

/// What guard install never returns.
const EAGAIN: i32 = 11;

const G: Geometry = Geometry::K4;

/// Releases between which the mechanism changed: as it was merged, with files, with a lock of the VMA, newest.
const RELEASES: [&str; 4] = ["6.13", "6.18.5", "6.19", "7.3"];

/// Ways that are held against the judge; a section has a handful as a rule.
const MOST_WAYS: usize = 40;

/// Pages that are free, so that huge pages are to be had.
const FREE_PAGES: u64 = 1 << 20;

/// The program that bytes make.
pub fn made_of(bytes: &[u8]) -> Program {
    program(&mut Unstructured::new(bytes))
}

/// Checks the section of the program that the bytes make. `mark` hears of what was reached. `false`: too large to go through.
///
/// # Errors
/// What does not hold, with the program.
pub fn race(bytes: &[u8], mark: &mut dyn FnMut(u64)) -> Result<bool, String> {
    static PROFILES: OnceLock<Vec<Profile>> = OnceLock::new();
    let profiles = PROFILES.get_or_init(|| {
        let named = RELEASES.iter().filter_map(|name| Named::parse(name));
        named.map(|named| named.profile(Arch::X86_64)).collect()
    });
    let program = made_of(bytes);
    let profile = &profiles[number(bytes) as usize % profiles.len()];
    check(&program, profile, mark).map_err(|what| format!("{what}\n\n{program}"))
}

fn check(program: &Program, profile: &Profile, mark: &mut dyn FnMut(u64)) -> Result<bool, String> {
    let at = program.steps.iter().position(|step| step.lane.is_some());
    let section = at.and_then(|at| program.section(at)).ok_or("no section")?;
    let steps = &program.steps[section.clone()];
    let mut oracle = Oracle::new(profile, G, program.knobs).with_free_pages(FREE_PAGES);
    let mut path = Vec::new();
    for step in &program.steps[..section.start] {
        oracle.step(step);
        let usual = oracle
            .expected()
            .first()
            .ok_or("the rules permit nothing")?;
        let seen = Observation {
            outcome: usual.outcome.clone(),
            spaces: usual.world.shown(),
            events: usual.world.events().to_vec(),
            failing: None,
        };
        let verdict = oracle.observe(&seen);
        if matches!(verdict, Verdict::Divergence(_)) {
            return Err(format!("the usual outcome of {step} diverges"));
        }
        path.push(seen);
    }
    let before: Vec<World> = oracle.worlds().to_vec();
    oracle.together(steps);
    let ways: Vec<Observation> = oracle
        .expected()
        .iter()
        .map(|branch| Observation {
            outcome: branch.outcome.clone(),
            spaces: branch.world.shown(),
            events: branch.world.events().to_vec(),
            failing: None,
        })
        .collect();
    mark(number(("ways", ways.len().checked_ilog2())));
    for branch in oracle.expected() {
        branch.rules.iter().for_each(|rule| mark(number(rule.0)));
    }
    if ways.is_empty() {
        return Ok(false);
    }
    let shown = Shown::by(profile);
    let so_far = Program {
        steps: program.steps[..section.end].to_vec(),
        ..program.clone()
    };
    for way in ways.iter().take(MOST_WAYS) {
        let mut seen = path.clone();
        seen.extend(apart(way));
        if let Some(broken) = broken(&so_far, &seen, shown, G).first() {
            return Err(format!("a way breaks a promise: {broken:?}"));
        }
        let verdict = oracle.clone().observe(way);
        if !matches!(verdict, Verdict::Agree | Verdict::Allowed { .. }) {
            return Err(format!("an allowed way is judged {verdict:?}"));
        }
        for wrong in wrongs(way)
            .into_iter()
            .filter(|wrong| !ways.contains(wrong))
        {
            if !matches!(oracle.clone().observe(&wrong), Verdict::Divergence(_)) {
                return Err(format!("no way, and not noticed: {:?}", wrong.outcome));
            }
        }
    }
    let storm = |step: &oracle::program::Step| step.lane.is_some_and(|lane| lane.repeats);
    if !steps.iter().any(storm) {
        for (outcomes, world) in before.iter().flat_map(|world| whole_orders(world, steps)) {
            let whole = Observation {
                outcome: Outcome::Together(outcomes),
                spaces: world.shown(),
                events: world.events().to_vec(),
                failing: None,
            };
            if !ways.contains(&whole) {
                return Err(format!(
                    "an order of whole ops is no way: {:?}",
                    whole.outcome
                ));
            }
        }
    }
    Ok(true)
}

/// A way as the guest reports it: what each step returned, and memory after the last one.
fn apart(way: &Observation) -> Vec<Observation> {
    let Outcome::Together(outcomes) = &way.outcome else {
        return Vec::new();
    };
    let last = outcomes.len() - 1;
    let steps = outcomes.iter().enumerate();
    steps
        .map(|(i, outcome)| Observation {
            outcome: outcome.clone(),
            spaces: if i == last {
                way.spaces.clone()
            } else {
                Vec::new()
            },
            events: Vec::new(),
            failing: None,
        })
        .collect()
}

/// What a kernel might show that got something wrong.
fn wrongs(way: &Observation) -> Vec<Observation> {
    let mut wrongs = Vec::new();
    if let Outcome::Together(outcomes) = &way.outcome {
        let mut outcomes = outcomes.clone();
        outcomes[0] = Outcome::Errno(EAGAIN);
        wrongs.push(Observation {
            outcome: Outcome::Together(outcomes),
            spaces: way.spaces.clone(),
            events: Vec::new(),
            failing: None,
        });
    }
    let mut without = way.clone();
    if let Some((_, space)) = without.spaces.first_mut() {
        if space.pages.pop().is_some() {
            wrongs.push(without);
        }
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::program::generate::expand;

    /// What the fuzzer has found, on every release: a store past a guard, by a translation that nobody saw to.
    #[test]
    fn sections_that_did_not_hold_do() {
        let stale = "mmap 0+0..0+8 rw private fixed\ndontdump 0+3..0+4\nwrite 0+3..0+4 tag 2\n|a guard-install 0+3..0+4\n\
                     |b guard-install 0+3..0+4\n|b write 0+3..0+4 tag 3\n";
        let program = Program::load_concurrent(stale).unwrap();
        for release in RELEASES {
            let profile = Named::parse(release).unwrap().profile(Arch::X86_64);
            assert_eq!(
                check(&program, &profile, &mut |_| ()),
                Ok(true),
                "{release}"
            );
        }
    }

    #[test]
    fn generated_sections_hold() {
        let mut judged = 0;
        for seed in 0..40 {
            let bytes = expand(seed, 256);
            judged += u32::from(race(&bytes, &mut |_| ()).unwrap_or_else(|why| panic!("{why}")));
        }
        assert!(judged >= 36, "{judged}");
    }
}
