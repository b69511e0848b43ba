//! A vault on real files with a clock that the test sets, served over HTTP in this process; and people, roles and tenants in it.

use std::sync::Arc;

use keyledger::credentials::connection::Notice;
use keyledger::credentials::user::{Changes, Profile};
use keyledger::credentials::webhook::{Command as Order, Dead, Failed, Letter, Progressed};
use keyledger::credentials::{Meta, api_key};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::*;
use keyledger::keyring::SqliteKeyring;
use keyledger::oauth::Exchanges;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::Front;
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Vault, plans};
use serde_json::Value;

use crate::fixed_clock::FixedClock;
use crate::vault_bench::{Root, TENANT, VaultBench, operator};

pub struct ServedBench {
    pub vault: Arc<Vault>,
    pub clock: Arc<FixedClock>,
    pub keyring: Arc<SqliteKeyring>,
    pub owner: Principal,
    /// The owner's.
    pub token: String,
    pub base: String,
    pub client: reqwest::Client,
    _folder: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

/// Status, headers and body of an answer; null for an empty one.
pub struct Told {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Told {
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("{member} of {}", self.body)).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl ServedBench {
    pub async fn new() -> Self {
        Self::with_egress(&[]).await
    }

    /// With webhooks that may be sent to these addresses too; none is by itself.
    pub async fn with_egress(allowed: &[&str]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let VaultBench { vault, clock, keyring, owner, token, folder, .. } = VaultBench::new().await;
        let vault = Arc::new(vault);
        let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
        let webhooks = crate::vault_bench::webhooks(&vault, allowed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(serve(listener, router(&Front { vault: Arc::clone(&vault), exchanges, webhooks, settings: operator() }), Listening::default(), stopped));
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { vault, clock, keyring, owner, token, base, client, _folder: folder, _stop: stop }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    /// Sends a request, and looks at what every answer of every surface has to be.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Told {
        let answer = request.send().await.unwrap();
        let (status, headers, url) = (answer.status().as_u16(), answer.headers().clone(), answer.url().clone());
        let text = answer.text().await.unwrap();
        assert_eq!(headers["cache-control"], "no-store", "{url} {status}");
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_else(|_| panic!("{url}: {text}")) };
        let sort = if url.path().starts_with("/v1/") && status >= 400 { "application/problem+json" } else { "application/json" };
        assert!(text.is_empty() || headers["content-type"] == sort, "{url}");
        Told { status, headers, body }
    }

    /// With a token, and a body unless it is null.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Told {
        let request = self.request(method, path).bearer_auth(token);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub async fn execute(&self, decide: impl FnMut(&keyledger::vault::Given<'_>) -> Result<Plan<keyledger::credentials::AnyEvent>, Refusal>) {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap();
    }

    /// A user with roles, perhaps a password, and a key that acts as the user.
    pub async fn user(&self, login: &str, roles: &[RoleRef], password: Option<&str>) -> (StreamId, String) {
        let password = match password {
            Some(password) => Some(self.vault.hash_password("password", &Secret::from(password)).await.unwrap()),
            None => None,
        };
        let email = Some(format!("{login}@example.com"));
        let profile = || Profile { login: login.into(), name: login.into(), email: email.clone(), roles: roles.to_vec() };
        self.execute(|given| plans::create_user(given, &self.owner, profile(), password.clone())).await;
        let id = self.vault.views().user(TENANT, login).unwrap();
        (id, self.key(Some(id), &[]).await)
    }

    /// A key that acts as a user, or as none with permissions of its own.
    pub async fn key(&self, owner: Option<StreamId>, permissions: &[&str]) -> String {
        let grant = || api_key::Grant {
            name: "a key".into(),
            owner,
            permissions: permissions.iter().map(ToString::to_string).collect(),
            emails: vec![],
            organizations: vec![],
            labels: vec![],
            dns_name: None,
            app_ids: vec![],
            expires_at: None,
        };
        let mut values = Vec::new();
        self.execute(|given| {
            let (plan, _, drawn) = plans::create_api_key(given, &self.owner, grant())?;
            values = drawn;
            Ok(plan)
        })
        .await;
        String::from_utf8(values[0].expose().to_vec()).unwrap()
    }

    /// So many events, and two letters of each that a webhook gave up.
    pub async fn give_up(&self, webhook: &str, events: u64) {
        let id: StreamId = webhook.parse().unwrap();
        let last = || Failed { at: self.vault.now(), cause: "a test".into(), status: Some(500) };
        let both = |position| [Notice::Created, Notice::Callable].map(|notice| Letter { position: Position(position), notice });
        let dead = || (100..100 + events).flat_map(both).map(|letter| Dead { letter, tries: 9, last: last() }).collect();
        let came = || Order::Progress(Progressed { dead: dead(), ..Progressed::default() });
        self.execute(|given| plans::note_webhook(given, TENANT, id, came())).await;
    }

    pub async fn change_user(&self, id: StreamId, changes: Changes) {
        self.execute(|given| plans::update_user(given, &self.owner, id, changes.clone(), None)).await;
    }

    pub async fn delete_user(&self, id: StreamId) {
        self.execute(|given| plans::delete_user(given, &self.owner, id, None)).await;
    }

    pub async fn role(&self, name: &str, permissions: &[&str]) -> RoleRef {
        let names = || permissions.iter().map(ToString::to_string).collect();
        let mut id = StreamId::default();
        self.execute(|given| {
            let plan = plans::create_role(given, &self.owner, name.into(), names())?;
            id = plan.writes[0].stream;
            Ok(plan)
        })
        .await;
        RoleRef::Own(id)
    }

    /// Another tenant, and its owner's token.
    pub async fn tenant(&self, name: &str) -> (TenantId, String) {
        let keys = |id| {
            use keyledger::keyring::RootKeyProvider;
            let root = Root.root_key(VaultId::default())?;
            Ok(self.keyring.ensure_tenant(id, &root)?)
        };
        let made = self.vault.create_tenant(&self.owner, Meta::default(), name, keys).await.unwrap();
        (made.id, String::from_utf8(made.token.expose().to_vec()).unwrap())
    }

    /// All events, as an auditor may read them, and all credentials: text in which no secret may stand.
    pub async fn all_that_is_told(&self) -> String {
        let mut all = String::new();
        for path in ["/v1/events?limit=200", "/v1/events?limit=200&order=asc", "/v1/credentials?show=all&limit=200"] {
            all += &self.request("GET", path).bearer_auth(&self.token).send().await.unwrap().text().await.unwrap();
        }
        all
    }
}
