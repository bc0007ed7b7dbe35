//! Swap space on a RAM disk: brd, built into the kernel or loaded from the initramfs when a program first asks for it.

use crate::sys;
use std::ffi::CStr;
use std::path::Path;

const DISK: &CStr = c"/dev/ram0";
/// Where the kernel shows the disk once it is there.
const DISK_SHOWN: &str = "/sys/block/ram0";
/// The module; the host puts it there if the kernel's package has one.
const MODULE: &CStr = c"/modules/00-brd.ko";
/// One disk, and how large it is where we say so, in KiB. brd takes memory for what was written only.
const MODULE_PARAMETERS: &CStr = c"rd_nr=1 rd_size=65536";

/// Where the header's fields lie (include/linux/swap.h, union swap_header): version, last page, number of bad pages, each of four
/// bytes; and, from the end of the first page, the magic word.
const FIELDS: u64 = 1024;
const MAGIC: &[u8; 10] = b"SWAPSPACE2";
const VERSION: u32 = 1;

/// Makes reclaim do as it is told and no more: one page at a time is read in, and what is swapped out goes to the disk.
pub fn quiet() {
    // Not missed when absent: without swapping there is neither.
    let _ = std::fs::write("/proc/sys/vm/page-cluster", "0");
    let _ = std::fs::write("/sys/module/zswap/parameters/enabled", "N");
}

/// Whether there can be swap space.
pub fn is_possible() -> bool {
    let exists = |path: &CStr| path.to_str().is_ok_and(|path| Path::new(path).exists());
    !crate::host::is_here()
        && Path::new("/proc/swaps").exists()
        && (Path::new(DISK_SHOWN).exists() || exists(MODULE))
}

/// Switches it on or off. Whoever calls was root once.
///
/// # Errors
/// What the kernel refused, though it has all that is needed.
pub fn set(on: bool) -> Result<(), String> {
    // SAFETY: touches no memory.
    let user = unsafe { libc::geteuid() } as i32;
    sys::set_user(-1, 0, -1).map_err(|e| format!("setresuid: {e}"))?;
    let result = if on { switch_on() } else { switch_off() };
    sys::set_user(-1, user, -1).map_err(|e| format!("setresuid: {e}"))?;
    sys::own_proc_files();
    result
}

fn switch_on() -> Result<(), String> {
    if !Path::new(DISK_SHOWN).exists() {
        load_module().map_err(|e| format!("brd: {e}"))?;
    }
    // SAFETY: a valid C string. The node may be there already.
    unsafe { libc::mknod(DISK.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(1, 0)) };
    let told = |what: &str, e: sys::Errno| format!("swap space: {what}: {e}");
    let disk = sys::open(DISK, libc::O_RDWR).map_err(|e| told("open", e))?;
    let written = write_header(disk, sys::page_size());
    sys::close(disk);
    written.map_err(|e| told("header", e))?;
    // SAFETY: a valid C string; touches no other memory.
    unsafe { sys::call(libc::SYS_swapon, [DISK.as_ptr() as u64, 0, 0, 0, 0, 0]) }
        .map(drop)
        .map_err(|e| told("swapon", e))
}

fn switch_off() -> Result<(), String> {
    // SAFETY: a valid C string; touches no other memory.
    unsafe { sys::call(libc::SYS_swapoff, [DISK.as_ptr() as u64, 0, 0, 0, 0, 0]) }
        .map(drop)
        .map_err(|e| format!("swap space: swapoff: {e}"))
}

fn load_module() -> Result<(), sys::Errno> {
    let file = sys::open(MODULE, libc::O_RDONLY)?;
    let parameters = MODULE_PARAMETERS.as_ptr() as u64;
    // SAFETY: a descriptor of ours and a valid C string.
    let loaded = unsafe {
        sys::call(
            libc::SYS_finit_module,
            [file as u64, parameters, 0, 0, 0, 0],
        )
    };
    sys::close(file);
    loaded.map(drop)
}

/// What mkswap writes: the kernel looks at nothing else.
fn write_header(disk: i32, page: u64) -> Result<(), sys::Errno> {
    let bytes = sys::seek_end(disk)?;
    let [version, last, bad] = [VERSION, (bytes / page).saturating_sub(1) as u32, 0];
    let mut fields = [0; 12];
    for (place, field) in fields.chunks_exact_mut(4).zip([version, last, bad]) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    sys::write_at(disk, &fields, FIELDS)?;
    sys::write_at(disk, MAGIC, page - MAGIC.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// What mkswap(8) of util-linux writes for 16 pages of 16 KiB, but for the UUID.
    #[test]
    fn the_header_is_where_the_kernel_looks_for_it() {
        const PAGE: u64 = 16384;
        let path = std::env::temp_dir().join(format!("mmdiff-swap-header-{}", std::process::id()));
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.set_len(16 * PAGE).unwrap();
        write_header(file.as_raw_fd(), PAGE).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&bytes[PAGE as usize - 10..PAGE as usize], b"SWAPSPACE2");
        assert_eq!(bytes[1024..1036], [1, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0]);
        let others = bytes.iter().filter(|byte| **byte != 0).count();
        assert_eq!(others, 12);
    }
}
