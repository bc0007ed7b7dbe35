//! Messages that claim to come from a guest.

use crate::campaign::judge;
use crate::kernel::console::Recogniser;
use crate::kernel::convert::{from_wire, sent::sent, Views};
use crate::kernel::Smaps;
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::generate::generate;
use oracle::program::Program;
use wire::{Execution, Hello, Response};

/// A message that claims to come from a guest: whatever it says of a program is converted and judged, or refused; what it says of the
/// kernel's log is read.
///
/// The first byte chooses the program that was asked for and what the kernel can show, the rest is the message.
pub fn wire(bytes: &[u8]) {
    let Some((&choice, message)) = bytes.split_first() else {
        return;
    };
    match wire::decode(message) {
        Ok(Response::Execution(execution)) => {
            let (program, views) = (program(choice), views(choice));
            let execution = from_wire(execution, &program, Smaps::Every, Geometry::K4, views);
            judge(&program, &execution, &Profile::newest(), Geometry::K4);
        }
        Ok(Response::Log { text, .. }) => {
            Recogniser::read(&text);
        }
        _ => {}
    }
}

/// The program that was asked for.
fn program(choice: u8) -> Program {
    generate(u64::from(choice >> 3))
}

fn views(choice: u8) -> Views {
    let bit = |n: u8| choice >> n & 1 == 1;
    Views {
        scan: bit(0),
        scan_guard: bit(0) && bit(1),
        pagemap_guard: bit(1),
        huge_zero_as_file: bit(2),
        exact_counters: !bit(2),
        smaps_skips_protnone_huge: bit(2),
    }
}

/// Messages as a guest sends them, each with its first byte: to start a fuzzer from, which would hardly come upon one by itself. None is
/// longer than `most` bytes.
pub fn seeds(most: usize) -> Vec<Vec<u8>> {
    let profile = Profile::newest();
    let mut seeds = Vec::new();
    let mut add = |choice: u8, message: &Response| {
        let bytes = wire::encode(message).unwrap_or_default();
        if !bytes.is_empty() && bytes.len() < most {
            seeds.push([&[choice], &bytes[..]].concat());
        }
    };
    // All programs on the newest kernel, and some on kernels that show less.
    let choices = (0..=255_u8).filter(|choice| choice & 7 == 3 || choice >> 3 < 4);
    for choice in choices {
        let (program, views) = (program(choice), views(choice));
        let mut whole = sent(choice.into(), &program, &profile, Geometry::K4, views);
        // As many steps as fit: ended by a hang, a death, or the guest's own limits.
        while !whole.steps.is_empty() {
            let response = Response::Execution(whole.clone());
            if wire::encode(&response).is_ok_and(|bytes| bytes.len() < most) {
                add(choice, &response);
                break;
            }
            whole.steps.pop();
            whole.end = cut_off(&whole);
        }
    }
    for message in others() {
        add(3, &message);
    }
    seeds
}

/// Ways to end before the program does.
fn cut_off(execution: &Execution) -> wire::End {
    let step = execution.steps.len() as u32;
    match execution.id % 3 {
        0 => wire::End::Hang {
            step,
            stack: "wchan do_madvise".into(),
        },
        1 => wire::End::Died { step, status: 11 },
        _ => wire::End::Failed {
            step,
            why: "out of memory".into(),
        },
    }
}

/// One of each of the messages that are no executions.
fn others() -> [Response; 5] {
    [
        Response::Hello(Hello {
            version: wire::VERSION,
            release: "6.18.5".into(),
            build: "#1 SMP".into(),
            machine: "x86_64".into(),
            page_size: 4096,
            pmd_size: 2 << 20,
            cpus: 2,
            memory: 512 << 20,
            procmap_query: true,
            pagemap_scan: true,
            scan_guard: true,
            pagemap_guard: true,
            memory_failure: true,
            fail_nth: false,
            swap: true,
            missing: vec!["/sys/kernel/mm/ksm/run (CONFIG_KSM)".into()],
        }),
        Response::BatchDone {
            seq: 7,
            nanos: 123_456_789,
        },
        Response::Log {
            program: 7,
            step: 3,
            text: "WARNING: CPU: 0 PID: 77 at mm/memory.c:1234 zap_pte_range+0x1/0x2\n\
                   Call Trace:\n unmap_page_range+0x3/0x4\n---[ end trace 0000000000000000 ]---\n"
                .into(),
        },
        Response::Raced(wire::Raced {
            id: 7,
            counts: vec![199, 1],
            unkept: 0,
            overlapped: 150,
            apart: vec![0, 3, 197],
            first: vec![120, 80],
            walks: vec![0, 180, 20],
            no_walks: Some("EBUSY".into()),
            collapses: Some((3, 1)),
        }),
        Response::Error("a process cannot be killed".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_a_guest_sends_is_judged_or_refused() {
        let execution = wire::Execution {
            id: 1,
            free_pages: 7,
            end: wire::End::Done,
            steps: Vec::new(),
        };
        let message = wire::encode(&wire::Response::Execution(execution)).unwrap();
        for choice in 0..=255 {
            let mut bytes = vec![choice];
            bytes.extend(&message);
            super::wire(&bytes);
            bytes.pop();
            super::wire(&bytes);
        }
        super::wire(&[]);
    }

    #[test]
    fn seeds_are_messages_of_every_kind_and_ending() {
        let mut kinds = BTreeSet::new();
        let (most, mut steps) = (2048, 0);
        for seed in seeds(most) {
            assert!(seed.len() <= most);
            super::wire(&seed);
            kinds.insert(match wire::decode(&seed[1..]).unwrap() {
                Response::Execution(execution) => {
                    steps += execution.steps.len();
                    match execution.end {
                        wire::End::Done => "done",
                        wire::End::Hang { .. } => "hang",
                        wire::End::Died { .. } => "died",
                        wire::End::Failed { .. } => "failed",
                    }
                }
                Response::Hello(_) => "hello",
                Response::BatchDone { .. } => "batch",
                Response::Log { .. } => "log",
                Response::Raced(_) => "raced",
                Response::Error(_) => "error",
            });
        }
        assert_eq!(kinds.len(), 9, "{kinds:?}");
        assert!(steps > 200, "{steps} steps in all executions");
    }
}
