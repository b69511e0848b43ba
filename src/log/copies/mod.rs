//! The two copies of the log in a data directory: whether they are whole and the same, and what is to be done when they are not.
//!
//! The longest valid one of `log.db`, the segments and the last checkpoint wins. A copy that lacks only the last block is levelled: that is how a
//! crash leaves them. One that is damaged, missing or shorter is repaired from the other into new files, and the old ones are kept aside. Two
//! valid records at one position are a fork, and a checkpoint ahead of both copies is a loss: then nothing is changed, and no writes are taken.

mod mend;
mod merge;
mod scrub;
mod sides;

use std::fmt;
use std::path::Path;

pub use mend::{mend, mend_what_is_left, open, write_segments};
pub use merge::{Depth, LOG};

pub(super) use scrub::{next, scrub};

use merge::Merge;
use sides::Part;

use super::MAX_BLOCK_RECORDS;
use crate::kernel::{Epoch, Moment, Position, VaultId};
use crate::seal::merkle::Frontier;

/// One of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// `log.db`
    Sqlite,
    /// `segments/`
    Segments,
}

impl Copy {
    /// Its name in a data directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => LOG,
            Self::Segments => super::segment::FOLDER,
        }
    }
}

/// What a signed checkpoint says of the log. Whoever gives it has checked the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it stands, for messages.
    pub source: String,
    /// Of which epoch.
    pub epoch: u32,
    /// Which of the histories with that number, where others may speak as well: one of another history counts for nothing.
    pub history: Option<[u8; 16]>,
    /// How many records.
    pub size: u64,
    /// Their root.
    pub root: [u8; 32],
    /// The last position, where it is known.
    pub last: Option<Position>,
}

impl Checkpoint {
    /// Whether it speaks of the history of an epoch.
    fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch == epoch.number && self.history.is_none_or(|history| history == epoch.id)
    }
}

/// Positions that are missing somewhere, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Position,
    /// The last.
    pub through: Position,
    /// What is wrong.
    pub cause: String,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "positions {} to {} ({})", self.from, self.through, self.cause)
    }
}

/// What was seen of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whether there is anything of it.
    pub present: bool,
    /// The last position that is whole in it.
    pub last: Position,
    /// What it lacks.
    pub lacks: Vec<Span>,
    /// The first thing that is wrong with it.
    pub cause: Option<String>,
    /// What is to be done with it.
    pub need: Need,
}

/// What a copy needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The last block, or that what is torn after it is cut: as a crash leaves it.
    Level,
    /// To be made anew, wholly or in part.
    Repair,
}

/// Why nothing may be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The copies hold different events.
    #[error("the two copies of the log hold different events at positions {}: one of them is of another history", listed(.0))]
    Fork(Vec<Position>),
    /// The copies agree, and a checkpoint does not.
    #[error("the log is not what was signed: {}", .0.join("; "))]
    Contradicted(Vec<String>),
    /// Records in the middle are in neither copy.
    #[error("the log has lost {}", spans(.0))]
    Lost(Vec<Span>),
    /// The end of the log is in neither copy.
    #[error("the log has lost its end: {0}")]
    Shortened(Span),
}

fn listed(positions: &[Position]) -> String {
    positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn spans(spans: &[Span]) -> String {
    spans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Both copies, compared.
#[derive(Debug)]
pub struct Survey {
    /// `log.db`
    pub log: Side,
    /// The segments.
    pub segments: Side,
    /// From where on they were compared.
    pub from: Position,
    /// The last position that is whole in either.
    pub head: Position,
    /// When it was recorded.
    pub recorded_at: Moment,
    /// Of the last record; `None` when nothing was read.
    pub epoch: Option<Epoch>,
    /// The hash tree through it.
    pub tree: Frontier,
    /// Why nothing may be written.
    pub refusal: Option<Refusal>,
    depth: Depth,
    parts: Vec<Part>,
}

impl Survey {
    /// Whether both are whole and the same.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.refusal.is_none() && self.log.need == Need::Nothing && self.segments.need == Need::Nothing
    }

    /// Whether a copy lacks nothing but its end: beside a server that writes, more may have come to the other one while they were read.
    #[must_use]
    pub fn ends_only(&self, side: &Side) -> bool {
        let torn_at_most = self.parts.iter().rev().skip(1).all(|part| part.bad.is_none());
        side.present && torn_at_most && side.lacks.iter().all(|span| span.through == self.head)
    }
}

/// What was done to a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Which.
    pub copy: Copy,
    /// The first position that was made anew.
    pub from: Position,
    /// The last.
    pub through: Position,
    /// What was wrong.
    pub cause: String,
    /// Where the damaged one is kept.
    pub aside: Option<String>,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: positions {} to {} were made anew from the other copy: {}", self.copy.name(), self.from, self.through, self.cause)?;
        self.aside.as_ref().map_or(Ok(()), |aside| write!(f, "; the damaged one is kept as {aside}"))
    }
}

