//! The token endpoint: an application or a user proves itself and gets an access token.

use axum::Json;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Front;
use super::super::call::meta_of;
use super::error::{Problem, TokenErrors};
use super::render::text;
use super::token_request::TokenRequest;
use crate::credentials::issued::{SecretId, TokenType};
use crate::credentials::{Kind, Meta};
use crate::kernel::{Position, StreamId};
use crate::seal::jwt::Use;
use crate::vault::{For, REFRESH_SECONDS, SESSION_SECONDS};
use crate::web::body::read_json;
use crate::web::limits::BODY;

/// The longest name, secret or token that is looked at, in bytes.
const MAX_PRESENTED: usize = 4096;
/// Whose users log in without the name of a tenant.
const FIRST_TENANT: &str = "default";

/// Tokens, shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = UserApplicationsTokens)]
pub(super) struct Tokens {
    /// To call with.
    #[serde(rename = "accessToken")]
    access_token: String,
    /// Of `password` and `refresh_token`: for the next access token. It works once; used again, it ends every token of the login.
    #[serde(rename = "refreshToken", skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// The access token lives so many seconds.
    #[serde(rename = "expiresIn")]
    #[schema(example = 3600)]
    expires_in: u64,
}

/// Who asks for a token: nobody is proven yet.
pub(super) struct Asker {
    front: Front,
    meta: Meta,
}

impl FromRequestParts<Front> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        Ok(Self { front: front.clone(), meta: meta_of(parts, "token") })
    }
}

/// What a token is made for.
struct Grant {
    subject: StreamId,
    secret: SecretId,
    /// Where the log stood when what it was given for ended; absent: where it stands.
    since: Option<Position>,
    scope: Option<String>,
    /// Whether a refresh token goes with it.
    refreshed: bool,
}

impl Asker {
    async fn application(&self, id: &str, secret: &str) -> Result<Grant, Problem> {
        let kinds = [Kind::UserApplication, Kind::Application];
        let client = self.front.vault.client(id, secret, &kinds, TokenType::Application, &self.meta).await?;
        Ok(Grant { subject: client.id, secret: client.secret, since: None, scope: None, refreshed: false })
    }

    async fn user(&self, request: &TokenRequest) -> Result<Grant, Problem> {
        let (name, password) = request.user()?;
        let (tenant, login) = name.split_once('/').unwrap_or((FIRST_TENANT, name));
        let session = self.front.vault.log_in(tenant, login, password, SESSION_SECONDS.0, self.meta.clone()).await?;
        Ok(Grant { subject: session.id, secret: session.secret, since: None, scope: None, refreshed: true })
    }

    async fn refreshed(&self, presented: &str) -> Result<Grant, Problem> {
        let taken = self.front.vault.take_refresh_token(presented, None, self.meta.clone()).await?;
        Ok(Grant { subject: taken.subject, secret: taken.secret, since: Some(taken.position), scope: taken.scope_text, refreshed: true })
    }

    fn tokens(&self, grant: &Grant) -> Result<Response, Problem> {
        let vault = &self.front.vault;
        let since = grant.since.unwrap_or_else(|| vault.views().position());
        let mint = |purpose, seconds| {
            let wanted = For { subject: grant.subject, secret: grant.secret, purpose, seconds, scope: grant.scope.as_deref() };
            // It was proven just now: what has gone meanwhile opens nothing.
            vault.mint_since(&wanted, since).map_err(|_| Problem::wrong())
        };
        let access = mint(Use::Access, self.front.settings.access_token_seconds)?;
        let refresh = if grant.refreshed { Some(mint(Use::Refresh, REFRESH_SECONDS)?) } else { None };
        let tokens = Tokens { access_token: text(&access.token), refresh_token: refresh.map(|made| text(&made.token)), expires_in: access.seconds };
        let mut response = Json(&tokens).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// Get a token
///
/// `app_token` and `client_credentials`: for an application's id and secret. `password`: for a user's login and password, with a refresh token.
/// `refresh_token`: for that. Four different wrong secrets in a row, and the name waits.
#[utoipa::path(post, path = "/api/v1/token", operation_id = "user_applications_token", tag = "User applications", security(()), request_body = TokenRequest, responses((status = 200, body = Tokens), TokenErrors))]
pub(super) async fn grant(asker: Asker, body: Body) -> Result<Response, Problem> {
    let request: TokenRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::missing("grantType: is missing"))?;
    let grant = match request.grant()? {
        "app_token" | "client_credentials" => {
            let (id, secret) = request.application()?;
            if id.len().max(secret.len()) > MAX_PRESENTED {
                return Err(Problem::wrong());
            }
            asker.application(id, secret).await?
        }
        "password" => asker.user(&request).await?,
        "refresh_token" => asker.refreshed(request.refresh_token()?).await?,
        "exchange_token" | "external_token_exchange" => return Err(Problem::invalid("grantType: this grant is not served here")),
        _ => return Err(Problem::invalid("grantType: is app_token, client_credentials, password or refresh_token")),
    };
    asker.tokens(&grant)
}
