//! Connectors: the services that connections lead to, as data.

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::{Caller, Named, answer};
use crate::credentials::connector::Connector;
use crate::kernel::Permission;
use crate::kernel::{Position, Refusal, TenantId, Version};
use crate::vault::{Given, plans};
use crate::views::Views;
use crate::web::body::{bytes, parse, to_value_json};
use crate::web::caller::etag;
use crate::web::limits::BODY;
use crate::web::problem::{Errors, Problem};

/// A connector, and whose it is.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectorEntry {
    /// Whether it ships with the vault; a tenant's own one lies over it.
    shipped: bool,
    /// Its content version: 0 in the eyes of a tenant that only sees the shipped one.
    version: u64,
    /// The connector.
    connector: Connector,
}

/// All connectors that the tenant sees.
#[derive(Serialize, ToSchema)]
pub(super) struct Connectors {
    /// By API family and service.
    data: Vec<ConnectorEntry>,
    /// The position that the answer reflects.
    position: u64,
}

/// What is looked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters that `Caller::params` reads")]
pub(super) struct Wanted {
    /// Only of this API family, such as `crm`.
    unified_api: Option<String>,
}

fn entry(views: &Views, tenant: TenantId, api: &str, service: &str) -> Option<ConnectorEntry> {
    let (id, connector) = views.connector(tenant, api, service)?;
    let entry = views.thing(id)?;
    let shipped = entry.tenant != tenant;
    Some(ConnectorEntry { shipped, version: if shipped { 0 } else { entry.content_version.0 }, connector: connector.clone() })
}

fn one(views: &Views, tenant: TenantId, api: &str, service: &str, position: Position) -> Result<Response, Problem> {
    let entry = entry(views, tenant, api, service).ok_or(Refusal::NotFound)?;
    let mut response = answer(position, &entry);
    response.headers_mut().insert(header::ETAG, etag(Version(entry.version)));
    Ok(response)
}

/// List connectors
///
/// Needs `connectors:read`.
#[utoipa::path(get, path = "/v1/connectors", operation_id = "connectors_list", tag = "Connectors", params(Wanted, super::log::AsOfParams), responses((status = 200, body = Connectors), Errors))]
pub(super) async fn list(caller: Caller) -> Result<Response, Problem> {
    caller.may(Permission::ConnectorsRead)?;
    let params = caller.params(&["unified_api"])?;
    let (views, tenant) = (caller.views(&params).await?, caller.principal.tenant);
    let wanted = views.connectors(tenant).filter(|connector| params.get("unified_api").is_none_or(|api| api == connector.unified_api));
    let data = wanted.filter_map(|connector| entry(&views, tenant, &connector.unified_api, &connector.service_id)).collect();
    Ok(answer(views.position(), &Connectors { data, position: views.position().0 }))
}

/// Get a connector
///
/// Needs `connectors:read`.
#[utoipa::path(get, path = "/v1/connectors/{unified_api}/{service_id}", operation_id = "connectors_get", tag = "Connectors", params(("unified_api" = String, Path), ("service_id" = String, Path), super::log::AsOfParams), responses((status = 200, body = ConnectorEntry), Errors))]
pub(super) async fn get(caller: Caller, Named((api, service)): Named<(String, String)>) -> Result<Response, Problem> {
    caller.may(Permission::ConnectorsRead)?;
    let views = caller.views(&caller.params(&[])?).await?;
    one(&views, caller.principal.tenant, &api, &service, views.position())
}

/// Add or change a connector
///
/// The tenant's own one: it lies over a shipped one of the same name. The body is the whole connector; `unified_api` and `service_id` may be
/// left out, since the path names them. Needs `connectors:write`.
#[utoipa::path(put, path = "/v1/connectors/{unified_api}/{service_id}", operation_id = "connectors_put", tag = "Connectors", params(super::caller::Change, ("unified_api" = String, Path), ("service_id" = String, Path)), request_body = Connector, responses((status = 200, body = ConnectorEntry), Errors))]
pub(super) async fn put(caller: Caller, Named((api, service)): Named<(String, String)>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectorsWrite)?;
    let expected = caller.if_match()?;
    let bytes = bytes(body, BODY).await?.ok_or_else(|| Problem::invalid("a body is needed"))?;
    let connector = read(&bytes, &api, &service)?;
    let tenant = caller.principal.tenant;
    let (route, request) = (format!("connectors/put/{api}/{service}"), [bytes.as_slice()]);
    let command = caller.command(meta, &route, &request)?;
    let decide = |given: &Given<'_>| {
        let actual = Version(entry(given.views, tenant, &api, &service).map_or(0, |entry| entry.version));
        if expected.is_some_and(|expected| expected != actual) {
            return Err(Refusal::Conflict { actual });
        }
        plans::put_connector(given, tenant, connector.clone())
    };
    let done = caller.vault.execute(&command, decide).await?;
    one(&done.views, tenant, &api, &service, done.views.position())
}

/// The body, with what the path says filled in.
fn read(bytes: &[u8], api: &str, service: &str) -> Result<Connector, Problem> {
    let mut json = to_value_json(bytes)?;
    if let Some(members) = json.as_object_mut() {
        for (name, value) in [("unified_api", api), ("service_id", service)] {
            let given = members.entry(name).or_insert_with(|| value.into());
            if given.as_str() != Some(value) {
                return Err(Problem::invalid("the body names another connector than the path").at(name, "is not what the path says"));
            }
        }
    }
    Ok(parse(json.to_string().as_bytes())?)
}
