//! Page strips: an address space as a line of letters, one per page, the way mm developers draw it in mail.
//!
//! ```text
//! |rw-p aaGGaa ..|___|r--s ff|
//! ```
//!
//! | sign | page |
//! | --- | --- |
//! | `_` | unmapped |
//! | `.` | mapped, nothing in the page table |
//! | `G` | guard (kernels before 6.15 show it as a swap-like entry only) |
//! | `z` | the shared zero page |
//! | `a` | anonymous, mapped by this process alone |
//! | `s` | anonymous, shared with another process |
//! | `f` | shared memory or file, mapped by this process alone |
//! | `m` | shared memory or file, mapped by more than one |
//! | `~` | a swap entry |
//! | `A` `S` `Z` `F` `M` | the same as the small letter, mapped by a PMD |
//! | `?` | (expectations only) whatever it is |
//!
//! `|` is the border of a VMA; behind it may stand the VMA's protection and sharing as in /proc/PID/maps. `<` at the start
//! and `>` at the end say that the VMA goes on beyond the strip. `a*510` stands for 510 pages, `A*pmd` for as many as one
//! PMD maps, `a*pmd-2` for two fewer; blanks separate, no more.

mod check;
mod parse;
mod render;
mod side;

pub use check::{check_expect, check_strip};
pub use parse::StripError;
pub use render::{contents, render, strip, windows};
pub use side::side_by_side;

use crate::geometry::Geometry;
use crate::judge::{PageKind, PageSeen};
use crate::program::Prot;
use std::fmt;

/// Runs longer than this are written with a count.
const LONGEST_PLAIN_RUN: u32 = 8;

/// What a strip says about one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Letter {
    Any,
    Unmapped,
    Empty,
    Guard,
    Swap,
    Zero { huge: bool },
    Anon { huge: bool, exclusive: bool },
    File { huge: bool, exclusive: bool },
}

impl Letter {
    /// Every letter, in the order of the table above.
    pub const ALL: [Letter; 15] = [
        Letter::Any,
        Letter::Unmapped,
        Letter::Empty,
        Letter::Guard,
        Letter::Swap,
        Letter::Zero { huge: false },
        Letter::Zero { huge: true },
        Letter::anon(false, true),
        Letter::anon(false, false),
        Letter::anon(true, true),
        Letter::anon(true, false),
        Letter::file(false, true),
        Letter::file(false, false),
        Letter::file(true, true),
        Letter::file(true, false),
    ];

    const fn anon(huge: bool, exclusive: bool) -> Letter {
        Letter::Anon { huge, exclusive }
    }

    const fn file(huge: bool, exclusive: bool) -> Letter {
        Letter::File { huge, exclusive }
    }

    /// The letter of a page-table entry that is not empty. What a kernel cannot tell (whether a page is huge) counts as no.
    pub fn of(page: &PageSeen) -> Letter {
        let huge = page.huge == Some(true);
        let exclusive = page.exclusive;
        match page.kind {
            PageKind::Guard => Letter::Guard,
            PageKind::Swap => Letter::Swap,
            PageKind::Zero => Letter::Zero { huge },
            PageKind::Anon => Letter::Anon { huge, exclusive },
            PageKind::File => Letter::File { huge, exclusive },
        }
    }

    /// The sign in the table above.
    pub fn sign(self) -> char {
        let (small, huge) = match self {
            Letter::Any => ('?', false),
            Letter::Unmapped => ('_', false),
            Letter::Empty => ('.', false),
            Letter::Guard => ('G', false),
            Letter::Swap => ('~', false),
            Letter::Zero { huge } => ('z', huge),
            Letter::Anon { huge, exclusive } => (if exclusive { 'a' } else { 's' }, huge),
            Letter::File { huge, exclusive } => (if exclusive { 'f' } else { 'm' }, huge),
        };
        if huge {
            small.to_ascii_uppercase()
        } else {
            small
        }
    }

    /// The letter with this sign.
    pub fn from_sign(sign: char) -> Option<Letter> {
        Letter::ALL.into_iter().find(|l| l.sign() == sign)
    }

