//! System calls and their constants, as thin as possible: a result is what the kernel returned, or the errno.

use crate::actor::USER;
use std::ffi::CStr;

/// An errno, positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

pub const MADV_GUARD_INSTALL: i32 = 102;
pub const MADV_GUARD_REMOVE: i32 = 103;
pub const MREMAP_DONTUNMAP: i32 = 4;

/// Makes any system call.
///
/// # Safety
/// As that call: pointers among `args` must be valid for what it does with them, and it must not change memory or
/// mappings that Rust relies on.
pub unsafe fn call(number: i64, args: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: the caller's promise.
    let result = unsafe { raw(number as u64, args) } as i64;
    // No call returns what looks like an errno but one that failed: include/linux/err.h, MAX_ERRNO.
    match result {
        -4095..=-1 => Err(Errno(-result as i32)),
        _ => Ok(result as u64),
    }
}

/// The instruction. Not libc's function: threads of an actor share one errno, since they are made without libc.
#[cfg(target_arch = "x86_64")]
unsafe fn raw(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> u64 {
    let result;
    // SAFETY: the caller's promise; the kernel keeps every register but these.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn raw(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> u64 {
    let result;
    // SAFETY: the caller's promise; the kernel keeps every register but x0.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Opens a file; close-on-exec does not matter, nothing here calls exec.
pub fn open(path: &CStr, flags: i32) -> Result<i32, Errno> {
    // SAFETY: the path is a valid C string.
    unsafe {
        call(
            libc::SYS_openat,
            [
                libc::AT_FDCWD as u64,
                path.as_ptr() as u64,
                flags as u64,
                0,
                0,
                0,
            ],
        )
    }
    .map(|fd| fd as i32)
}

pub fn close(fd: i32) {
    // SAFETY: closing a descriptor does not touch memory. An error is of no use to anybody.
    let _ = unsafe { call(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]) };
}

/// pread(2).
pub fn read_at(fd: i32, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: `into` is valid for its length.
    unsafe {
        call(
            libc::SYS_pread64,
            [
                fd as u64,
                into.as_mut_ptr() as u64,
                into.len() as u64,
                offset,
                0,
                0,
            ],
        )
    }
    .map(|n| n as usize)
}

/// read(2).
pub fn read(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    let args = [
        fd as u64,
        into.as_mut_ptr() as u64,
        into.len() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: `into` is valid for its length.
    unsafe { call(libc::SYS_read, args) }.map(|n| n as usize)
}

/// pwrite(2) at 0, the way kernel settings are written.
pub fn write_setting(fd: i32, text: &str) -> Result<(), Errno> {
    // SAFETY: `text` is valid for its length.
    unsafe {
        call(
            libc::SYS_pwrite64,
            [fd as u64, text.as_ptr() as u64, text.len() as u64, 0, 0, 0],
        )
    }
    .map(|_| ())
}

/// pwrite(2) of all of it.
pub fn write_at(fd: i32, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let args = [
        fd as u64,
        bytes.as_ptr() as u64,
        bytes.len() as u64,
        offset,
        0,
        0,
    ];
    // SAFETY: `bytes` is valid for its length.
    match unsafe { call(libc::SYS_pwrite64, args) }? {
        n if n as usize == bytes.len() => Ok(()),
        _ => Err(Errno(libc::EIO)),
    }
}

/// lseek(2) to the end: how many bytes there are.
pub fn seek_end(fd: i32) -> Result<u64, Errno> {
    let args = [fd as u64, 0, libc::SEEK_END as u64, 0, 0, 0];
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_lseek, args) }
}

/// write(2) to a descriptor that may be broken; for last words.
pub fn say(fd: i32, text: &str) {
    // SAFETY: `text` is valid for its length.
    let _ = unsafe {
        call(
            libc::SYS_write,
            [fd as u64, text.as_ptr() as u64, text.len() as u64, 0, 0, 0],
        )
    };
}

/// mmap(2) at a place of the kernel's choice.
pub fn map(len: usize, flags: i32, fd: i32) -> Result<*mut u8, Errno> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    // SAFETY: a new mapping where nothing is.
    unsafe {
        call(
            libc::SYS_mmap,
            [0, len as u64, prot, flags as u64, fd as i64 as u64, 0],
        )
    }
    .map(|at| at as *mut u8)
}

/// Who we are from now on. -1 leaves one as it is. On the running kernel nobody is ever another one than [`USER`], nor was.
pub fn set_user(real: i32, effective: i32, saved: i32) -> Result<(), Errno> {
    if crate::host::is_here() {
        return match effective {
            USER => Ok(()),
            _ => Err(Errno(libc::EPERM)),
        };
    }
    // The raw call, not libc's: only this process, no signal to threads.
    // SAFETY: touches no memory.
    unsafe {
        call(
            libc::SYS_setresuid,
            [real as u64, effective as u64, saved as u64, 0, 0, 0],
        )
    }
    .map(|_| ())
}

