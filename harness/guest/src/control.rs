//! Memory that the supervisor, the worker and all actors of a program share. It stands outside the arena and is made
//! once, by the supervisor, before it forks anybody. The actors take turns, so most of it has one writer at a time.

use crate::events::Log;
use crate::log;
use crate::section::{Meet, Told};
use crate::sys::{self, Errno};
use crate::tally::Tally;
use serde::Serialize;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64, AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};
use wire::bounded::MAX_ACTORS;
use wire::layout::{Phase, Progress, MAX_PAYLOAD};
use wire::MAX_LANES;

/// Entries in each scratch array: what one PMD block of 4 KiB pages has. Longer runs are taken in pieces.
pub const SCRATCH: usize = 512;
/// Regions that one PAGEMAP_SCAN finds; the kernel makes room for as many at each call.
pub const REGIONS: usize = 64;
/// Bytes that one call of mincore fills.
pub const BYTES: usize = 4096;
/// Bytes of text of the kernel that are looked at at once.
pub const TEXT: usize = 8192;
/// Of the staging area, what most executions do not exceed.
const USUAL: usize = 8192;

/// Bytes that a thread of a section has to tell what it came to: more than as many results as there may be take.
const TOLD: usize = 128 << 10;

/// Room before the steps for the head of an execution.
const HEAD: usize = 8192;

/// How the program that runs has come along, as its actors say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The worker runs programs.
    Running = 0,
    /// The program has ended without the worker, who left by an exit op: the supervisor shall report it.
    Finish = 1,
    /// The worker has left to be replaced by a new one.
    Replace = 2,
    /// The host wants the machine to be switched off.
    PowerOff = 3,
    /// An actor that is not the worker cannot go on; the text says why.
    Failed = 4,
}

impl State {
    fn from(word: u32) -> State {
        match word {
            1 => State::Finish,
            2 => State::Replace,
            3 => State::PowerOff,
            4 => State::Failed,
            _ => State::Running,
        }
    }
}

/// A thread of a section, for the watchdog.
#[repr(C)]
pub struct LaneState {
    /// Zero when there is none.
    pub tid: AtomicU32,
    /// The step that it performs.
    pub step: AtomicU32,
}

/// One entry of PAGEMAP_SCAN's answer.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Region {
    pub start: u64,
    pub end: u64,
    pub categories: u64,
}

/// Buffers of whoever has the turn. They are shared so that a fork does not have to copy them: on the stack each page of
/// them would be copied twice after a fork, for the child and for the parent.
#[repr(C)]
pub struct Scratch {
    pub regions: [Region; REGIONS],
    pub entries: [u64; SCRATCH],
    pub values: [u64; SCRATCH],
    pub bytes: [u8; BYTES],
    pub text: [u8; TEXT],
}

/// See the module.
#[repr(C)]
pub struct Control {
    state: AtomicU32,
    /// The supervisor sleeps on it.
    bell: AtomicU32,
    /// Bit per living actor.
    pub alive: AtomicU32,
    pub pids: [AtomicI32; MAX_ACTORS],
    turns: [AtomicU32; MAX_ACTORS],
    /// Process that has left and whose memory must be gone before anybody looks; 0: none.
    pub leaving: AtomicI32,
    phase: AtomicU8,
    actor: AtomicU8,
    pub step: AtomicU32,
    /// Counts what the watchdog wants to see moving.
    pub moves: AtomicU64,

    /// A batch is being worked on; it is the first one in the request ring.
    pub in_batch: AtomicU32,
    pub batch_started: AtomicU64,
    /// Program and round of the batch that runs or comes next.
    pub program: AtomicU32,
    pub round: AtomicU32,
    /// Repetitions of the program in earlier batches.
    pub first: AtomicU32,
    pub program_id: AtomicU64,
    /// Pages that were free, in stretches of at least a huge page, when it began.
    pub free_pages: AtomicU64,
    pub op_limit_ms: AtomicU32,
    /// The batch wants observations.
    pub judged: AtomicU32,
    /// The batch wants its programs run again and again; `round` is the repetition then.
    pub raced: AtomicU32,
    /// What has come of the repetitions of the program that runs.
    pub tally: Tally,
    /// The threads of the section that runs.
    pub lanes: [LaneState; MAX_LANES],
    pub meet: Meet,
    /// What userfaultfds have told.
    pub events: Log,
    /// Knobs that are set now, as `knobs` packs them.
    pub knobs: AtomicU64,

