//! Integrations: what the tenant supplies for all connections to a service, such as its one OAuth client.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Change, Named, answer};
use super::events::Events;
use super::gone;
use super::listing::{self, Page, Paged};
use crate::credentials::integration::{Integration, State, standing};
use crate::credentials::settings::{GivenSettings, MASK};
use crate::credentials::{AnyState, Kind};
use crate::kernel::{Json, Permission, Refusal, StreamId, TenantId};
use crate::vault::{Answer, Given, plans};
use crate::views::{Entry, Views};
use crate::web::body::{bytes, parse};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// API family and service.
type Service = Named<(String, String)>;

/// What a tenant supplies for all connections to a service.
#[derive(Serialize, ToSchema)]
#[schema(as = Integration)]
pub(super) struct IntegrationView {
    /// Its id, under which its secrets are revealed.
    id: String,
    /// The API family.
    #[schema(example = "crm")]
    unified_api: String,
    /// The service.
    #[schema(example = "pipedrive")]
    service_id: String,
    /// The service's name.
    #[schema(example = "Pipedrive")]
    name: String,
    /// Whether connections to the service may be authorized and exchanged.
    enabled: bool,
    /// `disabled`, `needs_configuration` while nobody but a connection itself could say as which OAuth client tokens are asked for, or `configured`.
    #[schema(example = "configured")]
    state: &'static str,
    /// What is supplied; of a secret the mask, which changes nothing when it is sent back.
    #[schema(value_type = Object, example = json!({"client_id": "an id", "client_secret": "••••••••••••"}))]
    settings: BTreeMap<String, Value>,
    /// Since when.
    #[schema(format = DateTime)]
    created_at: String,
    /// The latest change.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Of its latest change: what its `ETag` shows.
    content_version: u64,
}

/// The whole of what is supplied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewIntegration {
    /// Whether connections to the service may be authorized and exchanged; true when absent.
    enabled: Option<bool>,
    /// Form fields of the service by id; a mask keeps the secret that is there.
    #[schema(value_type = Object, example = json!({"client_id": "an id", "client_secret": "a secret"}))]
    #[serde(default)]
    settings: BTreeMap<String, Value>,
}

/// What changes; absent parts stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IntegrationChanges {
    /// Whether connections to the service may be authorized and exchanged.
    enabled: Option<bool>,
    /// Form fields of the service by id; those not named stay, `null` removes one, a mask changes nothing.
    #[schema(value_type = Object, example = json!({"client_secret": "another secret"}))]
    #[serde(default)]
    settings: BTreeMap<String, Value>,
}

/// Which integrations.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Wanted {
    /// Only of this API family, such as `crm`.
    unified_api: Option<String>,
}

fn given(settings: &BTreeMap<String, Value>) -> GivenSettings {
    settings.iter().map(|(id, value)| (id.clone(), Some(value.clone()).filter(|value| !value.is_null()))).collect()
}

fn view(views: &Views, id: StreamId, entry: &Entry) -> Option<IntegrationView> {
    let AnyState::Integration(State::Live(live)) = &entry.state else { return None };
    let Integration { unified_api, service_id, enabled, settings, sealed, created_at, updated_at } = &**live;
    let (_, connector) = views.connector(entry.tenant, unified_api, service_id)?;
    let masks = sealed.keys().map(|id| (id.clone(), Value::from(MASK)));
    Some(IntegrationView {
        id: id.to_string(),
        unified_api: unified_api.clone(),
        service_id: service_id.clone(),
        name: connector.name.clone(),
        enabled: *enabled,
        state: standing(Some(live), connector, None).name(),
        settings: settings.iter().map(|(id, value)| (id.clone(), Json::value(value))).chain(masks).collect(),
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
        content_version: entry.content_version.0,
    })
}

fn one(views: &Views, tenant: TenantId, api: &str, service: &str) -> Result<Response, Problem> {
    let (id, _) = views.integration(tenant, api, service).ok_or(Refusal::NotFound)?;
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let mut response = answer(views.position(), &view(views, id, entry).ok_or(Refusal::NotFound)?);
    response.headers_mut().insert(header::ETAG, etag(entry.content_version));
    Ok(response)
}

/// List integrations
///
/// Needs `integrations:read`.
#[utoipa::path(get, path = "/v1/integrations", operation_id = "integrations_list", tag = "Integrations", params(Wanted, Paged, super::log::AsOfParams), responses((status = 200, body = Page<IntegrationView>), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::IntegrationsRead)?;
    let params = caller.params(&["unified_api", "limit", "cursor"])?;
    let wanted = |shown: &IntegrationView| params.get("unified_api").is_none_or(|api| api == shown.unified_api);
    listing::list(&caller, &params, Kind::Integration, |views, id, entry| view(views, id, entry).filter(wanted)).await
}

