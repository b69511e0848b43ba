//! Session: a user that logged in. It ends by itself, by logging out, when the user's password changes, and with the user.

use serde::{Deserialize, Serialize};

use super::issued::{self, Issued, KnownToken};
use super::{Sealing, Subject};
use crate::kernel::{Header, Moment, Plan, Position, Refusal, StreamId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "session";

/// What is asked.
pub enum Command {
    /// Begin.
    Create {
        /// Whose it is.
        user: StreamId,
        /// How its token is recognised.
        token: KnownToken,
        /// When it ends by itself.
        expires_at: Moment,
        /// What a repeat of the command is answered with.
        sealing: Sealing,
    },
    /// End access tokens of it.
    Secret(issued::Command),
    /// End it.
    End,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It began.
    Created {
        /// Whose it is.
        user: StreamId,
        /// How its token is recognised.
        token: KnownToken,
        /// When it ends by itself.
        expires_at: Moment,
    },
    /// Access tokens of it ended.
    Secret(issued::Event),
    /// It ended.
    Ended,
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Secret(event) => event.name(),
            Self::Ended => "ended",
        }
    }
}

/// A session that has not been ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is.
    pub user: StreamId,
    /// How its token is recognised.
    pub issued: Issued,
    /// When it ends by itself.
    pub expires_at: Moment,
    /// Position of its beginning: a user's sign-out after it ends it.
    pub began: Position,
    /// Since when.
    pub created_at: Moment,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not begun yet.
    #[default]
    Absent,
    /// Not ended by anybody; it may have ended by itself.
    Live(Box<Session>),
    /// Ended.
    Ended {
        /// When.
        at: Moment,
        /// Whose it was.
        user: StreamId,
    },
}

/// The rules.
pub fn decide(subject: Subject, state: &State, now: Moment, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { user, token, expires_at, sealing }) => {
            let mut write = change(Event::Created { user, token, expires_at });
            write.secrets = sealing;
            Ok(Plan::of(write))
        }
        (State::Live(_) | State::Ended { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(_), Command::Secret(issued::Command::Rotate { .. })) => Err(Refusal::InvalidState("a session's token is not rotated: log in anew".into())),
        (State::Live(live), Command::Secret(command)) => {
            Ok(issued::decide(subject, &live.issued, now, Some(live.expires_at), command)?.map(Event::Secret))
        }
        (State::Live(_), Command::End) => Ok(Plan::of(change(Event::Ended))),
        (State::Absent | State::Ended { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    let at = header.recorded_at;
    match (event, state) {
        (Event::Created { user, token, expires_at }, _) => {
            State::Live(Box::new(Session { user, issued: Issued::first(vec![token], at), expires_at, began: header.position, created_at: at }))
        }
        (Event::Secret(event), State::Live(live)) => {
            let live = *live;
            State::Live(Box::new(Session { issued: issued::evolve(live.issued, header, event), ..live }))
        }
        (Event::Ended, State::Live(live)) => State::Ended { at, user: live.user },
        (_, state) => state,
    }
}
