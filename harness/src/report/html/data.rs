//! What the page shows, read from the run's folder.

use crate::campaign::Bucket;
use crate::report::picture::{KnownPicture, Picture};
use crate::report::read::{Ran, RanError};
use crate::report::Machine;
use std::collections::{BTreeMap, BTreeSet};

/// Machines that the page names.
const MACHINES: usize = 5;

/// A row of matrix.csv by column.
pub type MatrixRow = BTreeMap<String, String>;

/// A run.
pub struct Page {
    pub ran: Ran,
    /// The machine, QEMU and accelerator in a line.
    /// Each machine in a line.
    pub hosts: Vec<String>,
    pub matrix: Vec<MatrixRow>,
    pub entries: Vec<Entry>,
    /// Known findings that did not happen where they are said to be: the finding, and the kernels.
    pub fixed: Vec<(String, Vec<String>)>,
    pub boundary_columns: Vec<String>,
    pub boundaries: Vec<Vec<String>>,
}

/// A bucket, or a known finding that was met.
pub struct Entry {
    pub id: String,
    pub title: String,
    /// `new` or `known`.
    pub kind: &'static str,
    pub archs: Vec<String>,
    pub kernels: Vec<String>,
    pub ops: Vec<String>,
    /// On which kernels, in how many programs.
    pub seen: Vec<String>,
    /// The first of its divergences.
    pub picture: Option<Picture>,
    /// What is said besides: paragraphs.
    pub notes: Vec<String>,
}

impl Page {
    /// # Errors
    /// A file is missing or of another version.
    pub fn of(ran: Ran) -> Result<Page, RanError> {
        // A run that was killed early has not come to its tables.
        let table = |name: &str| -> Result<(Vec<String>, Vec<Vec<String>>), RanError> {
            let path = ran.folder.join(name);
            if !path.exists() {
                return Ok((Vec::new(), Vec::new()));
            }
            let said = |e: csv::Error| ran.wrong(name, &e.to_string());
            let mut reader = csv::Reader::from_path(path).map_err(said)?;
            let mut lines = Vec::new();
            let columns = reader.headers().map_err(said)?.iter().map(String::from);
            let columns = columns.collect();
            for line in reader.records() {
                lines.push(line.map_err(said)?.iter().map(String::from).collect());
            }
            Ok((columns, lines))
        };
        let (columns, lines) = table("matrix.csv")?;
        let row = |line: Vec<String>| columns.iter().cloned().zip(line).collect();
        let matrix = lines.into_iter().map(row).collect();
        let (boundary_columns, boundaries) = table("boundaries.csv")?;
        let record = &ran.record;
        let qemu = record
            .versions
            .iter()
            .filter(|(name, _)| name.starts_with("qemu"));
        let qemu: BTreeSet<&str> = qemu.map(|(_, version)| version.as_str()).collect();
        let qemu: Vec<&str> = qemu.into_iter().collect();
        let host = &record.host;
        let host = format!(
            "{}, {} cores, {} MiB, {}, Linux {}; {} (--accel {})",
            host.cpu,
            host.cores,
            host.memory_mib,
            host.os,
            host.kernel,
            qemu.join(", "),
            record.accel
        );
        let mut hosts = vec![host];
        // Of a run that was shared out.
        if record.machines.len() > 1 {
            let told = record.machines.iter().take(MACHINES);
            hosts = told.map(Machine::text).collect();
            let more = record.machines.len() - hosts.len();
            hosts.extend((more > 0).then(|| format!("and {more} more machines (run.json)")));
        }
        let mut entries = new(&ran)?;
        entries.extend(known(&ran)?);
        Ok(Page {
            fixed: fixed(&ran),
            hosts,
            matrix,
            entries,
            boundary_columns,
            boundaries,
            ran,
        })
    }

    /// Programs of all kernels that were through.
    pub fn programs(&self) -> u64 {
        self.ran.rows.iter().map(|row| row.programs).sum()
    }

    pub fn new_buckets(&self) -> usize {
        self.entries.iter().filter(|e| e.kind == "new").count()
    }

    pub fn known_findings(&self) -> usize {
        self.entries.len() - self.new_buckets()
    }

    /// All that a filter can choose, sorted.
    pub fn values(&self, of: impl Fn(&Entry) -> &Vec<String>) -> Vec<&str> {
        let all = self.entries.iter().flat_map(|entry| of(entry).iter());
        let all: BTreeSet<&str> = all.map(String::as_str).collect();
        all.into_iter().collect()
    }
}

