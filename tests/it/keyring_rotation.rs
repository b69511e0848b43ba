//! Rotations on real files: cut short after any step, everything opens, and the next run goes on. In the end nothing lies under the former key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::keyring::{BATCH, KeyFile, Keyring, KeyringError, Mode, Proof, Purpose, RootKeyProvider, Rotate, SqliteKeyring};

use crate::fixed::FixedRandom;
use crate::keyring::{FILES, VAULT, holding};

/// More than one step of the root key's takes.
const TENANTS: u8 = 70;

struct Scene {
    folder: tempfile::TempDir,
    runs: u64,
    /// What must open at every moment.
    keys: BTreeMap<(TenantId, KeyId), [u8; 32]>,
    claims: Vec<(TenantId, [u8; 16], [u8; 32])>,
}

fn tenant(number: u8) -> TenantId {
    TenantId([number; 16])
}

fn wraps(path: &Path, sql: &str) -> Vec<Vec<u8>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut select = connection.prepare(sql).unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

impl Scene {
    fn new(tenants: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let mut scene = Self { folder, runs: 1, keys: BTreeMap::new(), claims: Vec::new() };
        let root = scene.file().create(VAULT, &scene.data(), &FixedRandom::new(900)).unwrap();
        let keyring = SqliteKeyring::create(&scene.data(), VAULT, &root, Arc::new(FixedRandom::new(1))).unwrap();
        for tenant in (0..tenants).map(tenant) {
            keyring.ensure_tenant(tenant, &root).unwrap();
            scene.take(&keyring, tenant, 1);
            let claims = keyring.purpose(tenant, Purpose::Claims).unwrap();
            scene.claims.push((tenant, claims.id, *claims.key.expose()));
        }
        scene
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self) -> KeyFile {
        KeyFile::at(self.folder.path().join("config/root.key"))
    }

    fn beside(&self, end: &str) -> KeyFile {
        KeyFile::at(self.folder.path().join(format!("config/root.key{end}")))
    }

    fn take(&mut self, keyring: &SqliteKeyring, tenant: TenantId, count: u32) {
        for _ in 0..count {
            let (id, key) = keyring.take(tenant).unwrap();
            self.keys.insert((tenant, id), *key.expose());
        }
    }

    fn open(&mut self) -> SqliteKeyring {
        self.runs += 1;
        SqliteKeyring::open(&self.data(), &self.file(), Mode::Serve, 1, Arc::new(FixedRandom::new(self.runs))).unwrap().0
    }

    fn all_opens(&self, keyring: &SqliteKeyring, step: &str) {
        for ((tenant, id), key) in &self.keys {
            assert_eq!(keyring.key(*tenant, *id).unwrap().expose(), key, "{step}");
        }
        for (tenant, id, key) in &self.claims {
            let claims = keyring.purpose(*tenant, Purpose::Claims).unwrap();
            assert_eq!((claims.id, claims.key.expose()), (*id, key), "{step}");
        }
    }

    /// The next run after a kill, and one that only reads.
    fn again(&mut self, keyring: SqliteKeyring, step: &str) -> SqliteKeyring {
        drop(keyring);
        let reader = SqliteKeyring::open(&self.data(), &self.file(), Mode::Read, 1, Arc::new(FixedRandom::new(800))).unwrap().0;
        self.all_opens(&reader, step);
        drop(reader);
        let keyring = self.open();
        self.all_opens(&keyring, step);
        keyring
    }

    fn copy(&self) -> [Vec<u8>; 2] {
        FILES.map(|file| fs::read(self.data().join(file)).unwrap())
    }
}

