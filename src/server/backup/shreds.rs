//! The events that destroyed keys after a backup's end, as they stand in the vault's log. They come with the backup once its keyring has lost those
//! keys, so that a fold of it knows why. Nobody else can have written them: a record's header is believed when its facts box has opened.
//!
//! ```text
//! keyledger shreds 1\n
//! per record: length [4] ‖ record
//! ```

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::problem;
use crate::credentials::vault::NAME;
use crate::kernel::{KeyId, Position};
use crate::log::{EventLog, LogError};
use crate::seal::Record;
use crate::server::HomeError;
use crate::server::home::io;
use crate::views::Opener;

/// The file's name.
pub(super) const SHREDS: &str = "shreds";
const TITLE: &[u8] = b"keyledger shreds 1\n";
/// Records that are looked through at once.
const AT_ONCE: usize = 1024;

/// Reads a file of them. Nothing that they say is believed yet.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, HomeError> {
    let bytes = fs::read(path).map_err(|error| io(path, error))?;
    let damaged = || problem(path, "it is damaged: it is no list of records");
    let mut rest = bytes.strip_prefix(TITLE).ok_or_else(damaged)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, further) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged())?;
        let (record, further) = further.split_at_checked(length).ok_or_else(damaged)?;
        records.push(Record::decode(record).map_err(|error| problem(path, format!("it is damaged: {error}")))?);
        rest = further;
    }
    Ok(records)
}

/// Writes a file of them, durably.
pub(super) fn write(path: &Path, records: &[Record]) -> io::Result<()> {
    let mut bytes = TITLE.to_vec();
    for record in records {
        let length = u32::try_from(record.bytes().len()).map_err(io::Error::other)?;
        bytes.extend(length.to_be_bytes());
        bytes.extend_from_slice(record.bytes());
    }
    fs::write(path, bytes)?;
    fs::File::open(path)?.sync_all()
}

/// The keys that these records destroyed.
pub(super) fn keys(records: &[Record]) -> HashSet<KeyId> {
    records.iter().flat_map(|record| record.header().shredded.iter().copied()).collect()
}

/// What a log says of keys that were destroyed after a position, oldest first. All of that is said by one stream, so only that is followed.
pub(super) async fn since(log: &dyn EventLog, after: Position, opener: &Opener) -> Result<Vec<Record>, HomeError> {
    let mut records = Vec::new();
    let mut at = newest(log, after).await?;
    while at > after {
        let Some(record) = log.fetch(&[at]).await?.pop() else { break };
        at = record.header().previous;
        if !record.header().shredded.is_empty() {
            opener.open(&record).map_err(crate::vault::VaultError::from)?;
            records.push(record);
        }
    }
    records.reverse();
    Ok(records)
}

/// The newest position after another one where the vault's own stream says something.
async fn newest(log: &dyn EventLog, after: Position) -> Result<Position, LogError> {
    let mut from = *log.head().borrow();
    while from > after {
        let records = log.read_back(from, AT_ONCE).await?;
        if let Some(found) = records.iter().find(|record| record.header().kind == NAME) {
            return Ok(found.header().position);
        }
        let Some(last) = records.last() else { break };
        from = Position(last.header().position.0.saturating_sub(1));
    }
    Ok(Position::ZERO)
}
