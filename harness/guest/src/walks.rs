//! How often the kernel walks page tables for each guard install, traced by probes of its own (kprobes): one walk for each round, up to
//! three, then the call is restarted. Only set up when asked for, since a probe takes time.

use crate::sys::{self, Errno};
use std::io::{BufRead, BufReader, Write};

const TRACING: &str = "/sys/kernel/tracing";

/// What every walk of guard install has for entries of page tables, and no other walk: the fifth member of `struct mm_walk_ops`.
const ENTRY: &str = "guard_install_pte_entry";

/// Functions that walk for install, with the range's start as second argument and a `struct mm_walk_ops` as fourth: of each row the
/// first that this kernel has. The two rows are for the two locks that install may hold.
const WALKERS: [&[&str]; 2] = [
    &["walk_page_range_mm_unsafe", "walk_page_range_mm"],
    &["walk_page_range_vma_unsafe", "walk_page_range_vma"],
];

/// Functions in which the calls end.
const CALLS: [&[&str]; 2] = [
    &["__x64_sys_madvise", "__arm64_sys_madvise"],
    &["__x64_sys_process_madvise", "__arm64_sys_process_madvise"],
];

/// -ERESTARTNOINTR as the trace has it: the call begins anew, and its caller does not notice.
const RESTARTED: &str = "ret=0xfffffffffffffdff";

/// Threads whose calls are followed at once.
const THREADS: usize = 16;

/// Probes that are in place.
#[derive(Debug, Clone, Copy)]
pub struct Walks {
    pipe: i32,
}

impl Walks {
    /// Puts the probes in place. Needs effective user 0.
    ///
    /// # Errors
    /// What the kernel lacks.
    pub fn open() -> Result<Walks, String> {
        let events = format!("{TRACING}/kprobe_events");
        if std::fs::metadata(&events).is_err() {
            // SAFETY: valid C strings; no data.
            unsafe {
                let (kind, at) = (c"tracefs".as_ptr(), c"/sys/kernel/tracing".as_ptr());
                libc::mount(kind, at, kind, 0, std::ptr::null());
            }
        }
        if std::fs::metadata(&events).is_err() {
            return Err(format!(
                "there is no {events}: the kernel needs CONFIG_KPROBE_EVENTS=y"
            ));
        }
        if !in_place() {
            put_in_place(&events)?;
        }
        let path = c"/sys/kernel/tracing/trace_pipe";
        let pipe = sys::open(path, libc::O_RDONLY | libc::O_NONBLOCK)
            .map_err(|e| format!("{TRACING}/trace_pipe: {e}"))?;
        Ok(Walks { pipe })
    }

    /// Lets go of the trace, which one process at a time may read. The probes stay.
    pub fn close(self) {
        sys::close(self.pipe);
    }

    /// Leaves out what was traced until now.
    ///
    /// # Errors
    /// The trace cannot be read.
    pub fn forget(self) -> Result<(), String> {
        self.count(&mut |_| {})
    }

    /// Hands over, for each install since the last time, how often the kernel walked for it: up to three times, more when the call
    /// was restarted. An install over several VMAs counts as one for each.
    ///
    /// # Errors
    /// The trace cannot be read.
    pub fn count(self, take: &mut dyn FnMut(u64)) -> Result<(), String> {
        let mut follow = Follow::default();
        let mut text = [0; 4096];
        let mut held = 0;
        loop {
            let n = match sys::read(self.pipe, &mut text[held..]) {
                Ok(0) | Err(Errno(libc::EAGAIN)) => break,
                Ok(n) => held + n,
                Err(e) => return Err(format!("{TRACING}/trace_pipe: {e}")),
            };
            let whole = text[..n].iter().rposition(|b| *b == b'\n');
            let whole = whole.map_or(n, |at| at + 1);
            for line in text[..whole].split(|b| *b == b'\n') {
                follow.line(std::str::from_utf8(line).unwrap_or_default(), take);
            }
            text.copy_within(whole..n, 0);
            held = n - whole;
        }
        follow.end(take);
        Ok(())
    }
}

/// Whether an earlier process of this guest has put the probes in place: those of the calls come last.
fn in_place() -> bool {
    let enabled = |number| format!("{TRACING}/events/mmdiff/done{number}/enable");
    (0..CALLS.len()).any(|number| std::fs::metadata(enabled(number)).is_ok())
}

