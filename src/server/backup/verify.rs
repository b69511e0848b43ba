//! A rehearsal: a backup counts when a restore from it came out as the log says.

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::problem;
use crate::credentials::vault::Event;
use crate::server::home::{Home, HomeError};
use crate::server::partial::Partial;
use crate::server::restore::{Progress, Restored, Until};

/// What a rehearsal showed.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What was restored, and then removed again.
    pub restored: Restored,
}

impl Proof {
    /// What is recorded of it.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::BackupVerified {
            position: self.restored.position,
            root: base16ct::lower::encode_string(&self.restored.merkle_root),
            state: base16ct::lower::encode_string(&self.restored.state.hash),
            files: self.manifest.files.len() as u64,
            skipped: self.restored.skipped.unwrap_or(0),
        }
    }
}

impl Home {
    /// Restores the backup that lies here into a scratch directory, beside it or in a place of choice, and removes that again, whatever comes.
    pub async fn verify_backup(&self, scratch: Option<&Path>, progress: Progress<'_>) -> Result<Proof, HomeError> {
        let manifest = Manifest::read(&self.folder)?;
        // A restore makes do with one file of the keyring: whoever keeps the backup wants to know.
        manifest.compare(&self.folder)?;
        let folder = std::fs::canonicalize(&self.folder).map_err(|error| super::io(&self.folder, error))?;
        let name = folder.file_name().map_or_else(|| "backup".into(), |name| name.to_string_lossy().into_owned());
        let beside: PathBuf = scratch.or(folder.parent()).unwrap_or(&folder).join(format!("{name}-rehearsal"));
        let partial = Partial::begin(&beside, &*self.random)?;
        let restored = self.restore_within(&partial, Until::End, progress).await?;
        if restored.position != manifest.position {
            return Err(problem(&self.folder, format!("it was restored through position {}, and not through {}", restored.position, manifest.position)));
        }
        Ok(Proof { manifest, restored })
    }
}
