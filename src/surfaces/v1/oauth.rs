//! Our own token endpoints: RFC 6749 (client credentials), RFC 7662 (introspection), RFC 7009 (revocation).

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::{Front, Peer};
use crate::credentials::issued::TokenType;
use crate::credentials::{Kind, Meta};
use crate::kernel::{Permission, Refusal};
use crate::seal::jwt::Use;
use crate::vault::access::{Principal, Resource};
use crate::vault::{Client, For, Rejected, VaultError};
use crate::web::caller::{bearer_token, meta};
use crate::web::form::{Form, FormError, basic};

/// The fields of a token request.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents what `Form` reads")]
pub(super) struct TokenForm {
    /// `client_credentials`.
    grant_type: String,
    /// Unless they come by HTTP Basic: the id of an application, user application or API client.
    client_id: Option<String>,
    /// Its secret.
    client_secret: Option<String>,
    /// Permissions that the token is narrowed to, apart by blanks; absent: all that the client holds.
    scope: Option<String>,
}

/// An access token (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    /// Present it as `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// It lives so many seconds.
    expires_in: u64,
    /// What it is narrowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// The field of an introspection or revocation.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents what `Form` reads")]
pub(super) struct AboutToken {
    /// The token.
    token: String,
    /// What it may be; it is found without.
    token_type_hint: Option<String>,
    /// Unless the caller proves itself by HTTP Basic or a bearer token.
    client_id: Option<String>,
    /// The client's secret.
    client_secret: Option<String>,
}

/// What a token says (RFC 7662, section 2.2). One that is not known, has ended, or is another tenant's is just not active.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Introspection {
    /// Whether it opens anything.
    active: bool,
    /// Permissions that it is narrowed to, apart by blanks.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The thing that it was given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The user as whom it acts, else the thing that it was given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// The user's login.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// `access_token`, `refresh_token`, `api_key` or `session`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was made, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Names this one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

/// An error answer (RFC 6749, section 5.2).
#[derive(Serialize, ToSchema)]
pub(super) struct OauthError {
    /// A word of the standard.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// What is wrong this time.
    error_description: String,
}

/// The errors of the token endpoints.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents what the routes answer")]
pub(super) enum OauthErrors {
    /// The request, its grant or its scope is wrong
    #[response(status = 400)]
    Invalid(OauthError),
    /// The client is not known, or its secret is wrong
    #[response(status = 401)]
    Client(OauthError),
    /// The caller may not ask about tokens of others
    #[response(status = 403)]
    Forbidden(OauthError),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(OauthError),
    /// Too many wrong secrets in a row; `Retry-After` says how long to wait
    #[response(status = 429)]
    Locked(OauthError),
    /// Too much at once, or the log takes no writes: to be tried again
    #[response(status = 503)]
    Busy(OauthError),
}

