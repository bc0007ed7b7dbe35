//! The rights that QEMU has: those of an ordinary user, whoever we are, and nothing but what it is given.
//!
//! Root's QEMU becomes nobody between fork and exec. It could do so itself (`-runas`, `-run-with user=`), but not in its sandbox, which
//! denies the system calls for it. Files come to it as open descriptors, so that nobody need not find the way to them.

use super::error::VmError;
use super::qemu::Accel;
use nix::sys::memfd::{memfd_create, MFdFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Once;

/// User and group `nobody`, and what the kernel calls users that it has no number for (Documentation/admin-guide/sysctl/fs.rst,
/// overflowuid).
const NOBODY: u32 = 65534;

/// CAP_SETGID and CAP_SETUID (capabilities(7)).
const SET_IDS: u64 = 1 << 6 | 1 << 7;

/// User and group that a QEMU is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub user: u32,
    pub group: u32,
}

/// Whom a QEMU is to become: nobody, when we are root. `None`: it stays what we are, an ordinary user, or root of a container that cannot
/// become anybody else, which is said.
pub fn ids(accel: Accel) -> Option<Ids> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    let read = |name: &str| read(name).unwrap_or_default();
    if let Some(why) = bound(
        &read("status"),
        &read("setgroups"),
        [&read("uid_map"), &read("gid_map")],
    ) {
        static SAID: Once = Once::new();
        SAID.call_once(|| eprintln!("QEMU runs as root: {why}"));
        return None;
    }
    let node = std::fs::metadata("/dev/kvm").map(|node| node.gid());
    Some(Ids {
        user: NOBODY,
        group: match accel {
            Accel::Kvm => node.unwrap_or(NOBODY),
            Accel::Tcg => NOBODY,
        },
    })
}

/// What keeps root from becoming nobody, from the files of that name in /proc/self.
fn bound(status: &str, setgroups: &str, maps: [&str; 2]) -> Option<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    if effective.is_none_or(|caps| caps & SET_IDS != SET_IDS) {
        return Some("it may not change its user (no CAP_SETUID and CAP_SETGID)");
    }
    // user_namespaces(7).
    let has_nobody = |map: &&str| {
        map.lines().any(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
            let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return false;
            };
            (first..first.saturating_add(count)).contains(&u64::from(NOBODY))
        })
    };
    if setgroups.trim() == "deny" || !maps.iter().all(has_nobody) {
        return Some("its user namespace has no user nobody");
    }
    None
}

/// A file that a QEMU with these ids opens by its descriptor's number: this one, or a copy in memory where others may not read it.
///
/// # Errors
/// It cannot be read, or there is no memory.
pub fn file(path: &Path, ids: Option<Ids>) -> Result<OwnedFd, VmError> {
    let open = || {
        let mut file = File::open(path)?;
        let for_everybody = file.metadata()?.mode() & 0o004 != 0;
        if ids.is_none() || for_everybody {
            return Ok(file.into());
        }
        let copy = memfd_create(c"mmdiff-file", MFdFlags::MFD_CLOEXEC)?;
        io::copy(&mut file, &mut File::from(copy.try_clone()?))?;
        Ok(copy)
    };
    open().map_err(|source| VmError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    const ALL: &str = "         0          0 4294967295\n";

    #[test]
    fn root_of_a_container_may_be_bound() {
        let status = |caps: &str| format!("Name:\tx\nCapEff:\t{caps}\n");
        let root = status("000001ffffffffff");
        assert_eq!(bound(&root, "allow", [ALL, ALL]), None);
        let lacks = |status: &str, groups, maps| bound(status, groups, maps).is_some();
        assert!(lacks(&status("0000000000000080"), "allow", [ALL, ALL]));
        assert!(lacks("", "allow", [ALL, ALL]));
        assert!(lacks(&root, "deny\n", [ALL, ALL]));
        // A rootless container with one user, and one with a range.
        assert!(lacks(&root, "allow", [ALL, "0 1000 1\n"]));
        let range = "0 1000 1\n1 100000 65536\n";
        assert_eq!(bound(&root, "allow", [range, range]), None);
    }

    #[test]
    fn what_others_may_not_read_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, "kernel").unwrap();
        let ids = Some(Ids {
            user: NOBODY,
            group: NOBODY,
        });
        let opened = |mode: u32, ids| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
            let fd = file(&path, ids).unwrap();
            let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let mut text = String::new();
            File::open(&name)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "kernel");
            std::fs::read_link(name).unwrap() == path
        };
        assert!(opened(0o644, ids) && opened(0o600, None));
        assert!(!opened(0o600, ids));
        let error = file(&dir.path().join("none"), ids).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
