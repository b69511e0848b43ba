//! Connector: a service that connections lead to, as data. The shipped ones enter the log as events of the system tenant.

mod api;
mod catalog;

pub use api::{ACCESS_TOKEN, Api, Inject};
pub use catalog::shipped;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Subject;
use crate::kernel::{Claim, Header, Plan, Refusal, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "connector";
/// The most form fields of one connector.
pub const MAX_FIELDS: usize = 64;

/// How a service lets callers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the vendor's (Apideck `auth_type`)")]
pub enum AuthType {
    Oauth2,
    ApiKey,
    Basic,
    Custom,
    None,
}

/// RFC 6749 grants that begin a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum GrantType {
    AuthorizationCode,
    ClientCredentials,
    Password,
}

/// RFC 6749, section 2.3.1: how the client proves itself at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ClientAuth {
    Basic,
    Body,
}

/// The encoding of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Encoding {
    Form,
    Json,
}

/// How a service speaks OAuth 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth {
    /// The grant that begins a connection.
    pub grant: GrantType,
    /// Where users are sent; for `authorization_code` only.
    #[serde(default)]
    pub authorize_url: Option<String>,
    /// Where tokens come from; `{setting}` stands for a setting's value.
    pub token_url: String,
    /// Where tokens are given back.
    #[serde(default)]
    pub revoke_url: Option<String>,
    /// How the client proves itself.
    pub client_auth: ClientAuth,
    /// How the request is written.
    pub encoding: Encoding,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Between scopes; a space when absent.
    #[serde(default)]
    pub scope_separator: Option<String>,
    /// Further fields of every token request.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// Further parameters of the authorize URL.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// Whether RFC 7636 is used.
    #[serde(default)]
    pub pkce: bool,
}

/// A setting that the service asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormField {
    /// The setting's id.
    pub id: String,
    /// Shown beside it.
    pub label: String,
    /// One of [`FIELD_TYPES`].
    #[serde(rename = "type")]
    pub field_type: String,
    /// Whether the connection needs it.
    pub required: bool,
    /// Whether its value is a secret.
    pub sensitive: bool,
    /// Explains it.
    #[serde(default)]
    pub description: Option<String>,
    /// An example.
    #[serde(default)]
    pub placeholder: Option<String>,
    /// What may be chosen.
    #[serde(default)]
    pub options: Option<Vec<FieldOption>>,
}

/// One choice of a select field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldOption {
    /// `simple`: the vendor's clients know no other without children.
    pub option_type: String,
    /// Shown.
    pub label: String,
    /// Stored.
    pub value: String,
}

/// The field types that the vendor's clients accept.
pub const FIELD_TYPES: [&str; 14] =
    ["text", "checkbox", "tel", "email", "url", "textarea", "select", "filtered-select", "multi-select", "datetime", "date", "time", "number", "password"];

/// A service that connections lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    /// The API family, such as `crm`.
    pub unified_api: String,
    /// The service, such as `pipedrive`.
    pub service_id: String,
    /// Shown.
    pub name: String,
    /// One line about it.
    #[serde(default)]
    pub tag_line: Option<String>,
    /// Its home page.
    pub website: String,
    /// The vendor's documentation that the entry rests on.
    pub docs: String,
    /// `live`, `upcoming` or `requested`.
    pub status: String,
    /// How it lets callers in.
    pub auth_type: AuthType,
    /// Exactly for `oauth2`.
    #[serde(default)]
    pub oauth: Option<Oauth>,
    /// The settings that it asks for.
    pub form_fields: Vec<FormField>,
    /// Settings that must be there before an exchange.
    pub settings_required_for_authorization: Vec<String>,
    /// Whether entered credentials can be checked at the service.
    pub validation: bool,
    /// How its API is called; without it, no calls are passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
}

impl Connector {
    /// A declared setting.
    #[must_use]
    pub fn field(&self, id: &str) -> Option<&FormField> {
        self.form_fields.iter().find(|field| field.id == id)
    }

    /// Whether a setting may stand as a fact: only what is declared as not sensitive.
    #[must_use]
    pub fn is_fact(&self, setting: &str) -> bool {
        self.field(setting).is_some_and(|field| !field.sensitive)
    }

    /// Settings that must be there beyond those that an exchange needs.
    pub fn required_beside_authorization(&self) -> impl Iterator<Item = &str> {
        let needed = self.form_fields.iter().filter(|field| field.required).map(|field| field.id.as_str());
        needed.filter(|id| !self.settings_required_for_authorization.iter().any(|other| other == id))
    }

    /// Whether the parts agree with each other.
    pub fn check(&self) -> Result<(), Refusal> {
        for (field, id) in [("unified_api", &self.unified_api), ("service_id", &self.service_id)] {
            if !is_id(id) {
                return Err(Refusal::invalid(field, "takes 1 to 63 lower-case letters, digits, - and _, a letter or digit first"));
            }
        }
        if !["live", "upcoming", "requested"].contains(&self.status.as_str()) {
            return Err(Refusal::invalid("status", "is live, upcoming or requested"));
        }
        if self.form_fields.len() > MAX_FIELDS {
            return Err(Refusal::Limit { what: "form fields of a connector", limit: MAX_FIELDS as u64 });
        }
        for (index, field) in self.form_fields.iter().enumerate() {
            let twice = self.form_fields.iter().take(index).any(|earlier| earlier.id == field.id);
            if twice || field.id.is_empty() || field.id.len() > 64 || !FIELD_TYPES.contains(&field.field_type.as_str()) {
                return Err(Refusal::invalid(format!("form_fields.{index}"), "needs an id of its own (1 to 64 bytes) and a known type"));
            }
        }
        self.check_oauth()?;
        self.api.as_ref().map_or(Ok(()), |api| api.check(self))
    }

