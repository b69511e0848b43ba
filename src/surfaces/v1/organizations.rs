//! Organisations: whom API keys serve.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::events::Events;
use super::gone;
use super::listing::{self, Page, Paged, find};
use crate::credentials::organization::State;
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Refusal, StreamId};
use crate::vault::plans;
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// An organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization)]
pub(super) struct OrganizationView {
    /// Its id.
    id: String,
    /// A number that is never used again: what the API keys surface calls its id.
    number: u64,
    /// Its name.
    #[schema(example = "Acme")]
    name: String,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// An organisation's name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganizationName {
    /// 1 to 128 characters; unique in the tenant, among names that look alike.
    #[schema(example = "Acme")]
    name: String,
}

fn view(id: StreamId, entry: &Entry) -> Option<OrganizationView> {
    let AnyState::Organization(State::Live(live)) = &entry.state else { return None };
    let (created_at, updated_at) = (live.created_at.to_string(), live.updated_at.to_string());
    let content_version = entry.content_version.0;
    Some(OrganizationView { id: id.to_string(), number: live.number.0, name: live.name.clone(), created_at, updated_at, content_version })
}

fn shown(views: &Views, id: StreamId) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(id, entry).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// List organisations
///
/// Needs `organizations:read`.
#[utoipa::path(get, path = "/v1/organizations", operation_id = "organizations_list", tag = "Organizations", params(Paged, super::log::AsOfParams), responses((status = 200, body = Page<OrganizationView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::OrganizationsRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    listing::list(&caller, &params, Kind::Organization, |_, id, entry| view(id, entry)).await
}

/// Create an organisation
///
/// Needs `organizations:write`.
#[utoipa::path(post, path = "/v1/organizations", operation_id = "organizations_create", tag = "Organizations", params(Repeatable), request_body = OrganizationName, responses((status = 201, body = OrganizationView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::OrganizationsWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: OrganizationName = parse(&bytes)?;
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "organizations/create", &parts)?;
    let done = caller.vault.execute(&command, |given| plans::create_organization(given, new.name.clone())).await?;
    let id = caller.first_thing(&done).await?;
    Ok((StatusCode::CREATED, shown(&done.views, id)?).into_response())
}

/// Get an organisation
///
/// Needs `organizations:read`.
#[utoipa::path(get, path = "/v1/organizations/{id}", operation_id = "organizations_get", tag = "Organizations", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = OrganizationView), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::OrganizationsRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    let (id, _) = find(&views, caller.principal.tenant, &id, Kind::Organization)?;
    shown(&views, id)
}

/// Get an organisation's history
///
/// All its events, newest first, deleted or not. Needs `history:read`.
#[utoipa::path(get, path = "/v1/organizations/{id}/history", operation_id = "organizations_history", tag = "Organizations", params(("id" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    listing::history(&caller, &id, Kind::Organization).await
}

/// Rename an organisation
///
/// Needs `organizations:write`.
#[utoipa::path(patch, path = "/v1/organizations/{id}", operation_id = "organizations_update", tag = "Organizations", params(Change, ("id" = String, Path)), request_body = OrganizationName, responses((status = 200, body = OrganizationView), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::OrganizationsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: OrganizationName = parse(&bytes)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let (route, parts) = (format!("organizations/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let tenant = caller.principal.tenant;
    let done = caller.vault.execute(&command, |given| plans::rename_organization(given, tenant, id, new.name.clone(), expected)).await?;
    shown(&done.views, id)
}

/// Delete an organisation
///
/// API keys that serve it no longer show it. Needs `organizations:write`.
#[utoipa::path(delete, path = "/v1/organizations/{id}", operation_id = "organizations_delete", tag = "Organizations", params(Change, ("id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::OrganizationsWrite)?;
    let expected = caller.if_match()?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let route = format!("organizations/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_organization(given, caller.principal.tenant, id, expected)).await?;
    Ok(gone(&done))
}
