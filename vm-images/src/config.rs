//! The configuration that a kernel was built with, where it is to be had.

use std::path::{Path, PathBuf};

/// Options that bear on what programs show: the page table and what is kept in it, reclaim, locks, and the kernel's checks of itself.
const BEARING: [&str; 27] = [
    "PGTABLE_LEVELS",
    "ARM64_4K_PAGES",
    "ARM64_16K_PAGES",
    "ARM64_64K_PAGES",
    "TRANSPARENT_HUGEPAGE",
    "TRANSPARENT_HUGEPAGE_ALWAYS",
    "TRANSPARENT_HUGEPAGE_MADVISE",
    "HUGETLB_PAGE",
    "PER_VMA_LOCK",
    "USERFAULTFD",
    "PTE_MARKER_UFFD_WP",
    "MEM_SOFT_DIRTY",
    "SECRETMEM",
    "KSM",
    "SWAP",
    "LRU_GEN_ENABLED",
    "NUMA_BALANCING",
    "MEMORY_FAILURE",
    "PROC_MEM_FORCE_PTRACE",
    "PROC_MEM_NO_FORCE",
    "PREEMPT_NONE",
    "PREEMPT_VOLUNTARY",
    "PREEMPT",
    "PREEMPT_LAZY",
    "DEBUG_VM",
    "KASAN",
    "KCSAN",
];

/// The configuration that belongs to an image of one's own: `.config` of the tree that it lies in (TREE/arch/ARCH/boot/IMAGE), or of the
/// folder that `kernels build` made it in. One that was written after the image is another's.
pub fn beside(image: &Path) -> Option<PathBuf> {
    let tree = image.ancestors().nth(4).map(|tree| tree.join(".config"));
    let build = image.with_extension("").join(".config");
    let written = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified());
    let image = written(image).ok()?;
    [tree, Some(build)]
        .into_iter()
        .flatten()
        .find(|config| written(config).is_ok_and(|at| at <= image))
}

/// Of a configuration what bears on the subject: options that are set, as the file has them, and then the names of those that are said not
/// to be.
pub fn bearing(config: &str) -> (Vec<String>, Vec<String>) {
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for name in BEARING {
        let start = format!("CONFIG_{name}=");
        let absent = format!("# CONFIG_{name} is not set");
        if let Some(line) = config.lines().find(|line| line.starts_with(&start)) {
            set.push(line.to_string());
        } else if config.lines().any(|line| line == absent) {
            unset.push(format!("CONFIG_{name}"));
        }
    }
    (set, unset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    #[test]
    fn what_bears_on_the_subject_is_picked_out() {
        let text = "CONFIG_KSM=y\nCONFIG_KSM_OTHER=y\n# CONFIG_KASAN is not set\nCONFIG_NET=y\nCONFIG_PGTABLE_LEVELS=5\n";
        let (set, unset) = bearing(text);
        assert_eq!(set, ["CONFIG_PGTABLE_LEVELS=5", "CONFIG_KSM=y"]);
        assert_eq!(unset, ["CONFIG_KASAN"]);
    }

    #[test]
    fn a_configuration_that_was_changed_since_is_not_taken() {
        let tree = tempfile::tempdir().unwrap();
        let image = tree.path().join("arch/x86/boot/bzImage");
        fs::create_dir_all(image.parent().unwrap()).unwrap();
        fs::write(&image, "").unwrap();
        assert_eq!(beside(&image), None);
        let config = tree.path().join(".config");
        fs::write(&config, "").unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let written = |path: &Path, seconds| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(at(seconds)).unwrap();
        };
        written(&image, 1000);
        written(&config, 900);
        assert_eq!(beside(&image), Some(config.clone()));
        written(&config, 1100);
        assert_eq!(beside(&image), None);
        // What `kernels build` leaves.
        let built = tree.path().join("7.3.4-x86_64.image");
        fs::create_dir(tree.path().join("7.3.4-x86_64")).unwrap();
        let config = tree.path().join("7.3.4-x86_64/.config");
        fs::write(&config, "").unwrap();
        fs::write(&built, "").unwrap();
        written(&config, 900);
        assert_eq!(beside(&built), Some(config));
    }
}
