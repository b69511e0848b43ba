//! What callers send. Extra members of an import are passed over: the vendor's own guide sends some.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::credentials::connection::{Changes, Tokens};
use crate::kernel::{Json, Moment, Refusal, Secret};
use crate::web::body::Object;

/// `ConnectionInput`: of a whole connection sent back, only the writable parts count.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ConnectionInput {
    enabled: Option<bool>,
    settings: Option<BTreeMap<String, Value>>,
    #[serde(deserialize_with = "given")]
    metadata: Option<Value>,
    #[serde(deserialize_with = "given")]
    configuration: Option<Value>,
    #[serde(deserialize_with = "given")]
    custom_mappings: Option<Value>,
}

/// Tells `null` from an absent member.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// `null` removes, anything else sets.
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
fn part(value: Option<Value>) -> Option<Option<Json>> {
    value.map(|value| (!value.is_null()).then(|| Json::from(&value)))
}

fn settings(given: Option<BTreeMap<String, Value>>) -> BTreeMap<String, Option<Value>> {
    given.unwrap_or_default().into_iter().map(|(id, value)| (id, Some(value).filter(|value| !value.is_null()))).collect()
}

impl From<ConnectionInput> for Changes {
    fn from(input: ConnectionInput) -> Self {
        Self {
            enabled: input.enabled,
            settings: settings(input.settings),
            metadata: part(input.metadata),
            configuration: part(input.configuration),
            custom_mappings: part(input.custom_mappings),
        }
    }
}

/// `ConnectionImportData`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ConnectionImport {
    credentials: Option<Object<Credentials>>,
    settings: Option<BTreeMap<String, Value>>,
    #[serde(deserialize_with = "given")]
    metadata: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Credentials {
    access_token: Option<Secret>,
    refresh_token: Option<Secret>,
    issued_at: Option<String>,
    expires_in: Option<i64>,
}

impl ConnectionImport {
    /// Tokens and changes; `now` stands in for a missing `issued_at`.
    pub fn parts(self, now: Moment) -> Result<(Tokens, Changes), Refusal> {
        let Object(credentials) = self.credentials.unwrap_or(Object(Credentials::default()));
        let issued_at = credentials.issued_at.as_deref().map(str::parse::<Moment>).transpose();
        let issued_at = issued_at.map_err(|error| Refusal::invalid("credentials.issued_at", error.to_string()))?;
        if credentials.expires_in.is_some_and(|seconds| seconds < 0) {
            return Err(Refusal::invalid("credentials.expires_in", "is a number of seconds, 0 or more"));
        }
        for (field, token) in [("access_token", &credentials.access_token), ("refresh_token", &credentials.refresh_token)] {
            if token.as_ref().is_some_and(|token| token.expose().is_empty()) {
                return Err(Refusal::invalid(format!("credentials.{field}"), "is empty"));
            }
        }
        let expires_at = credentials.expires_in.map(|seconds| issued_at.unwrap_or(now).plus_seconds(seconds));
        let tokens = Tokens { access: credentials.access_token, refresh: credentials.refresh_token, issued_at, expires_at, scope: None };
        Ok((tokens, Changes { settings: settings(self.settings), metadata: part(self.metadata), ..Changes::default() }))
    }
}

/// A body that says nothing: absent, empty, or `{}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A consumer that is made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateConsumer {
    pub consumer_id: String,
    #[serde(default)]
    pub metadata: Option<Value>,
}

/// A consumer that is changed.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UpdateConsumer {
    pub metadata: Option<Value>,
}
