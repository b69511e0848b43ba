//! Events as an auditor may see them: all facts but what a presented secret is compared with.

use serde_json::Value;

use super::{AnyEvent, FactsError};

/// What stands in place of a hidden member.
const HIDDEN: &str = "hidden";
/// The members that hold what a presented secret is compared with, in every kind.
const COMPARED: [&str; 2] = ["verifier", "password"];

impl AnyEvent {
    /// The event's facts as JSON. Verifiers and password hashes are hidden: they would let a holder of the key test guesses.
    pub fn shown(&self) -> Result<Value, FactsError> {
        let mut json = self.to_json()?;
        // Connections, connectors and integrations hold names of a caller's choosing, and nothing that is compared.
        if !matches!(self, Self::Connection(_) | Self::Connector(_) | Self::Consumer(_) | Self::Integration(_)) {
            hide(&mut json);
        }
        Ok(json)
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
