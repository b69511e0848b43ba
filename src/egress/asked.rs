//! A request whose method, URL and headers passed, and how it is sent.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri};
use url::Position;

use super::client::{EgressError, Request};
use super::guard::{EgressRefusal, Policy, Target};
use super::line::Call;
use crate::kernel::Secret;

/// Headers that belong to the client: given by a caller, they could turn one request into two or name another host.
const RESERVED: [&str; 8] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"];
/// Methods whose answers are not answers: a tunnel, and the request itself, credential included, back to whoever asked.
const BARRED_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];
const OURS: HeaderValue = HeaderValue::from_static(concat!("keyledger/", env!("CARGO_PKG_VERSION")));

/// A request that may leave, once its addresses are judged.
pub(super) struct Asked {
    target: Target,
    method: Method,
    headers: HeaderMap,
    body: Secret,
}

impl Asked {
    /// Judges all that can be judged before anything is waited for.
    pub(super) fn vet(policy: &Policy, request: Request) -> Result<Self, EgressError> {
        if BARRED_METHODS.iter().any(|barred| request.method.as_str().eq_ignore_ascii_case(barred)) {
            return Err(EgressRefusal::Method.into());
        }
        let target = policy.vet_url(&request.url)?;
        Ok(Self { target, method: request.method, headers: sensitive(request.headers)?, body: request.body })
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether its connection may serve other calls as well. Only a call that changes nothing can bear that a kept connection dies under it; a
    /// body might be taken for the next call by a server that expects none; and some schemes make the connection itself the caller's.
    pub(super) fn shares(&self) -> bool {
        let scheme = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default().to_ascii_lowercase();
        let bound = self.headers.get_all(AUTHORIZATION).iter().any(|value| [&b"ntlm"[..], b"negotiate"].contains(&scheme(value).as_slice()));
        self.method.is_safe() && self.body.expose().is_empty() && !bound
    }

    /// What is sent.
    pub(super) fn call(self) -> Result<Call, EgressError> {
        let url = self.target.url();
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| EgressError::from(EgressRefusal::NotAUrl));
        let path = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery]).map_err(|_| EgressRefusal::NotAUrl)?;
        let mut headers = self.headers;
        headers.insert(HOST, header(&url[Position::BeforeHost..Position::AfterPort])?);
        headers.entry(USER_AGENT).or_insert(OURS);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let mut call = Call::new(Full::new(Bytes::from_owner(Exposed(self.body))));
        (*call.method_mut(), *call.uri_mut(), *call.headers_mut()) = (self.method, Uri::from(path), headers);
        Ok(call)
    }
}

fn sensitive(given: Vec<(String, Secret)>) -> Result<HeaderMap, EgressError> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| EgressError::Header)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(EgressError::Header);
        }
        let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| EgressError::Header)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Lends a secret to the client, which drops and so wipes it.
struct Exposed(Secret);

impl AsRef<[u8]> for Exposed {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}
