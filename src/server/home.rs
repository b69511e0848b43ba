//! A data directory: `log.db` and `segments/`, `keyring.db` and `keyring-copy.db`, and `lock`. The root key never lies here.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::anchor::{Compared, compare};
use super::backup;
use super::copies::{Opened, signer};
use super::partial::Partial;
use super::unexplained::Unexplained;
use crate::jobs::{AnchorFile, Checkpoints};
use crate::kernel::{Clock, KeyId, Position, Random, Secret, TenantId, VaultId};
use crate::keyring::{KeyFile, Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use crate::log::copies::{self, Depth, LOG};
use crate::log::segment::FOLDER;
use crate::log::{DoubledLog, EventLog, LogError, Repair};
use crate::seal::Key;
use crate::seal::merkle::Frontier;
use crate::vault::{Genesis, Vault, VaultError, begin};
use crate::views::{CatchUpError, Opener, Snapshot, SnapshotError};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A vault lies there already.
    #[error("{0} holds a vault already; name another directory with --data")]
    Occupied(PathBuf),
    /// No vault lies there.
    #[error("{0} holds no vault; make one with `keyledger init --data {0}`")]
    Absent(PathBuf),
    /// Another process serves it.
    #[error("{folder} is served by another process (pid {pid}); a vault has one server at a time")]
    Locked {
        /// The directory.
        folder: PathBuf,
        /// What the lock file says.
        pid: String,
    },
    /// The file system.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        error: std::io::Error,
    },
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log cannot be folded.
    #[error(transparent)]
    Fold(#[from] CatchUpError),
    /// A position that the log does not have.
    #[error("the log ends at position {0}")]
    PastTheEnd(Position),
    /// A restore or a start that came out otherwise than the history says.
    #[error("the vault is not what the log says: {0}; nothing was made")]
    NotTheSame(&'static str),
    /// The copies of the log have forked, or both lack something.
    #[error("{refusal}; nothing was changed. `keyledger doctor --data {folder}` explains", folder = folder.display())]
    Copies {
        /// The directory.
        folder: PathBuf,
        /// What is wrong.
        refusal: copies::Refusal,
    },
    /// There is no loss to accept.
    #[error("nothing that could be accepted is lost: {0}")]
    NoLoss(String),
    /// A backup that is not what it says, or that cannot be made.
    #[error("{path}: {problem}")]
    Backup {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to restore.
    #[error("the vault had not begun by then: its first whole state is at position {0}")]
    BeforeTheBeginning(Position),
}

/// A data directory and where its root key comes from.
pub struct Home {
    pub(super) folder: PathBuf,
    pub(super) root_key_file: Option<PathBuf>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) anchors: Option<AnchorFile>,
}

/// A vault that has just begun.
pub struct Begun {
    /// Its id.
    pub vault: VaultId,
    /// Where its root key lies.
    pub root_key_file: PathBuf,
    /// The owner's token; shown once, kept nowhere.
    pub owner_token: Secret,
}

/// Keeps every other server out for as long as it lives. It is let go by itself, and not only when the file is closed: a process that is being
/// started just now holds all that is open for a moment.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "the data directory stays locked until this process ends");
        }
    }
}

/// A vault that is only read: nothing is locked, so a server may run beside.
pub struct Reading {
    /// Its log.
    pub log: Arc<dyn EventLog>,
    /// Its keys.
    pub keyring: Arc<SqliteKeyring>,
}

impl Home {
    /// Names the directory; without a root key file, the default place for the vault's id is used.
    #[must_use]
    pub fn new(folder: PathBuf, root_key_file: Option<PathBuf>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { folder, root_key_file, clock, random, anchors: None }
    }

    /// With a file that says what the log was: it is compared with it at the start.
    #[must_use]
    pub fn anchored(self, anchors: Option<AnchorFile>) -> Self {
        Self { anchors, ..self }
    }

    /// Where the log lies in a data directory.
    #[must_use]
    pub fn log_in(folder: &Path) -> PathBuf {
        folder.join(LOG)
    }

    /// The data directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same root key, clock and randomness for another directory.
    #[must_use]
    pub fn of(&self, folder: PathBuf) -> Self {
        Self { folder, root_key_file: self.root_key_file.clone(), clock: Arc::clone(&self.clock), random: Arc::clone(&self.random), anchors: None }
    }

