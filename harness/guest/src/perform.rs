//! The ops under test, one system call or access each, and the deliberate faults of the guest.

use crate::access;
use crate::arena::Arena;
use crate::failing::FailNth;
use crate::files::Files;
use crate::keys;
use crate::look::{self, value_runs};
use crate::sys::{self, Errno, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE, MREMAP_DONTUNMAP};
use crate::transfer::{self, AsTheSameUser, Ends, Transfer};
use crate::uffd::Uffd;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use wire::{Fault, GuestFault, Op, OpResult, Ranges, ARENA_BASE};

/// mseal, the same number on both architectures; libc does not know it on all targets.
const SYS_MSEAL: i64 = 462;

/// More than any user address space has.
const BEYOND: u64 = 1 << 57;

/// What an op needs to know besides itself.
pub struct Bench<'a> {
    pub arena: Arena,
    pub fault: Option<GuestFault>,
    pub files: &'a Files,
    pub ends: Ends,
    /// The actors' processes, by number.
    pub pids: &'a [AtomicI32],
    /// The actor that performs.
    pub me: u8,
    /// Room for loaded values.
    pub buffer: &'a mut [u64],
    /// The actor's userfaultfd.
    pub uffd: &'a mut Uffd,
    /// What is to fail within the op's call.
    pub fails: &'a FailNth,
    /// What the ops have done to the process that unmapping the arena does not undo.
    pub traces: &'a mut Traces,
}

/// What a program leaves behind besides what is mapped in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traces {
    /// mlockall was called: what this process maps may be locked.
    pub locks_future: bool,
    /// mlockall has locked and populated what this process had mapped.
    pub locked_current: bool,
    /// Something may be sealed, which cannot be unmapped.
    pub sealed: bool,
    /// Memory may have been locked.
    pub locks: bool,
    /// prctl has switched huge pages off, or on again.
    pub thp_disabled: bool,
    /// MREMAP_DONTUNMAP may have unlocked memory that kernels from 6.13 to 7.1 count as locked for ever.
    pub locks_lost: bool,
}

impl Traces {
    /// What two threads have left behind.
    pub fn and(self, other: Traces) -> Traces {
        Traces {
            locks_future: self.locks_future | other.locks_future,
            locked_current: self.locked_current | other.locked_current,
            sealed: self.sealed | other.sealed,
            locks: self.locks | other.locks,
            thp_disabled: self.thp_disabled | other.thp_disabled,
            locks_lost: self.locks_lost | other.locks_lost,
        }
    }
}

fn ret(result: Result<u64, Errno>, fault: Option<GuestFault>) -> OpResult {
    match result {
        Ok(value) => OpResult::Ret(value as i64),
        Err(Errno(libc::EINVAL)) if fault == Some(GuestFault::WrongErrno) => {
            OpResult::Ret(-i64::from(libc::ENOMEM))
        }
        Err(Errno(number)) => OpResult::Ret(-i64::from(number)),
    }
}

/// prctl(PR_SET_THP_DISABLE) of this process.
pub fn thp_disable(disable: u32, flags: u32) -> Result<u64, Errno> {
    let what = libc::PR_SET_THP_DISABLE as u64;
    // SAFETY: touches no memory.
    unsafe {
        sys::call(
            libc::SYS_prctl,
            [what, disable.into(), flags.into(), 0, 0, 0],
        )
    }
}

/// Lets the kernel forget what this process has stored to, its own memory included. Write-protects all of it.
fn clear_soft_dirty() -> Result<u64, Errno> {
    let fd = sys::open(c"/proc/self/clear_refs", libc::O_WRONLY)?;
    let what = b"4";
    // SAFETY: the byte lives; the file is this process's own, and closed once.
    unsafe {
        let written = sys::call(
            libc::SYS_write,
            [fd as u64, what.as_ptr() as u64, 1, 0, 0, 0],
        );
        libc::close(fd);
        written.map(|_| 0)
    }
}

