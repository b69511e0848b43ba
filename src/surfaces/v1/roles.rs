//! Roles: sets of permissions, those that every tenant has and a tenant's own.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::events::Events;
use super::gone;
use super::listing::{self, Paged};
use crate::credentials::role::{self, Role};
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Builtin, Permission, Position, Refusal, RoleRef, StreamId, TenantId, Version};
use crate::vault::plans;
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
pub(super) struct RoleView {
    /// Its id.
    id: String,
    /// Its name.
    #[schema(example = "operator")]
    name: String,
    /// Whether every tenant has it; such a role does not change.
    builtin: bool,
    /// What it permits.
    #[schema(example = json!(["connections:read"]))]
    permissions: Vec<String>,
    /// Of its latest change: what its `ETag` shows; 0 for one that every tenant has.
    content_version: u64,
}

/// All roles of a tenant.
#[derive(Serialize, ToSchema)]
pub(super) struct Roles {
    /// Those that every tenant has, then its own in the order in which they were made.
    data: Vec<RoleView>,
    /// The position that the answer reflects.
    position: u64,
}

/// A new role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    /// Its name; unique in the tenant, among names that look alike.
    #[schema(example = "on call")]
    name: String,
    /// What it permits. Nobody gives what they do not hold.
    #[schema(example = json!(["connections:read"]))]
    permissions: Vec<String>,
}

/// What changes; absent parts stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleChanges {
    /// Its name.
    name: Option<String>,
    /// What it permits.
    permissions: Option<Vec<String>>,
}

fn builtin(role: Builtin) -> RoleView {
    RoleView {
        id: role.id().to_string(),
        name: role.name().to_owned(),
        builtin: true,
        permissions: role.permissions().iter().map(|permission| permission.name().to_owned()).collect(),
        content_version: 0,
    }
}

fn own(id: StreamId, role: &Role, entry: &Entry) -> RoleView {
    let (id, name, permissions) = (id.to_string(), role.name.clone(), role.permits.names());
    RoleView { id, name, builtin: false, permissions, content_version: entry.content_version.0 }
}

fn live(entry: &Entry) -> Option<&Role> {
    match &entry.state {
        AnyState::Role(role::State::Live(role)) => Some(role),
        _ => None,
    }
}

/// A role by its name or id.
fn find(views: &Views, tenant: TenantId, text: &str) -> Result<RoleRef, Refusal> {
    super::listing::roles(views, tenant, &[text.to_owned()]).ok().and_then(|roles| roles.first().copied()).ok_or(Refusal::NotFound)
}

fn shown(views: &Views, role: RoleRef) -> Result<Response, Problem> {
    let (view, version) = match role {
        RoleRef::Builtin(role) => (builtin(role), Version::ZERO),
        RoleRef::Own(id) => {
            let entry = views.thing(id).ok_or(Refusal::NotFound)?;
            (own(id, live(entry).ok_or(Refusal::NotFound)?, entry), entry.content_version)
        }
    };
    let mut response = answer(views.position(), &view);
    response.headers_mut().insert(header::ETAG, etag(version));
    Ok(response)
}

/// The tenant's own role of a path; those that every tenant has do not change.
fn changeable(caller: &Caller, text: &str) -> Result<StreamId, Refusal> {
    // An id need not be there any more: the repeat of a delete is answered as the delete was.
    let by_id = text.parse().ok().filter(|role| matches!(role, RoleRef::Own(_)));
    match by_id.map_or_else(|| find(&caller.vault.views(), caller.principal.tenant, text), Ok)? {
        RoleRef::Own(id) => Ok(id),
        RoleRef::Builtin(_) => Err(Refusal::InvalidState("a role that every tenant has does not change".into())),
    }
}

/// List roles
///
/// Needs `roles:read`.
#[utoipa::path(get, path = "/v1/roles", operation_id = "roles_list", tag = "Roles", params(super::log::AsOfParams), responses((status = 200, body = Roles), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::RolesRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    let all = views.listed(caller.principal.tenant, Kind::Role, Position::ZERO);
    let own = all.filter_map(|(id, entry)| live(entry).map(|role| own(id, role, entry)));
    let data = Builtin::ALL.into_iter().map(builtin).chain(own).collect();
    Ok(answer(views.position(), &Roles { data, position: views.position().0 }))
}

/// Create a role
///
/// Needs `roles:write`, and what the role permits.
#[utoipa::path(post, path = "/v1/roles", operation_id = "roles_create", tag = "Roles", params(Repeatable), request_body = NewRole, responses((status = 201, body = RoleView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::RolesWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewRole = parse(&bytes)?;
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "roles/create", &parts)?;
    let decide = |given: &crate::vault::Given<'_>| plans::create_role(given, &caller.principal, new.name.clone(), new.permissions.clone());
    let done = caller.vault.execute(&command, decide).await?;
    let id = caller.first_thing(&done).await?;
    Ok((StatusCode::CREATED, shown(&done.views, RoleRef::Own(id))?).into_response())
}

/// Get a role
///
/// By name or id. Needs `roles:read`.
#[utoipa::path(get, path = "/v1/roles/{role}", operation_id = "roles_get", tag = "Roles", params(("role" = String, Path), super::log::AsOfParams), responses((status = 200, body = RoleView), Errors))]
pub(super) async fn get(caller: Caller, Named(text): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::RolesRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    shown(&views, find(&views, caller.principal.tenant, &text)?)
}

/// Get a role's history
///
/// All its events, newest first, deleted or not. By id: its name may have been another. Needs `history:read`.
#[utoipa::path(get, path = "/v1/roles/{role}/history", operation_id = "roles_history", tag = "Roles", params(("role" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    listing::history(&caller, &id, Kind::Role).await
}

/// Update a role
///
/// Whoever holds it has the new permissions at the next request. Needs `roles:write`, and what it permits, before and after.
#[utoipa::path(patch, path = "/v1/roles/{role}", operation_id = "roles_update", tag = "Roles", params(Change, ("role" = String, Path)), request_body = RoleChanges, responses((status = 200, body = RoleView), Errors))]
pub(super) async fn update(caller: Caller, Named(text): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::RolesWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let changes: RoleChanges = parse(&bytes)?;
    let id = changeable(&caller, &text)?;
    let (route, parts) = (format!("roles/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let decide =
        |given: &crate::vault::Given<'_>| plans::update_role(given, &caller.principal, id, changes.name.clone(), changes.permissions.clone(), expected);
    let done = caller.vault.execute(&command, decide).await?;
    shown(&done.views, RoleRef::Own(id))
}

/// Delete a role
///
/// Whoever holds it loses what it permitted at the next request. Needs `roles:write`, and what it permits.
#[utoipa::path(delete, path = "/v1/roles/{role}", operation_id = "roles_delete", tag = "Roles", params(Change, ("role" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(text): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::RolesWrite)?;
    let expected = caller.if_match()?;
    let id = changeable(&caller, &text)?;
    let route = format!("roles/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_role(given, &caller.principal, id, expected)).await?;
    Ok(gone(&done))
}
