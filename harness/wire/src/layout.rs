//! Where things stand in the memory that host and guest share (byte offsets). All words are 64-bit, little endian on
//! both supported architectures, and on cache lines of their own where two sides write.

/// Size of the shared memory; a power of two because it is a PCI BAR.
pub const BYTES: u64 = 8 << 20;

/// Written by the host before the guest starts: [`MAGIC_VALUE`].
pub const MAGIC: u64 = 0;
/// "mmdiff" and the version of the messages, so that a guest never talks to something else.
pub const MAGIC_VALUE: u64 = 0x6666_6964_6d6d_0000 | crate::VERSION as u64;

/// Host to guest: bytes ever written (host writes).
pub const REQUEST_HEAD: u64 = 64;
/// Host to guest: bytes ever consumed (guest writes).
pub const REQUEST_TAIL: u64 = 128;
/// Guest to host: bytes ever written (guest writes).
pub const RESPONSE_HEAD: u64 = 192;
/// Guest to host: bytes ever consumed (host writes).
pub const RESPONSE_TAIL: u64 = 256;
/// Counts up while the guest's supervisor is alive, several times a second.
pub const HEARTBEAT: u64 = 320;
/// Sequence number of the batch that runs.
pub const BATCH: u64 = 384;
/// Id of the program that runs.
pub const PROGRAM: u64 = 392;
/// [`Progress::pack`].
pub const PROGRESS: u64 = 400;
/// Goes up by one with every store to [`PROGRESS`].
pub const PROGRESS_COUNT: u64 = 408;

/// Bytes that hold all the words above; a multiple of every page size, so that it can be mapped alone.
pub const WORDS_BYTES: u64 = 64 << 10;

/// Ring with requests: start and capacity.
pub const REQUESTS: (u64, u64) = (WORDS_BYTES, (2 << 20) - WORDS_BYTES);
/// Ring with responses: start and capacity.
pub const RESPONSES: (u64, u64) = (2 << 20, 6 << 20);

/// Longest payload of a frame, either way.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// What the guest is doing, in one word, so that a host that finds it dead can tell which op it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub actor: u8,
    pub step: u32,
}

/// Part of a program's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// No program: waiting for a batch, or between two programs.
    Idle = 0,
    /// The op of `step` has been started.
    Op = 1,
    /// The op has returned; actors look at themselves.
    Look = 2,
    /// The program has ended; its traces are being removed.
    CleanUp = 3,
    /// Waiting for room in the response ring.
    Full = 4,
}

impl Progress {
    /// Nothing runs.
    pub const IDLE: Progress = Progress {
        phase: Phase::Idle,
        actor: 0,
        step: 0,
    };

    /// As one word.
    pub fn pack(self) -> u64 {
        u64::from(self.step) << 16 | u64::from(self.actor) << 8 | self.phase as u64
    }

    /// From one word that a guest wrote; an unknown phase counts as idle.
    pub fn unpack(word: u64) -> Progress {
        let phase = match word & 0xff {
            1 => Phase::Op,
            2 => Phase::Look,
            3 => Phase::CleanUp,
            4 => Phase::Full,
            _ => Phase::Idle,
        };
        Progress {
            phase,
            actor: (word >> 8) as u8,
            step: (word >> 16) as u32,
        }
    }
}
