//! API keys: what programs present, here or at services that ask here about them.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::credentials::{IssuedEntry, lens_of};
use super::gone;
use super::listing::{self, Page, Paged, find};
use crate::credentials::api_key::{ApiKey, Changes, Grant, State};
use crate::credentials::{AnyState, Kind, To, organization};
use crate::kernel::{Moment, Permission, Refusal, Secret, StreamId};
use crate::vault::{Given, plans};
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// An API key; its token is never shown again.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct ApiKeyView {
    /// Its id.
    pub id: String,
    /// A number that is never used again: what the API keys surface calls its id.
    number: u64,
    /// Its name.
    #[schema(example = "reporting")]
    pub name: String,
    /// The user as whom it acts, with that user's roles at the time of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Permissions of its own, beside its owner's.
    #[schema(example = json!(["connections:read"]))]
    pub permissions: Vec<String>,
    /// Whom to tell about it.
    emails: Vec<String>,
    /// Ids of organisations that it serves.
    pub organizations: Vec<String>,
    /// Free labels.
    pub labels: Vec<String>,
    /// SFTP user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_name: Option<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    app_ids: Vec<String>,
    /// Whether it is refused for now.
    pub blocked: bool,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Its secrets that work, latest first.
    pub issued: Vec<IssuedEntry>,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// An API key, and its token, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewApiKeyView {
    /// The key.
    api_key: ApiKeyView,
    /// Present it as `Authorization: Bearer`.
    token: String,
}

/// A new API key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    /// Its name: 1 to 128 characters.
    #[schema(example = "reporting")]
    name: String,
    /// The id of the user as whom it acts, or `me`; without one it has its own permissions only.
    owner: Option<String>,
    /// Permissions of its own: those of the vault, and `custom:` ones that only key verification tells. Nobody gives what they do not hold.
    #[serde(default)]
    #[schema(example = json!(["connections:read", "custom:reports.read"]))]
    permissions: Vec<String>,
    /// Whom to tell about it.
    #[serde(default)]
    emails: Vec<String>,
    /// Ids of organisations that it serves.
    #[serde(default)]
    organizations: Vec<String>,
    /// Free labels.
    #[serde(default)]
    labels: Vec<String>,
    /// SFTP user name; unique in the tenant.
    dns_name: Option<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    #[serde(default)]
    app_ids: Vec<String>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
}

/// What changes; absent parts stay as they are.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApiKeyChanges {
    /// Its name.
    name: Option<String>,
    /// Whether it is refused for now.
    blocked: Option<bool>,
    /// Permissions of its own.
    permissions: Option<Vec<String>>,
    /// Whom to tell about it.
    emails: Option<Vec<String>>,
    /// Ids of organisations that it serves.
    organizations: Option<Vec<String>>,
    /// Free labels.
    labels: Option<Vec<String>>,
    /// SFTP user name; `null` takes it away.
    #[serde(deserialize_with = "super::nullable")]
    #[schema(value_type = Option<String>)]
    dns_name: Option<To<String>>,
    /// Application ids that it may name.
    app_ids: Option<Vec<String>>,
    /// When it ends by itself; `null` for never.
    #[serde(deserialize_with = "super::nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<To<Moment>>,
}

/// The organisations that a key serves; those that were deleted are left out.
pub(super) fn organizations(views: &Views, key: &ApiKey) -> Vec<String> {
    let there = |id: &StreamId| views.thing(*id).is_some_and(|entry| matches!(entry.state, AnyState::Organization(organization::State::Live(_))));
    key.more().organizations.iter().filter(|id| there(id)).map(ToString::to_string).collect()
}

/// A key as it is shown.
pub(super) fn view(caller: &Caller, past: bool, views: &Views, id: StreamId, entry: &Entry) -> Option<ApiKeyView> {
    let AnyState::ApiKey(State::Live(live)) = &entry.state else { return None };
    Some(ApiKeyView {
        id: id.to_string(),
        number: live.number.0,
        name: live.name.to_string(),
        owner: live.owner.map(|owner| owner.to_string()),
        permissions: live.permits.names(),
        emails: live.more().emails.clone(),
        organizations: organizations(views, live),
        labels: live.more().labels.clone(),
        dns_name: live.more().dns_name.clone(),
        app_ids: live.more().app_ids.clone(),
        blocked: live.blocked,
        expires_at: live.expires_at.map(|at| at.to_string()),
        issued: lens_of(caller, past, views).issued(entry, &live.issued),
        created_at: live.created_at.to_string(),
        updated_at: live.updated_at.map(|at| at.to_string()),
        content_version: entry.content_version.0,
    })
}

