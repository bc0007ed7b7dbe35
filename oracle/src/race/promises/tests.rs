use super::*;
use crate::judge::{Access, Fault, Oracle, PageRun};

const SHOWN: Shown = Shown {
    flag: true,
    may_lose_flag: true,
    may_skip_flush: true,
    may_give_up: false,
    as_swap: false,
};

/// A run of a program as the model has it, whole op after whole op.
fn run(text: &str) -> (Program, Vec<Observation>) {
    let program = Program::load_concurrent(text).unwrap();
    let mut world = crate::space::World::new(&Profile::newest(), Geometry::K4, program.knobs)
        .with_free_pages(1 << 20);
    let mut seen = Vec::new();
    for step in &program.steps {
        let branch = world.apply(step).swap_remove(0);
        world = branch.world;
        let outcome = match step.lane {
            Some(lane) if lane.repeats => Outcome::Each(vec![branch.outcome]),
            _ => branch.outcome,
        };
        seen.push(Observation {
            outcome,
            spaces: world.shown(),
            events: world.events().to_vec(),
            failing: None,
        });
    }
    (program, seen)
}

const STORM: &str =
    "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\n|a guard-install 0+0..0+2\n\
                     |b* write 0+0..0+1 tag 2\n";

fn promises(program: &Program, seen: &[Observation]) -> Vec<&'static str> {
    let all = broken(program, seen, SHOWN, Geometry::K4);
    all.iter().map(|b| b.promise).collect()
}

#[test]
fn a_run_that_keeps_all_of_them() {
    let (program, seen) = run(STORM);
    assert_eq!(promises(&program, &seen), [""; 0]);
}

#[test]
fn each_is_missed_when_it_is_broken() {
    let (program, good) = run(STORM);
    let mut seen = good.clone();
    seen[2].outcome = Outcome::Errno(11);
    assert_eq!(promises(&program, &seen), ["install-returns"]);

    let mut seen = good.clone();
    seen[3].spaces[0].1.pages.remove(0);
    assert_eq!(promises(&program, &seen), ["install-stays"]);

    let mut seen = good.clone();
    let met = seen[3].outcome.clone();
    let Outcome::Each(first) = &met else { panic!() };
    seen[3].outcome = Outcome::Each(vec![first[0].clone(), through()]);
    assert_eq!(promises(&program, &seen), ["install-stays"]);

    let mut seen = good.clone();
    let last = seen[3].spaces[0].1.pages.last_mut().unwrap();
    last.page.content = Some(crate::space::Content::ZERO);
    assert_eq!(promises(&program, &seen), ["nothing-outside"]);

    let mut seen = good;
    for vma in &mut seen[3].spaces[0].1.vmas {
        vma.flags
            .iter_mut()
            .for_each(|f| f.retain(|f| f.0 != *b"gu"));
    }
    assert_eq!(promises(&program, &seen), ["guard-is-flagged"]);
}

/// Takes a page out of what was seen of a memory, and puts another in its place.
fn replace(space: &mut SpaceSeen, lost: u32, instead: Option<PageKind>) {
    let pages = &mut space.pages;
    let of = pages
        .iter()
        .position(|run| (run.start..run.start + run.len).contains(&lost))
        .expect("a page to lose");
    let run = pages.remove(of);
    let part = |start: u32, end: u32, page: PageSeen| PageRun {
        start,
        len: end - start,
        page,
    };
    let content = |at: u32| run.page.content.map(|c| c.plus(at - run.start));
    let rest = |at: u32| PageSeen {
        content: content(at),
        ..run.page
    };
    let changed = instead.map(|kind| {
        let page = PageSeen {
            kind,
            content: None,
            ..run.page
        };
        part(lost, lost + 1, page)
    });
    let end = run.start + run.len;
    let parts = [
        Some(part(run.start, lost, run.page)),
        changed,
        Some(part(lost + 1, end, rest(lost + 1))),
    ];
    let parts = parts.into_iter().flatten().filter(|run| run.len > 0);
    pages.splice(of..of, parts);
}

/// What an actor's memory was seen to be after a step.
fn memory(seen: &mut [Observation], step: usize, actor: ActorId) -> &mut SpaceSeen {
    let spaces = seen[step].spaces.iter_mut();
    &mut spaces.into_iter().find(|(a, _)| *a == actor).unwrap().1
}

/// The promises that a run breaks once what was seen of it is changed; as the model has it, it keeps them.
fn changed(text: &str, change: impl FnOnce(&mut [Observation])) -> Vec<&'static str> {
    let (program, mut seen) = run(text);
    assert_eq!(promises(&program, &seen), [""; 0], "{text}");
    change(&mut seen);
    promises(&program, &seen)
}

