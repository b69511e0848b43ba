//! A vault on real files, with a clock and randomness that the test chose.

use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Changes, Key, Tokens};
use keyledger::egress::{Egress, Policy, StreamLimits};
use keyledger::jobs::{WEBHOOK_LIMITS, Webhooks};
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, KeyringError, Mode, Purpose, RootKeyProvider, SqliteKeyring};
use keyledger::log::{EventLog, Options, SqliteLog};
use keyledger::seal::Key as SealKey;
use keyledger::seal::merkle::Frontier;
use keyledger::surfaces::{ACCESS_TOKEN_SECONDS, Settings};
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Vault, VaultError, begin};
use keyledger::views::{Opener, Snapshot, SnapshotError, Views, catch_up};

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;

pub const TENANT: TenantId = TenantId(*b"tenant-of-vaults");

pub struct Root;

impl RootKeyProvider for Root {
    fn root_key(&self, _: VaultId) -> Result<SealKey, KeyringError> {
        Ok(SealKey::new([4; 32]))
    }
}

pub struct VaultBench {
    pub folder: tempfile::TempDir,
    pub vault: Vault,
    pub clock: Arc<FixedClock>,
    pub keyring: Arc<SqliteKeyring>,
    pub owner: Principal,
    pub token: String,
    runs: u64,
}

impl VaultBench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let random = Arc::new(FixedRandom::new(100));
        let keyring = SqliteKeyring::create(folder.path(), VaultId(*b"vault-under-test"), &SealKey::new([4; 32]), random.clone()).unwrap();
        keyring.ensure_tenant(TENANT, &SealKey::new([4; 32])).unwrap();
        let keyring = Arc::new(keyring);
        let log: Arc<dyn EventLog> = Arc::new(SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap());
        let clock = Arc::new(FixedClock::at(crate::log_bench::START));
        let genesis = begin(log.clone(), keyring.clone(), clock.clone(), random.clone(), TENANT).await.unwrap();
        let token = String::from_utf8(genesis.token.expose().to_vec()).unwrap();
        let vault = Vault::start(log, keyring.clone(), clock.clone(), random, Snapshot::default()).await.unwrap();
        let owner = vault.authenticate(&token).unwrap();
        Self { folder, vault, clock, keyring, owner, token, runs: 0 }
    }

    /// Stops without a farewell and starts again from the log and the keyring.
    pub async fn restart(self) -> Self {
        self.restart_from(Snapshot::default()).await
    }

    fn snapshot_key(&self) -> SealKey {
        self.keyring.purpose(TenantId::SYSTEM, Purpose::Snapshot).unwrap().key
    }

    pub async fn write_snapshot(&self, path: &std::path::Path) -> Position {
        let snapshot = self.vault.snapshot().await.unwrap();
        let log = &**self.vault.log();
        snapshot.write(path, log, self.keyring.vault(), &self.snapshot_key(), &FixedRandom::new(900)).await.unwrap();
        snapshot.views.position()
    }

    pub async fn read_snapshot(&self, path: &std::path::Path) -> Result<Snapshot, SnapshotError> {
        Snapshot::read(path, &**self.vault.log(), self.keyring.vault(), &self.snapshot_key()).await
    }

    /// Stops without a farewell and starts again from the files and a snapshot.
    pub async fn restart_from(self, snapshot: Snapshot) -> Self {
        self.restart_over(snapshot, |log| Arc::new(log)).await
    }

    /// The same, over what is made of the log's file.
    pub async fn restart_over(self, snapshot: Snapshot, over: impl FnOnce(SqliteLog) -> Arc<dyn EventLog>) -> Self {
        let Self { folder, vault, clock, keyring, owner, token, runs } = self;
        drop((vault, keyring));
        let random = Arc::new(FixedRandom::new(200 + runs));
        let keyring = Arc::new(SqliteKeyring::open(folder.path(), &Root, Mode::Serve, 1, random.clone()).unwrap().0);
        let log = over(SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap());
        let vault = Vault::start(log, keyring.clone(), clock.clone(), random, snapshot).await.unwrap();
        Self { folder, vault, clock, keyring, owner, token, runs: runs + 1 }
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<keyledger::credentials::AnyEvent>, Refusal>) -> Result<Answer, VaultError> {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await
    }

    /// The log folded anew from zero, through the last whole group at or before `until`.
    pub async fn replay(&self, until: Position) -> (Views, Frontier) {
        let (mut views, mut tree) = (Views::default(), Frontier::default());
        let opener = Opener::new(self.keyring.clone() as Arc<dyn Keyring>);
        catch_up(&mut views, &mut tree, &**self.vault.log(), &opener, until, &|_| ()).await.unwrap();
        (views, tree)
    }
}

/// What an operator sets, over the root key of these tests.
pub fn operator() -> Arc<Settings> {
    Arc::new(Settings { access_token_seconds: ACCESS_TOKEN_SECONDS, origins: Vec::new(), stream_limits: StreamLimits::default(), root_key: Box::new(Root) })
}

/// What delivers webhooks, to public addresses and these.
pub fn webhooks(vault: &Arc<Vault>, allowed: &[&str]) -> Arc<Webhooks> {
    let policy = Policy { allowed: allowed.iter().map(|range| range.parse().unwrap()).collect() };
    Arc::new(Webhooks::new(Arc::clone(vault), Egress::new(policy, WEBHOOK_LIMITS), Arc::new(FixedRandom::new(300)), Box::new(|_| false)))
}

pub fn key(consumer: &str, service_id: &str) -> Key {
    Key { app: "app".into(), consumer: consumer.into(), unified_api: "crm".into(), service_id: service_id.into() }
}

pub fn tokens(access: &str) -> Tokens {
    Tokens { access: Some(Secret::from(access)), refresh: Some(Secret::from("a refresh token")), ..Tokens::default() }
}

pub fn settings(given: &[(&str, serde_json::Value)]) -> Changes {
    Changes { settings: given.iter().map(|(id, value)| ((*id).to_owned(), Some(value.clone()))).collect(), ..Changes::default() }
}
