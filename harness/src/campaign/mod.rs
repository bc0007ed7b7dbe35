//! Campaigns: kernels x seed blocks, judged.
//!
//! | file | subject |
//! | --- | --- |
//! | `run` | the whole: settings, rows (kernels), lanes (VMs side by side) |
//! | `row` | one kernel's part: its blocks, its counts, its profile |
//! | `item` | blocks, places of programs, shards: what a campaign is cut into |
//! | `block` | what a block came to, and the sum of blocks |
//! | `results` | what comes of it, where it goes, who looks on |
//! | `lane` | one VM's loop: keep batches in flight, judge what comes back, replace what dies |
//! | `feed` | which programs run: corpus and generated blocks, made once for all kernels |
//! | `judge` | from an execution to a verdict on the program |
//! | `story` | what a report needs to know about a suspect |
//! | `confirm` | re-runs of what looks wrong |
//! | `boundary` | what differs between two kernels, and which behaviours explain it |
//! | `probed` | what each kernel of a campaign was found to have |
//! | `pair` | two kernels on the same programs |
//! | `known` | divergences that are understood (corpus/findings/known.toml) |
//! | `needs`, `smaps` | what a program needs; when VmFlags are read |
//! | `tally`, `bucket`, `cpu` | counts, buckets, CPU time |

mod block;
mod boundary;
mod bucket;
mod confirm;
mod cpu;
mod feed;
mod item;
mod judge;
mod known;
mod lane;
mod needs;
mod pair;
mod piece;
mod probed;
mod results;
mod row;
mod run;
pub mod smaps;
mod story;
mod tally;

pub use block::{
    observation_digest, BlockResult, Booted, ChangeKey, Earlier, Met, Standing, Suspect, EXAMPLES,
};
pub use boundary::{differences, Change, Difference};
pub use bucket::{divergence_id, Bucket};
pub use cpu::CpuAccount;
pub use feed::{
    load_concurrent_corpus, load_concurrent_program, load_corpus, load_program, program_seed,
    CorpusError, CorpusProgram, Feed, Programs, BLOCK,
};
pub use item::{Block, Place, Shard};
pub(crate) use judge::failed_expectation;
pub use judge::{judge, outlived, walk, Judged, ProgramVerdict, StepView};
pub use known::{Finding, Known, KnownError, Status};
pub use needs::{lacks, suited};
pub use pair::{compare, PairError, PairResult, PairSettings, Pairing, Unexplained};
pub use piece::{piece_of, pieces, Piece};
pub use results::{Discard, Listener, Progress, Quiet, Reported, RowResult, Sink, Summary};
pub use run::{before, run, seed_of, Amount, CampaignError, Notice, Part, Settings};
pub use story::{death_story, promise_story, Kind, Story, PROMISE};
pub use tally::Tally;
