//! A thousand moments of one vault, restored from its backup: the state is always the one that was live then, but for what was shredded since.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{Meta, api_key};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Mode, Purpose, SqliteKeyring};
use keyledger::log::{EventLog, SegmentLog};
use keyledger::seal::merkle::Frontier;
use keyledger::server::Until;
use keyledger::server::backup::{Fate, Manifest};
use keyledger::vault::access::Principal;
use keyledger::vault::{Confirmed, Target, Vault, plans};
use keyledger::views::{Opener, StateHash, States, Views, catch_up};

use crate::backup_bench::{Old, import, names, state};
use crate::fixed::FixedRandom;

const POINTS: usize = 1000;
/// So many of them are restored whole, into a directory.
const WHOLE: usize = 24;

async fn create_key(vault: &Vault, owner: &Principal, name: &str) {
    let grant = || api_key::Grant {
        name: name.into(),
        owner: None,
        permissions: vec!["audit:read".into()],
        emails: vec![],
        organizations: vec![],
        labels: vec![],
        dns_name: None,
        app_ids: vec![],
        expires_at: None,
    };
    let command = keyledger::vault::Command { principal: owner, meta: Meta::default(), idempotency: None };
    vault.execute(&command, |given| Ok(plans::create_api_key(given, owner, grant())?.0)).await.unwrap();
}

async fn organization(vault: &Vault, owner: &Principal, name: &str) {
    let command = keyledger::vault::Command { principal: owner, meta: Meta::default(), idempotency: None };
    vault.execute(&command, |given| plans::create_organization(given, name.into())).await.unwrap();
}

