//! The scrub: what was closed long ago is read again, one file at a time, and compared with the rows of its positions.

use std::path::{Path, PathBuf};

use super::LOG;
use crate::kernel::{Position, VaultId};
use crate::log::rows;
use crate::log::segment::{FOLDER, Found, Walk, files, title};

/// The closed file after the one that was scrubbed last; from the front again after the last one.
pub(in crate::log) fn next(data: &Path, last: Option<&PathBuf>) -> Option<PathBuf> {
    let mut all = files(&data.join(FOLDER)).ok()?;
    // The last one may still grow.
    all.pop();
    let next = all.iter().find(|path| last.is_none_or(|last| *path > last));
    next.or(all.first()).cloned()
}

/// Compares a file with `log.db`; what is wrong, if anything is.
pub(in crate::log) fn scrub(data: &Path, vault: VaultId, path: &Path) -> Result<(), String> {
    let named = |cause: &dyn std::fmt::Display| format!("{FOLDER}/{}: {cause}", title(path));
    let mut walk = Walk::open(path).map_err(|bad| named(&bad))?;
    if walk.header.vault != vault {
        return Err(named(&"it belongs to another vault"));
    }
    let connection = rows::open(&data.join(LOG)).map_err(|error| error.to_string())?;
    let mut tree = walk.header.tree.clone();
    loop {
        match walk.next().map_err(|bad| named(&bad))? {
            Found::Frame(_, records) => {
                let before = records.first().map_or(0, |first| first.header().position.0.saturating_sub(1));
                let found = rows::after(&connection, Position(before), records.len()).map_err(|error| format!("{LOG} after position {before}: {error}"))?;
                for (record, place) in records.iter().zip(0..) {
                    let same = found.get(place).is_some_and(|(position, bytes)| *position == record.header().position && bytes.as_slice() == record.bytes());
                    if !same {
                        return Err(format!("{LOG}: position {} is not what the segments hold", record.header().position));
                    }
                    tree.push(record.leaf());
                }
            }
            Found::Footer(footer) if footer.tree != tree => return Err(named(&"its footer is not of the records before it")),
            Found::Footer(_) | Found::End => return Ok(()),
        }
    }
}
