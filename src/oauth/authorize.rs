//! Authorization by a user: the way to the service (RFC 6749, section 4.1.1, with RFC 7636), and the way back.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use url::Url;

use super::call::found;
use super::exchange::{Exchanges, HELD, Landed, Wanted, What};
use super::request::{Settings, fill, needed, scope, speaks_oauth};
use crate::credentials::Meta;
use crate::credentials::connection::{Command as Order, Flow, Key};
use crate::credentials::connector::Connector;
use crate::kernel::{FlowId, Refusal, Secret, StreamId};
use crate::vault::access::Principal;
use crate::vault::{Command, VaultError, plans};

/// The most bytes of scopes that a caller may ask for.
const MAX_SCOPE: usize = 1024;

/// An authorization that has begun.
pub struct Begun {
    /// What it is.
    pub flow: FlowId,
    /// Where the user is sent.
    pub url: String,
}

/// How an authorization begins.
pub struct Begin {
    /// Where the user is sent in the end.
    pub redirect_uri: Option<String>,
    /// What the page that begins it recognises its own one by.
    pub nonce: Option<String>,
    /// Scopes instead of the connector's own, apart by blanks.
    pub scope: Option<String>,
}

/// The URL to send a user to, with a code challenge where the service takes one.
pub fn authorize_url(connector: &Connector, what: &Asked<'_>, settings: Settings<'_>) -> Result<String, Refusal> {
    let oauth = speaks_oauth(connector)?;
    let base = oauth.authorize_url.as_deref().ok_or_else(|| Refusal::InvalidState(format!("{} is not authorized by its user", connector.name)))?;
    let mut url = Url::parse(&fill(connector, base, settings)?).map_err(|_| Refusal::InvalidState("the connector's authorize URL is not a URL".into()))?;
    let client = needed(connector, settings, "client_id")?;
    let scope = what.scope.map(str::to_owned).map(|asked| asked.replace(' ', oauth.scope_separator.as_deref().unwrap_or(" "))).or_else(|| scope(oauth));
    let mut query = url.query_pairs_mut();
    query.append_pair("response_type", "code").append_pair("client_id", &String::from_utf8_lossy(client.expose()));
    query.append_pair("redirect_uri", what.redirect_uri).append_pair("state", &what.flow.uuid());
    if let Some(scope) = scope {
        query.append_pair("scope", &scope);
    }
    for (name, value) in &oauth.authorize_params {
        query.append_pair(name, value);
    }
    if oauth.pkce {
        let challenge = Base64UrlUnpadded::encode_string(&Sha256::digest(what.verifier.expose()));
        query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
    }
    drop(query);
    Ok(url.into())
}

/// What stands in an authorize URL beside what the connector says.
pub struct Asked<'a> {
    /// What the service gives back as `state`.
    pub flow: FlowId,
    /// Where the service sends the user back to.
    pub redirect_uri: &'a str,
    /// RFC 7636: its hash goes along.
    pub verifier: &'a Secret,
    /// Scopes instead of the connector's own.
    pub scope: Option<&'a str>,
}

impl Exchanges {
    /// Where services send users back to.
    #[must_use]
    pub fn callback_url(&self) -> String {
        format!("{}/vault/callback", self.public_url)
    }

    /// Begins an authorization in a user's browser: the connection is made if need be, and the user sent to the service.
    pub async fn begin(&self, principal: &Principal, meta: Meta, key: &Key, how: Begin) -> Result<Begun, VaultError> {
        let Begin { redirect_uri, nonce, scope } = how;
        let is_scope = |scope: &String| scope.len() <= MAX_SCOPE && scope.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\'));
        if scope.as_ref().is_some_and(|scope| !is_scope(scope)) {
            return Err(Refusal::invalid("scope", format!("takes at most {MAX_SCOPE} bytes of scopes (RFC 6749, section 3.3)")).into());
        }
        let flow = Flow { id: self.vault.draw_flow(), redirect_uri, nonce, here: true };
        let connection = self.announce(principal, meta, key, &flow).await?;
        let views = self.vault.views();
        let (tenant, live, connector) = found(&views, connection).ok_or(Refusal::NotFound)?;
        // Of the secrets none but the client's id goes into the URL, where that is one: placeholders are no secrets.
        let settings = self.settings_for(&views, tenant, live, connector, &|id| id == "client_id").await?;
        let (verifier, redirect_uri) = (self.code_verifier(connection, flow.id), self.callback_url());
        let asked = Asked { flow: flow.id, redirect_uri: &redirect_uri, verifier: &verifier, scope: scope.as_deref() };
        let url = authorize_url(connector, &asked, &|id| settings.get(id).map(Secret::duplicate))?;
        Ok(Begun { flow: flow.id, url })
    }

    /// Begins an authorization that the caller itself sends its user to: what the service must give back as `state`.
    pub async fn announce_elsewhere(&self, principal: &Principal, meta: Meta, key: &Key, redirect_uri: Option<String>) -> Result<FlowId, VaultError> {
        let flow = Flow { id: self.vault.draw_flow(), redirect_uri, nonce: None, here: false };
        self.announce(principal, meta, key, &flow).await?;
        Ok(flow.id)
    }

    async fn announce(&self, principal: &Principal, meta: Meta, key: &Key, flow: &Flow) -> Result<StreamId, VaultError> {
        let command = Command { principal, meta, idempotency: None };
        let begun = self.vault.execute(&command, |given| {
            if given.views.is_held() {
                return Err(Refusal::InvalidState(HELD.into()));
            }
            plans::upsert(given, principal.tenant, key, Order::Authorize(flow.clone()))
        });
        Ok(begun.await?.views.connection(principal.tenant, key).ok_or(Refusal::NotFound)?)
    }

    /// The authorization of a `state` that a service gave back, while it is open: its connection, and what it is.
    #[must_use]
    pub fn pending(&self, flow: FlowId) -> Option<(StreamId, Flow)> {
        let views = self.vault.views();
        let connection = views.flow(flow)?;
        let pending = found(&views, connection)?.1.pending(flow)?;
        let end = pending.at.plus_seconds(crate::credentials::connection::FLOW_SECONDS);
        (end > self.vault.time(&views)).then(|| (connection, pending.flow.clone()))
    }

    /// Exchanges the code that a service gave for an authorization. It ends the authorization, whatever comes of it.
    pub async fn redeem(self: &Arc<Self>, connection: StreamId, flow: FlowId, code: Secret, meta: Meta) -> Landed {
        let Some(tenant) = self.vault.views().thing(connection).map(|entry| entry.tenant) else {
            return Landed::Vault(Arc::new(Refusal::NotFound.into()));
        };
        let what = What::Code { flow, code: Arc::new(code) };
        self.exchange(Wanted { principal: Principal::vault(tenant), meta, idempotency: None, connection, what }).await
    }

    /// Ends an authorization that the service did not grant.
    pub async fn refuse(&self, connection: StreamId, flow: FlowId, cause: String, meta: Meta) -> Result<(), VaultError> {
        let tenant = self.vault.views().thing(connection).map(|entry| entry.tenant).ok_or(Refusal::NotFound)?;
        let principal = Principal::vault(tenant);
        let command = Command { principal: &principal, meta, idempotency: None };
        let ended = |given: &crate::vault::Given<'_>| plans::on_connection(given, connection, Order::EndAuthorization { flow, cause: cause.clone() });
        self.vault.execute(&command, ended).await.map(drop)
    }
}
