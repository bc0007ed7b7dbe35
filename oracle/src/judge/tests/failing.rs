//! Calls that lack memory.

use super::*;
use crate::space::Branch;

/// Plays a program up to its last step, the usual way, and gives the oracle right before what is seen of that, and the world.
fn up_to_the_last(program: &Program) -> (Oracle, World) {
    let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, program.knobs);
    let mut world = World::new(&Profile::newest(), Geometry::K4, program.knobs);
    let (last, earlier) = program.steps.split_last().unwrap();
    for step in earlier {
        oracle.step(step);
        let branch = world.apply(step).swap_remove(0);
        assert_eq!(oracle.observe(&observation(&branch, None)), Verdict::Agree);
        world = branch.world;
    }
    oracle.step(last);
    (oracle, world)
}

fn observation(branch: &Branch, failing: Option<Failing>) -> Observation {
    Observation {
        outcome: branch.outcome.clone(),
        spaces: branch.world.shown(),
        events: branch.world.events().to_vec(),
        failing,
    }
}

fn load(text: &str) -> Program {
    Program::load(text).unwrap()
}

/// What the last step shows when the model's allocation of its number fails.
fn failed(program: &Program, world: &World) -> Observation {
    let branch = world.failed(program.steps.last().unwrap()).unwrap();
    observation(&branch, Some(Failing::Failed))
}

/// Removes the runs of pages that begin at `page`, and gives what was there.
fn empty(seen: &mut Observation, page: u32) {
    let pages = &mut seen.spaces[0].1.pages;
    let before = pages.len();
    pages.retain(|run| run.start != page);
    assert!(pages.len() < before, "nothing begins at {page}");
}

const PROGRAMS: [(&str, &str); 9] = [
    (
        "failing/guard-install",
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nguard-install 1-1..1+1 fail",
    ),
    (
        "failing/changes-of-vmas",
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmprotect 0+1..0+3 r fail",
    ),
    (
        "failing/changes-of-vmas",
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmlock 0+1..0+3 fail",
    ),
    (
        "failing/changes-of-vmas",
        "mmap 0+0..0+4 rw private fixed\nwipeonfork 0+1..0+3 fail",
    ),
    (
        "failing/munmap",
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmunmap 0+1..0+3 fail",
    ),
    (
        "failing/mmap",
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmmap 0+1..0+3 r private fixed fail",
    ),
    (
        "failing/not-merged",
        "mmap 0+0..0+4 rw private fixed\nmmap 0+4..0+5 rw private fixed fail",
    ),
    (
        "failing/mremap-keeps-source",
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmremap 0+1..0+3 0+8..0+10 fixed fail",
    ),
    (
        "failing/fork",
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\nfork 1 fail",
    ),
];

/// Whatever allocation of the model fails is allowed by a rule, if one did fail, and a divergence otherwise.
#[test]
fn what_fails_is_allowed_where_an_allocation_failed() {
    for (rule, text) in PROGRAMS {
        let mut rules = std::collections::BTreeSet::new();
        let mut number = 1;
        loop {
            let program = load(&format!("{text} {number}\n"));
            let (oracle, world) = up_to_the_last(&program);
            let step = program.steps.last().unwrap();
            let Some(branch) = world.failed(step) else {
                break;
            };
            let seen = observation(&branch, Some(Failing::Failed));
            let mut judged = oracle.clone();
            match judged.observe(&seen) {
                Verdict::Allowed { rule } => rules.insert(rule.0),
                other => panic!("{step}: {other:?}"),
            };
            assert!(judged.worlds().contains(&branch.world), "{step}");
            let usual = observation(&world.apply(step)[0], Some(Failing::Failed));
            if usual.outcome == seen.outcome && usual.spaces == seen.spaces {
                continue;
            }
            let fewer = Observation {
                failing: Some(Failing::Fewer(0)),
                ..seen
            };
            match oracle.clone().observe(&fewer) {
                Verdict::Divergence(_) => {}
                // The errno alone says as much: the machine may have been out of memory.
                Verdict::Poisoned { .. } => {}
                other => panic!("{step}, not reached: {other:?}"),
            }
            let optional = Verdict::Allowed {
                rule: RuleId("failing/optional"),
            };
            assert_eq!(oracle.clone().observe(&usual), optional, "{step}");
            number += 1;
        }
        assert_eq!(number, world_allocations(text) + 1, "{text}");
        assert!(rules.contains(rule), "{text}: {rules:?}");
    }
}

fn world_allocations(text: &str) -> u16 {
    let program = load(&format!("{text} 1\n"));
    let (_, world) = up_to_the_last(&program);
    world.allocations(program.steps.last().unwrap())
}

/// The seed thread's first dispute: markers that are there although there is no anon_vma.
#[test]
fn markers_without_an_anon_vma_are_noticed() {
    let program = load("mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3 fail 1\n");
    let (mut oracle, world) = up_to_the_last(&program);
    let step = program.steps.last().unwrap();
    let mut seen = observation(&world.apply(step)[0], Some(Failing::Failed));
    seen.outcome = Outcome::Errno(12);
    let Verdict::Divergence(found) = oracle.observe(&seen) else {
        panic!("allowed");
    };
    assert_divergence(
        &found,
        Class::PageState,
        "failing/guard-install",
        "empty",
        "guard",
    );
}

