//! Vectors that refuse to be longer than a limit while they are decoded, so that a hostile guest cannot make the
//! host allocate much: an element that takes one byte on the wire may take a hundred in memory.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Most programs in one batch.
pub const MAX_PROGRAMS: usize = 4096;
/// Most files in one program.
pub const MAX_FILES: usize = 8;
/// Most steps in one program.
pub const MAX_STEPS: usize = 1024;
/// Most actors that live at once; actor numbers are below it.
pub const MAX_ACTORS: usize = 16;
/// Most pages in an arena, and so most runs or VMAs in one view: three PMD blocks of 8192 pages.
pub const MAX_PAGES: usize = 3 * 8192;
/// Most executions of one program that are told apart when it is run again and again.
pub const MAX_KEPT: usize = 512;
/// Most results of one step beside the first.
pub const MAX_MORE: usize = 32;
/// Most events of userfaultfds during one step.
pub const MAX_EVENTS: usize = 128;
/// Most names in [`crate::Hello::missing`].
pub const MAX_NAMES: usize = 64;

/// `#[serde(deserialize_with)]` for a vector of at most `LIMIT` elements.
///
/// # Errors
/// A vector that says it is longer, or that is.
pub fn vec<'de, D, T, const LIMIT: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const LIMIT: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for Bounded<T, LIMIT> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {LIMIT} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let claimed = seq.size_hint().unwrap_or(0);
            if claimed > LIMIT {
                return Err(A::Error::invalid_length(claimed, &self));
            }
            // The claim costs the sender nothing: reserve little, grow with what really comes.
            let mut out = Vec::with_capacity(claimed.min(64));
            while let Some(element) = seq.next_element()? {
                if out.len() == LIMIT {
                    return Err(A::Error::invalid_length(LIMIT + 1, &self));
                }
                out.push(element);
            }
            Ok(out)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, LIMIT>(PhantomData))
}
