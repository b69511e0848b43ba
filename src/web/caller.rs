//! What the caller's headers say.

use axum::http::{HeaderMap, HeaderValue, header};

use super::limits::{AGENT, IDEMPOTENCY_KEY, TOKEN};
use crate::credentials::Meta;
use crate::kernel::Version;

/// Why there is no bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingOrMalformed {
    /// No `Authorization`.
    #[error("Authorization: Bearer is needed")]
    Missing,
    /// Another scheme, given twice, or no token of RFC 6750.
    #[error("Authorization takes one bearer token")]
    Malformed,
}

/// The token of `Authorization: Bearer …`, parsed only.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, MissingOrMalformed> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(MissingOrMalformed::Missing);
    }
    let pair = only(headers, header::AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
    let (scheme, token) = pair.ok_or(MissingOrMalformed::Malformed)?;
    let token = token.trim_start_matches(' ');
    let fits = (1..=TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if scheme.eq_ignore_ascii_case("bearer") && fits { Ok(token) } else { Err(MissingOrMalformed::Malformed) }
}

/// A header that is given exactly once and is not empty.
#[must_use]
pub fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// A header that is there and cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// `If-Match` takes one strong tag, as an `ETag` of ours gives it.
    #[error("If-Match takes one ETag of this thing, such as \"7\"")]
    IfMatch,
    /// `*` would say "whatever it is": there is no such change.
    #[error("If-Match: * is not supported; give the ETag of the version that was seen")]
    AnyMatch,
    /// A weak tag proves nothing.
    #[error("If-Match takes a strong ETag, not a weak one (W/)")]
    WeakMatch,
    /// `Host` is missing, empty or given twice.
    #[error("exactly one Host is needed")]
    Host,
    /// `Idempotency-Key` is too long or not visible ASCII.
    #[error("Idempotency-Key takes 1 to {IDEMPOTENCY_KEY} visible ASCII characters")]
    IdempotencyKey,
}

/// The content version that the caller has seen.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Version>, HeaderError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let value = only(headers, header::IF_MATCH.as_str()).ok_or(HeaderError::IfMatch)?;
    if value == "*" {
        return Err(HeaderError::AnyMatch);
    }
    if value.starts_with("W/") {
        return Err(HeaderError::WeakMatch);
    }
    let tag = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    // Only the form that `etag` gives: no `+7`, no `007`.
    tag.map(Version).filter(|version| etag(*version) == value).map(Some).ok_or(HeaderError::IfMatch)
}

/// The one `Host`.
pub fn host(headers: &HeaderMap) -> Result<&str, HeaderError> {
    only(headers, header::HOST.as_str()).ok_or(HeaderError::Host)
}

/// The caller's idempotency key.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, HeaderError> {
    if !headers.contains_key("idempotency-key") {
        return Ok(None);
    }
    let key = only(headers, "idempotency-key").filter(|key| key.len() <= IDEMPOTENCY_KEY && key.bytes().all(|byte| byte.is_ascii_graphic()));
    key.map(Some).ok_or(HeaderError::IdempotencyKey)
}

/// The tag of a content version.
#[must_use]
pub fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The address that the nearest proxy saw: the last one of all `X-Forwarded-For`. What stands before it came from outside and proves nothing.
#[must_use]
pub fn forwarded_for(headers: &HeaderMap) -> Option<std::net::IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let text = last.rsplit(',').next()?.trim();
    text.parse().ok().or_else(|| text.parse().map(|address: std::net::SocketAddr| address.ip()).ok())
}

/// What is kept of the caller beside its event.
#[must_use]
pub fn meta(headers: &HeaderMap, ip: Option<std::net::IpAddr>, rule: &str) -> Meta {
    let agent = only(headers, header::USER_AGENT.as_str()).map(|agent| agent.chars().take(AGENT).collect());
    Meta { ip: ip.map(|ip| ip.to_string()), agent, rule: Some(rule.to_owned()), ..Meta::default() }
}
