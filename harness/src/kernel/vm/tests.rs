//! The transport against a peer that is no kernel: a shell as QEMU, and this test as the guest.

use super::*;
use std::process::Command;
use wire::{End, Execution, Knobs, Mode, Program};

/// A VM whose console is what `script` prints, and the memory that its guest would have.
fn fake(script: &str) -> (Vm, Arc<Shared>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared::create().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let log = dir.path().join("console.log");
    let names = ("sh", "dash");
    let process = Process::launch(command, names, &log, Arc::clone(&shared), Vec::new()).unwrap();
    (Vm::around(process, Arc::clone(&shared)), shared, dir)
}

#[test]
fn what_ends_with_us_does_not_outlive_who_started_it() {
    let starter = std::thread::spawn(|| {
        let mut command = Command::new("sleep");
        end_with_us(command.arg("600"), nix::sys::signal::Signal::SIGTERM);
        command.spawn().unwrap()
    });
    let mut child = starter.join().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}

fn batch(seq: u64, ids: &[u64]) -> Request {
    let knobs = Knobs {
        thp: 0,
        shmem_thp: 0,
        khugepaged: false,
        ksm: false,
        swap: false,
        root: false,
        uffd_events: false,
    };
    let program = |&id: &u64| Program {
        id,
        knobs,
        files: Vec::new(),
        steps: Vec::new(),
        fault: None,
    };
    Request::Batch {
        seq,
        mode: Mode::Judged,
        arena_pages: 1536,
        op_limit_ms: 100,
        programs: ids.iter().map(program).collect(),
    }
}

fn done(id: u64) -> Response {
    Response::Execution(Execution {
        id,
        free_pages: 9,
        end: End::Done,
        steps: Vec::new(),
    })
}

fn answer(shared: &Shared, response: &Response) {
    let bytes = wire::encode(response).unwrap();
    assert!(ring::RESPONSES.push(shared, &bytes).unwrap());
}

/// Says that a step of a program runs.
fn run(shared: &Shared, program: u64, step: u32) {
    shared.store(layout::PROGRAM, program).unwrap();
    let progress = layout::Progress {
        phase: layout::Phase::Op,
        actor: 0,
        step,
    };
    shared.store(layout::PROGRESS, progress.pack()).unwrap();
}

#[test]
fn requests_wait_for_room_and_all_of_them_arrive() {
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    let ids: Vec<u64> = (0..4096).collect();
    let (mut sent, mut got) = (0, 0);
    let mut frame = Vec::new();
    // Far more than the ring holds.
    for _ in 0..200 {
        vm.submit(batch(sent, &ids)).unwrap();
        sent += 1;
    }
    assert!(!vm.waiting.is_empty());
    while got < sent {
        let at = ring::REQUESTS.position(&*shared).unwrap();
        let next = ring::REQUESTS
            .peek(&*shared, at, &mut frame)
            .unwrap()
            .expect("a request");
        match wire::decode(&frame).unwrap() {
            Request::Batch { seq, .. } => assert_eq!(seq, got),
            Request::PowerOff => panic!("nobody asked for that"),
        }
        ring::REQUESTS.release(&*shared, next).unwrap();
        vm.pump().unwrap();
        got += 1;
    }
}

#[test]
fn answers_come_in_order_and_then_nothing_is_in_flight() {
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    vm.submit(batch(1, &[7, 8])).unwrap();
    for id in [7, 8] {
        answer(&shared, &done(id));
        assert_eq!(vm.wait().unwrap(), done(id));
    }
    answer(&shared, &Response::BatchDone { seq: 1, nanos: 5 });
    assert!(matches!(
        vm.wait(),
        Ok(Response::BatchDone { nanos: 5, .. })
    ));
    assert!(matches!(vm.wait(), Err(VmError::NothingInFlight)));
}

