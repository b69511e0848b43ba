//! The token endpoints: an API client proves its secrets and gets an access token, and a refresh token for the next one.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::super::Front;
use super::super::call::{meta_of, named};
use super::render::{OAUTH, text};
use super::token_error::{TokenError, TokenErrors};
use crate::credentials::issued::{SecretId, TokenType};
use crate::credentials::{Kind, Meta};
use crate::kernel::{Position, Secret, StreamId};
use crate::seal::jwt::Use;
use crate::vault::{Client, For, REFRESH_SECONDS, Rejected, access};
use crate::web::body::{bytes, parse};
use crate::web::caller::only;
use crate::web::limits::BODY;

/// An access token of an API client lives so many seconds (the vendor's number).
const ACCESS_SECONDS: i64 = 300;
/// The one domain that the vendor's API clients log in to.
const DOMAIN: &str = "privx-external";
/// The longest id or secret that is looked at, in bytes.
const MAX_PRESENTED: usize = 1024;

/// A request for a token, as a form.
#[derive(ToSchema)]
#[schema(as = ApiClientsTokenForm)]
#[expect(dead_code, reason = "documents the form that `Form` reads")]
pub(super) struct TokenForm {
    /// `password` or `refresh_token`.
    #[schema(example = "password")]
    grant_type: String,
    /// Of `password`: the API client's id.
    username: Option<String>,
    /// Of `password`: the API client's secret.
    password: Option<String>,
    /// Of `refresh_token`: the refresh token.
    refresh_token: Option<String>,
    /// Permissions that the token is narrowed to, apart by blanks; all that the client holds when absent.
    scope: Option<String>,
}

/// A client that asks for a token by its id and one secret.
#[derive(Deserialize, ToSchema)]
#[schema(as = ApiClientsCredentials)]
pub(super) struct ClientCredentials {
    /// `client_credentials`.
    #[schema(example = "client_credentials")]
    grant_type: String,
    /// The OAuth client id, or the API client's id.
    client_id: String,
    /// The secret that belongs to it.
    #[schema(value_type = String)]
    client_secret: Secret,
    /// Permissions that the token is narrowed to, apart by blanks; all that the client holds when absent.
    scope: Option<String>,
}

/// Tokens, shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiClientsTokens)]
pub(super) struct Tokens {
    /// To call with.
    access_token: String,
    /// Always `bearer`.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// The access token lives so many seconds.
    #[schema(example = 300)]
    expires_in: u64,
    /// For the next access token: it works once, and used again it ends every token of the client.
    refresh_token: String,
    /// What the access token permits at present.
    scope: String,
}

/// Who asks for a token: nobody is proven yet.
pub(super) struct Asker {
    front: Front,
    meta: Meta,
    /// Of `Authorization: Basic`.
    basic: Option<(String, Secret)>,
}

impl FromRequestParts<Front> for Asker {
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, TokenError> {
        let basic = only(&parts.headers, header::AUTHORIZATION.as_str()).and_then(basic);
        Ok(Self { front: front.clone(), meta: meta_of(parts, "token"), basic })
    }
}

/// Id and secret of the scheme `Basic` (RFC 7617).
fn basic(value: &str) -> Option<(String, Secret)> {
    let (scheme, given) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || given.len() > 2 * MAX_PRESENTED {
        return None;
    }
    let decoded = Zeroizing::new(Base64::decode_vec(given.trim_start_matches(' ')).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), Secret::from(secret)))
}

/// The members of a form, each at most once; empty ones count as absent.
struct Form(BTreeMap<String, Secret>);

impl Form {
    async fn read(body: Body) -> Result<Self, TokenError> {
        let bytes = bytes(body, BODY).await?.unwrap_or_default();
        let mut members = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            if !value.is_empty() && members.insert(name.into_owned(), Secret::from(value.into_owned())).is_some() {
                return Err(TokenError::invalid_request("the form names a member twice"));
            }
        }
        Ok(Self(members))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| std::str::from_utf8(value.expose()).ok())
    }

    fn needs(&self, name: &str) -> Result<&str, TokenError> {
        self.get(name).ok_or_else(|| TokenError::invalid_request(format!("{name}: is missing; the body is a form")))
    }
}

/// What the answer is made for.
struct Grant<'a> {
    subject: StreamId,
    secret: SecretId,
    since: Option<Position>,
    scope: Option<&'a str>,
}

impl Asker {
    /// The OAuth client of `Authorization: Basic`.
    fn oauth_client(&self) -> Result<(&str, &str), TokenError> {
        let given = self.basic.as_ref().and_then(|(id, secret)| Some((id.strip_prefix(OAUTH)?, std::str::from_utf8(secret.expose()).ok()?)));
        given.ok_or_else(TokenError::invalid_client)
    }

    async fn client(&self, id: &str, secrets: &[(TokenType, &str)]) -> Result<Client, TokenError> {
        if id.len() > MAX_PRESENTED || secrets.iter().any(|(_, secret)| secret.len() > MAX_PRESENTED) {
            return Err(TokenError::invalid_client());
        }
        let client = self.front.vault.client_with(id, secrets, &[Kind::ApiClient], &self.meta).await;
        client.map_err(|rejected| TokenError::of(rejected, TokenError::invalid_client))
    }

