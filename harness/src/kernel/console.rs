//! Kernel reports on the console: which lines begin one, and what belongs to it.
//!
//! The texts are those of the kernel's own messages (lib/bug.c, kernel/panic.c, kernel/watchdog.c, kernel/hung_task.c,
//! kernel/rcu/tree_stall.h, mm/kasan/report.c, mm/debug.c, mm/slub.c, mm/pgtable-generic.c, arch/*/mm/fault.c).

use std::fmt;

/// What kind of report it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// "Kernel panic - not syncing".
    Panic,
    /// A fault in the kernel: a bad pointer, a general protection fault, "Oops:".
    Oops,
    /// "kernel BUG at", bad page states and counters, sleeping in the wrong place: any "BUG:" that is nothing else here.
    Bug,
    /// WARN_ON and friends.
    Warning,
    /// KASAN, KFENCE, KMSAN, KCSAN, UBSAN.
    Sanitizer,
    /// Lockdep: lock order, RCU use, context.
    Lockdep,
    /// A CPU does not schedule.
    SoftLockup,
    /// A CPU takes no interrupts.
    HardLockup,
    /// A task is blocked for too long.
    HungTask,
    /// RCU waits for too long.
    RcuStall,
    /// The kernel killed a process for memory.
    OutOfMemory,
}

impl ReportKind {
    /// A word for tables.
    pub fn name(self) -> &'static str {
        match self {
            ReportKind::Panic => "panic",
            ReportKind::Oops => "oops",
            ReportKind::Bug => "bug",
            ReportKind::Warning => "warning",
            ReportKind::Sanitizer => "sanitizer",
            ReportKind::Lockdep => "lockdep",
            ReportKind::SoftLockup => "soft-lockup",
            ReportKind::HardLockup => "hard-lockup",
            ReportKind::HungTask => "hung-task",
            ReportKind::RcuStall => "rcu-stall",
            ReportKind::OutOfMemory => "out-of-memory",
        }
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Texts that begin a report, the more telling ones first: a line is what the first match says.
const BEGINNINGS: &[(&str, ReportKind)] = &[
    ("Kernel panic - not syncing", ReportKind::Panic),
    ("BUG: KASAN:", ReportKind::Sanitizer),
    ("BUG: KFENCE:", ReportKind::Sanitizer),
    ("BUG: KMSAN:", ReportKind::Sanitizer),
    ("BUG: KCSAN:", ReportKind::Sanitizer),
    ("UBSAN: ", ReportKind::Sanitizer),
    ("BUG: soft lockup", ReportKind::SoftLockup),
    ("Watchdog detected hard LOCKUP", ReportKind::HardLockup),
    ("rcu: INFO: ", ReportKind::RcuStall),
    ("INFO: rcu_", ReportKind::RcuStall),
    ("BUG: kernel NULL pointer dereference", ReportKind::Oops),
    ("BUG: unable to handle ", ReportKind::Oops),
    ("Unable to handle kernel ", ReportKind::Oops),
    ("Internal error: ", ReportKind::Oops),
    ("general protection fault", ReportKind::Oops),
    ("stack segment: ", ReportKind::Oops),
    ("invalid opcode: ", ReportKind::Oops),
    ("Oops: ", ReportKind::Oops),
    ("kernel BUG at ", ReportKind::Bug),
    (
        "WARNING: possible circular locking dependency",
        ReportKind::Lockdep,
    ),
    ("WARNING: possible recursive locking", ReportKind::Lockdep),
    ("WARNING: possible irq lock inversion", ReportKind::Lockdep),
    ("WARNING: inconsistent lock state", ReportKind::Lockdep),
    ("WARNING: suspicious RCU usage", ReportKind::Lockdep),
    ("WARNING: lock held when returning", ReportKind::Lockdep),
    ("BUG: Invalid wait context", ReportKind::Lockdep),
    ("WARNING: bad unlock balance", ReportKind::Lockdep),
    ("BUG: ", ReportKind::Bug),
    ("WARNING: ", ReportKind::Warning),
    ("list_add corruption", ReportKind::Bug),
    ("list_del corruption", ReportKind::Bug),
    ("Out of memory: Killed process", ReportKind::OutOfMemory),
    ("oom-kill:", ReportKind::OutOfMemory),
];

/// The kind of report that `line` begins, if it begins one. A line may carry a time stamp, a caller and a CPU in square
/// brackets, a log level in angle brackets, and the name of a subsystem.
pub fn beginning(line: &str) -> Option<ReportKind> {
    let text = strip_prefixes(line);
    if text.starts_with("INFO: task ") && text.contains(" blocked for more than ") {
        return Some(ReportKind::HungTask);
    }
    if is_bad_entry(text) || is_slab_report(text) {
        return Some(ReportKind::Bug);
    }
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| text.starts_with(beginning))
        .map(|&(_, kind)| kind)
}

