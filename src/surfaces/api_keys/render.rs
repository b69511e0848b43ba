//! Answers in the vendor's shapes: dates as ISO 8601 in UTC, ids as numbers, tokens by what may be shown of them.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter::Fields;
use crate::credentials::api_key::{ApiKey, State};
use crate::credentials::issued::{self, Known};
use crate::credentials::{AnyState, organization};
use crate::kernel::{Moment, Refusal, Secret, StreamId, TenantId};
use crate::vault::{Vault, is_usable};
use crate::views::{Entry, Views};
use crate::web::caller::etag;

/// An organisation that a key serves.
#[derive(Serialize, ToSchema)]
#[schema(as = RecApiKeyOrganization)]
struct OrganizationView {
    /// Its number.
    #[schema(example = 57)]
    id: u64,
    /// Its name.
    name: String,
}

/// A key's token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecApiKeyToken)]
struct TokenView {
    /// Since when it works.
    #[schema(format = DateTime)]
    creation_timestamp: String,
    /// Its latest use; `null` before the first.
    #[schema(format = DateTime)]
    last_use_timestamp: Option<String>,
    /// What may be shown of it.
    #[schema(example = "klkey_0a1b2c3d")]
    short: String,
    /// The whole token: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// A key in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecApiKey)]
pub(super) struct KeyView {
    /// Whether it is refused for now.
    blocked: bool,
    /// Since when.
    #[schema(format = DateTime)]
    creation_timestamp: String,
    /// SFTP user name.
    #[schema(example = "rec-01")]
    dns_name: Option<String>,
    /// Its number.
    #[schema(example = 61)]
    id: u64,
    /// Its name.
    name: String,
    /// Organisations that it serves; those that were deleted are left out.
    organizations: Vec<OrganizationView>,
    /// Its token.
    token: TokenView,
    /// The latest change; `null` before the first.
    #[schema(format = DateTime)]
    update_timestamp: Option<String>,
    /// Whom to tell about it, with `optFields=email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Vec<String>>,
    /// Whom to tell about it, with `optFields=emails`.
    #[serde(skip_serializing_if = "Option::is_none")]
    emails: Option<Vec<String>>,
    /// Its labels, with `optFields=labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
    /// What it may do, with `optFields=permissions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<String>>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecApiKeyMade)]
pub(super) struct MadeView {
    /// Whether it is refused for now.
    blocked: bool,
    /// Since when.
    #[schema(format = DateTime)]
    creation_timestamp: String,
    /// SFTP user name.
    dns_name: Option<String>,
    /// Its number.
    #[schema(example = 61)]
    id: u64,
    /// Its name.
    name: String,
    /// Its token, with its value.
    token: TokenView,
    /// Always `null`.
    #[schema(format = DateTime)]
    update_timestamp: Option<String>,
}

/// A key that was changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecApiKeyChanged)]
pub(super) struct ChangedView {
    /// Whether it is refused for now.
    blocked: bool,
    /// Its number.
    #[schema(example = 61)]
    id: u64,
    /// Whether it opens anything: it is not blocked, has not ended, and the user as whom it acts, if any, may act.
    is_valid: bool,
    /// Its name.
    name: String,
    /// Its token, with its value if it was refreshed.
    token: TokenView,
    /// The latest change; `null` before the first.
    #[schema(format = DateTime)]
    update_timestamp: Option<String>,
}

/// The moment that keys are looked at.
pub(super) struct Lens {
    pub views: Arc<Views>,
    pub tenant: TenantId,
    vault: Arc<Vault>,
    /// Whether it is the present, so that uses count which are not written yet.
    present: bool,
}

fn text(moment: Moment) -> String {
    moment.to_string()
}

/// The secret that is a key's present one.
fn current(key: &ApiKey) -> Option<&Known> {
    key.issued.current.secrets.first()
}

/// What may be shown of a key's token.
pub(super) fn short(key: &ApiKey) -> Option<String> {
    current(key).map(|known| issued::short(known.kind, known.id))
}

impl Lens {
    pub fn new(views: Arc<Views>, tenant: TenantId, vault: &Arc<Vault>, present: bool) -> Self {
        Self { views, tenant, vault: Arc::clone(vault), present }
    }

    fn now(&self) -> Moment {
        if self.present { self.vault.time(&self.views) } else { self.views.recorded_at() }
    }

