//! Key verifications and token exchanges over HTTP, beside a bare axum handler that reads the same request and returns the same bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::routing::post;
use base64ct::{Base64, Encoding};
use keyledger::credentials::application::Profile;
use keyledger::egress::{Egress, Limits, Policy, StreamLimits};
use keyledger::jobs::Webhooks;
use keyledger::kernel::{Builtin, OsRandom, RoleRef, VaultId};
use keyledger::keyring::{KeyringError, RootKeyProvider};
use keyledger::oauth::Exchanges;
use keyledger::seal::Key;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::{ACCESS_TOKEN_SECONDS, Front, Settings};
use keyledger::vault::{Command, Given, plans};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::table::{compare, real};
use crate::vault::OpenVault;

/// How many connections ask at once.
const CONNECTIONS: [usize; 2] = [1, 64];

/// No tenant is made here.
pub struct NoRoot;

impl RootKeyProvider for NoRoot {
    fn root_key(&self, _: VaultId) -> Result<Key, KeyringError> {
        Err(KeyringError::WrongRootKey)
    }
}

/// One sort of request, written out, and where it goes.
struct Asked {
    what: &'static str,
    path: &'static str,
    request: Arc<[u8]>,
}

fn request(path: &str, sort: &str, authorization: &str, body: &str) -> Arc<[u8]> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {authorization}\r\ncontent-type: {sort}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
        .into()
}

/// A connection that asks one request after the other.
struct Asking {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Asking {
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// The whole answer: head and body.
    async fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the server hung up");
            let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            let length =
                text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap()));
            if self.buffer.len() >= head + 4 + length.unwrap() {
                assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                return self.buffer.clone();
            }
        }
    }
}

/// Answers a second, from so many connections.
async fn pace(address: SocketAddr, asked: &Asked, connections: usize, sizes: &Sizes) -> f64 {
    let (started, round) = (Instant::now(), sizes.round);
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let request = Arc::clone(&asked.request);
            tokio::spawn(async move {
                let (mut asking, mut answers) = (Asking::to(address).await, 0_u64);
                while started.elapsed() < round {
                    asking.ask(&request).await;
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    let mut answers = 0;
    for caller in callers {
        answers += caller.await.unwrap();
    }
    real(answers) / started.elapsed().as_secs_f64()
}

/// A handler that reads the body and says what ours said.
async fn bare(path: &'static str, answer: Vec<u8>) -> SocketAddr {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let headers: Vec<(HeaderName, HeaderValue)> = std::str::from_utf8(&answer[..head])
        .unwrap()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !["content-length", "date"].contains(name))
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let body = Bytes::copy_from_slice(&answer[head + 4..]);
    let handler = move |given: Bytes| {
        std::hint::black_box(given);
        let (headers, body) = (headers.clone(), body.clone());
        async move { (StatusCode::OK, axum::http::HeaderMap::from_iter(headers), body) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route(path, post(handler))).await.unwrap() });
    address
}

/// A vault with an application, served; and what is asked of it.
async fn ours(folder: &Path) -> (SocketAddr, [Asked; 2]) {
    let opened = OpenVault::create(folder).await;
    let profile = Profile { name: "bench".into(), roles: vec![RoleRef::Builtin(Builtin::App)], permissions: vec![], app_ids: vec![] };
    let mut made = None;
    let decide = |given: &Given<'_>| {
        let (plan, id, values) = plans::create_application(given, &opened.owner, profile.clone())?;
        made = Some((id, String::from_utf8(values[0].expose().to_vec()).unwrap()));
        Ok(plan)
    };
    let command = Command { principal: &opened.owner, meta: keyledger::credentials::Meta::default(), idempotency: None };
    opened.vault.execute(&command, decide).await.unwrap();
    let (id, secret) = made.unwrap();
    let token = &opened.token;
    let verify = request("/v1/keys/verify", "application/json", &format!("Bearer {token}"), &format!("{{\"key\":\"{token}\"}}"));
    let basic = format!("Basic {}", Base64::encode_string(format!("{id}:{secret}").as_bytes()));
    let exchange = request("/v1/oauth/token", "application/x-www-form-urlencoded", &basic, "grant_type=client_credentials");
    let vault = Arc::new(opened.vault);
    let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
    let webhooks = Arc::new(Webhooks::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), Arc::new(OsRandom), Box::new(|_| false)));
    let settings = Arc::new(Settings {
        access_token_seconds: ACCESS_TOKEN_SECONDS,
        origins: Vec::new(),
        stream_limits: StreamLimits::default(),
        root_key: Box::new(NoRoot),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        serve(listener, router(&Front { vault, exchanges, webhooks, settings }), Listening::default(), stopped).await;
        drop(stop);
    });
    let asked = [
        Asked { what: "verify a key", path: "/v1/keys/verify", request: verify },
        Asked { what: "exchange client credentials for a token", path: "/v1/oauth/token", request: exchange },
    ];
    (address, asked)
}

/// Both take turns, first with one connection and then with many.
pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    drop(rustls::crypto::ring::default_provider().install_default());
    runtime.block_on(async {
        let (address, asked) = ours(&folder.join("http")).await;
        for asked in &asked {
            let answer = Asking::to(address).await.ask(&asked.request).await;
            let beside = bare(asked.path, answer).await;
            for connections in CONNECTIONS {
                let (mut ours, mut bare) = (Vec::new(), Vec::new());
                // The first turn does not count.
                for round in 0..=sizes.rounds {
                    let (first, second) = (pace(address, asked, connections, sizes).await, pace(beside, asked, connections, sizes).await);
                    if round > 0 {
                        ours.push(first);
                        bare.push(second);
                    }
                }
                let plural = if connections == 1 { "" } else { "s" };
                compare(&format!("{}, {connections} connection{plural}", asked.what), &ours, &bare, "");
            }
        }
    });
}
