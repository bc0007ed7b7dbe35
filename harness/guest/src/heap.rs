//! The guest's heap. It lies in the program's own data, so that nothing is mapped while programs run: after
//! mlockall(MCL_FUTURE) whatever a process maps counts against what its user may lock, and programs see that limit.
//!
//! Blocks are powers of two; those given back wait in a list for the next of their size. What is too large, or comes when
//! the pool is used up, is the system's business: no program of a sane host makes us need so much.
//!
//! Threads of an actor share the pool, one at a time. Whoever forks keeps the others out meanwhile ([`undisturbed`]), so that
//! the child's copy is whole. A process without threads pays nothing for that: an emulated processor takes long for a locked
//! instruction.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes in the pool. What a batch of programs takes, decoded, is a tenth of it.
const POOL: usize = 4 << 20;
/// Largest alignment of a block.
const ALIGN: usize = 4096;
/// Smallest block, and number of sizes: up to 512 KiB.
const SMALLEST: usize = 32;
const SIZES: usize = 15;

/// See the module.
pub struct Heap(UnsafeCell<Pool>);

#[repr(C, align(4096))]
struct Pool {
    bytes: [u8; POOL],
    /// Bytes that were ever given out, from the start.
    used: usize,
    /// The first free block of each size; a free block begins with the address of the next one.
    free: [*mut u8; SIZES],
}

// SAFETY: the pool is used under the lock, and signal handlers do not allocate.
unsafe impl Sync for Heap {}

/// Somebody uses a pool.
static IN_USE: AtomicBool = AtomicBool::new(false);
/// There are threads.
static SHARED: AtomicBool = AtomicBool::new(cfg!(test));

/// Says, while there is one thread, whether there will be others.
pub fn share(with_others: bool) {
    SHARED.store(with_others, Ordering::Relaxed);
}

/// Does something while nobody else takes memory or gives any back. `what` must not do so either.
pub fn undisturbed<T>(what: impl FnOnce() -> T) -> T {
    if !SHARED.load(Ordering::Relaxed) {
        return what();
    }
    while IN_USE
        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        std::hint::spin_loop();
    }
    let done = what();
    IN_USE.store(false, Ordering::Release);
    done
}

impl Heap {
    pub const fn new() -> Heap {
        Heap(UnsafeCell::new(Pool {
            bytes: [0; POOL],
            used: 0,
            free: [std::ptr::null_mut(); SIZES],
        }))
    }

    fn is_ours(&self, block: *mut u8) -> bool {
        let start = self.0.get() as usize;
        (start..start + POOL).contains(&(block as usize))
    }
}

/// Number of the block size that holds a layout.
fn size_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).max(SMALLEST);
    let number = bytes.checked_next_power_of_two()?.trailing_zeros() - SMALLEST.trailing_zeros();
    (layout.align() <= ALIGN && (number as usize) < SIZES).then_some(number as usize)
}

