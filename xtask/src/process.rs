//! Other processes: this program run again, and any looked at through /proc.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;

/// This program, to be run once more. When the thread that runs it ends, it is asked to end in order, so that it does not outlive us.
///
/// # Errors
/// Where this program lies cannot be told.
pub fn own() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program")?);
    harness::kernel::vm::end_with_us(&mut command, Signal::SIGTERM);
    Ok(command)
}

/// Processes below another whose name begins so.
pub fn children(parent: u32, name: &str) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let mut found = Vec::new();
    for task in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter(|&pid: &u32| comm(pid).starts_with(name)));
    }
    found.sort_unstable();
    found
}

fn comm(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// Whether a process is a QEMU that has not ended.
pub fn is_qemu(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("Z", |(_, rest)| rest);
    comm(pid).starts_with("qemu-system") && !rest.starts_with('Z')
}

/// Resident set of a process, KiB.
pub fn rss_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Largest resident set that a process has had, KiB.
pub fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// Processes that have a file below this folder open or in their command line, and UNIX sockets below it, a line each.
pub fn users_of(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy();
    let me = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid: Option<u32> = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = pid.filter(|&pid| pid != me) else {
            continue;
        };
        let files = std::fs::read_dir(entry.path().join("fd")).into_iter();
        let mut links = files.flatten().flatten();
        let opened = links
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.starts_with(folder)));
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&line).replace('\0', " ");
        // A shell or a test may well have started us with that name; what runs for us is called so.
        let ours = words.contains(" vm-matrix ") || words.contains("qemu-system");
        if ours && (opened || words.contains(&*name)) {
            found.push(format!("process {pid} {}", words.trim()));
        }
    }
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let sockets = sockets.lines().filter(|line| line.contains(&*name));
    found.extend(sockets.map(|line| format!("socket {line}")));
    found
}
