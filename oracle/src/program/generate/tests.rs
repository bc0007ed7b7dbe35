//! What is asked of the generator, measured over ten thousand seeds.

use super::swaps::MOST;
use super::*;
use crate::program::stats::{Meeting, Stats};
use crate::program::{Backing, Place, Prot, Remap, Transfer};

const SEEDS: u64 = 10_000;

fn programs() -> Vec<Program> {
    (0..SEEDS).map(generate).collect()
}

#[test]
fn the_mix_is_what_was_asked_for() {
    let programs = programs();
    let stats = Stats::of(&programs);
    println!("{stats}");
    let within = |what: &str, value: f64, low: f64, high: f64| {
        assert!((low..=high).contains(&value), "{what}: {value}\n{stats}");
    };
    within("ops that succeed", stats.success_share(), 0.60, 0.85);
    within(
        "changes per program",
        stats.changes_per_program(),
        5.0,
        22.0,
    );
    within("ops per program", stats.ops_per_program(), 10.0, 13.5);
    within(
        "programs where a guard meets something",
        stats.meeting_share(),
        0.30,
        1.0,
    );
    within("forks", stats.op_share("fork"), 0.03, 0.06);
    let few = stats.programs_with_few_changes as f64 / stats.programs as f64;
    within("programs with fewer than 5 changes", few, 0.0, 0.01);
    for (meeting, name) in Meeting::ALL {
        let n = stats.meetings.get(&meeting).copied().unwrap_or(0);
        assert!(
            n * 100 > stats.programs * 2,
            "guard meets {name}: {n}\n{stats}"
        );
    }
    for name in [
        "mmap",
        "munmap",
        "mprotect",
        "pkey-mprotect",
        "brk",
        "mremap",
        "guard-install",
        "guard-remove",
        "dontneed",
        "hugepage",
        "nohugepage",
        "mlock",
        "mseal",
        "read",
        "write",
        "exit",
        "remove",
        "truncate",
        "punch-hole",
        "seal",
        "process-madvise",
    ] {
        assert!(stats.op_share(name) > 0.005, "{name} is too rare\n{stats}");
    }
    let moves = stats.op_share("uffd-move") + stats.op_share("uffd-move-holes");
    assert!(moves > 0.003, "UFFDIO_MOVE is too rare: {moves}\n{stats}");
    let transfers: Vec<f64> = Transfer::ALL.map(|way| stats.op_share(way.name())).into();
    let all: f64 = transfers.iter().sum();
    assert!(
        all > 0.02 && transfers.iter().all(|share| *share > 0.001),
        "{stats}"
    );
}

#[test]
fn every_program_is_fit_to_run_and_round_trips() {
    for (seed, program) in programs().iter().enumerate() {
        if let Err(error) = program.check() {
            panic!("seed {seed}: {error}\n{program}");
        }
        let text = program.to_string();
        assert_eq!(Program::parse(&text).as_ref(), Ok(program), "seed {seed}");
        let strewn = if program.knobs.swap { MOST } else { 0 };
        assert!(program.steps.len() as u32 <= LENGTH.2 + strewn);
    }
}