/// An error answer.
pub(super) struct Failure {
    status: StatusCode,
    error: &'static str,
    description: String,
    retry_after: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into(), retry_after: None }
    }

    fn request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    fn client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "the client is not known, or its secret is wrong")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = OauthError { error: self.error, error_description: self.description };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        match &error {
            FormError::Body(crate::web::body::BodyError::TooLarge(_)) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", error.to_string()),
            _ => Self::request(error.to_string()),
        }
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Wrong => Self::client(),
            Rejected::Locked(locked) => {
                let description = format!("too many wrong secrets in a row: try again in {} seconds", locked.seconds);
                Self { retry_after: Some(locked.seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", description) }
            }
            Rejected::Vault(error) => error.into(),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(Refusal::Forbidden { permission }) => Self::new(StatusCode::FORBIDDEN, "access_denied", format!("needs {permission}")),
            VaultError::Refused(refusal) => Self::request(refusal.to_string()),
            other => {
                tracing::error!(error = %other, "a token request failed");
                let mut failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again later");
                failure.retry_after = Some(1);
                failure
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        VaultError::from(refusal).into()
    }
}

/// The client of a request: by HTTP Basic or by form fields, and not by both.
async fn client(front: &Front, headers: &HeaderMap, form: &Form, meta: &Meta) -> Result<Client, Failure> {
    let given = match (basic(headers), form.get("client_id"), form.get("client_secret")) {
        (Some(_), _, Some(_)) => return Err(Failure::request("the client proves itself in two ways at once")),
        (Some((id, secret)), None, None) => (id, secret),
        (Some((id, secret)), Some(named), None) if named == id => (id, secret),
        (None, Some(id), Some(secret)) => (id.to_owned(), secret.to_owned().into()),
        _ => return Err(Failure::client()),
    };
    let (id, secret) = given;
    // The form of the secret says which sort of client it is of; a wrong one is tried as an application's.
    if secret.starts_with(TokenType::Client.word()) {
        return Ok(front.vault.client(&id, &secret, &[Kind::ApiClient], TokenType::Client, meta).await?);
    }
    Ok(front.vault.client(&id, &secret, &[Kind::Application, Kind::UserApplication, Kind::ApiClient], TokenType::Application, meta).await?)
}

fn no_store(body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Get an access token
///
/// The client credentials grant. The token ends with its time, with the secret that it was given for, and with the client, whichever comes
/// first. There is no refresh token: the client asks again.
#[utoipa::path(post, path = "/v1/oauth/token", operation_id = "oauth_token", tag = "OAuth", security(()), request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"), responses((status = 200, body = TokenAnswer), OauthErrors))]
pub(super) async fn token(State(front): State<Front>, Peer(ip): Peer, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(Failure::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", "only client_credentials is supported")),
        None => return Err(Failure::request("grant_type is missing")),
    }
    let client = client(&front, &headers, &form, &meta(&headers, ip, "client_credentials")).await?;
    let scope = match form.get("scope") {
        None => None,
        Some(wanted) => {
            let invalid = |refusal: Refusal| Failure::new(StatusCode::BAD_REQUEST, "invalid_scope", refusal.to_string());
            Some(front.vault.scope(&client, wanted).map_err(invalid)?)
        }
    };
    let seconds = front.settings.access_token_seconds;
    let minted = front.vault.mint(&For { subject: client.id, secret: client.secret, purpose: Use::Access, seconds, scope: scope.as_deref() })?;
    let access_token = String::from_utf8_lossy(minted.token.expose()).into_owned();
    Ok(no_store(&TokenAnswer { access_token, token_type: "Bearer", expires_in: minted.seconds, scope }))
}

/// Who asks about a token: a client, about its own tokens, or a bearer with `tokens:introspect`, about all of the tenant's.
async fn asker(front: &Front, headers: &HeaderMap, form: &Form, ip: Option<std::net::IpAddr>) -> Result<(Principal, Meta, bool), Failure> {
    if let Ok(token) = bearer_token(headers) {
        let invalid = |_| Failure::new(StatusCode::UNAUTHORIZED, "invalid_token", "the bearer token opens nothing");
        let principal = front.vault.authenticate(token).map_err(invalid)?;
        let rule = front.vault.may(&principal, Permission::TokensIntrospect, Resource { tenant: principal.tenant, app: None })?.to_owned();
        return Ok((principal, meta(headers, ip, &rule), false));
    }
    let meta = meta(headers, ip, "own tokens");
    let client = client(front, headers, form, &meta).await?;
    Ok((Principal { id: client.id, ..Principal::vault(client.tenant) }, meta, true))
}

/// Introspect a token
///
/// RFC 7662. A client asks about its own tokens; a bearer with `tokens:introspect` about all of the tenant's.
#[utoipa::path(post, path = "/v1/oauth/introspect", operation_id = "oauth_introspect", tag = "OAuth", request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"), responses((status = 200, body = Introspection), OauthErrors))]
pub(super) async fn introspect(State(front): State<Front>, Peer(ip): Peer, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    let (principal, _, own_only) = asker(&front, &headers, &form, ip).await?;
    let token = form.get("token").ok_or_else(|| Failure::request("token is missing"))?;
    let found = front.vault.introspect(principal.tenant, token).filter(|(access, _)| !own_only || access.subject == principal.id);
    let Some((access, kind)) = found else { return Ok(no_store(&Introspection::default())) };
    let views = front.vault.views();
    let user = views.thing(access.subject).and_then(|entry| entry.state.bearer()).and_then(|bearer| bearer.user);
    let named = user.and_then(|user| views.user_named(principal.tenant, &user.to_string()));
    Ok(no_store(&Introspection {
        active: true,
        scope: access.scope_text,
        client_id: Some(access.subject.to_string()),
        sub: Some(user.unwrap_or(access.subject).to_string()),
        username: named.map(|(_, user)| user.profile.login.clone()),
        token_type: Some(kind),
        exp: Some(access.ends_at).filter(|end| *end > 0),
        iat: Some(access.made_at),
        jti: Some(access.token.to_string()),
    }))
}

/// Revoke a token
///
/// RFC 7009: an access or refresh token, or a session. A client ends its own tokens; a bearer with `tokens:introspect` all of the tenant's.
/// One that is not known is answered alike.
#[utoipa::path(post, path = "/v1/oauth/revoke", operation_id = "oauth_revoke", tag = "OAuth", request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"), responses((status = 200, description = "It opens nothing (any more)"), OauthErrors))]
pub(super) async fn revoke(State(front): State<Front>, Peer(ip): Peer, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let form = Form::read(&headers, body).await?;
    let (principal, meta, own_only) = asker(&front, &headers, &form, ip).await?;
    let token = form.get("token").ok_or_else(|| Failure::request("token is missing"))?;
    front.vault.revoke(&principal, meta, own_only.then_some(principal.id), token).await.map_err(|error| match error {
        VaultError::Refused(Refusal::InvalidState(text)) => Failure::new(StatusCode::BAD_REQUEST, "unsupported_token_type", text),
        other => other.into(),
    })?;
    Ok(([(header::CACHE_CONTROL, "no-store")], StatusCode::OK).into_response())
}
