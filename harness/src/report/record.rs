//! run.json: what was run, where, and with what.

use super::Machine;
use crate::campaign::{RowResult, Summary};
use crate::kernel::KernelSource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The machine a campaign ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Host {
    pub cpu: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub os: String,
    pub kernel: String,
}

impl Host {
    /// Looks at this machine. What cannot be found out stays empty.
    pub fn look() -> Host {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str, sep: char| {
            text.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(sep))
                .map(|(_, value)| value.trim().trim_matches('"').to_string())
                .unwrap_or_default()
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal", ':');
        let kib = kib.split(' ').next().and_then(|n| n.parse::<u64>().ok());
        Host {
            cpu: field(&read("/proc/cpuinfo"), "model name", ':'),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            os: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
        }
    }
}

/// How a command names a kernel of a run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedKernel {
    /// How the user named it, and its architecture.
    pub label: String,
    pub arch: String,
    /// Its uname release, where that is known.
    pub release: Option<String>,
    /// See [`KernelSource::options`].
    pub options: Vec<String>,
}

impl NamedKernel {
    /// As a run's kernel is named.
    pub fn of(source: &dyn KernelSource) -> NamedKernel {
        NamedKernel {
            label: source.label().into(),
            arch: source.arch().into(),
            release: source.release().map(String::from),
            options: source.options(),
        }
    }
}

/// The whole record.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// Versions of mmdiff, of its commit (`unknown` outside git), of the compiler that built it, of QEMU for each architecture.
    pub versions: BTreeMap<String, String>,
    pub command: Vec<String>,
    pub seed: u64,
    pub started: String,
    pub seconds: f64,
    pub accel: String,
    /// Judged by this profile instead of the kernels' own, and without these rows of the table of behaviours.
    pub profile: Option<String>,
    pub without_rows: Vec<String>,
    pub jobs: usize,
    pub host: Host,
    /// All machines that it ran on, and how.
    pub machines: Vec<Machine>,
    /// Where each kernel came from: label and architecture to package, hash or path.
    pub kernels: BTreeMap<String, String>,
    /// How each is named again.
    pub named: Vec<NamedKernel>,
    /// `finished`, `interrupted`, or what stopped it.
    pub end: String,
    /// CPU seconds of generating and judging.
    pub generating_cpu_seconds: f64,
    pub judging_cpu_seconds: f64,
    /// CPU seconds of the host process and of its VMs (children that have ended).
    pub cpu_seconds: f64,
    pub vm_cpu_seconds: f64,
    pub peak_memory_mib: f64,
    pub rows: Vec<RowResult>,
}

impl Record {
    /// Takes over what a campaign came to.
    pub fn set_summary(&mut self, summary: &Summary) {
        self.generating_cpu_seconds = summary.generating;
        self.judging_cpu_seconds = summary.judging;
        self.rows = summary.rows.clone();
        for row in summary.rows.iter().filter(|row| !row.release.is_empty()) {
            self.found(&row.kernel, &row.arch, &row.release);
        }
        self.end = if summary.interrupted {
            "interrupted".into()
        } else {
            "finished".into()
        };
        let usage = Usage::now();
        self.cpu_seconds = usage.own;
        self.vm_cpu_seconds = usage.children;
        self.peak_memory_mib = usage.peak_mib;
    }

    /// Takes over what a kernel, by its label and architecture, calls itself.
    pub fn found(&mut self, label: &str, arch: &str, release: &str) {
        let here = |named: &&mut NamedKernel| named.label == label && named.arch == arch;
        if let Some(named) = self.named.iter_mut().find(here) {
            named.release = Some(release.into());
        }
    }
}

/// CPU time and memory of this process so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU seconds of this process, user and system.
    pub own: f64,
    /// CPU seconds of children that have ended.
    pub children: f64,
    /// Largest resident set so far, MiB.
    pub peak_mib: f64,
}

impl Usage {
    /// Asks the system.
    pub fn now() -> Usage {
        use nix::sys::resource::{getrusage, UsageWho};
        let seconds = |who| {
            getrusage(who).map_or(0.0, |usage| {
                let time =
                    |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
                time(usage.user_time()) + time(usage.system_time())
            })
        };
        let peak = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
        Usage {
            own: seconds(UsageWho::RUSAGE_SELF),
            children: seconds(UsageWho::RUSAGE_CHILDREN),
            peak_mib: peak as f64 / 1024.0,
        }
    }
}
