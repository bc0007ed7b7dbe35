//! One program never disturbs the next.

use crate::rig::*;
use harness::kernel::convert::to_wire;
use harness::kernel::{Prepared, Smaps};
use oracle::geometry::Geometry;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_images::Arch;
use wire::{Counters, End, Execution, GuestFault, Op, Program, View};

/// The programs whose executions must always be the same: generated ones of every kind, with and without huge pages.
fn probes() -> Vec<Program> {
    let probes =
        (0..24).map(|seed| wire_form(1000 + seed, oracle::program::generate::generate(seed)));
    let probes: Vec<Program> = probes.collect();
    assert!(probes.iter().filter(|p| !p.files.is_empty()).count() > 3);
    probes
}

fn wire_form(id: u64, program: oracle::program::Program) -> Program {
    let prepared = Prepared {
        id,
        program: Arc::new(program),
        smaps: Smaps::Every,
        fault: None,
    };
    to_wire(&prepared, Geometry::K4)
}

/// Leaves every file as different from new as can be, mapped by two actors, of whom the worker is none.
const FILES: &str = "\
truncate memfd0 200
mmap 0+0..0+200 rw shared memfd0 fixed
write 0+0..0+60 tag 1
seal memfd0 seal shrink grow future-write
mmap 1+0..1+20 rw private memfd1 fixed
truncate memfd1 3
seal memfd1 seal write grow
truncate ramfs0 100
mmap 2+0..2+100 rw shared ramfs0 fixed
write 2+0..2+40 tag 2
fork 1
fork 2
exit
1: remove 2+0..2+100
2: truncate ramfs0 1
";

/// Leaves memory of two actors registered with userfaultfd, one of whom has the descriptor of the other's parent.
const REGISTERED: &str = "\
mmap 0+0..2+0 rw private fixed
uffd-register-missing 0+0..2+0
uffd-copy 0+0..0+4 tag 1
fork 1
1: uffd-register-missing 0+0..1+0
1: fork 2
mmap 2+0..2+9 rw shared fixed
uffd-register-missing 2+0..2+9
";

/// Leaves two actors for whom huge pages are switched off, each otherwise than the other.
const SWITCHED: &str = "\
thp always

thp-disable
mmap 0+0..2+0 rw private fixed
hugepage 0+0..1+0
write 1-9..1+9 tag 1
fork 1
1: thp-disable-except-advised
1: write 1+0..1+20 tag 2
";

/// Leaves huge TLB memory, registered and not, and secret memory of two actors.
const HUGETLB_AND_SECRET: &str = "\
needs hugetlb uffd secret
thp always

mmap 0+0..1+0 rw private hugetlb fixed noreserve
uffd-register-missing 0+0..1+0
mmap 1+0..2+0 rw shared hugetlb fixed noreserve
read 1+0..1+1
mmap 2+0..2+8 rw shared secret0 fixed
write 2+0..2+6 tag 3
fork 1
1: write 2+2..2+3 tag 4
1: write 1+0..1+1 tag 5
exit
";

/// Leaves pages that are swapped out, some of them twice mapped, a huge page among them.
const SWAPPED: &str = "\
needs swap
thp always
swap on

mmap 0+0..2+0 rw private fixed
write 0+0..0+40 tag 1
write 1+0..1+8 tag 2
pageout 0+0..1+4
guard-install 0+2..0+5
fork 1
1: write 0+8..0+9 tag 2
1: pageout 0+8..0+20
";

/// Programs that leave as much behind as a program can, and those that end badly.
fn hostile(id: u64, swaps: bool) -> Vec<Program> {
    let all = mmap(0, 1536, 3, PRIVATE | FIXED);
    let mut programs = vec![
        // The whole arena: huge, guarded, written, left as it is.
        program(
            id,
            &[
                step(0, all),
                step(0, madvise(0, 1536, 14)),
                step(0, write(0, 1536, 9)),
            ],
        ),
        program(
            id + 1,
            &[
                step(0, all),
                step(0, madvise(0, 1536, 102)),
                step(0, write(3, 1, 9)),
            ],
        ),
        program(
            id + 2,
            &[
                step(0, mmap(0, 1536, 3, SHARED | FIXED)),
                step(0, write(0, 600, 3)),
                step(0, madvise(100, 100, 102)),
            ],
        ),
        // A pile of actors, some of whom fork in turn, and some of whom leave.
        program(
            id + 3,
            &[
                step(0, mmap(0, 64, 3, PRIVATE | FIXED)),
                step(0, write(0, 64, 1)),
                step(0, Op::Fork { child: 1 }),
                step(1, Op::Fork { child: 2 }),
                step(2, Op::Fork { child: 3 }),
                step(1, write(0, 8, 2)),
                step(1, Op::Exit),
                step(3, madvise(0, 4, 102)),
                step(2, write(9, 3, 4)),
            ],
        ),
        // Actor 0 leaves before the others.
        program(
            id + 4,
            &[
                step(0, mmap(0, 64, 3, PRIVATE | FIXED)),
                step(0, Op::Fork { child: 1 }),
                step(0, Op::Fork { child: 2 }),
                step(0, Op::Exit),
                step(1, write(0, 4, 4)),
                step(2, Op::Exit),
                step(1, madvise(0, 64, 102)),
            ],
        ),
        program(id + 5, &[step(0, all), step(0, Op::Exit)]),
        small(id + 6, Some(GuestFault::Die)),
        small(id + 7, Some(GuestFault::Hang)),
    ];
    let mut loud = small(id + 8, None);
    loud.knobs.khugepaged = true;
    loud.knobs.ksm = true;
    loud.knobs.thp = 2;
    let mut root = small(id + 9, None);
    root.knobs.root = true;
    root.knobs.shmem_thp = 2;
    // Needs an actor that does not live.
    let wrong = program(id + 10, &[step(0, all), step(4, write(0, 1, 1))]);
    let mut files = oracle::program::Program::load(FILES).unwrap();
    files.knobs.root = true;
    let files = wire_form(id + 11, files);
    programs.extend([loud, root, wrong, files]);
    programs.extend(lasting(id + 12));
    let mut more = vec![REGISTERED, SWITCHED, HUGETLB_AND_SECRET];
    if swaps {
        more.push(SWAPPED);
    } else {
        eprintln!("no neighbour that swaps: the kernel's package has no RAM disk");
    }
    for (n, text) in more.into_iter().enumerate() {
        let program = oracle::program::Program::load(text).unwrap();
        programs.push(wire_form(id + 15 + n as u64, program));
    }
    programs
}

