//! The judge against runs of the model itself, whole and tampered with.

mod failing;

use super::*;
use crate::geometry::Geometry;
use crate::profile::{Arch, Profile, Release};
use crate::program::{generate::generate, Program, Prot, Step};
use crate::rules::{limits, RuleId};
use crate::space::{Content, World};

/// What a kernel would show after each step that always takes the branch `choose` picks.
fn run(
    profile: &Profile,
    g: Geometry,
    program: &Program,
    mut choose: impl FnMut(usize) -> usize,
) -> Vec<Observation> {
    let mut world = World::new(profile, g, program.knobs);
    let mut seen = Vec::new();
    for step in &program.steps {
        let mut branches = world.apply(step);
        let chosen = choose(branches.len());
        let branch = branches.swap_remove(chosen);
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

/// The verdicts up to the first that is neither agree nor allowed.
fn judge(
    profile: &Profile,
    g: Geometry,
    program: &Program,
    seen: &[Observation],
) -> (Vec<Verdict>, Oracle) {
    let mut oracle = Oracle::new(profile, g, program.knobs);
    let mut verdicts = Vec::new();
    for (step, seen) in program.steps.iter().zip(seen) {
        oracle.step(step);
        let verdict = oracle.observe(seen);
        let stop = !matches!(verdict, Verdict::Agree | Verdict::Allowed { .. });
        verdicts.push(verdict);
        if stop {
            break;
        }
    }
    (verdicts, oracle)
}

/// Whatever way the model goes, the oracle explains it, on every kind of kernel; and it stays with few worlds: one, but for
/// what only later faults can tell.
/// A section of two threads that meet.
const SECTION: &str = "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\n|a guard-install 0+0..0+1\n|b read 0+0..0+1\n";

/// The oracle right before what was seen of [`SECTION`], and its ways.
fn before_the_section() -> (Oracle, Vec<crate::space::Branch>) {
    let program = Program::load_concurrent(SECTION).unwrap();
    let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, program.knobs);
    for step in &program.steps[..2] {
        oracle.step(step);
        let branch = &oracle.expected()[0];
        let seen = Observation {
            outcome: branch.outcome.clone(),
            spaces: branch.world.shown(),
            events: branch.world.events().to_vec(),
            failing: None,
        };
        oracle.observe(&seen);
    }
    oracle.together(&program.steps[2..]);
    let ways = oracle.expected().to_vec();
    (oracle, ways)
}

#[test]
fn every_way_of_a_section_is_allowed_and_nothing_else() {
    let (oracle, ways) = before_the_section();
    assert!(ways.len() >= 3, "{}", ways.len());
    for (number, way) in ways.iter().enumerate() {
        let mut seen = Observation {
            outcome: way.outcome.clone(),
            spaces: way.world.shown(),
            events: way.world.events().to_vec(),
            failing: None,
        };
        let mut allowed = oracle.clone();
        assert_eq!(allowed.observe(&seen), Verdict::Agree);
        assert_eq!(allowed.ways(), [number]);
        assert_eq!(allowed.worlds(), std::slice::from_ref(&way.world));
        // The page is no guard in the end.
        seen.spaces[0].1.pages.remove(0);
        let Verdict::Divergence(what) = oracle.clone().observe(&seen) else {
            panic!("allowed");
        };
        assert_eq!(
            (what.class, what.observed.as_str()),
            (Class::PageState, "empty")
        );
        assert!(
            what.details.text.contains("No order"),
            "{}",
            what.details.text
        );
        // Install gives up.
        let Outcome::Together(mut parts) = way.outcome.clone() else {
            panic!("not a section");
        };
        parts[0] = Outcome::Errno(11);
        seen.outcome = Outcome::Together(parts);
        let Verdict::Divergence(what) = oracle.clone().observe(&seen) else {
            panic!("allowed");
        };
        assert_eq!(
            (what.class, what.observed.as_str()),
            (Class::Errno, "EAGAIN")
        );
    }
}

#[test]
fn a_section_that_is_too_large_is_poisoned() {
    let (mut oracle, ways) = before_the_section();
    let seen = Observation {
        outcome: ways[0].outcome.clone(),
        spaces: ways[0].world.shown(),
        events: Vec::new(),
        failing: None,
    };
    let text = "mmap 0+0..2+0 rw private fixed\n|a guard-install 0+0..2+0\n|a guard-install 0+0..2+0\n|b* write 0+1..0+9 tag 1\n\
                |c* write 1+1..1+9 tag 2\n|d* read 0+0..0+8\n";
    let program = Program::load_concurrent(text).unwrap();
    oracle.step(&program.steps[0]);
    let branch = oracle.expected()[0].clone();
    oracle.observe(&Observation {
        outcome: branch.outcome.clone(),
        spaces: branch.world.shown(),
        events: branch.world.events().to_vec(),
        failing: None,
    });
    oracle.together(&program.steps[1..]);
    let rule = RuleId("limits/section-too-large");
    assert_eq!(oracle.observe(&seen), Verdict::Poisoned { rule });
}

#[test]
fn the_model_explains_itself() {
    let kernels = [
        (Release(6, 1, 0), Arch::X86_64, Geometry::K4),
        (Release(6, 12, 0), Arch::Aarch64, Geometry::K4),
        (Release(6, 16, 0), Arch::X86_64, Geometry::K4),
        (Release(6, 18, 5), Arch::Aarch64, Geometry::K16),
        (Release::NEWEST, Arch::X86_64, Geometry::K4),
        (Release::NEWEST, Arch::Aarch64, Geometry::K16),
    ];
    let mut allowed = 0;
    let end = RuleId(limits::COLLAPSE_OF_FILES.name);
    let mut tightness = Tightness::default();
    for seed in 0..300 {
        let program = generate(seed);
        for &(release, arch, g) in &kernels {
            let profile = Profile::at_release(release, arch);
            let mut dice = seed;
            let seen = run(&profile, g, &program, |n| {
                dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1);
                if dice >> 60 == 0 {
                    n - 1
                } else {
                    0
                }
            });
            let (verdicts, oracle) = judge(&profile, g, &program, &seen);
            for (i, verdict) in verdicts.iter().enumerate() {
                match verdict {
                    Verdict::Agree => {}
                    Verdict::Allowed { .. } => allowed += 1,
                    // The generator sees the newest kernel only.
                    Verdict::Poisoned { rule } if *rule == end => {
                        assert!(release != Release::NEWEST, "seed {seed}\n{program}");
                        break;
                    }
                    other => panic!("seed {seed}, step {i} on {release}: {other:?}\n{program}"),
                }
            }
            // Without PAGEMAP_SCAN nobody can tell whether a block that was populated as a whole is a huge page.
            let most = if profile.pagemap_scan { 6 } else { 8 };
            let worlds = oracle.worlds().len();
            assert!(worlds <= most, "seed {seed} on {release}: {worlds}");
            tightness += oracle.tightness();
        }
    }
    assert!(allowed > 0, "no branch but the first was ever taken");
    assert!(tightness.share() > 0.97, "{tightness:?}");
}

