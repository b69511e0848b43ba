//! Connections, in the order of their life.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::caller::{Caller, Named};
use super::error::{Errors, Problem};
use super::params::{Application, AsOfParam, Change, Consumer, ConsumerIfAny, Listed, Repeatable};
use super::render::{ConnectionView, Envelope, ValidateState, answer, configured, connection, find, links, validated};
use super::wire::{ConnectionImport, ConnectionInput, Nothing};
use crate::credentials::connection::{self as kind, Changes, Connection, Key, Tokens};
use crate::credentials::connector::{AuthType, Connector, GrantType};
use crate::credentials::{AnyEvent, Meta};
use crate::kernel::Permission;
use crate::kernel::{Plan, Refusal, Version};
use crate::oauth::{Landed, Wanted, What};
use crate::vault::{Given, VaultError, plans};
use crate::web::body::{bytes, parse, read_json};
use crate::web::limits::{BODY, BODY_IMPORT};

/// API family and service.
type Service = Named<(String, String)>;

/// List connections
///
/// The catalog, with the consumer's records in it.
#[utoipa::path(get, path = "/vault/connections", operation_id = "connections_list", tag = "Connections", params(Application, ConsumerIfAny, Listed, AsOfParam), responses((status = 200, body = Envelope<Vec<ConnectionView>>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ConnectionsRead)?;
    let (api, configured) = (caller.query("api"), caller.query_flag("configured")?);
    let views = caller.views().await?;
    let tenant = caller.principal.tenant;
    let asked = |connector: &&Connector| api.as_ref().is_none_or(|api| *api == connector.unified_api) && caller.sees(&connector.unified_api);
    let wanted = views.connectors(tenant).filter(asked);
    let rows = wanted.filter_map(|connector| {
        let key = caller.consumer_if_given().map(|consumer| Key {
            app: caller.app.clone(),
            consumer: consumer.to_owned(),
            unified_api: connector.unified_api.clone(),
            service_id: connector.service_id.clone(),
        });
        let live = key.as_ref().and_then(|key| find(&views, tenant, key)).map(|(live, _)| live);
        let links = key.map(|key| links(&caller, connector, live, &key)).unwrap_or_default();
        configured.is_none_or(|configured| configured == live.is_some()).then(|| connection(&views, tenant, connector, live, links))
    });
    let rows: Vec<ConnectionView> = rows.collect();
    Ok(answer(&views, rows))
}

/// Get a connection
#[utoipa::path(get, path = "/vault/connections/{unified_api}/{service_id}", operation_id = "connections_get", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), AsOfParam), responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn get(caller: Caller, Named((api, service)): Service) -> Result<Response, Problem> {
    caller.may(Permission::ConnectionsRead)?;
    let key = caller.key(api, service)?;
    let views = caller.views().await?;
    configured(&caller, &views, &key, None).ok_or_else(|| Refusal::NotFound.into())
}

/// Create a connection
///
/// Or change it, where there is one: the same as `PATCH`.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}", operation_id = "connections_create", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Change), request_body = ConnectionInput, responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn create(caller: Caller, named: Service, body: Body) -> Result<Response, Problem> {
    update(caller, named, body).await
}

/// Update a connection
///
/// Changes the record, and makes it first where there is none.
#[utoipa::path(patch, path = "/vault/connections/{unified_api}/{service_id}", operation_id = "connections_update", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Change), request_body = ConnectionInput, responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn update(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsWrite)?;
    let key = caller.key(api, service)?;
    let expected = caller.if_match()?;
    let (changes, bytes) = read_known::<ConnectionInput>(body, BODY).await?;
    let changes = Changes::from(changes.unwrap_or_default());
    if changes.enabled == Some(false) {
        caller.may_act("disable")?;
    }
    let tenant = caller.principal.tenant;
    let (route, request) = (route("update", &key), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let decide = |given: &Given<'_>| {
        check(given, tenant, &key, expected)?;
        plans::update(given, tenant, &key, changes.clone())
    };
    let done = caller.vault.execute(&command, decide).await?;
    configured(&caller, &done.views, &key, None).ok_or_else(|| Refusal::NotFound.into())
}