/// Looks for the functions, which takes a second, and puts probes on them.
fn put_in_place(events: &str) -> Result<(), String> {
    let symbols = symbols()?;
    let named = |name: &str| symbols.iter().find(|(known, _)| known == name);
    let Some((_, entry)) = named(ENTRY) else {
        return Err(format!(
            "{ENTRY} is not among the kernel's symbols: it has no guard regions"
        ));
    };
    let probes = [
        (
            &WALKERS,
            "p",
            "walk",
            "start=$arg2:x64 entry=+32($arg4):x64",
        ),
        (&CALLS, "r", "done", "ret=$retval:x64"),
    ];
    for (rows, kind, event, arguments) in probes {
        let mut any = false;
        for (number, row) in rows.iter().enumerate() {
            let Some(function) = row.iter().find(|name| named(name).is_some()) else {
                continue;
            };
            let folder = format!("{TRACING}/events/mmdiff/{event}{number}");
            if std::fs::metadata(&folder).is_err() {
                // To open it any other way takes away the probes that are there.
                let probe = format!("{kind}:mmdiff/{event}{number} {function} {arguments}\n");
                std::fs::OpenOptions::new()
                    .append(true)
                    .open(events)
                    .and_then(|mut file| file.write_all(probe.as_bytes()))
                    .map_err(|e| format!("{events}: {}: {e}", probe.trim_end()))?;
            }
            if event == "walk" {
                set(&format!("{folder}/filter"), &format!("entry==0x{entry}"))?;
            }
            set(&format!("{folder}/enable"), "1")?;
            any = true;
        }
        if !any {
            let names: Vec<&str> = rows.iter().flat_map(|row| row.iter().copied()).collect();
            let names = names.join(", ");
            return Err(format!("of {names} none is among the kernel's symbols"));
        }
    }
    Ok(())
}

fn set(path: &str, value: &str) -> Result<(), String> {
    std::fs::write(path, value).map_err(|e| format!("{path}: {value}: {e}"))
}

/// The symbols that are of interest, with their addresses in hexadecimal digits.
fn symbols() -> Result<Vec<(String, String)>, String> {
    let path = "/proc/kallsyms";
    let failed = |e: std::io::Error| format!("{path}: {e}");
    let mut file = BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let rows = WALKERS.iter().chain(&CALLS);
    let wanted: Vec<&str> = rows.flat_map(|row| row.iter().copied()).collect();
    let mut found = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if file.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(found);
        }
        let mut words = line.split_whitespace();
        if let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) {
            if name == ENTRY || wanted.contains(&name) {
                found.push((name.to_owned(), address.to_owned()));
            }
        }
    }
}

/// The calls of all threads.
#[derive(Default)]
struct Follow {
    under_way: [Option<Call>; THREADS],
}

/// A call that has not ended yet.
struct Call {
    thread: u64,
    /// Start of each part that it installs into, VMA by VMA, and the walks for it so far.
    parts: Vec<(u64, u64)>,
    /// It has begun anew: walks are for parts that it had come to before, until it gets further.
    restarted: bool,
}

impl Call {
    fn walk(&mut self, start: u64) {
        let known = match self.restarted {
            true => self.parts.iter_mut().find(|(from, _)| *from == start),
            false => self.parts.last_mut().filter(|(from, _)| *from == start),
        };
        match known {
            Some((_, walks)) => *walks += 1,
            None => self.parts.push((start, 1)),
        }
    }

    fn end(self, take: &mut dyn FnMut(u64)) {
        self.parts.into_iter().for_each(|(_, walks)| take(walks));
    }
}

