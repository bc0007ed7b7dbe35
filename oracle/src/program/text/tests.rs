//! Round trips, canonical form, and what is said about text that is not understood.

use crate::program::{Expect, Op, Program, Thp, ValueTags, MAX_STEPS, MAX_TEXT_BYTES};
use expect_test::{expect, Expect as Snapshot};

/// A program with everything in it, in canonical form.
const FULL: &str = "\
# Everything at once.
#
#   indented

needs guards thp
thp always
shmem-thp advise
khugepaged on
ksm on
swap on
user root
uffd-events on

# Three VMAs
# and a hole.
mmap 0+0..0+8 rw private fixed
mmap 0+8..0+16 none shared hint => elsewhere
munmap 0+4..0+6 => ok
    => 0+0 |rw-p ....|__|..|
    => 0+7 VmFlags rd !gu
mprotect 1-2..1+2.17 rwx fail 12 => ENOMEM

# the guards
guard-install 0+2..0+4
guard-remove 0+4..0+2
dontneed 0+0..3+255
hugepage 0-256..0+0
nohugepage 3+0..3+0
fork 1 => ok
    => 1: 0+0 ?
1: write 0+0..0+3 tag 65535 => SIGSEGV MAPERR 0+2
1: read 0+0..0+3 => reads 65535*2 0
    => SIGSEGV
    => 0+0 |a*pmd-1 z A*600>
1: exit

# the end
";

fn snapshot(text: &str, expected: Snapshot) {
    let error = Program::load(text).expect_err("the text is wrong");
    expected.assert_eq(&error.render("x.prog"));
}

