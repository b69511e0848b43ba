//! The token request of RFC 6749, as a connector's data describes it. Pure.

use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::credentials::connector::{ClientAuth, Connector, Encoding, Oauth, placeholders};
use crate::kernel::{Refusal, Secret};

/// What a token is asked for with.
pub enum Grant {
    /// RFC 6749, section 4.1.3.
    AuthorizationCode {
        /// The code that the service gave.
        code: Secret,
        /// The same as was sent to the authorize URL.
        redirect_uri: String,
        /// RFC 7636.
        code_verifier: Option<Secret>,
    },
    /// RFC 6749, section 4.4.
    ClientCredentials,
    /// RFC 6749, section 4.3.
    Password,
    /// RFC 6749, section 6.
    RefreshToken(Secret),
}

/// One HTTP request, `POST`.
pub struct TokenRequest {
    /// Where.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, Secret)>,
    /// The body.
    pub body: Secret,
}

/// Looks a setting up: facts and secrets alike.
pub type Settings<'a> = &'a dyn Fn(&str) -> Option<Secret>;

/// Builds the request. Fields come in one order: `grant_type`, those of the grant, the client's, `scope`, further ones by name.
pub fn token_request(connector: &Connector, grant: &Grant, settings: Settings<'_>) -> Result<TokenRequest, Refusal> {
    let oauth = speaks_oauth(connector)?;
    let scope = scope(oauth).filter(|_| matches!(grant, Grant::ClientCredentials | Grant::Password));
    let mut further: Vec<Field> = scope.into_iter().map(|scope| ("scope".to_owned(), Secret::from(scope))).collect();
    further.extend(oauth.token_params.iter().map(|(name, value)| (name.clone(), Secret::from(value.as_str()))));
    client_request(connector, &oauth.token_url, grant_fields(connector, grant, settings)?, further, settings)
}

pub(super) fn speaks_oauth(connector: &Connector) -> Result<&Oauth, Refusal> {
    connector.oauth.as_ref().ok_or_else(|| Refusal::InvalidState(format!("{} does not use OAuth", connector.name)))
}

/// A field of a request.
pub(super) type Field = (String, Secret);

/// A request by which the client proves itself, between the first fields and further ones.
pub(super) fn client_request(
    connector: &Connector,
    url: &str,
    mut fields: Vec<Field>,
    further: Vec<Field>,
    settings: Settings<'_>,
) -> Result<TokenRequest, Refusal> {
    let oauth = speaks_oauth(connector)?;
    let mut headers = vec![("accept", Secret::from("application/json"))];
    let (id, secret) = (needed(connector, settings, "client_id")?, needed(connector, settings, "client_secret")?);
    match oauth.client_auth {
        ClientAuth::Body => fields.extend([("client_id".to_owned(), id), ("client_secret".to_owned(), secret)]),
        ClientAuth::Basic => headers.push(("authorization", basic(&id, &secret))),
    }
    fields.extend(further);
    let content_type = match oauth.encoding {
        Encoding::Form => "application/x-www-form-urlencoded",
        Encoding::Json => "application/json",
    };
    headers.push(("content-type", Secret::from(content_type)));
    Ok(TokenRequest { url: fill(connector, url, settings)?, headers, body: encode(oauth.encoding, &fields) })
}

fn grant_fields(connector: &Connector, grant: &Grant, settings: Settings<'_>) -> Result<Vec<(String, Secret)>, Refusal> {
    let field = |name: &str, value| (name.to_owned(), value);
    Ok(match grant {
        Grant::AuthorizationCode { code, redirect_uri, code_verifier } => {
            let mut fields = vec![field("grant_type", Secret::from("authorization_code")), field("code", code.duplicate())];
            fields.push(field("redirect_uri", Secret::from(redirect_uri.as_str())));
            fields.extend(code_verifier.as_ref().map(|verifier| field("code_verifier", verifier.duplicate())));
            fields
        }
        Grant::ClientCredentials => vec![field("grant_type", Secret::from("client_credentials"))],
        Grant::Password => vec![
            field("grant_type", Secret::from("password")),
            field("username", needed(connector, settings, "username")?),
            field("password", needed(connector, settings, "password")?),
        ],
        Grant::RefreshToken(token) => vec![field("grant_type", Secret::from("refresh_token")), field("refresh_token", token.duplicate())],
    })
}

pub(super) fn needed(connector: &Connector, settings: Settings<'_>, id: &str) -> Result<Secret, Refusal> {
    settings(id).ok_or_else(|| Refusal::InvalidState(format!("{} requires {id} to be set before authorizing.", connector.name)))
}

pub(super) fn scope(oauth: &Oauth) -> Option<String> {
    (!oauth.scopes.is_empty()).then(|| oauth.scopes.join(oauth.scope_separator.as_deref().unwrap_or(" ")))
}

/// RFC 6749, section 2.3.1: both parts form-encoded, then Basic.
fn basic(id: &Secret, secret: &Secret) -> Secret {
    let encoded = |secret: &Secret| byte_serialize(secret.expose()).collect::<String>();
    let pair = zeroize::Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    Secret::from(format!("Basic {}", <base64ct::Base64 as base64ct::Encoding>::encode_string(pair.as_bytes())))
}

/// The URL with its `{setting}` parts filled in. A value can only be a part of a host or path segment: anything that could move the
/// request to another place is refused.
pub fn fill(connector: &Connector, url: &str, settings: Settings<'_>) -> Result<String, Refusal> {
    let mut filled = url.to_owned();
    for name in placeholders(url) {
        let value = needed(connector, settings, name)?;
        let text = std::str::from_utf8(value.expose()).unwrap_or_default();
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        // What is chosen from a list may end the host's name: anything else there would be somebody else's.
        let options = connector.field(name).and_then(|field| field.options.as_ref());
        if options.is_some_and(|options| !options.iter().any(|option| option.value == text)) {
            return Err(Refusal::invalid(format!("settings.{name}"), "takes one of its options"));
        }
        // A dot at an edge could make a path segment of `.` or `..`, also together with the setting beside it.
        if text.is_empty() || text.len() > 255 || !plain || text.contains("..") || text.starts_with('.') || text.ends_with('.') {
            return Err(Refusal::invalid(format!("settings.{name}"), "takes letters, digits, - _ and, between them, single dots"));
        }
        filled = filled.replace(&format!("{{{name}}}"), text);
    }
    Ok(filled)
}

fn encode(encoding: Encoding, fields: &[(String, Secret)]) -> Secret {
    match encoding {
        Encoding::Form => {
            let mut form = Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, &String::from_utf8_lossy(value.expose()));
            }
            Secret::from(form.finish())
        }
        Encoding::Json => {
            let text = |value: &Secret| Value::from(String::from_utf8_lossy(value.expose()).into_owned()).to_string();
            let members: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), text(value))).collect();
            Secret::from(format!("{{{}}}", members.join(",")))
        }
    }
}
