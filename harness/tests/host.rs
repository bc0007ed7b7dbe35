//! The guest on the running kernel, without a VM around it.

use std::path::{Path, PathBuf};
use std::process::Command;
use vm_images::Arch;

fn guest() -> PathBuf {
    let arch = match std::env::consts::ARCH {
        "aarch64" => Arch::Aarch64,
        _ => Arch::X86_64,
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    vm_images::guest::build(arch, &workspace, &|_| ()).unwrap()
}

/// The guest itself refuses, whatever its caller has forgotten.
#[test]
fn the_guest_runs_nothing_here_unasked() {
    let guest = guest();
    let said = |memory: Option<&str>, allow: Option<&str>| {
        let mut command = Command::new(&guest);
        command.env_clear();
        for (name, value) in [("MMDIFF_HOST_MEMORY", memory), ("MMDIFF_ALLOW_HOST", allow)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(Some("3"), None).contains("only with MMDIFF_ALLOW_HOST=1"));
    assert!(said(Some("3"), Some("yes")).contains("only with MMDIFF_ALLOW_HOST=1"));
    assert!(said(None, Some("1")).contains("PID 1 of a virtual machine"));
}

/// `MMDIFF_ALLOW_HOST=1 cargo test --package harness --features host-tests --test host -- --nocapture`
#[test]
#[cfg(feature = "host-tests")]
fn generated_programs_on_the_running_kernel() {
    use harness::campaign::Known;
    use harness::fuzzing::machine::Machine;
    use harness::kernel::host::HostSource;
    use oracle::program::generate::generate;
    use std::collections::BTreeMap;

    let consoles = tempfile::tempdir().unwrap();
    let source = HostSource::new(&guest(), consoles.path()).unwrap();
    let mut machine = Machine::open(Box::new(source.clone()), Known::default()).unwrap();
    let (mut ran, mut skipped) = (0, BTreeMap::new());
    let mut wrong = Vec::new();
    let before = settings();
    for seed in 0..400 {
        match source.fit(generate(seed)) {
            Ok(program) => {
                ran += 1;
                if let Err(why) = machine.run(program, &mut |_| ()) {
                    wrong.push(format!("seed {seed}: {why}"));
                }
            }
            Err(why) => *skipped.entry(why).or_insert(0) += 1,
        }
    }
    println!("{ran} ran, skipped: {skipped:?}");
    assert_eq!(settings(), before);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 300);
}

/// Settings of the machine that programs elsewhere change.
#[cfg(feature = "host-tests")]
fn settings() -> Vec<String> {
    let files = [
        "transparent_hugepage/enabled",
        "transparent_hugepage/shmem_enabled",
        "transparent_hugepage/defrag",
        "transparent_hugepage/khugepaged/scan_sleep_millisecs",
        "ksm/run",
    ];
    let read = |name| std::fs::read_to_string(format!("/sys/kernel/mm/{name}")).unwrap_or_default();
    files.map(read).to_vec()
}
