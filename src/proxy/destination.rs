//! Where a call goes: read once, in a form that nobody reads otherwise, and only to hosts that the connector names. Pure.

use url::{Host, Url};

use crate::credentials::connector::{Api, Connector};
use crate::egress::MAX_URL;
use crate::kernel::Refusal;
use crate::oauth::{Settings, fill};

/// The header that names the URL.
pub const DOWNSTREAM_URL: &str = "x-apideck-downstream-url";
/// A path is unescaped so often at most: whoever escapes deeper has something to hide.
const ESCAPED: usize = 4;

fn refused(problem: &str) -> Refusal {
    Refusal::invalid(DOWNSTREAM_URL, problem)
}

/// That what was asked for is a URL or a path that everybody reads alike.
pub fn check_form(asked: &str) -> Result<(), Refusal> {
    sound(asked).map_err(refused)?;
    is_absolute(asked).map(drop)
}

/// The URL to call: an absolute one on a host of the connector's, or a path below its base URL.
pub fn destination(connector: &Connector, api: &Api, settings: Settings<'_>, asked: &str) -> Result<Url, Refusal> {
    sound(asked).map_err(refused)?;
    let base = base(connector, api, settings)?;
    if !is_absolute(asked)? {
        let (path, query) = asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
        let mut joined = format!("{}/{}", base.as_str().trim_end_matches('/'), path.strip_prefix('/').unwrap_or(path));
        if let Some(query) = query {
            joined = format!("{joined}?{query}");
        }
        return Url::parse(&joined).map_err(|_| refused("is not a path"));
    }
    let url = Url::parse(asked).map_err(|_| refused("is not a URL"))?;
    let own = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    if own(&url) != own(&base) && own(&url) != ("https".into(), Some(443)) {
        return Err(refused("takes https on its own port, or what the connector's base URL has"));
    }
    if !is_allowed(connector, api, settings, &url, &base) {
        return Err(refused("names a host that the connector does not: its own are in `api` of GET /v1/connectors/{unified_api}/{service_id}"));
    }
    Ok(url)
}

/// Whether it names a host. What looks like one, and is none that a reader would expect, is refused.
fn is_absolute(asked: &str) -> Result<bool, Refusal> {
    let scheme = asked.split(['/', '?']).next().unwrap_or_default().split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if !["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => Err(refused("takes https only")),
        Some(scheme) => match asked[scheme.len()..].strip_prefix("://") {
            Some(rest) if rest.starts_with('/') => Err(refused("names no host")),
            Some(rest) => check_authority(rest.split(['/', '?']).next().unwrap_or_default()).map(|()| true),
            None => Err(refused("takes // after the scheme")),
        },
        None if asked.starts_with("//") => Err(refused("takes a whole URL or a path, and no host without a scheme")),
        None => Ok(false),
    }
}

fn check_authority(authority: &str) -> Result<(), Refusal> {
    match authority {
        "" => Err(refused("names no host")),
        with_user if with_user.contains('@') => Err(refused("takes no user name or password")),
        // The URL standard would unescape the name, and leave the dot.
        odd if odd.contains('%') || odd.ends_with('.') || odd.contains(".:") || odd.ends_with(':') => Err(refused("takes a host's name as it is written")),
        _ => Ok(()),
    }
}

/// That it reads the same to everybody: what goes up, hides a slash or begins another part is refused.
fn sound(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_URL {
        return Err("is too long");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '#', '{', '}', '<', '>', '"', '`', '^', '|']) {
        return Err("takes visible ASCII characters, and no backslash, fragment, brace, bracket or quote");
    }
    let path = text.split('?').next().unwrap_or_default();
    if path.split('%').skip(1).any(|rest| !rest.as_bytes().get(..2).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))) {
        return Err("has a % without two hexadecimal digits");
    }
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let mut plain = path.to_ascii_lowercase();
    for _ in 0..ESCAPED {
        if ["%2f", "%5c"].iter().any(|hidden| plain.contains(hidden)) {
            return Err("hides a slash");
        }
        if plain.split('%').skip(1).any(hides_control) {
            return Err("hides a control character");
        }
        plain = plain.replace("%2e", ".").replace("%3b", ";");
        // A parameter at a segment's end is not part of its name to some servers.
        if plain.split('/').any(|segment| [".", ".."].contains(&segment.split(';').next().unwrap_or_default())) {
            return Err("goes up, or stays");
        }
        plain = plain.replace("%25", "%");
    }
    Ok(())
}

/// Whether what follows a % stands for a control character: 00 to 1f, or 7f.
fn hides_control(escaped: &str) -> bool {
    matches!(escaped.as_bytes(), [b'0' | b'1', second, ..] if second.is_ascii_hexdigit()) || escaped.starts_with("7f")
}

/// The connector's base URL with the connection's settings in it.
fn base(connector: &Connector, api: &Api, settings: Settings<'_>) -> Result<Url, Refusal> {
    let whole = api.base_url.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let text = match whole {
        Some((name, rest)) => {
            let value = settings(name).ok_or_else(|| missing(connector, name))?;
            let text = std::str::from_utf8(value.expose()).unwrap_or_default();
            sound(text).and_then(|()| whole_url(text)).map_err(|problem| Refusal::invalid(format!("settings.{name}"), problem))?;
            format!("{}{}", text.trim_end_matches('/'), fill(connector, rest, settings)?)
        }
        None => fill(connector, &api.base_url, settings)?,
    };
    let wrong = || Refusal::InvalidState("the connector's base URL is not a URL with the connection's settings in it".into());
    let url = Url::parse(&text).map_err(|_| wrong())?;
    if sound(url.as_str()).is_err() || url.query().is_some() || !url.has_host() { Err(wrong()) } else { Ok(url) }
}

/// A setting that is a URL of its own.
fn whole_url(text: &str) -> Result<(), &'static str> {
    let problem = "takes an http(s) URL without user name, query and fragment";
    let url = Url::parse(text).map_err(|_| problem)?;
    let bare = url.query().is_none() && url.username().is_empty() && url.password().is_none() && !text.contains(['@', '?']);
    if ["https", "http"].contains(&url.scheme()) && bare && url.has_host() { Ok(()) } else { Err(problem) }
}

/// A setting that the call needs is not there.
pub(super) fn missing(connector: &Connector, id: &str) -> Refusal {
    let label = connector.field(id).map_or(id, |field| field.label.as_str());
    Refusal::InvalidState(format!("{} requires {label} to be set before calls are passed through", connector.name))
}

fn is_allowed(connector: &Connector, api: &Api, settings: Settings<'_>, url: &Url, base: &Url) -> bool {
    if url.host() == base.host() {
        return true;
    }
    let Some(Host::Domain(name)) = url.host() else { return false };
    api.hosts.iter().any(|host| match host.strip_prefix("*.") {
        Some(parent) => name.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.')).is_some_and(|label| !label.is_empty()),
        // A host whose setting is missing is nobody's.
        None if host.contains('{') => fill(connector, host, settings).is_ok_and(|host| host.eq_ignore_ascii_case(name)),
        None => host == name,
    })
}
