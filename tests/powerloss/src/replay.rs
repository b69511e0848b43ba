//! Replays a trace up to a cut, keeping per file what is durable and what is
//! not yet, so that ascending cuts cost one pass.

use std::collections::BTreeMap;

use crate::image::{Image, Outcome};
use crate::pending::{Change, DiskFile};
use crate::rng::Rng;
use crate::trace::Op;

pub struct Replay<'t> {
    ops: &'t [Op],
    next: usize,
    acknowledged: u64,
    files: BTreeMap<&'t str, DiskFile<'t>>,
}

impl<'t> Replay<'t> {
    pub fn new(ops: &'t [Op]) -> Self {
        Self { ops, next: 0, acknowledged: 0, files: BTreeMap::new() }
    }

    /// Applies the operations before index `at`; there is no way back.
    pub fn advance_to(&mut self, at: usize) {
        let ops = self.ops;
        let at = at.min(ops.len());
        assert!(self.next <= at, "cuts must ascend: {at} comes after {}", self.next);
        for (index, op) in ops.iter().enumerate().take(at).skip(self.next) {
            self.apply(index, op);
        }
        self.next = at;
    }

    fn apply(&mut self, index: usize, op: &'t Op) {
        match op {
            Op::Found { file, bytes } => {
                self.files.insert(file, DiskFile::found(bytes));
            }
            Op::Create { file } => self.file(file).change(index, Change::Create),
            Op::Write { file, offset, bytes } => {
                self.file(file).change(index, Change::Write { offset: *offset as usize, bytes });
            }
            Op::Truncate { file, len } => {
                self.file(file).change(index, Change::Truncate { len: *len as usize });
            }
            Op::Sync { file, covers, directory } => {
                self.file(file).settle(*covers);
                if *directory {
                    self.settle_entries(*covers);
                }
            }
            Op::Delete { file, sync_dir } => {
                self.file(file).change(index, Change::Delete);
                if *sync_dir {
                    self.settle_entries(index + 1);
                }
            }
            Op::Mark(label) => self.acknowledged = self.acknowledged.max(*label),
        }
    }

    fn file(&mut self, name: &'t str) -> &mut DiskFile<'t> {
        self.files.entry(name).or_default()
    }

    fn settle_entries(&mut self, covers: usize) {
        self.files.values_mut().for_each(|file| file.settle_entry(covers));
    }

    /// What a cut at this point could leave.
    pub fn image(&self, seed: u64) -> Image {
        let mut rng = Rng::new(seed);
        let (outcome, until) = match rng.below(8) {
            0 => (Outcome::AllKept, self.next),
            1 => (Outcome::AllDropped, 0),
            2 | 3 => (Outcome::Prefix, self.moment_of_unrest(&mut rng)),
            _ => (Outcome::Torn, 0),
        };
        let files = self.files.iter().filter_map(|(name, file)| {
            let content = match outcome {
                Outcome::Torn => file.torn(&mut rng),
                _ => file.in_order(until),
            };
            content.map(|bytes| (name.to_string(), bytes))
        });
        let files = files.collect();
        Image { acknowledged: self.acknowledged, at: self.next, seed, outcome, files }
    }

    /// A random operation among those not yet durable in some file: a uniform
    /// moment of the trace would nearly always fall before all of them.
    fn moment_of_unrest(&self, rng: &mut Rng) -> usize {
        let count: usize = self.files.values().map(|file| file.pending().len()).sum();
        let chosen = rng.below(count + 1);
        let mut all = self.files.values().flat_map(DiskFile::pending);
        all.nth(chosen).map_or(self.next, |pending| pending.index)
    }
}