/// Import a connection
///
/// Tokens and settings come from elsewhere; the consumer is made if need be. Answered with 200: the vendor's clients take 201 for an error.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}/import", operation_id = "connections_import", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Change), request_body = ConnectionImport, responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn import(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    caller.no_session()?;
    let meta = caller.may(Permission::ConnectionsWrite)?;
    let key = caller.key(api, service)?;
    let expected = caller.if_match()?;
    let (import, bytes) = read_known::<ConnectionImport>(body, BODY_IMPORT).await?;
    let (tokens, changes) = import.unwrap_or_default().parts(caller.vault.now())?;
    let tenant = caller.principal.tenant;
    let (route, request) = (route("import", &key), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let decide = |given: &Given<'_>| {
        check(given, tenant, &key, expected)?;
        plans::import(given, tenant, &key, again(&tokens), changes.clone())
    };
    let done = caller.vault.execute(&command, decide).await?;
    configured(&caller, &done.views, &key, None).ok_or_else(|| Refusal::NotFound.into())
}

/// Validate a connection
///
/// Whether the entered credentials are complete. Tokens are renewed, whatever their expiry: what the service refuses is 401, what could not be
/// asked is 422, both with the cause.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}/validate", operation_id = "connections_validate", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Repeatable), request_body = Option<Nothing>, responses((status = 200, body = Envelope<ValidateState>), Errors))]
pub(super) async fn validate(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsExchange)?;
    let key = caller.key(api, service)?;
    read_json::<serde_json::Map<String, Value>>(body, BODY).await?;
    let tenant = caller.principal.tenant;
    if let Some(renewed) = renewed(&caller, &meta, &key).await {
        renewed?;
        return validated(&caller.vault.views(), tenant, &key).ok_or_else(|| Refusal::NotFound.into());
    }
    let route = route("validate", &key);
    let command = caller.command(meta, &route, &[])?;
    let decide = |given: &Given<'_>| -> Result<Plan<AnyEvent>, Refusal> {
        given.views.connection(tenant, &key).ok_or(Refusal::NotFound)?;
        plans::upsert(given, tenant, &key, kind::Command::Validate)
    };
    let done = caller.vault.execute(&command, decide).await?;
    validated(&done.views, tenant, &key).ok_or_else(|| Refusal::NotFound.into())
}

/// Renews the tokens of a connection that has some and can; `None` when there is nothing to renew.
async fn renewed(caller: &Caller, meta: &Meta, key: &Key) -> Option<Result<(), Problem>> {
    let (views, tenant) = (caller.vault.views(), caller.principal.tenant);
    let connection = views.connection(tenant, key)?;
    let (live, _) = find(&views, tenant, key)?;
    let (_, connector) = views.connector(tenant, &key.unified_api, &key.service_id)?;
    if !renews(connector, live) {
        return None;
    }
    let idempotency = match caller.idempotency_key() {
        Ok(given) => given.map(|given| (route("validate", key), given.to_owned())),
        Err(fault) => return Some(Err(fault.into())),
    };
    let wanted = Wanted { principal: caller.principal.clone(), meta: meta.clone(), idempotency, connection, what: What::Renew };
    Some(match caller.exchanges.exchange(wanted).await {
        Landed::Stored { .. } => Ok(()),
        Landed::Failed { cause, status } => {
            let views = caller.vault.views();
            let drops_at = find(&views, tenant, key).and_then(|(live, _)| live.drops_at()).map(crate::kernel::Moment::millis);
            Err(Problem::not_renewed(&cause, status, drops_at))
        }
        // What a renewal lacks, such as the client's secret, is told by the state.
        Landed::Vault(error) if matches!(*error, VaultError::Refused(Refusal::InvalidState(_))) => return None,
        Landed::Vault(error) => Err(Problem::from(&*error)),
    })
}

