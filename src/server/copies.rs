//! The two copies of a vault's log: opened for a start, read where one is damaged, and explained.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::home::{Home, HomeError};
use crate::kernel::{Position, TenantId, VaultId};
use crate::keyring::{Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::copies::{self, Depth, LOG, Need, Side, Survey};
use crate::log::segment::FOLDER;
use crate::log::{Checkpoint, DoubledLog, EventLog, Fallback, LogError, Options, Repair, SegmentLog, Signer, SqliteLog};
use crate::seal::checkpoint;
use crate::seal::merkle::Frontier;

/// The newest checkpoint of the log, a signed note, in a data directory.
pub const CHECKPOINT: &str = "checkpoint";

/// What a start would do with a data directory, in the order of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing: both copies are whole.
    Whole,
    /// Make up for the last block, as after each crash.
    Level,
    /// Make a copy anew.
    Repair,
    /// Refuse, until an operator accepts that the end is lost.
    Shortened,
    /// Refuse.
    Refused,
}

/// A data directory that was looked at.
pub struct Examined {
    /// What was seen of the copies.
    pub survey: Survey,
    /// Whose log it is.
    pub vault: VaultId,
    /// Whether a server runs on it.
    pub served: bool,
    /// Why checkpoints could not be compared.
    pub unsigned: Option<String>,
}

impl Examined {
    /// What a start would do.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let sides: [&Side; 2] = [&self.survey.log, &self.survey.segments];
        match &self.survey.refusal {
            Some(copies::Refusal::Shortened(_)) => Finding::Shortened,
            Some(_) => Finding::Refused,
            None if self.survey.is_whole() => Finding::Whole,
            None if sides.iter().all(|side| side.need != Need::Repair || (self.served && self.survey.ends_only(side))) => Finding::Level,
            None => Finding::Repair,
        }
    }
}

/// Signs checkpoints with the vault's own key.
pub(super) fn signer(keyring: &SqliteKeyring) -> Result<Signer, KeyringError> {
    let (seed, vault) = (keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint)?.key, keyring.vault());
    Ok(Arc::new(move |epoch, size, root| checkpoint::sign(vault, epoch, size, *root, &seed)))
}

/// The checkpoint that lies in a data directory, if the vault signed it. One that it did not sign proves nothing.
pub(super) fn newest(data: &Path, keyring: &dyn Keyring) -> Result<Vec<Checkpoint>, KeyringError> {
    let Ok(note) = fs::read_to_string(data.join(CHECKPOINT)) else { return Ok(Vec::new()) };
    let public = checkpoint::public_key(&keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint)?.key);
    let read = checkpoint::verify(&note, &public).ok().and_then(|signed| Some((checkpoint::place(&signed.origin)?, signed)));
    Ok(match read {
        Some(((vault, epoch), signed)) if vault == keyring.vault() => {
            vec![Checkpoint { source: format!("the file {CHECKPOINT}"), epoch: epoch.number, size: signed.size, root: signed.root, last: None }]
        }
        _ => {
            tracing::warn!("the file {CHECKPOINT} is not signed by this vault, or damaged: it is passed over");
            Vec::new()
        }
    })
}

impl Home {
    /// Opens the log over both copies, mended, and gives its hash tree; refuses where they have forked or lost something.
    pub(super) fn open_log(&self, keyring: &SqliteKeyring, depth: Depth) -> Result<(DoubledLog, Frontier, Vec<Repair>), HomeError> {
        let (vault, signer) = (keyring.vault(), signer(keyring)?);
        self.acceptance_is_whole()?;
        // What a checkpoint elsewhere tells is compared when the vault has started: a shorter log is served for reading.
        let survey = copies::survey(&self.folder, vault, depth, &[]);
        if let Some(refusal) = survey.refusal {
            return Err(HomeError::Copies { folder: self.folder.clone(), refusal });
        }
        if !survey.segments.present && survey.head > Position::ZERO {
            tracing::info!("the log has no segments: they are written now, as its second copy");
        }
        let repairs = copies::mend(&self.folder, vault, &survey, &signer)?;
        for repair in &repairs {
            tracing::warn!(%repair, "a copy of the log was repaired");
        }
        Ok((DoubledLog::open(&self.folder, vault, signer)?, survey.tree, repairs))
    }

    /// The log for reading: from the copy that goes further, and where it is damaged from the other.
    pub(super) fn reading(&self, vault: VaultId) -> Result<Arc<dyn EventLog>, HomeError> {
        // First SQLite: if a block is written in between, the segments have it as well.
        let rows = SqliteLog::open(&self.folder.join(LOG), Options { read_only: true, ..Options::default() });
        let segments = SegmentLog::open(&self.folder.join(FOLDER)).ok().filter(|segments| segments.vault() == Some(vault));
        let last = |log: &dyn EventLog| *log.head().borrow();
        match (rows, segments) {
            (Ok(rows), None) => Ok(Arc::new(rows)),
            (Ok(rows), Some(segments)) if segments.settled() <= last(&rows) => Ok(Arc::new(Fallback::new(Arc::new(rows), Arc::new(segments)))),
            (Ok(rows), Some(segments)) => {
                tracing::warn!(log = last(&rows).0, segments = last(&segments).0, "{LOG} ends before the segments do: these are read");
                Ok(Arc::new(Fallback::new(Arc::new(segments), Arc::new(rows))))
            }
            (Err(error), Some(segments)) => {
                tracing::warn!(%error, "{LOG} cannot be read: the segments are");
                Ok(Arc::new(segments))
            }
            (Err(error), None) => Err(HomeError::Log(error)),
        }
    }

    /// Looks at both copies from their first record on, and changes nothing. A server may run beside.
    pub fn examine(&self) -> Result<Examined, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        let vault = SqliteKeyring::vault_at(&self.folder)?;
        let checkpoints = || -> Result<Vec<Checkpoint>, HomeError> {
            let root = self.key_file(vault)?;
            let (keyring, _) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
            Ok(newest(&self.folder, &keyring)?)
        };
        // Without its keys the log can still be compared with itself.
        let (checkpoints, unsigned) = checkpoints().map_or_else(|error| (Vec::new(), Some(error.to_string())), |checkpoints| (checkpoints, None));
        let survey = copies::survey(&self.folder, vault, Depth::Whole, &checkpoints);
        Ok(Examined { survey, vault, served: self.is_served(), unsigned })
    }

    fn is_served(&self) -> bool {
        let lock = fs::File::open(self.folder.join("lock"));
        lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// An acceptance that was cut short is carried to its end first.
    fn acceptance_is_whole(&self) -> Result<(), HomeError> {
        if self.pending().exists() {
            let cause = format!("the acceptance of a loss was cut short; run `keyledger doctor --data {} --accept-loss` again", self.folder.display());
            return Err(HomeError::Log(LogError::Engine(cause)));
        }
        Ok(())
    }
}
