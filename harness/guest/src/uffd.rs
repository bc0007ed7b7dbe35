//! userfaultfd: one descriptor for each actor, made at its first call or brought by a fork that it told of, gone with the program.

use crate::events::Monitor;
use crate::sys::{self, Errno};
use crate::transfer::AsTheSameUser;
use wire::{OpResult, UffdCall};

/// UFFD_USER_MODE_ONLY: any user may have one.
const USER_MODE_ONLY: u64 = 1;
/// UFFD_API, and the features asked for: UFFD_FEATURE_SIGBUS, as nobody is there to answer.
const API: u64 = 0xaa;
const FEATURES: u64 = 1 << 7;
/// UFFD_FEATURE_EVENT_FORK, _REMAP, _REMOVE and _UNMAP.
const EVENTS: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6;

/// UFFDIO_COPY_MODE_WP; UFFDIO_WRITEPROTECT_MODE_WP is 1.
const COPY_MODE_WP: u64 = 1 << 1;

/// UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES.
const MOVE_MODE_HOLES: u64 = 1 << 1;

/// Most pages that one copy may have: with one more they fit into the largest block of the heap.
const MOST: u64 = 6;

// The ioctls' numbers, which hold the sizes of what they are given.
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u64 = 0x8010_aa01;
const UFFDIO_COPY: u64 = 0xc028_aa03;
const UFFDIO_ZEROPAGE: u64 = 0xc020_aa04;
const UFFDIO_MOVE: u64 = 0xc028_aa05;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const UFFDIO_POISON: u64 = 0xc020_aa08;

/// An actor's descriptor.
#[derive(Debug, Default)]
pub struct Uffd {
    fd: Option<i32>,
    /// Whose it is.
    actor: u8,
    /// The way to who reads its events, if it tells any.
    monitor: Option<Monitor>,
}

impl Uffd {
    /// One of actor 0 that tells events.
    pub fn telling(monitor: Monitor) -> Uffd {
        Uffd {
            monitor: Some(monitor),
            ..Uffd::default()
        }
    }

    /// The way to who reads its events, if it tells any.
    pub fn monitor(&self) -> Option<Monitor> {
        self.monitor
    }

    /// The process is a new one, of this actor: what its parent has is not its own.
    pub fn be_born(&mut self, actor: u8) {
        self.close();
        self.actor = actor;
    }

    /// For a thread of the same process: the same descriptor. It is made now, if it can be: two threads would make two.
    pub fn shared(&mut self) -> Uffd {
        let _ = self.fd();
        Uffd {
            fd: self.fd,
            actor: self.actor,
            monitor: self.monitor,
        }
    }

    /// Lets go of it: what is registered is so no more, if nobody else has the descriptor.
    pub fn close(&mut self) {
        if let Some(fd) = self.fd.take() {
            sys::close(fd);
        }
    }

    fn fd(&mut self) -> Result<i32, Errno> {
        if let Some(fd) = self.fd {
            return Ok(fd);
        }
        let inherited = match self.monitor {
            Some(monitor) => monitor.inherited(self.actor)?,
            None => None,
        };
        let fd = match inherited {
            Some(fd) => fd,
            None => self.made()?,
        };
        self.fd = Some(fd);
        Ok(fd)
    }

