//! Protection keys: those that every actor has allocated, and the rights that go with them. Children have their parent's.

use crate::sys;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use wire::Key;

/// Without restrictions, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS.
const RIGHTS: [u64; 3] = [0, 2, 1];

/// Their numbers; those of a kernel that gave none are not allocated either.
static OWN: [AtomicI32; 3] = [AtomicI32::new(1), AtomicI32::new(2), AtomicI32::new(3)];

/// The kernel has given some: the processor has them.
static GIVEN: AtomicBool = AtomicBool::new(false);
/// Memory may have a key that forbids loads.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Allocates this process's keys, for it and its children.
pub fn allocate() {
    for (number, rights) in OWN.iter().zip(RIGHTS) {
        // SAFETY: touches no memory; nothing has the new key yet.
        let key = unsafe { sys::call(libc::SYS_pkey_alloc, [0, rights, 0, 0, 0, 0]) };
        if let Ok(key) = key {
            number.store(key as i32, Relaxed);
            GIVEN.store(true, Relaxed);
        }
    }
}

/// The number of a key, which memory is about to get.
pub fn number(key: Key) -> Result<i32, String> {
    match key {
        Key::Number(number) => Ok(number.into()),
        Key::Own(index) => {
            IN_USE.store(GIVEN.load(Relaxed), Relaxed);
            let own = OWN.get(usize::from(index));
            let own = own.ok_or_else(|| format!("an actor has no key {index}"))?;
            Ok(own.load(Relaxed))
        }
    }
}

/// The key with a number that the kernel has told.
pub fn named(number: u32) -> Key {
    let own = OWN
        .iter()
        .position(|own| own.load(Relaxed) as u32 == number);
    match own {
        Some(index) => Key::Own(index as u8),
        None => Key::Number(number as i8),
    }
}

/// Does something with the right to read memory whatever its key.
pub fn unlocked<T>(what: impl FnOnce() -> T) -> T {
    if !IN_USE.load(Relaxed) {
        return what();
    }
    let rights = rights();
    set_rights(0);
    let done = what();
    set_rights(rights);
    done
}

/// The rights register of this thread.
#[cfg(target_arch = "x86_64")]
fn rights() -> u32 {
    let rights: u32;
    // SAFETY: reads PKRU; the kernel has given keys out, so the processor has the register and it is switched on.
    unsafe {
        std::arch::asm!("rdpkru", in("ecx") 0, out("eax") rights, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    rights
}

#[cfg(target_arch = "x86_64")]
fn set_rights(rights: u32) {
    // SAFETY: as above. The memory of Rust's has key 0, which nobody restricts.
    unsafe {
        std::arch::asm!("wrpkru", in("eax") rights, in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
    }
}

/// There are none on the machines that we have.
#[cfg(target_arch = "aarch64")]
fn rights() -> u32 {
    0
}

#[cfg(target_arch = "aarch64")]
fn set_rights(_: u32) {}
