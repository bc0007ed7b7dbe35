//! The files of a program: made as new before its first op, gone after its last. Nothing of them outlives the program,
//! because no name does: the kernel drops a file with its last descriptor and mapping.

use crate::sys::{self, Errno};
use std::ffi::CString;
use wire::{File, FileKind, FileMap};

/// Where ramfs is mounted in a machine of our own.
pub const RAMFS: &str = "/ramfs";

/// MFD_ALLOW_SEALING, MFD_EXEC.
const SEALING: u64 = 2;
const EXEC: u64 = 0x10;

/// memfd_secret, the same number on both architectures.
const SYS_MEMFD_SECRET: i64 = 447;

/// One file and its two descriptors.
struct Open {
    /// Reads and writes; -1 where the kernel has no such files.
    write: i32,
    /// Reads only: an open file of its own; -1 for those that cannot be opened again.
    read: i32,
}

/// The files of the program that runs.
#[derive(Default)]
pub struct Files(Vec<Open>);

impl Files {
    /// Makes the files with the rights of the current user, in the order of `wanted`.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn create(wanted: &[File], page: u64) -> Result<Files, String> {
        let mut files = Files(Vec::with_capacity(wanted.len()));
        for file in wanted {
            let what = |e: Errno| format!("a file ({:?}) cannot be made: {e}", file.kind);
            let write = match file.kind {
                FileKind::Memfd => memfd(),
                FileKind::Ramfs => ramfs_file(),
                FileKind::Secret => secret_memory(),
            }
            .map_err(what)?;
            files.0.push(Open { write, read: -1 });
            if write < 0 {
                continue;
            }
            fill(write, file, page).map_err(what)?;
            if file.kind == FileKind::Secret {
                continue;
            }
            let again = CString::new(format!("/proc/self/fd/{write}")).unwrap_or_default();
            let read = sys::open(&again, libc::O_RDONLY).map_err(what)?;
            if let Some(last) = files.0.last_mut() {
                last.read = read;
            }
        }
        Ok(files)
    }

    /// The descriptor that a mapping is made through.
    pub fn descriptor(&self, map: FileMap) -> Result<i32, String> {
        let open = self.open(map.file)?;
        Ok(if map.readonly { open.read } else { open.write })
    }

    /// ftruncate(2).
    pub fn truncate(&self, file: u8, len: u64) -> Result<Result<u64, Errno>, String> {
        let fd = self.open(file)?.write as u64;
        // SAFETY: no memory of ours is mapped from these files.
        Ok(unsafe { sys::call(libc::SYS_ftruncate, [fd, len, 0, 0, 0, 0]) })
    }

    /// fallocate(2).
    pub fn punch_hole(
        &self,
        file: u8,
        offset: u64,
        len: u64,
    ) -> Result<Result<u64, Errno>, String> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let fd = self.open(file)?.write as u64;
        // SAFETY: as for `truncate`.
        Ok(unsafe { sys::call(libc::SYS_fallocate, [fd, mode as u64, offset, len, 0, 0]) })
    }

    /// fcntl(2) with F_ADD_SEALS.
    pub fn seal(&self, file: u8, seals: u32) -> Result<Result<u64, Errno>, String> {
        let args = [
            self.open(file)?.write as u64,
            libc::F_ADD_SEALS as u64,
            seals.into(),
            0,
            0,
            0,
        ];
        // SAFETY: no memory involved.
        Ok(unsafe { sys::call(libc::SYS_fcntl, args) })
    }

    fn open(&self, file: u8) -> Result<&Open, String> {
        self.0
            .get(usize::from(file))
            .ok_or_else(|| format!("the program has no file {file}"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for open in &self.0 {
            for fd in [open.write, open.read] {
                if fd >= 0 {
                    sys::close(fd);
                }
            }
        }
    }
}

/// An empty memfd.
pub fn memfd() -> Result<i32, Errno> {
    let create = |flags: u64| {
        let name = c"mmdiff".as_ptr() as u64;
        // SAFETY: the name is a valid C string.
        unsafe { sys::call(libc::SYS_memfd_create, [name, flags, 0, 0, 0, 0]) }.map(|fd| fd as i32)
    };
    // Before 6.3 a memfd can be executed anyway and the flag is unknown; later the kernel complains when it is missing.
    create(SEALING | EXEC).or_else(|_| create(SEALING))
}

/// Secret memory, or -1 on a kernel that has none: what is done with it is EBADF then.
fn secret_memory() -> Result<i32, Errno> {
    // SAFETY: no memory involved.
    match unsafe { sys::call(SYS_MEMFD_SECRET, [0; 6]) } {
        Ok(fd) => Ok(fd as i32),
        Err(Errno(libc::ENOSYS)) => Ok(-1),
        Err(error) => Err(error),
    }
}

/// A file without a name.
fn ramfs_file() -> Result<i32, Errno> {
    let at = match crate::host::is_here() {
        true => crate::host::RAMFS,
        false => RAMFS,
    };
    let path = CString::new(format!("{at}/file")).unwrap_or_default();
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let args = [
        libc::AT_FDCWD as u64,
        path.as_ptr() as u64,
        flags as u64,
        0o600,
        0,
        0,
    ];
    // SAFETY: the path is a valid C string in both calls.
    unsafe {
        let fd = sys::call(libc::SYS_openat, args)? as i32;
        let args = [libc::AT_FDCWD as u64, path.as_ptr() as u64, 0, 0, 0, 0];
        sys::call(libc::SYS_unlinkat, args)?;
        Ok(fd)
    }
}

/// Gives a new file its length and writes its first pages, of each the first eight bytes.
fn fill(fd: i32, file: &File, page: u64) -> Result<(), Errno> {
    let pages = u64::from(file.pages);
    // SAFETY: no memory involved.
    unsafe { sys::call(libc::SYS_ftruncate, [fd as u64, pages * page, 0, 0, 0, 0]) }?;
    for number in 0..u64::from(file.written) {
        let value = ((u64::from(file.tag) << 16 | number) + 1).to_le_bytes();
        let args = [
            fd as u64,
            value.as_ptr() as u64,
            value.len() as u64,
            number * page,
            0,
            0,
        ];
        // SAFETY: `value` is valid for its length.
        unsafe { sys::call(libc::SYS_pwrite64, args) }?;
    }
    Ok(())
}
