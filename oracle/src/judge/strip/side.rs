//! Two strips under each other, page under page, with a marker line where they differ.

use super::render::{contents, perms, place, windows, Cell, Cells};
use super::LONGEST_PLAIN_RUN;
use crate::geometry::Geometry;
use crate::judge::SpaceSeen;

/// Longest line that is drawn before it is wrapped, in characters without the label.
const WIDTH: usize = 64;

/// Draws both spaces where there is something to see, `left` above `right`, each line with its name and position, and
/// `^` under what differs: page state, protection, border, or content. Ends with what the pages hold.
pub fn side_by_side(
    (left_name, left): (&str, &SpaceSeen),
    (right_name, right): (&str, &SpaceSeen),
    g: Geometry,
) -> String {
    let width = left_name.len().max(right_name.len());
    let mut text = String::new();
    for (from, to) in windows(&[left, right], g) {
        for row in rows(left, right, from, to) {
            let label = place(row.start, g);
            text += &format!("{label:>7} {left_name:width$} {}\n", row.left.trim_end());
            text += &format!("{:7} {right_name:width$} {}\n", "", row.right.trim_end());
            if row.marks.contains('^') {
                text += &format!("{:7} {:width$} {}\n", "", "", row.marks.trim_end());
            }
        }
    }
    if text.is_empty() {
        return "nothing is mapped\n".into();
    }
    let (a, b) = (contents(left, g), contents(right, g));
    if a == b {
        if !a.is_empty() {
            text += &format!("holds: {a}\n");
        }
    } else {
        let or_nothing = |s: String| if s.is_empty() { "nothing".into() } else { s };
        text += &format!("{left_name:width$} holds: {}\n", or_nothing(a));
        text += &format!("{right_name:width$} holds: {}\n", or_nothing(b));
    }
    text
}

/// Three lines of equal length.
struct Row {
    start: u32,
    left: String,
    right: String,
    marks: String,
}

fn rows(left: &SpaceSeen, right: &SpaceSeen, from: u32, to: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let (mut a, mut b) = (Cells::new(left, from), Cells::new(right, from));
    let mut at = from;
    while at < to {
        (a.at, b.at) = (at, at);
        let (mut ca, mut cb) = (a.next_cell(to), b.next_cell(to));
        let len = ca.len.min(cb.len);
        (ca.len, cb.len) = (len, len);
        let before = |cells: &Cells<'_>| at.checked_sub(1).and_then(|p| cells.vma_start(p));
        let left = column(&ca, at == from, before(&a));
        let right = column(&cb, at == from, before(&b));
        let heads = left.head.len().max(right.head.len());
        let bodies = left.body.len().max(right.body.len());
        let width = heads + bodies;
        let row = match rows.last_mut() {
            Some(row) if row.left.len() + width <= WIDTH => row,
            _ => {
                rows.push(Row {
                    start: at,
                    left: String::new(),
                    right: String::new(),
                    marks: String::new(),
                });
                let last = rows.len() - 1;
                &mut rows[last]
            }
        };
        row.left += &format!("{:heads$}{:bodies$}", left.head, left.body);
        row.right += &format!("{:heads$}{:bodies$}", right.head, right.body);
        let same_page = ca.letter == cb.letter && ca.content() == cb.content();
        row.marks += &mark(heads, left.head != right.head, heads.min(5));
        row.marks += &mark(bodies, !same_page, left.body.trim().len().max(1));
        at += len;
    }
    for (row, last) in rows.iter_mut().rev().take(1).map(|r| (r, to)) {
        let closes = |cells: &Cells<'_>| {
            let inside = last.checked_sub(1).and_then(|p| cells.vma_start(p));
            inside.is_some() && inside != cells.vma_start(last)
        };
        let (l, r) = (closes(&a), closes(&b));
        row.left += if l { "|" } else { " " };
        row.right += if r { "|" } else { " " };
        row.marks += if l != r { "^" } else { " " };
    }
    rows
}

/// Border and protection, and the pages, of one run.
struct Column {
    head: String,
    body: String,
}

fn column(cell: &Cell<'_>, first: bool, before: Option<u32>) -> Column {
    let here = cell.vma.map(|v| v.start);
    let border = here != before;
    let mut head = String::new();
    if border {
        head.push('|');
    } else if first && here.is_some() {
        head.push('<');
    }
    if let Some(vma) = cell.vma.filter(|_| border || first) {
        head += &format!("{} ", perms(vma));
    }
    let sign = cell.letter.sign();
    let body = if cell.len > LONGEST_PLAIN_RUN {
        let parted = if head.is_empty() { " " } else { "" };
        format!("{parted}{sign}*{} ", cell.len)
    } else {
        sign.to_string().repeat(cell.len as usize)
    };
    Column { head, body }
}

/// `width` characters, the first `len` of them `^` when there is a difference.
fn mark(width: usize, differs: bool, len: usize) -> String {
    let carets = if differs { len.min(width) } else { 0 };
    format!("{:width$}", "^".repeat(carets))
}
