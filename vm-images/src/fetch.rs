//! One file from a mirror by address and SHA-256, through apt's own downloader.
//!
//! apt's downloader knows the machine's proxies and credentials; the hash is checked here once more.

use crate::{hash, Error, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where Debian keeps apt's helper.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// How a download ended when it did not bring the file.
#[derive(Debug)]
pub enum Failure {
    /// The server answered and has no such file.
    NotThere(String),
    /// Something came, but not what the hash says.
    WrongHash(String),
    /// No answer, or a broken one.
    Network(String),
    /// An error of this side.
    Own(Error),
}

/// Fetches `uri` to `target`, which appears only when its SHA-256 is right. `progress` is told the bytes so far.
///
/// # Errors
/// See [`Failure`].
pub fn download(
    uri: &str,
    target: &Path,
    sha256: &str,
    progress: &dyn Fn(u64),
) -> Result<(), Failure> {
    let dir = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|e| Failure::Own(Error::io(dir)(e)))?;
    let temp = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(dir)
        .map_err(|e| Failure::Own(Error::io(dir)(e)))?;
    let file = temp.path().join("file");
    run_helper(uri, &file, sha256, progress)?;

    // For file: addresses apt leaves a link into the mirror; the cache holds the bytes themselves.
    let own = |e| Failure::Own(Error::io(&file)(e));
    if fs::symlink_metadata(&file).map_err(own)?.is_symlink() {
        let copy = temp.path().join("copy");
        fs::copy(&file, &copy).map_err(own)?;
        fs::rename(&copy, &file).map_err(own)?;
    }
    let found = hash::file(&file).map_err(Failure::Own)?;
    if found != sha256 {
        return Err(Failure::WrongHash(found));
    }
    fs::rename(&file, target).map_err(|e| Failure::Own(Error::io(target)(e)))
}

fn run_helper(uri: &str, file: &Path, sha256: &str, progress: &dyn Fn(u64)) -> Result<(), Failure> {
    let no_tool = |message: String| {
        Failure::Own(Error::Tool {
            tool: APT_HELPER.to_owned(),
            message,
        })
    };
    // apt's messages go to files: a pipe that nobody reads while we watch the size could fill up.
    let log = file.with_extension("log");
    let log_file = fs::File::create(&log).map_err(|e| Failure::Own(Error::io(&log)(e)))?;
    let log_twin = log_file
        .try_clone()
        .map_err(|e| Failure::Own(Error::io(&log)(e)))?;
    let mut child = Command::new(APT_HELPER)
        .args(["-q", "-o", "Acquire::Retries=2"])
        .args([
            "-o",
            "Acquire::http::Timeout=20",
            "-o",
            "Acquire::https::Timeout=20",
        ])
        // The default sandbox user may not write to a user's cache.
        .args(["-o", "APT::Sandbox::User=root"])
        .arg("download-file")
        .arg(uri)
        .arg(file)
        .arg(format!("SHA256:{sha256}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(log_file)
        .stderr(log_twin)
        .spawn()
        .map_err(|e| {
            no_tool(format!(
                "{e}; kernels are fetched with apt, on Debian or a derivative"
            ))
        })?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(e) => return Err(no_tool(e.to_string())),
        }
        progress(fs::metadata(file).map_or(0, |m| m.len()));
    };
    if status.success() {
        progress(fs::metadata(file).map_or(0, |m| m.len()));
        return Ok(());
    }
    let text = fs::read(&log).unwrap_or_default();
    Err(classify(&String::from_utf8_lossy(&text)))
}

/// Reads apt's messages (LC_ALL=C).
fn classify(text: &str) -> Failure {
    // `E: Failed to fetch URI  REASON`: the address is known to the caller, the reason matters.
    let reason = text.lines().find_map(|line| {
        let (_, reason) = line.strip_prefix("E: Failed to fetch ")?.split_once("  ")?;
        Some(reason.trim().to_owned())
    });
    let detail = reason.unwrap_or_else(|| text.trim().replace('\n', "; "));
    let lower = detail.to_lowercase();
    if lower.contains("hash sum mismatch") || lower.contains("unexpected size") {
        Failure::WrongHash(detail)
    } else if [
        "404",
        "410 ",
        "file not found",
        "no such file",
        "stat failed",
    ]
    .iter()
    .any(|s| lower.contains(s))
    {
        Failure::NotThere(detail)
    } else {
        Failure::Network(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_words_are_told_apart() {
        let gone = "Err:1 http://m.example/x.deb\n  404  Not Found [IP: 1.2.3.4 80]\nE: Failed to fetch http://m.example/x.deb  404  Not Found [IP: 1.2.3.4 80]";
        assert!(matches!(classify(gone), Failure::NotThere(_)));
        let wrong = "E: Failed to fetch http://m.example/x.deb  Hash Sum mismatch\n   Hashes of expected file:";
        assert!(matches!(classify(wrong), Failure::WrongHash(_)));
        let dead = "E: Failed to fetch http://127.0.0.1:1/x.deb  Could not connect to 127.0.0.1:1 (127.0.0.1). - connect (111: Connection refused)";
        let Failure::Network(reason) = classify(dead) else {
            panic!("not recognised");
        };
        assert!(reason.starts_with("Could not connect"), "{reason}");
    }
}
