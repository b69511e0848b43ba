//! The only fold over a log: from where the views stand, up to a position.

use super::{FoldError, Opener, Views};
use crate::kernel::Position;
use crate::log::{EventLog, Index, LogError};

/// How many records are read at once.
const READ: usize = 4096;

/// Why a log could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be opened or understood.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// How far a fold is; called about every 4,096 records.
pub type Progress<'a> = &'a (dyn Fn(Position) + Sync);

/// Folds the records after the views' position, through the last group that ends at or before `until`. The index takes the same records,
/// so that its tree gives the Merkle root of exactly these.
pub async fn catch_up(
    views: &mut Views,
    index: &mut Index,
    log: &dyn EventLog,
    opener: &Opener,
    until: Position,
    progress: Progress<'_>,
) -> Result<(), CatchUpError> {
    let (mut next_views, mut next_index) = (views.clone(), index.clone());
    loop {
        let records = log.read(next_index.head(), READ).await?;
        let wanted = records.iter().take_while(|record| record.header().position <= until);
        let mut folded = 0;
        for record in wanted {
            next_views.fold(record.header(), opener.open(record)?.stored.event);
            next_index.fold(record);
            folded += 1;
            if record.header().group.ends() {
                (*views, *index) = (next_views.clone(), next_index.clone());
            }
        }
        progress(next_index.head());
        if folded == 0 || folded < records.len() {
            return Ok(());
        }
    }
}