fn renews(connector: &Connector, live: &Connection) -> bool {
    let begins = connector.oauth.as_ref().is_some_and(|oauth| oauth.grant != GrantType::AuthorizationCode);
    connector.auth_type == AuthType::Oauth2 && (live.refresh.is_some() || (begins && live.access.is_some()))
}

/// Exchange a connection's settings for tokens
///
/// For `client_credentials` and `password`. The tokens are stored and never in the answer. Whoever asks while an exchange is under way gets its
/// result. What the service refuses is 401; what cannot be exchanged, or was not reached, is 422; both with the cause.
#[utoipa::path(post, path = "/vault/connections/{unified_api}/{service_id}/token", operation_id = "connections_token", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Repeatable), request_body = Option<Nothing>, responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn token(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsExchange)?;
    let key = caller.key(api, service)?;
    read_json::<Nothing>(body, BODY).await?;
    let tenant = caller.principal.tenant;
    let connection = caller.vault.views().connection(tenant, &key).ok_or(Refusal::NotFound)?;
    let idempotency = caller.idempotency_key()?.map(|given| (route("token", &key), given.to_owned()));
    let landed = caller.exchanges.exchange(Wanted { principal: caller.principal.clone(), meta, idempotency, connection, what: What::Begin }).await;
    match landed {
        Landed::Stored { .. } => configured(&caller, &caller.vault.views(), &key, None).ok_or_else(|| Refusal::NotFound.into()),
        Landed::Failed { cause, status } => Err(Problem::exchange_failed(cause, status)),
        Landed::Vault(error) => Err(Problem::from(&*error)),
    }
}

/// Delete a connection
///
/// 204 and nothing else. `as_of` still shows it.
#[utoipa::path(delete, path = "/vault/connections/{unified_api}/{service_id}", operation_id = "connections_delete", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Change), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named((api, service)): Service) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsWrite)?;
    caller.may_act("delete")?;
    let key = caller.key(api, service)?;
    let expected = caller.if_match()?;
    let tenant = caller.principal.tenant;
    let route = route("delete", &key);
    let command = caller.command(meta, &route, &[])?;
    let decide = |given: &Given<'_>| {
        check(given, tenant, &key, expected)?;
        plans::delete_connection(given, tenant, &key)
    };
    let done = caller.vault.execute(&command, decide).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert("keyledger-position", HeaderValue::from(done.views.position().0));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Reads a body and keeps its bytes, by which one request is told from another under the same idempotency key.
pub(super) async fn read_known<T: serde::de::DeserializeOwned>(body: Body, limit: usize) -> Result<(Option<T>, zeroize::Zeroizing<Vec<u8>>), Problem> {
    let Some(bytes) = bytes(body, limit).await? else { return Ok((None, zeroize::Zeroizing::default())) };
    let parsed = parse(&bytes)?;
    Ok((Some(parsed), bytes))
}

fn route(verb: &str, key: &Key) -> String {
    format!("connections/{verb}/{}/{}/{}/{}", key.app, key.consumer, key.unified_api, key.service_id)
}

/// The caller decided on the version that it has seen.
pub(super) fn check(given: &Given<'_>, tenant: crate::kernel::TenantId, key: &Key, expected: Option<Version>) -> Result<(), Refusal> {
    let actual = find(given.views, tenant, key).map_or(Version::ZERO, |(_, version)| version);
    match expected {
        Some(expected) if expected != actual => Err(Refusal::Conflict { actual }),
        _ => Ok(()),
    }
}

/// The same tokens for another try.
fn again(tokens: &Tokens) -> Tokens {
    Tokens {
        access: tokens.access.as_ref().map(crate::kernel::Secret::duplicate),
        refresh: tokens.refresh.as_ref().map(crate::kernel::Secret::duplicate),
        issued_at: tokens.issued_at,
        expires_at: tokens.expires_at,
        scope: tokens.scope.clone(),
    }
}
