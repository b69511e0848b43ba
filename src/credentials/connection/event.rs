//! What happens to a connection, in its stored form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::credentials::Verifier;
use crate::credentials::connector::GrantType;
use crate::kernel::{FlowId, Json, Moment, Position, SecretRef, StreamId};

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
        /// The grant that begins a connection to the service, if it speaks OAuth.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantType>,
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
    /// Its user is sent to the service.
    AuthorizationBegun(Flow),
    /// The service sent its user back without a code.
    AuthorizationEnded {
        /// Which authorization.
        flow: FlowId,
        /// Why, in words that hold no secret.
        cause: String,
    },
    /// An exchange is about to call the service.
    ExchangeStarted {
        /// The grant.
        grant: Grant,
        /// Position of the event that brought what is presented: a refresh token, or the authorization of a code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Position>,
        /// The authorization that it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow: Option<FlowId>,
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
        /// They wait until they are confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<Confirm>,
        /// They came too late: others had taken their place, so they are kept and not used.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        late: bool,
    },
    /// The service gave no tokens.
    ExchangeFailed {
        /// Position of the intent; 0 when none could be made.
        intent: Position,
        /// Why.
        cause: String,
        /// Whether trying again can help.
        passing: bool,
        /// The HTTP status of the service's answer, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Not before then, as the service said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Moment>,
        /// Where the connection stands, if that changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
        /// The service refused the client, and said nothing of the tokens.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        client: bool,
    },
    /// Nobody knows whether the service gave tokens.
    ExchangeLost {
        /// Position of the intent.
        intent: Position,
        /// What broke.
        cause: String,
    },
    /// The tokens that waited are taken up.
    Confirmed {
        /// Position of the exchange that brought them.
        exchange: Position,
        /// Where the connection stands.
        phase: Phase,
    },
    /// The tokens are removed: the service has refused them for too long.
    Dropped {
        /// Why, in words that hold no secret.
        cause: String,
        /// Where the connection stands.
        phase: Phase,
    },
    /// The tokens are removed: the user wanted it.
    Revoked {
        /// Where the connection stands.
        phase: Phase,
    },
    /// The service was told of it.
    RevocationTold(RevokeOutcome),
    /// The user consented to something, or took it back.
    Consented {
        /// Names the record.
        id: String,
        /// Whether it is granted.
        granted: bool,
        /// `"*"`, or fields by resource.
        resources: Json,
    },
    /// Calls were passed through with its credentials.
    Used {
        /// By method and status.
        calls: Vec<Calls>,
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

/// How tokens are asked for (RFC 6749).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Grant {
    AuthorizationCode,
    ClientCredentials,
    Password,
    RefreshToken,
}

impl Grant {
    /// As the standard writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl From<GrantType> for Grant {
    fn from(grant: GrantType) -> Self {
        match grant {
            GrantType::AuthorizationCode => Self::AuthorizationCode,
            GrantType::ClientCredentials => Self::ClientCredentials,
            GrantType::Password => Self::Password,
        }
    }
}

/// An authorization that a user begins at the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// What the service gives back as `state`.
    pub id: FlowId,
    /// Where the user is sent in the end.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// What the page that began it recognises its own one by; the tokens then wait until it confirms.
    #[serde(default)]
    pub nonce: Option<String>,
    /// Whether it began in the browser that it must end in, with a challenge of RFC 7636 where the service takes one.
    #[serde(default)]
    pub here: bool,
}

/// What confirms tokens that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// What the token is compared with.
    #[serde(with = "Verifier")]
    pub verifier: Verifier,
    /// Not after then.
    pub until: Moment,
}

/// What came of telling the service that tokens are revoked (RFC 7009).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeOutcome {
    /// Position of the revocation.
    pub revocation: Position,
    /// The HTTP status of its answer, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why none came, in words that hold no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Calls of one sort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// The HTTP method.
    pub method: String,
    /// The service's host.
    pub host: String,
    /// The HTTP status of its answers; absent when none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
    /// When the last one began.
    pub last: Moment,
    /// Whether the answers held a secret that was sent along, and were cut off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
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
            Self::AuthorizationBegun(_) => "authorization_begun",
            Self::AuthorizationEnded { .. } => "authorization_ended",
            Self::Exchanged { .. } => "exchanged",
            Self::ExchangeFailed { .. } => "exchange_failed",
            Self::ExchangeLost { .. } => "exchange_lost",
            Self::Confirmed { .. } => "confirmed",
            Self::Dropped { .. } => "dropped",
            Self::Revoked { .. } => "revoked",
            Self::RevocationTold(_) => "revocation_told",
            Self::Consented { .. } => "consented",
            Self::Used { .. } => "used",
            Self::Validated { .. } => "validated",
            Self::Revealed { .. } => "revealed",
            Self::Deleted => "deleted",
        }
    }
}
