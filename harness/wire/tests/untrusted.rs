//! Decoding is for untrusted bytes: it may refuse, it may not panic, and it may not allocate much.

use std::cell::RefCell;
use std::convert::Infallible;
use wire::layout::{self, Phase, Progress};
use wire::ring::{Memory, RingError, REQUESTS, RESPONSES};
use wire::{
    decode, encode, Asked, End, Execution, Fault, File, FileKind, Hello, Knobs, Mode, Op, OpResult,
    PageRun, Program, Raced, Request, Response, Space, Step, StepSeen, View, Vma,
};

/// A batch of `programs` short programs, as the host sends it.
fn batch(programs: u64) -> Request {
    let program = |id| Program {
        id,
        knobs: Knobs {
            thp: 2,
            shmem_thp: 1,
            khugepaged: false,
            ksm: false,
            swap: false,
            root: id % 2 == 0,
            uffd_events: id % 3 == 0,
        },
        files: Vec::new(),
        steps: vec![
            Step {
                actor: 0,
                lane: None,
                op: Op::Munmap { at: -4096, len: id },
                fail: None,
                look: wire::Look::Flags,
            };
            id as usize
        ],
        fault: None,
    };
    Request::Batch {
        seq: 7,
        mode: Mode::Bare { rounds: 300 },
        arena_pages: 1536,
        op_limit_ms: 2000,
        programs: (0..programs).map(program).collect(),
    }
}

#[test]
fn a_batch_taken_program_by_program_is_the_batch() {
    for count in [0, 1, 130] {
        let request = batch(count);
        let bytes = encode(&request).unwrap();
        let Ok(Asked::Batch(batch)) = Asked::decode(&bytes) else {
            panic!("no batch");
        };
        let taken = Request::Batch {
            seq: batch.seq,
            mode: batch.mode,
            arena_pages: batch.arena_pages,
            op_limit_ms: batch.op_limit_ms,
            programs: batch.programs().collect::<Result<_, _>>().unwrap(),
        };
        assert_eq!(taken, request);
    }
    let bytes = encode(&Request::PowerOff).unwrap();
    assert!(matches!(Asked::decode(&bytes), Ok(Asked::PowerOff)));
}

#[test]
fn a_batch_that_is_cut_or_goes_on_ends_with_an_error() {
    let bytes = encode(&batch(3)).unwrap();
    let longer = [&bytes[..], &[0]].concat();
    for cut in [&longer[..], &bytes[..bytes.len() - 1], &bytes[..20]] {
        let Ok(Asked::Batch(batch)) = Asked::decode(cut) else {
            panic!("no batch");
        };
        let programs: Vec<_> = batch.programs().collect();
        assert!(programs.len() <= 3);
        assert!(programs.last().is_some_and(Result::is_err));
        let errors = programs.iter().filter(|p| p.is_err()).count();
        assert_eq!(errors, 1);
    }
    let longer = [&encode(&Request::PowerOff).unwrap()[..], &[0]].concat();
    assert!(Asked::decode(&longer).is_err());
}

fn examples() -> Vec<Response> {
    let space = Space {
        vmas: vec![Vma {
            start: 0,
            end: 512,
            prot: 3,
            shared: false,
            file_page: Some(7),
            sizes: None,
            flags: Some("rd wr mr mw me ac".to_owned()),
        }],
        pages: vec![PageRun {
            start: 3,
            len: 2,
            pagemap: 0x101,
            scan: Some(0x88),
            zero_pfn: false,
            value: Some(0x10004),
        }],
        resident: vec![(3, 2)],
        counters: None,
        scans: vec![],
        frames: vec![wire::FrameRun {
            start: 3,
            len: 2,
            flags: 0x1800,
        }],
    };
    let result = OpResult::Access {
        pages: 4,
        values: vec![(2, 0), (2, 7)],
        fault: Some(Fault {
            signo: 11,
            code: 2,
            addr: -8,
            key: None,
        }),
    };
    let step = StepSeen {
        result,
        more: vec![],
        fail_left: Some(0),
        events: vec![(1, wire::Event::Fork)],
        actors: vec![(0, View::Full(space)), (2, View::Unchanged)],
    };
    let moved = StepSeen {
        result: OpResult::Moved {
            bytes: 8192,
            values: vec![(1, 7), (1, 0)],
            stray: 1,
        },
        more: vec![OpResult::Ret(-14)],
        fail_left: None,
        events: vec![],
        actors: vec![(0, View::Unchanged)],
    };
    vec![
        Response::Hello(Hello {
            release: "7.3".to_owned(),
            missing: vec!["x".to_owned()],
            ..Hello::default()
        }),
        Response::Execution(Execution {
            id: u64::MAX,
            free_pages: 9,
            end: End::Hang {
                step: 1,
                stack: "wchan".to_owned(),
            },
            steps: vec![step.clone(), moved, step],
        }),
        Response::BatchDone { seq: 3, nanos: 4 },
        Response::Log {
            program: 1,
            step: 2,
            text: "WARNING: ".to_owned(),
        },
        Response::Raced(Raced {
            id: 7,
            counts: vec![1, 1999],
            overlapped: 1000,
            apart: vec![0, 3],
            first: vec![4, 5],
            no_walks: Some("no".to_owned()),
            collapses: Some((3, 1)),
            ..Raced::default()
        }),
        Response::Error("no".to_owned()),
    ]
}

