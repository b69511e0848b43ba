//! Usage: when the tenant's issued secrets were last used, and how often. One stream per tenant; uses of a minute come together.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::issued::SecretId;
use crate::kernel::{Claim, Header, Moment};

/// Stored on every event: never change it.
pub const NAME: &str = "usage";
/// The most secrets that one event tells of.
pub const MAX_USES: usize = 1000;

/// Uses of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Which secret.
    pub secret: SecretId,
    /// How often it was used since the last event that tells of it.
    pub count: u64,
    /// The latest use.
    pub last: Moment,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Uses are noted from now on.
    Created,
    /// Secrets were used.
    Used {
        /// Each at most once.
        uses: Vec<Use>,
    },
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Used { .. } => "used",
        }
    }
}

/// All uses of one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// How often.
    pub count: u64,
    /// The latest.
    pub last: Moment,
}

/// What is known of the tenant's secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By secret.
    pub used: OrdMap<SecretId, Used>,
}

/// A tenant has one such stream.
#[must_use]
pub fn claim() -> Claim {
    Claim::exact(NAME, &[], "")
}

/// The state after the event.
#[must_use]
pub fn evolve(mut state: State, _: &Header, event: Event) -> State {
    if let Event::Used { uses } = event {
        for Use { secret, count, last } in uses {
            let used = state.used.get(&secret).copied().unwrap_or(Used { count: 0, last });
            state.used.insert(secret, Used { count: used.count.saturating_add(count), last: used.last.max(last) });
        }
    }
    state
}
