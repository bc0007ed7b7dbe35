//! What stands around the steps: the helpers that they need, the settings, the files, and where they run.

use super::body::{name, Body};
use oracle::program::{Backing, File, FileKind, Need, Op, Program, ShmemThp, Thp};

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("c/", $name, ".c"))
    };
}

/// A program of its own.
pub fn plain(program: &Program, body: &Body) -> String {
    let leave = match body.turns {
        true => part!("leave_many"),
        false => part!("leave"),
    };
    let helpers = helpers(program, body);
    let mut text = title(program) + part!("head");
    if body.turns {
        text += part!("turns");
    }
    text + leave
        + part!("plain")
        + &helpers
        + "int main(void)\n{\n"
        + &inside(program, body)
        + "\treturn 0;\n}\n"
}

/// A `TEST_F` of the kernel's own harness.
pub fn kselftest(name: &str, program: &Program, body: &Body) -> String {
    let mut text = title(program) + part!("head");
    if body.turns {
        text += part!("turns");
    }
    text + part!("kselftest")
        + &helpers(program, body)
        + "FIXTURE(mm)\n{\n\tint nothing;\n};\n\nFIXTURE_SETUP(mm)\n{\n}\n\nFIXTURE_TEARDOWN(mm)\n{\n}\n\n"
        + &format!("TEST_F(mm, {name})\n{{\n")
        + &inside(program, body)
        + "}\n\nTEST_HARNESS_MAIN\n"
}