/// `text` with `lost` taken out of what was seen last of actor 0, and put in its place.
fn tampered(text: &str, lost: u32, instead: Option<PageKind>) -> Vec<&'static str> {
    changed(text, |seen| {
        replace(memory(seen, seen.len() - 1, 0), lost, instead);
    })
}

/// An access of one page that was let through.
fn through() -> Outcome {
    Outcome::Access(Access {
        pages: 1,
        ..Access::default()
    })
}

#[test]
fn a_private_page_that_vanishes_or_becomes_a_guard_breaks_a_promise() {
    let outside = ["nothing-outside"];
    assert_eq!(tampered(STORM, 3, None), outside);
    assert_eq!(
        tampered(STORM, 2, Some(PageKind::Guard)),
        ["nothing-outside", "guards-come-of-install"]
    );
    // Ops that take nothing away may name it.
    for beside in [
        "read 0+2..0+4",
        "mprotect 0+2..0+4 r",
        "mlock 0+3..0+4",
        "guard-remove 0+2..0+4",
        "dontdump 0+0..0+4",
    ] {
        let text = format!("{STORM}|c {beside}\n");
        assert_eq!(tampered(&text, 3, None), outside, "{beside}");
    }
    for beside in ["dontneed 0+3..0+4", "free 0+3..0+4", "munmap 0+3..0+4"] {
        let text = format!("{STORM}|c {beside}\n");
        let (program, seen) = run(&text);
        assert_eq!(promises(&program, &seen), [""; 0], "{beside}");
    }
    // The kernel may take it when it likes.
    let lazy = STORM.replace("|a guard", "free 0+3..0+4\n|a guard");
    assert_eq!(tampered(&lazy, 3, None), [""; 0]);
    // Shared memory keeps its pages elsewhere.
    let shared = STORM.replace("private", "shared");
    assert_eq!(tampered(&shared, 3, None), [""; 0]);
}

#[test]
fn a_swap_entry_is_a_guard_on_kernels_that_show_it_so() {
    let (program, mut seen) = run(STORM);
    for run in &mut seen[3].spaces[0].1.pages {
        if run.page.kind == PageKind::Guard {
            run.page.kind = PageKind::Swap;
        }
    }
    assert_eq!(promises(&program, &seen), ["install-stays"]);
    let older = Shown {
        as_swap: true,
        ..SHOWN
    };
    assert_eq!(broken(&program, &seen, older, Geometry::K4), []);
}

#[test]
fn a_look_that_finds_no_flag_breaks_a_promise() {
    let looks = |beside: &str| {
        let (program, mut seen) = run(&format!(
            "mmap 0+0..0+4 rw private fixed\n|a guard-install 0+0..0+2\n|b* look 0+0..0+1\n{beside}"
        ));
        assert_eq!(promises(&program, &seen), [""; 0]);
        seen[2].outcome = Outcome::Each(vec![Outcome::Ok, Outcome::Unflagged, Outcome::Ok]);
        promises(&program, &seen)
    };
    assert_eq!(looks(""), ["guard-is-flagged"]);
    // There these kernels may lose it.
    assert_eq!(looks("|c mprotect 0+2..0+4 r\n"), [""; 0]);
}

#[test]
fn guards_of_a_call_with_several_ranges_stay_too() {
    let (program, good) = run(
        "mmap 0+0..0+8 rw private fixed\n|a process-madvise guard-install 0+0..0+2 0+4..0+6\n|b read 0+6..0+7\n",
    );
    assert_eq!(promises(&program, &good), [""; 0]);
    let without = |lost: u32| {
        let mut seen = good.clone();
        let pages = &mut seen[2].spaces[0].1.pages;
        pages.retain(|run| !(run.start..run.start + run.len).contains(&lost));
        promises(&program, &seen)
    };
    assert_eq!(without(0), ["install-stays"]);
    assert_eq!(without(5), ["install-stays"]);
}

#[test]
fn a_guard_of_before_may_be_met_and_go_before_the_new_one_comes() {
    let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\n|a guard-remove 0+1..0+2\n|a guard-install 0+0..0+2\n\
                |b* write 0+1..0+2 tag 3\n";
    let (program, mut seen) = run(text);
    let Outcome::Each(met) = seen[4].outcome.clone() else {
        panic!()
    };
    seen[4].outcome = Outcome::Each(vec![met[0].clone(), through(), met[0].clone()]);
    assert_eq!(promises(&program, &seen), [""; 0]);
}

