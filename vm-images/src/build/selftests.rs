//! The kernel tree's own selftests of memory management (tools/testing/selftests/mm), as static programs for an initramfs.

use super::make::{self, Make};
use crate::store::Store;
use crate::{files, Arch, Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where they are in a tree.
const FOLDER: &str = "tools/testing/selftests/mm";

/// Those that need nothing set up for them (huge pages set aside, nodes of memory, devices, libraries, another user), each
/// with the files that it is linked with besides [`COMMON`]. Not among them is uffd-unit-tests, which takes longer than all
/// others together (36 of 65 s under TCG).
const PROGRAMS: [(&str, &[&str]); 20] = [
    ("cow", &[]),
    ("droppable", &[]),
    ("guard-regions", &[]),
    ("ksm_functional_tests", &[]),
    ("madv_populate", &[]),
    ("map_fixed_noreplace", &[]),
    ("map_populate", &[]),
    ("mdwe_test", &[]),
    ("merge", &[]),
    ("mkdirty", &[]),
    ("mlock2-tests", &[]),
    ("mremap_dontunmap", &[]),
    ("mremap_test", &[]),
    ("mseal_test", &[]),
    ("pagemap_ioctl", &[]),
    ("prctl_thp_disable", &[]),
    ("process_madv", &[]),
    ("soft-dirty", &[]),
    ("split_huge_page_test", &[]),
    ("uffd-wp-mremap", &["uffd-common.c"]),
];

/// What the Makefile there links each of them with.
const COMMON: [&str; 2] = ["vm_util.c", "hugepage_settings.c"];

/// What was built.
#[derive(Debug)]
pub struct Selftests {
    /// The programs by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// Those that do not compile, with the compiler's words.
    pub failed: Vec<(String, String)>,
}

/// Builds the selftests of `tree`, which does not change, into the cache; `name` stands for the tree there. Programs that are
/// there are not built again. `line` gets `make`'s output and the names of the programs.
///
/// # Errors
/// [`Error::KernelBuild`] if the headers cannot be made, [`Error::Tool`] if there is no compiler, [`Error::Io`].
pub fn build(
    store: &Store,
    tree: &Path,
    name: &str,
    arch: Arch,
    line: &dyn Fn(&str),
) -> Result<Selftests> {
    let name = format!("{name}-{}-selftests", arch.name());
    let folder = store.root().join("build").join(&name);
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let _lock = files::lock(&store.root().join("lock").join(format!("build-{name}")))?;
    let headers = folder.join("headers-are-whole");
    if !headers.exists() {
        let make = Make {
            tree,
            objects: &folder,
            arch,
            jobs: 1,
        };
        make.run(&["headers".into()], line)?;
        files::write_atomically(&headers, b"")?;
    }
    // What check_config.sh writes where there is no liburing.
    let config = folder.join("local_config.h_gen");
    files::write_atomically(&config, b"#undef LOCAL_CONFIG_HAVE_LIBURING\n")?;
    let mut done = Selftests {
        programs: BTreeMap::new(),
        failed: Vec::new(),
    };
    for (program, more) in PROGRAMS {
        let source = tree.join(FOLDER).join(format!("{program}.c"));
        let output = folder.join(program);
        if !output.exists() {
            line(&format!("  CC      {program}"));
            if let Err(why) = compile(tree, &source, more, arch, &folder, &output)? {
                done.failed.push((program.to_owned(), why));
                continue;
            }
        }
        done.programs.insert(program.to_owned(), output);
    }
    Ok(done)
}

/// As lib.mk and the Makefile do, but static. The inner error: the compiler's words.
fn compile(
    tree: &Path,
    source: &Path,
    more: &[&str],
    arch: Arch,
    folder: &Path,
    output: &Path,
) -> Result<std::result::Result<(), String>> {
    let here = tree.join(FOLDER);
    let compiler = format!("{}gcc", make::cross_prefix(arch).unwrap_or_default());
    let system = |path: PathBuf| [OsString::from("-isystem"), path.into_os_string()];
    // Renamed when it is whole: an interrupted build leaves nothing that looks like a program.
    let half = output.with_extension("half");
    let run = Command::new(&compiler)
        .args([
            "-static",
            "-O2",
            "-D_GNU_SOURCE=",
            "-U_FORTIFY_SOURCE",
            "-w",
        ])
        .arg(make::joined("-I", tree))
        .arg(make::joined("-I", &tree.join("tools/testing/selftests")))
        .arg(make::joined("-I", folder))
        .args(system(folder.join("usr/include")))
        .args(system(tree.join("tools/include/uapi")))
        .arg(source)
        .args(COMMON.iter().chain(more).map(|file| here.join(file)))
        .args(["-lrt", "-lpthread", "-lm", "-o"])
        .arg(&half)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::Tool {
            tool: compiler.clone(),
            message: e.to_string(),
        })?;
    if !run.status.success() {
        let words = String::from_utf8_lossy(&run.stderr);
        let first = words
            .lines()
            .find(|l| l.contains("error"))
            .unwrap_or(&words);
        return Ok(Err(first.trim().to_owned()));
    }
    fs::rename(&half, output).map_err(Error::io(output))?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mirrors;

    /// A tree whose headers are none and whose programs are one that compiles.
    fn tree(root: &Path) -> PathBuf {
        let tree = root.join("tree");
        fs::create_dir_all(tree.join(FOLDER)).unwrap();
        fs::write(
            tree.join("Makefile"),
            "headers:\n\t@mkdir -p $(O)/usr/include\n",
        )
        .unwrap();
        for file in COMMON {
            fs::write(tree.join(FOLDER).join(file), "").unwrap();
        }
        fs::write(
            tree.join(FOLDER).join("merge.c"),
            "int main(void) { return 0; }\n",
        )
        .unwrap();
        tree
    }

    #[test]
    fn one_that_does_not_compile_is_named_and_the_others_are_built_once() {
        let dir = tempfile::tempdir().unwrap();
        let tree = tree(dir.path());
        let store = Store::open(dir.path(), Mirrors::from_main("http://127.0.0.1:1/debian"));
        let built = || build(&store, &tree, "t", Arch::X86_64, &|_| {}).unwrap();
        let first = built();
        assert_eq!(first.programs.keys().collect::<Vec<_>>(), ["merge"]);
        let guard = first
            .failed
            .iter()
            .find(|(name, _)| name == "guard-regions");
        let why = &guard.unwrap().1;
        assert!(why.contains("guard-regions.c"), "{why}");
        let program = &first.programs["merge"];
        let time = || fs::metadata(program).unwrap().modified().unwrap();
        let before = time();
        built();
        assert_eq!(time(), before);
    }
}
