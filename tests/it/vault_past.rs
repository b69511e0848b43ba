//! The past of a vault: kept roots, snapshots on disk, and secrets that are shredded.

use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Changes, Tokens};
use keyledger::credentials::vault::SecretAt;
use keyledger::kernel::*;
use keyledger::keyring::Keyring;
use keyledger::vault::{VaultError, plans};
use keyledger::views::SnapshotError;

use crate::vault_bench::{TENANT, VaultBench, key, tokens};

async fn import(bench: &VaultBench, consumer: &str, given: impl Fn() -> Tokens) -> Position {
    let key = key(consumer, "pipedrive");
    bench.execute(|g| plans::import(g, TENANT, &key, given(), Changes::default())).await.unwrap().events.unwrap().1
}

#[tokio::test]
async fn a_start_from_a_snapshot_and_the_rest_of_the_log_is_a_start_from_the_log() {
    let bench = VaultBench::new().await;
    let path = bench.folder.path().join("views.snapshot");
    assert!(matches!(bench.read_snapshot(&path).await, Err(SnapshotError::Absent)));
    for number in 0..20 {
        import(&bench, &format!("c{}", number % 7), || tokens("x")).await;
    }
    bench.execute(|given| plans::delete_connection(given, TENANT, &key("c3", "pipedrive"))).await.unwrap();
    let at = bench.write_snapshot(&path).await;
    let bytes = std::fs::read(&path).unwrap();
    for readable in ["pipedrive", "hubspot", "connection"] {
        assert!(!bytes.windows(readable.len()).any(|window| window == readable.as_bytes()), "{readable} lies readable on the disk");
    }
    let end = import(&bench, "c3", || tokens("later")).await;
    let (live, index) = (bench.vault.views(), bench.vault.snapshot().await.unwrap().index);
    let snapshot = bench.read_snapshot(&path).await.unwrap();
    assert_eq!((snapshot.views.position(), snapshot.index.head()), (at, at));
    assert_eq!(snapshot.views, bench.replay(at).await.0);
    let bench = bench.restart_from(snapshot).await;
    assert_eq!(*bench.vault.views(), *live);
    assert_eq!(bench.vault.snapshot().await.unwrap().index, index);
    assert_eq!(bench.replay(end).await.0, *live);
    import(&bench, "c9", || tokens("goes on")).await;
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_or_of_another_log_is_not_used() {
    let bench = VaultBench::new().await;
    let path = bench.folder.path().join("views.snapshot");
    import(&bench, "c", || tokens("x")).await;
    bench.write_snapshot(&path).await;
    let whole = std::fs::read(&path).unwrap();
    for place in [0, 10, 25, 40, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(bench.read_snapshot(&path).await, Err(SnapshotError::Damaged)), "{place}");
    }
    for length in [0, 20, 40, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(bench.read_snapshot(&path).await, Err(SnapshotError::Damaged | SnapshotError::Io(_))), "{length}");
    }
    // The same keys and positions, other events: a vault made from the same randomness, whose second event is another.
    let other = VaultBench::new().await;
    import(&other, "d", || tokens("y")).await;
    std::fs::write(&path, &whole).unwrap();
    assert!(matches!(other.read_snapshot(&path).await, Err(SnapshotError::OtherLog | SnapshotError::Damaged)));
    assert!(bench.read_snapshot(&path).await.is_ok());
}

#[tokio::test]
async fn every_position_reads_as_it_was_also_far_back() {
    let bench = VaultBench::new().await;
    let mut seen = Vec::new();
    for number in 0..10 {
        import(&bench, &format!("c{number}"), || tokens("x")).await;
        seen.push(bench.vault.views());
    }
    for views in seen {
        let then = bench.vault.views_at(views.position()).await.unwrap().unwrap();
        assert_eq!(*then, *views);
        let state = bench.vault.state_at(views.position()).await.unwrap().unwrap();
        let (replayed, tree) = bench.replay(views.position()).await;
        assert_eq!((state.state.position, state.merkle_root, state.records), (replayed.position(), tree.root(), tree.size()));
    }
}

fn expiring(access: &str, at: i64) -> Tokens {
    Tokens { access: Some(Secret::from(access)), expires_at: Some(Moment::from_millis(at)), ..Tokens::default() }
}

async fn reveal(bench: &VaultBench, stream: StreamId, name: &str) -> Result<String, VaultError> {
    let shown = bench.vault.reveal(&bench.owner, Meta::default(), stream, name, "a test").await?;
    Ok(String::from_utf8(shown.value.expose().to_vec()).unwrap())
}

/// The key of a secret, as its header names it.
async fn key_of(bench: &VaultBench, at: Position, name: &str) -> KeyId {
    let records = bench.vault.log().fetch(&[at]).await.unwrap();
    records[0].header().secrets.iter().find(|secret| secret.name == name).unwrap().key
}

