//! The only fold over a log: from where the views stand, up to a position.

use super::{FoldCause, FoldError, Opener, Views};
use crate::kernel::Position;
use crate::log::{EventLog, LogError, MAX_BLOCK_RECORDS};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

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

/// How far a fold is; called after each read of at most 4,096 records.
pub type Progress<'a> = &'a (dyn Fn(Position) + Sync);

/// Folds the records after the views' position, through the last group that ends at or before `until`. The tree takes the same records, so
/// that it gives the Merkle root of exactly these. After an error both stand where the fold stopped, inside a group perhaps: they are of no
/// use then.
pub async fn catch_up(
    views: &mut Views,
    tree: &mut Frontier,
    log: &dyn EventLog,
    opener: &Opener,
    until: Position,
    progress: Progress<'_>,
) -> Result<(), CatchUpError> {
    let mut learned = false;
    loop {
        // A group is at most this large, so that each read holds the end of at least one, unless the log ends first. Nothing after `until` is read.
        let left = until.0.saturating_sub(views.position().0);
        let limit = usize::try_from(left).map_or(MAX_BLOCK_RECORDS, |left| left.min(MAX_BLOCK_RECORDS));
        let records = if limit == 0 { Vec::new() } else { log.read(views.position(), limit).await? };
        let ends = |record: &Record| record.header().group.ends() && record.header().position <= until;
        let whole = records.iter().rposition(ends).map_or(0, |last| last + 1);
        for record in records.iter().take(whole) {
            let event = match opener.event(record) {
                // The event that says so comes later in the log.
                Err(FoldError { cause: FoldCause::Unexplained(_), .. }) if !learned => {
                    learned = true;
                    opener.learn(log, record.header().position).await?;
                    opener.event(record)?
                }
                event => event?,
            };
            opener.note(record.header(), event.as_ref());
            views.take(record.header(), event);
            tree.push(record.leaf());
        }
        progress(views.position());
        if whole == 0 {
            return Ok(());
        }
    }
}
