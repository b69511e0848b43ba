//! A vault with a long history on disk, as a server leaves it: every event came by a command of somebody through the vault, onto both copies of the
//! log, at a time of its own within thirty days; at the end a snapshot and a checkpoint were written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyledger::credentials::api_key::{self, Grant};
use keyledger::credentials::connection::{Changes, Key, Tokens};
use keyledger::credentials::{AnyEvent, Meta};
use keyledger::jobs::{Checkpoints, write_newest};
use keyledger::kernel::{Clock, Json, Moment, OsRandom, Plan, Refusal, Secret, StreamId, SystemClock, TenantId};
use keyledger::keyring::{Purpose, RootKeyProvider};
use keyledger::log::Told;
use keyledger::server::Home;
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Given, Vault, plans};

use crate::memory::id;
use crate::table::{figure, real};

/// How long the history is.
const DAYS: i64 = 30;
/// Who writes it: so many at once, each a principal of one of the tenants.
const CALLERS: u32 = 64;
const TENANTS: [&str; 4] = ["default", "acme", "globex", "initech"];
/// Principals of each tenant.
const ACTORS: u32 = 4;
/// Each consumer has a connection to each of these, and every other one an API key.
const SERVICES: [&str; 2] = ["pipedrive", "hubspot"];
/// Commands of two consumers: their connections, the key, and what changes later.
const COMMANDS: i64 = 40;
/// What changes later, for a consumer without a key and for one with it.
const LATER: [u32; 2] = [18, 17];

/// A clock that each command moves on, until the history ends now.
pub struct Passing {
    start: Moment,
    millis: AtomicI64,
    step: i64,
}

impl Passing {
    fn over(consumers: u32) -> Self {
        let whole = DAYS * 24 * 3600 * 1000;
        let step = whole / (COMMANDS * i64::from(consumers / 2) + 100);
        Self { start: SystemClock.now().plus_millis(-whole), millis: AtomicI64::new(0), step }
    }

    fn pass(&self) {
        self.millis.fetch_add(self.step, Ordering::Relaxed);
    }
}

impl Clock for Passing {
    fn now(&self) -> Moment {
        self.start.plus_millis(self.millis.load(Ordering::Relaxed))
    }

    fn steady_millis(&self) -> u64 {
        u64::try_from(self.millis.load(Ordering::Relaxed)).unwrap()
    }
}

/// What was made.
pub struct History {
    pub folder: PathBuf,
    pub clock: Arc<Passing>,
    /// Of the first tenant's owner, who runs the vault.
    pub token: String,
    /// The first tenant, and one of its principals.
    pub tenant: TenantId,
    pub actor: StreamId,
    /// The checkpoint at the end.
    pub told: Told,
    pub events: u64,
}

/// The data directory in a folder; its root key lies beside it.
pub fn home(folder: &Path, clock: Arc<dyn Clock>) -> Home {
    Home::new(data(folder), Some(folder.join("root.key")), clock, Arc::new(OsRandom))
}

pub fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

