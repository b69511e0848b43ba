//! Both copies as one: at each position the record of whichever copy has it whole.

use std::path::Path;

use super::sides::{Rows, Segments};
use super::{Checkpoint, Span};
use crate::kernel::{Epoch, Moment, Position, VaultId};
use crate::log::segment::FOLDER;
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// The log's file in a data directory.
pub const LOG: &str = "log.db";
/// At most so many forked positions are named.
const NAMED: usize = 16;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What came after the last closed segment: all before it has been read since it was closed, or will be by the scrub.
    Tail,
    /// All.
    Whole,
}

/// What one side lacks.
#[derive(Default)]
pub(super) struct Lacking {
    pub spans: Vec<Span>,
}

impl Lacking {
    fn add(&mut self, position: Position, at: Position, cause: Option<&String>) {
        match self.spans.last_mut() {
            // Positions between them do not exist.
            Some(span) if span.through == at => span.through = position,
            _ => self.spans.push(Span { from: position, through: position, cause: cause.cloned().unwrap_or_else(|| "it ends there".into()) }),
        }
    }
}

/// The copies, read together.
pub(super) struct Merge {
    pub rows: Rows,
    pub segments: Segments,
    pub rows_lack: Lacking,
    pub segments_lack: Lacking,
    pub forks: Vec<Position>,
    pub lost: Vec<Span>,
    pub contradictions: Vec<String>,
    /// Where it began.
    pub from: Position,
    /// The last position so far.
    pub at: Position,
    pub tree: Frontier,
    pub epoch: Option<Epoch>,
    pub recorded_at: Moment,
    /// The first position with the last `recorded_at`: a block has one.
    pub last_block: Position,
    /// Checkpoints that are still to be compared, by size, the largest first.
    checkpoints: Vec<Checkpoint>,
    /// The first record since the last comparison that only the rows had: nothing vouches for it yet.
    unvouched: Option<Position>,
}

impl Merge {
    /// Begins; `checkpoints` are compared where their size is reached.
    pub fn begin(data: &Path, vault: VaultId, depth: Depth, checkpoints: &[Checkpoint]) -> Self {
        let rows = Rows::open(&data.join(LOG), depth == Depth::Whole);
        let (mut segments, mut footer) = Segments::open(&data.join(FOLDER), vault, depth == Depth::Tail);
        if footer.as_ref().is_some_and(|(footer, _)| !rows.holds(footer.last)) {
            // The rows end before the tail begins: what they lack is found from the front only.
            (segments, footer) = (Segments::open(&data.join(FOLDER), vault, false).0, None);
        }
        let mut checkpoints = checkpoints.to_vec();
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        let epoch = footer.as_ref().map(|(_, epoch)| *epoch);
        let (from, tree, recorded_at) =
            footer.map_or_else(|| (Position::ZERO, Frontier::default(), Moment::default()), |(footer, _)| (footer.last, footer.tree, footer.recorded_at));
        checkpoints.retain(|checkpoint| checkpoint.size >= tree.size());
        let mut merge = Self {
            rows,
            segments,
            rows_lack: Lacking::default(),
            segments_lack: Lacking::default(),
            forks: Vec::new(),
            lost: Vec::new(),
            contradictions: Vec::new(),
            from,
            at: from,
            tree,
            epoch,
            recorded_at,
            last_block: from,
            checkpoints,
            unvouched: None,
        };
        merge.compare_checkpoints();
        merge
    }

    /// The next record that is whole somewhere.
    pub fn next(&mut self) -> Option<Record> {
        loop {
            let at = self.at;
            let kept = self.segments.peek(at).map(|record| record.header().position);
            self.compare_footers();
            let row = self.rows.peek(at).map(|(position, _)| *position);
            let record = match (kept, row) {
                (None, None) => return None,
                (Some(position), row) if row.is_none_or(|row| row >= position) => {
                    if row == Some(position) {
                        self.compare(position);
                    } else {
                        self.rows_lack.add(position, at, self.rows.cause.as_ref());
                    }
                    self.segment_record()
                }
                (_, row) => self.row_record(row.unwrap_or_default(), at),
            };
            if let Some(record) = record {
                self.take(&record);
                return Some(record);
            }
        }
    }

    /// Both have the position: whether they have the same.
    fn compare(&mut self, position: Position) {
        let (Some(record), Some((_, row))) = (self.segments.peek(self.at), self.rows.peek(self.at)) else { return };
        if record.bytes() == row.as_slice() {
            return;
        }
        if is_same_event(record, row) {
            // A row bears no checksum, and a frame does.
            let cause = format!("the record at position {position} is not what was written");
            self.rows.cause.get_or_insert(cause);
            self.rows_lack.add(position, self.at, self.rows.cause.as_ref());
        } else if self.forks.len() < NAMED {
            self.forks.push(position);
        }
    }

