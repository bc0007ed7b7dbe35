//! Stable words for what was expected and observed. They name kinds, never positions or values, so that the same cause
//! lands in the same bucket.

use super::{Fault, Outcome, PageKind, PageSeen};
use crate::program::Prot;
use crate::space::Content;

/// Errnos that the modelled calls can return, by name.
const ERRNOS: &[(i32, &str)] = &[
    (1, "EPERM"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (7, "E2BIG"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (22, "EINVAL"),
    (38, "ENOSYS"),
    (75, "EOVERFLOW"),
    (95, "EOPNOTSUPP"),
    (133, "EHWPOISON"),
    (512, "ERESTARTSYS"),
    (513, "ERESTARTNOINTR"),
    (514, "ERESTARTNOHAND"),
];

pub(super) fn errno(number: i32) -> String {
    match ERRNOS.iter().find(|(n, _)| *n == number) {
        Some((_, name)) => (*name).to_string(),
        None => format!("errno-{number}"),
    }
}

pub(super) fn fault(fault: Option<Fault>) -> String {
    match fault.map(|f| (f.signo, f.code)) {
        None => "no-signal".into(),
        Some((11, 1)) => "SIGSEGV-MAPERR".into(),
        Some((11, 2)) => "SIGSEGV-ACCERR".into(),
        Some((11, 4)) => "SIGSEGV-PKUERR".into(),
        Some((7, 2)) => "SIGBUS-ADRERR".into(),
        Some((7, 4)) => "SIGBUS-MCEERR".into(),
        Some((signo, code)) => format!("signal-{signo}-code-{code}"),
    }
}

pub(super) fn outcome(seen: &Outcome) -> String {
    match seen {
        Outcome::Ok => "ok".into(),
        Outcome::Elsewhere => "elsewhere".into(),
        Outcome::Unflagged => "guard-without-flag".into(),
        Outcome::Errno(number) => errno(*number),
        Outcome::Moved(moved) if moved.all => "all".into(),
        Outcome::Moved(_) => "a-part".into(),
        Outcome::Access(access) => fault(access.fault),
        Outcome::Each(each) => {
            let words: Vec<String> = each.iter().map(outcome).collect();
            words.join("+")
        }
        Outcome::Together(steps) => {
            let words: Vec<String> = steps.iter().map(outcome).collect();
            words.join("|")
        }
    }
}

pub(super) fn prot(prot: Prot) -> String {
    [(prot.read, 'r'), (prot.write, 'w'), (prot.exec, 'x')]
        .iter()
        .map(|&(set, c)| if set { c } else { '-' })
        .collect()
}

/// A page-table slot; `None`: empty.
pub(super) fn page(page: Option<&PageSeen>) -> String {
    let Some(page) = page else {
        return "empty".into();
    };
    let kind = match page.kind {
        PageKind::Guard => return "guard".into(),
        PageKind::Swap => return "swap".into(),
        PageKind::Zero => "zero",
        PageKind::Anon => "anon",
        PageKind::File => "file",
    };
    let huge = if page.huge == Some(true) { "huge-" } else { "" };
    let shared = match page.kind {
        PageKind::Anon | PageKind::File if !page.exclusive => "-shared",
        _ => "",
    };
    format!("{huge}{kind}{shared}")
}

/// Two contents that differ.
pub(super) fn contents(expected: Option<Content>, observed: Content) -> (String, String) {
    let word = |c: Content| {
        if c == Content::ZERO {
            "zero"
        } else {
            "written"
        }
    };
    match expected {
        None => ("no-content".into(), word(observed).into()),
        Some(expected) if word(expected) == word(observed) => {
            ("written".into(), "other-written".into())
        }
        Some(expected) => (word(expected).into(), word(observed).into()),
    }
}
