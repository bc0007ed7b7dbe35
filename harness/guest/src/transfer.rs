//! Memory that the kernel reads and writes for a caller: what stands on the other side of the call, and what came through.
//!
//! What is stored and what is reported have one form, as for loads and stores: the first eight bytes of each page, and
//! zeros behind them.

use crate::look::value_runs;
use crate::sys::{self, Errno};
use std::ffi::CString;
use wire::{OpResult, Ranges, Way, ARENA_BASE};

/// What calls move bytes from and to besides memory: empty before and after each of them.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Both ends of a pipe, reading and writing; neither blocks.
    pipe: [i32; 2],
    memfd: i32,
}

impl Ends {
    /// Made once for all actors of a worker.
    ///
    /// # Errors
    /// There is no pipe or memfd to be had.
    pub fn create() -> Result<Ends, Errno> {
        let mut pipe = [0i32; 2];
        let args = [
            pipe.as_mut_ptr() as u64,
            libc::O_NONBLOCK as u64,
            0,
            0,
            0,
            0,
        ];
        // SAFETY: `pipe` has room for both descriptors.
        unsafe { sys::call(libc::SYS_pipe2, args) }?;
        Ok(Ends {
            pipe,
            memfd: crate::files::memfd()?,
        })
    }
}

/// One call, its ranges known to lie in the arena and its margins.
pub struct Transfer<'a> {
    pub ends: Ends,
    pub way: Way,
    pub ranges: &'a Ranges,
    /// Bytes per page.
    pub page: u64,
    /// Whose memory it is; 0: our own.
    pub pid: i32,
    pub tag: u16,
}

