//! A data directory: `log.db`, `keyring.db`, `keyring-copy.db` and `lock`. The root key never lies here.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::kernel::{Clock, Random, Secret, TenantId, VaultId};
use crate::keyring::{KeyFile, Keyring, KeyringError, Mode, RootKeyProvider, SqliteKeyring};
use crate::log::{EventLog, LogError, Options, SqliteLog};
use crate::vault::{Vault, VaultError, begin};

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
}

/// A data directory and where its root key comes from.
pub struct Home {
    folder: PathBuf,
    root_key_file: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
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

/// A vault that is only read: nothing is locked, so a server may run beside.
pub struct Reading {
    /// Its log.
    pub log: Arc<dyn EventLog>,
    /// Its keys.
    pub keyring: Arc<dyn Keyring>,
}

impl Home {
    /// Names the directory; without a root key file, the default place for the vault's id is used.
    #[must_use]
    pub fn new(folder: PathBuf, root_key_file: Option<PathBuf>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { folder, root_key_file, clock, random }
    }

    /// Whether a vault lies there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.join("keyring.db").exists() || self.folder.join("keyring-copy.db").exists() || self.folder.join("log.db").exists()
    }

    /// Makes a vault beside the directory and moves it there when it is whole: an interrupted `init` leaves no half vault.
    pub async fn init(&self) -> Result<Begun, HomeError> {
        if self.folder.exists() && fs::read_dir(&self.folder).map_err(|error| io(&self.folder, error))?.next().is_some() {
            return Err(HomeError::Occupied(self.folder.clone()));
        }
        let vault = VaultId::random(&*self.random);
        let name = self.folder.file_name().map_or_else(|| "keyledger-data".into(), |name| name.to_string_lossy().into_owned());
        let partial = self.folder.with_file_name(format!(".{name}.{vault}.partial"));
        let begun = self.fill(&partial, vault).await;
        let placed = begun.and_then(|begun| {
            let move_there = || {
                if self.folder.exists() {
                    fs::remove_dir(&self.folder)?;
                }
                fs::rename(&partial, &self.folder)?;
                let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                File::open(parent)?.sync_all()
            };
            move_there().map_err(|error| io(&self.folder, error))?;
            Ok(begun)
        });
        if placed.is_err() {
            // What was made is useless without its end; the error that counts is the first one.
            drop(fs::remove_dir_all(&partial));
        }
        placed
    }

    async fn fill(&self, folder: &Path, vault: VaultId) -> Result<Begun, HomeError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| io(folder, error))?;
        let file = self.key_file(vault)?;
        let root = file.create(vault, &self.folder, &*self.random)?;
        let keyring = SqliteKeyring::create(folder, vault, &root, Arc::clone(&self.random))?;
        let tenant = TenantId::random(&*self.random);
        keyring.ensure_tenant(tenant, &root)?;
        let log: Arc<dyn EventLog> = Arc::new(SqliteLog::open(&folder.join("log.db"), Options::default())?);
        let genesis = begin(log, Arc::new(keyring), Arc::clone(&self.clock), Arc::clone(&self.random), tenant).await?;
        Ok(Begun { vault, root_key_file: file.path().to_owned(), owner_token: genesis.token })
    }

    /// Starts the vault and keeps every other server out for as long as the returned lock lives. Repairs are logged.
    pub async fn start(&self) -> Result<(Vault, File), HomeError> {
        let lock = self.lock()?;
        let root = self.key_file(SqliteKeyring::vault_at(&self.folder)?)?;
        let (keyring, repairs) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Serve, 1, Arc::clone(&self.random))?;
        for repair in repairs {
            tracing::warn!(%repair, "the keyring was repaired");
        }
        let log: Arc<dyn EventLog> = Arc::new(SqliteLog::open(&self.folder.join("log.db"), Options::default())?);
        let vault = Vault::start(log, Arc::new(keyring), Arc::clone(&self.clock), Arc::clone(&self.random)).await?;
        Ok((vault, lock))
    }

    /// Opens log and keyring for reading.
    pub fn read(&self) -> Result<Reading, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
        }
        let root = self.key_file(SqliteKeyring::vault_at(&self.folder)?)?;
        let (keyring, _) = SqliteKeyring::open(&self.folder, &root as &dyn RootKeyProvider, Mode::Read, 1, Arc::clone(&self.random))?;
        let log = SqliteLog::open(&self.folder.join("log.db"), Options { read_only: true, ..Options::default() })?;
        Ok(Reading { log: Arc::new(log), keyring: Arc::new(keyring) })
    }

    fn key_file(&self, vault: VaultId) -> Result<KeyFile, KeyringError> {
        self.root_key_file.clone().map_or_else(|| KeyFile::default_for(vault), |path| Ok(KeyFile::at(path)))
    }

    fn lock(&self) -> Result<File, HomeError> {
        if !self.exists() {
            return Err(HomeError::Absent(self.folder.clone()));
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
        Ok(file)
    }
}

fn io(path: &Path, error: std::io::Error) -> HomeError {
    HomeError::Io { path: path.to_owned(), error }
}
