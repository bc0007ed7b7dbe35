//! Loads and stores that may fault: each is one instruction at a known address, and the signal handler moves on to a
//! known other one.

use crate::thread::{stack_number, STACKS};
use std::arch::global_asm;
use std::ptr::addr_of;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

// (address, stride in bytes, count, out) -> how many loads worked: the first fault ends it.
// (address, stride in bytes, count, first value) -> how many stores worked; the value grows by one each time.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".global mmdiff_load",
    ".global mmdiff_load_at",
    ".global mmdiff_load_end",
    ".global mmdiff_store",
    ".global mmdiff_store_at",
    ".global mmdiff_store_end",
    "mmdiff_load:",
    "xor eax, eax",
    "2: cmp rax, rdx",
    "jae mmdiff_load_end",
    "mmdiff_load_at: mov r8, [rdi]",
    "mov [rcx + rax * 8], r8",
    "add rdi, rsi",
    "inc rax",
    "jmp 2b",
    "mmdiff_load_end: ret",
    "mmdiff_store:",
    "xor eax, eax",
    "2: cmp rax, rdx",
    "jae mmdiff_store_end",
    "mmdiff_store_at: mov [rdi], rcx",
    "inc rcx",
    "add rdi, rsi",
    "inc rax",
    "jmp 2b",
    "mmdiff_store_end: ret",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".global mmdiff_load",
    ".global mmdiff_load_at",
    ".global mmdiff_load_end",
    ".global mmdiff_store",
    ".global mmdiff_store_at",
    ".global mmdiff_store_end",
    "mmdiff_load:",
    "mov x4, #0",
    "2: cmp x4, x2",
    "b.hs mmdiff_load_end",
    "mmdiff_load_at: ldr x5, [x0]",
    "str x5, [x3, x4, lsl #3]",
    "add x0, x0, x1",
    "add x4, x4, #1",
    "b 2b",
    "mmdiff_load_end: mov x0, x4",
    "ret",
    "mmdiff_store:",
    "mov x4, #0",
    "2: cmp x4, x2",
    "b.hs mmdiff_store_end",
    "mmdiff_store_at: str x3, [x0]",
    "add x3, x3, #1",
    "add x0, x0, x1",
    "add x4, x4, #1",
    "b 2b",
    "mmdiff_store_end: mov x0, x4",
    "ret",
);

extern "C" {
    fn mmdiff_load(at: u64, stride: u64, count: u64, out: *mut u64) -> u64;
    fn mmdiff_store(at: u64, stride: u64, count: u64, value: u64) -> u64;
    static mmdiff_load_at: u8;
    static mmdiff_load_end: u8;
    static mmdiff_store_at: u8;
    static mmdiff_store_end: u8;
}

/// The last fault of a thread.
struct Last {
    signal: AtomicI32,
    code: AtomicI32,
    address: AtomicU64,
    /// si_pkey, where the signal has one.
    key: AtomicU32,
}

/// By the number of the stack that the thread stands on.
static LAST: [Last; STACKS] = [const {
    Last {
        signal: AtomicI32::new(0),
        code: AtomicI32::new(0),
        address: AtomicU64::new(0),
        key: AtomicU32::new(0),
    }
}; STACKS];

/// Loads eight bytes at `at`, `at + stride`, ... into `out` until it is full or a load faults. Returns how many worked;
/// when that is not all, [`last_fault`] tells why.
pub fn load(at: u64, stride: u64, out: &mut [u64]) -> usize {
    // SAFETY: a load from an address that is not ours to read faults, and the handler turns that into an early end;
    // one from memory of this process changes nothing.
    unsafe { mmdiff_load(at, stride, out.len() as u64, out.as_mut_ptr()) as usize }
}

/// Stores `value`, `value + 1`, ... likewise.
///
/// # Safety
/// The addresses lie in the arena or its margins, where nothing of Rust's lives.
pub unsafe fn store(at: u64, stride: u64, count: u64, value: u64) -> u64 {
    // SAFETY: the caller's promise; faults as in `load`.
    unsafe { mmdiff_store(at, stride, count, value) }
}

