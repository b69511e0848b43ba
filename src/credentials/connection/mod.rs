//! Connection: a consumer's credentials at one service. Its life: added → authorized → callable, or invalid; a lost exchange is a state of its own.

mod decide;
mod evolve;
mod settings;

pub use decide::{decide, fresh};
pub use evolve::evolve;
pub use settings::MASK;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Subject;
use super::connector::{Connector, GrantType};
use crate::kernel::{Claim, Json, Moment, Position, Secret, SecretRef, StreamId};

/// Stored on every event: never change it.
pub const NAME: &str = "connection";
/// The most settings of one connection.
pub const MAX_SETTINGS: usize = 64;

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
}

/// Settings as a caller sends them; `None` removes one.
pub type GivenSettings = BTreeMap<String, Option<serde_json::Value>>;

/// Parts of a connection that a caller may write. Absent parts stay as they are; an inner `None` removes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Whether it may be used.
    pub enabled: Option<bool>,
    /// Entered values; those not named stay.
    pub settings: GivenSettings,
    /// Free data.
    pub metadata: Option<Option<Json>>,
    /// Defaults per resource, as the caller keeps them.
    pub configuration: Option<Option<Json>>,
    /// Custom mappings, as the caller keeps them.
    pub custom_mappings: Option<Option<Json>>,
}

/// Tokens from elsewhere or from an exchange.
#[derive(Default)]
pub struct Tokens {
    /// The access token.
    pub access: Option<Secret>,
    /// The refresh token.
    pub refresh: Option<Secret>,
    /// When the access token was made.
    pub issued_at: Option<Moment>,
    /// When it ends.
    pub expires_at: Option<Moment>,
    /// What it allows, as the service said.
    pub scope: Option<String>,
}

/// What is asked.
pub enum Command {
    /// Make it, for this consumer.
    Create {
        /// What it is the credentials of.
        key: Key,
        /// The consumer's stream.
        consumer: StreamId,
    },
    /// Change what the caller may write.
    Update(Changes),
    /// Take tokens over from elsewhere.
    Import {
        /// The tokens.
        tokens: Tokens,
        /// Settings and metadata that came along.
        changes: Changes,
    },
    /// Say that an exchange is about to call the service.
    StartExchange,
    /// Record the service's answer.
    FinishExchange {
        /// Position of the intent.
        intent: Position,
        /// What became of it.
        outcome: Outcome,
    },
    /// Note that entered credentials were checked.
    Validate,
    /// Note that a secret is about to be shown.
    Reveal {
        /// The secret.
        secret: SecretRef,
    },
    /// Remove it.
    Delete,
}

/// What became of an exchange.
pub enum Outcome {
    /// The service gave tokens.
    Tokens(Tokens),
    /// It gave none.
    Failed {
        /// Why, in words that hold no secret.
        cause: String,
        /// Whether trying again can help: the service was not reached, or was busy.
        passing: bool,
        /// The HTTP status of its answer, if one came.
        status: Option<u16>,
    },
    /// The call went out and no whole answer came back: the service may or may not have given tokens.
    Lost {
        /// What broke, in words that hold no secret.
        cause: String,
    },
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Credentials are missing.
    Added,
    /// Authorised, but settings are missing.
    Authorized,
    /// Ready.
    Callable,
    /// Credentials are wrong.
    Invalid,
}

impl Phase {
    /// As the vendor and our own routes name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Authorized => "authorized",
            Self::Callable => "callable",
            Self::Invalid => "invalid",
        }
    }
}

/// What happened.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// What it is the credentials of.
        key: Key,
        /// The consumer's stream.
        consumer: StreamId,
        /// Where it stands.
        phase: Phase,
    },
    /// The caller changed it.
    Updated(Written),
    /// Tokens came from elsewhere; they lie in the boxes `access_token` and `refresh_token`.
    Imported {
        /// What else came along.
        written: Written,
        /// When the access token was made.
        issued_at: Option<Moment>,
        /// When it ends.
        expires_at: Option<Moment>,
    },
    /// An exchange is about to call the service.
    ExchangeStarted {
        /// The grant.
        grant: GrantType,
    },
    /// The service gave tokens; they lie in the boxes `access_token` and `refresh_token`.
    Exchanged {
        /// Position of the intent.
        intent: Position,
        /// When the access token was made.
        issued_at: Option<Moment>,
        /// When it ends.
        expires_at: Option<Moment>,
        /// What it allows.
        scope: Option<String>,
        /// Where the connection stands.
        phase: Phase,
    },
    /// The service gave no tokens.
    ExchangeFailed {
        /// Position of the intent.
        intent: Position,
        /// Why.
        cause: String,
        /// Whether trying again can help.
        passing: bool,
        /// The HTTP status of the service's answer, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// Nobody knows whether the service gave tokens.
    ExchangeLost {
        /// Position of the intent.
        intent: Position,
        /// What broke.
        cause: String,
    },
    /// Entered credentials were checked.
    Validated {
        /// Where the connection stands.
        phase: Phase,
    },
    /// A secret was shown.
    Revealed {
        /// Which.
        secret: SecretRef,
    },
    /// It was removed.
    Deleted,
}

/// What a caller wrote, as facts. Secrets lie in boxes named `settings.<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Whether it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Values that are no secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Json>,
    /// Settings that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Free data: `{"set": …}` or `"removed"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Part>,
    /// Defaults per resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Part>,
    /// Custom mappings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_mappings: Option<Part>,
    /// Where the connection stands.
    pub phase: Phase,
}

/// A part that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// To this.
    Set(Json),
    /// To nothing.
    Removed,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Updated(_) => "updated",
            Self::Imported { .. } => "imported",
            Self::ExchangeStarted { .. } => "exchange_started",
            Self::Exchanged { .. } => "exchanged",
            Self::ExchangeFailed { .. } => "exchange_failed",
            Self::ExchangeLost { .. } => "exchange_lost",
            Self::Validated { .. } => "validated",
            Self::Revealed { .. } => "revealed",
            Self::Deleted => "deleted",
        }
    }
}

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
    /// The access token and when it ends.
    pub access: Option<(SecretRef, Option<Moment>)>,
    /// The refresh token.
    pub refresh: Option<SecretRef>,
    /// What the access token allows.
    pub scope: Option<String>,
    /// The intent of an exchange that has no result yet.
    pub flight: Option<Position>,
    /// The latest exchange that failed.
    pub failure: Option<Failure>,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

/// Why the latest exchange brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Moment,
    /// In words that hold no secret.
    pub cause: String,
    /// Whether trying again can help.
    pub passing: bool,
    /// The HTTP status of the service's answer, if one came.
    pub status: Option<u16>,
    /// Whether the outcome is unknown.
    pub lost: bool,
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

impl State {
    /// The secrets that the state rests on.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let Self::Live(live) = self else { return Vec::new() };
        live.sealed.values().chain(live.access.as_ref().map(|(access, _)| access)).chain(live.refresh.as_ref()).collect()
    }
}
