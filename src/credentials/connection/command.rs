//! What is asked of a connection.

use super::{Calls, Confirm, Flow, GivenSettings, Key, RevokeOutcome};
use crate::kernel::{FlowId, Json, Moment, Position, Secret, SecretRef, StreamId};

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
    /// Say that its user is about to be sent to the service.
    Authorize(Flow),
    /// Say that an authorization ended without a code.
    EndAuthorization {
        /// Which.
        flow: FlowId,
        /// Why, in words that hold no secret.
        cause: String,
    },
    /// Say that an exchange is about to call the service.
    StartExchange(Want),
    /// Record the service's answer.
    FinishExchange {
        /// Position of the intent.
        intent: Position,
        /// What became of it.
        outcome: Outcome,
        /// The tokens wait until whoever began the authorization confirms it by this.
        confirm: Option<Confirm>,
    },
    /// Note that no exchange can be made, though one is due.
    NoteFailure {
        /// Why, in words that hold no secret.
        cause: String,
    },
    /// Take up tokens that wait: whoever asks presents what was given to the page that began the authorization, hashed.
    Confirm {
        /// The key of the hash.
        key: [u8; 16],
        /// The hash.
        hash: [u8; 32],
    },
    /// Remove tokens that the service has refused for too long.
    Drop,
    /// Remove the tokens because the user wants it.
    Revoke,
    /// Note what the service said when it was told.
    FinishRevoke(RevokeOutcome),
    /// Keep what the user consents to.
    Consent {
        /// Names the record.
        id: String,
        /// Whether it is granted.
        granted: bool,
        /// `"*"`, or fields by resource.
        resources: Json,
    },
    /// Note calls that were passed through.
    Use(Vec<Calls>),
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
        /// Not before then, as the service said.
        retry_at: Option<Moment>,
        /// Whether the service refused the client, and said nothing of the tokens.
        client: bool,
    },
    /// The call went out and no whole answer came back: the service may or may not have given tokens.
    Lost {
        /// What broke, in words that hold no secret.
        cause: String,
    },
}

/// Which exchange is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The one that begins the connection, by its settings.
    Begin,
    /// One that renews it: by its refresh token, else by its settings.
    Renew,
    /// The one of a code that the service gave for this authorization.
    Code(FlowId),
}
