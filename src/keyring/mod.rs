//! The keyring: every key of the vault, wrapped, apart from the log.
//!
//! The root key wraps one key-encryption key per tenant; those wrap the purpose keys and the data keys. Data keys are taken from slots that
//! were minted ahead, so that a command never waits for the keyring's disk. Destroying a slot in both files is what shredding comes down to.

mod erase;
mod file;
mod mend;
mod pair;
mod root;
mod rotate;
mod slots;
mod sqlite;
mod wrapping;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub use erase::erase;
pub use root::{KeyFile, RootKeyProvider};
pub use rotate::{Held, Proof, Rotate, Turn, Versions};
pub use sqlite::{Mode, SqliteKeyring};

use crate::kernel::{KeyId, TenantId, VaultId};
use crate::seal::Key;

/// Slots of one batch.
pub const BATCH: u32 = 256;

/// What a purpose key is for. The stored names never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Names that may be taken once; one per tenant.
    Claims,
    /// Verifiers of our own tokens.
    Token,
    /// Command ids and request fingerprints.
    Command,
    /// Fingerprints of secrets.
    Fingerprint,
    /// The state hash.
    State,
    /// Access tokens that vendors' clients decode.
    Jwt,
    /// Snapshots on disk.
    Snapshot,
    /// Checkpoint signatures: an Ed25519 seed.
    Checkpoint,
}

impl Purpose {
    /// Those of the whole vault, kept with the system tenant.
    pub const VAULT: [Self; 7] = [Self::Token, Self::Command, Self::Fingerprint, Self::State, Self::Jwt, Self::Snapshot, Self::Checkpoint];

    /// The stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Token => "token",
            Self::Command => "command",
            Self::Fingerprint => "fingerprint",
            Self::State => "state",
            Self::Jwt => "jwt",
            Self::Snapshot => "snapshot",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// A key with one purpose, and the id that names it in what it makes.
pub struct PurposeKey {
    /// Names it.
    pub id: [u8; 16],
    /// The key.
    pub key: Key,
}

/// What went wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The root key does not open this keyring.
    #[error("the root key does not open this keyring; one that was copied before a rotation opens with the file that is kept as .old")]
    WrongRootKey,
    /// The root key file cannot be used.
    #[error("root key file {path}: {problem}")]
    RootKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// No keyring lies there.
    #[error("no keyring in {0}")]
    Absent(PathBuf),
    /// A tenant has no keys.
    #[error("tenant {0} has no keys")]
    UnknownTenant(TenantId),
    /// A data key is not in the keyring, though no shred took it: the keyring is older than the log, or damaged.
    #[error("key {0} is missing from the keyring, though no shred took it: the keyring is older than the log, or of another history; use the newest copy")]
    Missing(KeyId),
    /// A data key was destroyed on purpose.
    #[error("key {0} was destroyed")]
    Destroyed(KeyId),
    /// All keys of a tenant were destroyed on purpose.
    #[error("the keys of tenant {0} were destroyed")]
    TenantDestroyed(TenantId),
    /// The log was written with a newer keyring.
    #[error(
        "the keyring is older than the log: {0} batches of keys that the log uses are not in it. Put the newest copy of keyring.db and \
         keyring-copy.db into the data directory; nothing was written"
    )]
    TooOld(usize),
    /// The keys were wrapped anew while they were read.
    #[error("the keys were rotated meanwhile: run this again")]
    Rotated,
    /// The root key comes from where no other can be put.
    #[error("this source of the root key cannot be rotated")]
    Fixed,
    /// Both copies are damaged, or they disagree.
    #[error("the keyring is damaged: {0}")]
    Damaged(String),
    /// The disk or the database failed.
    #[error("the keyring cannot be read or written: {0}")]
    Io(String),
}

impl From<rusqlite::Error> for KeyringError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<std::io::Error> for KeyringError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Hands out keys and destroys them.
pub trait Keyring: Send + Sync {
    /// The vault whose keys these are.
    fn vault(&self) -> VaultId;
    /// A key with one purpose: of the tenant for [`Purpose::Claims`], else of the vault.
    fn purpose(&self, tenant: TenantId, purpose: Purpose) -> Result<PurposeKey, KeyringError>;
    /// Makes a tenant's keys, if it has none: they are wrapped under the root key, which is not kept.
    fn admit(&self, tenant: TenantId, root: &Key) -> Result<(), KeyringError>;
    /// A data key that was never handed out before; spent whatever becomes of it.
    fn take(&self, tenant: TenantId) -> Result<(KeyId, Key), KeyringError>;
    /// A data key by its id.
    fn key(&self, tenant: TenantId, id: KeyId) -> Result<Key, KeyringError>;
    /// How many of these batches it lacks: none, unless it is older than what was sealed with them.
    fn lacks(&self, _batches: &BTreeSet<[u8; 12]>) -> Result<usize, KeyringError> {
        Ok(0)
    }
    /// Destroys data keys for ever, in every copy; done when it returns. Those that are gone already are passed over. One that stands for a whole
    /// tenant destroys what wraps all of its keys.
    fn destroy(&self, keys: &[KeyId]) -> Result<(), KeyringError>;
    /// What wraps keys anew, where that is possible.
    fn rotate(&self) -> Option<&dyn Rotate> {
        None
    }
}
