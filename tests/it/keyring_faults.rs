//! The keyring when a disk fails at the wrong moment, and what it must not lose or keep then.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::keyring::{KeyFile, Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use keyledger::seal::Key;

use crate::fixed::FixedRandom;
use crate::keyring::{FILES, OTHER, ROOT, TENANT, VAULT, holding, make, open, wrapped};

/// Keeps writers out of a file for as long as it lives.
fn blocked(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn a_tenant_whose_making_failed_half_way_is_made_by_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let root = ROOT.root_key(VAULT).unwrap();
    let late = TenantId(*b"tenant-c-keyring");
    let block = blocked(&folder.path().join(FILES[1]));
    assert!(keyring.ensure_tenant(late, &root).is_err());
    drop(block);
    keyring.ensure_tenant(late, &root).unwrap();
    let (id, key) = keyring.take(late).unwrap();
    let claims = keyring.purpose(late, Purpose::Claims).unwrap();
    drop(keyring);
    let (keyring, _) = open(folder.path(), 2).unwrap();
    assert_eq!(keyring.key(late, id).unwrap().expose(), key.expose());
    assert_eq!(keyring.purpose(late, Purpose::Claims).unwrap().id, claims.id);
}

#[test]
fn a_tenant_that_reached_one_file_is_taken_over_and_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let root = ROOT.root_key(VAULT).unwrap();
    let late = TenantId(*b"tenant-c-keyring");
    // Another hand makes it beside us, and the second file loses it: what a run leaves whose second commit failed.
    let before = fs::read(folder.path().join(FILES[1])).unwrap();
    let (beside, _) = open(folder.path(), 2).unwrap();
    beside.ensure_tenant(late, &root).unwrap();
    let claims = beside.purpose(late, Purpose::Claims).unwrap();
    let (id, key) = beside.take(late).unwrap();
    drop(beside);
    fs::write(folder.path().join(FILES[1]), before).unwrap();
    keyring.ensure_tenant(late, &root).unwrap();
    assert_eq!(keyring.purpose(late, Purpose::Claims).unwrap().id, claims.id);
    assert_eq!(keyring.key(late, id).unwrap().expose(), key.expose());
    assert_ne!(keyring.take(late).unwrap().0.batch, id.batch, "another run's slots are not ours");
    drop(keyring);
    assert!(open(folder.path(), 3).unwrap().1.is_empty(), "both files have it");
}

#[test]
fn tenants_made_at_once_get_one_set_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    for round in 0..6_u8 {
        let late = TenantId([round; 16]);
        let taken = std::thread::scope(|scope| {
            let make = || {
                keyring.ensure_tenant(late, &ROOT.root_key(VAULT).unwrap()).unwrap();
                keyring.take(late).unwrap()
            };
            let both = [scope.spawn(make), scope.spawn(make)];
            both.map(|thread| thread.join().unwrap())
        });
        for (id, key) in taken {
            assert_eq!(keyring.key(late, id).unwrap().expose(), key.expose());
        }
    }
    drop(keyring);
    assert!(open(folder.path(), 2).unwrap().1.is_empty());
}

#[test]
fn a_destruction_that_failed_half_way_is_finished_by_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, _) = keyring.take(TENANT).unwrap();
    keyring.key(TENANT, id).unwrap();
    let bytes = wrapped(folder.path(), id);
    let before = fs::read(folder.path().join(FILES[1])).unwrap();
    let block = blocked(&folder.path().join(FILES[1]));
    assert!(keyring.destroy(&[id]).is_err(), "a file that cannot be written is no success");
    drop(block);
    assert_eq!(holding(folder.path(), &bytes[..60]).len(), 2, "nor is it half a destruction");
    keyring.destroy(&[id]).unwrap();
    assert!(holding(folder.path(), &bytes[..60]).is_empty());
    // As if the second of the two commits had failed, in the same run.
    fs::write(folder.path().join(FILES[1]), before).unwrap();
    keyring.destroy(&[id]).unwrap();
    assert!(matches!(keyring.key(TENANT, id), Err(KeyringError::Destroyed(_))));
    assert!(holding(folder.path(), &bytes[..60]).is_empty(), "{:?}", holding(folder.path(), &bytes[..60]));
}

#[test]
fn a_file_kept_aside_keeps_no_destroyed_key() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, _) = keyring.take(TENANT).unwrap();
    let bytes = wrapped(folder.path(), id);
    drop(keyring);
    let mut damaged = fs::read(folder.path().join(FILES[0])).unwrap();
    damaged[..16].fill(7);
    fs::write(folder.path().join(FILES[0]), damaged).unwrap();
    let (keyring, _) = open(folder.path(), 2).unwrap();
    assert_eq!(holding(folder.path(), &bytes[..60]).len(), 3, "two copies and the one kept aside");
    keyring.destroy(&[id]).unwrap();
    assert!(holding(folder.path(), &bytes[..60]).is_empty(), "{:?}", holding(folder.path(), &bytes[..60]));
}