/// Knobs, protections, backings, wild ranges: a steady share of each.
#[test]
fn nothing_is_forgotten() {
    let programs = programs();
    let share = |what: &str, low: f64, high: f64, holds: &dyn Fn(&Program) -> bool| {
        let n = programs.iter().filter(|p| holds(p)).count();
        let share = n as f64 / programs.len() as f64;
        assert!((low..=high).contains(&share), "{what}: {share}");
    };
    let ops = |p: &Program, f: &dyn Fn(&Op) -> bool| p.steps.iter().any(|s| f(&s.op));
    let range = |p: &Program, f: &dyn Fn(crate::geometry::Range) -> bool| {
        p.steps.iter().flat_map(|s| s.op.ranges()).any(f)
    };
    share("THP always", 0.48, 0.52, &|p| p.knobs.thp == Thp::Always);
    share("THP madvise", 0.48, 0.52, &|p| p.knobs.thp == Thp::Madvise);
    share("root", 0.02, 0.08, &|p| p.knobs.root);
    share("swap", 0.05, 0.15, &|p| p.knobs.swap);
    share("events of userfaultfd", 0.03, 0.08, &|p| {
        p.knobs.uffd_events
    });
    share("several actors", 0.25, 0.6, &|p| {
        p.steps.iter().any(|s| s.actor > 0)
    });
    share("misaligned", 0.1, 0.6, &|p| {
        range(p, &|r| r.start.byte != 0)
    });
    share("empty", 0.05, 0.4, &|p| range(p, &|r| r.start == r.end));
    share("wrapping", 0.03, 0.3, &|p| {
        range(p, &|r| r.byte_len(GEOMETRY) > 1 << 60)
    });
    share("margins", 0.05, 0.5, &|p| {
        range(p, &|r| {
            r.start.page_index(GEOMETRY) < 0 || r.end.page_index(GEOMETRY) > places::ARENA
        })
    });
    share("hints", 0.05, 0.5, &|p| {
        ops(p, &|o| {
            matches!(
                o,
                Op::Mmap {
                    place: Place::Hint,
                    ..
                }
            )
        })
    });
    // The rarest is there in some seven programs of ten thousand, give or take.
    for (name, how) in Remap::ALL {
        share(name, 0.0003, 0.4, &|p| {
            ops(p, &|o| matches!(o, Op::Mremap { how: h, .. } if *h == how))
        });
    }
    share("shared memory", 0.25, 0.7, &|p| {
        ops(p, &|o| {
            matches!(
                o,
                Op::Mmap {
                    backing: Backing::SharedAnon,
                    ..
                }
            )
        })
    });
    for (name, prot) in crate::program::text::names::PROTS {
        share(name, 0.03, 1.0, &|p| {
            ops(
                p,
                &|o| matches!(o, Op::Mmap { prot: q, .. } | Op::Mprotect { prot: q, .. } if q == prot),
            )
        });
    }
    assert_eq!(crate::program::text::names::PROTS[0].1, Prot::NONE);
    share("whole blocks", 0.3, 0.8, &|p| {
        range(p, &|r| {
            r.start.page == 0 && r.end.page == 0 && r.start.block < r.end.block
        })
    });
    share("across a PMD border", 0.3, 0.95, &|p| {
        range(p, &|r| {
            let (a, b) = (r.start.page_index(GEOMETRY), r.end.page_index(GEOMETRY));
            (a / places::BLOCK) < (b - 1) / places::BLOCK && b > a
        })
    });
}

/// The tags of a program differ, so that data in the wrong place is recognised.
#[test]
fn every_write_has_a_tag_of_its_own() {
    for program in programs().iter().take(1000) {
        let mut tags: Vec<u16> = program
            .steps
            .iter()
            .filter_map(|s| match s.op {
                Op::Write { tag, .. } => Some(tag),
                Op::Transfer { tag, .. } if tag > 0 => Some(tag),
                _ => None,
            })
            .collect();
        let all = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), all);
    }
}

#[test]
fn a_seed_always_gives_the_same_program() {
    for seed in [0, 1, 77, u64::MAX] {
        assert_eq!(generate(seed), generate(seed));
    }
    assert_ne!(generate(1), generate(2));
    // The published test vector of SplitMix64 for seed 1234567.
    let bytes = expand(1234567, 16);
    let number = |b: &[u8]| u64::from_le_bytes(b.try_into().expect("eight bytes"));
    assert_eq!(number(&bytes[..8]), 6457827717110365317);
    assert_eq!(number(&bytes[8..]), 3203168211198807973);
    assert_eq!(expand(5, 3), expand(5, 100)[..3]);
}

/// A seed's bytes outlast its program, so late choices are as good as early ones.
#[test]
fn the_bytes_of_a_seed_suffice() {
    for seed in 0..500 {
        let bytes = expand(seed, SEED_BYTES);
        let mut u = Unstructured::new(&bytes);
        from_unstructured(&mut u).expect("a program");
        assert!(u.len() > SEED_BYTES / 4, "seed {seed} leaves {}", u.len());
    }
}

#[test]
fn any_bytes_give_a_program_that_passes_the_check() {
    for len in 0..300 {
        let bytes = expand(len as u64 + 9, len);
        let program = Program::arbitrary(&mut Unstructured::new(&bytes)).expect("a program");
        assert_eq!(program.check(), Ok(()), "{program}");
    }
    let program = Program::arbitrary(&mut Unstructured::new(&[0xff; 4096])).expect("a program");
    assert_eq!(program.check(), Ok(()), "{program}");
}

/// Programs whose userfaultfds tell events come to each kind of them.
#[test]
fn every_event_is_told() {
    let mut told: std::collections::BTreeMap<&str, u32> = Default::default();
    for program in programs().iter().filter(|p| p.knobs.uffd_events) {
        let mut world = World::new(&Profile::newest(), GEOMETRY, program.knobs);
        let mut names: Vec<&str> = Vec::new();
        for step in &program.steps {
            world = world.apply(step).swap_remove(0).world;
            names.extend(world.events().iter().map(|(_, event)| event.name()));
        }
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .for_each(|name| *told.entry(name).or_default() += 1);
    }
    for name in ["fork", "remap", "remove", "unmap"] {
        let programs = told.get(name).copied().unwrap_or(0);
        assert!(programs >= 25, "{name}: {programs} of {SEEDS} programs");
    }
}
