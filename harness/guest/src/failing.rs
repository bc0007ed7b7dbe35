//! Allocations that are made to fail within one system call: the kernel's fault injection (Documentation/fault-injection), by
//! /proc/thread-self/fail-nth.
//!
//! The call is made between a write and a read of that file, with nothing else in between: neither what the guest does before and
//! after it nor what it looks at can be hit. A first round that makes nothing fail brings in the pages that the code and its stack
//! lie in, so that no fault allocates anything on the way.

use crate::sys::{self, Errno};
use std::cell::Cell;
use std::ffi::CStr;
use std::path::Path;

const FILE: &CStr = c"/proc/thread-self/fail-nth";
const DEBUGFS: &str = "/sys/kernel/debug";

/// What may fail, which by default is next to nothing: calls that may sleep, single pages, pages of users. And nobody prints a stack.
const SETTINGS: [(&str, &str, &str); 8] = [
    ("failslab/ignore-gfp-wait", "N", "CONFIG_FAILSLAB"),
    ("failslab/cache-filter", "N", "CONFIG_FAILSLAB"),
    ("failslab/verbose", "0", "CONFIG_FAILSLAB"),
    (
        "fail_page_alloc/ignore-gfp-wait",
        "N",
        "CONFIG_FAIL_PAGE_ALLOC",
    ),
    (
        "fail_page_alloc/ignore-gfp-highmem",
        "N",
        "CONFIG_FAIL_PAGE_ALLOC",
    ),
    ("fail_page_alloc/min-order", "0", "CONFIG_FAIL_PAGE_ALLOC"),
    ("fail_page_alloc/probability", "0", "CONFIG_FAIL_PAGE_ALLOC"),
    ("fail_page_alloc/verbose", "0", "CONFIG_FAIL_PAGE_ALLOC"),
];

/// Whether the kernel can make allocations fail.
pub fn is_possible() -> bool {
    let systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    !crate::host::is_here()
        && Path::new("/proc/thread-self/fail-nth").exists()
        && systems.lines().any(|line| line.ends_with("\tdebugfs"))
}

/// Lets every allocation be one that may fail. Whoever calls was root once.
///
/// # Errors
/// What the kernel lacks or refuses.
pub fn set_up() -> Result<(), String> {
    // SAFETY: touches no memory.
    let user = unsafe { libc::geteuid() } as i32;
    sys::set_user(-1, 0, -1).map_err(|e| format!("setresuid: {e}"))?;
    let result = write_settings();
    sys::set_user(-1, user, -1).map_err(|e| format!("setresuid: {e}"))?;
    sys::own_proc_files();
    result
}

fn write_settings() -> Result<(), String> {
    if !Path::new(DEBUGFS).join("failslab").exists() {
        // SAFETY: valid C strings; no data. Where it cannot be mounted the settings are not there.
        unsafe {
            let (kind, at) = (c"debugfs".as_ptr(), c"/sys/kernel/debug".as_ptr());
            libc::mount(kind, at, kind, 0, std::ptr::null());
        }
    }
    for (name, value, config) in SETTINGS {
        let path = format!("{DEBUGFS}/{name}");
        std::fs::write(&path, value)
            .map_err(|e| format!("{path} = {value}: {e}: the kernel needs {config}=y"))?;
    }
    Ok(())
}

/// A process's own file, opened when it first needs it, and what is to fail in the op that is performed.
#[derive(Debug, Default)]
pub struct FailNth {
    file: Option<i32>,
    /// The allocation that is to fail; 0: none.
    nth: u16,
    /// What the file said after the call: 0, it failed; otherwise one more than there were allocations left to go.
    left: Cell<Option<u32>>,
}

