use super::*;
use crate::geometry::Geometry;
use crate::judge::Observation;
use crate::program::Program;
use crate::space::World;

/// What a kernel of this profile would show: the first branch of each step.
fn run(profile: &Profile, text: &str) -> Vec<Observation> {
    let program = Program::load(text).unwrap();
    let mut world = World::new(profile, Geometry::K4, program.knobs);
    let mut seen = Vec::new();
    for step in &program.steps {
        let branch = world.apply(step).swap_remove(0);
        world = branch.world;
        seen.push(Observation {
            outcome: branch.outcome,
            spaces: world.shown(),
            events: world.events().to_vec(),
            failing: None,
        });
    }
    seen
}

/// On every release that the table tells apart, each probe reads back the flag that the model ran with.
#[test]
fn probes_read_back_the_flags() {
    let mut edges: Vec<Release> = vec![Release(6, 1, 0)];
    for behaviour in BEHAVIOURS {
        for span in behaviour.spans {
            edges.extend([span.from, span.until]);
        }
    }
    edges.retain(|r| *r >= Release(6, 1, 0) && *r <= Release::NEWEST);
    edges.sort();
    edges.dedup();
    let mut told = 0;
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for &release in &edges {
            let profile = Profile::at_release(release, arch);
            for behaviour in BEHAVIOURS {
                let Some(probe) = &behaviour.probe else {
                    continue;
                };
                let read = (probe.read)(&run(&profile, probe.program));
                let Some(read) = read else {
                    continue;
                };
                told += 1;
                assert_eq!(
                    read,
                    behaviour.get(&profile),
                    "{} on {release} {arch:?}",
                    behaviour.name
                );
            }
        }
    }
    assert!(told >= BEHAVIOURS.len() * edges.len(), "{told}");
}

/// A kernel that ends in the middle of a probe leaves fewer observations than the probe has steps.
#[test]
fn a_probe_that_was_cut_short_is_read_without_harm() {
    let mut cut = 0;
    for probe in BEHAVIOURS.iter().filter_map(|b| b.probe.as_ref()) {
        let seen = run(&Profile::newest(), probe.program);
        for many in 0..seen.len() {
            let _ = (probe.read)(&seen[..many]);
            cut += 1;
        }
    }
    assert!(cut > BEHAVIOURS.len());
}

/// Each flag can be told both ways by its probe on the model of the newest kernel.
#[test]
fn probes_notice_the_other_value() {
    for behaviour in BEHAVIOURS {
        let Some(probe) = &behaviour.probe else {
            continue;
        };
        for on in [false, true] {
            let mut profile = Profile::newest();
            // Without protection keys the other execute-only behaviour can be seen at all.
            profile.exec_only_pkey = false;
            behaviour.set(&mut profile, on);
            let read = (probe.read)(&run(&profile, probe.program));
            assert_eq!(read, Some(on), "{}", behaviour.name);
        }
    }
}

#[test]
fn versions_that_are_told_apart() {
    let at = |a, b, c| Profile::at_release(Release(a, b, c), Arch::X86_64);
    assert!(!at(6, 12, 95).guards);
    assert!(at(6, 13, 0).guards && !at(6, 13, 0).guards_shared);
    assert!(at(6, 18, 44).maybe_guard && !at(6, 18, 15).maybe_guard);
    assert!(at(6, 19, 0).maybe_guard);
    assert!(!Profile::at_release(Release(6, 19, 14), Arch::Aarch64).pt_reclaim);
    assert!(Profile::at_release(Release(7, 0, 0), Arch::Aarch64).pt_reclaim);
    assert_eq!(Profile::newest(), at(7, 3, 4));
}

#[test]
fn probe_programs_load() {
    for behaviour in BEHAVIOURS {
        if let Some(probe) = &behaviour.probe {
            Program::load(probe.program).unwrap_or_else(|e| panic!("{}: {e}", behaviour.name));
        }
    }
}
