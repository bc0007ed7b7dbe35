//! Programs, actors and kernels that come to a bad end.

use crate::rig::*;
use harness::kernel::vm::VmError;
use vm_images::Arch;
use wire::{End, GuestFault, Mode, Op, OpResult, Response, View};

#[test]
fn an_op_that_does_not_return_is_a_hang_with_a_stack_and_the_next_program_runs() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    let limit = (300.0 * vm.slowdown()) as u32;
    let programs = vec![
        small(1, None),
        small(2, Some(GuestFault::Hang)),
        small(3, None),
    ];
    let executions = run(&mut vm, limit, programs).unwrap();
    assert_eq!(executions[0].end, End::Done);
    match &executions[1].end {
        End::Hang { step: 2, stack } => assert!(stack.contains("pause"), "{stack}"),
        other => panic!("{other:?}"),
    }
    // What was seen before is there, and the same.
    assert_eq!(executions[1].steps, executions[0].steps[..2]);
    assert_eq!(executions[2].steps, executions[0].steps);
}

#[test]
fn a_forked_actor_that_dies_is_noticed() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    let mut forked = program(
        5,
        &[
            step(0, mmap(0, 8, 3, PRIVATE | FIXED)),
            step(0, Op::Fork { child: 3 }),
            step(3, write(0, 1, 1)),
        ],
    );
    forked.fault = Some(GuestFault::Die);
    let executions = run(&mut vm, 60_000, vec![forked, small(6, None)]).unwrap();
    assert_eq!(executions[0].end, End::Died { step: 2, status: 9 });
    assert_eq!(executions[0].steps.len(), 2);
    assert_eq!(executions[1].end, End::Done);
}

#[test]
fn a_panic_is_a_crash_of_the_program_that_ran() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    let programs = vec![
        small(1, None),
        small(2, Some(GuestFault::Panic)),
        small(3, None),
    ];
    vm.submit(batch(1, Mode::Judged, 20_000, programs)).unwrap();
    match vm.wait().unwrap() {
        Response::Execution(execution) => assert_eq!((execution.id, execution.end), (1, End::Done)),
        other => panic!("{other:?}"),
    }
    match vm.wait().unwrap_err() {
        VmError::Crash { report, running } => {
            assert_eq!(report.kind.name(), "panic", "{}", report.excerpt);
            assert!(report.excerpt.contains("sysrq"), "{}", report.excerpt);
            assert_eq!(running, Some((2, 2)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_warning_is_a_crash_of_the_program_that_ran() {
    let rig = rig(Arch::Aarch64);
    let mut vm = rig.boot();
    let programs = vec![
        small(1, None),
        small(2, Some(GuestFault::Warn)),
        small(3, None),
    ];
    match run(&mut vm, 20_000, programs).unwrap_err() {
        VmError::Crash { report, running } => {
            assert_eq!(report.kind.name(), "warning");
            assert_eq!(running, Some((2, 2)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_would_leave_the_arena_or_the_limits_is_refused_by_the_guest() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    let bad = [
        program(1, &[step(0, mmap(-2000, 1, 3, PRIVATE | FIXED))]),
        program(
            2,
            &[step(
                0,
                Op::Munmap {
                    at: 0,
                    len: 1 << 46,
                },
            )],
        ),
        program(3, &[step(1, read(0, 1))]),
        program(4, &[step(0, Op::Fork { child: 200 })]),
        program(5, &[step(0, Op::Fork { child: 0 })]),
    ];
    for execution in run(&mut vm, 20_000, bad.to_vec()).unwrap() {
        assert!(
            matches!(execution.end, End::Failed { step: 0, .. }),
            "{execution:?}"
        );
        assert!(execution.steps.is_empty());
    }
    // What the kernel refuses by itself goes to the kernel.
    let refused = program(
        6,
        &[
            step(0, Op::Munmap { at: 0, len: 0 }),
            step(0, madvise(0, 0, 4)),
            step(
                0,
                Op::Madvise {
                    at: 0,
                    len: u64::MAX - 8191,
                    advice: 102,
                },
            ),
            step(0, read(-5, 1)),
        ],
    );
    let executions = run(&mut vm, 20_000, vec![refused]).unwrap();
    assert_eq!(executions[0].end, End::Done);
    let results: Vec<&OpResult> = executions[0].steps.iter().map(|s| &s.result).collect();
    assert_eq!(
        results[..3],
        [&OpResult::Ret(-22), &OpResult::Ret(0), &OpResult::Ret(-22)]
    );
    assert!(
        matches!(results[3], OpResult::Access { pages: 0, fault: Some(f), .. } if f.signo == 11 && f.code == 1)
    );
}

#[test]
fn a_huge_report_waits_for_a_slow_host_and_an_endless_one_fails_alone() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    // Every other page guarded: 700 runs a view, changing at each step.
    let mut steps = vec![step(0, mmap(0, 1536, 3, PRIVATE | FIXED))];
    for page in 0..700 {
        steps.push(step(0, madvise(2 * page, 1, 102)));
    }
    let big: Vec<_> = (0..4).map(|id| program(id, &steps[..180])).collect();
    vm.submit(batch(1, Mode::Judged, 20_000, big)).unwrap();
    vm.submit(batch(2, Mode::Judged, 20_000, vec![program(9, &steps)]))
        .unwrap();
    vm.submit(batch(3, Mode::Judged, 20_000, vec![small(10, None)]))
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut ends = Vec::new();
    while ends.len() < 6 {
        if let Response::Execution(execution) = vm.wait().unwrap() {
            if execution.id < 4 {
                assert_eq!(execution.steps.len(), 180);
                let last = execution.steps.last().and_then(|s| s.actors.first());
                assert!(matches!(last, Some((0, View::Full(space))) if space.pages.len() == 179));
            }
            ends.push((execution.id, execution.end));
        }
    }
    assert!(
        ends[..4].iter().all(|(_, end)| *end == End::Done),
        "{ends:?}"
    );
    assert!(
        matches!(&ends[4], (9, End::Failed { why, .. }) if why.contains("longer")),
        "{ends:?}"
    );
    assert_eq!(ends[5], (10, End::Done));
}
