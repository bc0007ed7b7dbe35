use super::*;
use crate::campaign::{judge, ProgramVerdict};
use oracle::geometry::Pos;
use oracle::judge::{Failing, PageKind, PageRun};
use oracle::profile::{Arch, Profile, Release};
use oracle::program::generate::generate;
use std::sync::Arc;

mod agree;

const G: Geometry = Geometry::K4;

const VIEWS: Views = Views {
    scan: true,
    scan_guard: true,
    pagemap_guard: true,
    huge_zero_as_file: false,
    exact_counters: true,
    smaps_skips_protnone_huge: false,
};

fn range(from: i16, to: i16) -> Range {
    Range::new(Pos::new(0, from), Pos::new(0, to))
}

fn program(ops: &[Op]) -> Program {
    Program {
        steps: ops.iter().map(|op| Step::new(0, *op)).collect(),
        ..Program::default()
    }
}

fn mmap() -> Op {
    Op::Mmap {
        range: range(0, 8),
        prot: Prot::RW,
        backing: Backing::PrivateAnon,
        place: Place::Fixed,
        flags: Default::default(),
    }
}

/// A step of actor 0 that returned `result` and shows one VMA of eight pages with `pages` in it.
fn seen(result: wire::OpResult, pages: Vec<wire::PageRun>) -> wire::StepSeen {
    wire::StepSeen {
        more: vec![],
        fail_left: None,
        events: vec![],
        result,
        actors: vec![(
            0,
            wire::View::Full(wire::Space {
                vmas: vec![wire::Vma {
                    sizes: None,
                    start: 0,
                    end: 8,
                    prot: 3,
                    shared: false,
                    file_page: None,
                    flags: None,
                }],
                pages,
                resident: vec![],
                counters: None,
                scans: vec![],
                frames: vec![],
            }),
        )],
    }
}

fn page_run(start: u32, len: u32, pagemap: u16, scan: u16) -> wire::PageRun {
    wire::PageRun {
        start,
        len,
        pagemap,
        scan: Some(scan),
        zero_pfn: false,
        value: None,
    }
}

fn convert(program: &Program, steps: Vec<wire::StepSeen>, end: wire::End) -> Execution {
    let execution = wire::Execution {
        id: 7,
        free_pages: 0,
        end,
        steps,
    };
    from_wire(execution, program, Smaps::Changes, G, VIEWS)
}

/// The end of an execution of one mmap whose only view has `pages`.
fn end_with(pages: Vec<wire::PageRun>) -> End {
    let steps = vec![seen(wire::OpResult::Ret(0), pages)];
    convert(&program(&[mmap()]), steps, wire::End::Done).end
}

#[test]
fn a_program_is_resolved_to_bytes_and_numbers() {
    let write = Op::Write {
        range: range(2, 5),
        tag: 9,
    };
    let guard = Op::Madvise {
        range: Range::new(Pos::new(1, -2), Pos::new(1, 3)),
        advice: Advice::GuardInstall,
    };
    let prepared = Prepared {
        id: 3,
        program: Arc::new(program(&[mmap(), write, guard])),
        smaps: Smaps::Changes,
        fault: None,
    };
    let wire = to_wire(&prepared, Geometry::K16);
    assert_eq!(
        wire.steps[0].op,
        wire::Op::Mmap {
            at: 0,
            len: 8 * 16384,
            prot: 3,
            flags: 0x32,
            file: None,
        }
    );
    assert_eq!(
        wire.steps[1].op,
        wire::Op::Write {
            at: 2 * 16384,
            pages: 3,
            tag: 9
        }
    );
    assert_eq!(
        wire.steps[2].op,
        wire::Op::Madvise {
            at: (2048 - 2) * 16384,
            len: 5 * 16384,
            advice: 102
        }
    );
    let looks: Vec<wire::Look> = wire.steps.iter().map(|step| step.look).collect();
    use wire::Look::{Cheap, Flags, Full};
    assert_eq!(looks, [Flags, Cheap, Full]);
}

#[test]
fn page_bits_become_page_states() {
    // Guard: swap and guard bits; anonymous and exclusive; zero page; shared memory, huge.
    let mut anon = page_run(1, 2, 0x100 | 0x2, 0x08);
    anon.value = Some(0x1_0001);
    let pages = vec![
        page_run(0, 1, 0x80 | 0x8, 0x110),
        anon,
        page_run(4, 1, 0x100, 0x28),
        page_run(5, 2, 0x100 | 0x40, 0x4c),
        page_run(7, 1, 0x80, 0x10),
    ];
    let steps = vec![seen(wire::OpResult::Ret(0), pages)];
    let execution = convert(&program(&[mmap()]), steps, wire::End::Done);
    assert_eq!(execution.end, End::Done);
    let pages = &execution.seen[0].spaces[0].1.pages;
    let kinds: Vec<PageKind> = pages.iter().map(|run| run.page.kind).collect();
    assert_eq!(
        kinds,
        [
            PageKind::Guard,
            PageKind::Anon,
            PageKind::Zero,
            PageKind::File,
            PageKind::Swap
        ]
    );
    assert!(pages[1].page.exclusive);
    assert_eq!(pages[1].page.content, Some(Content(0x1_0001)));
    assert_eq!(pages[3].page.huge, Some(true));
    assert_eq!(pages[0].page.huge, Some(false));
}

