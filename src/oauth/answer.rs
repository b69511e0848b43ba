//! The answer of a token endpoint (RFC 6749, sections 5.1 and 5.2), from services that may say anything.

use serde_json::{Map, Value};

use crate::credentials::connection::{Outcome, Tokens};
use crate::egress::retry_after;
use crate::kernel::{MAX_SECRET, Moment, Secret};

type Object = Map<String, Value>;

/// The longest lifetime that is believed: 10 years.
const MAX_LIFETIME: f64 = 10.0 * 366.0 * 24.0 * 3600.0;
/// The longest part of a service's error code that is repeated.
const MAX_CODE: usize = 64;

/// Reads an answer that came whole, to a request in which these secrets stood. `wait` is its `Retry-After`.
#[must_use]
pub fn read_answer(status: u16, body: &[u8], wait: Option<&str>, now: Moment, sent: &[&Secret]) -> Outcome {
    match judge(status, body, now, sent) {
        Outcome::Failed { cause, passing, .. } => {
            let retry_at = wait.filter(|_| passing).and_then(|text| retry_after(text, now));
            Outcome::Failed { cause, passing, status: Some(status), retry_at, client: is_about_client(body) }
        }
        other => other,
    }
}

/// RFC 6749, section 5.2: whether a refusal is of the client. Its tokens may be as good as ever: another secret, and they work again.
fn is_about_client(body: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<Object>(body).ok();
    parsed
        .and_then(|object| object.get("error").and_then(Value::as_str).map(|error| ["invalid_client", "unauthorized_client"].contains(&error)))
        .unwrap_or(false)
}

fn judge(status: u16, body: &[u8], now: Moment, sent: &[&Secret]) -> Outcome {
    let parsed = serde_json::from_slice::<Object>(body);
    match (status, parsed) {
        (200 | 201, Ok(object)) => tokens(&object, now, sent),
        (200 | 201, Err(_)) => failed("the service answered 200 without a JSON object", false),
        (429 | 500..=599, _) => failed(&format!("the service answered {status}"), true),
        (300..=399, _) => failed(&format!("the service answered {status}: redirects are not followed"), false),
        (_, Ok(object)) => failed(&format!("the service answered {status}{}", code(&object, sent)), false),
        (_, Err(_)) => failed(&format!("the service answered {status}"), false),
    }
}

fn failed(cause: &str, passing: bool) -> Outcome {
    Outcome::Failed { cause: cause.to_owned(), passing, status: None, retry_at: None, client: false }
}

/// The error code, if it looks like one and holds none of the secrets that were sent: a service may put anything there.
fn code(object: &Object, sent: &[&Secret]) -> String {
    let holds = |code: &str| sent.iter().any(|secret| std::str::from_utf8(secret.expose()).is_ok_and(|secret| code.contains(secret)));
    let known = |code: &&str| code.len() <= MAX_CODE && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !holds(code);
    object.get("error").and_then(Value::as_str).filter(known).map(|code| format!(": {code}")).unwrap_or_default()
}

/// A token is visible ASCII (RFC 6750): anything else could break out of a header.
fn token(object: &Object, name: &str) -> Result<Option<Secret>, Outcome> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        // That it gives no new one, some say by an empty text.
        Some(Value::String(text)) if text.is_empty() && name == "refresh_token" => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_SECRET && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(Secret::from(text.as_str())))
        }
        Some(_) => Err(failed(&format!("the service's {name} is not a token"), false)),
    }
}

/// Full seconds: some services divide.
#[expect(clippy::cast_possible_truncation, reason = "what is below the second is cut off, and the number is within reason")]
const fn whole(seconds: f64) -> i64 {
    seconds as i64
}

fn tokens(object: &Object, now: Moment, sent: &[&Secret]) -> Outcome {
    let (access, refresh) = match (token(object, "access_token"), token(object, "refresh_token")) {
        (Ok(Some(access)), Ok(refresh)) => (access, refresh),
        (Ok(None), _) => return failed(&format!("the service answered 200 without an access_token{}", code(object, sent)), false),
        (Err(outcome), _) | (_, Err(outcome)) => return outcome,
    };
    let lifetime = match object.get("expires_in") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let expires_at = lifetime.filter(|seconds| (0.0..=MAX_LIFETIME).contains(seconds)).map(|seconds| now.plus_seconds(whole(seconds)));
    let scope = object.get("scope").and_then(Value::as_str).filter(|scope| scope.len() <= 4096).map(str::to_owned);
    Outcome::Tokens(Tokens { access: Some(access), refresh, issued_at: Some(now), expires_at, scope })
}