#[test]
fn a_root_key_is_rotated_over_a_kill_at_every_step_and_the_former_one_opens_nothing() {
    let mut scene = Scene::new(TENANTS);
    let former = wraps(&scene.data().join(FILES[0]), "SELECT wrapped FROM wrapping_keys");
    assert_eq!(former.len(), usize::from(TENANTS) + 1);
    let (file, before) = (scene.file(), fs::read(scene.folder.path().join("config/root.key")).unwrap());
    let mut keyring = scene.open();
    file.next_key(VAULT, &FixedRandom::new(901)).unwrap();
    assert!(file.is_rotating());
    keyring = scene.again(keyring, "the next key is there and wraps nothing");
    let mut steps = 0;
    loop {
        let roots = file.root_keys(VAULT).unwrap();
        assert_eq!(roots.len(), 2);
        let untouched = scene.copy();
        let left = keyring.rewrap_tenants(&roots).unwrap();
        steps += 1;
        keyring = scene.again(keyring, "after a step");
        // The step reached one file only: which of two wraps counts is told by the keys themselves.
        for (name, bytes) in FILES.iter().zip(&untouched) {
            drop(keyring);
            fs::write(scene.data().join(name), bytes).unwrap();
            keyring = scene.open();
            scene.all_opens(&keyring, "one file had lost the step");
        }
        let late = TenantId([100 + steps; 16]);
        assert!(matches!(keyring.ensure_tenant(late, &roots[1]), Err(KeyringError::WrongRootKey)), "the former key wraps nothing new");
        keyring.ensure_tenant(late, &roots[0]).unwrap();
        if left == 0 && keyring.rewrap_tenants(&roots).unwrap() == 0 {
            break;
        }
    }
    assert!(steps >= 2);
    let next = file.next_key(VAULT, &FixedRandom::new(999)).unwrap();
    assert_eq!(keyring.prove_root(&next).unwrap(), Proof { done: 2 * u64::from(TENANTS + 1 + steps), left: 0 });
    // Killed between the copy of the former file and the rename.
    fs::copy(scene.folder.path().join("config/root.key"), scene.folder.path().join("config/root.key.old")).unwrap();
    keyring = scene.again(keyring, "all is wrapped, nothing is renamed");
    file.replace(VAULT).unwrap();
    assert!(!file.is_rotating());
    keyring = scene.again(keyring, "done");
    drop(keyring);
    assert_eq!(fs::read(scene.folder.path().join("config/root.key.old")).unwrap(), before);
    assert!(!scene.folder.path().join("config/root.key.old-2").exists(), "it was kept already");
    let by_former = SqliteKeyring::open(&scene.data(), &scene.beside(".old"), Mode::Serve, 1, Arc::new(FixedRandom::new(800)));
    assert!(matches!(by_former.err(), Some(KeyringError::WrongRootKey)));
    for wrapped in former {
        assert!(holding(&scene.data(), &wrapped[..40]).is_empty(), "a wrap under the former key lies on in a file");
    }
    // Once more: the file that is kept is not written over.
    let keyring = scene.open();
    let next = scene.file().next_key(VAULT, &FixedRandom::new(902)).unwrap();
    while keyring.rewrap_tenants(&scene.file().root_keys(VAULT).unwrap()).unwrap() > 0 {}
    assert_eq!(keyring.prove_root(&next).unwrap().left, 0);
    scene.file().replace(VAULT).unwrap();
    assert_eq!(fs::read(scene.folder.path().join("config/root.key.old")).unwrap(), before);
    assert!(scene.folder.path().join("config/root.key.old-2").exists());
    drop(scene.again(keyring, "twice"));
}

