//! The log: an ordered list of opaque records, and one sequencer above it that keeps the promises.
//!
//! Promises, each a test in `tests/it/log_contract.rs` that every engine passes:
//! 1. An append is all or none.
//! 2. A stale expected version or guard is a conflict.
//! 3. Versions and positions have no gaps.
//! 4. A reader never sees position n before n - 1 is there for ever.
//! 5. `recorded_at` never decreases.
//! 6. A taken claim is refused, and nothing is written.
//! 7. The same command id gives the first answer again; a different request under it is refused.
//! 8. An acknowledged append survives a crash.
//! 9. *Refused* means that nothing was written; *unknown* is said as unknown.

mod audit;
mod block;
mod chain;
pub mod copies;
mod doubled;
mod fallback;
mod index;
mod key_set;
mod memory;
mod prover;
mod queue;
mod rows;
pub mod segment;
mod sequencer;
mod sqlite;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

pub use audit::{Audit, Bad, Told, Whole, audit};
pub use chain::{Broken, Chain};
pub use copies::{Checkpoint, Repair};
pub use doubled::DoubledLog;
pub use fallback::Fallback;
pub use index::{Command, Index, Stream};
pub use key_set::KeySet;
pub use memory::{Fault, MemoryLog};
pub use prover::{Begun, Prover};
pub use segment::{SegmentLog, Signer};
pub use sequencer::{Appended, Place, Sequencer, Submission, SubmitError, Subscriber};
pub use sqlite::{Options, SqliteLog, Synchronous};

use crate::kernel::{Moment, Position};
use crate::seal::Record;

/// The most records of one block.
pub const MAX_BLOCK_RECORDS: usize = 4096;
/// The most bytes of one block.
pub const MAX_BLOCK_BYTES: usize = 512 * 1024;
/// How many submissions may wait; one more is shed.
pub const MAX_QUEUE: usize = 4096;

/// A boxed future, as an engine's methods give.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a block was not, or may not have been, appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another block stands right after `head`; nothing was written.
    #[error("the log has moved on")]
    HeadMoved,
    /// Nothing was written.
    #[error("the log refused the block: {0}")]
    Refused(String),
    /// It may still appear right after `head`, and nowhere else.
    #[error("it is unknown whether the block was written: {0}")]
    Unknown(String),
}

/// The log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The engine failed.
    #[error("the log cannot be read: {0}")]
    Engine(String),
    /// A record is not what was written.
    #[error("the log is damaged at position {position}: {cause}")]
    Damaged {
        /// Where.
        position: Position,
        /// What is wrong.
        cause: String,
    },
}

/// A list of records in one total order. Knows nothing of streams, keys or contents.
pub trait EventLog: Send + Sync {
    /// Appends `block` right after `head` (records carry their positions), all or nothing, on stable storage when it returns `Ok`.
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>>;
    /// The records after `after`, oldest first, at most `limit`; never position n before n - 1 is there for ever.
    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>>;
    /// The records at or before `from`, newest first, at most `limit`.
    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>>;
    /// The records at exactly these positions, in their order; positions without a record are left out.
    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>>;
    /// The last position recorded strictly before `instant`; 0 for none.
    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>>;
    /// The last position, and a wake-up when it grows.
    fn head(&self) -> watch::Receiver<Position>;
    /// What is wrong with it although it answers, for health: one of its copies cannot be written, say.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// What an engine does beside its appends, told the time now and then.
    fn tend(&self, _now: Moment) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// How many records from the front make one block of whole groups of one epoch.
fn whole_block(records: &[Record]) -> usize {
    let (mut bytes, mut whole) = (0, 0);
    let epoch = records.first().map(|first| first.header().epoch);
    for (record, count) in records.iter().zip(1..) {
        bytes += record.bytes().len();
        if count > MAX_BLOCK_RECORDS || bytes > MAX_BLOCK_BYTES || Some(record.header().epoch) != epoch {
            break;
        }
        if record.header().group.ends() {
            whole = count;
        }
    }
    whole
}