impl Follow {
    /// Takes a line of the trace; hands the walks of a call over when it has ended. A line is such as `mmdiff-77 [001] ..... 1.234: walk0: (walk_page_range_mm+0x0/0x50) start=0x7f00 entry=0x1`.
    fn line(&mut self, line: &str, take: &mut dyn FnMut(u64)) {
        let thread = || {
            let who = line.split_whitespace().next()?;
            who.rsplit('-').next()?.parse::<u64>().ok()
        };
        let Some(thread) = thread() else {
            if line.contains(" EVENTS]") {
                // Some were lost: whatever is under way cannot be told.
                *self = Follow::default();
            }
            return;
        };
        let mine = |place: &Option<Call>| place.as_ref().is_some_and(|call| call.thread == thread);
        let known = self.under_way.iter().position(mine);
        if line.contains(": walk") {
            let start = || {
                let (_, rest) = line.split_once("start=0x")?;
                u64::from_str_radix(rest.split(' ').next()?, 16).ok()
            };
            let Some(start) = start() else { return };
            let free = || self.under_way.iter().position(Option::is_none);
            let Some(at) = known.or_else(free) else {
                return;
            };
            let call = self.under_way[at].get_or_insert_with(|| Call {
                thread,
                parts: Vec::new(),
                restarted: false,
            });
            call.walk(start);
        } else if line.contains(": done") {
            let Some(place) = known.map(|at| &mut self.under_way[at]) else {
                return;
            };
            if line.contains(RESTARTED) {
                place.iter_mut().for_each(|call| call.restarted = true);
            } else if let Some(call) = place.take() {
                call.end(take);
            }
        }
    }

    /// Nothing runs any more.
    fn end(self, take: &mut dyn FnMut(u64)) {
        for call in self.under_way.into_iter().flatten() {
            call.end(take);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(lines: &[&str]) -> Vec<u64> {
        let mut follow = Follow::default();
        let mut told = Vec::new();
        for line in lines {
            follow.line(line, &mut |walks| told.push(walks));
        }
        follow.end(&mut |walks| told.push(walks));
        told
    }

    const WALK: &str = "walk1: (walk_page_range_vma_unsafe+0x0/0xd0) start=0x7f0000 entry=0x1";
    const DONE: &str = "done0: (do_syscall_64+0x7e/0x100 <- __x64_sys_madvise) ret=";

    #[test]
    fn walks_are_counted_by_install() {
        let a = format!("     mmdiff-77      [001] ..... 1.0: {WALK}");
        let b = format!("     mmdiff-78      [000] ..... 1.0: {WALK}");
        let done =
            |thread: u32, ret: &str| format!("  mmdiff-{thread} [001] ..... 1.2: {DONE}{ret}");
        let (fine, other) = (done(77, "0x0"), done(78, "0x0"));
        assert_eq!(followed(&[&a, &fine, &a, &a, &fine]), [1, 2]);
        assert_eq!(followed(&[&a, &b, &a, &fine, &b, &b, &other]), [2, 3]);
        // A call that walks nothing, and one that had begun before.
        assert_eq!(followed(&[&fine, &a, &fine]), [1]);
        // Another VMA of the same call.
        let next = a.replace("0x7f0000", "0x7f8000");
        assert_eq!(followed(&[&a, &a, &next, &fine]), [2, 1]);
    }

    #[test]
    fn a_call_that_is_restarted_goes_on() {
        let walk = format!("mmdiff-77 [001] ..... 1.0: {WALK}");
        let again = format!("mmdiff-77 [001] ..... 1.2: {DONE}0xfffffffffffffdff");
        let fine = format!("mmdiff-77 [001] ..... 1.2: {DONE}0x0");
        let lines = [&walk, &walk, &walk, &again, &walk, &fine].map(String::as_str);
        assert_eq!(followed(&lines), [4]);
        // In its second VMA: it walks the first one again, too.
        let next = walk.replace("0x7f0000", "0x7f8000");
        let lines = [
            &walk, &next, &next, &next, &again, &walk, &next, &fine, &walk, &fine,
        ];
        assert_eq!(followed(&lines.map(String::as_str)), [2, 4, 1]);
    }

    /// Ranges of one call that begin alike are walked for one by one, as long as the call does not begin anew.
    #[test]
    fn the_same_range_twice_is_two_installs() {
        let walk = format!("mmdiff-77 [001] ..... 1.0: {WALK}");
        let next = walk.replace("0x7f0000", "0x7f8000");
        let fine = format!("mmdiff-77 [001] ..... 1.2: {DONE}0x0");
        let lines = [&walk, &next, &walk, &fine].map(String::as_str);
        assert_eq!(followed(&lines), [1, 1, 1]);
    }

    #[test]
    fn lost_events_end_what_cannot_be_told() {
        let walk = format!("mmdiff-77 [001] ..... 1.0: {WALK}");
        let lines = [walk.as_str(), "CPU:1 [LOST 12 EVENTS]", walk.as_str()];
        assert_eq!(followed(&lines), [1]);
    }
}
