//! A call that is passed through: credentials in, renewed if the service refuses them, and the answer back.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::destination::{check_form, destination};
use super::headers::{back, onward};
use super::inject::{Given, Injected, inject};
use super::relay::Relayed;
use super::screen::Sieve;
use crate::credentials::AnyState;
use crate::credentials::connection::{self, Connection};
use crate::credentials::connector::{Api, Connector};
use crate::egress::{EgressError, Request, StreamLimits, Streamed};
use crate::kernel::{Refusal, Secret, StreamId};
use crate::oauth::{Exchanges, NoCredentials, Usable, Wanted};
use crate::vault::{Call, Vault, VaultError};
use crate::views::Views;

/// What a caller wants passed through.
pub struct Asked {
    /// The method.
    pub method: Method,
    /// A whole URL, or a path below the connector's base URL.
    pub url: String,
    /// The caller's headers, those among them that stay here.
    pub headers: HeaderMap,
    /// The body; it may be sent twice.
    pub body: Zeroizing<Vec<u8>>,
}

/// An answer on its way back.
pub struct Passed {
    /// The service's status.
    pub status: StatusCode,
    /// The headers that may come back.
    pub headers: HeaderMap,
    /// The body, as it comes.
    pub body: Relayed,
}

/// Why no answer comes back.
#[derive(Debug, thiserror::Error)]
pub enum Unpassed {
    /// There are no credentials to call with.
    #[error("there are no credentials to call with")]
    Credentials(NoCredentials),
    /// The service gave no answer, or was not called.
    #[error(transparent)]
    Service(#[from] EgressError),
    /// The service's answer is in an encoding that cannot be looked through.
    #[error("the service packed its answer, although it was asked not to")]
    Packed,
    /// A credential of the connection stood in the answer's headers.
    #[error("the answer held a credential of the connection")]
    Withheld,
}

impl From<NoCredentials> for Unpassed {
    fn from(error: NoCredentials) -> Self {
        Self::Credentials(error)
    }
}

impl From<Refusal> for Unpassed {
    fn from(refusal: Refusal) -> Self {
        Self::Credentials(refusal.into())
    }
}

impl From<VaultError> for Unpassed {
    fn from(error: VaultError) -> Self {
        Self::Credentials(error.into())
    }
}

/// Notes the call when it is dropped, however it ended.
pub(super) struct Used {
    vault: Arc<Vault>,
    wanted: Wanted,
    call: Option<Call>,
}

impl Used {
    /// The answer held a secret.
    pub fn withheld(&mut self) {
        if let Some(call) = &mut self.call {
            call.withheld = true;
        }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.vault.note_call(&self.wanted.principal, self.wanted.meta.rule.as_ref(), call);
        }
    }
}

/// A service's answer before it is looked at.
struct Answered {
    stream: Streamed,
    injected: Injected,
    used: Used,
    until: Instant,
}

/// Passes a call through, once more with other credentials if the service refuses the access token.
pub async fn pass(vault: &Arc<Vault>, exchanges: &Arc<Exchanges>, limits: StreamLimits, wanted: &Wanted, asked: &Asked) -> Result<Passed, Unpassed> {
    check_form(&asked.url)?;
    vault.room_for_calls().await?;
    let usable = exchanges.credentials(wanted, None).await?;
    let mut answered = call(vault, exchanges, limits, wanted, asked, &usable).await?;
    if let (401, true, Some((refused, _))) = (answered.stream.status, answered.injected.holds_token, &usable.access) {
        drop(answered);
        let usable = exchanges.credentials(wanted, Some(refused)).await?;
        answered = call(vault, exchanges, limits, wanted, asked, &usable).await?;
    }
    let Answered { stream, injected, mut used, until } = answered;
    if is_packed(&stream.headers) {
        return Err(Unpassed::Packed);
    }
    let headers = back(&stream.headers);
    if headers.values().any(|value| injected.screen.holds(value.as_bytes())) {
        used.withheld();
        return Err(Unpassed::Withheld);
    }
    let status = StatusCode::from_u16(stream.status).map_err(|_| EgressError::Lost)?;
    Ok(Passed { status, headers, body: Relayed::begin(stream, Sieve::new(injected.screen), until, used) })
}

async fn call(
    vault: &Arc<Vault>,
    exchanges: &Arc<Exchanges>,
    limits: StreamLimits,
    wanted: &Wanted,
    asked: &Asked,
    usable: &Usable,
) -> Result<Answered, Unpassed> {
    let views = vault.views();
    let (connector, api) = service(&views, wanted.connection)?;
    let settings = |id: &str| usable.settings.get(id).map(Secret::duplicate);
    let url = destination(connector, api, &settings, &asked.url)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let injected = inject(connector, api, Given { settings: &settings, token: usable.access.as_ref().map(|(_, token)| token) })?;
    let url = injected.into_url(url)?;
    let mut headers = onward(&asked.headers, &injected.headers)?;
    // What is packed cannot be looked through.
    headers.push((header::ACCEPT_ENCODING.as_str().to_owned(), Secret::from("identity")));
    headers.extend(injected.headers.iter().map(|(name, value)| (name.clone(), value.duplicate())));
    let request =
        Request { method: asked.method.clone(), url: String::from_utf8_lossy(url.expose()).into_owned(), headers, body: Secret::new(asked.body.to_vec()) };
    let call = Call { connection: wanted.connection, method: asked.method.to_string(), host, status: None, withheld: false, at: vault.now() };
    let mut used = Used { vault: Arc::clone(vault), wanted: wanted.clone(), call: Some(call) };
    let until = Instant::now() + limits.whole;
    match exchanges.egress().open(request, limits).await {
        Ok(stream) => {
            if let Some(call) = &mut used.call {
                call.status = Some(stream.status);
            }
            Ok(Answered { stream, injected, used, until })
        }
        Err(error) => {
            if matches!(error, EgressError::Refused(_) | EgressError::Header) {
                // Nothing was called.
                used.call = None;
            }
            Err(error.into())
        }
    }
}

/// The service of a connection, as far as its connector says how it is called.
fn service(views: &Views, id: StreamId) -> Result<(&Connector, &Api), Refusal> {
    let entry = views.thing(id).ok_or(Refusal::NotFound)?;
    let AnyState::Connection(connection::State::Live(live)) = &entry.state else { return Err(Refusal::NotFound) };
    let Connection { key, .. } = &**live;
    let (_, connector) = views.connector(entry.tenant, &key.unified_api, &key.service_id).ok_or(Refusal::NotFound)?;
    let api = connector.api.as_ref();
    let api = api.ok_or_else(|| Refusal::InvalidState(format!("the connector of {} does not say how its API is called", connector.name)))?;
    Ok((connector, api))
}

/// Whether a body has to be unpacked before it can be looked through.
fn is_packed(headers: &HeaderMap) -> bool {
    let codings = |name, plain: &'static [&str]| {
        let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        values.map(<[u8]>::trim_ascii).any(move |coding| !plain.iter().any(|plain| coding.eq_ignore_ascii_case(plain.as_bytes())))
    };
    codings(header::CONTENT_ENCODING, &["identity", ""]) || codings(header::TRANSFER_ENCODING, &["chunked", "identity", ""])
}