#[test]
fn events_are_read_as_they_are_written() {
    let text = "thp madvise\nuffd-events on\n\nfork 1 => events fork remap 0+0..0+2 to 1+0 remap 0+1..0+2 to elsewhere \
                remove 0+4..1-1 unmap 0+0..0+1 unmap elsewhere\nmunmap 0+0..0+1 => ok\n    => events none\n";
    let program = Program::load(text).unwrap();
    assert_eq!(program.to_string(), text);
    let refuse = |text: &str, words: &str| {
        let error = Program::load(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refuse("fork 1 => events none\n", "with `uffd-events on` only");
    refuse("uffd-events on\n\nfork 1 => events fork none\n", "expected");
    refuse(
        "uffd-events on\n\nfork 1 => events unmap\n",
        "a range such as",
    );
    refuse("uffd-events on\n\nfork 1 fail 1\n", "not modelled");
    let threads = "uffd-events on\n\n|a read 0+0..0+1\n|b read 0+0..0+1\n";
    let threads = Program::parse(threads).unwrap().check_concurrent();
    assert!(threads.unwrap_err().to_string().contains("not modelled"));
}

#[test]
fn the_canonical_form_is_a_fixed_point_with_every_part() {
    let program = Program::parse(FULL).unwrap();
    assert_eq!(program.to_string(), FULL);
    assert_eq!(program.about, ["Everything at once.", "", "  indented"]);
    assert_eq!(program.knobs.thp, Thp::Always);
    assert!(
        program.knobs.khugepaged && program.knobs.ksm && program.knobs.swap && program.knobs.root
    );
    assert!(program.knobs.uffd_events);
    assert_eq!(program.steps.len(), 13);
    assert_eq!(program.steps[0].comments, ["Three VMAs", "and a hole."]);
    assert_eq!(program.steps[11].expect.len(), 3);
    assert_eq!(
        program.steps[11].expect[0],
        Expect::Values(vec![
            ValueTags {
                tag: 65535,
                pages: 2
            },
            ValueTags { tag: 0, pages: 1 }
        ])
    );
    assert_eq!(program.trailer, ["the end"]);
}

#[test]
fn loose_writing_becomes_canonical() {
    let loose = "\t# about\r\n  needs   guards\n0:mmap 0-0..0+010.0 rw private fixed=>ok;0+0 | rw-p ....   ....\t. |\n\n#x\n 0: exit =>0+0 .\n=> 0: 0+1 .\n";
    let program = Program::parse(loose).unwrap();
    let text = program.to_string();
    expect![[r#"
        # about

        needs guards
        thp madvise

        mmap 0+0..0+10 rw private fixed => ok
            => 0+0 |rw-p .*9|

        # x
        exit
            => 0+0 .
            => 0+1 .
    "#]]
    .assert_eq(&text);
    assert_eq!(Program::parse(&text).unwrap(), program);
}

#[test]
fn comments_keep_their_places() {
    for text in [
        "# a\n\nthp madvise\n",
        "# a\n\nthp madvise\n\n# b\nexit\n",
        "thp madvise\n\n# b\nexit\n\n# c\n#\n",
        "thp madvise\n\n# only a trailer\n",
    ] {
        let program = Program::parse(text).unwrap();
        assert_eq!(
            Program::parse(&program.to_string()).unwrap(),
            program,
            "{text}"
        );
    }
    let both = Program::parse("# about\n# still about\nthp never\n# step\nexit").unwrap();
    assert_eq!(both.about.len(), 2);
    assert_eq!(both.steps[0].comments, ["step"]);
    let first = Program::parse("\n# of the step\nexit").unwrap();
    assert!(first.about.is_empty());
    assert_eq!(first.steps[0].comments, ["of the step"]);
}

#[test]
fn every_op_name_parses_back_to_its_op() {
    for step in Program::parse(FULL).unwrap().steps {
        let text = step.op.to_string();
        let back = Program::parse(&text).unwrap();
        assert_eq!(back.steps[0].op, step.op, "{text}");
        assert!(text.starts_with(step.op.name()));
    }
    assert!(matches!(
        Program::parse("fork 3").unwrap().steps[0].op,
        Op::Fork { child: 3 }
    ));
}

#[test]
fn errors_point_at_the_place_and_say_what_was_expected() {
    snapshot(
        "thp madvise\n  gaurd-install 0+0..0+1\n",
        expect![[r#"
            error: expected an op, found `gaurd-install`
             --> x.prog:2:3
              |
            2 |   gaurd-install 0+0..0+1
              |   ^^^^^^^^^^^^^
              = help: did you mean `guard-install`?
        "#]],
    );
    snapshot(
        "thp-disabel",
        expect![[r#"
            error: expected an op, found `thp-disabel`
             --> x.prog:1:1
              |
            1 | thp-disabel
              | ^^^^^^^^^^^
              = help: did you mean `thp-disable`?
        "#]],
    );
    snapshot(
        "fork 1 fail 0",
        expect![[r#"
            error: expected the number of an allocation, 1 to 999, found `0`
             --> x.prog:1:13
              |
            1 | fork 1 fail 0
              |             ^
        "#]],
    );
    snapshot(
        "read 0+2",
        expect![[r#"
        error: expected a range such as 0+2..0+6, found `0+2`
         --> x.prog:1:6
          |
        1 | read 0+2
          |      ^^^
          = help: `0+2` is a position; a range is start..end, the end not included
    "#]],
    );
    snapshot(
        "read 0+2..0+x => ok",
        expect![[r#"
        error: expected a position such as 0+2, 1-2 or 0+3.17, found `0+x`
         --> x.prog:1:11
          |
        1 | read 0+2..0+x => ok
          |           ^^^
          = help: a position is BLOCK+PAGE or BLOCK-PAGE, with .BYTE where it is not at a page's start
    "#]],
    );
    snapshot(
        "read 0+2..9+1",
        expect![[r#"
        error: expected a block, 0 to 3, found `9`
         --> x.prog:1:11
          |
        1 | read 0+2..9+1
          |           ^
    "#]],
    );
    snapshot(
        "read 0+2..0+256",
        expect![[r#"
        error: expected a page within 256 of the block's start, 0 to 255, found `256`
         --> x.prog:1:13
          |
        1 | read 0+2..0+256
          |             ^^^
    "#]],
    );
    snapshot(
        "munmap 0+2..0+3.4096",
        expect![[r#"
        error: expected a byte, 0 to 4095, found `4096`
         --> x.prog:1:17
          |
        1 | munmap 0+2..0+3.4096
          |                 ^^^^
    "#]],
    );
    snapshot(
        "mmap 0+0..0+8 wr private fixed",
        expect![[r#"
        error: expected a protection (none, r, w, x, rw, rx, wx or rwx), found `wr`
         --> x.prog:1:15
          |
        1 | mmap 0+0..0+8 wr private fixed
          |               ^^
    "#]],
    );
    snapshot(
        "mmap 0+0..0+8 rw privat fixed",
        expect![[r#"
            error: expected private, shared or droppable, found `privat`
             --> x.prog:1:18
              |
            1 | mmap 0+0..0+8 rw privat fixed
              |                  ^^^^^^
              = help: did you mean `private`?
        "#]],
    );
    snapshot(
        "mmap 0+0..0+8 rw",
        expect![[r#"
            error: expected private, shared or droppable, found the end of the line
             --> x.prog:1:17
              |
            1 | mmap 0+0..0+8 rw
              |                 ^
        "#]],
    );
    snapshot(
        "write 0+0..0+1 tag 65536",
        expect![[r#"
        error: expected a tag, 1 to 65535, found `65536`
         --> x.prog:1:20
          |
        1 | write 0+0..0+1 tag 65536
          |                    ^^^^^
    "#]],
    );
    snapshot(
        "write 0+0..0+1 tag 0",
        expect![[r#"
        error: expected a tag, 1 to 65535, found `0`
         --> x.prog:1:20
          |
        1 | write 0+0..0+1 tag 0
          |                    ^
    "#]],
    );
    snapshot(
        "exit now",
        expect![[r#"
        error: expected the end of the line, found `now`
         --> x.prog:1:6
          |
        1 | exit now
          |      ^^^
    "#]],
    );
    snapshot(
        "exit # bye",
        expect![[r#"
        error: expected the end of the line, found `#`
         --> x.prog:1:6
          |
        1 | exit # bye
          |      ^
          = help: a comment stands on a line of its own, before the op
    "#]],
    );
    snapshot(
        "fork 4",
        expect![[r#"
        error: expected the child's number, 0 to 3, found `4`
         --> x.prog:1:6
          |
        1 | fork 4
          |      ^
    "#]],
    );
    snapshot(
        "7: exit",
        expect![[r#"
        error: expected an actor's number, 0 to 3, found `7`
         --> x.prog:1:1
          |
        1 | 7: exit
          | ^
    "#]],
    );
    snapshot(
        "munmap 0+0..0+1 => EINVALID",
        expect![[r#"
            error: expected ok, elsewhere, an errno such as EINVAL, a signal such as SIGSEGV MAPERR, `up-to`, `reads`, `events`, a strip such as 0+0 |..GG| or flags such as 0+0 VmFlags gu, found `EINVALID`
             --> x.prog:1:20
              |
            1 | munmap 0+0..0+1 => EINVALID
              |                    ^^^^^^^^
              = help: did you mean `EINVAL`?
        "#]],
    );
    snapshot(
        "munmap 0+0..0+1 =>",
        expect![[r#"
            error: expected ok, elsewhere, an errno such as EINVAL, a signal such as SIGSEGV MAPERR, `up-to`, `reads`, `events`, a strip such as 0+0 |..GG| or flags such as 0+0 VmFlags gu, found the end of the line
             --> x.prog:1:19
              |
            1 | munmap 0+0..0+1 =>
              |                   ^
        "#]],
    );
    snapshot(
        "read 0+0..0+1 => SIGSEGV MAPPER",
        expect![[r#"
        error: expected MAPERR, ACCERR or PKUERR, found `MAPPER`
         --> x.prog:1:26
          |
        1 | read 0+0..0+1 => SIGSEGV MAPPER
          |                          ^^^^^^
          = help: did you mean `MAPERR`?
    "#]],
    );
    snapshot(
        "read 0+0..0+1 => reads x",
        expect![[r#"
        error: expected the tag of a loaded value (0 for a page never written), 0 to 65535, found `x`
         --> x.prog:1:24
          |
        1 | read 0+0..0+1 => reads x
          |                        ^
    "#]],
    );
    snapshot(
        "munmap 0+0..0+1 => ok; 0+0 |..Q|",
        expect![[r#"
        error: expected a page sign (one of ?_.G~zZasASfmFM), a border | or a protection such as rw-p, found `Q`
         --> x.prog:1:31
          |
        1 | munmap 0+0..0+1 => ok; 0+0 |..Q|
          |                               ^
    "#]],
    );
    snapshot(
        "munmap 0+0..0+1 => 0+0 |..__",
        expect![[r#"
        error: expected the border | between unmapped and mapped pages
         --> x.prog:1:27
          |
        1 | munmap 0+0..0+1 => 0+0 |..__
          |                           ^
    "#]],
    );
    snapshot(
        "thp sometimes",
        expect![[r#"
        error: expected never, madvise or always, found `sometimes`
         --> x.prog:1:5
          |
        1 | thp sometimes
          |     ^^^^^^^^^
    "#]],
    );
    snapshot(
        "needs guards\nneeds thp",
        expect![[r#"
        error: `needs` is given twice
         --> x.prog:2:1
          |
        2 | needs thp
          | ^^^^^
    "#]],
    );
    snapshot(
        "exit\nthp always",
        expect![[r#"
        error: `thp` belongs to the header, before the first op
         --> x.prog:2:1
          |
        2 | thp always
          | ^^^
    "#]],
    );
    snapshot(
        "=> ok",
        expect![[r#"
        error: expected an op before its expectation
         --> x.prog:1:1
          |
        1 | => ok
          | ^
    "#]],
    );
    snapshot(
        "munmap 0+0..0+1\n# why\n=> ok",
        expect![[r#"
        error: an expectation follows its op; put the comment before the op
         --> x.prog:3:1
          |
        3 | => ok
          | ^
    "#]],
    );
    snapshot(
        "wríte ☃",
        expect![[r#"
        error: expected an op, found `wríte`
         --> x.prog:1:1
          |
        1 | wríte ☃
          | ^^^^^
          = help: did you mean `write`?
    "#]],
    );
    snapshot(
        "mprotect 0+0..0+1 r => ok; 0+0 VmFlags rd !wr !rd",
        expect![[r#"
            error: `rd` is given twice
             --> x.prog:1:47
              |
            1 | mprotect 0+0..0+1 r => ok; 0+0 VmFlags rd !wr !rd
              |                                               ^^^
        "#]],
    );
    snapshot(
        "mprotect 0+0..0+1 r => 0+0 VmFlags",
        expect![[r#"
            error: expected a flag of smaps such as gu, or !gu for its absence, found the end of the line
             --> x.prog:1:35
              |
            1 | mprotect 0+0..0+1 r => 0+0 VmFlags
              |                                   ^
              = help: flags are rd, wr, ex, sh, mr, mw, me, ms, lo, lf, sr, rr, dc, ac, nr, wf, dd, sd, hg, nh, mg, sl, gu, um, uw, ht or de
        "#]],
    );
    snapshot(
        "munmap\t☃ é",
        expect![[r#"
        error: expected a range such as 0+2..0+6, found `☃`
         --> x.prog:1:8
          |
        1 | munmap	☃ é
          |       	^
    "#]],
    );
}

#[test]
fn a_failed_check_points_at_the_step() {
    snapshot(
        "# about\nmmap 0+0..0+8 rw private fixed\n\n  1: munmap 0+0..0+1\n",
        expect![[r#"
            error: there is no actor 1 yet; `fork 1` makes it
             --> x.prog:4:3
              |
            4 |   1: munmap 0+0..0+1
              |   ^^^^^^^^^^^^^^^^^^
        "#]],
    );
    snapshot(
        "",
        expect![[r#"
        error: a program needs at least one op
         --> x.prog:1:1
          |
        1 | 
          | ^
    "#]],
    );
}

#[test]
fn limits_are_named() {
    let many = "munmap 0+0..0+1\n".repeat(MAX_STEPS + 1);
    let error = Program::parse(&many).unwrap_err();
    assert_eq!(error.line, MAX_STEPS + 1);
    assert_eq!(error.message, "a program has at most 64 ops");
    let long = "#".repeat(MAX_TEXT_BYTES + 1);
    let error = Program::parse(&long).unwrap_err();
    assert!(error.message.contains("65536"), "{error}");
    let wide = format!("read 0+0..0+1 {}☃", "x".repeat(5000));
    let error = Program::parse(&wide).unwrap_err();
    assert!(error.render("x").len() < 1200);
    assert_eq!(error.column, 15);
}

/// Every text near a good one either parses, and then round-trips, or gives an error that can be drawn.
#[test]
fn damaged_text_never_panics() {
    let pieces = [
        "=>",
        ";",
        "|",
        "*",
        "..",
        "+",
        "-",
        ".",
        ":",
        "#",
        "\n",
        " ",
        "☃",
        "0",
        "99999999999",
        "pmd",
        "rw-p",
        "~",
        "\t",
        "\0",
        "\r",
        "thp",
        "reads",
        "SIGSEGV",
        "<",
        ">",
    ];
    let chars: Vec<char> = FULL.chars().collect();
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut text = chars.clone();
        for _ in 0..1 + next(3) {
            let at = next(text.len());
            match next(3) {
                0 => drop(text.drain(at..(at + 1 + next(4)).min(text.len()))),
                1 => text.truncate(at + 1),
                _ => {
                    let piece: Vec<char> = pieces[next(pieces.len())].chars().collect();
                    drop(text.splice(at..at, piece));
                }
            }
            if text.is_empty() {
                break;
            }
        }
        let text: String = text.into_iter().collect();
        match Program::parse(&text) {
            Ok(program) => {
                parsed += 1;
                let shown = program.to_string();
                assert_eq!(Program::parse(&shown).as_ref(), Ok(&program), "{text}");
                let _ = program.check();
            }
            Err(error) => drop(error.render("x")),
        }
    }
    assert!(parsed > 1000, "only {parsed} damaged texts parsed");
}

/// What is said about a section of threads that makes no sense.
fn refused(section: &str) -> String {
    let text = format!("mmap 0+0..1+0 rw private fixed\n{section}");
    Program::load_concurrent(&text).unwrap_err().to_string()
}

#[test]
fn sections_of_threads_are_checked() {
    let two = "|a read 0+0..0+1\n|b read 0+0..0+1\n";
    let of_two_actors = "fork 1\n|a process-madvise collapse 0+0..0+1 of 1\n|b* 1: read 0+0..0+1\n";
    for section in [two, of_two_actors] {
        let text = format!("mmap 0+0..1+0 rw private fixed\n{section}");
        assert!(Program::load_concurrent(&text).is_ok());
    }
    for (section, says) in [
        ("|a read 0+0..0+1\n", "two threads at least"),
        (
            "|a* read 0+0..0+1\n|b* read 0+0..0+1\n",
            "one at least must not repeat",
        ),
        (
            "|a* read 0+0..0+1\n|b read 0+0..0+1\n|a* read 0+0..0+1\n",
            "a thread that repeats has one op",
        ),
        (
            "|a read 0+0..0+1 => ok\n|b read 0+0..0+1\n",
            "depends on the others",
        ),
        (
            "|a munlockall\n|b read 0+0..0+1\n",
            "munlockall is not for threads",
        ),
        (
            "fork 1\n|a read 0+0..0+1\n|b 1: read 0+0..0+1\n|a 1: read 0+0..0+1\n",
            "all ops of a thread are one actor's",
        ),
        (
            "|a fork 1\n|b 1: read 0+0..0+1\n",
            "actor 1 is made in the section",
        ),
        (
            "|a fork 1\n|b process-madvise cold 0+0..0+1 of 1\n",
            "actor 1 is made in the section",
        ),
        (
            "fork 1\n|a signal b\n|b 1: read 0+0..0+1\n",
            "another thread of the same actor",
        ),
        (
            "fork 1\n|a process-madvise collapse 0+0..0+1 0+2..0+3 of 1\n|b 1: read 0+0..0+1\n",
            "process-madvise is not for threads",
        ),
    ] {
        let told = refused(section);
        assert!(told.contains(says), "{section}: {told}");
    }
    let five = "|a read 0+0..0+1\n".repeat(5) + "|b read 0+0..0+1\n";
    assert!(refused(&five).contains("at most 4 ops"));
}
