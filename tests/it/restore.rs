//! Recovery into a new vault: exactly the state of a moment, whole or not at all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::Changes;
use keyledger::credentials::vault::SecretAt;
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, KeyringError, Purpose};
use keyledger::server::{Home, HomeError, Restored, Until};
use keyledger::vault::access::Principal;
use keyledger::vault::{Vault, VaultError, plans};
use keyledger::views::StateHash;

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::vault_bench::{key, tokens};

pub struct Old {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub token: String,
}

impl Old {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::at(crate::log_bench::START));
        let mut old = Self { folder, clock, token: String::new() };
        let begun = old.home("old", 1).init().await.unwrap();
        old.token = String::from_utf8(begun.owner_token.expose().to_vec()).unwrap();
        old
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn home(&self, name: &str, seed: u64) -> Home {
        Home::new(self.path(name), Some(self.path("root.key")), self.clock.clone(), Arc::new(FixedRandom::new(seed)))
    }

    pub async fn restore(&self, from: &str, until: Until, into: &str, seed: u64) -> Result<Restored, HomeError> {
        self.home(from, seed).restore(until, &self.path(into), &|_, _, _| ()).await
    }
}

pub async fn import(vault: &Vault, owner: &Principal, consumer: &str, access: &str) -> Position {
    let command = keyledger::vault::Command { principal: owner, meta: Meta::default(), idempotency: None };
    let key = key(consumer, "pipedrive");
    let decide = |given: &keyledger::vault::Given<'_>| plans::import(given, owner.tenant, &key, tokens(access), Changes::default());
    vault.execute(&command, decide).await.unwrap().events.unwrap().1
}

fn state(vault: &Vault) -> StateHash {
    vault.views().state_hash(&vault.keyring().purpose(TenantId::SYSTEM, Purpose::State).unwrap().key).unwrap()
}

#[tokio::test]
async fn the_state_restored_at_every_position_is_the_state_that_was_live_then() {
    let old = Old::new().await;
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let mut noted = vec![state(&vault)];
    for number in 0..6 {
        old.clock.pass(1000);
        import(&vault, &owner, &format!("c{}", number % 4), &format!("token {number}")).await;
        noted.push(state(&vault));
    }
    let head = vault.views().position();
    for (number, live) in noted.iter().enumerate() {
        let into = format!("new{number}");
        let restored = old.restore("old", Until::Position(live.position), &into, 10 + number as u64).await.unwrap();
        assert_eq!((&restored.state, restored.position, restored.begins_at), (live, live.position, head.next()), "while the old vault is served");
        let (new, _lock) = old.home(&into, 50).start().await.unwrap();
        assert_eq!(new.views_at(live.position).await.unwrap().unwrap().things().count(), new.views().things().count());
        let at = new.state_at(live.position).await.unwrap().unwrap();
        assert_eq!((at.state, at.merkle_root), (*live, restored.merkle_root));
        // It goes on, under the same token, past every position of the old history.
        assert_eq!(new.authenticate(&old.token).unwrap(), owner);
        let next = import(&new, &owner, "c0", "after the restore").await;
        assert!(next > head.next() && new.views().position() == next);
    }
    // By instant: what was recorded strictly before it.
    let at = Moment::from_millis(crate::log_bench::START + 3000);
    let restored = old.restore("old", Until::Instant(at), "by-instant", 80).await.unwrap();
    assert_eq!(restored.state, noted[2]);
    // Inside a group: the group before it.
    let restored = old.restore("old", Until::Position(Position(noted[3].position.0 - 1)), "inside", 81).await.unwrap();
    assert_eq!(restored.state, noted[2]);
    drop(lock);
}

#[tokio::test]
async fn a_restore_of_a_restore_begins_yet_another_epoch() {
    let old = Old::new().await;
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let kept = import(&vault, &owner, "a", "kept").await;
    import(&vault, &owner, "b", "left behind").await;
    let first = old.restore("old", Until::Position(kept), "first", 3).await.unwrap();
    let again = old.restore("old", Until::Position(kept), "again", 4).await.unwrap();
    assert_eq!((first.epoch.number, again.epoch.number), (2, 2));
    assert_ne!(first.epoch.id, again.epoch.id, "two restores of one history differ");
    let (new, lock) = old.home("first", 5).start().await.unwrap();
    let later = import(&new, &owner, "c", "in the second epoch").await;
    let live = state(&new);
    drop((new, lock));
    let second = old.restore("first", Until::Position(later), "second", 6).await.unwrap();
    assert_eq!((second.epoch.number, second.state, second.dropped), (3, live, 0));
    let (new, _lock) = old.home("second", 7).start().await.unwrap();
    import(&new, &owner, "d", "in the third").await;
}

