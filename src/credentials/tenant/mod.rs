//! Tenant: who owns credentials. Its stream is owned by the system tenant and names the tenant in its event.

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::kernel::{Claim, Header, Moment, Plan, Refusal, TenantId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "tenant";
/// The longest name, in bytes.
pub const MAX_NAME: usize = 63;

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name.
        name: String,
    },
    /// Refuse all its principals.
    Suspend,
    /// Let them in again.
    Resume,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It may own things from now on.
    Created {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// `system`, `default`, or a name of choice; unique in the vault.
        name: String,
    },
    /// All its principals are refused.
    Suspended,
    /// They are let in again.
    Resumed,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
        }
    }
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// Owns things.
    Live {
        /// Its id, as headers bear it.
        tenant: TenantId,
        /// Its name.
        name: Box<str>,
        /// Since when its principals are refused; `None`: they are not.
        suspended_at: Option<Moment>,
        /// Since when.
        created_at: Moment,
    },
}

/// Names are unique in the vault.
#[must_use]
pub fn claim(name: &str) -> Claim {
    Claim::exact(NAME, &[], name)
}

/// The rules. `home` is the first tenant: it is never suspended, since nobody could resume it.
pub fn decide(subject: Subject, state: &State, home: TenantId, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { tenant, name }) => {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
            if name.len() > MAX_NAME || !name.bytes().all(fits) || !ends(name.bytes().next()) || !ends(name.bytes().last()) {
                return Err(Refusal::invalid("name", format!("takes 1 to {MAX_NAME} of a to z, 0 to 9 and -, and neither begins nor ends with -")));
            }
            let claim = claim(&name);
            Ok(Plan::of(change(Event::Created { tenant, name }).taking(claim)))
        }
        (State::Live { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live { tenant, .. }, Command::Suspend) if [home, TenantId::SYSTEM].contains(tenant) => {
            Err(Refusal::InvalidState("the first tenant is never suspended: nobody could resume it".into()))
        }
        (State::Live { suspended_at: Some(_), .. }, Command::Suspend) | (State::Live { suspended_at: None, .. }, Command::Resume) => Ok(Plan::nothing()),
        (State::Live { .. }, Command::Suspend) => Ok(Plan::of(change(Event::Suspended))),
        (State::Live { .. }, Command::Resume) => Ok(Plan::of(change(Event::Resumed))),
        (State::Absent, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match (event, state) {
        (Event::Created { tenant, name }, _) => State::Live { tenant, name: name.into(), suspended_at: None, created_at: header.recorded_at },
        (Event::Suspended, State::Live { tenant, name, created_at, .. }) => {
            State::Live { tenant, name, suspended_at: Some(header.recorded_at), created_at }
        }
        (Event::Resumed, State::Live { tenant, name, created_at, .. }) => State::Live { tenant, name, suspended_at: None, created_at },
        (_, state) => state,
    }
}
