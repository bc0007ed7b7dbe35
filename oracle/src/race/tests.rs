//! What the seed thread argues about, asked of the explorer.

use super::{explore, explore_within, Exploration, Final, TooLarge};
use crate::geometry::Geometry;
use crate::judge::{Outcome, ValueRun};
use crate::profile::{Arch, Named, Profile};
use crate::program::{Op, Program, Step};
use crate::rules::{RuleId, RULES};
use crate::space::{Content, PageState, World};

mod second;

const G: Geometry = Geometry::K4;
/// Pages of the arena.
const BORDER: u32 = 512;

fn profile(name: &str) -> Profile {
    Named::parse(name).unwrap().profile(Arch::X86_64)
}

/// The ways of the first section of a program.
fn ways(text: &str, profile: &Profile) -> Exploration {
    let program = Program::load_concurrent(text).unwrap();
    let first = program.steps.iter().position(|s| s.lane.is_some()).unwrap();
    let mut world = World::new(profile, G, program.knobs).with_free_pages(100_000);
    for step in &program.steps[..first] {
        world = world.apply(step).remove(0).world;
    }
    let section = program.section(first).unwrap();
    explore(&world, &program.steps[section]).unwrap()
}

/// Whether every page of `[from, to)` of actor 0 is a guard.
fn guarded(end: &Final, from: u32, to: u32) -> bool {
    (from..to).all(|page| end.world.page(0, page) == PageState::Guard)
}

fn content(end: &Final, page: u32) -> Option<u16> {
    match end.world.page(0, page) {
        PageState::Anon { content, .. } => content.tag(),
        _ => None,
    }
}

/// A page below the border is populated; while install works across it, a fault above it brings a huge page.
const PMD_BORDER: &str = "thp always

mmap 0+0..2+0 rw private fixed
write 1-1..1+0 tag 1
|a guard-install 1-1..1+1
|b write 1+2..1+3 tag 2
";

#[test]
fn install_across_a_border_succeeds_whoever_faults_beside_it() {
    let all = ways(PMD_BORDER, &profile("7.3"));
    assert!(all.finals.len() >= 2, "{}", all.finals.len());
    for end in &all.finals {
        assert_eq!(end.outcomes[0], Outcome::Ok, "{:?}", end.how);
        assert!(guarded(end, BORDER - 1, BORDER + 1), "{:?}", end.how);
        assert_eq!(content(end, BORDER + 2), Some(2), "{:?}", end.how);
    }
    // It brings a huge page, which is split, or comes when install has made a page table, and gets a small one.
    let neighbours: Vec<PageState> = all
        .finals
        .iter()
        .map(|e| e.world.page(0, BORDER + 3))
        .collect();
    assert!(neighbours.contains(&PageState::Empty));
    assert!(
        neighbours
            .iter()
            .any(|s| matches!(s, PageState::Anon { .. })),
        "{neighbours:?}"
    );
}

#[test]
fn the_patch_of_2024_returns_eagain_there() {
    let all = ways(PMD_BORDER, &profile("rfc-2024"));
    let eagain = Outcome::Errno(11);
    assert!(all.finals.iter().any(|end| end.outcomes[0] == eagain));
    assert!(all.finals.iter().any(|end| end.outcomes[0] == Outcome::Ok));
    let merged = ways(PMD_BORDER, &profile("6.13"));
    assert!(merged.finals.iter().all(|end| end.outcomes[0] != eagain));
}

