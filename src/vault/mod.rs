//! The shell around the pure core: it proves, loads, decides, seals, appends, and only then answers.

pub mod access;
mod attempts;
mod audit;
mod authenticate;
mod backups;
mod calls;
mod catalog;
pub mod compensation;
mod doomed;
mod execute;
pub mod export;
pub mod exposure;
mod filter;
mod genesis;
mod held;
mod history;
mod leftovers;
mod lineage;
mod lines;
mod links;
pub mod plans;
mod prove;
mod query;
mod repaired;
mod reveal;
mod rotate;
mod sealer;
mod sessions;
mod shred;
mod standing;
mod tenant_end;
mod tenants;
mod thing;
mod tokens;
mod usage;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use attempts::{Door, Locked, wait};
pub use audit::{Page, Shown, Stretch};
pub use authenticate::{Access, Unusable, is_suspended, is_usable};
pub use calls::Call;
pub use doomed::{Confirmed, Doomed, Preview, Target};
pub use execute::{Answer, Command, Given, Kept};
pub use filter::{Decision, Filter};
pub use genesis::{Genesis, begin};
pub use history::{Changed, Differences, Story, Told};
pub use lineage::{Descent, Fate, Traced};
pub use lines::Lines;
pub use links::{ConsumerSession, LINK_SECONDS};
pub use prove::{Leaf, Proof, Signed, Unprovable};
pub use query::{Busy, StateAt};
pub use reveal::{MAX_REASON, Revealed};
pub use rotate::{KeyState, Outcome, Root, Rotation};
pub use sealer::{Author, SealFailure, Sealer};
pub use sessions::{LoggedIn, SESSION_SECONDS};
pub use shred::MAX_SHREDDED;
pub use tenant_end::{TenantContents, WAIT as TENANT_WAIT};
pub use thing::Around;
pub use tokens::{Client, For, Minted, REFRESH_SECONDS, Rejected};

use crate::credentials::FactsError;
use crate::kernel::{Clock, KeyId, Random, Refusal, TenantId};
use crate::keyring::{Keyring, KeyringError, Purpose, PurposeKey};
use crate::log::{EventLog, LogError, Sequencer, SubmitError};
use crate::views::{CatchUpError, FoldError, Live, Opener, Snapshot};

/// Why a command or a query has no answer. A refusal is data for the caller; the rest goes to the log in full, and to the client in five words.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log did not take it.
    #[error(transparent)]
    Submit(SubmitError),
    /// A key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealFailure),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record cannot be opened.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A state cannot be written.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The views stopped folding: nothing is decided on a state that may be stale.
    #[error("the views have stopped: {0}")]
    Stopped(String),
}

impl VaultError {
    /// Whether nothing was written because nothing can be for now: a full disk beneath the log or the keyring, or a clock that leapt.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::Submit(SubmitError::Unavailable(_) | SubmitError::ClockLeapt | SubmitError::Lost(_))
                | Self::Key(KeyringError::Io(_))
                | Self::Seal(SealFailure::Key(KeyringError::Io(_)))
        )
    }
}

impl From<SubmitError> for VaultError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => Self::Refused(refusal),
            other => Self::Submit(other),
        }
    }
}

/// Folds the log on. Where a key was destroyed whose end the log tells only later, that is looked for first.
async fn fold(log: &Arc<dyn EventLog>, clock: &Arc<dyn Clock>, opener: &Arc<Opener>, from: Snapshot) -> Result<(Arc<Live>, Sequencer), VaultError> {
    let begin = async |from: Snapshot, first: bool| {
        let views = Arc::new(Live::new(Arc::clone(opener), from.views));
        views.try_first(first);
        let subscriber = Arc::clone(&views) as Arc<dyn crate::log::Subscriber>;
        let sequencer = Sequencer::start(Arc::clone(log), Arc::clone(clock), subscriber, from.index).await?;
        views.try_first(false);
        Ok::<_, VaultError>((views, sequencer))
    };
    let (views, sequencer) = begin(from.clone(), true).await?;
    if !views.lacks_a_shred() {
        return Ok((views, sequencer));
    }
    sequencer.shutdown().await;
    match opener.learn(&**log, from.index.head()).await {
        Ok(()) => begin(from, false).await,
        Err(CatchUpError::Log(error)) => Err(error.into()),
        Err(CatchUpError::Fold(error)) => Err(error.into()),
    }
}

