//! Which headers go on to a service, and which come back. Pure.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::kernel::{Refusal, Secret};

/// Of one connection only (RFC 9110, section 7.6.1), either way.
const HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
/// Ours, or set anew for the service.
const OURS: [&str; 11] =
    ["host", "authorization", "cookie", "cookie2", "content-length", "expect", "accept-encoding", "forwarded", "via", "x-real-ip", "x-forwarded"];
const OURS_BY_START: [&str; 3] = ["x-apideck-", "keyledger-", "x-forwarded-"];
/// They would speak for this server: to a browser, or about this origin.
const NOT_BACK: [&str; 15] = [
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "public-key-pins",
    "content-security-policy",
    "content-security-policy-report-only",
    "alt-svc",
    "clear-site-data",
    "service-worker-allowed",
    "nel",
    "report-to",
    "reporting-endpoints",
    "cache-control",
    "pragma",
    "x-content-type-options",
];
const NOT_BACK_BY_START: [&str; 2] = ["access-control-", "keyledger-"];

/// As servers behind gateways see it, to whom `-` and `_` are one.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// The headers that `Connection` names: of this connection only as well.
fn named(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        names.extend(value.to_str().ok()?.split(',').map(|name| folded(name.trim())));
    }
    Some(names)
}

/// The caller's headers that go on. `replaced` are those that the vault puts in itself.
pub fn onward(headers: &HeaderMap, replaced: &[(String, Secret)]) -> Result<Vec<(String, Secret)>, Refusal> {
    let named = named(headers).ok_or_else(|| Refusal::invalid("connection", "is not text"))?;
    let stays = |name: &str| {
        let known = HOP.contains(&name) || OURS.contains(&name) || OURS_BY_START.iter().any(|start| name.starts_with(start));
        known || named.iter().any(|listed| listed == name) || replaced.iter().any(|(own, _)| folded(own) == name)
    };
    let going = headers.iter().filter(|(name, _)| !stays(&folded(name.as_str())));
    Ok(going.map(|(name, value)| (name.as_str().to_owned(), Secret::new(value.as_bytes().to_vec()))).collect())
}

/// The service's headers that come back, with ours beside them.
#[must_use]
pub fn back(headers: &HeaderMap) -> HeaderMap {
    // A list that cannot be read names nothing that is safe to leave out.
    let named = named(headers).unwrap_or_default();
    let mut coming = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = folded(name.as_str());
        let barred = HOP.contains(&text.as_str()) || NOT_BACK.contains(&text.as_str()) || NOT_BACK_BY_START.iter().any(|start| text.starts_with(start));
        if !barred && !named.contains(&text) {
            coming.append(name.clone(), value.clone());
        }
    }
    let ours =
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (HeaderName::from_static("content-security-policy"), "sandbox")];
    for (name, value) in ours {
        coming.insert(name, HeaderValue::from_static(value));
    }
    coming
}
