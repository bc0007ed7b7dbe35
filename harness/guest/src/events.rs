//! Events of userfaultfds. A call that tells one waits until somebody has read it, so while a program runs whose userfaultfds tell
//! events, a process of its own, the monitor, reads them all: it has every actor's descriptor, taken with pidfd_getfd(2), and the one
//! that a fork brings comes to it with the event.
//!
//! Who has the turn asks the monitor for what it has read. It does one thing at a time and what an op has told was read before the op
//! returned, so by its answer all of that is written down.

use crate::control::Control;
use crate::sys::{self, Errno};
use crate::transfer::AsTheSameUser;
use std::cell::UnsafeCell;
use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use wire::bounded::{MAX_ACTORS, MAX_EVENTS};
use wire::{Event, ARENA_BASE};

/// UFFD_EVENT_FORK, _REMAP, _REMOVE and _UNMAP.
const FORK: u8 = 0x13;
const REMAP: u8 = 0x14;
const REMOVE: u8 = 0x15;
const UNMAP: u8 = 0x16;

/// `struct uffd_msg`: the event in the lowest byte, then what it says.
type Message = [u64; 4];

/// What an actor and the monitor have to say to each other; in shared memory.
#[repr(C)]
pub struct Log {
    /// The monitor's process; 0: none.
    pub monitor: AtomicI32,
    /// Questions and answers so far.
    asked: AtomicU32,
    answered: AtomicU32,
    /// Descriptor that the monitor is asked to watch, the process that has it and the actor whose it is; no process: none.
    fd: AtomicI32,
    pid: AtomicI32,
    actor: AtomicU32,
    /// The actor that the fork under way makes.
    child: AtomicU32,
    /// The monitor's descriptor for each actor's userfaultfd; 0: it has none.
    fds: [AtomicI32; MAX_ACTORS],
    /// Errno of what the monitor could not do; 0: it could do all.
    failed: AtomicI32,
    /// Events since they were taken last, more than fit perhaps; whose, and what.
    count: AtomicU32,
    list: UnsafeCell<[(u32, Message); MAX_EVENTS]>,
}

// SAFETY: shared between processes. The list is the monitor's while a call may tell events, and of who has the turn once the monitor
// has answered; the answer is a release store that the asker has seen.
unsafe impl Sync for Log {}

/// An actor's way to the monitor.
#[derive(Clone, Copy)]
pub struct Monitor {
    control: &'static Control,
    /// An eventfd that the monitor waits for.
    bell: i32,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Monitor({})", self.bell)
    }
}

impl Monitor {
    /// Makes a monitor, a child of this process.
    ///
    /// # Errors
    /// There cannot be one.
    pub fn begin(control: &'static Control) -> Result<Monitor, String> {
        let text = |what: &'static str| move |e: Errno| format!("{what}: {e}");
        let flags = (libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) as u64;
        // SAFETY: no memory involved.
        let bell = unsafe { sys::call(libc::SYS_eventfd2, [0, flags, 0, 0, 0, 0]) };
        let bell = bell.map_err(text("eventfd"))? as i32;
        let log = &control.events;
        log.asked.store(0, Relaxed);
        log.answered.store(0, Relaxed);
        log.pid.store(0, Relaxed);
        log.failed.store(0, Relaxed);
        log.count.store(0, Relaxed);
        log.fds.iter().for_each(|fd| fd.store(0, Relaxed));
        // SAFETY: one thread; the child goes on with a copy, in `watch`.
        match unsafe { sys::call(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]) } {
            Ok(0) => watch(log, bell),
            Ok(pid) => log.monitor.store(pid as i32, Release),
            Err(e) => return Err(format!("a monitor cannot be made: {e}")),
        }
        Ok(Monitor { control, bell })
    }

    /// Ends the monitor. Whoever made it calls.
    pub fn end(self) {
        let pid = self.control.events.monitor.swap(0, Relaxed);
        if pid > 0 {
            sys::kill(pid);
            sys::wait_child(pid, false);
        }
        sys::close(self.bell);
    }

    /// Says whom the next event of a fork is about.
    pub fn forking(self, child: u8) {
        self.control.events.child.store(child.into(), Relaxed);
    }

    /// The userfaultfd that a fork has brought for an actor, if it has, from now on one of this process, too.
    pub fn inherited(self, actor: u8) -> Result<Option<i32>, Errno> {
        let log = &self.control.events;
        match log.fds[usize::from(actor)].load(Acquire) {
            0 => Ok(None),
            fd => descriptor_of(log.monitor.load(Acquire), fd).map(Some),
        }
    }

    /// Lets the monitor watch a userfaultfd that this process has made.
    ///
    /// # Errors
    /// It cannot.
    pub fn watch(self, actor: u8, fd: i32) -> Result<(), Errno> {
        let log = &self.control.events;
        // SAFETY: no memory involved.
        log.pid.store(unsafe { libc::getpid() }, Relaxed);
        log.fd.store(fd, Relaxed);
        log.actor.store(actor.into(), Relaxed);
        self.ask();
        match log.failed.swap(0, Relaxed) {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        }
    }

    /// Takes what was told since the last time. `None`: more than there is room for.
    ///
    /// # Errors
    /// The monitor has failed.
    pub fn take(self) -> Result<Option<Vec<(u8, Event)>>, String> {
        self.ask();
        let log = &self.control.events;
        match log.failed.swap(0, Relaxed) {
            0 => {}
            errno => return Err(format!("the monitor of userfaultfds: {}", Errno(errno))),
        }
        let count = log.count.swap(0, Relaxed) as usize;
        // SAFETY: the monitor has answered and no call is under way.
        let list = unsafe { &*log.list.get() };
        let told = list.get(..count);
        told.map(|told| {
            told.iter()
                .map(|(actor, message)| said(*actor, message))
                .collect()
        })
        .transpose()
    }

    /// Asks the monitor, and waits for its answer.
    fn ask(self) {
        let log = &self.control.events;
        let number = log.asked.load(Relaxed) + 1;
        log.asked.store(number, Release);
        let one = 1u64;
        // SAFETY: an eventfd takes eight bytes, which live.
        let _ = unsafe {
            sys::call(
                libc::SYS_write,
                [self.bell as u64, &raw const one as u64, 8, 0, 0, 0],
            )
        };
        loop {
            let answered = log.answered.load(Acquire);
            if answered == number {
                return;
            }
            sys::futex_wait(&log.answered, answered);
        }
    }
}

