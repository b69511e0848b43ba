//! Role: a set of permissions of a tenant's own making, beside the roles that every tenant has.

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::kernel::{Builtin, Claim, Header, Moment, Permits, Plan, Refusal, Write, name};

/// Stored on every event: never change it.
pub const NAME: &str = "role";

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Its name.
        name: String,
        /// What it permits.
        permissions: Vec<String>,
    },
    /// Change it; absent parts stay as they are.
    Update {
        /// Its name.
        name: Option<String>,
        /// What it permits.
        permissions: Option<Vec<String>>,
    },
    /// Remove it: whoever holds it loses what it permitted.
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
        /// What it permits.
        permissions: Vec<String>,
    },
    /// It changed.
    Updated {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What it permits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permissions: Option<Vec<String>>,
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
            Self::Updated { .. } => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// A role that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it permits.
    pub permits: Permits,
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
    Live(Box<Role>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<Role>,
    },
}

pub(super) fn claim(given: &str) -> Claim {
    name::claim(NAME, &[], given)
}

/// A name that no other role has, nor looks like a shipped one's or like an id.
fn checked(given: &str) -> Result<String, Refusal> {
    let checked = name::name("name", given)?;
    let taken = Builtin::ALL.into_iter().any(|role| name::look(role.name()) == name::look(&checked));
    let id = checked.len() == 32 && checked.bytes().all(|byte| byte.is_ascii_hexdigit());
    if taken || id { Err(Refusal::invalid("name", "is that of a role that every tenant has, or could be taken for an id")) } else { Ok(checked) }
}

/// The rules.
pub fn decide(subject: Subject, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { name, permissions }) => {
            let name = checked(&name)?;
            Permits::parse("permissions", &permissions)?;
            let claim = claim(&name);
            Ok(Plan::of(change(Event::Created { name, permissions }).taking(claim)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update { name, permissions }) => {
            let name = name.map(|name| checked(&name)).transpose()?.filter(|name| *name != live.name);
            let parsed = permissions.as_deref().map(|permissions| Permits::parse("permissions", permissions)).transpose()?;
            let permissions = permissions.filter(|_| parsed.as_ref() != Some(&live.permits));
            if name.is_none() && permissions.is_none() {
                return Ok(Plan::nothing());
            }
            let renamed = name.as_deref().map(claim).filter(|new| *new != claim(&live.name));
            let write = change(Event::Updated { name, permissions });
            Ok(Plan::of(match renamed {
                Some(new) => write.freeing(claim(&live.name)).taking(new),
                None => write,
            }))
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
        (Event::Created { name, permissions }, _) => State::Live(Box::new(Role { name, permits: Permits::read(&permissions), created_at: at, updated_at: at })),
        (Event::Updated { name, permissions }, State::Live(live)) => State::Live(Box::new(Role {
            name: name.unwrap_or(live.name),
            permits: permissions.map_or(live.permits, |permissions| Permits::read(&permissions)),
            created_at: live.created_at,
            updated_at: at,
        })),
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}
