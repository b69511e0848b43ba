//! How a service's API is called: where it lies, which hosts may see the connection's credentials, and how they go in.

use serde::{Deserialize, Serialize};
use url::{Host, Url};
use utoipa::ToSchema;

use super::{AuthType, Connector, placeholders};
use crate::kernel::Refusal;

/// The most hosts beside that of the base URL.
pub const MAX_HOSTS: usize = 16;
/// The most places that credentials go into.
pub const MAX_INJECTS: usize = 8;
/// The longest base URL, host, name or value, in bytes.
const MAX_TEXT: usize = 512;
/// What stands for the access token in a value.
pub const ACCESS_TOKEN: &str = "access_token";

/// Headers that are the connection's own or another part of the vault's: no credential goes in there.
const RESERVED: [&str; 15] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "cookie",
    "accept-encoding",
    "proxy-authorization",
    "proxy-connection",
    "date",
];

/// Second labels below which names are given to anybody, where the last label is a country's.
const SHARED: [&str; 9] = ["co", "com", "net", "org", "gov", "edu", "ac", "or", "ne"];

/// How a service's API is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// What relative paths lie below. `{setting}` stands for a setting's value; at the very beginning it stands for a whole URL.
    #[schema(example = "https://{subdomain}.example.com/api/v2")]
    pub base_url: String,
    /// Further hosts that may be called: names, `*.` and a name, or names with `{setting}` in them.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where the credentials go. Nothing means, of oauth2, the header `authorization: Bearer {access_token}`.
    #[serde(default)]
    pub auth: Vec<Inject>,
}

/// A place that credentials go into. `{setting}` and `{access_token}` stand for values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "in", rename_all = "snake_case", deny_unknown_fields)]
pub enum Inject {
    /// A header.
    Header {
        /// Its name.
        name: String,
        /// What it holds.
        value: String,
    },
    /// A parameter of the query.
    Query {
        /// Its name.
        name: String,
        /// What it holds.
        value: String,
    },
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
}

impl Inject {
    /// The values that it is made of.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Header { value, .. } | Self::Query { value, .. } => (value, None),
            Self::Basic { username, password } => (username, Some(password)),
        };
        std::iter::once(first).chain(second).map(String::as_str)
    }
}

/// The header that credentials of oauth2 go into where the connector says nothing.
#[must_use]
pub fn bearer() -> Inject {
    Inject::Header { name: "authorization".into(), value: format!("Bearer {{{ACCESS_TOKEN}}}") }
}

impl Api {
    /// Where the credentials go.
    #[must_use]
    pub fn injects(&self, auth_type: AuthType) -> Vec<Inject> {
        if self.auth.is_empty() && auth_type == AuthType::Oauth2 { vec![bearer()] } else { self.auth.clone() }
    }

    /// Whether a setting's value goes into what is called, or into the call.
    #[must_use]
    pub fn uses(&self, auth_type: AuthType, id: &str) -> bool {
        let injects = self.injects(auth_type);
        let texts = std::iter::once(&self.base_url).chain(&self.hosts).map(String::as_str).chain(injects.iter().flat_map(Inject::values));
        texts.flat_map(placeholders).any(|name| name == id)
    }

    /// Whether it agrees with the rest of its connector.
    pub(super) fn check(&self, connector: &Connector) -> Result<(), Refusal> {
        self.check_base(connector)?;
        if self.hosts.len() > MAX_HOSTS {
            return Err(Refusal::Limit { what: "hosts of a connector", limit: MAX_HOSTS as u64 });
        }
        for (place, host) in self.hosts.iter().enumerate() {
            check_host(connector, host).map_err(|problem| Refusal::invalid(format!("api.hosts[{place}]"), problem))?;
        }
        if self.auth.len() > MAX_INJECTS {
            return Err(Refusal::Limit { what: "places that credentials of a connector go into", limit: MAX_INJECTS as u64 });
        }
        for (place, inject) in self.auth.iter().enumerate() {
            check_inject(connector, inject).map_err(|problem| Refusal::invalid(format!("api.auth[{place}]"), problem))?;
            let same = |other: &Inject| destination(other) == destination(inject);
            if self.auth.iter().take(place).any(same) {
                return Err(Refusal::invalid(format!("api.auth[{place}]"), "goes where an earlier one goes"));
            }
        }
        Ok(())
    }