/// Compares the copies of a data directory. Nothing is changed, and a server may write beside.
#[must_use]
pub fn survey(data: &Path, vault: VaultId, depth: Depth, checkpoints: &[Checkpoint]) -> Survey {
    let mut merge = Merge::begin(data, vault, depth, checkpoints);
    while merge.next().is_some() {}
    let refusal = refusal(&merge);
    let last_whole = |lacks: &[Span]| match lacks.last() {
        Some(last) if last.through == merge.at => Position(last.from.0.saturating_sub(1)),
        _ => merge.at,
    };
    let log = Side {
        present: merge.rows.present,
        last: last_whole(&merge.rows_lack.spans),
        need: need_of_rows(&merge),
        lacks: merge.rows_lack.spans.clone(),
        cause: merge.rows.cause.clone(),
    };
    let segments = Side {
        present: merge.segments.present,
        last: last_whole(&merge.segments_lack.spans),
        need: need_of_segments(&merge),
        lacks: merge.segments_lack.spans.clone(),
        cause: merge.segments.cause.clone().filter(|_| merge.segments.present || merge.at > Position::ZERO),
    };
    Survey {
        log,
        segments,
        from: merge.from,
        head: merge.at,
        recorded_at: merge.recorded_at,
        epoch: merge.epoch,
        tree: merge.tree,
        refusal,
        depth,
        parts: merge.segments.parts,
    }
}

fn refusal(merge: &Merge) -> Option<Refusal> {
    if !merge.forks.is_empty() {
        return Some(Refusal::Fork(merge.forks.clone()));
    }
    if !merge.lost.is_empty() {
        return Some(Refusal::Lost(merge.lost.clone()));
    }
    if !merge.contradictions.is_empty() {
        return Some(Refusal::Contradicted(merge.contradictions.clone()));
    }
    let ahead = merge.ahead()?;
    let through = ahead.last.unwrap_or(Position(merge.at.0 + ahead.size.saturating_sub(merge.tree.size())));
    let cause = format!("{} is of {} records in epoch {}, and there are {}", ahead.source, ahead.size, ahead.epoch, merge.tree.size());
    Some(Refusal::Shortened(Span { from: merge.at.next(), through, cause }))
}

fn need_of_rows(merge: &Merge) -> Need {
    match merge.rows_lack.spans.as_slice() {
        [] if merge.rows.cause.is_none() => Need::Nothing,
        // Only what the last frame holds: the commit did not come to its end.
        [span] if merge.rows.cause.is_none() && span.through == merge.at && span.from == merge.segments.last_frame => Need::Level,
        _ => Need::Repair,
    }
}

fn need_of_segments(merge: &Merge) -> Need {
    let parts = &merge.segments.parts;
    let torn = parts.last().is_some_and(|part| part.bad.is_some());
    let bad_before = parts.iter().rev().skip(1).any(|part| part.bad.is_some()) || parts.last().is_some_and(|part| part.bad.is_some() && part.closed);
    let at_the_end = |span: &Span| {
        span.through == merge.at && span.from >= merge.last_block && merge.at.0 - span.from.0 < MAX_BLOCK_RECORDS as u64 && merge.segments.present
    };
    match merge.segments_lack.spans.as_slice() {
        _ if bad_before => Need::Repair,
        [] if torn => Need::Level,
        [] => Need::Nothing,
        [span] if at_the_end(span) => Need::Level,
        _ => Need::Repair,
    }
}
