use super::*;
use crate::campaign::{judge, ProgramVerdict};
use crate::kernel::simulated::{fault_named, Simulated};
use crate::kernel::{KernelSource, Prepared, Smaps};
use oracle::geometry::Geometry;
use oracle::program::Expect;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn c_of(text: &str) -> String {
    let program = Program::load(text).expect("parses");
    reproducer("it", &program).expect("can be said").c
}

#[test]
fn a_call_is_a_line_with_its_check() {
    let c = c_of(
        "mmap 0+0..0+4 rw private fixed => ok\nmunmap 0+4..0+2 => EINVAL\nwrite 0+1..0+3 tag 7 => SIGSEGV MAPERR 0+2\n\
         read 0+0..0+3 => reads 0 7*2\nmremap 0+0..1-1 2+0..2+4 fixed => ok\n    => 2+0 |rw-p aa..|\n",
    );
    for line in [
        "CHECK(mmap(p, 4 * page, PROT_READ | PROT_WRITE,",
        "CHECK(munmap(p + 4 * page, 0 - 2 * page) == -1 && errno == EINVAL);",
        "CHECK(faulted(SIGSEGV, SEGV_MAPERR, p + 2 * page));",
        "CHECK(loaded(3, (const int[]){ 0, 7, 7 }));",
        "CHECK(mremap(p, pmd - page, 4 * page, MREMAP_MAYMOVE | MREMAP_FIXED,",
        "CHECK(pages_are(p + 2 * pmd, \"|rw-p aa..|\"));",
    ] {
        assert!(c.contains(line), "{line}\n{c}");
    }
    assert!(!c.contains("if (turn("), "one process needs no turns\n{c}");
}

