//! What presents a secret to the vault: one view of all kinds whose secrets are issued here.

use super::issued::Issued;
use super::{AnyState, api_client, api_key, application, session, user_application};
use crate::kernel::{Moment, Permits, Position, RoleRef, SecretRef, StreamId};

/// A thing with issued secrets, as far as letting it in goes.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// Its secrets.
    pub issued: &'a Issued,
    /// Whether it is refused for now.
    pub blocked: bool,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
    /// The user as whom it acts: without that user it opens nothing.
    pub user: Option<StreamId>,
    /// Of a session, the position of its beginning: a later sign-out of its user ends it.
    pub began: Option<Position>,
    /// Roles of its own.
    pub roles: &'a [RoleRef],
    /// Permissions of its own.
    pub permits: Option<&'a Permits>,
    /// Application ids that it may name; empty: any.
    pub app_ids: &'a [String],
}

impl AnyState {
    /// What lets it in; `None` when it has no issued secrets, or is not there any more.
    #[must_use]
    pub fn bearer(&self) -> Option<Bearer<'_>> {
        let bare = |issued| Bearer { issued, blocked: false, expires_at: None, user: None, began: None, roles: &[], permits: None, app_ids: &[] };
        match self {
            Self::ApiKey(api_key::State::Live(key)) => Some(Bearer {
                blocked: key.blocked,
                expires_at: key.expires_at,
                user: key.owner,
                permits: Some(&key.permits),
                app_ids: &key.more().app_ids,
                ..bare(&key.issued)
            }),
            Self::Session(session::State::Live(session)) => {
                Some(Bearer { expires_at: Some(session.expires_at), user: Some(session.user), began: Some(session.began), ..bare(&session.issued) })
            }
            Self::Application(application::State::Live(application)) => Some(Bearer {
                blocked: application.blocked,
                roles: &application.roles,
                permits: Some(&application.permits),
                app_ids: &application.app_ids,
                ..bare(&application.issued)
            }),
            Self::UserApplication(user_application::State::Live(application)) => Some(Bearer { user: Some(application.user), ..bare(&application.issued) }),
            Self::ApiClient(api_client::State::Live(client)) => Some(Bearer { roles: &client.roles, ..bare(&client.issued) }),
            _ => None,
        }
    }

    /// The user as whom it acts, or acted while it was there.
    #[must_use]
    pub fn acts_for(&self) -> Option<StreamId> {
        match self {
            Self::ApiKey(api_key::State::Deleted { last, .. }) => last.owner,
            Self::Session(session::State::Ended { user, .. }) => Some(*user),
            Self::UserApplication(user_application::State::Deleted { last, .. }) => Some(last.user),
            _ => self.bearer()?.user,
        }
    }

    /// The sealed secrets that a state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Connection(state) => state.secrets(),
            Self::ProviderKey(state) => state.secrets(),
            Self::ApiClient(state) => state.secrets(),
            Self::Webhook(state) => state.secrets(),
            Self::Integration(state) => state.secrets(),
            _ => Vec::new(),
        }
    }
}
