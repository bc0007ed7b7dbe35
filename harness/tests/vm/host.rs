//! QEMU and the process that started it: neither outlives the other unnoticed.

use crate::rig::*;
use harness::kernel::vm::VmError;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use vm_images::Arch;
use wire::{GuestFault, Mode};

const CHILD: &str = "MMDIFF_TEST_SLEEP_WITH_VM";

fn alive(pid: u32) -> bool {
    // A zombie that nobody has reaped yet is dead.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn dies_soon(pid: u32) -> bool {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        if !alive(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The child's part: boots a VM, says QEMU's number, and ends as its parent wants.
fn child_with_a_vm(end: &str) {
    let rig = rig(Arch::X86_64);
    let vm = rig.boot();
    println!("\nqemu {}", vm.qemu_pid());
    match end {
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(7),
        _ => std::thread::sleep(Duration::from_secs(600)),
    }
}

fn qemu_after(end: &str, signal: Option<Signal>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "host::qemu_dies_with_us_however_we_die",
            "--nocapture",
        ])
        .env(CHILD, end)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let qemu: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("qemu ")?.parse().ok())
        .expect("the child boots a VM");
    if let Some(signal) = signal {
        assert!(alive(qemu));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }
    child.wait().unwrap();
    assert!(
        dies_soon(qemu),
        "QEMU outlives its parent ({end}, {signal:?})"
    );
}

#[test]
fn qemu_dies_with_us_however_we_die() {
    // The test runs itself again as the process that is to die.
    if let Ok(end) = std::env::var(CHILD) {
        return child_with_a_vm(&end);
    }
    qemu_after("sleep", Some(Signal::SIGKILL));
    qemu_after("sleep", Some(Signal::SIGINT));
    qemu_after("panic", None);
    qemu_after("exit", None);
}

#[test]
fn a_guest_that_stands_still_is_noticed_and_names_its_op() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    // The guest's own watchdog waits for longer than we stop it.
    vm.submit(batch(
        1,
        Mode::Judged,
        20_000,
        vec![small(5, Some(GuestFault::Hang))],
    ))
    .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(vm.in_flight(), Some((5, 2)));
    kill(Pid::from_raw(vm.qemu_pid() as i32), Signal::SIGSTOP).unwrap();
    let since = Instant::now();
    match vm.wait().unwrap_err() {
        VmError::Hang { running, .. } => assert_eq!(running, Some((5, 2))),
        other => panic!("{other}"),
    }
    assert!(since.elapsed() < Duration::from_secs(120));
    let qemu = vm.qemu_pid();
    vm.shutdown();
    assert!(!alive(qemu), "shutdown ends a stopped QEMU too");
}

#[test]
fn a_qemu_that_is_killed_is_a_loss() {
    let rig = rig(Arch::X86_64);
    let mut vm = rig.boot();
    vm.submit(batch(
        1,
        Mode::Judged,
        30_000,
        vec![small(5, Some(GuestFault::Hang))],
    ))
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(vm.qemu_pid() as i32), Signal::SIGKILL).unwrap();
    match vm.wait().unwrap_err() {
        VmError::Lost { running, .. } => assert_eq!(running, Some((5, 2))),
        other => panic!("{other}"),
    }
    assert!(dies_soon(vm.qemu_pid()));
}
