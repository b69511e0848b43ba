//! Events as an auditor may see them: all facts but what a presented secret is compared with.

use serde_json::Value;

use super::content::Difference;
use super::{AnyEvent, FactsError, connection, connector, consumer, integration};
use crate::kernel::PermissionSet;

/// What stands in place of a hidden member.
const HIDDEN: &str = "hidden";
/// The members that hold what a presented secret is compared with, in every kind.
const COMPARED: [&str; 2] = ["verifier", "password"];

impl AnyEvent {
    /// The event's facts as JSON. Verifiers and password hashes are hidden: they would let a holder of the key test guesses.
    pub fn shown(&self) -> Result<Value, FactsError> {
        let mut json = self.to_json()?;
        hide_compared(self.kind(), &mut json);
        Ok(json)
    }

    /// Whether something of it is hidden.
    pub fn hides(&self) -> Result<bool, FactsError> {
        Ok(self.shown()? != self.to_json()?)
    }
}

/// Hides verifiers and password hashes in what a kind's event or state says. Connections, connectors, consumers and integrations hold names of a
/// caller's choosing, and nothing that is compared.
pub(super) fn hide_compared(kind: &str, json: &mut Value) {
    if ![connection::NAME, connector::NAME, consumer::NAME, integration::NAME].contains(&kind) {
        hide(json);
    }
}

impl Difference {
    /// The values of before and after, as they may be shown: verifiers hidden, fingerprints of secrets in hex.
    #[must_use]
    pub fn shown(&self, kind: &str) -> [Option<Value>; 2] {
        [&self.from, &self.to].map(|value| {
            let mut members = serde_json::Map::from_iter([(self.field.member.clone(), value.clone()?)]).into();
            hide_compared(kind, &mut members);
            let mut value = members.get_mut(&self.field.member)?.take();
            spell(&mut value);
            Some(value)
        })
    }
}

/// Fingerprints as text, permissions by name.
fn spell(json: &mut Value) {
    match json {
        Value::Object(members) => {
            if let Some(Value::Array(bytes)) = members.get("fingerprint") {
                let bytes: Vec<u8> = bytes.iter().filter_map(Value::as_u64).filter_map(|byte| u8::try_from(byte).ok()).collect();
                members.insert("fingerprint".into(), base16ct::lower::encode_string(&bytes).into());
            }
            if let Some(own) = members.get("own").and_then(|bits| serde_json::from_value::<PermissionSet>(bits.clone()).ok()) {
                members.insert("own".into(), own.iter().map(|permission| Value::from(permission.name())).collect());
            }
            members.values_mut().for_each(spell);
        }
        Value::Array(items) => items.iter_mut().for_each(spell),
        _ => {}
    }
}

fn hide(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                if COMPARED.contains(&name.as_str()) {
                    *value = Value::from(HIDDEN);
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}
