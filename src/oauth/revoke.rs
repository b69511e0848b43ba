//! Revocation: the tokens go here first, for good, and then the service is told (RFC 7009), as far as it takes that.

use std::sync::Arc;

use hyper::Method;

use super::call::found;
use super::exchange::{Exchanges, HELD};
use super::request::{Field, client_request};
use crate::credentials::Meta;
use crate::credentials::connection::{Command as Order, RevokeOutcome};
use crate::credentials::connector::Connector;
use crate::egress::Request;
use crate::kernel::{Position, Refusal, Secret, SecretRef, StreamId};
use crate::vault::access::Principal;
use crate::vault::{Answer, Command, VaultError, plans};
use crate::views::Views;

impl Exchanges {
    /// Removes a connection's tokens and tells its service. What the service says changes nothing here: it is recorded.
    pub async fn revoke(self: &Arc<Self>, principal: &Principal, meta: Meta, connection: StreamId) -> Result<Answer, VaultError> {
        let mut gone: Vec<SecretRef> = Vec::new();
        let command = Command { principal, meta: meta.clone(), idempotency: None };
        let before = self.vault.views();
        let answer = self.vault.execute(&command, |given| {
            let live = found(given.views, connection).ok_or(Refusal::NotFound)?.1;
            // The refresh token first: most services end the access tokens with it.
            gone = live.refresh.iter().chain(live.access.as_ref().map(|access| &access.secret)).cloned().collect();
            plans::on_connection(given, connection, Order::Revoke)
        });
        let answer = answer.await?;
        if let Some((revocation, _)) = answer.events {
            let (exchanges, principal) = (Arc::clone(self), principal.clone());
            // A caller that goes away does not stop it.
            let told = tokio::spawn(async move { exchanges.tell(&principal, meta, &before, connection, revocation, gone).await });
            drop(told.await);
        }
        Ok(answer)
    }

    async fn tell(&self, principal: &Principal, meta: Meta, views: &Views, connection: StreamId, revocation: Position, gone: Vec<SecretRef>) {
        let (status, cause) = match self.tell_service(views, connection, &gone).await {
            Ok(status) => (Some(status), None),
            Err(cause) => (None, Some(cause)),
        };
        let command = Command { principal, meta, idempotency: None };
        let outcome = RevokeOutcome { revocation, status, cause };
        let noted = self.vault.execute(&command, |given| plans::on_connection(given, connection, Order::FinishRevoke(outcome.clone()))).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "what a service said to a revocation could not be recorded");
        }
    }

    /// The status of the last answer, or why there was none.
    async fn tell_service(&self, views: &Views, connection: StreamId, gone: &[SecretRef]) -> Result<u16, String> {
        let (tenant, live, connector) = found(views, connection).ok_or("the connection has gone")?;
        if views.is_held() {
            return Err(HELD.into());
        }
        let told = connector.oauth.as_ref().and_then(|oauth| oauth.revoke_url.as_deref()).ok_or("the service takes no revocations")?;
        let settings = self.settings(views, tenant, live, connector).await.map_err(|error| error.to_string())?;
        let lookup = |id: &str| settings.get(id).map(Secret::duplicate);
        let mut last = Err("there was no token".to_owned());
        for secret in gone {
            let token = self.vault.open_secret(tenant, secret).await.map_err(|_| "a token could not be opened")?;
            let request = revocation(connector, told, &secret.name, token, &lookup).map_err(|refusal| refusal.to_string())?;
            last = self.egress.send(request).await.map(|answer| answer.status).map_err(|error| error.to_string());
        }
        last
    }
}

/// RFC 7009, section 2.1.
fn revocation(connector: &Connector, url: &str, sort: &str, token: Secret, settings: super::Settings<'_>) -> Result<Request, Refusal> {
    let fields: Vec<Field> = vec![("token".to_owned(), token), ("token_type_hint".to_owned(), Secret::from(sort))];
    let built = client_request(connector, url, fields, Vec::new(), settings)?;
    let headers = built.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Request { method: Method::POST, url: built.url, headers, body: built.body })
}
