//! From a kernel tree to one with the bugs in it.

use super::edit::{self, Patch};
use super::{Mutant, PARAMETER, REACHED, TRIGGERED};
use crate::{files, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names the files of a tree that are not the original's.
const EDITED: &str = ".mmdiff-edited";

/// What was planted.
#[derive(Debug)]
pub struct Planted {
    /// The tree with the bugs.
    pub tree: PathBuf,
    /// Those that are in it.
    pub names: Vec<String>,
    /// Those that do not apply to this tree, with the place and the reason.
    pub failed: Vec<(String, String)>,
}

/// Makes (or brings up to date) `target`, which is `tree` with `mutants` in it. Files that are not touched are links to the
/// original's; files that come out the same are left alone, so that little is built anew.
///
/// # Errors
/// [`Error::Io`]. A mutant that does not apply is no error: see [`Planted::failed`].
pub fn plant(tree: &Path, target: &Path, mutants: &[Mutant]) -> Result<Planted> {
    if !target.join(EDITED).exists() {
        if target.exists() {
            fs::remove_dir_all(target).map_err(Error::io(target))?;
        }
        link_all(tree, target)?;
        files::write_atomically(&target.join(EDITED), b"")?;
    }
    let (patches, names, failed) = locate(tree, mutants);
    let mut edited: BTreeMap<String, String> = BTreeMap::new();
    for (file, patches) in &patches {
        let text = read(tree, file)?;
        let includes = "#include <linux/mmdiff.h>\n";
        edited.insert(
            file.clone(),
            includes.to_owned() + &edit::apply(&text, patches),
        );
    }
    let own = |name: &&Mutant| names.contains(&name.name);
    edited.insert(
        "include/linux/mmdiff.h".into(),
        header(mutants.iter().filter(own)),
    );
    edited.insert("mm/mmdiff.c".into(), switch());
    let makefile = read(tree, "mm/Makefile")? + "\nobj-y += mmdiff.o\n";
    edited.insert("mm/Makefile".into(), makefile);

    let before = read(target, EDITED)?;
    let before: BTreeSet<&str> = before.lines().collect();
    for file in before.iter().filter(|file| !edited.contains_key(**file)) {
        restore(tree, target, file)?;
    }
    // First the list: what is written after it is known even if this is interrupted.
    let list: BTreeSet<&str> = edited.keys().map(String::as_str).collect();
    let all: Vec<&str> = list.union(&before).copied().collect();
    files::write_atomically(&target.join(EDITED), all.join("\n").as_bytes())?;
    for (file, text) in &edited {
        let path = target.join(file);
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            files::write_atomically(&path, text.as_bytes())?;
        }
    }
    let list: Vec<&str> = list.into_iter().collect();
    files::write_atomically(&target.join(EDITED), list.join("\n").as_bytes())?;
    Ok(Planted {
        tree: target.to_owned(),
        names,
        failed,
    })
}

type Located = (
    BTreeMap<String, Vec<Patch>>,
    Vec<String>,
    Vec<(String, String)>,
);

/// Finds the places of all edits. A mutant with one that is not found, or that is in the way of another mutant, is left out
/// whole.
fn locate(tree: &Path, mutants: &[Mutant]) -> Located {
    let mut patches: BTreeMap<String, Vec<Patch>> = BTreeMap::new();
    let (mut names, mut failed) = (Vec::new(), Vec::new());
    for mutant in mutants {
        let constant = mutant.constant();
        let found: std::result::Result<Vec<(String, Patch)>, String> = mutant
            .edits
            .iter()
            .map(|edit| {
                let text = read(tree, &edit.file).map_err(|e| e.to_string())?;
                let patch = edit.locate(&text, &constant)?;
                let others = patches.get(&edit.file).into_iter().flatten();
                if others.into_iter().any(|other| edit::overlap(other, &patch)) {
                    return Err(format!(
                        "{}:{}: another mutant changes the same text",
                        edit.file,
                        edit::line_of(&text, patch.start)
                    ));
                }
                Ok((edit.file.clone(), patch))
            })
            .collect();
        match found {
            Ok(found) => {
                names.push(mutant.name.clone());
                for (file, patch) in found {
                    patches.entry(file).or_default().push(patch);
                }
            }
            Err(why) => failed.push((mutant.name.clone(), why)),
        }
    }
    (patches, names, failed)
}

