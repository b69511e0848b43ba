//! One connection of the model: what is entered, and what it lacks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::{Fault, INVALID};

pub const MASK: &str = "••••••••••••";
const MAX_SETTINGS: usize = 64;

/// `events` counts all that happened to a connection, `tag` stands at its latest change.
#[derive(Clone, Debug)]
pub struct Connection {
    pub events: u64,
    pub tag: u64,
    pub enabled: bool,
    pub facts: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, String>,
    /// Tokens by the names of their boxes.
    pub tokens: BTreeMap<&'static str, String>,
    pub metadata: Option<Value>,
    pub configuration: Option<Value>,
    pub mappings: Option<Value>,
    pub access: Access,
    pub failed: Option<i64>,
    /// Whether nobody knows what came of the latest exchange.
    pub lost: bool,
    /// When the service first refused the credentials since it last took them.
    pub refused: Option<i64>,
    /// Whether the service has found them wrong.
    pub invalid: bool,
    pub created: i64,
    pub updated: i64,
}

/// Whether there is an access token, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    None,
    Endless,
    Until(i64),
}

impl Connection {
    pub fn new(now: i64) -> Self {
        Self {
            events: 1,
            tag: 1,
            enabled: true,
            facts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            metadata: None,
            configuration: None,
            mappings: None,
            access: Access::None,
            failed: None,
            lost: false,
            refused: None,
            invalid: false,
            created: now,
            updated: now,
        }
    }

    /// Declared settings that are not sensitive stand as they are, all others are secrets; `null` removes, and the mask of a secret changes nothing.
    pub fn enter(&mut self, connector: &Value, settings: &Map<String, Value>) -> Result<(), Fault> {
        for (id, value) in settings {
            if id.is_empty() || id.len() > 128 || id.chars().any(char::is_control) {
                return Err(INVALID);
            }
            let is_fact = fields(connector).any(|field| field["id"] == **id && field["sensitive"] == false);
            self.invalid &= !is_fact && value == MASK;
            // An empty secret is none: a form sends its empty fields along.
            if value.is_null() || (!is_fact && value == "") {
                self.facts.remove(id);
                self.secrets.remove(id);
            } else if is_fact {
                self.facts.insert(id.clone(), value.clone());
            } else if value != MASK {
                self.secrets.insert(id.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        let fits = settings.len() <= MAX_SETTINGS && self.facts.len() + self.secrets.len() <= MAX_SETTINGS;
        fits.then_some(()).ok_or(INVALID)
    }

    pub fn has(&self, id: &str) -> bool {
        self.secrets.contains_key(id) || self.facts.get(id).is_some_and(|value| value != "")
    }

    pub fn state(&self, connector: &Value) -> &'static str {
        let before: Vec<&str> = strings(&connector["settings_required_for_authorization"]).collect();
        let required = fields(connector).filter(|field| field["required"] == true).filter_map(|field| field["id"].as_str());
        let complete = required.filter(|id| !before.contains(id)).all(|id| self.has(id));
        match connector["auth_type"].as_str() {
            _ if self.invalid => "invalid",
            Some("oauth2") if self.tokens.is_empty() => "added",
            Some("oauth2") if complete => "callable",
            Some("oauth2") => "authorized",
            _ if complete && before.iter().all(|id| self.has(id)) => "callable",
            _ => "added",
        }
    }
}

pub fn fields(connector: &Value) -> impl Iterator<Item = &Value> {
    connector["form_fields"].as_array().unwrap().iter()
}

pub fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().filter_map(Value::as_str)
}
