//! Recognising a kernel image: x86-64 bzImage, arm64 Image, and the latter compressed.
//!
//! Layouts: Documentation/arch/x86/boot.rst and Documentation/arch/arm64/booting.rst of the kernel tree.

use crate::{files, hash, Arch, Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Images larger than this are refused: nothing that boots in 512 MiB is that large (bytes).
const LARGEST: u64 = 256 << 20;

/// How an image is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// x86-64 bzImage.
    BzImage,
    /// Uncompressed arm64 Image.
    Arm64Image,
    /// arm64 Image in gzip.
    Arm64Gzip,
    /// arm64 EFI zboot: an EFI program around a compressed Image.
    Arm64Zboot,
}

/// A file that QEMU can boot (arm64 zboot only after [`KernelImage::unpacked`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelImage {
    /// The file.
    pub path: PathBuf,
    /// Architecture.
    pub arch: Arch,
    /// What `uname -r` will say; empty if the image does not tell.
    pub release: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// How it is packed.
    pub format: Format,
    /// Base page size in bytes, where the header tells (arm64).
    pub page_size: Option<u32>,
}

impl KernelImage {
    /// Looks at a file that is said to be a kernel.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::NotAKernel`] if it is none that can be booted here.
    pub fn inspect(path: &Path) -> Result<KernelImage> {
        let not = |message: &str| Error::NotAKernel {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        let data = match std::fs::metadata(path).map_err(Error::io(path))? {
            m if m.is_dir() => return Err(not("it is a directory")),
            m if m.len() > LARGEST => return Err(not("it is larger than 256 MiB")),
            _ => std::fs::read(path).map_err(Error::io(path))?,
        };
        let found = recognise(&data).map_err(|message| not(&message))?;
        Ok(KernelImage {
            path: path.to_owned(),
            arch: found.arch,
            release: found.release,
            sha256: hash::bytes(&data),
            format: found.format,
            page_size: found.page_size,
        })
    }

    /// The same kernel as QEMU 7.2 takes it: arm64 gzip and zboot images are unpacked into `dir` (named by
    /// their hash, so once), everything else is returned as it is.
    pub fn unpacked(&self, dir: &Path) -> Result<KernelImage> {
        if matches!(self.format, Format::BzImage | Format::Arm64Image) {
            return Ok(self.clone());
        }
        let target = dir.join(format!("{}.Image", self.sha256));
        if !target.exists() {
            let data = std::fs::read(&self.path).map_err(Error::io(&self.path))?;
            let plain = unpack(&data).map_err(|message| Error::NotAKernel {
                path: self.path.clone(),
                message,
            })?;
            files::write_atomically(&target, &plain)?;
        }
        KernelImage::inspect(&target)
    }
}

struct Found {
    arch: Arch,
    release: String,
    format: Format,
    page_size: Option<u32>,
}

fn recognise(data: &[u8]) -> Result<Found, String> {
    if data.len() < 64 {
        return Err(format!("it has only {} bytes", data.len()));
    }
    if data.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) && data.get(0x202..0x206) == Some(b"HdrS") {
        return bzimage(data);
    }
    if &data[56..60] == b"ARM\x64" {
        return arm64(data, Format::Arm64Image);
    }
    if data.starts_with(&[0x1f, 0x8b]) {
        let plain = unpack(data)?;
        return match plain.get(56..60) {
            Some(b"ARM\x64") => arm64(&plain, Format::Arm64Gzip),
            _ => Err("it is gzip, but what is inside is no arm64 Image".into()),
        };
    }
    if data.starts_with(b"MZ") && &data[4..8] == b"zimg" {
        return arm64(&unpack(data)?, Format::Arm64Zboot);
    }
    if data.starts_with(b"\x7fELF") {
        return Err(
            "it is an ELF file (a vmlinux?); take arch/*/boot/bzImage or Image instead".into(),
        );
    }
    if data.starts_with(b"!<arch>\n") {
        return Err("it is a Debian package; unpack it and take boot/vmlinuz-*".into());
    }
    Err("its beginning is not that of a kernel".into())
}

