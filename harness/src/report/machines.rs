//! The machines that a campaign ran on, as far as its results may depend on them.

use super::Host;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in [`Machine::shards`] for a campaign that was not shared out.
const ALL: &str = "all";

/// A machine, and how it ran kernels.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Machine {
    pub host: Host,
    /// Versions of QEMU, by its name and architecture.
    pub qemu: BTreeMap<String, String>,
    /// `kvm` or `tcg`, by label and architecture of the kernel.
    pub accel: BTreeMap<String, String>,
    /// The shares of the campaign that it had, as `K/N`, or `all`.
    pub shards: BTreeSet<String>,
}

impl Machine {
    /// This machine, with a share of the campaign or all of it. `versions`: those of tools, of which QEMU's are taken.
    pub fn here(
        versions: &BTreeMap<String, String>,
        accel: BTreeMap<String, String>,
        shard: Option<String>,
    ) -> Machine {
        let qemu = versions.iter().filter(|(name, _)| name.starts_with("qemu"));
        Machine {
            host: Host::look(),
            qemu: qemu.map(|(name, v)| (name.clone(), v.clone())).collect(),
            accel,
            shards: BTreeSet::from([shard.unwrap_or_else(|| ALL.into())]),
        }
    }

    /// In a line.
    pub fn text(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "{}, {} cores, {} MiB, {}, Linux {}",
            host.cpu, host.cores, host.memory_mib, host.os, host.kernel
        );
        let more = [distinct(self.qemu.values()), distinct(self.accel.values())];
        for more in more.into_iter().filter(|more| !more.is_empty()) {
            text += &format!("; {more}");
        }
        text
    }

    fn is_like(&self, other: &Machine) -> bool {
        (&self.host, &self.qemu, &self.accel) == (&other.host, &other.qemu, &other.accel)
    }
}

/// Adds a machine to those of a campaign. Their order and number do not depend on who was added first, or twice.
pub fn add(machines: &mut Vec<Machine>, new: &Machine) {
    match machines.iter_mut().find(|old| old.is_like(new)) {
        Some(old) => old.shards.extend(new.shards.iter().cloned()),
        None => machines.push(new.clone()),
    }
    machines.sort();
}

/// Different words, with commas.
pub fn distinct<'a>(words: impl Iterator<Item = &'a String>) -> String {
    let words: BTreeSet<&str> = words.map(String::as_str).collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// In what the machines differ that results may show, a line each.
pub fn mixture(machines: &[Machine]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut differ = |what: &str, of: &dyn Fn(&Machine) -> Option<&String>| {
        let mut having: BTreeMap<&str, u64> = BTreeMap::new();
        for machine in machines {
            if let Some(value) = of(machine) {
                *having.entry(value).or_default() += machine.shards.len() as u64;
            }
        }
        if having.len() > 1 {
            let each: Vec<String> = having
                .iter()
                .map(|(value, shards)| format!("{value} ({shards} shards)"))
                .collect();
            lines.push(format!("{what}: {}", each.join(" and ")));
        }
    };
    let names = |of: fn(&Machine) -> &BTreeMap<String, String>| -> BTreeSet<String> {
        let all = machines.iter().flat_map(|machine| of(machine).keys());
        all.cloned().collect()
    };
    for kernel in names(|machine| &machine.accel) {
        differ(&format!("{kernel} ran with"), &|machine| {
            machine.accel.get(&kernel)
        });
    }
    for program in names(|machine| &machine.qemu) {
        differ(&program, &|machine| machine.qemu.get(&program));
    }
    // QEMU emulates the same processor everywhere; KVM has that of the host.
    differ("processors under KVM", &|machine| {
        let kvm = machine.accel.values().any(|accel| accel == "kvm");
        kvm.then_some(&machine.host.cpu)
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpu: &str, qemu: &str, accel: &str, shard: &str) -> Machine {
        let named = |name: &str, value: &str| BTreeMap::from([(name.into(), value.into())]);
        Machine {
            host: Host {
                cpu: cpu.into(),
                ..Host::default()
            },
            qemu: named("qemu x86_64", qemu),
            accel: named("7.3 x86_64", accel),
            shards: BTreeSet::from([shard.to_string()]),
        }
    }

    #[test]
    fn machines_come_together_in_any_order() {
        let all = [
            machine("a", "9", "kvm", "1/3"),
            machine("a", "9", "kvm", "2/3"),
            machine("b", "9", "tcg", "3/3"),
        ];
        let collected = |order: &[usize]| {
            let mut machines = Vec::new();
            order.iter().for_each(|&n| add(&mut machines, &all[n]));
            machines
        };
        let machines = collected(&[0, 1, 2]);
        assert_eq!(machines.len(), 2);
        assert_eq!(machines[0].shards.len(), 2);
        assert_eq!(machines, collected(&[2, 1, 1, 0, 2]));
    }

    #[test]
    fn what_results_may_show_is_told() {
        let told = |one, other| mixture(&[one, other]);
        let tcg = |cpu, shard| machine(cpu, "9", "tcg", shard);
        assert_eq!(told(tcg("a", "1/2"), tcg("b", "2/2")), [""; 0]);
        assert_eq!(
            told(tcg("a", "1/2"), machine("a", "9", "kvm", "2/2")),
            ["7.3 x86_64 ran with: kvm (1 shards) and tcg (1 shards)"]
        );
        let kvm = |cpu, qemu, shard| machine(cpu, qemu, "kvm", shard);
        assert_eq!(
            told(kvm("a", "7", "1/2"), kvm("b", "9", "2/2")),
            [
                "qemu x86_64: 7 (1 shards) and 9 (1 shards)",
                "processors under KVM: a (1 shards) and b (1 shards)"
            ]
        );
    }
}
