//! Credentials of all kinds, as one list.

use axum::http::header;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, answer, cursor};
use super::events::{Events, page};
use crate::credentials::connection::{self, Connection};
use crate::credentials::{AnyState, api_key};
use crate::kernel::{Moment, Position, Refusal, SecretRef, StreamId};
use crate::vault::access::Permission;
use crate::views::Entry;
use crate::web::caller::etag;
use crate::web::problem::{Errors, Problem};

/// A credential; its secrets are named, and never shown here.
#[derive(Serialize, ToSchema)]
pub(super) struct Credential {
    /// Its id.
    id: String,
    /// `connection` or `api_key`.
    #[schema(example = "connection")]
    kind: &'static str,
    /// Shown.
    #[schema(example = "crm+pipedrive")]
    name: String,
    /// A connection's phase; `active` or `expired` for a key; `deleted`.
    #[schema(example = "callable")]
    state: &'static str,
    /// Of its latest event.
    version: u64,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
    /// Position of its first event.
    first_position: u64,
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
    connection: Option<Of>,
    /// What is shown of a key's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Its secrets.
    secrets: Vec<SecretEntry>,
}

/// What a connection is the credentials of.
#[derive(Serialize, ToSchema)]
struct Of {
    /// The application.
    app: String,
    /// The consumer within it.
    consumer: String,
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

/// A page of credentials.
#[derive(Serialize, ToSchema)]
pub(super) struct Credentials {
    /// In the order in which they were made.
    data: Vec<Credential>,
    /// Give it as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The position that the answer reflects.
    position: u64,
}

/// What is looked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Wanted {
    /// `connection` or `api_key`.
    kind: Option<String>,
    /// Only of this application.
    app: Option<String>,
    /// Only of this consumer.
    consumer: Option<String>,
    /// `live` (the default), `deleted` or `all`.
    show: Option<String>,
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

/// Pages of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct HistoryPage {
    /// Items of a page, 1 to 200; 20 when absent.
    limit: Option<u32>,
    /// What an earlier page gave as `next_cursor`.
    cursor: Option<String>,
}

fn of(key: &connection::Key) -> Of {
    Of { app: key.app.clone(), consumer: key.consumer.clone(), unified_api: key.unified_api.clone(), service_id: key.service_id.clone() }
}

fn secrets<'a>(secrets: impl IntoIterator<Item = &'a SecretRef>) -> Vec<SecretEntry> {
    let entry = |secret: &SecretRef| SecretEntry {
        name: secret.name.clone(),
        version: secret.version.0,
        fingerprint: secret.fingerprint.to_string(),
        position: secret.position.0,
    };
    secrets.into_iter().map(entry).collect()
}

/// What a credential is, at a moment; `None` for things of other kinds.
fn render(id: StreamId, entry: &Entry, now: Moment) -> Option<Credential> {
    let bare = |name: String, state| Credential {
        id: id.to_string(),
        kind: entry.state.kind(),
        name,
        state,
        version: entry.version.0,
        content_version: entry.content_version.0,
        first_position: entry.first.0,
        last_position: entry.last.0,
        created_at: None,
        updated_at: None,
        deleted_at: None,
        expires_at: None,
        connection: None,
        token: None,
        secrets: Vec::new(),
    };
    let named = |key: &connection::Key| format!("{}+{}", key.unified_api, key.service_id);
    match &entry.state {
        AnyState::Connection(state @ connection::State::Live(live)) => Some(Credential {
            created_at: Some(live.created_at.to_string()),
            updated_at: Some(live.updated_at.to_string()),
            expires_at: expiry(live).map(|at| at.to_string()),
            connection: Some(of(&live.key)),
            secrets: secrets(state.secrets()),
            ..bare(named(&live.key), live.phase.name())
        }),
        AnyState::Connection(connection::State::Deleted { at, key }) => {
            Some(Credential { deleted_at: Some(at.to_string()), connection: Some(of(key)), ..bare(named(key), "deleted") })
        }
        AnyState::ApiKey(api_key::State::Live { grant, token, created_at }) => {
            let expired = grant.expires_at.is_some_and(|end| end <= now);
            Some(Credential {
                created_at: Some(created_at.to_string()),
                expires_at: grant.expires_at.map(|at| at.to_string()),
                token: Some(token.short.clone()),
                ..bare(grant.name.clone(), if expired { "expired" } else { "active" })
            })
        }
        _ => None,
    }
}