/// A program and what the newest kernel shows, for tampering.
fn sample() -> (Program, Vec<Observation>) {
    let text = "thp never\n\nmmap 0+0..0+8 rw private fixed\nmmap 0+10..0+12 rw shared fixed\nwrite 0+0..0+4 tag 7\n\
                guard-install 0+2..0+6\nread 0+0..0+4\nfork 1\n1: write 0+0..0+1 tag 9\nmunmap 0+20..0+21\n";
    let program = Program::load(text).unwrap();
    let seen = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
    (program, seen)
}

/// Tampers with one step's observation and gives the divergence that the judge finds.
fn tampered(step: usize, tamper: impl Fn(&mut Observation)) -> Divergence {
    let (program, mut seen) = sample();
    tamper(&mut seen[step]);
    let (verdicts, _) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
    assert_eq!(verdicts.len(), step + 1, "not noticed at the step itself");
    match verdicts.last() {
        Some(Verdict::Divergence(d)) => (**d).clone(),
        other => panic!("{other:?}"),
    }
}

fn assert_divergence(
    d: &Divergence,
    class: Class,
    rule: &'static str,
    expected: &str,
    observed: &str,
) {
    let got = (d.class, d.rule, d.expected.as_str(), d.observed.as_str());
    assert_eq!(
        got,
        (class, RuleId(rule), expected, observed),
        "{}",
        d.details.text
    );
}

