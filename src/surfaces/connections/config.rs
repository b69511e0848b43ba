//! Defaults of one resource, as a consumer sets them.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::caller::{Caller, Named};
use super::error::{Errors, Problem};
use super::handlers::{check, read_known};
use super::params::{Application, AsOfParam, Change, Consumer};
use super::render::{ConnectionView, Envelope, configured, find};
use super::wire::ConnectionInput;
use crate::credentials::connection::Changes;
use crate::kernel::{Json, Permission, Refusal};
use crate::vault::{Given, plans};
use crate::web::limits::BODY;

/// API family, service and resource.
type Resource = Named<(String, String, String)>;

/// The defaults of all other resources, and then these.
fn merged(before: Option<&Json>, resource: &str, given: &[Map<String, Value>]) -> Json {
    let others = before.map(Json::value).and_then(|value| value.as_array().cloned()).unwrap_or_default();
    let others = others.into_iter().filter(|one| one.get("resource").and_then(Value::as_str) != Some(resource));
    let all: Vec<Value> = others.chain(given.iter().cloned().map(Value::Object)).collect();
    Json::from(&Value::Array(all))
}

/// Get the defaults of a resource
///
/// The connection, with `configuration` of this resource only.
#[utoipa::path(get, path = "/vault/connections/{unified_api}/{service_id}/{resource}/config", operation_id = "connection_settings_list", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), ("resource" = String, Path, example = "leads"), AsOfParam), responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn get(caller: Caller, Named((api, service, resource)): Resource) -> Result<Response, Problem> {
    caller.may(Permission::ConnectionsRead)?;
    let key = caller.key(api, service)?;
    let views = caller.views().await?;
    configured(&caller, &views, &key, Some(&resource)).ok_or_else(|| Refusal::NotFound.into())
}

/// Set the defaults of a resource
///
/// They take the place of those of before; those of other resources stay.
#[utoipa::path(patch, path = "/vault/connections/{unified_api}/{service_id}/{resource}/config", operation_id = "connection_settings_update", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), ("resource" = String, Path, example = "leads"), Change), request_body = ConnectionInput, responses((status = 200, body = Envelope<ConnectionView>), Errors))]
pub(super) async fn update(caller: Caller, Named((api, service, resource)): Resource, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsWrite)?;
    let key = caller.key(api, service)?;
    let expected = caller.if_match()?;
    let (input, bytes) = read_known::<ConnectionInput>(body, BODY).await?;
    let mut given = input.and_then(ConnectionInput::configuration).ok_or_else(|| Problem::invalid("configuration: is required"))?;
    for one in &mut given {
        if one.entry("resource").or_insert_with(|| json!(resource)) != &json!(resource) {
            return Err(Problem::invalid("configuration: names another resource than the path"));
        }
    }
    let tenant = caller.principal.tenant;
    let route = format!("config/{}/{}/{}/{}/{resource}", key.app, key.consumer, key.unified_api, key.service_id);
    let request = [bytes.as_slice()];
    let command = caller.command(meta, &route, &request)?;
    let done = caller.vault.execute(&command, |at: &Given<'_>| {
        check(at, tenant, &key, expected)?;
        let (live, _) = find(at.views, tenant, &key).ok_or(Refusal::NotFound)?;
        let configuration = Some(Some(merged(live.configuration.as_ref(), &resource, &given)));
        plans::update(at, tenant, &key, Changes { configuration, ..Changes::default() })
    });
    configured(&caller, &done.await?.views, &key, Some(&resource)).ok_or_else(|| Refusal::NotFound.into())
}