#[test]
fn garbage_in_the_ring_is_said_to_be_garbage() {
    let bad: [fn(&Shared); 5] = [
        // A counter far ahead, one that is no multiple of eight, a huge frame, a frame that is no message, an answer to
        // nothing.
        |shared| shared.store(layout::RESPONSE_HEAD, 1 << 40).unwrap(),
        |shared| shared.store(layout::RESPONSE_HEAD, 12).unwrap(),
        |shared| {
            shared.store(layout::RESPONSES.0, 0xffff_ffff).unwrap();
            shared.store(layout::RESPONSE_HEAD, 64).unwrap();
        },
        |shared| assert!(ring::RESPONSES.push(shared, &[0xff; 100]).unwrap()),
        |shared| answer(shared, &done(99)),
    ];
    for spoil in bad {
        let (mut vm, shared, _dir) = fake("exec sleep 100");
        vm.submit(batch(1, &[7])).unwrap();
        spoil(&shared);
        let error = vm.wait().unwrap_err();
        assert!(matches!(error, VmError::Garbage(_)), "{error}");
    }
}

#[test]
fn random_memory_never_panics() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut random = || rng.u64(..);
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    for _ in 0..300 {
        vm.flight = Flight::default();
        vm.waiting.clear();
        for word in 0..64 {
            shared
                .store(layout::RESPONSES.0 + 8 * word, random())
                .unwrap();
        }
        // Lengths that make sense now and then.
        shared
            .store(layout::RESPONSES.0, random() & 0xffff_ffff_0000_00ff)
            .unwrap();
        shared.store(layout::RESPONSE_TAIL, 0).unwrap();
        shared
            .store(layout::RESPONSE_HEAD, 8 * (random() % 64))
            .unwrap();
        shared.store(layout::REQUEST_HEAD, 0).unwrap();
        shared.store(layout::REQUEST_TAIL, 0).unwrap();
        let first = vm.receive();
        assert!(
            matches!(first, Ok(None) | Err(VmError::Garbage(_))),
            "{first:?}"
        );
    }
}