fn access(o: &mut Observation) -> &mut Access {
    match &mut o.outcome {
        Outcome::Access(access) => access,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_difference_is_noticed_and_named() {
    let d = tampered(0, |o| o.outcome = Outcome::Errno(22));
    assert_divergence(&d, Class::Errno, "mmap/maps", "ok", "EINVAL");
    let d = tampered(3, |o| o.outcome = Outcome::Errno(513));
    assert_divergence(
        &d,
        Class::Errno,
        "guard/install/fills",
        "ok",
        "ERESTARTNOINTR",
    );
    let d = tampered(4, |o| access(o).fault.as_mut().unwrap().code = 2);
    assert_divergence(
        &d,
        Class::Signal,
        "access/guard",
        "SIGSEGV-MAPERR",
        "SIGSEGV-ACCERR",
    );
    let d = tampered(4, |o| access(o).fault.as_mut().unwrap().addr += 8);
    assert_divergence(
        &d,
        Class::Signal,
        "access/guard",
        "fault-address",
        "other-address",
    );
    let d = tampered(4, |o| {
        access(o).fault = None;
        access(o).pages = 4;
    });
    assert_divergence(
        &d,
        Class::Signal,
        "access/guard",
        "SIGSEGV-MAPERR",
        "no-signal",
    );
    let d = tampered(2, |o| {
        let fault = Fault {
            signo: 11,
            code: 1,
            addr: 4096,
            key: None,
        };
        access(o).fault = Some(fault);
        access(o).pages = 1;
    });
    assert_eq!(
        (d.expected.as_str(), d.observed.as_str()),
        ("no-signal", "SIGSEGV-MAPERR")
    );
    let d = tampered(4, |o| access(o).values[0].first = Content::ZERO);
    assert_divergence(&d, Class::Value, "access/stops-at-fault", "written", "zero");
    let d = tampered(3, |o| o.spaces[0].1.pages[1].len -= 1);
    assert_divergence(
        &d,
        Class::PageState,
        "guard/install/fills",
        "guard",
        "empty",
    );
    let d = tampered(3, |o| o.spaces[0].1.pages[0].page.exclusive = false);
    assert_eq!(
        (d.expected.as_str(), d.observed.as_str()),
        ("anon", "anon-shared")
    );
    let d = tampered(3, |o| o.spaces[0].1.vmas[0].prot = Prot::R);
    assert_eq!(
        (d.class, d.expected.as_str(), d.observed.as_str()),
        (Class::Vma, "rw-", "r--")
    );
    let d = tampered(0, |o| o.spaces[0].1.vmas[0].end = 7);
    assert_divergence(&d, Class::Vma, "mmap/maps", "mapped", "unmapped");
    let d = tampered(3, |o| {
        let flags = o.spaces[0].1.vmas[0].flags.as_mut().unwrap();
        flags.retain(|f| f.0 != *b"gu");
    });
    assert_divergence(
        &d,
        Class::VmFlags,
        "guard/install/maybe-guard",
        "gu",
        "no-gu",
    );
    let sizes = |o: &mut Observation| o.spaces[0].1.vmas[0].sizes.unwrap();
    let d = tampered(3, |o| {
        let sizes = sizes(o);
        o.spaces[0].1.vmas[0].sizes = Some(Sizes {
            rss: sizes.rss + 4,
            ..sizes
        });
    });
    assert_divergence(&d, Class::Sizes, "report/sizes", "what-is-mapped", "more");
    assert!(d.details.text.contains("Rss is more"), "{}", d.details.text);
    let d = tampered(3, |o| {
        let sizes = sizes(o);
        o.spaces[0].1.vmas[0].sizes = Some(Sizes {
            lazy_free: 4,
            ..sizes
        });
    });
    assert_divergence(
        &d,
        Class::Sizes,
        "report/lazy-free",
        "what-is-mapped",
        "more",
    );
    let d = tampered(3, |o| o.spaces[0].1.resident = Some(vec![(0, 4)]));
    assert_divergence(
        &d,
        Class::Residency,
        "guard/install/zaps-populated",
        "not-resident",
        "resident",
    );
    let d = tampered(5, |o| {
        o.spaces.pop();
    });
    assert_divergence(&d, Class::Vma, "fork/copies-vmas", "living", "gone");
    // The store of the child leaves the parent's page alone, but for its being exclusive again.
    let d = tampered(6, |o| {
        o.spaces[0].1.pages[0].page.content = Some(Content::written(9, 0))
    });
    assert_eq!(
        (d.class, d.observed.as_str()),
        (Class::Value, "other-written")
    );
    // What no op reaches and no rule changes.
    let d = tampered(7, |o| o.spaces[1].1.vmas[1].shared = false);
    assert_divergence(&d, Class::Vma, "space/untouched", "shared", "private");
}

#[test]
fn a_border_more_or_less_is_noticed() {
    let d = tampered(0, |o| {
        let vmas = &mut o.spaces[0].1.vmas;
        let mut upper = vmas[0].clone();
        vmas[0].end = 4;
        upper.start = 4;
        vmas.push(upper);
    });
    assert_eq!(
        (d.expected.as_str(), d.observed.as_str()),
        ("merged", "split")
    );
    assert_eq!(d.details.pages, Some((4, 5)));
}

#[test]
fn what_was_not_observed_is_not_compared() {
    let (program, mut seen) = sample();
    for observation in &mut seen {
        for (_, space) in &mut observation.spaces {
            space.resident = None;
            space.vmas.iter_mut().for_each(|v| v.flags = None);
            for run in &mut space.pages {
                run.page.huge = None;
                run.page.content = None;
            }
        }
    }
    let (verdicts, loose) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
    assert!(
        verdicts.iter().all(|v| *v == Verdict::Agree),
        "{verdicts:?}"
    );
    let full = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
    let (_, tight) = judge(&Profile::newest(), Geometry::K4, &program, &full);
    assert_eq!(
        tight.tightness().share(),
        1.0,
        "thp never leaves nothing open"
    );
    assert!(
        loose.tightness().exact < tight.tightness().exact,
        "flags not seen count as loose"
    );
    assert_eq!(loose.tightness().values, tight.tightness().values);
}

/// What is cut out of a file counts wherever it is mapped, for whomever.
#[test]
fn all_who_map_a_file_are_counted() {
    for op in [
        "truncate memfd0 2",
        "punch-hole memfd0 1..3",
        "remove 0+1..0+3",
    ] {
        let values = |child: &str| {
            let text = format!(
                "thp never\n\nmmap 0+0..0+4 rw shared memfd0 fixed\nwrite 0+0..0+4 tag 1\nfork 1\n{child}\n{op} => ok\n"
            );
            let program = Program::load(&text).unwrap_or_else(|e| panic!("{op}: {e}"));
            let seen = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
            let (verdicts, oracle) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
            assert_eq!(verdicts, vec![Verdict::Agree; 5], "{op}");
            let by_op = oracle.by_op();
            let name = program.steps[4].op.name();
            let line = by_op.iter().find(|(n, _)| *n == name);
            line.expect("a line of the op").1.tightness.values
        };
        let alone = values("1: exit");
        let with_a_mapping = values("1: mprotect 0+0..0+4 r");
        let elsewhere = values("1: mremap 0+0..0+4 2+0..2+4 fixed");
        assert!(with_a_mapping > alone, "{op}: {with_a_mapping}, {alone}");
        assert!(elsewhere > alone, "{op}: {elsewhere}, {alone}");
    }
}

#[test]
fn out_of_memory_poisons_and_a_wrong_errno_does_not() {
    let (program, mut seen) = sample();
    seen[0].outcome = Outcome::Errno(12);
    let (verdicts, _) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
    assert_eq!(
        verdicts,
        [Verdict::Poisoned {
            rule: RuleId("limits/out-of-memory")
        }]
    );
    // ENOMEM in place of another errno is no lack of memory.
    let program = Program::load("munmap 0+0.1..0+2\n").unwrap();
    let mut seen = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
    assert_eq!(seen[0].outcome, Outcome::Errno(22));
    seen[0].outcome = Outcome::Errno(12);
    let (verdicts, _) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
    assert!(matches!(&verdicts[..], [Verdict::Divergence(d)] if d.observed == "ENOMEM"));
}

/// A huge page that was to be had or not: both are explained, one of them by its rule, and later steps know which it was.
#[test]
fn permitted_choices_narrow() {
    let text =
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nread 0+1..0+2\n";
    let program = Program::load(text).unwrap();
    for (choice, rule) in [(0, None), (1, Some(RuleId("thp/allocation-may-fail")))] {
        let seen = run(&Profile::newest(), Geometry::K4, &program, |n| {
            choice.min(n - 1)
        });
        let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, program.knobs);
        for (i, (step, seen)) in program.steps.iter().zip(&seen).enumerate() {
            oracle.step(step);
            assert_eq!(oracle.expected().len(), if i == 1 { 2 } else { 1 });
            let want = match rule {
                Some(rule) if i == 1 => Verdict::Allowed { rule },
                _ => Verdict::Agree,
            };
            assert_eq!(oracle.observe(seen), want);
            assert_eq!(oracle.worlds().len(), 1);
        }
        assert!(oracle.tightness().share() < 1.0);
    }
}

/// With memory enough a huge page comes for certain, until the program has made so much that it may not.
#[test]
fn memory_that_is_free_pins_huge_pages_down() {
    let text = "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\n";
    let program = Program::load(text).unwrap();
    let reserve = (32 << 20) / 4096;
    for (free, ways) in [(0, [2, 2]), (reserve + 600, [1, 2]), (1 << 20, [1, 1])] {
        let mut oracle =
            Oracle::new(&Profile::newest(), Geometry::K4, program.knobs).with_free_pages(free);
        let seen = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
        let mut counted = Vec::new();
        for (step, seen) in program.steps.iter().zip(&seen) {
            oracle.step(step);
            counted.push(oracle.expected().len());
            assert_eq!(oracle.observe(seen), Verdict::Agree);
        }
        assert_eq!(counted[1..], ways, "{free} pages free");
        assert_eq!(oracle.tightness().share() == 1.0, ways == [1, 1]);
    }
    let small = run(&Profile::newest(), Geometry::K4, &program, |n| n - 1);
    let mut oracle =
        Oracle::new(&Profile::newest(), Geometry::K4, program.knobs).with_free_pages(1 << 20);
    let mut verdicts = program.steps.iter().zip(&small).map(|(step, seen)| {
        oracle.step(step);
        oracle.observe(seen)
    });
    assert_eq!(verdicts.next(), Some(Verdict::Agree));
    assert!(matches!(verdicts.next(), Some(Verdict::Divergence(_))));
}

#[test]
fn observing_without_a_step_is_harmless() {
    let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, Default::default());
    let nothing = Observation {
        outcome: Outcome::Ok,
        spaces: vec![],
        events: Vec::new(),
        failing: None,
    };
    assert_eq!(oracle.observe(&nothing), Verdict::Agree);
    assert_eq!(oracle.worlds().len(), 1);
    let step = Step::new(3, crate::program::Op::Exit);
    oracle.step(&step);
    assert!(matches!(oracle.observe(&nothing), Verdict::Divergence(_)));
    assert_eq!(oracle.worlds().len(), 1);
}