/// Sleeps.
pub fn sleep_us(us: u64) {
    let time = libc::timespec {
        tv_sec: (us / 1_000_000) as i64,
        tv_nsec: (us % 1_000_000 * 1000) as i64,
    };
    // SAFETY: `time` lives; the rest is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

/// CLOCK_MONOTONIC, nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ends this process at once.
pub fn exit(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Bytes per page.
pub fn page_size() -> u64 {
    // SAFETY: no memory involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Sends a thread of this process a signal. `false`: there is no such thread any more.
pub fn signal_thread(tid: u32, signal: i32) -> bool {
    // SAFETY: no memory involved.
    let pid = unsafe { libc::getpid() };
    let args = [pid as u64, tid.into(), signal as u64, 0, 0, 0];
    // SAFETY: as above; the signal has a handler.
    unsafe { call(libc::SYS_tgkill, args) }.is_ok()
}

/// Lets another thread have this processor.
pub fn yield_now() {
    // SAFETY: no memory involved.
    let _ = unsafe { call(libc::SYS_sched_yield, [0; 6]) };
}

pub fn kill(pid: i32) {
    // SAFETY: no memory involved; a process that is gone already is fine.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits until `pid` has let go of its memory (it may still be a zombie). Returns at once when it is gone.
pub fn wait_gone(pid: i32) {
    ends_within(pid, -1);
}

/// Sleeps while `word` is `value`.
pub fn futex_wait(word: &std::sync::atomic::AtomicU32, value: u32) {
    // SAFETY: the word outlives the call. An early return is allowed; callers look again.
    let _ = unsafe {
        call(
            libc::SYS_futex,
            [
                word.as_ptr() as u64,
                libc::FUTEX_WAIT as u64,
                value.into(),
                0,
                0,
                0,
            ],
        )
    };
}

/// Sleeps while `word` is `value`, but not longer than `us` microseconds.
pub fn futex_wait_for(word: &std::sync::atomic::AtomicU32, value: u32, us: u64) {
    let time = libc::timespec {
        tv_sec: (us / 1_000_000) as i64,
        tv_nsec: (us % 1_000_000 * 1000) as i64,
    };
    let args = [
        word.as_ptr() as u64,
        libc::FUTEX_WAIT as u64,
        value.into(),
        &raw const time as u64,
        0,
        0,
    ];
    // SAFETY: word and time outlive the call. An early return is allowed; callers look again.
    let _ = unsafe { call(libc::SYS_futex, args) };
}

/// Waits for a child to end (`-1`: any) and takes its status. `None`: there is no such child, or with `now` it has not
/// ended.
pub fn wait_child(pid: i32, now: bool) -> Option<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours.
        let got = unsafe { libc::waitpid(pid, &mut status, if now { libc::WNOHANG } else { 0 }) };
        // SAFETY: errno is this thread's own.
        if got == -1 && unsafe { *libc::__errno_location() } == libc::EINTR {
            continue;
        }
        return (got > 0).then_some((got, status));
    }
}

/// Whether this process may read its own /proc files with its own rights, though it has changed its user.
pub fn own_proc_files() {
    // SAFETY: no memory involved.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}

/// Whether a process is there and has ended, though nobody may have waited for it yet.
pub fn has_ended(pid: i32) -> bool {
    ends_within(pid, 0)
}

/// Waits for the end of a process for some milliseconds, -1: as long as it takes. Whether it is there and has ended.
fn ends_within(pid: i32, ms: i32) -> bool {
    // SAFETY: no memory involved.
    let Ok(fd) = (unsafe { call(libc::SYS_pidfd_open, [pid as u64, 0, 0, 0, 0, 0]) }) else {
        return false;
    };
    let mut poll = libc::pollfd {
        fd: fd as i32,
        events: libc::POLLIN,
        revents: 0,
    };
    let ended = loop {
        // SAFETY: `poll` is one entry, as said.
        match unsafe { libc::poll(&mut poll, 1, ms) } {
            1 => break true,
            0 => break false,
            _ => {}
        }
    };
    close(fd as i32);
    ended
}

/// Wakes who sleeps on `word`.
pub fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    // SAFETY: the word outlives the call.
    let _ = unsafe {
        call(
            libc::SYS_futex,
            [word.as_ptr() as u64, libc::FUTEX_WAKE as u64, 1, 0, 0, 0],
        )
    };
}