impl Pool {
    /// A block of a size; null when there is none.
    fn take(&mut self, number: usize) -> *mut u8 {
        let head = self.free[number];
        if !head.is_null() {
            // SAFETY: a free block begins with the address of the next, see `give`.
            self.free[number] = unsafe { head.cast::<*mut u8>().read() };
            return head;
        }
        let bytes = SMALLEST << number;
        let start = self.used.next_multiple_of(bytes.min(ALIGN));
        if start + bytes > POOL {
            return std::ptr::null_mut();
        }
        self.used = start + bytes;
        &raw mut self.bytes[start]
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It was taken, with this number, and nobody uses it any more.
    unsafe fn give(&mut self, block: *mut u8, number: usize) {
        // SAFETY: the caller's promise; every block holds an address and is aligned for one.
        unsafe { block.cast::<*mut u8>().write(self.free[number]) };
        self.free[number] = block;
    }
}

// SAFETY: blocks do not overlap, are as large and as aligned as asked for, and go back to where they came from.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(number) = size_of(layout) {
            // SAFETY: under the lock, and the reference does not leave this call.
            let block = undisturbed(|| unsafe { &mut *self.0.get() }.take(number));
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: as ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match size_of(layout).filter(|_| self.is_ours(block)) {
            // SAFETY: under the lock; taken with the same layout, so with the same number.
            Some(number) => undisturbed(|| unsafe { (*self.0.get()).give(block, number) }),
            // SAFETY: it came from there.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: `bytes` is as the caller of realloc promises.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if self.is_ours(block) && size_of(wanted) == size_of(layout) {
            return block;
        }
        // SAFETY: both blocks hold what is copied.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of many sizes, taken, grown and given back in a mixed order, keep what is written in them.
    #[test]
    fn blocks_do_not_overlap_and_are_used_again() {
        static HEAP: Heap = Heap::new();
        let heap = &HEAP;
        let mut seed = 1u64;
        let mut next = move |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..20_000u32 {
            let mark = round as u8;
            if live.len() < 60 && next(2) == 0 {
                let most = 1 << next(13);
                let size = 1 + next(most) as usize;
                let align = 1 << next(6);
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: not empty.
                let block = unsafe { heap.alloc(layout) };
                assert_eq!(block as usize % layout.align(), 0);
                // SAFETY: as large as that.
                unsafe { block.write_bytes(mark, size) };
                live.push((block, layout, mark));
            } else if !live.is_empty() {
                let (block, layout, old) = live.swap_remove(next(live.len() as u64) as usize);
                // SAFETY: as large as that.
                let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
                assert!(bytes.iter().all(|b| *b == old), "round {round}");
                if next(3) == 0 {
                    let size = 1 + next(5000) as usize;
                    // SAFETY: taken with this layout.
                    let block = unsafe { heap.realloc(block, layout, size) };
                    let kept = layout.size().min(size);
                    // SAFETY: as large as that.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
                    assert!(bytes[..kept].iter().all(|b| *b == old), "round {round}");
                    bytes.fill(mark);
                    let layout = Layout::from_size_align(size, layout.align()).unwrap();
                    live.push((block, layout, mark));
                } else {
                    // SAFETY: taken with this layout.
                    unsafe { heap.dealloc(block, layout) };
                }
            }
        }
        // SAFETY: nobody else has it.
        let used = unsafe { (*heap.0.get()).used };
        assert!(used < POOL / 2, "blocks are not used again: {used}");
        for (block, layout, _) in live {
            // SAFETY: taken with this layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }

    #[test]
    fn threads_take_turns() {
        static HEAP: Heap = Heap::new();
        let layout = Layout::from_size_align(100, 8).unwrap();
        std::thread::scope(|scope| {
            for mark in 1..=4_u8 {
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        // SAFETY: not empty; as large as that; taken with this layout.
                        unsafe {
                            let block = HEAP.alloc(layout);
                            block.write_bytes(mark, 100);
                            let bytes = std::slice::from_raw_parts(block, 100);
                            assert!(bytes.iter().all(|b| *b == mark));
                            HEAP.dealloc(block, layout);
                        }
                    }
                });
            }
        });
        // SAFETY: nobody else has it.
        assert!(unsafe { (*HEAP.0.get()).used } <= 4 * 128);
    }

    #[test]
    fn what_does_not_fit_is_the_systems() {
        static HEAP: Heap = Heap::new();
        let heap = &HEAP;
        for (size, align) in [(2 << 20, 8), (64, 2 * ALIGN)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: not empty; taken and given back with the same layout.
            unsafe {
                let block = heap.alloc(layout);
                assert!(!block.is_null() && !heap.is_ours(block));
                block.write_bytes(1, size);
                heap.dealloc(block, layout);
            }
        }
        let layout = Layout::from_size_align(512 << 10, 8).unwrap();
        // SAFETY: not empty.
        let blocks: Vec<*mut u8> = (0..9).map(|_| unsafe { heap.alloc(layout) }).collect();
        assert!(heap.is_ours(blocks[7]) && !heap.is_ours(blocks[8]));
        for block in blocks {
            // SAFETY: taken with this layout.
            unsafe { heap.dealloc(block, layout) };
        }
    }
}