/// The buckets, in the order in which they were met, each with the picture of its first divergence.
fn new(ran: &Ran) -> Result<Vec<Entry>, RanError> {
    let mut buckets: Vec<&Bucket> = Vec::new();
    for suspect in &ran.suspects {
        if !buckets.contains(&&suspect.bucket) {
            buckets.push(&suspect.bucket);
        }
    }
    let mut entries = Vec::new();
    for bucket in buckets {
        let mine = || ran.suspects.iter().filter(|s| s.bucket == *bucket);
        let Some(first) = mine().next() else { continue };
        let name = format!("divergences/{}.json", first.id);
        let path = ran.folder.join(&name);
        let picture = match std::fs::read_to_string(path) {
            Ok(text) => {
                Some(serde_json::from_str(&text).map_err(|e| ran.wrong(&name, &e.to_string()))?)
            }
            Err(_) => None,
        };
        let places: BTreeSet<(&str, &str, &str)> = mine()
            .map(|s| (s.kernel.as_str(), s.arch.as_str(), s.release.as_str()))
            .collect();
        let seen =
            places.iter().map(
                |(kernel, arch, release)| match ran.count(kernel, arch, bucket) {
                    Some((hits, programs)) => {
                        format!("{arch} {release}: {hits} of {programs} programs")
                    }
                    None => format!("{arch} {release}"),
                },
            );
        entries.push(Entry {
            id: bucket.id(),
            title: bucket.to_string(),
            kind: "new",
            archs: set(places.iter().map(|p| p.1)),
            kernels: set(places.iter().map(|p| p.0)),
            ops: vec![bucket.op.clone()],
            seen: seen.collect(),
            notes: match picture {
                None => vec![format!("{name} is not there: the steps cannot be drawn.")],
                Some(_) => Vec::new(),
            },
            picture,
        });
    }
    Ok(entries)
}

/// The known findings that were met, each with a picture of it.
fn known(ran: &Ran) -> Result<Vec<Entry>, RanError> {
    let rows = &ran.rows;
    let ids: BTreeSet<&String> = rows.iter().flat_map(|row| row.known_met.keys()).collect();
    let entry = |id: &String| {
        let met = || rows.iter().filter(|row| row.known_met.contains_key(id));
        let seen = met().map(|row| {
            let programs = row.known_met[id];
            format!("{} {}: {programs} programs", row.arch, row.kernel)
        });
        let name = format!("known/{id}.json");
        let drawn: Option<KnownPicture> = match std::fs::read_to_string(ran.folder.join(&name)) {
            Ok(text) => {
                Some(serde_json::from_str(&text).map_err(|e| ran.wrong(&name, &e.to_string()))?)
            }
            Err(_) => None,
        };
        let mut notes = vec![format!(
            "Known: corpus/findings/known.toml has `{id}`, docs/findings.md explains it."
        )];
        let mut title = id.clone();
        match &drawn {
            Some(known) => {
                title += &format!(" ({})", known.status.name());
                let link = known.link.iter().map(|link| format!("See: {link}"));
                notes.extend(link);
                let same = known.same_as.iter();
                notes.extend(same.map(|other| format!("The same cause as {other}.")));
                notes.push(known.reasoning.clone());
                notes.push(format!("Known from: {}", known.source));
            }
            None => notes.push(format!("{name} is not there: the steps cannot be drawn.")),
        }
        let picture = drawn.map(|known| known.picture);
        Ok(Entry {
            id: format!("known-{id}"),
            title,
            kind: "known",
            archs: set(met().map(|row| row.arch.as_str())),
            kernels: set(met().map(|row| row.kernel.as_str())),
            ops: picture.iter().map(|p| p.bucket.op.clone()).collect(),
            seen: seen.collect(),
            picture,
            notes,
        })
    };
    ids.into_iter().map(entry).collect()
}

/// The known findings that kernels were found not to have any more, by the finding.
fn fixed(ran: &Ran) -> Vec<(String, Vec<String>)> {
    let mut fixed: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for end in &ran.record.ends {
        for id in &end.fixed {
            let name = format!("{} {}", end.arch, end.release);
            fixed.entry(id).or_default().push(name);
        }
    }
    let owned = |(id, kernels): (&String, Vec<String>)| (id.clone(), kernels);
    fixed.into_iter().map(owned).collect()
}

fn set<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let words: BTreeSet<&str> = words.collect();
    words.into_iter().map(String::from).collect()
}
