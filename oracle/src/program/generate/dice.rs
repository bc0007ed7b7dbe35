//! Bytes as choices.

use arbitrary::Unstructured;

/// Expands a seed to `len` bytes: the SplitMix64 sequence (Steele, Lea, Flood 2014), little-endian. Chosen because it is five
/// lines and has no state to set up; it only has to be well mixed and the same everywhere.
pub fn expand(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut state = seed;
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Reads choices from bytes, two bytes for each. When the bytes are used up every choice is the first one.
pub struct Dice<'u, 'b> {
    bytes: &'u mut Unstructured<'b>,
}

impl<'u, 'b> Dice<'u, 'b> {
    pub fn new(bytes: &'u mut Unstructured<'b>) -> Dice<'u, 'b> {
        Dice { bytes }
    }

    fn roll(&mut self) -> u32 {
        let mut two = [0; 2];
        // Never fails: it fills up with zeros.
        let _ = self.bytes.fill_buffer(&mut two);
        u32::from(u16::from_le_bytes(two))
    }

    /// `0..n`; 0 for `n` = 0. The bias for `n` far below 65536 does not matter here.
    pub fn below(&mut self, n: u32) -> u32 {
        self.roll() % n.max(1)
    }

    /// `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == n - 1
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of a few values; `None` of none.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        values
            .get(self.below(values.len() as u32) as usize)
            .copied()
    }

    /// `len` bytes to make choices of.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let seed = (0..4).fold(0, |seed, _| seed << 16 | u64::from(self.roll()));
        expand(seed, len)
    }

    /// One of a few values by weight. The weights' sum must not be 0.
    pub fn weighted<T: Copy>(&mut self, table: &[(u32, T)]) -> T {
        let total = table.iter().map(|(w, _)| w).sum();
        let mut roll = self.below(total);
        for &(weight, value) in table {
            if roll < weight {
                return value;
            }
            roll -= weight;
        }
        table[0].1
    }
}
