//! What a connection's events tell those who subscribed to them, under the vendor's names.

use serde::{Deserialize, Serialize};

use super::{Connection, Event, Phase, State};

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Notice {
    /// It is new.
    #[serde(rename = "vault.connection.created")]
    Created,
    /// What is shown of it may have changed.
    #[serde(rename = "vault.connection.updated")]
    Updated,
    /// It can be used from now on.
    #[serde(rename = "vault.connection.callable")]
    Callable,
    /// It may not be used any more.
    #[serde(rename = "vault.connection.disabled")]
    Disabled,
    /// It was removed.
    #[serde(rename = "vault.connection.deleted")]
    Deleted,
    /// Its tokens were given back to the service.
    #[serde(rename = "vault.connection.revoked")]
    Revoked,
    /// An exchange failed, and the tokens that it holds may end before one succeeds.
    #[serde(rename = "vault.connection.token_refresh.pending")]
    RefreshPending,
    /// An exchange succeeded after some that failed.
    #[serde(rename = "vault.connection.token_refresh.recovered")]
    RefreshRecovered,
    /// Its tokens were given up: its user has to authorise it anew.
    #[serde(rename = "vault.connection.token_refresh.failed")]
    RefreshFailed,
}

impl Notice {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Updated,
        Self::Callable,
        Self::Disabled,
        Self::Deleted,
        Self::Revoked,
        Self::RefreshPending,
        Self::RefreshRecovered,
        Self::RefreshFailed,
    ];
    /// The most that one event tells.
    pub const MOST: usize = 4;

    /// As subscriptions and messages name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "vault.connection.created",
            Self::Updated => "vault.connection.updated",
            Self::Callable => "vault.connection.callable",
            Self::Disabled => "vault.connection.disabled",
            Self::Deleted => "vault.connection.deleted",
            Self::Revoked => "vault.connection.revoked",
            Self::RefreshPending => "vault.connection.token_refresh.pending",
            Self::RefreshRecovered => "vault.connection.token_refresh.recovered",
            Self::RefreshFailed => "vault.connection.token_refresh.failed",
        }
    }

    /// The notice of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.name() == name)
    }
}

/// What an event tells, in the order in which it is told; `before` and `after` are the connection around it. Without an event of its own it was put
/// back to where it stood.
#[must_use]
pub fn notices(before: Option<&Connection>, after: &State, event: Option<&Event>) -> Vec<Notice> {
    let (before, live) = match (before, after) {
        (before, State::Live(live)) => (before, live),
        (Some(_), State::Deleted { .. }) => return vec![Notice::Deleted],
        // What an exchange still brings to one that is gone concerns nobody.
        (_, State::Absent | State::Deleted { .. }) => return Vec::new(),
    };
    let mut told = Vec::new();
    let mut tell = |notice, whether| {
        if whether {
            told.push(notice);
        }
    };
    tell(Notice::Created, before.is_none());
    tell(Notice::Updated, before.is_some_and(|before| is_updated(before, live, event)));
    tell(Notice::Callable, is_usable(live) && !before.is_some_and(is_usable));
    tell(Notice::Disabled, before.is_some_and(|before| before.enabled) && !live.enabled);
    let failure = |of: &Connection| of.failure.is_some();
    let held = before.filter(|before| before.holds_tokens());
    tell(Notice::RefreshPending, held.is_some_and(|held| !failure(held)) && failure(live));
    tell(Notice::RefreshRecovered, held.is_some_and(failure) && !failure(live) && live.holds_tokens());
    tell(Notice::RefreshFailed, matches!(event, Some(Event::Dropped { .. })));
    tell(Notice::Revoked, matches!(event, Some(Event::Revoked { .. })));
    told
}

/// Whether it can be used.
fn is_usable(connection: &Connection) -> bool {
    connection.phase == Phase::Callable && connection.enabled
}

/// Whatever a caller writes is an update. Of an exchange only what shows: new tokens in the place of old ones are its daily work.
fn is_updated(before: &Connection, after: &Connection, event: Option<&Event>) -> bool {
    let shows = || before.phase != after.phase || before.scope != after.scope || before.holds_tokens() != after.holds_tokens();
    matches!(event, None | Some(Event::Updated(_) | Event::Imported { .. } | Event::Consented { .. })) || shows()
}
