//! How fast a VM runs programs, observed and bare: `vm_speed ARCH KERNEL INITRAMFS [PROGRAMS]`.
//!
//! The programs come from the generator; nothing is judged here. `--show SEED` prints what one program's execution looks
//! like instead.

use harness::kernel::convert::to_wire;
use harness::kernel::vm::{boot_bare, Vm, VmConfig};
use harness::kernel::{Prepared, Smaps};
use oracle::geometry::Geometry;
use oracle::program::generate::generate;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use vm_images::Arch;
use wire::{Mode, Op, Program, Request, Response};

const BATCH: usize = 64;

/// CPU time of a process so far; unlike the clock it does not care what else the machine does.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |index: usize| -> f64 {
        let field = after_name.split_whitespace().nth(index);
        field.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    };
    // utime and stime, in hundredths.
    (ticks(11) + ticks(12)) / 100.0
}

/// A program of one letter per op, to see what a kind of op costs.
fn simple(id: u64, mix: &str, thp: u8) -> Program {
    const PAGE: i64 = 4096;
    let mut actor = 0;
    let steps = mix
        .chars()
        .map(|letter| {
            let op = match letter {
                'm' => Op::Mmap {
                    at: 0,
                    len: 64 << 12,
                    prot: 3,
                    flags: 0x32,
                },
                'H' => Op::Mmap {
                    at: 0,
                    len: 2 << 20,
                    prot: 3,
                    flags: 0x32,
                },
                'u' => Op::Munmap {
                    at: 0,
                    len: 64 << 12,
                },
                'w' => Op::Write {
                    at: 0,
                    pages: 8,
                    tag: 7,
                },
                'r' => Op::Read { at: 0, pages: 8 },
                'f' => Op::Read {
                    at: 512 * PAGE,
                    pages: 1,
                },
                'g' => Op::Madvise {
                    at: 4 * PAGE,
                    len: 4 << 12,
                    advice: 102,
                },
                'G' => Op::Madvise {
                    at: 4 * PAGE,
                    len: 4 << 12,
                    advice: 103,
                },
                'd' => Op::Madvise {
                    at: 0,
                    len: 8 << 12,
                    advice: 4,
                },
                'p' => Op::Mprotect {
                    at: 0,
                    len: 8 << 12,
                    prot: 1,
                },
                'F' => {
                    actor += 1;
                    Op::Fork { child: actor }
                }
                _ => Op::Munmap {
                    at: 700 * PAGE,
                    len: 1 << 12,
                },
            };
            wire::Step {
                actor: 0,
                op,
                smaps: letter == 's',
            }
        })
        .collect();
    let knobs = wire::Knobs {
        thp,
        shmem_thp: 0,
        khugepaged: false,
        ksm: false,
        root: false,
    };
    Program {
        id,
        knobs,
        steps,
        fault: None,
    }
}

