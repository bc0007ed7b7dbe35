//! Reading a Debian package: an `ar` archive whose member `data.tar.*` is a compressed tar archive (deb(5)).

use crate::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Size of an ar member's header in bytes.
const AR_HEADER: usize = 60;

/// A regular file in a package.
#[derive(Debug)]
pub struct Entry {
    /// Path without leading `./`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// Walks over the regular files of a package. `visit` gets each file's name and size and a reader for its
/// content; it returns false to stop, which saves decompressing the rest.
///
/// # Errors
/// [`Error::BadPackage`] if it is no package or is cut off; what `visit` returns.
pub fn walk(
    deb: &Path,
    visit: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<bool>,
) -> Result<()> {
    let bad = |message: String| Error::BadPackage {
        package: deb.display().to_string(),
        message,
    };
    let file = File::open(deb).map_err(Error::io(deb))?;
    let (name, data) = data_member(BufReader::new(file)).map_err(|e| bad(e.to_string()))?;
    let tar_stream: Box<dyn Read> = match name.strip_prefix("data.tar").unwrap_or_default() {
        "" => Box::new(data),
        ".gz" => Box::new(flate2::read::GzDecoder::new(data)),
        ".xz" => Box::new(lzma_rust2::XzReader::new(data, true)),
        ".zst" => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(data).map_err(|e| bad(e.to_string()))?)
        }
        other => {
            return Err(bad(format!(
                "compression `{other}` of data.tar is not known"
            )))
        }
    };
    let mut archive = tar::Archive::new(tar_stream);
    for entry in archive.entries().map_err(|e| bad(e.to_string()))? {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes())
            .trim_start_matches("./")
            .to_owned();
        let size = entry.size();
        if !visit(&Entry { path, size }, &mut entry)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Finds `data.tar*` in an ar archive and returns its name and a reader for exactly its bytes.
fn data_member<R: Read + Seek>(mut reader: R) -> io::Result<(String, io::Take<R>)> {
    let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
    let mut magic = [0; 8];
    reader
        .read_exact(&mut magic)
        .map_err(|_| invalid("too short for a Debian package"))?;
    if &magic != b"!<arch>\n" {
        return Err(invalid("not a Debian package (no ar archive)"));
    }
    let length = {
        let here = reader.stream_position()?;
        let end = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(here))?;
        end
    };
    loop {
        let mut header = [0; AR_HEADER];
        reader
            .read_exact(&mut header)
            .map_err(|_| invalid("no data.tar in the package: cut off?"))?;
        if &header[58..60] != b"`\n" {
            return Err(invalid("damaged ar header"));
        }
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(|s| s.trim_end().trim_end_matches('/').to_owned())
                .map_err(|_| invalid("damaged ar header"))
        };
        let name = text(0..16)?;
        let size: u64 = text(48..58)?
            .parse()
            .map_err(|_| invalid("damaged size in an ar header"))?;
        if size > length.saturating_sub(reader.stream_position()?) {
            return Err(invalid(&format!("cut off within {name}")));
        }
        if name.starts_with("data.tar") {
            return Ok((name, reader.take(size)));
        }
        // Members begin at even offsets.
        reader.seek(SeekFrom::Current((size + size % 2) as i64))?;
    }
}

/// Makes a package for tests: an ar archive with the given files in `data.tar` plus `suffix`.
#[cfg(test)]
pub(crate) fn make(
    files: &[(&str, &[u8])],
    suffix: &str,
    compress: &dyn Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{path}"), *content)
            .expect("writing to memory");
    }
    let data = compress(&tar.into_inner().expect("writing to memory"));
    let mut deb = b"!<arch>\n".to_vec();
    let name = format!("data.tar{suffix}");
    for (name, content) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.xz", b"odd"),
        (&name, &data),
    ] {
        deb.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100644,
                content.len()
            )
            .bytes(),
        );
        deb.extend(content);
        if content.len() % 2 == 1 {
            deb.push(b'\n');
        }
    }
    deb
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn listing(deb: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.deb");
        std::fs::write(&path, deb).unwrap();
        let mut seen = Vec::new();
        walk(&path, &mut |entry, content| {
            let mut bytes = Vec::new();
            content
                .read_to_end(&mut bytes)
                .map_err(Error::io("entry"))?;
            assert_eq!(bytes.len() as u64, entry.size);
            seen.push((entry.path.clone(), bytes));
            Ok(true)
        })?;
        Ok(seen)
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut writer =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    const FILES: [(&str, &[u8]); 2] = [
        ("boot/vmlinuz-1", b"kernel"),
        ("boot/config-1", b"CONFIG_X=y\n"),
    ];

    fn expected() -> Vec<(String, Vec<u8>)> {
        FILES
            .iter()
            .map(|(p, c)| (p.to_string(), c.to_vec()))
            .collect()
    }

    #[test]
    fn every_compression_gives_the_same_files() {
        let gzip = |data: &[u8]| {
            let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            w.write_all(data).unwrap();
            w.finish().unwrap()
        };
        let zstd = |data: &[u8]| {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        };
        assert_eq!(
            listing(&make(&FILES, "", &|d| d.to_vec())).unwrap(),
            expected()
        );
        assert_eq!(listing(&make(&FILES, ".xz", &xz)).unwrap(), expected());
        assert_eq!(listing(&make(&FILES, ".gz", &gzip)).unwrap(), expected());
        assert_eq!(listing(&make(&FILES, ".zst", &zstd)).unwrap(), expected());
    }

    #[test]
    fn damaged_packages_are_errors() {
        let whole = make(&FILES, ".xz", &xz);
        for (deb, words) in [
            (&b"<html>not here</html>"[..], "not a Debian package"),
            (&b"!<a"[..], "too short"),
            (&whole[..whole.len() - 20], "cut off"),
            (&whole[..100], "no data.tar"),
            (&make(&FILES, ".lz9", &|d| d.to_vec())[..], "`.lz9`"),
        ] {
            let message = listing(deb).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        let mut flipped = whole.clone();
        let middle = whole.len() - 60;
        flipped[middle] ^= 0x55;
        assert!(listing(&flipped).is_err(), "xz checks its own blocks");
    }
}
