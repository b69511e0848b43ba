//! The client: one server, one token, limits for everything, and errors that say what to do next.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use hyper::body::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::super::Output;
use super::show::plain;

const CONNECT: Duration = Duration::from_secs(5);
/// A handler of the server may take half of it.
const WHOLE: Duration = Duration::from_secs(30);
/// An answer that lasts has no end in time; that it says nothing is noticed by who reads it.
const LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The largest answer, in bytes.
const ANSWER: usize = 16 * 1024 * 1024;
/// The longest token, in bytes.
const TOKEN: u64 = 4096;

/// Which server is asked, and as whom.
#[derive(Args)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct Connect {
    /// Where the server is: https, or http on this machine.
    #[arg(long, env = "KEYLEDGER_SERVER", default_value = "http://127.0.0.1:8200", value_name = "URL", value_parser = server, global = true)]
    server: Url,
    /// Where the token lies.
    #[arg(
        long,
        value_name = "FILE",
        help = "A file of mode 0600 that holds the token; without it, the environment variable KEYLEDGER_TOKEN does",
        global = true
    )]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in place of the built-in ones.
    #[arg(long, env = "KEYLEDGER_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// How to print the answer: as a table, or as JSON.
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "table|json", global = true)]
    pub output: Output,
}

/// A token goes over https, or stays on this machine.
fn server(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "takes a URL such as https://vault.example.com:8200")?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("takes a URL with a host".into()),
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("takes scheme, host, port and path, nothing more".into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        "http" => Err("http would send the token in the clear: only https leaves this machine".into()),
        _ => Err("takes an https or http URL".into()),
    }
}

/// A request.
#[derive(Default)]
pub(in crate::cli) struct Call<'a> {
    pub method: &'a str,
    /// Below `/v1`, segment by segment.
    pub path: Vec<&'a str>,
    pub query: Vec<(&'a str, String)>,
    /// Type and bytes.
    pub body: Option<(&'static str, Zeroizing<Vec<u8>>)>,
    pub if_match: Option<u64>,
    /// Sent twice, it is carried out once.
    pub repeatable: bool,
    /// How long the answer may take, where that is longer than most.
    pub within: Option<Duration>,
}

/// Why there is no answer that could be shown.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(in crate::cli) struct Failure {
    /// The status of the server's answer; 0 where there was none.
    pub status: u16,
    /// The word in the problem's type; empty where there is none.
    pub kind: String,
    text: String,
    /// Where in the body it is wrong.
    pub pointers: Vec<String>,
    /// Seconds until one may come back.
    pub seconds: Option<u64>,
    /// What to do about it.
    pub next: Option<String>,
}

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Self { status: 0, kind: String::new(), text: text.into(), pointers: Vec::new(), seconds: None, next: None }
    }

    pub fn then(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// What the server says: its problem and each wrong part, or the error of an OAuth route.
    fn of(status: u16, seconds: Option<u64>, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(plain);
        let detail = member(&body, "detail").or_else(|| member(&body, "error_description")).or_else(|| member(&body, "error"));
        let Some(text) = detail else {
            return Self { status, ..Self::new(format!("an answer with status {status} that is none of a keyledger server: is --server right?")) };
        };
        let faults = body.get("errors").and_then(Value::as_array).into_iter().flatten();
        let (pointers, lines): (Vec<_>, Vec<_>) = faults
            .filter_map(|fault| {
                let (pointer, detail) = (member(fault, "pointer")?, member(fault, "detail")?);
                let line = if text.contains(&detail) { format!("\n  at {pointer}") } else { format!("\n  at {pointer}: {detail}") };
                Some((pointer, line))
            })
            .unzip();
        let kind = member(&body, "type").and_then(|kind| kind.rsplit(':').next().map(str::to_owned)).unwrap_or_default();
        Self { status, kind, pointers, seconds, ..Self::new(text + &lines.concat()) }
    }
}

/// What came of one try.
enum Lost {
    /// Certainly nothing was carried out, or the server said what.
    Failed(Failure),
    /// The connection broke; it may have been carried out.
    Broken,
}

/// A server, and who asks it.
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<HeaderValue>,
}

impl Client {
    pub fn new(connect: &Connect, open: bool) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(connect.ca.as_deref())?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("keyledger/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let token = if open { None } else { Some(token(connect.token_file.as_deref())?) };
        Ok(Self { http, server: connect.server.clone(), token })
    }

