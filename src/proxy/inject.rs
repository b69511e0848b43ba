//! Puts credentials into a request: headers, parameters and Basic pairs, as the connector says. Pure.

use base64ct::{Base64, Encoding};
use url::Url;
use zeroize::Zeroizing;

use super::destination::missing;
use super::screen::Screen;
use crate::credentials::connector::{ACCESS_TOKEN, Api, AuthType, Connector, Inject};
use crate::kernel::{Refusal, Secret};
use crate::oauth::Settings;

/// What goes into a request.
pub struct Injected {
    /// Headers, by names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// Parameters of the query.
    pub query: Vec<(String, Secret)>,
    /// What must not come back.
    pub screen: Screen,
    /// Whether the access token is among it: a refusal may then come of its end.
    pub holds_token: bool,
}

/// What stands for the places in a value.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Values by setting.
    pub settings: Settings<'a>,
    /// The access token, if the service speaks OAuth.
    pub token: Option<&'a Secret>,
}

/// The credentials of a connection in their places.
pub fn inject(connector: &Connector, api: &Api, given: Given<'_>) -> Result<Injected, Refusal> {
    let injects = api.injects(connector.auth_type);
    if injects.is_empty() && connector.auth_type != AuthType::None {
        return Err(Refusal::InvalidState(format!("the connector of {} does not say where its credentials go", connector.name)));
    }
    let mut injected = Injected { headers: Vec::new(), query: Vec::new(), screen: Screen::default(), holds_token: false };
    for inject in &injects {
        match inject {
            Inject::Header { name, value } => {
                let value = injected.render(connector, value, given)?;
                injected.header(name, value)?;
            }
            Inject::Query { name, value } => {
                let value = injected.render(connector, value, given)?;
                if std::str::from_utf8(value.expose()).is_err() {
                    return Err(Refusal::InvalidState("a credential of the connection is not text".into()));
                }
                injected.query.push((name.clone(), value));
            }
            Inject::Basic { username, password } => {
                let (username, password) = (injected.render(connector, username, given)?, injected.render(connector, password, given)?);
                if username.expose().contains(&b':') {
                    return Err(Refusal::InvalidState("the user name of the connection holds a colon, which HTTP Basic cannot carry".into()));
                }
                let pair = Zeroizing::new([username.expose(), b":", password.expose()].concat());
                let encoded = Zeroizing::new(Base64::encode_string(&pair));
                injected.screen.watch(encoded.as_bytes());
                injected.header("authorization", Secret::new([b"Basic ", encoded.as_bytes()].concat()))?;
            }
        }
    }
    Ok(injected)
}

impl Injected {
    /// A value with what stands for its places. Secrets among it must not come back.
    fn render(&mut self, connector: &Connector, template: &str, given: Given<'_>) -> Result<Secret, Refusal> {
        let mut rendered = Zeroizing::new(Vec::with_capacity(1024));
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            rendered.extend_from_slice(before.as_bytes());
            let is_token = name == ACCESS_TOKEN && connector.auth_type == AuthType::Oauth2;
            let value = if is_token { given.token.map(Secret::duplicate) } else { (given.settings)(name) };
            let value = value.ok_or_else(|| missing(connector, name))?;
            if is_token || connector.field(name).is_none_or(|field| field.sensitive) {
                self.screen.watch(value.expose());
            }
            self.holds_token |= is_token;
            rendered.extend_from_slice(value.expose());
            rest = after;
        }
        rendered.extend_from_slice(rest.as_bytes());
        Ok(Secret::new(std::mem::take(&mut *rendered)))
    }

    fn header(&mut self, name: &str, value: Secret) -> Result<(), Refusal> {
        let carries = value.expose().iter().all(|byte| (b' '..=b'~').contains(byte) || *byte >= 0x80);
        if !carries || value.expose().trim_ascii() != value.expose() {
            return Err(Refusal::InvalidState(
                "a credential of the connection holds what a header cannot carry: blanks around it, or a control character".into(),
            ));
        }
        self.headers.push((name.to_ascii_lowercase(), value));
        Ok(())
    }

    /// The URL with the parameters in it. A caller's own parameter of such a name is refused: services disagree on which of two counts.
    pub fn into_url(&self, mut url: Url) -> Result<Secret, Refusal> {
        let taken = |name: &str| self.query.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if url.query_pairs().any(|(name, _)| taken(&name)) {
            return Err(Refusal::invalid(super::DOWNSTREAM_URL, "has a parameter that the vault puts in itself"));
        }
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &String::from_utf8_lossy(value.expose()));
            }
        }
        Ok(Secret::from(String::from(url)))
    }
}
