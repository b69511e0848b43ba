//! A recovery in place: what was put back to which moment, by whom, and whether it has ended. One stream each, so that a stop in the middle is
//! found and gone on from.

use serde::{Deserialize, Serialize};

use crate::kernel::{Header, Moment, PermissionSet, Position, StreamId, TenantId};

/// Stored on every event: never change it.
pub const NAME: &str = "recovery";

/// What is put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Things of this tenant only; of every tenant without it.
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// Things of this kind only.
    #[serde(default)]
    pub kind: Option<String>,
    /// A consumer and its connections only: the application, and its id there.
    #[serde(default)]
    pub consumer: Option<(String, String)>,
    /// One thing only.
    #[serde(default)]
    pub thing: Option<StreamId>,
}

/// Who asked, as whoever goes on after a stop needs to know: what was not permitted then is not done later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The user as whom the credential acted.
    #[serde(default)]
    pub user: Option<StreamId>,
    /// What it held.
    #[serde(default)]
    pub held: PermissionSet,
    /// Whether it was one of the first tenant.
    #[serde(default)]
    pub is_home: bool,
}

impl Asker {
    /// Whether nothing is known of who asked.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

/// An event that is taken back, where that takes more than one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The event.
    pub position: Position,
    /// Only what this one did.
    pub alone: bool,
}

/// What happened.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Things are being put back; each one's event names this one as what caused it.
    Started {
        /// To the state at this position.
        to: Position,
        /// What.
        selection: Selection,
        /// How many things differ.
        things: u64,
        /// Whether secrets that were ended on purpose come back to life.
        revive: bool,
        /// Names the plan that was looked at before.
        plan: String,
        /// Of an undo, what is taken back: then it says which things, and where they are to stand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undone: Option<Undone>,
        /// Who asked.
        #[serde(default, skip_serializing_if = "Asker::is_nobody")]
        asker: Asker,
    },
    /// All that could be put back is.
    Finished {
        /// How many things were put back.
        reverted: u64,
        /// Things that moved meanwhile, or whose name was taken: they stayed as they were.
        left: Vec<StreamId>,
    },
}

impl Event {
    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Finished { .. } => "finished",
        }
    }
}

/// Where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// To the state at this position.
    pub to: Position,
    /// What.
    pub selection: Selection,
    /// How many things differed.
    pub things: u64,
    /// Whether secrets that were ended on purpose come back to life.
    pub revive: bool,
    /// Of an undo, what is taken back.
    pub undone: Option<Undone>,
    /// The credential that asked.
    pub by: StreamId,
    /// What is known of it.
    pub asker: Asker,
    /// Position of its beginning.
    pub started: Position,
    /// When it began.
    pub started_at: Moment,
    /// How it ended; `None` while it runs, or when it was cut off.
    pub finished: Option<Finished>,
}

/// How a recovery ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When.
    pub at: Moment,
    /// How many things were put back.
    pub reverted: u64,
    /// Things that stayed as they were.
    pub left: Vec<StreamId>,
}

/// The state after the event.
#[must_use]
pub fn evolve(state: State, header: &Header, event: Event) -> State {
    match event {
        Event::Started { to, selection, things, revive, undone, asker, plan: _ } => {
            let (started, started_at) = (header.position, header.recorded_at);
            State { to, selection, things, revive, undone, by: header.actor, asker, started, started_at, finished: None }
        }
        Event::Finished { reverted, left } => State { finished: Some(Finished { at: header.recorded_at, reverted, left }), ..state },
    }
}
