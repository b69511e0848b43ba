//! Events as an auditor may see them: all facts but what a presented secret is compared with.

use serde_json::Value;

use super::{AnyEvent, FactsError, connection, connector, consumer, integration};

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
}

/// Hides verifiers and password hashes in what a kind's event or state says. Connections, connectors, consumers and integrations hold names of a
/// caller's choosing, and nothing that is compared.
pub(super) fn hide_compared(kind: &str, json: &mut Value) {
    if ![connection::NAME, connector::NAME, consumer::NAME, integration::NAME].contains(&kind) {
        hide(json);
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
