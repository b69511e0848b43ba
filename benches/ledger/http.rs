//! Key verifications and token exchanges over HTTP, beside a bare axum handler that reads the same request and returns the same bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::routing::post;
use base64ct::{Base64, Encoding};
use keyledger::credentials::application::Profile;
use keyledger::kernel::{Builtin, RoleRef};
use keyledger::vault::{Command, Given, plans};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::asking::{Asking, CONNECTIONS, counted, side_by_side};
use crate::served::{closed, front};
use crate::table::compare;
use crate::vault::OpenVault;

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
    let address = front(Arc::new(opened.vault), closed).await;
    let asked = [
        Asked { what: "verify a key", path: "/v1/keys/verify", request: verify },
        Asked { what: "exchange client credentials for a token", path: "/v1/oauth/token", request: exchange },
    ];
    (address, asked)
}

/// Both take turns, first with one connection and then with many.
pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    runtime.block_on(async {
        let (address, asked) = ours(&folder.join("http")).await;
        for asked in &asked {
            let answer = Asking::to(address).await.ask(&asked.request).await;
            let beside = bare(asked.path, answer).await;
            for connections in CONNECTIONS {
                let (ours, bare) = side_by_side((address, &asked.request), (beside, &asked.request), connections, sizes).await;
                compare(&format!("{}, {}", asked.what, counted(connections)), &ours, &bare, "");
            }
        }
    });
}
