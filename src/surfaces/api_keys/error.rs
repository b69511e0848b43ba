//! Errors: the vendor documents none, so they are `{statusCode, error, message}`, always as JSON.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::kernel::Refusal;
use crate::vault::VaultError;
use crate::web::body::BodyError;
use crate::web::caller::HeaderError;
use crate::web::limits::RETRY_AFTER;
use crate::web::trouble::Trouble;

/// An error answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecApiKeysError)]
pub(super) struct ErrorBody {
    /// The HTTP status.
    #[schema(example = 404)]
    status_code: u16,
    /// The status in words.
    #[schema(example = "Not Found")]
    error: &'static str,
    /// What is wrong this time.
    #[schema(example = "no such API key")]
    message: String,
}

/// The errors that the surface's routes answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Errors {
    /// A parameter, a header or the body is wrong
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid token
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The token lacks the permission, or the key may do more than the token
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No such key, or another tenant's
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// Another key has the `dnsName`
    #[response(status = 409)]
    NameTaken(ErrorBody),
    /// `If-Match` names another version than the present one
    #[response(status = 412)]
    Changed(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// An `Idempotency-Key` of another request
    #[response(status = 422)]
    InvalidState(ErrorBody),
    /// Too much at once, or the log takes no writes: to be tried again
    #[response(status = 503)]
    Busy(ErrorBody),
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// No token, or none that opens anything: the two look the same.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "a valid bearer token is needed")
    }

    /// A part of the request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
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
        let error = self.status.canonical_reason().unwrap_or("Error");
        let body = ErrorBody { status_code: self.status.as_u16(), error, message: self.message };
        let mut response = (self.status, Json(body)).into_response();
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

/// A part of a command as the vendor names it.
fn vendors(field: &str) -> String {
    let (name, place) = field.split_at(field.find('[').unwrap_or(field.len()));
    let name = match name {
        "dns_name" => "dnsName",
        "organizations" => "organizationsIds",
        other => other,
    };
    format!("{name}{place}")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound => Self::new(StatusCode::NOT_FOUND, "no such API key"),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, text),
            Refusal::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "dnsName: another key has it"),
            Refusal::AlreadyExists => Self::new(StatusCode::CONFLICT, text),
            Refusal::InvalidState(_) | Refusal::CommandReused | Refusal::Limit { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            Refusal::Invalid { field, problem } => Self::invalid(format!("{}: {problem}", vendors(&field))),
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
