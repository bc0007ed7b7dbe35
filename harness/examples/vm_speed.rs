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
    let bare_boot = option("--bare-boot").is_some();
    let [arch, kernel, initramfs] = &args[..3] else {
        return Err("ARCH KERNEL INITRAMFS [PROGRAMS]".into());
    };
    let arch: Arch = arch.parse()?;
    let count: usize = args.get(3).map_or(Ok(1000), |s| s.parse())?;
    let log = std::env::temp_dir().join(format!("vm_speed-{}.log", std::process::id()));
    let mut config = VmConfig::new(Path::new(kernel), Path::new(initramfs), arch, &log);
    config.append = append;
    if kernel.contains("16k") {
        config.page_size = Some(16384);
    }
    if bare_boot {
        println!("bare init: {:.2} s", boot_bare(&config)?);
    }
    let mut vm = Vm::boot(&config)?;
    println!("boot: {:.2} s, slowdown {:.2}", vm.boot_seconds(), vm.slowdown());
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
        match vm.next()? {
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
    let mut programs: Vec<Program> = (0..count as u64).map(program).collect();
    programs.sort_by_key(|p| p.knobs);
    let ops: usize = programs.iter().map(|p| p.steps.len()).sum();
    let forks = programs.iter().flat_map(|p| &p.steps).filter(|s| matches!(s.op, Op::Fork { .. })).count();
    println!(
        "{:.1} ops a program, {:.1} % forks",
        ops as f64 / count as f64,
        100.0 * forks as f64 / ops as f64
    );
    for round in 0..2 {
        let mut rates = Vec::new();
        for (name, mode) in [("observed", Mode::Judged), ("bare", Mode::Bare { rounds: 1 })] {
            let started = Instant::now();
            let mut ends = std::collections::BTreeMap::new();
            let mut bytes = 0;
            let mut nanos = 0;
            let mut left = 0;
            let mut chunks = programs.chunks(BATCH).enumerate();
            loop {
                while left < 4 {
                    let Some((seq, chunk)) = chunks.next() else { break };
                    vm.submit(batch(seq, mode, chunk))?;
                    left += 1;
                }
                if left == 0 {
                    break;
                }
                match vm.next()? {
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
            println!(
                "round {round} {name}: {rate:.0} programs/s, guest {:.0} us/program, {} bytes/program, {ends:?}",
                nanos as f64 / 1000.0 / count as f64,
                bytes / count
            );
            rates.push(rate);
        }
        println!("round {round} ratio: {:.2}", rates[0] / rates[1]);
    }
    Ok(())
}