impl History {
    /// Makes it, and says how long that took and how large it is.
    pub async fn make(folder: &Path, credentials: u32) -> Self {
        std::fs::create_dir(folder).unwrap();
        let (started, consumers) = (Instant::now(), credentials * 2 / 5);
        let clock = Arc::new(Passing::over(consumers));
        let home = home(folder, clock.clone());
        let token = String::from_utf8(home.init().await.unwrap().owner_token.expose().to_vec()).unwrap();
        let (vault, lock) = home.start().await.unwrap();
        let (vault, root) = (Arc::new(vault), root_key(&home));
        let actors = actors(&vault, &token, &root).await;
        let callers = (0..CALLERS).map(|number| {
            let by = actors[usize::try_from(number).unwrap() % actors.len()].clone();
            let caller = Caller { vault: Arc::clone(&vault), clock: Arc::clone(&clock), by, number, drawn: 0 };
            tokio::spawn(caller.write(consumers))
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let told = end(&vault, &home).await;
        let first = &actors[0];
        let (events, tenant, actor) = (vault.views().position().0, first.tenant, first.id);
        vault.shutdown().await;
        drop((vault, lock));
        let history = Self { folder: folder.to_owned(), clock, token, tenant, actor, told, events };
        history.print(started.elapsed());
        history
    }

    fn print(&self, took: Duration) {
        figure("making it", took.as_secs_f64(), &format!("s, {:.0} events a second", real(self.events) / took.as_secs_f64()));
        let data = data(&self.folder);
        let megabytes = |names: &[&str]| names.iter().map(|name| size(&data.join(name))).sum::<u64>() / 1_000_000;
        figure("of it: log.db", real(megabytes(&["log.db", "log.db-wal"])), "MB");
        figure("of it: segments/", real(megabytes(&["segments"])), "MB");
        figure("of it: keyring.db and its copy", real(megabytes(&["keyring.db", "keyring.db-wal", "keyring-copy.db", "keyring-copy.db-wal"])), "MB");
        figure("of it: views.snapshot", real(megabytes(&["views.snapshot"])), "MB");
    }

    /// An instant at so many millionths of the history.
    pub fn instant(&self, millionths: u64) -> Moment {
        let length = self.clock.now().millis() - self.clock.start.millis();
        self.clock.start.plus_millis(length / 1000 * i64::try_from(millionths).unwrap() / 1000)
    }
}

/// Bytes of a file, or of all files of a folder.
fn size(path: &Path) -> u64 {
    let Ok(about) = std::fs::metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}

fn root_key(home: &Home) -> keyledger::seal::Key {
    let vault = keyledger::keyring::SqliteKeyring::vault_at(home.folder()).unwrap();
    home.key_file(vault).unwrap().root_key(vault).unwrap()
}

/// What a server writes when it ends.
async fn end(vault: &Vault, home: &Home) -> Told {
    let signed = vault.checkpoint(vault.views().position()).await.unwrap();
    write_newest(&Checkpoints::path(home.folder()), &signed.note).unwrap();
    let key = vault.keyring().purpose(TenantId::SYSTEM, Purpose::Snapshot).unwrap().key;
    let snapshot = vault.snapshot().await.unwrap();
    snapshot.write(&home.snapshot(), &**vault.log(), vault.keyring().vault(), &key, &OsRandom).await.unwrap();
    Told { size: signed.size, root: signed.root, epoch: Some(signed.epoch), by: "the checkpoint".into() }
}

fn meta() -> Meta {
    Meta {
        ip: Some("203.0.113.7".into()),
        agent: Some("apideck-unify/0.36 python/3.12".into()),
        rule: Some("own permission".into()),
        reason: None,
        request_id: Some("0190f3b2-7c1e-7a34-9f60-2b8d1c5e4a77".into()),
    }
}

fn grant(name: String, permissions: &[&str]) -> Grant {
    Grant {
        name,
        owner: None,
        permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        emails: Vec::new(),
        organizations: Vec::new(),
        labels: Vec::new(),
        dns_name: None,
        app_ids: Vec::new(),
        expires_at: None,
    }
}

async fn execute(vault: &Vault, by: &Principal, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) {
    vault.execute(&Command { principal: by, meta: meta(), idempotency: None }, decide).await.unwrap();
}

/// An API key, as who makes it sees it once.
async fn api_key(vault: &Vault, by: &Principal, grant: &Grant) -> (StreamId, String) {
    let mut made = None;
    execute(vault, by, |given| {
        let (plan, id, values) = plans::create_api_key(given, by, grant.clone())?;
        made = Some((id, String::from_utf8(values[0].expose().to_vec()).unwrap()));
        Ok(plan)
    })
    .await;
    made.unwrap()
}

/// Those who write the history: of each tenant some, in turns, so that the first one is of the first tenant.
async fn actors(vault: &Vault, token: &str, root: &keyledger::seal::Key) -> Vec<Principal> {
    let mut owners = vec![vault.authenticate(token).unwrap()];
    for name in &TENANTS[1..] {
        let admit = |id: TenantId| Ok(vault.keyring().admit(id, root)?);
        let made = vault.create_tenant(&owners[0], meta(), name, admit).await.unwrap();
        owners.push(vault.authenticate(std::str::from_utf8(made.token.expose()).unwrap()).unwrap());
    }
    let mut actors = Vec::new();
    for number in 0..ACTORS {
        for owner in &owners {
            let writes = ["connections:read", "connections:write", "consumers:write", "api-keys:read", "api-keys:write"];
            let (_, token) = api_key(vault, owner, &grant(format!("importer {number}"), &writes)).await;
            actors.push(vault.authenticate(&token).unwrap());
        }
    }
    actors
}

/// One that writes: what it makes is its own, so that nobody else is in its way.
struct Caller {
    vault: Arc<Vault>,
    clock: Arc<Passing>,
    by: Principal,
    number: u32,
    drawn: u32,
}

impl Caller {
    async fn write(mut self, consumers: u32) {
        let (mut made, mut keys) = (Vec::new(), Vec::new());
        for consumer in (self.number..consumers).step_by(usize::try_from(CALLERS).unwrap()) {
            made.push(consumer);
            for service in SERVICES {
                self.import(consumer, service).await;
            }
            let has_key = (consumer / CALLERS).is_multiple_of(2);
            if has_key {
                self.clock.pass();
                keys.push(api_key(&self.vault, &self.by, &grant(format!("key of customer {consumer}"), &["connections:read"])).await.0);
            }
            for _ in 0..LATER[usize::from(has_key)] {
                self.change(&made, &keys).await;
            }
        }
    }

    /// A number below a limit; the same in every run.
    fn draw(&mut self, below: usize) -> usize {
        self.drawn += 1;
        let drawn = id(11, self.number << 20 | self.drawn);
        usize::try_from(u32::from_be_bytes(drawn[..4].try_into().unwrap())).unwrap() % below
    }

    /// Of ten changes, four bring new tokens, four metadata, two are of API keys.
    async fn change(&mut self, made: &[u32], keys: &[StreamId]) {
        let (of, service) = (made[self.draw(made.len())], SERVICES[self.draw(SERVICES.len())]);
        match self.draw(10) {
            0..4 => self.import(of, service).await,
            4..8 => self.describe(of, service).await,
            _ => {
                let key = keys[self.draw(keys.len())];
                self.rename(key).await;
            }
        }
    }

    fn key(consumer: u32, service: &str) -> Key {
        Key { app: "app".into(), consumer: format!("consumer-{consumer}"), unified_api: "crm".into(), service_id: service.into() }
    }

    async fn import(&self, consumer: u32, service: &str) {
        self.clock.pass();
        let secret = |sort: &str| Some(Secret::from(format!("v1:{sort}-token-of-{consumer:>020}-{service:>10}-{:>010}", self.drawn).as_str()));
        let tokens = || Tokens { access: secret("access"), refresh: secret("refresh"), ..Tokens::default() };
        let key = Self::key(consumer, service);
        execute(&self.vault, &self.by, |given| plans::import(given, self.by.tenant, &key, tokens(), Changes::default())).await;
    }

    async fn describe(&self, consumer: u32, service: &str) {
        self.clock.pass();
        let metadata = Json::from(&serde_json::json!({ "plan": "enterprise", "region": "eu-west-1", "revision": self.drawn }));
        let changes = Changes { metadata: Some(Some(metadata)), ..Changes::default() };
        let key = Self::key(consumer, service);
        execute(&self.vault, &self.by, |given| plans::update(given, self.by.tenant, &key, changes.clone())).await;
    }

    async fn rename(&self, key: StreamId) {
        self.clock.pass();
        let changes = api_key::Changes { name: Some(format!("key in revision {}", self.drawn)), ..api_key::Changes::default() };
        execute(&self.vault, &self.by, |given| plans::update_api_key(given, &self.by, key, changes.clone(), None)).await;
    }
}