#[test]
fn a_row_whose_key_is_damaged_is_repaired_too() {
    for damaged in FILES {
        for (table, column) in [("meta", "name"), ("wrapping_keys", "tenant"), ("purpose_keys", "id"), ("batches", "id")] {
            let folder = tempfile::tempdir().unwrap();
            let keyring = make(folder.path());
            let (id, key) = keyring.take(TENANT).unwrap();
            drop(keyring);
            let connection = rusqlite::Connection::open(folder.path().join(damaged)).unwrap();
            let value = if table == "meta" { "'vaulu'" } else { "randomblob(16)" };
            let changed = connection.execute(&format!("UPDATE {table} SET {column} = {value}"), []).unwrap();
            assert!(changed > 0);
            drop(connection);
            let (keyring, repairs) = open(folder.path(), 2).unwrap_or_else(|error| panic!("{damaged} {table}.{column}: {error}"));
            assert!(!repairs.is_empty());
            assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
            drop(keyring);
            assert!(open(folder.path(), 3).unwrap().1.is_empty(), "mended for good");
        }
    }
}

#[test]
fn any_flipped_bit_of_one_file_is_mended_from_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, key) = keyring.take(TENANT).unwrap();
    let wrapped_bytes = wrapped(folder.path(), id);
    drop(keyring);
    let good = FILES.map(|file| fs::read(folder.path().join(file)).unwrap());
    // Headers, schema and inner pages densely, the slots sparsely.
    for (damaged, bytes) in good.iter().enumerate() {
        // The batch's id lies in its row and in the index: a flip there hides the row.
        let ids: Vec<usize> = (0..bytes.len() - 12).filter(|at| bytes[*at..*at + 12] == id.batch).collect();
        assert_eq!(ids.len(), 2);
        for place in (damaged..bytes.len()).step_by(4507).chain((damaged..128).step_by(11)).chain(ids) {
            let work = tempfile::tempdir().unwrap();
            let mut bad = bytes.clone();
            bad[place] ^= 0x10;
            fs::write(work.path().join(FILES[damaged]), bad).unwrap();
            fs::write(work.path().join(FILES[1 - damaged]), &good[1 - damaged]).unwrap();
            let (keyring, _) = open(work.path(), 2).unwrap_or_else(|error| panic!("{damaged}, bit at {place}: {error}"));
            assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose(), "{damaged}, bit at {place}");
            assert!(keyring.key(TENANT, KeyId { slot: 255, ..id }).is_ok(), "{damaged}, bit at {place}");
            keyring.destroy(&[id]).unwrap();
            assert!(holding(work.path(), &wrapped_bytes[..60]).is_empty(), "{damaged}, bit at {place}");
        }
    }
}

#[test]
fn an_unreadable_file_beside_a_damaged_row_changes_nothing_on_disk() {
    for unreadable in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        drop(make(folder.path()));
        fs::write(folder.path().join(FILES[unreadable]), b"no database").unwrap();
        let other = rusqlite::Connection::open(folder.path().join(FILES[1 - unreadable])).unwrap();
        other.execute("UPDATE batches SET slots = randomblob(length(slots)) WHERE tenant = ?1", [TENANT.0.to_vec()]).unwrap();
        drop(other);
        let listing = |folder: &Path| {
            let mut files: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
            files.sort();
            files
        };
        let before = listing(folder.path());
        assert!(matches!(open(folder.path(), 2).err(), Some(KeyringError::Damaged(_))));
        assert!(listing(folder.path()) == before, "nothing was overwritten or set aside");
    }
}

#[test]
fn a_reader_needs_only_one_whole_copy() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, key) = keyring.take(TENANT).unwrap();
    drop(keyring);
    let first = rusqlite::Connection::open(folder.path().join(FILES[0])).unwrap();
    first.execute_batch("DELETE FROM wrapping_keys; DELETE FROM purpose_keys; DELETE FROM batches").unwrap();
    drop(first);
    let before = FILES.map(|file| fs::read(folder.path().join(file)).unwrap());
    let keyring = SqliteKeyring::open(folder.path(), &ROOT, Mode::Read, 1, Arc::new(FixedRandom::new(3))).unwrap().0;
    assert_eq!(keyring.key(TENANT, id).unwrap().expose(), key.expose());
    assert!(keyring.take(TENANT).is_err() && keyring.destroy(&[id]).is_err(), "a reader writes nothing");
    drop(keyring);
    assert!(FILES.map(|file| fs::read(folder.path().join(file)).unwrap()) == before);
}

