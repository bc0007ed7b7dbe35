//! Counting, on programs small enough to count by hand.

use super::*;

fn stats(text: &str) -> Stats {
    let program = Program::load(text).unwrap_or_else(|e| panic!("{}", e.render("test")));
    Stats::of([&program])
}

#[test]
fn ops_successes_and_changes() {
    let s = stats(
        "mmap 0+0..0+4 rw private fixed
         guard-install 0+1..0+2
         guard-install 0+1..0+2
         munmap 0+0.1..0+1
         read 0+0..0+2
         read 3+0..3+1",
    );
    assert_eq!((s.programs, s.ops), (1, 6));
    // Both installs and the mmap; the misaligned munmap and the faulting reads do not.
    assert_eq!(s.succeeded, 3);
    // mmap, the first install, and the zero page that the first read maps before it faults.
    assert_eq!(s.changes, 3);
    assert_eq!(s.programs_with_few_changes, 1);
    let count = OpCount {
        ops: 2,
        succeeded: 2,
    };
    assert_eq!(s.by_op["guard-install"], count);
    assert_eq!(s.op_share("read"), 2.0 / 6.0);
    assert_eq!(s.op_share("exit"), 0.0);
    assert!(!s.by_rule.is_empty());
}

#[test]
fn what_a_guard_meets() {
    let base = "thp always\nmmap 0+0..1+0 rw private fixed\nguard-install 0+2..0+4\n";
    let met = |more: &str| -> Vec<Meeting> {
        let s = stats(&format!("{base}{more}"));
        assert_eq!(s.programs_with_meetings, u64::from(!s.meetings.is_empty()));
        s.meetings.into_keys().collect()
    };
    assert_eq!(met(""), []);
    assert_eq!(met("fork 1"), [Meeting::Fork]);
    assert_eq!(met("mprotect 0+3..0+5 r"), [Meeting::Mprotect]);
    assert_eq!(met("mprotect 0+4..0+5 r"), []);
    assert_eq!(met("munmap 0+0..0+3"), [Meeting::Munmap]);
    assert_eq!(met("munmap 0+0..0+2"), []);
    assert_eq!(met("mmap 0+3..0+9 r shared fixed"), [Meeting::Munmap]);
    // The guard in the block keeps a huge page out; that is a meeting too.
    assert_eq!(met("write 1-2..1-1 tag 1"), [Meeting::HugePage]);
    assert_eq!(met("read 0+1..0+3"), [Meeting::Fault, Meeting::HugePage]);
    assert_eq!(met("hugepage 0+0..1+0"), [Meeting::HugePage]);
    assert_eq!(met("guard-remove 0+0..1+0\nfork 1"), []);
    let into_huge = stats(
        "thp always\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+2..0+3",
    );
    assert_eq!(into_huge.meetings[&Meeting::HugePage], 1);
}

#[test]
fn merging_is_counting_together() {
    let programs: Vec<Program> = (0..40).map(crate::program::generate::generate).collect();
    let mut merged = Stats::of(&programs[..17]);
    merged.merge(&Stats::of(&programs[17..]));
    assert_eq!(merged, Stats::of(&programs));
    let text = merged.to_string();
    for part in [
        "programs                       40",
        "a guard meets",
        "guard-install",
        "huge page",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let nothing = Stats::default();
    assert_eq!(nothing.success_share(), 0.0);
    assert!(nothing
        .to_string()
        .contains("ops per program               0.0"));
}