impl FailNth {
    /// An op begins, in which an allocation is to fail, or none is. Where the kernel cannot do that none does.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn begin(&mut self, nth: Option<u16>) -> Result<(), String> {
        self.left.set(None);
        self.nth = nth.filter(|_| is_possible()).unwrap_or(0);
        if self.nth > 0 && self.file.is_none() {
            let file = sys::open(FILE, libc::O_RDWR);
            self.file = Some(file.map_err(|e| format!("/proc/thread-self/fail-nth: {e}"))?);
        }
        Ok(())
    }

    /// What the file said after the call that has been made since [`FailNth::begin`]; `None` where nothing was to fail.
    ///
    /// # Errors
    /// Something was to fail, and the file said nothing.
    pub fn left(&self) -> Result<Option<u32>, String> {
        match (self.nth, self.left.get()) {
            (0, _) => Ok(None),
            (_, None) => Err("/proc/thread-self/fail-nth cannot be written and read".to_owned()),
            (_, left) => Ok(left),
        }
    }

    /// A child lets go of its parent's file: it would be the parent's allocations that fail.
    pub fn close(&mut self) {
        if let Some(file) = self.file.take() {
            sys::close(file);
        }
        self.nth = 0;
    }

    /// Makes the system call of the op.
    ///
    /// # Safety
    /// As [`sys::call`].
    pub unsafe fn call(&self, number: i64, args: [u64; 6]) -> Result<u64, Errno> {
        let Some(file) = self.file.filter(|_| self.nth > 0) else {
            // SAFETY: the caller's promise.
            return unsafe { sys::call(number, args) };
        };
        let mut text = [0; 8];
        let (digits, len) = digits(self.nth);
        // SAFETY: getppid touches no memory.
        let _ = unsafe { between(file, b"0", libc::SYS_getppid, [0; 6], &mut text) };
        text = [0; 8];
        // SAFETY: the caller's promise.
        let result = unsafe { between(file, &digits[..len], number, args, &mut text) };
        if result != Ok(0) || number != libc::SYS_clone {
            self.left.set(number_in(&text));
        }
        result
    }
}

/// Writes `nth`, makes the call, reads what is left to go, and writes 0. A child that the call makes does none of it: the file is its
/// parent's.
///
/// # Safety
/// As [`sys::call`].
#[inline(never)]
unsafe fn between(
    file: i32,
    nth: &[u8],
    number: i64,
    args: [u64; 6],
    left: &mut [u8; 8],
) -> Result<u64, Errno> {
    let file = file as u64;
    let (write, read) = (libc::SYS_pwrite64, libc::SYS_pread64);
    let (nth, len, none) = (nth.as_ptr() as u64, nth.len() as u64, b"0".as_ptr() as u64);
    let (room, size) = (left.as_mut_ptr() as u64, left.len() as u64);
    // SAFETY: the buffers are valid for their lengths; the call is the caller's promise.
    unsafe {
        let armed = sys::call(write, [file, nth, len, 0, 0, 0]);
        let result = sys::call(number, args);
        if result == Ok(0) && number == libc::SYS_clone {
            return result;
        }
        if armed.is_ok() {
            let _ = sys::call(read, [file, room, size, 0, 0, 0]);
        }
        let _ = sys::call(write, [file, none, 1, 0, 0, 0]);
        result
    }
}

/// A number's digits, and how many there are.
fn digits(number: u16) -> ([u8; 5], usize) {
    let text = number.to_string();
    let mut digits = [0; 5];
    let len = text.len().min(digits.len());
    digits[..len].copy_from_slice(&text.as_bytes()[..len]);
    (digits, len)
}

/// The number at the start of a text that ends in anything else.
fn number_in(text: &[u8]) -> Option<u32> {
    let end = text.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_as_the_kernel_has_them() {
        for number in [1, 20, 999] {
            let (digits, len) = digits(number);
            assert_eq!(digits[..len], *number.to_string().as_bytes());
        }
        assert_eq!(number_in(b"0\n\0\0\0\0\0\0"), Some(0));
        assert_eq!(number_in(b"17\n\0\0\0\0\0"), Some(17));
        assert_eq!(number_in(&[0; 8]), None);
    }

    #[test]
    fn without_anything_to_fail_it_is_the_call() {
        let mut fails = FailNth::default();
        fails.begin(None).unwrap();
        // SAFETY: touches no memory.
        let pid = unsafe { fails.call(libc::SYS_getpid, [0; 6]) };
        assert_eq!(pid, Ok(u64::from(std::process::id())));
        assert_eq!(fails.left(), Ok(None));
    }
}