    /// Whether a vault lies there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.join(LOG).exists() || self.folder.join(FOLDER).exists()
    }

    /// Makes a vault beside the directory and moves it there when it is whole: an interrupted `init` leaves no half vault.
    pub async fn init(&self) -> Result<Begun, HomeError> {
        let partial = Partial::begin(&self.folder, &*self.random)?;
        let vault = VaultId::random(&*self.random);
        let file = self.key_file(vault)?;
        let root = file.create(vault, &self.folder, &*self.random)?;
        let begun = async {
            let genesis = self.fill(partial.path(), vault, &root).await?;
            partial.place()?;
            Ok(Begun { vault, root_key_file: file.path().to_owned(), owner_token: genesis.token })
        };
        begun.await.inspect_err(|_| {
            // It opens nothing; the error that counts is the one that ended the making.
            drop(fs::remove_file(file.path()));
        })
    }

    async fn fill(&self, folder: &Path, vault: VaultId, root: &Key) -> Result<Genesis, HomeError> {
        let keyring = SqliteKeyring::create(folder, vault, root, Arc::clone(&self.random))?;
        let tenant = TenantId::random(&*self.random);
        keyring.ensure_tenant(tenant, root)?;
        let log: Arc<dyn EventLog> = Arc::new(DoubledLog::open(folder, vault, signer(&keyring)?)?);
        Ok(begin(log, Arc::new(keyring), Arc::clone(&self.clock), Arc::clone(&self.random), tenant).await?)
    }

    /// Starts the vault and keeps every other server out for as long as the returned lock lives. Repairs are logged, and those of the log are events.
    pub async fn start(&self) -> Result<(Vault, Lock), HomeError> {
        self.start_after(Depth::Tail).await
    }

    /// As [`Home::start`], with so much of the log compared first. What is folded is compared in any case: by its hash tree, which must be that of
    /// the segments. Where it is another, or cannot be folded, all of both copies is compared, and mended.
    pub async fn start_after(&self, depth: Depth) -> Result<(Vault, Lock), HomeError> {
        let (lock, mut repairs) = (self.lock()?, Vec::new());
        let (vault, lost) = match self.started(depth, &mut repairs).await {
            Err(error @ (HomeError::Vault(_) | HomeError::Log(_) | HomeError::NotTheSame(_))) if depth == Depth::Tail => {
                tracing::warn!(%error, "the log is compared from its first record on");
                self.started(Depth::Whole, &mut repairs).await?
            }
            started => started?,
        };
        self.compare(&vault).await?;
        if let Some(lost) = lost.filter(|_| vault.lost().is_none()) {
            vault.refuse_writes(lost);
        }
        if vault.lost().is_some() {
            return Ok((vault, lock));
        }
        if let Err(error) = vault.note_repairs(&repairs).await {
            tracing::warn!(%error, "the repair of the log could not be recorded as an event");
        }
        match vault.bring_catalog().await {
            Ok(0) => {}
            Ok(brought) => tracing::info!(brought, "shipped connectors that are new or changed are in the log"),
            // On a full disk what is there can still be read; the next start tries again.
            Err(error) => tracing::warn!(%error, "shipped connectors that are new or changed could not be written"),
        }
        Ok((vault, lock))
    }

    /// Compares the log with what was said of it. Where it is not that, the vault is served without writing anything.
    async fn compare(&self, vault: &Vault) -> Result<(), HomeError> {
        let (prover, public) = (vault.prover().await?, vault.public_key());
        let log = Compared { vault: vault.keyring().vault(), public: &public, prover: &prover, log: &**vault.log() };
        let found = compare(&log, &Checkpoints::path(&self.folder), self.anchors.as_ref()).await?;
        if !found.said.is_empty() {
            vault.warn("anchors", Some(found.said.join("; ")));
        }
        if !found.lost.is_empty() {
            let lost: Vec<String> = found.lost.iter().map(ToString::to_string).collect();
            vault.refuse_writes(lost.join("; "));
        }
        Ok(())
    }

    /// One try: the vault over what the comparison of the copies gave, and why it is only read.
    async fn started(&self, depth: Depth, repairs: &mut Vec<Repair>) -> Result<(Vault, Option<String>), HomeError> {
        let keyring = Arc::new(self.keyring()?);
        let Opened { log, tree, repairs: mended, lost } = self.open_log(&keyring, depth)?;
        repairs.extend(mended);
        keyring.begin_epoch(last_epoch(&*log).await?);
        if lost.is_some() {
            let vault = self.for_reading(log, keyring).await?;
            return if is_of(&vault, &tree).await { Ok((vault, lost)) } else { Err(other_tree(&vault).await) };
        }
        let key = keyring.purpose(TenantId::SYSTEM, Purpose::Snapshot)?.key;
        let snapshot = match Snapshot::read(&self.snapshot(), &*log, keyring.vault(), &key).await {
            Ok(snapshot) => snapshot,
            Err(SnapshotError::Absent) => Snapshot::default(),
            Err(error) => {
                tracing::warn!(%error, "the snapshot is not used; the log is folded from its first event");
                Snapshot::default()
            }
        };
        let at = snapshot.views.position();
        let vault = Vault::start(log, keyring, Arc::clone(&self.clock), Arc::clone(&self.random), snapshot).await?;
        if is_of(&vault, &tree).await {
            *vault.snapshot_turn().await = Some(self.snapshot());
            // A crash may have come between a shred and the end of what was kept before it.
            if vault.views().forgot().is_some_and(|forgot| forgot > at) {
                vault.forget_snapshot().await?;
            }
            return Ok((vault, None));
        }
        Err(other_tree(&vault).await)
    }

    /// A vault over a log that has lost its end: folded from its first event, since what was kept may be of that end, and without what is lost with
    /// keys whose shred it does not tell.
    async fn for_reading(&self, log: Arc<dyn EventLog>, keyring: Arc<SqliteKeyring>) -> Result<Vault, HomeError> {
        let gone = Unexplained::find(&*log, &*keyring, &Opener::new(keyring.clone())).await?;
        if !gone.is_empty() {
            tracing::warn!("{gone}");
        }
        let dead: Vec<KeyId> = gone.dead().collect();
        Ok(Vault::start_without(log, keyring, Arc::clone(&self.clock), Arc::clone(&self.random), Snapshot::default(), &dead).await?)
    }

    /// Opens the keyring to serve. Which epoch it mints for is said when the log is open.
    pub(super) fn keyring(&self) -> Result<SqliteKeyring, HomeError> {
        let root = self.key_file(SqliteKeyring::vault_at(&self.folder)?)?;
        let (keyring, repairs) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Serve, 1, Arc::clone(&self.random))?;
        for repair in repairs {
            tracing::warn!(%repair, "the keyring was repaired");
        }
        Ok(keyring)
    }

    /// Where the snapshot of the views lies; it may be missing or removed at any time.
    #[must_use]
    pub fn snapshot(&self) -> PathBuf {
        self.folder.join("views.snapshot")
    }

    /// Opens log and keyring for reading.
    pub fn read(&self) -> Result<Reading, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        let root = self.key_file(SqliteKeyring::vault_at(&self.folder)?)?;
        let (keyring, _) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
        Ok(Reading { log: self.reading(keyring.vault())?, keyring: Arc::new(keyring) })
    }

    /// Where a vault's root key comes from.
    pub fn key_file(&self, vault: VaultId) -> Result<KeyFile, KeyringError> {
        self.root_key_file.clone().map_or_else(|| KeyFile::default_for(vault), |path| Ok(KeyFile::at(path)))
    }

    pub(super) fn lock(&self) -> Result<Lock, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        if backup::is_one(&self.folder) {
            let problem = "it is a backup, which nothing may change: make a vault of it with `keyledger restore`".into();
            return Err(HomeError::Backup { path: self.folder.clone(), problem });
        }
        let path = self.folder.join("lock");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(|error| io(&path, error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // The lock holds whatever the file says: the text only helps to find the process.
            drop(file.read_to_string(&mut pid));
            return Err(HomeError::Locked { folder: self.folder.clone(), pid: pid.trim().to_owned() });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|error| io(&path, error))?;
        Ok(Lock(file))
    }
}

/// Whether what was folded is what the comparison of the copies saw.
async fn is_of(vault: &Vault, tree: &Frontier) -> bool {
    vault.snapshot().await.is_some_and(|now| now.index.tree() == tree)
}

async fn other_tree(vault: &Vault) -> HomeError {
    vault.shutdown().await;
    HomeError::NotTheSame("the hash tree of what was folded is not that of the segments")
}

/// The number of the epoch that the log's last record belongs to; 1 in an empty log.
pub(super) async fn last_epoch(log: &dyn EventLog) -> Result<u32, HomeError> {
    let head = *log.head().borrow();
    Ok(log.fetch(&[head]).await?.first().map_or(1, |last| last.header().epoch.number))
}

pub(super) fn io(path: &Path, error: std::io::Error) -> HomeError {
    HomeError::Io { path: path.to_owned(), error }
}
