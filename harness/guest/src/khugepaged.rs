//! How many huge pages khugepaged has made since the machine came up, as the kernel counts them.

use crate::sys;

const COUNT: &std::ffi::CStr = c"/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed";

/// The kernel's count.
#[derive(Debug, Clone, Copy)]
pub struct Collapses {
    fd: i32,
}

impl Collapses {
    /// `None`: this kernel has no khugepaged.
    pub fn open() -> Option<Collapses> {
        let fd = sys::open(COUNT, libc::O_RDONLY).ok()?;
        Some(Collapses { fd })
    }

    /// Up to now; 0 where it cannot be read.
    pub fn count(self) -> u32 {
        let mut text = [0; 24];
        let args = [
            self.fd as u64,
            text.as_mut_ptr() as u64,
            text.len() as u64,
            0,
            0,
            0,
        ];
        // SAFETY: the buffer has room for as many bytes.
        let read = unsafe { sys::call(libc::SYS_pread64, args) };
        number(&text[..read.unwrap_or(0) as usize])
    }

    pub fn close(self) {
        sys::close(self.fd);
    }
}

fn number(text: &[u8]) -> u32 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_a_line_with_a_number() {
        assert_eq!(number(b"17\n"), 17);
        assert_eq!(number(b""), 0);
    }
}
