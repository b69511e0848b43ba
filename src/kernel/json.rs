//! A JSON value that is free by contract (settings, metadata), kept as one canonical text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::Value;

/// Free JSON: compact text with sorted keys. In JSON it stands as itself, in binary encodings as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The value.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// The compact text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self(value.to_string())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { serde_json::from_str::<Value>(&self.0).map_err(S::Error::custom)?.serialize(out) } else { self.0.serialize(out) }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Value::deserialize(from).map(|value| Self::from(&value));
        }
        let text = String::deserialize(from)?;
        serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(D::Error::custom)?;
        Ok(Self(text))
    }
}
