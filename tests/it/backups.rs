//! Backups: made beside a running vault, taken over from one another, restored without the vault that they are of.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyledger::kernel::*;
use keyledger::server::backup::{Backups, MANIFEST, Made, Manifest, Proof, list};
use keyledger::server::{HomeError, Until};
use keyledger::vault::Vault;

use crate::backup_bench::{Old, import, names, state};

const HOUR: i64 = 3_600_000;

async fn made(old: &Old, seed: u64) -> Made {
    old.home("old", seed).back_up(&old.path("backups"), None, &|_, _, _| ()).await.unwrap()
}

async fn verified(old: &Old, backup: &Path, seed: u64) -> Result<Proof, HomeError> {
    old.home_at(backup.to_owned(), seed).verify_backup(None, &|_, _, _| ()).await
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn a_backup_is_all_that_a_restore_elsewhere_needs() {
    let old = Old::new().await;
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let middle = import(&vault, &owner, "a", "in the middle").await;
    let then = state(&vault);
    old.clock.pass(1000);
    import(&vault, &owner, "b", "at the end").await;
    let live = state(&vault);
    let backup = made(&old, 3).await;
    // What comes after it is not in it.
    import(&vault, &owner, "c", "later").await;
    let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
    assert_eq!((backup.manifest.position, &backup.manifest.state_hash), (live.position, &hex(&live.hash)));
    let proof = verified(&old, &backup.folder, 4).await.unwrap();
    assert_eq!((proof.restored.state, proof.restored.position), (live, live.position));
    assert_eq!(names(&old.path("backups")).len(), 1, "the rehearsal is removed again: {:?}", names(&old.path("backups")));
    // The machine is lost: its data directory with everything in it.
    drop((vault, lock));
    std::fs::remove_dir_all(old.path("old")).unwrap();
    let restore = |until, into: &str, seed| {
        let (home, into) = (old.home_at(backup.folder.clone(), seed), old.path(into));
        async move { home.restore(until, &into, &|_, _, _| ()).await }
    };
    for (until, into, expected, consumers) in [(Until::End, "end", live, 2), (Until::Position(middle), "middle", then, 1)] {
        let restored = restore(until, into, 5).await.unwrap();
        assert_eq!((restored.state, restored.begins_at), (expected, live.position.next()));
        let (new, _lock) = old.home(into, 6).start().await.unwrap();
        assert_eq!(new.authenticate(&old.token).unwrap(), owner);
        let shown = ["a", "b"].iter().filter_map(|name| new.views().connection(owner.tenant, &crate::vault_bench::key(name, "pipedrive"))).count();
        assert_eq!(shown, consumers);
        import(&new, &owner, "d", "it goes on").await;
    }
    let by_instant = Until::Instant(Moment::from_millis(crate::log_bench::START + 1000));
    assert_eq!(restore(by_instant, "instant", 7).await.unwrap().state, then);
    assert!(matches!(restore(Until::Position(live.position.next()), "past", 8).await, Err(HomeError::PastTheEnd(_))));
    assert!(matches!(restore(Until::Instant(Moment::from_millis(0)), "early", 9).await, Err(HomeError::BeforeTheBeginning(_))));
    assert!(matches!(restore(Until::End, "end", 10).await, Err(HomeError::Occupied(_))), "what stands there stays");
    assert!(!old.path("past").exists() && !old.path("early").exists());
    assert!(names(old.folder.path()).iter().all(|name| !name.contains("partial")), "{:?}", names(old.folder.path()));
}

#[tokio::test]
async fn what_an_earlier_backup_holds_takes_no_further_room() {
    let old = Old::new().await;
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let mut backups: Vec<Made> = Vec::new();
    for number in 0..4 {
        old.clock.pass(2 * HOUR);
        import(&vault, &owner, &format!("c{number}"), "a token").await;
        vault.log().tend(vault.now()).await;
        backups.push(made(&old, 10 + number).await);
    }
    for pair in backups.windows(2) {
        let segments = |made: &Made| -> BTreeSet<String> { names(&made.folder.join("segments")).into_iter().collect() };
        let shared: Vec<String> = segments(&pair[0]).intersection(&segments(&pair[1])).cloned().collect();
        assert!(!shared.is_empty() && pair[1].linked >= shared.len());
        for name in shared {
            let [first, second] = [&pair[0], &pair[1]].map(|made| made.folder.join("segments").join(&name));
            assert_eq!(inode(&first), inode(&second), "{name} lies there once");
        }
    }
    // Each stands alone: the earlier ones may go.
    for earlier in &backups[..3] {
        std::fs::remove_dir_all(&earlier.folder).unwrap();
    }
    assert_eq!(verified(&old, &backups[3].folder, 30).await.unwrap().restored.state, state(&vault));
    // A segment of an earlier backup that was damaged since is not taken over.
    let damaged = backups[3].folder.join("segments").join(&names(&backups[3].folder.join("segments"))[0]);
    flip(&damaged);
    old.clock.pass(1000);
    import(&vault, &owner, "e", "a token").await;
    let next = made(&old, 31).await;
    assert!(verified(&old, &next.folder, 32).await.is_ok());
    assert!(verified(&old, &backups[3].folder, 33).await.is_err());
}

/// Changes a byte in a copy of a file, which takes its place: other names of the file keep what they have.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn events(vault: &Vault, name: &str) -> usize {
    let all = vault.log().read(Position::ZERO, 4096).await.unwrap();
    all.iter().filter(|record| record.header().event_type == name).count()
}

