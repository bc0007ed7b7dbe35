//! What these commands were built from, for records of runs and measurements.

use std::path::Path;
use std::process::{Command, Stdio};

/// The compiler, as `rustc --version` names it.
pub const RUSTC: &str = env!("MMDIFF_RUSTC");

/// The commit of a checkout, with `-dirty` where tracked files differ from it; `unknown` outside git. `cargo xtask` builds anew from the
/// checkout before it runs, so that of the workspace is that of the build.
pub fn commit(workspace: &Path) -> String {
    let git = |words: &[&str]| -> Option<String> {
        let mut command = Command::new("git");
        command.arg("--no-optional-locks").arg("-C").arg(workspace);
        command.args(words);
        let output = command.stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
        output.status.success().then_some(said)
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]).filter(|commit| !commit.is_empty()) else {
        return "unknown".into();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_has_a_commit_and_another_folder_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(commit(dir.path()), "unknown");
        assert_eq!(commit(&dir.path().join("nothing")), "unknown");
        let git = |words: &[&str]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(dir.path());
            command.args(["-c", "user.name=n", "-c", "user.email=n@example.org"]);
            assert!(command.args(words).output().unwrap().status.success());
        };
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        git(&["init", "--quiet"]);
        assert_eq!(commit(dir.path()), "unknown", "nothing is committed");
        git(&["add", "file"]);
        git(&["commit", "--quiet", "-m", "first"]);
        let clean = commit(dir.path());
        assert_eq!(clean.len(), 40, "{clean}");
        std::fs::write(&file, "2").unwrap();
        assert_eq!(commit(dir.path()), format!("{clean}-dirty"));
        assert!(RUSTC.starts_with("rustc 1."), "{RUSTC}");
    }
}