/// Lives through commands of several kinds, and notes the state after each.
async fn live(old: &Old, random: &dyn Random) -> BTreeMap<Position, (StateHash, Moment)> {
    let (vault, _lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    let mut noted = BTreeMap::new();
    for number in 0..400_u32 {
        let [draw, pause, ..] = random.array::<4>();
        old.clock.pass(i64::from(pause) * 400);
        match draw % 10 {
            0 => organization(&vault, &owner, &format!("organisation {number}")).await,
            1 => create_key(&vault, &owner, &format!("key {number}")).await,
            2 => {
                let at = import(&vault, &owner, &format!("c{}", draw % 40), "to be shredded").await;
                vault.shred(Meta::default(), &[SecretAt { position: at, name: "access_token".into() }], "a test").await.unwrap();
            }
            _ => drop(import(&vault, &owner, &format!("c{}", draw % 40), &format!("token {number}")).await),
        }
        noted.insert(vault.views().position(), (state(&vault), vault.now()));
    }
    noted
}

/// Every state at the end of every group, by one fold over the log as it lies there.
async fn recorded(old: &Old) -> BTreeMap<Position, States> {
    let reading = old.home("old", 6).read().unwrap();
    let key = reading.keyring.purpose(TenantId::SYSTEM, Purpose::State).unwrap().key;
    let (opener, mut views, mut at, mut recorded) = (Opener::new(reading.keyring.clone()), Views::default(), Position::ZERO, BTreeMap::new());
    loop {
        let records = reading.log.read(at, 4096).await.unwrap();
        let Some(last) = records.last() else { return recorded };
        at = last.header().position;
        for record in records {
            let event = opener.event(&record).unwrap();
            opener.note(record.header(), event.as_ref());
            views.take(record.header(), event);
            if record.header().group.ends() && views.vault().is_some() {
                recorded.insert(views.position(), views.states(&key).unwrap());
            }
        }
    }
}

/// Shreds consumers with all of their connections after the backup was made, and brings that into it. Gives the keys that died.
async fn shred_since(old: &Old, backup: &Manifest) -> HashSet<KeyId> {
    let (vault, _lock) = old.home("old", 7).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    for consumer in ["c3", "c14", "c27"] {
        let target = Target::Consumer { app: "app".into(), consumer: consumer.into() };
        vault.apply_shred(&owner, Meta::default(), &target, "a test", &Confirmed::Word(consumer.into())).await.unwrap();
    }
    let fates = old.home("old", 8).shred_backups(&old.path("backups"), &|_, _| ()).await.unwrap();
    assert!(matches!(fates[..], [(_, Fate::Forgot(_))]));
    let later = vault.log().read(backup.position, 4096).await.unwrap();
    later.iter().flat_map(|record| record.header().shredded.clone()).collect()
}

#[tokio::test]
async fn a_thousand_random_moments_are_restored_as_they_were() {
    let old = Old::new().await;
    let random: &dyn Random = &FixedRandom::new(20_261_128);
    let noted = live(&old, random).await;
    let made = old.home("old", 3).back_up(&old.path("backups"), None, &|_, _, _| ()).await.unwrap();
    let mut recorded = recorded(&old).await;
    for (position, (live, _)) in &noted {
        assert_eq!(recorded[position].hash(), *live, "what was live at {position}");
    }
    let dead = shred_since(&old, &made.manifest).await;
    std::fs::remove_dir_all(old.path("old")).unwrap();
    // What was shredded since is skipped in what was recorded, and in nothing else.
    let skipped: Vec<u64> = recorded.values_mut().map(|states| states.forget(&dead)).collect();
    assert!(skipped.iter().max() > Some(&3) && skipped.iter().min() == Some(&0));
    let recorded: BTreeMap<Position, StateHash> = recorded.into_iter().map(|(position, states)| (position, states.hash())).collect();
    let (first, end) = (noted.first_key_value().unwrap().0.0, made.manifest.position.0);
    let mut points: Vec<u64> = (0..POINTS).map(|_| first + u64::from_be_bytes(random.array()) % (end - first + 1)).collect();
    for (number, point) in (10_u64..).zip(points.iter().take(WHOLE)) {
        let (position, expected) = recorded.range(..=Position(*point)).next_back().unwrap();
        let restored = old.home_at(made.folder.clone(), number).restore(Until::Position(Position(*point)), &old.path("new"), &|_, _, _| ()).await.unwrap();
        assert_eq!((restored.position, restored.state), (*position, *expected), "at {point}");
        std::fs::remove_dir_all(old.path("new")).unwrap();
    }
    // All of them, by the fold that a restore does, over the backup that is opened once.
    points.sort_unstable();
    let root = old.home_at(made.folder.clone(), 4).key_file(made.manifest.vault).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for name in ["keyring.db", "keyring-copy.db"] {
        std::fs::copy(made.folder.join("shredded-1").join(name), scratch.path().join(name)).unwrap();
    }
    let (keyring, _) = SqliteKeyring::open(scratch.path(), &root, Mode::Read, 1, Arc::new(FixedRandom::new(5))).unwrap();
    let keyring = Arc::new(keyring);
    let key = keyring.purpose(TenantId::SYSTEM, Purpose::State).unwrap().key;
    let log = SegmentLog::open(&made.folder.join("segments")).unwrap();
    assert_eq!(log.head().borrow().0, end);
    let (mut views, mut tree) = (Views::default(), Frontier::default());
    let opener = Opener::new(keyring.clone() as Arc<dyn Keyring>);
    opener.forget(dead);
    let (mut compared, mut of_shredded, mut last) = (0, 0, None);
    for point in points {
        catch_up(&mut views, &mut tree, &log, &opener, Position(point), &|_| ()).await.unwrap();
        let (position, expected) = recorded.range(..=Position(point)).next_back().unwrap();
        assert_eq!(views.position(), *position, "the last whole group before {point}");
        if last != Some(*position) {
            assert_eq!(views.state_hash(&key).unwrap(), *expected, "at {point}");
            last = Some(*position);
        }
        compared += 1;
        of_shredded += usize::from(expected.shredded > 0);
    }
    assert_eq!(compared, POINTS, "all of them");
    assert!(of_shredded > POINTS / 2, "most with streams that were shredded since, which are skipped");
    assert_eq!(names(old.folder.path()), ["backups", "root.key"]);
}
