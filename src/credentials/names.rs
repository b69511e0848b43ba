//! What a state holds of others: the names that it has taken, and the things that it cannot be without.

use super::{
    AnyState, api_key, application, attempts, connection, connector, consumer, integration, organization, provider_key, role, tenant, usage, user,
    user_application, webhook,
};
use crate::kernel::{Claim, StreamId};

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

    /// The things without which it cannot be there.
    #[must_use]
    pub fn rests_on(&self) -> Vec<StreamId> {
        match self {
            Self::ApiKey(api_key::State::Live(live)) => live.owner.into_iter().chain(live.more().organizations.iter().copied()).collect(),
            Self::Connection(connection::State::Live(live)) => vec![live.consumer],
            Self::ProviderKey(provider_key::State::Live(live)) => vec![live.user],
            Self::UserApplication(user_application::State::Live(live)) => vec![live.user],
            _ => Vec::new(),
        }
    }
}
