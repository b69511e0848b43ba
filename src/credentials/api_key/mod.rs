//! API key: what programs present to this vault, or to services that ask the vault about it. The vault keeps a verifier, never the token.

mod decide;
mod evolve;

use serde::{Deserialize, Serialize};

use super::To;
use super::issued::{self, Issued, KnownToken};
use crate::kernel::{Claim, Moment, Permits, Position, StreamId};

pub use decide::{Command, MAX_LIST, decide};
pub use evolve::evolve;

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
    /// Parts of it changed.
    Updated(Changes),
    /// Its secret changed, or an access token of it ended.
    Secret(issued::Event),
    /// It was removed.
    Deleted,
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
    /// SFTP user name; unique in the tenant.
    pub dns_name: Option<String>,
    /// Application ids that it may name; empty: any.
    pub app_ids: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
}

/// What changes; absent parts stay as they are. Where a part may be taken away, an inner `None` does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is refused for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// Permissions of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// Whom to tell about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emails: Option<Vec<String>>,
    /// Organisations that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizations: Option<Vec<StreamId>>,
    /// Free labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// SFTP user name: `{"to": "name"}`, or `{"to": null}` to take it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<To<String>>,
    /// Application ids that it may name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ids: Option<Vec<String>>,
    /// When it ends by itself: `{"to": "2026-…"}`, or `{"to": null}` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<To<Moment>>,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Updated(_) => "updated",
            Self::Secret(event) => event.name(),
            Self::Deleted => "deleted",
        }
    }
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its name.
    pub name: Box<str>,
    /// The user as whom it acts.
    pub owner: Option<StreamId>,
    /// Permissions of its own.
    pub permits: Permits,
    /// What most keys do not have.
    more: Option<Box<More>>,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
    /// Whether it is refused for now.
    pub blocked: bool,
    /// How it is recognised.
    pub issued: Issued,
    /// A number that is never used again: the position of its first event.
    pub number: Position,
    /// Since when.
    pub created_at: Moment,
    /// The latest change; `None` before the first.
    pub updated_at: Option<Moment>,
}

/// What most keys do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
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
}

static NOTHING_MORE: More = More { emails: Vec::new(), organizations: Vec::new(), labels: Vec::new(), dns_name: None, app_ids: Vec::new() };

impl ApiKey {
    /// What most keys do not have.
    #[must_use]
    pub fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(&NOTHING_MORE)
    }

    /// Keeps nothing for what it does not have.
    pub(super) fn tidy(&mut self) {
        self.more = self.more.take().filter(|more| **more != NOTHING_MORE);
    }
}

/// A key's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// May be presented.
    Live(Box<ApiKey>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<ApiKey>,
    },
}

/// SFTP user names are unique in the tenant, in any letter case.
#[must_use]
pub fn dns_claim(dns_name: &str) -> Claim {
    Claim::exact("api_key.dns_name", &[], &dns_name.to_ascii_lowercase())
}
