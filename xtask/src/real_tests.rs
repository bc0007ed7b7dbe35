//! Tests on real kernels in VMs. They need QEMU and the locked kernels, so they are behind the feature `vm-tests`;
//! `cargo xtask test` runs them.

use crate::rig::{rig, AccelChoice, KernelOptions, Rig};
use harness::kernel::{BootError, Kernel, Prepared, Smaps};
use oracle::program::generate::generate;
use oracle::program::Program;
use std::path::Path;
use std::sync::Arc;
use vm_images::Arch;

/// The newest kernel of an architecture.
fn newest(arch: Arch, consoles: &Path, append: &str) -> Rig {
    let options = KernelOptions {
        kernels: Some("7.3".into()),
        arch: vec![arch],
        kernel: Vec::new(),
        accel: AccelChoice::Auto,
        append: append.into(),
    };
    rig(&options, &crate::workspace(), consoles, &|line| {
        eprintln!("{line}")
    })
    .expect("a kernel")
}

fn prepared(id: u64, program: &Arc<Program>) -> Prepared {
    Prepared {
        id,
        program: program.clone(),
        smaps: Smaps::Every,
        fault: None,
    }
}

/// Uses every way a program can leave something behind: huge pages, shared memory, guards, forked actors that end before and
/// after the one that made them.
const WITNESS: &str = "\
thp always

mmap 0+0..2+0 rw private fixed
read 0+3..0+5
write 0+8..0+10 tag 1
guard-install 1-1..1+2
mmap 2+0..2+16 rw shared fixed
write 2+1..2+5 tag 2
guard-install 2+2..2+3
fork 1
1: write 0+9..0+10 tag 3
fork 2
2: read 2+0..2+5
guard-remove 1-1..1+0
1: exit
munmap 0+100..1+100
write 1+200..1+204 tag 4
dontneed 2+0..2+16
read 2+0..2+2
";

/// One program first, last and between neighbours that do their worst: what it sees is the same each time.
#[test]
fn real_programs_do_not_disturb_each_other() {
    let witness = Arc::new(Program::load(WITNESS).expect("a program"));
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let folder = tempfile::tempdir().expect("a folder");
        let rig = newest(arch, folder.path(), "");
        let mut kernel: Box<dyn Kernel> = rig.sources[0].boot("isolation").expect("a boot");
        let mut batch = vec![prepared(0, &witness)];
        for n in 0..120u64 {
            batch.push(prepared(1_000 + n, &Arc::new(generate(n))));
            if n % 10 == 9 {
                batch.push(prepared(n, &witness));
            }
        }
        let mut seen = Vec::new();
        for part in batch.chunks(32) {
            for execution in kernel.run(part).expect("executions") {
                if execution.id < 1_000 {
                    assert_eq!(execution.seen.len(), witness.steps.len(), "{execution:?}");
                    seen.push(execution.seen);
                }
            }
        }
        assert_eq!(seen.len(), 13);
        for (n, again) in seen.iter().enumerate() {
            for (step, (first, now)) in seen[0].iter().zip(again).enumerate() {
                assert_eq!(first, now, "run {n}, step {step} on {arch:?}");
            }
        }
    }
}

/// A kernel that finds no init panics: the error says so and shows the console.
#[test]
fn real_kernel_that_panics_at_boot_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = newest(Arch::X86_64, folder.path(), "rdinit=/there-is-none");
    match rig.sources[0].boot("panic") {
        Ok(_) => panic!("it booted"),
        Err(BootError::Skipped(why)) => panic!("skipped: {why}"),
        Err(error @ BootError::Failed { .. }) => {
            let text = error.to_string();
            assert!(text.contains("panic"), "{text}");
        }
    }
}
