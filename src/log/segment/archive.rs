//! What a backup is made of: the closed files that can be taken over as they are, and the rest of the log in files of its own.

use std::path::{Path, PathBuf};

use super::{Signer, Walk, Writer, files, sync_folder, title};
use crate::kernel::{Position, VaultId};
use crate::log::{EventLog, LogError, MAX_BLOCK_RECORDS, whole_block};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// A closed file, whose place in the log is known from its header and footer.
struct Closed {
    path: PathBuf,
    before: Position,
    last: Position,
    /// The trees before its first record and after its last one.
    trees: (Frontier, Frontier),
}

fn closed(path: &Path, vault: VaultId) -> Option<Closed> {
    let walk = Walk::open(path).ok().filter(|walk| walk.header.vault == vault)?;
    let footer = walk.footer()?;
    Some(Closed { path: path.to_owned(), before: walk.header.before, last: footer.last, trees: (walk.header.tree, footer.tree) })
}

/// The closed files that hold the log from its first record on without a gap, through `until` at most: of the folder where it has them, otherwise
/// of the `further` ones. (A file that was left open when a fresh one was begun is in the folder for ever; an earlier backup has what it held in a
/// file that is closed.)
pub fn chain(folder: &Path, further: &[PathBuf], vault: VaultId, until: Position) -> Result<Vec<PathBuf>, LogError> {
    let own = files(folder).map_err(|error| LogError::Engine(format!("{}: {error}", folder.display())))?;
    let found: Vec<Closed> = own.iter().chain(further).filter_map(|path| closed(path, vault)).collect();
    let (mut chain, mut at, mut tree) = (Vec::new(), Position::ZERO, Frontier::default());
    while let Some(next) = found.iter().find(|file| file.before == at && file.trees.0 == tree && file.last > at && file.last <= until) {
        chain.push(next.path.clone());
        (at, tree) = (next.last, next.trees.1.clone());
    }
    Ok(chain)
}

/// Writes the records of a log after those of the closed files in `folder`, through `until`, into further closed files; durable on return. Each
/// file ends with a checkpoint that the signer signed, so that the end of the log has one. Only one block is held in memory.
pub async fn write_rest(log: &dyn EventLog, folder: &Path, vault: VaultId, signer: Signer, until: Position) -> Result<(), LogError> {
    let broken = |error: String| LogError::Engine(format!("{}: {error}", folder.display()));
    let mut writer = Writer::resume(folder, vault, signer).map_err(broken)?.synced_at_its_end();
    let (mut read, mut waiting): (Position, Vec<Record>) = (writer.head(), Vec::new());
    loop {
        let mut records = log.read(read, MAX_BLOCK_RECORDS.saturating_sub(waiting.len()).max(1)).await?;
        records.retain(|record| record.header().position <= until);
        read = records.last().map_or(read, |last| last.header().position);
        waiting.append(&mut records);
        let count = whole_block(&waiting);
        if count == 0 {
            break;
        }
        let block: Vec<Record> = waiting.drain(..count).collect();
        writer.append(writer.head(), &block).map_err(|error| broken(error.to_string()))?;
    }
    if !waiting.is_empty() || writer.head() != until {
        return Err(broken(format!("the log could be read through position {} only, and not through {until}", writer.head())));
    }
    writer.close().and_then(|()| sync_folder(folder)).map_err(|error| broken(error.to_string()))
}

/// The checkpoint at the end of a folder's last file, which must be closed.
pub fn last_checkpoint(folder: &Path) -> Result<String, LogError> {
    let last = files(folder).map_err(|error| LogError::Engine(format!("{}: {error}", folder.display())))?.pop();
    let Some(last) = last else { return Err(LogError::Engine(format!("{} holds no segment", folder.display()))) };
    let broken = |cause: String| LogError::Engine(format!("{}: {cause}", title(&last)));
    let walk = Walk::open(&last).map_err(|bad| broken(bad.to_string()))?;
    walk.footer().map(|footer| footer.checkpoint).ok_or_else(|| broken("it has no whole footer".into()))
}
