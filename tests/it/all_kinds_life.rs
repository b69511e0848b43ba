//! A vault in a data directory of its own, served in this process, that lives through every command of every kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use keyledger::credentials::Meta;
use keyledger::credentials::connection::{Command as Act, Key, Notice, Outcome, Tokens};
use keyledger::credentials::issued::Token;
use keyledger::credentials::webhook::{Command as Order, Dead, Failed, Letter, Progressed, Retry};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::{Clock, Position, Refusal, Secret, TenantId};
use keyledger::keyring::Purpose;
use keyledger::oauth::Exchanges;
use keyledger::server::{Home, Listening, router, serve};
use keyledger::surfaces::{ACCESS_TOKEN_SECONDS, Front, Settings};
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Given, Vault, plans};
use keyledger::views::{StateHash, Views};
use serde_json::Value;

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;

pub const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
pub const OWN_APPLICATIONS: &str = "/api/v1/user-applications";
/// Milliseconds from one request to the next: nothing ends by itself.
const TICK: i64 = 7;

/// A vault that is served, and the lock of its directory.
pub struct Running {
    pub vault: Arc<Vault>,
    base: String,
    stop: tokio::sync::watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
    lock: keyledger::server::Lock,
}

pub struct Life {
    pub folder: tempfile::TempDir,
    pub clock: Arc<FixedClock>,
    pub running: Option<Running>,
    /// The owner's.
    pub token: String,
    /// The views as they were live after each request that wrote something.
    pub noted: Vec<Arc<Views>>,
    /// Whatever was shown once or put in: no read of the past may show it.
    pub secrets: Vec<String>,
    client: reqwest::Client,
    seeds: u64,
}

/// Status, position, tag and bytes of an answer.
pub type Answer = (u16, Option<String>, Option<String>, String);

/// Paths to one thing of each sort, by the beginning of their template.
pub struct Things {
    pub tag: &'static str,
    pub by_prefix: BTreeMap<&'static str, String>,
    /// Ids of one credential of each kind.
    pub credentials: Vec<String>,
    pub connection: String,
    pub user: String,
    pub login: String,
    pub password: String,
}

pub fn home(folder: &Path, name: &str, clock: &Arc<FixedClock>, seed: u64) -> Home {
    Home::new(folder.join(name), Some(folder.join("root.key")), clock.clone(), Arc::new(FixedRandom::new(seed)))
}

pub async fn serve_home(home: &Home) -> Running {
    let (vault, lock) = home.start().await.unwrap();
    let vault = Arc::new(vault);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, told) = tokio::sync::watch::channel(false);
    let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
    let webhooks = crate::vault_bench::webhooks(&vault, &["127.0.0.0/8"]);
    let root_key = Box::new(home.key_file(vault.keyring().vault()).unwrap());
    let settings = Arc::new(Settings {
        access_token_seconds: ACCESS_TOKEN_SECONDS,
        origins: Vec::new(),
        stream_limits: keyledger::egress::StreamLimits::default(),
        root_key,
    });
    let served = tokio::spawn(serve(listener, router(&Front { vault: Arc::clone(&vault), exchanges, webhooks, settings }), Listening::default(), told));
    Running { vault, base, stop, served, lock }
}

impl Running {
    pub fn state(&self) -> StateHash {
        hash(&self.vault, &self.vault.views())
    }

    /// Ends in order; writes a snapshot if it is told to.
    pub async fn end(self, snapshot: Option<&Path>) {
        self.stop.send(true).unwrap();
        self.served.await.unwrap();
        if let Some(path) = snapshot {
            let keyring = self.vault.keyring();
            let key = keyring.purpose(TenantId::SYSTEM, Purpose::Snapshot).unwrap().key;
            self.vault.snapshot().await.unwrap().write(path, &**self.vault.log(), keyring.vault(), &key, &FixedRandom::new(77)).await.unwrap();
        }
        drop((self.vault, self.lock));
    }
}

