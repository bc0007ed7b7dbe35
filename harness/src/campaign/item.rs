//! Work items: what a campaign is cut into. One item is one block of programs on one kernel; campaigns are resumed, shared out
//! and merged item by item.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A block of programs: of the corpus, which comes first, or of the generated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Block {
    Corpus(u64),
    Generated(u64),
}

/// A program's place in a campaign, the same on every machine. Places are in the order in which one VM would run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    pub block: Block,
    /// Which program of the block.
    pub index: u64,
}

/// One of the parts that a campaign is shared out in. A hash of the item decides to which it belongs, so that the machines need
/// not speak with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0 on.
    index: u64,
    of: u64,
}

impl Shard {
    /// How many shards there are.
    pub fn of(self) -> u64 {
        self.of
    }

    /// Whether it has the item of `block` on the kernel of this label and architecture, in the campaign of this seed.
    pub fn has(self, kernel: &str, arch: &str, block: Block, seed: u64) -> bool {
        let mut hasher = blake3::Hasher::new();
        for part in [kernel, arch, &block.to_string()] {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&seed.to_le_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(bytes) % self.of == self.index
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Block::Corpus(n) => write!(f, "corpus/{n}"),
            Block::Generated(n) => write!(f, "generated/{n}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.block, self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Block, String> {
        let parts = text.split_once('/');
        match parts.map(|(kind, n)| (kind, n.parse())) {
            Some(("corpus", Ok(n))) => Ok(Block::Corpus(n)),
            Some(("generated", Ok(n))) => Ok(Block::Generated(n)),
            _ => Err(format!(
                "`{text}` is no block, such as corpus/0 or generated/3"
            )),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let wrong = || format!("`{text}` is no place, such as generated/3/17");
        let (block, index) = text.rsplit_once('/').ok_or_else(wrong)?;
        Ok(Place {
            block: block.parse()?,
            index: index.parse().map_err(|_| wrong())?,
        })
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/');
        let parts = parts.map(|(k, n)| (k.parse::<u64>(), n.parse::<u64>()));
        match parts {
            Some((Ok(k), Ok(n))) if 1 <= k && k <= n => Ok(Shard {
                index: k - 1,
                of: n,
            }),
            _ => Err(format!(
                "`{text}` is not K/N with K from 1 to N, such as 2/7"
            )),
        }
    }
}

macro_rules! text_in_serde {
    ($($type:ident),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<$type, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(this: $type) -> String {
                this.to_string()
            }
        }
    )*};
}

text_in_serde!(Block, Place);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_shards_come_back_from_their_text() {
        for text in ["corpus/0/3", "generated/12/63"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["", "corpus", "corpus/x", "generated/-1/0", "other/1/2"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert_eq!("2/7".parse::<Shard>().unwrap().to_string(), "2/7");
        for text in ["0/7", "8/7", "1", "1/0", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    /// Every item is in exactly one shard, and the shares are about alike.
    #[test]
    fn shards_part_the_items() {
        let shards: Vec<Shard> = (1..=7).map(|k| format!("{k}/7").parse().unwrap()).collect();
        let mut shares = [0; 7];
        for n in 0..7000 {
            let block = Block::Generated(n);
            let has = |shard: &Shard| shard.has("7.3", "x86_64", block, 1);
            let owners: Vec<usize> = (0..7).filter(|&k| has(&shards[k])).collect();
            assert_eq!(owners.len(), 1, "{block}");
            shares[owners[0]] += 1;
        }
        assert!(shares.iter().all(|n| (850..1150).contains(n)), "{shares:?}");
    }

    /// Another version of mmdiff on another machine must not share out otherwise.
    #[test]
    fn the_hash_is_stable() {
        let owner = |kernel, arch, block, seed| {
            (1..=100).find(|k| {
                let shard: Shard = format!("{k}/100").parse().unwrap();
                shard.has(kernel, arch, block, seed)
            })
        };
        let owners = [
            owner("7.3", "x86_64", Block::Generated(0), 1),
            owner("7.3", "aarch64", Block::Generated(0), 1),
            owner("6.1", "x86_64", Block::Corpus(5), 1),
            owner("7.3", "x86_64", Block::Generated(0), 2),
        ];
        assert_eq!(owners.map(Option::unwrap), [2, 9, 93, 84]);
    }
}
