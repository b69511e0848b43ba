//! What callers send. Extra members of an import are passed over: the vendor's own guide sends some.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::credentials::connection::{Changes, Tokens};
use crate::kernel::{Json, Moment, Refusal, Secret};
use crate::web::body::Object;

/// Data that is free by contract.
type Free = Map<String, Value>;

/// What a caller may write: of a whole connection sent back, only these parts count.
#[derive(Default, Deserialize, ToSchema)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
pub(super) struct ConnectionInput {
    /// Whether it may be used.
    enabled: Option<bool>,
    /// Values by setting; those not named stay, `null` removes one, a mask changes nothing.
    #[schema(value_type = Option<Object>)]
    settings: Option<BTreeMap<String, Value>>,
    /// Free data; `null` removes it.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Free>>,
    /// Defaults per resource; `null` removes them.
    #[schema(value_type = Option<Vec<Object>>)]
    #[serde(default, deserialize_with = "given")]
    configuration: Option<Option<Vec<Free>>>,
    /// Custom mappings; `null` removes them.
    #[schema(value_type = Option<Vec<Object>>)]
    #[serde(default, deserialize_with = "given")]
    custom_mappings: Option<Option<Vec<Free>>>,
}

/// Tells `null` from an absent member.
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// `null` removes, anything else sets.
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
pub(super) fn part<T: Into<Value>>(value: Option<Option<T>>) -> Option<Option<Json>> {
    value.map(|value| value.map(|value| Json::from(&value.into())))
}

fn settings(given: Option<BTreeMap<String, Value>>) -> BTreeMap<String, Option<Value>> {
    given.unwrap_or_default().into_iter().map(|(id, value)| (id, Some(value).filter(|value| !value.is_null()))).collect()
}

impl ConnectionInput {
    /// The defaults per resource that it gives.
    pub fn configuration(self) -> Option<Vec<Free>> {
        self.configuration.flatten()
    }
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

/// Tokens and settings from elsewhere.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = ConnectionImportData)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
pub(super) struct ConnectionImport {
    /// The tokens.
    #[schema(value_type = Option<Credentials>)]
    credentials: Option<Object<Credentials>>,
    /// Values by setting.
    #[schema(value_type = Option<Object>)]
    settings: Option<BTreeMap<String, Value>>,
    /// Free data.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Free>>,
}

/// Tokens from elsewhere.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImportedCredentials)]
struct Credentials {
    /// Up to 64 KiB.
    #[schema(value_type = Option<String>)]
    access_token: Option<Secret>,
    /// Up to 64 KiB.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Secret>,
    /// When the access token was made; now when absent.
    #[schema(format = DateTime)]
    issued_at: Option<String>,
    /// Seconds from then until the access token ends.
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
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A consumer that is made, or changed if it is there.
#[derive(Deserialize, ToSchema)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
#[serde(deny_unknown_fields)]
pub(super) struct CreateConsumer {
    /// Its id within the application: 1 to 255 bytes without `/`.
    #[schema(example = "acme")]
    pub consumer_id: String,
    /// Free data; what is there stays when it is absent, and goes with `null`.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    pub metadata: Option<Option<Free>>,
}

/// A consumer that is changed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, removed and set are three things, as in `Changes`")]
pub(super) struct UpdateConsumer {
    /// Free data; what is there stays when it is absent, and goes with `null`.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    pub metadata: Option<Option<Free>>,
}
