//! Who calls our own routes: proven before anything of the body is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Front;
use crate::credentials::Meta;
use crate::kernel::{Position, TenantId, Version};
use crate::vault::access::{Permission, Principal, Resource, authorize};
use crate::vault::{Command, Vault};
use crate::views::Views;
use crate::web::as_of::{AsOf, AsOfError};
use crate::web::caller::{bearer_token, idempotency_key, if_match, meta};
use crate::web::front::peer;
use crate::web::page;
use crate::web::problem::Problem;

/// A caller that presented a token of this vault.
pub(super) struct Caller {
    pub vault: Arc<Vault>,
    pub principal: Principal,
    ip: Option<IpAddr>,
    headers: HeaderMap,
    query: Option<String>,
}

impl FromRequestParts<Front> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, Front { vault, .. }: &Front) -> Result<Self, Problem> {
        let token = bearer_token(&parts.headers).map_err(|_| Problem::unauthorized())?;
        let principal = vault.authenticate(token).map_err(|_| Problem::unauthorized())?;
        let query = parts.uri.query().map(str::to_owned);
        Ok(Self { vault: Arc::clone(vault), principal, ip: peer(&parts.extensions), headers: parts.headers.clone(), query })
    }
}

/// The parts of the path. One that does not parse names nothing.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, front).await.map_err(|_| Problem::from(crate::kernel::Refusal::NotFound))?;
        Ok(Self(named))
    }
}

impl Caller {
    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Problem> {
        self.may_in(permission, self.principal.tenant)
    }

    fn may_in(&self, permission: Permission, tenant: TenantId) -> Result<Meta, Problem> {
        Ok(meta(&self.headers, self.ip, authorize(&self.principal, permission, Resource { tenant, app: None })?))
    }

    /// The content version that the caller has seen.
    pub fn if_match(&self) -> Result<Option<Version>, Problem> {
        Ok(if_match(&self.headers)?)
    }

    /// The command under which a change is carried out; `request` tells one request from another under the same idempotency key.
    pub fn command<'a>(&'a self, meta: Meta, route: &'a str, request: &'a [&'a [u8]]) -> Result<Command<'a>, Problem> {
        let given = idempotency_key(&self.headers)?;
        Ok(Command { principal: &self.principal, meta, idempotency: given.map(|given| (route, given, request)) })
    }

    /// The parameters of the query. One that the route does not know, or that is given twice, is an error: a mistyped filter would be none.
    pub fn params(&self, known: &[&'static str]) -> Result<Params, Problem> {
        let mut params = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes()) {
            let known = known.iter().chain(&["as_of", "min_position"]).find(|known| **known == name);
            let known = known.ok_or_else(|| Problem::invalid("the query has a parameter that this route does not know"))?;
            if params.insert(*known, value.into_owned()).is_some() {
                return Err(Problem::invalid(format!("{known}: is given twice")));
            }
        }
        Ok(Params(params))
    }

    /// The position that a read reflects: the last one, or that of `as_of`, which needs a permission of its own.
    pub async fn position(&self, params: &Params) -> Result<Position, Problem> {
        if let Some(text) = params.get("min_position") {
            let position = text.parse().map_err(|_| Problem::invalid("min_position: takes a position"))?;
            self.vault.reached(Position(position)).await.map_err(|_| Problem::busy())?;
        }
        let now = self.vault.views().position();
        let Some(text) = params.get("as_of") else { return Ok(now) };
        self.may(Permission::HistoryRead)?;
        Ok(self.resolve(text).await?.min(now))
    }

    /// A position, or the last one recorded strictly before an instant.
    pub async fn resolve(&self, text: &str) -> Result<Position, Problem> {
        match text.parse().map_err(|error: AsOfError| Problem::invalid(error.to_string()))? {
            AsOf::Position(position) => Ok(position),
            AsOf::Instant(instant) => Ok(self.vault.seek(instant).await?),
        }
    }

    /// The views that a read reflects.
    pub async fn views(&self, params: &Params) -> Result<Arc<Views>, Problem> {
        let position = self.position(params).await?;
        self.vault.views_at(position).await?.map_err(|_| Problem::busy())
    }
}

/// The headers of a change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents the headers that `Caller` reads")]
pub(super) struct Change {
    /// The `ETag` of the version that was seen; another one is 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// The same key within 24 hours carries the command out once; with another request it is refused.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// The parameters of a query.
pub(super) struct Params(BTreeMap<&'static str, String>);

impl Params {
    /// A parameter; empty ones count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// How many items a page holds.
    pub fn limit(&self) -> Result<usize, Problem> {
        Ok(page::limit(self.get("limit"))?)
    }

    /// The position in a cursor.
    pub fn cursor(&self) -> Result<Option<Position>, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        let bytes = page::read_cursor(text)?.try_into().map_err(|_| page::PageError::Cursor)?;
        Ok(Some(Position(u64::from_be_bytes(bytes))))
    }
}

/// A cursor around a position.
pub(super) fn cursor(position: Position) -> String {
    page::cursor(&position.0.to_be_bytes())
}

/// An answer with the position that it reflects.
pub(super) fn answer(position: Position, body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(position.0));
    response
}
