//! Tenant: who owns credentials. Its stream is owned by the system tenant and names the tenant in its event.

use serde::{Deserialize, Serialize};

use crate::kernel::{Header, Moment, TenantId};

/// Stored on every event: never change it.
pub const NAME: &str = "tenant";

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It may own things from now on.
    Created {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// `system`, `default`, or a name of choice; unique in the vault.
        name: String,
    },
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
        }
    }
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// Owns things.
    Live {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name.
        name: String,
        /// Since when.
        created_at: Moment,
    },
}

/// The state after the event.
#[must_use]
pub fn evolve(_: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created { tenant, name } => State::Live { tenant, name, created_at: header.recorded_at },
    }
}
