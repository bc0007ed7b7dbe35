//! Memory that the kernel reads and writes for a caller, and several ranges in one call.

use super::ActorId;
use crate::geometry::{Geometry, Range};
use serde::{Deserialize, Serialize};

/// How a caller has the kernel read or write memory. The other side of each is memory or a file of nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transfer {
    /// write(2) to an empty pipe.
    PipeWrite,
    /// read(2) from a pipe that holds as much as is asked for.
    PipeRead,
    /// pwrite(2) to an empty memfd, at its start.
    MemfdWrite,
    /// pread(2) from the start of a memfd that is as long as what is asked for.
    MemfdRead,
    /// process_vm_readv(2).
    VmRead,
    /// process_vm_writev(2).
    VmWrite,
    /// pread(2) of /proc/PID/mem.
    MemRead,
    /// pwrite(2) of /proc/PID/mem.
    MemWrite,
    /// vmsplice(2) into an empty pipe.
    Vmsplice,
}

impl Transfer {
    /// Every way, in the order of the reference page.
    pub const ALL: [Transfer; 9] = [
        Transfer::PipeWrite,
        Transfer::PipeRead,
        Transfer::MemfdWrite,
        Transfer::MemfdRead,
        Transfer::VmRead,
        Transfer::VmWrite,
        Transfer::MemRead,
        Transfer::MemWrite,
        Transfer::Vmsplice,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Transfer::PipeWrite => "pipe-write",
            Transfer::PipeRead => "pipe-read",
            Transfer::MemfdWrite => "memfd-write",
            Transfer::MemfdRead => "memfd-read",
            Transfer::VmRead => "vm-read",
            Transfer::VmWrite => "vm-write",
            Transfer::MemRead => "mem-read",
            Transfer::MemWrite => "mem-write",
            Transfer::Vmsplice => "vmsplice",
        }
    }

    /// Whether the kernel writes to the arena; then the op has a tag.
    pub fn stores(self) -> bool {
        match self {
            Transfer::PipeRead | Transfer::MemfdRead | Transfer::VmWrite | Transfer::MemWrite => {
                true
            }
            Transfer::PipeWrite
            | Transfer::MemfdWrite
            | Transfer::VmRead
            | Transfer::MemRead
            | Transfer::Vmsplice => false,
        }
    }

    /// Whether it may be about the memory of another actor.
    pub fn may_be_remote(self) -> bool {
        match self {
            Transfer::VmRead | Transfer::VmWrite | Transfer::MemRead | Transfer::MemWrite => true,
            Transfer::PipeWrite
            | Transfer::PipeRead
            | Transfer::MemfdWrite
            | Transfer::MemfdRead
            | Transfer::Vmsplice => false,
        }
    }

    /// Whether it takes more than one range.
    pub fn takes_several(self) -> bool {
        matches!(self, Transfer::VmRead | Transfer::VmWrite)
    }
}

/// The ranges of one call, in its order: one to six, none of which wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vectors {
    pub first: Range,
    /// Those behind the first, without a gap.
    pub more: [Option<Range>; MAX_VECTORS - 1],
}

/// Most ranges that one call has.
pub const MAX_VECTORS: usize = 6;

impl From<Range> for Vectors {
    fn from(first: Range) -> Vectors {
        Vectors {
            first,
            more: [None; MAX_VECTORS - 1],
        }
    }
}

impl Vectors {
    /// The ranges. What is more than [`MAX_VECTORS`] is left out; `None`: there is none.
    pub fn new(ranges: &[Range]) -> Option<Vectors> {
        Some(Vectors {
            first: *ranges.first()?,
            more: std::array::from_fn(|i| ranges.get(i + 1).copied()),
        })
    }

    /// In the call's order.
    pub fn iter(self) -> impl Iterator<Item = Range> {
        std::iter::once(Some(self.first)).chain(self.more).flatten()
    }

    /// Bytes in all.
    pub fn bytes(self, g: Geometry) -> u64 {
        let lengths = self.iter().map(|range| range.byte_len(g));
        lengths.fold(0, u64::saturating_add)
    }

    /// Where a call has come to that has done so many bytes, in bytes from the arena's start: the end of a range rather than
    /// the start of the next.
    pub fn place_after(self, bytes: u64, g: Geometry) -> i64 {
        let mut left = bytes;
        for range in self.iter() {
            let len = range.byte_len(g);
            if left <= len && (left > 0 || bytes == 0) {
                return range.start.byte_offset(g).saturating_add_unsigned(left);
            }
            left = left.saturating_sub(len);
        }
        self.first.start.byte_offset(g)
    }
}

/// Whose memory an op is about: `None` is the actor's own.
pub type Whose = Option<ActorId>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Pos;

    #[test]
    fn places_are_counted_through_the_ranges() {
        let pages = |from, to| Range::new(Pos::new(0, from), Pos::new(0, to));
        let vectors = Vectors::new(&[pages(4, 5), pages(8, 8), pages(0, 2)]).expect("three");
        let at = |bytes| vectors.place_after(bytes, Geometry::K4) / 4096;
        assert_eq!(vectors.bytes(Geometry::K4), 3 * 4096);
        assert_eq!((at(0), at(4096), at(8192), at(12288)), (4, 5, 1, 2));
        assert_eq!(Vectors::new(&[]), None);
    }

    #[test]
    fn ways_that_take_several_ranges_may_be_remote() {
        for way in Transfer::ALL {
            assert!(!way.takes_several() || way.may_be_remote(), "{way:?}");
        }
    }
}
