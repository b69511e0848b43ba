//! A user's own applications, in the order of their life. Another user's is as if it were not there.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::{Caller, Id};
use super::error::{Errors, Problem};
use super::params::{AsOfParam, Change, Repeatable};
use super::render::{ApplicationView, Made, Regenerated, answer, application, find, gone, tagged, text};
use crate::credentials::Kind;
use crate::credentials::user_application::UserApplication;
use crate::kernel::{Refusal, StreamId, TenantId, Version};
use crate::vault::{Given, plans};
use crate::views::Views;
use crate::web::body::{bytes, parse, read_json};
use crate::web::limits::BODY;

/// An application that is made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserApplicationCreation)]
pub(super) struct Creation {
    /// Unique among the user's: 2 to 128 of `a` to `z`, `0` to `9`, `-` and `_`; it begins with a letter and ends with a letter or digit.
    #[schema(example = "app-name", pattern = "^[a-z][-_a-z0-9]*[a-z0-9]$")]
    name: String,
}

/// A body that says nothing: absent, empty, or `{}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserApplicationNothing)]
pub(super) struct Nothing {}

fn own(views: &Views, tenant: TenantId, user: StreamId, id: StreamId) -> Result<(&UserApplication, Version), Refusal> {
    find(views, tenant, id).filter(|(live, _)| live.user == user).ok_or(Refusal::NotFound)
}

/// List one's own applications
///
/// In the order in which they were made. Needs `user-applications:own`.
#[utoipa::path(get, path = "/api/v1/user-applications", operation_id = "user_applications_list", tag = "User applications", params(AsOfParam), responses((status = 200, body = Vec<ApplicationView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    let (_, user) = caller.may_keep_its_own()?;
    let (views, tenant) = (caller.views().await?, caller.principal.tenant);
    let ids = views.owned(user, Kind::UserApplication).map(|(id, _)| id);
    let rows = ids.filter_map(|id| find(&views, tenant, id).map(|(live, _)| application(&caller, &views, id, live)));
    let rows: Vec<ApplicationView> = rows.collect();
    Ok(answer(StatusCode::OK, &views, &rows))
}

/// Create an application of one's own
///
/// Its secret is shown in this answer only. It acts as the user, with the roles that the user has at the time. A user has at most 20; one more is
/// 409, like a name that the user's applications have already. Needs `user-applications:own`, and all that the user may do.
#[utoipa::path(post, path = "/api/v1/user-applications", operation_id = "user_applications_create", tag = "User applications", params(Repeatable), request_body = Creation, responses((status = 201, body = Made), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let (meta, user) = caller.may_keep_its_own()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::missing("name: is missing"))?;
    let Creation { name } = parse(&bytes)?;
    let request = [bytes.as_slice()];
    // One key of two users is two keys.
    let route = format!("user-applications/create/{user}");
    let command = caller.command(meta, &route, &request)?;
    let (tenant, mut drawn) = (caller.principal.tenant, Vec::new());
    let decide = |given: &Given<'_>| {
        let (plan, _, values) = plans::create_user_application(given, &caller.principal, user, name.clone())?;
        drawn = values;
        Ok(plan)
    };
    let made = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&made, drawn).await?;
    let (first, _) = made.events.ok_or(Refusal::NotFound)?;
    let (id, _) = made.views.numbered(tenant, Kind::UserApplication, first).ok_or(Refusal::NotFound)?;
    let (live, version) = own(&made.views, tenant, user, id)?;
    let secret = values.first().map(text).ok_or(Refusal::NotFound)?;
    let created = Made { id: id.uuid(), client_id: id.uuid(), name: live.name.clone(), secret, created_at: live.created_at.to_string() };
    Ok(tagged(answer(StatusCode::CREATED, &made.views, &created), version))
}

/// Get one of one's own applications
///
/// Needs `user-applications:own`.
#[utoipa::path(get, path = "/api/v1/user-applications/{appId}", operation_id = "user_applications_get", tag = "User applications", params(("appId" = String, Path), AsOfParam), responses((status = 200, body = ApplicationView), Errors))]
pub(super) async fn get(caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let (_, user) = caller.may_keep_its_own()?;
    let views = caller.views().await?;
    let (live, version) = own(&views, caller.principal.tenant, user, id)?;
    Ok(tagged(answer(StatusCode::OK, &views, &application(&caller, &views, id, live)), version))
}

/// Delete one of one's own applications
///
/// Its secret and its access tokens end at once. Needs `user-applications:own`.
#[utoipa::path(delete, path = "/api/v1/user-applications/{appId}", operation_id = "user_applications_delete", tag = "User applications", params(("appId" = String, Path), Change), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let (meta, user) = caller.may_keep_its_own()?;
    let expected = caller.if_match()?;
    let route = format!("user-applications/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let decide = |given: &Given<'_>| {
        own(given.views, caller.principal.tenant, user, id)?;
        plans::delete_credential(given, &caller.principal, id, Kind::UserApplication, expected)
    };
    let done = caller.vault.execute(&command, decide).await?;
    Ok(gone(&done.views))
}

/// Regenerate the secret of one of one's own applications
///
/// The earlier secret and its access tokens end at once. Needs `user-applications:own`.
#[utoipa::path(post, path = "/api/v1/user-applications/{appId}/secret", operation_id = "user_applications_regenerate", tag = "User applications", params(("appId" = String, Path), Change), request_body = Option<Nothing>, responses((status = 200, body = Regenerated), Errors))]
pub(super) async fn regenerate(caller: Caller, Id(id): Id, body: Body) -> Result<Response, Problem> {
    let (meta, user) = caller.may_keep_its_own()?;
    let expected = caller.if_match()?;
    read_json::<Nothing>(body, BODY).await?;
    let route = format!("user-applications/regenerate/{id}");
    let command = caller.command(meta, &route, &[])?;
    let mut drawn = Vec::new();
    let decide = |given: &Given<'_>| {
        own(given.views, caller.principal.tenant, user, id)?;
        let (plan, values) = plans::rotate(given, &caller.principal, id, 0, expected)?;
        drawn = values;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&done, drawn).await?;
    let secret = values.first().map(text).ok_or(Refusal::NotFound)?;
    let response = answer(StatusCode::OK, &done.views, &Regenerated { client_secret: secret.clone(), secret });
    let (_, version) = own(&done.views, caller.principal.tenant, user, id)?;
    Ok(tagged(response, version))
}
