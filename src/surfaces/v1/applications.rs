//! Applications: programs with a client id, a secret, and roles of their own.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Change, Named, Repeatable, answer};
use super::credentials::{IssuedEntry, lens_of};
use super::gone;
use super::listing::{self, Page, Paged, find, role_names, roles};
use crate::credentials::application::{Changes, Profile, State};
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Permission, Refusal, Secret, StreamId};
use crate::vault::{Given, plans};
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// An application.
#[derive(Serialize, ToSchema)]
#[schema(as = Application)]
pub(super) struct ApplicationView {
    /// Its id, which is its client id as well.
    id: String,
    /// What it presents at token endpoints.
    client_id: String,
    /// Its name.
    #[schema(example = "billing")]
    name: String,
    /// Names of roles held; one that is gone by its id.
    roles: Vec<String>,
    /// Permissions beside those of its roles.
    permissions: Vec<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    app_ids: Vec<String>,
    /// Whether it is refused for now.
    blocked: bool,
    /// Its secrets that work, latest first.
    issued: Vec<IssuedEntry>,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// An application, and its secret, shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct NewApplicationView {
    /// The application.
    application: ApplicationView,
    /// What it presents with its client id.
    client_secret: String,
}

/// A new application.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApplication {
    /// Its name; unique in the tenant, among names that look alike.
    #[schema(example = "billing")]
    name: String,
    /// Roles, each by name or id. Nobody gives what they do not hold.
    #[serde(default)]
    #[schema(example = json!(["app"]))]
    roles: Vec<String>,
    /// Permissions beside those of its roles.
    #[serde(default)]
    permissions: Vec<String>,
    /// Application ids of the connections surface that it may name; empty: any.
    #[serde(default)]
    app_ids: Vec<String>,
}

/// What changes; absent parts stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationChanges {
    /// Its name.
    name: Option<String>,
    /// Roles, each by name or id.
    roles: Option<Vec<String>>,
    /// Permissions beside those of its roles.
    permissions: Option<Vec<String>>,
    /// Application ids that it may name.
    app_ids: Option<Vec<String>>,
    /// Whether it is refused for now.
    blocked: Option<bool>,
}

fn view(caller: &Caller, past: bool, views: &Views, id: StreamId, entry: &Entry) -> Option<ApplicationView> {
    let AnyState::Application(State::Live(live)) = &entry.state else { return None };
    Some(ApplicationView {
        id: id.to_string(),
        client_id: id.to_string(),
        name: live.name.clone(),
        roles: role_names(views, entry.tenant, &live.roles),
        permissions: live.permits.names(),
        app_ids: live.app_ids.clone(),
        blocked: live.blocked,
        issued: lens_of(caller, past, views).issued(entry, &live.issued),
        created_at: live.created_at.to_string(),
        updated_at: live.updated_at.to_string(),
        content_version: entry.content_version.0,
    })
}

fn shown(caller: &Caller, past: bool, views: &Views, id: StreamId) -> Result<Response, Problem> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(caller, past, views, id, entry).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// List applications
///
/// Needs `applications:read`.
#[utoipa::path(get, path = "/v1/applications", operation_id = "applications_list", tag = "Applications", params(Paged, super::log::AsOfParams), responses((status = 200, body = Page<ApplicationView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ApplicationsRead)?;
    let params = caller.params(&["limit", "cursor"])?;
    let past = params.get("as_of").is_some();
    listing::list(&caller, &params, Kind::Application, |views, id, entry| view(&caller, past, views, id, entry)).await
}

/// Create an application
///
/// Needs `applications:write`, and what the application may do.
#[utoipa::path(post, path = "/v1/applications", operation_id = "applications_create", tag = "Applications", params(Repeatable), request_body = NewApplication, responses((status = 201, body = NewApplicationView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApplicationsWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewApplication = parse(&bytes)?;
    let parts = [bytes.as_slice()];
    let command = caller.command(meta, "applications/create", &parts)?;
    let mut drawn: Vec<Secret> = Vec::new();
    let decide = |given: &Given<'_>| {
        let roles = roles(given.views, caller.principal.tenant, &new.roles)?;
        let profile = Profile { name: new.name.clone(), roles, permissions: new.permissions.clone(), app_ids: new.app_ids.clone() };
        let (plan, _, values) = plans::create_application(given, &caller.principal, profile)?;
        drawn = values;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let (id, values) = (caller.first_thing(&done).await?, caller.shown_once(&done, drawn).await?);
    let entry = done.views.thing(id).ok_or(Refusal::NotFound)?;
    let application = view(&caller, false, &done.views, id, entry).ok_or(Refusal::NotFound)?;
    let shown = NewApplicationView { application, client_secret: super::text(values.first())? };
    Ok((StatusCode::CREATED, answer(done.views.position(), &shown)).into_response())
}

/// Get an application
///
/// Needs `applications:read`.
#[utoipa::path(get, path = "/v1/applications/{id}", operation_id = "applications_get", tag = "Applications", params(("id" = String, Path), super::log::AsOfParams), responses((status = 200, body = ApplicationView), Errors))]
pub(super) async fn get(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    caller.may(Permission::ApplicationsRead)?;
    let params = caller.params(&[])?;
    let views = caller.views(&params).await?;
    let (id, _) = find(&views, caller.principal.tenant, &id, Kind::Application)?;
    shown(&caller, params.get("as_of").is_some(), &views, id)
}

/// Update an application
///
/// Needs `applications:write`, and what the application may do, before and after.
#[utoipa::path(patch, path = "/v1/applications/{id}", operation_id = "applications_update", tag = "Applications", params(Change, ("id" = String, Path)), request_body = ApplicationChanges, responses((status = 200, body = ApplicationView), Errors))]
pub(super) async fn update(caller: Caller, Named(id): Named<String>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApplicationsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let given: ApplicationChanges = parse(&bytes)?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let (route, parts) = (format!("applications/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let decide = |at: &Given<'_>| {
        let changes = Changes {
            name: given.name.clone(),
            roles: given.roles.as_deref().map(|names| roles(at.views, caller.principal.tenant, names)).transpose()?,
            permissions: given.permissions.clone(),
            app_ids: given.app_ids.clone(),
            blocked: given.blocked,
        };
        plans::update_application(at, &caller.principal, id, changes, expected)
    };
    let done = caller.vault.execute(&command, decide).await?;
    shown(&caller, false, &done.views, id)
}

/// Delete an application
///
/// Its tokens end at once. Needs `applications:write`, and what the application may do.
#[utoipa::path(delete, path = "/v1/applications/{id}", operation_id = "applications_delete", tag = "Applications", params(Change, ("id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named(id): Named<String>) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApplicationsWrite)?;
    let expected = caller.if_match()?;
    let id: StreamId = id.parse().map_err(|_| Refusal::NotFound)?;
    let route = format!("applications/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_credential(given, &caller.principal, id, Kind::Application, expected)).await?;
    Ok(gone(&done))
}