    /// The page state in words.
    pub fn words(self) -> &'static str {
        match self {
            Letter::Any => "anything",
            Letter::Unmapped => "unmapped",
            Letter::Empty => "empty",
            Letter::Guard => "guard",
            Letter::Swap => "swap entry",
            Letter::Zero { huge: false } => "zero page",
            Letter::Zero { huge: true } => "huge zero page",
            Letter::Anon { huge, exclusive } => match (huge, exclusive) {
                (false, true) => "anonymous page",
                (false, false) => "shared anonymous page",
                (true, true) => "anonymous huge page",
                (true, false) => "shared anonymous huge page",
            },
            Letter::File { huge, exclusive } => match (huge, exclusive) {
                (false, true) => "file page",
                (false, false) => "file page mapped by several",
                (true, true) => "file huge page",
                (true, false) => "file huge page mapped by several",
            },
        }
    }
}

/// How many pages a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Pages(u32),
    /// As many as one PMD maps, minus some.
    PmdMinus(u32),
}

impl Count {
    /// The count in pages; 0 when more is taken away than a PMD has.
    pub fn pages(self, g: Geometry) -> u32 {
        match self {
            Count::Pages(n) => n,
            Count::PmdMinus(n) => g.pages_per_pmd.saturating_sub(n),
        }
    }
}

/// Protection and sharing of a VMA, as in /proc/PID/maps: `rw-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perms {
    pub prot: Prot,
    pub shared: bool,
}

impl fmt::Display for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |on: bool, sign: char| if on { sign } else { '-' };
        write!(
            f,
            "{}{}{}{}",
            sign(self.prot.read, 'r'),
            sign(self.prot.write, 'w'),
            sign(self.prot.exec, 'x'),
            if self.shared { 's' } else { 'p' }
        )
    }
}

/// One piece of a strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// `|`
    Border,
    /// `<` at the start, `>` at the end.
    GoesOn,
    /// `rw-p`, behind a border or `<`.
    Perms(Perms),
    /// A run of like pages.
    Run(Letter, Count),
}

/// A strip: the pieces from left to right. Made by [`Strip::parse`] and [`render`]; neighbouring runs of like pages are
/// one run, so printing is canonical.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strip {
    items: Vec<Item>,
}

impl Strip {
    /// Most pages that a strip may cover, so that no count is absurd.
    pub const MAX_PAGES: u32 = 1 << 20;

    /// The pieces from left to right.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Pages that the strip covers.
    pub fn pages(&self, g: Geometry) -> u64 {
        self.items
            .iter()
            .map(|item| match item {
                Item::Run(_, count) => u64::from(count.pages(g)),
                _ => 0,
            })
            .sum()
    }

    /// Appends a piece; a plain run that continues the last one is added to it.
    fn push(&mut self, item: Item) {
        if let Item::Run(letter, Count::Pages(more)) = item {
            if more == 0 {
                return;
            }
            if let Some(Item::Run(last, Count::Pages(n))) = self.items.last_mut() {
                if *last == letter {
                    *n = n.saturating_add(more);
                    return;
                }
            }
        }
        self.items.push(item);
    }
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What must be parted from a following run by a blank: protections and counted runs; and plain letters from a
        // following counted run.
        let (mut after_letters, mut after_counted) = (false, false);
        for (i, item) in self.items.iter().enumerate() {
            match *item {
                Item::Border => write!(f, "|")?,
                Item::GoesOn => write!(f, "{}", if i == 0 { '<' } else { '>' })?,
                Item::Perms(perms) => write!(f, "{perms} ")?,
                Item::Run(letter, count) => {
                    let counted = match count {
                        Count::Pages(n) => n > LONGEST_PLAIN_RUN,
                        Count::PmdMinus(_) => true,
                    };
                    if after_counted || (after_letters && counted) {
                        write!(f, " ")?;
                    }
                    let sign = letter.sign();
                    match count {
                        Count::Pages(n) if !counted => {
                            write!(f, "{}", sign.to_string().repeat(n as usize))?;
                        }
                        Count::Pages(n) => write!(f, "{sign}*{n}")?,
                        Count::PmdMinus(0) => write!(f, "{sign}*pmd")?,
                        Count::PmdMinus(n) => write!(f, "{sign}*pmd-{n}")?,
                    }
                    (after_letters, after_counted) = (!counted, counted);
                    continue;
                }
            }
            (after_letters, after_counted) = (false, false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
