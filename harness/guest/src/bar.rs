//! The memory that we share with the host: BAR 2 of QEMU's ivshmem-plain device, mapped through sysfs.

use crate::sys::{self, Errno};
use std::convert::Infallible;
use std::ffi::CString;
use std::path::PathBuf;
use wire::layout;
use wire::ring::Memory;

const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x1110";

/// The device's BAR as a file. Every process maps it for itself: a copied mapping would cost each fork a copy of all
/// its page tables.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    fd: i32,
}

/// The BAR, mapped.
pub struct Bar {
    at: *mut u8,
    len: u64,
}

impl Device {
    /// Memory that whoever started us has left open.
    pub fn inherited(fd: i32) -> Device {
        Device { fd }
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
                return Ok(Device { fd });
            }
        }
        Err(format!(
            "{}/resource2 cannot be opened: the kernel needs CONFIG_SYSFS=y with PCI resource files",
            path.display()
        ))
    }

    /// Maps the words alone: a fork copies this one.
    pub fn map_words(self) -> Result<Bar, Errno> {
        self.map(layout::PROGRESS_COUNT + 8)
    }

    /// Maps everything, for this process only.
    pub fn map_all(self) -> Result<Bar, Errno> {
        let bar = self.map(layout::BYTES)?;
        // SAFETY: changes what fork does with our own mapping, nothing else.
        unsafe {
            sys::call(
                libc::SYS_madvise,
                [bar.at as u64, bar.len, libc::MADV_DONTFORK as u64, 0, 0, 0],
            )?
        };
        Ok(bar)
    }

    fn map(self, len: u64) -> Result<Bar, Errno> {
        let len = len.next_multiple_of(sys::page_size());
        let at = sys::map(len as usize, libc::MAP_SHARED, self.fd)?;
        Ok(Bar { at, len })
    }
}

impl Bar {
    fn word(&self, offset: u64) -> *mut u64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= self.len,
            "offset {offset}"
        );
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.at.add(offset as usize).cast() }
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
    type Error = Infallible;

    fn load(&self, offset: u64) -> Result<u64, Infallible> {
        Ok(self.get(offset))
    }

    fn store(&self, offset: u64, value: u64) -> Result<(), Infallible> {
        self.set(offset, value);
        Ok(())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Infallible> {
        // Whole aligned words only: device memory on arm64 takes nothing else.
        for (word, at) in into.chunks_exact_mut(8).zip((offset..).step_by(8)) {
            word.copy_from_slice(&self.get(at).to_le_bytes());
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Infallible> {
        for (word, at) in from.chunks_exact(8).zip((offset..).step_by(8)) {
            self.set(at, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        Ok(())
    }
}
