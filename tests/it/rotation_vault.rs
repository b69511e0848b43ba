//! Rotations of a running vault: what the log says of them, once, and that nothing is refused meanwhile.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use keyledger::credentials::connection::Changes;
use keyledger::credentials::{AnyEvent, AnyState, Meta, vault};
use keyledger::kernel::*;
use keyledger::keyring::{KeyFile, Keyring, Rotate};
use keyledger::vault::access::Principal;
use keyledger::vault::{Filter, Outcome, Root, Rotation, Vault, VaultError, plans};

use crate::fixed::FixedRandom;
use crate::vault_bench::{TENANT, VaultBench, key, tokens};

struct Scene {
    vault: Arc<Vault>,
    keyring: Arc<keyledger::keyring::SqliteKeyring>,
    owner: Principal,
    root: Root,
    config: tempfile::TempDir,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let VaultBench { vault, keyring, owner, folder, .. } = VaultBench::new().await;
        let config = tempfile::tempdir().unwrap();
        let path = config.path().join("root.key");
        std::fs::write(&path, format!("keyledger root key v1\n{}\n{}\n", keyring.vault(), Base64::encode_string(&[4; 32]))).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { vault: Arc::new(vault), keyring, owner, root: Arc::new(KeyFile::at(path)), config, _folder: folder }
    }

    async fn rotate(&self, what: Rotation) -> Outcome {
        let mut told = self.vault.rotate(what, Arc::clone(&self.root), &self.owner, Meta::default()).unwrap();
        told.wait_for(Option::is_some).await.unwrap().clone()
    }

    async fn import(&self, consumer: &str) {
        let command = keyledger::vault::Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, |given| plans::import(given, TENANT, &key(consumer, "pipedrive"), tokens(consumer), Changes::default())).await.unwrap();
    }

    async fn events(&self, event_type: &str) -> Vec<serde_json::Value> {
        let filter =
            Filter { kinds: vec!["vault".into()], event_types: vec![event_type.into()], to: Position(u64::MAX), oldest_first: true, ..Filter::default() };
        let page = self.vault.events(&self.owner, &filter, 100).await.unwrap();
        page.events.into_iter().map(|shown| shown.facts[event_type].clone()).collect()
    }

    /// The log folded anew is what is served.
    async fn replays(&self) {
        let (mut views, mut tree) = (keyledger::views::Views::default(), keyledger::seal::merkle::Frontier::default());
        let opener = keyledger::views::Opener::new(self.keyring.clone() as Arc<dyn Keyring>);
        let now = self.vault.views();
        keyledger::views::catch_up(&mut views, &mut tree, &**self.vault.log(), &opener, now.position(), &|_| ()).await.unwrap();
        assert!(views == *now);
    }
}

#[tokio::test]
async fn a_rotation_is_one_event_and_changes_nothing_that_is_derived() {
    let scene = Scene::new().await;
    scene.import("one").await;
    let before = scene.vault.views();
    assert_eq!(scene.rotate(Rotation::Tenant(TENANT)).await, Some(Ok(())));
    assert_eq!(scene.rotate(Rotation::Tenant(TenantId::SYSTEM)).await, Some(Ok(())));
    assert_eq!(scene.rotate(Rotation::Root).await, Some(Ok(())));
    let told = scene.events("tenant_key_rotated").await;
    let expected = |tenant: TenantId, told: &serde_json::Value| {
        assert_eq!((&told["tenant"], &told["from"], &told["to"]), (&tenant.to_string().into(), &1.into(), &2.into()));
        assert!(told["batches"].as_u64().unwrap() > 0);
    };
    expected(TENANT, &told[0]);
    expected(TenantId::SYSTEM, &told[1]);
    assert_eq!(told.len(), 2);
    let told = scene.events("root_rotated").await;
    assert_eq!((told.len(), &told[0]["wraps"]), (1, &2.into()), "one of each tenant");
    scene.import("two").await;
    scene.replays().await;
    let consumer = |views: &keyledger::views::Views, name| views.connection(TENANT, &key(name, "pipedrive"));
    assert_eq!(consumer(&before, "one"), consumer(&scene.vault.views(), "one"));
    let id = consumer(&before, "one").unwrap();
    assert_eq!(scene.vault.reveal(&scene.owner, Meta::default(), id, "access_token", "a test").await.unwrap().value.expose(), b"one");
    assert!(scene.config.path().join("root.key.old").exists());
    let state = scene.vault.key_state(Arc::clone(&scene.root)).await.unwrap();
    assert!(!state.root_rotating && state.root.left == 0 && state.tenants.values().all(|versions| versions.len() == 1));
}

#[tokio::test]
async fn a_rotation_that_was_cut_short_goes_on_at_the_next_start_and_is_told_once() {
    let scene = Scene::new().await;
    scene.import("one").await;
    // A kill before the first step, and one after the event was written and before the former key was given up.
    let turn = scene.keyring.begin(TENANT, &scene.root.root_keys(scene.keyring.vault()).unwrap()).unwrap();
    let system = Principal { tenant: TenantId::SYSTEM, ..scene.owner.clone() };
    let command = keyledger::vault::Command { principal: &system, meta: Meta::default(), idempotency: None };
    let written = vault::Event::TenantKeyRotated { tenant: TENANT, from: turn.from, to: turn.to, batches: 1 };
    let mut written = Some(written);
    scene
        .vault
        .execute(&command, |given| Ok(Plan::of(Write::observation(given.views.vault().unwrap(), AnyEvent::Vault(written.take().unwrap())))))
        .await
        .unwrap();
    scene.root.next_key(scene.keyring.vault(), &FixedRandom::new(7)).unwrap();
    scene.vault.resume_rotations(&scene.root).await;
    assert_eq!((scene.events("tenant_key_rotated").await.len(), scene.events("root_rotated").await.len()), (1, 1));
    assert!(scene.keyring.turns().is_empty() && !scene.root.is_rotating());
    scene.vault.resume_rotations(&scene.root).await;
    assert_eq!((scene.events("tenant_key_rotated").await.len(), scene.events("root_rotated").await.len()), (1, 1), "nothing is left to resume");
    let views = scene.vault.views();
    let AnyState::Vault(state) = &views.thing(views.vault().unwrap()).unwrap().state else { panic!() };
    assert_eq!(state.rotated[&TENANT], 2);
    scene.replays().await;
}

#[tokio::test]
async fn a_root_key_from_where_no_other_can_be_put_is_refused_and_so_is_a_second_rotation_beside_the_first() {
    let scene = Scene::new().await;
    let fixed: Root = Arc::new(crate::vault_bench::Root);
    let refused = scene.vault.rotate(Rotation::Root, fixed, &scene.owner, Meta::default());
    assert!(matches!(refused, Err(VaultError::Refused(Refusal::InvalidState(_)))));
    let begin = |what| scene.vault.rotate(what, Arc::clone(&scene.root), &scene.owner, Meta::default());
    // Nothing of it has run yet: this test gives the turn to no other task before it waits.
    let mut first = begin(Rotation::Root).unwrap();
    assert!(matches!(begin(Rotation::Tenant(TENANT)), Err(VaultError::Refused(Refusal::InvalidState(_)))));
    assert!(begin(Rotation::Root).is_ok(), "the same one is joined");
    assert_eq!(*first.wait_for(Option::is_some).await.unwrap(), Some(Ok(())));
    assert_eq!(scene.events("root_rotated").await.len(), 1);
    assert!(matches!(scene.rotate(Rotation::Tenant(TenantId([9; 16]))).await, Some(Err(_))), "a tenant that has no keys");
}