/// Measures. With `--mix` the programs are made of one letter per op.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.remove(at);
        Some(args.remove(at))
    };
    let show: Option<u64> = option("--show").map(|s| s.parse()).transpose()?;
    let smaps = match option("--smaps").as_deref() {
        Some("never") => Smaps::Never,
        Some("end") => Smaps::End,
        Some("every") => Smaps::Every,
        _ => Smaps::Changes,
    };
    let thp: Option<u8> = option("--thp").map(|s| s.parse()).transpose()?;
    let append = option("--append").unwrap_or_default();
    let cpu = option("--cpu");
    let mix = option("--mix");
    let rounds: u32 = option("--rounds").map_or(Ok(1), |s| s.parse())?;
    let bare_boot = option("--bare-boot").is_some();
    let [arch, kernel, initramfs] = &args[..3] else {
        return Err("ARCH KERNEL INITRAMFS [PROGRAMS]".into());
    };
    let arch: Arch = arch.parse()?;
    let count: usize = args.get(3).map_or(Ok(1000), |s| s.parse())?;
    let log = std::env::temp_dir().join(format!("vm_speed-{}.log", std::process::id()));
    let mut config = VmConfig::new(Path::new(kernel), Path::new(initramfs), arch, &log);
    config.append = append;
    config.cpu = cpu;
    if kernel.contains("16k") {
        config.page_size = Some(16384);
    }
    if bare_boot {
        println!("bare init: {:.2} s", boot_bare(&config)?);
    }
    let mut vm = Vm::boot(&config)?;
    println!(
        "boot: {:.2} s, slowdown {:.2}",
        vm.boot_seconds(),
        vm.slowdown()
    );
    println!("{:?}", vm.hello());
    let hello = vm.hello().clone();
    let geometry = Geometry {
        page_size: hello.page_size,
        pages_per_pmd: hello.page_size / 8,
    };
    let program = |seed: u64| {
        let prepared = Prepared {
            id: seed,
            program: Arc::new(generate(seed)),
            smaps,
            fault: None,
        };
        let mut program = to_wire(&prepared, geometry);
        if let Some(thp) = thp {
            program.knobs.thp = thp;
        }
        program
    };
    let batch = |seq: usize, mode: Mode, programs: &[Program]| Request::Batch {
        seq: seq as u64,
        mode,
        arena_pages: geometry.arena_pages(),
        op_limit_ms: 2000,
        programs: programs.to_vec(),
    };
    if let Some(seed) = show {
        let program = program(seed);
        println!("{}", generate(seed));
        vm.submit(batch(0, Mode::Judged, std::slice::from_ref(&program)))?;
        match vm.wait()? {
            Response::Execution(execution) => {
                for (step, seen) in program.steps.iter().zip(&execution.steps) {
                    println!("{step:?}\n    {seen:?}");
                }
                println!("{:?}", execution.end);
            }
            other => println!("{other:?}"),
        }
        return Ok(());
    }
    let mut programs: Vec<Program> = match &mix {
        Some(mix) => (0..count as u64)
            .map(|id| simple(id, mix, thp.unwrap_or(0)))
            .collect(),
        None => (0..count as u64).map(program).collect(),
    };
    programs.sort_by_key(|p| p.knobs);
    let ops: usize = programs.iter().map(|p| p.steps.len()).sum();
    let forks = programs
        .iter()
        .flat_map(|p| &p.steps)
        .filter(|s| matches!(s.op, Op::Fork { .. }))
        .count();
    println!(
        "{:.1} ops a program, {:.1} % forks",
        ops as f64 / count as f64,
        100.0 * forks as f64 / ops as f64
    );
    for round in 0..rounds {
        let mut rates = Vec::new();
        for (name, mode) in [
            ("observed", Mode::Judged),
            ("bare", Mode::Bare { rounds: 1 }),
        ] {
            let (started, cpu) = (Instant::now(), cpu_seconds(vm.qemu_pid()));
            let mut ends = std::collections::BTreeMap::new();
            let mut bytes = 0;
            let mut nanos = 0;
            let mut left = 0;
            let mut chunks = programs.chunks(BATCH).enumerate();
            loop {
                while left < 4 {
                    let Some((seq, chunk)) = chunks.next() else {
                        break;
                    };
                    vm.submit(batch(seq, mode, chunk))?;
                    left += 1;
                }
                if left == 0 {
                    break;
                }
                match vm.wait()? {
                    Response::Execution(e) => {
                        bytes += wire::encode(&e)?.len();
                        let end = format!("{:?}", e.end);
                        let end = end.split(' ').next().unwrap_or_default().to_owned();
                        if end != "Done" {
                            println!("{:?} of {}", e.end, e.id);
                        }
                        *ends.entry(end).or_insert(0) += 1;
                    }
                    Response::BatchDone { nanos: n, .. } => {
                        left -= 1;
                        nanos += n;
                    }
                    other => println!("{other:?}"),
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            let rate = count as f64 / seconds;
            let cpu = (cpu_seconds(vm.qemu_pid()) - cpu) * 1e6 / count as f64;
            println!(
                "round {round} {name}: {rate:.0} programs/s, QEMU {cpu:.0} us CPU/program, guest {:.0} us/program, {} bytes/program, {ends:?}",
                nanos as f64 / 1000.0 / count as f64,
                bytes / count
            );
            rates.push(cpu);
        }
        println!(
            "round {round} ratio by CPU time: {:.2}",
            rates[1] / rates[0]
        );
    }
    Ok(())
}