/// Signal number, si_code, si_addr and si_pkey of this thread's last fault.
pub fn last_fault() -> (i32, i32, u64, u32) {
    let last = &LAST[stack_number()];
    (
        last.signal.load(Relaxed),
        last.code.load(Relaxed),
        last.address.load(Relaxed),
        last.key.load(Relaxed),
    )
}

/// Where `siginfo_t` has si_pkey, in bytes: behind si_addr and room for the union that it lies in. It is always there.
const SI_PKEY: usize = 32;

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a SA_SIGINFO handler valid pointers to both, and a fault's si_addr is set.
    let (code, address, key, pc) = unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        (
            (*info).si_code,
            (*info).si_addr() as u64,
            info.cast::<u32>().add(SI_PKEY / 4).read(),
            program_counter(machine),
        )
    };
    // Addresses of labels; nothing is read through them.
    let (load_at, load_end) = (
        addr_of!(mmdiff_load_at) as u64,
        addr_of!(mmdiff_load_end) as u64,
    );
    let (store_at, store_end) = (
        addr_of!(mmdiff_store_at) as u64,
        addr_of!(mmdiff_store_end) as u64,
    );
    let next = if *pc == load_at {
        load_end
    } else if *pc == store_at {
        store_end
    } else {
        crate::sys::say(
            2,
            &format!(
                "{} signal {signal} code {code} at {address:#x}, pc {:#x} (load {load_at:#x}): a bug in the guest\n",
                crate::boot::MARK,
                *pc
            ),
        );
        crate::sys::exit(70);
    };
    *pc = next;
    let last = &LAST[stack_number()];
    last.signal.store(signal, Relaxed);
    last.code.store(code, Relaxed);
    last.address.store(address, Relaxed);
    last.key.store(key, Relaxed);
}

#[cfg(target_arch = "x86_64")]
fn program_counter(machine: &mut libc::mcontext_t) -> &mut u64 {
    // A register is 64 bits, whatever sign libc gives it.
    let register = &mut machine.gregs[libc::REG_RIP as usize];
    // SAFETY: i64 and u64 have the same layout.
    unsafe { &mut *(register as *mut i64).cast::<u64>() }
}

#[cfg(target_arch = "aarch64")]
fn program_counter(machine: &mut libc::mcontext_t) -> &mut u64 {
    &mut machine.pc
}

/// Signals that threads have sent each other and a handler has seen.
static HANDLED: AtomicU32 = AtomicU32::new(0);

/// How many, so far.
pub fn signals_handled() -> u32 {
    HANDLED.load(Acquire)
}

extern "C" fn on_signal(_: i32) {
    HANDLED.fetch_add(1, AcqRel);
}

/// Installs the handlers for SIGSEGV and SIGBUS, and for the signals that threads send each other, in this process; children inherit
/// them. The latter without SA_RESTART: a call that goes on after them does so by itself.
pub fn catch_faults() {
    // SAFETY: the handlers touch nothing but statics and the context they are given.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages of which the second is not accessible, and the page size.
    fn two_pages() -> (u64, u64) {
        let page = crate::sys::page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = crate::sys::map(2 * page as usize, flags, -1).unwrap();
        // SAFETY: our own fresh mapping.
        unsafe { libc::mprotect(at.add(page as usize).cast(), page as usize, libc::PROT_NONE) };
        (at as u64, page)
    }

    #[test]
    fn loads_and_stores_end_at_the_first_fault_and_say_where() {
        catch_faults();
        let (at, page) = two_pages();
        // SAFETY: our own fresh mapping.
        assert_eq!(unsafe { store(at + page - 16, 8, 4, 7) }, 2);
        let (signal, code, address, _) = last_fault();
        assert_eq!((signal, code, address), (libc::SIGSEGV, 2, at + page));
        let mut out = [0; 4];
        assert_eq!(load(at + page - 16, 8, &mut out), 2);
        assert_eq!(out, [7, 8, 0, 0]);
        assert_eq!(load(at, 8, &mut out), 4);
    }
}
