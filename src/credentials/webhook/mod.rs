//! Webhook: an endpoint of a tenant's that is told what becomes of its connections.

mod decide;
mod progress;

pub use decide::decide;
pub(super) use decide::claim;
pub use progress::{Dead, Failed, Letter, MAX_DEAD, MAX_RETRYING, Progress, Progressed, Replay, Retry, STOPS_AFTER};

use serde::{Deserialize, Serialize};

use super::connection::Notice;
use super::{Sealing, To};
use crate::kernel::{Header, Moment, Position, Secret, SecretRef};

/// Stored on every event: never change it.
pub const NAME: &str = "webhook";
/// The most webhooks of one tenant.
pub const MAX_PER_TENANT: u8 = 16;
/// The longest URL, in bytes: as the guard of calls to the outside has it.
pub const MAX_URL: usize = 4096;
/// The longest description, in bytes.
pub const MAX_DESCRIPTION: usize = 256;
/// How long a former secret signs along, in seconds, where nobody says otherwise.
pub const GRACE: u64 = 24 * 3600;
/// The longest that a former secret may sign along, in seconds.
pub const MAX_GRACE: u64 = 7 * 24 * 3600;
/// The most former secrets that sign along.
const MAX_FORMER: usize = 3;
/// The box of the signing secret.
pub const SECRET: &str = "secret";
/// Subscribes to everything.
pub const EVERYTHING: &str = "*";

/// What a caller writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Where it is told.
    pub url: String,
    /// What it is told: names of notices, or `*`.
    pub events: Vec<String>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it is told anything.
    pub enabled: bool,
}

/// Parts to change. Absent ones stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Where it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<To<String>>,
    /// Whether it is told anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// What the caller wrote.
        profile: Profile,
        /// One of the tenant's seats that was free when it was looked.
        seat: Option<u8>,
        /// What its messages are signed with.
        secret: Secret,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// Change it.
    Update(Changes),
    /// Sign with another secret.
    Rotate {
        /// The new one.
        secret: Secret,
        /// How long the former one signs along.
        grace_seconds: u64,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// Take note that its endpoint wants nothing any more.
    Gone {
        /// How it said so.
        cause: String,
    },
    /// Take note of what came of sending.
    Progress(Progressed),
    /// Send again.
    Replay {
        /// What.
        what: Replay,
        /// The log's last position.
        now: Position,
    },
    /// Take note that it was tried out.
    Test {
        /// The status of the answer, if one came.
        status: Option<u16>,
        /// Why it was not taken.
        cause: Option<String>,
    },
    /// Remove it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made. What its messages are signed with lies in the box `secret`.
    Created {
        /// What the caller wrote.
        profile: Profile,
        /// Which of the tenant's seats it takes.
        seat: u8,
    },
    /// It changed.
    Updated(Changes),
    /// Its messages are signed with another secret, in the box `secret`.
    Rotated {
        /// Until when the former one signs along; `None`: it stopped at once.
        grace_until: Option<Moment>,
    },
    /// Its endpoint wants nothing any more: it is told nothing until somebody enables it.
    Gone {
        /// How the endpoint said so.
        cause: String,
    },
    /// Messages were sent, or failed.
    Progressed(Progressed),
    /// Something is sent again.
    Replayed(Replay),
    /// It was tried out.
    Tested {
        /// The status of the answer, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Why it was not taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// It was removed.
    Deleted,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Updated(_) => "updated",
            Self::Rotated { .. } => "rotated",
            Self::Gone { .. } => "gone",
            Self::Progressed(_) => "progressed",
            Self::Replayed(_) => "replayed",
            Self::Tested { .. } => "tested",
            Self::Deleted => "deleted",
        }
    }
}

/// A secret that signs along for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Where it lies.
    pub secret: SecretRef,
    /// Until when.
    pub until: Moment,
}

/// A webhook that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// What the caller wrote.
    pub profile: Profile,
    /// Which of the tenant's seats it takes.
    pub seat: u8,
    /// What its messages are signed with.
    pub secret: SecretRef,
    /// What signs along, latest first.
    pub former: Vec<Former>,
    /// When and how its endpoint said that it wants nothing any more.
    pub gone: Option<(Moment, String)>,
    /// Position of its making: nothing before it is ever sent.
    pub since: Position,
    /// How far it has been told.
    #[serde(with = "progress::kept")]
    pub progress: Progress,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

impl Webhook {
    /// Whether it subscribes to a notice.
    #[must_use]
    pub fn wants(&self, notice: Notice) -> bool {
        self.profile.events.iter().any(|name| name == EVERYTHING || name == notice.name())
    }

    /// What its messages are signed with at a moment, the present secret first.
    pub fn signing(&self, now: Moment) -> impl Iterator<Item = &SecretRef> {
        let former = self.former.iter().filter(move |former| former.until > now).map(|former| &former.secret);
        std::iter::once(&self.secret).chain(former)
    }
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<Webhook>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// Which of the tenant's seats it had.
        seat: u8,
    },
}

impl State {
    /// The secrets that the state rests on. Former ones have an end, and so their keys do.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Live(live) => vec![&live.secret],
            Self::Absent | Self::Deleted { .. } => Vec::new(),
        }
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { profile, seat }, state) => match header.secret(SECRET) {
            Some(secret) => State::Live(Box::new(Webhook {
                profile,
                seat,
                secret,
                former: Vec::new(),
                gone: None,
                since: header.position,
                progress: Progress::beginning(header.position),
                created_at: at,
                updated_at: at,
            })),
            None => state,
        },
        (Event::Deleted, State::Live(live)) => State::Deleted { at, seat: live.seat },
        (event, State::Live(mut live)) => {
            apply(&mut live, header, event);
            State::Live(live)
        }
        (_, state) => state,
    }
}

fn apply(live: &mut Webhook, header: &Header, event: Event) {
    let at = header.recorded_at;
    match event {
        Event::Updated(changes) => {
            let profile = &mut live.profile;
            profile.url = changes.url.unwrap_or_else(|| std::mem::take(&mut profile.url));
            profile.events = changes.events.unwrap_or_else(|| std::mem::take(&mut profile.events));
            profile.description = changes.description.map_or_else(|| profile.description.take(), |description| description.to);
            profile.enabled = changes.enabled.unwrap_or(profile.enabled);
            live.gone = live.gone.take().filter(|_| !live.profile.enabled);
            live.updated_at = at;
        }
        Event::Rotated { grace_until } => {
            let Some(secret) = header.secret(SECRET) else { return };
            let former = std::mem::replace(&mut live.secret, secret);
            live.former.retain(|former| former.until > at);
            if let Some(until) = grace_until {
                live.former.insert(0, Former { secret: former, until });
            } else {
                live.former.clear();
            }
            live.former.truncate(MAX_FORMER);
            live.updated_at = at;
        }
        Event::Gone { cause } => {
            live.profile.enabled = false;
            live.gone = Some((at, cause));
            live.updated_at = at;
        }
        Event::Progressed(came) => live.progress.take(&came),
        Event::Replayed(what) => live.progress.replay(&what),
        Event::Created { .. } | Event::Tested { .. } | Event::Deleted => {}
    }
}
