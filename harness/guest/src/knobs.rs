//! Settings of the whole kernel: quiet by default, and those that a program asks for.

use crate::control::Control;
use crate::sys;
use std::ffi::CString;
use std::sync::atomic::Ordering::Relaxed;
use wire::Knobs;

const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const KSM: &str = "/sys/kernel/mm/ksm";

/// Files that programs need, opened by the supervisor: workers have no right to.
#[derive(Debug, Clone, Copy)]
pub struct KnobFiles {
    thp: Option<i32>,
    shmem_thp: Option<i32>,
    khugepaged: [Option<i32>; 4],
    ksm: [Option<i32>; 2],
}

fn write(path: &str, value: &str) -> bool {
    std::fs::write(path, value).is_ok()
}

/// Makes the kernel quiet: what happens to a page shall be the work of the ops alone. Returns the names of settings that
/// are not there, with the CONFIG option that brings them.
pub fn quiet() -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |path: String, value: &str, config: &str| {
        if !write(&path, value) {
            missing.push(format!("{path} ({config})"));
        }
    };
    // A huge page is there whenever memory is: with "always" a fault compacts at once instead of falling back.
    need(
        format!("{THP}/defrag"),
        "always",
        "CONFIG_TRANSPARENT_HUGEPAGE",
    );
    // The default of every machine but those with less than 512 MiB of free memory, which switch huge pages off at boot.
    need(
        format!("{THP}/use_zero_page"),
        "1",
        "CONFIG_TRANSPARENT_HUGEPAGE",
    );
    // The guest looks for the huge zero page with MADV_HUGEPAGE before the first program sets its own mode.
    need(
        format!("{THP}/enabled"),
        "madvise",
        "CONFIG_TRANSPARENT_HUGEPAGE",
    );
    need(format!("{KSM}/run"), "0", "CONFIG_KSM");
    // Not missed when absent: no NUMA balancing and no compaction are just as quiet.
    write("/proc/sys/kernel/numa_balancing", "0");
    write("/proc/sys/vm/compaction_proactiveness", "0");
    // DAMON's statistics, on by default in Debian's kernels from 6.17 on, look at a page every 5 ms: they take a reference and
    // the lock of its folio, and FREE, COLD and PAGEOUT pass over a folio that somebody holds (mm/damon/paddr.c).
    write("/sys/module/damon_stat/parameters/enabled", "N");
    crate::swap::quiet();
    // No line on the console for each signal that a dying actor gets; but WARN and oops always.
    write("/proc/sys/debug/exception-trace", "0");
    write("/proc/sys/kernel/printk", "7");
    write("/proc/sys/kernel/randomize_va_space", "0");
    missing
}

fn open(dir: &str, name: &str) -> Option<i32> {
    let path = CString::new(format!("{dir}/{name}")).ok()?;
    sys::open(&path, libc::O_WRONLY).ok()
}

impl KnobFiles {
    /// None: the machine stays as it is.
    pub fn untouched() -> KnobFiles {
        KnobFiles {
            thp: None,
            shmem_thp: None,
            khugepaged: [None; 4],
            ksm: [None; 2],
        }
    }

    pub fn open() -> KnobFiles {
        let khugepaged = format!("{THP}/khugepaged");
        KnobFiles {
            thp: open(THP, "enabled"),
            shmem_thp: open(THP, "shmem_enabled"),
            khugepaged: [
                "defrag",
                "pages_to_scan",
                "alloc_sleep_millisecs",
                "scan_sleep_millisecs",
            ]
            .map(|name| open(&khugepaged, name)),
            ksm: ["run", "sleep_millisecs"].map(|name| open(KSM, name)),
        }
    }