/// Programs that change what the process will map, what it has mapped, and what cannot be unmapped.
fn lasting(id: u64) -> Vec<Program> {
    let some = mmap(0, 64, 3, PRIVATE | FIXED);
    let block = mmap(512, 512, 3, PRIVATE | FIXED);
    let future = program(id, &[step(0, Op::Mlockall { flags: 2 }), step(0, some)]);
    let mut all = program(
        id + 1,
        &[
            step(0, some),
            step(0, Op::Mlockall { flags: 3 }),
            step(0, block),
        ],
    );
    all.knobs.root = true;
    let (at, len) = (4096, 3 * 4096);
    let sealed = program(
        id + 2,
        &[step(0, some), step(0, Op::Mseal { at, len, flags: 0 })],
    );
    vec![future, all, sealed]
}

fn check(arch: Arch) {
    let rig = rig(arch);
    let mut vm = rig.boot();
    let slow = (400.0 * vm.slowdown()) as u32;
    let first = run(&mut vm, 20_000, probes()).unwrap();
    assert_eq!(first.len(), 24);
    for execution in &first {
        assert_eq!(execution.end, End::Done, "{execution:?}");
        assert!(!execution.steps.is_empty());
    }
    // Between hostile neighbours: before each of them and after.
    for (n, bad) in hostile(0, rig.swaps).into_iter().enumerate() {
        let (id, fault) = (bad.id, bad.fault);
        let mut mixed = vec![bad.clone()];
        mixed.extend(probes().into_iter().skip(n % 4).step_by(4));
        mixed.push(bad);
        let limit = if fault == Some(GuestFault::Hang) {
            slow
        } else {
            20_000
        };
        let executions = run(&mut vm, limit, mixed).unwrap();
        for execution in executions {
            if execution.id == id {
                check_bad(&execution, fault);
            } else {
                same(&first, &execution, id);
            }
        }
    }
    // Last, and in another order.
    let mut backwards = probes();
    backwards.reverse();
    for execution in run(&mut vm, 20_000, backwards).unwrap() {
        same(&first, &execution, u64::MAX);
    }
}

/// Without what belongs to the machine and not to the program: the free memory that it found, and the pages of the guest's own
/// that its process has touched.
fn of_the_program(execution: &Execution) -> Execution {
    let mut own = execution.clone();
    own.free_pages = 0;
    let mut last: BTreeMap<u8, View> = BTreeMap::new();
    for (actor, view) in own.steps.iter_mut().flat_map(|step| &mut step.actors) {
        if let View::Full(space) = view {
            if let Some(counters) = &mut space.counters {
                *counters = Counters {
                    locked: counters.locked,
                    swap: counters.swap,
                    ..Counters::default()
                };
            }
            last.insert(*actor, view.clone());
        } else if let Some(before) = last.get(actor) {
            // Whether a view is sent again depends on those counters, too.
            *view = before.clone();
        }
    }
    own
}

fn same(first: &[Execution], execution: &Execution, neighbour: u64) {
    let before = first.iter().find(|e| e.id == execution.id).unwrap();
    let (before, execution) = (&of_the_program(before), &of_the_program(execution));
    for (n, (a, b)) in before.steps.iter().zip(&execution.steps).enumerate() {
        assert_eq!(
            a, b,
            "program {} at step {n}, next to {neighbour}",
            execution.id
        );
    }
    assert_eq!(before, execution, "next to {neighbour}");
}

fn check_bad(execution: &Execution, fault: Option<GuestFault>) {
    match (&execution.end, fault) {
        (End::Died { step: 2, status: 9 }, Some(GuestFault::Die)) => {}
        (End::Hang { step: 2, .. }, Some(GuestFault::Hang)) => {}
        (End::Failed { step: 1, .. }, None) if execution.id == 10 => {}
        (End::Done, None) => {}
        (end, fault) => panic!("program {} with {fault:?} ended with {end:?}", execution.id),
    }
}

#[test]
fn the_same_program_first_last_and_between_hostile_neighbours_x86_64() {
    check(Arch::X86_64);
}

#[test]
fn the_same_program_first_last_and_between_hostile_neighbours_aarch64() {
    check(Arch::Aarch64);
}
