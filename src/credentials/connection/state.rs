//! What a connection comes down to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Confirm, Flow, Grant, Key, Phase};
use crate::credentials::connector::GrantType;
use crate::kernel::{FlowId, Json, Moment, Position, SecretRef, StreamId};

/// A connection that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// What it is the credentials of.
    pub key: Arc<Key>,
    /// The consumer's stream.
    pub consumer: StreamId,
    /// Where it stands.
    pub phase: Phase,
    /// Whether it may be used.
    pub enabled: bool,
    /// The grant that begins it, as far as is known.
    pub grant: Option<GrantType>,
    /// Values that are no secrets.
    pub settings: BTreeMap<String, Json>,
    /// Settings that are secrets.
    pub sealed: BTreeMap<String, SecretRef>,
    /// Free data.
    pub metadata: Option<Json>,
    /// Defaults per resource.
    pub configuration: Option<Json>,
    /// Custom mappings.
    pub custom_mappings: Option<Json>,
    /// The access token.
    pub access: Option<Access>,
    /// The refresh token.
    pub refresh: Option<SecretRef>,
    /// What the access token allows.
    pub scope: Option<String>,
    /// An exchange that has no result yet.
    pub flight: Option<Box<Flight>>,
    /// Why the latest exchanges brought nothing; gone with the next good one.
    pub failure: Option<Box<Failure>>,
    /// What few connections have.
    pub extra: Option<Box<Extra>>,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Where it lies.
    pub secret: SecretRef,
    /// When it came.
    pub since: Moment,
    /// When it ends, as far as is known.
    pub expires_at: Option<Moment>,
    /// Whether it came from elsewhere, and nobody knows how old it is or when it ends: it is renewed as soon as can be.
    pub imported: bool,
}

/// An exchange that has no result yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Position of its intent.
    pub intent: Position,
    /// Its grant.
    pub grant: Grant,
    /// Position of the event that brought what is presented.
    pub parent: Option<Position>,
}

/// Why the latest exchanges brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When the latest one failed.
    pub at: Moment,
    /// When the first one failed.
    pub since: Moment,
    /// When the service first refused the credentials themselves, by 400 or 401. That it does not know the client (any more) is no such refusal:
    /// a client's secret that has run out must not cost all its users their tokens.
    pub refused_since: Option<Moment>,
    /// How many failed in a row.
    pub count: u32,
    /// Why the latest one failed, in words that hold no secret.
    pub cause: String,
    /// Whether trying again can help.
    pub passing: bool,
    /// The HTTP status of the service's answer, if one came.
    pub status: Option<u16>,
    /// Whether the outcome is unknown.
    pub lost: bool,
    /// The grant that failed.
    pub grant: Option<Grant>,
    /// Not before then, as the service said.
    pub retry_at: Option<Moment>,
    /// Whether the service refused the client, and said nothing of the tokens.
    pub client: bool,
}

/// What few connections have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// Authorizations that users have begun and not ended: the latest few.
    pub pending: Vec<Pending>,
    /// Tokens that wait to be confirmed.
    pub unconfirmed: Option<Unconfirmed>,
    /// What was consented to: the latest records.
    pub consents: Vec<Consent>,
    /// How many calls were passed through, and when the last one was.
    pub used: Option<(u64, Moment)>,
    /// When the service was last not reached by a call that was passed through, if none was answered since.
    pub downstream_failed_at: Option<Moment>,
    /// Why the tokens were removed: the service had refused them for too long.
    pub dropped: Option<String>,
    /// Position of the event that revoked the tokens, if none came since.
    pub revoked: Option<Position>,
}

/// An authorization that a user has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What it is.
    pub flow: Flow,
    /// When it began.
    pub at: Moment,
    /// Position of the event that says so.
    pub position: Position,
}

/// Tokens that wait to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// What confirms them.
    pub confirm: Confirm,
    /// Position of the exchange that brought them.
    pub exchange: Position,
    /// The access token.
    pub access: Access,
    /// The refresh token.
    pub refresh: Option<SecretRef>,
    /// What the access token allows.
    pub scope: Option<String>,
}

/// A record of consent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// Names it.
    pub id: String,
    /// When.
    pub at: Moment,
    /// Whether it was granted.
    pub granted: bool,
    /// `"*"`, or fields by resource.
    pub resources: Json,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<Connection>),
    /// Removed; an exchange may still bring its result.
    Deleted {
        /// When.
        at: Moment,
        /// What it was the credentials of.
        key: Arc<Key>,
    },
}

impl Failure {
    /// Whether the service refused the credentials themselves.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.status, Some(400 | 401)) && !self.client
    }
}

impl Connection {
    /// Whether its user denied or took back consent: nothing may be called for it then.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.extra.as_ref().and_then(|extra| extra.consents.last()).is_some_and(|consent| !consent.granted)
    }

    /// Takes over what only goes forward: exchanges, calls, consents and, unless those of this state are to be used again, tokens.
    pub(in crate::credentials) fn go_on_from(&mut self, now: &Self, tokens: bool) {
        (self.flight, self.failure, self.extra, self.updated_at) = (now.flight.clone(), now.failure.clone(), now.extra.clone(), now.updated_at);
        if tokens {
            self.failure = None;
            if let Some(extra) = &mut self.extra {
                (extra.revoked, extra.dropped) = (None, None);
            }
        } else {
            (self.access, self.refresh, self.scope) = (now.access.clone(), now.refresh.clone(), now.scope.clone());
        }
    }

    /// Whether its tokens were removed after an intent, because the user wanted it.
    pub(super) fn is_revoked_since(&self, intent: Position) -> bool {
        self.extra.as_ref().and_then(|extra| extra.revoked).is_some_and(|revoked| revoked > intent)
    }

    /// Whether the tokens that an exchange was about are others by now: imported, confirmed or revoked while the service was asked. Its result then
    /// says nothing of those that are here. `flight` is the exchange, unless it had been given up.
    pub(super) fn has_moved_on(&self, flight: Option<&Flight>, intent: Position) -> bool {
        let newer = |secret: Option<&SecretRef>| secret.is_some_and(|secret| secret.position > intent);
        let others = match flight {
            Some(flight) if flight.grant == Grant::RefreshToken => self.refresh.as_ref().map(|refresh| refresh.position) != flight.parent,
            _ => newer(self.access.as_ref().map(|access| &access.secret)) || newer(self.refresh.as_ref()),
        };
        others || self.is_revoked_since(intent)
    }

    /// Whether it has any token in use.
    #[must_use]
    pub const fn holds_tokens(&self) -> bool {
        self.access.is_some() || self.refresh.is_some()
    }

    /// Whether its settings bring new tokens without its user.
    #[must_use]
    pub const fn begins_anew(&self) -> bool {
        matches!(self.grant, Some(GrantType::ClientCredentials | GrantType::Password))
    }

    /// An authorization that was begun and has not ended.
    #[must_use]
    pub fn pending(&self, flow: FlowId) -> Option<&Pending> {
        self.extra.as_ref()?.pending.iter().find(|pending| pending.flow.id == flow)
    }

    /// The secrets that it rests on.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let waiting = self.extra.as_ref().and_then(|extra| extra.unconfirmed.as_ref());
        let waiting = waiting.into_iter().flat_map(|waiting| std::iter::once(&waiting.access.secret).chain(waiting.refresh.as_ref()));
        self.sealed.values().chain(self.access.as_ref().map(|access| &access.secret)).chain(self.refresh.as_ref()).chain(waiting)
    }
}

impl State {
    /// The secrets that the state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let Self::Live(live) = self else { return Vec::new() };
        live.secrets().collect()
    }
}