/// The comment at the top: what it is about, and the program.
fn title(program: &Program) -> String {
    let mut text = String::from("/*\n");
    for line in &program.about {
        text += &format!(" * {}\n", line.trim());
    }
    text += " *\n * As mmdiff has it:\n *\n";
    let mut bare = program.clone();
    bare.about.clear();
    bare.trailer.clear();
    for line in bare.to_string().trim().lines() {
        text += &format!(" *   {line}");
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    // What would end the comment cannot be in it.
    let text = text
        .replacen("/*", "\u{0}", 1)
        .replace("*/", "* /")
        .replace("/*", "/ *");
    text.replacen('\u{0}', "/*", 1)
        + " *\n * Exit status: 0 the kernel behaves, 1 it does not, 4 it lacks what this needs.\n */\n"
}

fn files(program: &Program) -> Vec<File> {
    let mut files: Vec<File> = program.steps.iter().filter_map(|s| s.op.file()).collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn has(program: &Program, is: impl Fn(&Op) -> bool) -> bool {
    program.steps.iter().any(|step| is(&step.op))
}

/// Whether it moves the program break.
fn is_heap(program: &Program) -> bool {
    has(program, |op| matches!(op, Op::Brk { .. }))
}

/// Whether calls take several ranges.
fn has_vectors(program: &Program) -> bool {
    has(program, |op| {
        matches!(op, Op::ProcessMadvise { .. } | Op::Transfer { .. })
    })
}

/// An ordinary user's limits matter only to those who lock.
fn is_limited(program: &Program) -> bool {
    !program.knobs.root
        && has(program, |op| match op {
            Op::Mlock { .. } | Op::Mlockall { .. } => true,
            Op::Mmap { flags, .. } => flags.locked,
            _ => false,
        })
}

fn helpers(program: &Program, body: &Body) -> String {
    let needs = |need: Need| program.needs.contains(&need);
    let mut text = String::new();
    let mut add = |on: bool, part: &str| {
        if on {
            text += part;
        }
    };
    let files = files(program);
    add(true, part!("needs"));
    let flags = body.flags || needs(Need::GuardFlag);
    add(body.strips || flags, part!("vma"));
    add(flags, part!("flags"));
    add(needs(Need::GuardFlag), part!("guard_flag"));
    add(body.strips || needs(Need::SoftDirty), part!("pagemap"));
    add(needs(Need::SoftDirty), part!("soft_dirty"));
    add(body.strips, part!("pages"));
    add(body.strips && body.huge, part!("huge"));
    add(body.strips && !body.huge, part!("nohuge"));
    add(body.strips, part!("strip"));
    let keys = has(program, |op| matches!(op, Op::PkeyMprotect { .. })) || needs(Need::Pkeys);
    add(keys, part!("keys"));
    add(
        body.accesses && !keys,
        "#define after_fault() do { } while (0)\n\n",
    );
    add(body.accesses, part!("access"));
    add(!files.is_empty(), part!("files"));
    add(
        files.iter().any(|f| f.kind() == FileKind::Ramfs),
        part!("ramfs"),
    );
    add(is_limited(program), part!("locks"));
    add(
        has(program, |op| matches!(op, Op::ClearSoftDirty)),
        part!("clear"),
    );
    add(has_vectors(program), part!("vectors"));
    add(
        has(program, |op| matches!(op, Op::ProcessMadvise { .. })),
        part!("process"),
    );
    add(
        has(program, |op| matches!(op, Op::Transfer { .. })),
        part!("transfer"),
    );
    add(is_heap(program), part!("heap"));
    let uffd = has(program, |op| matches!(op, Op::Uffd { .. }));
    add(
        uffd || [Need::Uffd, Need::UffdWp, Need::UffdMove]
            .map(needs)
            .contains(&true),
        part!("uffd"),
    );
    add(
        has(program, |op| matches!(op, Op::SwitchHuge(_))),
        "#include <sys/prctl.h>\n\n",
    );
    text
}

/// Settings, files and steps.
fn inside(program: &Program, body: &Body) -> String {
    let mut text = String::new();
    let files = files(program);
    let names: Vec<&str> = files.iter().map(|f| name(*f)).collect();
    if !names.is_empty() {
        text += &format!("\tint {};\n", names.join(", "));
    }
    if body.moves {
        text += "\tchar *where;\n";
    }
    if has_vectors(program) {
        text += "\tstruct iovec *iov = vectors;\n";
    }
    for file in &files {
        if is_read_only(program, *file) {
            text += &format!("\tint {}_r;\n", name(*file));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += "\tpage = sysconf(_SC_PAGESIZE);\n\tpmd = page * (page / 8);\n";
    if body.turns {
        text += "\tstart_turns();\n";
    }
    for line in settings(program) {
        text += &format!("\t{line}\n");
    }
    for file in &files {
        text += &opened(program, *file);
    }
    text.push('\n');
    text += &body.text;
    if body.turns {
        text += "\tCHECK(all_done());\n";
    }
    text
}

fn settings(program: &Program) -> Vec<String> {
    let needs_swap = program.needs.contains(&Need::Swap);
    let mut lines = Vec::new();
    for need in &program.needs {
        lines.push(match need {
            Need::Guards => "NEED(has_guards(MAP_PRIVATE), \"guard regions\");".into(),
            Need::GuardsShared => {
                "NEED(has_guards(MAP_SHARED), \"guard regions in shared memory\");".into()
            }
            Need::Thp => {
                "NEED(!access(\"/sys/kernel/mm/transparent_hugepage\", F_OK), \"huge pages\");"
                    .into()
            }
            // Who has it makes nothing fail by that.
            Need::FailNth => continue,
            Need::Page4K => "NEED(page == 4096, \"pages of 4 KiB\");".into(),
            Need::Mseal => "NEED(!syscall(462, p, 0, 0) || errno != ENOSYS, \"mseal\");".into(),
            Need::MremapMany => "NEED(has_mremap_many(), \"mremap of several mappings\");".into(),
            Need::Secret => "NEED(syscall(447, 0) >= 0, \"memfd_secret\");".into(),
            Need::Droppable => "NEED(has_droppable(), \"MAP_DROPPABLE\");".into(),
            Need::Pkeys => "NEED(has_keys(), \"protection keys\");".into(),
            Need::Hugetlb => "NEED(has_hugetlb(), \"MAP_HUGETLB\");".into(),
            Need::GuardFlag => "NEED(has_guard_flag(), \"VmFlags gu\");".into(),
            Need::Uffd => "NEED(has_uffd(0), \"userfaultfd\");".into(),
            Need::UffdWp => {
                "NEED(has_uffd(1 | 1 << 12), \"write protection by userfaultfd\");".into()
            }
            Need::UffdMove => "NEED(has_uffd(1 << 16), \"UFFDIO_MOVE\");".into(),
            // The knob says it below.
            Need::Swap => continue,
            Need::SoftDirty => "NEED(has_soft_dirty(), \"soft-dirty bits\");".into(),
        });
    }
    let thp = match program.knobs.thp {
        Thp::Never => "never",
        Thp::Madvise => "madvise",
        Thp::Always => "always",
    };
    lines.push(format!(
        "NEED(set_mode(\"enabled\", \"{thp}\"), \"transparent_hugepage={thp}\");"
    ));
    let shmem = match program.knobs.shmem_thp {
        ShmemThp::Never => "never",
        ShmemThp::Advise => "advise",
        ShmemThp::Always => "always",
    };
    if has(
        program,
        |op| matches!(op, Op::Mmap { backing, .. } if *backing != Backing::PrivateAnon),
    ) {
        lines.push(format!(
            "NEED(set_mode(\"shmem_enabled\", \"{shmem}\"), \"shmem_enabled={shmem}\");"
        ));
    }
    if program.knobs.swap || needs_swap {
        lines.push("NEED(has_swap(), \"swap space (swapon)\");".into());
    }
    if is_heap(program) {
        lines.push("NEED(heap_at(p + 2 * pmd), \"a heap that can be moved\");".into());
    }
    if program.knobs.root {
        lines.push("NEED(geteuid() == 0, \"root\");".into());
    }
    if is_limited(program) {
        lines.push("be_ordinary();".into());
    }
    lines
}

/// Whether a file is mapped through a descriptor for reading.
fn is_read_only(program: &Program, file: File) -> bool {
    has(
        program,
        |op| matches!(op, Op::Mmap { backing: Backing::File(map), .. } if map.file == file && map.readonly),
    )
}

fn opened(program: &Program, file: File) -> String {
    let (name, start) = (name(file), file.start());
    let call = match file.kind() {
        FileKind::Memfd => format!("memfd_create(\"{name}\", MFD_ALLOW_SEALING)"),
        FileKind::Ramfs => "ramfs_file()".into(),
        FileKind::Secret => "syscall(447 /* memfd_secret */, 0)".into(),
    };
    let mut text = format!("\t{name} = {call};\n\tNEED({name} >= 0, \"{name}\");\n");
    text += &format!("\tfill({name}, {}, {});\n", start.written, start.tag);
    if is_read_only(program, file) {
        text += &format!("\t{name}_r = for_reading({name});\n");
    }
    text
}