    /// The server's answer. What it carries out once may be sent once more when the connection breaks.
    pub async fn send(&self, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let key = base16ct::lower::encode_string(&super::super::random().array::<16>());
        for may_repeat in [call.repeatable, false] {
            match self.once(call, &key).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::Broken) if may_repeat => {}
                Err(Lost::Failed(failure)) => return Err(failure),
                Err(Lost::Broken) => break,
            }
        }
        let text = "the connection broke before the answer was whole";
        Err(Failure::new(if call.method == "GET" { text.into() } else { format!("{text}: look whether it was carried out before trying again") }))
    }

    /// An answer whose body is read while it comes, however long that takes; from an event on, if one was seen.
    pub async fn open(&self, call: &Call<'_>, last_seen: Option<u64>) -> Result<Response, Failure> {
        let failed = |lost| match lost {
            Lost::Failed(failure) => failure,
            Lost::Broken => Failure::new("the connection broke before the answer began"),
        };
        let mut request = self.http.get(self.url(call).map_err(failed)?).timeout(LASTS);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some(last_seen) = last_seen {
            request = request.header("last-event-id", last_seen);
        }
        let sent = tokio::time::timeout(WHOLE, request.send()).await.map_err(|_| Failure::new("the answer did not begin in time"))?;
        let answer = sent.map_err(|error| failed(self.lost(&error, call)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, seconds) = (answer.status(), answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()));
        let body = read(answer).await.map_err(|error| failed(error.map_or_else(too_large, |error| self.lost(&error, call))))?;
        Err(Failure::of(status.as_u16(), seconds, &body))
    }

    async fn once(&self, call: &Call<'_>, key: &str) -> Result<Zeroizing<Vec<u8>>, Lost> {
        let url = self.url(call)?;
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
        let mut request = self.http.request(method, url);
        if let Some(within) = call.within {
            request = request.timeout(within);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if call.method != "GET" {
            request = request.header("idempotency-key", key);
        }
        if let Some(version) = call.if_match {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some((sort, body)) = &call.body {
            request = request.header(CONTENT_TYPE, *sort).body(Bytes::from_owner(body.clone()));
        }
        let answer = request.send().await.map_err(|error| self.lost(&error, call))?;
        let (status, seconds) = (answer.status(), answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()));
        let body = read(answer).await.map_err(|error| error.map_or_else(too_large, |error| self.lost(&error, call)))?;
        if status.is_success() { Ok(body) } else { Err(Lost::Failed(Failure::of(status.as_u16(), seconds, &body))) }
    }

    fn url(&self, call: &Call<'_>) -> Result<Url, Lost> {
        // The URL standard drops these two from a path, and another thing would be named.
        if call.path.iter().any(|step| [".", "..", ""].contains(step)) {
            return Err(Lost::Failed(Failure { status: 404, ..Failure::new("an empty name, `.` and `..` name nothing") }));
        }
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    fn lost(&self, error: &reqwest::Error, call: &Call<'_>) -> Lost {
        if error.is_connect() {
            let cause = innermost(error);
            let failure = Failure::new(format!("cannot connect to {}: {cause}", self.server));
            return Lost::Failed(if cause.contains("certificate") {
                failure.then("--ca FILE says which certificates to trust")
            } else {
                failure.then("is it running? `keyledger serve` starts one; --server or KEYLEDGER_SERVER says where it is")
            });
        }
        if error.is_timeout() {
            let unknown = if call.method == "GET" { "" } else { ": look whether it was carried out before trying again" };
            return Lost::Failed(Failure::new(format!("no whole answer within {} seconds{unknown}", WHOLE.as_secs())));
        }
        Lost::Broken
    }
}

fn too_large() -> Lost {
    Lost::Failed(Failure::new(format!("the answer is larger than {ANSWER} bytes")))
}

/// The body, up to the limit; an error without a cause is that limit.
async fn read(mut answer: Response) -> Result<Zeroizing<Vec<u8>>, Option<reqwest::Error>> {
    let mut body = Zeroizing::new(Vec::with_capacity(64 * 1024));
    while let Some(chunk) = answer.chunk().await.map_err(Some)? {
        if chunk.len() > ANSWER - body.len() {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    plain(&cause.to_string())
}

/// Trusts the certificates of a file, or those that are built in.
fn tls(ca: Option<&Path>) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        Some(path) => {
            let read = || format!("cannot read certificates from {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
            ensure!(!roots.is_empty(), "{} holds no certificate in PEM", path.display());
        }
    }
    let ring = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(ring.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// The token of a file, or of the environment: never of the command line, which every process of the machine can see.
fn token(file: Option<&Path>) -> anyhow::Result<HeaderValue> {
    let text = match file {
        Some(path) => read_token(path)?,
        None => Zeroizing::new(std::env::var("KEYLEDGER_TOKEN").unwrap_or_default()),
    };
    let text = text.trim();
    if text.is_empty() {
        bail!("no token\nnext: put one into the environment variable KEYLEDGER_TOKEN, or name a file with --token-file; `keyledger login LOGIN` prints one");
    }
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(fits, "the token holds characters that no token has");
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {text}")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_token(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let read = || format!("cannot read the token from {}", path.display());
    let file = std::fs::File::open(path).with_context(read)?;
    let mode = file.metadata().with_context(read)?.mode();
    if mode & 0o077 != 0 {
        bail!("others may read {0}\nnext: chmod 600 {0}", path.display());
    }
    let mut text = Zeroizing::new(String::with_capacity(4097));
    file.take(TOKEN + 1).read_to_string(&mut text).with_context(read)?;
    ensure!(text.len() as u64 <= TOKEN, "{} is longer than any token", path.display());
    Ok(text)
}
