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
use crate::log::SegmentLog;
use crate::log::segment::FOLDER;

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

/// The logs of later backups of the same history that lie beside one: what was shredded since stays shredded, whichever of them is restored.
pub(super) fn later(folder: &Path, manifest: &Manifest) -> Result<Vec<SegmentLog>, HomeError> {
    let folder = fs::canonicalize(folder).map_err(|error| io(folder, error))?;
    let Some(parent) = folder.parent() else { return Ok(Vec::new()) };
    let is_later = |other: &Manifest| other.vault == manifest.vault && other.epoch == manifest.epoch && other.position > manifest.position;
    let mut logs = Vec::new();
    for (path, _) in list(parent)?.into_iter().filter(|(_, other)| other.as_ref().is_ok_and(is_later)) {
        // One that is damaged tells nothing; another one may.
        match SegmentLog::open(&path.join(FOLDER)) {
            Ok(log) => logs.push(log),
            Err(error) => tracing::warn!(%error, backup = %path.display(), "a later backup could not be asked for what was shredded since"),
        }
    }
    Ok(logs)
}

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
