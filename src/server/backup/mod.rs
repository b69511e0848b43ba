//! Backups: a directory with the log in closed segments, a copy of the keyring, and a manifest.
//!
//! ```text
//! manifest.json             written last: a directory without it is no backup
//! segments/*.seg            the log, from its first record on, in closed files
//! keyring.db                copied after the log, so that it holds every key that the log needs
//! keyring-copy.db
//! ```
//! A backup is made out of sight and moved to its place by one rename. It needs nothing but the root key file, which is never in it.

mod create;
mod inspect;
mod manifest;
mod schedule;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

pub use create::Made;
pub use manifest::{Held, MANIFEST, Manifest};
pub use schedule::Backups;
pub use verify::Proof;

use super::HomeError;
use super::home::io;

pub(super) use inspect::Sound;

/// Whether a directory is a backup, or was meant to be one.
pub(super) fn is_one(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn problem(path: &Path, problem: impl ToString) -> HomeError {
    HomeError::Backup { path: path.to_owned(), problem: problem.to_string() }
}

/// A backup's directory, and its manifest or what is wrong with that.
pub type Found = (PathBuf, Result<Manifest, HomeError>);

/// The backups below a directory, the newest first, each with its manifest or with what is wrong with that. Directories without one are none.
pub fn list(folder: &Path) -> Result<Vec<Found>, HomeError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && is_one(&path) {
            let manifest = Manifest::read(&path);
            found.push((path, manifest));
        }
    }
    found.sort_by_key(|(path, manifest)| {
        let newest = manifest.as_ref().map(|manifest| (manifest.made_at, manifest.position)).ok();
        std::cmp::Reverse((newest, path.clone()))
    });
    Ok(found)
}
