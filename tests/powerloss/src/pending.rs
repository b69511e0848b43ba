//! One file on the pretended disk: its durable content, and the changes that
//! no sync has covered yet.

use crate::rng::Rng;
use crate::tear::tear;

/// A change to a file or to its directory entry.
#[derive(Clone, Copy, Debug)]
pub enum Change<'t> {
    Create,
    Write { offset: usize, bytes: &'t [u8] },
    Truncate { len: usize },
    Delete,
}

impl Change<'_> {
    fn is_of_entry(&self) -> bool {
        matches!(self, Change::Create | Change::Delete)
    }

    fn apply(&self, content: &mut Option<Vec<u8>>) {
        match *self {
            Change::Create => *content = Some(Vec::new()),
            Change::Delete => *content = None,
            Change::Truncate { len } => {
                content.get_or_insert_default().resize(len, 0);
            }
            Change::Write { offset, bytes } => {
                let file = content.get_or_insert_default();
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset..end].copy_from_slice(bytes);
            }
        }
    }
}

/// A change and the index of the operation that made it.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'t> {
    pub index: usize,
    pub change: Change<'t>,
}

/// One name in the directory; no content means that there is no such file.
#[derive(Default)]
pub struct DiskFile<'t> {
    durable: Option<Vec<u8>>,
    pending: Vec<Pending<'t>>,
}

impl<'t> DiskFile<'t> {
    /// A file that was durable before the trace began.
    pub fn found(bytes: &[u8]) -> Self {
        Self { durable: Some(bytes.to_vec()), pending: Vec::new() }
    }

    pub fn change(&mut self, index: usize, change: Change<'t>) {
        self.pending.push(Pending { index, change });
    }

    pub fn pending(&self) -> &[Pending<'t>] {
        &self.pending
    }

    /// The file was synced: content and entry up to operation `covers` are
    /// durable. (fsync(2) alone does not promise the entry. On Linux the unix
    /// VFS syncs the directory itself where SQLite relies on it.)
    pub fn settle(&mut self, covers: usize) {
        let settled = self.pending.partition_point(|p| p.index < covers);
        for pending in self.pending.drain(..settled) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// The directory was synced: entries up to operation `covers` are durable,
    /// the content of the files behind them is not.
    pub fn settle_entry(&mut self, covers: usize) {
        let last = self.pending.iter().rposition(|p| p.index < covers && p.change.is_of_entry());
        if let Some(last) = last {
            self.pending[last].change.apply(&mut self.durable);
            self.pending.drain(..=last); // Writes to what was replaced or removed.
        }
    }

    /// The file if exactly the changes before operation `until` survived.
    pub fn in_order(&self, until: usize) -> Option<Vec<u8>> {
        let mut content = self.durable.clone();
        for pending in self.pending.iter().filter(|p| p.index < until) {
            pending.change.apply(&mut content);
        }
        content
    }

    /// The file if its entry and each of its sectors had a fate of its own.
    pub fn torn(&self, rng: &mut Rng) -> Option<Vec<u8>> {
        // Entry changes survive in order; only the writes between the last
        // survivor and the next one went to the file that the entry names.
        let entries: Vec<usize> = (0..self.pending.len()).filter(|&i| self.pending[i].change.is_of_entry()).collect();
        let survivors = rng.below(entries.len() + 1);
        let end = entries.get(survivors).copied().unwrap_or(self.pending.len());
        if survivors == 0 {
            return self.durable.as_ref().map(|base| tear(base, &self.pending[..end], rng));
        }
        let last = entries[survivors - 1];
        match self.pending[last].change {
            Change::Create => Some(tear(&[], &self.pending[last + 1..end], rng)),
            _ => None,
        }
    }
}
