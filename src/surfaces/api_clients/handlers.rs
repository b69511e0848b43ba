//! API clients, in the order of their life.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::caller::{Caller, Id};
use super::error::{Errors, Problem};
use super::params::{AsOfParam, Change, Repeatable};
use super::render::{ClientView, Created, Rotated, answer, client, done, find, oauth_client_id, tagged, text};
use super::wire::{ClientInput, Rotation};
use crate::credentials::{Kind, Meta};
use crate::kernel::{Permission, Refusal, Secret, StreamId};
use crate::vault::{Given, VaultError, plans};
use crate::web::body::{bytes, parse};
use crate::web::limits::BODY;

/// Create an API client
///
/// It draws both secrets; a single GET shows them to whoever may see them. Needs `api-clients:write`, and all that the roles permit.
#[utoipa::path(post, path = "/local-user-store/api/v1/api-clients", operation_id = "api_clients_create", tag = "API clients", params(Repeatable), request_body = ClientInput, responses((status = 201, body = Created), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiClientsWrite)?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::missing("name"))?;
    let input: ClientInput = parse(&bytes)?;
    let roles = input.roles()?;
    let request = [bytes.as_slice()];
    let command = caller.command(meta, "api-clients/create", &request)?;
    let decide = |given: &Given<'_>| plans::create_api_client(given, &caller.principal, input.name.clone(), roles.clone()).map(|(plan, _, _)| plan);
    let made = caller.vault.execute(&command, decide).await?;
    let (first, _) = made.events.ok_or(Refusal::NotFound)?;
    let (id, entry) = made.views.numbered(caller.principal.tenant, Kind::ApiClient, first).ok_or(Refusal::NotFound)?;
    let version = entry.content_version;
    Ok(tagged(answer(StatusCode::CREATED, &made.views, &Created { id: id.uuid() }), version))
}

/// Get an API client
///
/// Both secrets are shown to a caller that holds `api-clients:reveal` and all that the client may do, after an event that says so; to all
/// others, and of the past, they are masked. Needs `api-clients:read`.
#[utoipa::path(get, path = "/local-user-store/api/v1/api-clients/{api_client_id}", operation_id = "api_clients_get", tag = "API clients", params(("api_client_id" = String, Path), AsOfParam), responses((status = 200, body = ClientView), Errors))]
pub(super) async fn get(caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiClientsRead)?;
    let tenant = caller.principal.tenant;
    let mut views = caller.views().await?;
    find(&views, tenant, id).ok_or(Refusal::NotFound)?;
    let mut revealed = Vec::new();
    if !caller.asks_for_the_past() {
        revealed = reveal(&caller, meta, id).await?;
        views = caller.vault.views();
    }
    let (live, version) = find(&views, tenant, id).ok_or(Refusal::NotFound)?;
    Ok(tagged(answer(StatusCode::OK, &views, &client(&views, tenant, id, live, &revealed)), version))
}

/// The secrets, where the caller may see them; none where it may not.
async fn reveal(caller: &Caller, meta: Meta, id: StreamId) -> Result<Vec<Secret>, Problem> {
    if !caller.principal.held().holds(Permission::ApiClientsReveal) {
        return Ok(Vec::new());
    }
    match caller.vault.reveal_client(&caller.principal, meta, id).await {
        Ok(shown) => Ok(shown.into_iter().map(|shown| shown.value).collect()),
        Err(VaultError::Refused(Refusal::Forbidden { .. })) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Update an API client
///
/// Name and roles become those of the body; all else in it is passed over, so that what a GET gave may be sent back. Needs `api-clients:write`,
/// and all that the client may do, before and after.
#[utoipa::path(put, path = "/local-user-store/api/v1/api-clients/{api_client_id}", operation_id = "api_clients_update", tag = "API clients", params(("api_client_id" = String, Path), Change), request_body = ClientInput, responses((status = 200, description = "Done"), Errors))]
pub(super) async fn update(caller: Caller, Id(id): Id, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiClientsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::missing("name"))?;
    let input: ClientInput = parse(&bytes)?;
    let roles = input.roles()?;
    let (route, request) = (format!("api-clients/update/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let decide = |given: &Given<'_>| plans::update_api_client(given, &caller.principal, id, (Some(input.name.clone()), Some(roles.clone())), expected);
    let changed = caller.vault.execute(&command, decide).await?;
    let (_, version) = find(&changed.views, caller.principal.tenant, id).ok_or(Refusal::NotFound)?;
    Ok(tagged(done(&changed.views), version))
}

/// Delete an API client
///
/// Its secrets and access tokens end at once. Needs `api-clients:write`, and all that the client may do.
#[utoipa::path(delete, path = "/local-user-store/api/v1/api-clients/{api_client_id}", operation_id = "api_clients_delete", tag = "API clients", params(("api_client_id" = String, Path), Change), responses((status = 200, description = "Done"), Errors))]
pub(super) async fn delete(caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiClientsWrite)?;
    let expected = caller.if_match()?;
    let route = format!("api-clients/delete/{id}");
    let command = caller.command(meta, &route, &[])?;
    let decide = |given: &Given<'_>| plans::delete_credential(given, &caller.principal, id, Kind::ApiClient, expected);
    let gone = caller.vault.execute(&command, decide).await?;
    Ok(done(&gone.views))
}

/// Rotate an API client's secrets
///
/// Both, at once. The vendor has no such route. Access tokens end with the secrets that they were given for. Needs `api-clients:write`, and all
/// that the client may do.
#[utoipa::path(post, path = "/local-user-store/api/v1/api-clients/{api_client_id}/rotate", operation_id = "api_clients_rotate", tag = "API clients", params(("api_client_id" = String, Path), Change), request_body = Option<Rotation>, responses((status = 200, body = Rotated), Errors))]
pub(super) async fn rotate(caller: Caller, Id(id): Id, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiClientsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.unwrap_or_default();
    let rotation: Rotation = if bytes.is_empty() { Rotation::default() } else { parse(&bytes)? };
    let (route, request) = (format!("api-clients/rotate/{id}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let mut drawn = Vec::new();
    let decide = |given: &Given<'_>| {
        find(given.views, caller.principal.tenant, id).ok_or(Refusal::NotFound)?;
        let (plan, new) = plans::rotate(given, &caller.principal, id, rotation.grace_seconds, expected)?;
        drawn = new;
        Ok(plan)
    };
    let rotated = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&rotated, drawn).await?;
    let [secret, oauth_client_secret] = values.as_slice() else { return Err(Refusal::NotFound.into()) };
    let shown = Rotated { id: id.uuid(), secret: text(secret), oauth_client_id: oauth_client_id(id), oauth_client_secret: text(oauth_client_secret) };
    let response = answer(StatusCode::OK, &rotated.views, &shown);
    let version = find(&rotated.views, caller.principal.tenant, id).map(|(_, version)| version);
    Ok(match version {
        Some(version) => tagged(response, version),
        None => response,
    })
}
