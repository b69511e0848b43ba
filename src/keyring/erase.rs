//! Files that held keys: overwritten before they are removed, so that what is left of them on the disk says nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Bytes that are written at once.
const PIECE: usize = 64 * 1024;

/// Overwrites a file, durably, and removes it. The folder that lost it is for the caller to sync.
pub fn erase(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let zeroes = vec![0; PIECE];
    let mut left = file.metadata()?.len();
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        file.write_all(zeroes.get(..step).unwrap_or(&zeroes))?;
        left -= step as u64;
    }
    file.sync_all()?;
    fs::remove_file(path)
}
