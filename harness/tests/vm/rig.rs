//! A VM with the newest locked kernel, and programs for it.

use harness::kernel::vm::{Vm, VmConfig, VmError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use vm_images::initramfs::Initramfs;
use vm_images::modules::modules;
use vm_images::{guest, obtain, Arch, Lock, Manifest, Store};
use wire::{Execution, GuestFault, Knobs, Mode, Op, Program, Request, Response, Step};

pub const PAGE: u64 = 4096;
pub const PRIVATE: u32 = 0x22;
pub const SHARED: u32 = 0x21;
pub const FIXED: u32 = 0x10;

/// What to boot; the folder goes with the value.
pub struct Rig {
    pub config: VmConfig,
    pub dir: tempfile::TempDir,
    /// The kernel's package has the RAM disk to swap to.
    pub swaps: bool,
}

/// The newest kernel of an architecture, with 4 KiB pages, and a guest built from this checkout.
pub fn rig(arch: Arch) -> Rig {
    // Tests of one run must not build and fetch at the same time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let lock = Lock::built_in().unwrap();
    let newest = |k: &&vm_images::LockedKernel| vm_images::version::key(&k.point);
    let kernel = lock
        .kernels
        .iter()
        .filter(|k| k.arch == arch && k.flavour == "cloud")
        .max_by_key(newest)
        .unwrap();
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let store = Store::open_default().unwrap();
    let suites = Manifest::load(&workspace.join("vm-images/kernels.toml"))
        .unwrap()
        .suites;
    // What the mirror has of its series, once it has the locked one no more.
    let fetched = obtain(&store, kernel, &suites, &|_| ()).unwrap();
    let modules = modules(&store, &fetched.kernel, &["brd"], &|_| ()).unwrap();
    let image = fetched
        .image
        .unpacked(&store.root().join("images"))
        .unwrap();
    let init = guest::build(arch, &workspace, &|_| ()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let initramfs = dir.path().join("initramfs.cpio");
    let archive = Initramfs::with_init(&init).unwrap().modules(&modules);
    std::fs::write(&initramfs, archive.finish()).unwrap();
    let config = VmConfig::new(
        &image.path,
        &initramfs,
        arch,
        &dir.path().join("console.log"),
    );
    Rig {
        config,
        dir,
        swaps: !modules.is_empty(),
    }
}

impl Rig {
    pub fn boot(&self) -> Vm {
        Vm::boot(&self.config).unwrap()
    }

    /// Another VM's console must go elsewhere.
    pub fn console(&self, name: &str) -> VmConfig {
        let mut config = self.config.clone();
        config.console_log = Path::new(self.dir.path()).join(name);
        config
    }
}

pub fn knobs() -> Knobs {
    Knobs {
        thp: 1,
        shmem_thp: 0,
        khugepaged: false,
        ksm: false,
        swap: false,
        root: false,
        uffd_events: false,
    }
}

pub fn step(actor: u8, op: Op) -> Step {
    Step {
        actor,
        lane: None,
        op,
        fail: None,
        look: wire::Look::Full,
    }
}

pub fn program(id: u64, steps: &[Step]) -> Program {
    Program {
        id,
        knobs: knobs(),
        files: Vec::new(),
        steps: steps.to_vec(),
        fault: None,
    }
}

pub fn mmap(page: i64, pages: u64, prot: u32, flags: u32) -> Op {
    Op::Mmap {
        at: page * PAGE as i64,
        len: pages * PAGE,
        prot,
        flags,
        file: None,
    }
}

pub fn madvise(page: i64, pages: u64, advice: i32) -> Op {
    Op::Madvise {
        at: page * PAGE as i64,
        len: pages * PAGE,
        advice,
    }
}

pub fn write(page: i64, pages: u32, tag: u16) -> Op {
    Op::Write {
        at: page * PAGE as i64,
        pages,
        tag,
    }
}

pub fn read(page: i64, pages: u32) -> Op {
    Op::Read {
        at: page * PAGE as i64,
        pages,
    }
}

/// A small ordinary program; with a fault it happens at the last of its three ops.
pub fn small(id: u64, fault: Option<GuestFault>) -> Program {
    let steps = [
        step(0, mmap(0, 8, 3, PRIVATE | FIXED)),
        step(0, write(0, 4, 7)),
        step(0, madvise(1, 2, 102)),
    ];
    Program {
        fault,
        ..program(id, &steps)
    }
}

pub fn batch(seq: u64, mode: Mode, op_limit_ms: u32, programs: Vec<Program>) -> Request {
    Request::Batch {
        seq,
        mode,
        arena_pages: 1536,
        op_limit_ms,
        programs,
    }
}

/// Runs a batch to its end.
pub fn run(
    vm: &mut Vm,
    op_limit_ms: u32,
    programs: Vec<Program>,
) -> Result<Vec<Execution>, VmError> {
    vm.submit(batch(1, Mode::Judged, op_limit_ms, programs))?;
    let mut executions = Vec::new();
    loop {
        match vm.wait()? {
            Response::Execution(execution) => executions.push(execution),
            Response::BatchDone { .. } => return Ok(executions),
            other => panic!("{other:?}"),
        }
    }
}