    /// A new one.
    fn made(&self) -> Result<i32, Errno> {
        // Nobody can wait for what blocks when it is read.
        let waits = if self.monitor.is_some() {
            libc::O_NONBLOCK
        } else {
            0
        };
        let flags = USER_MODE_ONLY | (libc::O_CLOEXEC | waits) as u64;
        // SAFETY: no memory involved.
        let fd = unsafe { sys::call(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0]) }? as i32;
        let made = match self.monitor {
            None => ioctl(fd, UFFDIO_API, &mut [API, FEATURES, 0]),
            Some(monitor) => {
                // Only who may trace others may hear of forks.
                let rights = AsTheSameUser::begin().map_err(|_| Errno(libc::EPERM))?;
                let made = ioctl(fd, UFFDIO_API, &mut [API, FEATURES | EVENTS, 0]);
                drop(rights);
                made.and_then(|()| monitor.watch(self.actor, fd))
            }
        };
        match made {
            Ok(()) => Ok(fd),
            Err(errno) => {
                sys::close(fd);
                Err(errno)
            }
        }
    }

    /// One call about `len` bytes at `start`, which the caller knows to lie in the arena or to be refused, as it does the place that
    /// pages are moved to.
    ///
    /// # Errors
    /// The kernel contradicts itself about how far it came.
    pub fn call(
        &mut self,
        (start, len): (u64, u64),
        call: UffdCall,
        page: u64,
    ) -> Result<Result<OpResult, Errno>, String> {
        let fd = match self.fd() {
            Ok(fd) => fd,
            Err(errno) => return Ok(Err(errno)),
        };
        let plain = |result: Result<(), Errno>| Ok(result.map(|()| OpResult::Ret(0)));
        match call {
            UffdCall::Register { mode } => {
                plain(ioctl(fd, UFFDIO_REGISTER, &mut [start, len, mode, 0]))
            }
            UffdCall::Unregister => plain(ioctl(fd, UFFDIO_UNREGISTER, &mut [start, len])),
            UffdCall::Copy { tag, protect } => {
                let source = Source::new((start, len), tag, page);
                let mode = if protect { COPY_MODE_WP } else { 0 };
                let mut arg = [start, source.address(), len, mode, 0];
                let result = ioctl(fd, UFFDIO_COPY, &mut arg);
                filled(result, arg[4] as i64, len)
            }
            UffdCall::ZeroPage => {
                let mut arg = [start, len, 0, 0];
                let result = ioctl(fd, UFFDIO_ZEROPAGE, &mut arg);
                filled(result, arg[3] as i64, len)
            }
            UffdCall::Protect { on } => {
                plain(ioctl(fd, UFFDIO_WRITEPROTECT, &mut [start, len, on.into()]))
            }
            UffdCall::Poison => {
                let mut arg = [start, len, 0, 0];
                let result = ioctl(fd, UFFDIO_POISON, &mut arg);
                filled(result, arg[3] as i64, len)
            }
            UffdCall::Move { to, holes } => {
                let to = wire::ARENA_BASE.wrapping_add(to as u64);
                let mode = if holes { MOVE_MODE_HOLES } else { 0 };
                let mut arg = [to, start, len, mode, 0];
                let result = ioctl(fd, UFFDIO_MOVE, &mut arg);
                filled(result, arg[4] as i64, len)
            }
        }
    }
}

/// What is copied.
struct Source {
    bytes: Vec<u8>,
    /// Where the first page begins in it: older kernels want the address aligned.
    skip: usize,
}

impl Source {
    /// Pages as a write with this tag to the range leaves them; one for ranges that the kernel refuses.
    fn new((start, len): (u64, u64), tag: u16, page: u64) -> Source {
        let wanted = if len <= MOST * page { len } else { page };
        let size = wanted.next_multiple_of(page).max(page) as usize;
        let mut bytes = vec![0u8; size + page as usize];
        let skip = bytes.as_ptr().align_offset(page as usize);
        let first = start.wrapping_sub(wire::ARENA_BASE) as i64;
        let first = first.div_euclid(page as i64) as u64;
        for (at, index) in (skip..skip + size).step_by(page as usize).zip(0u64..) {
            let value = (u64::from(tag) << 16 | first.wrapping_add(index) & 0xffff) + 1;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        Source { bytes, skip }
    }

    fn address(&self) -> u64 {
        self.bytes[self.skip..].as_ptr() as u64
    }
}

/// The result of a call that has said to have done `done` bytes of `len`, or, below zero, why none.
fn filled(
    result: Result<(), Errno>,
    done: i64,
    len: u64,
) -> Result<Result<OpResult, Errno>, String> {
    let moved = |bytes: i64| OpResult::Moved {
        bytes: bytes as u64,
        values: Vec::new(),
        stray: 0,
    };
    match result {
        Ok(()) if done as u64 == len => Ok(Ok(moved(done))),
        Err(Errno(libc::EAGAIN)) if done > 0 && (done as u64) < len => Ok(Ok(moved(done))),
        // What is wrong with the call is noticed before the field is written.
        Err(Errno(errno)) if done == 0 || done == -i64::from(errno) => Ok(Err(Errno(errno))),
        other => Err(format!(
            "userfaultfd returns {other:?} and says {done} of {len} bytes"
        )),
    }
}

/// ioctl(2) with a structure of 64-bit fields.
fn ioctl<const N: usize>(fd: i32, number: u64, arg: &mut [u64; N]) -> Result<(), Errno> {
    let args = [fd as u64, number, arg.as_mut_ptr() as u64, 0, 0, 0];
    // SAFETY: `arg` is as large as the number says; what the kernel changes besides lies in the arena, see `call`.
    unsafe { sys::call(libc::SYS_ioctl, args) }.map(|_| ())
}