fn expiry(live: &Connection) -> Option<Moment> {
    live.access.as_ref().and_then(|(_, expires_at)| *expires_at)
}

/// List credentials
///
/// Those of the caller's tenant. Needs `credentials:read`.
#[utoipa::path(get, path = "/v1/credentials", operation_id = "credentials_list", tag = "Credentials", params(Wanted, super::log::AsOfParams), responses((status = 200, body = Credentials), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::CredentialsRead)?;
    let params = caller.params(&["kind", "app", "consumer", "show", "limit", "cursor"])?;
    let (limit, after) = (params.limit()?, params.cursor()?.unwrap_or_default());
    let kind = params.get("kind");
    if kind.is_some_and(|kind| ![connection::NAME, api_key::NAME].contains(&kind)) {
        return Err(Problem::invalid("kind: is connection or api_key"));
    }
    let deleted = match params.get("show") {
        None | Some("live") => Some(false),
        Some("deleted") => Some(true),
        Some("all") => None,
        Some(_) => return Err(Problem::invalid("show: is live, deleted or all")),
    };
    let views = caller.views(&params).await?;
    let now = if params.get("as_of").is_some() { views.recorded_at() } else { caller.vault.now() };
    let wanted = |credential: &Credential| {
        let of = |name: &str, part: fn(&Of) -> &str| params.get(name).is_none_or(|value| credential.connection.as_ref().is_some_and(|of| part(of) == value));
        kind.is_none_or(|kind| kind == credential.kind)
            && deleted.is_none_or(|deleted| deleted == (credential.state == "deleted"))
            && of("app", |of| &of.app)
            && of("consumer", |of| &of.consumer)
            && sees(&caller, credential)
    };
    let all = views.credentials(caller.principal.tenant, after).filter_map(|(id, entry)| render(id, entry, now));
    let mut data: Vec<Credential> = all.filter(wanted).take(limit + 1).collect();
    let more = data.len() > limit;
    data.truncate(limit);
    let next_cursor = data.last().filter(|_| more).map(|last| cursor(Position(last.first_position)));
    Ok(answer(views.position(), &Credentials { data, next_cursor, position: views.position().0 }))
}

/// Get a credential
///
/// Deleted ones are shown as such. Needs `credentials:read`.
#[utoipa::path(get, path = "/v1/credentials/{id}", operation_id = "credentials_get", tag = "Credentials", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = Credential), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::CredentialsRead)?;
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant).ok_or(Refusal::NotFound)?;
    let now = if params.get("as_of").is_some() { views.recorded_at() } else { caller.vault.now() };
    let credential = render(id, entry, now).filter(|credential| sees(&caller, credential)).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &credential);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// Get a credential's history
///
/// All its events, newest first: who did what, when, from where, under which rule; secrets by fingerprint. Needs `history:read`.
#[utoipa::path(get, path = "/v1/credentials/{id}/history", operation_id = "credentials_history", tag = "Credentials", params(("id" = String, Path), HistoryPage, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let position = caller.position(&params).await?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let views = caller.vault.views();
    let entry = views.thing(id).filter(|entry| entry.tenant == caller.principal.tenant && entry.first <= position).ok_or(Refusal::NotFound)?;
    render(id, entry, caller.vault.now()).filter(|credential| sees(&caller, credential)).ok_or(Refusal::NotFound)?;
    let to = params.cursor()?.map_or(position, |at| at.min(position));
    let found = caller.vault.history(&caller.principal, id, to, params.limit()?).await?;
    Ok(page(found, position))
}

/// Whether the caller's token may name the application that a credential belongs to.
fn sees(caller: &Caller, credential: &Credential) -> bool {
    let own = &caller.principal.app_ids;
    own.is_empty() || credential.connection.as_ref().is_none_or(|of| own.contains(&of.app))
}