pub fn hash(vault: &Vault, views: &Views) -> StateHash {
    views.state_hash(&vault.keyring().purpose(TenantId::SYSTEM, Purpose::State).unwrap().key).unwrap()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

impl Life {
    pub async fn begin() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(FixedClock::at(crate::log_bench::START)));
        let begun = home(folder.path(), "data", &clock, 500).init().await.unwrap();
        let token = String::from_utf8(begun.owner_token.expose().to_vec()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap();
        let secrets = vec![token.clone()];
        let mut life = Self { folder, clock, running: None, token, noted: Vec::new(), secrets, client, seeds: 501 };
        life.start().await;
        life
    }

    pub fn home(&mut self, name: &str) -> Home {
        self.seeds += 1;
        home(self.folder.path(), name, &self.clock, self.seeds)
    }

    pub async fn start(&mut self) {
        let home = self.home("data");
        self.running = Some(serve_home(&home).await);
        self.note();
    }

    pub fn vault(&self) -> &Vault {
        &self.running.as_ref().unwrap().vault
    }

    /// Keeps the live views, if they have moved on.
    pub fn note(&mut self) {
        let views = self.vault().views();
        if self.noted.last().is_none_or(|last| last.position() < views.position()) {
            self.noted.push(views);
        }
    }

    pub fn request(&self, on: &Running, token: &str, method: &str, path: &str, consumer: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", on.base));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer)
    }

    /// A read of anybody's.
    pub async fn read(&self, on: &Running, token: &str, path: &str) -> Answer {
        let answer = self.request(on, token, "GET", path, "acme-a").send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, position, tag) = (answer.status().as_u16(), header("keyledger-position"), header("etag"));
        // Whether a secret is still there is told of the present, whatever moment an event is looked at from.
        let text = answer.text().await.unwrap().replace("\"shredded\":true", "\"shredded\":false");
        (status, position, tag, without_links(&text))
    }

    /// Sends a request, keeps the secrets of its answer and the views after it; gives status and body.
    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> (u16, Value) {
        self.clock.pass(TICK);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        self.keep_secrets(&body);
        self.note();
        (status, body)
    }

    fn keep_secrets(&mut self, body: &Value) {
        match body {
            Value::String(text) if Token::parse(text).is_ok() || text.starts_with("eyJ") => self.secrets.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| self.keep_secrets(item)),
            Value::Object(members) => members.values().for_each(|member| self.keep_secrets(member)),
            _ => {}
        }
    }

    /// As somebody, with a body unless it is null; it must succeed.
    pub async fn ask_as(&mut self, token: &str, consumer: &str, method: &str, path: &str, body: Value) -> Value {
        let request = self.request(self.running.as_ref().unwrap(), token, method, path, consumer);
        let (status, body) = self.send(if body.is_null() { request } else { request.json(&body) }).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
        body
    }

    /// As the owner.
    pub async fn ask(&mut self, method: &str, path: &str, body: Value) -> Value {
        let token = self.token.clone();
        self.ask_as(&token, "acme-a", method, path, body).await
    }

    pub async fn refused(&mut self, token: &str, method: &str, path: &str, body: Value) -> u16 {
        let request = self.request(self.running.as_ref().unwrap(), token, method, path, "acme-a");
        let (status, body) = self.send(if body.is_null() { request } else { request.json(&body) }).await;
        assert!(status >= 400, "{method} {path}: {status} {body}");
        status
    }

    pub async fn form(&mut self, path: &str, basic: Option<(&str, &str)>, fields: &[(&str, &str)]) -> (u16, Value) {
        let token = if basic.is_some() { String::new() } else { self.token.clone() };
        let request = self.request(self.running.as_ref().unwrap(), &token, "POST", path, "acme-a").form(fields);
        self.send(if let Some((id, secret)) = basic { request.basic_auth(id, Some(secret)) } else { request }).await
    }

    pub async fn revoke(&mut self, token: &Value) {
        assert_eq!(self.form("/v1/oauth/revoke", None, &[("token", token.as_str().unwrap())]).await.0, 200);
    }

    /// Which of the secrets open something, on a vault.
    pub fn working(&self, vault: &Vault) -> Vec<bool> {
        let views = vault.views();
        let now = vault.time(&views);
        let works = |secret: &String| {
            let by_holder = || views.tenants().find_map(|(_, tenant, _)| vault.holder(&views, tenant, secret, now));
            vault.authenticate(secret).is_ok() || by_holder().is_some_and(|id| keyledger::vault::is_usable(&views, id, now))
        };
        self.secrets.iter().map(works).collect()
    }

    /// A change that no route makes, or none here: what the service answers.
    pub async fn exchange(&mut self, consumer: &str, outcome: impl Fn() -> Outcome + Sync) {
        let vault = Arc::clone(&self.running.as_ref().unwrap().vault);
        let owner = vault.authenticate(&self.token).unwrap();
        let key = Key { app: "app".into(), consumer: consumer.into(), unified_api: "hris".into(), service_id: "personio".into() };
        let (intent, _) = act(&vault, &owner, &key, || Act::StartExchange(keyledger::credentials::connection::Want::Begin)).await;
        act(&vault, &owner, &key, || Act::FinishExchange { intent, outcome: outcome(), confirm: None }).await;
        self.note();
    }
}

