//! Backups: a directory with the log in closed segments, a copy of the keyring, and a manifest.
//!
//! ```text
//! manifest.json             written last: a directory without it is no backup
//! segments/*.seg            the log, from its first record on, in closed files
//! keyring.db                copied after the log, so that it holds every key that the log needs
//! keyring-copy.db
//! states                    every state at its end, by its HMAC
//! shredded-N/               in place of the three, when something was shredded since: the same without it, and the events that say so (`forget.rs`)
//! ```
//! A backup is made out of sight and moved to its place by one rename. It needs nothing but the root key file, which is never in it.

mod create;
mod forget;
mod inspect;
mod keep;
mod manifest;
mod schedule;
mod shreds;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

pub use create::Made;
pub use forget::{Fate, Stage, Told};
pub use manifest::{Held, MANIFEST, Manifest, Shredded};
pub use schedule::Backups;
pub use verify::Proof;

use super::HomeError;
use super::home::io;
use crate::log::SegmentLog;
use crate::log::segment::FOLDER;
use crate::seal::Record;

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

/// What backups that lie beside one tell of what was shredded since: the logs of later ones, and events that others were told of.
#[derive(Default)]
pub(super) struct Beside {
    pub logs: Vec<SegmentLog>,
    pub shreds: Vec<Record>,
}

/// What the backups of the same history beside one tell: what was shredded since stays shredded, whichever of them is restored.
pub(super) fn beside(folder: &Path, manifest: &Manifest) -> Result<Beside, HomeError> {
    let folder = fs::canonicalize(folder).map_err(|error| io(folder, error))?;
    let Some(parent) = folder.parent() else { return Ok(Beside::default()) };
    let of_it = |other: &Manifest| other.vault == manifest.vault && other.epoch == manifest.epoch;
    let mut beside = Beside::default();
    for (path, other) in list(parent)? {
        let Some(other) = other.ok().filter(of_it).filter(|_| path != folder) else { continue };
        let mut hear = || {
            if other.position > manifest.position {
                beside.logs.push(SegmentLog::open(&path.join(FOLDER))?);
            }
            if other.shredded.is_some() {
                beside.shreds.extend(shreds::read(&path.join(other.keys_folder()).join(shreds::SHREDS))?);
            }
            Ok::<(), HomeError>(())
        };
        // One that is damaged tells nothing; another one may.
        if let Err(error) = hear() {
            tracing::warn!(%error, backup = %path.display(), "a backup beside could not be asked for what was shredded since");
        }
    }
    Ok(beside)
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
