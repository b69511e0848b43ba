//! User: a person. The first one, the owner, is made by `init`.

use serde::{Deserialize, Serialize};

use crate::kernel::{Header, Moment};

/// Stored on every event: never change it.
pub const NAME: &str = "user";

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The person may act from now on.
    Created(Profile),
}

/// What a user is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name to log in with; unique in the tenant.
    pub login: String,
    /// The name to show.
    pub name: String,
    /// Where to reach the person.
    pub email: Option<String>,
    /// Names of roles held, such as `owner`.
    pub roles: Vec<String>,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
        }
    }
}

/// A user's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// May act.
    Live {
        /// Who it is.
        profile: Profile,
        /// Since when.
        created_at: Moment,
    },
}

/// The state after the event.
#[must_use]
pub fn evolve(_: State, header: &Header, event: Event) -> State {
    match event {
        Event::Created(profile) => State::Live { profile, created_at: header.recorded_at },
    }
}