    fn segment_record(&mut self) -> Option<Record> {
        let record = self.segments.peek(self.at)?.clone();
        if let Some(header) = self.segments.starts.take() {
            if header.before == self.at && header.tree != self.tree {
                self.doubt("the hash tree that a segment begins with is another");
            } else if header.before > self.at {
                self.segments.misplaced("it does not go on where the log before it ends");
            }
            self.unvouched = None;
        }
        Some(record)
    }

    /// The tree is not what a segment says: either what only the rows had before it is wrong, or the segment.
    fn doubt(&mut self, cause: &str) {
        match self.unvouched.take() {
            Some(from) => self.lost.push(Span { from, through: self.at, cause: format!("{LOG} holds something else there: {cause}") }),
            None => self.segments.misplaced(cause),
        }
    }

    fn row_record(&mut self, position: Position, at: Position) -> Option<Record> {
        let (_, bytes) = self.rows.peek(at)?;
        match Record::decode(bytes) {
            Ok(record) if record.header().position == position => {
                self.segments_lack.add(position, at, self.segments.cause.as_ref());
                self.unvouched.get_or_insert(position);
                Some(record)
            }
            // It is missing then, as far as nobody else has it.
            Ok(_) => {
                self.rows.drop_front(|| format!("the record at position {position} is of another position"));
                None
            }
            Err(error) => {
                self.rows.drop_front(|| format!("the record at position {position} cannot be read: {error}"));
                None
            }
        }
    }

    /// What a segment says of the log at its end, or, where it is damaged before that, said.
    fn compare_footers(&mut self) {
        while let Some((part, footer)) = self.segments.ends.pop_front() {
            if footer.last == self.at && footer.tree != self.tree {
                if self.unvouched.is_some() {
                    self.doubt("the hash tree that a segment ends with is another");
                } else {
                    self.segments.contradicted(part);
                }
            }
        }
        if !self.segments.claims.is_empty() {
            self.checkpoints.append(&mut self.segments.claims);
            self.checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        }
    }

    fn compare_checkpoints(&mut self) {
        while let Some(checkpoint) = self.checkpoints.pop_if(|checkpoint| checkpoint.size <= self.tree.size()) {
            let same = checkpoint.size != self.tree.size() || checkpoint.root == self.tree.root();
            if !same && self.epoch.is_some_and(|epoch| checkpoint.is_of(epoch)) {
                let what = format!("{} says that the first {} records have another root", checkpoint.source, checkpoint.size);
                self.contradictions.push(what);
            }
        }
    }

    fn take(&mut self, record: &Record) {
        let header = record.header();
        let gap = self.at.next()..header.position;
        let begins = self.epoch.is_some_and(|epoch| epoch != header.epoch);
        let may_leave_a_gap = begins && header.group.index == 0;
        if !gap.is_empty() && !may_leave_a_gap {
            let cause = "neither copy has it whole".to_owned();
            self.lost.push(Span { from: gap.start, through: Position(header.position.0 - 1), cause });
        }
        if header.recorded_at != self.recorded_at {
            self.last_block = header.position;
        }
        (self.at, self.epoch, self.recorded_at) = (header.position, Some(header.epoch), header.recorded_at);
        self.tree.push(record.leaf());
        self.compare_checkpoints();
    }

    /// Checkpoints, also those of footers, that speak of more than there is.
    pub fn ahead(&self) -> Option<Checkpoint> {
        let number = self.epoch.map_or(0, |epoch| epoch.number);
        let longer = |claim: &Checkpoint| self.epoch.is_none_or(|epoch| claim.is_of(epoch)) && claim.size > self.tree.size();
        let ahead = self.checkpoints.iter().filter(|claim| claim.epoch > number || longer(claim));
        ahead.max_by_key(|claim| (claim.epoch, claim.size)).cloned()
    }
}

/// Whether a row is a record with damage in it, and not another record: these differ nearly everywhere, since all boxes do.
fn is_same_event(record: &Record, row: &[u8]) -> bool {
    let same = || record.bytes().iter().zip(row).filter(|(one, other)| one == other).count();
    let mostly = record.bytes().len() == row.len() && same() * 8 >= row.len() * 7;
    // A row that is no record at all is damage as well.
    mostly || Record::decode(row).map_or(true, |other| other.header().event == record.header().event || other.header().position != record.header().position)
}
