//! What a credential of any kind looks like.

use serde::Serialize;
use utoipa::ToSchema;

use crate::credentials::connection::{Connection, Phase};
use crate::credentials::issued::{self, Issued};
use crate::credentials::{AnyState, api_client, api_key, application, connection, integration, provider_key, user_application};
use crate::kernel::{Moment, SecretRef, StreamId};
use crate::vault::Vault;
use crate::views::{Entry, Views};

/// A credential; its secrets are named, and never shown here.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Credential {
    /// Its id.
    pub id: String,
    /// `connection`, `api_key`, `provider_key`, `api_client`, `user_application`, `application` or `integration`.
    #[schema(example = "connection")]
    pub kind: &'static str,
    /// Shown.
    #[schema(example = "crm+pipedrive")]
    pub name: String,
    /// A connection's phase; otherwise `active`, `blocked` or `expired`; `deleted`.
    #[schema(example = "callable")]
    pub state: &'static str,
    /// Of its latest event.
    version: u64,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
    /// Position of its first event.
    pub first_position: u64,
    /// Position of its latest event.
    last_position: u64,
    /// Since when.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// The latest change.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// When it was deleted.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// What it is the credentials of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Of>,
    /// The user as whom it acts, or whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Whose models a provider key opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    /// The secrets that this vault issued for it and that work, latest first: the present ones, and earlier ones of a rotation's overlap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issued: Vec<IssuedEntry>,
    /// The secrets that are kept for it, as `POST /v1/secrets/reveal` takes them.
    secrets: Vec<SecretEntry>,
}

/// What a connection is the credentials of.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Of {
    /// The application.
    pub app: String,
    /// The consumer within it.
    pub consumer: String,
    /// The API family.
    unified_api: String,
    /// The service.
    service_id: String,
}

/// A secret of a credential.
#[derive(Serialize, ToSchema)]
struct SecretEntry {
    /// Its name, as `POST /v1/secrets/reveal` takes it.
    #[schema(example = "access_token")]
    name: String,
    /// Which version of it.
    version: u64,
    /// Keyed hash of the value: equal values of one tenant have equal ones.
    fingerprint: String,
    /// Position of the event that brought it.
    position: u64,
}

/// A secret that this vault issued.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct IssuedEntry {
    /// Names this one secret.
    id: String,
    /// What may be shown of it.
    #[schema(example = "klkey_0a1b2c3d")]
    short: String,
    /// Since when it works.
    #[schema(format = DateTime)]
    since: String,
    /// When it stops, if a rotation has set that.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    /// Its latest use: exact while the server runs, within a minute after a crash.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    /// How often it was used.
    use_count: u64,
}

/// The moment that a credential is looked at.
pub(in super::super) struct Lens<'a> {
    pub views: &'a Views,
    /// For uses that are not written yet; a look at the past has none.
    pub vault: Option<&'a Vault>,
    pub now: Moment,
}

