//! The vault itself, one stream of the system tenant: what was destroyed on purpose, and where a history was cut.

use serde::{Deserialize, Serialize};

use crate::kernel::{Epoch, Header, Moment, Position};

/// Stored on every event: never change it.
pub const NAME: &str = "vault";

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The vault began.
    Created,
    /// Keys of these secrets were destroyed; the header names the keys.
    Shredded {
        /// Which secrets.
        secrets: Vec<SecretAt>,
        /// Why: `superseded`, `shown_once`, or what an operator said.
        reason: String,
    },
    /// A restore cut the history here and began an epoch.
    Restored {
        /// The epoch that was restored.
        from: Epoch,
        /// The last position kept.
        position: Position,
        /// Its Merkle root, in hex.
        root: String,
        /// Its state hash, in hex.
        state: String,
        /// The last position of the old history; those after `position` were dropped.
        dropped_to: Position,
    },
    /// An operator lets go out again what a restore held back.
    Resumed,
}

/// One secret box of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretAt {
    /// Of its event.
    pub position: Position,
    /// Of its box.
    pub name: String,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Shredded { .. } => "shredded",
            Self::Restored { .. } => "restored",
            Self::Resumed => "resumed",
        }
    }
}

/// What is known of the vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Since when it exists.
    pub created_at: Option<Moment>,
    /// How many secrets were destroyed.
    pub shredded: u64,
    /// The latest restore: where the history was cut.
    pub restored: Option<Position>,
    /// Whether everything that goes out by itself or on demand is held back: since a restore, until an operator resumes.
    pub held: bool,
}

/// The state after the event.
#[must_use]
pub fn evolve(mut state: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created => state.created_at = Some(header.recorded_at),
        Event::Shredded { secrets, .. } => state.shredded += secrets.len() as u64,
        Event::Restored { position, .. } => (state.restored, state.held) = (Some(position), true),
        Event::Resumed => state.held = false,
    }
    state
}
