//! Kernels that boot, that do not, and two at once.

use crate::rig::*;
use harness::kernel::vm::{boot_bare, probe_accel, Accel, Vm, VmError};
use std::time::Duration;
use vm_images::Arch;
use wire::{End, Mode, Response};

#[test]
fn a_kernel_tells_what_it_can() {
    for arch in Arch::ALL {
        let rig = rig(arch);
        let vm = rig.boot();
        let hello = vm.hello();
        assert_eq!(hello.machine, arch.name());
        assert_eq!(
            (hello.page_size, hello.pmd_size, hello.cpus),
            (4096, 2 << 20, 1)
        );
        // The newest kernel has all of them.
        assert!(
            hello.procmap_query && hello.pagemap_scan && hello.scan_guard && hello.pagemap_guard
        );
        assert!(hello.missing.is_empty(), "{:?}", hello.missing);
        assert!(vm.boot_seconds() > 0.1);
        assert_eq!(vm.in_flight(), None);
    }
}

#[test]
fn two_vms_work_side_by_side() {
    let rig = rig(Arch::X86_64);
    let first = rig.console("first.log");
    let second = rig.console("second.log");
    let work = |config: harness::kernel::vm::VmConfig| {
        std::thread::spawn(move || {
            let mut vm = Vm::boot(&config).unwrap();
            for seq in 0..4 {
                let programs = (0..50).map(|id| small(seq * 50 + id, None)).collect();
                vm.submit(batch(seq, Mode::Judged, 20_000, programs))
                    .unwrap();
            }
            let mut done = 0;
            let mut batches = 0;
            while batches < 4 {
                match vm.wait().unwrap() {
                    Response::Execution(execution) => {
                        assert_eq!((execution.id, execution.end), (done, End::Done));
                        done += 1;
                    }
                    Response::BatchDone { nanos, .. } => {
                        assert!(nanos > 0);
                        batches += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            done
        })
    };
    let (first, second) = (work(first), work(second));
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
}

#[test]
fn bare_mode_runs_all_rounds_and_reports_no_executions() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    let programs: Vec<_> = (0..20).map(|id| small(id, None)).collect();
    vm.submit(batch(1, Mode::Bare { rounds: 1 }, 20_000, programs.clone()))
        .unwrap();
    vm.submit(batch(2, Mode::Bare { rounds: 200 }, 20_000, programs))
        .unwrap();
    let mut times = Vec::new();
    while times.len() < 2 {
        match vm.wait().unwrap() {
            Response::BatchDone { nanos, .. } => times.push(nanos),
            other => panic!("{other:?}"),
        }
    }
    assert!(times[1] > 20 * times[0], "{times:?}");
}

#[test]
fn a_kernel_that_panics_at_boot_is_said_to() {
    let mut rig = rig(Arch::X86_64);
    rig.config.append = "rdinit=/nonexistent".to_owned();
    match Vm::boot(&rig.config).unwrap_err() {
        VmError::PanicAtBoot { headline, tail } => {
            assert!(headline.contains("Kernel panic"), "{headline}");
            assert!(tail.contains("panic"), "{tail}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_kernel_without_pci_is_told_what_it_lacks() {
    let mut rig = rig(Arch::X86_64);
    rig.config.append = "pci=off".to_owned();
    match Vm::boot(&rig.config).unwrap_err() {
        VmError::BootFailed { why, .. } => assert!(why.contains("CONFIG_PCI"), "{why}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_boot_that_takes_too_long_is_given_up() {
    let mut rig = rig(Arch::X86_64);
    rig.config.boot_limit = Duration::from_millis(300);
    match Vm::boot(&rig.config).unwrap_err() {
        VmError::BootFailed { why, .. } => assert!(why.contains("no answer within"), "{why}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_bare_init_boots_and_the_accelerator_is_probed_once() {
    let rig = rig(Arch::X86_64);
    assert!(boot_bare(&rig.config).unwrap() > 0.1);
    let cache = rig.dir.path().join("cache");
    let quiet = |_: &str| ();
    let first = probe_accel(&rig.config, &cache, &quiet).unwrap();
    let file = cache.join("accel-x86_64");
    if let Ok(kept) = std::fs::read_to_string(&file) {
        assert!(kept.trim_end().ends_with(first.name()), "{kept}");
        // The answer comes from the file now.
        let other = match first {
            Accel::Tcg => "kvm",
            Accel::Kvm => "tcg",
        };
        std::fs::write(
            &file,
            kept.replace(&format!("\n{}\n", first.name()), &format!("\n{other}\n")),
        )
        .unwrap();
        let kept = probe_accel(&rig.config, &cache, &quiet).unwrap();
        assert_eq!(kept.name(), other);
    } else {
        // Without the device there is nothing to probe.
        assert_eq!(first, Accel::Tcg);
    }
}

/// Fields of /proc/PID/status.
fn status(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .to_string()
}

/// Whoever we are, and wherever the files lie.
#[test]
fn qemu_has_few_rights_and_no_file_that_it_may_write() {
    use std::os::unix::fs::PermissionsExt;
    for arch in Arch::ALL {
        let mut rig = rig(arch);
        // Files that nobody else can read, in a folder that nobody else can enter.
        let private = rig.dir.path().join("private");
        std::fs::create_dir(&private).unwrap();
        for file in [&mut rig.config.image, &mut rig.config.initramfs] {
            let copy = private.join(file.file_name().unwrap());
            std::fs::copy(&file, &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
            *file = copy;
        }
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
        let vm = rig.boot();
        let qemu = vm.qemu_pid();
        let me = nix::unistd::geteuid();
        let user = match me.is_root() {
            true => "65534".to_string(),
            false => me.to_string(),
        };
        assert_eq!(status(qemu, "Uid:"), [user.as_str(); 4].join("\t"));
        if me.is_root() {
            assert_eq!(status(qemu, "Gid:"), ["65534"; 4].join("\t"));
            assert_eq!(status(qemu, "Groups:"), "");
        }
        for caps in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(status(qemu, caps), "0".repeat(16), "{caps}");
        }
        assert_eq!(status(qemu, "Seccomp:"), "2");
        assert_eq!(status(qemu, "NoNewPrivs:"), "1");
        let mut files = 0;
        for fd in std::fs::read_dir(format!("/proc/{qemu}/fd")).unwrap() {
            let fd = fd.unwrap();
            let target = std::fs::read_link(fd.path()).unwrap();
            let target = target.to_string_lossy();
            // Pipes, sockets and the like have no path; its console and we are at their other ends.
            if !target.starts_with('/') || target == "/dev/null" {
                continue;
            }
            let info = format!("/proc/{qemu}/fdinfo/{}", fd.file_name().to_string_lossy());
            let info = std::fs::read_to_string(info).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
            let writable = flags & 3 != 0;
            assert!(
                !writable || target.starts_with("/memfd:mmdiff-"),
                "{target}"
            );
            files += 1;
        }
        assert!(files > 0);
    }
}
