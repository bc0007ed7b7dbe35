//! VmFlags, from /proc/self/smaps. Each record costs the kernel a walk, so reading stops after the last one that is wanted.

use super::vmas::parse_line;
use crate::arena::Arena;
use crate::sys;
use wire::Vma;

/// Bytes of a read, less than any record has: the kernel formats records until a read is satisfied.
const READ: usize = 600;

/// Fills in the flags of `vmas`, which are the first ones of the arena.
pub fn look(smaps: i32, arena: Arena, vmas: &mut [Vma]) -> Result<(), String> {
    let mut buffer = [0; 4 * READ];
    let (mut have, mut offset, mut done) = (0, 0, 0);
    let mut current = None;
    while done < vmas.len() {
        let room = (have + READ).min(buffer.len());
        let n = sys::read_at(smaps, &mut buffer[have..room], offset)
            .map_err(|e| format!("smaps: {e}"))?;
        if n == 0 {
            return Err(format!("smaps ends after {done} of {} VMAs", vmas.len()));
        }
        have += n;
        offset += n as u64;
        let mut used = 0;
        while let Some(len) = line_length(&buffer[used..have]) {
            let line = &buffer[used..used + len];
            used += len + 1;
            // Between a record's head, which begins with a lower-case hexadecimal digit, and its flags are twenty lines
            // of sizes.
            let first = line.first().copied().unwrap_or_default();
            if first.is_ascii_uppercase() && first != b'V' {
                continue;
            }
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                let vma = vmas
                    .get_mut(done)
                    .filter(|vma| current == Some((vma.start, vma.end)));
                let Some(vma) = vma else {
                    return Err(format!("smaps and the VMAs disagree at number {done}"));
                };
                vma.flags = Some(String::from_utf8_lossy(flags).trim().to_owned());
                done += 1;
                if done == vmas.len() {
                    return Ok(());
                }
            } else if let Some(head) = parse_line(line) {
                if head.start >= arena.high() {
                    return Err(format!("smaps has {done} of {} VMAs", vmas.len()));
                }
                let page = |at| arena.page_number(at);
                current = Some((page(head.start)?, page(head.end)?));
            }
        }
        buffer.copy_within(used..have, 0);
        have -= used;
        if have == buffer.len() {
            return Err("a line of smaps is too long".to_owned());
        }
    }
    Ok(())
}

/// Bytes before the first newline, if there is one.
fn line_length(bytes: &[u8]) -> Option<usize> {
    // SAFETY: searches `bytes` only.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), i32::from(b'\n'), bytes.len()) };
    (!found.is_null()).then(|| found as usize - bytes.as_ptr() as usize)
}
