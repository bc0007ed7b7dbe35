//! Addresses, lengths, flags and numbers as C has them.

use oracle::geometry::{Pos, Range};
use oracle::program::{Advice, Backing, Expect, KeyGiven, MapFlags, Place, Prot, Remap};

/// A sum of blocks, pages and bytes, beginning with `first` (may be empty).
fn sum(first: &str, terms: [(i64, &str); 3]) -> String {
    let mut text = first.to_string();
    for (n, unit) in terms.into_iter().filter(|(n, _)| *n != 0) {
        let size = match (n.unsigned_abs(), unit) {
            (n, "") => n.to_string(),
            (1, unit) => unit.to_string(),
            (n, unit) => format!("{n} * {unit}"),
        };
        let sign = if n < 0 { '-' } else { '+' };
        text = match (text.as_str(), sign) {
            ("", '+') => size,
            // Lengths are unsigned: one below zero wraps around, as it shall.
            ("", _) => format!("0 - {size}"),
            _ => format!("{text} {sign} {size}"),
        };
    }
    if text.is_empty() {
        text.push('0');
    }
    text
}

/// `p + pmd - 2 * page`.
pub fn address(at: Pos) -> String {
    let terms = [
        (at.block.into(), "pmd"),
        (at.page.into(), "page"),
        (at.byte.into(), ""),
    ];
    sum("p", terms)
}

/// Bytes from one position to another.
pub fn distance(from: Pos, to: Pos) -> String {
    let terms = [
        (i64::from(to.block) - i64::from(from.block), "pmd"),
        (i64::from(to.page) - i64::from(from.page), "page"),
        (i64::from(to.byte) - i64::from(from.byte), ""),
    ];
    sum("", terms)
}

/// Bytes of a range.
pub fn length(range: Range) -> String {
    distance(range.start, range.end)
}

/// Pages of a range that an access goes over.
pub fn pages(range: Range) -> String {
    if range.start.block == range.end.block {
        (range.end.page - range.start.page).to_string()
    } else {
        format!("({}) / page", length(range))
    }
}

/// Those words that are set, joined by `|`; `none` where there is none.
pub fn all_of(words: &[(bool, &str)], none: &str) -> String {
    let words: Vec<&str> = words.iter().filter(|w| w.0).map(|w| w.1).collect();
    match words.is_empty() {
        true => none.into(),
        false => words.join(" | "),
    }
}

/// `PROT_READ | PROT_WRITE`.
pub fn prot(prot: Prot) -> String {
    let words = [
        (prot.read, "PROT_READ"),
        (prot.write, "PROT_WRITE"),
        (prot.exec, "PROT_EXEC"),
    ];
    all_of(&words, "PROT_NONE")
}

/// The key of a pkey_mprotect.
pub fn key(key: KeyGiven) -> &'static str {
    match key {
        KeyGiven::Open => "key(0)",
        KeyGiven::NoWrite => "key(1)",
        KeyGiven::NoAccess => "key(2)",
        KeyGiven::Default => "0",
        KeyGiven::AsIs => "-1",
        KeyGiven::Unknown => "15",
    }
}

/// The flags of an mmap.
pub fn map_flags(backing: Backing, place: Place, flags: MapFlags) -> String {
    let droppable = backing == Backing::Droppable;
    let words = [
        (droppable, "MAP_DROPPABLE"),
        (backing.is_shared(), "MAP_SHARED"),
        (!droppable && !backing.is_shared(), "MAP_PRIVATE"),
        (!matches!(backing, Backing::File(_)), "MAP_ANONYMOUS"),
        (matches!(backing, Backing::Hugetlb { .. }), "MAP_HUGETLB"),
        (place == Place::Fixed, "MAP_FIXED"),
        (place == Place::NoReplace, "MAP_FIXED_NOREPLACE"),
        (flags.populate, "MAP_POPULATE"),
        (flags.noreserve, "MAP_NORESERVE"),
        (flags.stack, "MAP_STACK"),
        (flags.locked, "MAP_LOCKED"),
    ];
    all_of(&words, "0")
}

/// The flags of an mremap.
pub fn remap_flags(how: Remap) -> String {
    let words = [
        (how.may_move(), "MREMAP_MAYMOVE"),
        (how.is_fixed(), "MREMAP_FIXED"),
        (how.keeps_source(), "MREMAP_DONTUNMAP"),
        (how == Remap::UnknownFlag, "8"),
    ];
    all_of(&words, "0")
}

/// `MADV_DONTNEED`.
pub fn advice(advice: Advice) -> String {
    match advice {
        Advice::Unknown => "9999".into(),
        Advice::GuardInstall => "MADV_GUARD_INSTALL".into(),
        Advice::GuardRemove => "MADV_GUARD_REMOVE".into(),
        Advice::DontNeedLocked => "MADV_DONTNEED_LOCKED".into(),
        Advice::PopulateRead => "MADV_POPULATE_READ".into(),
        Advice::PopulateWrite => "MADV_POPULATE_WRITE".into(),
        other => format!("MADV_{}", other.name().replace('-', "").to_uppercase()),
    }
}

/// `EINVAL`.
pub fn errno(number: i32) -> String {
    let name = Expect::Errno(number).text(0);
    if name.starts_with('E') {
        name
    } else {
        number.to_string()
    }
}

/// `SIGSEGV, SEGV_MAPERR`; 0 for any code.
pub fn signal(signo: i32, code: Option<i32>) -> String {
    let whole = Expect::Signal {
        signo,
        code,
        at: None,
    };
    let text = whole.text(0);
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let kind = name.trim_start_matches("SIG");
    match (words.next(), code) {
        // Action required, as opposed to BUS_MCEERR_AO.
        (Some("MCEERR"), _) => format!("{name}, BUS_MCEERR_AR"),
        (Some(word), _) => format!("{name}, {kind}_{word}"),
        (None, code) => format!("{name}, {}", code.unwrap_or(0)),
    }
}

/// Folds a line of C, indented by tabs of eight columns, at its commas and operators.
pub fn fold(tabs: usize, line: &str) -> String {
    let indent = "\t".repeat(tabs);
    let mut text = String::new();
    let mut column = tabs * 8;
    text += &indent;
    for (i, word) in line.split(' ').enumerate() {
        let quoted = text.rsplit('\n').next().unwrap_or_default();
        let in_string = quoted.matches('"').count() % 2 == 1;
        if i > 0 {
            if column + 1 + word.len() > 80 && !in_string {
                text += &format!("\n{indent}\t\t");
                column = tabs * 8 + 16;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text += word;
        column += word.len();
    }
    text + "\n"
}