#[test]
fn a_storm_of_stores_does_not_keep_install_from_ending_in_guards() {
    let text = "mmap 0+0..0+4 rw private fixed
write 0+0..0+2 tag 1
|a guard-install 0+0..0+2
|b* write 0+1..0+2 tag 2
";
    let all = ways(text, &profile("7.3"));
    for end in &all.finals {
        assert_eq!(end.outcomes[0], Outcome::Ok);
        assert!(guarded(end, 0, 2), "{:?}", end.how);
        // Once it has faulted at the guard, it never gets through again.
        let Outcome::Each(seen) = &end.outcomes[1] else {
            panic!("{:?}", end.outcomes[1]);
        };
        let stopped = |o: &Outcome| matches!(o, Outcome::Access(a) if a.fault.is_some());
        let faults: Vec<bool> = seen.iter().map(stopped).collect();
        assert!(
            faults == [false] || faults == [true] || faults == [false, true],
            "{seen:?}"
        );
    }
    assert!(all.rules.contains(RuleId("race/guard-install/restarts")));
    assert!(!all.rules.contains(RuleId("race/guard-install/gives-up")));
}

#[test]
fn a_load_finds_the_old_value_then_zero_then_the_guard_and_nothing_else() {
    let text = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 7
|a guard-install 0+0..0+1
|b* read 0+0..0+1
";
    let all = ways(text, &profile("7.3"));
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Access(a) if a.fault.is_some() => 2,
        Outcome::Access(a) if a.values[0].first.tag() == Some(7) => 0,
        _ => 1,
    };
    let mut met = [false; 3];
    for end in &all.finals {
        let Outcome::Each(seen) = &end.outcomes[1] else {
            panic!("{:?}", end.outcomes[1]);
        };
        let ranks: Vec<usize> = seen.iter().map(rank).collect();
        assert!(ranks.windows(2).all(|w| w[0] < w[1]), "{ranks:?}");
        ranks.iter().for_each(|r| met[*r] = true);
    }
    assert_eq!(met, [true; 3]);
}

#[test]
fn a_child_forked_beside_install_has_all_of_its_guards_or_none_in_an_anonymous_page() {
    let text = "mmap 0+0..0+1 rw private fixed
|a guard-install 0+0..0+1
|b fork 1
";
    let all = ways(text, &profile("7.3"));
    let child: Vec<PageState> = all.finals.iter().map(|end| end.world.page(1, 0)).collect();
    assert!(child.contains(&PageState::Guard) && child.contains(&PageState::Empty));
    assert_eq!(child.len(), 2, "{child:?}");
}

#[test]
fn a_store_through_an_old_translation_is_lost_with_its_page_and_reaches_no_other() {
    let text = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
|a dontneed 0+0..0+1
|b write 0+0..0+1 tag 2
";
    let all = ways(text, &profile("7.3"));
    let left: Vec<PageState> = all.finals.iter().map(|end| end.world.page(0, 0)).collect();
    let stored = |state: &PageState| matches!(state, PageState::Anon { content, .. } if content.tag() == Some(2));
    assert!(left.iter().any(stored) && left.contains(&PageState::Empty));
    assert!(
        left.iter().all(|s| stored(s) || *s == PageState::Empty),
        "{left:?}"
    );
}

#[test]
fn after_mprotect_no_store_gets_through() {
    let text = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
|a mprotect 0+0..0+1 r
|b write 0+0..0+1 tag 2
|b write 0+0..0+1 tag 3
";
    let all = ways(text, &profile("7.3"));
    for end in &all.finals {
        let stopped = |o: &Outcome| matches!(o, Outcome::Access(a) if a.fault.is_some());
        let expected = match (stopped(&end.outcomes[1]), stopped(&end.outcomes[2])) {
            (true, true) => Some(1),
            (false, true) => Some(2),
            (false, false) => Some(3),
            (true, false) => panic!("{:?}", end.how),
        };
        assert_eq!(content(end, 0), expected, "{:?}", end.how);
    }
    assert_eq!(all.finals.len(), 3);
}

#[test]
fn threads_that_do_not_meet_come_to_one_end() {
    let text = "mmap 0+0..0+8 rw private fixed
|a guard-install 0+0..0+2
|b guard-remove 0+4..0+6
|c read 0+6..0+8
";
    let all = ways(text, &profile("7.3"));
    assert_eq!(all.finals.len(), 1);
    assert!(all.states > 10);
}

