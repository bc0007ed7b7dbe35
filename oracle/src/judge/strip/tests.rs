//! Drawing, reading and comparing strips.

use super::*;
use crate::geometry::Pos;
use crate::judge::{
    Access, Fault, Observation, Outcome, PageRun, SpaceSeen, ValueRun, VmFlag, VmaSeen,
};
use crate::program::{Expect as Wish, Program};
use crate::space::Content;
use expect_test::expect;

const G: Geometry = Geometry::K4;

fn vma(start: u32, end: u32, prot: Prot) -> VmaSeen {
    VmaSeen {
        start,
        end,
        prot,
        shared: false,
        file_page: None,
        flags: None,
        sizes: None,
    }
}

fn run(start: u32, len: u32, kind: PageKind) -> PageRun {
    PageRun {
        start,
        len,
        page: PageSeen {
            kind,
            huge: Some(false),
            exclusive: true,
            soft_dirty: true,
            uffd_wp: false,
            content: (kind == PageKind::Anon).then(|| Content::written(7, start)),
        },
    }
}

/// Two VMAs with a gap, then a whole block of anonymous memory with a guard in it.
fn space() -> SpaceSeen {
    let mut shared = vma(8, 10, Prot::R);
    shared.shared = true;
    SpaceSeen {
        vmas: vec![
            vma(0, 4, Prot::RW),
            vma(4, 6, Prot::NONE),
            shared,
            vma(512, 1024, Prot::RW),
        ],
        pages: vec![
            run(1, 2, PageKind::Anon),
            run(3, 2, PageKind::Guard),
            run(9, 1, PageKind::File),
            run(512, 100, PageKind::Anon),
            run(612, 1, PageKind::Guard),
            run(613, 411, PageKind::Anon),
        ],
        resident: None,
    }
}

#[test]
fn drawn_as_mm_people_would() {
    let s = space();
    let draw = |from, to| render(&s, G, from, to);
    assert_eq!(draw(0, 12), "|rw-p .aaG|---p G.|__|r--s .f|__");
    assert_eq!(draw(2, 5), "<rw-p aG|---p G>");
    assert_eq!(draw(6, 8), "|__|");
    assert_eq!(draw(510, 1024), "__|rw-p a*100 G a*411|");
    assert_eq!(draw(0, 1536).split('|').count(), 8);
    assert_eq!(draw(20, 20), "");
    assert_eq!(render(&SpaceSeen::default(), G, 0, 1536), "_*1536");
}

#[test]
fn every_letter_has_a_sign_of_its_own_and_reads_back() {
    for letter in Letter::ALL {
        assert_eq!(Letter::from_sign(letter.sign()), Some(letter));
        for kind in [
            PageKind::Guard,
            PageKind::Swap,
            PageKind::Zero,
            PageKind::Anon,
            PageKind::File,
        ] {
            for (huge, exclusive) in [(false, false), (false, true), (true, false), (true, true)] {
                let page = PageSeen {
                    kind,
                    huge: Some(huge),
                    exclusive,
                    soft_dirty: true,
                    uffd_wp: false,
                    content: None,
                };
                assert!(Letter::ALL.contains(&Letter::of(&page)));
            }
        }
    }
}

#[test]
fn what_is_drawn_reads_back_and_matches() {
    let s = space();
    for from in 0..16u32 {
        for to in from + 1..16 {
            let text = render(&s, G, from, to);
            let strip = Strip::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(strip.to_string(), text);
            assert_eq!(strip.pages(G), u64::from(to - from));
            let at = Pos::new(0, from as i16);
            assert_eq!(check_strip(&strip, at, &s, G), Ok(()), "{text}");
        }
    }
}

fn compare(strip: &str, at: Pos) -> Result<(), String> {
    check_strip(&Strip::parse(strip).unwrap(), at, &space(), G)
}

#[test]
fn expected_strips_that_hold() {
    let zero = Pos::new(0, 0);
    for (strip, at) in [
        (".aaG", zero),
        ("|.aaG|G.|", zero),
        ("|rw-p.aaG|---pG.|__|r--s.f|", zero),
        ("| . a*2 G | G . |", zero),
        ("?*12", zero),
        ("|?*4 ?*6|", zero),
        ("|.?aG?.?_|.f", zero),
        ("|a*100 G a*pmd-101|", Pos::new(1, 0)),
        ("|rw-p a*100 G ?*pmd-101", Pos::new(1, 0)),
        ("<a", Pos::new(1, 4)),
    ] {
        assert_eq!(compare(strip, at), Ok(()), "{strip}");
    }
}