impl Transfer<'_> {
    /// Makes the call.
    ///
    /// # Errors
    /// What is not under test fails: the other side of the call.
    pub fn run(&self) -> Result<Result<OpResult, Errno>, String> {
        let mut bytes = vec![0u8; self.ranges.bytes() as usize];
        if self.way.stores() {
            self.each_window(bytes.len() as u64, |at, page, skip, len| {
                let value = (u64::from(self.tag) << 16 | page & 0xffff) + 1;
                bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[skip..skip + len]);
            });
        }
        let result = self.call(&mut bytes)?;
        Ok(result.map(|done| {
            let mut values: Vec<u64> = Vec::new();
            let mut stray = 0;
            if !self.way.stores() {
                self.each_window(done, |at, _, skip, len| {
                    let mut value = [0; 8];
                    value[skip..skip + len].copy_from_slice(&bytes[at..at + len]);
                    values.push(u64::from_le_bytes(value));
                    bytes[at..at + len].fill(0);
                });
                let moved = bytes.iter().take(done as usize);
                stray = moved.filter(|byte| **byte != 0).count() as u64;
            }
            OpResult::Moved {
                bytes: done,
                values: value_runs(&values)
                    .map(|(_, len, value)| (len, value))
                    .collect(),
                stray,
            }
        }))
    }

    /// Calls `f` for each page of which some of the first eight bytes are among the first `moved` bytes of the ranges: with
    /// where they stand among these, the page's number, the first of the eight, and how many.
    fn each_window(&self, moved: u64, mut f: impl FnMut(usize, u64, usize, usize)) {
        let mut before = 0;
        for (at, len) in self.ranges.iter() {
            let end = at + len.min(moved.saturating_sub(before)) as i64;
            let page = self.page as i64;
            let mut start = at.div_euclid(page) * page;
            while start < end {
                let (from, to) = (at.max(start), end.min(start + 8));
                if from < to {
                    let index = before + (from - at) as u64;
                    let number = start.div_euclid(page) as u64;
                    let skip = (from - start) as usize;
                    f(index as usize, number, skip, (to - from) as usize);
                }
                start += page;
            }
            before += len;
        }
    }

    fn call(&self, bytes: &mut [u8]) -> Result<Result<u64, Errno>, String> {
        let Ends {
            pipe: [reads, writes],
            memfd,
        } = self.ends;
        let len = bytes.len() as u64;
        let buffer = bytes.as_mut_ptr() as u64;
        let remote = vectors(self.ranges);
        let arena = remote[0].iov_base as u64;
        let local = libc::iovec {
            iov_base: buffer as *mut libc::c_void,
            iov_len: bytes.len(),
        };
        let call = |number: i64, args: [u64; 6]| {
            // SAFETY: `buffer` is valid for `len` bytes; else the kernel writes to the arena and its margins alone, where nothing
            // of ours is.
            unsafe { sys::call(number, args) }
        };
        // The other side: as many bytes as are said, or the call has not done what it returned.
        let all = |what: &str, result: Result<u64, Errno>, wanted: u64| match result {
            Ok(done) if done == wanted => Ok(()),
            Ok(done) => Err(format!("{what}: {done} bytes of {wanted}")),
            Err(e) => Err(format!("{what}: {e}")),
        };
        // A write that fails may leave an empty buffer in the pipe, to which the next one would add its odd bytes first.
        let drain = || {
            let rest = [reads as u64, buffer, len, 0, 0, 0];
            while len > 0 && matches!(call(libc::SYS_read, rest), Ok(1..)) {}
        };
        let (remotes, local) = (remote.as_ptr() as u64, &raw const local as u64);
        let count = u64::from(self.ranges.count);
        let pid = own_if_zero(self.pid);
        Ok(match self.way {
            Way::PipeWrite | Way::Vmsplice => {
                let result = match self.way {
                    Way::PipeWrite => call(libc::SYS_write, [writes as u64, arena, len, 0, 0, 0]),
                    _ => call(libc::SYS_vmsplice, [writes as u64, remotes, 1, 0, 0, 0]),
                };
                if let Ok(done @ 1..) = result {
                    let args = [reads as u64, buffer, done.min(len), 0, 0, 0];
                    all("read of the pipe", call(libc::SYS_read, args), done)?;
                }
                drain();
                result
            }
            Way::PipeRead => {
                if len > 0 {
                    let args = [writes as u64, buffer, len, 0, 0, 0];
                    all("write to the pipe", call(libc::SYS_write, args), len)?;
                }
                let result = call(libc::SYS_read, [reads as u64, arena, len, 0, 0, 0]);
                drain();
                result
            }
            Way::MemfdWrite | Way::MemfdRead => {
                let fd = memfd as u64;
                let truncate = || {
                    all(
                        "ftruncate",
                        call(libc::SYS_ftruncate, [fd, 0, 0, 0, 0, 0]),
                        0,
                    )
                };
                let write = |from| call(libc::SYS_pwrite64, [fd, from, len, 0, 0, 0]);
                let read = |to, len| call(libc::SYS_pread64, [fd, to, len, 0, 0, 0]);
                let result = if self.way == Way::MemfdWrite {
                    let result = write(arena);
                    if let Ok(done) = result {
                        all("pread of the memfd", read(buffer, done.min(len)), done)?;
                    }
                    result
                } else {
                    all("pwrite to the memfd", write(buffer), len)?;
                    read(arena, len)
                };
                truncate()?;
                result
            }
            Way::VmRead => call(
                libc::SYS_process_vm_readv,
                [pid, local, 1, remotes, count, 0],
            ),
            Way::VmWrite => call(
                libc::SYS_process_vm_writev,
                [pid, local, 1, remotes, count, 0],
            ),
            Way::MemRead | Way::MemWrite => {
                let path = CString::new(format!("/proc/{pid}/mem")).unwrap_or_default();
                let fd =
                    sys::open(&path, libc::O_RDWR).map_err(|e| format!("/proc/{pid}/mem: {e}"))?;
                let number = match self.way {
                    Way::MemRead => libc::SYS_pread64,
                    _ => libc::SYS_pwrite64,
                };
                let result = call(number, [fd as u64, buffer, len, arena, 0, 0]);
                sys::close(fd);
                result
            }
        })
    }
}

/// process_madvise(2), number 440 on both architectures.
///
/// # Errors
/// There is no descriptor of the process to be had.
pub fn process_madvise(
    ranges: &Ranges,
    pid: i32,
    advice: i32,
    flags: u32,
) -> Result<Result<u64, Errno>, String> {
    let vectors = vectors(ranges);
    let pid = own_if_zero(pid);
    // SAFETY: no memory involved.
    let fd = unsafe { sys::call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0]) }
        .map_err(|e| format!("pidfd_open: {e}"))?;
    let args = [
        fd,
        vectors.as_ptr() as u64,
        ranges.count.into(),
        advice as u64,
        flags.into(),
        0,
    ];
    // SAFETY: the ranges lie in the arena and its margins, where nothing of ours is; the vectors outlive the call.
    let result = unsafe { sys::call(SYS_PROCESS_MADVISE, args) };
    sys::close(fd as i32);
    Ok(result)
}

