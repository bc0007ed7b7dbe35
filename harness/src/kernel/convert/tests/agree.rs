//! Views of one thing that must agree: smaps and pagemap, status and smaps, PAGEMAP_SCAN asked in several ways.

use super::*;

/// What the left view says then, and how it is made wrong.
type Wrong<T> = (&'static str, fn(&mut T));

#[test]
fn smaps_must_add_up_what_pagemap_shows() {
    // One guard, two anonymous pages that are mapped once and one that is not, a zero page.
    let pages = || {
        vec![
            page_run(0, 1, 0x88, 0x110),
            page_run(1, 2, 0x102, 0x08),
            page_run(3, 1, 0x100, 0x08),
            page_run(4, 1, 0x100, 0x28),
        ]
    };
    let right = wire::Sizes {
        rss: 12,
        private_clean: 4,
        private_dirty: 4,
        anonymous: 12,
        ..wire::Sizes::default()
    };
    let end = |sizes| {
        let mut step = seen(wire::OpResult::Ret(0), pages());
        if let wire::View::Full(space) = &mut step.actors[0].1 {
            space.vmas[0].sizes = Some(sizes);
        }
        convert(&program(&[mmap()]), vec![step], wire::End::Done).end
    };
    assert_eq!(end(right), End::Done);
    let wrong: [Wrong<wire::Sizes>; 5] = [
        ("more Rss", |s| s.rss = 16),
        ("less Anonymous", |s| s.anonymous = 8),
        ("more Swap", |s| s.swap = 4),
        ("more AnonHugePages", |s| s.anon_huge_pages = 4),
        ("more Private_Clean and Private_Dirty", |s| {
            s.private_dirty = 8
        }),
    ];
    for (left, change) in wrong {
        let mut sizes = right;
        change(&mut sizes);
        match end(sizes) {
            End::ViewsDisagree { what } => {
                assert_eq!((what.views, what.left.as_str()), ("smaps/pagemap", left));
            }
            other => panic!("{left}: {other:?}"),
        }
    }
    let overflow = wire::Sizes {
        private_clean: u64::MAX,
        ..right
    };
    assert!(matches!(end(overflow), End::Garbage { .. }));
}

#[test]
fn every_question_to_pagemap_scan_has_its_answer() {
    use wire::scan::{ScanRegion, ScanSeen, QUERIES};
    // A guard, two anonymous pages that are soft-dirty, one that is not, a zero page, a page of a file.
    let pages = || {
        vec![
            page_run(0, 1, 0x88, 0x110),
            page_run(1, 2, 0x103, 0x88),
            page_run(3, 1, 0x102, 0x08),
            page_run(4, 1, 0x100, 0x28),
            page_run(6, 1, 0x142, 0x0c),
        ]
    };
    let answer = |regions: &[(u32, u32, u16)]| ScanSeen {
        regions: regions
            .iter()
            .map(|&(start, end, categories)| ScanRegion {
                start,
                end,
                categories,
            })
            .collect(),
    };
    let right = vec![
        answer(&[(1, 3, 0x88), (3, 5, 0x08), (6, 7, 0x0c)]),
        answer(&[(1, 5, 0x08)]),
        answer(&[(0, 1, 0x10)]),
        answer(&[(0, 1, 0x110)]),
        answer(&[(4, 5, 0x20)]),
        answer(&[(0, 5, 0)]),
    ];
    assert_eq!(right.len(), QUERIES.len());
    let end = |scans: Vec<ScanSeen>| {
        let mut step = seen(wire::OpResult::Ret(0), pages());
        if let wire::View::Full(space) = &mut step.actors[0].1 {
            space.scans = scans;
        }
        convert(&program(&[mmap()]), vec![step], wire::End::Done).end
    };
    assert_eq!(end(right.clone()), End::Done);
    // Where one call ends and the next begins does not matter.
    let mut parted = right.clone();
    parted[1] = answer(&[(1, 2, 0x08), (2, 5, 0x08)]);
    assert_eq!(end(parted), End::Done);
    for (index, region) in [(0, 1), (1, 0), (3, 0), (5, 0)] {
        let mut wrong = right.clone();
        wrong[index].regions[region].end += 1;
        match end(wrong) {
            End::ViewsDisagree { what } => assert_eq!(what.views, "scan/scan"),
            other => panic!("{index}: {other:?}"),
        }
    }
    assert!(matches!(end(right[1..].to_vec()), End::Garbage { .. }));
}

#[test]
fn counters_must_be_what_smaps_adds_up() {
    let right = wire::Counters {
        locked: Some(32),
        rss_anon: 12,
        rss_file: 4,
        rss_shmem: 8,
        rollup_rss: 24,
        rollup_anonymous: 12,
        ..wire::Counters::default()
    };
    let end = |counters, flags: &str, views| {
        let mut step = seen(wire::OpResult::Ret(0), vec![]);
        if let wire::View::Full(space) = &mut step.actors[0].1 {
            space.vmas[0].flags = Some(flags.into());
            space.counters = Some(counters);
        }
        let execution = wire::Execution {
            id: 7,
            free_pages: 0,
            end: wire::End::Done,
            steps: vec![step],
        };
        from_wire(execution, &program(&[mmap()]), Smaps::Every, G, views).end
    };
    assert_eq!(end(right, "rd wr lo", VIEWS), End::Done);
    let unknown = wire::Counters {
        locked: None,
        ..right
    };
    assert_eq!(end(unknown, "rd wr", VIEWS), End::Done);
    let disagrees = |counters, flags, left: &str| match end(counters, flags, VIEWS) {
        End::ViewsDisagree { what } => {
            assert_eq!((what.views, what.left.as_str()), ("status/smaps", left));
        }
        other => panic!("{left}: {other:?}"),
    };
    disagrees(right, "rd wr", "more VmLck");
    let wrong: [Wrong<wire::Counters>; 4] = [
        ("more RssAnon", |c| c.rss_anon = 16),
        ("less RssAnon, RssFile and RssShmem", |c| c.rss_file = 0),
        ("more RssAnon, RssFile and RssShmem", |c| {
            c.rss_shmem = u64::MAX
        }),
        ("more VmSwap", |c| c.swap = 4),
    ];
    let lags = Views {
        exact_counters: false,
        ..VIEWS
    };
    for (left, change) in wrong {
        let mut counters = right;
        change(&mut counters);
        disagrees(counters, "rd wr lo", left);
        assert_eq!(end(counters, "rd wr lo", lags), End::Done);
    }
}

#[test]
fn a_frame_must_be_what_its_page_is() {
    use wire::frames::{ANON, BUDDY, HUGETLB, MMAP, PGTABLE, THP, ZERO_PAGE};
    // Two anonymous pages, a zero page, a page of a file, an anonymous one that a PMD maps.
    let pages = || {
        vec![
            page_run(1, 2, 0x102, 0x08),
            page_run(3, 1, 0x100, 0x28),
            page_run(4, 1, 0x142, 0x0c),
            page_run(5, 1, 0x102, 0x48),
        ]
    };
    let end = |frames: &[(u32, u32, u32)], flags: &str| {
        let mut step = seen(wire::OpResult::Ret(0), pages());
        if let wire::View::Full(space) = &mut step.actors[0].1 {
            space.vmas[0].flags = Some(flags.into());
            space.frames = frames
                .iter()
                .map(|&(start, len, flags)| wire::FrameRun { start, len, flags })
                .collect();
        }
        convert(&program(&[mmap()]), vec![step], wire::End::Done).end
    };
    let right = [
        (1, 2, MMAP | ANON),
        (3, 1, ZERO_PAGE),
        (4, 1, MMAP),
        (5, 1, MMAP | ANON | THP),
    ];
    assert_eq!(end(&right, "rd wr"), End::Done);
    // Nothing is told of pages that have changed meanwhile.
    assert_eq!(end(&right[1..3], "rd wr"), End::Done);
    let wrong = [
        (0, MMAP | ANON | BUDDY, "no page of a process"),
        (2, PGTABLE, "no page of a process"),
        (0, ZERO_PAGE, "a zero page"),
        (1, MMAP | ANON, "not a zero page"),
        (0, ANON, "in no page table"),
        (2, MMAP | ANON, "anonymous"),
        (0, MMAP, "not anonymous"),
        (0, MMAP | ANON | HUGETLB, "of hugetlb"),
        (3, MMAP | ANON, "no large folio"),
    ];
    for (index, flags, left) in wrong {
        let mut frames = right;
        frames[index].2 = flags;
        match end(&frames, "rd wr") {
            End::ViewsDisagree { what } => {
                assert_eq!(
                    (what.views, what.left.as_str()),
                    ("kpageflags/pagemap", left)
                );
                assert_eq!(what.pages.0, frames[index].0);
            }
            other => panic!("{left}: {other:?}"),
        }
    }
    let in_hugetlb = match end(&right[..1], "rd wr ht") {
        End::ViewsDisagree { what } => what.left,
        other => panic!("{other:?}"),
    };
    assert_eq!(in_hugetlb, "not of hugetlb");
    for senseless in [(0, 1, MMAP), (2, 0, MMAP), (7, 2, MMAP)] {
        let end = end(&[senseless], "rd wr");
        assert!(matches!(end, End::Garbage { .. }), "{senseless:?}: {end:?}");
    }
}
