//! The log file of a console: its beginning and its end, compressed when it has become long.

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::Compression;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use vm_images::files::private_file;

/// Bytes of the console's beginning that are kept; its end follows.
const BEGINNING: u64 = 4 << 20;
/// Bytes from which on a log is compressed when its console has ended: most have a few thousand.
const LONG: u64 = 64 << 10;

/// A log that is being written. A full disk must not end a VM, so that nothing here fails: who writes results notices it.
pub struct Log {
    path: PathBuf,
    file: File,
    /// Bytes that the console has written.
    total: u64,
}

impl Log {
    /// A new one, in place of an earlier one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Log> {
        let _ = fs::remove_file(compressed(path));
        Ok(Log {
            path: path.to_owned(),
            file: private_file(path)?,
            total: 0,
        })
    }

    /// Takes what the console has written next.
    pub fn add(&mut self, bytes: &[u8]) {
        if self.total < BEGINNING {
            let _ = self.file.write_all(bytes);
        }
        self.total += bytes.len() as u64;
    }

    /// The console has ended; `tail` is its end.
    pub fn close(mut self, tail: &str) {
        if self.total > BEGINNING {
            let _ = write!(
                self.file,
                "\n[... {} bytes in all; the last ones:]\n{tail}",
                self.total
            );
        }
        if self.total > LONG && compress(&self.path).is_err() {
            let _ = fs::remove_file(compressed(&self.path));
        }
    }
}

/// `console.log.gz` for `console.log`.
fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// Puts a compressed file in the place of a log.
fn compress(path: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(private_file(&compressed(path))?, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.flush()?;
    fs::remove_file(path)
}

/// Reads a log, compressed or not.
///
/// # Errors
/// It cannot be read.
pub fn read_log(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|end| end == "gz") {
        GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads the log that was made at `path`, which may have been compressed since.
///
/// # Errors
/// It cannot be read.
pub fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    match path.exists() {
        true => read_log(path),
        false => read_log(&compressed(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_are_compressed_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let write = |lines: usize| {
            let mut log = Log::create(&path).unwrap();
            for n in 0..lines {
                log.add(format!("line {n} of a console\n").as_bytes());
            }
            log.close("the end");
        };
        write(10_000);
        assert!(!path.exists());
        let size = fs::metadata(compressed(&path)).unwrap().len();
        let text = read_log(&compressed(&path)).unwrap();
        assert_eq!(read_whole(&path).unwrap(), text);
        assert!(text.ends_with(b"line 9999 of a console\n"));
        assert!(size < text.len() as u64 / 3, "{size}");
        // The next console of that name.
        write(3);
        assert!(!compressed(&path).exists());
        assert_eq!(read_log(&path).unwrap().len(), 3 * 20);
        // One of which only the beginning and the end are kept.
        write(400_000);
        let text = read_log(&compressed(&path)).unwrap();
        assert!(text.ends_with(b"the last ones:]\nthe end"));
        assert!((text.len() as u64) < BEGINNING + 1000);
    }
}