#[test]
fn a_section_that_is_too_large_says_so() {
    let program = Program::load_concurrent(PMD_BORDER).unwrap();
    let world = World::new(&profile("7.3"), G, program.knobs);
    let world = world.apply(&program.steps[0]).remove(0).world;
    let section = &program.steps[program.section(2).unwrap()];
    let told = explore_within(&world, section, 5).unwrap_err();
    assert_eq!(told, TooLarge { most: 5 });
}

#[test]
fn pageout_may_leave_what_another_processor_has_brought_in() {
    let text = "mmap 0+0..0+2 rw shared memfd0 fixed
write 0+0..0+1 tag 1
|a pageout 0+0..0+2
|b write 0+1..0+2 tag 2
";
    let all = ways(text, &profile("7.3"));
    let first: Vec<bool> = all
        .finals
        .iter()
        .map(|end| end.world.page(0, 0) == PageState::Empty)
        .collect();
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert!(all.rules.contains(RuleId("race/pageout/may-leave")));
}

const READ: &str = "read 0+0..0+1";
const WRITE: &str = "write 0+0..0+1 tag 2";

/// A thread installs a guard where another has just zapped, and stores to it. Whether the store may go past the guard.
fn goes_past(zap: &str, access: &str, profile: &Profile) -> bool {
    let text = format!(
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\n{zap}|b guard-install 0+0..0+1\n|b {access}\n"
    );
    let all = ways(&text, profile);
    let past = |end: &Final| matches!(&end.outcomes[2], Outcome::Access(a) if a.fault.is_none());
    let any = all.finals.iter().any(past);
    assert_eq!(
        all.rules.contains(RuleId("race/guard-install/skips-flush")),
        any
    );
    any
}

#[test]
fn an_install_does_not_see_to_what_others_have_not_told_of() {
    let own = profile("7.3");
    let sound = Profile {
        install_skips_flush: false,
        ..own.clone()
    };
    for zap in [
        "|a dontneed 0+0..0+4\n",
        "|a guard-install 0+0..0+4\n",
        "|a process-madvise dontneed 0+0..0+4\n",
    ] {
        assert!(goes_past(zap, WRITE, &own), "{zap}");
        assert!(!goes_past(zap, WRITE, &sound), "{zap}");
    }
    // Whoever locks out install is through before it begins.
    assert!(!goes_past("|a mprotect 0+0..0+4 rw\n", WRITE, &own));
    // Reclaim takes what is clean, which a store makes dirty first.
    let reclaim = "free 0+0..0+4\n|a pageout 0+0..0+4\n";
    assert!(goes_past(reclaim, READ, &own));
    assert!(!goes_past(reclaim, READ, &sound));
    assert!(!goes_past(reclaim, WRITE, &own));
}

/// Two zaps at once: the one that ends first tells of what the other has taken as well.
#[test]
fn a_zap_tells_of_what_another_took() {
    let text = |own: &str| {
        format!("mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\n|a dontneed 0+0..0+4\n|b {own}\n|b read 0+0..0+1\n")
    };
    let old = |own: &str| {
        let all = ways(&text(own), &profile("7.3"));
        let one = ValueRun {
            len: 1,
            first: Content::written(1, 0),
        };
        let old = |end: &Final| matches!(&end.outcomes[2], Outcome::Access(a) if a.values == [one]);
        let told = all
            .rules
            .contains(RuleId("race/stale-translation/told-by-another"));
        (all.finals.iter().any(old), told)
    };
    assert_eq!(old("dontneed 0+0..0+1"), (false, true));
    // It has nothing to do with the page.
    assert_eq!(old("read 0+3..0+4"), (true, false));
}