#[test]
fn runs_that_continue_each_other_are_merged() {
    let mut first = page_run(0, 2, 0x102, 0x08);
    first.value = Some(11);
    let mut second = page_run(2, 2, 0x102, 0x08);
    second.value = Some(13);
    let steps = vec![seen(wire::OpResult::Ret(0), vec![first, second])];
    let execution = convert(&program(&[mmap()]), steps, wire::End::Done);
    let pages: &Vec<PageRun> = &execution.seen[0].spaces[0].1.pages;
    assert_eq!((pages.len(), pages[0].len), (1, 4));
}

#[test]
fn views_that_contradict_each_other_are_named() {
    let cases = [
        (page_run(0, 1, 0x88, 0x10), "pagemap/scan"),
        (page_run(0, 1, 0x102, 0x10), "pagemap/scan"),
        (page_run(0, 1, 0x180, 0x18), "pagemap/pagemap"),
        (page_run(0, 1, 0x8, 0x0), "pagemap/pagemap"),
        (page_run(6, 4, 0x102, 0x08), "pagemap/vmas"),
        // The huge zero page as a file page: contradicts, unless the kernel is known for it (the next test).
        (huge_zero_as_file(), "pagemap/scan"),
    ];
    for (run, views) in cases {
        match end_with(vec![run]) {
            End::ViewsDisagree { what } => assert_eq!(what.views, views, "{what}"),
            end => panic!("{run:?}: {end:?}"),
        }
    }
}

/// PRESENT and FILE in pagemap; PRESENT, PFNZERO and HUGE in PAGEMAP_SCAN.
fn huge_zero_as_file() -> wire::PageRun {
    page_run(0, 4, 0x140, 0x68)
}

#[test]
fn huge_zero_page_may_look_like_a_file_where_the_table_says_so() {
    let known = Views {
        huge_zero_as_file: true,
        ..VIEWS
    };
    let vma = VmaSeen {
        start: 0,
        end: 8,
        prot: Prot::RW,
        shared: false,
        file_page: None,
        flags: None,
        sizes: None,
    };
    let runs = |run| super::pages::runs(&[run], std::slice::from_ref(&vma), 0, 8, known);
    assert_eq!(
        runs(huge_zero_as_file()).expect("no contradiction")[0]
            .page
            .kind,
        PageKind::Zero
    );
    let small = page_run(0, 1, 0x140, 0x28);
    assert!(matches!(runs(small), Err(Bad::Disagree(_))));
}

#[test]
fn what_makes_no_sense_is_garbage() {
    let anon = |start, len| page_run(start, len, 0x102, 0x08);
    let bad_pages = [
        vec![anon(0, 0)],
        vec![anon(2, 2), anon(3, 2)],
        vec![anon(5, u32::MAX)],
        vec![anon(G.arena_pages(), 1)],
    ];
    for pages in bad_pages {
        let shown = format!("{pages:?}");
        assert!(
            matches!(end_with(pages), End::Garbage { .. }),
            "{shown} was accepted"
        );
    }
    let program = program(&[
        mmap(),
        Op::Read { range: range(0, 4) },
        Op::Fork { child: 1 },
    ]);
    let mmap_seen = || seen(wire::OpResult::Ret(0), vec![]);
    let access = |pages, values, fault| {
        seen(
            wire::OpResult::Access {
                pages,
                values,
                fault,
            },
            vec![],
        )
    };
    let mut stranger = mmap_seen();
    stranger.actors[0].0 = 1;
    let mut twice = mmap_seen();
    twice.actors.push(twice.actors[0].clone());
    let unchanged = wire::StepSeen {
        more: vec![],
        fail_left: None,
        events: vec![],
        result: wire::OpResult::Ret(0),
        actors: vec![(0, wire::View::Unchanged)],
    };
    let mut flags = mmap_seen();
    if let wire::View::Full(space) = &mut flags.actors[0].1 {
        space.vmas[0].flags = Some("rd wrong".into());
    }
    let mut overlapping = mmap_seen();
    if let wire::View::Full(space) = &mut overlapping.actors[0].1 {
        space.vmas.push(space.vmas[0].clone());
    }
    let bad_steps = [
        vec![stranger],
        vec![twice],
        vec![unchanged],
        vec![flags],
        vec![overlapping],
        vec![seen(wire::OpResult::Ret(5), vec![])],
        vec![seen(wire::OpResult::Ret(-5000), vec![])],
        vec![seen(wire::OpResult::Elsewhere, vec![])],
        vec![access(0, vec![], None)],
        vec![mmap_seen(), seen(wire::OpResult::Ret(0), vec![])],
        vec![mmap_seen(), access(5, vec![(5, 0)], None)],
        vec![mmap_seen(), access(2, vec![(2, 0)], None)],
        vec![mmap_seen(), access(4, vec![(3, 0)], None)],
        vec![mmap_seen(), access(4, vec![(u32::MAX, 0), (5, 0)], None)],
        vec![mmap_seen()],
        vec![mmap_seen(), mmap_seen(), mmap_seen(), mmap_seen()],
    ];
    for steps in bad_steps {
        let shown = format!("{steps:?}");
        let execution = convert(&program, steps, wire::End::Done);
        assert!(
            matches!(execution.end, End::Garbage { .. }),
            "{shown} was accepted: {:?}",
            execution.end
        );
    }
    let moved = |bytes, values| {
        let moved = wire::OpResult::Moved {
            bytes,
            values,
            stray: 0,
        };
        seen(moved, vec![])
    };
    let transfers = |way| {
        let op = Op::Transfer {
            way,
            vectors: range(0, 2).into(),
            whose: None,
            tag: u16::from(way == Transfer::PipeRead),
        };
        self::program(&[op])
    };
    let good = convert(
        &transfers(Transfer::PipeWrite),
        vec![moved(8192, vec![(2, 0)])],
        wire::End::Done,
    );
    assert_eq!(good.end, End::Done);
    for (way, result) in [
        (Transfer::PipeWrite, moved(8193, vec![])),
        (
            Transfer::PipeWrite,
            moved(8192, vec![(u32::MAX, 0), (u32::MAX, 0)]),
        ),
        (Transfer::PipeRead, moved(8192, vec![(1, 0)])),
        (Transfer::PipeRead, seen(wire::OpResult::Ret(0), vec![])),
    ] {
        let shown = format!("{result:?}");
        let end = convert(&transfers(way), vec![result], wire::End::Done).end;
        assert!(matches!(end, End::Garbage { .. }), "{shown} was accepted");
    }
    let hang = wire::End::Hang {
        step: 2,
        stack: String::new(),
    };
    assert!(matches!(
        convert(&program, vec![mmap_seen()], hang).end,
        End::Garbage { .. }
    ));
}