impl Bench<'_> {
    /// The address of a position, if the range from there stays in the arena and its margins, or is one that the kernel
    /// refuses because its end is no address (`refused`). Anything else would reach the guest itself.
    fn range(&self, at: i64, len: u64, refused: bool) -> Result<u64, String> {
        let start = ARENA_BASE.wrapping_add(at as u64);
        let rounded = len.checked_next_multiple_of(self.arena.page).unwrap_or(0);
        let inside = start >= self.arena.low()
            && start <= self.arena.high()
            && start
                .checked_add(len)
                .is_some_and(|end| end <= self.arena.high());
        let wraps = start.wrapping_add(rounded) <= start;
        if inside || refused && (wraps || len >= BEYOND) {
            Ok(start)
        } else {
            Err(format!(
                "{len} bytes at {at} leave the arena and its margins"
            ))
        }
    }

    /// Performs any op but fork and exit, which are the actor's.
    ///
    /// # Errors
    /// The op would leave the arena: not one of the kernel's errors but of whoever sent the program.
    pub fn perform(&mut self, op: Op) -> Result<OpResult, String> {
        let fault = self.fault;
        // SAFETY of every call below: the range lies in the arena or its margins, where nothing of ours is, or the
        // kernel refuses it; see `range`.
        match op {
            Op::Mmap {
                at,
                len,
                prot,
                flags,
                file,
            } => {
                let fixed = flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) as u32 != 0;
                let start = self.range(at, len, true)?;
                if fixed && len >= BEYOND && start.checked_add(len).is_some_and(|end| end < BEYOND)
                {
                    return Err(format!("mmap of {len} bytes at {at} leaves the arena"));
                }
                let (fd, offset) = match file {
                    Some(map) => (self.files.descriptor(map)? as u64, map.offset),
                    None => (u64::MAX, 0),
                };
                self.traces.locks |= flags & libc::MAP_LOCKED as u32 != 0;
                let args = [start, len, prot.into(), flags.into(), fd, offset];
                // SAFETY: above.
                let result = unsafe { self.fails.call(libc::SYS_mmap, args) };
                Ok(match result {
                    Ok(got) if got == start => OpResult::Ret(0),
                    Ok(got) => {
                        let block = self.arena.margin();
                        let len = match flags & libc::MAP_HUGETLB as u32 {
                            0 => len,
                            _ => len.next_multiple_of(block),
                        };
                        // SAFETY: what has just been mapped, and nobody knows of.
                        let _ = unsafe { sys::call(libc::SYS_munmap, [got, len, 0, 0, 0, 0]) };
                        OpResult::Elsewhere
                    }
                    error => ret(error, fault),
                })
            }
            Op::Munmap { at, len } => {
                let start = self.range(at, len, true)?;
                if fault == Some(GuestFault::SkipMunmap) {
                    return Ok(OpResult::Ret(0));
                }
                let args = [start, len, 0, 0, 0, 0];
                // SAFETY: above.
                let result = unsafe { self.fails.call(libc::SYS_munmap, args) };
                Ok(ret(result, fault))
            }
            Op::Brk { heap, to } => {
                self.range(heap, 0, false)?;
                let to = self.range(to, 0, false)?;
                // SAFETY: the break is in the arena, where the worker has put it, and so is all that lies between it and `to`.
                let result = unsafe { sys::call(libc::SYS_brk, [to, 0, 0, 0, 0, 0]) };
                Ok(match result {
                    // What it returns in place of an error is the old break.
                    Ok(now) if now != to => ret(Err(Errno(libc::ENOMEM)), fault),
                    Ok(_) => OpResult::Ret(0),
                    error => ret(error, fault),
                })
            }
            Op::Mprotect { at, len, mut prot } => {
                let start = self.range(at, len, true)?;
                if fault == Some(GuestFault::WrongProt) && prot == 0 {
                    prot = libc::PROT_READ as u32;
                }
                let args = [start, len, prot.into(), 0, 0, 0];
                // SAFETY: above.
                let result = unsafe { self.fails.call(libc::SYS_mprotect, args) };
                Ok(ret(result, fault))
            }
            Op::PkeyMprotect { at, len, prot, key } => {
                let start = self.range(at, len, true)?;
                let key = keys::number(key)?;
                let args = [start, len, prot.into(), key as u64, 0, 0];
                // SAFETY: above.
                let result = unsafe { sys::call(libc::SYS_pkey_mprotect, args) };
                Ok(ret(result, fault))
            }
            Op::Madvise { at, len, advice } => {
                let mut start = self.range(at, len, true)?;
                match (advice, fault) {
                    (MADV_GUARD_INSTALL, Some(GuestFault::SkipGuardInstall))
                    | (MADV_GUARD_REMOVE, Some(GuestFault::SkipGuardRemove)) => {
                        return Ok(OpResult::Ret(0));
                    }
                    (MADV_GUARD_INSTALL, Some(GuestFault::WrongPage))
                        if start.saturating_add(len) + self.arena.page <= self.arena.high() =>
                    {
                        start += self.arena.page;
                    }
                    _ => {}
                }
                let args = [start, len, advice as u64, 0, 0, 0];
                // SAFETY: above.
                let result = unsafe { self.fails.call(libc::SYS_madvise, args) };
                Ok(ret(result, fault))
            }
            Op::Mlock { at, len, flags } => {
                let start = self.range(at, len, true)?;
                // Even if it fails in the end.
                self.traces.locks = true;
                let (number, flags) = match flags {
                    0 => (libc::SYS_mlock, 0),
                    flags => (libc::SYS_mlock2, flags.into()),
                };
                // SAFETY: above.
                let result = unsafe { self.fails.call(number, [start, len, flags, 0, 0, 0]) };
                Ok(ret(result, fault))
            }
            Op::Munlock { at, len } => {
                let start = self.range(at, len, true)?;
                let args = [start, len, 0, 0, 0, 0];
                // SAFETY: above.
                let result = unsafe { self.fails.call(libc::SYS_munlock, args) };
                Ok(ret(result, fault))
            }
            Op::Mlockall { flags } => {
                // SAFETY: changes no content and unmaps nothing, of the guest neither.
                let result =
                    unsafe { sys::call(libc::SYS_mlockall, [flags.into(), 0, 0, 0, 0, 0]) };
                self.traces.locks_future |= result.is_ok();
                self.traces.locks |= result.is_ok();
                let current = flags & libc::MCL_CURRENT as u32 != 0;
                self.traces.locked_current |= result.is_ok() && current;
                Ok(ret(result, fault))
            }
            Op::Munlockall => {
                // SAFETY: as mlockall.
                let result = unsafe { sys::call(libc::SYS_munlockall, [0; 6]) };
                Ok(ret(result, fault))
            }
            Op::ClearSoftDirty => Ok(ret(clear_soft_dirty(), fault)),
            Op::ThpDisable { disable, flags } => {
                self.traces.thp_disabled = true;
                Ok(ret(thp_disable(disable, flags), fault))
            }
            Op::Mseal { at, len, flags } => {
                let start = self.range(at, len, true)?;
                let args = [start, len, flags.into(), 0, 0, 0];
                // SAFETY: above.
                let result = unsafe { sys::call(SYS_MSEAL, args) };
                // One that fails may have sealed the VMAs before the one that it cannot split.
                self.traces.sealed |= result != Err(Errno(libc::ENOSYS));
                Ok(ret(result, fault))
            }
            Op::Mremap {
                at,
                len,
                to,
                new_len,
                flags,
            } => self.mremap((at, len), (to, new_len), flags),
            Op::Signal { .. } => Err("a signal where no threads run at once".to_owned()),
            Op::Look { at, pages } => {
                let start = self.access_range(at, pages)?;
                let room = self.buffer.get_mut(..pages as usize);
                let room = room.ok_or("a look at more pages than there is room for")?;
                let unflagged = look::guards_without_flag(self.arena, start, room)?;
                Ok(OpResult::Ret(unflagged.into()))
            }
            Op::Read { at, pages } => {
                let start = self.access_range(at, pages)?;
                let mut values: Vec<(u32, u64)> = Vec::new();
                let mut done = 0;
                while done < pages {
                    let want = ((pages - done) as usize).min(self.buffer.len());
                    let at = start + u64::from(done) * self.arena.page;
                    let got = access::load(at, self.arena.page, &mut self.buffer[..want]);
                    for (_, len, value) in value_runs(&self.buffer[..got]) {
                        values.push((len, value));
                    }
                    done += got as u32;
                    if got < want {
                        return Ok(self.access(done, values, true));
                    }
                }
                Ok(self.access(done, values, false))
            }
            Op::Write { at, pages, mut tag } => {
                let start = self.access_range(at, pages)?;
                if fault == Some(GuestFault::WrongTag) {
                    tag ^= 1;
                }
                let first = at.div_euclid(self.arena.page as i64) as u64 & 0xffff;
                let value = (u64::from(tag) << 16 | first) + 1;
                // SAFETY: above.
                let done =
                    unsafe { access::store(start, self.arena.page, pages.into(), value) } as u32;
                Ok(self.access(done, Vec::new(), done < pages))
            }
            Op::Transfer {
                way,
                ref ranges,
                actor,
                tag,
            } => {
                self.all_inside(ranges)?;
                let (pid, _rights) = self.process_of(actor)?;
                let result = Transfer {
                    ends: self.ends,
                    way,
                    ranges,
                    page: self.arena.page,
                    pid,
                    tag,
                }
                .run()?;
                Ok(match result {
                    Ok(moved) => moved,
                    Err(errno) => ret(Err(errno), fault),
                })
            }
            Op::ProcessMadvise {
                ref ranges,
                actor,
                advice,
                flags,
            } => {
                self.all_inside(ranges)?;
                let (pid, _rights) = self.process_of(actor)?;
                Ok(
                    match transfer::process_madvise(ranges, pid, advice, flags)? {
                        Ok(bytes) => OpResult::Moved {
                            bytes,
                            values: Vec::new(),
                            stray: 0,
                        },
                        Err(errno) => ret(Err(errno), fault),
                    },
                )
            }
            Op::Uffd { at, len, call } => {
                let range = (self.range(at, len, true)?, len);
                if let wire::UffdCall::Move { to, .. } = call {
                    self.range(to, len, true)?;
                }
                Ok(match self.uffd.call(range, call, self.arena.page)? {
                    Ok(done) => done,
                    Err(errno) => ret(Err(errno), fault),
                })
            }
            Op::Truncate { file, len } => Ok(ret(self.files.truncate(file, len)?, fault)),
            Op::PunchHole { file, offset, len } => {
                Ok(ret(self.files.punch_hole(file, offset, len)?, fault))
            }
            Op::Seal { file, seals } => Ok(ret(self.files.seal(file, seals)?, fault)),
            Op::Fork { .. } | Op::Exit => Err("not an op of the bench".to_owned()),
        }
    }

    fn mremap(
        &mut self,
        (at, len): (i64, u64),
        (to, new_len): (i64, u64),
        mut flags: u32,
    ) -> Result<OpResult, String> {
        let new_address = flags & (libc::MREMAP_FIXED | MREMAP_DONTUNMAP) as u32 != 0;
        let start = self.range(at, len, true)?;
        // What grows in place, or is cut off, begins at the old address.
        let new = self.range(if new_address { to } else { at }, new_len, true)?;
        if self.fault == Some(GuestFault::UnmapAnyway) {
            flags &= !(MREMAP_DONTUNMAP as u32);
        }
        // Even if it fails: of several mappings the first ones have gone then.
        self.traces.locks_lost |= self.traces.locks && flags & MREMAP_DONTUNMAP as u32 != 0;
        let args = [start, len, new_len, flags.into(), new, 0];
        // SAFETY: both ranges lie in the arena or its margins, or the kernel refuses them; see `range`.
        let result = unsafe { self.fails.call(libc::SYS_mremap, args) };
        Ok(match result {
            Ok(got) if got == new => OpResult::Ret(0),
            Ok(got) => {
                // SAFETY: what has just been mapped there, and nobody knows of.
                let _ = unsafe { sys::call(libc::SYS_munmap, [got, new_len, 0, 0, 0, 0]) };
                OpResult::Elsewhere
            }
            error => ret(error, self.fault),
        })
    }

    /// Whether every range lies in the arena and its margins.
    fn all_inside(&self, ranges: &Ranges) -> Result<(), String> {
        if usize::from(ranges.count) > ranges.list.len() {
            return Err(format!("{} ranges in one call", ranges.count));
        }
        for (at, len) in ranges.iter() {
            self.range(at, len, false)?;
        }
        Ok(())
    }

    /// The process of an actor, 0 for our own, and the right to get at its memory.
    fn process_of(&self, actor: u8) -> Result<(i32, Option<AsTheSameUser>), String> {
        if actor == self.me {
            return Ok((0, None));
        }
        match self
            .pids
            .get(usize::from(actor))
            .map(|pid| pid.load(Relaxed))
        {
            Some(pid @ 1..) => Ok((pid, Some(AsTheSameUser::begin()?))),
            _ => Err(format!("actor {actor} has no process")),
        }
    }

    fn access_range(&self, at: i64, pages: u32) -> Result<u64, String> {
        match pages.checked_sub(1) {
            None => self.range(at, 0, false),
            // Eight bytes of the last page.
            Some(last) => self.range(at, u64::from(last) * self.arena.page + 8, false),
        }
    }

    fn access(&self, pages: u32, values: Vec<(u32, u64)>, faulted: bool) -> OpResult {
        let fault = faulted.then(|| {
            let (signo, mut code, address, key) = access::last_fault();
            // SEGV_MAPERR and SEGV_ACCERR.
            if self.fault == Some(GuestFault::WrongSiCode) && (signo, code) == (libc::SIGSEGV, 1) {
                code = 2;
            }
            Fault {
                signo,
                code,
                addr: address.wrapping_sub(ARENA_BASE) as i64,
                // SEGV_PKUERR.
                key: ((signo, code) == (libc::SIGSEGV, 4)).then(|| keys::named(key)),
            }
        });
        OpResult::Access {
            pages,
            values,
            fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_would_reach_the_guest_are_refused() {
        let arena = Arena {
            page: 4096,
            pages: 1536,
        };
        let bench = Bench {
            arena,
            fault: None,
            files: &Files::default(),
            ends: Ends::create().unwrap(),
            pids: &[],
            me: 0,
            buffer: &mut [],
            uffd: &mut Uffd::default(),
            fails: &FailNth::default(),
            traces: &mut Traces::default(),
        };
        let block = 2 << 20;
        assert!(bench.range(-block, 5 * block as u64, true).is_ok());
        assert!(bench.range(-block - 1, 1, true).is_err());
        assert!(bench.range(0, 4 * block as u64 + 1, true).is_err());
        assert!(bench.range(0, 1 << 40, true).is_err());
        assert!(bench.range(0, 0, true).is_ok());
        // The kernel refuses these: the end wraps around, or no address space is that large.
        assert!(bench.range(0, u64::MAX, true).is_ok());
        assert!(bench.range(0, u64::MAX - 8191, true).is_ok());
        assert!(bench.range(0, u64::MAX - 8191, false).is_err());
    }
}
