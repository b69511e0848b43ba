//! Errors as the vendor's clients know them: `{error_code, error_message, property, details}`, always as JSON.

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

/// An error answer, as the vendor's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiClientsError)]
pub(super) struct ErrorBody {
    /// The sort of error.
    #[schema(example = "OBJECT_NOT_FOUND")]
    error_code: &'static str,
    /// What is wrong this time.
    error_message: String,
    /// The member of the body that is wrong, where one can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "roles")]
    property: Option<String>,
    /// Where in that member, as a path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<ErrorDetail>,
}

/// A wrong part of the body.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiClientsErrorDetail)]
struct ErrorDetail {
    /// The sort of error.
    error_code: &'static str,
    /// What is wrong with it.
    error_message: String,
    /// Where it stands.
    #[schema(example = "roles[0]")]
    property: String,
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
    /// The token lacks the permission, or something that the client or a role permits
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No such client, or another tenant's
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// Not possible in the present state
    #[response(status = 409)]
    InvalidState(ErrorBody),
    /// The secret was shredded
    #[response(status = 410)]
    Gone(ErrorBody),
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

const BAD_REQUEST: &str = "BAD_REQUEST";
const CONFLICT: &str = "CONFLICT";
const GENERAL_ERROR: &str = "GENERAL_ERROR";
const INVALID: &str = "INVALID_REQUEST_DATA";
const MISSING: &str = "REQUIRED_VALUE_MISSING";
const NOT_FOUND: &str = "OBJECT_NOT_FOUND";

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: ErrorBody,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error_code: code, error_message: message.into(), property: None, details: Vec::new() } }
    }

    /// Names the wrong part by its path, such as `roles[0].id`: its first step is the property.
    fn at(mut self, path: &str) -> Self {
        let property = path.split(['.', '[']).next().unwrap_or_default();
        if !property.is_empty() {
            self.body.property = Some(property.to_owned());
        }
        if property != path {
            let detail = ErrorDetail { error_code: self.body.error_code, error_message: self.body.error_message.clone(), property: path.to_owned() };
            self.body.details.push(detail);
        }
        self
    }

    /// No token, or none that opens anything.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a valid bearer token is needed")
    }

    /// A part of the request outside its body is wrong.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD_REQUEST, text)
    }

    /// A parameter or member has a value that is not allowed.
    pub fn invalid(property: &str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, text).at(property)
    }

    /// A member of the body has to be there.
    pub fn missing(property: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, MISSING, format!("{property}: is missing")).at(property)
    }

    /// It took too long; what it wrote stands.
    pub fn late() -> Self {
        let text = "it took too long; whether anything was written is unknown: look before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, GENERAL_ERROR, text)
    }

    /// Too much at once; the caller may come back.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, GENERAL_ERROR, "too much at once: try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
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
            // The vendor's own clients look for `NOT_FOUND` in the text.
            Refusal::NotFound => Self::new(StatusCode::NOT_FOUND, NOT_FOUND, "no such object"),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", text),
            Refusal::AlreadyExists | Refusal::NameTaken { .. } | Refusal::InvalidState(_) | Refusal::Limit { .. } => {
                Self::new(StatusCode::CONFLICT, CONFLICT, text)
            }
            Refusal::CommandReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, CONFLICT, text),
            Refusal::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, CONFLICT, text),
            Refusal::Shredded => Self::new(StatusCode::GONE, GENERAL_ERROR, text),
            Refusal::Invalid { field, .. } => Self::invalid(&field, text),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match Trouble::from(error) {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Busy => Self::busy(),
            Trouble::TooLarge => Self::new(Trouble::TooLarge.status(), BAD_REQUEST, Trouble::TooLarge.text()),
            other => Self::new(other.status(), GENERAL_ERROR, other.text()),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, BAD_REQUEST, text),
            BodyError::Aborted => Self::new(StatusCode::REQUEST_TIMEOUT, BAD_REQUEST, text),
            BodyError::NotJson | BodyError::TooDeep { .. } => Self::bad_request(text),
            BodyError::Shape { path, problem } if problem == "is missing" => Self::new(StatusCode::BAD_REQUEST, MISSING, text).at(&path),
            BodyError::DuplicateKey { path } | BodyError::Shape { path, .. } => Self::new(StatusCode::BAD_REQUEST, INVALID, text).at(&path),
        }
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// What no route answers, or not by this method.
pub(super) async fn unknown_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, "there is no such path, or it does not take this method")
}
