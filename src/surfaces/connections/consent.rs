//! Consent: what a consumer allows an application to do with a connection. Each change is a record; none is ever changed.

use axum::body::Body;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::caller::{Caller, Named};
use super::error::{Errors, Problem};
use super::params::{Application, AsOfParam, Change, Consumer};
use super::render::{Envelope, answer, find};
use crate::credentials::connection::{Command, Connection, Consent};
use crate::kernel::{Json, Permission, Refusal};
use crate::vault::plans;
use crate::web::body::{Object, read_json};
use crate::web::limits::BODY;

/// What is consented to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateConsentRequest {
    /// Whether it is granted; denied or taken back otherwise, and then nothing is called or exchanged for the connection.
    granted: bool,
    /// `"*"`, or for each resource its fields with `read` and `write`.
    #[schema(value_type = Object)]
    resources: Resources,
}

/// `"*"`, or fields by resource.
#[derive(Serialize)]
#[serde(untagged)]
enum Resources {
    All(String),
    Some(BTreeMap<String, BTreeMap<String, Object<Access>>>),
}

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wrong = || D::Error::custom("is \"*\", or for each resource its fields with read and write");
        match Value::deserialize(from)? {
            Value::String(text) if text == "*" => Ok(Self::All(text)),
            Value::Object(members) => serde_json::from_value(Value::Object(members)).map(Self::Some).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Access to a field.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Access {
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<bool>,
}

/// A record of consent.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsentRecord)]
pub(super) struct ConsentView {
    /// Names it.
    #[schema(example = "con_0123456789abcdef0123456789abcdef")]
    id: String,
    /// When.
    #[schema(format = DateTime)]
    created_at: String,
    /// Whether it was granted.
    granted: bool,
    /// `"*"`, or fields by resource.
    #[schema(value_type = Object)]
    resources: Value,
}

impl From<&Consent> for ConsentView {
    fn from(consent: &Consent) -> Self {
        Self { id: consent.id.clone(), created_at: consent.at.to_string(), granted: consent.granted, resources: consent.resources.value() }
    }
}

/// The records of a connection, oldest first: the latest 64.
pub(super) fn records(live: &Connection) -> Vec<ConsentView> {
    live.extra.iter().flat_map(|extra| extra.consents.iter().map(ConsentView::from)).collect()
}

/// The vendor's word for where consent stands.
pub(super) fn state(live: &Connection) -> &'static str {
    let consents = live.extra.as_ref().map_or(&[][..], |extra| &extra.consents);
    match consents.split_last() {
        None => "implicit",
        Some((last, _)) if last.granted => "granted",
        Some((_, earlier)) if earlier.iter().any(|consent| consent.granted) => "revoked",
        Some(_) => "denied",
    }
}

/// List the records of consent
///
/// Oldest first; the latest 64. All of them stand in the audit log.
#[utoipa::path(get, path = "/vault/connections/{unified_api}/{service_id}/consent", operation_id = "consent_list", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), AsOfParam), responses((status = 200, body = Envelope<Vec<ConsentView>>), Errors))]
pub(super) async fn list(caller: Caller, Named((api, service)): Named<(String, String)>) -> Result<Response, Problem> {
    caller.may(Permission::ConnectionsRead)?;
    let key = caller.key(api, service)?;
    let views = caller.views().await?;
    let (live, _) = find(&views, caller.principal.tenant, &key).ok_or(Refusal::NotFound)?;
    Ok(answer(&views, records(live)))
}

/// Grant, deny or take back consent
///
/// Adds a record; the same as the latest one adds none.
#[utoipa::path(patch, path = "/vault/connections/{unified_api}/{service_id}/consent", operation_id = "consent_update", tag = "Connections", params(Application, Consumer, ("unified_api" = String, Path, example = "crm"), ("service_id" = String, Path, example = "pipedrive"), Change), request_body = UpdateConsentRequest, responses((status = 200, body = Envelope<ConsentView>), Errors))]
pub(super) async fn update(caller: Caller, Named((api, service)): Named<(String, String)>, body: Body) -> Result<Response, Problem> {
    let meta = caller.may(Permission::ConnectionsWrite)?;
    let key = caller.key(api, service)?;
    let expected = caller.if_match()?;
    let given: UpdateConsentRequest = read_json(body, BODY).await?.ok_or_else(|| Problem::invalid("granted: is required"))?;
    let resources = serde_json::to_value(&given.resources).map_err(|_| Problem::invalid("resources: cannot be written"))?;
    let (resources, granted, tenant) = (Json::from(&resources), given.granted, caller.principal.tenant);
    let (route, request) =
        (format!("consent/{}/{}/{}/{}", key.app, key.consumer, key.unified_api, key.service_id), [resources.text().as_bytes(), &[u8::from(granted)]]);
    let command = caller.command(meta, &route, &request)?;
    let done = caller.vault.execute(&command, |given| {
        super::handlers::check(given, tenant, &key, expected)?;
        let connection = given.views.connection(tenant, &key).ok_or(Refusal::NotFound)?;
        let id = format!("con_{}", given.fresh());
        plans::on_connection(given, connection, Command::Consent { id, granted, resources: resources.clone() })
    });
    let done = done.await?;
    let (live, _) = find(&done.views, tenant, &key).ok_or(Refusal::NotFound)?;
    let last = live.extra.as_ref().and_then(|extra| extra.consents.last()).ok_or(Refusal::NotFound)?;
    Ok(answer(&done.views, ConsentView::from(last)))
}
