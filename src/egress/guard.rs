//! Judges where a call may go: first the URL, then every address that its name resolves to. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::ranges::{Sort, sort};

/// The longest URL, in bytes.
pub const MAX_URL: usize = 4096;
/// The longest name of a host, in bytes, and the longest of its labels.
const MAX_NAME: (usize, usize) = (253, 63);

/// What the operator opens besides the public internet over https.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Ranges that may be called although they are not public, over http and on any port as well.
    pub allowed: Vec<IpNet>,
}

/// Why a call does not leave. The texts repeat nothing of the URL: it may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefusal {
    /// The URL standard cannot read it.
    #[error("not a URL")]
    NotAUrl,
    /// Longer than [`MAX_URL`].
    #[error("the URL is longer than {MAX_URL} bytes")]
    TooLong,
    /// White space, control characters or backslashes: parsers disagree about them.
    #[error("the URL holds white space, a control character or a backslash")]
    Characters,
    /// Neither https nor http.
    #[error("the URL is not https")]
    Scheme,
    /// Credentials in the URL, even empty ones.
    #[error("the URL holds a user name or password")]
    Userinfo,
    /// No host.
    #[error("the URL names no host")]
    NoHost,
    /// A method that opens a tunnel or gives the request back.
    #[error("the method opens a tunnel or gives the request back")]
    Method,
    /// An empty or overlong label.
    #[error("the URL's host is not a name")]
    Name,
    /// This machine, by name, while no loopback address is opened.
    #[error("the host is this machine")]
    Localhost,
    /// An address that is not public and that the operator did not open.
    #[error("the host is, or resolves to, {0}")]
    Address(&'static str),
    /// http to an address that the operator did not open.
    #[error("http is only for addresses that the operator opened: use https")]
    Plain,
    /// Another port than 443 on an address that the operator did not open.
    #[error("port {0} is only for addresses that the operator opened: use 443")]
    Port(u16),
    /// The name resolved to nothing.
    #[error("the host has no address")]
    NoAddress,
    /// The resolved address is another than the one that the URL spells out.
    #[error("the host's address is not the one in the URL")]
    Mismatch,
}

/// A URL that passed, as far as it can be judged without its addresses.
#[derive(Clone)]
pub struct Target {
    url: Url,
    port: u16,
    literal: Option<IpAddr>,
    /// What holds unless every address is opened.
    unless_opened: Option<EgressRefusal>,
}

/// Shows the host only: the path and the query may hold secrets.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}://{}:{})", self.url.scheme(), self.host(), self.port)
    }
}

impl Target {
    /// The URL in its normal form: what is sent, so that nobody reads it a second time.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The host in its normal form.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, given or the scheme's own.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, when the URL spells one out: there is nothing to resolve then.
    #[must_use]
    pub const fn literal(&self) -> Option<IpAddr> {
        self.literal
    }
}

impl Policy {
    /// Judges a URL, before any name is resolved.
    pub fn vet_url(&self, url: &str) -> Result<Target, EgressRefusal> {
        let mut parsed = parse(url)?;
        let literal = match parsed.host().ok_or(EgressRefusal::NoHost)? {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                self.vet_name(&name)?;
                parsed.set_host(Some(&name)).map_err(|_| EgressRefusal::Name)?;
                None
            }
        };
        let port = parsed.port_or_known_default().filter(|port| *port != 0).ok_or(EgressRefusal::Port(0))?;
        let unless_opened = match (parsed.scheme(), port) {
            ("https", 443) => None,
            ("https", port) => Some(EgressRefusal::Port(port)),
            _ => Some(EgressRefusal::Plain),
        };
        let target = Target { url: parsed, port, literal, unless_opened };
        match (literal, unless_opened) {
            (Some(address), _) => self.vet_addresses(&target, &[address]).map(|_| target),
            (None, Some(refusal)) if self.allowed.is_empty() => Err(refusal),
            (None, _) => Ok(target),
        }
    }

    /// Judges what the target's name resolved to. One refused address refuses them all: a name that points inside and outside is a trap.
    pub fn vet_addresses(&self, target: &Target, resolved: &[IpAddr]) -> Result<Vec<IpAddr>, EgressRefusal> {
        let mut vetted = Vec::with_capacity(resolved.len());
        for address in resolved {
            if target.literal.is_some_and(|literal| literal != *address) {
                return Err(EgressRefusal::Mismatch);
            }
            let opened = self.vet_address(*address)?;
            if let (false, Some(refusal)) = (opened, target.unless_opened) {
                return Err(refusal);
            }
            if !vetted.contains(address) {
                vetted.push(*address);
            }
        }
        if vetted.is_empty() { Err(EgressRefusal::NoAddress) } else { Ok(vetted) }
    }

    /// Whether the operator opened an address that may be called.
    fn vet_address(&self, address: IpAddr) -> Result<bool, EgressRefusal> {
        let opened = self.allowed.iter().any(|range| range.contains(&address));
        match sort(address) {
            Sort::Barred(what) => Err(EgressRefusal::Address(what)),
            Sort::Nat64(inside) if opened => self.vet_address(IpAddr::V4(inside)),
            Sort::Nat64(_) => Err(EgressRefusal::Address("a NAT64 address")),
            Sort::Closed(what) if !opened => Err(EgressRefusal::Address(what)),
            Sort::Closed(_) | Sort::Public => Ok(opened),
        }
    }

    fn vet_name(&self, name: &str) -> Result<(), EgressRefusal> {
        let labels_fit = name.split('.').all(|label| !label.is_empty() && label.len() <= MAX_NAME.1);
        if name.len() > MAX_NAME.0 || !labels_fit {
            return Err(EgressRefusal::Name);
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        let local = last == "localhost" || ["localhost.localdomain", "localhost6.localdomain6", "localhost6", "ip6-localhost", "ip6-loopback"].contains(&name);
        let loopback_opened = || self.allowed.iter().any(|range| range.network().is_loopback() || range.contains(&IpAddr::from([127, 0, 0, 1])));
        if local && !loopback_opened() { Err(EgressRefusal::Localhost) } else { Ok(()) }
    }
}

/// Reads a URL by the URL standard, after refusing what other readers would see differently.
fn parse(url: &str) -> Result<Url, EgressRefusal> {
    if url.len() > MAX_URL {
        return Err(EgressRefusal::TooLong);
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(EgressRefusal::Characters);
    }
    let parsed = Url::parse(url).map_err(|error| if error == url::ParseError::EmptyHost { EgressRefusal::NoHost } else { EgressRefusal::NotAUrl })?;
    if !["https", "http"].contains(&parsed.scheme()) {
        return Err(EgressRefusal::Scheme);
    }
    let authority = url.split_once(':').map_or("", |(_, rest)| rest).trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(EgressRefusal::Userinfo);
    }
    Ok(parsed)
}
