//! The keyring on real files: what is lost comes back from the other copy, and what is destroyed comes back from nowhere.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::keyring::{BATCH, KeyFile, Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use keyledger::seal::Key;

use crate::fixed::FixedRandom;

pub const VAULT: VaultId = VaultId(*b"vault-of-keyring");
pub const TENANT: TenantId = TenantId(*b"tenant-a-keyring");
pub const OTHER: TenantId = TenantId(*b"tenant-b-keyring");
pub const FILES: [&str; 2] = ["keyring.db", "keyring-copy.db"];

/// A root key that a test chose.
pub struct Given(pub [u8; 32]);

impl RootKeyProvider for Given {
    fn root_key(&self, _: VaultId) -> Result<Key, KeyringError> {
        Ok(Key::new(self.0))
    }
}

pub const ROOT: Given = Given([1; 32]);

pub fn make(folder: &Path) -> SqliteKeyring {
    let root = ROOT.root_key(VAULT).unwrap();
    let keyring = SqliteKeyring::create(folder, VAULT, &root, Arc::new(FixedRandom::new(1))).unwrap();
    keyring.ensure_tenant(TENANT, &root).unwrap();
    keyring.ensure_tenant(OTHER, &root).unwrap();
    keyring
}

/// Opens in another run: randomness goes on elsewhere.
pub fn open(folder: &Path, seed: u64) -> Result<(SqliteKeyring, Vec<String>), KeyringError> {
    SqliteKeyring::open(folder, &ROOT, Mode::Serve, 1, Arc::new(FixedRandom::new(seed)))
}

/// The files of the folder that hold these bytes.
pub fn holding(folder: &Path, needle: &[u8]) -> Vec<String> {
    let (folders, files): (Vec<_>, Vec<_>) = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| holding(folder, needle));
    let holds = |path: &std::path::PathBuf| fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle);
    let here = files.iter().filter(|path| holds(path)).map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    here.chain(below).collect()
}

/// The wrapped bytes of a key, as they lie in the table.
pub fn wrapped(folder: &Path, id: KeyId) -> Vec<u8> {
    let connection = rusqlite::Connection::open(folder.join(FILES[0])).unwrap();
    let slots: Vec<u8> = connection.query_row("SELECT slots FROM batches WHERE id = ?1", [id.batch.to_vec()], |row| row.get(0)).unwrap();
    slots[id.slot as usize * 104..][..104].to_vec()
}

#[test]
fn keys_come_back_after_a_restart_and_none_is_handed_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    let keyring = make(folder.path());
    let claims = keyring.purpose(TENANT, Purpose::Claims).unwrap();
    let token = keyring.purpose(TENANT, Purpose::Token).unwrap();
    for _ in 0..BATCH * 2 + 7 {
        let (id, key) = keyring.take(TENANT).unwrap();
        assert!(seen.insert(id), "{id} was handed out twice");
        assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
        kept.push((id, *key.expose()));
    }
    drop(keyring);
    let (keyring, repairs) = open(folder.path(), 2).unwrap();
    assert_eq!((keyring.vault(), repairs.len()), (VAULT, 0));
    for (id, key) in kept {
        assert_eq!(keyring.key(TENANT, id).unwrap().expose(), &key);
        assert!(matches!(keyring.key(OTHER, id), Err(KeyringError::Missing(_))), "another tenant's key");
    }
    assert_eq!(keyring.purpose(TENANT, Purpose::Claims).unwrap().key.expose(), claims.key.expose());
    assert_eq!(keyring.purpose(OTHER, Purpose::Token).unwrap().id, token.id, "one for the vault");
    assert_ne!(keyring.purpose(OTHER, Purpose::Claims).unwrap().id, claims.id, "one for each tenant");
    for _ in 0..BATCH {
        let (id, _) = keyring.take(TENANT).unwrap();
        assert!(seen.insert(id), "the rest of an older batch is never used");
    }
}

#[test]
fn another_root_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(make(folder.path()));
    let wrong = SqliteKeyring::open(folder.path(), &Given([2; 32]), Mode::Serve, 1, Arc::new(FixedRandom::new(2)));
    assert!(matches!(wrong.err(), Some(KeyringError::WrongRootKey)));
    assert_eq!(SqliteKeyring::vault_at(folder.path()).unwrap(), VAULT, "whose it is can be told without a key");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(empty.path(), 2).err(), Some(KeyringError::Absent(_))));
    assert!(SqliteKeyring::create(folder.path(), VAULT, &Key::new([1; 32]), Arc::new(FixedRandom::new(3))).is_err(), "never over another");
}

#[test]
fn a_destroyed_key_lies_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, key) = keyring.take(TENANT).unwrap();
    let (kept, _) = keyring.take(TENANT).unwrap();
    let bytes = wrapped(folder.path(), id);
    assert_eq!(holding(folder.path(), &bytes[..60]).len(), 2, "the scan finds what is there");
    assert!(holding(folder.path(), key.expose()).is_empty(), "never in clear");
    keyring.key(TENANT, id).unwrap();
    keyring.destroy(&[id]).unwrap();
    keyring.destroy(&[id]).unwrap();
    assert!(matches!(keyring.key(TENANT, id), Err(KeyringError::Destroyed(_))));
    assert!(keyring.key(TENANT, kept).is_ok());
    for part in bytes.chunks(16).filter(|part| part.len() == 16) {
        assert!(holding(folder.path(), part).is_empty());
    }
    drop(keyring);
    let (keyring, repairs) = open(folder.path(), 2).unwrap();
    assert!(matches!(keyring.key(TENANT, id), Err(KeyringError::Destroyed(_))));
    assert!(repairs.is_empty());
    let unknown = KeyId { batch: [9; 12], slot: 0 };
    assert!(matches!(keyring.key(TENANT, unknown), Err(KeyringError::Missing(_))), "missing is not destroyed");
}