#[tokio::test]
async fn the_server_makes_backups_verifies_them_and_keeps_so_many() {
    let old = Old::new().await;
    let home = Arc::new(old.home("old", 2));
    let (vault, lock) = home.start().await.unwrap();
    let vault = Arc::new(vault);
    let owner = vault.authenticate(&old.token).unwrap();
    assert!(vault.backup_warnings().is_empty(), "a server that makes none says nothing of them");
    let schedule = |vault: &Arc<Vault>| Backups::new(Arc::clone(&home), Arc::clone(vault), old.path("backups"), Duration::from_secs(3600), 2).unwrap();
    let mut backups = schedule(&vault);
    assert!(backups.look().await, "the first one is due at once");
    assert!(!backups.look().await);
    let mut last = None;
    for number in 1..5_usize {
        old.clock.pass(HOUR);
        import(&vault, &owner, "a", &format!("token {number}")).await;
        assert!(backups.look().await);
        assert_eq!(events(&vault, "backup_verified").await, number + 1);
        let there = list(&old.path("backups")).unwrap();
        assert_eq!((there.len(), names(&old.path("backups")).len()), (2, 2), "{:?}", names(&old.path("backups")));
        let newest: &Manifest = there[0].1.as_ref().unwrap();
        assert_eq!(newest.made_at, vault.now());
        assert_eq!(vault.views().verified_backup().map(|verified| verified.position), Some(newest.position));
        last = Some(newest.position);
    }
    assert!(vault.backup_warnings().is_empty());
    // The directory cannot be written any more: health says so, and the ones that are there stay.
    let moved = old.path("moved");
    std::fs::rename(old.path("backups"), &moved).unwrap();
    std::fs::write(old.path("backups"), "no directory").unwrap();
    old.clock.pass(HOUR);
    assert!(backups.look().await);
    assert_eq!(vault.backup_warnings(), ["the last backup failed; the log of the process says why"]);
    old.clock.pass(HOUR + 1);
    assert_eq!(vault.backup_warnings().len(), 3, "and both the newest and the last verified one are old by now");
    std::fs::remove_file(old.path("backups")).unwrap();
    std::fs::rename(&moved, old.path("backups")).unwrap();
    // What is verified is in the log: it is known after a restart, and which one is the newest is seen in the directory.
    drop((backups, vault));
    drop(lock);
    let (vault, _lock) = home.start().await.unwrap();
    let vault = Arc::new(vault);
    assert_eq!(vault.views().verified_backup().map(|verified| verified.position), last);
    let mut backups = schedule(&vault);
    assert_eq!(vault.backup_warnings(), ["the newest backup is old", "the last verified backup is old"]);
    assert!(backups.look().await);
    assert!(vault.backup_warnings().is_empty(), "{:?}", vault.backup_warnings());
}

#[tokio::test]
async fn a_backup_that_does_not_verify_drives_no_other_one_away() {
    let old = Old::new().await;
    let home = Arc::new(old.home("old", 2));
    let (vault, _lock) = home.start().await.unwrap();
    let vault = Arc::new(vault);
    let mut backups = Backups::new(Arc::clone(&home), Arc::clone(&vault), old.path("backups"), Duration::from_secs(3600), 1).unwrap();
    assert!(backups.look().await);
    let good = list(&old.path("backups")).unwrap()[0].0.clone();
    // The rehearsal cannot be made: something lies where it would.
    old.clock.pass(HOUR);
    let next = vault.now().to_string().replace(':', "-");
    let position = vault.views().position();
    std::fs::create_dir_all(old.path("backups").join(format!("{next}-{:012}-rehearsal/x", position.0))).unwrap();
    assert!(backups.look().await);
    assert_eq!(vault.backup_warnings(), ["the last backup failed; the log of the process says why"]);
    assert!(good.join(MANIFEST).exists(), "the last verified one stays, whatever `keep` says");
    old.clock.pass(HOUR);
    assert!(backups.look().await && !good.exists());
}

#[tokio::test]
async fn a_vault_without_all_the_keys_that_its_log_uses_is_not_backed_up() {
    let old = Old::new().await;
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    // The keyring as it was before the last batches were minted.
    for number in 0..2 {
        old.clock.pass(HOUR);
        if number == 1 {
            for name in ["keyring.db", "keyring-copy.db"] {
                std::fs::copy(old.path("old").join(name), old.path(name)).unwrap();
            }
        }
        for import_number in 0..130 {
            import(&vault, &owner, &format!("{number}-{import_number}"), "a token").await;
        }
    }
    drop((vault, lock));
    for name in ["keyring.db", "keyring-copy.db"] {
        std::fs::copy(old.path(name), old.path("old").join(name)).unwrap();
    }
    let known = None;
    let refused = old.home("old", 3).back_up(&old.path("backups"), known, &|_, _, _| ()).await.unwrap_err();
    assert!(refused.to_string().contains("missing from the keyring"), "{refused}");
    assert!(names(&old.path("backups")).is_empty());
}

#[tokio::test]
async fn backups_lie_apart_from_the_data_and_from_the_root_key() {
    let old = Old::new().await;
    let within: PathBuf = old.path("old").join("backups");
    let refused = old.home("old", 3).back_up(&within, None, &|_, _, _| ()).await.unwrap_err();
    assert!(refused.to_string().contains("lies in the data directory"), "{refused}");
    let backup = made(&old, 4).await;
    let key = backup.folder.join("root.key");
    std::fs::copy(old.path("root.key"), &key).unwrap();
    let home = keyledger::server::Home::new(backup.folder.clone(), Some(key), old.clock.clone(), Arc::new(crate::fixed::FixedRandom::new(5)));
    assert!(home.verify_backup(None, &|_, _, _| ()).await.is_err(), "whoever copies the backup must not get both");
}