#[test]
fn expected_strips_that_do_not_hold_say_why() {
    let say = |strip: &str, at: Pos| compare(strip, at).unwrap_err();
    let zero = Pos::new(0, 0);
    expect![[r#"
        expected |aaaG|, saw |rw-p .aaG| at 0+0; first difference at 0+0: expected anonymous page, saw empty
        expected |.aaGG|, saw |rw-p .aaG|---p G> at 0+0; first difference at 0+4: expected no VMA border, saw one
        expected |.aa|G, saw |rw-p .aaG| at 0+0; first difference at 0+3: expected a VMA border, saw none
        expected |r--p .aaG, saw |rw-p .aaG| at 0+0; first difference at 0+0: expected r--p, saw rw-p
        expected .s, saw |rw-p .a> at 0+0; first difference at 0+1: expected shared anonymous page, saw anonymous page
        expected a*9, saw <rw-p aGaaaaaaa> at 1+99; first difference at 1+100: expected anonymous page, saw guard
        expected <a, saw |rw-p a> at 1+0; first difference at 1+0: expected the VMA to go on across it
        expected aG>, saw <rw-p aG| at 0+2; first difference at 0+4: expected the VMA to go on across it
        expected A, saw |rw-p a> at 1+0; first difference at 1+0: expected anonymous huge page, saw anonymous page
        the strip at 3-1 does not lie in the arena
    "#]]
    .assert_eq(
        &[
            say("|aaaG|", zero),
            say("|.aaGG|", zero),
            say("|.aa|G", zero),
            say("|r--p .aaG", zero),
            say(".s", zero),
            say("a*9", Pos::new(1, 99)),
            say("<a", Pos::new(1, 0)),
            say("aG>", Pos::new(0, 2)),
            say("A", Pos::new(1, 0)),
            say("...", Pos::new(3, -1)),
            String::new(),
        ]
        .join("\n"),
    );
}

#[test]
fn what_a_kernel_cannot_tell_is_no_difference() {
    let mut s = space();
    s.pages[0].page.huge = None;
    s.pages[1].page.kind = PageKind::Swap;
    let at = Pos::new(0, 0);
    for (strip, holds) in [
        (".aa", true),
        (".AA", true),
        (".ss", false),
        (".??G", true),
        (".??~", true),
        (".??.", false),
    ] {
        let result = check_strip(&Strip::parse(strip).unwrap(), at, &s, G);
        assert_eq!(result.is_ok(), holds, "{strip}: {result:?}");
    }
}

#[test]
fn strips_that_are_none() {
    let say = |text: &str| {
        let e = Strip::parse(text).unwrap_err();
        format!("{text:12} {:2}+{:<2} {}\n", e.offset, e.len, e.message)
    };
    let all: String = [
        "",
        "|",
        "||",
        "|.||",
        "._",
        "|.q",
        ".<",
        "<>",
        ".>.",
        "a*",
        "a*0",
        "a*x",
        "a*99999999999",
        "a*pmd-512",
        "a*pmd-x",
        ".rw-p .",
        "|rw- .",
        "|rwxz",
        "|r",
        "a*1048577",
    ]
    .into_iter()
    .map(say)
    .collect();
    expect![[r#"
                      0+1  expected at least one page, such as `.` or `a*4`
        |             0+1  expected at least one page, such as `.` or `a*4`
        ||            1+1  expected a page between two borders
        |.||          3+1  expected a page between two borders
        ._            1+1  expected the border | between unmapped and mapped pages
        |.q           2+1  expected a page sign (one of ?_.G~zZasASfmFM), a border | or a protection such as rw-p, found `q`
        .<            1+1  `<` may stand only at the very start of a strip, `>` only at its very end behind a page
        <>            1+1  `<` may stand only at the very start of a strip, `>` only at its very end behind a page
        .>.           1+1  `<` may stand only at the very start of a strip, `>` only at its very end behind a page
        a*            2+1  expected a number of pages behind `*`, such as a*510, or pmd, or pmd-2
        a*0           2+1  a run has at least one page
        a*x           2+1  expected a number of pages behind `*`, such as a*510, or pmd, or pmd-2
        a*99999999999  2+11 a strip covers at most 1048576 pages
        a*pmd-512     2+7  a PMD maps 512 pages on some kernels: nothing would be left
        a*pmd-x       2+4  expected a number of pages behind `*`, such as a*510, or pmd, or pmd-2
        .rw-p .       1+4  a protection such as rw-p stands right behind the border | of its VMA
        |rw- .        1+4  expected a protection as in /proc/PID/maps, such as rw-p or r--s, found `rw- `
        |rwxz         1+4  expected a protection as in /proc/PID/maps, such as rw-p or r--s, found `rwxz`
        |r            1+1  expected a protection as in /proc/PID/maps, such as rw-p or r--s, found `r`
        a*1048577     2+7  a strip covers at most 1048576 pages
    "#]].assert_eq(&all);
}

#[test]
fn expectations_about_outcomes() {
    let fault = Fault {
        signo: 11,
        code: 1,
        addr: 2 * 4096,
        key: None,
    };
    let access = |fault| {
        Outcome::Access(Access {
            pages: 3,
            values: vec![
                ValueRun {
                    len: 2,
                    first: Content::written(7, 0),
                },
                ValueRun {
                    len: 1,
                    first: Content::ZERO,
                },
            ],
            fault,
        })
    };
    let wish = |text: &str| -> Wish {
        let op = match text {
            "elsewhere" => "mmap 0+0..0+1 rw private hint",
            "unflagged" => "look 0+0..0+1",
            t if t.starts_with('E') => "munmap 0+0..0+1",
            _ => "read 0+0..0+3",
        };
        let program = Program::load(&format!("{op} => {text}")).unwrap();
        program.steps[0].expect[0].clone()
    };
    let mut all = String::new();
    for (text, outcome) in [
        ("ok", Outcome::Ok),
        ("ok", Outcome::Errno(22)),
        ("ok", Outcome::Elsewhere),
        ("ok", access(None)),
        ("ok", access(Some(fault))),
        ("elsewhere", Outcome::Elsewhere),
        ("elsewhere", Outcome::Ok),
        ("unflagged", Outcome::Unflagged),
        ("unflagged", Outcome::Ok),
        ("EINVAL", Outcome::Errno(22)),
        ("EINVAL", Outcome::Errno(12)),
        ("EINVAL", Outcome::Errno(4095)),
        ("SIGSEGV", access(Some(fault))),
        ("SIGSEGV MAPERR 0+2", access(Some(fault))),
        ("SIGSEGV MAPERR 0+3", access(Some(fault))),
        ("SIGSEGV ACCERR", access(Some(fault))),
        ("SIGBUS", access(Some(fault))),
        ("SIGSEGV", access(None)),
        ("reads 7*2 0", access(None)),
        ("reads 7*3", access(None)),
        ("reads 7", Outcome::Ok),
        ("1: 0+0 .", Outcome::Ok),
        ("0+0 |.a", Outcome::Ok),
        ("0+3 VmFlags gu !lo", Outcome::Ok),
        ("0+0 VmFlags gu lo", Outcome::Ok),
        ("0+0 VmFlags !gu", Outcome::Ok),
        ("0+4 VmFlags gu", Outcome::Ok),
        ("0+6 VmFlags !gu", Outcome::Ok),
    ] {
        let mut space = space();
        space.vmas[0].flags = Some([*b"gu", *b"rd", *b"wr"].map(VmFlag).to_vec());
        let seen = Observation {
            outcome,
            spaces: vec![(0, space)],
            events: Vec::new(),
            failing: None,
        };
        let expect = match text {
            "1: 0+0 ." => Wish::Strip {
                actor: 1,
                at: Pos::new(0, 0),
                strip: ".".into(),
            },
            _ => wish(text),
        };
        let said = check_expect(&expect, &seen, G).err();
        all += &format!("{text}: {}\n", said.unwrap_or_else(|| "holds".into()));
    }
    expect![[r#"
        ok: holds
        ok: expected success, saw EINVAL
        ok: expected success, saw a mapping elsewhere
        ok: holds
        ok: expected success, saw SIGSEGV MAPERR at 0+2 after 3 pages
        elsewhere: holds
        elsewhere: expected a mapping elsewhere, saw success
        unflagged: holds
        unflagged: expected a guard in a VMA without gu, saw success
        EINVAL: holds
        EINVAL: expected EINVAL, saw ENOMEM
        EINVAL: expected EINVAL, saw errno 4095
        SIGSEGV: holds
        SIGSEGV MAPERR 0+2: holds
        SIGSEGV MAPERR 0+3: expected SIGSEGV MAPERR 0+3, saw SIGSEGV MAPERR at 0+2 after 3 pages
        SIGSEGV ACCERR: expected SIGSEGV ACCERR, saw SIGSEGV MAPERR at 0+2 after 3 pages
        SIGBUS: expected SIGBUS, saw SIGSEGV MAPERR at 0+2 after 3 pages
        SIGSEGV: expected SIGSEGV, saw 3 pages accessed
        reads 7*2 0: holds
        reads 7*3: expected to read 7*3, read 7*2 0
        reads 7: expected loaded values, saw success
        1: 0+0 .: expected pages of actor 1, which is not alive
        0+0 |.a: holds
        0+3 VmFlags gu !lo: holds
        0+0 VmFlags gu lo: expected VmFlags lo at 0+0, saw gu rd wr
        0+0 VmFlags !gu: expected VmFlags !gu at 0+0, saw gu rd wr
        0+4 VmFlags gu: VmFlags at 0+4 were not read
        0+6 VmFlags !gu: expected VmFlags at 0+6, where nothing is mapped
    "#]]
    .assert_eq(&all);
}

#[test]
fn side_by_side_marks_what_differs() {
    let left = space();
    let mut right = space();
    right.pages[1].len = 1;
    right.pages[3].page.content = Some(Content::written(8, 512));
    right.vmas[2].prot = Prot::RW;
    right.vmas.remove(1);
    expect![[r#"
            0+0 oracle |rw-p .aaG|---p G.|__|r--s .f|_
                kernel |rw-p .aaG|     __ __|rw-s .f|_
                                 ^^^^^ ^^^  ^^^^^
            1-1 oracle _|rw-p a*100 G a*411 |_
                kernel _|rw-p a*100 G a*411 |_
                              ^^^^^
        oracle holds: 0+1..0+3 tag 7, 1+0..1+100 tag 7, 1+101..2+0 tag 7
        kernel holds: 0+1..0+3 tag 7, 1+0..1+100 tag 8, 1+101..2+0 tag 7
    "#]]
    .assert_eq(&side_by_side(("oracle", &left), ("kernel", &right), G));
    expect![[r#"
            0+0 a |rw-p .aaG|---p G.|__|r--s .f|_
                b |rw-p .aaG|---p G.|__|r--s .f|_
            1-1 a _|rw-p a*100 G a*411 |_
                b _|rw-p a*100 G a*411 |_
        holds: 0+1..0+3 tag 7, 1+0..1+100 tag 7, 1+101..2+0 tag 7
    "#]]
    .assert_eq(&side_by_side(("a", &left), ("b", &left), G));
    let nothing = SpaceSeen::default();
    assert_eq!(
        side_by_side(("a", &nothing), ("b", &nothing), G),
        "nothing is mapped\n"
    );
}

/// What comes from a kernel may be nonsense; drawing it must not go wrong.
#[test]
fn nonsense_is_drawn_too() {
    let mut s = space();
    s.vmas.reverse();
    s.pages.swap(0, 3);
    s.vmas.push(vma(9, 3, Prot::R));
    s.vmas.push(vma(u32::MAX - 1, u32::MAX, Prot::R));
    s.pages.push(run(u32::MAX - 2, u32::MAX, PageKind::Swap));
    s.pages.push(run(7, 0, PageKind::Zero));
    let _ = render(&s, G, 0, G.arena_pages());
    let _ = contents(&s, G);
    let _ = side_by_side(("a", &s), ("b", &space()), G);
    let _ = check_strip(&Strip::parse("|.aaG|").unwrap(), Pos::new(0, 0), &s, G);
}