#[test]
fn several_processes_take_turns() {
    let c = c_of(
        "mmap 0+0..0+1 rw private fixed\nfork 1\n    => 1: 0+0 |.|\n1: exit\nread 0+0..0+1 => ok\n",
    );
    for line in [
        "split(1);",
        "if (turn(2, 1)) {",
        "CHECK(gone(1));",
        "turn(5, 0);\n\tCHECK(all_done());",
    ] {
        assert!(c.contains(line), "{line}\n{c}");
    }
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    for (text, word) in [
        (
            "mmap 0+0..0+1 rw private fixed\nmlockall current\n",
            "mlockall",
        ),
        (
            "khugepaged on\n\nmmap 0+0..0+1 rw private fixed\n",
            "khugepaged",
        ),
        ("fork 1\nexit\n", "ends before"),
        (
            "mmap 0+0..0+1 rw private fixed\nguard-install 0+0..0+1 fail 2\n",
            "fail-nth",
        ),
    ] {
        let program = Program::load(text).expect("parses");
        let error = reproducer("it", &program)
            .expect_err("is refused")
            .to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn calls_that_count_are_compared_with_how_far_they_came() {
    let c = c_of(
        "needs uffd uffd-wp uffd-move\n\nmmap 0+0..0+8 rw private fixed\nuffd-register-both 0+0..0+8 => ok\nuffd-copy 0+0..0+2 tag 7 => ok\n\
         uffd-copy-wp 0+2..0+3 tag 8\nuffd-zeropage 0+1..0+3 => EEXIST\nuffd-poison 0+4..0+8 => up-to 0+6\nuffd-protect 0+0..0+1 => ok\n\
         uffd-move 0+0..0+1 to 0+6 => EINVAL\nuffd-move-holes 0+6..0+8 to 0+3 => up-to 0+7\n\
         pipe-write 0+0..0+3 => reads 7*2 8\npipe-read 0+0..0+1 tag 3 => EFAULT\n",
    );
    for line in [
        "NEED(has_uffd(1 | 1 << 12), \"write protection by userfaultfd\");",
        "CHECK(uffd_mark(UFFDIO_REGISTER, p, 8 * page, 3) == 0);",
        "CHECK(uffd_copy(p, 2 * page, 7, 0) == (long)(2 * page));",
        "DO(uffd_copy(p + 2 * page, page, 8, 2));",
        "CHECK(uffd_fill(UFFDIO_ZEROPAGE, p + page, 2 * page) == -1 &&",
        "CHECK(uffd_fill(UFFDIO_POISON, p + 4 * page, 4 * page) ==",
        "CHECK(uffd_mark(UFFDIO_WRITEPROTECT, p, page, 1) == 0);",
        "NEED(has_uffd(1 << 16), \"UFFDIO_MOVE\");",
        "CHECK(uffd_move(p, page, p + 6 * page, 0) == -1 && errno == EINVAL);",
        "CHECK(uffd_move(p + 6 * page, 2 * page, p + 3 * page, 2) ==",
        "DO(transfer(PIPE_WRITE, getpid(), 1, 0));",
        "CHECK(loaded(3, (const int[]){ 7, 7, 8 }));",
        "CHECK(transfer(PIPE_READ, getpid(), 1, 3) == -1 && errno == EFAULT);",
    ] {
        assert!(c.contains(line), "{line}\n{c}");
    }
}

/// The folder of the kernel tree with kselftest_harness.h, if a kernel's source is in the cache (`cargo xtask kernels build` gets one).
fn selftests() -> Option<PathBuf> {
    let cache = vm_images::store::default_cache().ok()?.join("source");
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut folders: Vec<PathBuf> = below(&cache)
        .iter()
        .flat_map(|one| below(one))
        .map(|tree| tree.join("tools/testing/selftests"))
        .filter(|folder| folder.join("kselftest_harness.h").is_file())
        .collect();
    folders.sort();
    let found = folders.pop();
    if found.is_none() {
        eprintln!(
            "no kernel source in {}: TEST_F bodies are not compiled",
            cache.display()
        );
    }
    found
}

/// Compiles a TEST_F as the kernel tree's Makefile for mm does; the program, or what the compiler says.
fn compile_kselftest(c: &str, selftests: &Path, work: &Path) -> Result<PathBuf, String> {
    let (source, program) = (work.join("kselftest.c"), work.join("kselftest"));
    std::fs::write(&source, c).map_err(|e| e.to_string())?;
    let done = Command::new("gcc")
        .args(["-static", "-Wall", "-Werror", "-O2", "-I"])
        .arg(selftests)
        .arg("-o")
        .args([&program, &source])
        .output()
        .map_err(|e| e.to_string())?;
    match done.status.success() {
        true => Ok(program),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// A TEST_F passes and fails as the program does.
#[test]
fn a_kselftest_tells_the_same() {
    let Some(folder) = selftests() else { return };
    let work = tempfile::tempdir().expect("a folder");
    for (expected, passes) in [("ok", true), ("EINVAL", false)] {
        let text = format!(
            "mmap 0+0..0+4 rw private fixed => {expected}\nfork 1\n1: read 0+0..0+1 => ok\n"
        );
        let program = Program::load(&text).expect("parses");
        let c = reproducer("it", &program).expect("can be said").kselftest;
        let program = compile_kselftest(&c, &folder, work.path()).unwrap_or_else(|e| panic!("{e}"));
        let output = Command::new(program).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), passes, "{text}");
        assert!(text.contains("mm.it"), "{text}");
    }
}

/// Every program of these folders compiles without a warning, but for those that cannot be said in C.
#[test]
fn the_corpus_compiles() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let folders = ["selftests", "uffd", "kernel-side"].map(|name| corpus.join(name));
    let entries = folders.map(|folder| crate::campaign::load_corpus(&folder).expect("loads"));
    let work = tempfile::tempdir().expect("a folder");
    let selftests = selftests();
    // All in one: what differs between programs is which helpers they take, and there are few sets of those.
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries.into_iter().flatten() {
        if entry.program.knobs.uffd_events {
            let refused = reproducer("it", &entry.program).expect_err(&entry.name);
            assert!(refused.to_string().contains("events"), "{refused}");
            continue;
        }
        let made =
            reproducer("it", &entry.program).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let helpers: Vec<&str> = made.c.lines().filter(|l| l.contains("static ")).collect();
        if seen.insert(helpers.join("\n")) {
            compile("it", &made.c, vm_images::Arch::X86_64, work.path())
                .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            if let Some(folder) = &selftests {
                compile_kselftest(&made.kselftest, folder, work.path())
                    .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            }
        }
        assert!(made.kselftest.contains("TEST_F(mm, it)"));
    }
    assert!(seen.len() > 3, "{}", seen.len());
}

/// What a C program ends with on this machine, and what it prints.
fn ran(c: &str) -> (Option<i32>, String) {
    let work = tempfile::tempdir().expect("a folder");
    let arch = match std::env::consts::ARCH {
        "aarch64" => vm_images::Arch::Aarch64,
        _ => vm_images::Arch::X86_64,
    };
    compile("it", c, arch, work.path()).expect("compiles");
    let program = work.path().join(format!("it.{arch}"));
    let output = Command::new(program).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

/// A call that never returns is what is wrong with a kernel that hangs: it is said which, and the program ends with 1.
#[test]
fn a_call_that_does_not_return_is_named() {
    let quick = |c: String, call: &str| {
        assert!(c.contains(call), "{c}");
        c.replace("#define LIMIT 30", "#define LIMIT 1")
            .replace(call, "pause()")
    };
    let alone = c_of("mmap 0+0..0+4 rw private fixed => ok\nmunmap 0+0..0+4\n");
    let (status, text) = ran(&alone);
    assert_eq!(status, Some(BEHAVES), "{text}");
    let (status, text) = ran(&quick(alone, "munmap(p, 4 * page)"));
    assert_eq!(status, Some(MISBEHAVES), "{text}");
    assert!(text.contains("does not return: pause()"), "{text}");
    // So is the call of a process that the others wait for.
    let child = c_of("mmap 0+0..0+4 rw private fixed => ok\nfork 1\n1: munmap 0+0..0+4 => ok\nread 0+0..0+1 => ok\n");
    let (status, text) = ran(&quick(child, "munmap(p, 4 * page)"));
    assert_eq!(status, Some(MISBEHAVES), "{text}");
    assert!(text.contains("does not return: pause() == 0"), "{text}");
}

/// What reproduce.sh ends with when QEMU prints this and ends so.
fn script_ends(console: &str, qemu_ends: i32) -> Option<i32> {
    let work = tempfile::tempdir().expect("a folder");
    let at = |name: &str| work.path().join(name);
    let put = |name: &str, text: &str| {
        std::fs::write(at(name), text).expect("writes");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("runs");
    };
    std::fs::create_dir(at("bin")).expect("a folder");
    for name in ["gcc", "x86_64-linux-gnu-gcc"] {
        put(&format!("bin/{name}"), "#!/bin/sh\n");
    }
    put("bin/cpio", "#!/bin/sh\ncat >/dev/null\n");
    // `timeout` is asked to run QEMU: here it says how that ended.
    put("bin/qemu-system-x86_64", "#!/bin/sh\n");
    put(
        "bin/timeout",
        &format!(
            "#!/bin/sh\ncat {}\nexit {qemu_ends}\n",
            at("console").display()
        ),
    );
    put("console", console);
    put("reproduce.sh", SCRIPT);
    put("it.c", "");
    let mut image = vec![0; 600];
    image[514..518].copy_from_slice(b"HdrS");
    std::fs::write(at("bzImage"), image).expect("writes");
    let path = format!(
        "{}:{}",
        at("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(at("reproduce.sh"))
        .arg(at("bzImage"))
        .env("PATH", path)
        .output()
        .expect("runs");
    output.status.code()
}

#[test]
fn a_kernel_that_goes_down_does_not_behave() {
    let begins = "\nreproducer: it begins\n";
    let ends = |status: &str| format!("{begins}\nreproducer: it {status}\n\nreproducer: end\n");
    for (status, code) in [("0", 0), ("1", 1), ("4", 4), ("139", 1), ("126", 69)] {
        assert_eq!(script_ends(&ends(status), 0), Some(code), "{status}");
    }
    // The kernel panics, or the whole machine hangs, while the program runs.
    let panic = format!("{begins}[ 1.2] BUG: kernel NULL pointer dereference\n[ 1.3] Kernel panic - not syncing: Fatal exception\n");
    assert_eq!(script_ends(&panic, 0), Some(1));
    assert_eq!(script_ends(begins, 124), Some(1));
    // It never came so far, or it was not the kernel.
    for (console, qemu) in [
        ("[ 0.3] Kernel panic - not syncing: VFS\n", 0),
        ("", 124),
        (begins, 130),
    ] {
        assert_eq!(script_ends(console, qemu), Some(69), "{console}");
    }
    // A program that had ended is not the one that goes on for ever.
    let after = format!("{begins}\nreproducer: it 0\n");
    assert_eq!(script_ends(&after, 124), Some(69));
}

/// A divergence becomes a program that fails where it was seen and holds where the rules are kept.
#[test]
fn a_pinned_divergence_tells_by_expectations_alone() {
    let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n1: read 0+0..0+2\nmunmap 0+0..0+4\n";
    let program = Arc::new(Program::load(text).expect("parses"));
    let run = |fault: Option<&str>, program: &Arc<Program>| {
        let source = Simulated {
            fault: fault.and_then(fault_named),
            ..Simulated::default()
        };
        let mut kernel = source.boot("test").expect("boots");
        let prepared = Prepared {
            id: 1,
            program: program.clone(),
            smaps: Smaps::Every,
            fault: None,
        };
        let execution = kernel.run(&[prepared]).expect("runs").remove(0);
        judge(program, &execution, &source.profile, Geometry::K4).verdict
    };
    let ProgramVerdict::Suspect(story) = run(Some("fork/loses-guards"), &program) else {
        panic!("diverges");
    };
    let short = Arc::new(pinned(&program, &story, Geometry::K4).expect("can be told"));
    assert_eq!(short.steps.len(), 3);
    assert_eq!(short.needs, [oracle::program::Need::Guards]);
    assert!(
        matches!(short.steps[2].expect[..], [Expect::Strip { actor: 1, .. }]),
        "{short}"
    );
    assert!(matches!(run(None, &short), ProgramVerdict::Fine));
    assert!(matches!(
        run(Some("fork/loses-guards"), &short),
        ProgramVerdict::Suspect(_)
    ));
    let c = reproducer("it", &short).expect("can be said").c;
    assert!(c.contains("NEED(has_guards(MAP_PRIVATE)"), "{c}");
}