/// A fault that loses against install has put the page into the page cache.
#[test]
fn a_fault_of_a_file_brings_the_page_in_first() {
    for access in ["read", "populate-read"] {
        let text = format!(
            "mmap 0+0..0+2 rw shared fixed\n|a guard-install 0+0..0+1\n|b {access} 0+0..0+1\n"
        );
        let all = ways(&text, &profile("7.3"));
        let loses = |end: &&Final| match &end.outcomes[1] {
            Outcome::Access(access) => access.fault.is_some(),
            other => *other != Outcome::Ok,
        };
        let cached: Vec<u32> = all
            .finals
            .iter()
            .filter(loses)
            .map(|end| end.world.objects.iter().map(|o| o.cached_pages()).sum())
            .collect();
        let least = cached.iter().min().unwrap();
        assert!(cached.contains(&(least + 1)), "{access}: {cached:?}");
    }
}

/// A call that reads flags early and splits a VMA at both ends of its range: what it splits off last has the mark.
#[test]
fn a_mark_is_lost_where_the_first_split_took_it_off() {
    let text = "mmap 0+0..0+3 rw private fixed
write 0+1..0+2 tag 1
|a mprotect 0+1..0+2 none
|b guard-install 0+1..0+2
";
    let all = ways(text, &profile("7.3"));
    let marks = |end: &Final| {
        let vmas = &end.world.mm(0).unwrap().vmas;
        vmas.iter().map(|vma| vma.maybe_guard).collect::<Vec<_>>()
    };
    let mut seen: Vec<Vec<bool>> = all.finals.iter().map(marks).collect();
    seen.sort();
    seen.dedup();
    let met = |marks: [bool; 3]| seen.contains(&marks.to_vec());
    assert!(
        met([false, false, true]) && met([false, true, true]) && met([true, false, true]),
        "{seen:?}"
    );
    assert!(
        !met([true, true, false]) && !met([false, false, false]),
        "{seen:?}"
    );
}

const LOST_MARK: &str = "mmap 0+0..0+4 rw shared fixed
write 0+0..0+4 tag 1
|a guard-install 0+1..0+3
|b mprotect 0+0..0+4 r
";

#[test]
fn a_mark_that_is_lost_costs_the_child_its_guards() {
    let child_reads = |profile: &str| {
        let all = ways(LOST_MARK, &self::profile(profile));
        let fork = Step::new(0, Op::Fork { child: 1 });
        let mut seen: Vec<PageState> = all
            .finals
            .iter()
            .map(|end| end.world.apply(&fork).swap_remove(0).world.page(1, 1))
            .collect();
        seen.dedup();
        assert!(all.finals.iter().all(|end| guarded(end, 1, 3)));
        seen
    };
    // The parent's guards are there in any case.
    assert_eq!(child_reads("6.18.5"), [PageState::Guard]);
    let lost = child_reads("7.3");
    assert!(
        lost.contains(&PageState::Guard) && lost.len() == 2,
        "{lost:?}"
    );
}

/// Two ranges in one call; the loads of another thread meet both.
const SEVERAL_RANGES: &str = "mmap 0+0..0+8 rw private fixed
write 0+0..0+6 tag 1
|a process-madvise guard-install 0+0..0+2 0+4..0+6
|b read 0+4..0+5
|b read 0+0..0+1
";

#[test]
fn a_call_with_several_ranges_ends_as_its_ranges_one_by_one() {
    let one_by_one = SEVERAL_RANGES.replace(
        "|a process-madvise guard-install 0+0..0+2 0+4..0+6",
        "|a guard-install 0+0..0+2\n|a guard-install 0+4..0+6",
    );
    let ends = |text: &str, calls: usize| {
        let all = ways(text, &profile("7.3")).finals;
        let mut ends: Vec<String> = all
            .iter()
            .map(|end| format!("{:?} {:?}", &end.outcomes[calls..], end.world.shown()))
            .collect();
        ends.sort_unstable();
        (all, ends)
    };
    let (together, ends_together) = ends(SEVERAL_RANGES, 1);
    let (_, ends_apart) = ends(&one_by_one, 2);
    assert!(ends_together.len() > 2, "{ends_together:?}");
    assert_eq!(ends_together, ends_apart);
    for end in &together {
        let Outcome::Moved(moved) = &end.outcomes[0] else {
            panic!("{:?}", end.outcomes[0]);
        };
        assert!(moved.all && moved.bytes == 4 * 4096, "{moved:?}");
    }
}

