//! How the model reads requests and shows what it holds.

use serde_json::{Map, Value, json};

use crate::model::{Body, Fault, HEADERS, INVALID, Request, TOO_LARGE};
use crate::model_connection::{Connection, MASK, fields, strings};

pub fn is_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && !id.chars().any(|c| c == '/' || c.is_control())
}

/// A parameter of the query; an empty one counts as absent.
pub fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.query.iter().find(|(other, value)| *other == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// What was asked, as far as it tells one request from another.
pub fn asked(request: &Request) -> String {
    if request.body.text.trim().is_empty() { String::new() } else { request.body.text.clone() }
}

/// One strong tag in the form in which it was given.
pub fn if_match(request: &Request) -> Result<Option<u64>, Fault> {
    let Some(text) = &request.if_match else { return Ok(None) };
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(HEADERS)?;
    let tag: u64 = digits.parse().map_err(|_| HEADERS)?;
    if tag.to_string() == digits { Ok(Some(tag)) } else { Err(HEADERS) }
}

/// The members of a body; an empty one has none.
pub fn object(body: &Body, limit: usize) -> Result<Map<String, Value>, Fault> {
    if body.text.len() > limit {
        return Err(TOO_LARGE);
    }
    if body.text.trim().is_empty() {
        return Ok(Map::new());
    }
    if !body.sound {
        return Err(INVALID);
    }
    serde_json::from_str(&body.text).map_err(|_| INVALID)
}

/// A member of a certain type; `null` counts as absent.
pub fn member<T>(object: &Map<String, Value>, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, Fault> {
    object.get(name).filter(|value| !value.is_null()).map(|value| read(value).ok_or(INVALID)).transpose()
}

/// A member that is free by contract: objects of any members, or lists of such. `null` is a value of its own here.
pub fn free<'a>(object: &'a Map<String, Value>, name: &str, list: bool) -> Result<Option<&'a Value>, Fault> {
    let fits = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => list && items.iter().all(Value::is_object),
        other => !list && other.is_object(),
    };
    object.get(name).map(|value| fits(value).then_some(value).ok_or(INVALID)).transpose()
}

pub fn settings(body: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    Ok(member(body, "settings", |value| value.as_object().cloned())?.unwrap_or_default())
}

/// A token; it may not be empty.
pub fn token(credentials: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    member(credentials, name, |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

pub fn instant(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

pub fn rfc3339(millis: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(millis).unwrap())
}

/// A connector and the record in it, if there is one.
pub fn show(connector: &Value, live: Option<&Connection>) -> Value {
    let none = |value: Option<&Value>, otherwise: Value| value.cloned().unwrap_or(otherwise);
    let (api, service) = (connector["unified_api"].as_str().unwrap(), connector["service_id"].as_str().unwrap());
    let mut object = json!({
        "id": format!("{api}+{service}"), "service_id": service, "unified_api": api, "integration_state": integration_state(connector, live),
        "state": live.map_or("available", |live| live.state(connector)),
        "enabled": live.is_some_and(|live| live.enabled),
        "authorize_url": null, "revoke_url": null,
        "form_fields": fields(connector).map(|field| show_field(field, live)).collect::<Vec<_>>(),
        "configuration": none(live.and_then(|live| live.configuration.as_ref()), json!([])),
        "custom_mappings": none(live.and_then(|live| live.mappings.as_ref()), json!([])),
        "configurable_resources": [], "resource_schema_support": [], "resource_settings_support": [],
        "validation_support": connector["validation"],
    });
    for name in ["name", "website", "auth_type", "status", "settings_required_for_authorization"] {
        object[name] = connector[name].clone();
    }
    if let Some(line) = connector.get("tag_line") {
        object["tag_line"] = line.clone();
    }
    if let Some(oauth) = connector.get("oauth") {
        object["oauth_grant_type"] = oauth["grant"].clone();
    }
    let Some(live) = live else { return object };
    object["settings"] = json!(live.facts);
    object["metadata"] = none(live.metadata.as_ref(), json!({}));
    object["health"] = json!(health(connector, live));
    object["consent_state"] = json!("implicit");
    object["created_at"] = json!(live.created);
    object["updated_at"] = json!(live.updated);
    if let Some(refused) = live.refused.filter(|_| !live.tokens.is_empty() && !live.lost) {
        object["credentials_expire_at"] = json!(refused + 48 * 3_600_000);
    }
    if let Some(failed) = live.failed {
        object["last_refresh_failed_at"] = json!(failed);
    }
    object
}

/// No tenant of the model supplies anything.
fn integration_state(connector: &Value, live: Option<&Connection>) -> &'static str {
    let mut client = strings(&connector["settings_required_for_authorization"]).filter(|id| ["client_id", "client_secret"].contains(id));
    let lacks = client.any(|id| !live.is_some_and(|live| live.has(id)));
    if connector["auth_type"] == "oauth2" && lacks { "needs_configuration" } else { "configured" }
}

fn health(connector: &Value, live: &Connection) -> &'static str {
    match live.state(connector) {
        _ if live.failed.is_some() && (live.lost || !live.tokens.is_empty()) => "pending_refresh",
        "invalid" => "needs_auth",
        "callable" => "ok",
        "added" if connector["auth_type"] == "oauth2" => "needs_auth",
        _ => "missing_settings",
    }
}

fn show_field(field: &Value, live: Option<&Connection>) -> Value {
    let id = field["id"].as_str().unwrap();
    let masked = live.is_some_and(|live| live.secrets.contains_key(id));
    let entered = live.and_then(|live| live.facts.get(id)).cloned().unwrap_or(json!(""));
    let text = |name: &str| field.get(name).cloned().unwrap_or(json!(""));
    let mut object = json!({
        "id": id, "label": field["label"], "type": field["type"], "required": field["required"], "sensitive": field["sensitive"],
        "value": if masked { json!(MASK) } else { entered }, "mask": masked,
        "placeholder": text("placeholder"), "description": text("description"),
        "disabled": false, "custom_field": false, "hidden": false,
    });
    if let Some(options) = field.get("options") {
        object["options"] = options.clone();
    }
    object
}