#[test]
fn a_destruction_that_reached_one_file_is_carried_to_the_other() {
    for untouched in FILES {
        let folder = tempfile::tempdir().unwrap();
        let keyring = make(folder.path());
        let (id, _) = keyring.take(TENANT).unwrap();
        let bytes = wrapped(folder.path(), id);
        let before = fs::read(folder.path().join(untouched)).unwrap();
        keyring.destroy(&[id]).unwrap();
        drop(keyring);
        fs::write(folder.path().join(untouched), before).unwrap();
        let (keyring, repairs) = open(folder.path(), 2).unwrap();
        assert_eq!(repairs, ["a row of batches had lost a destruction in one copy"]);
        assert!(matches!(keyring.key(TENANT, id), Err(KeyringError::Destroyed(_))));
        assert!(holding(folder.path(), &bytes[..60]).is_empty());
    }
}

/// Changes one field of every row of a file, leaving the checksums as they were.
fn damage(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    for (table, column) in [("meta", "value"), ("wrapping_keys", "wrapped"), ("purpose_keys", "wrapped"), ("batches", "slots")] {
        connection.execute(&format!("UPDATE {table} SET {column} = randomblob(length({column}))"), []).unwrap();
    }
}

#[test]
fn damaged_rows_are_repaired_from_the_other_copy() {
    for damaged in FILES {
        let folder = tempfile::tempdir().unwrap();
        let keyring = make(folder.path());
        let (id, key) = keyring.take(TENANT).unwrap();
        drop(keyring);
        damage(&folder.path().join(damaged));
        let read_only = SqliteKeyring::open(folder.path(), &ROOT, Mode::Read, 1, Arc::new(FixedRandom::new(3))).unwrap().0;
        assert_eq!(read_only.key(TENANT, id).unwrap().expose(), key.expose(), "a reader finds the whole row");
        drop(read_only);
        let (keyring, repairs) = open(folder.path(), 2).unwrap();
        assert!(repairs.len() >= 4 && repairs.iter().all(|repair| repair.contains(damaged)), "{repairs:?}");
        assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
        drop(keyring);
        assert!(open(folder.path(), 3).unwrap().1.is_empty(), "mended for good");
    }
}

#[test]
fn a_lost_or_unreadable_file_is_made_anew() {
    for lost in FILES {
        let folder = tempfile::tempdir().unwrap();
        let keyring = make(folder.path());
        let (id, key) = keyring.take(TENANT).unwrap();
        drop(keyring);
        fs::remove_file(folder.path().join(lost)).unwrap();
        let (keyring, repairs) = open(folder.path(), 2).unwrap();
        assert!(repairs[0].contains("made anew"), "{repairs:?}");
        assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
        drop(keyring);
        fs::write(folder.path().join(lost), b"not a database at all, but it lies where one should").unwrap();
        let (keyring, _) = open(folder.path(), 3).unwrap();
        assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
        assert!(folder.path().join(format!("{lost}.damaged-1")).exists(), "kept aside");
    }
}

#[test]
fn what_is_whole_in_neither_copy_is_said_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    drop(make(folder.path()));
    for file in FILES {
        damage(&folder.path().join(file));
    }
    let before = FILES.map(|file| fs::read(folder.path().join(file)).unwrap());
    assert!(matches!(open(folder.path(), 2).err(), Some(KeyringError::Damaged(_))));
    assert_eq!(FILES.map(|file| fs::read(folder.path().join(file)).unwrap()), before);
}

#[test]
fn the_key_file_is_private_apart_and_of_this_vault() {
    let (data, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = KeyFile::at(config.path().join("keys/root.key"));
    let key = file.create(VAULT, data.path(), &FixedRandom::new(1)).unwrap();
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(file.root_key(VAULT).unwrap().expose(), key.expose());
    let said = |result: Result<Key, KeyringError>| result.err().unwrap().to_string();
    assert!(said(file.root_key(VaultId([0; 16]))).contains("another vault"));
    assert!(file.create(VAULT, data.path(), &FixedRandom::new(2)).is_err(), "never over another");
    assert!(said(KeyFile::at(data.path().join("sub/root.key")).create(VAULT, data.path(), &FixedRandom::new(2))).contains("data directory"));
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(said(file.root_key(VAULT)).contains("chmod 600"));
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read_to_string(file.path()).unwrap();
    for bad in ["", "keyledger root key v1", &good.replace("v1", "v2"), &format!("{good}more\n"), &good[..good.len() - 4], &"x".repeat(5000)] {
        fs::write(file.path(), bad).unwrap();
        let error = said(file.root_key(VAULT));
        assert!(error.contains("root key file") && error.contains("root.key"), "{error}");
    }
}
