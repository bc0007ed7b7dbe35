//! Configuration fragments: what a kernel of one's own is configured with, and whether that stands in the end.

use crate::{Arch, Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Which checks are compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As distributions ship it.
    Base,
    /// With assertions about memory management.
    Debug,
}

impl Flavour {
    /// `base` or `debug`, as the fragment is called.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Base => "base",
            Flavour::Debug => "debug",
        }
    }
}

/// Options by name, with what they must be; `n` is "off or not known".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment(BTreeMap<String, String>);

impl Fragment {
    /// The fragments for an architecture and flavour, from `config/` of the checkout; later ones win.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] with the line that is no setting.
    pub fn load(folder: &Path, arch: Arch, flavour: Flavour) -> Result<Fragment> {
        let mut all = Fragment::default();
        for name in ["common", arch.name(), flavour.name()] {
            let path = folder.join(format!("{name}.config"));
            let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
            all.0.extend(parse(&path.display().to_string(), &text)?.0);
        }
        Ok(all)
    }

    /// The text that the kernel's own configuration tools read.
    pub fn text(&self) -> String {
        let line = |(name, value): (&String, &String)| match value.as_str() {
            "n" => format!("# {name} is not set\n"),
            _ => format!("{name}={value}\n"),
        };
        self.0.iter().map(line).collect()
    }

    /// What the final configuration does not have as wanted, one sentence each: `olddefconfig` drops silently what depends
    /// on something that is off, and turns on what something else selects.
    pub fn unmet(&self, config: &str) -> Vec<String> {
        let found: BTreeMap<&str, &str> = config
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .collect();
        let unmet = |(name, wanted): (&String, &String)| {
            let has = found.get(name.as_str()).copied().unwrap_or("n");
            (has != wanted).then(|| format!("{name} is {has}, wanted {wanted}"))
        };
        self.0.iter().filter_map(unmet).collect()
    }
}

fn parse(file: &str, text: &str) -> Result<Fragment> {
    let mut all = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let setting = line
            .split_once('=')
            .filter(|(name, value)| name.starts_with("CONFIG_") && !value.is_empty());
        let Some((name, value)) = setting else {
            return Err(Error::Format {
                file: format!("{file}, line {}", i + 1),
                message: format!("`{line}` is no CONFIG_NAME=value"),
            });
        };
        if all.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::Format {
                file: format!("{file}, line {}", i + 1),
                message: format!("{name} stands twice"),
            });
        }
    }
    Ok(Fragment(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_and_what_crept_in_is_named() {
        let wanted = parse(
            "f",
            "CONFIG_A=y\nCONFIG_B=n\n# why\nCONFIG_C=4\nCONFIG_D=n\n",
        )
        .unwrap();
        assert_eq!(
            wanted.unmet("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=4\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            wanted.unmet("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=2\n"),
            [
                "CONFIG_A is n, wanted y",
                "CONFIG_B is y, wanted n",
                "CONFIG_C is 2, wanted 4"
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_setting_is_named() {
        let error = parse("f.config", "CONFIG_A=y\nCONFIG_B\n").unwrap_err();
        assert!(error.to_string().contains("f.config, line 2"), "{error}");
        assert!(parse("f.config", "CONFIG_A=y\nCONFIG_A=n\n").is_err());
    }

    #[test]
    fn the_fragments_of_this_checkout_are_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for arch in Arch::ALL {
            let base = Fragment::load(&folder, arch, Flavour::Base).unwrap();
            let debug = Fragment::load(&folder, arch, Flavour::Debug).unwrap();
            assert_ne!(base, debug);
            assert!(debug.text().contains("CONFIG_DEBUG_VM=y\n"));
            assert!(base.text().contains("# CONFIG_DEBUG_VM is not set\n"));
        }
    }
}