#[test]
fn who_takes_guards_away_breaks_no_promise() {
    let (program, seen) = run(
        "mmap 0+0..0+4 rw private fixed\n|a guard-install 0+0..0+2\n|b guard-remove 0+1..0+2\n",
    );
    assert_eq!(promises(&program, &seen), [""; 0]);
    let mut oracle = Oracle::new(&Profile::newest(), Geometry::K4, program.knobs);
    oracle.step(&program.steps[0]);
    oracle.observe(&seen[0]);
    oracle.together(&program.steps[1..]);
    assert_eq!(oracle.expected().len(), 2);
}

/// Another process has a guard in the memory that it shares with the one whose threads run.
const TWO_PROCESSES: &str =
    "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nfork 1\n1: guard-install 0+1..0+2\n\
                             |a guard-install 0+2..0+3\n|b read 0+0..0+1\nread 0+3..0+4\n";

#[test]
fn guards_of_before_stay_in_every_process() {
    // Threads of one process, and a step of it alone after them, must leave the other's alone.
    for step in [5, 6] {
        let lost = changed(TWO_PROCESSES, |seen| {
            (step..7).for_each(|step| replace(memory(seen, step, 1), 1, None));
        });
        assert_eq!(lost, ["guards-stay"], "{step}");
    }
    let own = STORM.replace("|a guard", "guard-install 0+3..0+4\n|a guard");
    assert_eq!(tampered(&own, 3, None), ["guards-stay"]);
    for beside in ["mprotect 0+2..0+4 r", "dontneed 0+2..0+4", "mlock 0+2..0+3"] {
        let text = format!("{own}|c {beside}\n");
        assert_eq!(tampered(&text, 3, None), ["guards-stay"], "{beside}");
    }
    for beside in [
        "guard-remove 0+2..0+4",
        "munmap 0+2..0+4",
        "mmap 0+2..0+4 rw private fixed",
    ] {
        let (program, seen) = run(&format!("{own}|c {beside}\n"));
        assert_eq!(promises(&program, &seen), [""; 0], "{beside}");
    }
}

#[test]
fn guards_stop_accesses() {
    let stop = ["guards-stop-accesses"];
    let older =
        STORM.replace("|a guard", "guard-install 0+3..0+4\n|a guard") + "|c read 0+3..0+4\n";
    assert_eq!(changed(&older, |seen| seen[5].outcome = through()), stop);
    let own = format!("{STORM}|a read 0+1..0+2\n");
    assert_eq!(changed(&own, |seen| seen[4].outcome = through()), stop);
    // Others may have taken the page away and not told of it, which install does not see to.
    for zap in ["dontneed", "guard-install", "pageout"] {
        let zapped = format!("{own}|c {zap} 0+1..0+2\n");
        assert_eq!(
            changed(&zapped, |seen| seen[4].outcome = through()),
            [""; 0]
        );
        let elsewhere = format!("{own}|c {zap} 0+7..0+8\n");
        assert_eq!(
            changed(&elsewhere, |seen| seen[4].outcome = through()),
            stop
        );
    }
    // Another thread comes before the install, or after it.
    let other = format!("{STORM}|c read 0+1..0+2\n");
    assert_eq!(changed(&other, |seen| seen[4].outcome = through()), [""; 0]);
    // Afterwards, alone.
    let later = format!("{STORM}read 0+1..0+2\n");
    assert_eq!(changed(&later, |seen| seen[4].outcome = through()), stop);
}

#[test]
fn what_faults_as_a_guard_is_shown_as_one() {
    let fault = Fault {
        signo: 11,
        code: 1,
        addr: 2 * 4096,
        key: None,
    };
    let faults = Outcome::Access(Access {
        fault: Some(fault),
        ..Access::default()
    });
    let text = format!("{STORM}read 0+2..0+3\n");
    let broken = changed(&text, |seen| seen[4].outcome = faults.clone());
    assert_eq!(broken, ["guards-are-shown"]);
    // Where nothing is mapped that is how it is.
    let text = format!("{STORM}munmap 0+2..0+3\nread 0+2..0+3\n");
    assert_eq!(changed(&text, |_| ()), [""; 0]);
}

