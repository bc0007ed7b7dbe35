//! Each check refuses what it should, in words that help.

use crate::geometry::{Geometry, Pos, Range};
use crate::judge::VmFlag;
use crate::program::generate::generate;
use crate::program::{
    Expect, FlagExpected, Need, Op, Program, Step, ValueTags, MAX_STEPS, MAX_TEXT_BYTES,
    MAX_VECTORS,
};

fn message(text: &str) -> String {
    let program = Program::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    match program.check() {
        Ok(()) => "fine".into(),
        Err(e) => e.to_string(),
    }
}

/// The check counts the bytes of a text only where there are comments or expectations.
#[test]
fn without_words_no_text_is_too_long() {
    let range = "4+4095.4095..4+4095.4095";
    let ranges = [range; MAX_VECTORS].join(" ");
    let op = format!("|a* 3: process-madvise-unknown-flag of 3 populate-write {ranges}");
    let header = 4096;
    assert!(header + MAX_STEPS * 2 * op.len() < MAX_TEXT_BYTES);
    for seed in 0..2000 {
        let program = generate(seed);
        let lines = program.steps.iter().map(|step| step.to_string().len());
        assert!(lines.max() <= Some(op.len()), "{program}");
    }
}

#[test]
fn checks() {
    for (text, part) in [
        ("", "at least one op"),
        ("munmap 0+0..0+1", "fine"),
        // Actors.
        (
            "1: munmap 0+0..0+1",
            "op 1: there is no actor 1 yet; `fork 1` makes it",
        ),
        ("fork 1\nfork 1", "op 2: actor 1 exists already"),
        ("fork 0", "actor 0 exists already"),
        ("fork 1\nexit\nmunmap 0+0..0+1", "op 3: actor 0 has exited"),
        ("fork 1\n1: exit\nfork 1", "exists already"),
        ("exit", "the last living actor cannot exit"),
        ("fork 1\n1: exit\nexit", "the last living actor cannot exit"),
        ("fork 3\n3: fork 1\nexit\n1: munmap 0+0..0+1", "fine"),
        // Allocations that fail.
        ("mprotect 0+0..0+1 r fail 1", "fine"),
        ("hugepage 0+0..0+1 fail 999", "fine"),
        ("guard-remove 0+0..0+1 fail 3", "fine"),
        (
            "read 0+0..0+1 fail 1",
            "op 1: it is not modelled what read leaves",
        ),
        (
            "mmap 0+0..0+1 rw private fixed populate fail 1",
            "what mmap leaves",
        ),
        ("free 0+0..0+1 fail 1", "what free leaves"),
        ("fork 1 fail 1\nfork 2\n2: exit", "fine"),
        ("fork 1 fail 1\n1: exit", "op 2: actor 1 may not live"),
        ("fork 1 fail 1\nexit", "the last living actor cannot exit"),
        // mmap stays inside the arena.
        ("mmap 0+0..3+0 rw private fixed", "fine"),
        ("mmap 0-1..0+1 rw private fixed", "inside the arena only"),
        ("mmap 3-1..3+1 rw private fixed", "inside the arena only"),
        ("mmap 3-1..3+0.1 rw private fixed", "inside the arena only"),
        ("mmap 3+0..3+0 rw private fixed", "fine"),
        ("mmap 0+4..0+2 rw private fixed", "fine"),
        ("mmap 0+4..0-2 rw private fixed", "fine"),
        ("mmap 3+1..0+0 rw private fixed", "inside the arena only"),
        ("munmap 0-256..3+255", "fine"),
        // mremap maps inside the arena only, and has one start where it has no new address.
        ("mremap 0+0..0+4 0+0..3+0 stay", "fine"),
        ("mremap 0-1..3+1 0+0..0+4 fixed", "fine"),
        ("mremap 0+0..0+4 0+0..3+1 maymove", "inside the arena only"),
        ("mremap 0+0..0+4 0-1..0+3 fixed", "inside the arena only"),
        ("mremap 0+0..0+4 0+4..0+2 fixed", "fine"),
        (
            "mremap 0+0..0+4 0+1..0+6 stay",
            "starts where the old one does, at 0+0, not at 0+1",
        ),
        (
            "mremap 0+0..0+4 0+1..0+6 unknown-flag",
            "starts where the old one does",
        ),
        ("mremap 0+0..0+4 0+0..0+6 stay => elsewhere", "fine"),
        // Accesses are aligned, not empty, and short on every geometry.
        ("read 0+0..0+64", "fine"),
        ("read 0+0..0+65", "at most 64 pages"),
        ("read 1-32..1+32", "fine"),
        ("read 0+255..1-256", "at most 64 pages"),
        ("read 0+1..0+1", "at least one page"),
        ("write 0+2..0+1 tag 1", "at least one page"),
        ("read 0+0.8..0+1", "whole pages"),
        ("read 0+0..0+1.8", "whole pages"),
        // Expectations that can hold.
        ("munmap 0+0..0+1 => ok; EINVAL", "one outcome"),
        ("munmap 0+0..0+1 => SIGSEGV", "raises no signal"),
        ("read 0+0..0+1 => EINVAL", "has no errno"),
        ("munmap 0+0..0+1 => elsewhere", "of mmap and mremap only"),
        ("write 0+0..0+1 tag 1 => reads 1", "of a read only"),
        ("read 0+0..0+1 => ok; reads 0", "fine"),
        ("munmap 0+0..0+1 => 1: 0+0 .", "there is no actor 1"),
        ("fork 1 => 1: 0+0 .", "fine"),
        ("fork 1\n1: exit => 0+0 .", "actor 1 has exited"),
        ("munmap 0+0..0+1 => 0-1 .", "does not lie in the arena"),
        ("munmap 0+0..0+1 => 3-1 ..", "does not lie in the arena"),
        ("munmap 0+0..0+1 => 0+0.1 .", "does not lie in the arena"),
        ("munmap 0+0..0+1 => 0+0 .*pmd .*pmd .*pmd", "fine"),
        (
            "munmap 0+0..0+1 => 0+0 .*pmd .*pmd .*pmd .",
            "does not lie in the arena",
        ),
        ("munmap 0+0..0+1 => 0+0 .*1537", "with 512 pages per PMD"),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

/// Programs that no text gives, only code.
#[test]
fn programs_made_by_code() {
    let munmap = |a: Pos, b: Pos| {
        Step::new(
            0,
            Op::Munmap {
                range: Range::new(a, b),
            },
        )
    };
    let good = munmap(Pos::new(0, 0), Pos::new(0, 1));
    let of = |step: Step| Program {
        steps: vec![step],
        ..Program::default()
    };
    let refuse = |program: Program, part: &str| {
        let error = program.check().expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    refuse(of(munmap(Pos::new(4, 0), Pos::new(0, 1))), "is no position");
    refuse(
        of(munmap(Pos::new(0, 256), Pos::new(0, 1))),
        "is no position",
    );
    refuse(
        of(munmap(Pos::new(0, 0), Pos::new(0, -257))),
        "is no position",
    );
    let mut pos = Pos::new(0, 0);
    pos.byte = 4096;
    refuse(of(munmap(pos, pos)), "is no position");
    let with = |expect: Expect| {
        let mut step = good.clone();
        step.expect = vec![expect];
        of(step)
    };
    refuse(with(Expect::Errno(9999)), "errno 9999 has no name");
    refuse(
        with(Expect::Strip {
            actor: 0,
            at: Pos::new(0, 0),
            strip: "| ..".into(),
        }),
        "is written |..",
    );
    let lo = FlagExpected {
        flag: VmFlag(*b"lo"),
        set: true,
    };
    let odd = FlagExpected {
        flag: VmFlag(*b"Lo"),
        set: true,
    };
    let flags = |actor, at, flags: &[FlagExpected]| {
        with(Expect::Flags {
            actor,
            at,
            flags: flags.to_vec(),
        })
    };
    let zero = Pos::new(0, 0);
    assert_eq!(flags(0, zero, &[lo]).check(), Ok(()));
    refuse(flags(1, zero, &[lo]), "actor 1");
    refuse(flags(0, zero, &[]), "each once");
    refuse(flags(0, zero, &[lo, lo]), "each once");
    refuse(flags(0, zero, &[odd]), "no flag of the text form");
    refuse(flags(0, Pos::new(0, -1), &[lo]), "no page of the arena");
    refuse(flags(0, Pos::new(3, 0), &[lo]), "no page of the arena");
    let read = |expect: Expect| {
        let range = Range::new(Pos::new(0, 0), Pos::new(0, 1));
        let mut step = Step::new(0, Op::Read { range });
        step.expect = vec![expect];
        of(step)
    };
    let signal = Expect::Signal {
        signo: 11,
        code: Some(77),
        at: None,
    };
    refuse(read(signal), "has no name");
    refuse(read(Expect::Values(Vec::new())), "runs of pages");
    let run = ValueTags { tag: 1, pages: 1 };
    refuse(read(Expect::Values(vec![run, run])), "runs of pages");
    let mut step = good.clone();
    step.comments = vec!["two\nlines".into()];
    refuse(of(step), "a comment is one line");
    let mut step = good.clone();
    step.comments = vec!["blank at the end ".into()];
    refuse(of(step), "a comment is one line");
    let mut step = good.clone();
    step.actor = 200;
    refuse(of(step), "there is no actor 200");
    let mut program = of(good.clone());
    program.steps = vec![good.clone(); MAX_STEPS + 1];
    refuse(program, "at most 64 ops");
    let mut program = of(good.clone());
    program.needs = vec![Need::Thp, Need::Thp];
    refuse(program, "given twice");
    let mut program = of(good.clone());
    program.about = vec!["x".repeat(70_000)];
    refuse(program, "at most 65536 bytes");
    let mut step = good;
    step.op = Op::Fork { child: 9 };
    refuse(of(step), "at most 4 actors");
}

/// Whatever passes the check prints and reads back as itself; every position has one page on every geometry.
#[test]
fn every_position_has_one_page() {
    for g in [Geometry::K4, Geometry::K16] {
        for index in 0..i64::from(g.arena_pages()) {
            if let Some(pos) = Pos::from_page_index(index, g) {
                assert_eq!(pos.page_index(g), index);
            } else {
                assert_ne!(g, Geometry::K4);
            }
        }
    }
}