    /// Puts khugepaged to sleep for good. It sleeps by the clock only while it has a process to look after, so the
    /// caller, who lives for ever, becomes one.
    pub fn calm_khugepaged(&self) {
        self.set_khugepaged(false);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let len = 64 << 20;
        let Ok(at) = sys::map(len, flags, -1) else {
            return;
        };
        // SAFETY: our own fresh mapping; its first byte in the middle, where a whole huge page fits around it. Workers need
        // no copy.
        unsafe {
            libc::madvise(at.cast(), len, libc::MADV_DONTFORK);
            libc::madvise(at.cast(), len, libc::MADV_HUGEPAGE);
            at.add(len / 2).write_volatile(1);
        }
        self.set_khugepaged(false);
    }

    fn set_khugepaged(&self, on: bool) {
        // The number of pages first: a pass that starts while the rest is written shall be short.
        let values = if on {
            ["1", "4096", "10", "10"]
        } else {
            ["0", "1", "4294967295", "4294967295"]
        };
        for index in [1, 0, 2, 3] {
            if let Some(fd) = self.khugepaged[index] {
                let _ = sys::write_setting(fd, values[index]);
            }
        }
    }

    fn set_ksm(&self, on: bool) {
        let [run, sleep] = self.ksm;
        if let (true, Some(fd)) = (on, sleep) {
            let _ = sys::write_setting(fd, "10");
        }
        if let Some(fd) = run {
            // 2 takes merged pages apart before it stops.
            let _ = sys::write_setting(fd, if on { "1" } else { "2" });
            if !on {
                let _ = sys::write_setting(fd, "0");
            }
        }
    }

    /// Sets what differs from what is set.
    ///
    /// # Errors
    /// The kernel lacks or refuses a setting that the program needs.
    pub fn set(&self, control: &Control, want: Knobs) -> Result<(), String> {
        if crate::host::is_here() {
            // Programs want the machine as it is: see `host`.
            return Ok(());
        }
        let have = control.knobs.load(Relaxed);
        let packed = pack(want);
        if have == packed {
            return Ok(());
        }
        let changed = |shift: u32, bits: u64| have == 0 || (have ^ packed) >> shift & bits != 0;
        if changed(1, 3) {
            let modes = ["never", "madvise", "always"];
            set_mode(self.thp, "transparent_hugepage/enabled", &modes, want.thp)?;
        }
        if changed(3, 3) {
            let modes = ["never", "advise", "always"];
            set_mode(
                self.shmem_thp,
                "transparent_hugepage/shmem_enabled",
                &modes,
                want.shmem_thp,
            )?;
        }
        // A change of the mode starts khugepaged anew; its settings stay.
        if have == 0 && want.khugepaged || have != 0 && changed(5, 1) {
            self.set_khugepaged(want.khugepaged);
        }
        if have == 0 && want.ksm || have != 0 && changed(6, 1) {
            self.set_ksm(want.ksm);
        }
        let swaps = have != 0 && have >> 7 & 1 == 1;
        if want.swap != swaps && crate::swap::is_possible() {
            crate::swap::set(want.swap)?;
        }
        control.knobs.store(packed, Relaxed);
        Ok(())
    }
}

fn set_mode(file: Option<i32>, name: &str, modes: &[&str; 3], mode: u8) -> Result<(), String> {
    let text = modes
        .get(usize::from(mode))
        .ok_or_else(|| format!("{name}: there is no mode {mode}"))?;
    match file {
        Some(fd) => sys::write_setting(fd, text).map_err(|e| format!("{name} = {text}: {e}")),
        // A kernel without huge pages always says never.
        None if mode == 0 => Ok(()),
        None => Err(format!("{name} = {text}: the kernel has no such setting")),
    }
}

/// All knobs in one word, never 0. `root` is not in it: it belongs to processes, not to the kernel.
fn pack(knobs: Knobs) -> u64 {
    1 | u64::from(knobs.thp & 3) << 1
        | u64::from(knobs.shmem_thp & 3) << 3
        | u64::from(knobs.khugepaged) << 5
        | u64::from(knobs.ksm) << 6
        | u64::from(knobs.swap) << 7
}
