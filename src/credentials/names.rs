//! What a state holds of others: the names that it has taken, and the things that it cannot be without.

use super::{
    AnyState, api_client, api_key, application, attempts, connection, connector, consumer, integration, organization, provider_key, role, tenant, usage, user,
    user_application, webhook,
};
use crate::kernel::{Claim, SecretRef, StreamId};

impl AnyState {
    /// The names that a thing holds while it stands so: all of its claims but those of an exchange under way.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Tenant(tenant::State::Live { name, .. }) => vec![tenant::claim(name)],
            Self::User(user::State::Live(live)) => vec![user::claim(&live.profile.login)],
            Self::ApiKey(api_key::State::Live(live)) => live.more().dns_name.iter().map(|name| api_key::dns_claim(name)).collect(),
            Self::Connector(connector::State::Live(live)) => vec![connector::claim(&live.unified_api, &live.service_id)],
            Self::Consumer(consumer::State::Live(live)) => vec![consumer::claim(&live.app, &live.consumer)],
            Self::Connection(connection::State::Live(live)) => vec![live.key.claim()],
            Self::Role(role::State::Live(live)) => vec![role::claim(&live.name)],
            Self::Organization(organization::State::Live(live)) => vec![organization::claim(&live.name)],
            Self::Application(application::State::Live(live)) => vec![application::claim(&live.name)],
            Self::ProviderKey(provider_key::State::Live(live)) => vec![provider_key::claim(live.user, live.provider)],
            Self::UserApplication(user_application::State::Live(live)) => user_application::claims(live.user, &live.name, live.seat).into(),
            Self::Webhook(webhook::State::Live(live)) => vec![webhook::claim(live.seat)],
            Self::Integration(integration::State::Live(live)) => vec![integration::claim(&live.unified_api, &live.service_id)],
            Self::Usage(_) => vec![usage::claim()],
            Self::Attempts(_) => vec![attempts::claim()],
            _ => Vec::new(),
        }
    }

    /// The application that it belongs to, if any.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::Connection(connection::State::Live(live)) => Some(&live.key.app),
            Self::Connection(connection::State::Deleted { key, .. }) => Some(&key.app),
            Self::Consumer(consumer::State::Live(live)) => Some(&live.app),
            Self::Consumer(consumer::State::Deleted { app, .. }) => Some(app),
            _ => None,
        }
    }

    /// Takes out secrets that are dead; whether the thing can be without them.
    pub fn forget(&mut self, dead: &[SecretRef]) -> bool {
        let gone = |secret: &SecretRef| dead.contains(secret);
        match self {
            Self::Connection(connection::State::Live(live)) => {
                live.sealed.retain(|_, secret| !gone(secret));
                live.access = live.access.take().filter(|access| !gone(&access.secret));
                live.refresh = live.refresh.take().filter(|refresh| !gone(refresh));
                if let Some(extra) = &mut live.extra {
                    extra.unconfirmed = None;
                }
                true
            }
            Self::ProviderKey(provider_key::State::Live(live)) => {
                live.secret = live.secret.take().filter(|secret| !gone(secret));
                true
            }
            Self::ApiClient(api_client::State::Live(live)) => {
                // Its verifiers are facts: it still lets in, and shows nothing.
                live.sealed.retain(|(_, secret)| !gone(secret));
                true
            }
            Self::Integration(integration::State::Live(live)) => {
                live.sealed.retain(|_, secret| !gone(secret));
                true
            }
            Self::Webhook(webhook::State::Live(live)) => {
                live.former.retain(|former| !gone(&former.secret));
                !gone(&live.secret)
            }
            _ => true,
        }
    }

    /// The things without which it cannot be there. An organisation goes without what is listed in it, so a key may name one that is gone.
    #[must_use]
    pub fn rests_on(&self) -> Vec<StreamId> {
        match self {
            Self::ApiKey(api_key::State::Live(live)) => live.owner.into_iter().collect(),
            Self::Connection(connection::State::Live(live)) => vec![live.consumer],
            Self::ProviderKey(provider_key::State::Live(live)) => vec![live.user],
            Self::UserApplication(user_application::State::Live(live)) => vec![live.user],
            _ => Vec::new(),
        }
    }
}
