//! Two rings of frames in shared memory, one each way; one writer and one reader each. A frame is a word with the
//! payload's length (low half) and checksum (high half), then the payload, padded to eight bytes. Frames wrap around.
//!
//! The other side is not trusted: positions, lengths and checksums are checked before anything is believed.

use crate::layout;
use std::fmt;
use std::sync::atomic::{fence, Ordering};

/// Memory that two sides see. Offsets are multiples of eight and so are the lengths of `read` and `write`.
pub trait Memory {
    /// What can go wrong with an access.
    type Error;
    /// One word.
    fn load(&self, offset: u64) -> Result<u64, Self::Error>;
    /// One word.
    fn store(&self, offset: u64, value: u64) -> Result<(), Self::Error>;
    /// Bytes; no order among them.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;
    /// Bytes; no order among them.
    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Self::Error>;
}

/// What is wrong with a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingError<E> {
    /// The memory could not be accessed.
    Memory(E),
    /// Head and tail contradict each other.
    Counters { head: u64, tail: u64 },
    /// A frame is longer than allowed, or longer than what was written.
    Length(u64),
    /// A frame's checksum does not match.
    Checksum,
}

impl<E> From<E> for RingError<E> {
    fn from(error: E) -> Self {
        RingError::Memory(error)
    }
}

impl<E: fmt::Display> fmt::Display for RingError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Memory(e) => write!(f, "shared memory: {e}"),
            RingError::Counters { head, tail } => {
                write!(
                    f,
                    "ring counters contradict each other: head {head}, tail {tail}"
                )
            }
            RingError::Length(n) => write!(f, "a frame claims {n} bytes"),
            RingError::Checksum => write!(f, "a frame's checksum does not match"),
        }
    }
}

/// One ring: where it is and which words count.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    start: u64,
    capacity: u64,
    head: u64,
    tail: u64,
}

/// Host to guest.
pub const REQUESTS: Ring = Ring {
    start: layout::REQUESTS.0,
    capacity: layout::REQUESTS.1,
    head: layout::REQUEST_HEAD,
    tail: layout::REQUEST_TAIL,
};

/// Guest to host.
pub const RESPONSES: Ring = Ring {
    start: layout::RESPONSES.0,
    capacity: layout::RESPONSES.1,
    head: layout::RESPONSE_HEAD,
    tail: layout::RESPONSE_TAIL,
};

/// Of a frame's payload. Not cryptographic: it finds torn and misplaced frames.
pub fn checksum(payload: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = payload.len() as u64;
    let mut words = payload.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
    for &byte in words.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(MULTIPLIER);
    }
    (hash >> 32) as u32
}

fn padded(len: u64) -> u64 {
    len.next_multiple_of(8)
}

impl Ring {
    /// Appends a frame; false when there is no room for it now.
    ///
    /// # Errors
    /// The payload is too long, the reader's counter is nonsense, or the memory fails.
    pub fn push<M: Memory>(&self, memory: &M, payload: &[u8]) -> Result<bool, RingError<M::Error>> {
        if payload.len() > layout::MAX_PAYLOAD {
            return Err(RingError::Length(payload.len() as u64));
        }
        let (head, tail) = (memory.load(self.head)?, memory.load(self.tail)?);
        let used = self.used(head, tail)?;
        let size = 8 + padded(payload.len() as u64);
        if size > self.capacity - used {
            return Ok(false);
        }
        fence(Ordering::SeqCst);
        let word = payload.len() as u64 | u64::from(checksum(payload)) << 32;
        self.write(memory, head, &word.to_le_bytes())?;
        let whole = payload.len() & !7;
        self.write(memory, head + 8, &payload[..whole])?;
        if whole < payload.len() {
            let mut last = [0; 8];
            last[..payload.len() - whole].copy_from_slice(&payload[whole..]);
            self.write(memory, head + 8 + whole as u64, &last)?;
        }
        fence(Ordering::SeqCst);
        memory.store(self.head, head + size)?;
        Ok(true)
    }

    /// Where the next frame to be consumed starts.
    ///
    /// # Errors
    /// The memory fails.
    pub fn position<M: Memory>(&self, memory: &M) -> Result<u64, RingError<M::Error>> {
        Ok(memory.load(self.tail)?)
    }

    /// Copies the payload of the frame at `position` into `payload`, which is emptied first; returns the next
    /// frame's position, `None` when there is no frame yet. The frame stays until [`Ring::release`].
    ///
    /// # Errors
    /// What stands there is no frame.
    pub fn peek<M: Memory>(
        &self,
        memory: &M,
        position: u64,
        payload: &mut Vec<u8>,
    ) -> Result<Option<u64>, RingError<M::Error>> {
        payload.clear();
        let head = memory.load(self.head)?;
        let available = self.used(head, position)?;
        if available == 0 {
            return Ok(None);
        }
        fence(Ordering::SeqCst);
        let mut word = [0; 8];
        self.read(memory, position, &mut word)?;
        let word = u64::from_le_bytes(word);
        let len = word & 0xffff_ffff;
        if len > layout::MAX_PAYLOAD as u64 || 8 + padded(len) > available {
            return Err(RingError::Length(len));
        }
        payload.resize(padded(len) as usize, 0);
        self.read(memory, position + 8, payload)?;
        payload.truncate(len as usize);
        if checksum(payload) != (word >> 32) as u32 {
            return Err(RingError::Checksum);
        }
        Ok(Some(position + 8 + padded(len)))
    }

    /// Gives the room before `position` back to the writer.
    ///
    /// # Errors
    /// The memory fails.
    pub fn release<M: Memory>(&self, memory: &M, position: u64) -> Result<(), RingError<M::Error>> {
        fence(Ordering::SeqCst);
        Ok(memory.store(self.tail, position)?)
    }

    fn used<E>(&self, head: u64, tail: u64) -> Result<u64, RingError<E>> {
        let used = head.wrapping_sub(tail);
        // Far from wrapping: whoever counts to 2^63 bytes is not telling the truth.
        if used > self.capacity || !(head | tail).is_multiple_of(8) || head >> 63 != 0 {
            return Err(RingError::Counters { head, tail });
        }
        Ok(used)
    }

    fn read<M: Memory>(&self, memory: &M, position: u64, into: &mut [u8]) -> Result<(), M::Error> {
        let at = position % self.capacity;
        let first = ((self.capacity - at) as usize).min(into.len());
        let (a, b) = into.split_at_mut(first);
        memory.read(self.start + at, a)?;
        if b.is_empty() {
            return Ok(());
        }
        memory.read(self.start, b)
    }

    fn write<M: Memory>(&self, memory: &M, position: u64, from: &[u8]) -> Result<(), M::Error> {
        let at = position % self.capacity;
        let first = ((self.capacity - at) as usize).min(from.len());
        let (a, b) = from.split_at(first);
        memory.write(self.start + at, a)?;
        if b.is_empty() {
            return Ok(());
        }
        memory.write(self.start, b)
    }
}
