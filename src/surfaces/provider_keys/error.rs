//! Errors as the vendor's clients know them: a JSON string and nothing else.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;

use crate::kernel::Refusal;
use crate::vault::VaultError;
use crate::web::body::BodyError;
use crate::web::caller::HeaderError;
use crate::web::limits::RETRY_AFTER;
use crate::web::trouble::Trouble;

/// The errors that the surface's routes answer with, each a JSON string.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Errors {
    /// A header or the body is wrong
    #[response(status = 400, content_type = "application/json")]
    Invalid(String),
    /// No valid token; or no such user
    #[response(status = 401, content_type = "application/json")]
    Unauthorized(String),
    /// The token lacks the permission
    #[response(status = 403, content_type = "application/json")]
    Forbidden(String),
    /// `If-Match`: what is written here has no tag
    #[response(status = 412, content_type = "application/json")]
    Changed(String),
    /// The body is too large
    #[response(status = 413, content_type = "application/json")]
    TooLarge(String),
    /// An `Idempotency-Key` of another request
    #[response(status = 422, content_type = "application/json")]
    InvalidState(String),
    /// Too much at once, or the log takes no writes: to be tried again
    #[response(status = 503, content_type = "application/json")]
    Busy(String),
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// No token, or none that opens anything: the two look the same, and as the vendor words it.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid Authentication, Incorrect API key provided or organization")
    }

    /// The token is good, and the tenant has no such user: 401 as well, since the vendor documents no other.
    fn no_user() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid Authentication, user: is no user of this tenant, neither by login nor by id")
    }

    /// A part of the request is wrong.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// A request may write several keys, and none of them has an `ETag`.
    pub fn no_tag() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "If-Match: what is written here has no ETag")
    }

    /// It took too long; what it wrote stands.
    pub fn late() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "it took too long; whether anything was written is unknown: look before trying again")
    }

    /// Too much at once; the caller may come back.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too much at once: try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.text)).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            set(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            // All that a request names is its user.
            Refusal::NotFound => Self::no_user(),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, text),
            Refusal::AlreadyExists | Refusal::NameTaken { .. } => Self::new(StatusCode::CONFLICT, text),
            Refusal::InvalidState(_) | Refusal::CommandReused | Refusal::Limit { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            Refusal::Invalid { .. } => Self::invalid(text),
            Refusal::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, text),
            Refusal::Shredded => Self::new(StatusCode::GONE, text),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match Trouble::from(error) {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Busy => Self::busy(),
            other => Self::new(other.status(), other.text()),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Aborted => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// What no route answers, or not by this method.
pub(super) async fn unknown_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such path, or it does not take this method")
}