/// A running vault.
pub struct Vault {
    log: Arc<dyn EventLog>,
    keyring: Arc<dyn Keyring>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    opener: Arc<Opener>,
    views: Arc<Live>,
    sequencer: Sequencer,
    sealer: Sealer,
    /// Verifies presented tokens; held here so that a request asks the keyring for nothing.
    token_key: PurposeKey,
    /// Signs access tokens.
    jwt_key: PurposeKey,
    /// Signs checkpoints.
    notary: Box<prove::Notary>,
    /// What a presented secret is compared with when nothing is known of it.
    nobody: crate::credentials::issued::Issued,
    /// Passwords are hashed two at a time: each takes 19 MiB.
    hashing: Semaphore,
    usage: usage::Usage,
    calls: calls::Noted,
    attempts: attempts::Attempts,
    rotations: rotate::Rotations,
    backups: backups::Standing,
    /// Where the latest snapshot lies.
    kept: tokio::sync::Mutex<Option<std::path::PathBuf>>,
    reads: query::Reads,
    /// The turn of a command that others were faster than, time and again.
    contended: tokio::sync::Mutex<()>,
    /// The turn of what puts things back: one undo or recovery at a time.
    putting_back: tokio::sync::Mutex<()>,
    /// The recovery that runs, and how far it is.
    recovering: std::sync::Mutex<Option<(crate::kernel::StreamId, Arc<compensation::Running>)>>,
    /// Why the latest command was not written, until one is.
    refusing: std::sync::Mutex<Option<String>>,
    standing: Box<standing::Standing>,
}

impl Vault {
    /// Folds the log on from a snapshot (an empty one folds it all) and begins to take commands. The log must have begun (see [`begin`]).
    /// Keys that the log shredded are destroyed once more: the event was the commit, and a crash may have come before the destruction.
    pub async fn start(
        log: Arc<dyn EventLog>,
        keyring: Arc<dyn Keyring>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        from: Snapshot,
    ) -> Result<Self, VaultError> {
        Self::start_without(log, keyring, clock, random, from, &[]).await
    }

    /// As [`Vault::start`], over a log that has lost the shreds of these keys: what they sealed is read as shredded.
    pub async fn start_without(
        log: Arc<dyn EventLog>,
        keyring: Arc<dyn Keyring>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        from: Snapshot,
        gone: &[KeyId],
    ) -> Result<Self, VaultError> {
        let opener = Arc::new(Opener::new(Arc::clone(&keyring)));
        opener.forget(from.index.dead_facts().chain(gone.iter().copied()));
        let (views, sequencer) = Box::pin(fold(&log, &clock, &opener, from)).await?;
        if let Some(cause) = views.failure() {
            return Err(VaultError::Stopped(cause));
        }
        let known = sequencer.look(|index| (index.epoch(), index.dead().collect::<Vec<KeyId>>(), index.batches())).await;
        let (epoch, dead, batches) = known.unwrap_or_default();
        let epoch = epoch.ok_or_else(|| VaultError::Stopped("the log is empty: it has not begun".into()))?;
        match keyring.lacks(&batches)? {
            0 => {}
            lacks => return Err(KeyringError::TooOld(lacks).into()),
        }
        keyring.destroy(&dead)?;
        let sealer = Sealer::new(Arc::clone(&keyring), Arc::clone(&random), epoch)?;
        let token_key = keyring.purpose(TenantId::SYSTEM, Purpose::Token)?;
        let jwt_key = keyring.purpose(TenantId::SYSTEM, Purpose::Jwt)?;
        let nobody = authenticate::nobody(token_key.id, random.array());
        let notary = Box::new(prove::Notary::new(keyring.purpose(TenantId::SYSTEM, Purpose::Checkpoint)?.key));
        Ok(Self {
            jwt_key,
            notary,
            nobody,
            hashing: Semaphore::new(sessions::HASHING),
            usage: usage::Usage::default(),
            calls: calls::Noted::default(),
            attempts: attempts::Attempts::default(),
            rotations: rotate::Rotations::default(),
            backups: backups::Standing::default(),
            kept: tokio::sync::Mutex::default(),
            log,
            keyring,
            clock,
            random,
            opener,
            views,
            sequencer,
            sealer,
            token_key,
            reads: query::Reads::default(),
            contended: tokio::sync::Mutex::default(),
            putting_back: tokio::sync::Mutex::default(),
            recovering: std::sync::Mutex::default(),
            refusing: std::sync::Mutex::default(),
            standing: Box::default(),
        })
    }

    /// The read models, one consistent snapshot.
    #[must_use]
    pub fn views(&self) -> Arc<crate::views::Views> {
        self.views.load()
    }

    /// Views and index as they stand together; `None` when the vault has stopped.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let views = Arc::clone(&self.views);
        self.sequencer.look(move |index| Snapshot { views: (*views.load()).clone(), index: index.clone() }).await
    }

    /// Takes no more commands, and ends when those that wait are written.
    pub async fn shutdown(&self) {
        self.sequencer.shutdown().await;
    }

    /// An operator says that the wall clock is right, after it leapt.
    pub async fn confirm_clock(&self) {
        self.sequencer.confirm_clock().await;
    }

    /// The keys.
    #[must_use]
    pub fn keyring(&self) -> &Arc<dyn Keyring> {
        &self.keyring
    }

    /// The log, for reading.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }
}
