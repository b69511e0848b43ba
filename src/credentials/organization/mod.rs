//! Organisation: whom API keys serve.

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::kernel::{Claim, Header, Moment, Plan, Position, Refusal, Write, name};

/// Stored on every event: never change it.
pub const NAME: &str = "organization";

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Its name.
        name: String,
    },
    /// Give it another name.
    Rename {
        /// Its name.
        name: String,
    },
    /// Remove it: keys that serve it no longer show it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// Its name; unique in the tenant.
        name: String,
    },
    /// It has another name.
    Renamed {
        /// Its name.
        name: String,
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
            Self::Renamed { .. } => "renamed",
            Self::Deleted => "deleted",
        }
    }
}

/// An organisation that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its name.
    pub name: String,
    /// A number that is never used again: the position of its first event.
    pub number: Position,
    /// Since when.
    pub created_at: Moment,
    /// The latest change.
    pub updated_at: Moment,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<Organization>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<Organization>,
    },
}

pub(super) fn claim(given: &str) -> Claim {
    name::claim(NAME, &[], given)
}

/// The rules.
pub fn decide(subject: Subject, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { name }) => {
            let name = name::name("name", &name)?;
            let claim = claim(&name);
            Ok(Plan::of(change(Event::Created { name }).taking(claim)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Rename { name }) => {
            let name = name::name("name", &name)?;
            if name == live.name {
                return Ok(Plan::nothing());
            }
            let (old, new) = (claim(&live.name), claim(&name));
            let write = change(Event::Renamed { name });
            Ok(Plan::of(if old == new { write } else { write.freeing(old).taking(new) }))
        }
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted).freeing(claim(&live.name)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { name }, _) => State::Live(Box::new(Organization { name, number: header.position, created_at: at, updated_at: at })),
        (Event::Renamed { name }, State::Live(live)) => State::Live(Box::new(Organization { name, updated_at: at, ..*live })),
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}