/// libc does not know it on all targets.
const SYS_PROCESS_MADVISE: i64 = 440;

/// The ranges as the kernel takes them.
fn vectors(ranges: &Ranges) -> [libc::iovec; wire::MAX_RANGES] {
    ranges.list.map(|(at, len)| libc::iovec {
        iov_base: ARENA_BASE.wrapping_add(at as u64) as *mut libc::c_void,
        iov_len: len as usize,
    })
}

fn own_if_zero(pid: i32) -> u64 {
    match pid {
        // SAFETY: no memory involved.
        0 => unsafe { libc::getpid() as u64 },
        pid => pid as u64,
    }
}

/// Lets an ordinary actor get at the memory of another one of the same user for as long as this lives. What stands between
/// them is the guest's alone: its processes can become root again, which makes them somebody else's.
pub struct AsTheSameUser {
    before: Option<Caps>,
}

/// capget(2) and capset(2): effective, permitted and inheritable, in two halves.
type Caps = [u32; 6];

const CAP_SYS_PTRACE: u32 = 19;
const CAP_VERSION: u32 = 0x2008_0522;

impl AsTheSameUser {
    /// Raises CAP_SYS_PTRACE. What follows asks for no other right.
    pub fn begin() -> Result<AsTheSameUser, String> {
        if crate::host::is_here() {
            // They are, and were never root.
            return Ok(AsTheSameUser { before: None });
        }
        let mut caps: Caps = [0; 6];
        let text = |what: &'static str| move |e: Errno| format!("{what}: {e}");
        caps_call(libc::SYS_capget, &mut caps).map_err(text("capget"))?;
        let before = caps;
        caps[0] |= 1 << CAP_SYS_PTRACE;
        if caps == before {
            return Ok(AsTheSameUser { before: None });
        }
        caps_call(libc::SYS_capset, &mut caps).map_err(text("capset"))?;
        Ok(AsTheSameUser {
            before: Some(before),
        })
    }
}

impl Drop for AsTheSameUser {
    fn drop(&mut self) {
        if let Some(before) = &mut self.before {
            // Giving up a right is never refused.
            let _ = caps_call(libc::SYS_capset, before);
        }
    }
}

fn caps_call(number: i64, caps: &mut Caps) -> Result<u64, Errno> {
    let header = [CAP_VERSION, 0];
    let args = [header.as_ptr() as u64, caps.as_mut_ptr() as u64, 0, 0, 0, 0];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    unsafe { sys::call(number, args) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each window as (place, page, skipped bytes, length).
    fn windows(ranges: &[(i64, u64)], moved: u64) -> Vec<(usize, u64, usize, usize)> {
        let mut list = [(0, 0); wire::MAX_RANGES];
        list[..ranges.len()].copy_from_slice(ranges);
        let ranges = Ranges {
            count: ranges.len() as u8,
            list,
        };
        let transfer = Transfer {
            ends: Ends {
                pipe: [-1; 2],
                memfd: -1,
            },
            way: Way::VmRead,
            ranges: &ranges,
            page: 4096,
            pid: 0,
            tag: 1,
        };
        let mut windows = Vec::new();
        transfer.each_window(moved, |at, page, skip, len| {
            windows.push((at, page, skip, len))
        });
        windows
    }

    #[test]
    fn windows_are_the_first_bytes_of_pages() {
        assert_eq!(
            windows(&[(4096 + 3, 8192)], 8192),
            [(0, 1, 3, 5), (4093, 2, 0, 8), (8189, 3, 0, 3)]
        );
        assert_eq!(
            windows(&[(4096 + 3, 8192)], 4095),
            [(0, 1, 3, 5), (4093, 2, 0, 2)]
        );
        assert_eq!(windows(&[(4088, 8), (0, 4)], 12), [(8, 0, 0, 4)]);
        assert_eq!(windows(&[(0, 4096), (0, 4096)], 4096), [(0, 0, 0, 8)]);
        assert_eq!(windows(&[(100, 0)], 0), []);
    }
}