fn bzimage(data: &[u8]) -> Result<Found, String> {
    let u16_at = |at: usize| {
        data.get(at..at + 2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    let protocol = u16_at(0x206).unwrap_or(0);
    // XLF_KERNEL_64, since protocol 2.12: has the 64-bit entry point.
    if protocol < 0x20c || u16_at(0x236).unwrap_or(0) & 1 == 0 {
        return Err("it is a 32-bit x86 kernel (or older than Linux 3.8)".into());
    }
    let release = match u16_at(0x20e) {
        Some(pointer) if pointer != 0 => {
            let start = usize::from(pointer) + 0x200;
            data.get(start..).map(first_word).unwrap_or_default()
        }
        _ => String::new(),
    };
    Ok(Found {
        arch: Arch::X86_64,
        release,
        format: Format::BzImage,
        page_size: None,
    })
}

fn arm64(image: &[u8], format: Format) -> Result<Found, String> {
    if image.get(56..60) != Some(b"ARM\x64") {
        return Err("what is packed inside is no arm64 Image".into());
    }
    // Flags: bit 0 is big-endian, bits 1 and 2 the page size.
    let flags = image[24];
    if flags & 1 == 1 {
        return Err("it is a big-endian arm64 kernel".into());
    }
    Ok(Found {
        arch: Arch::Aarch64,
        release: banner(image),
        format,
        page_size: match (flags >> 1) & 3 {
            1 => Some(4096),
            2 => Some(16384),
            3 => Some(65536),
            _ => None,
        },
    })
}

/// The release from the banner `Linux version 6.18.5 (...`; a format string has `%s` there instead.
fn banner(image: &[u8]) -> String {
    const WORDS: &[u8] = b"Linux version ";
    let mut rest = image;
    while let Some(at) = find(rest, WORDS) {
        rest = &rest[at + WORDS.len()..];
        if rest.first().is_some_and(u8::is_ascii_digit) {
            return first_word(rest);
        }
    }
    String::new()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    loop {
        from += haystack.get(from..)?.iter().position(|&b| b == first)?;
        if haystack[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
}

/// Printable ASCII up to the first space or other byte, 128 at most.
fn first_word(data: &[u8]) -> String {
    data.iter()
        .take(128)
        .take_while(|b| b.is_ascii_graphic())
        .map(|&b| char::from(b))
        .collect()
}

/// The Image inside gzip or EFI zboot (drivers/firmware/efi/libstub/zboot-header.S: offset and size of the
/// payload at 8 and 12, name of the compression at 24).
fn unpack(data: &[u8]) -> Result<Vec<u8>, String> {
    let (payload, kind) = if data.starts_with(&[0x1f, 0x8b]) {
        (data, "gzip".to_owned())
    } else {
        let u32_at = |at: usize| {
            u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize
        };
        let (offset, size) = (u32_at(8), u32_at(12));
        let payload = offset
            .checked_add(size)
            .and_then(|end| data.get(offset..end))
            .ok_or("it is cut off: the payload lies outside the file")?;
        (payload, first_word(&data[24..56]))
    };
    let reader: Box<dyn Read> = match kind.as_str() {
        "gzip" => Box::new(flate2::read::GzDecoder::new(payload)),
        "xz" | "xzkern" => Box::new(lzma_rust2::XzReader::new(payload, true)),
        "zstd" | "zstd22" => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(payload).map_err(|e| e.to_string())?)
        }
        other => {
            return Err(format!(
                "its compression `{other}` is not supported; give the plain Image"
            ))
        }
    };
    let mut plain = Vec::new();
    reader
        .take(LARGEST)
        .read_to_end(&mut plain)
        .map_err(|e| format!("it does not unpack: {e}"))?;
    Ok(plain)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    pub(crate) fn small_bzimage(release: &str) -> Vec<u8> {
        let mut data = vec![0; 0x400];
        data[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        data[0x202..0x206].copy_from_slice(b"HdrS");
        data[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        data[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        data[0x236] = 1;
        data[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        data
    }

    fn small_arm64(release: &str) -> Vec<u8> {
        let mut data = vec![0; 64];
        data[24] = 2 << 1;
        data[56..60].copy_from_slice(b"ARM\x64");
        data.extend(b"Linux version %s\0");
        data.extend(format!("Linux version {release} (builder)\0").bytes());
        data
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(data).unwrap();
        w.finish().unwrap()
    }

    fn inspect(data: &[u8]) -> Result<KernelImage> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel");
        std::fs::write(&path, data).unwrap();
        let image = KernelImage::inspect(&path)?;
        let plain = image.unpacked(dir.path())?;
        assert_eq!(plain.release, image.release);
        assert!(matches!(plain.format, Format::BzImage | Format::Arm64Image));
        Ok(image)
    }

    #[test]
    fn kernels_of_every_packing_are_recognised() {
        let x86 = inspect(&small_bzimage("6.18.5+deb13-cloud-amd64 (x) #1")).unwrap();
        assert_eq!((x86.arch, x86.format), (Arch::X86_64, Format::BzImage));
        assert_eq!(x86.release, "6.18.5+deb13-cloud-amd64");

        let plain = small_arm64("7.3.4");
        let mut zboot = b"MZ\0\0zimg".to_vec();
        let packed = gzip(&plain);
        zboot.extend(64_u32.to_le_bytes());
        zboot.extend((packed.len() as u32).to_le_bytes());
        zboot.resize(24, 0);
        zboot.extend(b"gzip");
        zboot.resize(64, 0);
        zboot.extend(&packed);
        for (data, format) in [
            (plain.clone(), Format::Arm64Image),
            (packed, Format::Arm64Gzip),
            (zboot, Format::Arm64Zboot),
        ] {
            let image = inspect(&data).unwrap();
            assert_eq!((image.arch, image.format), (Arch::Aarch64, format));
            assert_eq!(
                (image.release.as_str(), image.page_size),
                ("7.3.4", Some(16384))
            );
        }
    }

    #[test]
    fn what_is_no_kernel_is_an_error_that_says_why() {
        let mut old = small_bzimage("2.6");
        old[0x236] = 0;
        let mut cut = b"MZ\0\0zimg".to_vec();
        cut.extend([0xff; 8]);
        cut.resize(64, 0);
        // Bytes that do not compress, so that there is enough of it to cut.
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(4096)
        .collect();
        let broken_gzip = gzip(&noise)[..2000].to_vec();
        let mut elf = b"\x7fELF".to_vec();
        elf.resize(100, 0);
        for (data, words) in [
            (b"hello".to_vec(), "only 5 bytes"),
            (vec![b'x'; 4096], "beginning"),
            (gzip(&noise), "no arm64 Image"),
            (small_arm64("7.3")[..60].to_vec(), "only 60 bytes"),
            (broken_gzip, "does not unpack"),
            (old, "32-bit"),
            (cut, "cut off"),
            (elf, "ELF"),
        ] {
            let error = inspect(&data).unwrap_err();
            assert!(matches!(error, Error::NotAKernel { .. }));
            assert!(error.to_string().contains(words), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let error = KernelImage::inspect(dir.path()).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        assert!(matches!(
            KernelImage::inspect(&dir.path().join("none")).unwrap_err(),
            Error::Io { .. }
        ));
    }
}
