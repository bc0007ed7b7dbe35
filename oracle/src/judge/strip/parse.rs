//! Reading strips as people write them.

use super::{Count, Item, Letter, Perms, Strip};
use crate::geometry::Geometry;
use crate::program::Prot;

/// Where a strip is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StripError {
    /// Characters before the place.
    pub offset: usize,
    /// Characters meant.
    pub len: usize,
    /// What was expected.
    pub message: String,
}

impl Strip {
    /// Reads a strip; see the [module](super) for what it is made of.
    ///
    /// # Errors
    /// What is not a strip, with its place.
    pub fn parse(text: &str) -> Result<Strip, StripError> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader {
            chars: &chars,
            at: 0,
        };
        let mut strip = Strip::default();
        let mut pages = 0u64;
        while let Some(sign) = reader.skip_blanks() {
            let start = reader.at;
            let item = reader.item(sign, strip.items.last())?;
            if let Item::Run(letter, count) = item {
                // Counted as on the smallest geometry; `pmd` on a larger one is bounded by its own page count.
                pages += u64::from(count.pages(Geometry::K4));
                if pages > u64::from(Strip::MAX_PAGES) {
                    let message = format!("a strip covers at most {} pages", Strip::MAX_PAGES);
                    return Err(reader.error(start, message));
                }
                if let Some(Item::Run(before, _)) = strip.items.last() {
                    let open = *before == Letter::Any || letter == Letter::Any;
                    let parted = (*before == Letter::Unmapped) != (letter == Letter::Unmapped);
                    if parted && !open {
                        let message = "expected the border | between unmapped and mapped pages";
                        return Err(reader.error(start, message.into()));
                    }
                }
            }
            strip.push(item);
        }
        if strip.items.iter().all(|i| !matches!(i, Item::Run(..))) {
            let message = "expected at least one page, such as `.` or `a*4`";
            return Err(reader.error(0, message.into()));
        }
        Ok(strip)
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_blanks(&mut self) -> Option<char> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek()
    }

    /// An error about the characters from `start` to where the reader stands (at least one).
    fn error(&self, start: usize, message: String) -> StripError {
        StripError {
            offset: start,
            len: self.at.saturating_sub(start).max(1),
            message,
        }
    }

    fn item(&mut self, sign: char, last: Option<&Item>) -> Result<Item, StripError> {
        let start = self.at;
        match sign {
            '|' => {
                self.at += 1;
                match last {
                    Some(Item::Border | Item::Perms(_)) => {
                        let message = "expected a page between two borders";
                        Err(self.error(start, message.into()))
                    }
                    _ => Ok(Item::Border),
                }
            }
            '<' if last.is_none() => {
                self.at += 1;
                Ok(Item::GoesOn)
            }
            '>' if matches!(last, Some(Item::Run(..))) && self.is_last() => {
                self.at += 1;
                Ok(Item::GoesOn)
            }
            '<' | '>' => {
                let message = "`<` may stand only at the very start of a strip, `>` only at its very end behind a page";
                Err(self.error(start, message.into()))
            }
            'r' | '-' => {
                let perms = self.perms()?;
                match last {
                    Some(Item::Border | Item::GoesOn) => Ok(Item::Perms(perms)),
                    _ => {
                        let message =
                            "a protection such as rw-p stands right behind the border | of its VMA";
                        Err(self.error(start, message.into()))
                    }
                }
            }
            _ => {
                let Some(letter) = Letter::from_sign(sign) else {
                    let signs: String = Letter::ALL.iter().map(|l| l.sign()).collect();
                    let message = format!(
                        "expected a page sign (one of {signs}), a border | or a protection such as rw-p, found `{}`",
                        sign.escape_debug()
                    );
                    return Err(self.error(start, message));
                };
                self.at += 1;
                let count = self.count()?;
                Ok(Item::Run(letter, count))
            }
        }
    }

    fn is_last(&self) -> bool {
        self.chars[self.at + 1..].iter().all(|c| c.is_whitespace())
    }

    fn perms(&mut self) -> Result<Perms, StripError> {
        let start = self.at;
        let end = (start + 4).min(self.chars.len());
        let four: String = self.chars[start..end].iter().collect();
        let sign = |i: usize, on: char| match self.chars.get(start + i) {
            Some(&c) if c == on => Some(true),
            Some('-') => Some(false),
            _ => None,
        };
        let shared = match self.chars.get(start + 3) {
            Some('s') => Some(true),
            Some('p') => Some(false),
            _ => None,
        };
        self.at = end;
        match (sign(0, 'r'), sign(1, 'w'), sign(2, 'x'), shared) {
            (Some(read), Some(write), Some(exec), Some(shared)) => Ok(Perms {
                prot: Prot { read, write, exec },
                shared,
            }),
            _ => {
                let message = format!(
                    "expected a protection as in /proc/PID/maps, such as rw-p or r--s, found `{}`",
                    four.escape_debug()
                );
                Err(self.error(start, message))
            }
        }
    }

    /// `*510`, `*pmd`, `*pmd-2`, or nothing for one page.
    fn count(&mut self) -> Result<Count, StripError> {
        if self.peek() != Some('*') {
            return Ok(Count::Pages(1));
        }
        self.at += 1;
        let start = self.at;
        if self.chars[self.at..].starts_with(&['p', 'm', 'd']) {
            self.at += 3;
            if self.peek() != Some('-') {
                return Ok(Count::PmdMinus(0));
            }
            self.at += 1;
            let minus = self.number(start)?;
            if minus >= Geometry::K4.pages_per_pmd {
                let message = "a PMD maps 512 pages on some kernels: nothing would be left";
                return Err(self.error(start, message.into()));
            }
            return Ok(Count::PmdMinus(minus));
        }
        let n = self.number(start)?;
        if n == 0 {
            return Err(self.error(start, "a run has at least one page".into()));
        }
        Ok(Count::Pages(n))
    }

    fn number(&mut self, start: usize) -> Result<u32, StripError> {
        let first = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars[first..self.at].iter().collect();
        match digits.parse::<u32>() {
            Ok(n) if n <= Strip::MAX_PAGES => Ok(n),
            _ if digits.is_empty() => Err(self.error(
                start,
                "expected a number of pages behind `*`, such as a*510, or pmd, or pmd-2".into(),
            )),
            _ => Err(self.error(
                start,
                format!("a strip covers at most {} pages", Strip::MAX_PAGES),
            )),
        }
    }
}
