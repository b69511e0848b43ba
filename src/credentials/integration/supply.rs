//! What an integration means for one connection: what it supplies, and where the two stand together.

use super::Integration;
use crate::credentials::connection::Connection;
use crate::credentials::connector::{AuthType, Connector, choosing_host};
use crate::credentials::settings::{holds, is_value};
use crate::kernel::{Json, SecretRef};

/// The settings that say as whom tokens are asked for.
const CLIENT: [&str; 2] = ["client_id", "client_secret"];

/// What a tenant supplies to one connection; without a connection, to one that has nothing of its own.
#[derive(Clone, Copy)]
pub struct Supply<'a> {
    of: Option<&'a Integration>,
    /// Whether its secrets are among it.
    secrets: bool,
}

impl<'a> Supply<'a> {
    /// From this integration, if the tenant has one for the service.
    #[must_use]
    pub fn of(integration: Option<&'a Integration>, connector: &Connector, live: Option<&Connection>) -> Self {
        let secrets = integration.zip(live).is_none_or(|(integration, live)| stays_home(integration, connector, live));
        Self { of: integration, secrets }
    }

    /// Whether a value for a setting is supplied.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.facts().any(|(known, value)| known == id && is_value(value)) || self.secrets().any(|(known, _)| known == id)
    }

    /// Values that are no secrets.
    pub fn facts(&self) -> impl Iterator<Item = (&'a String, &'a Json)> + use<'a> {
        self.of.into_iter().flat_map(|of| &of.settings)
    }

    /// Where secret values lie.
    pub fn secrets(&self) -> impl Iterator<Item = (&'a String, &'a SecretRef)> + use<'a> {
        self.of.filter(|_| self.secrets).into_iter().flat_map(|of| &of.sealed)
    }
}

/// Whether a token request of the connection goes to a host that the service's entry or the tenant names. A consumer's own setting may choose one
/// instead: the tenant's secrets must not go there, or whoever enters a host would be told them.
fn stays_home(integration: &Integration, connector: &Connector, live: &Connection) -> bool {
    let Some(oauth) = &connector.oauth else { return true };
    let urls = std::iter::once(&oauth.token_url).chain(&oauth.revoke_url);
    urls.flat_map(|url| choosing_host(url)).all(|id| {
        let declared = |value: &Json| {
            let options = connector.field(id).and_then(|field| field.options.as_ref());
            options.is_some_and(|options| options.iter().any(|option| value.value().as_str() == Some(&option.value)))
        };
        let own = live.settings.get(id).filter(|own| is_value(own));
        !live.sealed.contains_key(id) && own.is_none_or(|own| declared(own) || integration.settings.get(id) == Some(own))
    })
}

/// How far a tenant's part of the connections to a service is set up (the vendor's `integration_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may not be authorized for now.
    Disabled,
    /// Nobody has said as which client tokens are asked for.
    NeedsConfiguration,
    /// Nothing is missing on the tenant's side.
    Configured,
}

impl Standing {
    /// As the vendor names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NeedsConfiguration => "needs_configuration",
            Self::Configured => "configured",
        }
    }
}

/// How it stands for a connection, or for none yet.
#[must_use]
pub fn standing(integration: Option<&Integration>, connector: &Connector, live: Option<&Connection>) -> Standing {
    if integration.is_some_and(|integration| !integration.enabled) {
        return Standing::Disabled;
    }
    let supply = Supply::of(integration, connector, live);
    let has = |id: &str| supply.has(id) || live.is_some_and(|live| holds(&live.settings, &live.sealed, id));
    let mut needed = CLIENT.into_iter().filter(|id| connector.settings_required_for_authorization.iter().any(|needed| needed == id));
    if connector.auth_type == AuthType::Oauth2 && needed.any(|id| !has(id)) { Standing::NeedsConfiguration } else { Standing::Configured }
}