    /// Steps that are complete in the staging area, and the bytes they take.
    pub steps_done: AtomicU32,
    staged_done: AtomicU64,
    staged: AtomicU64,
    /// Place and length of each actor's last full view in the staging area; length 0: none.
    views: [(AtomicU64, AtomicU64); MAX_ACTORS],
    /// The kernel's first complaint during this program: the step after which it was read, and its text.
    complaint_step: AtomicU32,
    complaint_len: AtomicU32,
    complaint: UnsafeCell<[u8; log::MOST]>,
    text_len: AtomicU32,
    text: UnsafeCell<[u8; 1024]>,
    scratch: UnsafeCell<Scratch>,
    staging: UnsafeCell<[u8; HEAD + MAX_PAYLOAD]>,
    /// What each thread of the section that runs came to.
    told: [(AtomicU32, UnsafeCell<[u8; TOLD]>); MAX_LANES],
}

// SAFETY: shared between processes, not threads. What is no atomic belongs to whoever has the turn, and to the supervisor
// once no actor is left; handing on a turn is a release store and a wake, taking it an acquire load. What a thread came to belongs to its
// actor until that leaves the section.
unsafe impl Sync for Control {}

/// The execution does not fit a frame.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Control {
    /// Makes the shared memory, zeroed and all of it present.
    pub fn create() -> Result<&'static Control, Errno> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let at = sys::map(std::mem::size_of::<Control>(), flags, -1)?;
        // SAFETY: fresh zeroed memory of the right size and page-aligned; all-zero is valid for every field; it is never
        // unmapped.
        Ok(unsafe { &*at.cast::<Control>() })
    }

    pub fn state(&self) -> State {
        State::from(self.state.load(Acquire))
    }

    pub fn set_state(&self, state: State) {
        self.state.store(state as u32, Release);
        if state != State::Running {
            self.bell.store(1, Release);
            sys::futex_wake(&self.bell);
        }
    }

    /// Sleeps until the state is another one than running, or the time is over.
    pub fn await_bell(&self, us: u64) {
        if self.bell.swap(0, Acquire) == 0 {
            sys::futex_wait_for(&self.bell, 0, us);
            self.bell.store(0, Relaxed);
        }
    }

    /// Makes the pages that a look writes to present in this process at once: a new process would take a fault for each.
    pub fn populate(&self) {
        let len = std::mem::offset_of!(Control, staging) + HEAD + USUAL;
        // SAFETY: shared memory of ours; its contents do not change. Where the kernel lacks it (before 5.14), pages come
        // one by one.
        let _ = unsafe {
            sys::call(
                libc::SYS_madvise,
                [
                    self as *const Control as u64,
                    len as u64,
                    libc::MADV_POPULATE_WRITE as u64,
                    0,
                    0,
                    0,
                ],
            )
        };
    }

    /// What the program is doing.
    pub fn progress(&self) -> Progress {
        let word = u64::from(self.phase.load(Acquire))
            | u64::from(self.actor.load(Relaxed)) << 8
            | u64::from(self.step.load(Relaxed)) << 16;
        Progress::unpack(word)
    }

    /// Says so to the watchdog.
    pub fn set_progress(&self, progress: Progress) {
        self.actor.store(progress.actor, Relaxed);
        self.step.store(progress.step, Relaxed);
        self.phase.store(progress.phase as u8, Release);
        self.moves.store(self.moves.load(Relaxed) + 1, Release);
    }

    /// Nothing runs.
    pub fn is_idle(&self) -> bool {
        self.progress().phase == Phase::Idle
    }

    /// Numbers of the living actors, ascending.
    pub fn living(&self) -> impl Iterator<Item = u8> {
        let alive = self.alive.load(Acquire);
        (0..MAX_ACTORS as u8).filter(move |a| alive >> a & 1 == 1)
    }

    pub fn is_alive(&self, actor: u8) -> bool {
        self.alive.load(Acquire) >> actor & 1 == 1
    }

    pub fn set_alive(&self, actor: u8, alive: bool) {
        let bit = 1 << actor;
        if alive {
            self.alive.fetch_or(bit, Release);
        } else {
            self.alive.fetch_and(!bit, Release);
        }
    }

    /// Gives the turn to `actor`.
    pub fn hand_turn(&self, actor: u8) {
        let turn = &self.turns[usize::from(actor)];
        turn.store(1, Release);
        sys::futex_wake(turn);
    }

    /// Sleeps until `actor` has the turn, and takes it.
    pub fn await_turn(&self, actor: u8) {
        let turn = &self.turns[usize::from(actor)];
        while turn.load(Acquire) == 0 {
            sys::futex_wait(turn, 0);
        }
        turn.store(0, Relaxed);
    }

    /// A text for the supervisor, cut to what fits.
    pub fn set_text(&self, text: &str) {
        let bytes = text.as_bytes();
        let len = bytes.len().min(1024);
        // SAFETY: the caller has the turn, nobody else writes.
        unsafe { (&mut (*self.text.get()))[..len].copy_from_slice(&bytes[..len]) };
        self.text_len.store(len as u32, Release);
    }

    pub fn text(&self) -> String {
        let len = (self.text_len.load(Acquire) as usize).min(1024);
        // SAFETY: written before the length was.
        String::from_utf8_lossy(unsafe { &(&(*self.text.get()))[..len] }).into_owned()
    }

    /// Keeps what the kernel has said during the step that runs; the first complaint of a program counts.
    pub fn complain(&self, text: &str) {
        if self.complaint_len.load(Acquire) > 0 {
            return;
        }
        let len = text.len().min(log::MOST);
        // SAFETY: the caller has the turn, nobody else writes.
        unsafe { (&mut (*self.complaint.get()))[..len].copy_from_slice(&text.as_bytes()[..len]) };
        self.complaint_step.store(self.step.load(Relaxed), Relaxed);
        self.complaint_len.store(len as u32, Release);
    }

    /// Takes the complaint of the program that ran: step and text.
    pub fn take_complaint(&self) -> Option<(u32, String)> {
        let len = self.complaint_len.swap(0, Acquire) as usize;
        if len == 0 {
            return None;
        }
        // SAFETY: written before the length was; nobody else has the turn.
        let bytes = unsafe { &(&(*self.complaint.get()))[..len.min(log::MOST)] };
        let text = String::from_utf8_lossy(bytes).into_owned();
        Some((self.complaint_step.load(Relaxed), text))
    }

    /// The scratch buffers.
    ///
    /// # Safety
    /// The caller has the turn and holds no other reference to them.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn scratch(&self) -> &mut Scratch {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.scratch.get() }
    }

    /// Writes down what a thread of the section that runs came to.
    ///
    /// # Safety
    /// It is a thread of the caller's process, and nobody reads it yet.
    pub unsafe fn tell(&self, lane: usize, told: &Told) -> Result<(), String> {
        let (len, bytes) = &self.told[lane];
        // SAFETY: the caller's promise.
        let room = unsafe { &mut *bytes.get() };
        let used = postcard::to_slice(told, room)
            .map_err(|_| "a thread has more to tell than there is room for".to_owned())?
            .len();
        len.store(used as u32, Release);
        Ok(())
    }

    /// What a thread came to.
    ///
    /// # Safety
    /// It was told in this section, and nobody writes it any more.
    pub unsafe fn told(&self, lane: usize) -> Result<Told, String> {
        let (len, bytes) = &self.told[lane];
        let len = (len.load(Acquire) as usize).min(TOLD);
        // SAFETY: the caller's promise.
        let bytes = unsafe { &(&*bytes.get())[..len] };
        postcard::from_bytes(bytes).map_err(|e| format!("what thread {lane} told: {e}"))
    }

    // The staging area.

    fn staging(&self) -> *mut u8 {
        self.staging.get().cast()
    }

    /// Forgets the last program.
    pub fn reset(&self) {
        self.alive.store(1, Relaxed);
        self.leaving.store(0, Relaxed);
        for turn in &self.turns {
            turn.store(0, Relaxed);
        }
        for view in &self.views {
            view.1.store(0, Relaxed);
        }
        for lane in &self.lanes {
            lane.tid.store(0, Relaxed);
        }
        self.steps_done.store(0, Relaxed);
        self.staged_done.store(0, Relaxed);
        self.staged.store(0, Relaxed);
        self.set_state(State::Running);
    }

    /// Appends a value, postcard-encoded.
    ///
    /// # Errors
    /// There is no room.
    pub fn stage<T: Serialize>(&self, value: &T) -> Result<(), TooLong> {
        let at = self.staged.load(Relaxed) as usize;
        // SAFETY: bytes after what is staged; only who has the turn makes such a reference, for this call.
        let room = unsafe {
            std::slice::from_raw_parts_mut(self.staging().add(HEAD + at), MAX_PAYLOAD - HEAD - at)
        };
        let used = postcard::to_slice(value, room).map_err(|_| TooLong)?.len();
        self.staged.store((at + used) as u64, Relaxed);
        Ok(())
    }

    /// Appends the length of a sequence whose elements follow.
    pub fn stage_length(&self, len: usize) -> Result<(), TooLong> {
        // postcard writes a length as it writes any unsigned number.
        self.stage(&(len as u64))
    }

    /// Appends `full` as the view of `actor`; just "unchanged" when its bytes are those of the actor's last view.
    pub fn stage_view(&self, actor: u8, full: &wire::View) -> Result<(), TooLong> {
        self.stage(&actor)?;
        let start = self.staged.load(Relaxed);
        self.stage(full)?;
        let len = self.staged.load(Relaxed) - start;
        let (last_at, last_len) = &self.views[usize::from(actor)];
        // SAFETY: both ranges lie in what has been staged.
        let same = last_len.load(Relaxed) == len
            && unsafe {
                self.staged_bytes(start, len) == self.staged_bytes(last_at.load(Relaxed), len)
            };
        if same {
            self.staged.store(start, Relaxed);
            return self.stage(&wire::View::Unchanged);
        }
        last_at.store(start, Relaxed);
        last_len.store(len, Relaxed);
        Ok(())
    }

    /// Appends "unchanged" whatever there is to see, when the actor has been seen before.
    pub fn stage_stale_view(&self, actor: u8) -> Result<bool, TooLong> {
        if self.views[usize::from(actor)].1.load(Relaxed) == 0 {
            return Ok(false);
        }
        self.stage(&actor)?;
        self.stage(&wire::View::Unchanged)?;
        Ok(true)
    }

    unsafe fn staged_bytes(&self, at: u64, len: u64) -> &[u8] {
        // SAFETY: the caller says that the range has been staged.
        unsafe { std::slice::from_raw_parts(self.staging().add(HEAD + at as usize), len as usize) }
    }

    /// The step whose parts were staged last is complete.
    pub fn step_complete(&self) {
        self.staged_done.store(self.staged.load(Relaxed), Relaxed);
        self.steps_done
            .store(self.steps_done.load(Relaxed) + 1, Release);
    }

    /// A number for what the complete steps say: executions of one program with the same number are the same.
    ///
    /// # Safety
    /// As [`Control::execution`].
    pub unsafe fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // SAFETY: complete steps have been staged.
        hasher.write(unsafe { self.staged_bytes(0, self.staged_done.load(Relaxed)) });
        hasher.finish()
    }

    /// The whole execution, ready to be sent: the complete steps, with a head put before them.
    ///
    /// # Safety
    /// No actor is left or the caller has the turn, and no other reference to staged bytes lives.
    pub unsafe fn execution(&self, id: u64, end: wire::End) -> &[u8] {
        let steps = self.steps_done.load(Acquire) as usize;
        let empty = wire::Response::Execution(wire::Execution {
            id,
            free_pages: self.free_pages.load(Relaxed),
            end,
            steps: Vec::new(),
        });
        let mut head = postcard::to_stdvec(&empty).unwrap_or_default();
        // The last byte says "no steps": put the real number there.
        head.pop();
        wire::length_prefix(steps, &mut head);
        let len = head.len() + self.staged_done.load(Relaxed) as usize;
        // SAFETY: ends are cut to fit the head's room by who makes them; the rest has been staged.
        unsafe {
            assert!(head.len() <= HEAD, "head of {} bytes", head.len());
            let start = self.staging().add(HEAD - head.len());
            std::ptr::copy_nonoverlapping(head.as_ptr(), start, head.len());
            std::slice::from_raw_parts(start, len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Execution, OpResult, Response, Space, StepSeen, View};

    #[test]
    fn what_is_staged_in_parts_decodes_as_a_whole() {
        let control = Control::create().unwrap();
        control.reset();
        let full = View::Full(Space {
            resident: vec![(1, 2), (300, 70_000)],
            ..Space::default()
        });
        let mut steps = Vec::new();
        for ret in [0, -22] {
            let result = OpResult::Ret(ret);
            control.stage(&result).unwrap();
            control.stage_length(0).unwrap();
            control.stage(&Some(3_u32)).unwrap();
            control.stage_length(1).unwrap();
            control.stage(&(2_u8, wire::Event::Fork)).unwrap();
            control.stage_length(2).unwrap();
            control.stage_view(0, &full).unwrap();
            control
                .stage_view(3, &View::Full(Space::default()))
                .unwrap();
            control.step_complete();
            let seen = |view: &View| match ret {
                0 => view.clone(),
                _ => View::Unchanged,
            };
            steps.push(StepSeen {
                result,
                more: vec![],
                fail_left: Some(3),
                events: vec![(2, wire::Event::Fork)],
                actors: vec![(0, seen(&full)), (3, seen(&View::Full(Space::default())))],
            });
        }
        control.stage(&OpResult::Elsewhere).unwrap();
        control.free_pages.store(300, Relaxed);
        let end = wire::End::Hang {
            step: 2,
            stack: "somewhere".to_owned(),
        };
        let whole = Response::Execution(Execution {
            id: 1 << 40,
            free_pages: 300,
            end: end.clone(),
            steps,
        });
        // SAFETY: nobody else is there.
        let bytes = unsafe { control.execution(1 << 40, end) };
        assert_eq!(wire::decode::<Response>(bytes).unwrap(), whole);
    }

    #[test]
    fn an_execution_that_is_too_long_is_noticed() {
        let control = Control::create().unwrap();
        control.reset();
        let big = vec![7_u8; MAX_PAYLOAD / 2];
        assert_eq!(control.stage(&big), Ok(()));
        assert_eq!(control.stage(&big), Err(TooLong));
    }
}
