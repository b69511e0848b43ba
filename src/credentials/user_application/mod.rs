//! User application: a client id (its stream's) and a secret with which a program acts as its user, with that user's roles at the time of use.

use serde::{Deserialize, Serialize};

use super::issued::{self, Issued, KnownToken};
use super::{Sealing, Subject};
use crate::kernel::{Claim, Header, Moment, Plan, Refusal, StreamId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "user_application";
/// The most applications of one user (the vendor's limit).
pub const MAX_PER_USER: u8 = 20;
/// The longest name, in bytes.
pub const MAX_NAME: usize = 128;

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// Its name.
        name: String,
        /// Whose it is.
        user: StreamId,
        /// One of the user's seats that was free when it was looked.
        seat: Option<u8>,
        /// How its secret is recognised.
        token: KnownToken,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// Change its secret, or end access tokens.
    Secret(issued::Command),
    /// Remove it.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// Its name; unique among its user's.
        name: String,
        /// Whose it is.
        user: StreamId,
        /// Which of the user's seats it takes.
        seat: u8,
        /// How its secret is recognised.
        token: KnownToken,
    },
    /// Its secret changed, or access tokens ended.
    Secret(issued::Event),
    /// It was removed.
    Deleted,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Secret(event) => event.name(),
            Self::Deleted => "deleted",
        }
    }
}

/// An application that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserApplication {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub user: StreamId,
    /// Which of the user's seats it takes.
    pub seat: u8,
    /// How its secret is recognised.
    pub issued: Issued,
    /// Since when.
    pub created_at: Moment,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<UserApplication>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// What it was.
        last: Box<UserApplication>,
    },
}

pub(super) fn claims(user: StreamId, name: &str, seat: u8) -> [Claim; 2] {
    let user = user.to_string();
    [Claim::exact(NAME, &[&user], name), Claim::exact("user_application.seat", &[&user], &seat.to_string())]
}

/// The vendor's pattern: `^[a-z][-_a-z0-9]*[a-z0-9]$`.
fn is_name(name: &str) -> bool {
    let small = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (2..=MAX_NAME).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(small)
        && bytes.iter().all(|byte| small(byte) || b"-_".contains(byte))
}

/// The rules.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { name, .. }) if !is_name(&name) => {
            Err(Refusal::invalid("name", format!("takes 2 to {MAX_NAME} of a to z, 0 to 9, - and _; it begins with a letter and ends with a letter or digit")))
        }
        (State::Absent, Command::Create { seat: None, .. }) => {
            Err(Refusal::Limit { what: "applications of one user", limit: u64::from(MAX_PER_USER) })
        }
        (State::Absent, Command::Create { name, user, seat: Some(seat), token, sealing }) => {
            let takes = claims(user, &name, seat).into();
            let mut write = change(Event::Created { name, user, seat, token });
            (write.takes, write.secrets) = (takes, sealing);
            Ok(Plan::of(write))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Secret(command)) => Ok(issued::decide(subject, &live.issued, now, None, command)?.map(Event::Secret)),
        (State::Live(live), Command::Delete) => {
            let mut write = change(Event::Deleted);
            write.frees = claims(live.user, &live.name, live.seat).into();
            Ok(Plan::of(write))
        }
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { name, user, seat, token }, _) => {
            State::Live(Box::new(UserApplication { name, user, seat, issued: Issued::first(vec![token], at), created_at: at }))
        }
        (Event::Secret(event), State::Live(live)) => {
            let live = *live;
            State::Live(Box::new(UserApplication { issued: issued::evolve(live.issued, header, event), ..live }))
        }
        (Event::Deleted, State::Live(last)) => State::Deleted { at, last },
        (_, state) => state,
    }
}
