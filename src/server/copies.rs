//! The two copies of a vault's log: opened for a start, read where one is damaged, and explained.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::anchor::newest_of_each;
use super::home::{Home, HomeError};
use super::unexplained::Unexplained;
use crate::jobs::{Anchor, AnchorFile};
use crate::kernel::{Position, TenantId, VaultId};
use crate::keyring::{Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::copies::{self, Depth, LOG, Need, Side, Survey};
use crate::log::segment::FOLDER;
use crate::log::{Checkpoint, DoubledLog, EventLog, Fallback, LogError, Options, Repair, SegmentLog, Signer, SqliteLog};
use crate::seal::checkpoint::{self, Checkpoint as Signed};
use crate::seal::merkle::Frontier;
use crate::views::Opener;

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
    /// Refuse: the keyring lacks keys, and the log does not say why.
    Unexplained,
    /// Take no writes, until an operator accepts that the end is lost.
    Shortened,
    /// Take no writes, or refuse.
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
    /// Why checkpoints and keys could not be compared.
    pub unsigned: Option<String>,
    /// How many checkpoints the anchor file has of this vault, where one was named.
    pub anchors: Option<usize>,
    /// Whether the copies themselves can be read, and only what was said of the log elsewhere is against it: a start serves them for reading.
    pub readable: bool,
    /// Keys that are destroyed although no event of the log says so.
    pub unexplained: Unexplained,
}

impl Examined {
    /// What a start would do.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let sides: [&Side; 2] = [&self.survey.log, &self.survey.segments];
        match &self.survey.refusal {
            Some(copies::Refusal::Shortened(_)) => Finding::Shortened,
            Some(_) => Finding::Refused,
            None if !self.unexplained.is_empty() => Finding::Unexplained,
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
fn newest(data: &Path, vault: VaultId, public: &[u8; 32]) -> Option<Checkpoint> {
    let note = fs::read_to_string(data.join(CHECKPOINT)).ok()?;
    let read = checkpoint::verify(&note, public).ok().and_then(|signed| Some((checkpoint::place(&signed.origin)?, signed)));
    if let Some(((of, epoch), signed)) = read
        && of == vault
    {
        let source = format!("the file {CHECKPOINT}");
        return Some(Checkpoint { source, epoch: epoch.number, history: None, size: signed.size, root: signed.root, last: None });
    }
    tracing::warn!("the file {CHECKPOINT} is not signed by this vault, or damaged: it is passed over");
    None
}

/// The newest anchors of each history of the vault: a drill of a restore may have its own.
fn anchored(file: &AnchorFile, vault: VaultId, public: &[u8; 32]) -> Vec<Checkpoint> {
    let good = match file.read(public) {
        Ok((good, _)) => good,
        Err(error) => {
            tracing::warn!(%error, "the anchor file cannot be read: it is passed over");
            return Vec::new();
        }
    };
    let of = |anchor: Anchor| {
        let (_, epoch) = checkpoint::place(&anchor.checkpoint.origin).filter(|(of, _)| *of == vault)?;
        let (source, Signed { size, root, .. }) = (format!("the anchor of {}", anchor.at), anchor.checkpoint);
        Some(Checkpoint { source, epoch: epoch.number, history: Some(epoch.id), size, root, last: None })
    };
    newest_of_each(good).into_iter().filter_map(of).collect()
}

/// The log as a start opens it.
pub(super) struct Opened {
    pub log: Arc<dyn EventLog>,
    pub tree: Frontier,
    pub repairs: Vec<Repair>,
    /// Why it is only read: it is not what was said of it.
    pub lost: Option<String>,
}

impl Home {
    /// What was said of the log outside of its copies: by the checkpoint beside them, and by anchors.
    pub(super) fn told(&self, keyring: &SqliteKeyring) -> Result<Vec<Checkpoint>, KeyringError> {
        let (vault, public) = (keyring.vault(), checkpoint::public_key(&keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint)?.key));
        let mut told = self.anchors.as_ref().map_or_else(Vec::new, |file| anchored(file, vault, &public));
        told.extend(newest(&self.folder, vault, &public));
        Ok(told)
    }

    /// Opens the log over both copies, mended; refuses where they have forked or lost something. Where the copies lack what was said of the log
    /// elsewhere, nothing is changed, and they are opened for reading.
    pub(super) fn open_log(&self, keyring: &SqliteKeyring, depth: Depth) -> Result<Opened, HomeError> {
        let (vault, signer) = (keyring.vault(), signer(keyring)?);
        self.acceptance_is_whole()?;
        let survey = copies::survey(&self.folder, vault, depth, &self.told(keyring)?);
        if let Some(refusal) = survey.refusal {
            return match copies::survey(&self.folder, vault, depth, &[]).refusal {
                None => Ok(Opened { log: self.reading(vault)?, tree: survey.tree, repairs: Vec::new(), lost: Some(refusal.to_string()) }),
                Some(refusal) => Err(HomeError::Copies { folder: self.folder.clone(), refusal }),
            };
        }
        if !survey.segments.present && survey.head > Position::ZERO {
            tracing::info!("the log has no segments: they are written now, as its second copy");
        }
        let repairs = copies::mend(&self.folder, vault, &survey, &signer)?;
        for repair in &repairs {
            tracing::warn!(%repair, "a copy of the log was repaired");
        }
        Ok(Opened { log: Arc::new(DoubledLog::open(&self.folder, vault, signer)?), tree: survey.tree, repairs, lost: None })
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
    pub async fn examine(&self) -> Result<Examined, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        let vault = SqliteKeyring::vault_at(&self.folder)?;
        let keyring = || -> Result<(Arc<SqliteKeyring>, Vec<Checkpoint>), HomeError> {
            let root = self.key_file(vault)?;
            let (keyring, _) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
            let told = self.told(&keyring)?;
            Ok((Arc::new(keyring), told))
        };
        // Without its keys the log can still be compared with itself.
        let (keyring, told, unsigned) = match keyring() {
            Ok((keyring, told)) => (Some(keyring), told, None),
            Err(error) => (None, Vec::new(), Some(error.to_string())),
        };
        let survey = copies::survey(&self.folder, vault, Depth::Whole, &told);
        let readable = survey.refusal.is_none() || copies::survey(&self.folder, vault, Depth::Whole, &[]).refusal.is_none();
        let mut unexplained = Unexplained::default();
        if let Some(keyring) = keyring.filter(|_| readable) {
            // Beside a server a shred may come between the log's end and the look at its keys: the second look has it.
            for _ in 0..2 {
                unexplained = Unexplained::find(&*self.reading(vault)?, &*keyring, &Opener::new(keyring.clone())).await?;
                if unexplained.is_empty() {
                    break;
                }
            }
        }
        let anchors = self.anchors.as_ref().map(|_| told.iter().filter(|told| told.history.is_some()).count());
        Ok(Examined { survey, vault, served: self.is_served(), unsigned, anchors, readable, unexplained })
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