#[tokio::test]
async fn a_shredded_secret_is_gone_and_the_log_folds_on() {
    let bench = VaultBench::new().await;
    let at = import(&bench, "c", || tokens("the token")).await;
    let stream = bench.vault.views().connection(TENANT, &key("c", "pipedrive")).unwrap();
    let access = SecretAt { position: at, name: "access_token".into() };
    let dead = key_of(&bench, at, "access_token").await;
    assert_eq!(reveal(&bench, stream, "access_token").await.unwrap(), "the token");
    let missing = SecretAt { position: at, name: "no such box".into() };
    assert!(matches!(bench.vault.shred(Meta::default(), &[missing], "a test").await, Err(VaultError::Refused(Refusal::NotFound))));
    assert!(bench.vault.shred(Meta::default(), &[], "a test").await.is_err());
    assert!(bench.vault.shred(Meta::default(), std::slice::from_ref(&access), " ").await.is_err());
    let answer = bench.vault.shred(Meta::default(), std::slice::from_ref(&access), "a test").await.unwrap();
    let event = bench.vault.log().fetch(&[answer.events.unwrap().0]).await.unwrap();
    assert_eq!((event[0].header().shredded.as_slice(), event[0].header().event_type.as_str()), ([dead].as_slice(), "shredded"));
    assert!(matches!(reveal(&bench, stream, "access_token").await, Err(VaultError::Refused(Refusal::Shredded))));
    assert_eq!(reveal(&bench, stream, "refresh_token").await.unwrap(), "a refresh token", "its neighbour stays");
    assert!(matches!(bench.keyring.key(TENANT, dead), Err(keyledger::keyring::KeyringError::Destroyed(_))));
    let live = bench.vault.views();
    assert_eq!(bench.replay(live.position()).await.0, *live);
    let bench = bench.restart().await;
    assert_eq!(*bench.vault.views(), *live);
    assert!(matches!(reveal(&bench, stream, "access_token").await, Err(VaultError::Refused(Refusal::Shredded))));
}

#[tokio::test]
async fn a_start_carries_out_a_destruction_that_a_crash_cut_short() {
    let bench = VaultBench::new().await;
    let at = import(&bench, "c", || tokens("the token")).await;
    let dead = key_of(&bench, at, "access_token").await;
    // The keyring as it was before the destruction: what a crash between event and destruction leaves.
    let before = tempfile::tempdir().unwrap();
    bench.keyring.copy_to(before.path()).unwrap();
    bench.vault.shred(Meta::default(), &[SecretAt { position: at, name: "access_token".into() }], "a test").await.unwrap();
    let snapshot = bench.vault.snapshot().await.unwrap();
    for from in [keyledger::views::Snapshot::default(), snapshot] {
        let bench = &bench;
        let random = std::sync::Arc::new(crate::fixed::FixedRandom::new(700));
        let folder = tempfile::tempdir().unwrap();
        for name in ["keyring.db", "keyring-copy.db"] {
            std::fs::copy(before.path().join(name), folder.path().join(name)).unwrap();
        }
        let (keyring, _) =
            keyledger::keyring::SqliteKeyring::open(folder.path(), &crate::vault_bench::Root, keyledger::keyring::Mode::Serve, 1, random.clone()).unwrap();
        let keyring = std::sync::Arc::new(keyring);
        assert!(keyring.key(TENANT, dead).is_ok());
        let started = keyledger::vault::Vault::start(bench.vault.log().clone(), keyring.clone(), bench.clock.clone(), random, from).await;
        drop(started.unwrap());
        assert!(matches!(keyring.key(TENANT, dead), Err(keyledger::keyring::KeyringError::Destroyed(_))));
    }
}

#[tokio::test]
async fn what_is_out_of_use_dies_when_it_is_due_and_not_before() {
    const DAY: i64 = 24 * 3_600_000;
    let bench = VaultBench::new().await;
    let start = crate::log_bench::START;
    let first = import(&bench, "c", || expiring("first", start + 3_600_000)).await;
    let second = import(&bench, "c", || expiring("second", start + 7_200_000)).await;
    let gone = import(&bench, "gone", || tokens("of a deleted one")).await;
    bench.execute(|given| plans::delete_connection(given, TENANT, &key("gone", "pipedrive"))).await.unwrap();
    let is_dead = async |at, name: &str| bench.keyring.key(TENANT, key_of(&bench, at, name).await).is_err();
    assert_eq!(bench.vault.shred_due().await.unwrap(), 0);
    bench.clock.pass(3_600_000 + DAY - 1);
    assert_eq!(bench.vault.shred_due().await.unwrap(), 0, "a millisecond before its day is over");
    bench.clock.pass(1);
    assert_eq!(bench.vault.shred_due().await.unwrap(), 1);
    assert!(is_dead(first, "access_token").await && !is_dead(second, "access_token").await && !is_dead(gone, "access_token").await);
    assert_eq!(bench.vault.shred_due().await.unwrap(), 0, "once");
    bench.clock.pass(29 * DAY);
    assert_eq!(bench.vault.shred_due().await.unwrap(), 2, "what a deleted connection held: both tokens");
    assert!(is_dead(gone, "access_token").await && is_dead(gone, "refresh_token").await && !is_dead(second, "access_token").await);
    let live = bench.vault.views();
    assert_eq!(bench.replay(live.position()).await.0, *live);
}
