//! Errors as the vendor's clients know them: `{code, message, details}`, always as JSON.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::kernel::Refusal;
use crate::vault::{Rejected, VaultError};
use crate::web::body::BodyError;
use crate::web::caller::HeaderError;
use crate::web::limits::RETRY_AFTER;
use crate::web::trouble::Trouble;

/// An error answer, as the vendor's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserApplicationsError)]
pub(super) struct ErrorBody {
    /// The HTTP status.
    #[schema(example = 404)]
    code: u16,
    /// In a few words.
    #[schema(example = "Resource id not found.")]
    message: &'static str,
    /// What is wrong this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
}

/// The errors that the surface's routes answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Errors {
    /// A header, a parameter or the body is wrong
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid token
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The token lacks the permission, or acts as no user
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No such application, or not one of the caller's
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The name is taken, or the user has as many applications as one may have
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// `If-Match` names another version than the present one
    #[response(status = 412)]
    Changed(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// An `Idempotency-Key` of another request
    #[response(status = 422)]
    Reused(ErrorBody),
    /// Too much at once, or the log takes no writes: to be tried again
    #[response(status = 503)]
    Busy(ErrorBody),
}

/// The errors that the token endpoint answers with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the route answers")]
pub(super) enum TokenErrors {
    /// The request is wrong, or what it presents opens nothing: the vendor documents no 401 here, and its clients would try that again
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// Too many wrong secrets: `Retry-After` says how long the name waits
    #[response(status = 429)]
    Locked(ErrorBody),
    /// To be tried again
    #[response(status = 503)]
    Busy(ErrorBody),
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: &'static str,
    details: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, message: &'static str, details: impl Into<Option<String>>) -> Self {
        Self { status, message, details: details.into(), retry_after: None }
    }

    /// No token, or none that opens anything.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Issuer is not familiar.", "a valid bearer token is needed".to_owned())
    }

    /// What is asked for belongs to users, and the token acts as none.
    pub fn no_user() -> Self {
        Self::new(StatusCode::FORBIDDEN, "You do not have sufficient permissions.", "the token acts as no user".to_owned())
    }

    /// A part of the request is wrong.
    pub fn invalid(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad request", details.into())
    }

    /// A part of the request has to be there.
    pub fn missing(details: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Required parameter is missing", details.into())
    }

    /// What a token request presents opens nothing; which part is wrong is not said.
    pub fn wrong() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid credentials", "the name or the secret is wrong, or has ended".to_owned())
    }

    /// It took too long; what it wrote stands.
    pub fn late() -> Self {
        let details = "it took too long; whether anything was written is unknown: look before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Please try again in few minutes.", details.to_owned())
    }

    /// Too much at once; the caller may come back.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Please try again in few minutes.", "too much at once".to_owned())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ErrorBody { code: self.status.as_u16(), message: self.message, details: self.details };
        let mut response = (self.status, Json(body)).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            set(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if let Some(seconds) = self.retry_after {
            set(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let details = refusal.to_string();
        match refusal {
            Refusal::NotFound => Self::new(StatusCode::NOT_FOUND, "Resource id not found.", None),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "You do not have sufficient permissions.", details),
            Refusal::AlreadyExists | Refusal::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "Resource with this name already exists", None),
            // 409 as well: the vendor's clients know no 422, and a delete resolves it.
            Refusal::Limit { .. } => Self::new(StatusCode::CONFLICT, "The limit is reached", details),
            Refusal::InvalidState(_) => Self::new(StatusCode::CONFLICT, "Not possible in the present state", details),
            Refusal::CommandReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Different request", details),
            Refusal::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "Changed meanwhile", details),
            Refusal::Shredded => Self::new(StatusCode::GONE, "Shredded", details),
            Refusal::Invalid { .. } => Self::invalid(details),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let trouble = Trouble::from(error);
        let message = match &trouble {
            Trouble::TooLarge => "Bad request",
            Trouble::Unknown | Trouble::Internal => "Something went wrong.",
            _ => "Please try again in few minutes.",
        };
        match trouble {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Busy => Self::busy(),
            other => Self::new(other.status(), message, other.text().to_owned()),
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Wrong | Rejected::Vault(VaultError::Refused(_)) => Self::wrong(),
            Rejected::Locked(locked) => {
                let details = "too many wrong secrets: this name waits";
                Self { retry_after: Some(locked.seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", details.to_owned()) }
            }
            Rejected::Vault(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let details = error.to_string();
        match error {
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Bad request", details),
            BodyError::Aborted => Self::new(StatusCode::REQUEST_TIMEOUT, "Bad request", details),
            BodyError::Shape { ref problem, .. } if problem == "is missing" => Self::missing(details),
            _ => Self::invalid(details),
        }
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// What no route answers, or not by this method.
pub(super) async fn unknown_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Unknown route", "there is no such path, or it does not take this method".to_owned())
}
