//! A vault served over HTTP, a real service behind its door, and a network that resolves every name to this machine and counts what is dialled.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use keyledger::credentials::connection::{Connection, Key, State as Standing};
use keyledger::credentials::connector::{Api, AuthType, ClientAuth, Connector, Encoding, FormField, GrantType, Inject, Oauth};
use keyledger::credentials::{AnyEvent, AnyState, Meta, api_key};
use keyledger::egress::{Egress, Later, Limits, Network, Policy, StreamLimits};
use keyledger::kernel::*;
use keyledger::oauth::Exchanges;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::{ACCESS_TOKEN_SECONDS, Front, Settings};
use keyledger::vault::access::Principal;
use keyledger::vault::{Command, Given, Vault, plans};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::fixed_clock::FixedClock;
use crate::vault_bench::{Root, TENANT, VaultBench, settings, tokens};

pub const SECRET: &str = "s3cret/with+odd=parts";
pub const HOST: &str = "api.example.com";

/// Every name is this machine.
#[derive(Default)]
pub struct Here(pub AtomicUsize);

impl Network for Here {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Later<'a, Vec<IpAddr>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }

    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(TcpStream::connect(address))
    }
}

/// What a service was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// A service that answers what the test says, else 200 and `{}`; at `/token` it gives tokens: `fresh-1`, `fresh-2` and so on.
#[derive(Clone, Default)]
pub struct Service {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Response>>>,
    /// Only requests with this `authorization` are answered well; others are 401.
    pub good: Arc<Mutex<Option<String>>>,
    pub token_calls: Arc<AtomicUsize>,
    /// What the token endpoint refuses with.
    pub refuses: Arc<Mutex<Option<u16>>>,
    /// The tokens that it gives are good for nothing.
    pub stubborn: Arc<AtomicBool>,
}

impl Service {
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the service was called")
    }

    pub fn will(&self, answer: Response) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn token(&self) -> Response {
        let number = self.token_calls.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(status) = *self.refuses.lock().unwrap() {
            return Response::builder().status(status).body(Body::from(r#"{"error":"invalid_grant"}"#)).unwrap();
        }
        let token = format!("fresh-token-{number}");
        if !self.stubborn.load(Ordering::SeqCst) {
            *self.good.lock().unwrap() = Some(format!("Bearer {token}"));
        }
        answer(&json!({"access_token": token, "refresh_token": format!("next-refresh-{number}"), "expires_in": 3600}).to_string())
    }
}

pub fn answer(body: &str) -> Response {
    Response::builder().header("content-type", "application/json").body(Body::from(body.to_owned())).unwrap()
}

async fn serves(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if parts.uri.path() == "/token" {
        return service.token();
    }
    let seen = Seen { method: parts.method.to_string(), url: parts.uri.to_string(), headers: parts.headers, body: body.to_vec() };
    let presented = seen.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    service.seen.lock().unwrap().push(seen);
    let good = service.good.lock().unwrap().clone();
    if good.is_some() && presented != good {
        return Response::builder().status(401).body(Body::from("no longer")).unwrap();
    }
    let next = service.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| answer("{}"))
}

pub fn header(name: &str, value: &str) -> Inject {
    Inject::Header { name: name.into(), value: value.into() }
}

/// Fields: `api_key`, `password` and `client_secret` are secrets, `account` and `client_id` are not.
fn connector(port: u16, auth_type: AuthType, auth: Vec<Inject>) -> Connector {
    let field = |id: &str, sensitive| FormField {
        id: id.into(),
        label: id.into(),
        field_type: "text".into(),
        required: false,
        sensitive,
        description: None,
        placeholder: None,
        options: None,
    };
    let oauth = Oauth {
        grant: GrantType::AuthorizationCode,
        authorize_url: Some(format!("http://{HOST}:{port}/authorize")),
        token_url: format!("http://{HOST}:{port}/token"),
        revoke_url: None,
        client_auth: ClientAuth::Body,
        encoding: Encoding::Form,
        scopes: vec![],
        scope_separator: None,
        token_params: std::collections::BTreeMap::new(),
        authorize_params: std::collections::BTreeMap::new(),
        pkce: false,
    };
    let hosts = ["files.example.com", "*.wide.example.net", "{account}.own.example.org"].map(str::to_owned).into();
    Connector {
        unified_api: "crm".into(),
        service_id: "local".into(),
        name: "Local".into(),
        tag_line: None,
        website: "https://example.com".into(),
        docs: "https://example.com/docs".into(),
        status: "live".into(),
        auth_type,
        oauth: (auth_type == AuthType::Oauth2).then_some(oauth),
        form_fields: ["api_key", "password", "client_secret"]
            .map(|id| field(id, true))
            .into_iter()
            .chain(["account", "client_id"].map(|id| field(id, false)))
            .collect(),
        settings_required_for_authorization: vec![],
        validation: false,
        api: Some(Api { base_url: format!("http://{HOST}:{port}/v1"), hosts, auth }),
    }
}