    /// A scope that the client asks for.
    fn scope(&self, client: &Client, wanted: Option<&str>) -> Result<Option<String>, TokenError> {
        let narrowed = wanted.map(|wanted| self.front.vault.scope(client, wanted)).transpose();
        narrowed.map_err(|refusal| TokenError::invalid_scope(&refusal))
    }

    fn tokens(&self, grant: &Grant<'_>) -> Result<Response, TokenError> {
        let vault = &self.front.vault;
        let since = grant.since.unwrap_or_else(|| vault.views().position());
        let mint = |purpose, seconds| {
            let made = vault.mint_since(&For { subject: grant.subject, secret: grant.secret, purpose, seconds, scope: grant.scope }, since);
            made.map_err(|refusal| TokenError::of(Rejected::from(refusal), TokenError::invalid_grant))
        };
        let (access, refresh) = (mint(Use::Access, ACCESS_SECONDS)?, mint(Use::Refresh, REFRESH_SECONDS)?);
        let views = vault.views();
        let held = views.thing(grant.subject).map(|entry| access::permissions_of(&views, entry)).unwrap_or_default();
        let all = || held.iter().map(crate::kernel::Permission::name).collect::<Vec<_>>().join(" ");
        let tokens = Tokens {
            access_token: text(&access.token),
            token_type: "bearer",
            expires_in: access.seconds,
            refresh_token: text(&refresh.token),
            scope: grant.scope.map_or_else(all, str::to_owned),
        };
        let mut response = Json(&tokens).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// Get tokens
///
/// `password`: the OAuth client by `Authorization: Basic`, and the API client's id and secret as `username` and `password`; both pairs must be
/// right, and of one client. `refresh_token`: the same `Authorization`. Four wrong secrets in a row, and the client waits.
#[utoipa::path(post, path = "/auth/api/v1/oauth/token", operation_id = "api_clients_token", tag = "API clients", security(()), request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"), responses((status = 200, body = Tokens), TokenErrors))]
pub(super) async fn grant(asker: Asker, body: Body) -> Result<Response, TokenError> {
    let form = Form::read(body).await?;
    match form.needs("grant_type")? {
        "password" => {
            let (username, password) = (form.needs("username")?, form.needs("password")?);
            let (id, oauth_secret) = asker.oauth_client()?;
            // The secret of another client is no secret of this one.
            let same = StreamId::of_client(username).is_some_and(|named| StreamId::of_client(id) == Some(named));
            let secrets = [(TokenType::Client, if same { password } else { "" }), (TokenType::OauthClient, oauth_secret)];
            let client = asker.client(id, &secrets).await?;
            let scope = asker.scope(&client, form.get("scope"))?;
            asker.tokens(&Grant { subject: client.id, secret: client.secret, since: None, scope: scope.as_deref() })
        }
        "refresh_token" => {
            let presented = form.needs("refresh_token")?;
            let (id, oauth_secret) = asker.oauth_client()?;
            let client = asker.client(id, &[(TokenType::OauthClient, oauth_secret)]).await?;
            let taken = asker.front.vault.take_refresh_token(presented, Some(client.id), asker.meta.clone()).await;
            let taken = taken.map_err(|rejected| TokenError::of(rejected, TokenError::invalid_grant))?;
            asker.tokens(&Grant { subject: taken.subject, secret: taken.secret, since: Some(taken.position), scope: taken.scope_text.as_deref() })
        }
        _ => Err(TokenError::unsupported_grant_type("password or refresh_token")),
    }
}

/// Get tokens with client credentials
///
/// By the OAuth client id, or the API client's id, and the secret that belongs to it. The only domain is `privx-external`.
#[utoipa::path(post, path = "/auth/api/v1/oauth/clientcredentials/{domain}/token", operation_id = "api_clients_client_credentials", tag = "API clients", security(()), params(("domain" = String, Path, example = "privx-external")), request_body = ClientCredentials, responses((status = 200, body = Tokens), TokenErrors))]
pub(super) async fn client_credentials(asker: Asker, Domain(domain): Domain, body: Body) -> Result<Response, TokenError> {
    if domain != DOMAIN {
        return Err(TokenError::invalid_request(format!("the domain is {DOMAIN}")));
    }
    let bytes = bytes(body, BODY).await?.ok_or_else(|| TokenError::invalid_request("grant_type: is missing; the body is JSON"))?;
    let request: ClientCredentials = parse(&bytes)?;
    if request.grant_type != "client_credentials" {
        return Err(TokenError::unsupported_grant_type("client_credentials"));
    }
    let (id, kind) = match request.client_id.strip_prefix(OAUTH) {
        Some(id) => (id, TokenType::OauthClient),
        None => (request.client_id.as_str(), TokenType::Client),
    };
    let secret = std::str::from_utf8(request.client_secret.expose()).unwrap_or_default();
    let client = asker.client(id, &[(kind, secret)]).await?;
    let scope = asker.scope(&client, request.scope.as_deref().filter(|scope| !scope.is_empty()))?;
    asker.tokens(&Grant { subject: client.id, secret: client.secret, since: None, scope: scope.as_deref() })
}

/// The domain in the path.
pub(super) struct Domain(String);

impl FromRequestParts<Front> for Domain {
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, TokenError> {
        named(parts, front).await.map(Self).map_err(|_| TokenError::invalid_request(format!("the domain is {DOMAIN}")))
    }
}