#[test]
fn a_guest_that_stands_still_is_found_and_the_op_named() {
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    vm.submit(batch(1, &[0xabc])).unwrap();
    run(&shared, 0xabc, 3);
    vm.slowdown = 0.02;
    vm.op_limit = Duration::from_millis(10);
    let error = vm.wait().unwrap_err();
    assert!(
        matches!(
            error,
            VmError::Hang {
                running: Some((0xabc, 3)),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("op 3 of program 0xabc: no sign of life"),
        "{error}"
    );
}

#[test]
fn a_beating_heart_does_not_hide_that_nothing_moves() {
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    vm.submit(batch(1, &[5])).unwrap();
    vm.slowdown = 0.02;
    vm.op_limit = Duration::from_millis(10);
    let heart = std::thread::spawn(move || {
        for beat in 1..200 {
            shared.store(layout::HEARTBEAT, beat).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let error = vm.wait().unwrap_err();
    assert!(matches!(error, VmError::Hang { .. }), "{error}");
    assert!(
        error.to_string().contains("its supervisor lives"),
        "{error}"
    );
    heart.join().unwrap();
}

#[test]
fn a_report_is_about_the_program_that_ran_and_earlier_answers_come_first() {
    let (mut vm, shared, _dir) = fake(
        "sleep 0.3; echo '[   12.3] WARNING: CPU: 0 PID: 60 at mm/rmap.c:1 f+0x0/0x10'; \
         echo '[   12.4] Call Trace:'; exec sleep 100",
    );
    run(&shared, 8, 2);
    answer(&shared, &done(7));
    answer(&shared, &done(8));
    vm.submit(batch(1, &[7, 8, 9])).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(vm.wait().unwrap(), done(7));
    match vm.wait().unwrap_err() {
        VmError::Crash { report, running } => {
            assert_eq!(report.kind.name(), "warning");
            assert!(report.excerpt.contains("Call Trace"), "{}", report.excerpt);
            assert_eq!(running, Some((8, 2)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_report_in_the_kernels_log_names_the_op_and_other_lines_do_not_matter() {
    let log = |text: &str| Response::Log {
        program: 8,
        step: 4,
        text: text.to_owned(),
    };
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    answer(&shared, &done(7));
    answer(&shared, &log("mmap: init (61) uses something deprecated\n"));
    answer(
        &shared,
        &log("cut here\nWARNING: mm/rmap.c:1 at f+0x0/0x10, CPU#0: init/61\nCall Trace:\n"),
    );
    answer(&shared, &done(8));
    vm.submit(batch(1, &[7, 8])).unwrap();
    assert_eq!(vm.wait().unwrap(), done(7));
    match vm.wait().unwrap_err() {
        VmError::Crash { report, running } => {
            assert_eq!(report.kind.name(), "warning");
            assert!(report.excerpt.contains("Call Trace"), "{}", report.excerpt);
            assert_eq!(running, Some((8, 4)));
        }
        other => panic!("{other}"),
    }
    let (mut vm, shared, _dir) = fake("exec sleep 100");
    answer(&shared, &log("BUG: Bad page state in process init\n"));
    vm.submit(batch(1, &[7])).unwrap();
    assert!(matches!(vm.wait(), Err(VmError::Garbage(_))));
}

#[test]
fn the_end_of_qemu_is_a_crash_with_a_panic_and_a_loss_without() {
    let (mut vm, _shared, _dir) =
        fake("echo '[  9.1] Kernel panic - not syncing: Fatal exception'; exit 0");
    vm.submit(batch(1, &[1])).unwrap();
    let error = vm.wait().unwrap_err();
    assert!(matches!(error, VmError::Crash { .. }), "{error}");

    let (mut vm, _shared, _dir) = fake("exit 3");
    vm.submit(batch(1, &[1])).unwrap();
    let error = vm.wait().unwrap_err();
    assert!(matches!(error, VmError::Lost { .. }), "{error}");
}

#[test]
fn a_console_without_end_is_a_flood_and_its_log_stays_small() {
    let (mut vm, _shared, dir) = fake("exec yes 'all work and no play makes Jack a dull boy'");
    vm.submit(batch(1, &[1])).unwrap();
    let error = vm.wait().unwrap_err();
    assert!(matches!(error, VmError::Flood(_)), "{error}");
    drop(vm);
    let log = std::fs::metadata(dir.path().join("console.log.gz"))
        .unwrap()
        .len();
    assert!(log < 1 << 20, "{log}");
}

#[test]
fn a_boot_that_fails_says_why() {
    let boot = |script: &str, limit: u64| {
        let (mut vm, _shared, _dir) = fake(script);
        vm.await_hello(Duration::from_millis(limit)).unwrap_err()
    };
    let no_pci = "printf 'Booting from ROM..mmdiff-guest: error: no PCI bus: CONFIG_PCI=y\\n'; exec sleep 100";
    match boot(no_pci, 60_000) {
        VmError::BootFailed { why, .. } => assert_eq!(why, "no PCI bus: CONFIG_PCI=y"),
        other => panic!("{other}"),
    }
    let panic = "echo '[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs'; exit 0";
    match boot(panic, 60_000) {
        VmError::PanicAtBoot { headline, tail } => {
            assert!(headline.starts_with("Kernel panic"), "{headline}");
            assert!(tail.contains("VFS"), "{tail}");
        }
        other => panic!("{other}"),
    }
    match boot(
        "echo 'qemu-system-x86_64: -foo: invalid option'; exit 1",
        60_000,
    ) {
        VmError::QemuFailed(text) => assert!(text.contains("invalid option"), "{text}"),
        other => panic!("{other}"),
    }
    let error = boot("exec sleep 100", 50);
    assert!(matches!(error, VmError::BootFailed { .. }));
    assert!(
        error.to_string().contains("CONFIG_PROC_PAGE_MONITOR"),
        "{error}"
    );
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared::create().unwrap());
    let command = Command::new("/nonexistent/qemu");
    let log = dir.path().join("console.log");
    let error = Process::launch(
        command,
        ("qemu-system-x", "qemu-x"),
        &log,
        shared,
        Vec::new(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("apt-get install --no-install-recommends qemu-x"),
        "{error}"
    );
}

#[test]
fn a_batch_that_fits_no_message_is_refused() {
    let (mut vm, _shared, _dir) = fake("exec sleep 100");
    let ids = vec![u64::MAX; 200_000];
    assert!(matches!(
        vm.submit(batch(1, &ids)),
        Err(VmError::TooLarge(200_000))
    ));
}