#[test]
fn settings_that_the_model_does_not_know_are_not_judged() {
    for header in ["shmem-thp always", "khugepaged on", "ksm on"] {
        let program =
            Program::load(&format!("{header}\n\nmmap 0+0..0+1 rw shared fixed\n")).unwrap();
        let seen = run(&Profile::newest(), Geometry::K4, &program, |_| 0);
        let (verdicts, oracle) = judge(&Profile::newest(), Geometry::K4, &program, &seen);
        let rule = RuleId("limits/knobs-not-modelled");
        assert_eq!(verdicts, [Verdict::Poisoned { rule }], "{header}");
        assert_eq!(oracle.tightness().exact, 0);
    }
}

/// A kernel that shows bit 56 page by page, judged by the rules of one that shows the first page's, and the other way round.
#[test]
fn sharing_that_is_shown_wrongly_has_its_rule() {
    let text = "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nfork 1\n\
                1: write 0+1..0+2 tag 2\n";
    let program = Program::load(text).unwrap();
    let newest = Profile::newest();
    let by_page = Profile {
        huge_exclusive_by_head: false,
        ..newest.clone()
    };
    for (kernel, rules, rule) in [
        (&by_page, &newest, "report/huge-exclusive-by-head"),
        (&newest, &by_page, "report/exclusive"),
    ] {
        let seen = run(kernel, Geometry::K4, &program, |_| 0);
        let (verdicts, _) = judge(rules, Geometry::K4, &program, &seen);
        match verdicts.last() {
            Some(Verdict::Divergence(d)) => assert_eq!(d.rule, RuleId(rule)),
            other => panic!("{other:?}"),
        }
    }
}

