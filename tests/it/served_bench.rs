//! A server over a vault on real files, in this process: for tests that need other users, tenants or organisations than a new vault has.

use std::sync::Arc;

use keyledger::credentials::{AnyEvent, Meta, user};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::kernel::*;
use keyledger::keyring::SqliteKeyring;
use keyledger::oauth::Exchanges;
use keyledger::seal::Key as SealKey;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::Front;
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Vault, plans};
use serde_json::Value;

use crate::fixed_clock::FixedClock;
use crate::vault_bench::{TENANT, VaultBench, operator};

pub struct ServedBench {
    pub vault: Arc<Vault>,
    pub clock: Arc<FixedClock>,
    pub owner: Principal,
    pub token: String,
    keyring: Arc<SqliteKeyring>,
    base: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Came {
    pub status: u16,
    pub body: Value,
    pub etag: Option<String>,
    pub position: Option<u64>,
}

impl ServedBench {
    pub async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let VaultBench { vault, clock, keyring, owner, token, folder, .. } = VaultBench::new().await;
        let vault = Arc::new(vault);
        let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
        let webhooks = crate::vault_bench::webhooks(&vault, &[]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(serve(listener, router(&Front { vault: Arc::clone(&vault), exchanges, webhooks, settings: operator() }), Listening::default(), stopped));
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { vault, clock, owner, token, keyring, base, client, _folder: folder, _stop: stop }
    }

    pub fn request(&self, token: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(token)
    }

    /// Sends a request of somebody's; `Value::Null` sends no body.
    pub async fn send(&self, token: &str, method: &str, path: &str, body: Value) -> Came {
        let request = self.request(token, method, path);
        came(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// The same as the owner.
    pub async fn own(&self, method: &str, path: &str, body: Value) -> Came {
        self.send(&self.token, method, path, body).await
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Answer {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap()
    }

    /// Makes an organisation; gives its number.
    pub async fn organization(&self, name: &str) -> u64 {
        self.execute(|given| plans::create_organization(given, name.into())).await.events.unwrap().0.0
    }

    pub async fn delete_organization(&self, number: u64) {
        let views = self.vault.views();
        let (id, _) = views.numbered(TENANT, keyledger::credentials::Kind::Organization, Position(number)).unwrap();
        self.execute(|given| plans::delete_organization(given, TENANT, id, None)).await;
    }

    /// Makes a user without a role.
    pub async fn user(&self, login: &str) -> StreamId {
        let profile = user::Profile { login: login.into(), name: login.into(), email: None, roles: Vec::new() };
        let done = self.execute(|given| plans::create_user(given, &self.owner, profile.clone(), None)).await;
        done.views.user(TENANT, login).unwrap()
    }

    /// Makes another tenant; gives its owner's token.
    pub async fn tenant(&self, name: &str) -> String {
        let keys = |tenant| Ok(self.keyring.ensure_tenant(tenant, &SealKey::new([4; 32]))?);
        let made = self.vault.create_tenant(&self.owner, Meta::default(), name, keys).await.unwrap();
        String::from_utf8(made.token.expose().to_vec()).unwrap()
    }
}

/// Sends a request and reads the whole answer, which is JSON or empty and is kept by nobody.
pub async fn came(request: reqwest::RequestBuilder) -> Came {
    let answer = request.send().await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, etag) = (answer.status().as_u16(), header("etag"));
    let position = header("keyledger-position").map(|position| position.parse().unwrap());
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    let sort = header("content-type");
    let text = answer.text().await.unwrap();
    assert_eq!(sort.as_deref(), (!text.is_empty()).then_some("application/json"), "{status}: {text}");
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Came { status, body, etag, position }
}