#[test]
fn a_child_has_the_guards_and_the_pages_of_its_parent() {
    let fork = "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nguard-install 0+5..0+6\n\
                |a guard-install 0+0..0+2\n|a fork 1\n|b write 0+3..0+4 tag 2\n";
    let lost = |text: &str, page: u32| {
        changed(text, |seen| {
            replace(memory(seen, seen.len() - 1, 1), page, None)
        })
    };
    assert_eq!(lost(fork, 1), ["fork-copies-guards"]);
    assert_eq!(lost(fork, 5), ["fork-copies-guards"]);
    assert_eq!(lost(fork, 2), ["fork-copies-pages"]);
    // Another thread stores to it before the fork or after.
    assert_eq!(lost(fork, 3), [""; 0]);
    // Another thread's install may come after the fork.
    let other = fork.replace("|a fork", "|c fork");
    let (program, mut seen) = run(&other);
    replace(memory(&mut seen, 5, 1), 1, None);
    assert_eq!(promises(&program, &seen), [""; 0]);
    // The author has asked for it.
    for told in ["wipeonfork", "dontfork"] {
        let text = fork.replace("write 0+0", &format!("{told} 0+0..0+6\nwrite 0+0"));
        let (program, seen) = run(&text);
        assert_eq!(promises(&program, &seen), [""; 0], "{told}");
    }
    // Memory of files: where the kernel has the flag, and cannot have lost it.
    let shared = fork.replace("private", "shared");
    assert_eq!(lost(&shared, 1), ["fork-copies-guards"]);
    let split = format!("{shared}|c mprotect 0+3..0+6 r\n");
    assert_eq!(lost(&split, 1), [""; 0]);
}

#[test]
fn the_bytes_of_files_stay_as_they_are() {
    let text = "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\n|a guard-install 0+0..0+2\n|b guard-remove 0+2..0+4\n";
    let other = |text: &str| {
        changed(text, |seen| {
            let last = memory(seen, seen.len() - 1, 0);
            let run = last.pages.last_mut().unwrap();
            run.page.content = Some(Content::ZERO);
        })
    };
    assert_eq!(other(text), ["nothing-outside"]);
    assert_eq!(
        other(&format!("{text}|c write 0+1..0+2 tag 2\n")),
        ["nothing-outside"]
    );
    assert_eq!(other(&format!("{text}|c write 0+3..0+4 tag 2\n")), [""; 0]);
    assert_eq!(other(&format!("{text}|c remove 0+1..0+4\n")), [""; 0]);
}

/// Threads of two processes that share memory: each installs guards of its own.
const BOTH_INSTALL: &str =
    "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nfork 1\n1: guard-install 0+3..0+4\n\
                            |a guard-install 0+0..0+2\n|b 1: guard-install 0+1..0+3\n";

#[test]
fn the_guards_of_each_process_are_judged() {
    let lost = |actor: ActorId, page: u32| {
        changed(BOTH_INSTALL, |seen| {
            replace(memory(seen, 5, actor), page, None);
        })
    };
    assert_eq!(lost(0, 1), ["install-stays"]);
    assert_eq!(lost(1, 1), ["install-stays"]);
    assert_eq!(lost(1, 3), ["guards-stay"]);
    // One has a guard where only the other has installed.
    let strange = changed(BOTH_INSTALL, |seen| {
        replace(memory(seen, 5, 0), 2, Some(PageKind::Guard));
    });
    assert_eq!(strange, ["guards-come-of-install"]);
    let flagless = changed(BOTH_INSTALL, |seen| {
        for vma in &mut memory(seen, 5, 1).vmas {
            let flags = vma.flags.iter_mut();
            flags.for_each(|f| f.retain(|f| f.0 != *b"gu"));
        }
    });
    assert_eq!(flagless, ["guard-is-flagged"]);
}

#[test]
fn what_one_process_does_excuses_nothing_in_another() {
    // The other's remove, zap and split are about the other's memory.
    let flagless = |text: &str, actor: ActorId| {
        changed(text, |seen| {
            for vma in &mut memory(seen, seen.len() - 1, actor).vmas {
                let flags = vma.flags.iter_mut();
                flags.for_each(|f| f.retain(|f| f.0 != *b"gu"));
            }
        })
    };
    let removes = format!("{BOTH_INSTALL}|c 1: guard-remove 0+0..0+2\n");
    assert_eq!(tampered(&removes, 1, None), ["install-stays"]);
    let splits = format!("{BOTH_INSTALL}|c 1: mprotect 0+0..0+1 r\n");
    assert_eq!(flagless(&splits, 0), ["guard-is-flagged"]);
    assert_eq!(flagless(&splits, 1), [""; 0]);
    let own = format!("{BOTH_INSTALL}|a read 0+1..0+2\n|c 1: dontneed 0+1..0+2\n");
    let stop = ["guards-stop-accesses"];
    assert_eq!(changed(&own, |seen| seen[6].outcome = through()), stop);
    // A file's bytes are everybody's.
    let stores = format!("{BOTH_INSTALL}|c 1: write 0+0..0+1 tag 7\n");
    assert_eq!(changed(&stores, |_| ()), [""; 0]);
}
