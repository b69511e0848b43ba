//! How far a webhook has been told: what was sent, what is tried again, and what was given up. All of it has a limit: the log is the queue.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::credentials::connection::Notice;
use crate::kernel::{Moment, Position};

/// The most letters that are tried again at a time.
pub const MAX_RETRYING: usize = 64;
/// The most letters that are kept after they were given up; the oldest falls out.
pub const MAX_DEAD: usize = 1000;
/// From so many failures in a row on, nothing new is tried until a letter that failed is delivered or given up.
pub const STOPS_AFTER: u32 = 8;

/// One thing to tell: an event, and what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Letter {
    /// The event.
    pub position: Position,
    /// What it tells.
    pub notice: Notice,
}

/// A letter that failed and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Which.
    pub letter: Letter,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub due: Moment,
}

/// Why a letter was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: Moment,
    /// In words that hold nothing of the answer.
    pub cause: String,
    /// The status of the answer, if one came.
    #[serde(default)]
    pub status: Option<u16>,
}

/// A letter that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Which.
    pub letter: Letter,
    /// How often it was tried.
    pub tries: u32,
    /// How the last try ended.
    pub last: Failed,
}

/// What came of sending since the last event that says so. Each letter stands in one of the lists at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progressed {
    /// The turn that it belongs to.
    pub turn: u32,
    /// All events through this one were seen to.
    pub through: Position,
    /// How many letters were delivered.
    pub delivered: u64,
    /// Those of them that had failed before, or were sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Letter>,
    /// Letters that failed and are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retrying: Vec<Retry>,
    /// Letters that were given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Dead>,
    /// Failures in a row, by now.
    pub failures: u32,
    /// The latest delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Moment>,
    /// The latest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// What is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// All letters that were given up.
    Dead,
    /// Those of them that tell of these events.
    Positions(Vec<Position>),
    /// Everything from this event on, whatever became of it.
    From(Position),
}

/// Where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// All events through this one were seen to.
    pub through: Position,
    /// Grows when `through` is moved back: what was sent before then says nothing of where it stands after.
    pub turn: u32,
    /// What is tried again.
    pub retrying: BTreeMap<Letter, Retry>,
    /// What waits to be sent again.
    pub replaying: OrdSet<Letter>,
    /// What was given up.
    pub dead: OrdMap<Letter, Dead>,
    /// How many letters were delivered.
    pub delivered: u64,
    /// How many that were given up are not kept any more.
    pub dropped: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The latest delivery.
    pub delivered_at: Option<Moment>,
    /// The latest failure.
    pub failed: Option<Failed>,
}

/// In JSON, which an event that puts a webhook back is written in, only how far it has come: what waited for it is not put back.
pub(super) mod kept {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Progress;
    use crate::kernel::Position;

    #[derive(Serialize, Deserialize)]
    struct Kept {
        through: Position,
        turn: u32,
        delivered: u64,
    }

    pub fn serialize<S: Serializer>(progress: &Progress, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return Kept { through: progress.through, turn: progress.turn, delivered: progress.delivered }.serialize(to);
        }
        progress.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Progress, D::Error> {
        if from.is_human_readable() {
            let kept = Kept::deserialize(from)?;
            return Ok(Progress { through: kept.through, turn: kept.turn, delivered: kept.delivered, ..Progress::default() });
        }
        Progress::deserialize(from)
    }
}

impl Progressed {
    /// Takes note that a letter was delivered. It had been tried before, or is sent again, when `known`.
    pub fn deliver(&mut self, letter: Letter, known: bool, now: Moment) {
        self.forget(letter);
        if known {
            self.done.push(letter);
        }
        (self.delivered, self.failures, self.delivered_at) = (self.delivered + 1, 0, Some(now));
    }

    /// Takes note that a letter is tried again.
    pub fn retry(&mut self, retry: Retry) {
        self.forget(retry.letter);
        self.retrying.push(retry);
    }

    /// Takes note that a letter was given up.
    pub fn give_up(&mut self, dead: Dead) {
        self.forget(dead.letter);
        self.dead.push(dead);
    }

    /// Whether any letter ended, one way or the other.
    #[must_use]
    pub const fn tells_of_letters(&self) -> bool {
        self.delivered > 0 || !self.retrying.is_empty() || !self.dead.is_empty()
    }

    fn forget(&mut self, letter: Letter) {
        self.done.retain(|other| *other != letter);
        self.retrying.retain(|other| other.letter != letter);
        self.dead.retain(|other| other.letter != letter);
    }
}

impl Progress {
    /// Nothing was sent yet, and nothing that happened before this event ever is.
    #[must_use]
    pub fn beginning(at: Position) -> Self {
        Self { through: at, ..Self::default() }
    }

    /// Takes in what came of sending.
    pub fn take(&mut self, came: &Progressed) {
        if came.turn == self.turn {
            self.through = came.through;
        }
        for letter in &came.done {
            self.retrying.remove(letter);
            self.replaying.remove(letter);
            self.dead.remove(letter);
        }
        for retry in &came.retrying {
            self.replaying.remove(&retry.letter);
            self.dead.remove(&retry.letter);
            self.retrying.insert(retry.letter, retry.clone());
        }
        for dead in &came.dead {
            self.retrying.remove(&dead.letter);
            self.replaying.remove(&dead.letter);
            self.dead.insert(dead.letter, dead.clone());
        }
        while self.dead.len() > MAX_DEAD {
            let Some(oldest) = self.dead.get_min().map(|(letter, _)| *letter) else { break };
            self.dead.remove(&oldest);
            self.dropped += 1;
        }
        (self.delivered, self.failures) = (self.delivered + came.delivered, came.failures);
        self.delivered_at = came.delivered_at.or(self.delivered_at);
        self.failed = came.failed.clone().or(self.failed.take());
    }

    /// The letters that were given up and that a replay means.
    pub fn meant<'a>(&'a self, what: &'a Replay) -> impl Iterator<Item = Letter> + 'a {
        let means = move |letter: &&Letter| match what {
            Replay::Dead => true,
            Replay::Positions(positions) => positions.contains(&letter.position),
            Replay::From(_) => false,
        };
        self.dead.keys().filter(means).copied()
    }

    /// Makes what is meant wait to be sent again.
    pub fn replay(&mut self, what: &Replay) {
        let meant: Vec<Letter> = self.meant(what).collect();
        for letter in meant {
            self.dead.remove(&letter);
            self.replaying.insert(letter);
        }
        if let Replay::From(position) = what {
            self.through = self.through.min(Position(position.0.saturating_sub(1)));
            self.turn += 1;
        }
    }

    /// Whether nothing new is tried: so many letters failed that the endpoint, or the room for them, has to recover first.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let waiting = self.retrying.len();
        waiting + Notice::MOST > MAX_RETRYING || (self.failures >= STOPS_AFTER && waiting >= STOPS_AFTER as usize)
    }
}
