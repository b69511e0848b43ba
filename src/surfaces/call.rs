//! A request of a caller that was proven: what every surface asks of it, with faults that each surface tells in its own words.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Front;
use crate::credentials::Meta;
use crate::jobs::Webhooks;
use crate::kernel::{Permission, Position, Refusal, Secret, Version};
use crate::oauth::Exchanges;
use crate::vault::access::{Principal, Resource};
use crate::vault::{Answer, Command, Vault, VaultError};
use crate::views::Views;
use crate::web::as_of::{AsOf, AsOfError};
use crate::web::body::BodyError;
use crate::web::caller::{HeaderError, idempotency_key, if_match, meta};
use crate::web::front::peer;
use crate::web::page::PageError;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) enum Fault {
    /// No token, or none that opens anything.
    Unauthorized,
    /// A part of the request outside its body is wrong.
    Invalid(String),
    /// A header is wrong.
    Header(HeaderError),
    /// The body is wrong.
    Body(BodyError),
    /// Too much at once.
    Busy,
    /// The vault said no, or failed.
    Vault(VaultError),
}

macro_rules! fault_from {
    ($($error:ty => $make:expr,)*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                $make(error)
            }
        })*
    };
}

fault_from! {
    VaultError => Self::Vault,
    Refusal => |refusal: Refusal| Self::Vault(refusal.into()),
    HeaderError => Self::Header,
    BodyError => Self::Body,
    PageError => |error: PageError| Self::Invalid(error.to_string()),
    AsOfError => |error: AsOfError| Self::Invalid(error.to_string()),
}

/// Tells faults in a surface's own errors; the second word makes that of a wrong part outside the body.
macro_rules! told_as {
    ($problem:ty, $invalid:ident) => {
        impl From<$crate::surfaces::call::Fault> for $problem {
            fn from(fault: $crate::surfaces::call::Fault) -> Self {
                use $crate::surfaces::call::Fault;
                match fault {
                    Fault::Unauthorized => Self::unauthorized(),
                    Fault::Invalid(text) => Self::$invalid(text),
                    Fault::Header(error) => error.into(),
                    Fault::Body(error) => error.into(),
                    Fault::Busy => Self::busy(),
                    Fault::Vault(error) => error.into(),
                }
            }
        }
    };
}