fn shown(caller: &Caller, past: bool, views: &Views, id: StreamId) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(caller, past, views, id, entry).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

fn ids(field: &str, given: &[String]) -> Result<Vec<StreamId>, Refusal> {
    let id = |(place, text): (usize, &String)| text.parse().map_err(|_| Refusal::invalid(format!("{field}[{place}]"), "is no id"));
    given.iter().enumerate().map(id).collect()
}

/// List API keys
///
/// Needs `api-keys:read`.
#[utoipa::path(get, path = "/v1/api-keys", operation_id = "api_keys_list", tag = "API keys", params(Paged, super::log::AsOfParams), responses((status = 200, body = Page<ApiKeyView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ApiKeysRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let past = params.get("as_of").is_some();
    listing::list(&caller, &params, Kind::ApiKey, |views, id, entry| view(&caller, past, views, id, entry)).await
}

/// Create an API key
///
/// Needs `api-keys:write`, and what the key may do.
#[utoipa::path(post, path = "/v1/api-keys", operation_id = "api_keys_create", tag = "API keys", params(Repeatable), request_body = NewApiKey, responses((status = 201, body = NewApiKeyView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewApiKey = parse(&bytes)?;
    let owner = match new.owner.as_deref() {
        None => None,
        Some("me") => Some(caller.principal.user.ok_or_else(|| Refusal::invalid("owner", "the caller acts as no user"))?),
        Some(text) => Some(text.parse().map_err(|_| Refusal::invalid("owner", "is no user of this tenant"))?),
    };
    let grant = Grant {
        name: new.name,
        owner,
        permissions: new.permissions,
        emails: new.emails,
        organizations: ids("organizations", &new.organizations)?,
        labels: new.labels,
        dns_name: new.dns_name,
        app_ids: new.app_ids,
        expires_at: new.expires_at,
    };
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "api-keys/create", &parts)?;
    let mut drawn: Vec<Secret> = Vec::new();
    let decide = |given: &Given<'_>| {
        let (plan, _, values) = plans::create_api_key(given, &caller.principal, grant.clone())?;
        drawn = values;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let (id, values) = (caller.first_thing(&done).await?, caller.shown_once(&done, drawn).await?);
    let entry = done.views.thing(id).ok_or(Refusal::NotFound)?;
    let api_key = view(&caller, false, &done.views, id, entry).ok_or(Refusal::NotFound)?;
    let shown = NewApiKeyView { api_key, token: super::text(values.first())? };
    Ok((StatusCode::CREATED, answer(done.views.position(), &shown)).into_response())
}

/// Get an API key
///
/// Needs `api-keys:read`.
#[utoipa::path(get, path = "/v1/api-keys/{id}", operation_id = "api_keys_get", tag = "API keys", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = ApiKeyView), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::ApiKeysRead)?;
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let (id, _) = find(&views, caller.principal.tenant, &id, Kind::ApiKey)?;
    shown(&caller, params.get("as_of").is_some(), &views, id)
}

/// Update an API key
///
/// Needs `api-keys:write`, and what the key may do, before and after.
#[utoipa::path(patch, path = "/v1/api-keys/{id}", operation_id = "api_keys_update", tag = "API keys", params(Change, ("id" = String, Path)), request_body = ApiKeyChanges, responses((status = 200, body = ApiKeyView), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let given: ApiKeyChanges = parse(&bytes)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let changes = Changes {
        name: given.name,
        blocked: given.blocked,
        permissions: given.permissions,
        emails: given.emails,
        organizations: given.organizations.as_deref().map(|given| ids("organizations", given)).transpose()?,
        labels: given.labels,
        dns_name: given.dns_name,
        app_ids: given.app_ids,
        expires_at: given.expires_at,
    };
    let (route, parts) = (format!("api-keys/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let done = caller.vault.execute(&command, |at| plans::update_api_key(at, &caller.principal, id, changes.clone(), expected)).await?;
    shown(&caller, false, &done.views, id)
}

/// Delete an API key
///
/// It opens nothing from the next request on. Needs `api-keys:write`, and what the key may do.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", operation_id = "api_keys_delete", tag = "API keys", params(Change, ("id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let expected = caller.if_match()?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let route = format!("api-keys/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_credential(given, &caller.principal, id, Kind::ApiKey, expected)).await?;
    Ok(gone(&done))
}