fn request() -> Request {
    Request::Batch {
        seq: 1,
        mode: Mode::Bare { rounds: 2 },
        arena_pages: 1536,
        op_limit_ms: 1000,
        programs: vec![Program {
            id: 5,
            knobs: Knobs {
                thp: 2,
                shmem_thp: 1,
                khugepaged: true,
                ksm: false,
                swap: false,
                root: true,
                uffd_events: true,
            },
            files: vec![File {
                kind: FileKind::Ramfs,
                pages: 24,
                written: 12,
                tag: 2000,
            }],
            steps: vec![Step {
                actor: 0,
                lane: Some(wire::Lane {
                    number: 3,
                    repeats: true,
                }),
                op: Op::Madvise {
                    at: -4096,
                    len: 1,
                    advice: 102,
                },
                fail: Some(7),
                look: wire::Look::Full,
            }],
            fault: Some(wire::GuestFault::WrongPage),
        }],
    }
}

#[test]
fn messages_come_back_as_they_were() {
    for response in examples() {
        assert_eq!(
            decode::<Response>(&encode(&response).unwrap()).unwrap(),
            response
        );
    }
    assert_eq!(
        decode::<Request>(&encode(&request()).unwrap()).unwrap(),
        request()
    );
}

#[test]
fn cut_and_lengthened_messages_are_refused() {
    for response in examples() {
        let mut bytes = encode(&response).unwrap();
        for len in 0..bytes.len() {
            assert!(
                decode::<Response>(&bytes[..len]).is_err(),
                "{len} bytes of {response:?}"
            );
        }
        bytes.push(0);
        assert!(decode::<Response>(&bytes).is_err());
    }
}

#[test]
fn random_and_damaged_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..20_000 {
        let len = random.u64(..) as usize % 200;
        let bytes: Vec<u8> = (0..len).map(|_| random.u64(..) as u8).collect();
        let _ = decode::<Response>(&bytes);
        let _ = decode::<Request>(&bytes);
    }
    let good = examples();
    for n in 0..20_000 {
        let mut bytes = encode(&good[n % good.len()]).unwrap();
        for _ in 0..=random.u64(..) % 3 {
            let at = random.u64(..) as usize % bytes.len();
            bytes[at] = random.u64(..) as u8;
        }
        let _ = decode::<Response>(&bytes);
    }
}

#[test]
fn claims_of_many_elements_are_refused_at_once() {
    // An execution with id 1, no free pages, that ended well and claims 2^40 steps; then one step that claims as many results more, as many
    // events, or as many actors.
    let mut bytes = vec![1, 1, 0, 0];
    wire::length_prefix(1 << 40, &mut bytes);
    assert!(decode::<Response>(&bytes).is_err());
    for step in [&[0, 0][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 0]] {
        let mut bytes = [&[1, 1, 0, 0, 1], step].concat();
        wire::length_prefix(1 << 40, &mut bytes);
        assert!(decode::<Response>(&bytes).is_err());
    }
    // One more step than allowed, each of six bytes: result 0, no more results, no allocation that fails, no events, no actors.
    let limit = wire::bounded::MAX_STEPS;
    for (steps, fine) in [(limit, true), (limit + 1, false)] {
        let mut bytes = vec![1, 1, 0, 0];
        wire::length_prefix(steps, &mut bytes);
        bytes.extend(std::iter::repeat_n([0; 6], steps).flatten());
        assert_eq!(decode::<Response>(&bytes).is_ok(), fine, "{steps}");
    }
}