/// The second range has a hole: what was done of the first is told.
#[test]
fn a_range_that_is_refused_ends_a_call_with_several() {
    let text = SEVERAL_RANGES.replace("0+4..0+6\n", "0+7..0+9\n");
    for end in &ways(&text, &profile("7.3")).finals {
        let Outcome::Moved(moved) = &end.outcomes[0] else {
            panic!("{:?}", end.outcomes[0]);
        };
        assert!(!moved.all && moved.bytes == 2 * 4096, "{moved:?}");
        assert!(guarded(end, 0, 2) && guarded(end, 7, 8), "{:?}", end.how);
    }
    // Nothing is known of vectors on oneself before 6.13: refused as a whole.
    for end in &ways(SEVERAL_RANGES, &profile("6.12")).finals {
        assert!(
            matches!(end.outcomes[0], Outcome::Errno(_)),
            "{:?}",
            end.outcomes
        );
    }
}

/// Memory that two processes share; each has guards of its own in it.
const TWO_PROCESSES: &str = "mmap 0+0..0+4 rw shared fixed
write 0+0..0+4 tag 1
fork 1
|a guard-install 0+0..0+2
|b 1: guard-install 0+1..0+3
|b 1: write 0+0..0+1 tag 2
";

#[test]
fn each_process_has_its_own_guards_and_one_content() {
    let all = ways(TWO_PROCESSES, &profile("7.3"));
    for end in &all.finals {
        assert!(guarded(end, 0, 2), "{:?}", end.how);
        let states = [0, 1, 2, 3].map(|page| end.world.page(1, page) == PageState::Guard);
        assert_eq!(states, [false, true, true, false], "{:?}", end.how);
        assert_eq!(end.outcomes[0], Outcome::Ok);
        assert_eq!(end.outcomes[1], Outcome::Ok);
        // Nobody's guard stops the other's store.
        let Outcome::Access(store) = &end.outcomes[2] else {
            panic!("{:?}", end.outcomes)
        };
        assert_eq!((store.pages, store.fault), (1, None));
        let page = match end.world.page(1, 0) {
            PageState::File { content, .. } => content.tag(),
            other => panic!("{other:?}"),
        };
        assert_eq!(page, Some(2));
    }
    assert!(all.rules.contains(RuleId("race/processes/own-locks")));
}

/// What holds the lock of one process for writing keeps no fault of another out, but one that is about its memory.
#[test]
fn processes_wait_for_nobody_elses_lock() {
    let text = |store: &str| {
        format!("user root\n\nmmap 0+0..0+2 rw shared memfd0 fixed\nwrite 0+0..0+1 tag 1\nfork 1\n|a mprotect 0+0..0+1 none\n|b read 0+0..0+1\n|c {store}\n")
    };
    let meets = |store: &str| {
        let all = ways(&text(store), &profile("7.3"));
        all.rules.contains(RuleId("race/processes/own-locks"))
    };
    assert!(meets("1: read 0+0..0+1"));
    assert!(meets("1: process-madvise pageout 0+0..0+1 of 1"));
    // It is about the memory of the others.
    assert!(!meets("1: process-madvise pageout 0+0..0+1 of 0"));
}

