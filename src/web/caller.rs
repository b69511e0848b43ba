//! What the caller's headers say.

use axum::http::{HeaderMap, HeaderValue, header};

use super::limits::{AGENT, IDEMPOTENCY_KEY};
use crate::credentials::Meta;
use crate::kernel::Version;

/// The token of `Authorization: Bearer …`; `None` when it is missing, malformed or given twice.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, header::AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.trim())
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
    /// `Idempotency-Key` is too long or not visible ASCII.
    #[error("Idempotency-Key takes 1 to {IDEMPOTENCY_KEY} visible ASCII characters")]
    IdempotencyKey,
}

/// The content version that the caller has seen.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Version>, HeaderError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let tag = only(headers, header::IF_MATCH.as_str()).and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
    tag.and_then(|tag| tag.parse().ok()).map(|version| Some(Version(version))).ok_or(HeaderError::IfMatch)
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

/// What is kept of the caller beside its event.
#[must_use]
pub fn meta(headers: &HeaderMap, ip: Option<std::net::IpAddr>, rule: &str) -> Meta {
    let agent = only(headers, header::USER_AGENT.as_str()).map(|agent| agent.chars().take(AGENT).collect());
    Meta { ip: ip.map(|ip| ip.to_string()), agent, rule: Some(rule.to_owned()), ..Meta::default() }
}