/// The kernel may take lazily freed pages at any time: what is seen of them is what holds from then on.
#[test]
fn lazily_freed_pages_may_be_taken() {
    let program = Program::load(
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nfree 0+0..0+3\nread 0+0..0+2\nread 0+0..0+4\n",
    )
    .unwrap();
    let profile = Profile::newest();
    let honest = run(&profile, Geometry::K4, &program, |_| 0);
    let took = |seen: &mut Observation, pages: &str, values: &[(u32, u64)]| {
        // Pages in the order of the mapping: `a` as the model has it, `z` the zero page, `.` nothing.
        let space = &mut seen.spaces[0].1;
        space.vmas.iter_mut().for_each(|vma| vma.sizes = None);
        let old = space.pages[0].page;
        space.pages = (0..)
            .zip(pages.chars())
            .filter(|(_, sign)| *sign != '.')
            .map(|(page, sign)| PageRun {
                start: page,
                len: 1,
                page: match sign {
                    'z' => PageSeen {
                        kind: PageKind::Zero,
                        exclusive: false,
                        content: Some(Content::ZERO),
                        ..old
                    },
                    _ => PageSeen {
                        content: Some(Content::written(1, page)),
                        ..old
                    },
                },
            })
            .collect();
        space.resident = Some(space.pages.iter().map(|r| (r.start, 1)).fold(
            Vec::new(),
            |mut runs: Vec<(u32, u32)>, (page, _)| {
                match runs.last_mut() {
                    Some(last) if last.0 + last.1 == page => last.1 += 1,
                    _ => runs.push((page, 1)),
                }
                runs
            },
        ));
        if let Outcome::Access(access) = &mut seen.outcome {
            access.values = values
                .iter()
                .map(|&(len, first)| ValueRun {
                    len,
                    first: Content(first),
                })
                .collect();
        }
    };
    let first = Content::written(1, 0).0;
    // Page 2 goes at once, page 1 before it is read.
    let mut seen = honest.clone();
    took(&mut seen[2], "aa.a", &[]);
    took(&mut seen[3], "az.a", &[(1, first), (1, 0)]);
    took(&mut seen[4], "azza", &[(1, first), (2, 0), (1, first + 3)]);
    let (verdicts, oracle) = judge(&profile, Geometry::K4, &program, &seen);
    let allowed = Verdict::Allowed {
        rule: RuleId("madvise/free/may-take"),
    };
    assert_eq!(verdicts[2..], [allowed.clone(), allowed, Verdict::Agree]);
    assert_eq!(oracle.worlds().len(), 1);
    let tightness = oracle.tightness();
    assert!(tightness.exact < tightness.values);
    // With memory enough nothing is taken.
    let mut rich = Oracle::new(&profile, Geometry::K4, program.knobs).with_free_pages(1 << 20);
    let verdicts: Vec<Verdict> = program
        .steps
        .iter()
        .zip(&seen)
        .map(|(step, seen)| {
            rich.step(step);
            rich.observe(seen)
        })
        .collect();
    assert!(
        matches!(verdicts[2], Verdict::Divergence(_)),
        "{verdicts:?}"
    );
    // Page 3 was not freed, and what is gone does not come back.
    for (step, pages) in [(2, "aaa."), (4, "aaaa")] {
        let mut wrong = seen.clone();
        took(&mut wrong[step], pages, &[(4, first)]);
        let (verdicts, _) = judge(&profile, Geometry::K4, &program, &wrong);
        assert_eq!(verdicts.len(), step + 1);
        assert!(matches!(verdicts[step], Verdict::Divergence(_)), "{pages}");
    }
}
