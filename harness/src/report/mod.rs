//! What a campaign leaves behind.
//!
//! | file | subject |
//! | --- | --- |
//! | `folder` | the output folder: who writes which file, and when |
//! | `journal` | results.jsonl: what is through, line by line |
//! | `machines` | the machines that a campaign ran on |
//! | `manifest` | campaign.json: which campaign a folder belongs to |
//! | `merge` | folders of one campaign, put together |
//! | `observed` | observations.csv: kernel against kernel, from what is stored |
//! | `through` | how much of its campaign a folder has |
//! | `matrix` | matrix.csv and the matrix on the terminal |
//! | `divergence` | divergences.csv and the plain-text report of one divergence |
//! | `bucket` | the plain-text report of a bucket over all kernels |
//! | `record` | run.json |
//! | `read` | the folder of a run, read back |
//! | `formats` | KTAP and JUnit |
//! | `picture` | a divergence step by step, to be drawn |
//! | `html` | report.html: the run on one page |
//! | `boundaries` | boundaries.csv: what changed between neighbours |
//! | `tightness` | tightness.csv: how much the oracle commits itself, op by op |
//! | `progress` | what is shown while a campaign runs |
//! | `words` | outcomes and actors in words |

mod boundaries;
mod bucket;
mod divergence;
mod folder;
mod formats;
mod html;
mod journal;
mod machines;
mod manifest;
mod matrix;
mod merge;
mod observed;
mod picture;
mod progress;
mod read;
mod record;
mod through;
mod tightness;
mod words;

pub use boundaries::{boundaries_csv, boundaries_text, BOUNDARY_COLUMNS};
pub use bucket::{BucketReport, KernelPart, RacePart};
pub use divergence::{divergence_row, report_text, Sighting, DIVERGENCE_COLUMNS};
pub use folder::{Folder, Resumed};
pub use formats::{junit, ktap};
pub use html::html_report;
pub use journal::{read_lines, Journal, Line, Sum};
pub use machines::{distinct, Machine};
pub use manifest::{Manifest, ManifestError, Planned, GUEST, MANIFEST, ORACLE};
pub use matrix::{matrix_csv, matrix_table, MATRIX_COLUMNS};
pub use merge::{merge, Merged};
pub use observed::{observations_csv, Observed, OBSERVATION_COLUMNS};
pub use progress::Bars;
pub use read::{Ran, RanError, RanRecord, RanRow, Suspect};
pub use record::{Host, NamedKernel, Record, Usage};
pub use through::{read_blocks, through, Item, Through};
pub use tightness::{tightness_csv, TIGHTNESS_COLUMNS};
pub use words::{command, options, outcome_words, quoted, result_words, wrap, WIDTH};