fn header<'a>(mutants: impl Iterator<Item = &'a Mutant>) -> String {
    let (constants, names): (Vec<String>, Vec<String>) = mutants
        .map(|m| {
            (
                format!("\t{},\n", m.constant()),
                format!("\t\"{}\",\n", m.name),
            )
        })
        .unzip();
    include_str!("../../mutants/mmdiff.h")
        .replace("/*CONSTANTS*/\n", &constants.concat())
        .replace("/*NAMES*/\n", &names.concat().replace(",\n", ", \\\n"))
}

fn switch() -> String {
    include_str!("../../mutants/mmdiff.c")
        .replace("@PARAMETER@", PARAMETER)
        .replace("@REACHED@", REACHED)
        .replace("@TRIGGERED@", TRIGGERED)
}

fn read(tree: &Path, file: &str) -> Result<String> {
    let path = tree.join(file);
    fs::read_to_string(&path).map_err(Error::io(path))
}

/// Puts the original's file back, or removes what the original has not.
fn restore(tree: &Path, target: &Path, file: &str) -> Result<()> {
    let path = target.join(file);
    if path.exists() {
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    let original = tree.join(file);
    if original.exists() {
        fs::hard_link(&original, &path).map_err(Error::io(&path))?;
    }
    Ok(())
}

/// A tree of links to the files of another one.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let entry = entry.map_err(Error::io(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::io(&path))?.is_dir() {
            link_all(&path, &target)?;
        } else {
            fs::hard_link(&path, &target).map_err(Error::io(&target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(name: &str, find: &str) -> Mutant {
        let text = format!(
            "group = 'install'\nwhat = ''\nseen = ''\nrules = ['r']\nprogram = ''\n\
             [[edit]]\nfile = 'mm/a.c'\nfunction = 'f'\nfind = '{find}'\ninstead = '!BUG'\n"
        );
        super::super::parse("x.toml", name, &text).unwrap()
    }

    #[test]
    fn one_that_does_not_apply_leaves_the_others_and_the_original_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, target) = (dir.path().join("tree"), dir.path().join("target"));
        fs::create_dir_all(tree.join("mm")).unwrap();
        fs::create_dir_all(tree.join("include/linux")).unwrap();
        let original = "int f(void)\n{\n\treturn g(1) + h(2);\n}\n";
        fs::write(tree.join("mm/a.c"), original).unwrap();
        fs::write(tree.join("mm/Makefile"), "obj-y := a.o\n").unwrap();
        let all = [
            mutant("one", "g(1)"),
            mutant("gone", "k(1)"),
            mutant("same", "g("),
            mutant("two", "h(2)"),
        ];
        let planted = plant(&tree, &target, &all).unwrap();
        assert_eq!(planted.names, ["one", "two"]);
        assert!(planted.failed[0].1.contains("mm/a.c:1"), "{planted:?}");
        assert!(planted.failed[1].1.contains("mm/a.c:3"), "{planted:?}");
        let text = fs::read_to_string(target.join("mm/a.c")).unwrap();
        assert!(
            text.contains(
                "!mmdiff_planted_if(MMDIFF_ONE, true) + !mmdiff_planted_if(MMDIFF_TWO, true)"
            ),
            "{text}"
        );
        let header = fs::read_to_string(target.join("include/linux/mmdiff.h")).unwrap();
        assert!(
            header.contains("\tMMDIFF_ONE,\n\tMMDIFF_TWO,\n"),
            "{header}"
        );
        assert_eq!(fs::read_to_string(tree.join("mm/a.c")).unwrap(), original);

        // Taken away again, the file is the original's.
        assert_eq!(plant(&tree, &target, &[]).unwrap().names, [""; 0]);
        assert_eq!(fs::read_to_string(target.join("mm/a.c")).unwrap(), original);
    }
}