#[tokio::test]
async fn what_was_shredded_after_the_moment_does_not_come_back() {
    let old = Old::new().await;
    let (vault, old_lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let at = import(&vault, &owner, "a", "shredded later").await;
    let live = state(&vault);
    let dead = vault.log().fetch(&[at]).await.unwrap()[0].header().secrets[0].key;
    for name in ["keyring.db", "keyring-copy.db"] {
        std::fs::copy(old.path("old").join(name), old.path(name)).unwrap();
    }
    vault.shred(Meta::default(), &[SecretAt { position: at, name: "access_token".into() }], "a test").await.unwrap();
    drop((vault, old_lock));
    // As a crash between the event and the destruction leaves it.
    for name in ["keyring.db", "keyring-copy.db"] {
        std::fs::copy(old.path(name), old.path("old").join(name)).unwrap();
    }
    let restored = old.restore("old", Until::Position(at), "new", 3).await.unwrap();
    assert_eq!((restored.shredded_since, restored.dropped, restored.state), (1, 1, live));
    // Before any start: the key is in none of the restored files.
    let files = old.home("new", 4).read().unwrap();
    assert!(matches!(files.keyring.key(owner.tenant, dead), Err(KeyringError::Destroyed(_))));
    drop(files);
    let (new, lock) = old.home("new", 4).start().await.unwrap();
    let stream = new.views().connection(owner.tenant, &key("a", "pipedrive")).unwrap();
    let shown = new.reveal(&owner, Meta::default(), stream, "access_token", "a test").await;
    assert!(matches!(shown, Err(VaultError::Refused(Refusal::Shredded))));
    assert_eq!(new.reveal(&owner, Meta::default(), stream, "refresh_token", "a test").await.unwrap().value.expose(), b"a refresh token");
    // The new history says so as well: an older copy of the keyring brings nothing back.
    let begun = new.log().fetch(&[restored.begins_at]).await.unwrap();
    let header = begun[0].header();
    assert_eq!((header.event_type.as_str(), header.shredded.len(), header.causation, header.epoch), ("restored", 1, at, restored.epoch));
    let dead = header.shredded[0];
    assert!(matches!(new.keyring().key(owner.tenant, dead), Err(KeyringError::Destroyed(_))));
    drop((new, lock));
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_leaves_nothing() {
    let old = Old::new().await;
    let until = |position| Until::Position(Position(position));
    assert!(matches!(old.restore("old", until(100_000), "new", 3).await, Err(HomeError::PastTheEnd(_))));
    let Err(HomeError::BeforeTheBeginning(whole)) = old.restore("old", until(1), "new", 3).await else { panic!("a vault without its beginning") };
    assert!(matches!(old.restore("old", Until::Instant(Moment::from_millis(0)), "new", 3).await, Err(HomeError::BeforeTheBeginning(_))));
    assert!(matches!(old.restore("nowhere", until(1), "new", 3).await, Err(HomeError::Absent(_))));
    std::fs::create_dir(old.path("new")).unwrap();
    std::fs::write(old.path("new").join("a file"), "x").unwrap();
    assert!(matches!(old.restore("old", Until::Position(whole), "new", 3).await, Err(HomeError::Occupied(_))));
    assert_eq!(std::fs::read_dir(old.path("new")).unwrap().count(), 1);
    assert!(old.restore("old", Until::Position(whole), "empty", 3).await.is_ok());
    assert!(names(old.folder.path()).iter().all(|name| !name.contains("partial")), "{:?}", names(old.folder.path()));
    // A record of the old log is damaged in both copies: nothing is made.
    let damaged = rusqlite::Connection::open(old.path("old").join("log.db")).unwrap();
    damaged.execute_batch("DROP TRIGGER log_no_update; UPDATE log SET record = zeroblob(length(record)) WHERE position = 50").unwrap();
    drop(damaged);
    assert!(old.restore("old", Until::Position(whole), "from-segments", 3).await.is_ok(), "the other copy has it");
    let segment = crate::segments::segment_files(&old.path("old")).remove(0);
    let half = std::fs::metadata(&segment).unwrap().len() / 4;
    std::fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(half).unwrap();
    assert!(old.restore("old", Until::Position(whole), "from-damage", 3).await.is_err());
    assert!(!old.path("from-damage").exists());
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn keyledger(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    command.current_dir(folder).env_clear().env("XDG_CONFIG_HOME", folder.join("config")).args(arguments);
    command
}

#[test]
fn the_verb_restores_and_a_kill_in_its_middle_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| keyledger(folder.path(), arguments).output().unwrap();
    assert!(run(&["init", "--data", "old", "--output", "json"]).status.success());
    let json = |output: std::process::Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let replayed = json(run(&["replay", "--data", "old", "--output", "json"]));
    let to = replayed["position"].to_string();
    // Killed at once, or a little later, or not before its end.
    for pause in [0, 5, 20, 60, 120] {
        let mut child = keyledger(folder.path(), &["restore", "--from", "old", "--to", &to, "--into", "new"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.path().join("new").exists() {
            let again = json(run(&["replay", "--data", "new", "--to", &to, "--output", "json"]));
            assert_eq!(again["state_hash"], replayed["state_hash"], "what stands there is whole");
            std::fs::remove_dir_all(folder.path().join("new")).unwrap();
        }
    }
    let restored = json(run(&["restore", "--from", "old", "--to", &to, "--into", "new", "--output", "json"]));
    for field in ["position", "merkle_root", "state_hash", "fold_version"] {
        assert_eq!(restored[field], replayed[field], "{field}");
    }
    assert!(names(folder.path()).iter().all(|name| !name.contains("partial")), "what the killed ones left was swept: {:?}", names(folder.path()));
    let replayed = json(run(&["replay", "--data", "new", "--output", "json"]));
    assert_eq!(replayed["position"], restored["begins_at"]);
    for wrong in [&["restore", "--from", "old", "--into", "x"][..], &["restore", "--from", "old", "--to", "1", "--at", "2026-01-01T00:00:00Z", "--into", "x"]] {
        assert_eq!(run(wrong).status.code(), Some(2));
    }
    let early = run(&["restore", "--from", "old", "--at", "2020-01-01T00:00:00Z", "--into", "x"]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("had not begun"));
}

#[test]
fn a_vault_is_made_in_any_empty_directory_however_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["there", "real", "cwd"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    for data in ["there", "link", "absent/and/deep", "trailing/"] {
        assert!(keyledger(folder.path(), &["init", "--data", data]).output().unwrap().status.success(), "{data}");
        let restored = format!("restored-{}", data.replace('/', "-"));
        let to = ["restore", "--from", data, "--to", "100", "--into", &restored];
        let output = keyledger(folder.path(), &to).output().unwrap();
        assert!(output.status.success(), "{data}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(folder.path().join("real/log.db").exists() && names(&folder.path().join("real")).len() == 4, "{:?}", names(&folder.path().join("real")));
    let mut here = keyledger(folder.path(), &["restore", "--from", "../there", "--to", "100", "--into", "."]);
    assert!(here.current_dir(folder.path().join("cwd")).output().unwrap().status.success());
    assert!(folder.path().join("cwd/log.db").exists());
    for (into, why) in [("absent-one/..", "entity not found"), ("dangling", "No such file"), ("there", "holds a vault already")] {
        let refused = keyledger(folder.path(), &["restore", "--from", "link", "--to", "100", "--into", into]).output().unwrap();
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{into}: {}", String::from_utf8_lossy(&refused.stderr));
    }
    // A killed one had moved its keyring already, and not its log.
    let left = folder.path().join("left");
    std::fs::create_dir_all(left.join(".left.0123456789abcdef.partial")).unwrap();
    std::fs::write(left.join(".left.0123456789abcdef.partial/lock"), "").unwrap();
    std::fs::write(left.join("keyring.db"), "half").unwrap();
    let again = keyledger(folder.path(), &["restore", "--from", "there", "--to", "100", "--into", "left"]).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(names(&left).len(), 4);
}