pub struct ProxyBench {
    pub vault: Arc<Vault>,
    pub clock: Arc<FixedClock>,
    pub owner: Principal,
    pub token: String,
    pub base: String,
    pub port: u16,
    pub client: reqwest::Client,
    pub service: Service,
    pub network: Arc<Here>,
    pub keyring: Arc<keyledger::keyring::SqliteKeyring>,
    _folder: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl ProxyBench {
    pub async fn new() -> Self {
        Self::within(StreamLimits::default()).await
    }

    pub async fn within(stream_limits: StreamLimits) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let service = Service::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().fallback(serves).with_state(service.clone());
        tokio::spawn(async { axum::serve(listener, routes).await });
        let VaultBench { vault, clock, keyring, owner, token, folder, .. } = VaultBench::new().await;
        let (vault, network) = (Arc::new(vault), Arc::new(Here::default()));
        let policy = Policy { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
        let egress = Egress::new(policy, Limits { streams_at_once: 128, ..Limits::default() }).over(network.clone());
        let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), egress, "http://127.0.0.1".to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let settings = Arc::new(Settings { access_token_seconds: ACCESS_TOKEN_SECONDS, origins: Vec::new(), stream_limits, root_key: Box::new(Root) });
        tokio::spawn(serve(
            listener,
            router(&Front { vault: Arc::clone(&vault), exchanges, webhooks: crate::vault_bench::webhooks(&vault, &[]), settings }),
            Listening::default(),
            stopped,
        ));
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let bench = Self { vault, clock, owner, token, base, port, client, service, network, keyring, _folder: folder, _stop: stop };
        bench.with_key(vec![header("x-api-key", "Key {api_key}")]).await;
        bench
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap();
    }

    pub fn key() -> Key {
        Key { app: "app".into(), consumer: "acme".into(), unified_api: "crm".into(), service_id: "local".into() }
    }

    pub fn connection(&self) -> StreamId {
        self.vault.views().connection(TENANT, &Self::key()).unwrap()
    }

    pub fn live(&self) -> Connection {
        match &self.vault.views().thing(self.connection()).unwrap().state {
            AnyState::Connection(Standing::Live(live)) => (**live).clone(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn put(&self, change: impl FnOnce(&mut Connector), auth_type: AuthType, auth: Vec<Inject>) {
        let mut connector = connector(self.port, auth_type, auth);
        change(&mut connector);
        self.execute(|given| plans::put_connector(given, TENANT, connector.clone())).await;
    }

    pub async fn enter(&self, given_settings: &[(&str, Value)]) {
        let changes = settings(given_settings);
        self.execute(|given| plans::update(given, TENANT, &Self::key(), changes.clone())).await;
    }

    /// The service takes a key, in these places.
    pub async fn with_key(&self, auth: Vec<Inject>) {
        self.put(|_| (), AuthType::ApiKey, auth).await;
        self.enter(&[("api_key", json!(SECRET)), ("password", json!("pa55:word ")), ("account", json!("me"))]).await;
    }

    /// The service speaks OAuth, and the connection has these tokens; the first one is good for so many seconds.
    pub async fn with_tokens(&self, access: &str, seconds: i64) {
        self.put(|_| (), AuthType::Oauth2, vec![]).await;
        self.enter(&[("client_id", json!("an-id")), ("client_secret", json!("client-secret"))]).await;
        let (issued_at, expires_at) = (Some(self.vault.now()), Some(self.vault.now().plus_seconds(seconds)));
        let tokens = || keyledger::credentials::connection::Tokens { issued_at, expires_at, ..tokens(access) };
        self.execute(|given| plans::import(given, TENANT, &Self::key(), tokens(), settings(&[]))).await;
    }

    /// A request of the owner's to the service.
    pub fn call(&self, method: &str, url: &str) -> reqwest::RequestBuilder {
        self.call_as(&self.token, method, "/v1/proxy", url)
    }

    pub fn call_as(&self, token: &str, method: &str, path: &str, url: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(token);
        let request = request.header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme").header("x-apideck-service-id", "local");
        request.header("x-apideck-unified-api", "crm").header("x-apideck-downstream-url", url)
    }

    pub fn dials(&self) -> usize {
        self.network.0.load(Ordering::SeqCst)
    }

    /// The events of calls, oldest first: actor and calls.
    pub async fn told(&self) -> Vec<(String, Value)> {
        let path = format!("{}/v1/events?limit=200&order=asc&type=used", self.base);
        let page: Value = self.client.get(path).bearer_auth(&self.token).send().await.unwrap().json().await.unwrap();
        let used = |event: &&Value| event["type"] == "used";
        let events = page["data"].as_array().unwrap_or_else(|| panic!("{page}")).iter().filter(used);
        events.map(|event| (event["actor"].as_str().unwrap().to_owned(), event["facts"]["used"]["calls"].clone())).collect()
    }
}

/// What a problem says: its status, the word of its type, and its detail.
pub async fn problem(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{status}: it is the vault's own");
    assert!(!answer.headers().contains_key("keyledger-downstream-status"));
    let body: Value = answer.json().await.unwrap();
    let word = body["type"].as_str().unwrap().trim_start_matches("urn:keyledger:problem:").to_owned();
    (status, word, body["detail"].as_str().unwrap().to_owned())
}

impl ProxyBench {
    /// A key of a program, which acts as nobody.
    pub async fn app_token(&self) -> String {
        let grant = || api_key::Grant {
            name: "program".into(),
            owner: None,
            permissions: vec!["connections:proxy".into()],
            emails: vec![],
            organizations: vec![],
            labels: vec![],
            dns_name: None,
            app_ids: vec!["app".into()],
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

    /// The token of another tenant's owner.
    pub async fn stranger(&self) -> String {
        let keys = |tenant| Ok(self.keyring.ensure_tenant(tenant, &keyledger::seal::Key::new([4; 32]))?);
        let made = self.vault.create_tenant(&self.owner, Meta::default(), "stranger", keys).await.unwrap();
        String::from_utf8(made.token.expose().to_vec()).unwrap()
    }
}
