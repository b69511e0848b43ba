//! Answers as the vendor's clients read them: absent members are left out, times are numbers of milliseconds, secrets are masks.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::credentials::AnyState;
use crate::credentials::connection::{Connection, Key, MASK, Phase, State};
use crate::credentials::connector::{AuthType, Connector, FormField};
use crate::kernel::{TenantId, Version};
use crate::views::Views;
use crate::web::caller::etag;

/// `{status_code, status, data}` with the position that the answer reflects.
pub(super) fn answer(views: &Views, data: Value, more: Option<Map<String, Value>>) -> Response {
    let mut body = Map::from_iter([("status_code".to_owned(), json!(200)), ("status".to_owned(), json!("OK")), ("data".to_owned(), data)]);
    body.extend(more.unwrap_or_default());
    let mut response = (StatusCode::OK, Json(Value::Object(body))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyledger-position", HeaderValue::from(views.position().0));
    response
}

/// One connection, with its tag.
pub(super) fn connection_answer(views: &Views, tenant: TenantId, key: &Key) -> Option<Response> {
    let (_, connector) = views.connector(tenant, &key.unified_api, &key.service_id)?;
    let found = find(views, tenant, key);
    let mut response = answer(views, connection(connector, found.map(|(live, _)| live)), None);
    response.headers_mut().insert(header::ETAG, etag(found.map_or(Version::ZERO, |(_, version)| version)));
    Some(response)
}

/// A connection's record, if there is one.
pub(super) fn find<'a>(views: &'a Views, tenant: TenantId, key: &Key) -> Option<(&'a Connection, Version)> {
    let entry = views.thing(views.connection(tenant, key)?)?;
    match &entry.state {
        AnyState::Connection(State::Live(live)) => Some((live, entry.content_version)),
        _ => None,
    }
}

/// `Connection`: the connector, and the record if there is one.
pub(super) fn connection(connector: &Connector, live: Option<&Connection>) -> Value {
    let fields: Vec<Value> = connector.form_fields.iter().map(|field| form_field(field, live)).collect();
    let mut object = json!({
        "id": format!("{}+{}", connector.unified_api, connector.service_id),
        "service_id": connector.service_id,
        "name": connector.name,
        "unified_api": connector.unified_api,
        "website": connector.website,
        "state": state(live),
        "integration_state": "configured",
        "auth_type": connector.auth_type,
        "status": connector.status,
        "enabled": live.is_some_and(|live| live.enabled),
        "authorize_url": null,
        "revoke_url": null,
        "form_fields": fields,
        "configuration": live.and_then(|live| live.configuration.as_ref()).map_or(json!([]), crate::kernel::Json::value),
        "configurable_resources": [],
        "resource_schema_support": [],
        "resource_settings_support": [],
        "validation_support": connector.validation,
        "settings_required_for_authorization": connector.settings_required_for_authorization,
        "custom_mappings": live.and_then(|live| live.custom_mappings.as_ref()).map_or(json!([]), crate::kernel::Json::value),
    });
    let Value::Object(members) = &mut object else { return object };
    if let Some(tag_line) = &connector.tag_line {
        members.insert("tag_line".into(), json!(tag_line));
    }
    if let Some(oauth) = &connector.oauth {
        members.insert("oauth_grant_type".into(), json!(oauth.grant));
    }
    if let Some(live) = live {
        record(members, connector, live);
    }
    object
}

fn record(members: &mut Map<String, Value>, connector: &Connector, live: &Connection) {
    let settings: Map<String, Value> = live.settings.iter().map(|(id, value)| (id.clone(), value.value())).collect();
    members.insert("settings".into(), Value::Object(settings));
    members.insert("metadata".into(), live.metadata.as_ref().map_or(json!({}), crate::kernel::Json::value));
    members.insert("health".into(), json!(health(connector, live)));
    members.insert("created_at".into(), json!(live.created_at.millis()));
    members.insert("updated_at".into(), json!(live.updated_at.millis()));
    if let Some((_, Some(expires_at))) = &live.access {
        members.insert("credentials_expire_at".into(), json!(expires_at.millis()));
    }
    if let Some(failure) = &live.failure {
        members.insert("last_refresh_failed_at".into(), json!(failure.at.millis()));
    }
}

fn state(live: Option<&Connection>) -> &'static str {
    match live.map(|live| live.phase) {
        None => "available",
        Some(Phase::Added) => "added",
        Some(Phase::Authorized) => "authorized",
        Some(Phase::Callable) => "callable",
        Some(Phase::Invalid) => "invalid",
    }
}

fn health(connector: &Connector, live: &Connection) -> &'static str {
    match live.phase {
        _ if live.failure.is_some() => "pending_refresh",
        Phase::Callable => "ok",
        Phase::Added if connector.auth_type == AuthType::Oauth2 => "needs_auth",
        Phase::Added | Phase::Authorized => "missing_settings",
        Phase::Invalid => "needs_auth",
    }
}

fn form_field(field: &FormField, live: Option<&Connection>) -> Value {
    let fact = live.and_then(|live| live.settings.get(&field.id)).map(crate::kernel::Json::value);
    let sealed = live.is_some_and(|live| live.sealed.contains_key(&field.id));
    let value = if sealed { json!(MASK) } else { fact.unwrap_or(json!("")) };
    let mut object = json!({
        "id": field.id,
        "label": field.label,
        "value": value,
        "placeholder": field.placeholder.as_deref().unwrap_or(""),
        "mask": sealed,
        "type": field.field_type,
        "required": field.required,
        "description": field.description.as_deref().unwrap_or(""),
        "disabled": false,
        "custom_field": false,
        "hidden": false,
        "sensitive": field.sensitive,
    });
    if let (Value::Object(members), Some(options)) = (&mut object, &field.options) {
        members.insert("options".into(), json!(options));
    }
    object
}
