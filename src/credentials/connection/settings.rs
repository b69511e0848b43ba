//! Entered values: which are facts, which are secrets, and what a connection lacks.

use super::{Changes, Connection, Context, MAX_SETTINGS, Part, Phase, Written};
use crate::credentials::Sealing;
use crate::credentials::connector::AuthType;
use crate::kernel::{Json, MAX_SECRET, Refusal, Secret};

/// What stands in an answer for a secret setting. Sent back unchanged, it changes nothing.
pub const MASK: &str = "••••••••••••";
/// The longest setting id: its box is named `settings.<id>` in at most 255 bytes.
const MAX_ID: usize = 128;

/// Sorts changes into facts and secrets. The phase is still that of before.
pub(super) fn sort(context: &Context<'_>, live: &Connection, changes: Changes) -> Result<(Written, Sealing), Refusal> {
    let part = |part: Option<Option<Json>>| part.map(|value| value.map_or(Part::Removed, Part::Set));
    let mut written = Written {
        enabled: changes.enabled,
        settings: std::collections::BTreeMap::new(),
        removed: Vec::new(),
        metadata: part(changes.metadata),
        configuration: part(changes.configuration),
        custom_mappings: part(changes.custom_mappings),
        phase: live.phase,
    };
    let mut sealing = Sealing::new();
    if changes.settings.len() > MAX_SETTINGS {
        return Err(Refusal::Limit { what: "settings of a connection", limit: MAX_SETTINGS as u64 });
    }
    for (id, value) in changes.settings {
        if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
            return Err(Refusal::invalid("settings", "an id takes 1 to 128 bytes without control characters"));
        }
        match value {
            None => written.removed.push(id),
            Some(value) if context.connector.is_fact(&id) => drop(written.settings.insert(id, Json::from(&value))),
            Some(serde_json::Value::String(text)) if text == MASK => {}
            // A form sends its empty fields along: there is no secret in them.
            Some(serde_json::Value::String(text)) if text.is_empty() => written.removed.push(id),
            Some(value) => sealing.push((format!("settings.{id}"), secret(&id, value)?)),
        }
    }
    let sealed = sealing.iter().filter_map(|(name, _)| name.strip_prefix("settings."));
    let kept = live.settings.keys().chain(live.sealed.keys()).filter(|id| !written.removed.contains(id));
    let after: std::collections::BTreeSet<&str> = kept.chain(written.settings.keys()).map(String::as_str).chain(sealed).collect();
    if after.len() > MAX_SETTINGS {
        return Err(Refusal::Limit { what: "settings of a connection", limit: MAX_SETTINGS as u64 });
    }
    Ok((written, sealing))
}

fn secret(id: &str, value: serde_json::Value) -> Result<Secret, Refusal> {
    let secret = match value {
        serde_json::Value::String(text) => Secret::from(text),
        other => Secret::from(other.to_string()),
    };
    if secret.expose().len() > MAX_SECRET {
        return Err(Refusal::invalid(format!("settings.{id}"), format!("is larger than {MAX_SECRET} bytes")));
    }
    Ok(secret)
}

/// Whether a value for the setting is there: entered, or supplied by the tenant.
fn has(context: &Context<'_>, live: &Connection, id: &str) -> bool {
    live.sealed.contains_key(id)
        || live.settings.get(id).is_some_and(|value| !matches!(value.value(), serde_json::Value::Null) && value.text() != "\"\"")
        || (context.supplied)(id)
}

/// The settings that must be there before an exchange, and are not.
pub(super) fn missing_for_authorization<'a>(context: &Context<'a>, live: &Connection) -> Vec<&'a str> {
    context.connector.settings_required_for_authorization.iter().map(String::as_str).filter(|id| !has(context, live, id)).collect()
}

/// Where a connection with these credentials stands.
pub(super) fn phase(context: &Context<'_>, live: &Connection) -> Phase {
    let connector = context.connector;
    let complete = connector.required_beside_authorization().all(|id| has(context, live, id));
    match connector.auth_type {
        AuthType::Oauth2 if live.access.is_none() && live.refresh.is_none() => Phase::Added,
        AuthType::Oauth2 if complete => Phase::Callable,
        AuthType::Oauth2 => Phase::Authorized,
        _ if complete && missing_for_authorization(context, live).is_empty() => Phase::Callable,
        _ => Phase::Added,
    }
}
