//! Attempts: what a tenant's doors refused: failed logins, by a keyed hash of the name that was tried, and denied requests. One stream per tenant.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::kernel::{Claim, Header, Moment, StreamId, Tried};

/// Stored on every event: never change it.
pub const NAME: &str = "attempts";
/// The most names that one event tells of.
pub const MAX_TOLD: usize = 256;
/// Failures are forgotten when none was added for so many seconds: a day.
pub const FORGOTTEN_AFTER: i64 = 24 * 3600;
/// The most names whose failures are remembered; the oldest are forgotten first.
pub const MAX_NAMES: usize = 8192;

/// Failures in a row at one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name.
    pub tried: Tried,
    /// Whose name it is; `None`: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<StreamId>,
    /// How many different secrets failed in a row by now.
    pub count: u32,
    /// The latest.
    pub last: Moment,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// Requests of one principal that lacked one permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Who asked.
    pub principal: StreamId,
    /// The permission that was missing.
    pub permission: String,
    /// How often since the last event that tells of it.
    pub count: u64,
    /// The latest.
    pub last: Moment,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Attempts are noted from now on.
    Created,
    /// Logins failed.
    Failed {
        /// Each name at most once.
        failures: Vec<Failure>,
    },
    /// The right secret came, or an administrator let the name try again.
    Cleared {
        /// The name.
        tried: Tried,
        /// Whose name it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<StreamId>,
    },
    /// Requests were denied.
    Denied {
        /// Each principal and permission at most once.
        denials: Vec<Denial>,
    },
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Failed { .. } => "failed",
            Self::Cleared { .. } => "cleared",
            Self::Denied { .. } => "denied",
        }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// How many different secrets.
    pub count: u32,
    /// The latest.
    pub last: Moment,
}

/// What is known of the tenant's doors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By name.
    pub failures: OrdMap<Tried, Failures>,
}

/// A tenant has one such stream.
#[must_use]
pub fn claim() -> Claim {
    Claim::exact(NAME, &[], "")
}

/// The state after the event.
#[must_use]
pub fn evolve(mut state: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created | Event::Denied { .. } => {}
        Event::Cleared { tried, .. } => drop(state.failures.remove(&tried)),
        Event::Failed { failures } => {
            for Failure { tried, count, last, .. } in failures {
                state.failures.insert(tried, Failures { count, last });
            }
            if state.failures.len() > MAX_NAMES {
                forget(&mut state, header.recorded_at);
            }
        }
    }
    state
}

/// Forgets what is old, and half of the rest when that is not enough, the oldest first.
fn forget(state: &mut State, now: Moment) {
    state.failures = state.failures.iter().filter(|(_, failures)| failures.last.plus_seconds(FORGOTTEN_AFTER) > now).map(|(tried, failures)| (*tried, *failures)).collect();
    if state.failures.len() > MAX_NAMES {
        let mut ages: Vec<(Moment, Tried)> = state.failures.iter().map(|(tried, failures)| (failures.last, *tried)).collect();
        ages.sort_unstable();
        for (_, tried) in ages.into_iter().take(MAX_NAMES / 2) {
            state.failures.remove(&tried);
        }
    }
}
