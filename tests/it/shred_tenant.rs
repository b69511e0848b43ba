//! The end of a tenant: two people and a wait, and then nothing of it is left.

use keyledger::credentials::connection::Changes;
use keyledger::credentials::{AnyState, Meta, tenant};
use keyledger::kernel::*;
use keyledger::keyring::{KeyringError, RootKeyProvider, Rotate};
use keyledger::server::Until;
use keyledger::vault::access::Principal;
use keyledger::vault::{TENANT_WAIT, VaultError, plans};

use crate::shred_bench::{ShredBench, is_shredded};
use crate::vault_bench::{key, tokens};

struct Scene {
    bench: ShredBench,
    acme: TenantId,
    /// Of its owner.
    token: String,
    /// A second person of the first tenant.
    second: Principal,
    connection: StreamId,
}

fn refused<T>(result: Result<T, VaultError>) -> Refusal {
    match result {
        Err(VaultError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let through"),
    }
}

impl Scene {
    async fn new() -> Self {
        let mut bench = ShredBench::new().await;
        let home = bench.home("data");
        let owner = bench.owner();
        let made = {
            let keyring = bench.vault().keyring();
            let keys = |id| Ok(keyring.admit(id, &home.key_file(keyring.vault()).unwrap().root_key(keyring.vault())?)?);
            bench.vault().create_tenant(&owner, Meta::default(), "acme", keys).await.unwrap()
        };
        let token = String::from_utf8(made.token.expose().to_vec()).unwrap();
        let of_acme = bench.vault().authenticate(&token).unwrap();
        let command = keyledger::vault::Command { principal: &of_acme, meta: Meta::default(), idempotency: None };
        let name = key("a", "pipedrive");
        let import = |given: &keyledger::vault::Given<'_>| plans::import(given, made.id, &name, tokens("of acme"), Changes::default());
        bench.vault().execute(&command, import).await.unwrap();
        let connection = bench.vault().views().connection(made.id, &name).unwrap();
        bench.import("of the first tenant").await;
        let second = Principal { id: StreamId([7; 16]), user: Some(StreamId([8; 16])), ..owner };
        Self { bench, acme: made.id, token, second, connection }
    }

    fn lives(&self) -> bool {
        self.bench.vault().authenticate(&self.token).is_ok()
    }

    async fn request(&self) {
        self.bench.vault().request_tenant_end(&self.bench.owner(), Meta::default(), self.acme, TENANT_WAIT, "it left").await.unwrap();
    }

    async fn approve(&self) {
        self.bench.vault().approve_tenant_end(&self.second, Meta::default(), self.acme).await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_ends_by_two_people_after_a_wait_and_everybody_else_stays() {
    let mut scene = Scene::new().await;
    let (acme, owner) = (scene.acme, scene.bench.owner());
    let mut sealed = scene.bench.vault().views().thing(scene.connection).map(|entry| vec![entry.facts_key]).unwrap();
    sealed.extend(scene.bench.vault().views().things().filter(|(_, entry)| entry.tenant == acme).map(|(_, entry)| entry.facts_key));
    let wrapping = wrapped(&scene.bench, acme);
    assert_eq!(crate::keyring::holding(&scene.bench.path("data"), &wrapping[..24]).len(), 2);
    let before = scene.bench.vault().views().position();
    let old = scene.bench.keyring_files();
    let end = async |scene: &Scene| scene.bench.vault().end_tenants().await.unwrap();
    scene.request().await;
    assert!(!scene.lives(), "its principals are refused from now on");
    scene.bench.clock.pass(2 * 1000 * i64::try_from(TENANT_WAIT).unwrap());
    assert_eq!(end(&scene).await, 0, "nobody has approved it");
    let vault = scene.bench.vault();
    let same = Principal { id: StreamId([9; 16]), ..owner.clone() };
    assert!(matches!(refused(vault.approve_tenant_end(&same, Meta::default(), acme).await), Refusal::Forbidden { .. }), "another key of the same user");
    assert!(matches!(refused(vault.request_tenant_end(&owner, Meta::default(), acme, 0, "again").await), Refusal::InvalidState(_)));
    scene.approve().await;
    assert_eq!(end(&scene).await, 0, "the wait begins with the approval");
    scene.bench.clock.pass(1000 * i64::try_from(TENANT_WAIT).unwrap() - 10_000);
    assert_eq!(end(&scene).await, 0);
    scene.bench.clock.pass(20_000);
    scene.bench.write_snapshot().await;
    assert_eq!((end(&scene).await, end(&scene).await), (1, 0));
    is_over(&mut scene, &sealed, &wrapping).await;
    scene.bench.is_what_its_log_says().await;
    // A keyring from before brings nothing back, and a restore to before has nothing of it.
    let live = scene.bench.vault().views();
    scene.bench.stop();
    ShredBench::put_back(&scene.bench.path("data"), &old);
    let into = scene.bench.path("restored");
    let restored = scene.bench.home("data").restore(Until::Position(before), &into, &|_, _, _| ()).await.unwrap();
    assert!(restored.state.shredded > 0 && crate::keyring::holding(&into, &wrapping[..24]).is_empty());
    scene.bench.start().await;
    assert!(*scene.bench.vault().views() == *live);
    is_over(&mut scene, &sealed, &wrapping).await;
    let (new, _lock) = scene.bench.home("restored").start().await.unwrap();
    assert!(is_shredded(&new.views(), scene.connection) && new.authenticate(&scene.token).is_err());
    // Its name may be taken, by a tenant that has nothing of it.
    let home = scene.bench.home("data");
    let keyring = scene.bench.vault().keyring();
    let keys = |id| Ok(keyring.admit(id, &home.key_file(keyring.vault()).unwrap().root_key(keyring.vault())?)?);
    assert_ne!(scene.bench.vault().create_tenant(&scene.bench.owner(), Meta::default(), "acme", keys).await.unwrap().id, acme);
    scene.bench.is_what_its_log_says().await;
}

/// The tenant's wrapped key, as it lies in the table.
fn wrapped(bench: &ShredBench, tenant: TenantId) -> Vec<u8> {
    let connection = rusqlite::Connection::open(bench.path("data/keyring.db")).unwrap();
    connection.query_row("SELECT wrapped FROM wrapping_keys WHERE tenant = ?1", [tenant.0.to_vec()], |row| row.get(0)).unwrap()
}

async fn is_over(scene: &mut Scene, sealed: &[KeyId], wrapping: &[u8]) {
    let (bench, acme) = (&scene.bench, scene.acme);
    let (vault, views) = (bench.vault(), bench.vault().views());
    assert!(!scene.lives() && views.tenant("acme").is_none());
    assert!(views.things().filter(|(_, entry)| entry.tenant == acme).all(|(id, _)| is_shredded(&views, *id)));
    let own = views.thing(views.tenant_stream(acme).unwrap()).unwrap();
    assert!(matches!(own.state, AnyState::Tenant(tenant::State::Shredded { .. })), "who asked and who approved is known on");
    for id in sealed {
        assert!(matches!(vault.keyring().key(acme, *id), Err(KeyringError::Destroyed(_))));
    }
    assert!(matches!(vault.keyring().take(acme), Err(KeyringError::TenantDestroyed(_))));
    assert!(crate::keyring::holding(&bench.path("data"), &wrapping[..24]).is_empty(), "the key lies in no file");
    let versions = vault.keyring().rotate().map(Rotate::versions).unwrap().unwrap();
    assert!(versions[&acme].is_empty());
    let first = views.connection(bench.owner().tenant, &key("of the first tenant", "pipedrive")).unwrap();
    assert!(bench.reveal(first).await.is_ok(), "the others stay");
}

#[tokio::test]
async fn an_end_that_is_cancelled_leaves_the_tenant_as_it_was() {
    let scene = Scene::new().await;
    let vault = scene.bench.vault();
    let owner = scene.bench.owner();
    assert!(matches!(refused(vault.cancel_tenant_end(&owner, Meta::default(), scene.acme).await), Refusal::InvalidState(_)));
    scene.request().await;
    scene.approve().await;
    scene.bench.clock.pass(2 * 1000 * i64::try_from(TENANT_WAIT).unwrap());
    vault.cancel_tenant_end(&owner, Meta::default(), scene.acme).await.unwrap();
    assert_eq!(vault.end_tenants().await.unwrap(), 0);
    assert!(scene.lives(), "it is let in again");
    // The first tenant, and the vault's own, never end.
    let home = refused(vault.request_tenant_end(&owner, Meta::default(), owner.tenant, 0, "a mistake").await);
    assert!(matches!(home, Refusal::InvalidState(_)));
    let system = refused(vault.request_tenant_end(&owner, Meta::default(), TenantId::SYSTEM, 0, "a mistake").await);
    assert!(matches!(system, Refusal::NotFound));
    // It takes people, and time in which somebody may notice.
    let nobody = Principal { id: StreamId([6; 16]), user: None, ..owner.clone() };
    let asked = refused(vault.request_tenant_end(&nobody, Meta::default(), scene.acme, TENANT_WAIT, "by nobody").await);
    assert!(matches!(asked, Refusal::Forbidden { .. }) && asked.to_string().contains("of a user"), "{asked}");
    let brief = refused(vault.request_tenant_end(&owner, Meta::default(), scene.acme, tenant::MIN_WAIT - 1, "at once").await);
    assert!(matches!(brief, Refusal::Invalid { .. }) && brief.to_string().contains("3600"), "{brief}");
    assert!(scene.lives());
    vault.request_tenant_end(&owner, Meta::default(), scene.acme, tenant::MIN_WAIT, "soon").await.unwrap();
    assert!(matches!(refused(vault.approve_tenant_end(&nobody, Meta::default(), scene.acme).await), Refusal::Forbidden { .. }));
    scene.approve().await;
    scene.bench.clock.pass(1000 * 3500);
    assert_eq!(vault.end_tenants().await.unwrap(), 0);
    vault.cancel_tenant_end(&owner, Meta::default(), scene.acme).await.unwrap();
    let long = refused(vault.request_tenant_end(&owner, Meta::default(), scene.acme, u64::MAX, "a mistake").await);
    assert!(matches!(long, Refusal::Invalid { .. }));
    assert!(scene.lives());
}

#[tokio::test]
async fn a_backup_from_before_a_tenants_end_forgets_the_tenant() {
    let mut scene = Scene::new().await;
    let (backups, wrapping) = (scene.bench.path("backups"), wrapped(&scene.bench, scene.acme));
    let backup = scene.bench.home("data").back_up(&backups, None, &|_, _, _| ()).await.unwrap().folder;
    scene.request().await;
    scene.approve().await;
    scene.bench.clock.pass(2 * 1000 * i64::try_from(TENANT_WAIT).unwrap());
    assert_eq!(crate::keyring::holding(&backups, &wrapping[..24]).len(), 2);
    assert_eq!(scene.bench.vault().end_tenants().await.unwrap(), 1);
    scene.bench.home("data").shred_backups(&backups, &|_, _| ()).await.unwrap();
    assert!(crate::keyring::holding(scene.bench.folder.path(), &wrapping[..24]).is_empty(), "in no file of the data and of the backups");
    let of_acme = scene.bench.vault().views().things().filter(|(_, entry)| entry.tenant == scene.acme).count() as u64;
    let proof = scene.bench.home("data").of(backup.clone()).verify_backup(None, &|_, _, _| ()).await.unwrap();
    assert_eq!(proof.restored.skipped, Some(of_acme));
    let into = scene.bench.path("restored");
    scene.bench.home("data").of(backup).restore(Until::End, &into, &|_, _, _| ()).await.unwrap();
    let (new, _lock) = scene.bench.home("restored").start().await.unwrap();
    assert!(is_shredded(&new.views(), scene.connection) && new.authenticate(&scene.token).is_err() && new.authenticate(&scene.bench.token).is_ok());
    assert!(matches!(new.keyring().take(scene.acme), Err(KeyringError::TenantDestroyed(_))));
}
