//! API keys, in the order of their life.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::caller::{Caller, Number};
use super::error::{Errors, Problem};
use super::filter::Wanted;
use super::list;
use super::params::{Change, Listed, Repeatable};
use super::render::{ChangedView, KeyView, Lens, MadeView};
use super::wire::{KeyChanges, NewKey, organizations};
use crate::credentials::Kind;
use crate::kernel::{Permission, Refusal};
use crate::vault::{Answer, Given, plans};
use crate::web::body::{bytes, parse};
use crate::web::limits::BODY;

/// How a read looks at keys.
async fn lens(caller: &Caller) -> Result<Lens, Problem> {
    let views = caller.views().await?;
    Ok(Lens::new(views, caller.principal.tenant, &caller.vault, !caller.asks_for_the_past()))
}

/// How the answer to a change looks at keys; a repeated one as it did at first.
fn after(caller: &Caller, done: &Answer) -> Lens {
    Lens::new(Arc::clone(&done.views), caller.principal.tenant, &caller.vault, !done.repeated)
}

/// List API keys
///
/// All of the caller's tenant that are asked for, in the order in which they were made, without pages. Needs `api-keys:read`.
#[utoipa::path(get, path = "/api-keys", operation_id = "api_keys_list", tag = "API keys", params(Listed), responses((status = 200, body = Vec<KeyView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ApiKeysRead)?;
    let wanted = Wanted::of(&caller)?;
    let lens = lens(&caller).await?;
    let mut response = lens.bare(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let wanted = wanted.seen_through(&lens);
    *response.body_mut() = list::body(lens, wanted);
    Ok(response)
}

/// Get an API key
///
/// As an array of one; as an empty array if it is there and not what the filters ask for. Needs `api-keys:read`.
#[utoipa::path(get, path = "/api-keys/{id}", operation_id = "api_keys_get", tag = "API keys", params(("id" = u64, Path, example = 61), Listed), responses((status = 200, body = Vec<KeyView>), Errors))]
pub(super) async fn get(caller: Caller, number: Number) -> Result<Response, Problem> {
    caller.may(Permission::ApiKeysRead)?;
    let wanted = Wanted::of(&caller)?;
    let lens = lens(&caller).await?;
    let wanted = wanted.seen_through(&lens);
    let id = caller.key(&lens.views, number)?;
    let (key, entry) = lens.key(id)?;
    let found: Vec<KeyView> = wanted.takes(id, key).then(|| lens.listed(key, wanted.fields)).into_iter().collect();
    Ok(lens.tagged(StatusCode::OK, entry, &found))
}

/// Make an API key
///
/// `token.value` is shown here and never again. The key acts by its own permissions; it gives none that the caller lacks. Needs
/// `api-keys:write`.
#[utoipa::path(post, path = "/api-keys", operation_id = "api_keys_create", tag = "API keys", params(Repeatable), request_body = NewKey, responses((status = 201, body = MadeView), Errors))]
pub(super) async fn create(caller: Caller, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let bytes = needed(body).await?;
    let (grant, numbers) = parse::<NewKey>(&bytes)?.parts(&caller.principal.app_ids)?;
    let request = [bytes.as_slice()];
    let command = caller.command(meta, "api-keys/create", &request)?;
    let mut values = Vec::new();
    let decide = |given: &Given<'_>| {
        let mut grant = grant.clone();
        grant.organizations = organizations(given.views, caller.principal.tenant, &numbers)?;
        let (plan, _, new) = plans::create_api_key(given, &caller.principal, grant)?;
        values = new;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let values = caller.shown_once(&done, values).await?;
    let (first, _) = done.events.ok_or(Refusal::NotFound)?;
    let (id, _) = done.views.numbered(caller.principal.tenant, Kind::ApiKey, first).ok_or(Refusal::NotFound)?;
    let lens = after(&caller, &done);
    let (key, entry) = lens.left(id)?;
    let mut response = lens.tagged(StatusCode::CREATED, entry, &lens.made(key, values.first()));
    if let Ok(place) = HeaderValue::from_str(&format!("/api-keys/{first}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Change an API key
///
/// With `refreshApiToken: true` the answer shows a new `token.value`, and every earlier token stops at once; all changes come together or not at
/// all. Needs `api-keys:write`, and no key is changed that may do more than the caller.
#[utoipa::path(patch, path = "/api-keys/{id}", operation_id = "api_keys_update", tag = "API keys", params(("id" = u64, Path, example = 61), Change), request_body = KeyChanges, responses((status = 200, body = ChangedView), Errors))]
pub(super) async fn update(caller: Caller, number: Number, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let (route, expected) = (format!("api-keys/update/{}", number.0), caller.if_match()?);
    let bytes = needed(body).await?;
    let asked = parse::<KeyChanges>(&bytes)?;
    let refresh = asked.refresh_api_token;
    let (changes, numbers) = asked.parts()?;
    let id = caller.key(&caller.vault.views(), number)?;
    let request = [bytes.as_slice()];
    let command = caller.command(meta, &route, &request)?;
    let mut values = Vec::new();
    let decide = |given: &Given<'_>| {
        let mut changes = changes.clone();
        changes.organizations = numbers.as_ref().map(|numbers| organizations(given.views, caller.principal.tenant, numbers)).transpose()?;
        if !refresh {
            return plans::update_api_key(given, &caller.principal, id, changes, expected);
        }
        let (plan, new) = plans::refresh_api_key(given, &caller.principal, id, changes, expected)?;
        values = new;
        Ok(plan)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let values = if refresh { caller.shown_once(&done, values).await? } else { Vec::new() };
    let lens = after(&caller, &done);
    let (key, entry) = lens.left(id)?;
    Ok(lens.tagged(StatusCode::OK, entry, &lens.changed(id, key, values.first())))
}

/// Delete an API key
///
/// 200 and an empty body. It opens nothing from then on, its `dnsName` is free, and `as_of` still shows it. Needs `api-keys:write`, and no key is
/// deleted that may do more than the caller.
#[utoipa::path(delete, path = "/api-keys/{id}", operation_id = "api_keys_delete", tag = "API keys", params(("id" = u64, Path, example = 61), Change), responses((status = 200, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, number: Number) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ApiKeysWrite)?;
    let (route, expected) = (format!("api-keys/delete/{}", number.0), caller.if_match()?);
    let id = caller.key(&caller.vault.views(), number)?;
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |given| plans::delete_credential(given, &caller.principal, id, Kind::ApiKey, expected)).await?;
    Ok(after(&caller, &done).bare(StatusCode::OK))
}

/// The bytes of a body that must be there.
async fn needed(body: Body) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("the body is missing"))
}
