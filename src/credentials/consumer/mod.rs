//! Consumer: whose connections they are, within an application. It lists its connections, so that its delete takes exactly those along.

use std::collections::BTreeSet;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Subject;
use crate::kernel::{Claim, Header, Json, Moment, Plan, Refusal, StreamId, Write};

/// Stored on every event: never change it.
pub const NAME: &str = "consumer";

/// What is asked.
pub enum Command {
    /// Make it.
    Create {
        /// The application that it belongs to.
        app: String,
        /// Its id within the application.
        consumer: String,
        /// Free data.
        metadata: Option<Json>,
    },
    /// Change its metadata.
    Update {
        /// Free data; `None` removes it.
        metadata: Option<Json>,
    },
    /// Take note of a new connection.
    AddConnection(StreamId),
    /// Take note that a connection is gone.
    RemoveConnection(StreamId),
    /// Note that a session of it begins, and ends then at the latest.
    OpenSession(Moment),
    /// Remove it; its connections go with it by the same plan.
    Delete,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was made.
    Created {
        /// The application that it belongs to.
        app: String,
        /// Its id within the application.
        consumer: String,
        /// Free data.
        metadata: Option<Json>,
    },
    /// Its metadata changed.
    Updated {
        /// The new value.
        metadata: Option<Json>,
    },
    /// A connection came.
    ConnectionAdded {
        /// Its stream.
        connection: StreamId,
    },
    /// A connection went.
    ConnectionRemoved {
        /// Its stream.
        connection: StreamId,
    },
    /// A session of it began.
    SessionOpened {
        /// When it ends at the latest.
        until: Moment,
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
            Self::ConnectionAdded { .. } => "connection_added",
            Self::ConnectionRemoved { .. } => "connection_removed",
            Self::SessionOpened { .. } => "session_opened",
            Self::Deleted => "deleted",
        }
    }
}

/// A consumer that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The application that it belongs to.
    pub app: Arc<str>,
    /// Its id within the application.
    pub consumer: Arc<str>,
    /// Free data.
    pub metadata: Option<Json>,
    /// Its connections.
    pub connections: BTreeSet<StreamId>,
    /// Since when.
    pub created_at: Moment,
    /// The latest change to its metadata.
    pub updated_at: Moment,
}

/// Its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Live(Box<Consumer>),
    /// Removed.
    Deleted {
        /// When.
        at: Moment,
        /// The application that it belonged to.
        app: Arc<str>,
        /// Its id within the application.
        consumer: Arc<str>,
    },
}

/// The name space of consumers: one id per application.
#[must_use]
pub fn claim(app: &str, consumer: &str) -> Claim {
    Claim::exact(NAME, &[app], consumer)
}

/// The rules.
pub fn decide(subject: Subject, state: &State, command: Command) -> Result<Plan<Event>, Refusal> {
    let change = |event| Write::change(subject.stream, subject.version, event);
    match (state, command) {
        (State::Absent, Command::Create { app, consumer, metadata }) => {
            let claim = claim(&app, &consumer);
            Ok(Plan::of(change(Event::Created { app, consumer, metadata }).taking(claim)))
        }
        (State::Live(_) | State::Deleted { .. }, Command::Create { .. }) => Err(Refusal::AlreadyExists),
        (State::Live(live), Command::Update { metadata }) if live.metadata == metadata => Ok(Plan::nothing()),
        (State::Live(_), Command::Update { metadata }) => Ok(Plan::of(change(Event::Updated { metadata }))),
        (State::Live(_), Command::AddConnection(connection)) => Ok(Plan::of(change(Event::ConnectionAdded { connection }))),
        (State::Live(_), Command::RemoveConnection(connection)) => Ok(Plan::of(change(Event::ConnectionRemoved { connection }))),
        (State::Live(_), Command::OpenSession(until)) => Ok(Plan::of(Write::observation(subject.stream, Event::SessionOpened { until }))),
        (State::Live(live), Command::Delete) => Ok(Plan::of(change(Event::Deleted).freeing(claim(&live.app, &live.consumer)))),
        (State::Absent | State::Deleted { .. }, _) => Err(Refusal::NotFound),
    }
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match (event, state) {
        (Event::Created { app, consumer, metadata }, _) => {
            let at = header.recorded_at;
            State::Live(Box::new(Consumer { app: app.into(), consumer: consumer.into(), metadata, connections: BTreeSet::new(), created_at: at, updated_at: at }))
        }
        (Event::Updated { metadata }, State::Live(live)) => State::Live(Box::new(Consumer { metadata, updated_at: header.recorded_at, ..*live })),
        (Event::ConnectionAdded { connection }, State::Live(mut live)) => {
            live.connections.insert(connection);
            State::Live(live)
        }
        (Event::ConnectionRemoved { connection }, State::Live(mut live)) => {
            live.connections.remove(&connection);
            State::Live(live)
        }
        (Event::SessionOpened { .. }, State::Live(live)) => State::Live(live),
        (Event::Deleted, State::Live(live)) => State::Deleted { at: header.recorded_at, app: live.app, consumer: live.consumer },
        (_, state) => state,
    }
}