    /// The key of which a whole token is a working secret.
    pub fn holder(&self, token: &str) -> Option<StreamId> {
        self.vault.holder(&self.views, self.tenant, token, self.now())
    }

    /// A key that is there, and where it stands.
    pub fn key(&self, id: StreamId) -> Result<(&ApiKey, &Entry), Refusal> {
        let entry = self.views.thing(id).filter(|entry| entry.tenant == self.tenant).ok_or(Refusal::NotFound)?;
        Ok((live(entry).ok_or(Refusal::NotFound)?, entry))
    }

    /// A key that a command left, even if another one removed it right afterwards.
    pub fn left(&self, id: StreamId) -> Result<(&ApiKey, &Entry), Refusal> {
        let entry = self.views.thing(id).filter(|entry| entry.tenant == self.tenant).ok_or(Refusal::NotFound)?;
        match &entry.state {
            AnyState::ApiKey(State::Live(key) | State::Deleted { last: key, .. }) => Ok((key, entry)),
            _ => Err(Refusal::NotFound),
        }
    }

    fn token(&self, key: &ApiKey, value: Option<&Secret>) -> TokenView {
        let used = current(key)
            .and_then(|known| if self.present { self.vault.last_used(&self.views, self.tenant, known.id) } else { self.views.used(self.tenant, known.id) });
        TokenView {
            creation_timestamp: text(key.issued.current.since),
            last_use_timestamp: used.map(|used| text(used.last)),
            short: short(key).unwrap_or_default(),
            value: value.map(|value| String::from_utf8_lossy(value.expose()).into_owned()),
        }
    }

    fn organizations(&self, key: &ApiKey) -> Vec<OrganizationView> {
        let there = |id: &StreamId| match &self.views.thing(*id)?.state {
            AnyState::Organization(organization::State::Live(live)) => Some(OrganizationView { id: live.number.0, name: live.name.clone() }),
            _ => None,
        };
        key.more().organizations.iter().filter_map(there).collect()
    }

    /// A key in a list.
    pub fn listed(&self, key: &ApiKey, fields: Fields) -> KeyView {
        KeyView {
            blocked: key.blocked,
            creation_timestamp: text(key.created_at),
            dns_name: key.more().dns_name.clone(),
            id: key.number.0,
            name: key.name.to_string(),
            organizations: self.organizations(key),
            token: self.token(key, None),
            update_timestamp: key.updated_at.map(text),
            email: fields.email.then(|| key.more().emails.clone()),
            emails: fields.emails.then(|| key.more().emails.clone()),
            labels: fields.labels.then(|| key.more().labels.clone()),
            permissions: fields.permissions.then(|| key.permits.names()),
        }
    }

    /// A key that was made.
    pub fn made(&self, key: &ApiKey, value: Option<&Secret>) -> MadeView {
        MadeView {
            blocked: key.blocked,
            creation_timestamp: text(key.created_at),
            dns_name: key.more().dns_name.clone(),
            id: key.number.0,
            name: key.name.to_string(),
            token: self.token(key, value),
            update_timestamp: key.updated_at.map(text),
        }
    }

    /// A key that was changed.
    pub fn changed(&self, id: StreamId, key: &ApiKey, value: Option<&Secret>) -> ChangedView {
        ChangedView {
            blocked: key.blocked,
            id: key.number.0,
            is_valid: is_usable(&self.views, id, self.now()),
            name: key.name.to_string(),
            token: self.token(key, value),
            update_timestamp: key.updated_at.map(text),
        }
    }

    /// An answer with the position that it reflects.
    pub fn answer(&self, status: StatusCode, body: &impl Serialize) -> Response {
        self.bare((status, Json(body)))
    }

    /// One key's answer, with its tag.
    pub fn tagged(&self, status: StatusCode, entry: &Entry, body: &impl Serialize) -> Response {
        let mut response = self.answer(status, body);
        response.headers_mut().insert(header::ETAG, etag(entry.content_version));
        response
    }

    /// Anything, with the position that it reflects.
    pub fn bare(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("keyledger-position", HeaderValue::from(self.views.position().0));
        response
    }
}

/// A key, while it is there.
pub(super) fn live(entry: &Entry) -> Option<&ApiKey> {
    match &entry.state {
        AnyState::ApiKey(State::Live(live)) => Some(live),
        _ => None,
    }
}
