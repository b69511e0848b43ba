//! Everybody's applications, for administrators.

use axum::http::StatusCode;
use axum::response::Response;

use super::caller::{Caller, Id};
use super::error::{Errors, Problem};
use super::params::{AsOfParam, Change, Listed};
use super::render::{OfUser, answer, find, gone, of_user};
use crate::credentials::Kind;
use crate::kernel::{Permission, Position, StreamId};
use crate::vault::{Given, plans};

/// List all users' applications
///
/// In the order in which they were made. Needs `user-applications:admin`.
#[utoipa::path(get, path = "/api/v1/administration/user-applications", operation_id = "user_applications_list_all", tag = "User applications", params(Listed, AsOfParam), responses((status = 200, body = Vec<OfUser>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::UserApplicationsAdmin)?;
    let (client, user) = (caller.query("clientId"), caller.query("createdBy"));
    let (views, tenant) = (caller.views().await?, caller.principal.tenant);
    // Text that is no id names no application.
    let named = |id: StreamId| client.as_deref().is_none_or(|text| StreamId::of_client(text) == Some(id));
    let ids = views.listed(tenant, Kind::UserApplication, Position::ZERO).map(|(id, _)| id).filter(|id| named(*id));
    let rows = ids.filter_map(|id| find(&views, tenant, id).map(|(live, _)| of_user(&caller, &views, id, live)));
    let rows: Vec<OfUser> = rows.filter(|row| user.as_deref().is_none_or(|user| row.created_by.eq_ignore_ascii_case(user))).collect();
    Ok(answer(StatusCode::OK, &views, &rows))
}

/// Delete any user's application
///
/// Its secret and its access tokens end at once. Needs `user-applications:admin`, and all that the application's user may do.
#[utoipa::path(delete, path = "/api/v1/administration/user-applications/{appId}", operation_id = "user_applications_delete_any", tag = "User applications", params(("appId" = String, Path), Change), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let meta = caller.may(Permission::UserApplicationsAdmin)?;
    let expected = caller.if_match()?;
    let route = format!("administration/user-applications/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let decide = |given: &Given<'_>| plans::delete_credential(given, &caller.principal, id, Kind::UserApplication, expected);
    let done = caller.vault.execute(&command, decide).await?;
    Ok(gone(&done.views))
}