#[test]
fn a_tenants_key_is_rotated_over_a_kill_at_every_step_and_what_was_destroyed_stays_so() {
    let mut scene = Scene::new(2);
    let (one, other) = (tenant(0), tenant(1));
    let mut keyring = scene.open();
    scene.take(&keyring, one, 12 * BATCH);
    scene.take(&keyring, other, 1);
    let (dead, _) = keyring.take(one).unwrap();
    keyring.destroy(&[dead]).unwrap();
    let former = wraps(&scene.data().join(FILES[0]), &format!("SELECT slots FROM batches WHERE tenant = x'{}'", crate::fixed::hex(&one.0)));
    assert!(former.len() >= 13);
    let file = scene.file();
    let roots = || file.root_keys(VAULT).unwrap();
    let turn = keyring.begin(one, &roots()).unwrap();
    assert_eq!((turn.from, turn.to, keyring.turns()), (1, 2, vec![turn]));
    keyring = scene.again(keyring, "begun");
    assert_eq!((keyring.begin(one, &roots()).unwrap(), keyring.turns()), (turn, vec![turn]), "it goes on");
    assert!(keyring.retire(turn).is_err(), "nothing is given up while something is left");
    let mut steps = 0;
    loop {
        let untouched = scene.copy();
        let left = keyring.rewrap(turn).unwrap();
        steps += 1;
        scene.all_opens(&keyring, "what was cached is read anew");
        scene.take(&keyring, one, 1);
        keyring = scene.again(keyring, "after a step");
        for (name, bytes) in FILES.iter().zip(&untouched) {
            drop(keyring);
            fs::write(scene.data().join(name), bytes).unwrap();
            keyring = scene.open();
            scene.all_opens(&keyring, "one file had lost the step");
        }
        if left == 0 && keyring.rewrap(turn).unwrap() == 0 {
            break;
        }
    }
    assert!(steps >= 2);
    let proof = keyring.prove(turn).unwrap();
    assert!(proof.left == 0 && proof.done > 2 * 13);
    keyring = scene.again(keyring, "all is wrapped anew");
    keyring.retire(turn).unwrap();
    keyring.retire(turn).unwrap();
    assert!(keyring.turns().is_empty());
    scene.take(&keyring, one, BATCH + 1);
    keyring = scene.again(keyring, "done");
    assert!(matches!(keyring.key(one, dead), Err(KeyringError::Destroyed(_))));
    let versions = keyring.versions().unwrap();
    assert_eq!(versions[&one].keys().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(versions[&other].keys().copied().collect::<Vec<_>>(), [1], "the other tenant's key stays as it was");
    for slots in former {
        let wrapped = slots.chunks(104).find(|wrapped| wrapped.iter().any(|byte| *byte != 0)).unwrap();
        assert!(holding(&scene.data(), &wrapped[..40]).is_empty(), "a wrap under the former key lies on in a file");
    }
    let turn = keyring.begin(one, &roots()).unwrap();
    assert_eq!((turn.from, turn.to), (2, 3), "and once more");
}

#[test]
fn a_step_whose_second_commit_failed_is_carried_out_by_the_next_try() {
    let mut scene = Scene::new(1);
    let keyring = scene.open();
    let turn = {
        let block = rusqlite::Connection::open(scene.data().join(FILES[1])).unwrap();
        block.execute_batch("BEGIN IMMEDIATE").unwrap();
        let roots = scene.file().root_keys(VAULT).unwrap();
        assert!(keyring.begin(tenant(0), &roots).is_err());
        assert!(keyring.turns().is_empty());
        drop(block);
        keyring.begin(tenant(0), &roots).unwrap()
    };
    {
        let block = rusqlite::Connection::open(scene.data().join(FILES[1])).unwrap();
        block.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(keyring.rewrap(turn).is_err());
        scene.all_opens(&keyring, "a step failed");
    }
    while keyring.rewrap(turn).unwrap() > 0 {}
    assert_eq!(keyring.prove(turn).unwrap().left, 0);
    keyring.retire(turn).unwrap();
    drop(scene.again(keyring, "done"));
}

#[test]
fn a_reader_that_keeps_a_keyring_open_is_told_that_keys_were_rotated() {
    let mut scene = Scene::new(1);
    let keyring = scene.open();
    let reader = SqliteKeyring::open(&scene.data(), &scene.file(), Mode::Read, 1, Arc::new(FixedRandom::new(800))).unwrap().0;
    let turn = keyring.begin(tenant(0), &scene.file().root_keys(VAULT).unwrap()).unwrap();
    while keyring.rewrap(turn).unwrap() > 0 {}
    keyring.retire(turn).unwrap();
    let (_, id) = *scene.keys.keys().next().unwrap();
    assert!(matches!(reader.key(tenant(0), id), Err(KeyringError::Rotated)));
}