impl Lens<'_> {
    /// The issued secrets of a thing that work.
    pub fn issued(&self, entry: &Entry, issued: &Issued) -> Vec<IssuedEntry> {
        let working = issued.working(self.now).map(|(known, generation)| {
            let used = match self.vault {
                Some(vault) => vault.last_used(self.views, entry.tenant, known.id),
                None => self.views.used(entry.tenant, known.id),
            };
            IssuedEntry {
                id: known.id.to_string(),
                short: issued::short(known.kind, known.id),
                since: generation.since.to_string(),
                ends_at: generation.ends_at.map(|at| at.to_string()),
                last_used_at: used.map(|used| used.last.to_string()),
                use_count: used.map_or(0, |used| used.count),
            }
        });
        working.collect()
    }

    /// What a credential is; `None` for things of other kinds.
    pub fn credential(&self, id: StreamId, entry: &Entry) -> Option<Credential> {
        let mut shown = Credential { secrets: secrets(entry.state.secrets()), ..bare(id, entry) };
        if let Some(bearer) = entry.state.bearer() {
            shown.issued = self.issued(entry, bearer.issued);
            shown.owner = bearer.user.map(|user| user.to_string());
            shown.expires_at = bearer.expires_at.map(|at| at.to_string());
            shown.state = match (bearer.blocked, bearer.expires_at) {
                (true, _) => "blocked",
                (_, Some(end)) if end <= self.now => "expired",
                _ => "active",
            };
        }
        match &entry.state {
            AnyState::Connection(connection::State::Live(live)) => {
                let ends = live.access.as_ref().and_then(|access| access.expires_at);
                let shown = shown.named(named(&live.key)).made(live.created_at, Some(live.updated_at));
                Some(Credential {
                    state: self.standing(entry, live).name(),
                    expires_at: ends.map(|at| at.to_string()),
                    connection: Some(of(&live.key)),
                    ..shown
                })
            }
            AnyState::Connection(connection::State::Deleted { at, key }) => Some(Credential { connection: Some(of(key)), ..shown.gone(*at, named(key)) }),
            AnyState::ApiKey(api_key::State::Live(live)) => Some(shown.named(live.name.to_string()).made(live.created_at, live.updated_at)),
            AnyState::ApiKey(api_key::State::Deleted { at, last }) => Some(shown.gone(*at, last.name.to_string())),
            AnyState::Application(application::State::Live(live)) => Some(shown.named(live.name.clone()).made(live.created_at, Some(live.updated_at))),
            AnyState::Application(application::State::Deleted { at, last }) => Some(shown.gone(*at, last.name.clone())),
            AnyState::ApiClient(api_client::State::Live(live)) => Some(shown.named(live.name.clone()).made(live.created_at, Some(live.updated_at))),
            AnyState::ApiClient(api_client::State::Deleted { at, last }) => Some(shown.gone(*at, last.name.clone())),
            AnyState::UserApplication(user_application::State::Live(live)) => Some(shown.named(live.name.clone()).made(live.created_at, None)),
            AnyState::UserApplication(user_application::State::Deleted { at, last }) => Some(shown.gone(*at, last.name.clone())),
            AnyState::ProviderKey(provider_key::State::Live(live)) => {
                let shown = shown.named(live.name.clone().unwrap_or_else(|| live.provider.name().to_owned())).made(live.created_at, Some(live.updated_at));
                Some(Credential { state: "active", owner: Some(live.user.to_string()), provider: Some(live.provider.name()), ..shown })
            }
            AnyState::ProviderKey(provider_key::State::Deleted { at, last }) => {
                let name = last.name.clone().unwrap_or_else(|| last.provider.name().to_owned());
                Some(Credential { owner: Some(last.user.to_string()), provider: Some(last.provider.name()), ..shown.gone(*at, name) })
            }
            AnyState::Integration(integration::State::Live(live)) => {
                let shown = shown.named(service(&live.unified_api, &live.service_id)).made(live.created_at, Some(live.updated_at));
                Some(Credential { state: if live.enabled { "active" } else { "blocked" }, ..shown })
            }
            AnyState::Integration(integration::State::Deleted { at, last }) => Some(shown.gone(*at, service(&last.unified_api, &last.service_id))),
            _ => None,
        }
    }

    /// Where a connection stands today.
    fn standing(&self, entry: &Entry, live: &Connection) -> Phase {
        let connector = self.views.connector(entry.tenant, &live.key.unified_api, &live.key.service_id);
        connector.map_or(live.phase, |(_, connector)| self.views.standing(entry.tenant, connector, live))
    }
}

impl Credential {
    fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    fn made(self, created_at: Moment, updated_at: Option<Moment>) -> Self {
        Self { created_at: Some(created_at.to_string()), updated_at: updated_at.map(|at| at.to_string()), ..self }
    }

    fn gone(self, at: Moment, name: String) -> Self {
        Self { name, state: "deleted", deleted_at: Some(at.to_string()), ..self }
    }
}

fn bare(id: StreamId, entry: &Entry) -> Credential {
    Credential {
        id: id.to_string(),
        kind: entry.state.kind(),
        name: String::new(),
        state: "active",
        version: entry.version.0,
        content_version: entry.content_version.0,
        first_position: entry.first.0,
        last_position: entry.last.0,
        created_at: None,
        updated_at: None,
        deleted_at: None,
        expires_at: None,
        connection: None,
        owner: None,
        provider: None,
        issued: Vec::new(),
        secrets: Vec::new(),
    }
}

fn named(key: &connection::Key) -> String {
    service(&key.unified_api, &key.service_id)
}

fn service(unified_api: &str, service_id: &str) -> String {
    format!("{unified_api}+{service_id}")
}

fn of(key: &connection::Key) -> Of {
    Of { app: key.app.clone(), consumer: key.consumer.clone(), unified_api: key.unified_api.clone(), service_id: key.service_id.clone() }
}

fn secrets(secrets: Vec<&SecretRef>) -> Vec<SecretEntry> {
    let entry = |secret: &SecretRef| SecretEntry {
        name: secret.name.clone(),
        version: secret.version.0,
        fingerprint: secret.fingerprint.to_string(),
        position: secret.position.0,
    };
    secrets.into_iter().map(entry).collect()
}