#[test]
fn a_message_longer_than_a_frame_is_not_encoded() {
    let long = Response::Error("x".repeat(layout::MAX_PAYLOAD));
    assert!(encode(&long).is_err());
}

#[test]
fn progress_fits_one_word() {
    for phase in [
        Phase::Idle,
        Phase::Op,
        Phase::Look,
        Phase::CleanUp,
        Phase::Full,
    ] {
        let progress = Progress {
            phase,
            actor: 15,
            step: 1023,
        };
        assert_eq!(Progress::unpack(progress.pack()), progress);
    }
    assert_eq!(Progress::unpack(u64::MAX).phase, Phase::Idle);
}

/// Plain memory.
struct Plain(RefCell<Vec<u8>>);

impl Plain {
    fn new() -> Plain {
        Plain(RefCell::new(vec![0; layout::BYTES as usize]))
    }
}

impl Memory for Plain {
    type Error = Infallible;

    fn load(&self, offset: u64) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.read(offset, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn store(&self, offset: u64, value: u64) -> Result<(), Infallible> {
        self.write(offset, &value.to_le_bytes())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Infallible> {
        assert_eq!((offset % 8, into.len() % 8), (0, 0), "whole words only");
        into.copy_from_slice(&self.0.borrow()[offset as usize..][..into.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Infallible> {
        assert_eq!((offset % 8, from.len() % 8), (0, 0), "whole words only");
        self.0.borrow_mut()[offset as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
}

#[test]
fn frames_of_all_lengths_go_around_the_ring() {
    let memory = Plain::new();
    let mut random = fastrand::Rng::with_seed(1);
    let mut payload = Vec::new();
    let (mut sent, mut received) = (0_u64, 0_u64);
    let message =
        |n: u64, len: usize| -> Vec<u8> { (0..len).map(|i| (n as usize + i) as u8).collect() };
    let mut lens = std::collections::VecDeque::new();
    // Several times around.
    while received < 400 {
        let len = random.u64(..) as usize % 100_000;
        if REQUESTS.push(&memory, &message(sent, len)).unwrap() {
            lens.push_back(len);
            sent += 1;
            continue;
        }
        // Full: take some away.
        for _ in 0..3 {
            let at = REQUESTS.position(&memory).unwrap();
            let next = REQUESTS.peek(&memory, at, &mut payload).unwrap().unwrap();
            assert_eq!(payload, message(received, lens.pop_front().unwrap()));
            REQUESTS.release(&memory, next).unwrap();
            received += 1;
        }
    }
}

#[test]
fn a_frame_that_is_not_what_it_says_is_refused() {
    let push = |payload: &[u8]| {
        let memory = Plain::new();
        assert!(RESPONSES.push(&memory, payload).unwrap());
        memory
    };
    let mut out = Vec::new();
    let start = layout::RESPONSES.0;

    let memory = push(b"some payload");
    let word = memory.load(start + 8).unwrap();
    memory.store(start + 8, word ^ 1 << 40).unwrap();
    assert_eq!(
        RESPONSES.peek(&memory, 0, &mut out),
        Err(RingError::Checksum)
    );

    let memory = push(b"some payload");
    memory.store(start, 0xffff_fff0).unwrap();
    assert_eq!(
        RESPONSES.peek(&memory, 0, &mut out),
        Err(RingError::Length(0xffff_fff0))
    );

    // Longer than what has been written.
    let memory = push(b"some payload");
    memory.store(start, 17).unwrap();
    assert_eq!(
        RESPONSES.peek(&memory, 0, &mut out),
        Err(RingError::Length(17))
    );

    for (head, tail) in [
        (u64::MAX - 7, 0),
        (8, 16),
        (4, 0),
        (1 << 63, 1 << 63),
        (64, 3),
    ] {
        let memory = Plain::new();
        memory.store(layout::RESPONSE_HEAD, head).unwrap();
        let seen = RESPONSES.peek(&memory, tail, &mut out);
        assert_eq!(seen, Err(RingError::Counters { head, tail }));
    }
    assert!(matches!(
        RESPONSES.push(&Plain::new(), &vec![0; layout::MAX_PAYLOAD + 1]),
        Err(RingError::Length(_))
    ));
}
