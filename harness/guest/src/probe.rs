//! What this kernel can do, found out by trying.

use crate::arena::Arena;
use crate::control::Region;
use crate::look::{query, scan, Features, GUARD, SCAN_ALL, SCAN_GUARD};
use crate::sys::{self, MADV_GUARD_INSTALL};
use std::ffi::CStr;
use std::path::Path;
use wire::{Hello, ARENA_BASE};

const PFN: u64 = (1 << 55) - 1;

fn anonymous(at: u64, len: u64) -> Result<u64, String> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED };
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed) as u64;
    // SAFETY: the arena, which is empty, or a place of the kernel's choice.
    unsafe { sys::call(libc::SYS_mmap, [at, len, prot, flags, u64::MAX, 0]) }
        .map_err(|e| format!("mmap of {len} bytes: {e}"))
}

fn advise(at: u64, len: u64, advice: i32) -> bool {
    // SAFETY: only called for mappings made here.
    unsafe { sys::call(libc::SYS_madvise, [at, len, advice as u64, 0, 0, 0]) }.is_ok()
}

fn entry(pagemap: i32, page: u64, at: u64) -> Result<u64, String> {
    let mut bytes = [0; 8];
    match sys::read_at(pagemap, &mut bytes, at / page * 8) {
        Ok(8) => Ok(u64::from_le_bytes(bytes)),
        Ok(n) => Err(format!("pagemap gave {n} of 8 bytes")),
        Err(e) => Err(format!("pagemap: {e}")),
    }
}

fn name(bytes: &[libc::c_char]) -> String {
    // SAFETY: uname(2) ends its strings with a zero byte.
    unsafe { CStr::from_ptr(bytes.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Probes; also fills in what [`Hello`] says, with `missing` settings.
///
/// # Errors
/// Something that must work does not.
pub fn probe(missing: Vec<String>) -> Result<(Hello, Features), String> {
    let page = sys::page_size();
    let arena = Arena {
        page,
        pages: 3 * (page / 8),
    };
    let open = |path: &CStr| {
        sys::open(path, libc::O_RDONLY).map_err(|e| format!("{}: {e}", path.to_string_lossy()))
    };
    let (pagemap, maps) = (open(c"/proc/self/pagemap")?, open(c"/proc/self/maps")?);
    let mut features = Features::default();

    anonymous(ARENA_BASE, page)?;
    features.procmap_query = matches!(
        query(maps, arena.low()),
        Ok(Some(line)) if (line.start, line.end, line.prot) == (ARENA_BASE, ARENA_BASE + page, 3)
    );
    let guarded = advise(ARENA_BASE, page, MADV_GUARD_INSTALL);
    let pagemap_guard = guarded && entry(pagemap, page, ARENA_BASE)? & GUARD != 0;
    let mut regions = [Region::default(); 8];
    let mut try_scan = |mask| scan(pagemap, arena.low(), arena.high(), mask, &mut regions).is_ok();
    features.pagemap_scan = try_scan(SCAN_ALL);
    features.scan_guard = features.pagemap_scan && try_scan(SCAN_ALL | SCAN_GUARD);
    // SAFETY: the page mapped above.
    let _ = unsafe { sys::call(libc::SYS_munmap, [ARENA_BASE, page, 0, 0, 0, 0]) };

    let pmd_size = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    if !features.pagemap_scan {
        find_zero_pages(pagemap, page, pmd_size, &mut features)?;
    }
    sys::close(pagemap);
    sys::close(maps);

    // SAFETY: both fill in structs of ours.
    let (system, memory) = unsafe {
        let mut system: libc::utsname = std::mem::zeroed();
        libc::uname(&mut system);
        let mut memory: libc::sysinfo = std::mem::zeroed();
        libc::sysinfo(&mut memory);
        (system, memory.totalram as u64 * u64::from(memory.mem_unit))
    };
    let hello = Hello {
        version: wire::VERSION,
        release: name(&system.release),
        build: name(&system.version),
        machine: name(&system.machine),
        page_size: page as u32,
        pmd_size,
        // SAFETY: no memory involved.
        cpus: unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } as u32,
        memory,
        procmap_query: features.procmap_query,
        pagemap_scan: features.pagemap_scan,
        scan_guard: features.scan_guard,
        pagemap_guard,
        memory_failure: Path::new("/proc/sys/vm/memory_failure_early_kill").exists(),
        swap: crate::swap::is_possible(),
        fail_nth: crate::failing::is_possible(),
        missing,
    };
    Ok((hello, features))
}

/// PFNs of the zero page and the huge zero page: what a private anonymous page is after a load. The mappings stay, so
/// that the huge zero page does.
fn find_zero_pages(
    pagemap: i32,
    page: u64,
    pmd_size: u64,
    features: &mut Features,
) -> Result<(), String> {
    let load = |at: u64| {
        let mut value = [0];
        crate::access::load(at, page, &mut value);
        entry(pagemap, page, at).map(|e| e & PFN)
    };
    features.zero_pfn = load(anonymous(0, page)?)?;
    if pmd_size > 0 {
        let at = anonymous(0, 2 * pmd_size)?.next_multiple_of(pmd_size);
        advise(at, pmd_size, libc::MADV_HUGEPAGE);
        let pfn = load(at)?;
        // Without huge pages it is the small zero page again.
        if pfn != features.zero_pfn {
            features.huge_zero_pfn = pfn;
        }
    }
    Ok(())
}
