//! The one compensating event of all kinds: a thing stands again as it stood. An undo and a recovery write nothing else, but for deletes.
//!
//! It holds the state to return to, in JSON: so the members of every kind's state are a stored shape as well. New ones need a default.

use serde::{Deserialize, Serialize};

use super::{AnyState, api_client, api_key, application, connection, connector, integration, organization, provider_key, role, tenant, user, webhook};
use crate::kernel::{Header, Moment, Position};

/// Its stored name, in every kind.
pub const NAME: &str = "reverted";

/// A thing stands again as it stood, but for what only goes forward.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Reverted {
    /// The state to return to, under its kind. What only goes forward is taken from where the thing stands.
    pub to: AnyState,
    /// Whether a connection's tokens are those of `to` as well: an undo of what put others in their place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tokens: bool,
    /// Secrets that were out of use and are in use again: their keys live on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<Spared>,
}

/// A secret whose key was due to die.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spared {
    /// When it was due.
    pub due: Moment,
    /// The event that brought it.
    pub position: Position,
    /// Its box.
    pub name: String,
}

impl Reverted {
    /// The state after it.
    pub(super) fn evolve(self, now: &AnyState, header: &Header) -> AnyState {
        let mut after = carry(now, self.to, self.tokens);
        touch(&mut after, header);
        after
    }
}

/// `to` with what only goes forward as `now` has it: token lineage, revoked access tokens, sign-outs, deliveries. Of a thing that was deleted, as it
/// was last.
#[must_use]
pub fn carry(now: &AnyState, mut to: AnyState, tokens: bool) -> AnyState {
    match (now, &mut to) {
        (AnyState::User(user::State::Live(now) | user::State::Deleted { last: now, .. }), AnyState::User(user::State::Live(to))) => {
            (to.signed_out, to.updated_at) = (now.signed_out, now.updated_at);
        }
        (AnyState::ApiKey(api_key::State::Live(now) | api_key::State::Deleted { last: now, .. }), AnyState::ApiKey(api_key::State::Live(to))) => {
            to.issued.go_on_from(&now.issued);
            to.updated_at = now.updated_at;
        }
        (
            AnyState::Application(application::State::Live(now) | application::State::Deleted { last: now, .. }),
            AnyState::Application(application::State::Live(to)),
        ) => {
            to.issued.go_on_from(&now.issued);
            to.updated_at = now.updated_at;
        }
        (
            AnyState::ApiClient(api_client::State::Live(now) | api_client::State::Deleted { last: now, .. }),
            AnyState::ApiClient(api_client::State::Live(to)),
        ) => {
            to.issued.go_on_from(&now.issued);
            (to.updated_at, to.updated_by) = (now.updated_at, now.updated_by);
        }
        (
            AnyState::UserApplication(super::user_application::State::Live(now) | super::user_application::State::Deleted { last: now, .. }),
            AnyState::UserApplication(super::user_application::State::Live(to)),
        ) => to.issued.go_on_from(&now.issued),
        (AnyState::Connection(connection::State::Live(now)), AnyState::Connection(connection::State::Live(to))) => to.go_on_from(now, tokens),
        (AnyState::Webhook(webhook::State::Live(now)), AnyState::Webhook(webhook::State::Live(to))) => {
            (to.progress, to.updated_at) = (now.progress.clone(), now.updated_at);
        }
        (AnyState::Role(role::State::Live(now) | role::State::Deleted { last: now, .. }), AnyState::Role(role::State::Live(to))) => {
            to.updated_at = now.updated_at;
        }
        // Its end is asked for, approved and cancelled by people, each time anew.
        (AnyState::Tenant(tenant::State::Live { shred: now, .. }), AnyState::Tenant(tenant::State::Live { shred: to, .. })) => to.clone_from(now),
        (AnyState::Tenant(now @ tenant::State::Shredded { .. }), AnyState::Tenant(to)) => to.clone_from(now),
        (AnyState::Consumer(super::consumer::State::Live(now)), AnyState::Consumer(super::consumer::State::Live(to))) => to.updated_at = now.updated_at,
        _ => {}
    }
    to
}

/// That it changed now, where a state says when.
fn touch(state: &mut AnyState, header: &Header) {
    let at = header.recorded_at;
    match state {
        AnyState::User(user::State::Live(live)) => live.updated_at = at,
        AnyState::ApiKey(api_key::State::Live(live)) => live.updated_at = Some(at),
        AnyState::Application(application::State::Live(live)) => live.updated_at = at,
        AnyState::ApiClient(api_client::State::Live(live)) => (live.updated_at, live.updated_by) = (at, header.actor),
        AnyState::Connection(connection::State::Live(live)) => live.updated_at = at,
        AnyState::Webhook(webhook::State::Live(live)) => live.updated_at = at,
        AnyState::Role(role::State::Live(live)) => live.updated_at = at,
        AnyState::Consumer(super::consumer::State::Live(live)) => live.updated_at = at,
        AnyState::Integration(integration::State::Live(live)) => live.updated_at = at,
        AnyState::ProviderKey(provider_key::State::Live(live)) => live.updated_at = at,
        AnyState::Organization(organization::State::Live(live)) => live.updated_at = at,
        _ => {}
    }
}

/// Whether a thing of the kind can be put back at all. Uses, refusals, logins and what concerns the vault itself only go forward.
#[must_use]
pub const fn only_goes_forward(state: &AnyState) -> bool {
    matches!(
        state,
        AnyState::Absent
            | AnyState::Shredded(_)
            | AnyState::Tenant(tenant::State::Shredded { .. })
            | AnyState::Session(_)
            | AnyState::Vault(_)
            | AnyState::Usage(_)
            | AnyState::Attempts(_)
            | AnyState::Recovery(_)
    )
}

impl AnyState {
    /// Whether it is there.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Tenant(state) => matches!(state, tenant::State::Live { .. }),
            Self::User(state) => matches!(state, user::State::Live(_)),
            Self::ApiKey(state) => matches!(state, api_key::State::Live(_)),
            Self::Connector(state) => matches!(state, connector::State::Live(_)),
            Self::Consumer(state) => matches!(state, super::consumer::State::Live(_)),
            Self::Connection(state) => matches!(state, connection::State::Live(_)),
            Self::Role(state) => matches!(state, role::State::Live(_)),
            Self::Organization(state) => matches!(state, organization::State::Live(_)),
            Self::Application(state) => matches!(state, application::State::Live(_)),
            Self::Session(state) => matches!(state, super::session::State::Live(_)),
            Self::ProviderKey(state) => matches!(state, provider_key::State::Live(_)),
            Self::ApiClient(state) => matches!(state, api_client::State::Live(_)),
            Self::UserApplication(state) => matches!(state, super::user_application::State::Live(_)),
            Self::Webhook(state) => matches!(state, webhook::State::Live(_)),
            Self::Integration(state) => matches!(state, integration::State::Live(_)),
            Self::Vault(_) | Self::Usage(_) | Self::Attempts(_) | Self::Recovery(_) => true,
            Self::Absent | Self::Shredded(_) => false,
        }
    }
}