    fn check_oauth(&self) -> Result<(), Refusal> {
        let Some(oauth) = &self.oauth else {
            return if self.auth_type == AuthType::Oauth2 { Err(Refusal::invalid("oauth", "is required for oauth2")) } else { Ok(()) };
        };
        if self.auth_type != AuthType::Oauth2 {
            return Err(Refusal::invalid("oauth", "is for oauth2 only"));
        }
        if (oauth.grant == GrantType::AuthorizationCode) != oauth.authorize_url.is_some() {
            return Err(Refusal::invalid("oauth.authorize_url", "goes with the grant authorization_code, and only with it"));
        }
        for setting in placeholders(&oauth.token_url) {
            if !self.is_fact(setting) || !self.settings_required_for_authorization.iter().any(|id| id == setting) {
                return Err(Refusal::invalid("oauth.token_url", "each {setting} is a form field that is not sensitive and required for authorization"));
            }
        }
        match self.settings_required_for_authorization.iter().find(|id| self.field(id).is_none()) {
            Some(_) => Err(Refusal::invalid("settings_required_for_authorization", "names form fields only")),
            None => Ok(()),
        }
    }
}

/// The `{setting}` names in a URL.
pub fn placeholders(url: &str) -> impl Iterator<Item = &str> {
    url.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// The settings that choose whose host a URL leads to: those in its host, unless that ends in a domain of at least two fixed labels, in which a
/// value can only name a part.
#[must_use]
pub fn choosing_host(url: &str) -> Vec<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fixed = authority.rsplit('}').next().unwrap_or_default().split(':').next().unwrap_or_default();
    if fixed.split('.').count() > 2 { Vec::new() } else { placeholders(authority).collect() }
}

fn is_id(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 63 && text.as_bytes().first().is_some_and(alphanumeric) && text.bytes().all(|byte| alphanumeric(&byte) || byte == b'-' || byte == b'_')
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was written, anew or over what stood there.
    Put(Box<Connector>),
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
        }
    }
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(#[serde(with = "as_text")] Box<Connector>),
}

/// As JSON in one piece where the encoding is another: its members come and go, and postcard looks for each at its place.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use super::Connector;

    #[expect(clippy::borrowed_box, reason = "serde hands over the field as it is")]
    pub fn serialize<S: Serializer>(connector: &Box<Connector>, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return connector.serialize(to);
        }
        to.serialize_str(&serde_json::to_string(connector).map_err(ser::Error::custom)?)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Box<Connector>, D::Error> {
        if from.is_human_readable() {
            return Box::deserialize(from);
        }
        serde_json::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// The name space of connectors: one per tenant, API family and service.
#[must_use]
pub fn claim(unified_api: &str, service_id: &str) -> Claim {
    Claim::exact(NAME, &[unified_api], service_id)
}

/// The rules: a connector may be put at any time, if it is sound.
pub fn decide(subject: Subject, state: &State, connector: Connector) -> Result<Plan<Event>, Refusal> {
    connector.check()?;
    match state {
        State::Live(live) if **live == connector => Ok(Plan::nothing()),
        State::Live(live) if (&live.unified_api, &live.service_id) != (&connector.unified_api, &connector.service_id) => {
            Err(Refusal::invalid("service_id", "cannot change"))
        }
        State::Live(_) | State::Absent => {
            let claim = claim(&connector.unified_api, &connector.service_id);
            let write = Write::change(subject.stream, subject.version, Event::Put(Box::new(connector)));
            Ok(Plan::of(if matches!(state, State::Absent) { write.taking(claim) } else { write }))
        }
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(_: State, _: &Header, event: Event) -> State {
    match event {
        Event::Put(connector) => State::Live(connector),
    }
}

#[cfg(test)]
mod tests {
    use super::choosing_host;

    #[test]
    fn a_setting_chooses_a_host_unless_it_only_names_a_part_of_a_fixed_domain() {
        for (url, chosen) in [
            ("https://api.example.com/{account}/token", vec![]),
            ("https://{shop}.myshopify.com/admin/oauth/access_token", vec![]),
            ("https://auth-{cluster}.bullhornstaffing.com/oauth/token", vec![]),
            ("https://auth.{region}.{cloud}.commercetools.com/oauth/token", vec![]),
            ("https://{a}.example.com:8443/token", vec![]),
            ("https://{host}/api/oauth/token", vec!["host"]),
            ("https://accounts.zoho.{data_center}/oauth/v2/token", vec!["data_center"]),
            ("https://{name}.com/{account}", vec!["name"]),
            ("https://{a}.{b}:8443/token", vec!["a", "b"]),
            ("https://api.example.com:{port}/token", vec!["port"]),
        ] {
            assert_eq!(choosing_host(url), chosen, "{url}");
        }
    }
}
