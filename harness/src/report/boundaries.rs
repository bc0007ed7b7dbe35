//! boundaries.csv: what changed from each kernel to the next one, and which behaviours of the table explain it.

use crate::campaign::{Bucket, RowResult};

/// Columns of boundaries.csv. `bucket` says what the kernel `from` would have done, and what `to` did; `explained` names the rows of
/// the table of behaviours, or says `no`.
pub const BOUNDARY_COLUMNS: [&str; 7] = [
    "from",
    "to",
    "arch",
    "bucket",
    "rule",
    "first_program",
    "explained",
];

/// One line: a class of differences between two neighbours.
struct Line<'a> {
    to: &'a RowResult,
    from: &'a str,
    bucket: &'a Bucket,
    first_program: &'a str,
    /// Rows of the table; empty: unexplained.
    rows: &'a [String],
}

/// The whole file. Divergences that one of two neighbours has and the other has not are in it as unexplained.
///
/// # Errors
/// Never for well-formed rows; what the csv writer reports.
pub fn boundaries_csv(rows: &[RowResult]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(BOUNDARY_COLUMNS)?;
    for line in rows.iter().flat_map(|row| lines(row, rows)) {
        let explained = match line.rows {
            [] => "no".to_string(),
            names => names.join("+"),
        };
        writer.write_record([
            line.from,
            &line.to.release,
            &line.to.arch,
            &line.bucket.to_string(),
            &line.bucket.rule,
            line.first_program,
            &explained,
        ])?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// For a terminal: a line per boundary at which something changed, with the behaviours that changed; empty when nothing did.
pub fn boundaries_text(rows: &[RowResult]) -> String {
    let mut text = String::new();
    for row in rows {
        let lines = lines(row, rows);
        let Some(first) = lines.first() else {
            continue;
        };
        let mut names: Vec<&str> = lines
            .iter()
            .flat_map(|l| l.rows.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        let unexplained = lines.iter().filter(|line| line.rows.is_empty()).count();
        text += &format!(
            "{} -> {} {}: {}",
            first.from,
            row.release,
            row.arch,
            names.join(", ")
        );
        if unexplained > 0 {
            text += &format!("; {unexplained} differences that nothing explains");
        }
        text.push('\n');
    }
    text
}

fn lines<'a>(to: &'a RowResult, rows: &'a [RowResult]) -> Vec<Line<'a>> {
    let Some(before) = to.before.as_deref() else {
        return Vec::new();
    };
    let mut lines: Vec<Line<'_>> = to
        .changes
        .iter()
        .map(|change| Line {
            to,
            from: before,
            bucket: &change.bucket,
            first_program: &change.first_program,
            rows: &change.rows,
        })
        .collect();
    let from = rows
        .iter()
        .find(|row| row.release == before && row.arch == to.arch);
    let Some(from) = from else {
        return lines;
    };
    let has = |row: &RowResult, bucket: &Bucket| row.buckets.iter().any(|(b, _)| b == bucket);
    for (one, other) in [(to, from), (from, to)] {
        for (bucket, _) in one.buckets.iter().filter(|(b, _)| !has(other, b)) {
            lines.push(Line {
                to,
                from: before,
                bucket,
                first_program: one.first_programs.get(bucket).map_or("", String::as_str),
                rows: &[],
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Change;

    fn bucket(observed: &str) -> Bucket {
        Bucket {
            op: "guard-install".into(),
            rule: "guard/install/maybe-guard".into(),
            expected: "no-gu".into(),
            observed: observed.into(),
        }
    }

    fn row(release: &str, before: Option<&str>) -> RowResult {
        RowResult {
            release: release.into(),
            arch: "x86_64".into(),
            before: before.map(str::to_string),
            ..RowResult::default()
        }
    }

    #[test]
    fn differences_are_listed_with_what_explains_them() {
        let old = row("6.18.15", None);
        let mut new = row("6.19.14", Some("6.18.15"));
        new.changes.push(Change {
            bucket: bucket("gu"),
            rows: vec!["maybe_guard".into()],
            first_program: "1/0/3".into(),
            programs: 7,
        });
        new.buckets.push((bucket("xx"), 2));
        new.first_programs.insert(bucket("xx"), "1/2/9".into());
        let rows = [old, new];
        let csv = String::from_utf8(boundaries_csv(&rows).unwrap()).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines,
            [
                "from,to,arch,bucket,rule,first_program,explained",
                "6.18.15,6.19.14,x86_64,guard-install: guard/install/maybe-guard: no-gu -> gu,guard/install/maybe-guard,1/0/3,maybe_guard",
                "6.18.15,6.19.14,x86_64,guard-install: guard/install/maybe-guard: no-gu -> xx,guard/install/maybe-guard,1/2/9,no",
            ]
        );
        assert_eq!(
            boundaries_text(&rows),
            "6.18.15 -> 6.19.14 x86_64: maybe_guard; 1 differences that nothing explains\n"
        );
    }

    /// What both neighbours have is no difference between them; what only the older one has is one.
    #[test]
    fn divergences_of_both_do_not_part_them() {
        let mut old = row("7.2.12", None);
        let mut new = row("7.3.4", Some("7.2.12"));
        old.buckets.push((bucket("aa"), 1));
        new.buckets.push((bucket("aa"), 1));
        assert_eq!(boundaries_text(&[old.clone(), new.clone()]), "");
        old.buckets.push((bucket("bb"), 1));
        let text = boundaries_text(&[old, new]);
        assert!(text.contains("1 differences"), "{text}");
    }
}