/// A surface's caller whose token comes as `Authorization: Bearer`, proven before anything of the body is read.
macro_rules! bearer {
    ($caller:ident, $problem:ty) => {
        /// A caller that presented a token of this vault.
        pub(super) struct $caller($crate::surfaces::call::Call);

        impl std::ops::Deref for $caller {
            type Target = $crate::surfaces::call::Call;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl axum::extract::FromRequestParts<$crate::surfaces::Front> for $caller {
            type Rejection = $problem;

            async fn from_request_parts(parts: &mut axum::http::request::Parts, front: &$crate::surfaces::Front) -> Result<Self, $problem> {
                let token = $crate::web::caller::bearer_token(&parts.headers).ok();
                Ok(Self($crate::surfaces::call::Call::begin(parts, front, token)?))
            }
        }
    };
}

pub(super) use {bearer, told_as};

/// A request whose caller presented a token of this vault.
pub(super) struct Call {
    pub vault: Arc<Vault>,
    pub exchanges: Arc<Exchanges>,
    pub webhooks: Arc<Webhooks>,
    pub principal: Principal,
    ip: Option<IpAddr>,
    headers: HeaderMap,
    query: Option<String>,
}

/// The parts of the path, where they parse.
pub(super) async fn named<T: DeserializeOwned + Send>(parts: &mut Parts, front: &Front) -> Result<T, Refusal> {
    Path::from_request_parts(parts, front).await.map(|Path(named)| named).map_err(|_| Refusal::NotFound)
}

/// What is kept of a request beside an event, whoever sent it.
pub(super) fn meta_of(parts: &Parts, rule: &str) -> Meta {
    meta(&parts.headers, peer(&parts.extensions), rule)
}

impl Call {
    /// Proves the caller by the token that it presents.
    pub fn begin(parts: &Parts, front: &Front, token: Option<&str>) -> Result<Self, Fault> {
        let principal = token.and_then(|token| front.vault.authenticate(token).ok()).ok_or(Fault::Unauthorized)?;
        Ok(Self::of(parts, front, principal))
    }

    /// A request of a principal that was proven otherwise.
    pub fn of(parts: &Parts, front: &Front, principal: Principal) -> Self {
        Self {
            vault: Arc::clone(&front.vault),
            exchanges: Arc::clone(&front.exchanges),
            webhooks: Arc::clone(&front.webhooks),
            principal,
            ip: peer(&parts.extensions),
            headers: parts.headers.clone(),
            query: parts.uri.query().map(str::to_owned),
        }
    }

    /// Passes only with the permission; the rule's name goes into the event.
    pub fn may(&self, permission: Permission) -> Result<Meta, Fault> {
        self.may_for(permission, None)
    }

    /// The same, for what belongs to an application.
    pub fn may_for(&self, permission: Permission, app: Option<&str>) -> Result<Meta, Fault> {
        let resource = Resource { tenant: self.principal.tenant, app };
        Ok(self.meta(self.vault.may(&self.principal, permission, resource)?))
    }

    /// What is kept of the caller beside an event that this rule let through.
    pub fn meta(&self, rule: &str) -> Meta {
        meta(&self.headers, self.ip, rule)
    }

    /// The content version that the caller has seen.
    pub fn if_match(&self) -> Result<Option<Version>, Fault> {
        Ok(if_match(&self.headers)?)
    }

    /// The caller's idempotency key.
    pub fn idempotency_key(&self) -> Result<Option<&str>, Fault> {
        Ok(idempotency_key(&self.headers)?)
    }

    /// The command under which a change is carried out; `request` tells one request from another under the same idempotency key.
    pub fn command<'a>(&'a self, meta: Meta, route: &'a str, request: &'a [&'a [u8]]) -> Result<Command<'a>, Fault> {
        let given = self.idempotency_key()?;
        Ok(Command { principal: &self.principal, meta, idempotency: given.map(|given| (route, given, request)) })
    }

    /// What a command shows once: drawn by it, or kept for its repeat.
    pub async fn shown_once(&self, done: &Answer, drawn: Vec<Secret>) -> Result<Vec<Secret>, Fault> {
        match done.events {
            Some((first, _)) if done.repeated => Ok(self.vault.replayed(self.principal.tenant, first).await?),
            _ => Ok(drawn),
        }
    }

    /// Names and values of the query, as they were given.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let pairs = url::form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes());
        pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// A parameter of the query, its first one; empty ones count as absent.
    pub fn query(&self, name: &str) -> Option<String> {
        self.pairs().into_iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value)
    }

    /// A boolean of the query, in any letter case: old clients send `True`.
    pub fn query_flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.query(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Fault::Invalid(format!("{name}: is true or false"))),
        }
    }

    /// Whether the read asks for the past. Nothing of the past shows a secret.
    pub fn asks_for_the_past(&self) -> bool {
        self.query("as_of").is_some()
    }

    /// The position that a read reflects: the last one, or that of `as_of`, which needs a permission of its own.
    pub async fn position(&self) -> Result<Position, Fault> {
        if let Some(text) = self.query("min_position") {
            let position = text.parse().map_err(|_| Fault::Invalid("min_position: takes a position".into()))?;
            self.vault.reached(Position(position)).await.map_err(|_| Fault::Busy)?;
        }
        let views = self.vault.views();
        let now = views.position();
        let Some(text) = self.query("as_of") else { return Ok(now) };
        self.may(Permission::HistoryRead)?;
        let at = self.within("as_of", &text, now).await?.min(now);
        if at == Position::ZERO { Err(Fault::Invalid("as_of: is before the log begins".into())) } else { Ok(at) }
    }

    /// A position, or the last one recorded strictly before an instant.
    pub async fn resolve(&self, text: &str) -> Result<Position, Fault> {
        match text.parse()? {
            AsOf::Position(position) => Ok(position),
            AsOf::Instant(instant) => Ok(self.vault.seek(instant).await?),
        }
    }

    /// As [`Self::resolve`], of a parameter that names a moment: it lies neither past a position nor in the future.
    pub async fn within(&self, name: &str, text: &str, end: Position) -> Result<Position, Fault> {
        match text.parse()? {
            AsOf::Position(position) if position > end => Err(Fault::Invalid(format!("{name}: the log ends at position {}", self.vault.views().position()))),
            AsOf::Instant(instant) if instant > self.vault.time(&self.vault.views()) => Err(Fault::Invalid(format!("{name}: lies in the future"))),
            _ => self.resolve(text).await,
        }
    }

    /// The views that a read reflects.
    pub async fn views(&self) -> Result<Arc<Views>, Fault> {
        let position = self.position().await?;
        self.vault.views_at(position).await?.map_err(|_| Fault::Busy)
    }
}
