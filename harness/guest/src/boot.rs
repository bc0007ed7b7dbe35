//! First things as PID 1: file systems, the console, and what the kernel lacks.

use std::ffi::{CStr, CString};

/// Marks our lines on the console; the host looks for it anywhere in a line, since a BIOS may leave one unfinished.
pub const MARK: &str = "mmdiff-guest:";

/// Writes a line to the console.
pub fn say(text: &str) {
    crate::sys::say(2, &format!("{MARK} {text}\n"));
}

fn make_node(path: &CStr, major: u32, minor: u32) {
    // SAFETY: the path is a valid C string. It may exist already.
    unsafe {
        libc::mknod(
            path.as_ptr(),
            libc::S_IFCHR | 0o600,
            libc::makedev(major, minor),
        )
    };
}

/// Opens the console as standard input, output and error: the kernel did so only if the initramfs had the node.
pub fn open_console() {
    let _ = std::fs::create_dir("/dev");
    make_node(c"/dev/console", 5, 1);
    // SAFETY: plain descriptor calls.
    unsafe {
        let fd = libc::open(c"/dev/console".as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        if fd >= 0 {
            for standard in 0..3 {
                libc::dup2(fd, standard);
            }
            if fd > 2 {
                libc::close(fd);
            }
        }
    }
}

/// Mounts what observation needs.
///
/// # Errors
/// A text with the CONFIG option of a file system that is not there.
pub fn mount_all() -> Result<(), String> {
    for (kind, at, config) in [
        ("proc", "/proc", "CONFIG_PROC_FS=y"),
        ("sysfs", "/sys", "CONFIG_SYSFS=y"),
        (
            "ramfs",
            crate::files::RAMFS,
            "ramfs, which every kernel has",
        ),
    ] {
        let _ = std::fs::create_dir(at);
        let kind_c = CString::new(kind).unwrap_or_default();
        let at_c = CString::new(at).unwrap_or_default();
        // SAFETY: valid C strings; no data.
        let result = unsafe {
            libc::mount(
                kind_c.as_ptr(),
                at_c.as_ptr(),
                kind_c.as_ptr(),
                0,
                std::ptr::null(),
            )
        };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            return Err(format!(
                "cannot mount {kind} ({error}): the kernel needs {config}"
            ));
        }
    }
    // Actors are no root, and make their files themselves.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(crate::files::RAMFS, everybody)
        .map_err(|e| format!("{}: {e}", crate::files::RAMFS))?;
    make_node(c"/dev/kmsg", 1, 11);
    for (path, config) in [
        ("/proc/self/maps", "CONFIG_MMU=y"),
        ("/proc/self/pagemap", "CONFIG_PROC_PAGE_MONITOR=y"),
        ("/proc/self/smaps", "CONFIG_PROC_PAGE_MONITOR=y"),
    ] {
        if std::fs::metadata(path).is_err() {
            return Err(format!("no {path}: the kernel needs {config}"));
        }
    }
    Ok(())
}

/// Writes a line to the kernel's log, and so to its console.
pub fn log_to_kernel(text: &str) {
    let _ = std::fs::write("/dev/kmsg", text);
}

/// Makes sure that nothing of ours stands where the arena and its margins will be, whatever their size.
///
/// # Errors
/// What stands there.
pub fn check_address_space() -> Result<(), String> {
    let maps =
        std::fs::read_to_string("/proc/self/maps").map_err(|e| format!("/proc/self/maps: {e}"))?;
    // Five PMD blocks of 512 MiB at most, one of them below the base.
    let end = wire::ARENA_BASE + (4 << 29);
    for line in maps.lines() {
        let start = line.split('-').next().unwrap_or_default();
        let start =
            u64::from_str_radix(start, 16).map_err(|_| format!("odd line in maps: {line}"))?;
        if start < end {
            return Err(format!(
                "the guest itself was loaded below the arena's end ({line}): build it as a static PIE"
            ));
        }
    }
    Ok(())
}

/// Switches the machine off, if it is one of our own. With panic=-1 and QEMU's -no-reboot a restart ends the machine where power-off is missing.
pub fn power_off() -> ! {
    if crate::host::is_here() {
        crate::sys::exit(0);
    }
    // SAFETY: ends the machine.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
        libc::reboot(libc::RB_AUTOBOOT);
    }
    crate::sys::exit(0)
}
