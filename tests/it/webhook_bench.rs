//! A vault whose webhooks are delivered step by step, by a clock that the test sets, to an endpoint of this process that does what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use keyledger::credentials::connection::{self, Changes, Command as Act, Event, Grant, Outcome};
use keyledger::credentials::webhook::{Profile, State, Webhook};
use keyledger::credentials::{AnyEvent, AnyState, Meta};
use keyledger::egress::{Egress, Limits, Policy};
use keyledger::jobs::{Line, Webhooks};
use keyledger::kernel::*;
use keyledger::vault::access::Principal;
use keyledger::vault::{Answer, Command, Given, Vault, plans};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixed::FixedRandom;
use crate::fixed_clock::FixedClock;
use crate::vault_bench::{TENANT, VaultBench, key, tokens};

/// What a request is answered with.
#[derive(Clone)]
pub enum Play {
    /// This, and then the end.
    Bytes(Vec<u8>),
    /// Nothing, until the caller goes away.
    Hold,
    /// A byte at a time, without an end.
    Drip,
}

/// An answer with this status.
pub fn status(code: u16) -> Play {
    with(code, "")
}

/// The same with further header lines.
pub fn with(code: u16, headers: &str) -> Play {
    Play::Bytes(format!("HTTP/1.1 {code} X\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n").into_bytes())
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Came {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    pub fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    pub fn payload(&self) -> Value {
        serde_json::from_slice::<Value>(&self.body).unwrap()["payload"].clone()
    }

    pub fn told(&self) -> String {
        self.payload()["event_type"].as_str().unwrap().trim_start_matches("vault.connection.").to_owned()
    }

    /// Whether one of its signatures is of this secret, computed as the specification says.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = Base64::decode_vec(secret.strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(key.len(), 32);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        let signed = [self.header("webhook-id").as_bytes(), b".", self.header("webhook-timestamp").as_bytes(), b".", &self.body].concat();
        mac.update(&signed);
        let expected = format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

/// An endpoint. It answers 200 unless it is told otherwise.
#[derive(Clone, Default)]
pub struct Endpoint {
    pub address: String,
    came: Arc<Mutex<Vec<Came>>>,
    plays: Arc<Mutex<VecDeque<Play>>>,
    always: Arc<Mutex<Option<Play>>>,
}

impl Endpoint {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self { address: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let serving = endpoint.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        endpoint
    }

    pub fn url(&self) -> String {
        format!("{}/hook?a=b", self.address)
    }

    /// The next requests are answered so, one after another.
    pub fn next(&self, plays: impl IntoIterator<Item = Play>) {
        self.plays.lock().unwrap().extend(plays);
    }

    /// All others are.
    pub fn always(&self, play: Play) {
        *self.always.lock().unwrap() = Some(play);
    }

    /// What came since this was asked the last time.
    pub fn take(&self) -> Vec<Came> {
        std::mem::take(&mut *self.came.lock().unwrap())
    }

    /// What was told since then.
    pub fn told(&self) -> Vec<String> {
        self.take().iter().map(Came::told).collect()
    }

    async fn serve(self, mut stream: TcpStream) {
        let Some(came) = read(&mut stream).await else { return };
        self.came.lock().unwrap().push(came);
        let play = self.plays.lock().unwrap().pop_front().or_else(|| self.always.lock().unwrap().clone()).unwrap_or_else(|| status(200));
        // A caller that goes away ends the play.
        match play {
            Play::Bytes(bytes) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
            }
            Play::Hold => drop(stream.read(&mut [0]).await),
            Play::Drip => {
                let mut going = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                while going.is_ok() {
                    pace.tick().await;
                    going = stream.write_all(b"x").await;
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Came> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(request[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
            let headers: Vec<(String, String)> =
                lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let length: usize = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some(Came { path, headers, body: request[end + 4..].to_vec() });
            }
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}

/// The limits of tests: what hangs is given up soon.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(2), whole: Duration::from_millis(400), body: 64 * 1024, at_once: 8, streams_at_once: 0, keep: Duration::ZERO };

pub struct Bench {
    pub vault: Arc<Vault>,
    pub clock: Arc<FixedClock>,
    pub owner: Principal,
    pub webhooks: Arc<Webhooks>,
    _folder: tempfile::TempDir,
}

/// What delivers, with a door that leads to this machine.
pub fn webhooks(vault: &Arc<Vault>, limits: Limits) -> Arc<Webhooks> {
    let policy = Policy { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    Arc::new(Webhooks::new(Arc::clone(vault), Egress::new(policy, limits), Arc::new(FixedRandom::new(300)), Box::new(|_| false)))
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Limits { whole: Duration::from_secs(10), ..LIMITS }).await
    }

    pub async fn with(limits: Limits) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let VaultBench { vault, clock, owner, folder, .. } = VaultBench::new().await;
        let vault = Arc::new(vault);
        Self { webhooks: webhooks(&vault, limits), vault, clock, owner, _folder: folder }
    }

    pub async fn execute(&self, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Answer {
        let command = Command { principal: &self.owner, meta: Meta::default(), idempotency: None };
        self.vault.execute(&command, decide).await.unwrap()
    }

    /// A webhook of everything; gives its line and its secret.
    pub async fn hook(&self, url: &str) -> (Line, String) {
        self.hook_of(url, &["*"]).await
    }

    pub async fn hook_of(&self, url: &str, events: &[&str]) -> (Line, String) {
        let profile = || Profile { url: url.into(), events: events.iter().map(ToString::to_string).collect(), description: None, enabled: true };
        let (mut id, mut values) = (StreamId::default(), Vec::new());
        self.execute(|given| {
            let (plan, drawn) = plans::create_webhook(given, &self.owner, profile())?;
            (id, values) = (plan.writes[0].stream, drawn);
            Ok(plan)
        })
        .await;
        (self.webhooks.line(id).unwrap(), String::from_utf8(values[0].expose().to_vec()).unwrap())
    }

    pub fn live(&self, id: StreamId) -> Webhook {
        match &self.vault.views().thing(id).unwrap().state {
            AnyState::Webhook(State::Live(live)) => (**live).clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A connection whose tokens are imported: new, updated, callable.
    pub async fn import(&self, consumer: &str) {
        let key = key(consumer, "pipedrive");
        self.execute(|given| plans::import(given, TENANT, &key, tokens("an access token"), Changes::default())).await;
    }

    pub async fn enable(&self, consumer: &str, enabled: bool) {
        let key = key(consumer, "pipedrive");
        self.execute(|given| plans::update(given, TENANT, &key, Changes { enabled: Some(enabled), ..Changes::default() })).await;
    }

    pub async fn delete(&self, consumer: &str) {
        let key = key(consumer, "pipedrive");
        self.execute(|given| plans::delete_connection(given, TENANT, &key)).await;
    }

    /// An exchange of a connection ends so: one that no caller starts is as good as any to the fold.
    pub async fn exchanged(&self, consumer: &str, outcome: impl Fn() -> Outcome) {
        let key = key(consumer, "pipedrive");
        let stream = self.vault.views().connection(TENANT, &key).unwrap();
        let parent = match &self.vault.views().thing(stream).unwrap().state {
            AnyState::Connection(connection::State::Live(live)) => live.refresh.as_ref().map(|refresh| refresh.position),
            other => panic!("{other:?}"),
        };
        let started = || Event::ExchangeStarted { grant: Grant::RefreshToken, parent, flow: None };
        self.execute(|_| Ok(Plan::of(Write::observation(stream, started().into())))).await;
        let intent = self.vault.views().position();
        self.execute(|given| plans::upsert(given, TENANT, &key, Act::FinishExchange { intent, outcome: outcome(), confirm: None })).await;
    }

    /// Sends all that is due, turn after turn.
    pub async fn deliver(&self, line: &mut Line) -> Option<Moment> {
        loop {
            let due = self.webhooks.deliver_due(line).await;
            if due.is_none_or(|due| due > self.clock.now()) {
                return due;
            }
        }
    }
}