#[test]
fn a_slot_moved_to_another_tenant_does_not_open() {
    use sha2::{Digest, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let (id, _) = keyring.take(TENANT).unwrap();
    drop(keyring);
    for file in FILES {
        let connection = rusqlite::Connection::open(folder.path().join(file)).unwrap();
        let query = "SELECT version, epoch, run, slots FROM batches WHERE id = ?1";
        let (version, epoch, run, slots): (i64, i64, Vec<u8>, Vec<u8>) =
            connection.query_row(query, [id.batch.to_vec()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        let fields: [(u8, &[u8]); 6] = [(4, &id.batch), (4, &OTHER.0), (1, &version.to_be_bytes()), (1, &epoch.to_be_bytes()), (4, &run), (4, &slots)];
        let mut hash = Sha256::new().chain_update("batches");
        for (sort, bytes) in fields {
            hash = hash.chain_update([sort]).chain_update((bytes.len() as u64).to_be_bytes()).chain_update(bytes);
        }
        let parameters = (OTHER.0.to_vec(), hash.finalize().to_vec(), id.batch.to_vec());
        assert_eq!(connection.execute("UPDATE batches SET tenant = ?1, checksum = ?2 WHERE id = ?3", parameters).unwrap(), 1);
    }
    let (keyring, repairs) = open(folder.path(), 2).unwrap();
    assert!(repairs.is_empty(), "the checksums fit: {repairs:?}");
    assert!(matches!(keyring.key(OTHER, id), Err(KeyringError::Damaged(_))), "the wrap is bound to its tenant");
}

#[test]
fn a_key_file_in_the_data_directory_is_refused_by_every_way_in() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(data.path(), &link).unwrap();
    let random = FixedRandom::new(1);
    for path in [link.join("root.key"), elsewhere.path().join("new/../link/root.key"), data.path().join("new/root.key")] {
        let refused = KeyFile::at(path.clone()).create(VAULT, data.path(), &random).map(|_: Key| ()).unwrap_err().to_string();
        assert!(refused.contains("data directory"), "{}: {refused}", path.display());
        assert!(fs::read_dir(data.path()).unwrap().next().is_none(), "{}", path.display());
    }
    let apart = KeyFile::at(elsewhere.path().join("a/b/root.key"));
    let root = apart.create(VAULT, data.path(), &random).unwrap();
    drop(SqliteKeyring::create(data.path(), VAULT, &root, Arc::new(FixedRandom::new(2))).unwrap());
    let opened = |file: &KeyFile| SqliteKeyring::open(data.path(), file, Mode::Serve, 1, Arc::new(FixedRandom::new(3))).map(|_| ());
    opened(&apart).unwrap();
    // Moved in later, under its own name or behind a link that lies elsewhere.
    fs::rename(apart.path(), data.path().join("root.key")).unwrap();
    std::os::unix::fs::symlink(data.path().join("root.key"), apart.path()).unwrap();
    for moved in [apart, KeyFile::at(data.path().join("root.key"))] {
        assert!(opened(&moved).unwrap_err().to_string().contains("data directory"));
    }
}

#[test]
fn a_new_epoch_uses_no_slot_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = make(folder.path());
    let mut before = std::collections::HashSet::new();
    // Past the half, so that the next batch is being minted or lies ready.
    for _ in 0..130 {
        before.insert(keyring.take(TENANT).unwrap().0.batch);
    }
    keyring.begin_epoch(2);
    let connection = rusqlite::Connection::open(folder.path().join(FILES[0])).unwrap();
    for _ in 0..300 {
        let batch = keyring.take(TENANT).unwrap().0.batch;
        assert!(!before.contains(&batch));
        let epoch: i64 = connection.query_row("SELECT epoch FROM batches WHERE id = ?1", [batch.to_vec()], |row| row.get(0)).unwrap();
        assert_eq!(epoch, 2);
    }
}

#[test]
fn a_copy_elsewhere_is_a_keyring_and_is_never_laid_over_one() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keyring = make(folder.path());
    let (id, key) = keyring.take(TENANT).unwrap();
    let (dead, _) = keyring.take(TENANT).unwrap();
    let bytes = wrapped(folder.path(), dead);
    keyring.destroy(&[dead]).unwrap();
    fs::write(elsewhere.path().join("keyring.db.partial"), b"left by an earlier try").unwrap();
    keyring.copy_to(elsewhere.path()).unwrap();
    assert!(keyring.copy_to(elsewhere.path()).is_err());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2);
    assert!(holding(elsewhere.path(), &bytes[..60]).is_empty());
    let (copy, repairs) = open(elsewhere.path(), 2).unwrap();
    assert!(repairs.is_empty(), "{repairs:?}");
    assert_eq!(copy.key(TENANT, id).unwrap().expose(), key.expose());
    assert!(matches!(copy.key(TENANT, dead), Err(KeyringError::Destroyed(_))));
    drop(copy);
    let reader = SqliteKeyring::open(folder.path(), &ROOT, Mode::Read, 1, Arc::new(FixedRandom::new(3))).unwrap().0;
    let third = tempfile::tempdir().unwrap();
    reader.copy_to(third.path()).unwrap();
    assert!(open(third.path(), 4).unwrap().0.key(TENANT, id).is_ok(), "a reader copies too, beside a server");
}
