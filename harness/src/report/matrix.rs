//! matrix.csv: one row per kernel; and the same on a terminal.

use crate::campaign::RowResult;

/// Columns of matrix.csv.
pub const MATRIX_COLUMNS: [&str; 21] = [
    "kernel",
    "release",
    "arch",
    "page_size",
    "accel",
    "programs",
    "ops",
    "agree",
    "allowed",
    "divergences",
    "known",
    "buckets",
    "poisoned",
    "skipped",
    "hangs",
    "crashes",
    "infra_errors",
    "tightness",
    "boot_seconds",
    "seconds",
    "programs_per_second",
];

fn record(row: &RowResult) -> [String; 21] {
    let t = &row.tally;
    [
        row.kernel.clone(),
        row.release.clone(),
        row.arch.clone(),
        row.page_size.to_string(),
        row.accel.clone(),
        t.programs.to_string(),
        t.ops.to_string(),
        t.agree.to_string(),
        t.allowed.to_string(),
        t.divergences.to_string(),
        t.known.to_string(),
        row.buckets.len().to_string(),
        t.poisoned.to_string(),
        t.skipped.to_string(),
        t.hangs.to_string(),
        t.crashes.to_string(),
        t.infra_errors.to_string(),
        t.tightness.text(),
        format!("{:.2}", row.boot_seconds),
        format!("{:.1}", row.seconds),
        format!("{:.1}", row.rate()),
    ]
}

/// The whole file.
///
/// # Errors
/// Never for well-formed rows; what the csv writer reports.
pub fn matrix_csv(rows: &[RowResult]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(MATRIX_COLUMNS)?;
    for row in rows {
        writer.write_record(record(row))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// The matrix for a terminal. A kernel that was not run says why.
pub fn matrix_table(rows: &[RowResult]) -> String {
    let heads = [
        "kernel", "arch", "page", "programs", "ops", "allowed", "new", "known", "poison", "skip",
        "hang", "crash", "infra", "tight", "boot s", "run s", "prog/s",
    ];
    let mut lines: Vec<Vec<String>> = vec![heads.iter().map(|h| h.to_string()).collect()];
    let mut notes = String::new();
    for row in rows {
        if let Some(why) = &row.skipped_because {
            notes += &format!("{} {}: skipped: {why}\n", row.kernel, row.arch);
            continue;
        }
        for error in row.errors.iter().take(3) {
            notes += &format!("{} {}: {error}\n", row.kernel, row.arch);
        }
        let r = record(row);
        lines.push(vec![
            if r[1].is_empty() {
                r[0].clone()
            } else {
                r[1].clone()
            },
            r[2].clone(),
            format!("{}K", row.page_size / 1024),
            r[5].clone(),
            r[6].clone(),
            r[8].clone(),
            r[9].clone(),
            r[10].clone(),
            r[12].clone(),
            r[13].clone(),
            r[14].clone(),
            r[15].clone(),
            r[16].clone(),
            r[17].clone(),
            r[18].clone(),
            r[19].clone(),
            r[20].clone(),
        ]);
    }
    let widths: Vec<usize> = (0..heads.len())
        .map(|i| lines.iter().map(|l| l[i].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        for (i, cell) in line.iter().enumerate() {
            // Names to the left, numbers to the right.
            if i < 2 {
                text += &format!("{cell:<width$}  ", width = widths[i]);
            } else {
                text += &format!("{cell:>width$}  ", width = widths[i]);
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text + &notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Tally;

    #[test]
    fn the_header_is_the_documented_one() {
        let header = String::from_utf8(matrix_csv(&[]).unwrap()).unwrap();
        assert_eq!(
            header,
            "kernel,release,arch,page_size,accel,programs,ops,agree,allowed,divergences,known,buckets,poisoned,skipped,\
             hangs,crashes,infra_errors,tightness,boot_seconds,seconds,programs_per_second\n"
        );
    }

    #[test]
    fn tightness_is_never_rounded_up() {
        let mut tally = Tally::default();
        tally.tightness.values = 100_000;
        tally.tightness.exact = 99_999;
        let row = RowResult {
            tally,
            ..RowResult::default()
        };
        assert_eq!(record(&row)[17], "0.9999");
    }

    #[test]
    fn a_skipped_kernel_says_why() {
        let row = RowResult {
            kernel: "6.13".into(),
            arch: "x86_64".into(),
            skipped_because: Some("no longer on the mirror".into()),
            ..RowResult::default()
        };
        let table = matrix_table(&[row]);
        assert!(table.ends_with("6.13 x86_64: skipped: no longer on the mirror\n"));
    }
}
