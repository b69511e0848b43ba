//! Errors of our own routes: problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::as_of::AsOfError;
use super::body::BodyError;
use super::caller::HeaderError;
use super::limits::RETRY_AFTER;
use super::page::PageError;
use super::trouble::Trouble;
use crate::kernel::Refusal;
use crate::vault::VaultError;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Names the sort of problem: `urn:keyledger:problem:` and a word that never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// The parts of the request that are wrong, where they can be named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Seconds until a caller may come back, for the header of that name.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

/// A wrong part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where in the body, as a JSON Pointer in a fragment such as `#/settings/base_url`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem of this status; `name` is the word in its type.
    #[must_use]
    pub fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { kind: format!("urn:keyledger:problem:{name}"), title, status: status.as_u16(), detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// The same, naming a wrong part by its path, such as `items[3].name`; an empty path is the whole body.
    #[must_use]
    pub fn at(mut self, path: &str, detail: impl Into<String>) -> Self {
        self.errors.push(Fault { pointer: pointer(path), detail: detail.into() });
        self
    }

    /// No token, or none that opens anything: the two look the same.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a valid bearer token is needed")
    }

    /// A part of the request outside its body is wrong.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// No such path.
    #[must_use]
    pub fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", "there is no such path, or it does not take this method")
    }

    /// Too much at once; the caller may come back.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too much at once: try again")
    }

    /// The name has to wait; its secret was not looked at.
    #[must_use]
    pub fn locked(seconds: u64) -> Self {
        let detail = format!("too many wrong secrets in a row: try again in {seconds} seconds");
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "locked", detail) }
    }

    /// It took too long; what it wrote stands.
    #[must_use]
    pub fn late() -> Self {
        let detail = "it took too long; whether anything was written is unknown: look before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "late", detail)
    }

    /// A fault of ours; the log says more.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the vault's log says more")
    }
}

/// `items[3].name` as `#/items/3/name`.
fn pointer(path: &str) -> String {
    let steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty());
    steps.fold("#".to_owned(), |pointer, step| pointer + "/" + &step.replace('~', "~0").replace('/', "~1"))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        set(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            set(header::RETRY_AFTER, HeaderValue::from(seconds));
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            set(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound => Self::new(StatusCode::NOT_FOUND, "not-found", text),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "forbidden", text),
            Refusal::AlreadyExists => Self::new(StatusCode::CONFLICT, "already-exists", text),
            Refusal::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "name-taken", text),
            Refusal::InvalidState(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-state", text),
            Refusal::Invalid { field, problem } => Self::new(StatusCode::BAD_REQUEST, "invalid", text).at(&field, problem),
            Refusal::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", text),
            Refusal::CommandReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", text),
            Refusal::Limit { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "limit", text),
            Refusal::Shredded => Self::new(StatusCode::GONE, "shredded", text),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        Self::from(&error)
    }
}

impl From<&VaultError> for Problem {
    fn from(error: &VaultError) -> Self {
        let trouble = Trouble::from(error);
        let word = match &trouble {
            Trouble::TooLarge => "too-large",
            Trouble::ClockLeapt => "clock-leapt",
            Trouble::ReadOnly | Trouble::Lost(_) => "read-only",
            Trouble::Unknown => "unknown-outcome",
            Trouble::Refused(_) | Trouble::Busy | Trouble::Internal => "internal",
        };
        match trouble {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Busy => Self::busy(),
            other => Self::new(other.status(), word, other.text()),
        }
    }
}

/// The problems that most routes answer with.
#[derive(IntoResponses)]
pub enum Errors {
    /// A part of the request is wrong; `errors` names it where it can be named
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// No valid token
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token lacks the permission
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such thing, or another tenant's
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The secret was shredded
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Problem),
    /// A name that is taken
    #[response(status = 409, content_type = "application/problem+json")]
    Taken(Problem),
    /// `If-Match` names another version than the present one
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Not possible in the present state, a written limit is reached, or an `Idempotency-Key` of another request
    #[response(status = 422, content_type = "application/problem+json")]
    InvalidState(Problem),
    /// Too many wrong secrets in a row; `Retry-After` says how long to wait
    #[response(status = 429, content_type = "application/problem+json")]
    Locked(Problem),
    /// Too much at once, or the log takes no writes: to be tried again
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(Problem),
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", text),
            BodyError::Aborted => Self::new(StatusCode::REQUEST_TIMEOUT, "body-aborted", text),
            BodyError::NotJson | BodyError::TooDeep { .. } => Self::new(StatusCode::BAD_REQUEST, "not-json", text),
            BodyError::DuplicateKey { path } => Self::new(StatusCode::BAD_REQUEST, "not-json", text).at(&path, "is given twice"),
            BodyError::Shape { path, problem } => Self::invalid(text).at(&path, problem),
        }
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<AsOfError> for Problem {
    fn from(error: AsOfError) -> Self {
        Self::invalid(error.to_string())
    }
}