/// An event as the host hears of it.
fn said(actor: u32, message: &Message) -> Result<(u8, Event), String> {
    let place = |address: u64| address.wrapping_sub(ARENA_BASE) as i64;
    let [kind, a, b, c] = *message;
    let event = match kind as u8 {
        FORK => Event::Fork,
        REMAP => Event::Remap {
            from: place(a),
            to: place(b),
            len: c,
        },
        REMOVE => Event::Remove {
            start: place(a),
            end: place(b),
        },
        UNMAP => Event::Unmap {
            start: place(a),
            end: place(b),
        },
        other => return Err(format!("userfaultfd told event {other:#x}")),
    };
    Ok((actor as u8, event))
}

/// A descriptor of another process, as one of ours.
fn descriptor_of(pid: i32, fd: i32) -> Result<i32, Errno> {
    let _rights = AsTheSameUser::begin().map_err(|_| Errno(libc::EPERM))?;
    // SAFETY: no memory involved, here and below.
    let process = unsafe { sys::call(libc::SYS_pidfd_open, [pid as u64, 0, 0, 0, 0, 0]) }?;
    let ours = unsafe { sys::call(libc::SYS_pidfd_getfd, [process, fd as u64, 0, 0, 0, 0]) };
    sys::close(process as i32);
    ours.map(|fd| fd as i32)
}

/// The life of the monitor.
fn watch(log: &'static Log, bell: i32) -> ! {
    loop {
        let mut polled = [libc::pollfd {
            fd: -1,
            events: libc::POLLIN,
            revents: 0,
        }; MAX_ACTORS + 1];
        polled[0].fd = bell;
        for (slot, fd) in polled[1..].iter_mut().zip(&log.fds) {
            // What is below zero is not looked at.
            slot.fd = match fd.load(Relaxed) {
                0 => -1,
                fd => fd,
            };
        }
        // SAFETY: the array lives and is as long as said.
        if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as u64, -1) } < 0 {
            continue;
        }
        for (actor, slot) in (0..).zip(&polled[1..]) {
            if slot.revents != 0 && !read(log, actor, slot.fd) {
                log.fds[actor as usize].store(0, Relaxed);
            }
        }
        if polled[0].revents != 0 {
            answer(log, bell);
        }
    }
}

/// Writes down what a userfaultfd tells. False: it will tell no more.
fn read(log: &Log, actor: u32, fd: i32) -> bool {
    loop {
        let mut message: Message = [0; 4];
        let len = std::mem::size_of::<Message>() as u64;
        let args = [fd as u64, message.as_mut_ptr() as u64, len, 0, 0, 0];
        // SAFETY: a message is as long as said, and ours.
        match unsafe { sys::call(libc::SYS_read, args) } {
            Ok(got) if got == len => {}
            Err(Errno(libc::EAGAIN)) => return true,
            Err(Errno(libc::EINTR)) => continue,
            Ok(_) => {
                log.failed.store(libc::EIO, Relaxed);
                return false;
            }
            Err(Errno(errno)) => {
                log.failed.store(errno, Relaxed);
                return false;
            }
        }
        if message[0] as u8 == FORK {
            let child = log.child.load(Relaxed) as usize;
            if let Some(place) = log.fds.get(child) {
                place.store(message[1] as u32 as i32, Release);
            }
        }
        let count = log.count.load(Relaxed);
        // SAFETY: nobody else is at the list before the next answer.
        if let Some(place) = unsafe { &mut *log.list.get() }.get_mut(count as usize) {
            *place = (actor, message);
        }
        log.count.store(count + 1, Relaxed);
    }
}

/// Does what it was asked for, and says so.
fn answer(log: &Log, bell: i32) {
    let mut rings = [0u8; 8];
    let _ = sys::read(bell, &mut rings);
    let pid = log.pid.swap(0, Relaxed);
    if pid != 0 {
        match descriptor_of(pid, log.fd.load(Relaxed)) {
            Ok(fd) => {
                if let Some(place) = log.fds.get(log.actor.load(Relaxed) as usize) {
                    place.store(fd, Relaxed);
                }
            }
            Err(Errno(errno)) => log.failed.store(errno, Relaxed),
        }
    }
    let asked = log.asked.load(Acquire);
    if log.answered.load(Relaxed) != asked {
        log.answered.store(asked, Release);
        sys::futex_wake(&log.answered);
    }
}
