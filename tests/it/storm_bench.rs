//! Many connections in a vault on real files, whose log can be filled up or held at an append, and whose clock the test moves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyledger::credentials::connection::{Changes, Command as Order, Connection, Key, State, Tokens};
use keyledger::credentials::connector::GrantType;
use keyledger::credentials::{AnyEvent, AnyState, Meta};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::jobs::Refresher;
use keyledger::kernel::*;
use keyledger::keyring::{Keyring, KeyringError, Mode, Purpose, PurposeKey, SqliteKeyring};
use keyledger::log::{AppendError, BoxFuture, EventLog, LogError, Options, SqliteLog};
use keyledger::oauth::{Exchanges, Landed, Wanted, What};
use keyledger::seal::{Key as SealKey, Record};
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Vault, VaultError, plans};
use keyledger::views::Snapshot;
use tokio::sync::watch;

use crate::exchange_bench::{LOOPBACK, connector};
use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::storm_provider::{access, refresh};
use crate::vault_bench::{Root, TENANT, VaultBench, settings};

/// What the log does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doing {
    /// Its work.
    Works,
    /// It refuses: the disk is full.
    Full,
    /// Appends wait until it does something else.
    Waits,
    /// An append of this event hangs, and is never written.
    HangsBefore(&'static str),
    /// An append of this event is written, and nobody hears of it.
    HangsAfter(&'static str),
}

/// A log on files that does as it is told.
pub struct ToldLog {
    inner: SqliteLog,
    pub mode: watch::Sender<Doing>,
    /// How many appends hang.
    pub hanging: watch::Sender<usize>,
}

impl EventLog for ToldLog {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        let mode = *self.mode.borrow();
        let holds = |event: &str| block.iter().any(|record| record.header().event_type == event);
        match mode {
            Doing::Full => Box::pin(async { Err(AppendError::Refused("no space left on device".into())) }),
            Doing::Waits => Box::pin(async move {
                self.hanging.send_modify(|hanging| *hanging += 1);
                self.mode.subscribe().wait_for(|mode| *mode != Doing::Waits).await.unwrap();
                self.inner.append(head, block).await
            }),
            Doing::HangsBefore(event) if holds(event) => Box::pin(self.hang()),
            Doing::HangsAfter(event) if holds(event) => Box::pin(async move {
                self.inner.append(head, block).await?;
                self.hang().await
            }),
            _ => self.inner.append(head, block),
        }
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.inner.read(after, limit)
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.inner.read_back(from, limit)
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        self.inner.fetch(at)
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        self.inner.seek(instant)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

impl ToldLog {
    async fn hang(&self) -> Result<(), AppendError> {
        self.hanging.send_modify(|hanging| *hanging += 1);
        std::future::pending().await
    }
}

/// A keyring whose disk can be filled up: it gives no fresh keys then.
pub struct ToldKeyring {
    inner: SqliteKeyring,
    pub full: AtomicBool,
    /// How often it gave none.
    pub refused: AtomicUsize,
}

impl Keyring for ToldKeyring {
    fn vault(&self) -> VaultId {
        self.inner.vault()
    }

    fn purpose(&self, tenant: TenantId, purpose: Purpose) -> Result<PurposeKey, KeyringError> {
        self.inner.purpose(tenant, purpose)
    }

    fn admit(&self, tenant: TenantId, root: &SealKey) -> Result<(), KeyringError> {
        self.inner.admit(tenant, root)
    }

    fn take(&self, tenant: TenantId) -> Result<(KeyId, SealKey), KeyringError> {
        if !self.full.load(Ordering::SeqCst) {
            return self.inner.take(tenant);
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(KeyringError::Io("no space left on device".into()))
    }

    fn key(&self, tenant: TenantId, id: KeyId) -> Result<SealKey, KeyringError> {
        self.inner.key(tenant, id)
    }

    fn destroy(&self, keys: &[KeyId]) -> Result<(), KeyringError> {
        self.inner.destroy(keys)
    }
}

/// What is left of a vault that has ended: its files, its clock, and who owns it.
pub type Left = (tempfile::TempDir, Arc<FixedClock>, Principal, String);

/// A vault, what exchanges its tokens, and what is told to its log.
pub struct Storm {
    pub vault: Arc<Vault>,
    pub exchanges: Arc<Exchanges>,
    pub clock: Arc<FixedClock>,
    pub log: Arc<ToldLog>,
    pub keyring: Arc<ToldKeyring>,
    pub owner: Principal,
    pub token: String,
    pub folder: tempfile::TempDir,
    runs: u64,
}

type Opened = (Arc<Vault>, Arc<Exchanges>, Arc<ToldLog>, Arc<ToldKeyring>);

async fn open(folder: &Path, clock: &Arc<FixedClock>, run: u64) -> Opened {
    let random = Arc::new(FixedRandom::new(5000 + run));
    let inner = SqliteKeyring::open(folder, &Root, Mode::Serve, 1, random.clone()).unwrap().0;
    let keyring = Arc::new(ToldKeyring { inner, full: AtomicBool::new(false), refused: AtomicUsize::new(0) });
    let inner = SqliteLog::open(&folder.join("log.db"), Options::default()).unwrap();
    let log = Arc::new(ToldLog { inner, mode: watch::Sender::new(Doing::Works), hanging: watch::Sender::new(0) });
    let vault = Arc::new(Vault::start(log.clone(), keyring.clone(), clock.clone(), random, Snapshot::default()).await.unwrap());
    let exchanges = exchanges(&vault, Limits::default());
    (vault, exchanges, log, keyring)
}

pub fn exchanges(vault: &Arc<Vault>, limits: Limits) -> Arc<Exchanges> {
    let policy = Policy { allowed: LOOPBACK.iter().map(|range| range.parse().unwrap()).collect() };
    Arc::new(Exchanges::new(Arc::clone(vault), Egress::new(policy, limits), "http://127.0.0.1".to_owned()))
}

pub fn key(service: &str, consumer: &str) -> Key {
    Key { app: "app".into(), consumer: consumer.into(), unified_api: "crm".into(), service_id: service.into() }
}

/// An access token and a refresh token.
type GivenTokens<'a> = (Option<&'a str>, Option<&'a str>);

/// The settings of each connection.
fn entered() -> Changes {
    settings(&[("client_id", "test-client".into()), ("client_secret", "canary-secret".into())])
}

impl Storm {
    pub async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let VaultBench { folder, vault, clock, keyring, owner, token, .. } = VaultBench::new().await;
        vault.shutdown().await;
        drop((vault, keyring));
        let (vault, exchanges, log, keyring) = open(folder.path(), &clock, 0).await;
        Self { vault, exchanges, clock, log, keyring, owner, token, folder, runs: 0 }
    }

    /// Ends the vault in an orderly way and begins anew from its files.
    pub async fn restart(self) -> Self {
        let Self { vault, exchanges, clock, log, keyring, owner, token, folder, runs } = self;
        vault.shutdown().await;
        drop((vault, exchanges, log, keyring));
        Self::reopen((folder, clock, owner, token), runs + 1).await
    }

    /// Lets go of a vault that hangs, without a farewell.
    pub fn abandon(self) -> (Left, u64) {
        ((self.folder, self.clock, self.owner, self.token), self.runs)
    }

    /// A vault over files that another one has left as they are.
    pub async fn reopen((folder, clock, owner, token): Left, runs: u64) -> Self {
        let (vault, exchanges, log, keyring) = open(folder.path(), &clock, runs).await;
        exchanges.sweep().await.unwrap();
        Self { vault, exchanges, clock, log, keyring, owner, token, folder, runs }
    }

    pub async fn try_execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Result<Answer, VaultError> {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Answer {
        self.try_execute(decide).await.unwrap()
    }

    /// A service at this endpoint.
    pub async fn service(&self, service: &str, token_url: &str, grant: GrantType) {
        let mut made = connector(token_url.to_owned());
        made.service_id = service.into();
        let oauth = made.oauth.as_mut().unwrap();
        oauth.grant = grant;
        oauth.authorize_url = (grant == GrantType::AuthorizationCode).then(|| "https://example.com/authorize".to_owned());
        self.execute(|given| plans::put_connector(given, TENANT, made.clone())).await;
    }

    /// A connection with its settings and no token.
    pub async fn entered(&self, service: &str, consumer: &str) -> StreamId {
        let answer = self.execute(|given| plans::update(given, TENANT, &key(service, consumer), entered())).await;
        answer.views.connection(TENANT, &key(service, consumer)).unwrap()
    }

    /// Takes tokens over: the first of the family that the consumer names, with so many seconds to live if that is known.
    pub async fn import(&self, service: &str, consumer: &str, lives: Option<i64>) -> StreamId {
        self.import_with(entered(), service, consumer, (Some(&access(consumer, 0)), Some(&refresh(consumer, 0))), lives).await
    }

    pub async fn import_more(&self, service: &str, consumer: &str, access: Option<&str>, refresh: Option<&str>, lives: Option<i64>) {
        self.import_with(Changes::default(), service, consumer, (access, refresh), lives).await;
    }

    async fn import_with(&self, changes: Changes, service: &str, consumer: &str, (access, refresh): GivenTokens<'_>, lives: Option<i64>) -> StreamId {
        let expires_at = lives.map(|seconds| self.vault.now().plus_seconds(seconds));
        let issued_at = lives.map(|_| self.vault.now());
        let tokens = || Tokens { access: access.map(Secret::from), refresh: refresh.map(Secret::from), issued_at, expires_at, ..Tokens::default() };
        let answer = self.execute(|given| plans::import(given, TENANT, &key(service, consumer), tokens(), changes.clone())).await;
        answer.views.connection(TENANT, &key(service, consumer)).unwrap()
    }

    pub async fn order(&self, id: StreamId, order: impl Fn() -> Order) -> Answer {
        self.execute(|given| plans::on_connection(given, id, order())).await
    }

    pub fn live(&self, id: StreamId) -> Connection {
        match &self.vault.views().thing(id).unwrap().state {
            AnyState::Connection(State::Live(live)) => (**live).clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn health(&self, id: StreamId) -> &'static str {
        let live = self.live(id);
        keyledger::credentials::connection::health(keyledger::credentials::connector::AuthType::Oauth2, &live, live.phase)
    }

    pub fn wanted(&self, id: StreamId, what: What) -> Wanted {
        Wanted { principal: self.owner.clone(), meta: Meta::default(), idempotency: None, connection: id, what }
    }

    pub async fn exchange(&self, id: StreamId, what: What) -> Landed {
        self.exchanges.exchange(self.wanted(id, what)).await
    }

    /// Begins an exchange that goes on by itself.
    pub fn begin(&self, id: StreamId, what: What) -> tokio::task::JoinHandle<Landed> {
        let (exchanges, wanted) = (Arc::clone(&self.exchanges), self.wanted(id, what));
        tokio::spawn(async move { exchanges.exchange(wanted).await })
    }

    pub fn refresher(&self) -> Refresher {
        Refresher::new(Arc::clone(&self.vault), Arc::clone(&self.exchanges))
    }

    /// Begins what is due, and waits for its end; gives how many began or were removed.
    pub async fn round(&self, refresher: &mut Refresher) -> usize {
        let begun = refresher.step().await;
        refresher.settle().await;
        begun
    }

    /// A secret of a connection, as a reveal shows it.
    pub async fn shown(&self, id: StreamId, secret: &str) -> String {
        let shown = self.vault.reveal(&self.owner, Meta::default(), id, secret, "a test").await.unwrap();
        String::from_utf8(shown.value.expose().to_vec()).unwrap()
    }

    /// The access token and the refresh token.
    pub async fn tokens(&self, id: StreamId) -> (String, String) {
        (self.shown(id, "access_token").await, self.shown(id, "refresh_token").await)
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.pass(seconds * 1000);
    }
}
