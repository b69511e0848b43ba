//! Form bodies and HTTP Basic, as OAuth 2 clients send them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::body::{BodyError, bytes};
use super::caller::only;
use super::limits::BODY;

/// The fields of a form, wiped on drop.
pub struct Form(BTreeMap<String, Zeroizing<String>>);

/// What is wrong with a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It is not sent as a form.
    #[error("the body must be application/x-www-form-urlencoded")]
    NotAForm,
    /// A field stands twice.
    #[error("a field is given twice")]
    Twice,
    /// It did not arrive, or is too large.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Form {
    /// Reads a form; a field that stands twice is refused (RFC 6749, section 3.2).
    pub async fn read(headers: &HeaderMap, body: Body) -> Result<Self, FormError> {
        let sort = only(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if !sort.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(FormError::NotAForm);
        }
        let bytes = bytes(body, BODY).await?.unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            if fields.insert(name.into_owned(), Zeroizing::new(value.into_owned())).is_some() {
                return Err(FormError::Twice);
            }
        }
        Ok(Self(fields))
    }

    /// A field; an empty one counts as absent (RFC 6749, section 3.1).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// User and password of `Authorization: Basic` (RFC 7617), each as OAuth 2 clients encode it (RFC 6749, section 2.3.1).
#[must_use]
pub fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = only(headers, header::AUTHORIZATION.as_str())?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(Base64::decode_vec(encoded.trim()).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let part = |text: &str| Some(percent(text)?.to_string());
    Some((part(user)?, Zeroizing::new(part(password)?)))
}

/// A form-encoded value. Secrets of ours hold nothing that is encoded, so that plain clients are understood as well.
fn percent(text: &str) -> Option<Zeroizing<String>> {
    let pair = Zeroizing::new(format!("x={text}"));
    let mut parsed = url::form_urlencoded::parse(pair.as_bytes());
    match (parsed.next(), parsed.next()) {
        (Some((_, value)), None) => Some(Zeroizing::new(value.into_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn basic_is_read_as_clients_write_it() {
        let of =
            |text: &str| basic(&headers(&format!("Basic {}", Base64::encode_string(text.as_bytes())))).map(|(user, password)| (user, password.to_string()));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("id:klapp_1"), pair("id", "klapp_1"));
        assert_eq!(of("a%3Ab:p:q"), pair("a:b", "p:q"), "only the first colon parts them");
        assert_eq!(of("nothing"), None);
        assert_eq!(of("a&x=b:c"), None);
        for bad in ["Basic", "Basic !", "Bearer aWQ6c2VjcmV0", "Basic /w=="] {
            assert!(basic(&headers(bad)).is_none(), "{bad}");
        }
    }
}
