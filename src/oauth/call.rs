//! The call of an exchange: what is presented, and what its answer comes down to. Whatever goes wrong here is an outcome.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use hyper::Method;

use super::exchange::Exchanges;
use super::{Grant, read_answer, token_request};
use crate::credentials::AnyState;
use crate::credentials::connection::{self, Connection, Outcome};
use crate::credentials::connector::Connector;
use crate::credentials::settings::{holds, is_value};
use crate::egress::{EgressError, Request};
use crate::kernel::{FlowId, Json, Position, Refusal, Secret, StreamId, TenantId};
use crate::vault::VaultError;
use crate::views::Views;

/// Values by setting, opened.
pub(super) type Opened = BTreeMap<String, Secret>;

/// A code, and the authorization that it is for.
pub(super) struct OfCode<'a> {
    pub code: &'a Secret,
    pub flow: FlowId,
    pub here: bool,
}

fn failed(cause: impl Into<String>) -> Outcome {
    Outcome::Failed { cause: cause.into(), passing: false, status: None, retry_at: None, client: false }
}

/// A connection that is there, and its service.
pub(super) fn found(views: &Views, id: StreamId) -> Option<(TenantId, &Connection, &Connector)> {
    let entry = views.thing(id)?;
    let AnyState::Connection(connection::State::Live(live)) = &entry.state else { return None };
    let (_, connector) = views.connector(entry.tenant, &live.key.unified_api, &live.key.service_id)?;
    Some((entry.tenant, live, connector))
}

impl Exchanges {
    /// Makes the call that the intent in these views announces.
    pub(super) async fn call(&self, views: &Views, id: StreamId, intent: Position, code: Option<OfCode<'_>>) -> Outcome {
        let Some((tenant, live, connector)) = found(views, id) else { return failed("the connection, or its connector, has gone") };
        let Some(flight) = live.flight.as_ref().filter(|flight| flight.intent == intent) else { return failed("the intent has gone") };
        let settings = match self.settings(views, tenant, live, connector).await {
            Ok(settings) => settings,
            Err(VaultError::Refused(refusal)) => return failed(refusal.to_string()),
            Err(error) => return unopened(&error),
        };
        // The views may be newer than the intent: another token than the one it names would be used up unseen.
        let refresh = live.refresh.as_ref().filter(|refresh| Some(refresh.position) == flight.parent);
        let grant = match (flight.grant, refresh, code) {
            (connection::Grant::ClientCredentials, _, _) => Grant::ClientCredentials,
            (connection::Grant::Password, _, _) => Grant::Password,
            (connection::Grant::RefreshToken, Some(refresh), _) => match self.vault.open_secret(tenant, refresh).await {
                Ok(token) => Grant::RefreshToken(token),
                Err(error) => return unopened(&error),
            },
            (connection::Grant::AuthorizationCode, _, Some(code)) => self.code_grant(id, &code, connector),
            (connection::Grant::RefreshToken, None, _) => return failed("the refresh token has been replaced or removed"),
            (connection::Grant::AuthorizationCode, _, None) => return failed("there is no code"),
        };
        let request = match request(connector, &grant, &settings) {
            Ok(request) => request,
            Err(refusal) => return failed(refusal.to_string()),
        };
        match self.egress.send(request).await {
            Ok(answer) => {
                let supplied = views.supply(tenant, connector, Some(live));
                let secret = live.sealed.keys().chain(supplied.secrets().map(|(id, _)| id));
                let mut sent: Vec<&Secret> = secret.filter_map(|id| settings.get(id)).collect();
                sent.extend(presented(&grant));
                read_answer(answer.status, answer.body.expose(), answer.retry_after.as_deref(), self.vault.time(&self.vault.views()), &sent)
            }
            Err(error @ (EgressError::Refused(_) | EgressError::Header)) => failed(error.to_string()),
            Err(error @ EgressError::Unreachable(_)) => {
                Outcome::Failed { cause: error.to_string(), passing: true, status: None, retry_at: None, client: false }
            }
            Err(error @ (EgressError::Timeout | EgressError::Lost | EgressError::TooLarge { .. })) => Outcome::Lost { cause: error.to_string() },
        }
    }

    fn code_grant(&self, id: StreamId, code: &OfCode<'_>, connector: &Connector) -> Grant {
        let challenged = code.here && connector.oauth.as_ref().is_some_and(|oauth| oauth.pkce);
        Grant::AuthorizationCode {
            code: code.code.duplicate(),
            redirect_uri: self.callback_url(),
            code_verifier: challenged.then(|| self.code_verifier(id, code.flow)),
        }
    }

    /// The code verifier of an authorization (RFC 7636, section 4.1).
    pub(super) fn code_verifier(&self, id: StreamId, flow: FlowId) -> Secret {
        Secret::from(Base64UrlUnpadded::encode_string(&self.vault.code_verifier(id, flow)))
    }

    /// All settings of a connection, opened: those that the tenant supplies, and over them its own. The intent that stands in the log, or the use
    /// that will, is the record of this.
    pub(super) async fn settings(&self, views: &Views, tenant: TenantId, live: &Connection, connector: &Connector) -> Result<Opened, VaultError> {
        self.settings_for(views, tenant, live, connector, &|_| true).await
    }

    /// The same, with those secrets only that are wanted.
    pub(super) async fn settings_for(
        &self,
        views: &Views,
        tenant: TenantId,
        live: &Connection,
        connector: &Connector,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Opened, VaultError> {
        let (supply, mut settings) = (views.supply(tenant, connector, Some(live)), Opened::new());
        for (id, value) in supply.facts() {
            settings.insert(id.clone(), fact(value));
        }
        for (id, secret) in supply.secrets().filter(|(id, _)| wanted(id) && !holds(&live.settings, &live.sealed, id)) {
            settings.insert(id.clone(), self.vault.open_secret(tenant, secret).await?);
        }
        for (id, value) in live.settings.iter().filter(|(id, value)| is_value(value) || !supply.has(id)) {
            settings.insert(id.clone(), fact(value));
        }
        for (id, secret) in live.sealed.iter().filter(|(id, _)| wanted(id)) {
            settings.insert(id.clone(), self.vault.open_secret(tenant, secret).await?);
        }
        Ok(settings)
    }
}

/// A fact as a service is sent it.
fn fact(value: &Json) -> Secret {
    Secret::from(value.value().as_str().map_or_else(|| value.text().to_owned(), str::to_owned))
}

fn unopened(error: &VaultError) -> Outcome {
    tracing::error!(%error, "a secret could not be opened for an exchange");
    failed("a secret could not be opened")
}

/// The secrets of a grant itself.
fn presented(grant: &Grant) -> Vec<&Secret> {
    match grant {
        Grant::RefreshToken(token) => vec![token],
        Grant::AuthorizationCode { code, code_verifier, .. } => std::iter::once(code).chain(code_verifier).collect(),
        Grant::ClientCredentials | Grant::Password => Vec::new(),
    }
}

fn request(connector: &Connector, grant: &Grant, settings: &Opened) -> Result<Request, Refusal> {
    let built = token_request(connector, grant, &|id| settings.get(id).map(Secret::duplicate))?;
    let headers = built.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Request { method: Method::POST, url: built.url, headers, body: built.body })
}
