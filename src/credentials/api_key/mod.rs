//! API key: what programs present to this vault. The vault keeps a verifier, never the token.

mod token;

pub use token::{Token, TokenError, TokenType};

use serde::{Deserialize, Serialize};

use super::Verifier;
use crate::kernel::{Header, Moment, StreamId};

/// Stored on every event: never change it.
pub const NAME: &str = "api_key";

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It may be presented from now on.
    Created {
        /// What it is for and what it may do.
        grant: Grant,
        /// How it is recognised.
        token: KnownToken,
    },
}

/// What a key is for and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// The user as whom it acts, with that user's roles at the time of use.
    pub owner: Option<StreamId>,
    /// Permissions of its own, beside the owner's.
    pub permissions: Vec<String>,
    /// Whom to tell about it.
    pub emails: Vec<String>,
    /// Organisations that it serves.
    pub organizations: Vec<StreamId>,
    /// Free labels.
    pub labels: Vec<String>,
    /// SFTP user name.
    pub dns_name: Option<String>,
    /// Application ids that it may name; empty: any.
    pub app_ids: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
}

/// How a token is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownToken {
    /// The id within the token: names this one secret.
    pub id: String,
    /// What is shown of it.
    pub short: String,
    /// What a presented secret is compared with.
    #[serde(with = "Verifier")]
    pub verifier: Verifier,
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

/// A key's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// May be presented.
    Live {
        /// What it may do.
        grant: Box<Grant>,
        /// How it is recognised.
        token: KnownToken,
        /// Since when.
        created_at: Moment,
    },
}

/// The state after the event.
#[must_use]
pub fn evolve(_: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created { grant, token } => State::Live { grant: Box::new(grant), token, created_at: header.recorded_at },
    }
}
