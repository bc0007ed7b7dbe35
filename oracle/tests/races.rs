//! The programs of corpus/races: whatever the order, guard install keeps its promises; and the explorer, which takes ops
//! apart, also finds every order in which they run whole, as the rules for one thread alone have it.

use oracle::geometry::{Geometry, Range};
use oracle::judge::{Outcome, SpaceSeen};
use oracle::profile::{Arch, Named, Profile};
use oracle::program::{ActorId, Advice, Op, Program, Step};
use oracle::race::{explore, whole_orders, Exploration};
use oracle::space::{PageState, World};
use std::path::PathBuf;

const G: Geometry = Geometry::K4;
const EAGAIN: i32 = 11;
const EINTR: i32 = 4;

type Seen = (Vec<Outcome>, Vec<(ActorId, SpaceSeen)>);

struct Race {
    name: String,
    before: World,
    steps: Vec<Step>,
    all: Exploration,
}

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/races");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}

fn races(profile: &Profile) -> Vec<Race> {
    let race = |path: PathBuf| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let program =
            Program::load_concurrent(&text).unwrap_or_else(|e| panic!("{}", e.render(&name)));
        if program.to_string() != text && std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, program.to_string()).unwrap();
        } else {
            assert_eq!(program.to_string(), text, "{name} is not in canonical form");
        }
        let first = program.steps.iter().position(|s| s.lane.is_some()).unwrap();
        let mut before = World::new(profile, G, program.knobs).with_free_pages(1 << 20);
        for step in &program.steps[..first] {
            before = before.apply(step).swap_remove(0).world;
        }
        let steps = program.steps[program.section(first).unwrap()].to_vec();
        let all = explore(&before, &steps).unwrap_or_else(|e| panic!("{name}: {e}"));
        Race {
            name,
            before,
            steps,
            all,
        }
    };
    files().into_iter().map(race).collect()
}

fn profiles() -> Vec<Profile> {
    ["6.13", "6.18.5", "7.3"]
        .map(|name| Named::parse(name).unwrap().profile(Arch::X86_64))
        .to_vec()
}

/// Pages of an op's range.
fn pages(op: &Op) -> std::ops::Range<i64> {
    pages_of(op.range().unwrap())
}

fn pages_of(range: Range) -> std::ops::Range<i64> {
    range.start.page_index(G)..range.end.page_index(G)
}

/// Whether an op takes guards away, or the memory under them.
fn takes_guards_away(op: &Op) -> bool {
    match op {
        Op::Madvise { advice, .. } => *advice == Advice::GuardRemove,
        Op::Munmap { .. } | Op::Mmap { .. } | Op::Mremap { .. } => true,
        _ => false,
    }
}

#[test]
fn install_keeps_its_promises_in_every_order() {
    for race in profiles().iter().flat_map(races) {
        let undone = |actor: ActorId| {
            let mut own = race.steps.iter().filter(|s| s.actor == actor);
            own.any(|s| takes_guards_away(&s.op))
        };
        for end in &race.all.finals {
            for (step, outcome) in race.steps.iter().zip(&end.outcomes) {
                let Op::Madvise {
                    advice: Advice::GuardInstall,
                    ..
                } = step.op
                else {
                    continue;
                };
                let told = |errno| *outcome == Outcome::Errno(errno);
                assert!(
                    !told(EAGAIN) && !told(EINTR),
                    "{}: {:?}",
                    race.name,
                    end.how
                );
                if *outcome == Outcome::Ok && !undone(step.actor) {
                    let guard =
                        |page: i64| end.world.page(step.actor, page as u32) == PageState::Guard;
                    assert!(pages(&step.op).all(guard), "{}: {:?}", race.name, end.how);
                }
            }
            // Pages that no op names are as they were, huge pages that were split apart.
            for page in 0..G.arena_pages() {
                let mut ranges = race.steps.iter().flat_map(|s| s.op.ranges());
                let by_file = race.steps.iter().any(|s| s.op.file().is_some());
                if by_file || ranges.any(|range| pages_of(range).contains(&page.into())) {
                    continue;
                }
                let held = |state: PageState| match state {
                    PageState::Anon { content, .. } => content.tag(),
                    _ => None,
                };
                for actor in race.before.living() {
                    let (was, is) = (race.before.page(actor, page), end.world.page(actor, page));
                    assert_eq!(held(was), held(is), "{}: page {page}", race.name);
                }
            }
        }
    }
}

#[test]
fn whole_ops_in_any_order_are_among_the_ways() {
    let mut orders = 0;
    for race in profiles().iter().flat_map(races) {
        if race
            .steps
            .iter()
            .any(|s| s.lane.is_some_and(|lane| lane.repeats))
        {
            continue;
        }
        let ways: Vec<Seen> = race
            .all
            .finals
            .iter()
            .map(|end| (end.outcomes.clone(), end.world.shown()))
            .collect();
        for (outcomes, world) in whole_orders(&race.before, &race.steps) {
            let seen = (outcomes, world.shown());
            orders += 1;
            assert!(
                ways.contains(&seen),
                "{}: {:?} {:#?}",
                race.name,
                seen.0,
                race.steps
            );
        }
    }
    assert!(orders > 20, "{orders} orders");
}
