//! Errors of the token endpoints, as OAuth has them (RFC 6749, section 5.2).

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::kernel::Refusal;
use crate::vault::{Rejected, VaultError};
use crate::web::body::BodyError;
use crate::web::limits::RETRY_AFTER;

/// Why no token is given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiClientsTokenError)]
pub(super) struct TokenErrorBody {
    /// The sort of error.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// What is wrong this time.
    error_description: String,
}

/// The errors that the token endpoints answer with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum TokenErrors {
    /// The request or its grant is wrong
    #[response(status = 400)]
    Invalid(TokenErrorBody),
    /// The client did not prove itself
    #[response(status = 401)]
    Unauthorized(TokenErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(TokenErrorBody),
    /// Too many wrong secrets: `Retry-After` says how long the name waits
    #[response(status = 429)]
    Locked(TokenErrorBody),
    /// To be tried again
    #[response(status = 503)]
    Busy(TokenErrorBody),
}

/// Why no token is given.
#[derive(Debug)]
pub(super) struct TokenError {
    status: StatusCode,
    body: TokenErrorBody,
    retry_after: Option<u64>,
}

impl TokenError {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, body: TokenErrorBody { error, error_description: description.into() }, retry_after: None }
    }

    /// A part of the request is missing or wrong.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A grant that these endpoints do not know.
    pub fn unsupported_grant_type(known: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", format!("grant_type: is {known}"))
    }

    /// The client did not prove itself; which part was wrong is not said.
    pub fn invalid_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "the client's id or a secret of it is wrong")
    }

    /// The refresh token opens nothing.
    pub fn invalid_grant() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", "the refresh token is unknown, used, or has ended")
    }

    /// The scope holds what the client does not.
    pub fn invalid_scope(refusal: &Refusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", refusal.to_string())
    }

    /// Of a client or a refresh token that was not taken.
    pub fn of(rejected: Rejected, wrong: fn() -> Self) -> Self {
        match rejected {
            Rejected::Wrong | Rejected::Vault(VaultError::Refused(Refusal::NotFound)) => wrong(),
            Rejected::Locked(locked) => {
                let text = "too many wrong secrets: this client waits";
                Self { retry_after: Some(locked.seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", text) }
            }
            Rejected::Vault(error) if error.is_read_only() => {
                tracing::error!(%error, "the vault takes no writes");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "the vault takes no writes")
            }
            Rejected::Vault(VaultError::Submit(crate::log::SubmitError::Busy)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "too much at once: try again")
            }
            Rejected::Vault(error) => {
                tracing::error!(%error, "a token request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the vault's log says more")
            }
        }
    }
}

impl From<BodyError> for TokenError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Aborted => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, "invalid_request", error.to_string())
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            set(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"keyledger\""));
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