/// What comes of sending to a webhook, which this server does not do by itself.
impl Life {
    async fn webhook(&mut self, id: &str, order: impl Fn() -> Order + Sync) {
        let vault = Arc::clone(&self.running.as_ref().unwrap().vault);
        let (owner, id) = (vault.authenticate(&self.token).unwrap(), id.parse().unwrap());
        let command = Command { principal: &owner, meta: Meta::default(), idempotency: None };
        vault.execute(&command, |given| plans::note_webhook(given, owner.tenant, id, order())).await.unwrap();
        self.note();
    }

    /// A letter was delivered, one is tried again, and one was given up.
    pub async fn told(&mut self, id: &str, position: u64) {
        let letter = |notice| Letter { position: Position(position), notice };
        let failed = || Failed { at: self.clock.now(), cause: "a test".into(), status: None };
        let came = Progressed {
            through: Position(position),
            delivered: 1,
            retrying: vec![Retry { letter: letter(Notice::Created), tries: 1, due: self.clock.now() }],
            dead: vec![Dead { letter: letter(Notice::Updated), tries: 9, last: failed() }],
            failures: 2,
            failed: Some(failed()),
            ..Progressed::default()
        };
        self.webhook(id, || Order::Progress(came.clone())).await;
    }

    pub async fn gone(&mut self, id: &str) {
        self.webhook(id, || Order::Gone { cause: "a test".into() }).await;
    }
}

pub async fn act(vault: &Vault, owner: &Principal, key: &Key, given: impl Fn() -> Act) -> (Position, Position) {
    let command = Command { principal: owner, meta: Meta::default(), idempotency: None };
    let decide = |at: &Given<'_>| -> Result<_, Refusal> { plans::upsert(at, owner.tenant, key, given()) };
    vault.execute(&command, decide).await.unwrap().events.unwrap()
}

pub fn fetched(access: &str) -> Outcome {
    let tokens = Tokens { access: Some(Secret::from(access)), ..Tokens::default() };
    Outcome::Tokens(tokens)
}

pub fn lost() -> Outcome {
    Outcome::Lost { cause: "a test".into() }
}

/// Links carry the time at which they were made, and the past gives none.
pub fn without_links(text: &str) -> String {
    let mut rest = text.to_owned();
    for name in ["\"authorize_url\":\"", "\"revoke_url\":\""] {
        let parts: Vec<String> = rest.split(name).map(str::to_owned).collect();
        let cut = |part: &String| part.split_once('"').map_or_else(|| part.clone(), |(_, after)| after.to_owned());
        let tail: Vec<String> = parts.iter().skip(1).map(|part| format!("{}null{}", name.trim_end_matches('"'), cut(part))).collect();
        rest = parts[0].clone() + &tail.concat();
    }
    rest
}