/// A page that two processes share since fork: what one of them has let go of, and may remember, the other's store does not change.
#[test]
fn a_store_in_another_process_is_not_seen_through_an_old_translation() {
    let text = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
fork 1
|a dontneed 0+0..0+1
|b read 0+0..0+1
|c 1: write 0+0..0+1 tag 2
";
    let all = ways(text, &profile("7.3"));
    let mut loaded: Vec<Option<u16>> = Vec::new();
    for end in &all.finals {
        let Outcome::Access(load) = &end.outcomes[1] else {
            panic!("{:?}", end.outcomes)
        };
        loaded.push(load.values[0].first.tag());
        let child = match end.world.page(1, 0) {
            PageState::Anon { content, .. } => content.tag(),
            other => panic!("{other:?}"),
        };
        assert_eq!(child, Some(2));
    }
    assert!(loaded.contains(&Some(1)), "{loaded:?}");
    assert!(!loaded.contains(&Some(2)), "{loaded:?}");
    let holds = RuleId("race/stale-translation/holds-the-page");
    assert!(all.rules.contains(holds));
}

/// The page that comes where another has gone is another one, whoever still remembers that.
#[test]
fn a_store_through_an_old_translation_does_not_reach_the_page_that_comes_instead() {
    let text = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
|a dontneed 0+0..0+1
|b write 0+0..0+1 tag 2
|c write 0+0..0+1 tag 3
";
    let all = ways(text, &profile("7.3"));
    for end in &all.finals {
        let new = end
            .how
            .iter()
            .position(|step| step.what == "faults page 0+0 in");
        let old = end
            .how
            .iter()
            .rposition(|step| step.what.ends_with("through a translation of before"));
        let (Some(new), Some(old)) = (new, old) else {
            continue;
        };
        if new < old && end.how[new].lane == 'b' && end.how[old].lane == 'c' {
            assert_eq!(content(end, 0), Some(2), "{:?}", end.how);
        }
    }
}

/// A page that has left its file holds what it held, for whoever still remembers it: no zeros, which a fault alone brings.
#[test]
fn a_load_through_an_old_translation_finds_what_a_page_held_that_has_left_its_file() {
    let text = "mmap 0+0..0+2 rw shared memfd0 fixed
write 0+0..0+2 tag 1
|a truncate memfd0 0
|b read 0+0..0+1
|b read 0+1..0+2
";
    let mut met = Vec::new();
    for end in &ways(text, &profile("7.3")).finals {
        let seen = [1, 2].map(|step| match &end.outcomes[step] {
            Outcome::Access(a) => a.values.first().map(|run| run.first.tag()),
            other => panic!("{other:?}"),
        });
        assert!(!seen.contains(&Some(None)), "{:?}", end.how);
        met.push(seen.map(|seen| seen.is_some()));
    }
    assert!(met.contains(&[true, true]) && met.contains(&[false, false]));
}

/// A hole in a file, or its end, takes what every process maps of it.
#[test]
fn a_hole_takes_the_pages_of_every_process_and_no_guards() {
    for takes in ["punch-hole memfd0 0..4", "truncate memfd0 0"] {
        let text = format!("mmap 0+0..0+4 rw shared memfd0 fixed\nwrite 0+0..0+4 tag 1\nfork 1\n|a guard-install 0+0..0+2\n|b 1: {takes}\n|c read 0+2..0+3\n");
        let all = ways(&text, &profile("7.3"));
        for end in &all.finals {
            assert!(guarded(end, 0, 2), "{takes}: {:?}", end.how);
            assert_eq!(end.world.page(1, 0), PageState::Empty, "{takes}");
        }
        let loads = |end: &Final| matches!(&end.outcomes[2], Outcome::Access(a) if a.fault.is_none() && a.values[0].first.tag() == Some(1));
        let old = all.finals.iter().filter(|end| loads(end)).count();
        assert!(old > 0 && old < all.finals.len(), "{takes}: {old}");
    }
}

/// Two blocks with a page each, and a store to the second.
const COLLAPSE: &str = "mmap 0+0..2+0 rw private fixed
write 0+0..0+1 tag 1
write 1+0..1+1 tag 1
|a collapse 0+0..2+0
|b write 1+8..1+9 tag 2
";

