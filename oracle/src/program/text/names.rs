//! The words of the text form: errnos, signals, flags, protections, needs and knob values, each with its one spelling.

use crate::judge::VmFlag;
use crate::program::{Need, Prot, ShmemThp, Thp};

/// Errnos that an expectation can name, with their Linux numbers (the same on x86-64 and arm64).
pub const ERRNOS: &[(&str, i32)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("ETXTBSY", 26),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("ESPIPE", 29),
    ("EROFS", 30),
    ("EPIPE", 32),
    ("EDOM", 33),
    ("ERANGE", 34),
    ("ENOSYS", 38),
    ("EOVERFLOW", 75),
    ("EOPNOTSUPP", 95),
    ("EHWPOISON", 133),
    ("EHWPOISON", 133),
];

/// Signals that an access can raise: name, number, and the names of their codes.
type SignalRow = (&'static str, i32, &'static [(&'static str, i32)]);

/// See [`SignalRow`].
pub const SIGNALS: &[SignalRow] = &[
    (
        "SIGSEGV",
        11,
        &[("MAPERR", 1), ("ACCERR", 2), ("PKUERR", 4)],
    ),
    (
        "SIGBUS",
        7,
        &[("ADRALN", 1), ("ADRERR", 2), ("OBJERR", 3), ("MCEERR", 4)],
    ),
];

/// Spellings of [`Need`].
pub const NEEDS: &[(&str, Need)] = &[
    ("guards", Need::Guards),
    ("guards-shared", Need::GuardsShared),
    ("thp", Need::Thp),
    ("page4k", Need::Page4K),
    ("mseal", Need::Mseal),
    ("mremap-many", Need::MremapMany),
    ("secret", Need::Secret),
    ("droppable", Need::Droppable),
    ("guard-flag", Need::GuardFlag),
    ("soft-dirty", Need::SoftDirty),
    ("uffd", Need::Uffd),
    ("uffd-wp", Need::UffdWp),
    ("uffd-move", Need::UffdMove),
    ("hugetlb", Need::Hugetlb),
    ("swap", Need::Swap),
    ("fail-nth", Need::FailNth),
    ("pkeys", Need::Pkeys),
];

/// Spellings of [`Thp`].
pub const THP: &[(&str, Thp)] = &[
    ("never", Thp::Never),
    ("madvise", Thp::Madvise),
    ("always", Thp::Always),
];

/// Spellings of [`ShmemThp`].
pub const SHMEM_THP: &[(&str, ShmemThp)] = &[
    ("never", ShmemThp::Never),
    ("advise", ShmemThp::Advise),
    ("always", ShmemThp::Always),
];

/// The eight protections.
pub const PROTS: &[(&str, Prot)] = &[
    ("none", Prot::new(false, false, false)),
    ("r", Prot::new(true, false, false)),
    ("w", Prot::new(false, true, false)),
    ("x", Prot::new(false, false, true)),
    ("rw", Prot::new(true, true, false)),
    ("rx", Prot::new(true, false, true)),
    ("wx", Prot::new(false, true, true)),
    ("rwx", Prot::new(true, true, true)),
];

/// VmFlags of smaps that a mapping of the arena can have.
pub const VM_FLAGS: &[(&str, VmFlag)] = &[
    ("rd", VmFlag(*b"rd")),
    ("wr", VmFlag(*b"wr")),
    ("ex", VmFlag(*b"ex")),
    ("sh", VmFlag(*b"sh")),
    ("mr", VmFlag(*b"mr")),
    ("mw", VmFlag(*b"mw")),
    ("me", VmFlag(*b"me")),
    ("ms", VmFlag(*b"ms")),
    ("lo", VmFlag(*b"lo")),
    ("lf", VmFlag(*b"lf")),
    ("sr", VmFlag(*b"sr")),
    ("rr", VmFlag(*b"rr")),
    ("dc", VmFlag(*b"dc")),
    ("ac", VmFlag(*b"ac")),
    ("nr", VmFlag(*b"nr")),
    ("wf", VmFlag(*b"wf")),
    ("dd", VmFlag(*b"dd")),
    ("sd", VmFlag(*b"sd")),
    ("hg", VmFlag(*b"hg")),
    ("nh", VmFlag(*b"nh")),
    ("mg", VmFlag(*b"mg")),
    ("sl", VmFlag(*b"sl")),
    ("gu", VmFlag(*b"gu")),
    ("um", VmFlag(*b"um")),
    ("uw", VmFlag(*b"uw")),
    ("ht", VmFlag(*b"ht")),
    ("de", VmFlag(*b"de")),
];

/// The name of `value` in one of the tables above.
pub fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    table.iter().find(|(_, v)| v == value).map(|(n, _)| *n)
}

/// The value called `name` in one of the tables above.
pub fn value_of<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

/// The name of an errno, if it is one that the text form knows.
pub fn errno_name(number: i32) -> Option<&'static str> {
    name_of(ERRNOS, &number)
}

/// The name of a signal.
pub fn signal_name(signo: i32) -> Option<&'static str> {
    SIGNALS
        .iter()
        .find(|(_, n, _)| *n == signo)
        .map(|(name, _, _)| *name)
}

/// The name of a signal's code (si_code), without the `SEGV_` or `BUS_`.
pub fn code_name(signo: i32, code: i32) -> Option<&'static str> {
    let (_, _, codes) = SIGNALS.iter().find(|(_, n, _)| *n == signo)?;
    name_of(codes, &code)
}

/// All names of a table, for messages: `a, b or c`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_string(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// The name nearest to `word` when it looks like a slip of the pen (at most two edits, and fewer than half of it).
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|n| (edits(word, n), n))
        .filter(|(d, n)| *d <= 2 && d * 2 < n.len())
        .min_by_key(|(d, _)| *d)
        .map(|(_, n)| n)
}

/// Levenshtein distance, in characters. Long words are not worth a guess.
fn edits(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX / 4;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
