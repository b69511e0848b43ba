//! Values for what a service asks for: which are facts and which are secrets. Connections and integrations sort and keep them alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Sealing;
use super::connector::Connector;
use crate::kernel::{Header, Json, MAX_SECRET, Refusal, Secret, SecretRef};

/// What stands in an answer for a secret setting. Sent back unchanged, it changes nothing.
pub const MASK: &str = "••••••••••••";
/// The most settings of one thing.
pub const MAX_SETTINGS: usize = 64;
/// The longest setting id: its box is named `settings.<id>` in at most 255 bytes.
const MAX_ID: usize = 128;
/// The boxes of secret settings are named so, and by their ids.
const BOX: &str = "settings.";

/// Settings as a caller sends them; `None` removes one.
pub type GivenSettings = BTreeMap<String, Option<Value>>;
/// Values that are no secrets, by setting.
pub type Facts = BTreeMap<String, Json>;
/// Where secret values lie, by setting.
pub type Sealed = BTreeMap<String, SecretRef>;

/// Settings, sorted.
#[derive(Default)]
pub struct Sorted {
    /// Values that are no secrets.
    pub facts: Facts,
    /// Settings that are removed.
    pub removed: Vec<String>,
    /// Secrets, by the name of their box.
    pub sealing: Sealing,
}

/// The settings whose secrets are sealed, by the names of their boxes.
pub fn sealed_ids(sealing: &Sealing) -> impl Iterator<Item = &str> {
    sealing.iter().filter_map(|(name, _)| name.strip_prefix(BOX))
}

/// Sorts settings: what the service declares as not sensitive is a fact, everything else a secret. `what` names them in a refusal.
pub fn sort(connector: &Connector, given: GivenSettings, what: &'static str) -> Result<Sorted, Refusal> {
    if given.len() > MAX_SETTINGS {
        return Err(too_many(what));
    }
    let mut sorted = Sorted::default();
    for (id, value) in given {
        if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
            return Err(Refusal::invalid("settings", "an id takes 1 to 128 bytes without control characters"));
        }
        match value {
            None => sorted.removed.push(id),
            Some(value) if connector.is_fact(&id) => drop(sorted.facts.insert(id, Json::from(&value))),
            Some(Value::String(text)) if text == MASK => {}
            // A form sends its empty fields along: there is no secret in them.
            Some(Value::String(text)) if text.is_empty() => sorted.removed.push(id),
            Some(value) => sorted.sealing.push((format!("{BOX}{id}"), secret(&id, value)?)),
        }
    }
    Ok(sorted)
}

fn too_many(what: &'static str) -> Refusal {
    Refusal::Limit { what, limit: MAX_SETTINGS as u64 }
}

fn secret(id: &str, value: Value) -> Result<Secret, Refusal> {
    let secret = match value {
        Value::String(text) => Secret::from(text),
        other => Secret::from(other.to_string()),
    };
    if secret.expose().len() > MAX_SECRET {
        return Err(Refusal::invalid(format!("{BOX}{id}"), format!("is larger than {MAX_SECRET} bytes")));
    }
    Ok(secret)
}

impl Sorted {
    /// That what is there and what comes are not too many together.
    pub fn fits(&self, facts: &Facts, sealed: &Sealed, what: &'static str) -> Result<(), Refusal> {
        let kept = facts.keys().chain(sealed.keys()).filter(|id| !self.removed.contains(id));
        let after: BTreeSet<&str> = kept.chain(self.facts.keys()).map(String::as_str).chain(sealed_ids(&self.sealing)).collect();
        if after.len() > MAX_SETTINGS { Err(too_many(what)) } else { Ok(()) }
    }
}

/// Takes what an event wrote over what was there: its facts, its removals, and the secrets of its boxes.
pub fn write(facts: &mut Facts, sealed: &mut Sealed, header: &Header, written: Facts, removed: &[String]) {
    for id in removed {
        facts.remove(id);
        sealed.remove(id);
    }
    for (id, value) in written {
        sealed.remove(&id);
        facts.insert(id, value);
    }
    for secret in &header.secrets {
        if let (Some(id), Some(reference)) = (secret.name.strip_prefix(BOX), header.secret(&secret.name)) {
            facts.remove(id);
            sealed.insert(id.to_owned(), reference);
        }
    }
}

/// Whether a value for a setting is there; an empty fact is as good as none.
#[must_use]
pub fn holds(facts: &Facts, sealed: &Sealed, id: &str) -> bool {
    sealed.contains_key(id) || facts.get(id).is_some_and(is_value)
}

/// Whether a fact says something.
#[must_use]
pub fn is_value(fact: &Json) -> bool {
    !matches!(fact.value(), Value::Null) && fact.text() != "\"\""
}