/// COLLAPSE that meets a page which another thread has just brought leaves that block, and no other.
#[test]
fn a_collapse_may_meet_a_page_that_another_thread_has_just_brought() {
    let huge = |end: &Final, page: u32| {
        matches!(end.world.page(0, page), PageState::Anon { huge: true, .. })
    };
    let mut met = Vec::new();
    for end in &ways(COLLAPSE, &profile("7.3")).finals {
        assert!(huge(end, 0), "{:?}", end.how);
        let left = !huge(end, BORDER);
        let expected = if left {
            Outcome::Errno(11)
        } else {
            Outcome::Ok
        };
        assert_eq!(end.outcomes[0], expected, "{:?}", end.how);
        assert_eq!(content(end, BORDER + 8), Some(2));
        met.push(left);
    }
    assert!(met.contains(&true) && met.contains(&false), "{met:?}");
    // Loads bring no page that anybody holds, and a store to the other block is none of this one's.
    let loads = COLLAPSE.replace("|b write 1+8..1+9 tag 2", "|b read 1+8..1+9");
    let all = ways(&loads, &profile("7.3")).finals;
    assert!(all.iter().all(|end| end.outcomes[0] == Outcome::Ok));
    let apart = COLLAPSE.replace("|a collapse 0+0..2+0", "|a collapse 0+0..1+0");
    let all = ways(&apart, &profile("7.3")).finals;
    assert!(all.iter().all(|end| end.outcomes[0] == Outcome::Ok));
}

#[test]
fn every_rule_about_threads_is_met_by_a_section() {
    let storm = "mmap 0+0..0+2 rw private fixed
write 0+0..0+2 tag 1
|a guard-install 0+0..0+1
|b* write 0+0..0+1 tag 2
|c munmap 0+1..0+2
|d mprotect 0+0..0+1 rw
";
    let gentle = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
|a dontneed 0+0..0+1
|b read 0+0..0+1
";
    let filled = "mmap 0+0..0+2 rw private fixed
uffd-register-missing 0+0..0+2
|a uffd-copy 0+0..0+1 tag 1
|b signal a
";
    let mut met = ways(storm, &profile("7.3")).rules;
    let out = "mmap 0+0..0+1 rw shared memfd0 fixed
|a pageout 0+0..0+1
|b read 0+0..0+1
";
    met.merge(&ways(out, &profile("7.3")).rules);
    let zaps = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
|a dontneed 0+0..0+1
|b dontneed 0+0..0+1
|c guard-install 0+0..0+1
|c read 0+0..0+1
";
    met.merge(&ways(zaps, &profile("7.3")).rules);
    met.merge(&ways(filled, &profile("7.3")).rules);
    met.merge(&ways(gentle, &profile("7.3")).rules);
    met.merge(&ways(PMD_BORDER, &profile("rfc-2024")).rules);
    met.merge(&ways(LOST_MARK, &profile("7.3")).rules);
    met.merge(&ways(SEVERAL_RANGES, &profile("7.3")).rules);
    met.merge(&ways(TWO_PROCESSES, &profile("7.3")).rules);
    let held = "mmap 0+0..0+1 rw private fixed
write 0+0..0+1 tag 1
fork 1
|a dontneed 0+0..0+1
|b read 0+0..0+1
|c 1: write 0+0..0+1 tag 2
";
    met.merge(&ways(held, &profile("7.3")).rules);
    met.merge(&ways(COLLAPSE, &profile("7.3")).rules);
    let about_threads = RULES.iter().filter(|r| r.name.starts_with("race/"));
    let unmet: Vec<&str> = about_threads
        .map(|r| r.name)
        .filter(|name| !met.contains(RuleId(name)))
        .collect();
    assert!(unmet.is_empty(), "{unmet:?}");
}