/// A page in the middle lost although nothing was zapped, a marker behind the range, an errno that none returns.
#[test]
fn an_install_that_fails_leaves_nothing_else() {
    let text = "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 1-2..1-1 tag 1\nguard-install 1-1..1+1 fail 1\n";
    let program = load(text);
    let (oracle, world) = up_to_the_last(&program);
    let honest = failed(&program, &world);
    let g = Geometry::K4.pages_per_pmd;
    let wrong: [&dyn Fn(&mut Observation); 4] = [
        &|seen| empty(seen, g - 2),
        &|seen| empty(seen, g - 1),
        &|seen| seen.spaces[0].1.pages.last_mut().unwrap().len += 2,
        &|seen| seen.outcome = Outcome::Errno(11),
    ];
    for (number, change) in wrong.iter().enumerate() {
        let mut seen = honest.clone();
        change(&mut seen);
        let verdict = oracle.clone().observe(&seen);
        assert!(
            matches!(verdict, Verdict::Divergence(_)),
            "{number}: {verdict:?}"
        );
    }
}

/// Guard remove needs no memory.
#[test]
fn a_removal_that_fails_is_a_divergence() {
    let text =
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+4\nguard-remove 0+1..0+3 fail 1\n";
    let program = load(text);
    let (mut oracle, world) = up_to_the_last(&program);
    let step = program.steps.last().unwrap();
    let mut seen = observation(&world.apply(step)[0], Some(Failing::Failed));
    seen.outcome = Outcome::Errno(12);
    let Verdict::Divergence(found) = oracle.observe(&seen) else {
        panic!("allowed");
    };
    assert_eq!(
        (found.class, found.rule.0),
        (Class::Errno, "failing/guard-remove")
    );
}

const MOVES: &str = "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+2..0+3\nmmap 0+8..0+12 r private fixed\n\
                     mremap 0+1..0+4 0+8..0+11 fixed fail 1\n";

/// Where the rules do not follow the call: each page as before, as after, or empty; nothing outside.
#[test]
fn a_weak_state_is_allowed_and_poisons() {
    let program = load(MOVES);
    let (oracle, world) = up_to_the_last(&program);
    let step = program.steps.last().unwrap();
    let mut before = Observation {
        outcome: Outcome::Errno(12),
        spaces: world.shown(),
        events: Vec::new(),
        failing: Some(Failing::Failed),
    };
    for (_, space) in &mut before.spaces {
        space.vmas.iter_mut().for_each(|vma| vma.sizes = None);
    }
    let poisoned = Verdict::Poisoned {
        rule: RuleId(limits::OUT_OF_MEMORY.name),
    };
    // A page of the range is lost, the VMA is split at the start of the range.
    let mut lost = before.clone();
    let space = &mut lost.spaces[0].1;
    space.pages[0].len = 1;
    space.resident = Some(vec![(0, 1), (3, 1)]);
    let mut upper = space.vmas[0].clone();
    (space.vmas[0].end, upper.start) = (1, 1);
    space.vmas.insert(1, upper);
    assert_eq!(oracle.clone().observe(&lost), poisoned);
    // The same, and the target has gone.
    lost.spaces[0].1.vmas.retain(|vma| vma.start < 8);
    let mut rest = before.spaces[0].1.vmas[1].clone();
    rest.start = 11;
    lost.spaces[0].1.vmas.push(rest);
    assert_eq!(oracle.clone().observe(&lost), poisoned);
    // All has moved, and yet it says ENOMEM.
    let mut moved = observation(&world.apply(step)[0], Some(Failing::Failed));
    moved.outcome = Outcome::Errno(12);
    assert_eq!(oracle.clone().observe(&moved), poisoned);
}

#[test]
fn what_is_no_weak_state_is_noticed() {
    let program = load(MOVES);
    let (oracle, world) = up_to_the_last(&program);
    let before = Observation {
        outcome: Outcome::Errno(12),
        spaces: world.shown(),
        events: Vec::new(),
        failing: Some(Failing::Failed),
    };
    type Change<'a> = &'a dyn Fn(&mut SpaceSeen);
    let wrong: [(Class, Change<'_>); 6] = [
        // A page in front of the range is lost.
        (Class::PageState, &|space| {
            space.pages[0].start = 1;
            space.pages[0].len = 1;
        }),
        // A page of the range holds something else.
        (Class::Value, &|space| {
            space.pages[0].page.content = Some(Content::ZERO);
        }),
        // A guard behind the range.
        (Class::PageState, &|space| {
            let mut guard = space.pages[1];
            guard.start = 5;
            space.pages.push(guard);
        }),
        // Another protection, which nobody asked for.
        (Class::Vma, &|space| {
            space.vmas[0].prot = Prot::NONE;
        }),
        // A border in the middle of the range.
        (Class::Vma, &|space| {
            let mut upper = space.vmas[0].clone();
            (space.vmas[0].end, upper.start) = (2, 2);
            space.vmas.insert(1, upper);
        }),
        // A hole outside of the range.
        (Class::Vma, &|space| {
            space.vmas[0].end = 5;
        }),
    ];
    for (number, (class, change)) in wrong.iter().enumerate() {
        let mut seen = before.clone();
        change(&mut seen.spaces[0].1);
        match oracle.clone().observe(&seen) {
            Verdict::Divergence(found) => {
                assert_eq!(found.class, *class, "{number}: {}", found.details.text);
                assert_eq!(found.rule.0, "limits/out-of-memory", "{number}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
}
