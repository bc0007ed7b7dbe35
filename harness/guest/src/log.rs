//! The kernel's log, read as it grows: which op made the kernel complain is known here for certain, while the console may
//! print late, from a thread of its own.

use crate::sys::{self, Errno};

/// Most bytes of complaints that are kept of one program.
pub const MOST: usize = 8192;

/// /dev/kmsg, read to its end. All workers and actors share the position.
#[derive(Debug, Clone, Copy)]
pub struct KernelLog {
    fd: Option<i32>,
}

impl KernelLog {
    /// Opens the log and skips what it holds. A kernel without one (no CONFIG_PRINTK) has nothing to say.
    pub fn open() -> KernelLog {
        let fd = sys::open(c"/dev/kmsg", libc::O_RDONLY | libc::O_NONBLOCK).ok();
        if let Some(fd) = fd {
            // SAFETY: no memory involved.
            unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
        }
        KernelLog { fd }
    }

    /// What the kernel has said since the last call, if a warning or worse is among it. `record` is room for a line.
    pub fn news(self, record: &mut [u8]) -> Option<String> {
        let fd = self.fd?;
        let mut text = String::new();
        let mut grave = false;
        loop {
            match sys::read(fd, record) {
                Ok(0) => break,
                Ok(n) => {
                    if let Some((level, line)) = parse(&record[..n]) {
                        grave |= level <= 4;
                        if text.len() + line.len() < MOST {
                            text.push_str(&line);
                            text.push('\n');
                        }
                    }
                }
                // Records were lost to newer ones; the position has been moved.
                Err(Errno(libc::EPIPE)) => {}
                Err(_) => break,
            }
        }
        grave.then_some(text)
    }
}

/// Level and text of a record: `level-and-facility,number,time,flags;text`, then lines of details.
fn parse(record: &[u8]) -> Option<(u32, String)> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let level: u32 = head.split(',').next()?.parse().ok()?;
    let text = text.lines().next()?;
    Some((level & 7, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_understood() {
        let record =
            b"4,512,1234567,-,caller=T61;WARNING: mm/rmap.c:1 at f+0x0/0x10\n SUBSYSTEM=cpu\n";
        assert_eq!(
            parse(record),
            Some((4, "WARNING: mm/rmap.c:1 at f+0x0/0x10".to_owned()))
        );
        assert_eq!(
            parse(b"30,1,2,-;daemon says"),
            Some((6, "daemon says".to_owned()))
        );
        assert_eq!(parse(b"no record"), None);
    }
}
