//! A thousand moments of one vault, restored from its backup: the state is always the one that was live then.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyledger::credentials::vault::SecretAt;
use keyledger::credentials::{Meta, api_key};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, Mode, Purpose, SqliteKeyring};
use keyledger::log::{EventLog, SegmentLog};
use keyledger::seal::merkle::Frontier;
use keyledger::server::Until;
use keyledger::vault::access::Principal;
use keyledger::vault::{Vault, plans};
use keyledger::views::{Opener, StateHash, Views, catch_up};

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

/// The last moment that was noted at or before a position.
fn at(noted: &BTreeMap<Position, (StateHash, Moment)>, position: Position) -> Option<(Position, StateHash)> {
    noted.range(..=position).next_back().map(|(position, (state, _))| (*position, *state))
}

#[tokio::test]
async fn a_thousand_random_moments_are_restored_as_they_were() {
    let old = Old::new().await;
    let random: &dyn Random = &FixedRandom::new(20_261_128);
    let noted = live(&old, random).await;
    let made = old.home("old", 3).back_up(&old.path("backups"), None, &|_, _, _| ()).await.unwrap();
    std::fs::remove_dir_all(old.path("old")).unwrap();
    let (first, end) = (noted.first_key_value().unwrap().0.0, made.manifest.position.0);
    let mut points: Vec<u64> = (0..POINTS).map(|_| first + u64::from_be_bytes(random.array()) % (end - first + 1)).collect();
    // Folded once from the backup's own files, from point to point: the same fold that a restore does.
    let root = old.home_at(made.folder.clone(), 4).key_file(made.manifest.vault).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for name in ["keyring.db", "keyring-copy.db"] {
        std::fs::copy(made.folder.join(name), scratch.path().join(name)).unwrap();
    }
    let (keyring, _) = SqliteKeyring::open(scratch.path(), &root, Mode::Read, 1, Arc::new(FixedRandom::new(5))).unwrap();
    let keyring = Arc::new(keyring);
    let key = keyring.purpose(TenantId::SYSTEM, Purpose::State).unwrap().key;
    let log = SegmentLog::open(&made.folder.join("segments")).unwrap();
    assert_eq!(log.head().borrow().0, end);
    let whole: Vec<u64> = points.iter().copied().take(WHOLE).collect();
    points.sort_unstable();
    let (mut views, mut tree) = (Views::default(), Frontier::default());
    let opener = Opener::new(keyring.clone() as Arc<dyn Keyring>);
    let mut compared = 0;
    for point in points {
        catch_up(&mut views, &mut tree, &log, &opener, Position(point), &|_| ()).await.unwrap();
        // A shred is a group of its own within one step here: only what was noted has a recorded state.
        if let Some((_, (recorded, _))) = noted.get_key_value(&views.position()) {
            assert_eq!(views.state_hash(&key).unwrap(), *recorded, "at {point}");
            compared += 1;
        }
    }
    assert!(compared > POINTS / 2, "{compared}");
    for (number, point) in (10_u64..).zip(whole) {
        let (position, recorded) = at(&noted, Position(point)).unwrap();
        let instant = noted[&position].1.plus_millis(1);
        let until = if number % 2 == 0 { Until::Position(position) } else { Until::Instant(instant) };
        let restored = old.home_at(made.folder.clone(), number).restore(until, &old.path("new"), &|_, _, _| ()).await.unwrap();
        let expected = if number % 2 == 0 { recorded } else { noted.values().rev().find(|(_, at)| *at < instant).unwrap().0 };
        assert_eq!(restored.state, expected, "at {point}");
        std::fs::remove_dir_all(old.path("new")).unwrap();
    }
    assert_eq!(names(old.folder.path()), ["backups", "root.key"]);
}
