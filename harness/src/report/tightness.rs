//! tightness.csv: how much the oracle commits itself, kernel by kernel and op by op.

use crate::campaign::RowResult;

/// Columns of tightness.csv. `values` were observed, for `exact` of them the oracle allowed one only; `tightness` is the share.
pub const TIGHTNESS_COLUMNS: [&str; 7] = [
    "kernel",
    "arch",
    "op",
    "ops",
    "values",
    "exact",
    "tightness",
];

/// The whole file.
///
/// # Errors
/// Never for well-formed rows; what the csv writer reports.
pub fn tightness_csv(rows: &[RowResult]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(TIGHTNESS_COLUMNS)?;
    for row in rows {
        for (op, line) in row.by_op.iter() {
            writer.write_record([
                &row.kernel,
                &row.arch,
                op,
                &line.ops.to_string(),
                &line.tightness.values.to_string(),
                &line.tightness.exact.to_string(),
                &line.tightness.text(),
            ])?;
        }
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_op_of_each_kernel() {
        let mut row = RowResult {
            kernel: "7.3".into(),
            arch: "aarch64".into(),
            ..RowResult::default()
        };
        let line = row.by_op.line("free");
        line.ops = 2;
        line.tightness.values = 3;
        line.tightness.exact = 2;
        row.by_op.line("exit").ops = 1;
        let text = String::from_utf8(tightness_csv(&[row]).unwrap()).unwrap();
        assert_eq!(
            text,
            "kernel,arch,op,ops,values,exact,tightness\n7.3,aarch64,exit,1,0,0,1.0000\n7.3,aarch64,free,2,3,2,0.6666\n"
        );
    }
}