#[test]
fn a_hang_is_reported_at_its_step() {
    let hang = wire::End::Hang {
        step: 1,
        stack: "do_madvise".into(),
    };
    let program = program(&[mmap(), Op::Exit]);
    let execution = convert(&program, vec![seen(wire::OpResult::Ret(0), vec![])], hang);
    assert_eq!(execution.seen.len(), 1);
    assert_eq!(
        execution.end,
        End::Hang {
            stack: "do_madvise".into()
        }
    );
}

/// What the model expects, sent as a guest would send it and converted, is what the model expects: the judge has nothing to say.
#[test]
fn what_is_sent_comes_back() {
    let newest = Profile::newest();
    let old = Profile::at_release(Release(6, 12, 0), Arch::X86_64);
    let grounds = [
        (&newest, G, true),
        (&newest, Geometry::K16, false),
        (&old, G, true),
    ];
    for seed in 0..120 {
        let program = generate(seed);
        for (profile, g, scan) in grounds {
            let views = Views {
                scan,
                scan_guard: scan && profile.pagemap_guard,
                pagemap_guard: profile.pagemap_guard,
                huge_zero_as_file: profile.huge_zero_as_file,
                exact_counters: profile.exact_counters,
                smaps_skips_protnone_huge: profile.smaps_skips_protnone_huge,
            };
            let bytes = wire::encode(&sent::sent(7, &program, profile, g, views)).unwrap();
            let sent = wire::decode(&bytes).unwrap();
            let execution = from_wire(sent, &program, Smaps::Every, g, views);
            assert_eq!(execution.end, End::Done, "seed {seed}\n{program}");
            assert_eq!(execution.seen.len(), program.steps.len());
            match judge(&program, &execution, profile, g).verdict {
                ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
                wrong => panic!("seed {seed}: {wrong:?}\n{program}"),
            }
        }
    }
}

#[test]
fn what_was_left_to_go_until_an_allocation_failed_must_fit() {
    let convert_one = |fail: Option<u16>, left: Option<u32>| {
        let mut step = Step::new(0, mmap());
        step.fail = fail;
        let program = Program {
            steps: vec![step],
            ..Program::default()
        };
        let mut seen = seen(wire::OpResult::Ret(0), vec![]);
        seen.fail_left = left;
        let execution = convert(&program, vec![seen], wire::End::Done);
        match execution.end {
            End::Done => Ok(execution.seen[0].failing),
            end => Err(end),
        }
    };
    assert_eq!(convert_one(None, None), Ok(None));
    // A kernel that cannot.
    assert_eq!(convert_one(Some(3), None), Ok(None));
    assert_eq!(convert_one(Some(3), Some(0)), Ok(Some(Failing::Failed)));
    assert_eq!(convert_one(Some(3), Some(1)), Ok(Some(Failing::Fewer(2))));
    assert_eq!(convert_one(Some(3), Some(3)), Ok(Some(Failing::Fewer(0))));
    for (fail, left) in [(Some(3), 4), (Some(3), u32::MAX), (None, 0), (None, 1)] {
        let end = convert_one(fail, Some(left));
        assert!(matches!(end, Err(End::Garbage { .. })), "{fail:?} {left}");
    }
}
