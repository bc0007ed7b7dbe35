//! The memory that we share with the host: BAR 2 of QEMU's ivshmem-plain device, mapped through sysfs.

use crate::sys::{self, Errno};
use std::cell::Cell;
use std::ffi::CString;
use std::path::PathBuf;
use wire::layout;
use wire::ring::Memory;

const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x1110";

/// Bytes of the rings that are mapped at a time: a few messages. Who reads a process's smaps_rollup pays for each page that
/// it has mapped; all 8 MiB of the BAR were most of what that costs.
const WINDOW: u64 = 64 << 10;

/// The device's BAR as a file, with its words mapped. All processes have the words; who sends or receives maps the rest for
/// itself, since a copied mapping would cost each fork a copy of its page tables.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    fd: i32,
    words: *mut u8,
}

/// The words of the BAR, and for a process that sends and receives a window over the rings.
pub struct Bar {
    device: Device,
    window: Option<Window>,
}

/// Bytes of the words that are in use.
const WORDS: u64 = layout::PROGRESS_COUNT + 8;

/// Where the window stands, and over which piece of the BAR.
struct Window {
    at: *mut u8,
    offset: Cell<Option<u64>>,
}

impl Device {
    /// Memory that is open as `fd`: the BAR, or what whoever started us has left open.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn over(fd: i32) -> Result<Device, String> {
        let len = WORDS.next_multiple_of(sys::page_size()) as usize;
        let words = sys::map(len, libc::MAP_SHARED, fd)
            .map_err(|e| format!("the shared memory cannot be mapped: {e}"))?;
        Ok(Device { fd, words })
    }

    /// Finds and enables the device.
    ///
    /// # Errors
    /// A text that names what is missing, for the console.
    pub fn find() -> Result<Device, String> {
        let devices = std::fs::read_dir("/sys/bus/pci/devices").map_err(|e| {
            format!("no PCI bus in /sys ({e}): the kernel needs CONFIG_PCI=y and CONFIG_SYSFS=y")
        })?;
        for device in devices.flatten() {
            let path = device.path();
            let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
            if read("vendor").trim() == VENDOR && read("device").trim() == DEVICE {
                return Device::open(path);
            }
        }
        Err(format!(
            "no PCI device {VENDOR}:{DEVICE} (ivshmem): the kernel needs CONFIG_PCI=y and the PCI host bridge of \
             this machine (arm64: CONFIG_PCI_HOST_GENERIC=y)"
        ))
    }

    fn open(path: PathBuf) -> Result<Device, String> {
        std::fs::write(path.join("enable"), "1")
            .map_err(|e| format!("cannot enable the ivshmem device: {e}"))?;
        // Write-combining where the kernel offers it: plain device memory is slow on arm64.
        for name in ["resource2_wc", "resource2"] {
            let file = path.join(name);
            let Ok(name) = CString::new(file.as_os_str().as_encoded_bytes()) else {
                continue;
            };
            if let Ok(fd) = sys::open(&name, libc::O_RDWR) {
                return Device::over(fd);
            }
        }
        Err(format!(
            "{}/resource2 cannot be opened: the kernel needs CONFIG_SYSFS=y with PCI resource files",
            path.display()
        ))
    }

    /// The words alone.
    pub fn words(self) -> Bar {
        Bar {
            device: self,
            window: None,
        }
    }

    /// Maps a piece in place of what stands at `at`, for this process only.
    fn map_at(self, at: *mut u8, len: u64, offset: u64) -> Result<(), Errno> {
        let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        let args = [at as u64, len, prot, flags, self.fd as u64, offset];
        let advice = libc::MADV_DONTFORK as u64;
        // SAFETY: the place is that of a window, which is the caller's own.
        unsafe {
            sys::call(libc::SYS_mmap, args)?;
            sys::call(libc::SYS_madvise, [at as u64, len, advice, 0, 0, 0])?;
        }
        Ok(())
    }

    /// Everything: makes room for a window over the rings, for this process only.
    pub fn whole(self) -> Result<Bar, Errno> {
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let window = Window {
            at: sys::map(WINDOW as usize, private, -1)?,
            offset: Cell::new(None),
        };
        Ok(Bar {
            device: self,
            window: Some(window),
        })
    }
}

impl Bar {
    fn word(&self, offset: u64) -> *mut u64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= WORDS,
            "offset {offset}"
        );
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.device.words.add(offset as usize).cast() }
    }

    /// Words of the BAR from `offset`, at most `most` bytes of them: what the window shows once it has been moved there.
    fn piece(&self, offset: u64, most: usize) -> Result<&[Cell<u64>], Errno> {
        let window = self.window.as_ref().ok_or(Errno(libc::ENXIO))?;
        let start = offset / WINDOW * WINDOW;
        assert!(
            offset.is_multiple_of(8) && start + WINDOW <= layout::BYTES,
            "offset {offset}"
        );
        if window.offset.get() != Some(start) {
            self.device.map_at(window.at, WINDOW, start)?;
            window.offset.set(Some(start));
        }
        let within = offset - start;
        let len = most.min((WINDOW - within) as usize) / 8;
        // SAFETY: aligned words inside the window. Nobody moves it while they are borrowed: both callers below are done with
        // a piece before they ask for the next.
        Ok(unsafe { std::slice::from_raw_parts(window.at.add(within as usize).cast(), len) })
    }

    /// One word.
    pub fn get(&self, offset: u64) -> u64 {
        // SAFETY: a valid, aligned word; volatile because the host writes it too.
        unsafe { self.word(offset).read_volatile() }
    }

    /// One word.
    pub fn set(&self, offset: u64, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.word(offset).write_volatile(value) }
    }
}

impl Memory for Bar {
    type Error = Errno;

    fn load(&self, offset: u64) -> Result<u64, Errno> {
        Ok(self.get(offset))
    }

    fn store(&self, offset: u64, value: u64) -> Result<(), Errno> {
        self.set(offset, value);
        Ok(())
    }

    // Whole aligned words only: device memory on arm64 takes nothing else.

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < into.len() {
            let piece = self.piece(offset + done as u64, into.len() - done)?;
            for (word, shared) in into[done..].chunks_exact_mut(8).zip(piece) {
                // SAFETY: a valid, aligned word; volatile because the host writes it.
                let value = unsafe { shared.as_ptr().read_volatile() };
                word.copy_from_slice(&value.to_le_bytes());
            }
            done += piece.len() * 8;
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < from.len() {
            let piece = self.piece(offset + done as u64, from.len() - done)?;
            for (word, shared) in from[done..].chunks_exact(8).zip(piece) {
                let value = u64::from_le_bytes(word.try_into().unwrap_or_default());
                // SAFETY: a valid, aligned word; volatile because the host reads it.
                unsafe { shared.as_ptr().write_volatile(value) };
            }
            done += piece.len() * 8;
        }
        Ok(())
    }
}
