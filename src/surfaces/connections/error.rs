//! Errors as the vendor's clients know them: `{status_code, error, type_name, message, detail, ref}`, always as JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use super::super::passing::NotRenewed;
use crate::kernel::Refusal;
use crate::vault::VaultError;
use crate::web::body::BodyError;
use crate::web::caller::HeaderError;
use crate::web::page::PageError;
use crate::web::trouble::Trouble;

/// An error answer, as the vendor's clients read it.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectionsError)]
pub(super) struct ErrorBody {
    /// The HTTP status.
    status_code: u16,
    /// The status in words.
    error: &'static str,
    /// The sort of error.
    #[schema(example = "EntityNotFoundError")]
    type_name: &'static str,
    /// In a few words.
    message: &'static str,
    /// What is wrong this time: a text, or an object.
    detail: Value,
    /// The vendor's page about it.
    #[serde(rename = "ref")]
    reference: String,
}

/// The errors that the surface's routes answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum Errors {
    /// A header, a parameter or the body is wrong
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid token; of an exchange: the service refused the credentials
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The token lacks the permission
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No such thing for this application and consumer
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// `If-Match` names another version than the present one
    #[response(status = 412)]
    Changed(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// Not possible in the present state, or an `Idempotency-Key` of another request
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
    name: &'static str,
    message: &'static str,
    detail: Value,
}

impl Problem {
    fn new(status: StatusCode, name: &'static str, message: &'static str, detail: impl Into<Value>) -> Self {
        Self { status, name, message, detail: detail.into() }
    }

    /// The sort of error.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What is wrong this time, as a text.
    pub fn text(&self) -> String {
        let message = || self.detail.get("message").and_then(Value::as_str).unwrap_or(self.message);
        self.detail.as_str().unwrap_or_else(message).to_owned()
    }

    /// No token, or none that opens anything.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedError", "Unauthorized Request", "Invalid Authorization Token")
    }

    /// A header that must be there is not.
    pub fn missing_header(name: &str) -> Self {
        let detail = json!({"message": format!("Missing Header: {name}"), "missing": [{name: "required"}]});
        Self::new(StatusCode::BAD_REQUEST, "RequestHeadersValidationError", "Missing or invalid headers", detail)
    }

    /// A part of the request is wrong.
    pub fn invalid(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "RequestValidationError", "Invalid Request", detail)
    }

    /// The service gave no tokens; 401 where it refused what it was shown. Never a 5xx: the vendor's clients try those again for minutes.
    pub fn exchange_failed(cause: String, status: Option<u16>) -> Self {
        match status {
            Some(400 | 401 | 403) => Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedError", "Unauthorized Request", cause),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidStateError", "Invalid State", cause),
        }
    }

    /// A renewal brought nothing: told with the vendor's debug members.
    pub fn not_renewed(cause: &str, status: Option<u16>, drops_at: Option<i64>) -> Self {
        let debug = [("response", status.map(|status| json!({"statusCode": status}))), ("credentials_expire_at_ms", drops_at.map(Value::from))];
        Self { detail: renewal_detail(cause, debug), ..Self::exchange_failed(cause.to_owned(), status) }
    }

    /// The access token of a connection could not be renewed.
    pub fn no_credentials(why: &NotRenewed) -> Self {
        let debug = [("retry_after_ms", why.retry_after_ms.map(Value::from)), ("cooldown_remaining_ms", Some(why.cooldown_remaining_ms.into()))];
        Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedError", "Unauthorized Request", renewal_detail(&why.cause, debug))
    }

    /// The service gave no answer that can be passed on.
    pub fn downstream(status: StatusCode, cause: String) -> Self {
        Self::new(status, "ConnectorExecutionError", "The service gave no answer that can be passed on", cause)
    }

    /// It took too long; what it wrote stands.
    pub fn late() -> Self {
        let detail = "It took too long. Whether anything was written is unknown: look before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", "Too late", detail)
    }

    /// Too much at once; the caller may come back.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", "Try again later", "Too many requests of this sort are under way")
    }
}

/// The vendor's detail of a renewal that brought nothing; what is not known is left out.
fn renewal_detail(cause: &str, debug: [(&str, Option<Value>); 2]) -> Value {
    let known = debug.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let debug: serde_json::Map<String, Value> = std::iter::once(("message".to_owned(), cause.into())).chain(known).collect();
    json!({"type": "refresh_token_connector_error", "message": cause, "debug": debug})
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            status_code: self.status.as_u16(),
            error: self.status.canonical_reason().unwrap_or("Error"),
            type_name: self.name,
            message: self.message,
            detail: self.detail,
            reference: format!("https://developers.apideck.com/errors#{}", self.name.to_lowercase()),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound => Self::new(StatusCode::NOT_FOUND, "EntityNotFoundError", "Unknown entity", "No such thing for this application and consumer"),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "ForbiddenError", "Not permitted", text),
            Refusal::AlreadyExists | Refusal::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "ConflictError", "Already exists", text),
            Refusal::InvalidState(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidStateError", "Invalid State", text),
            Refusal::CommandReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "IdempotencyKeyReusedError", "Different request", text),
            Refusal::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailedError", "Changed meanwhile", text),
            Refusal::Shredded => Self::new(StatusCode::GONE, "GoneError", "Shredded", text),
            Refusal::Invalid { .. } | Refusal::Limit { .. } => Self::invalid(text),
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
        let (name, message) = match &trouble {
            Trouble::Unknown => ("UnknownOutcomeError", "Outcome unknown"),
            Trouble::Internal => ("InternalServerError", "Internal Server Error"),
            _ => ("ServiceUnavailableError", "Read only"),
        };
        match trouble {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Busy => Self::busy(),
            Trouble::TooLarge => Self::invalid(Trouble::TooLarge.text()),
            other => Self::new(other.status(), name, message, other.text()),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestValidationError", "Invalid Request", error.to_string()),
            BodyError::Aborted => Self::new(StatusCode::REQUEST_TIMEOUT, "RequestValidationError", "Invalid Request", error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "RequestHeadersValidationError", "Missing or invalid headers", error.to_string())
    }
}

/// What no route answers, or not by this method.
pub(super) async fn unknown_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "EntityNotFoundError", "Unknown route", "There is no such path, or it does not take this method")
}
