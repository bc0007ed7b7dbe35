//! How often the kernel walks page tables for advice, counted by probes of its own (kprobes): guard install walks once for each
//! round, so the count tells how many rounds it took. Only set up when asked for, since a probe takes time.

use crate::sys;
use std::io::Write;

const TRACING: &str = "/sys/kernel/tracing";

/// Functions that walk on behalf of advice, the innermost first: of each row the first that this kernel has is counted.
const FUNCTIONS: [&[&str]; 2] = [
    &["walk_page_range_mm_unsafe", "walk_page_range_mm"],
    &["walk_page_range_vma_unsafe", "walk_page_range_vma"],
];

/// Probes that are in place.
#[derive(Debug, Clone, Copy)]
pub struct Walks {
    profile: i32,
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
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let has = |name: &&&str| symbols.lines().any(|l| l.split(' ').nth(2) == Some(**name));
        let mut any = false;
        for row in FUNCTIONS {
            let Some(function) = row.iter().find(has) else {
                continue;
            };
            let enable = format!("{TRACING}/events/mmdiff/{function}/enable");
            if std::fs::metadata(&enable).is_err() {
                // To open it any other way takes away the probes that are there.
                std::fs::OpenOptions::new()
                    .append(true)
                    .open(&events)
                    .and_then(|mut file| writeln!(file, "p:mmdiff/{function} {function}"))
                    .map_err(|e| {
                        format!("{events}: {e}: the kernel needs CONFIG_KPROBE_EVENTS=y")
                    })?;
            }
            std::fs::write(&enable, "1").map_err(|e| format!("{enable}: {e}"))?;
            any = true;
        }
        if !any {
            return Err("no function that walks page tables is among the kernel's symbols".into());
        }
        let path = c"/sys/kernel/tracing/kprobe_profile";
        let profile = sys::open(path, libc::O_RDONLY).map_err(|e| format!("{TRACING}: {e}"))?;
        Ok(Walks { profile })
    }

    /// Walks since the probes are in place.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn count(self) -> Result<u64, String> {
        let mut text = [0; 2048];
        let n = sys::read_at(self.profile, &mut text, 0).map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&text[..n]);
        Ok(sum(&text))
    }
}

/// Of lines such as `  walk_page_range_mm    12    0`.
fn sum(profile: &str) -> u64 {
    let hits = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    profile.lines().filter_map(hits).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn hits_of_all_probes_are_added() {
        let text = "  walk_page_range_mm      12               0\n  other  3 1\n";
        assert_eq!(super::sum(text), 15);
        assert_eq!(super::sum(""), 0);
    }
}
