//! Who calls, for which application and consumer: proven before anything of the body is read.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde::de::DeserializeOwned;

use super::super::Front;
use super::error::Problem;
use crate::credentials::Meta;
use crate::credentials::connection::Key;
use crate::kernel::{Position, Refusal, Version};
use crate::oauth::Exchanges;
use crate::vault::access::{Permission, Principal, Resource, authorize};
use crate::vault::{Command, Vault};
use crate::views::Views;
use crate::web::as_of::AsOf;
use crate::web::caller::{bearer_token, idempotency_key, if_match, meta, only};
use crate::web::front::peer;
use crate::web::limits::ID;

/// A caller that presented a token of this vault and named an application that the token may name.
pub(super) struct Caller {
    pub vault: Arc<Vault>,
    pub exchanges: Arc<Exchanges>,
    pub principal: Principal,
    pub app: String,
    consumer: Option<String>,
    ip: Option<IpAddr>,
    headers: HeaderMap,
    uri: Uri,
}

impl FromRequestParts<Front> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, Front { vault, exchanges }: &Front) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).map_err(|_| Problem::unauthorized())?;
        let principal = vault.authenticate(token).map_err(|_| Problem::unauthorized())?;
        let named = |name: &'static str| match only(&parts.headers, name) {
            Some(id) if is_id(id) => Ok(Some(id.to_owned())),
            Some(_) => Err(Problem::invalid(format!("{name}: takes 1 to {ID} bytes without /"))),
            None => Ok(None),
        };
        let app = named("x-apideck-app-id")?.ok_or_else(|| Problem::missing_header("x-apideck-app-id"))?;
        if !principal.app_ids.is_empty() && !principal.app_ids.contains(&app) {
            return Err(Problem::unauthorized());
        }
        let consumer = named("x-apideck-consumer-id")?;
        let (vault, exchanges, ip) = (Arc::clone(vault), Arc::clone(exchanges), peer(&parts.extensions));
        Ok(Self { vault, exchanges, principal, app, consumer, ip, headers: parts.headers.clone(), uri: parts.uri.clone() })
    }
}

/// The parts of the path. One that is not UTF-8 names nothing.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, front).await.map_err(|_| Refusal::NotFound)?;
        Ok(Self(named))
    }
}

/// Whether a caller may choose this id.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID && !id.chars().any(|c| c == '/' || c.is_control())
}

impl Caller {
    /// The consumer, where the vendor lets it be absent.
    pub fn consumer_if_given(&self) -> Option<&str> {
        self.consumer.as_deref()
    }

    /// The consumer.
    pub fn consumer(&self) -> Result<&str, Problem> {
        self.consumer_if_given().ok_or_else(|| Problem::missing_header("x-apideck-consumer-id"))
    }

    /// The connection that the path and the headers name.
    pub fn key(&self, unified_api: String, service_id: String) -> Result<Key, Problem> {
        Ok(Key { app: self.app.clone(), consumer: self.consumer()?.to_owned(), unified_api, service_id })
    }

    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Problem> {
        let resource = Resource { tenant: self.principal.tenant, app: Some(&self.app) };
        Ok(meta(&self.headers, self.ip, authorize(&self.principal, permission, resource)?))
    }

    /// The content version that the caller has seen.
    pub fn if_match(&self) -> Result<Option<Version>, Problem> {
        Ok(if_match(&self.headers)?)
    }

    /// The caller's idempotency key.
    pub fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        Ok(idempotency_key(&self.headers)?)
    }

    /// The command under which a change is carried out; `request` tells one request from another under the same idempotency key.
    pub fn command<'a>(&'a self, meta: Meta, route: &'a str, request: &'a [&'a [u8]]) -> Result<Command<'a>, Problem> {
        let given = self.idempotency_key()?;
        Ok(Command { principal: &self.principal, meta, idempotency: given.map(|given| (route, given, request)) })
    }

    /// A parameter of the query; empty ones count as absent.
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        pairs.into_iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    }

    /// A boolean of the query, in any letter case: old clients send `True`.
    pub fn query_flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.query(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem::invalid(format!("{name}: is true or false"))),
        }
    }

    /// The views that a read asks for: now, or those of `as_of`, which needs a permission of its own.
    pub async fn views(&self) -> Result<Arc<Views>, Problem> {
        if let Some(text) = self.query("min_position") {
            let position = text.parse().map_err(|_| Problem::invalid("min_position: takes a position"))?;
            self.vault.reached(Position(position)).await.map_err(|_| Problem::busy())?;
        }
        let Some(text) = self.query("as_of") else { return Ok(self.vault.views()) };
        self.may(Permission::HistoryRead)?;
        let position = match text.parse().map_err(|error: crate::web::as_of::AsOfError| Problem::invalid(error.to_string()))? {
            AsOf::Position(position) => position,
            AsOf::Instant(instant) => self.vault.seek(instant).await?,
        };
        self.vault.views_at(position).await?.map_err(|_| Problem::busy())
    }
}
