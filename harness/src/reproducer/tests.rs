use super::*;
use crate::campaign::{judge, ProgramVerdict};
use crate::kernel::simulated::{fault_named, Simulated};
use crate::kernel::{KernelSource, Prepared, Smaps};
use oracle::geometry::Geometry;
use oracle::program::Expect;
use std::path::Path;
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
    assert!(!c.contains("turn("), "one process needs no turns\n{c}");
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
        "uffd_copy(p + 2 * page, page, 8, 2);",
        "CHECK(uffd_fill(UFFDIO_ZEROPAGE, p + page, 2 * page) == -1 &&",
        "CHECK(uffd_fill(UFFDIO_POISON, p + 4 * page, 4 * page) ==",
        "CHECK(uffd_mark(UFFDIO_WRITEPROTECT, p, page, 1) == 0);",
        "NEED(has_uffd(1 << 16), \"UFFDIO_MOVE\");",
        "CHECK(uffd_move(p, page, p + 6 * page, 0) == -1 && errno == EINVAL);",
        "CHECK(uffd_move(p + 6 * page, 2 * page, p + 3 * page, 2) ==",
        "transfer(PIPE_WRITE, getpid(), 1, 0);",
        "CHECK(loaded(3, (const int[]){ 7, 7, 8 }));",
        "CHECK(transfer(PIPE_READ, getpid(), 1, 3) == -1 && errno == EFAULT);",
    ] {
        assert!(c.contains(line), "{line}\n{c}");
    }
}

/// Every program of the corpus that can be said in C compiles without a warning; few cannot.
#[test]
fn the_corpus_compiles() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let folders = ["selftests", "uffd", "kernel-side"].map(|name| corpus.join(name));
    let entries = folders.map(|folder| crate::campaign::load_corpus(&folder).expect("loads"));
    let work = tempfile::tempdir().expect("a folder");
    // All in one: what differs between programs is which helpers they take, and there are few sets of those.
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries.into_iter().flatten() {
        let made =
            reproducer("it", &entry.program).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let helpers: Vec<&str> = made.c.lines().filter(|l| l.contains("static ")).collect();
        if seen.insert(helpers.join("\n")) {
            compile("it", &made.c, vm_images::Arch::X86_64, work.path())
                .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        }
        assert!(made.kselftest.contains("TEST_F(mm, it)"));
    }
    assert!(seen.len() > 3, "{}", seen.len());
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
