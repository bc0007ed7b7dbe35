//! Bugs to plant into a kernel: one file each in `mutants/`, all compiled into one kernel, one chosen at boot.

pub mod edit;
mod plant;

pub use plant::{plant, Planted};

use crate::{Error, Result};
use edit::Edit;
use serde::Deserialize;
use std::path::Path;

/// Where a checkout keeps them.
pub const FOLDER: &str = "vm-images/mutants";

/// The kernel parameter that chooses one.
pub const PARAMETER: &str = "mmdiff.bug";

/// What the kernel says on its console when the code of the chosen bug has run for the first time.
pub const REACHED: &str = "mmdiff: planted bug reached";

/// What it says when that code has, for the first time, done something else than the code without the bug would have.
pub const TRIGGERED: &str = "mmdiff: planted bug triggered";

/// The groups, in the order of tables.
pub const GROUPS: [&str; 9] = [
    "install", "remove", "access", "fork", "protect", "advice", "vma", "report", "move",
];

/// One bug to plant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// The file's name without `.toml`; also the parameter's value.
    #[serde(skip)]
    pub name: String,
    /// One of [`GROUPS`].
    pub group: String,
    /// Only threads that run at once show it: `program` has a section of them.
    #[serde(default)]
    pub race: bool,
    /// What a developer might really get wrong.
    pub what: String,
    /// What a user of the kernel would see.
    pub seen: String,
    /// Rules of the rule book that it breaks; a report that names one of them names the right one.
    pub rules: Vec<String>,
    /// The fix in the history of the kernel that it undoes, or the draft that it follows, where there is one.
    #[serde(default)]
    pub modelled_on: Option<String>,
    /// A program that tells the kernel with it from the one without, as a path in the checkout.
    pub program: String,
    /// The changes.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

impl Mutant {
    /// Its name in C.
    pub fn constant(&self) -> String {
        format!("MMDIFF_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// All of a folder, by group and name.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] with the file that is none.
pub fn load(folder: &Path) -> Result<Vec<Mutant>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        all.push(parse(&path.display().to_string(), &name, &text)?);
    }
    let group = |m: &Mutant| GROUPS.iter().position(|g| *g == m.group);
    all.sort_by(|a, b| (group(a), &a.name).cmp(&(group(b), &b.name)));
    Ok(all)
}

fn parse(file: &str, name: &str, text: &str) -> Result<Mutant> {
    let bad = |message: String| Error::Format {
        file: file.to_owned(),
        message,
    };
    let mut mutant: Mutant = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
    mutant.name = name.to_owned();
    if !GROUPS.contains(&mutant.group.as_str()) {
        return Err(bad(format!(
            "group `{}` is none of {}",
            mutant.group,
            GROUPS.join(", ")
        )));
    }
    if mutant.rules.is_empty() || mutant.edits.is_empty() {
        return Err(bad("it needs at least one rule and one edit".into()));
    }
    Ok(mutant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mutants_of_this_checkout_are_whole() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let rules = std::fs::read_to_string(checkout.join("docs/rules.md")).unwrap();
        let all = load(&checkout.join(FOLDER)).unwrap();
        assert!(all.len() >= 10);
        for mutant in &all {
            assert!(checkout.join(&mutant.program).exists(), "{mutant:?}");
            for rule in &mutant.rules {
                let heading = format!("### {rule}\n");
                assert!(rules.contains(&heading), "{}: no rule {rule}", mutant.name);
            }
        }
    }

    #[test]
    fn a_file_that_is_no_mutant_is_named() {
        let error = |text: &str| parse("m/x.toml", "x", text).unwrap_err().to_string();
        assert!(error("group = 1").contains("m/x.toml"));
        let text =
            "group = 'none'\nwhat = ''\nseen = ''\nrules = ['r']\nprogram = 'p'\nedit = []\n";
        assert!(error(text).contains("group `none`"));
        assert!(error(&text.replace("'none'", "'fork'")).contains("one edit"));
    }
}
