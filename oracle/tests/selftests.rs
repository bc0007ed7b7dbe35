//! corpus/selftests against the list of the kernel's guard-regions.c (7.3): each of its tests, for each kind of memory that it runs
//! on, is a program there or is listed here with the reason why it is none.

use std::collections::BTreeSet;
use std::path::Path;

/// Kinds of memory that a test runs on; the others it skips.
const ALL: &[&str] = &["anon", "shmem", "file"];
const ANON: &[&str] = &["anon"];
const ANON_SHMEM: &[&str] = &["anon", "shmem"];
const FILES: &[&str] = &["shmem", "file"];

/// The tests of guard-regions.c, by the name of our programs.
const TESTS: &[(&str, &[&str])] = &[
    ("basic", ALL),
    ("multi-vma", ALL),
    ("process-madvise", ALL),
    ("munmap", ALL),
    ("mprotect", ALL),
    ("split-merge", ALL),
    ("dontneed", ALL),
    ("mlock", ALL),
    ("mremap-move", ALL),
    ("mremap-expand", ALL),
    ("mremap-shrink", ALL),
    ("fork", ALL),
    ("fork-cow", ANON),
    ("fork-wipeonfork", ANON),
    ("lazyfree", ANON),
    ("populate", ALL),
    ("cold-pageout", ALL),
    ("uffd", ANON_SHMEM),
    ("madvise-sequential", FILES),
    ("map-private", FILES),
    ("readonly", &["file"]),
    ("fault-around", FILES),
    ("truncation", FILES),
    ("hole-punch", FILES),
    ("memfd-write-seal", &["shmem"]),
    ("anon-zeropage", ANON_SHMEM),
    ("pagemap", ALL),
    ("pagemap-scan", ALL),
    ("collapse", ALL),
    ("smaps", ALL),
];

/// What programs cannot say yet, and why.
const NOT_YET: &[(&str, &str)] = &[
    ("uffd", "programs have no userfaultfd"),
    ("collapse", "programs have no MADV_COLLAPSE"),
];

#[test]
fn every_selftest_is_a_program_or_has_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/selftests");
    let have: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("corpus/selftests")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    let mut wrong = Vec::new();
    let mut wanted = BTreeSet::new();
    for (test, kinds) in TESTS {
        let reason = NOT_YET.iter().find(|(name, _)| name == test);
        for kind in *kinds {
            let name = format!("{kind}-{test}");
            match (have.contains(&name), reason) {
                (false, None) => wrong.push(format!("{name}: no program and no reason")),
                (true, Some((_, why))) => wrong.push(format!("{name}: there, and yet: {why}")),
                _ => {}
            }
            wanted.insert(name);
        }
    }
    let strange = have.difference(&wanted);
    wrong.extend(strange.map(|name| format!("{name}: no test of guard-regions.c is called so")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(
        TESTS.iter().map(|(_, kinds)| kinds.len()).sum::<usize>(),
        wanted.len()
    );
}
