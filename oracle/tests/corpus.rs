//! Every program of the corpus: loads, is in canonical form, and keeps what its author expects, on the newest profile and
//! with both page sizes. `UPDATE_EXPECT=1` rewrites files into canonical form.

mod common;

use common::broken_expectations;
use oracle::geometry::Geometry;
use oracle::judge::Observation;
use oracle::profile::{Arch, Named, Profile, Release};
use oracle::program::{Advice, Expect, Need, Op, Program, Step};
use oracle::space::World;
use std::path::{Path, PathBuf};

/// Programs of the corpus folder, by name.
fn files() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        let entries = std::fs::read_dir(folder).expect("the corpus folder");
        for entry in entries {
            let path = entry.expect("an entry of the corpus").path();
            if path.ends_with("races") {
                // Threads run at once in them: `tests/races.rs` is about those.
                continue;
            }
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "prog") {
                into.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus"),
        &mut paths,
    );
    paths.sort();
    let read = |p: PathBuf| {
        let text = std::fs::read_to_string(&p).expect("a readable program");
        (p, text)
    };
    paths.into_iter().map(read).collect()
}

fn programs() -> Vec<(String, Program)> {
    let load = |(path, text): (PathBuf, String)| {
        let name = path.display().to_string();
        let program = Program::load(&text).unwrap_or_else(|e| panic!("{}", e.render(&name)));
        (name, program)
    };
    files().into_iter().map(load).collect()
}

#[test]
fn every_program_loads_and_is_canonical() {
    for (path, text) in files() {
        let name = path.display().to_string();
        let program = Program::load(&text).unwrap_or_else(|e| panic!("{}", e.render(&name)));
        let canonical = program.to_string();
        if text != canonical && std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, canonical).expect("a writable program");
            continue;
        }
        assert_eq!(
            text, canonical,
            "{name} is not in canonical form (UPDATE_EXPECT=1 rewrites it)"
        );
    }
}

#[test]
fn every_expectation_holds_on_the_oracle() {
    let mut report = String::new();
    for (name, program) in programs() {
        for (g, what) in [(Geometry::K4, "4 KiB"), (Geometry::K16, "16 KiB")] {
            if program.needs.contains(&Need::Page4K) && g != Geometry::K4 {
                continue;
            }
            for broken in broken_expectations(&program, &Profile::newest(), g) {
                report += &format!("{name} ({what}): {broken}\n");
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn the_corpus_is_large_and_says_what_it_expects() {
    let programs = programs();
    let guards =
        |p: &Program| p.needs.contains(&Need::Guards) || p.needs.contains(&Need::GuardsShared);
    let about_guards = programs.iter().filter(|(_, p)| guards(p)).count();
    assert!(about_guards >= 40, "{about_guards} programs about guards");
    for (name, program) in &programs {
        assert!(
            !program.about.is_empty(),
            "{name} does not say what it is about"
        );
        let expects = program.steps.iter().map(|s| s.expect.len()).sum::<usize>();
        assert!(expects >= 3, "{name} expects {expects} things only");
        let uses = |op: &str| program.steps.iter().any(|s| s.op.name() == op);
        let guard = |advice| matches!(advice, Advice::GuardInstall | Advice::GuardRemove);
        let needs = program.steps.iter().any(|step| match step.op {
            Op::Madvise { advice, .. } => guard(advice),
            // As old as guards is what it may do to its own caller.
            Op::ProcessMadvise { .. } => true,
            _ => false,
        });
        assert_eq!(
            needs,
            guards(program),
            "{name}: the header should say whether guards are needed"
        );
        assert_eq!(
            uses("mseal") || uses("mseal-unknown-flag"),
            program.needs.contains(&Need::Mseal),
            "{name}: the header should say whether mseal is needed"
        );
    }
    let strips = programs.iter().filter(|(_, p)| {
        let mut all = p.steps.iter().flat_map(|s| &s.expect);
        all.any(|e| matches!(e, Expect::Strip { .. }))
    });
    assert!(
        strips.count() * 10 >= programs.len() * 9,
        "nine of ten programs show a strip"
    );
}

/// The programs about the seed thread say how the patch of 2024 behaves: where one does not say that a single-threaded program
/// cannot show the difference, that patch and what was merged part on it.
#[test]
fn the_seed_thread_is_told_from_what_was_merged() {
    let mut points = 0;
    for (name, program) in programs() {
        if !name.contains("seed-thread") {
            continue;
        }
        points += 1;
        let cannot = program
            .about
            .join(" ")
            .contains("single-threaded program cannot show");
        let rfc = steps(&Named::Rfc2024.profile(Arch::X86_64), &program);
        // What was merged, on the same kernel; shared memory as well where the program is about it.
        let merged = Profile {
            guards_shared: program.needs.contains(&Need::GuardsShared),
            ..Profile::at_release(Release(6, 13, 0), Arch::X86_64)
        };
        let parts = steps(&merged, &program) != rfc;
        assert_eq!(parts, !cannot, "{name}");
    }
    assert_eq!(points, 13, "points 1 to 13");
}

/// What a kernel of this profile shows after each step, VmFlags and residency apart.
fn steps(profile: &Profile, program: &Program) -> Vec<Observation> {
    let mut world = World::new(profile, Geometry::K4, program.knobs);
    let one = |step: &Step| {
        let branch = world.apply(step).swap_remove(0);
        world = branch.world;
        let space = |actor| {
            let mut seen = world.seen(actor);
            seen.resident = None;
            seen.vmas.iter_mut().for_each(|vma| vma.flags = None);
            (actor, seen)
        };
        Observation {
            outcome: branch.outcome,
            spaces: world.living().into_iter().map(space).collect(),
            events: world.events().to_vec(),
            failing: None,
        }
    };
    program.steps.iter().map(one).collect()
}
