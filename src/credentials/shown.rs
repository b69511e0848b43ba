//! Events as an auditor may see them: all facts but what a presented secret is compared with.

use serde_json::Value;

use super::{AnyEvent, FactsError, api_key};

/// What stands in place of a hidden member.
const HIDDEN: &str = "hidden";

impl AnyEvent {
    /// The event's facts as JSON. A token's verifier is hidden: it would let a holder of the token key test guesses.
    pub fn shown(&self) -> Result<Value, FactsError> {
        let mut json = self.to_json()?;
        if let Self::ApiKey(api_key::Event::Created { .. }) = self
            && let Some(verifier) = json.pointer_mut("/created/token/verifier")
        {
            *verifier = Value::from(HIDDEN);
        }
        Ok(json)
    }
}
