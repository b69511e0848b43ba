//! Connection: a consumer's credentials at one service. Its life: added → authorized → callable, or invalid; a lost exchange is a state of its own.

mod command;
mod decide;
mod event;
mod evolve;
mod exchange;
mod health;
mod notice;
mod renewal;
mod settings;
mod state;

pub use command::{Changes, Command, Outcome, Tokens, Want};
pub use decide::{MAX_CALLS, decide, fresh};
pub use event::{Calls, Confirm, Event, Flow, Grant, Part, Phase, RevokeOutcome, Written};
pub use evolve::evolve;
pub use health::health;
pub use notice::{Notice, notices};
pub use renewal::{Due, KEPT_AFTER_REFUSAL, due};
pub use settings::standing;
pub use state::{Access, Connection, Consent, Extra, Failure, Flight, Pending, State, Unconfirmed};

pub use super::settings::{GivenSettings, MASK, MAX_SETTINGS};

use serde::{Deserialize, Serialize};

use super::Subject;
use super::connector::Connector;
use crate::kernel::{Claim, Moment};

/// Stored on every event: never change it.
pub const NAME: &str = "connection";
/// An authorization that a user has begun ends after so many seconds, and so does the time for confirming one.
pub const FLOW_SECONDS: i64 = 30 * 60;

/// What a connection is the credentials of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The application.
    pub app: String,
    /// The consumer within it.
    pub consumer: String,
    /// The API family.
    pub unified_api: String,
    /// The service.
    pub service_id: String,
}

impl Key {
    /// The name that a connection takes: one per consumer and service.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim::exact(NAME, &[&self.app, &self.consumer, &self.unified_api], &self.service_id)
    }
}

/// What `decide` needs to know of other things.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The connection's own stream.
    pub subject: Subject,
    /// When the command is decided.
    pub now: Moment,
    /// The service, as it stands in the tenant.
    pub connector: &'a Connector,
    /// Whether the tenant supplies a setting for all connections to the service.
    pub supplied: &'a dyn Fn(&str) -> bool,
}