/// Get an integration
///
/// Its secrets as masks. Needs `integrations:read`.
#[utoipa::path(get, path = "/v1/integrations/{unified_api}/{service_id}", operation_id = "integrations_get", tag = "Integrations", params(("unified_api" = String, Path), ("service_id" = String, Path), super::log::AsOfParams), responses((status = 200, body = IntegrationView), Errors))]
pub(super) async fn get(caller: Caller, Named((api, service)): Service) -> Result<Response, Problem> {
    caller.may(Permission::IntegrationsRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    one(&views, caller.principal.tenant, &api, &service)
}

/// Get an integration's history
///
/// All events of the present one, or of the last one where it was deleted, newest first. Needs `history:read`.
#[utoipa::path(get, path = "/v1/integrations/{unified_api}/{service_id}/history", operation_id = "integrations_history", tag = "Integrations", params(("unified_api" = String, Path), ("service_id" = String, Path), Paged, super::log::AsOfParams), responses((status = 200, body = Events), Errors))]
pub(super) async fn history(caller: Caller, Named((api, service)): Service) -> Result<Response, Problem> {
    caller.may(Permission::HistoryRead)?;
    let views = caller.views(&caller.params(&["limit", "cursor"])?).await?;
    let id = views.latest_integration(caller.principal.tenant, &api, &service).ok_or(Refusal::NotFound)?;
    listing::history(&caller, &id.to_string(), Kind::Integration).await
}

/// Create or replace an integration
///
/// With all that the tenant supplies: any of the service's form fields. What is not named goes; a mask keeps the secret that is there. A
/// connection's own value lies over it. Needs `integrations:write`.
#[utoipa::path(put, path = "/v1/integrations/{unified_api}/{service_id}", operation_id = "integrations_put", tag = "Integrations", params(Change, ("unified_api" = String, Path), ("service_id" = String, Path)), request_body = NewIntegration, responses((status = 200, body = IntegrationView), Errors))]
pub(super) async fn put(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::IntegrationsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let new: NewIntegration = parse(&bytes)?;
    let tenant = caller.principal.tenant;
    let (route, parts) = (format!("integrations/put/{api}/{service}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let decide = |at: &Given<'_>| {
        let whole = (new.enabled.unwrap_or(true), given(&new.settings));
        plans::put_integration(at, &caller.principal, (&api, &service), whole, expected)
    };
    changed(&caller.vault.execute(&command, decide).await?, tenant, &api, &service)
}

/// Update an integration
///
/// In parts, and makes it first where there is none. Connections use what it supplies from their next exchange on. Needs `integrations:write`.
#[utoipa::path(patch, path = "/v1/integrations/{unified_api}/{service_id}", operation_id = "integrations_update", tag = "Integrations", params(Change, ("unified_api" = String, Path), ("service_id" = String, Path)), request_body = IntegrationChanges, responses((status = 200, body = IntegrationView), Errors))]
pub(super) async fn update(caller: Caller, Named((api, service)): Service, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::IntegrationsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let changes: IntegrationChanges = parse(&bytes)?;
    let tenant = caller.principal.tenant;
    let (route, parts) = (format!("integrations/update/{api}/{service}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &parts)?;
    let decide = |at: &Given<'_>| {
        let parts = (changes.enabled, given(&changes.settings));
        plans::update_integration(at, &caller.principal, (&api, &service), parts, expected)
    };
    changed(&caller.vault.execute(&command, decide).await?, tenant, &api, &service)
}

fn changed(done: &Answer, tenant: TenantId, api: &str, service: &str) -> Result<Response, Problem> {
    one(&done.views, tenant, api, service)
}

/// Delete an integration
///
/// Connections keep their tokens and what is their own. Needs `integrations:write`.
#[utoipa::path(delete, path = "/v1/integrations/{unified_api}/{service_id}", operation_id = "integrations_delete", tag = "Integrations", params(Change, ("unified_api" = String, Path), ("service_id" = String, Path)), responses((status = 204, description = "Deleted"), Errors))]
pub(super) async fn delete(caller: Caller, Named((api, service)): Service) -> Result<Response, Problem> {
    let meta = caller.may(Permission::IntegrationsWrite)?;
    let expected = caller.if_match()?;
    let route = format!("integrations/delete/{api}/{service}");
    let command = caller.command(meta, &route, &[])?;
    let done = caller.vault.execute(&command, |at: &Given<'_>| plans::delete_integration(at, &caller.principal, (&api, &service), expected)).await?;
    Ok(gone(&done))
}