fn strip_prefixes(line: &str) -> &str {
    let mut text = line.trim_start();
    loop {
        let rest = match text.as_bytes().first() {
            Some(b'[') => text.split_once(']').map(|(_, rest)| rest),
            Some(b'<') => text.split_once('>').map(|(_, rest)| rest),
            _ => None,
        };
        match rest {
            Some(rest) => text = rest.trim_start(),
            None => break,
        }
    }
    for subsystem in ["watchdog: ", "NMI watchdog: ", "page_owner: "] {
        text = text.strip_prefix(subsystem).unwrap_or(text);
    }
    // Later kernels' watchdog names the CPU that looks first: `watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3`.
    match text
        .strip_prefix("CPU")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((cpu, rest)) if is_number(cpu) => rest,
        _ => text,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `mm/pgtable-generic.c:54: bad pmd 00000000f1a2b3c4(8000000012345067)`: pgd_ERROR and its like, with or without `bad`'s address.
fn is_bad_entry(text: &str) -> bool {
    let Some((place, rest)) = text.split_once(": bad ") else {
        return false;
    };
    let file = place.rsplit_once(':');
    let file = file.is_some_and(|(file, line)| file.ends_with(".c") && is_number(line));
    let entry = |kind: &str| rest.starts_with(kind) && rest[kind.len()..].starts_with([' ', '(']);
    file && ["pgd", "p4d", "pud", "pmd", "pte"].into_iter().any(entry)
}

/// `BUG kmalloc-64 (Not tainted): Redzone overwritten`: SLUB's checks of its objects (slab_bug), without the colon of other bugs.
fn is_slab_report(text: &str) -> bool {
    text.strip_prefix("BUG ")
        .and_then(|rest| rest.split_once(" ("))
        .is_some_and(|(cache, rest)| !cache.is_empty() && rest.contains("): "))
}

/// A report, with its first lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub kind: ReportKind,
    /// The line that began it, without time stamp.
    pub headline: String,
    /// Some lines before it, the line, and what came after.
    pub excerpt: String,
}

const LINES_BEFORE: usize = 4;
const LINES_AFTER: usize = 80;
const LONGEST_LINE: usize = 512;

/// Finds reports in a console's output as it comes. Keeps the first report, or a graver one that follows from it: after
/// an oops the panic is only a consequence, so the kind stays that of the first line.
#[derive(Debug, Default)]
pub struct Recogniser {
    partial: Vec<u8>,
    before: Vec<String>,
    report: Option<Report>,
    lines_after: usize,
}

impl Recogniser {
    /// Takes more output; returns the complete lines in it, for other readers.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || self.partial.len() >= LONGEST_LINE {
                lines.push(self.end_line());
            }
            if byte != b'\n' && byte != b'\r' {
                self.partial.push(byte);
            }
        }
        lines
    }

    /// The console has closed: what stands there without a newline is a line too.
    pub fn close(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.end_line())
    }

    /// The report in a whole text, if there is one.
    pub fn read(text: &str) -> Option<Report> {
        let mut recogniser = Recogniser::default();
        recogniser.feed(text.as_bytes());
        recogniser.close();
        recogniser.report
    }

    /// The report, if there was one.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Forgets what was seen so far; what a kernel says while it boots is nobody's program.
    pub fn forget(&mut self) {
        self.report = None;
        self.before.clear();
    }

    fn end_line(&mut self) -> String {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        match &mut self.report {
            Some(report) if self.lines_after < LINES_AFTER => {
                self.lines_after += 1;
                report.excerpt.push_str(&line);
                report.excerpt.push('\n');
            }
            Some(_) => {}
            None => {
                if let Some(kind) = beginning(&line) {
                    let mut excerpt = String::new();
                    for earlier in self.before.drain(..) {
                        excerpt.push_str(&earlier);
                        excerpt.push('\n');
                    }
                    excerpt.push_str(&line);
                    excerpt.push('\n');
                    self.lines_after = 0;
                    self.report = Some(Report {
                        kind,
                        headline: strip_prefixes(&line).to_owned(),
                        excerpt,
                    });
                } else {
                    if self.before.len() == LINES_BEFORE {
                        self.before.remove(0);
                    }
                    self.before.push(line.clone());
                }
            }
        }
        line
    }
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
