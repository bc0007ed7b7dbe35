//! Threads that run at once, on a real kernel with two processors.

use crate::rig::rig;
use harness::campaign::load_concurrent_program;
use harness::kernel::machine::{VmKernel, VmSource};
use harness::kernel::{probe, End, JudgeBy, Kernel, Prepared, Raced, Repeat, Smaps};
use harness::race::{judge_raced, Fate, Judgement, Kind};
use oracle::profile::Profile;
use oracle::program::Program;
use std::path::Path;
use std::sync::Arc;
use vm_images::Arch;
use wire::GuestFault;

const REPETITIONS: u32 = 60;

struct Machine {
    kernel: VmKernel,
    profile: Profile,
    _dir: tempfile::TempDir,
}

fn boot(arch: Arch) -> Machine {
    let mut rig = rig(arch);
    rig.config.cpus = 2;
    let source = VmSource {
        label: "newest".to_owned(),
        release: None,
        options: Vec::new(),
        build_config: None,
        consoles: rig.dir.path().to_path_buf(),
        config: rig.config,
        guest_fault: None,
        panic_when: None,
    };
    let mut kernel = source.boot_vm("races").unwrap();
    let profile = probe::profile(&mut kernel, &JudgeBy::default()).unwrap();
    Machine {
        kernel,
        profile,
        _dir: rig.dir,
    }
}

impl Machine {
    fn race(&mut self, name: &str, fault: Option<GuestFault>) -> (Raced, Judgement) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../corpus/races")
            .join(name);
        self.run(load_concurrent_program(&path).unwrap().program, fault)
    }

    fn run(&mut self, program: Arc<Program>, fault: Option<GuestFault>) -> (Raced, Judgement) {
        let prepared = Prepared {
            id: 7,
            program: program.clone(),
            smaps: Smaps::Changes,
            fault,
        };
        let raced = self
            .kernel
            .race(&prepared, Repeat::times(REPETITIONS))
            .unwrap();
        let g = self.kernel.info().geometry;
        let judged = judge_raced(&program, &raced, &self.profile, g);
        (raced, judged)
    }
}

fn forbidden(judged: &Judgement) -> u32 {
    judged.count(|kind| matches!(kind.fate, Fate::Forbidden(_)))
}

fn broken(judged: &Judgement) -> u32 {
    judged.count(|kind| !kind.broken.is_empty())
}

fn every_repetition_is_allowed(arch: Arch) {
    let mut machine = boot(arch);
    for name in ["01-pmd-border.prog", "03-load-storm.prog", "04-fork.prog"] {
        let (raced, judged) = machine.race(name, None);
        let bad: Vec<&Kind> = judged
            .kinds
            .iter()
            .filter(|kind| !matches!(kind.fate, Fate::Allowed(_)) || !kind.broken.is_empty())
            .collect();
        assert!(bad.is_empty(), "{name}: {bad:?}");
        assert_eq!(judged.count(|_| true), REPETITIONS, "{name}");
        assert!(judged.ways_seen() > 0, "{name}");
        // Threads of a machine with two processors meet.
        assert!(
            raced.meetings.overlapped > 0,
            "{name}: {:?}",
            raced.meetings
        );
        assert_eq!(raced.meetings.first.iter().sum::<u32>(), REPETITIONS);
    }
}

#[test]
fn every_repetition_is_allowed_x86_64() {
    every_repetition_is_allowed(Arch::X86_64);
}

#[test]
fn every_repetition_is_allowed_aarch64() {
    every_repetition_is_allowed(Arch::Aarch64);
}

#[test]
fn what_a_guest_does_wrong_is_seen() {
    let mut machine = boot(Arch::X86_64);
    let (_, judged) = machine.race("03-load-storm.prog", Some(GuestFault::SkipGuardInstall));
    assert_eq!(
        (forbidden(&judged), broken(&judged)),
        (REPETITIONS, REPETITIONS)
    );

    let (_, judged) = machine.race("05-against-remove.prog", Some(GuestFault::WrongTag));
    assert!(forbidden(&judged) > 0);

    // A thread that does not come back, of which the others are told; and the machine goes on with the next program.
    let text = "mmap 0+0..0+4 rw private fixed\n|a guard-install 0+0..0+1\n|b read 0+2..0+3\n";
    let program = Arc::new(Program::load_concurrent(text).unwrap());
    let (raced, judged) = machine.run(program, Some(GuestFault::Hang));
    let (execution, count) = &raced.executions[0];
    let End::Hang { stack } = &execution.end else {
        panic!("{:?}", execution.end);
    };
    assert!(stack.contains("thread b in op 2"), "{stack}");
    assert_eq!((*count, forbidden(&judged)), (1, 1));
    let (_, judged) = machine.race("04-fork.prog", None);
    assert_eq!(forbidden(&judged), 0);
}
