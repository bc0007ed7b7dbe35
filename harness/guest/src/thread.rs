//! Threads of this process, made without libc: they share everything, its errno too, and stand on stacks that are there from
//! the start, so that nothing is mapped while programs run.

use crate::sys::Errno;
use std::arch::global_asm;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering::Acquire};
use wire::MAX_LANES;

/// Stacks: the process's own, one for each thread of a section, and one more, since an actor that was forked by a thread goes
/// on where that thread stood.
pub const STACKS: usize = 2 + MAX_LANES;

/// Bytes of a thread's stack.
const BYTES: usize = 128 << 10;

#[repr(C, align(4096))]
struct Stacks(UnsafeCell<[[u8; BYTES]; STACKS - 1]>);

// SAFETY: each stack belongs to the thread that was given it.
unsafe impl Sync for Stacks {}

static PLACE: Stacks = Stacks(UnsafeCell::new([[0; BYTES]; STACKS - 1]));

/// Which stack we stand on: 0 is the process's own.
pub fn stack_number() -> usize {
    let here = 0_u8;
    let offset = (&raw const here as usize).wrapping_sub(PLACE.0.get() as usize);
    if offset < BYTES * (STACKS - 1) {
        1 + offset / BYTES
    } else {
        0
    }
}

/// The numbers of the stacks that nobody stands on, while this is the only thread.
pub fn free_stacks() -> impl Iterator<Item = usize> {
    let own = stack_number();
    (1..STACKS).filter(move |number| *number != own)
}

// (flags, top of the stack, tid, function, argument) -> tid or minus errno. The tid is stored when the thread begins and set to
// zero, with a wake-up, when it has let go of the address space.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".global mmdiff_thread",
    "mmdiff_thread:",
    "mov r9, rcx",
    "mov r10, rdx",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "ret",
    "2: xor ebp, ebp",
    "mov rdi, r8",
    "call r9",
    "xor edi, edi",
    "mov eax, 60",
    "syscall",
    "ud2",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".global mmdiff_thread",
    "mmdiff_thread:",
    "mov x9, x3",
    "mov x10, x4",
    "mov x4, x2",
    "mov x3, #0",
    "mov x8, #220",
    "svc #0",
    "cbz x0, 2f",
    "ret",
    "2: mov x29, #0",
    "mov x30, #0",
    "mov x0, x10",
    "blr x9",
    "mov x0, #0",
    "mov x8, #93",
    "svc #0",
    "brk #0",
);

extern "C" {
    fn mmdiff_thread(
        flags: u64,
        stack: u64,
        tid: *const AtomicU32,
        function: extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> i64;
}

/// Starts a thread on a stack of [`free_stacks`]. It ends when `function` returns; `tid` is zero then ([`join`]).
///
/// # Safety
/// Nobody stands on the stack. `tid` and what `argument` points to outlive the thread, and `function` may use it so from another
/// thread. It must not use what libc keeps per thread.
pub unsafe fn start(
    stack: usize,
    tid: &AtomicU32,
    function: extern "C" fn(*mut c_void),
    argument: *mut c_void,
) -> Result<(), Errno> {
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID;
    let top = PLACE.0.get() as u64 + (stack * BYTES) as u64;
    // SAFETY: the caller's promise; the top is aligned as a page is.
    match unsafe { mmdiff_thread(flags as u64, top, tid, function, argument) } {
        error @ -4095..=-1 => Err(Errno(-error as i32)),
        _ => Ok(()),
    }
}

/// Waits until a thread has ended.
pub fn join(tid: &AtomicU32) {
    loop {
        match tid.load(Acquire) {
            0 => return,
            alive => crate::sys::futex_wait(tid, alive),
        }
    }
}

/// Puts this thread on one processor.
pub fn pin(cpu: u32) {
    let mask = 1_u64 << (cpu % 64);
    // SAFETY: the mask lives. Where there is no such processor, the thread runs where it is.
    let _ = unsafe {
        crate::sys::call(
            libc::SYS_sched_setaffinity,
            [0, 8, &raw const mask as u64, 0, 0, 0],
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    extern "C" fn count(argument: *mut c_void) {
        // SAFETY: the test's counter, which outlives the threads.
        let counter = unsafe { &*argument.cast::<AtomicU32>() };
        counter.fetch_add(1 << (8 * stack_number()), Relaxed);
    }

    #[test]
    fn threads_run_on_stacks_of_their_own() {
        let counter = AtomicU32::new(0);
        let tids: [AtomicU32; 2] = Default::default();
        for (stack, tid) in free_stacks().zip(&tids) {
            // SAFETY: all of it outlives the threads, which are joined.
            unsafe { start(stack, tid, count, &raw const counter as *mut c_void) }.unwrap();
        }
        tids.iter().for_each(join);
        assert_eq!(counter.load(Relaxed), 1 << 8 | 1 << 16);
        assert_eq!(stack_number(), 0);
        assert_eq!(free_stacks().count(), STACKS - 1);
    }
}