    fn check_base(&self, connector: &Connector) -> Result<(), Refusal> {
        let refused = |problem: &str| Refusal::invalid("api.base_url", problem);
        let text = &self.base_url;
        if text.len() > MAX_TEXT || !is_plain(text) {
            return Err(refused("takes at most 512 visible ASCII characters"));
        }
        facts_only(connector, text).map_err(refused)?;
        // What will stand there is judged again once it is known.
        let whole = text.starts_with('{').then(|| text.split_once('}').map(|(_, rest)| format!("https://a.example{rest}"))).flatten();
        let stand_in = fill_with(whole.as_deref().unwrap_or(text), "a");
        let url = Url::parse(&stand_in).map_err(|_| refused("is not a URL"))?;
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none() && !stand_in.contains('@');
        if !["https", "http"].contains(&url.scheme()) || !bare {
            return Err(refused("takes an http(s) URL without user name, query and fragment"));
        }
        if url.as_str().trim_end_matches('/') != stand_in.trim_end_matches('/') || stand_in.contains(['\\', '%']) {
            return Err(refused("takes a URL in its normal form, without % and \\"));
        }
        match url.host() {
            Some(Host::Domain(_)) => Ok(()),
            _ => Err(refused("names no address: only hosts by name may be called")),
        }
    }
}

/// What an inject takes for itself.
fn destination(inject: &Inject) -> (bool, String) {
    match inject {
        Inject::Header { name, .. } => (true, name.to_ascii_lowercase().replace('_', "-")),
        Inject::Query { name, .. } => (false, name.clone()),
        Inject::Basic { .. } => (true, "authorization".into()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The text with each `{…}` replaced.
fn fill_with(text: &str, value: &str) -> String {
    placeholders(text).fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), value))
}

/// That braces only stand around the names of settings that are no secrets.
fn facts_only(connector: &Connector, text: &str) -> Result<(), &'static str> {
    braces_pair(text)?;
    if placeholders(text).all(|name| connector.is_fact(name)) { Ok(()) } else { Err("each {setting} is a form field that is not sensitive") }
}

fn braces_pair(text: &str) -> Result<(), &'static str> {
    if fill_with(text, "").contains(['{', '}']) { Err("has a brace that stands alone") } else { Ok(()) }
}

fn check_host(connector: &Connector, host: &str) -> Result<(), &'static str> {
    if host.len() > 253 || !is_plain(host) {
        return Err("is not the name of a host");
    }
    facts_only(connector, host)?;
    let (name, wild) = host.strip_prefix("*.").map_or((host, false), |name| (name, true));
    let stand_in = fill_with(name, "a");
    let labels: Vec<&str> = stand_in.split('.').collect();
    let is_label = |label: &&str| {
        let inside = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && inside && !label.starts_with('-') && !label.ends_with('-')
    };
    if !labels.iter().all(is_label) {
        return Err("takes a host's name in lower case, perhaps after *., and no scheme, port or path");
    }
    // The URL standard reads a last label of digits, 0x included, as part of an address.
    if !matches!(Url::parse(&format!("https://{stand_in}/")).as_ref().map(Url::host), Ok(Some(Host::Domain(_)))) {
        return Err("names no address: only hosts by name may be called");
    }
    match (wild, labels.as_slice()) {
        (true, _) if name.contains('{') => Err("takes no {setting} after *."),
        (true, [] | [_]) => Err("would open a whole top-level domain"),
        (true, [second, last]) if last.len() == 2 && SHARED.contains(second) => Err("would open a whole public suffix"),
        _ => Ok(()),
    }
}

fn check_inject(connector: &Connector, inject: &Inject) -> Result<(), &'static str> {
    for value in inject.values() {
        if value.len() > MAX_TEXT || !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err("takes at most 512 visible ASCII characters");
        }
        braces_pair(value)?;
        let known = |name: &str| connector.field(name).is_some() || (name == ACCESS_TOKEN && connector.auth_type == AuthType::Oauth2);
        if !placeholders(value).all(known) {
            return Err("each {…} is a form field or, of oauth2, access_token");
        }
    }
    match inject {
        Inject::Header { name, value } => check_header(name, value),
        Inject::Query { name, value } if name.is_empty() || name.len() > 64 || value.is_empty() || !name.bytes().all(is_name_byte) => {
            Err("takes a name of 1 to 64 letters, digits, - and _, and a value")
        }
        Inject::Basic { username, .. } if username.contains(':') => Err("takes no : in the user name"),
        Inject::Basic { username, password } if username.is_empty() && password.is_empty() => Err("takes a user name or a password"),
        Inject::Query { .. } | Inject::Basic { .. } => Ok(()),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte);
    if !plain || value.trim() != value || value.is_empty() {
        return Err("takes a header's name of 1 to 64 letters, digits, - and _, and a value without blanks around it");
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    let ours = ["x-apideck-", "keyledger-", "x-forwarded-", "proxy-", "sec-", "access-control-"].iter().any(|start| name.starts_with(start));
    if ours || RESERVED.contains(&name.as_str()) { Err("is a header that no credential may take") } else { Ok(()) }
}
